#include "schema.h"

#include "error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t size;
} types[] = {
	{ "u8", 1 }, { "u16", 2 }, { "u32", 4 }, { "u64", 8 }, { "i8", 1 },   { "i16", 2 },
	{ "i32", 4 }, { "i64", 8 }, { "f32", 4 }, { "f64", 8 }, { "bool", 1 }, { "char", 1 },
};

static int is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static uint32_t type_size(const char *text, size_t length)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strlen(types[i].name) == length && memcmp(types[i].name, text, length) == 0)
			return types[i].size;
	return 0;
}

/* "[8]" at *text: its value, 1 where there is none, 0 when it is wrong. */
static uint64_t parse_count(const char **text)
{
	const char *at = *text;
	uint64_t count = 0;

	if (*at != '[')
		return 1;
	for (at++; *at >= '0' && *at <= '9' && count <= UINT32_MAX; at++)
		count = count * 10 + (uint64_t)(*at - '0');
	if (*at != ']' || count > UINT32_MAX)
		return 0;
	*text = at + 1;
	return count;
}

/* One "name:type[count]"; -EINVAL. */
static int parse_field(const char **text, uint64_t *offset, uint64_t *largest)
{
	const char *name = *text, *type, *end = name + strcspn(name, " \t\n");
	uint64_t count;
	uint32_t size;

	while (is_name_byte(**text))
		(*text)++;
	if (*text == name || **text != ':')
		return shk_fail(-EINVAL, "schema: '%.*s' is no field; a field is name:type or "
					 "name:type[count]", (int)(end - name), name);
	type = ++*text;
	while (is_name_byte(**text))
		(*text)++;
	size = type_size(type, (size_t)(*text - type));
	if (!size)
		return shk_fail(-EINVAL, "schema: '%.*s' in field '%.*s' is no type; there are u8 u16 u32 u64 "
					 "i8 i16 i32 i64 f32 f64 bool char", (int)(*text - type), type,
				(int)(end - name), name);
	count = parse_count(text);
	if (!count || (**text && !strchr(" \t\n", **text)))
		return shk_fail(-EINVAL, "schema: the count in field '%.*s' is not a number from 1 in brackets",
				(int)(end - name), name);
	*offset = (*offset + size - 1) / size * size + count * size;
	if (size > *largest)
		*largest = size;
	return 0;
}

int shk_schema_check(const char *schema, uint32_t element_size, char *ret_text, size_t size)
{
	uint64_t offset = 0, largest = 1;
	size_t length = 0;

	for (const char *at = schema; *(at += strspn(at, " \t\n"));) {
		const char *field = at;
		int result = parse_field(&at, &offset, &largest);
		size_t field_length = (size_t)(at - field);

		if (result)
			return result;
		if (length + (length > 0) + field_length + 1 > size)
			return shk_fail(-EINVAL, "schema: the text is longer than %zu bytes", size - 1);
		if (length)
			ret_text[length++] = ' ';
		memcpy(ret_text + length, field, field_length);
		length += field_length;
	}
	ret_text[length] = '\0';
	offset = (offset + largest - 1) / largest * largest;
	if (!length)
		return shk_fail(-EINVAL, "schema: the text has no field; give NULL for none");
	if (offset != element_size)
		return shk_fail(-EINVAL, "schema: the fields take %" PRIu64 " bytes (each at its natural "
					 "alignment), the element size is %u", offset, element_size);
	return 0;
}
