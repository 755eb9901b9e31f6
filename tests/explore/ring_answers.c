/*
 * Is what a call on the ring returned right? Positions and contents always; "empty", "full", fewer
 * than asked for, how many were lost, -EBUSY and -ESHUTDOWN when accesses are sequentially
 * consistent: what one has done another need not see yet otherwise.
 */
#include "ring_oracle.h"

#include "sys.h"

#include <errno.h>

#define CAPACITY (ring_known.state->capacity)
#define COPIES 4u                           /* of a pop, before it takes less than there is */

static uint64_t least_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- roles and the end ---- */

static void judge_busy(const struct sim_thread *thread, enum ring_role role)
{
	bool several = ring_has(role == RING_PRODUCER ? SHMKIT_RING_MULTI_PRODUCER
						      : SHMKIT_RING_MULTI_CONSUMER);

	if (several && (role == RING_CONSUMER || sim_world.now_ns - RING_RUN.begin_ns < SHK_SLICE_NS))
		sim_fail("-EBUSY, and nobody held it for a slice");
	if (sim_weak)
		return;
	for (unsigned i = 0; i < SIM_PROCESSES; i++)
		if ((several || i != thread->process) && !(RING_RUN.buried >> i & 1) &&
		    ring_known.held_until[role][i] >= RING_RUN.begin)
			return;
	sim_fail("-EBUSY, and nobody alive had the role");
}

static void know_shut(void)
{
	if (!ring_known.shut_begun)
		sim_fail("-ESHUTDOWN without a shutdown");
	ring_known.shut_step = least_of(ring_known.shut_step, sim_step);
}

static void judge_end(const char *what, uint64_t position)
{
	know_shut();
	if (position != ring_known.pushed)
		sim_fail("%s: -ESHUTDOWN at position %llu of %llu", what, (unsigned long long)position,
			 (unsigned long long)ring_known.pushed);
	ring_known.ended = true;
}

/* It had been shut down before the call, and nobody was in a push: is the end to be told there? */
static bool should_end(const struct sim_thread *thread, uint64_t position)
{
	return !sim_weak && ring_known.shut_step <= RING_RUN.begin && !RING_RUN.beside_push &&
	       position == ring_known.pushed;
}

/* A shutdown, or a first drop, without membarrier() sleeps for what it cannot wait for otherwise. */
static bool sleeps_for_others(void)
{
	return ring_known.state->no_membarrier && (ring_known.shut_begun || ring_shm()->sharing != SHK_RING_ALONE);
}

/* It timed out: what it waited for must not have been there. */
static void judge_timeout(const struct sim_thread *thread)
{
	if (!sleeps_for_others())
		fixture_check_timeout(thread, ring_known.changed_step);
}

void ring_judge_wake(const struct sim_thread *thread, int64_t result)
{
	if (sleeps_for_others())
		return;
	if (result > 0 || result == -ESHUTDOWN)
		fixture_check_wake(thread);
}

/* ---- pushing ---- */

static void judge_refused(const struct sim_thread *thread, int64_t result, const char *what)
{
	if (RING_RUN.committed || RING_RUN.dropped)
		sim_fail("%s: %lld, after %u were committed and %u dropped", what, (long long)result,
			 RING_RUN.committed, RING_RUN.dropped);
	if (result == -EBUSY)
		judge_busy(thread, RING_PRODUCER);
	else if (result == -ESHUTDOWN)
		know_shut();
	else
		sim_fail("%s: %lld: %s", what, (long long)result, shmkit_last_error());
}

void ring_judge_push(struct sim_thread *thread, int64_t result, bool waits)
{
	unsigned done = result < 0 ? 0 : (unsigned)result;

	ring_judge_wake(thread, result);
	if (!sim_weak && ring_known.shut_step <= RING_RUN.begin && result != -ESHUTDOWN)
		sim_fail("push: %lld after the ring was shut down", (long long)result);
	if (result < 0 && result != -EAGAIN && !(waits && result == -ETIMEDOUT)) {
		judge_refused(thread, result, "push");
		return;
	}
	if (result == -ETIMEDOUT && ring_known.pushed - ring_known.read < CAPACITY)
		judge_timeout(thread);
	if (done != RING_RUN.committed || RING_RUN.commits > 1)
		sim_fail("push: %u, with %u committed in %u pieces", done, RING_RUN.committed,
			 RING_RUN.commits);
	if (!sim_weak && done < RING_RUN.count && done < CAPACITY && RING_RUN.most + done < CAPACITY)
		sim_fail("push: %u of %u, and never more than %u of %u were held", done, RING_RUN.count,
			 RING_RUN.most, CAPACITY);
}

void ring_judge_over(struct sim_thread *thread, int64_t result)
{
	unsigned pieces = (RING_RUN.count + CAPACITY - 1) / CAPACITY;

	ring_judge_wake(thread, result + 1);
	if (!sim_weak && ring_known.shut_step <= RING_RUN.begin && result != -ESHUTDOWN)
		sim_fail("push_overwrite: %lld after the ring was shut down", (long long)result);
	if (result < 0) {
		judge_refused(thread, result, "push_overwrite");
		return;
	}
	if (RING_RUN.committed != RING_RUN.count || RING_RUN.commits != pieces ||
	    RING_RUN.piece != least_of(RING_RUN.count, CAPACITY))
		sim_fail("push_overwrite: %u of %u committed in %u pieces, %u in the last",
			 RING_RUN.committed, RING_RUN.count, RING_RUN.commits, RING_RUN.piece);
	if (result != RING_RUN.dropped)
		sim_fail("push_overwrite: %lld, with %u dropped", (long long)result, RING_RUN.dropped);
}

/* ---- popping ---- */

void ring_judge_pop(struct sim_thread *thread, int64_t result, const uint64_t *elements, bool waits)
{
	unsigned done = result < 0 ? 0 : (unsigned)result;

	if (ring_known.storing == thread)
		ring_known.storing = NULL;  /* it knows */
	ring_judge_wake(thread, result);
	if (done != RING_RUN.popped)
		sim_fail("pop: %lld, with %u taken off", (long long)result, RING_RUN.popped);
	if (result == -EBUSY)
		judge_busy(thread, RING_CONSUMER);
	else if (result == -ESHUTDOWN)
		judge_end("pop", ring_known.read);
	else if (result < 0 && result != -EAGAIN && !(waits && result == -ETIMEDOUT))
		sim_fail("pop: %lld: %s", (long long)result, shmkit_last_error());
	if (result == -ETIMEDOUT && ring_known.pushed != ring_known.read)
		judge_timeout(thread);
	if (elements)
		ring_compare("pop", elements, RING_RUN.popped_from, done);
	if (sim_weak || result == -EBUSY || result == -ESHUTDOWN)
		return;
	if (done < RING_RUN.count && RING_RUN.least > done && RING_RUN.others < COPIES)
		sim_fail("pop: %u of %u, and never fewer than %u were held", done, RING_RUN.count,
			 RING_RUN.least);
	if (done == 0 && should_end(thread, ring_known.read) && RING_RUN.at.read == RING_RUN.at.pushed)
		sim_fail("pop: %lld at the end, after the shutdown", (long long)result);
}

/* ---- observing ---- */

/* Nothing was pushed, nor begun to be, during the call. */
static bool is_still(const struct sim_thread *thread)
{
	return !sim_weak && RING_RUN.at.pushed == ring_known.pushed &&
	       RING_RUN.at.write_next == ring_shm()->write_next;
}

static uint64_t oldest_now(void)
{
	return shk_ring_oldest(ring_handles[0], ring_shm()->write_next);
}

void ring_judge_last(struct sim_thread *thread, int64_t result, const uint64_t *elements)
{
	uint64_t held = least_of(least_of(RING_RUN.count, CAPACITY), ring_known.pushed);
	uint64_t from = ring_known.pushed - held, end = ring_known.pushed;
	uint64_t oldest = least_of(oldest_now(), end);

	if (result < 0 || result > RING_RUN.count) {
		sim_fail("last: %lld: %s", (long long)result, shmkit_last_error());
		return;
	}
	from = from < oldest ? oldest : from;
	if (is_still(thread) && result != (int64_t)(end - from))
		sim_fail("last: %lld instead of %llu", (long long)result,
			 (unsigned long long)(end - from));
	if (result == 0)
		return;
	while (end > ring_known.first && ring_value(end - 1) != elements[2 * (result - 1)])
		end--;
	ring_compare("last", elements, end - (uint64_t)result, (uint64_t)result);
	if (!sim_weak && end < RING_RUN.at.pushed)
		sim_fail("last: up to position %llu, and %llu were there when it began",
			 (unsigned long long)end, (unsigned long long)RING_RUN.at.pushed);
}

/* Nobody pushed meanwhile: what is lost, and what there is, is known exactly. */
static void judge_still(const struct sim_thread *thread, uint64_t told, uint64_t lost, uint64_t done)
{
	uint64_t oldest = least_of(oldest_now(), ring_known.pushed);
	uint64_t lapped = ring_known.pushed > CAPACITY ? ring_known.pushed - CAPACITY : 0;
	uint64_t from = told < lapped ? lapped : told;
	uint64_t copied = least_of(RING_RUN.count, ring_known.pushed - from);

	if (done == 0 && told + lost < ring_known.pushed)
		sim_fail("read: nothing at position %llu of %llu", (unsigned long long)(told + lost),
			 (unsigned long long)ring_known.pushed);
	/* the first of what is copied at once may be doubtful: a dead producer had begun to overwrite it */
	if (done && (lost != (told < oldest ? oldest - told : 0) ||
		     (oldest <= from ? done != copied : done > copied)))
		sim_fail("read: %llu at %llu, with %llu lost; %llu are whole from %llu on",
			 (unsigned long long)done, (unsigned long long)told, (unsigned long long)lost,
			 (unsigned long long)copied, (unsigned long long)oldest);
}

void ring_judge_read(struct sim_thread *thread, struct shmkit_ring_reader *reader, int64_t result,
		     const uint64_t *elements, uint64_t lost, uint64_t *position, bool waits)
{
	uint64_t done = result < 0 ? 0 : (uint64_t)result, told = *position, oldest = oldest_now();
	uint64_t now = shmkit_ring_reader_position(reader);

	if (result < 0 && result != -ESHUTDOWN && !(waits && result == -ETIMEDOUT)) {
		sim_fail("read: %lld: %s", (long long)result, shmkit_last_error());
		return;
	}
	if (now > ring_known.pushed || now < told)
		sim_fail("read: its place went from %llu to %llu", (unsigned long long)told,
			 (unsigned long long)now);
	if (!sim_weak && result <= 0 && now < RING_RUN.at.pushed)
		sim_fail("read: %lld at position %llu, and %llu were there", (long long)result,
			 (unsigned long long)now, (unsigned long long)RING_RUN.at.pushed);
	if (result == -ESHUTDOWN)
		judge_end("read", now);
	if (result == -ETIMEDOUT && now < ring_known.pushed)
		judge_timeout(thread);
	if (result == -ETIMEDOUT)
		return;                     /* what it has missed is told by the next */
	if (now != told + lost + done)
		sim_fail("read: from %llu to %llu with %llu read and %llu lost", (unsigned long long)told,
			 (unsigned long long)now, (unsigned long long)done, (unsigned long long)lost);
	if (lost && told + lost > oldest)
		sim_fail("read: %llu lost from %llu on, and only positions below %llu were overwritten",
			 (unsigned long long)lost, (unsigned long long)told, (unsigned long long)oldest);
	ring_compare("read", elements, told + lost, done);
	if (is_still(thread) && !waits)
		judge_still(thread, told, lost, done);
	if (result == 0 && lost == 0 && should_end(thread, now) && RING_RUN.at.pushed == now)
		sim_fail("read: nothing at the end, after the shutdown");
	*position = now;
}

void ring_judge_figures(const struct sim_thread *thread, uint64_t pushed, uint64_t dropped,
			uint64_t size)
{
	if (pushed > ring_known.pushed || (!sim_weak && pushed < RING_RUN.at.pushed))
		sim_fail("total_pushed is %llu of %llu", (unsigned long long)pushed,
			 (unsigned long long)ring_known.pushed);
	/* who sees a push sees what was dropped before it */
	if (dropped > ring_known.dropped || dropped < ring_known.dropped_at[pushed % RING_VALUES] ||
	    (!sim_weak && dropped < RING_RUN.at.dropped))
		sim_fail("total_dropped is %llu of %llu", (unsigned long long)dropped,
			 (unsigned long long)ring_known.dropped);
	/* of two indices read one after the other: perhaps more than there were at any one time */
	if (size > CAPACITY || (!sim_weak && size < RING_RUN.least))
		sim_fail("size is %llu of %u at least", (unsigned long long)size, RING_RUN.least);
}
