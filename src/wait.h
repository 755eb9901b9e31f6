/*
 * Event words: how a call sleeps until another process has done something.
 *
 *	word = counter << 1 | waiters
 *
 *	waiter   e = fetch_or(word, 1) | 1; full barrier; look again; futex_wait(word, e), in slices;
 *	         after each slice look for the dead
 *	waker    commits; w = word; if bit 0: CAS w -> (w + 2) & ~1, wake all
 *
 * A bit without a counter loses a wake-up when a waiter sets it again between the CAS and the
 * futex call of another; waking one would need the baton passed on.
 *
 * The waker's commit must be visible before it looks at the word (store, then load), which costs
 * a full barrier. The waiter pays it for all: membarrier() after setting the bit acts as one in
 * every process that has registered. A process that could not register fences itself; a waiter
 * that may not call membarrier() starts with a short slice, so that what it missed costs little.
 *
 * Death of a waiter leaves at most the bit set: one needless wake. Death of a waker between its
 * commit and the wake: the waiters find out when their slice ends.
 */
#ifndef SHK_WAIT_H
#define SHK_WAIT_H

#include "segment.h"

#define SHK_SLICE_NS INT64_C(50000000)

struct shk_wait {
	struct shmkit_segment *segment;
	uint32_t *event;                    /* the word it sleeps on now */
	int64_t deadline_ns;                /* INT64_MAX: never */
	int64_t slice_ns;
	uint32_t interrupts;                /* the segment's count when the wait began */
	uint32_t spins;                     /* left before the first sleep */
	uint32_t registered;
	LIST_ENTRY(shk_wait) link;
};

/* timeout_ns as in the public interface. */
void shk_wait_init(struct shk_wait *wait, struct shmkit_segment *segment, int64_t timeout_ns);
void shk_wait_finish(struct shk_wait *wait);

/*
 * The first half of a sleep: announces a waiter on event. The caller looks again, and if there is
 * still nothing to do passes the value on to shk_wait_sleep().
 */
uint32_t shk_wait_prepare(struct shk_wait *wait, uint32_t *event);

/*
 * The second half: 0 when something may have changed; -ETIMEDOUT, -EINTR, -ECANCELED (last error
 * set). Looks for the dead when a slice ends.
 */
int shk_wait_sleep(struct shk_wait *wait, uint32_t *event, uint32_t value);

/* A pause while spinning; false once it is time to sleep. */
bool shk_wait_spin(struct shk_wait *wait);

/*
 * Calls try(context) until it returns something other than -EAGAIN or the time is over;
 * event is the word that changes when another try may succeed.
 */
typedef int64_t (*shk_try)(void *context);
int64_t shk_wait_until(struct shmkit_segment *segment, uint32_t *event, int64_t timeout_ns,
		       shk_try try, void *context);

void shk_event_wake(uint32_t *event);

/* After a commit by a plain store: does somebody wait for it? */
static inline bool shk_event_is_awaited(uint32_t *event)
{
	if (shk_unlikely(shk_process->fences))
		shk_fence_seq_cst();
	else
		__asm__ __volatile__("" ::: "memory");
	/* relaxed: only the bit matters; the barrier above or the waiter's orders it behind the commit */
	return shk_unlikely(shk_load_relaxed(event) & 1);
}

static inline void shk_event_signal(uint32_t *event)
{
	if (shk_event_is_awaited(event))
		shk_event_wake(event);
}

#endif
