#include "lock.h"

#include "member.h"
#include "sys.h"

#include <endian.h>
#include <errno.h>

#ifdef SHK_POINTS
#define SPINS 2u                            /* each is a place where others may run */
#else
#define SPINS 100u
#endif
#define ROUNDS 10000000u                    /* of a lock that changes whenever it is looked at */

/* The half of the word that changes with every acquisition. */
static uint32_t *low_half(shk_u64 *lock)
{
	return (uint32_t *)(void *)lock + (BYTE_ORDER == BIG_ENDIAN);
}

/*
 * Held by nobody who could let it go: by the dead, or by an id that is not LIVE. A holder is LIVE
 * as long as it holds, so that the latter is a word that has changed since, or damaged; the CAS
 * tells.
 */
static bool is_abandoned(struct shmkit_segment *segment, uint64_t seen)
{
	unsigned owner = shk_lock_owner(seen);
	uint64_t word;

	return owner >= segment->geometry.max_members ||
	       !(shk_load_acquire(&shk_member(segment, owner)->word) & SHK_MEMBER_LIVE) ||
	       shk_member_is_dead(segment, owner, &word);
}

/* One attempt: free, or held by the dead. */
static bool try_take(struct shmkit_segment *segment, shk_u64 *lock, uint64_t seen, bool ask,
		     uint64_t *ret_word)
{
	uint64_t taken = (seen & ~(SHK_LOCK_GENERATION - 1)) + SHK_LOCK_GENERATION +
			 (seen & SHK_LOCK_WAITERS) + SHK_LOCK_HELD + segment->member_id;

	if (shk_lock_is_held(seen) && (!ask || !is_abandoned(segment, seen)))
		return false;
	/* lock:L acquire. Pairs with lock:U, or with the kernel's word that the holder is gone. */
	if (!shk_cas_acq_rel(lock, seen, taken))
		return false;
	/* Dies here: held by the dead. Peers: take over. */
	SHK_POINT("lock.taken");
	*ret_word = taken;
	return true;
}

int shk_lock_word_acquire(struct shmkit_segment *segment, shk_u64 *lock, int64_t timeout_ns,
			  const char *what, uint64_t *ret_word)
{
	uint64_t generation = UINT64_MAX;   /* of the holder the deadline is about */
	int64_t deadline = 0;

	for (unsigned round = 0;; round++) {
		uint64_t seen = shk_load_acquire(lock);
		bool ask = timeout_ns == 0 || round >= SPINS;

		if (try_take(segment, lock, seen, ask, ret_word))
			return 0;
		if (!ask) {
			shk_pause();
			continue;
		}
		if (!shk_lock_is_held(seen) || shk_load_relaxed(lock) != seen) {
			/* it goes from hand to hand; not even a hostile hand keeps us for ever */
			if (round < ROUNDS)
				continue;
		} else if (timeout_ns && seen / SHK_LOCK_GENERATION != generation) {
			/* the time is the holder's: a lock that is busy is not one that is stuck */
			generation = seen / SHK_LOCK_GENERATION;
			deadline = shk_now_ns() + timeout_ns;
		}
		if (timeout_ns == 0 || round >= ROUNDS || shk_now_ns() >= deadline)
			return shk_fail(-EBUSY, "%s in segment '%s' is held by process %d (member %u), which "
						"is alive but does not go on; continue or end that process",
					what, segment->title,
					(int)shk_load_relaxed(&shk_member(segment, shk_lock_owner(seen) %
									  segment->geometry.max_members)->pid),
					shk_lock_owner(seen));
		if (!(seen & SHK_LOCK_WAITERS) &&
		    !shk_cas_acq_rel(lock, seen, seen | SHK_LOCK_WAITERS))
			continue;
		seen |= SHK_LOCK_WAITERS;
		shk_futex_wait(low_half(lock), (uint32_t)seen, INT64_C(10000000));
	}
}

void shk_lock_word_release(shk_u64 *lock, uint64_t word)
{
	uint64_t free = word & ~(SHK_LOCK_GENERATION - 1);

	/* lock:U release. Pairs with lock:L. */
	if (!shk_cas_release(lock, word, free)) {
		/* the only change a living holder can meet is the waiters bit */
		word |= SHK_LOCK_WAITERS;
		if (!shk_cas_release(lock, word, free))
			return;
	}
	/* the bit may have come with the lock, from the dead it was taken from */
	if (!(word & SHK_LOCK_WAITERS))
		return;
	SHK_POINT("lock.freed");
	shk_futex_wake_all(low_half(lock));
}
