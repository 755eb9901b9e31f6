/* create, rm, add, del, label: what there is to be. */
#include "cli.h"
#include "element.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- create ---- */

static struct shmkit_segment_options creation = {
	.struct_size = sizeof(creation), .flags = SHMKIT_SEGMENT_PERSIST,
};
static uint64_t creation_size;

#define DEFAULT_SIZE (UINT64_C(1) << 20)

enum { OPTION_MAX_SIZE = OPTION_LONG, OPTION_TABLE, OPTION_ENTRIES, OPTION_NAME_SIZE, OPTION_MEMBERS, OPTION_MODE,
       OPTION_GROUP, OPTION_HUGE, OPTION_POPULATE, OPTION_REPLACE };

static bool parse_u32(const char *text, const char *what, uint32_t least, uint32_t most, uint32_t *ret_number)
{
	uint64_t number;

	if (!cli_parse_number(text, what, least, most, &number))
		return false;
	*ret_number = (uint32_t)number;
	return true;
}

static bool parse_mode(const char *text, uint32_t *ret_mode)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (end == text || *end || mode < 1 || mode > 0777) {
		cli_usage("--mode: '%s' is no octal mode up to 0777", text);
		return false;
	}
	*ret_mode = (uint32_t)mode;
	return true;
}

static bool parse_group(const char *text, uint32_t *ret_group)
{
	const struct group *group = getgrnam(text);

	if (group) {
		*ret_group = group->gr_gid;
		return true;
	}
	return parse_u32(text, "--group: not a name of a group", 0, UINT32_MAX - 1, ret_group);
}

static bool parse_table(const char *text, uint32_t *ret_table)
{
	static const char *const names[] = { "default", "small", "large" };

	for (uint32_t i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0) {
			*ret_table = i;
			return true;
		}
	cli_usage("--table: '%s' is none of small, default, large", text);
	return false;
}

static bool create_option(int option, char *argument)
{
	switch (option) {
	case 's':
		return cli_parse_size(argument, "--size", &creation_size);
	case OPTION_MAX_SIZE:
		return cli_parse_size(argument, "--max-size", &creation.max_size);
	case OPTION_TABLE:
		return parse_table(argument, &creation.table);
	case OPTION_ENTRIES:
		creation.table = SHMKIT_TABLE_CUSTOM;
		return parse_u32(argument, "--entries", 1, 4096, &creation.max_entries);
	case OPTION_NAME_SIZE:
		creation.table = SHMKIT_TABLE_CUSTOM;
		return parse_u32(argument, "--name-size", 2, 256, &creation.name_size);
	case OPTION_MEMBERS:
		return parse_u32(argument, "--members", 1, 1024, &creation.max_members);
	case OPTION_MODE:
		return parse_mode(argument, &creation.mode);
	case OPTION_GROUP:
		creation.flags |= SHMKIT_SEGMENT_GROUP;
		return parse_group(argument, &creation.group);
	case OPTION_HUGE:
		creation.flags |= SHMKIT_SEGMENT_HUGE_PAGES;
		return true;
	case OPTION_POPULATE:
		creation.flags |= SHMKIT_SEGMENT_POPULATE;
		return true;
	default:
		creation.flags |= SHMKIT_SEGMENT_REPLACE_DEAD;
		return true;
	}
}

static int run_create(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "max-size", required_argument, NULL, OPTION_MAX_SIZE },
		{ "table", required_argument, NULL, OPTION_TABLE },
		{ "entries", required_argument, NULL, OPTION_ENTRIES },
		{ "name-size", required_argument, NULL, OPTION_NAME_SIZE },
		{ "members", required_argument, NULL, OPTION_MEMBERS },
		{ "mode", required_argument, NULL, OPTION_MODE },
		{ "group", required_argument, NULL, OPTION_GROUP },
		{ "huge-pages", no_argument, NULL, OPTION_HUGE },
		{ "populate", no_argument, NULL, OPTION_POPULATE },
		{ "replace-damaged", no_argument, NULL, OPTION_REPLACE },
		{ NULL, 0, NULL, 0 },
	};
	struct shmkit_segment *segment;
	int first, result;

	creation_size = DEFAULT_SIZE;
	CLI_OPTIONS(first, argc, argv, commands_make, options, "s:", create_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT, not %d", argc - first);
	if (creation.table == SHMKIT_TABLE_CUSTOM) {
		creation.max_entries = creation.max_entries ? creation.max_entries : 64;
		creation.name_size = creation.name_size ? creation.name_size : 32;
	}
	result = shmkit_segment_create(argv[first], creation_size, &creation, &segment);
	if (result)
		return cli_failed(result);
	shmkit_segment_close(segment);
	return EXIT_YES;
}

/* ---- rm ---- */

static bool rm_force;

static bool rm_option(int option, char *argument)
{
	(void)option;
	(void)argument;
	rm_force = true;
	return true;
}

/* Its members who are alive; 0 also of what cannot be looked at. */
static uint32_t living_members(const char *name)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment;
	uint32_t members = 0;

	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment) != 0)
		return 0;
	if (shmkit_segment_get_info(segment, &info) == 0)
		members = info.members;
	shmkit_segment_close(segment);
	return members;
}

static int remove_segment(const char *name)
{
	uint32_t members = rm_force ? 0 : living_members(name);
	int result;

	if (members) {
		cli_say("'%s' is in use by %" PRIu32 " member%s; -f takes its name away all the same", cli_escaped(name),
			members, members == 1 ? "" : "s");
		return EXIT_NO;
	}
	result = shmkit_segment_unlink(name);
	if (result == -ENOENT && rm_force)
		return EXIT_YES;
	return result ? cli_failed(result) : EXIT_YES;
}

static int run_rm(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	int first, result = EXIT_YES;

	CLI_OPTIONS(first, argc, argv, &commands_make[1], options, "f", rm_option);
	if (first == argc)
		return cli_usage("it takes a SEGMENT, or more");
	for (int i = first; i < argc; i++) {
		int one = remove_segment(argv[i]);

		result = one ? one : result;
	}
	return result;
}

/* ---- add ---- */

static struct {
	uint64_t element_size, capacity, align;
	const char *schema, *initial;
	uint32_t flags;
} addition;

enum { OPTION_SCHEMA = OPTION_LONG, OPTION_ALIGN, OPTION_INITIAL, OPTION_MANY_PRODUCERS, OPTION_MANY_CONSUMERS };

static bool add_option(int option, char *argument)
{
	switch (option) {
	case 'e':
		return cli_parse_size(argument, "--element-size", &addition.element_size);
	case 'c':
		return cli_parse_size(argument, "--capacity", &addition.capacity);
	case OPTION_ALIGN:
		return cli_parse_number(argument, "--align", 1, 4096, &addition.align);
	case OPTION_SCHEMA:
		addition.schema = argument;
		return true;
	case OPTION_INITIAL:
		addition.initial = argument;
		return true;
	case OPTION_MANY_PRODUCERS:
		addition.flags |= SHMKIT_RING_MULTI_PRODUCER;
		return true;
	default:
		addition.flags |= SHMKIT_RING_MULTI_CONSUMER;
		return true;
	}
}

static int add_container(struct shmkit_segment *segment, uint32_t kind, const char *name)
{
	const struct shmkit_object_options object = {
		.struct_size = sizeof(object), .flags = addition.flags, .alignment = (uint32_t)addition.align,
		.schema = addition.schema,
	};
	uint32_t size = (uint32_t)addition.element_size;
	struct shmkit_array *array = NULL;
	struct shmkit_queue *queue = NULL;
	struct shmkit_ring *ring = NULL;
	struct shmkit_pool *pool = NULL;
	int result;

	switch (kind) {
	case SHMKIT_KIND_ARRAY:
		result = shmkit_array_create(segment, name, size, addition.capacity, &object, &array);
		break;
	case SHMKIT_KIND_QUEUE:
		result = shmkit_queue_create(segment, name, size, addition.capacity, &object, &queue);
		break;
	case SHMKIT_KIND_RING:
		result = shmkit_ring_create(segment, name, size, addition.capacity, &object, &ring);
		break;
	default:
		result = shmkit_pool_create(segment, name, size, addition.capacity, &object, &pool);
		break;
	}
	shmkit_array_close(array);
	shmkit_queue_close(queue);
	shmkit_ring_close(ring);
	shmkit_pool_close(pool);
	return result;
}

#define ADD_ATOMIC(TYPE, C_TYPE)                                                                    \
	do {                                                                                        \
		struct shmkit_atomic_##TYPE *made = NULL;                                           \
		C_TYPE value;                                                                       \
                                                                                                    \
		memcpy(&value, initial, sizeof(value));                                             \
		result = shmkit_atomic_##TYPE##_create(segment, name, value, &made);                \
		shmkit_atomic_##TYPE##_close(made);                                                 \
	} while (0)

static int add_atomic(struct shmkit_segment *segment, uint32_t kind, const char *name, const unsigned char *initial)
{
	int result;

	switch (kind) {
	case SHMKIT_KIND_ATOMIC_U32:
		ADD_ATOMIC(u32, uint32_t);
		break;
	case SHMKIT_KIND_ATOMIC_I32:
		ADD_ATOMIC(i32, int32_t);
		break;
	case SHMKIT_KIND_ATOMIC_U64:
		ADD_ATOMIC(u64, uint64_t);
		break;
	case SHMKIT_KIND_ATOMIC_I64:
		ADD_ATOMIC(i64, int64_t);
		break;
	case SHMKIT_KIND_ATOMIC_BOOL:
		ADD_ATOMIC(bool, uint8_t);
		break;
	default:
		ADD_ATOMIC(f64, double);
		break;
	}
	return result;
}

/* The initial value's bytes. */
static int parse_initial(uint32_t kind, unsigned char initial[8])
{
	const char *type = strrchr(cli_kind_name(kind), ' ');
	char text[24];
	struct schema schema;
	const char *wrong;

	memset(initial, 0, 8);
	snprintf(text, sizeof(text), "value:%s", type + 1);
	schema_parse(text, 0, &schema);
	wrong = addition.initial ? element_field_parse(&schema.fields[0], addition.initial, initial) : NULL;
	schema_free(&schema);
	return wrong ? cli_usage("--initial: %s", wrong) : EXIT_YES;
}

/* Size and capacity, of the schema where there is one. */
static int complete_container(void)
{
	struct schema schema;
	const char *wrong;

	if (addition.initial)
		return cli_usage("--initial is for atomics");
	if (addition.schema) {
		wrong = schema_parse(addition.schema, addition.element_size, &schema);
		addition.element_size = schema.size;
		schema_free(&schema);
		if (wrong)
			return cli_usage("--schema: %s", wrong);
	}
	if (addition.element_size < 1 || addition.element_size > UINT32_C(1) << 30)
		return cli_usage("an --element-size of 1 byte to 1G, or a --schema, is needed");
	if (!addition.capacity)
		return cli_usage("a --capacity is needed");
	return EXIT_YES;
}

static int run_add(int argc, char **argv)
{
	static const struct option options[] = {
		{ "element-size", required_argument, NULL, 'e' },
		{ "capacity", required_argument, NULL, 'c' },
		{ "schema", required_argument, NULL, OPTION_SCHEMA },
		{ "align", required_argument, NULL, OPTION_ALIGN },
		{ "initial", required_argument, NULL, OPTION_INITIAL },
		{ "multi-producer", no_argument, NULL, OPTION_MANY_PRODUCERS },
		{ "multi-consumer", no_argument, NULL, OPTION_MANY_CONSUMERS },
		{ NULL, 0, NULL, 0 },
	};
	unsigned char initial[8];
	struct shmkit_segment *segment;
	int first, result;
	uint32_t kind;

	CLI_OPTIONS(first, argc, argv, &commands_make[2], options, "e:c:", add_option);
	if (argc - first < 3)
		return cli_usage("it takes a SEGMENT, a KIND and a NAME, or more of them");
	kind = cli_kind(argv[first + 1]);
	if (!kind)
		return cli_usage("there is no kind '%s'; there are array, queue, ring, pool, and the atomics u32, i32, u64, "
				 "i64, bool, f64", argv[first + 1]);
	if (kind >= SHMKIT_KIND_ATOMIC_U32 && (addition.element_size || addition.capacity || addition.schema ||
					       addition.align || addition.flags))
		return cli_usage("an atomic has a size and a capacity of its own; of the options --initial alone is for it");
	result = kind < SHMKIT_KIND_ATOMIC_U32 ? complete_container() : parse_initial(kind, initial);
	if (result)
		return result;
	segment = cli_open(argv[first], 0, &result);
	if (!segment)
		return result;
	for (int i = first + 2; i < argc; i++) {
		int one = kind < SHMKIT_KIND_ATOMIC_U32 ? add_container(segment, kind, argv[i])
							: add_atomic(segment, kind, argv[i], initial);

		if (one)
			result = cli_failed(one);
	}
	shmkit_segment_close(segment);
	return result;
}

/* ---- del ---- */

static int run_del(int argc, char **argv)
{
	struct shmkit_segment *segment;
	int first, result = EXIT_YES;

	CLI_OPTIONS(first, argc, argv, &commands_make[3], NULL, "", NULL);
	if (argc - first < 2)
		return cli_usage("it takes a SEGMENT and a NAME, or more of them");
	segment = cli_open(argv[first], 0, &result);
	if (!segment)
		return result;
	for (int i = first + 1; i < argc; i++) {
		int one = shmkit_segment_remove(segment, argv[i]);

		if (one)
			result = cli_failed(one);
	}
	shmkit_segment_close(segment);
	return result;
}

/* ---- label ---- */

static int run_program(char **argv)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execvp(argv[0], argv);
		cli_say("%s: %s", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid < 0) {
		cli_say("%s: %s", argv[0], strerror(errno));
		return EXIT_OPEN;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return EXIT_OPEN;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_label(int argc, char **argv)
{
	struct shmkit_segment *segment;
	int first, result;

	/* what follows the program's name is its own */
	setenv("POSIXLY_CORRECT", "1", 1);
	CLI_OPTIONS(first, argc, argv, &commands_make[4], NULL, "", NULL);
	unsetenv("POSIXLY_CORRECT");
	if (argc - first < 3)
		return cli_usage("it takes a SEGMENT, a LABEL and a PROGRAM with its arguments");
	segment = cli_open(argv[first], 0, &result);
	if (!segment)
		return result;
	result = shmkit_segment_set_label(segment, argv[first + 1]);
	result = result ? cli_failed(result) : run_program(argv + first + 2);
	shmkit_segment_close(segment);
	return result;
}

const struct command commands_make[] = {
	{ "create", "[-s SIZE] [--max-size SIZE] [--table small|default|large] [--entries N] [--name-size N]\n"
	  "                     [--members N] [--mode MODE] [--group GROUP] [--huge-pages] [--populate]\n"
	  "                     [--replace-damaged] SEGMENT",
	  "Create a segment, which stays until it is removed", run_create },
	{ "rm", "[-f] SEGMENT...", "Remove segments that nobody uses", run_rm },
	{ "add", "[-e SIZE] [-c CAPACITY] [--schema S] [--align N] [--initial VALUE] [--multi-producer]\n"
	  "                  [--multi-consumer] SEGMENT KIND NAME...",
	  "Create structures in a segment", run_add },
	{ "del", "SEGMENT NAME...", "Remove structures from a segment", run_del },
	{ "label", "SEGMENT LABEL PROGRAM [ARGUMENT...]",
	  "Be a member of that label while a program runs", run_label },
	{ .name = NULL },
};
