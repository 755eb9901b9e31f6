/*
 * The memory layout of a segment, printed from its name table.
 */
#include "game.h"

#include <inttypes.h>
#include <stdio.h>

static const char *kind_name(uint32_t kind)
{
	switch (kind) {
	case SHMKIT_KIND_ARRAY:
		return "array";
	case SHMKIT_KIND_QUEUE:
		return "queue";
	case SHMKIT_KIND_RING:
		return "ring";
	case SHMKIT_KIND_POOL:
		return "pool";
	case SHMKIT_KIND_ATOMIC_U32:
		return "atomic u32";
	case SHMKIT_KIND_ATOMIC_U64:
		return "atomic u64";
	case SHMKIT_KIND_ATOMIC_BOOL:
		return "atomic bool";
	default:
		return "?";
	}
}

static const char *human_size(uint64_t size, char text[16])
{
	static const char units[] = { 'B', 'K', 'M', 'G' };
	double value = (double)size;
	size_t unit = 0;

	while (value >= 1024 && unit + 1 < sizeof(units)) {
		value /= 1024;
		unit++;
	}
	if (unit == 0)
		snprintf(text, 16, "%.0f B", value);
	else
		snprintf(text, 16, "%.1f %ciB", value, units[unit]);
	return text;
}

static void print_rule(const char *left, const char *right)
{
	fputs(left, stdout);
	for (int i = 0; i < 78; i++)
		fputs("─", stdout);
	puts(right);
}

static void print_row(uint64_t offset, uint64_t size, const char *kind, const char *name,
		      uint64_t capacity, uint64_t used)
{
	char text[16];

	printf("│ %#10" PRIx64 " │ %10s │ %-11s │ %-16s │ %8" PRIu64 " │ %6" PRIu64 " │\n",
	       offset, human_size(size, text), kind, name, capacity, used);
}

void print_memory_layout(const struct game *game, const char *name)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	char size[16], overhead[16], unused[16], title[128];
	uint32_t cursor = 0;
	int more;

	if (shmkit_segment_get_info(game->segment, &info) < 0)
		game_fail("cannot read the segment");
	print_rule("┌", "┐");
	snprintf(title, sizeof(title), "Shared memory '%.32s': %s, %" PRIu32 " of %" PRIu32
		 " names", name, human_size(info.size, size), info.entries, info.max_entries);
	printf("│ %-76s │\n", title);
	print_rule("├", "┤");
	printf("│ %10s │ %10s │ %-11s │ %-16s │ %8s │ %6s │\n", "offset", "size", "kind", "name",
	       "capacity", "used");
	print_rule("├", "┤");
	printf("│ %10s │ %10s │ %-50s │\n", "0x0", human_size(info.overhead, overhead),
	       "header, members and name table");
	while ((more = shmkit_segment_next_entry(game->segment, &cursor, &entry)) == 1)
		print_row(entry.offset, entry.size, kind_name(entry.kind), entry.name,
			  entry.capacity, entry.used);
	if (more < 0)
		game_fail("cannot read the name table");
	printf("│ %10s │ %10s │ %-50s │\n", "...", human_size(info.size - info.used, unused),
	       "unused");
	print_rule("└", "┘");
}
