#include "members_oracle.h"

#include "lock.h"

#include <errno.h>
#include <string.h>

struct members_known members_known;
struct members_run members_runs[SIM_THREADS];

void members_expect(int64_t result, int64_t expected, const char *what)
{
	if (result != expected)
		sim_fail("%s: %lld instead of %lld: %s", what, (long long)result,
			 (long long)expected, shmkit_last_error());
}

/* ---- ids ---- */

unsigned members_occupied(void)
{
	const struct sim_file *file = &sim_world.files[0];
	unsigned count = 0;

	for (unsigned i = 0; i < file->byte_count; i++)
		count += file->bytes[i].byte - SHK_LOCK_MEMBER < MEMBERS_IDS &&
			 file->bytes[i].writer >= 0;
	return count;
}

void members_note_occupied(void)
{
	unsigned now = members_occupied();

	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (now > members_runs[t].occupied)
			members_runs[t].occupied = now;
}

bool members_were_all_taken(void)
{
	members_note_occupied();
	return sim_weak || members_runs[sim_current->id].occupied == MEMBERS_IDS;
}

void members_on_point(const char *label)
{
	struct sim_thread *thread = sim_current;

	if (strcmp(label, "member.locked") == 0)
		members_note_occupied();
	if (strcmp(label, "queue.settled") == 0)
		MEMBERS_RUN.settled = true;
}

/* ---- the audit ---- */

static void settle_dead(void)
{
	/* a child that has left, but for what another thread of its parent was about to open */
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		if (members_known.littered[p] && !members_known.places[p].segment)
			sim_process_kill(p);
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (sim_threads[t].state == SIM_DEAD && members_runs[t].settling &&
		    members_runs[t].settled)
			members_known.elements[members_runs[t].settling].done = true;
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		if (!members_is_alive(p))
			members_known.places[p] = (struct members_place){ .segment = NULL };
}

/* Each living member has its id, and its lock; no id has two. */
static void check_registry(void)
{
	unsigned live = 0, members = 0;

	for (uint32_t id = 0; id < MEMBERS_IDS; id++)
		live += (shk_member(fixture_segments[0], id)->word & SHK_MEMBER_LIVE) != 0;
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++) {
		const struct shmkit_segment *segment = members_known.places[p].segment;

		if (!segment || segment->joined_epoch != sim_world.processes[p].page.epoch)
			continue;
		members++;
		if (shk_member(segment, segment->member_id)->word != segment->member_word)
			sim_fail("process %u has lost its id %u", p, segment->member_id);
		for (unsigned q = 0; q < p; q++)
			if (members_known.places[q].segment &&
			    members_known.places[q].segment->member_id == segment->member_id)
				sim_fail("processes %u and %u have one id", q, p);
	}
	if (live != members || members_occupied() != members)
		sim_fail("%u members, %u ids, %u locks", members, live, members_occupied());
}

/* What the living hold is theirs to the end. */
static void settle_living(void)
{
	for (unsigned i = 1; i < MEMBERS_ELEMENTS; i++) {
		struct members_element *element = &members_known.elements[i];

		if (!element->holder || !members_is_alive(element->holder))
			continue;
		sim_act_as(element->holder);
		members_expect(shmkit_queue_ack(members_known.places[element->holder].queue,
						&element->slot),
			       0, "ack at the end");
		element->done = true;
	}
	sim_act_as(0);
}

static void close_everybody(void)
{
	for (unsigned p = 1; p < FIXTURE_PROCESSES; p++) {
		unsigned left = 0;

		if (!members_is_alive(p))
			continue;
		sim_act_as(p);
		members_close(p);
		if (members_known.littered[p]) {
			sim_process_kill(p);
			continue;
		}
		for (unsigned m = 0; m < SIM_MAPPINGS; m++)
			left += sim_world.processes[p].mappings[m].description >= 0;
		for (unsigned fd = 0; fd < SIM_FDS; fd++)
			left += sim_world.processes[p].fds[fd] >= 0;
		if (left || sim_heap_blocks(p))
			sim_fail(
				"process %u has left, and has %u descriptors and mappings, %u blocks",
				p, left, sim_heap_blocks(p));
	}
	sim_act_as(0);
	if (!sim_world.files[0].linked)
		sim_fail("the name was taken away while there is a member");
}

static void drain(void)
{
	unsigned got[MEMBERS_ELEMENTS] = { 0 };
	uint64_t payload[2];

	sim_tick(INT64_C(30000000));
	while (shmkit_queue_dequeue(members_known.places[0].queue, payload) == 0)
		got[fixture_decode(payload, MEMBERS_ELEMENTS)]++;
	for (unsigned i = 1; i < MEMBERS_ELEMENTS; i++)
		if (got[i] != !members_known.elements[i].done)
			sim_fail("element %u came %u times at the end", i, got[i]);
}

static void take_all_ids(void)
{
	struct shmkit_segment *taken[MEMBERS_IDS] = { NULL };

	for (unsigned i = 0; i < MEMBERS_IDS; i++)
		members_expect(shmkit_segment_open("s", 0, &taken[i]),
			       i + 1 < MEMBERS_IDS ? 0 : -EUSERS, "open at the end");
	for (unsigned i = 0; i < MEMBERS_IDS; i++)
		shmkit_segment_close(taken[i]);
}

void members_audit(void)
{
	sim_on_point = NULL;
	settle_dead();
	fixture_recover();
	check_registry();
	if (shk_lock_is_held(shk_header(fixture_segments[0])->table_lock))
		sim_fail("the lock is held by nobody");
	settle_living();
	close_everybody();
	fixture_recover();
	check_registry();
	drain();
	take_all_ids();
	members_expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}
