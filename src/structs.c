#include "structs.h"

#include "error.h"

#include <errno.h>
#include <string.h>

#define LIMIT 4096u                         /* no struct of the interface comes near; a size beyond was never set */

static uint32_t size_of(const void *given)
{
	uint32_t size;

	memcpy(&size, given, sizeof(size));
	return size;
}

int shk_struct_check(const void *to, size_t first_size, const char *what)
{
	if (!to)
		return shk_fail(-EINVAL, "%s: the result pointer is NULL", what);
	if (size_of(to) < first_size || size_of(to) > LIMIT)
		return shk_fail(-EINVAL, "%s: struct_size is %u; set it to the struct's sizeof, at least "
					 "%zu, before the call", what, size_of(to), first_size);
	return 0;
}

int shk_struct_in(void *known, size_t known_size, size_t first_size, const void *from,
		  const char *what)
{
	uint32_t size;

	memset(known, 0, known_size);
	if (!from)
		return 0;
	size = size_of(from);
	if (size < first_size || size > LIMIT)
		return shk_fail(-EINVAL, "%s: options.struct_size is %u; set it to the struct's sizeof, "
					 "at least %zu", what, size, first_size);
	for (size_t at = known_size; at < size; at++)
		if (((const unsigned char *)from)[at] != 0)
			return shk_fail(-E2BIG, "%s: options of %u bytes have a field at byte %zu that this "
						"version of the library does not know", what, size, at);
	memcpy(known, from, size < known_size ? size : known_size);
	return 0;
}

void shk_struct_out(void *to, const void *known, size_t known_size)
{
	uint32_t size = size_of(to);
	size_t skip = sizeof(size);

	memcpy((char *)to + skip, (const char *)known + skip,
	       (size < known_size ? size : known_size) - skip);
	if (size > known_size)
		memset((char *)to + known_size, 0, size - known_size);
}
