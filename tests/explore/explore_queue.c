/* The queue under exploration: states to start from. What is right: queue_oracle.h. */
#include "queue_oracle.h"

#include <string.h>

enum { EMPTY, ONE, HALF, FULL, WRAP, LAP, REUSED, AGAIN, WORN, GAP, FREED, UNFENCED, STATES };

static const char *const state_names[] = {
	"empty",
	"one element",
	"half full",
	"full",
	"near the wrap of the index",
	"across a lap, three",
	"where another queue was removed",
	"one to be delivered again",
	"delivered 1,022 times",
	"one, and a cancelled one behind it",
	"a cancelled one at the head, freed and not passed",
	"empty, without membarrier",
};

static struct shmkit_queue *first_queues[FIXTURE_PROCESSES];

static void make(unsigned process)
{
	if (process == 0)
		fixture_must(shmkit_queue_create(fixture_segments[0], "q", FIXTURE_ELEMENT, QUEUE_CAPACITY,
					 NULL, &queue_handles[0]));
	else
		fixture_must(shmkit_queue_open(fixture_segments[process], "q", FIXTURE_ELEMENT,
				       &queue_handles[process]));
}

static void make_reused(unsigned process)
{
	struct shmkit_queue *before;
	uint64_t element[2];

	if (process == 0) {
		fixture_must(shmkit_queue_create(fixture_segments[0], "old", FIXTURE_ELEMENT,
					 QUEUE_CAPACITY, NULL, &before));
		for (unsigned i = 0; i < QUEUE_CAPACITY; i++) {
			fixture_encode(element, 150);
			fixture_must(shmkit_queue_enqueue(before, element));
		}
		fixture_must(shmkit_segment_remove(fixture_segments[0], "old"));
		shmkit_queue_close(before);
	}
	make(process);
}

static void set_position(uint64_t position)
{
	struct shmkit_queue *queue = queue_handles[0];

	position &= queue->position_mask;
	queue_shm()->base = position;
	queue_shm()->head = queue_shm()->tail = shk_index_word(position, 0, 0);
	for (unsigned i = 0; i < QUEUE_CAPACITY; i++) {
		uint64_t at = shk_step(queue, position, i);

		*shk_slot(queue, at) = shk_free_word(queue, at);
	}
}

static unsigned fill_of(unsigned state)
{
	static const unsigned fill[STATES] = {
		[ONE] = 1,    [HALF] = 2,  [FULL] = 4, [WRAP] = 2, [LAP] = 3,
		[REUSED] = 1, [AGAIN] = 2, [WORN] = 1, [GAP] = 1,  [EMPTY] = 0
	};

	return fill[state];
}

static void build(unsigned state)
{
	struct shmkit_slot slot;
	uint64_t element[2];

	sim_world.no_membarrier = state == UNFENCED;
	fixture_build(state == REUSED ? make_reused : make);
	if (state == WRAP)
		set_position(0 - (uint64_t)3);
	if (state == LAP)
		set_position(2);
	for (unsigned i = 1; i <= fill_of(state); i++) {
		fixture_encode(element, i);
		fixture_must(shmkit_queue_enqueue(queue_handles[0], element));
	}
	if (state == AGAIN || state == WORN) {
		fixture_must(shmkit_queue_lease(queue_handles[0], &slot));
		fixture_must(shmkit_queue_nack(queue_handles[0], &slot));
		for (unsigned i = 0; i < QUEUE_CAPACITY && state == WORN; i++) {
			shk_u64 *word = shk_slot(queue_handles[0], i);

			if (shk_slot_phase(*word) == SHK_REDO)
				*word = shk_slot_word(shk_slot_turn(*word), 1022, SHK_REDO, 0);
		}
		queue_shm()->redelivered = 0;
	}
	if (state == GAP || state == FREED) {
		fixture_must(shmkit_queue_reserve(queue_handles[0], &slot));
		fixture_must(shmkit_queue_cancel(queue_handles[0], &slot));
	}
	/* as he leaves it who dies when he has freed the slot and is about to move the head */
	if (state == FREED)
		*shk_slot(queue_handles[0], 0) = shk_freed_word(queue_handles[0], 0);
	for (unsigned i = 0; i < FIXTURE_PROCESSES; i++)
		first_queues[i] = queue_handles[i];
}

static void begin(unsigned state)
{
	memset(&queue_known, 0, sizeof(queue_known));
	memset(queue_runs, 0, sizeof(queue_runs));
	queue_known.in_place = queue_known.disturbed = state >= AGAIN && state <= FREED;
	queue_known.next_value = 10;
	for (unsigned i = 0; i < FIXTURE_PROCESSES; i++)
		queue_handles[i] = first_queues[i];
	for (unsigned i = 1; i <= fill_of(state); i++)
		queue_known.values[i] = (struct queue_value){ .fate = COMMITTED };
	if (state == AGAIN || state == WORN) {
		queue_known.values[1].leases = state == WORN ? 1022 : 1;
		queue_known.values[1].taken_in_place = true;
	}
	queue_known.cancelled = state == GAP || state == FREED;
	sim_on_point = queue_on_point;
}
const struct scenario scenario = {
	.name = "queue",
	.states = STATES,
	.state_names = state_names,
	.operations = QUEUE_SHUTDOWN + 1,
	.operation_names = queue_operation_names,
	.extra = QUEUE_OPERATIONS - QUEUE_SHUTDOWN - 1,
	.repair = QUEUE_REPAIR,
	.attach = QUEUE_ATTACH,
	.build = build,
	.begin = begin,
	.operate = queue_operate,
	.audit = queue_audit,
};
