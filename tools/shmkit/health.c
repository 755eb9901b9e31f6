/* check, repair, gc: is it sound, and what is left over. */
#include "cli.h"
#include "properties.h"
#include "sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- check ---- */

static int check_one(const char *name)
{
	struct shmkit_segment *segment;
	int result = EXIT_YES, found;

	segment = cli_open(name, SHMKIT_READ_ONLY, &result);
	if (!segment)
		return result;
	found = shmkit_segment_check(segment);
	if (found)
		result = cli_failed(found);
	else if (cli_output != OUTPUT_JSON)
		printf("%s: sound\n", cli_escaped(name));
	shmkit_segment_close(segment);
	return result;
}

enum { C_NAME, C_STATE, C_WHY };

static const struct sheet_column check_columns[] = {
	[C_NAME] = { "NAME", "name", 0 },
	[C_STATE] = { "STATE", "sound", 0 },
	[C_WHY] = { "WHY", "why", SHEET_WIDE },
};

static int run_check(int argc, char **argv)
{
	struct sheet *sheet;
	int first, result = EXIT_YES;

	CLI_OPTIONS(first, argc, argv, commands_health, NULL, "", NULL);
	if (first == argc)
		return cli_usage("it takes a SEGMENT, or more");
	sheet = sheet_new("segments", check_columns, sizeof(check_columns) / sizeof(check_columns[0]));
	for (int i = first; i < argc; i++) {
		int one = check_one(argv[i]);

		if (cli_output == OUTPUT_JSON) {
			sheet_line(sheet);
			sheet_string(sheet, C_NAME, argv[i]);
			sheet_bool(sheet, C_STATE, one == EXIT_YES);
			if (one)
				sheet_string(sheet, C_WHY, shmkit_last_error());
		}
		result = one > result ? one : result;
	}
	if (cli_output == OUTPUT_JSON)
		sheet_print(sheet);
	else
		json_decref(sheet_take(sheet));
	return result;
}

/* ---- repair ---- */

/* Attaching cleans up already, and says nothing of it: what was done is what the queues count since. */
struct counts {
	uint64_t discarded, redelivered;
};

static void count_queues(struct shmkit_segment *segment, struct counts *to)
{
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_queue *queue;
	uint32_t cursor = 0;

	while (shmkit_segment_next_entry(segment, &cursor, &entry) == 1) {
		if (entry.kind != SHMKIT_KIND_QUEUE || shmkit_queue_open(segment, entry.name, 0, &queue) != 0)
			continue;
		if (shmkit_queue_get_stats(queue, &stats) == 0) {
			to->discarded += stats.discarded;
			to->redelivered += stats.redelivered;
		}
		shmkit_queue_close(queue);
	}
}

static int run_repair(int argc, char **argv)
{
	struct counts was = { 0, 0 }, is = { 0, 0 };
	struct shmkit_segment_info before = { .struct_size = sizeof(before) }, after = before;
	struct shmkit_segment *segment;
	struct properties properties;
	json_t *document;
	int first, result, found;

	CLI_OPTIONS(first, argc, argv, &commands_health[1], NULL, "", NULL);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT, not %d", argc - first);
	/* attaching alone cleans up; who reads only sees how it was before */
	segment = cli_open(argv[first], SHMKIT_READ_ONLY, &result);
	if (!segment)
		return result;
	found = shmkit_segment_get_info(segment, &before);
	count_queues(segment, &was);
	shmkit_segment_close(segment);
	if (found)
		return cli_failed(found);
	segment = cli_open(argv[first], 0, &result);
	if (!segment)
		return result;
	found = shmkit_segment_recover(segment, NULL);
	if (found == 0)
		found = shmkit_segment_get_info(segment, &after);
	if (found == 0)
		found = shmkit_segment_check(segment);
	if (found) {
		result = cli_failed(found);
	} else {
		properties_begin(&properties);
		property_number(&properties, "members", after.recoveries - before.recoveries);
		count_queues(segment, &is);
		property_number(&properties, "discarded", is.discarded - was.discarded);
		property_number(&properties, "redelivered", is.redelivered - was.redelivered);
		if (cli_output == OUTPUT_JSON) {
			document = sheet_document();
			json_object_set(document, "repaired", properties.object);
			sheet_print_document(document);
		}
		json_decref(properties.object);
		result = EXIT_YES;
	}
	shmkit_segment_close(segment);
	return result;
}

/* ---- gc ---- */

static bool gc_yes, gc_persistent;

enum { OPTION_YES = OPTION_LONG, OPTION_PERSISTENT };

static bool gc_option(int option, char *argument)
{
	(void)argument;
	if (option == OPTION_PERSISTENT)
		gc_persistent = true;
	else
		gc_yes = true;
	return true;
}

enum { GC_NAME, GC_SIZE, GC_WHAT, GC_DONE };

static const struct sheet_column gc_columns[] = {
	[GC_NAME] = { "NAME", "name", SHEET_WIDE },
	[GC_SIZE] = { "MEMORY", "allocated", SHEET_RIGHT },
	[GC_WHAT] = { "STATE", "state", 0 },
	[GC_DONE] = { "ACTION", "action", 0 },
};

/* What is nobody's: NULL in use, or not to be looked at. */
static const char *nobodys(const struct found_segment *found, bool *ret_persistent)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment;
	int result;

	*ret_persistent = false;
	if (!found->readable)
		return NULL;
	result = shmkit_segment_open(found->name, SHMKIT_READ_ONLY, &segment);
	if (result == -EPROTO) {
		*ret_persistent = true;     /* nobody knows what it is to somebody */
		return "damaged";
	}
	if (result)
		return NULL;
	result = shmkit_segment_get_info(segment, &info);
	shmkit_segment_close(segment);
	if (result || info.members)
		return NULL;
	*ret_persistent = (info.flags & SHMKIT_SEGMENT_PERSIST) != 0;
	return *ret_persistent ? "kept" : "left over";
}

static int run_gc(int argc, char **argv)
{
	static const struct option options[] = {
		{ "yes", no_argument, NULL, 'y' },
		{ "persistent", no_argument, NULL, OPTION_PERSISTENT },
		{ NULL, 0, NULL, 0 },
	};
	struct found_segment *found;
	struct sheet *sheet;
	int first, result = EXIT_NO, failed = EXIT_YES;
	int64_t count;

	CLI_OPTIONS(first, argc, argv, &commands_health[2], options, "y", gc_option);
	if (first != argc)
		return cli_usage("it takes no arguments");
	count = cli_find_segments(&found);
	if (count < 0)
		return EXIT_OPEN;
	sheet = sheet_new("segments", gc_columns, sizeof(gc_columns) / sizeof(gc_columns[0]));
	for (int64_t i = 0; i < count; i++) {
		bool persistent, remove;
		const char *state = nobodys(&found[i], &persistent);
		const char *action = "keep (--persistent)";

		if (!state)
			continue;
		remove = !persistent || gc_persistent;
		if (remove && gc_yes) {
			int removed = shmkit_segment_unlink(found[i].name);

			action = removed ? "could not be removed" : "removed";
			if (removed)
				failed = cli_failed(removed);
		} else if (remove) {
			action = "remove (--yes)";
		}
		sheet_line(sheet);
		sheet_string(sheet, GC_NAME, found[i].name);
		sheet_bytes(sheet, GC_SIZE, found[i].allocated);
		sheet_string(sheet, GC_WHAT, state);
		sheet_string(sheet, GC_DONE, action);
		result = EXIT_YES;
	}
	free(found);
	sheet_print(sheet);
	return failed ? failed : result;
}

const struct command commands_health[] = {
	{ "check", "SEGMENT...", "Tell whether segments are sound", run_check },
	{ "repair", "SEGMENT", "Clean up after dead members, and tell what was done", run_repair },
	{ "gc", "[--yes] [--persistent]", "List segments that nobody uses, and remove them", run_gc },
	{ .name = NULL },
};
