/* What must be true of a table when all have ended or are dead: explore_table.c. */
#include "table_oracle.h"

#include "lock.h"

#include <errno.h>
#include <string.h>

/* Each living process announces what it has open, no more and no less. */
static void check_announcements(void)
{
	for (unsigned p = 0; p < SIM_PROCESSES; p++) {
		const struct shmkit_segment *segment = fixture_segments[p];

		if (!sim_world.processes[p].alive || !segment)
			continue;
		for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
			bool open = *shk_member_open_word(segment, segment->member_id, i) >> i & 1;

			if (open != (segment->open_counts[i] > 0))
				sim_fail("process %u has entry %u open %u times, and announces %d", p, i,
					 segment->open_counts[i], open);
		}
	}
}

static void check_table(bool closed)
{
	const struct shmkit_segment *segment = fixture_segments[0];
	uint64_t end[TABLE_ENTRIES] = { 0 }, start[TABLE_ENTRIES] = { 0 };
	unsigned count[NAMES] = { 0 };

	if (shk_lock_is_held(shk_header(segment)->table_lock))
		sim_fail("the table is locked by member %u", shk_lock_owner(shk_header(segment)->table_lock));
	for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
		const struct shk_entry_shm *entry = shk_entry(segment, i);
		unsigned state = shk_entry_state(entry->word);

		if (state == SHK_ENTRY_INIT || state == SHK_ENTRY_REAP ||
		    (closed && state == SHK_ENTRY_DYING))
			sim_fail("entry %u is left in state %u", i, state);
		if (state == SHK_ENTRY_FREE)
			continue;
		start[i] = entry->offset;
		end[i] = entry->offset + entry->size;
		for (uint32_t k = 0; k < i; k++)
			if (start[i] < end[k] && start[k] < end[i])
				sim_fail("entries %u and %u overlap", k, i);
		for (unsigned n = 0; n < NAMES && state == SHK_ENTRY_LIVE; n++)
			count[n] += strcmp(shk_entry_name(segment, i), table_names[n]) == 0;
	}
	for (unsigned n = 0; n < NAMES; n++)
		if (count[n] != known[n].live)
			sim_fail("'%s' is there %u times, and should be %d", table_names[n], count[n],
				 known[n].live);
}

/* Who still has a handle on what is there reads what was written there. */
static void check_contents(void)
{
	uint64_t words[TABLE_WORDS];

	for (unsigned p = 1; p < SIM_PROCESSES; p++)
		for (unsigned n = 0; n < NAMES; n++) {
			struct shk_object *object = hands[p].held[n];

			if (!sim_world.processes[p].alive || !object || !is_current(object))
				continue;
			sim_act_as(p);
			if (object->shape.kind == SHMKIT_KIND_ARRAY)
				expect(shmkit_array_read((struct shmkit_array *)object, 0, TABLE_WORDS,
							 words),
				       0, "array_read");
			for (unsigned i = 0; i < TABLE_WORDS && object->shape.kind == SHMKIT_KIND_ARRAY; i++)
				check_word(object, words[i], "the audit");
		}
	sim_act_as(0);
}

static void check_locks(void)
{
	const struct sim_file *file = &sim_world.files[0];

	for (unsigned i = 0; i < file->byte_count; i++)
		if (file->bytes[i].byte - SHK_LOCK_ENTRY < TABLE_ENTRIES &&
		    (file->bytes[i].readers || file->bytes[i].writer >= 0))
			sim_fail("entry %u is still locked",
				 (unsigned)(file->bytes[i].byte - SHK_LOCK_ENTRY));
}

static void close_everybody(void)
{
	for (unsigned p = 1; p < SIM_PROCESSES; p++) {
		unsigned blocks = hands[p].observer ? 4 : 2;

		if (!sim_world.processes[p].alive)
			continue;
		sim_act_as(p);
		close_all(p);
		if (fixture_segments[p] && sim_heap_blocks(p) != blocks)
			sim_fail("process %u has %u blocks of memory left, not %u", p,
				 sim_heap_blocks(p), blocks);
	}
	sim_act_as(0);
	check_locks();
}

static uint64_t used(void)
{
	uint32_t entries;

	return fixture_used(&entries);
}

/* All names, then all bytes in one piece. */
static void fill_again(void)
{
	struct shmkit_segment *segment = fixture_segments[0];
	uint64_t overhead = segment->geometry.data_offset, size = shk_header(segment)->size;
	struct shk_object *object = NULL;
	const uint8_t *bytes;

	for (unsigned n = 0; n < NAMES; n++)
		if (known[n].live)
			expect(shmkit_segment_remove(segment, table_names[n]), 0, "remove at the end");
	if (used() != overhead)
		sim_fail("%llu bytes are lost", (unsigned long long)(used() - overhead));
	for (unsigned n = 0; n < NAMES; n++) {
		expect(shk_object_create(segment, table_names[n], table_small.kind, 8, TABLE_WORDS,
					 table_small.options, 0, &object),
		       n < TABLE_ENTRIES ? 0 : -ENOSPC, "create at the end");
		if (n < TABLE_ENTRIES)
			shk_object_close(object);
	}
	for (unsigned n = 0; n < TABLE_ENTRIES; n++)
		expect(shmkit_segment_remove(segment, table_names[n]), 0, "remove at the end");
	expect(shk_object_create(segment, "all", table_small.kind, 8, (size - overhead) / 8, NULL, 0,
				 &object), 0,
	       "create of all the room");
	if (sim_failed)
		return;
	bytes = object->base;
	if (bytes[0] || memcmp(bytes, bytes + 1, size - overhead - 1) != 0)
		sim_fail("a new structure is not zero");
	shk_object_close(object);
}

void table_audit(void)
{
	sim_on_point = NULL;
	check_announcements();
	fixture_recover();
	check_table(false);
	check_contents();
	close_everybody();
	expect(shmkit_segment_recover(fixture_segments[0], NULL), 0, "recover");
	check_table(true);
	fill_again();
	expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}
