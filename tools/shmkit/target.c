#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SCHEMA "line:char[256]"
#define DEFAULT_CAPACITY 1024u
#define BATCH_BYTES (64u << 10)

bool target_option(struct target_options *options, int option, char *argument, bool *ret_known)
{
	uint64_t number;

	*ret_known = true;
	switch (option) {
	case OPTION_TEXT:
		options->format = FORMAT_TEXT;
		return true;
	case OPTION_ELEMENTS:
		options->format = FORMAT_ELEMENTS;
		return true;
	case OPTION_SCHEMA:
		options->schema = argument;
		return true;
	case OPTION_CREATE:
		options->create.wanted = true;
		return true;
	case 'k':
		options->create.kind = cli_kind(argument);
		if (options->create.kind == SHMKIT_KIND_QUEUE || options->create.kind == SHMKIT_KIND_RING)
			return true;
		cli_usage("--kind: '%s' is neither queue nor ring", argument);
		return false;
	case 'e':
		if (!cli_parse_size(argument, "--element-size", &number))
			return false;
		if (number < 1 || number > UINT32_C(1) << 30) {
			cli_usage("--element-size: an element has 1 byte to 1G, not %s", argument);
			return false;
		}
		options->create.element_size = number;
		return true;
	case 'c':
		return cli_parse_number(argument, "--capacity", 1, INT64_MAX, &options->create.capacity);
	default:
		*ret_known = false;
		return true;
	}
}

/* ---- creating ---- */

static int create_structure(struct target *target, const char *name, const struct shmkit_object_options *object,
			    uint32_t kind, uint32_t size, uint64_t capacity)
{
	int result = kind == SHMKIT_KIND_RING
		     ? shmkit_ring_open_or_create(target->segment, name, size, capacity, object, &target->ring)
		     : shmkit_queue_open_or_create(target->segment, name, size, capacity, object, &target->queue);

	if (result < 0)
		return result;
	/* it will be opened again, as what it is */
	if (kind == SHMKIT_KIND_RING)
		shmkit_ring_close(target->ring);
	else
		shmkit_queue_close(target->queue);
	target->any = NULL;
	return 0;
}

/* What is not there: a segment as large as the structure needs, and the structure. */
static int create(struct target *target, const char *segment_name, const char *name,
		  const struct target_options *options)
{
	const struct shmkit_segment_options kept = { .struct_size = sizeof(kept), .flags = SHMKIT_SEGMENT_PERSIST };
	struct shmkit_object_options object = { .struct_size = sizeof(object) };
	uint32_t kind = options->create.kind ? options->create.kind : SHMKIT_KIND_QUEUE;
	uint64_t capacity = options->create.capacity ? options->create.capacity : DEFAULT_CAPACITY;
	uint64_t element_size = options->create.element_size, own = 0, needed = 0;
	struct schema schema;
	const char *wrong;
	char text[40];
	int result;

	object.schema = options->schema;
	if (!object.schema && options->format != FORMAT_ELEMENTS) {
		object.schema = DEFAULT_SCHEMA;
		if (element_size) {
			snprintf(text, sizeof(text), "line:char[%" PRIu64 "]", element_size);
			object.schema = text;
		}
	}
	if (object.schema) {
		wrong = schema_parse(object.schema, element_size, &schema);
		element_size = schema.size;
		schema_free(&schema);
		if (wrong)
			return cli_usage("--schema: %s", wrong);
	}
	if (!element_size)
		return cli_usage("--create needs an --element-size or a --schema here");
	if (kind == SHMKIT_KIND_RING)
		object.flags = SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER;
	result = shmkit_object_footprint(kind, (uint32_t)element_size, capacity, &object, &needed);
	if (result == 0)
		result = shmkit_segment_footprint(&kept, &own);
	if (result == 0)
		/* with room for as much again, and some more structures */
		result = shmkit_segment_open_or_create(segment_name, own + 2 * needed + (UINT64_C(1) << 20), &kept,
						       &target->segment);
	if (result >= 0)
		result = create_structure(target, name, &object, kind, (uint32_t)element_size, capacity);
	return result < 0 ? cli_failed(result) : EXIT_YES;
}

/* ---- opening ---- */

static int open_handle(struct target *target)
{
	const char *name = target->entry.name;
	uint32_t size = target->entry.element_size;   /* another that has come since is refused */

	switch (target->entry.kind) {
	case SHMKIT_KIND_ARRAY:
		return shmkit_array_open(target->segment, name, size, &target->array);
	case SHMKIT_KIND_QUEUE:
		return shmkit_queue_open(target->segment, name, size, &target->queue);
	case SHMKIT_KIND_RING:
		return shmkit_ring_open(target->segment, name, size, &target->ring);
	case SHMKIT_KIND_POOL:
		return shmkit_pool_open(target->segment, name, size, &target->pool);
	default:
		return 0;                   /* atomics are opened by type where they are used */
	}
}

static int understand(struct target *target, const struct target_options *options)
{
	const char *text = options->schema ? options->schema : target->entry.schema;
	const char *wrong = schema_parse(text, target->entry.element_size, &target->schema);

	if (wrong && options->schema)
		return cli_usage("--schema: %s", wrong);
	if (wrong)
		cli_say("the schema of '%s' is not used: %s", cli_escaped(target->entry.name), wrong);
	target->format = cli_output == OUTPUT_JSON ? FORMAT_JSON : options->format;
	if (target->format == FORMAT_CHOOSE)
		target->format = target->schema.is_text || target->schema.is_opaque ? FORMAT_TEXT : FORMAT_JSON;
	return EXIT_YES;
}

int target_open(const char *path, uint32_t flags, const struct target_options *options, uint64_t kinds,
		struct target *ret_target)
{
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	char segment_name[257];
	const char *name;
	int result = EXIT_YES;

	*ret_target = (struct target){ .segment = NULL };
	name = cli_split(path, segment_name);
	if (!name)
		return EXIT_USAGE;
	if (options->create.wanted)
		result = create(ret_target, segment_name, name, options);
	else
		ret_target->segment = cli_open(segment_name, flags, &result);
	if (result != EXIT_YES || !ret_target->segment)
		return result;
	result = shmkit_segment_find(ret_target->segment, name, &entry);
	if (result)
		return cli_failed(result);
	ret_target->entry = entry;
	if (ret_target->entry.kind > 63 || !(kinds >> ret_target->entry.kind & 1)) {
		cli_say("'%s' is of kind %s, with which this command has nothing to do", cli_escaped(name),
			cli_kind_name(ret_target->entry.kind));
		return EXIT_FORMAT;
	}
	result = open_handle(ret_target);
	if (result)
		return cli_failed(result);
	return understand(ret_target, options);
}

void target_close(struct target *target)
{
	if (target->any)
		switch (target->entry.kind) {
		case SHMKIT_KIND_ARRAY:
			shmkit_array_close(target->array);
			break;
		case SHMKIT_KIND_QUEUE:
			shmkit_queue_close(target->queue);
			break;
		case SHMKIT_KIND_RING:
			shmkit_ring_close(target->ring);
			break;
		case SHMKIT_KIND_POOL:
			shmkit_pool_close(target->pool);
			break;
		default:
			break;
		}
	target->any = NULL;
	schema_free(&target->schema);
	shmkit_segment_close(target->segment);
	target->segment = NULL;
}

uint64_t target_batch(const struct target *target)
{
	uint64_t count = BATCH_BYTES / target->entry.element_size;

	return count ? count : 1;
}

/* ---- printing ---- */

void target_print(const struct target *target, const void *element)
{
	size_t size = target->entry.element_size;

	if (target->format == FORMAT_ELEMENTS) {
		fwrite(element, 1, size, stdout);
	} else if (target->format == FORMAT_TEXT && isatty(STDOUT_FILENO)) {
		size_t length = strnlen(element, size);
		char *escaped = malloc(4 * length + 1);

		if (!escaped)
			abort();
		puts(cli_escape(element, length, escaped));
		free(escaped);
	} else if (target->format == FORMAT_TEXT) {
		fwrite(element, 1, strnlen(element, size), stdout);
		putchar_unlocked('\n');
	} else {
		json_t *object = element_to_json(&target->schema, element);

		json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(17));
		putchar_unlocked('\n');
		json_decref(object);
	}
}
