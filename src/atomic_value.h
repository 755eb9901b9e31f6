/*
 * What the six families of atomics share: the handle, its checks, and waking.
 *
 * An atomic is one word and an event word on a line of its own. Every operation is one seq_cst
 * access, or a CAS loop of them, so that there is nothing between two stores that a death could
 * leave half done.
 *
 * Waking: who writes does so by a read-modify-write, then loads the event word; a waiter sets the
 * event's bit, passes the barrier of shk_wait_prepare(), then loads the value. The writer's two and
 * the load of the value are seq_cst: one of the two sees the other, without the barriers of
 * shk_event_signal().
 *
 * Progress: wait-free where the machine has the operation, else lock-free.
 *
 * | dies after                | leaves                  | outcome                                |
 * |---------------------------|-------------------------|----------------------------------------|
 * | the value was written     | waiters not woken       | they look when their slice ends        |
 * | the waiter's bit was set  | the bit                 | one needless wake                      |
 */
#ifndef SHK_ATOMIC_VALUE_H
#define SHK_ATOMIC_VALUE_H

#include "object.h"
#include "wait.h"

#include <shmkit/atomic.h>

#include <errno.h>
#include <string.h>

/* Every struct shmkit_atomic_<family> is this and nothing else. */
struct shk_atomic {
	struct shk_object object;
};

static inline void *shk_atomic_word(const struct shk_atomic *atomic)
{
	return atomic->object.base;
}

/* As those of atomics.h, for words of 1, 4 or 8 bytes. */
#define shk_exchange_seq_cst(p, v) __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define shk_xor_seq_cst(p, v) __atomic_fetch_xor((p), (v), __ATOMIC_SEQ_CST)

/* Compare and exchange that tells in *(seen) what was there when it fails. */
#define shk_swap_seq_cst(p, seen, v) \
	(__atomic_compare_exchange_n((p), (seen), (v), false, __ATOMIC_SEQ_CST, \
						   __ATOMIC_SEQ_CST))

/* The slow ends. -EINVAL, with the last error set. */
int shk_atomic_null(const char *function);

/* Is the word there to be looked at though the call may not go on? */
bool shk_atomic_may_look(const struct shk_atomic *atomic);

/* May the value be written? If not the last error is set. */
static inline bool shk_atomic_may_write(const struct shk_atomic *atomic, const char *function)
{
	if (shk_likely(atomic != NULL))
		return shk_object_enter_write(&atomic->object) == 0;
	shk_atomic_null(function);
	return false;
}

/*
 * May the value be read? If not the last error is set. Not after a removal: a forked child cannot
 * tell whose memory it has become before it joined.
 */
static inline bool shk_atomic_may_read(const struct shk_atomic *atomic, const char *function)
{
	if (shk_likely(atomic != NULL))
		return shk_likely(shk_object_enter(&atomic->object) == 0) ||
		       shk_atomic_may_look(atomic);
	shk_atomic_null(function);
	return false;
}

/* After the value was written by a seq_cst read-modify-write. */
static inline void shk_atomic_wake(const struct shk_atomic *atomic)
{
	struct shk_atomic_shm *shm = (struct shk_atomic_shm *)(void *)atomic->object.base;

	/* Dies here: written, nobody woken. Waiters look when their slice ends. */
	SHK_POINT("atomic.written");
	/* atomic:E seq_cst. After the write; pairs with the bit set in shk_wait_prepare(). */
	if (shk_unlikely(shk_load_seq_cst(&shm->event) & 1))
		shk_event_wake(&shm->event);
}

/* Until the value is another than old, the word of which it is given as. */
struct shk_atomic_wait {
	const struct shk_atomic *atomic;
	uint64_t old;
};

/* Waits until differs(struct shk_atomic_wait *) is not -EAGAIN. */
int shk_atomic_wait(const struct shk_atomic *atomic, const char *function, shk_try differs,
		    uint64_t old, int64_t timeout_ns);

int shk_atomic_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
		      uint64_t initial, void *ret_atomic);
int shk_atomic_open(struct shmkit_segment *segment, const char *name, uint32_t kind,
		    void *ret_atomic);
int shk_atomic_open_or_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
			      uint64_t initial, void *ret_atomic);

#endif
