/*
 * Schema text: the fields of an element, "timestamp:u64 producer:i32 values:f32[8]".
 */
#ifndef SHK_SCHEMA_H
#define SHK_SCHEMA_H

#include <stddef.h>
#include <stdint.h>

/*
 * Checks the text and writes it with single spaces to ret_text (size bytes, at most
 * SHK_SCHEMA_SIZE). Each field lies at its natural alignment and the whole is rounded up to the
 * largest; that must be element_size. 0, or -EINVAL with a sentence that says where.
 */
int shk_schema_check(const char *schema, uint32_t element_size, char *ret_text, size_t size);

#endif
