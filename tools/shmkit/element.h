/*
 * What an element is: its schema taken apart, and its bytes as text, as JSON and back.
 *
 * A schema comes from a segment, or from the command line, and may say anything; what does not fit
 * the element's size is refused, and the element is then shown as bytes.
 */
#ifndef SHMKIT_ELEMENT_H
#define SHMKIT_ELEMENT_H

#include "cli.h"

#include <jansson.h>

enum field_type {
	FIELD_U8, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_I8, FIELD_I16, FIELD_I32, FIELD_I64, FIELD_F32, FIELD_F64,
	FIELD_BOOL, FIELD_CHAR,
	FIELD_BYTE,                         /* of an element without a schema: shown as hexadecimal digits */
};

struct field {
	char *name;
	enum field_type type;
	uint32_t size;                      /* of one */
	uint32_t count;
	bool is_array;
	uint64_t offset;
};

struct schema {
	struct field *fields;
	size_t count;
	uint64_t size;                      /* of the element */
	bool is_text;                       /* one field, of characters */
	bool is_opaque;                     /* there is none: bytes */
};

/**
 * schema_parse() - Take a schema apart.
 * @text: "time:u64 values:f32[8]"; "" or NULL for bytes.
 * @element_size: It must have; 0: whatever comes of it (an opaque one then has none).
 * @ret_schema: To be given back with schema_free().
 *
 * Return: NULL, or what is wrong with it, in a static buffer; then *ret_schema is one of bytes.
 */
const char *schema_parse(const char *text, uint64_t element_size, struct schema *ret_schema);
void schema_free(struct schema *schema);

/* The element's fields, by name. */
json_t *element_to_json(const struct schema *schema, const void *element);

/* One field's: "12", "[1, 2, 3]", "text"; escaped; to be freed. */
char *element_field_text(const struct field *field, const void *element);
json_t *element_field_json(const struct field *field, const void *element);

/**
 * element_from_json() - Fill an element from an object of its fields.
 * @element: schema->size bytes; fields that are not named become zero.
 *
 * Return: NULL, or why not, in a static buffer: a name that there is not, a number that does not
 *         fit, a list or a text that is too long.
 */
const char *element_from_json(const struct schema *schema, const json_t *object, void *element);

/* A scalar or a list in words, as "12", "-1.5", "true", "1,2,3", text; as above. */
const char *element_field_parse(const struct field *field, const char *text, void *element);

#endif
