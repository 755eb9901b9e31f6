/* dump, tail: what is in a structure, without taking anything. */
#include "sheet.h"
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>


/* ---- walking the elements ---- */

/* number: an index, a position or a handle, as the kind has it. False ends the walk. */
typedef bool (*visit)(void *context, uint64_t number, const void *element);

struct range {
	uint64_t from, count;               /* of indices or positions; count 0: all */
};

static unsigned char *room_for(const struct target *target, uint64_t count)
{
	unsigned char *elements = calloc(count, target->entry.element_size);

	if (!elements) {
		cli_say("there is no memory for %" PRIu64 " elements", count);
		abort();
	}
	return elements;
}

static int64_t walk_array(const struct target *target, struct range range, visit each, void *context)
{
	uint64_t end = range.count && range.count < target->entry.capacity - range.from ? range.from + range.count
											 : target->entry.capacity;
	unsigned char *elements = room_for(target, target_batch(target));
	int64_t result = 0;

	for (uint64_t at = range.from; result == 0 && at < end;) {
		uint64_t some = end - at < target_batch(target) ? end - at : target_batch(target);

		result = shmkit_array_read(target->array, at, some, elements);
		for (uint64_t i = 0; result == 0 && i < some; i++)
			if (!each(context, at + i, elements + i * target->entry.element_size))
				end = 0;
		at += some;
	}
	free(elements);
	return result;
}

static int64_t walk_pool(const struct target *target, struct range range, visit each, void *context)
{
	unsigned char *element = room_for(target, 1);
	uint64_t cursor = 0, handle, seen = 0;
	int64_t result;

	while ((result = shmkit_pool_next(target->pool, &cursor, &handle)) == 1) {
		int64_t index = shmkit_pool_index(target->pool, handle);

		if (index < (int64_t)range.from || shmkit_pool_read(target->pool, handle, element) != 0)
			continue;           /* before the range, or released meanwhile */
		if (!each(context, handle, element) || (range.count && ++seen == range.count))
			break;
	}
	free(element);
	return result < 0 ? result : 0;
}

/* The newest of what is held, or from a position on. */
static int64_t walk_ring(const struct target *target, struct range range, visit each, void *context)
{
	uint64_t pushed = shmkit_ring_total_pushed(target->ring), seen = 0, lost;
	unsigned char *elements = room_for(target, target_batch(target));
	struct shmkit_ring_reader *reader = NULL;
	int64_t result = shmkit_ring_reader_open(target->ring, SHMKIT_READ_FROM_OLDEST, &reader);

	if (result == 0 && range.from)
		result = shmkit_ring_reader_seek(reader, range.from);
	while (result >= 0 && (!range.count || seen < range.count)) {
		uint64_t wanted = range.count && range.count - seen < target_batch(target) ? range.count - seen : target_batch(target), at;

		result = shmkit_ring_reader_read(reader, elements, wanted, &lost);
		if (result <= 0)
			break;
		at = shmkit_ring_reader_position(reader) - (uint64_t)result;
		for (int64_t i = 0; i < result && at + (uint64_t)i < pushed; i++)
			if (!each(context, at + (uint64_t)i, elements + (uint64_t)i * target->entry.element_size))
				break;
		seen += (uint64_t)result;
		if (at + (uint64_t)result >= pushed)
			break;              /* what was pushed since is another dump's */
	}
	shmkit_ring_reader_close(reader);
	free(elements);
	return result < 0 && result != -ESHUTDOWN ? result : 0;
}

static int64_t walk(const struct target *target, struct range range, visit each, void *context)
{
	switch (target->entry.kind) {
	case SHMKIT_KIND_ARRAY:
		return walk_array(target, range, each, context);
	case SHMKIT_KIND_POOL:
		return walk_pool(target, range, each, context);
	default:
		return walk_ring(target, range, each, context);
	}
}

/* ---- dump ---- */

static struct {
	struct target_options target;
	struct range range;
	bool csv;
} dump;

enum { OPTION_CSV = OPTION_LONG, OPTION_FROM };

static bool dump_option(int option, char *argument)
{
	bool known;

	if (!target_option(&dump.target, option, argument, &known))
		return false;
	switch (option) {
	case OPTION_CSV:
		dump.csv = true;
		break;
	case OPTION_FROM:
		return cli_parse_number(argument, "--from", 0, INT64_MAX, &dump.range.from);
	case 'n':
		return cli_parse_number(argument, "-n", 1, INT64_MAX, &dump.range.count);
	default:
		break;
	}
	return true;
}

static const char *number_title(uint32_t kind)
{
	return kind == SHMKIT_KIND_ARRAY ? "index" : kind == SHMKIT_KIND_POOL ? "handle" : "position";
}

struct dumping {
	const struct target *target;
	struct sheet *sheet;
	uint64_t count;
};

/* RFC 4180: what holds a comma, a quote or a line's end is quoted. */
static void print_csv(const char *text, bool first)
{
	bool quoted = strpbrk(text, ",\"\r\n") != NULL;

	if (!first)
		putchar(',');
	if (quoted)
		putchar('"');
	for (; *text; text++) {
		if (*text == '"')
			putchar('"');
		putchar(*text);
	}
	if (quoted)
		putchar('"');
}

static bool dump_csv(void *context, uint64_t number, const void *element)
{
	struct dumping *dumping = context;
	const struct schema *schema = &dumping->target->schema;
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	print_csv(text, true);
	for (size_t i = 0; i < schema->count; i++) {
		char *value = element_field_text(&schema->fields[i], element);

		print_csv(value, false);
		free(value);
	}
	putchar('\n');
	dumping->count++;
	return !ferror(stdout);
}

static bool dump_bytes(void *context, uint64_t number, const void *element)
{
	struct dumping *dumping = context;

	(void)number;
	fwrite(element, 1, dumping->target->entry.element_size, stdout);
	dumping->count++;
	return !ferror(stdout);
}

static bool dump_line(void *context, uint64_t number, const void *element)
{
	struct dumping *dumping = context;
	const struct schema *schema = &dumping->target->schema;

	sheet_line(dumping->sheet);
	sheet_number(dumping->sheet, 0, number);
	for (size_t i = 0; i < schema->count; i++) {
		char *value = element_field_text(&schema->fields[i], element);

		sheet_json(dumping->sheet, i + 1, value, element_field_json(&schema->fields[i], element));
		free(value);
	}
	dumping->count++;
	return true;
}

/* A column for each field. */
static struct sheet_column *dump_columns(const struct target *target)
{
	const struct schema *schema = &target->schema;
	struct sheet_column *columns = calloc(schema->count + 1, sizeof(*columns));

	if (!columns)
		abort();
	columns[0] = (struct sheet_column){ number_title(target->entry.kind), number_title(target->entry.kind),
					    SHEET_RIGHT };
	for (size_t i = 0; i < schema->count; i++) {
		const struct field *field = &schema->fields[i];
		bool number = !field->is_array && field->type != FIELD_CHAR && field->type != FIELD_BOOL;

		columns[i + 1] = (struct sheet_column){ field->name, field->name, number ? SHEET_RIGHT : 0 };
	}
	return columns;
}

static int dump_all(const struct target *target)
{
	struct dumping dumping = { .target = target };
	struct sheet_column *columns = NULL;
	int64_t result;

	if (dump.range.from > target->entry.capacity && target->entry.kind != SHMKIT_KIND_RING)
		return cli_usage("--from: there are %" PRIu64 " elements", target->entry.capacity);
	if (dump.csv) {
		print_csv(number_title(target->entry.kind), true);
		for (size_t i = 0; i < target->schema.count; i++)
			print_csv(target->schema.fields[i].name, false);
		putchar('\n');
		result = walk(target, dump.range, dump_csv, &dumping);
	} else if (cli_output == OUTPUT_RAW || target->format == FORMAT_ELEMENTS) {
		result = walk(target, dump.range, dump_bytes, &dumping);
	} else {
		columns = dump_columns(target);
		dumping.sheet = sheet_new("elements", columns, target->schema.count + 1);
		result = walk(target, dump.range, dump_line, &dumping);
		sheet_print(dumping.sheet);
		free(columns);
	}
	if (result < 0)
		return cli_failed(result);
	return dumping.count ? EXIT_YES : EXIT_NO;
}

static int run_dump(int argc, char **argv)
{
	static const struct option options[] = {
		TARGET_FORMAT_OPTIONS,
		{ "csv", no_argument, NULL, OPTION_CSV },
		{ "from", required_argument, NULL, OPTION_FROM },
		{ "count", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	struct target target;
	int first, result;

	CLI_OPTIONS(first, argc, argv, commands_view, options, "n:", dump_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT/STRUCTURE, not %d arguments", argc - first);
	result = target_open(argv[first], SHMKIT_READ_ONLY, &dump.target,
			     UINT64_C(1) << SHMKIT_KIND_ARRAY | UINT64_C(1) << SHMKIT_KIND_POOL |
			     UINT64_C(1) << SHMKIT_KIND_RING, &target);
	if (result == EXIT_YES)
		result = dump_all(&target);
	target_close(&target);
	return result;
}

/* ---- tail ---- */

static struct {
	struct target_options target;
	bool follow;
	uint64_t count;
	int64_t timeout_ns;
} tail = { .count = 10, .timeout_ns = -1 };

static bool tail_option(int option, char *argument)
{
	bool known;

	if (!target_option(&tail.target, option, argument, &known))
		return false;
	switch (option) {
	case 'f':
		tail.follow = true;
		break;
	case 'n':
		return cli_parse_number(argument, "-n", 0, INT64_MAX, &tail.count);
	case 't':
		tail.follow = true;
		return cli_parse_seconds(argument, "--timeout", &tail.timeout_ns);
	default:
		break;
	}
	return true;
}

/* From count before the newest on; how many were printed, or -errno. */
static int64_t tail_ring(const struct target *target, struct shmkit_ring_reader *reader)
{
	uint64_t pushed = shmkit_ring_total_pushed(target->ring), printed = 0, lost;
	uint64_t before = tail.count < target->entry.capacity ? tail.count : target->entry.capacity;
	unsigned char *elements = room_for(target, target_batch(target));
	int64_t result = shmkit_ring_reader_seek(reader, pushed > before ? pushed - before : 0);
	bool began = false;

	while (result >= 0 && !ferror(stdout)) {
		lost = 0;
		result = began && tail.follow ? shmkit_ring_reader_wait(reader, elements, target_batch(target), &lost, tail.timeout_ns)
					      : shmkit_ring_reader_read(reader, elements, target_batch(target), &lost);
		/* what was gone before it began was not missed */
		if (lost && began)
			cli_say("%" PRIu64 " element%s overwritten before they were read", lost, lost == 1 ? " was" : "s were");
		if (result == 0) {
			if (!tail.follow)
				break;
			began = true;
			continue;
		}
		/* those that were there, and not those that come meanwhile */
		if (!tail.follow && result > 0 && (uint64_t)result > before - printed)
			result = (int64_t)(before - printed);
		for (int64_t i = 0; i < result; i++)
			target_print(target, elements + (uint64_t)i * target->entry.element_size);
		printed += result > 0 ? (uint64_t)result : 0;
		began = true;
		fflush(stdout);
		if (!tail.follow && printed >= before)
			break;
	}
	free(elements);
	return result < 0 && result != -ESHUTDOWN && result != -ETIMEDOUT ? result : (int64_t)printed;
}

static int run_tail(int argc, char **argv)
{
	static const struct option options[] = {
		TARGET_FORMAT_OPTIONS,
		{ "follow", no_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ NULL, 0, NULL, 0 },
	};
	struct shmkit_ring_reader *reader = NULL;
	struct target target;
	int first, result;
	int64_t printed;

	CLI_OPTIONS(first, argc, argv, &commands_view[1], options, "fn:t:", tail_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT/RING, not %d arguments", argc - first);
	result = target_open(argv[first], SHMKIT_READ_ONLY, &tail.target, UINT64_C(1) << SHMKIT_KIND_RING, &target);
	if (result == EXIT_YES) {
		printed = shmkit_ring_reader_open(target.ring, SHMKIT_READ_FROM_OLDEST, &reader);
		if (printed == 0)
			printed = tail_ring(&target, reader);
		result = printed < 0 ? cli_failed(printed) : printed == 0 ? EXIT_NO : EXIT_YES;
		shmkit_ring_reader_close(reader);
	}
	target_close(&target);
	return result;
}

const struct command commands_view[] = {
	{ "dump", "[--csv|--json|--raw] [--from N] [-n N] [--schema S] SEGMENT/STRUCTURE",
	  "Show the elements of an array, a pool or a ring", run_dump },
	{ "tail", "[-f] [-n N] [-t SECONDS] [--text|--json|--elements] [--schema S] SEGMENT/RING",
	  "Show the newest elements of a ring, and those that come", run_tail },
	{ .name = NULL },
};
