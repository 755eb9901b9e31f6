/* get, set, watch: atomics, and the cells of arrays. */
#include "sheet.h"
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ATOMICS (UINT64_C(0x3f) << SHMKIT_KIND_ATOMIC_U32)
#define ARRAYS (UINT64_C(1) << SHMKIT_KIND_ARRAY)

/* ---- atomics ---- */

/* One atomic, of whatever type: its bits as 8 bytes. */
struct atomic {
	uint32_t kind;
	union {
		struct shmkit_atomic_u32 *u32;
		struct shmkit_atomic_i32 *i32;
		struct shmkit_atomic_u64 *u64;
		struct shmkit_atomic_i64 *i64;
		struct shmkit_atomic_bool *truth;
		struct shmkit_atomic_f64 *f64;
		void *any;
	};
	struct schema schema;               /* of one field, "value" */
};

static int atomic_open(struct shmkit_segment *segment, const char *name, uint32_t kind, struct atomic *ret_atomic)
{
	char text[24];
	int result;

	*ret_atomic = (struct atomic){ .kind = kind };
	switch (kind) {
	case SHMKIT_KIND_ATOMIC_U32:
		result = shmkit_atomic_u32_open(segment, name, &ret_atomic->u32);
		break;
	case SHMKIT_KIND_ATOMIC_I32:
		result = shmkit_atomic_i32_open(segment, name, &ret_atomic->i32);
		break;
	case SHMKIT_KIND_ATOMIC_U64:
		result = shmkit_atomic_u64_open(segment, name, &ret_atomic->u64);
		break;
	case SHMKIT_KIND_ATOMIC_I64:
		result = shmkit_atomic_i64_open(segment, name, &ret_atomic->i64);
		break;
	case SHMKIT_KIND_ATOMIC_BOOL:
		result = shmkit_atomic_bool_open(segment, name, &ret_atomic->truth);
		break;
	default:
		result = shmkit_atomic_f64_open(segment, name, &ret_atomic->f64);
		break;
	}
	snprintf(text, sizeof(text), "value:%s", strrchr(cli_kind_name(kind), ' ') + 1);
	schema_parse(text, 0, &ret_atomic->schema);
	return result;
}

static void atomic_close(struct atomic *atomic)
{
	switch (atomic->kind) {
	case SHMKIT_KIND_ATOMIC_U32:
		shmkit_atomic_u32_close(atomic->u32);
		break;
	case SHMKIT_KIND_ATOMIC_I32:
		shmkit_atomic_i32_close(atomic->i32);
		break;
	case SHMKIT_KIND_ATOMIC_U64:
		shmkit_atomic_u64_close(atomic->u64);
		break;
	case SHMKIT_KIND_ATOMIC_I64:
		shmkit_atomic_i64_close(atomic->i64);
		break;
	case SHMKIT_KIND_ATOMIC_BOOL:
		shmkit_atomic_bool_close(atomic->truth);
		break;
	default:
		shmkit_atomic_f64_close(atomic->f64);
		break;
	}
	schema_free(&atomic->schema);
}

#define LOAD(TYPE, MEMBER, C_TYPE)                                                                  \
	do {                                                                                        \
		C_TYPE value = shmkit_atomic_##TYPE##_load(atomic->MEMBER);                         \
                                                                                                    \
		memcpy(bytes, &value, sizeof(value));                                               \
	} while (0)

static void atomic_load(const struct atomic *atomic, unsigned char bytes[8])
{
	memset(bytes, 0, 8);
	switch (atomic->kind) {
	case SHMKIT_KIND_ATOMIC_U32:
		LOAD(u32, u32, uint32_t);
		break;
	case SHMKIT_KIND_ATOMIC_I32:
		LOAD(i32, i32, int32_t);
		break;
	case SHMKIT_KIND_ATOMIC_U64:
		LOAD(u64, u64, uint64_t);
		break;
	case SHMKIT_KIND_ATOMIC_I64:
		LOAD(i64, i64, int64_t);
		break;
	case SHMKIT_KIND_ATOMIC_BOOL:
		LOAD(bool, truth, uint8_t);
		break;
	default:
		LOAD(f64, f64, double);
		break;
	}
}

#define STORE(TYPE, MEMBER, C_TYPE)                                                                 \
	do {                                                                                        \
		C_TYPE value;                                                                       \
                                                                                                    \
		memcpy(&value, bytes, sizeof(value));                                               \
		shmkit_atomic_##TYPE##_store(atomic->MEMBER, value);                                \
	} while (0)

static void atomic_store(const struct atomic *atomic, const unsigned char bytes[8])
{
	switch (atomic->kind) {
	case SHMKIT_KIND_ATOMIC_U32:
		STORE(u32, u32, uint32_t);
		break;
	case SHMKIT_KIND_ATOMIC_I32:
		STORE(i32, i32, int32_t);
		break;
	case SHMKIT_KIND_ATOMIC_U64:
		STORE(u64, u64, uint64_t);
		break;
	case SHMKIT_KIND_ATOMIC_I64:
		STORE(i64, i64, int64_t);
		break;
	case SHMKIT_KIND_ATOMIC_BOOL:
		STORE(bool, truth, uint8_t);
		break;
	default:
		STORE(f64, f64, double);
		break;
	}
}

#define WAIT(TYPE, MEMBER, C_TYPE)                                                                  \
	do {                                                                                        \
		C_TYPE old;                                                                         \
                                                                                                    \
		memcpy(&old, bytes, sizeof(old));                                                   \
		result = shmkit_atomic_##TYPE##_wait(atomic->MEMBER, old, timeout_ns);              \
	} while (0)

/* Until it is no longer what bytes say; then they say what it is. */
static int atomic_wait(const struct atomic *atomic, unsigned char bytes[8], int64_t timeout_ns)
{
	int result;

	switch (atomic->kind) {
	case SHMKIT_KIND_ATOMIC_U32:
		WAIT(u32, u32, uint32_t);
		break;
	case SHMKIT_KIND_ATOMIC_I32:
		WAIT(i32, i32, int32_t);
		break;
	case SHMKIT_KIND_ATOMIC_U64:
		WAIT(u64, u64, uint64_t);
		break;
	case SHMKIT_KIND_ATOMIC_I64:
		WAIT(i64, i64, int64_t);
		break;
	case SHMKIT_KIND_ATOMIC_BOOL:
		WAIT(bool, truth, uint8_t);
		break;
	default:
		WAIT(f64, f64, double);
		break;
	}
	if (result == 0)
		atomic_load(atomic, bytes);
	return result;
}

/* ---- showing ---- */

/* A value alone in a line; with --json {"schema_version":1,"name":...,"value":...} */
static void show(const struct field *field, const void *element, const char *name)
{
	json_t *document;
	char *text;

	if (cli_output == OUTPUT_JSON) {
		document = sheet_document();
		json_object_set_new(document, "name", sheet_json_string(name, strlen(name)));
		json_object_set_new(document, "value", element_field_json(field, element));
		json_dumpf(document, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
		putchar('\n');
		json_decref(document);
		return;
	}
	text = element_field_text(field, element);
	puts(text);
	free(text);
}

static const struct field *find_field(const struct schema *schema, const char *name, size_t length)
{
	for (size_t i = 0; i < schema->count; i++)
		if (strlen(schema->fields[i].name) == length && memcmp(schema->fields[i].name, name, length) == 0)
			return &schema->fields[i];
	cli_say("there is no field '%.*s'", (int)(length > 100 ? 100 : length), name);
	return NULL;
}

static struct {
	struct target_options target;
	uint64_t count;
	int64_t timeout_ns;
} value = { .timeout_ns = -1 };

static bool value_option(int option, char *argument)
{
	bool known;

	if (!target_option(&value.target, option, argument, &known))
		return false;
	if (option == 'n')
		return cli_parse_number(argument, "-n", 1, INT64_MAX, &value.count);
	if (option == 't')
		return cli_parse_seconds(argument, "--timeout", &value.timeout_ns);
	return true;
}

/* ---- cells ---- */

static bool read_cell(const struct target *target, const char *index, uint64_t *ret_index, unsigned char **ret_cell)
{
	int result;

	if (!cli_parse_number(index, "INDEX", 0, target->entry.capacity - 1, ret_index))
		return false;
	*ret_cell = malloc(target->entry.element_size);
	if (!*ret_cell)
		abort();
	result = shmkit_array_read(target->array, *ret_index, 1, *ret_cell);
	if (result == 0)
		return true;
	cli_failed(result);
	free(*ret_cell);
	return false;
}

static int get_cell(const struct target *target, int argc, char **argv)
{
	unsigned char *cell;
	uint64_t index;
	int result = EXIT_YES;

	if (argc < 1)
		return cli_usage("of an array it takes an INDEX; dump shows all");
	if (!read_cell(target, argv[0], &index, &cell))
		return EXIT_USAGE;
	if (argc == 1 && target->schema.count == 1) {
		show(&target->schema.fields[0], cell, target->entry.name);
	} else if (argc == 1) {
		target_print(target, cell);
	}
	for (int i = 1; i < argc && result == EXIT_YES; i++) {
		const struct field *field = find_field(&target->schema, argv[i], strlen(argv[i]));

		if (field)
			show(field, cell, argv[i]);
		else
			result = EXIT_NO;
	}
	free(cell);
	return result;
}

static int set_cell(const struct target *target, int argc, char **argv)
{
	const char *wrong = NULL;
	unsigned char *cell;
	uint64_t index;
	int result;

	if (argc < 2)
		return cli_usage("of an array it takes an INDEX and FIELD=VALUE, or one VALUE");
	if (!read_cell(target, argv[0], &index, &cell))
		return EXIT_USAGE;
	for (int i = 1; i < argc && !wrong; i++) {
		const char *equals = strchr(argv[i], '=');
		const struct field *field = equals ? find_field(&target->schema, argv[i], (size_t)(equals - argv[i]))
						   : &target->schema.fields[0];

		if (!field || (!equals && (target->schema.count > 1 || argc > 2))) {
			free(cell);
			return field ? cli_usage("'%s' has several fields; which is to be '%s'?", target->entry.name, argv[i])
				     : EXIT_USAGE;
		}
		memset(cell + field->offset, 0, (size_t)field->size * field->count);
		wrong = element_field_parse(field, equals ? equals + 1 : argv[i], cell);
	}
	if (wrong) {
		result = cli_usage("%s", wrong);
	} else {
		result = shmkit_array_write(target->array, index, 1, cell);
		result = result ? cli_failed(result) : EXIT_YES;
	}
	free(cell);
	return result;
}

/* ---- the commands ---- */

static int run_value(int argc, char **argv, const struct command *command, uint64_t kinds, uint32_t flags,
		     int (*atomics)(const struct atomic *, const char *, int, char **),
		     int (*cells)(const struct target *, int, char **))
{
	static const struct option options[] = {
		TARGET_FORMAT_OPTIONS,
		{ "count", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	struct atomic atomic;
	struct target target;
	int first, result, opened;

	/* a negative number is no option */
	setenv("POSIXLY_CORRECT", "1", 1);
	CLI_OPTIONS(first, argc, argv, command, options, "n:t:", value_option);
	if (first == argc)
		return cli_usage("it takes a SEGMENT/STRUCTURE");
	result = target_open(argv[first], flags, &value.target, kinds, &target);
	if (result == EXIT_YES && target.entry.kind == SHMKIT_KIND_ARRAY) {
		result = cells(&target, argc - first - 1, argv + first + 1);
	} else if (result == EXIT_YES) {
		opened = atomic_open(target.segment, target.entry.name, target.entry.kind, &atomic);
		result = opened ? cli_failed(opened)
				: atomics(&atomic, target.entry.name, argc - first - 1, argv + first + 1);
		atomic_close(&atomic);
	}
	target_close(&target);
	return result;
}

static int get_atomic(const struct atomic *atomic, const char *name, int argc, char **argv)
{
	unsigned char bytes[8];

	(void)argv;
	if (argc > 0)
		return cli_usage("of an atomic it takes nothing more");
	atomic_load(atomic, bytes);
	show(&atomic->schema.fields[0], bytes, name);
	return EXIT_YES;
}

static int set_atomic(const struct atomic *atomic, const char *name, int argc, char **argv)
{
	unsigned char bytes[8] = { 0 };
	const char *wrong;

	(void)name;
	if (argc != 1)
		return cli_usage("of an atomic it takes one VALUE");
	wrong = element_field_parse(&atomic->schema.fields[0], argv[0], bytes);
	if (wrong)
		return cli_usage("%s", wrong);
	atomic_store(atomic, bytes);
	return EXIT_YES;
}

static int watch_atomic(const struct atomic *atomic, const char *name, int argc, char **argv)
{
	unsigned char bytes[8];
	int result = 0;

	(void)argv;
	if (argc > 0)
		return cli_usage("it takes one SEGMENT/ATOMIC");
	atomic_load(atomic, bytes);
	for (uint64_t shown = 0; result == 0 || result == -EINTR;) {
		if (result == 0) {
			show(&atomic->schema.fields[0], bytes, name);
			fflush(stdout);
			if (++shown == value.count || ferror(stdout))
				return EXIT_YES;
		}
		result = atomic_wait(atomic, bytes, value.timeout_ns);
	}
	return result == -ETIMEDOUT && value.count == 0 ? EXIT_YES : cli_failed(result);
}

static int run_get(int argc, char **argv)
{
	return run_value(argc, argv, commands_value, ATOMICS | ARRAYS, SHMKIT_READ_ONLY, get_atomic, get_cell);
}

static int run_set(int argc, char **argv)
{
	return run_value(argc, argv, &commands_value[1], ATOMICS | ARRAYS, 0, set_atomic, set_cell);
}

static int run_watch(int argc, char **argv)
{
	return run_value(argc, argv, &commands_value[2], ATOMICS, SHMKIT_READ_ONLY, watch_atomic, NULL);
}

const struct command commands_value[] = {
	{ "get", "[--json] SEGMENT/ATOMIC | SEGMENT/ARRAY INDEX [FIELD...]", "Show an atomic, or a cell of an array",
	  run_get },
	{ "set", "SEGMENT/ATOMIC VALUE | SEGMENT/ARRAY INDEX VALUE | SEGMENT/ARRAY INDEX FIELD=VALUE...",
	  "Store into an atomic, or a cell of an array", run_set },
	{ "watch", "[-n N] [-t SECONDS] SEGMENT/ATOMIC", "Show an atomic each time it changes", run_watch },
	{ .name = NULL },
};
