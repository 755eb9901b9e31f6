#include "element.h"
#include "sheet.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *name;
	uint32_t size;
} types[] = {
	[FIELD_U8] = { "u8", 1 }, [FIELD_U16] = { "u16", 2 }, [FIELD_U32] = { "u32", 4 }, [FIELD_U64] = { "u64", 8 },
	[FIELD_I8] = { "i8", 1 }, [FIELD_I16] = { "i16", 2 }, [FIELD_I32] = { "i32", 4 }, [FIELD_I64] = { "i64", 8 },
	[FIELD_F32] = { "f32", 4 }, [FIELD_F64] = { "f64", 8 }, [FIELD_BOOL] = { "bool", 1 },
	[FIELD_CHAR] = { "char", 1 },
};

static char complaint[400];

static const char *complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(complaint, sizeof(complaint), format, arguments);
	va_end(arguments);
	return complaint;
}

static void *must(void *made)
{
	if (!made) {
		cli_say("there is no memory for an element");
		abort();
	}
	return made;
}

/* ---- schemas ---- */

static void make_opaque(struct schema *schema, uint64_t element_size)
{
	schema_free(schema);
	schema->fields = must(calloc(1, sizeof(*schema->fields)));
	schema->fields[0] = (struct field){ .name = must(strdup("bytes")), .type = FIELD_BYTE, .size = 1,
					    .count = (uint32_t)element_size, .is_array = true };
	schema->count = 1;
	schema->size = element_size;
	schema->is_opaque = true;
}

void schema_free(struct schema *schema)
{
	for (size_t i = 0; i < schema->count; i++)
		free(schema->fields[i].name);
	free(schema->fields);
	*schema = (struct schema){ .fields = NULL };
}

/* A word of a schema, which may hold anything. */
static const char *shown(const char *word, size_t length)
{
	static char escaped[4 * 60 + 1];

	return cli_escape(word, length > 60 ? 60 : length, escaped);
}

/* One word, "values:f32[8]". NULL or what is wrong. */
static const char *parse_field(const char *word, size_t length, struct schema *schema)
{
	const char *colon = memchr(word, ':', length), *end = word + length;
	const char *type, *bracket;
	struct field *field;
	size_t type_length, which = 0, most = sizeof(types) / sizeof(types[0]);
	uint64_t count = 1;

	if (!colon || colon == word)
		return complain("'%s' is no NAME:TYPE", shown(word, length));
	for (const char *byte = word; byte < colon; byte++)
		if (!isalnum((unsigned char)*byte) && *byte != '_')
			return complain("'%s' is no name of a field, which has letters, digits and _",
					shown(word, (size_t)(colon - word)));
	type = colon + 1;
	bracket = memchr(type, '[', (size_t)(end - type));
	type_length = (size_t)((bracket ? bracket : end) - type);
	while (which < most && (strlen(types[which].name) != type_length ||
				memcmp(types[which].name, type, type_length) != 0))
		which++;
	if (which == most)
		return complain("there is no type '%s'", shown(type, type_length));
	if (bracket) {
		char *after;

		count = strtoull(bracket + 1, &after, 10);
		if (!isdigit((unsigned char)bracket[1]) || after + 1 != end || *after != ']' || count < 1 ||
		    count > UINT32_C(1) << 30)
			return complain("'%s' has no count of 1 to 2^30 in its brackets", shown(word, length));
	}
	schema->fields = must(reallocarray(schema->fields, schema->count + 1, sizeof(*field)));
	field = &schema->fields[schema->count++];
	*field = (struct field){ .name = must(strndup(word, (size_t)(colon - word))), .type = (enum field_type)which,
				 .size = types[which].size, .count = (uint32_t)count, .is_array = bracket != NULL };
	field->offset = (schema->size + field->size - 1) / field->size * field->size;
	schema->size = field->offset + (uint64_t)field->size * count;
	return NULL;
}

static const char *parse_all(const char *text, uint64_t element_size, struct schema *schema)
{
	uint32_t align = 1;

	for (const char *at = text + strspn(text, " "); *at;) {
		size_t length = strcspn(at, " ");
		const char *wrong = parse_field(at, length, schema);

		if (wrong)
			return wrong;
		if (schema->fields[schema->count - 1].size > align)
			align = schema->fields[schema->count - 1].size;
		at += length;
		at += strspn(at, " ");
	}
	schema->size = (schema->size + align - 1) / align * align;
	if (element_size && schema->size != element_size)
		return complain("the schema has %" PRIu64 " bytes, an element %" PRIu64, schema->size, element_size);
	return NULL;
}

const char *schema_parse(const char *text, uint64_t element_size, struct schema *ret_schema)
{
	const char *wrong;

	*ret_schema = (struct schema){ .fields = NULL };
	if (!text || !text[strspn(text, " ")]) {
		make_opaque(ret_schema, element_size);
		return NULL;
	}
	wrong = parse_all(text, element_size, ret_schema);
	if (wrong)
		make_opaque(ret_schema, element_size);
	else
		ret_schema->is_text = ret_schema->count == 1 && ret_schema->fields[0].type == FIELD_CHAR;
	return wrong;
}

/* ---- bytes to text and JSON ---- */

static const unsigned char *at(const struct field *field, const void *element, uint32_t index)
{
	return (const unsigned char *)element + field->offset + (uint64_t)index * field->size;
}

static int64_t load_signed(const struct field *field, const unsigned char *bytes)
{
	int8_t i8;
	int16_t i16;
	int32_t i32;
	int64_t i64;

	switch (field->size) {
	case 1:
		memcpy(&i8, bytes, 1);
		return i8;
	case 2:
		memcpy(&i16, bytes, 2);
		return i16;
	case 4:
		memcpy(&i32, bytes, 4);
		return i32;
	default:
		memcpy(&i64, bytes, 8);
		return i64;
	}
}

static uint64_t load_unsigned(const struct field *field, const unsigned char *bytes)
{
	uint64_t value = (uint64_t)load_signed(field, bytes);

	return field->size == 8 ? value : value & ((UINT64_C(1) << (8 * field->size)) - 1);
}

static double load_real(const struct field *field, const unsigned char *bytes)
{
	float f32;
	double f64;

	if (field->size == 4) {
		memcpy(&f32, bytes, 4);
		return (double)f32;
	}
	memcpy(&f64, bytes, 8);
	return f64;
}

static bool is_signed(enum field_type type)
{
	return type >= FIELD_I8 && type <= FIELD_I64;
}

static bool is_real(enum field_type type)
{
	return type == FIELD_F32 || type == FIELD_F64;
}

/* The shortest that is read back as the same. */
static void real_text(const struct field *field, double value, char *to, size_t size)
{
	for (int digits = field->size == 4 ? 6 : 15; digits <= 17; digits++) {
		snprintf(to, size, "%.*g", digits, value);
		if (field->size == 4 ? strtof(to, NULL) == (float)value : strtod(to, NULL) == value)
			return;
	}
}

static void scalar_text(const struct field *field, const unsigned char *bytes, char *to, size_t size)
{
	if (is_real(field->type))
		real_text(field, load_real(field, bytes), to, size);
	else if (is_signed(field->type))
		snprintf(to, size, "%" PRId64, load_signed(field, bytes));
	else if (field->type == FIELD_BOOL)
		snprintf(to, size, "%s", *bytes ? "true" : "false");
	else
		snprintf(to, size, "%" PRIu64, load_unsigned(field, bytes));
}

static char *hexadecimal(const unsigned char *bytes, uint32_t count)
{
	char *text = must(malloc(2 * (size_t)count + 1));

	for (uint32_t i = 0; i < count; i++)
		snprintf(text + 2 * (size_t)i, 3, "%02x", bytes[i]);
	text[2 * (size_t)count] = 0;
	return text;
}

char *element_field_text(const struct field *field, const void *element)
{
	const unsigned char *bytes = at(field, element, 0);
	char *text, *to;
	size_t room;

	if (field->type == FIELD_BYTE)
		return hexadecimal(bytes, field->count);
	if (field->type == FIELD_CHAR) {
		size_t length = strnlen((const char *)bytes, field->count);

		text = must(malloc(4 * length + 1));
		return cli_escape((const char *)bytes, length, text);
	}
	room = 32 * (size_t)field->count + 3;
	text = to = must(malloc(room));
	if (field->is_array)
		*to++ = '[';
	for (uint32_t i = 0; i < field->count; i++) {
		if (i > 0)
			*to++ = ',';
		scalar_text(field, at(field, element, i), to, room - (size_t)(to - text));
		to += strlen(to);
	}
	snprintf(to, room - (size_t)(to - text), "%s", field->is_array ? "]" : "");
	return text;
}

static json_t *scalar_json(const struct field *field, const unsigned char *bytes)
{
	double real;
	uint64_t number;

	if (is_real(field->type)) {
		real = load_real(field, bytes);
		return isfinite(real) ? json_real(real) : json_string(isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
	}
	if (is_signed(field->type))
		return json_integer(load_signed(field, bytes));
	if (field->type == FIELD_BOOL)
		return json_boolean(*bytes);
	number = load_unsigned(field, bytes);
	if (number > INT64_MAX) {           /* more than jansson's integers: as a text, exact */
		char text[24];

		snprintf(text, sizeof(text), "%" PRIu64, number);
		return json_string(text);
	}
	return json_integer((json_int_t)number);
}

json_t *element_field_json(const struct field *field, const void *element)
{
	const unsigned char *bytes = at(field, element, 0);
	json_t *list;

	if (field->type == FIELD_BYTE) {
		char *text = hexadecimal(bytes, field->count);

		list = must(json_string(text));
		free(text);
		return list;
	}
	if (field->type == FIELD_CHAR)
		return sheet_json_string((const char *)bytes, strnlen((const char *)bytes, field->count));
	if (!field->is_array)
		return must(scalar_json(field, bytes));
	list = must(json_array());
	for (uint32_t i = 0; i < field->count; i++)
		json_array_append_new(list, must(scalar_json(field, at(field, element, i))));
	return list;
}

json_t *element_to_json(const struct schema *schema, const void *element)
{
	json_t *object = must(json_object());

	for (size_t i = 0; i < schema->count; i++)
		json_object_set_new_nocheck(object, schema->fields[i].name, element_field_json(&schema->fields[i], element));
	return object;
}

/* ---- and back ---- */

static const char *does_not_fit(const struct field *field, const char *text)
{
	return complain("field '%s' of type %s cannot be '%.100s'", field->name,
			field->type == FIELD_BYTE ? "bytes" : types[field->type].name, text);
}

static void store(const struct field *field, uint64_t value, unsigned char *bytes)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	memcpy(bytes, field->size == 1 ? (void *)&u8 : field->size == 2 ? (void *)&u16
	       : field->size == 4 ? (void *)&u32 : (void *)&value, field->size);
}

static const char *store_real(const struct field *field, double value, unsigned char *bytes)
{
	float f32 = (float)value;

	memcpy(bytes, field->size == 4 ? (void *)&f32 : (void *)&value, field->size);
	return NULL;
}

/* A number, a truth value, in words. */
static const char *parse_scalar(const struct field *field, const char *text, unsigned char *bytes)
{
	unsigned bits = 8 * field->size;
	char *end;

	errno = 0;
	if (is_real(field->type)) {
		double real = strtod(text, &end);

		return end == text || *end ? does_not_fit(field, text) : store_real(field, real, bytes);
	}
	if (field->type == FIELD_BOOL) {
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0 && strcmp(text, "0") != 0 &&
		    strcmp(text, "1") != 0)
			return does_not_fit(field, text);
		*bytes = *text == 't' || *text == '1';
		return NULL;
	}
	if (is_signed(field->type)) {
		int64_t number = strtoll(text, &end, 0);

		if (end == text || *end || errno ||
		    (bits < 64 && (number < -(INT64_C(1) << (bits - 1)) || number >= INT64_C(1) << (bits - 1))))
			return does_not_fit(field, text);
		store(field, (uint64_t)number, bytes);
		return NULL;
	}
	{
		uint64_t number = strtoull(text, &end, 0);

		if (end == text || *end || errno || strchr(text, '-') || (bits < 64 && number >> bits))
			return does_not_fit(field, text);
		store(field, number, bytes);
		return NULL;
	}
}

static const char *store_text(const struct field *field, const char *text, size_t length, unsigned char *bytes)
{
	if (length > field->count)
		return complain("field '%s' has room for %" PRIu32 " bytes of text, and was given %zu", field->name,
				field->count, length);
	memcpy(bytes, text, length);
	return NULL;
}

static const char *store_hexadecimal(const struct field *field, const char *text, unsigned char *bytes)
{
	size_t length = strlen(text);

	if (length % 2 || length / 2 > field->count || text[strspn(text, "0123456789abcdefABCDEF")])
		return complain("bytes are written as pairs of hexadecimal digits, at most %" PRIu32 " of them; '%.100s' is not",
				field->count, text);
	for (size_t i = 0; i < length / 2; i++) {
		char pair[3] = { text[2 * i], text[2 * i + 1], 0 };

		bytes[i] = (unsigned char)strtoul(pair, NULL, 16);
	}
	return NULL;
}

const char *element_field_parse(const struct field *field, const char *text, void *element)
{
	unsigned char *bytes = (unsigned char *)element + field->offset;
	const char *wrong = NULL;
	char *copy, *rest, *word;
	uint32_t index = 0;

	if (field->type == FIELD_CHAR)
		return store_text(field, text, strlen(text), bytes);
	if (field->type == FIELD_BYTE)
		return store_hexadecimal(field, text, bytes);
	if (!field->is_array)
		return parse_scalar(field, text, bytes);
	copy = rest = must(strdup(text));
	while (!wrong && (word = strsep(&rest, ",")) != NULL) {
		if (index == field->count)
			wrong = complain("field '%s' has room for %" PRIu32 " values", field->name, field->count);
		else
			wrong = parse_scalar(field, word + strspn(word, " ["), bytes + (uint64_t)index++ * field->size);
	}
	free(copy);
	return wrong;
}

static const char *scalar_from_json(const struct field *field, const json_t *value, unsigned char *bytes)
{
	char text[40];

	if (json_is_string(value))          /* numbers too large for JSON, and infinities */
		return parse_scalar(field, json_string_value(value), bytes);
	if (json_is_boolean(value) && field->type == FIELD_BOOL) {
		*bytes = json_is_true(value);
		return NULL;
	}
	if (is_real(field->type) && json_is_number(value))
		return store_real(field, json_number_value(value), bytes);
	if (!json_is_integer(value)) {
		static const char *const kinds[] = { "an object", "a list", "a text", "a number", "a fraction", "true",
						     "false", "null" };

		return complain("field '%s' of type %s cannot be %s", field->name, types[field->type].name,
				kinds[json_typeof(value)]);
	}
	snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	return parse_scalar(field, text, bytes);
}

static const char *field_from_json(const struct field *field, const json_t *value, void *element)
{
	unsigned char *bytes = (unsigned char *)element + field->offset;
	const char *wrong = NULL;

	if (field->type == FIELD_CHAR || field->type == FIELD_BYTE) {
		if (!json_is_string(value))
			return complain("field '%s' wants a text", field->name);
		return field->type == FIELD_CHAR ? store_text(field, json_string_value(value), json_string_length(value), bytes)
						 : store_hexadecimal(field, json_string_value(value), bytes);
	}
	if (!field->is_array)
		return scalar_from_json(field, value, bytes);
	if (!json_is_array(value) || json_array_size(value) > field->count)
		return complain("field '%s' wants a list of at most %" PRIu32 " values", field->name, field->count);
	for (size_t i = 0; !wrong && i < json_array_size(value); i++)
		wrong = scalar_from_json(field, json_array_get(value, i), bytes + i * field->size);
	return wrong;
}

const char *element_from_json(const struct schema *schema, const json_t *object, void *element)
{
	const char *key, *wrong = NULL;
	json_t *value;

	memset(element, 0, schema->size);
	if (!json_is_object(object))
		return complain("it is no JSON object");
	json_object_foreach((json_t *)(uintptr_t)object, key, value) {
		size_t i = 0;

		while (i < schema->count && strcmp(schema->fields[i].name, key) != 0)
			i++;
		if (i == schema->count)
			return complain("there is no field '%.100s'", key);
		wrong = field_from_json(&schema->fields[i], value, element);
		if (wrong)
			return wrong;
	}
	return NULL;
}
