/*
 * The queue under exploration. What each call returned, and at which of its points a process died,
 * gives the exact fate of every element; the audit compares.
 *
 *	conserved    committed: delivered once; taken by the dead before they had finished: again;
 *	             not finished by a dead producer, refused, cancelled: never
 *	in order     of the four ways in which a FIFO queue can fail to be linearisable (Henzinger,
 *	             Sezgin, Vafeiadis: Aspect-Oriented Linearizability Proofs, 2013): an element
 *	             nobody enqueued, one delivered twice, two in the wrong order, "empty" while one
 *	             was there; and "full" while there was room
 *	regained     at the end the whole capacity is there, and check() finds nothing
 */
#include "fixture.h"

#include "queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CAPACITY 4u
#define VALUES 160u
#define OPERATIONS_A_RUN 64u
#define HELD 6u                             /* leases and reservations of a thread */

enum {
	ENQUEUE, ENQUEUE_2, ENQUEUE_3, DEQUEUE, DEQUEUE_2, DEQUEUE_3, LEASE_ACK, LEASE_NACK, LEASE_TWO,
	RESERVE_COMMIT, RESERVE_CANCEL, REPAIR, SHUTDOWN, REOPEN, LEASE_KEEP, RESERVE_KEEP, DEQUEUE_WAIT,
	ENQUEUE_WAIT, CLOSE, ATTACH, OPERATIONS
};

static const char *const operation_names[] = {
	"enqueue", "enqueue2", "enqueue3", "dequeue", "dequeue2", "dequeue3", "lease-ack", "lease-nack",
	"lease-two", "reserve-commit", "reserve-cancel", "repair", "shutdown", "reopen", "lease-keep",
	"reserve-keep", "dequeue-wait", "enqueue-wait", "close", "attach",
};

enum { EMPTY, ONE, HALF, FULL, WRAP, LAP, REUSED, AGAIN, WORN, GAP, FREED, UNFENCED, STATES };

static const char *const state_names[] = {
	"empty", "one element", "half full", "full", "near the wrap of the index", "across a lap, three",
	"where another queue was removed", "one to be delivered again", "delivered 1,022 times",
	"one, and a cancelled one behind it", "a cancelled one at the head, freed and not passed",
	"empty, without membarrier",
};

/* ---- what is known of a run ---- */

enum fate { UNKNOWN, UNDECIDED, COMMITTED, NEVER };

struct value {
	enum fate fate;
	unsigned got;                       /* times it was delivered for good */
	unsigned leases;                    /* that returned */
	bool taken_in_place;                /* leased, given back, or made by a reservation */
	uint64_t put_begin, put_end, got_begin, got_end;
};

static struct value values[VALUES];

static struct outcome {                     /* "empty" or "full" was the answer */
	bool full;
	uint64_t begin, end;
} outcomes[OPERATIONS_A_RUN];
static unsigned outcome_count;

static uint64_t puts_begun[OPERATIONS_A_RUN], puts_ended[OPERATIONS_A_RUN];   /* end 0: not yet */
static unsigned put_count;

static struct {
	struct shmkit_slot slots[HELD];
	unsigned values[HELD];
	unsigned held;
	/* of the operation under way */
	unsigned first;                     /* its first value */
	bool puts, takes;
	unsigned batches, batch_start[8], batch_size[8], filled, followers;
	bool batch_committed[8];
	unsigned taken, claimed;            /* of a dequeue: committed so far; in the last claim */
	uint64_t elements[16];
	int settling;                       /* value + 1; negative: a reservation's */
	bool settled;
	unsigned handle;                    /* process whose handle it uses */
} runs[SIM_THREADS];

static unsigned next_value, kills_seen;
static bool was_shut, was_reopened, in_place, disturbed;
static uint64_t changed_step;              /* the last point of the queue that anybody passed */
static struct shmkit_queue *queues[FIXTURE_PROCESSES], *first_queues[FIXTURE_PROCESSES];

#define RUN (runs[thread->id])

static struct shk_queue_shm *shm(void)
{
	return queues[0]->shm;
}

/* ---- states ---- */

static void must(int result)
{
	if (result < 0) {
		fprintf(stderr, "set-up: %s\n", shmkit_last_error());
		abort();
	}
}

static void make(unsigned process)
{
	if (process == 0)
		must(shmkit_queue_create(fixture_segments[0], "q", FIXTURE_ELEMENT, CAPACITY, NULL,
					 &queues[0]));
	else
		must(shmkit_queue_open(fixture_segments[process], "q", FIXTURE_ELEMENT, &queues[process]));
}

static void make_reused(unsigned process)
{
	struct shmkit_queue *before;
	uint64_t element[2];

	if (process == 0) {
		must(shmkit_queue_create(fixture_segments[0], "old", FIXTURE_ELEMENT, CAPACITY, NULL, &before));
		for (unsigned i = 0; i < CAPACITY; i++) {
			fixture_encode(element, 150);
			must(shmkit_queue_enqueue(before, element));
		}
		must(shmkit_segment_remove(fixture_segments[0], "old"));
		shmkit_queue_close(before);
	}
	make(process);
}

static void set_position(uint64_t position)
{
	struct shmkit_queue *queue = queues[0];

	position &= queue->position_mask;
	shm()->base = position;
	shm()->head = shm()->tail = shk_index_word(position, 0, 0);
	for (unsigned i = 0; i < CAPACITY; i++) {
		uint64_t at = shk_step(queue, position, i);

		*shk_slot(queue, at) = shk_free_word(queue, at);
	}
}

static unsigned fill_of(unsigned state)
{
	static const unsigned fill[STATES] = { [ONE] = 1, [HALF] = 2, [FULL] = 4, [WRAP] = 2, [LAP] = 3,
					 [REUSED] = 1, [AGAIN] = 2, [WORN] = 1, [GAP] = 1, [EMPTY] = 0 };

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
		must(shmkit_queue_enqueue(queues[0], element));
	}
	if (state == AGAIN || state == WORN) {
		must(shmkit_queue_lease(queues[0], &slot));
		must(shmkit_queue_nack(queues[0], &slot));
		for (unsigned i = 0; i < CAPACITY && state == WORN; i++) {
			shk_u64 *word = shk_slot(queues[0], i);

			if (shk_slot_phase(*word) == SHK_REDO)
				*word = shk_slot_word(shk_slot_turn(*word), 1022, SHK_REDO, 0);
		}
		shm()->redelivered = 0;
	}
	if (state == GAP || state == FREED) {
		must(shmkit_queue_reserve(queues[0], &slot));
		must(shmkit_queue_cancel(queues[0], &slot));
	}
	/* as he leaves it who dies when he has freed the slot and is about to move the head */
	if (state == FREED)
		*shk_slot(queues[0], 0) = shk_freed_word(queues[0], 0);
	for (unsigned i = 0; i < FIXTURE_PROCESSES; i++)
		first_queues[i] = queues[i];
}

static void on_point(const char *label);

static void begin(unsigned state)
{
	memset(values, 0, sizeof(values));
	memset(runs, 0, sizeof(runs));
	outcome_count = put_count = kills_seen = 0;
	was_shut = was_reopened = false;
	changed_step = 0;
	in_place = disturbed = state >= AGAIN && state <= FREED;
	next_value = 10;
	for (unsigned i = 0; i < FIXTURE_PROCESSES; i++)
		queues[i] = first_queues[i];
	for (unsigned i = 1; i <= fill_of(state); i++)
		values[i] = (struct value){ .fate = COMMITTED };
	if (state == AGAIN || state == WORN) {
		values[1].leases = state == WORN ? 1022 : 1;
		values[1].taken_in_place = true;
	}
	sim_on_point = on_point;
}

/* ---- what a point that was passed means ---- */

static bool is(const char *label, const char *name)
{
	return strcmp(label + sizeof("queue.") - 1, name) == 0;
}

/* Whether the slot that an index word tells comes next is in a phase, of the right turn. */
static bool is_at(uint64_t index, unsigned phase)
{
	uint64_t position = shk_index_position(queues[0], index);
	uint64_t word = *shk_slot(queues[0], position);

	return shk_slot_phase(word) == phase && shk_slot_turn(word) == shk_turn(queues[0], position);
}

static void on_point(const char *label)
{
	struct sim_thread *thread = sim_current;

	if (strncmp(label, "queue.", 6) != 0)
		return;
	changed_step = sim_step;
	if (is(label, "tail.claimed")) {
		unsigned size = shk_index_run(shm()->tail);

		RUN.batch_start[RUN.batches] = RUN.filled;
		RUN.batch_size[RUN.batches] = size;
		RUN.batch_committed[RUN.batches++] = false;
		RUN.filled += size;
		RUN.followers = 0;
	} else if (is(label, "enqueue.ready")) {
		RUN.batch_committed[RUN.batches - 1] = true;
	} else if (is(label, "enqueue.follower")) {
		if (++RUN.followers == RUN.batch_size[RUN.batches - 1])
			RUN.batch_committed[RUN.batches - 1] = true;
	} else if (is(label, "head.claimed")) {
		RUN.claimed = shk_index_run(shm()->head);
	} else if (is(label, "dequeue.freed") || is(label, "redo.freed")) {
		RUN.taken++;
	} else if (is(label, "dequeue.done")) {
		RUN.taken += RUN.claimed;
	} else if (is(label, "dequeue.follower") && RUN.claimed == 1) {
		RUN.taken++;
	} else if (is(label, "settled")) {
		RUN.settled = true;
	}
}

/* ---- operations ---- */

static void start_operation(struct sim_thread *thread)
{
	RUN.puts = RUN.takes = RUN.settled = false;
	RUN.batches = RUN.filled = RUN.taken = RUN.claimed = 0;
	RUN.settling = 0;
}

static struct shmkit_queue *handle(const struct sim_thread *thread)
{
	return queues[thread->process];
}

static void note(bool full, uint64_t begin)
{
	if (outcome_count < OPERATIONS_A_RUN)
		outcomes[outcome_count++] = (struct outcome){ full, begin, sim_step };
}

static void enqueue(struct sim_thread *thread, unsigned count, bool waits)
{
	unsigned first = next_value, put = put_count++;
	uint64_t elements[6] = { 0 }, start = sim_step;
	unsigned done;
	int64_t result;

	next_value += count;
	RUN.first = first;
	puts_begun[put] = start;
	for (unsigned i = 0; i < count; i++) {
		fixture_encode(elements + 2 * (size_t)i, first + i);
		values[first + i] = (struct value){ .fate = UNDECIDED, .put_begin = start };
	}
	RUN.puts = true;
	if (waits)
		result = shmkit_queue_enqueue_wait(handle(thread), elements, INT64_C(120000000));
	else if (count == 1)
		result = shmkit_queue_enqueue(handle(thread), elements);
	else
		result = shmkit_queue_enqueue_bulk(handle(thread), elements, count);
	RUN.puts = false;
	puts_ended[put] = sim_step;
	done = result < 0 ? 0 : count == 1 ? 1 : (unsigned)result;
	if (result == -ESHUTDOWN && !was_shut)
		sim_fail("%s: -ESHUTDOWN without a shutdown", "enqueue");
	if (result < 0 && result != -EAGAIN && result != -ESHUTDOWN && !(waits && result == -ETIMEDOUT))
		sim_fail("enqueue: %s", shmkit_last_error());
	if (result == -EAGAIN || (count > 1 && result == 0))
		note(true, start);
	if (waits && result == 0)
		fixture_check_wake(thread);
	if (result == -ETIMEDOUT && is_at(shm()->tail, SHK_FREE))
		fixture_check_timeout(thread, changed_step);
	for (unsigned i = 0; i < count; i++) {
		values[first + i].fate = i < done ? COMMITTED : NEVER;
		values[first + i].put_end = sim_step;
	}
}

static void deliver(unsigned value, uint64_t begin)
{
	values[value].got++;
	values[value].got_begin = begin;
	values[value].got_end = sim_step;
}

/* -ESHUTDOWN for a consumer: nothing is to come. */
static void check_end(void)
{
	if (was_reopened)
		return;
	if (!was_shut)
		sim_fail("dequeue: -ESHUTDOWN without a shutdown");
	if (sim_weak)
		return;
	if (shk_index_position(queues[0], shm()->head) != shk_index_position(queues[0], shm()->tail))
		sim_fail("-ESHUTDOWN while there are elements");
	for (unsigned i = 0; i < CAPACITY; i++)
		if (shk_slot_phase(*shk_slot(queues[0], i)) != SHK_FREE)
			sim_fail("-ESHUTDOWN while slot %u is in phase %u", i,
				 shk_slot_phase(*shk_slot(queues[0], i)));
}

static void dequeue(struct sim_thread *thread, unsigned count, bool waits)
{
	uint64_t start = sim_step;
	unsigned done;
	int64_t result;

	memset(RUN.elements, 0, sizeof(RUN.elements));
	RUN.takes = true;
	if (waits)
		result = shmkit_queue_dequeue_wait(handle(thread), RUN.elements, INT64_C(120000000));
	else if (count == 1)
		result = shmkit_queue_dequeue(handle(thread), RUN.elements);
	else
		result = shmkit_queue_dequeue_bulk(handle(thread), RUN.elements, count);
	RUN.takes = false;
	done = result < 0 ? 0 : count == 1 ? 1 : (unsigned)result;
	if (result < 0 && result != -EAGAIN && result != -ESHUTDOWN && !(waits && result == -ETIMEDOUT))
		sim_fail("dequeue: %s", shmkit_last_error());
	if (result == -ESHUTDOWN)
		check_end();
	if (result == -EAGAIN || (count > 1 && result == 0))
		note(false, start);
	if (waits && result == 0)
		fixture_check_wake(thread);
	if (result == -ETIMEDOUT && is_at(shm()->head, SHK_READY))
		fixture_check_timeout(thread, changed_step);
	if (done != RUN.taken)
		sim_fail("dequeue returned %u, its points say %u", done, RUN.taken);
	RUN.taken = 0;
	for (unsigned i = 0; i < done; i++)
		deliver(fixture_decode(RUN.elements + 2 * (size_t)i, VALUES), start);
}

static bool lease(struct sim_thread *thread)
{
	struct shmkit_slot *slot = &RUN.slots[RUN.held];
	uint64_t element[2];
	unsigned value;
	int result;

	in_place = true;
	if (RUN.held == HELD)
		return false;
	result = shmkit_queue_lease(handle(thread), slot);
	if (result == -ESHUTDOWN)
		check_end();
	if (result) {
		if (result != -EAGAIN && result != -ESHUTDOWN)
			sim_fail("lease: %s", shmkit_last_error());
		return false;
	}
	/* as the caller would read it: in the order of its own accesses */
	sim_memcpy(element, slot->data, sizeof(element));
	value = fixture_decode(element, VALUES);
	values[value].taken_in_place = true;
	if (values[value].leases >= 1022 ? slot->deliveries != 512
					 : slot->deliveries <= values[value].leases ||
						   slot->deliveries > values[value].leases + 1 + 2 * sim_deaths)
		sim_fail("deliveries is %u after %u leases and %u deaths", slot->deliveries,
			 values[value].leases, sim_deaths);
	values[value].leases++;
	RUN.values[RUN.held++] = value;
	return true;
}

static bool reserve(struct sim_thread *thread)
{
	struct shmkit_slot *slot = &RUN.slots[RUN.held];
	unsigned value = next_value++;
	uint64_t element[2];
	int result;

	in_place = true;
	if (RUN.held == HELD)
		return false;
	values[value] = (struct value){ .fate = NEVER, .taken_in_place = true, .put_begin = sim_step };
	result = shmkit_queue_reserve(handle(thread), slot);
	if (result) {
		if (result != -EAGAIN && result != -ESHUTDOWN)
			sim_fail("reserve: %s", shmkit_last_error());
		return false;
	}
	fixture_encode(element, value);
	sim_memcpy(slot->data, element, sizeof(element));
	RUN.values[RUN.held++] = value;
	return true;
}

static void expect(int result, int expected, const char *what)
{
	if (result != expected)
		sim_fail("%s: %d instead of %d: %s", what, result, expected, shmkit_last_error());
}

static void ack(struct sim_thread *thread, unsigned at)
{
	unsigned value = RUN.values[at];
	uint64_t start = sim_step;

	RUN.settled = false;
	RUN.settling = (int)value + 1;
	expect(shmkit_queue_ack(handle(thread), &RUN.slots[at]), 0, "ack");
	RUN.settling = 0;
	deliver(value, start);
	expect(shmkit_queue_ack(handle(thread), &RUN.slots[at]), -ESTALE, "a second ack");
	expect(shmkit_queue_nack(handle(thread), &RUN.slots[at]), -ESTALE, "nack after ack");
}

static void lease_and_end(struct sim_thread *thread, unsigned count, bool acks)
{
	unsigned before = RUN.held;

	for (unsigned i = 0; i < count; i++)
		lease(thread);
	while (RUN.held > before) {
		unsigned at = RUN.held - 1;

		if (acks) {
			ack(thread, at);
		} else {
			expect(shmkit_queue_nack(handle(thread), &RUN.slots[at]), 0, "nack");
			expect(shmkit_queue_nack(handle(thread), &RUN.slots[at]), -ESTALE, "a second nack");
		}
		RUN.held--;
	}
}

static void reserve_and_end(struct sim_thread *thread, bool commits)
{
	unsigned at = RUN.held, value;

	if (!reserve(thread))
		return;
	value = RUN.values[at];
	RUN.settled = false;
	if (commits) {
		RUN.settling = -(int)value - 1;
		values[value].fate = UNDECIDED;
		expect(shmkit_queue_commit(handle(thread), &RUN.slots[at]), 0, "commit");
		RUN.settling = 0;
		values[value].fate = COMMITTED;
		expect(shmkit_queue_commit(handle(thread), &RUN.slots[at]), -ESTALE, "a second commit");
	} else {
		expect(shmkit_queue_cancel(handle(thread), &RUN.slots[at]), 0, "cancel");
		expect(shmkit_queue_commit(handle(thread), &RUN.slots[at]), -ESTALE, "commit after cancel");
	}
	RUN.held--;
}

/* Gives back what was taken through the handle, as closing the last one of a process does. */
static void close_and_open(struct sim_thread *thread)
{
	unsigned process = thread->process;

	lease(thread);
	shmkit_queue_close(queues[process]);
	queues[process] = NULL;
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (sim_threads[t].state != SIM_UNUSED && sim_threads[t].process == process)
			runs[t].held = 0;
	expect(shmkit_queue_open(fixture_segments[process], "q", FIXTURE_ELEMENT, &queues[process]), 0,
	       "open");
}

/* The same of one handle of two: what was taken through the other stays. */
static void close_second(struct sim_thread *thread)
{
	unsigned process = thread->process, held = RUN.held;
	struct shmkit_queue *first = queues[process];

	expect(shmkit_queue_open(fixture_segments[process], "q", FIXTURE_ELEMENT, &queues[process]), 0,
	       "open");
	lease(thread);
	reserve(thread);
	shmkit_queue_close(queues[process]);
	queues[process] = first;
	for (unsigned at = held; at < RUN.held; at++)
		expect(shmkit_queue_ack(first, &RUN.slots[at]), -ESTALE, "ack after close");
	RUN.held = held;
}

static bool shares_process(const struct sim_thread *thread)
{
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (&sim_threads[t] != thread && sim_threads[t].state != SIM_UNUSED &&
		    sim_threads[t].process == thread->process)
			return true;
	return false;
}

static void operate(struct sim_thread *thread, unsigned operation)
{
	start_operation(thread);
	switch (operation) {
	case ENQUEUE:
	case ENQUEUE_2:
	case ENQUEUE_3:
		enqueue(thread, operation - ENQUEUE + 1, false);
		break;
	case DEQUEUE:
	case DEQUEUE_2:
	case DEQUEUE_3:
		dequeue(thread, operation - DEQUEUE + 1, false);
		break;
	case LEASE_ACK:
	case LEASE_NACK:
	case LEASE_TWO:
		lease_and_end(thread, operation == LEASE_TWO ? 2 : 1, operation != LEASE_NACK);
		break;
	case RESERVE_COMMIT:
	case RESERVE_CANCEL:
		reserve_and_end(thread, operation == RESERVE_COMMIT);
		break;
	case REPAIR:
		expect(shmkit_segment_recover(fixture_segments[thread->process], NULL), 0, "recover");
		break;
	case SHUTDOWN:
		was_shut = true;
		expect(shmkit_queue_shutdown(handle(thread)), 0, "shutdown");
		break;
	case REOPEN:
		was_reopened = true;
		expect(shmkit_queue_reopen(handle(thread)), 0, "reopen");
		break;
	case LEASE_KEEP:
		lease(thread);
		break;
	case RESERVE_KEEP:
		reserve(thread);
		break;
	case DEQUEUE_WAIT:
		dequeue(thread, 1, true);
		break;
	case ENQUEUE_WAIT:
		enqueue(thread, 1, true);
		break;
	case CLOSE:
		disturbed = true;
		if (shares_process(thread) || !queues[thread->process])
			break;
		if (sim_choose(SIM_CASE, 2))
			close_second(thread);
		else
			close_and_open(thread);
		break;
	case ATTACH:
		/* a newcomer takes an id that may have been a dead one's, and does what the rest says */
		if (!shares_process(thread) && RUN.held == 0 && fixture_attach(thread))
			expect(shmkit_queue_open(fixture_segments[thread->process], "q", FIXTURE_ELEMENT,
						 &queues[thread->process]), 0, "open");
		else if (!queues[thread->process])
			program_of(thread)->count = 0;
		break;
	default:
		break;
	}
	start_operation(thread);
}

/* ---- the audit ---- */

/* What the dead had committed, by the points they had passed. */
static void settle_dead(struct sim_thread *thread)
{
	kills_seen++;
	for (unsigned i = 0; i < RUN.taken; i++)
		deliver(fixture_decode(RUN.elements + 2 * (size_t)i, VALUES), 0);
	if (RUN.settling > 0 && RUN.settled)
		deliver((unsigned)RUN.settling - 1, 0);
	if (RUN.settling < 0)
		values[-RUN.settling - 1].fate = RUN.settled ? COMMITTED : NEVER;
	for (unsigned b = 0; RUN.puts && b < RUN.batches; b++)
		for (unsigned i = 0; i < RUN.batch_size[b]; i++)
			values[RUN.first + RUN.batch_start[b] + i].fate =
				RUN.batch_committed[b] ? COMMITTED : NEVER;
}

static void end_held(struct sim_thread *thread)
{
	sim_act_as(thread->process);
	for (unsigned at = 0; at < RUN.held; at++) {
		unsigned value = RUN.values[at];

		if (RUN.slots[at].deliveries > 0) {
			expect(shmkit_queue_ack(handle(thread), &RUN.slots[at]), 0, "ack of what was kept");
			deliver(value, sim_step);
		} else {
			expect(shmkit_queue_commit(handle(thread), &RUN.slots[at]), 0, "commit of what was kept");
			values[value].fate = COMMITTED;
		}
	}
	sim_act_as(0);
}

static void end_threads(void)
{
	for (unsigned t = 1; t < SIM_THREADS; t++) {
		struct sim_thread *thread = &sim_threads[t];

		if (thread->state == SIM_DEAD && !program_of(thread)->ended)
			settle_dead(thread);
		if (thread->state != SIM_DONE || RUN.held == 0 ||
		    !sim_world.processes[thread->process].alive)
			continue;
		disturbed = true;
		/* what is still held is held, or is left by a death */
		if (sim_step & 4)
			end_held(thread);
		else
			sim_process_kill(thread->process);
	}
}

static void check_order(void)
{
	for (unsigned a = 1; a < next_value; a++)
		for (unsigned b = 1; b < next_value; b++) {
			const struct value *first = &values[a], *later = &values[b];

			if (first->fate != COMMITTED || later->fate != COMMITTED || first->taken_in_place ||
			    later->taken_in_place || !first->got || !later->got)
				continue;
			/* the elements of a state, and of a batch, by their number */
			if (first->put_begin == later->put_begin ? a >= b || (first->put_end == 0) != (later->put_end == 0)
								 : first->put_end >= later->put_begin)
				continue;
			if (later->got_end < first->got_begin ||
			    (later->got_begin == first->got_begin && later->got_end == first->got_end &&
			     first->got > 1))
				sim_fail("%u was enqueued before %u, and dequeued after it", a, b);
		}
}

static bool producer_under_way(const struct outcome *outcome)
{
	for (unsigned i = 0; i < put_count; i++)
		if (puts_begun[i] < outcome->end && (puts_ended[i] == 0 || puts_ended[i] > outcome->begin))
			return true;
	return false;
}

/* "empty" while an element was there all the time; "full" while there was room all the time. */
static void check_outcomes(void)
{
	for (unsigned i = 0; i < outcome_count; i++) {
		const struct outcome *outcome = &outcomes[i];
		unsigned occupied = 0;

		for (unsigned v = 1; v < next_value; v++) {
			const struct value *value = &values[v];
			bool there = value->fate == COMMITTED && value->put_end <= outcome->begin &&
				     (!value->got || value->got_begin >= outcome->end);

			if (!outcome->full && there && !producer_under_way(outcome))
				sim_fail("\"empty\" while %u was there", v);
			occupied += value->fate != UNKNOWN && value->put_begin < outcome->end &&
				    (!value->got || value->got_end > outcome->begin) &&
				    value->fate != NEVER;
		}
		if (outcome->full && occupied < CAPACITY && !producer_under_way(outcome))
			sim_fail("\"full\" while %u of %u were occupied", occupied, CAPACITY);
	}
}

static void drain(void)
{
	uint64_t element[2];
	unsigned count = 0;
	int result;

	sim_tick(INT64_C(30000000));
	while ((result = shmkit_queue_dequeue(queues[0], element)) == 0 && count++ < 40) {
		sim_tick(INT64_C(30000000));
		sim_step++;
		deliver(fixture_decode(element, VALUES), sim_step);
	}
	if (result != -EAGAIN && !(result == -ESHUTDOWN && was_shut))
		sim_fail("at the end, dequeue: %s", shmkit_last_error());
}

static void check_capacity(void)
{
	uint64_t element[2];

	expect(shmkit_queue_reopen(queues[0]), 0, "reopen");
	for (unsigned i = 0; i < CAPACITY; i++) {
		fixture_encode(element, i + 1);
		sim_tick(INT64_C(30000000));
		if (shmkit_queue_enqueue(queues[0], element)) {
			sim_fail("room for %u of %u elements: %s", i, CAPACITY, shmkit_last_error());
			return;
		}
	}
	expect(shmkit_queue_enqueue(queues[0], element), -EAGAIN, "one more than fit");
	for (unsigned i = 0; i < CAPACITY; i++) {
		expect(shmkit_queue_dequeue(queues[0], element), 0, "dequeue");
		if (element[0] != i + 1)
			sim_fail("the last elements are out of order");
	}
	expect(shmkit_queue_dequeue(queues[0], element), -EAGAIN, "dequeue of nothing");
}

static void check_values(void)
{
	for (unsigned v = 1; v < next_value; v++) {
		const struct value *value = &values[v];

		if (value->fate == UNKNOWN)
			continue;
		if (value->got > 1)
			sim_fail("%u was delivered %u times", v, value->got);
		if (value->got && value->fate == NEVER)
			sim_fail("%u was delivered, and never committed", v);
		if (!value->got && value->fate == COMMITTED)
			sim_fail("%u is lost", v);
	}
}

static void check_statistics(unsigned left)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	uint64_t committed = 0;

	expect(shmkit_queue_get_stats(queues[0], &stats), 0, "get_stats");
	for (unsigned v = 1; v < next_value; v++)
		committed += values[v].fate == COMMITTED;
	if (sim_deaths || disturbed)
		return;
	if (stats.enqueued != committed || stats.discarded || stats.enqueued - stats.dequeued != left)
		sim_fail("statistics: %llu enqueued of %llu, %llu dequeued, %u left, %llu discarded",
			 (unsigned long long)stats.enqueued, (unsigned long long)committed,
			 (unsigned long long)stats.dequeued, left, (unsigned long long)stats.discarded);
}

static unsigned count_left(void)
{
	unsigned left = 0;

	for (unsigned v = 1; v < next_value; v++)
		left += values[v].fate == COMMITTED && !values[v].got;
	return left;
}

static void audit(void)
{
	bool asked = sim_step & 1, filled_at_once;

	sim_on_point = NULL;
	end_threads();
	/* repaired because somebody asks; or by the calls that meet what the dead have left */
	if (asked) {
		fixture_recover();
		check_statistics(count_left());
	}
	/* an empty queue may still hold what the dead left: producers get past it without consumers */
	filled_at_once = count_left() == 0 && (sim_step & 2);
	if (!filled_at_once)
		drain();
	check_capacity();
	check_values();
	if (sim_deaths == 0 && sim_freezes == 0) {
		check_order();
		/* what one thread has done another may not see yet, when nothing orders them */
		if (!in_place && !was_shut && !sim_weak)
			check_outcomes();
	}
	fixture_recover();
	expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}

const struct scenario scenario = {
	.name = "queue",
	.states = STATES,
	.state_names = state_names,
	.operations = SHUTDOWN + 1,
	.operation_names = operation_names,
	.extra = OPERATIONS - SHUTDOWN - 1,
	.repair = REPAIR,
	.attach = ATTACH,
	.build = build,
	.begin = begin,
	.operate = operate,
	.audit = audit,
};
