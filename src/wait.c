#include "wait.h"

#include "repair.h"
#include "sys.h"

#include <errno.h>

#ifdef SHK_POINTS
#define SPINS 2u                            /* each is a place where others may run */
#else
#define SPINS 200u
#endif
#define FIRST_SLICE_NS INT64_C(1000000)         /* without an asymmetric barrier */
#define OBSERVER_FIRST_SLICE_NS INT64_C(50000)  /* read-only: cannot announce itself */
#define OBSERVER_LAST_SLICE_NS INT64_C(2000000)

void shk_wait_init(struct shk_wait *wait, struct shmkit_segment *segment, int64_t timeout_ns)
{
	*wait = (struct shk_wait){
		.segment = segment,
		.slice_ns = segment->read_only ? OBSERVER_FIRST_SLICE_NS : SHK_SLICE_NS,
		.interrupts = __atomic_load_n(&segment->interrupts, __ATOMIC_ACQUIRE),
		.spins = SPINS,
	};
	if (timeout_ns < 0) {
		wait->deadline_ns = INT64_MAX;
	} else {
		int64_t now = shk_now_ns();

		wait->deadline_ns = timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
	}
}

void shk_wait_finish(struct shk_wait *wait)
{
	if (!wait->registered)
		return;
	pthread_mutex_lock(&wait->segment->mutex);
	LIST_REMOVE(wait, link);
	pthread_mutex_unlock(&wait->segment->mutex);
	wait->registered = 0;
}

bool shk_wait_spin(struct shk_wait *wait)
{
	if (wait->spins == 0)
		return false;
	wait->spins--;
	shk_pause();
	return true;
}

/* So that shmkit_segment_interrupt() finds it. */
static void register_wait(struct shk_wait *wait, uint32_t *event)
{
	pthread_mutex_lock(&wait->segment->mutex);
	if (!wait->registered)
		LIST_INSERT_HEAD(&wait->segment->waits, wait, link);
	wait->registered = 1;
	wait->event = event;
	pthread_mutex_unlock(&wait->segment->mutex);
}

uint32_t shk_wait_prepare(struct shk_wait *wait, uint32_t *event)
{
	uint32_t value;

	if (!wait->registered || wait->event != event)
		register_wait(wait, event);
	if (wait->segment->read_only)
		return shk_load_acquire(event);
	/* wait:S relaxed. Pairs with the load in shk_event_signal() through the barrier below. */
	value = shk_or_relaxed(event, 1u) | 1u;
	SHK_POINT("wait.announced");
	if (!shk_barrier_all()) {
		shk_fence_seq_cst();
		if (wait->slice_ns == SHK_SLICE_NS)
			wait->slice_ns = FIRST_SLICE_NS;
	}
	return value;
}

static void lengthen_slice(struct shk_wait *wait)
{
	int64_t limit = wait->segment->read_only ? OBSERVER_LAST_SLICE_NS : SHK_SLICE_NS;

	wait->slice_ns *= 2;
	if (wait->slice_ns > limit)
		wait->slice_ns = limit;
}

static bool interrupted(const struct shk_wait *wait)
{
	if (__atomic_load_n(&wait->segment->interrupts, __ATOMIC_ACQUIRE) == wait->interrupts)
		return false;
	shk_fail_fixed(-ECANCELED, "the wait was interrupted by shmkit_segment_interrupt() "
				   "in this process");
	return true;
}

/* Read-only: no member and no name by which one could come. Asked every 50 ms. */
static bool nobody_will_write(struct shmkit_segment *segment)
{
	uint64_t now = (uint64_t)shk_coarse_ns();
	struct stat file;

	if (now < __atomic_load_n(&segment->next_look_ns, __ATOMIC_RELAXED))
		return false;
	__atomic_store_n(&segment->next_look_ns, now + (uint64_t)SHK_SLICE_NS, __ATOMIC_RELAXED);
	if (segment->geometry.flags & SHK_HEADER_ANONYMOUS)
		return false;               /* its descriptor may still be passed on */
	return shk_stat(segment->fd, &file) == 0 && file.st_nlink == 0 &&
	       shk_probe_write(segment->fd, SHK_LOCK_MEMBER, SHK_MAX_MEMBERS) == 0;
}

int shk_wait_sleep(struct shk_wait *wait, uint32_t *event, uint32_t value)
{
	struct shmkit_segment *segment = wait->segment;
	int64_t now, slice;
	int result;

	if (interrupted(wait))
		return -ECANCELED;
	now = shk_now_ns();
	if (now >= wait->deadline_ns)
		return shk_fail_fixed(-ETIMEDOUT, "what was waited for did not happen within "
						  "the time given");
	slice = wait->slice_ns;
	if (slice > wait->deadline_ns - now)
		slice = wait->deadline_ns - now;
	result = shk_futex_wait(event, value, slice);
	if (interrupted(wait))
		return -ECANCELED;
	if (result == -EINTR)
		return shk_fail_fixed(-EINTR, "a signal handler ran during the wait");
	if (result == -ETIMEDOUT) {
		lengthen_slice(wait);
		if (!segment->read_only)
			shk_look(segment);
		else if (nobody_will_write(segment))
			return shk_fail_fixed(-ESTALE, "the last member has left this read-only segment and "
						       "its name is gone: nothing will change any more");
	}
	return 0;
}

int64_t shk_wait_until(struct shmkit_segment *segment, uint32_t *event, int64_t timeout_ns,
		       shk_try try, void *context)
{
	struct shk_wait wait;
	int64_t result = try(context);

	if (result != -EAGAIN)
		return result;
	if (timeout_ns == 0)
		return shk_fail_fixed(-ETIMEDOUT, "not possible at once, and the time given was 0");
	shk_wait_init(&wait, segment, timeout_ns);
	while (shk_wait_spin(&wait)) {
		result = try(context);
		if (result != -EAGAIN)
			return result;
	}
	for (;;) {
		uint32_t value = shk_wait_prepare(&wait, event);

		result = try(context);
		if (result != -EAGAIN)
			break;
		result = shk_wait_sleep(&wait, event, value);
		if (result != 0)
			break;
	}
	shk_wait_finish(&wait);
	return result;
}

void shk_event_wake(uint32_t *event)
{
	uint32_t seen;

	/*
	 * One winner per announcement; whoever finds the bit cleared knows that another wakes.
	 * wait:C release. Behind the commit: who announces himself after it looks and sees that.
	 */
	do {
		seen = shk_load_relaxed(event);
		if (!(seen & 1))
			return;
	} while (!shk_cas_u32_release(event, seen, (seen + 2) & ~1u));
	/* Dies here: bit cleared, nobody woken. Waiters find out at the end of their slice. */
	SHK_POINT("wait.cleared");
	shk_futex_wake_all(event);
}

int shmkit_segment_interrupt(struct shmkit_segment *segment)
{
	struct shk_wait *wait;
	int result;

	if (!segment)
		return shk_fail(-EINVAL, "shmkit_segment_interrupt: segment is NULL");
	result = shk_segment_enter(segment);
	if (result)
		return result;
	__atomic_fetch_add(&segment->interrupts, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&segment->mutex);
	LIST_FOREACH(wait, &segment->waits, link) {
		/*
		 * A new value, so that one who is about to sleep does not; a read-only segment's
		 * words cannot be changed, its waiters look up every 2 ms.
		 */
		if (!segment->read_only)
			shk_add_seq_cst(wait->event, 2u);
		shk_futex_wake_all(wait->event);
	}
	pthread_mutex_unlock(&segment->mutex);
	return 0;
}
