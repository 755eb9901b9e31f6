#include "queue_oracle.h"

#include <errno.h>
#include <string.h>

struct queue_known queue_known;
struct queue_run queue_runs[SIM_THREADS];
struct shmkit_queue *queue_handles[FIXTURE_PROCESSES];

void queue_deliver(unsigned value, uint64_t begin)
{
	queue_known.values[value].got++;
	queue_known.values[value].got_begin = begin;
	queue_known.values[value].got_end = sim_step;
}

void queue_expect(int result, int expected, const char *what)
{
	if (result != expected)
		sim_fail("%s: %d instead of %d: %s", what, result, expected, shmkit_last_error());
}

/* ---- what a point that was passed means ---- */

static bool is(const char *label, const char *name)
{
	return strcmp(label + sizeof("queue.") - 1, name) == 0;
}

void queue_on_point(const char *label)
{
	struct sim_thread *thread = sim_current;

	if (strncmp(label, "queue.", 6) != 0)
		return;
	queue_known.changed_step = sim_step;
	if (is(label, "tail.claimed")) {
		unsigned size = shk_index_run(queue_shm()->tail);

		QUEUE_RUN.batch_start[QUEUE_RUN.batches] = QUEUE_RUN.filled;
		QUEUE_RUN.batch_size[QUEUE_RUN.batches] = size;
		QUEUE_RUN.batch_committed[QUEUE_RUN.batches++] = false;
		QUEUE_RUN.filled += size;
		QUEUE_RUN.followers = 0;
	} else if (is(label, "enqueue.ready")) {
		QUEUE_RUN.batch_committed[QUEUE_RUN.batches - 1] = true;
	} else if (is(label, "enqueue.follower")) {
		if (++QUEUE_RUN.followers == QUEUE_RUN.batch_size[QUEUE_RUN.batches - 1])
			QUEUE_RUN.batch_committed[QUEUE_RUN.batches - 1] = true;
	} else if (is(label, "head.claimed")) {
		QUEUE_RUN.claimed = shk_index_run(queue_shm()->head);
	} else if (is(label, "dequeue.freed") || is(label, "redo.freed")) {
		QUEUE_RUN.taken++;
	} else if (is(label, "dequeue.done")) {
		QUEUE_RUN.taken += QUEUE_RUN.claimed;
	} else if (is(label, "dequeue.follower") && QUEUE_RUN.claimed == 1) {
		QUEUE_RUN.taken++;
	} else if (is(label, "settled")) {
		QUEUE_RUN.settled = true;
	}
}
/* ---- the audit ---- */

/* What the dead had committed, by the points they had passed. */
static void settle_dead(struct sim_thread *thread)
{
	for (unsigned i = 0; i < QUEUE_RUN.taken; i++)
		queue_deliver(fixture_decode(QUEUE_RUN.elements + 2 * (size_t)i, QUEUE_VALUES), 0);
	if (QUEUE_RUN.settling > 0 && QUEUE_RUN.settled)
		queue_deliver((unsigned)QUEUE_RUN.settling - 1, 0);
	if (QUEUE_RUN.settling < 0)
		queue_known.values[-QUEUE_RUN.settling - 1].fate =
			QUEUE_RUN.settled ? COMMITTED : NEVER;
	for (unsigned b = 0; QUEUE_RUN.puts && b < QUEUE_RUN.batches; b++)
		for (unsigned i = 0; i < QUEUE_RUN.batch_size[b]; i++)
			queue_known.values[QUEUE_RUN.first + QUEUE_RUN.batch_start[b] + i].fate =
				QUEUE_RUN.batch_committed[b] ? COMMITTED : NEVER;
}

static void end_held(struct sim_thread *thread)
{
	sim_act_as(thread->process);
	for (unsigned at = 0; at < QUEUE_RUN.held; at++) {
		unsigned value = QUEUE_RUN.values[at];

		if (QUEUE_RUN.slots[at].deliveries > 0) {
			queue_expect(shmkit_queue_ack(queue_handle(thread), &QUEUE_RUN.slots[at]),
				     0, "ack of what was kept");
			queue_deliver(value, sim_step);
		} else {
			queue_expect(
				shmkit_queue_commit(queue_handle(thread), &QUEUE_RUN.slots[at]), 0,
				"commit of what was kept");
			queue_known.values[value].fate = COMMITTED;
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
		if (thread->state != SIM_DONE || QUEUE_RUN.held == 0 ||
		    !sim_world.processes[thread->process].alive)
			continue;
		queue_known.disturbed = true;
		/* what is still held is held, or is left by a death */
		if (sim_step & 4)
			end_held(thread);
		else
			sim_process_kill(thread->process);
	}
}

static void check_order(void)
{
	for (unsigned a = 1; a < queue_known.next_value; a++)
		for (unsigned b = 1; b < queue_known.next_value; b++) {
			const struct queue_value *first = &queue_known.values[a],
						 *later = &queue_known.values[b];

			if (first->fate != COMMITTED || later->fate != COMMITTED ||
			    first->taken_in_place || later->taken_in_place || !first->got ||
			    !later->got)
				continue;
			/* the elements of a state, and of a batch, by their number */
			if (first->put_begin == later->put_begin
				    ? a >= b || (first->put_end == 0) != (later->put_end == 0)
				    : first->put_end >= later->put_begin)
				continue;
			if (later->got_end < first->got_begin ||
			    (later->got_begin == first->got_begin &&
			     later->got_end == first->got_end && first->got > 1))
				sim_fail("%u was enqueued before %u, and dequeued after it", a, b);
		}
}

static bool producer_under_way(const struct queue_outcome *outcome)
{
	for (unsigned i = 0; i < queue_known.put_count; i++)
		if (queue_known.puts_begun[i] < outcome->end &&
		    (queue_known.puts_ended[i] == 0 || queue_known.puts_ended[i] > outcome->begin))
			return true;
	return false;
}

/* "empty" while an element was there all the time; "full" while there was room all the time. */
static void check_outcomes(void)
{
	for (unsigned i = 0; i < queue_known.outcome_count; i++) {
		const struct queue_outcome *outcome = &queue_known.outcomes[i];
		unsigned occupied = 0;

		for (unsigned v = 1; v < queue_known.next_value; v++) {
			const struct queue_value *value = &queue_known.values[v];
			bool there = value->fate == COMMITTED && value->put_end <= outcome->begin &&
				     (!value->got || value->got_begin >= outcome->end);

			if (!outcome->full && there && !producer_under_way(outcome))
				sim_fail("\"empty\" while %u was there", v);
			occupied += value->fate != UNKNOWN && value->put_begin < outcome->end &&
				    (!value->got || value->got_end > outcome->begin) &&
				    value->fate != NEVER;
		}
		if (outcome->full && occupied < QUEUE_CAPACITY && !producer_under_way(outcome))
			sim_fail("\"full\" while %u of %u were occupied", occupied, QUEUE_CAPACITY);
	}
}

static void drain(void)
{
	uint64_t element[2];
	unsigned count = 0;
	int result;

	sim_tick(INT64_C(30000000));
	while ((result = shmkit_queue_dequeue(queue_handles[0], element)) == 0 && count++ < 40) {
		sim_tick(INT64_C(30000000));
		sim_step++;
		queue_deliver(fixture_decode(element, QUEUE_VALUES), sim_step);
	}
	if (result != -EAGAIN && !(result == -ESHUTDOWN && queue_known.was_shut))
		sim_fail("at the end, dequeue: %s", shmkit_last_error());
}

static void check_capacity(void)
{
	uint64_t element[2];

	queue_expect(shmkit_queue_reopen(queue_handles[0]), 0, "reopen");
	for (unsigned i = 0; i < QUEUE_CAPACITY; i++) {
		fixture_encode(element, i + 1);
		sim_tick(INT64_C(30000000));
		if (shmkit_queue_enqueue(queue_handles[0], element)) {
			sim_fail("room for %u of %u elements: %s", i, QUEUE_CAPACITY,
				 shmkit_last_error());
			return;
		}
	}
	queue_expect(shmkit_queue_enqueue(queue_handles[0], element), -EAGAIN, "one more than fit");
	for (unsigned i = 0; i < QUEUE_CAPACITY; i++) {
		queue_expect(shmkit_queue_dequeue(queue_handles[0], element), 0, "dequeue");
		if (element[0] != i + 1)
			sim_fail("the last elements are out of order");
	}
	queue_expect(shmkit_queue_dequeue(queue_handles[0], element), -EAGAIN,
		     "dequeue of nothing");
}

static void check_values(void)
{
	for (unsigned v = 1; v < queue_known.next_value; v++) {
		const struct queue_value *value = &queue_known.values[v];

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

	queue_expect(shmkit_queue_get_stats(queue_handles[0], &stats), 0, "get_stats");
	for (unsigned v = 1; v < queue_known.next_value; v++)
		committed += queue_known.values[v].fate == COMMITTED;
	if (sim_deaths || queue_known.disturbed)
		return;
	if (stats.enqueued != committed || stats.discarded ||
	    stats.enqueued - stats.dequeued != left)
		sim_fail(
			"statistics: %llu enqueued of %llu, %llu dequeued, %u left, %llu discarded",
			(unsigned long long)stats.enqueued, (unsigned long long)committed,
			(unsigned long long)stats.dequeued, left,
			(unsigned long long)stats.discarded);
}

static unsigned count_left(void)
{
	unsigned left = 0;

	for (unsigned v = 1; v < queue_known.next_value; v++)
		left += queue_known.values[v].fate == COMMITTED && !queue_known.values[v].got;
	return left;
}

void queue_audit(void)
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
		if (!queue_known.in_place && !queue_known.was_shut && !sim_weak)
			check_outcomes();
	}
	fixture_recover();
	queue_expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}
