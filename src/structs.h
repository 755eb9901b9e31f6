/*
 * Sized option and result structs: they begin with struct_size, and may grow.
 */
#ifndef SHK_STRUCTS_H
#define SHK_STRUCTS_H

#include <stddef.h>
#include <stdint.h>

/*
 * Copies the caller's struct into known (known_size bytes, zeroed first); NULL gives all zero.
 * -EINVAL when struct_size is below first_size, that of the first release; -E2BIG when fields
 * behind those known here are not zero.
 */
int shk_struct_in(void *known, size_t known_size, size_t first_size, const void *from,
		  const char *what);

/* Is the struct the caller gave for a result one? 0 or -EINVAL. */
int shk_struct_check(const void *to, size_t first_size, const char *what);

/* Copies known into the caller's struct, within its struct_size; what lies behind becomes zero. */
void shk_struct_out(void *to, const void *known, size_t known_size);

#endif
