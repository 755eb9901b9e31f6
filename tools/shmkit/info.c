/* info: one segment and what is in it, or one structure. */
#include "cli.h"
#include "properties.h"
#include "sheet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { E_NAME, E_KIND, E_ELEMENT, E_CAPACITY, E_USED, E_FULL, E_SIZE, E_OFFSET, E_FLAGS, E_SCHEMA };

static const struct sheet_column entry_columns[] = {
	[E_NAME] = { "NAME", "name", SHEET_WIDE },
	[E_KIND] = { "KIND", "kind", 0 },
	[E_ELEMENT] = { "ELEMENT", "element_size", SHEET_RIGHT },
	[E_CAPACITY] = { "CAPACITY", "capacity", SHEET_RIGHT },
	[E_USED] = { "USED", "used", SHEET_RIGHT },
	[E_FULL] = { "FULL", "full_percent", SHEET_RIGHT },
	[E_SIZE] = { "SIZE", "size", SHEET_RIGHT },
	[E_OFFSET] = { "OFFSET", "offset", SHEET_RIGHT },
	[E_FLAGS] = { "FLAGS", "flags", SHEET_HIDDEN },
	[E_SCHEMA] = { "SCHEMA", "schema", SHEET_WIDE },
};

static void entry_line(struct sheet *sheet, const struct shmkit_entry_info *entry)
{
	uint64_t percent = entry->capacity ? (uint64_t)((double)entry->used * 100 / (double)entry->capacity) : 0;
	char shown[8];

	sheet_line(sheet);
	sheet_string(sheet, E_NAME, entry->name);
	sheet_string(sheet, E_KIND, cli_kind_name(entry->kind));
	sheet_bytes(sheet, E_ELEMENT, entry->element_size);
	sheet_number(sheet, E_CAPACITY, entry->capacity);
	sheet_number(sheet, E_USED, entry->used);
	snprintf(shown, sizeof(shown), "%" PRIu64 "%%", percent > 100 ? 100 : percent);
	/* of what is always full nothing is said */
	if (entry->kind == SHMKIT_KIND_QUEUE || entry->kind == SHMKIT_KIND_RING || entry->kind == SHMKIT_KIND_POOL) {
		sheet_json(sheet, E_FULL, shown, json_integer((json_int_t)percent));
		if (percent >= 90)
			sheet_color(sheet, E_FULL, percent >= 100 ? "red" : "brown");
	}
	sheet_bytes(sheet, E_SIZE, entry->size);
	sheet_number(sheet, E_OFFSET, entry->offset);
	sheet_number(sheet, E_FLAGS, entry->flags);
	sheet_string(sheet, E_SCHEMA, entry->schema);
}

static struct sheet *entry_sheet(void)
{
	return sheet_new("entries", entry_columns, sizeof(entry_columns) / sizeof(entry_columns[0]));
}

static void flag_names(uint32_t flags, char *to, size_t size)
{
	snprintf(to, size, "%s%s%s%s", flags & SHMKIT_SEGMENT_PERSIST ? "persist " : "",
		 flags & SHMKIT_SEGMENT_HUGE_PAGES ? "huge-pages " : "",
		 flags & SHMKIT_SEGMENT_POPULATE ? "populate " : "", flags & SHMKIT_SEGMENT_UNLINKED ? "unlinked " : "");
	if (*to)
		to[strlen(to) - 1] = 0;
	else
		snprintf(to, size, "none");
}

/* ---- a segment ---- */

static int show_segment(struct shmkit_segment *segment, const char *name)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct found_segment file;
	struct properties properties;
	struct sheet *sheet;
	json_t *document;
	uint32_t cursor = 0;
	char flags[80];
	int result = shmkit_segment_get_info(segment, &info);

	if (result)
		return cli_failed(result);
	properties_begin(&properties);
	property_string(&properties, "name", name + (*name == '/'));
	property_number(&properties, "format_version", info.format_version);
	property_bytes(&properties, "size", info.size);
	property_bytes(&properties, "max_size", info.max_size);
	property_bytes(&properties, "used", info.used);
	property_bytes(&properties, "overhead", info.overhead);
	if (cli_stat_segment(name, &file)) {
		property_bytes(&properties, "allocated", file.allocated);
		snprintf(flags, sizeof(flags), "%04" PRIo32, file.mode);
		property_string(&properties, "mode", flags);
		property_number(&properties, "uid", file.uid);
		property_number(&properties, "gid", file.gid);
	}
	property_number(&properties, "entries", info.entries);
	property_number(&properties, "max_entries", info.max_entries);
	property_number(&properties, "name_size", info.name_size);
	property_number(&properties, "members", info.members);
	property_number(&properties, "max_members", info.max_members);
	property_number(&properties, "recoveries", info.recoveries);
	flag_names(info.flags, flags, sizeof(flags));
	property_string(&properties, "flags", flags);

	sheet = entry_sheet();
	while ((result = shmkit_segment_next_entry(segment, &cursor, &entry)) == 1)
		entry_line(sheet, &entry);
	if (cli_output == OUTPUT_JSON) {
		document = sheet_document();
		json_object_set_new(properties.object, "structures", sheet_take(sheet));
		json_object_set(document, "segment", properties.object);
		sheet_print_document(document);
	} else {
		if (info.entries)
			putchar('\n');
		sheet_print(sheet);
	}
	json_decref(properties.object);
	return result < 0 ? cli_failed(result) : EXIT_YES;
}

/* ---- a structure ---- */

static void add_queue(struct properties *properties, struct shmkit_segment *segment, const char *name)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_queue *queue;

	if (shmkit_queue_open(segment, name, 0, &queue) != 0)
		return;
	if (shmkit_queue_get_stats(queue, &stats) == 0) {
		property_number(properties, "enqueued", stats.enqueued);
		property_number(properties, "dequeued", stats.dequeued);
		property_number(properties, "discarded", stats.discarded);
		property_number(properties, "redelivered", stats.redelivered);
	}
	shmkit_queue_close(queue);
}

static void add_ring(struct properties *properties, struct shmkit_segment *segment, const char *name)
{
	struct shmkit_ring *ring;

	if (shmkit_ring_open(segment, name, 0, &ring) != 0)
		return;
	property_number(properties, "pushed", shmkit_ring_total_pushed(ring));
	property_number(properties, "dropped", shmkit_ring_total_dropped(ring));
	shmkit_ring_close(ring);
}

static int show_structure(struct shmkit_segment *segment, const char *name)
{
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct properties properties;
	json_t *document;
	int result = shmkit_segment_find(segment, name, &entry);

	if (result)
		return cli_failed(result);
	properties_begin(&properties);
	property_string(&properties, "name", entry.name);
	property_string(&properties, "kind", cli_kind_name(entry.kind));
	property_bytes(&properties, "element_size", entry.element_size);
	property_number(&properties, "capacity", entry.capacity);
	property_number(&properties, "used", entry.used);
	property_bytes(&properties, "size", entry.size);
	property_number(&properties, "offset", entry.offset);
	property_number(&properties, "flags", entry.flags);
	property_string(&properties, "schema", entry.schema);
	if (entry.kind == SHMKIT_KIND_QUEUE)
		add_queue(&properties, segment, name);
	else if (entry.kind == SHMKIT_KIND_RING)
		add_ring(&properties, segment, name);
	if (cli_output == OUTPUT_JSON) {
		document = sheet_document();
		json_object_set(document, "structure", properties.object);
		sheet_print_document(document);
	}
	json_decref(properties.object);
	return EXIT_YES;
}

static bool names_only;

static bool info_option(int option, char *argument)
{
	(void)option;
	(void)argument;
	names_only = true;
	return true;
}

static int print_names(struct shmkit_segment *segment)
{
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	uint32_t cursor = 0;
	int result;

	while ((result = shmkit_segment_next_entry(segment, &cursor, &entry)) == 1)
		puts(cli_escaped(entry.name));
	return result ? cli_failed(result) : EXIT_YES;
}

static int run_info(int argc, char **argv)
{
	static const struct option options[] = {
		{ "names", no_argument, NULL, OPTION_LONG },
		{ NULL, 0, NULL, 0 },
	};
	struct shmkit_segment *segment;
	const char *segment_name, *name = NULL;
	char split[257];
	int first, result = EXIT_OPEN;

	CLI_OPTIONS(first, argc, argv, commands_info, options, "", info_option);
	if (argc - first < 1 || argc - first > 2)
		return cli_usage("it takes a SEGMENT, and perhaps a NAME, not %d arguments", argc - first);
	segment_name = argv[first];
	if (argc - first == 2) {
		name = argv[first + 1];
	} else if (strchr(segment_name + (*segment_name == '/'), '/')) {
		name = cli_split(segment_name, split);
		if (!name)
			return EXIT_USAGE;
		segment_name = split;
	}
	segment = cli_open(segment_name, SHMKIT_READ_ONLY, &result);
	if (!segment)
		return result;
	result = name ? show_structure(segment, name) : names_only ? print_names(segment)
		 : show_segment(segment, segment_name);
	shmkit_segment_close(segment);
	return result;
}

const struct command commands_info[] = {
	{ "info", "SEGMENT [NAME] | SEGMENT/NAME | --names SEGMENT", "Show a segment and its structures, or one of them", run_info },
	{ .name = NULL },
};
