/* What processes do with a queue, and whether what they are told is right: queue_oracle.h. */
#include "queue_oracle.h"

#include <errno.h>
#include <string.h>

const char *const queue_operation_names[] = {
	"enqueue", "enqueue2", "enqueue3", "dequeue", "dequeue2", "dequeue3", "lease-ack", "lease-nack",
	"lease-two", "reserve-commit", "reserve-cancel", "repair", "shutdown", "reopen", "lease-keep",
	"reserve-keep", "dequeue-wait", "enqueue-wait", "close", "attach", "size",
};

/* Whether the slot that an index word tells comes next is in a phase, of the right turn. */
static bool is_at(uint64_t index, unsigned phase)
{
	uint64_t position = shk_index_position(queue_handles[0], index);
	uint64_t word = *shk_slot(queue_handles[0], position);

	return shk_slot_phase(word) == phase &&
	       shk_slot_turn(word) == shk_turn(queue_handles[0], position);
}

static void start(struct sim_thread *thread)
{
	QUEUE_RUN.puts = QUEUE_RUN.takes = QUEUE_RUN.settled = false;
	QUEUE_RUN.batches = QUEUE_RUN.filled = QUEUE_RUN.taken = QUEUE_RUN.claimed = 0;
	QUEUE_RUN.settling = 0;
}

static void note(bool full, uint64_t begin)
{
	if (queue_known.outcome_count < QUEUE_CALLS)
		queue_known.outcomes[queue_known.outcome_count++] =
			(struct queue_outcome){ full, begin, sim_step };
}

static void enqueue(struct sim_thread *thread, unsigned count, bool waits)
{
	unsigned first = queue_known.next_value, put = queue_known.put_count++;
	uint64_t elements[6] = { 0 }, start = sim_step;
	unsigned done;
	int64_t result;

	queue_known.next_value += count;
	QUEUE_RUN.first = first;
	queue_known.puts_begun[put] = start;
	for (unsigned i = 0; i < count; i++) {
		fixture_encode(elements + 2 * (size_t)i, first + i);
		queue_known.values[first + i] =
			(struct queue_value){ .fate = UNDECIDED, .put_begin = start };
	}
	QUEUE_RUN.puts = true;
	if (waits)
		result = shmkit_queue_enqueue_wait(queue_handle(thread), elements,
						   INT64_C(120000000));
	else if (count == 1)
		result = shmkit_queue_enqueue(queue_handle(thread), elements);
	else
		result = shmkit_queue_enqueue_bulk(queue_handle(thread), elements, count);
	QUEUE_RUN.puts = false;
	queue_known.puts_ended[put] = sim_step;
	done = result < 0 ? 0 : count == 1 ? 1 : (unsigned)result;
	if (result == -ESHUTDOWN && !queue_known.was_shut)
		sim_fail("%s: -ESHUTDOWN without a shutdown", "enqueue");
	if (result < 0 && result != -EAGAIN && result != -ESHUTDOWN &&
	    !(waits && result == -ETIMEDOUT))
		sim_fail("enqueue: %s", shmkit_last_error());
	if (result == -EAGAIN || (count > 1 && result == 0))
		note(true, start);
	if (waits && result == 0)
		fixture_check_wake(thread);
	if (result == -ETIMEDOUT && is_at(queue_shm()->tail, SHK_FREE))
		fixture_check_timeout(thread, queue_known.changed_step);
	for (unsigned i = 0; i < count; i++) {
		queue_known.values[first + i].fate = i < done ? COMMITTED : NEVER;
		queue_known.values[first + i].put_end = sim_step;
	}
}

/* -ESHUTDOWN for a consumer: nothing is to come. */
static void check_end(void)
{
	if (queue_known.was_reopened)
		return;
	if (!queue_known.was_shut)
		sim_fail("dequeue: -ESHUTDOWN without a shutdown");
	if (sim_weak)
		return;
	if (shk_index_position(queue_handles[0], queue_shm()->head) !=
	    shk_index_position(queue_handles[0], queue_shm()->tail))
		sim_fail("-ESHUTDOWN while there are elements");
	for (unsigned i = 0; i < QUEUE_CAPACITY; i++)
		if (shk_slot_phase(*shk_slot(queue_handles[0], i)) != SHK_FREE)
			sim_fail("-ESHUTDOWN while slot %u is in phase %u", i,
				 shk_slot_phase(*shk_slot(queue_handles[0], i)));
}

static void dequeue(struct sim_thread *thread, unsigned count, bool waits)
{
	uint64_t start = sim_step;
	unsigned done;
	int64_t result;

	memset(QUEUE_RUN.elements, 0, sizeof(QUEUE_RUN.elements));
	QUEUE_RUN.takes = true;
	if (waits)
		result = shmkit_queue_dequeue_wait(queue_handle(thread), QUEUE_RUN.elements,
						   INT64_C(120000000));
	else if (count == 1)
		result = shmkit_queue_dequeue(queue_handle(thread), QUEUE_RUN.elements);
	else
		result = shmkit_queue_dequeue_bulk(queue_handle(thread), QUEUE_RUN.elements, count);
	QUEUE_RUN.takes = false;
	done = result < 0 ? 0 : count == 1 ? 1 : (unsigned)result;
	if (result < 0 && result != -EAGAIN && result != -ESHUTDOWN &&
	    !(waits && result == -ETIMEDOUT))
		sim_fail("dequeue: %s", shmkit_last_error());
	if (result == -ESHUTDOWN)
		check_end();
	if (result == -EAGAIN || (count > 1 && result == 0))
		note(false, start);
	if (waits && result == 0)
		fixture_check_wake(thread);
	if (result == -ETIMEDOUT && is_at(queue_shm()->head, SHK_READY))
		fixture_check_timeout(thread, queue_known.changed_step);
	if (done != QUEUE_RUN.taken)
		sim_fail("dequeue returned %u, its points say %u", done, QUEUE_RUN.taken);
	QUEUE_RUN.taken = 0;
	for (unsigned i = 0; i < done; i++)
		queue_deliver(fixture_decode(QUEUE_RUN.elements + 2 * (size_t)i, QUEUE_VALUES),
			      start);
}

static bool lease(struct sim_thread *thread)
{
	struct shmkit_slot *slot = &QUEUE_RUN.slots[QUEUE_RUN.held];
	uint64_t element[2];
	unsigned value;
	int result;

	queue_known.in_place = true;
	if (QUEUE_RUN.held == QUEUE_HELD)
		return false;
	result = shmkit_queue_lease(queue_handle(thread), slot);
	if (result == -ESHUTDOWN)
		check_end();
	if (result) {
		if (result != -EAGAIN && result != -ESHUTDOWN)
			sim_fail("lease: %s", shmkit_last_error());
		return false;
	}
	/* as the caller would read it: in the order of its own accesses */
	sim_memcpy(element, slot->data, sizeof(element));
	value = fixture_decode(element, QUEUE_VALUES);
	queue_known.values[value].taken_in_place = true;
	if (queue_known.values[value].leases >= 1022
		    ? slot->deliveries != 512
		    : slot->deliveries <= queue_known.values[value].leases ||
			      slot->deliveries >
				      queue_known.values[value].leases + 1 + 2 * sim_deaths)
		sim_fail("deliveries is %u after %u leases and %u deaths", slot->deliveries,
			 queue_known.values[value].leases, sim_deaths);
	queue_known.values[value].leases++;
	QUEUE_RUN.values[QUEUE_RUN.held++] = value;
	return true;
}

static bool reserve(struct sim_thread *thread)
{
	struct shmkit_slot *slot = &QUEUE_RUN.slots[QUEUE_RUN.held];
	unsigned value = queue_known.next_value++;
	uint64_t element[2];
	int result;

	queue_known.in_place = true;
	if (QUEUE_RUN.held == QUEUE_HELD)
		return false;
	queue_known.values[value] = (struct queue_value){ .fate = NEVER,
							  .taken_in_place = true,
							  .put_begin = sim_step };
	result = shmkit_queue_reserve(queue_handle(thread), slot);
	if (result) {
		if (result != -EAGAIN && result != -ESHUTDOWN)
			sim_fail("reserve: %s", shmkit_last_error());
		return false;
	}
	fixture_encode(element, value);
	sim_memcpy(slot->data, element, sizeof(element));
	QUEUE_RUN.values[QUEUE_RUN.held++] = value;
	return true;
}

static void ack(struct sim_thread *thread, unsigned at)
{
	unsigned value = QUEUE_RUN.values[at];
	uint64_t start = sim_step;

	QUEUE_RUN.settled = false;
	QUEUE_RUN.settling = (int)value + 1;
	queue_expect(shmkit_queue_ack(queue_handle(thread), &QUEUE_RUN.slots[at]), 0, "ack");
	QUEUE_RUN.settling = 0;
	queue_deliver(value, start);
	queue_expect(shmkit_queue_ack(queue_handle(thread), &QUEUE_RUN.slots[at]), -ESTALE,
		     "a second ack");
	queue_expect(shmkit_queue_nack(queue_handle(thread), &QUEUE_RUN.slots[at]), -ESTALE,
		     "nack after ack");
}

static void lease_and_end(struct sim_thread *thread, unsigned count, bool acks)
{
	unsigned before = QUEUE_RUN.held;

	for (unsigned i = 0; i < count; i++)
		lease(thread);
	while (QUEUE_RUN.held > before) {
		unsigned at = QUEUE_RUN.held - 1;

		if (acks) {
			ack(thread, at);
		} else {
			queue_expect(shmkit_queue_nack(queue_handle(thread), &QUEUE_RUN.slots[at]),
				     0, "nack");
			queue_expect(shmkit_queue_nack(queue_handle(thread), &QUEUE_RUN.slots[at]),
				     -ESTALE, "a second nack");
		}
		QUEUE_RUN.held--;
	}
}

static void reserve_and_end(struct sim_thread *thread, bool commits)
{
	unsigned at = QUEUE_RUN.held, value;

	if (!reserve(thread))
		return;
	value = QUEUE_RUN.values[at];
	QUEUE_RUN.settled = false;
	if (commits) {
		QUEUE_RUN.settling = -(int)value - 1;
		queue_known.values[value].fate = UNDECIDED;
		queue_expect(shmkit_queue_commit(queue_handle(thread), &QUEUE_RUN.slots[at]), 0,
			     "commit");
		QUEUE_RUN.settling = 0;
		queue_known.values[value].fate = COMMITTED;
		queue_expect(shmkit_queue_commit(queue_handle(thread), &QUEUE_RUN.slots[at]),
			     -ESTALE, "a second commit");
	} else {
		queue_expect(shmkit_queue_cancel(queue_handle(thread), &QUEUE_RUN.slots[at]), 0,
			     "cancel");
		queue_expect(shmkit_queue_commit(queue_handle(thread), &QUEUE_RUN.slots[at]),
			     -ESTALE, "commit after cancel");
	}
	QUEUE_RUN.held--;
}

/* Gives back what was taken through the handle, as closing the last one of a process does. */
static void close_and_open(struct sim_thread *thread)
{
	unsigned process = thread->process;

	lease(thread);
	shmkit_queue_close(queue_handles[process]);
	queue_handles[process] = NULL;
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (sim_threads[t].state != SIM_UNUSED && sim_threads[t].process == process)
			queue_runs[t].held = 0;
	queue_expect(shmkit_queue_open(fixture_segments[process], "q", FIXTURE_ELEMENT,
				       &queue_handles[process]),
		     0, "open");
}

/* The same of one handle of two: what was taken through the other stays. */
static void close_second(struct sim_thread *thread)
{
	unsigned process = thread->process, held = QUEUE_RUN.held;
	struct shmkit_queue *first = queue_handles[process];

	queue_expect(shmkit_queue_open(fixture_segments[process], "q", FIXTURE_ELEMENT,
				       &queue_handles[process]),
		     0, "open");
	lease(thread);
	reserve(thread);
	shmkit_queue_close(queue_handles[process]);
	queue_handles[process] = first;
	for (unsigned at = held; at < QUEUE_RUN.held; at++)
		queue_expect(shmkit_queue_ack(first, &QUEUE_RUN.slots[at]), -ESTALE,
			     "ack after close");
	QUEUE_RUN.held = held;
}

/* A moment's view: one that is leased and given back meanwhile may count twice, and no more. */
static void check_size(struct sim_thread *thread)
{
	uint64_t size = shmkit_queue_size(queue_handle(thread));
	unsigned made = queue_known.cancelled;

	for (unsigned v = 1; v < queue_known.next_value; v++)
		made += queue_known.values[v].fate != UNKNOWN;
	if (size > QUEUE_CAPACITY || size > 2 * (uint64_t)made)
		sim_fail("size is %llu, with room for %u, and %u were ever made", (unsigned long long)size,
			 QUEUE_CAPACITY, made);
}

void queue_operate(struct sim_thread *thread, unsigned operation)
{
	start(thread);
	switch (operation) {
	case QUEUE_ENQUEUE:
	case QUEUE_ENQUEUE_2:
	case QUEUE_ENQUEUE_3: enqueue(thread, operation - QUEUE_ENQUEUE + 1, false); break;
	case QUEUE_DEQUEUE:
	case QUEUE_DEQUEUE_2:
	case QUEUE_DEQUEUE_3: dequeue(thread, operation - QUEUE_DEQUEUE + 1, false); break;
	case QUEUE_LEASE_ACK:
	case QUEUE_LEASE_NACK:
	case QUEUE_LEASE_TWO:
		lease_and_end(thread, operation == QUEUE_LEASE_TWO ? 2 : 1,
			      operation != QUEUE_LEASE_NACK);
		break;
	case QUEUE_RESERVE_COMMIT:
	case QUEUE_RESERVE_CANCEL:
		reserve_and_end(thread, operation == QUEUE_RESERVE_COMMIT);
		break;
	case QUEUE_REPAIR:
		queue_expect(shmkit_segment_recover(fixture_segments[thread->process], NULL), 0,
			     "recover");
		break;
	case QUEUE_SHUTDOWN:
		queue_known.was_shut = true;
		queue_expect(shmkit_queue_shutdown(queue_handle(thread)), 0, "shutdown");
		break;
	case QUEUE_REOPEN:
		queue_known.was_reopened = true;
		queue_expect(shmkit_queue_reopen(queue_handle(thread)), 0, "reopen");
		break;
	case QUEUE_LEASE_KEEP: lease(thread); break;
	case QUEUE_RESERVE_KEEP: reserve(thread); break;
	case QUEUE_DEQUEUE_WAIT: dequeue(thread, 1, true); break;
	case QUEUE_ENQUEUE_WAIT: enqueue(thread, 1, true); break;
	case QUEUE_CLOSE:
		queue_known.disturbed = true;
		if (fixture_shares_process(thread) || !queue_handles[thread->process])
			break;
		if (sim_choose(SIM_CASE, 2))
			close_second(thread);
		else
			close_and_open(thread);
		break;
	case QUEUE_SIZE:
		check_size(thread);
		break;
	case QUEUE_ATTACH:
		/* a newcomer takes an id that may have been a dead one's, and does what the rest says */
		if (!fixture_shares_process(thread) && QUEUE_RUN.held == 0 && fixture_attach(thread))
			queue_expect(shmkit_queue_open(fixture_segments[thread->process], "q",
						       FIXTURE_ELEMENT,
						       &queue_handles[thread->process]),
				     0, "open");
		else if (!queue_handles[thread->process])
			program_of(thread)->given_up = true;
		break;
	default: break;
	}
	start(thread);
}
