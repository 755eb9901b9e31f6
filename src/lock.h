/*
 * Lock words in a segment, for cold paths and the roles of a ring.
 *
 *	generation:52 | waiters:1 | held:1 | owner:10
 *
 * The generation counts acquisitions, so that a word that names an owner occurs once: a taker from
 * the dead who stalls before its CAS cannot steal the lock from a living one later. A lock is taken
 * from a holder only when the kernel says that the holder is dead. The generation wraps after 2^52
 * acquisitions.
 *
 * | dies                      | leaves            | outcome                                       |
 * |---------------------------|-------------------|-----------------------------------------------|
 * | holding                   | held by the dead  | the next taker takes over, or repair frees it |
 * | after the CAS of unlock   | waiters not woken | they look when their slice ends               |
 */
#ifndef SHK_LOCK_H
#define SHK_LOCK_H

#include "segment.h"

#define SHK_LOCK_HELD (UINT64_C(1) << 10)
#define SHK_LOCK_WAITERS (UINT64_C(1) << 11)
#define SHK_LOCK_GENERATION (UINT64_C(1) << 12)

static inline bool shk_lock_is_held(uint64_t word)
{
	return (word & SHK_LOCK_HELD) != 0;
}

static inline unsigned shk_lock_owner(uint64_t word)
{
	return (unsigned)(word & SHK_OWNER_MASK);
}

/*
 * Takes the lock for this member. 0, and *ret_word is what shk_lock_word_release() wants; -EBUSY
 * when one living process has held it for timeout_ns (last error names it; what says what it is).
 * timeout_ns 0 does not wait, but still takes over from the dead.
 */
int shk_lock_word_acquire(struct shmkit_segment *segment, shk_u64 *lock, int64_t timeout_ns,
			  const char *what, uint64_t *ret_word);

void shk_lock_word_release(shk_u64 *lock, uint64_t word);

#endif
