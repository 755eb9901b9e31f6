/* Members under exploration: states to start from. What is right: members_oracle.h. */
#include "members_oracle.h"

#include "lock.h"

#include <string.h>

#define SIZE 8192u

enum { ALONE, JOINED, FULL, ONE_DEAD, DEAD_LEASE, DEAD_LOCK, DEAD_TWO, ALL_DEAD, STATES };

static const char *const state_names[] = {
	"nobody but one elsewhere",
	"two members, one free id",
	"all ids alive",
	"one dead, no free id",
	"one dead with a lease",
	"one dead with the lock of the table",
	"two dead",
	"all dead but one",
};

static struct members_place places_at[STATES][FIXTURE_PROCESSES];

static void join_now(unsigned process)
{
	sim_act_as(process);
	fixture_must(shmkit_segment_open("s", 0, &members_known.places[process].segment));
	members_known.places[process].joined = true;
}

static void put_dead(bool leases, bool locks)
{
	unsigned process = sim_process_new();
	struct shmkit_slot slot;
	uint64_t word;

	join_now(process);
	fixture_must(shmkit_queue_open(members_known.places[process].segment, "q", FIXTURE_ELEMENT,
			       &members_known.places[process].queue));
	if (leases)
		fixture_must(shmkit_queue_lease(members_known.places[process].queue, &slot));
	if (locks)
		fixture_must(shk_lock_word_acquire(
			members_known.places[process].segment,
			&shk_header(members_known.places[process].segment)->table_lock, 0, "",
			&word));
	sim_process_kill(process);
	members_known.places[process] = (struct members_place){ .segment = NULL };
}

static void make(void)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options),
		.table = SHMKIT_TABLE_CUSTOM,
		.max_entries = 2,
		.name_size = 8,
		.max_members = MEMBERS_IDS,
	};
	uint64_t payload[2];

	fixture_must(shmkit_segment_create("s", SIZE, &options, &fixture_segments[0]));
	members_known.places[0] =
		(struct members_place){ .segment = fixture_segments[0], .joined = true };
	fixture_must(shmkit_queue_create(fixture_segments[0], "q", FIXTURE_ELEMENT, MEMBERS_ELEMENTS, NULL,
				 &members_known.places[0].queue));
	fixture_must(shmkit_atomic_u64_create(fixture_segments[0], "v", 7, &members_known.places[0].value));
	for (unsigned i = 1; i < MEMBERS_ELEMENTS; i++) {
		fixture_encode(payload, i);
		fixture_must(shmkit_queue_enqueue(members_known.places[0].queue, payload));
	}
	for (unsigned i = 1; i <= SCENARIO_ACTORS; i++)
		sim_process_new();
}

static void build(unsigned state)
{
	unsigned dead = state == DEAD_TWO ? 2 : state == ALL_DEAD ? 3 : state >= ONE_DEAD;

	memset(members_known.places, 0, sizeof(members_known.places));
	make();
	if (state != ALONE && state != ALL_DEAD)
		join_now(1);
	if (state != ALONE && state != ALL_DEAD && state != DEAD_TWO)
		join_now(2);
	if (state == FULL)
		join_now(3);
	for (unsigned i = 0; i < dead; i++)
		put_dead(state == DEAD_LEASE || state == ALL_DEAD, state == DEAD_LOCK);
	sim_act_as(0);
	memcpy(places_at[state], members_known.places, sizeof(members_known.places));
}

static void begin(unsigned state)
{
	memset(&members_known, 0, sizeof(members_known));
	memcpy(members_known.places, places_at[state], sizeof(members_known.places));
	memset(members_runs, 0, sizeof(members_runs));
	members_known.left_over = state >= ONE_DEAD;
	fixture_segments[0] = members_known.places[0].segment;
	sim_on_point = members_on_point;
}

const struct scenario scenario = {
	.name = "members",
	.states = STATES,
	.state_names = state_names,
	.operations = MEMBERS_ADD_WAIT + 1,
	.operation_names = members_operation_names,
	.extra = MEMBERS_OPERATIONS - MEMBERS_ADD_WAIT - 1,
	.repair = MEMBERS_REPAIR,
	.attach = MEMBERS_ATTACH,
	.build = build,
	.begin = begin,
	.operate = members_operate,
	.audit = members_audit,
};
