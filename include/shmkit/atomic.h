/*
 * libshmkit: atomics, single values that are named, shared and can be waited for.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h. Names, creating and
 * opening: shmkit/object.h.
 */
#ifndef SHMKIT_ATOMIC_H
#define SHMKIT_ATOMIC_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>
#include <shmkit/segment.h>
#include <shmkit/object.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Atomics
 *
 * Six families with the same shape: u32, i32, u64, i64, bool (a uint8_t of 0 or 1) and f64 (a
 * double). Every function that reads or writes the value is one sequentially consistent operation:
 * all threads of all processes see all of them, on all atomics, in one order. Signed integers wrap
 * around like unsigned ones. A value lies on a cache line of its own.
 *
 * Waiting. Every function that writes the value wakes those who wait for it to change. Waiting
 * compares the value with the one given: changes that are over before the waiter looks again, back
 * to the old value, go unnoticed.
 *
 * Death. An operation has happened whole or not at all, wherever its caller is killed; there is
 * nothing to repair. Waiters whose waker was killed after the operation notice within 50 ms.
 *
 * No error channel. Functions that return a value cannot fail. On a read-only segment, and in a
 * forked child that could not join, what would write changes nothing and returns the value that is
 * there; compare_exchange() then returns 0 even when *expected is that value, so that a loop around
 * it must look at something else to end. After the structure was removed, handles still open on it
 * read as 0 and take no value; so does a NULL handle. In all these cases shmkit_last_error() says
 * so.
 */

/* ---- u32 ------------------------------------------------------------------------------------ */

/**
 * struct shmkit_atomic_u32 - A handle on a shared uint32_t.
 *
 * Opaque.
 */
struct shmkit_atomic_u32;

/**
 * shmkit_atomic_u32_create() - Create a named uint32_t that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_u32_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole atomic or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_u32_create(struct shmkit_segment *segment, const char *name, uint32_t initial,
			     struct shmkit_atomic_u32 **ret_atomic);

/**
 * shmkit_atomic_u32_open() - Open a named uint32_t that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_u32_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_u32_open(struct shmkit_segment *segment, const char *name,
			   struct shmkit_atomic_u32 **ret_atomic);

/**
 * shmkit_atomic_u32_open_or_create() - Open a named uint32_t, or create it.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start, should it be created.
 * @ret_atomic: The handle, to be closed with shmkit_atomic_u32_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_atomic_u32_create() or shmkit_atomic_u32_open().
 * Crash: As shmkit_atomic_u32_create().
 * Return: 1 created; 0 opened, whatever its value; -EPROTOTYPE it is of another kind; -ENOSPC;
 *         -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_u32_open_or_create(struct shmkit_segment *segment, const char *name,
				     uint32_t initial, struct shmkit_atomic_u32 **ret_atomic);

/**
 * shmkit_atomic_u32_close() - Give up a handle.
 * @atomic: Handle, or NULL. No other thread may be using it.
 *
 * The value stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_u32_close(struct shmkit_atomic_u32 *atomic);

/**
 * shmkit_atomic_u32_load() - Read the value.
 * @atomic: Open handle, on a read-only segment too.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Return: The value; 0 when atomic is NULL.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_load(const struct shmkit_atomic_u32 *atomic);

/**
 * shmkit_atomic_u32_store() - Write the value.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_u32_store(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_exchange() - Write the value and tell the one before.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_exchange(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_compare_exchange() - Write the value if it is what was expected.
 * @atomic: Open handle.
 * @expected: What it must be; set to what was there when it is not.
 * @desired: What it is to be.
 *
 * Wakes the waiters when it writes.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent, also when it does not write.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: 1 written; 0 not written; never negative. 0 on a read-only segment, whatever was there; 0
 *         when atomic or expected is NULL.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_atomic_u32_compare_exchange(struct shmkit_atomic_u32 *atomic, uint32_t *expected,
				       uint32_t desired);

/**
 * shmkit_atomic_u32_fetch_add() - Add to the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to add.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_add(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_fetch_sub() - Subtract from the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to subtract.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_sub(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_fetch_and() - Clear bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits that stay.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_and(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_fetch_or() - Set bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to set.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_or(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_fetch_xor() - Flip bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to flip.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_xor(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_fetch_min() - Lower the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was more.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_min(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_fetch_max() - Raise the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was less.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_atomic_u32_fetch_max(struct shmkit_atomic_u32 *atomic, uint32_t value);

/**
 * shmkit_atomic_u32_wait() - Wait until the value differs from a given one.
 * @atomic: Open handle, on a read-only segment too.
 * @old: The value to wait away from.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait, on a read-only segment up to 2 ms too long.
 * Ordering: Sequentially consistent; what the writer of the value seen did before happens before
 *           the return.
 * Crash: The death of a waiter leaves nothing to repair; a waker that dies makes it return up to 50
 *        ms late.
 * Return: 0 it differs, or did when it was looked at; -ETIMEDOUT; -EINTR; -ECANCELED; -EINVAL;
 *         -ESTALE it was removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_atomic_u32_wait(const struct shmkit_atomic_u32 *atomic, uint32_t old,
				      int64_t timeout_ns);

/* ---- i32 ------------------------------------------------------------------------------------ */

/**
 * struct shmkit_atomic_i32 - A handle on a shared int32_t.
 *
 * Opaque.
 */
struct shmkit_atomic_i32;

/**
 * shmkit_atomic_i32_create() - Create a named int32_t that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_i32_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole atomic or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_i32_create(struct shmkit_segment *segment, const char *name, int32_t initial,
			     struct shmkit_atomic_i32 **ret_atomic);

/**
 * shmkit_atomic_i32_open() - Open a named int32_t that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_i32_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_i32_open(struct shmkit_segment *segment, const char *name,
			   struct shmkit_atomic_i32 **ret_atomic);

/**
 * shmkit_atomic_i32_open_or_create() - Open a named int32_t, or create it.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start, should it be created.
 * @ret_atomic: The handle, to be closed with shmkit_atomic_i32_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_atomic_i32_create() or shmkit_atomic_i32_open().
 * Crash: As shmkit_atomic_i32_create().
 * Return: 1 created; 0 opened, whatever its value; -EPROTOTYPE it is of another kind; -ENOSPC;
 *         -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_i32_open_or_create(struct shmkit_segment *segment, const char *name,
				     int32_t initial, struct shmkit_atomic_i32 **ret_atomic);

/**
 * shmkit_atomic_i32_close() - Give up a handle.
 * @atomic: Handle, or NULL. No other thread may be using it.
 *
 * The value stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_i32_close(struct shmkit_atomic_i32 *atomic);

/**
 * shmkit_atomic_i32_load() - Read the value.
 * @atomic: Open handle, on a read-only segment too.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Return: The value; 0 when atomic is NULL.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_load(const struct shmkit_atomic_i32 *atomic);

/**
 * shmkit_atomic_i32_store() - Write the value.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_i32_store(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_exchange() - Write the value and tell the one before.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_exchange(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_compare_exchange() - Write the value if it is what was expected.
 * @atomic: Open handle.
 * @expected: What it must be; set to what was there when it is not.
 * @desired: What it is to be.
 *
 * Wakes the waiters when it writes.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent, also when it does not write.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: 1 written; 0 not written; never negative. 0 on a read-only segment, whatever was there; 0
 *         when atomic or expected is NULL.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_atomic_i32_compare_exchange(struct shmkit_atomic_i32 *atomic, int32_t *expected,
				       int32_t desired);

/**
 * shmkit_atomic_i32_fetch_add() - Add to the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to add.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_add(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_fetch_sub() - Subtract from the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to subtract.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_sub(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_fetch_and() - Clear bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits that stay.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_and(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_fetch_or() - Set bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to set.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_or(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_fetch_xor() - Flip bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to flip.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_xor(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_fetch_min() - Lower the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was more.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_min(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_fetch_max() - Raise the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was less.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int32_t shmkit_atomic_i32_fetch_max(struct shmkit_atomic_i32 *atomic, int32_t value);

/**
 * shmkit_atomic_i32_wait() - Wait until the value differs from a given one.
 * @atomic: Open handle, on a read-only segment too.
 * @old: The value to wait away from.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait, on a read-only segment up to 2 ms too long.
 * Ordering: Sequentially consistent; what the writer of the value seen did before happens before
 *           the return.
 * Crash: The death of a waiter leaves nothing to repair; a waker that dies makes it return up to 50
 *        ms late.
 * Return: 0 it differs, or did when it was looked at; -ETIMEDOUT; -EINTR; -ECANCELED; -EINVAL;
 *         -ESTALE it was removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_atomic_i32_wait(const struct shmkit_atomic_i32 *atomic, int32_t old,
				      int64_t timeout_ns);

/* ---- u64 ------------------------------------------------------------------------------------ */

/**
 * struct shmkit_atomic_u64 - A handle on a shared uint64_t.
 *
 * Opaque.
 */
struct shmkit_atomic_u64;

/**
 * shmkit_atomic_u64_create() - Create a named uint64_t that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_u64_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole atomic or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_u64_create(struct shmkit_segment *segment, const char *name, uint64_t initial,
			     struct shmkit_atomic_u64 **ret_atomic);

/**
 * shmkit_atomic_u64_open() - Open a named uint64_t that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_u64_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_u64_open(struct shmkit_segment *segment, const char *name,
			   struct shmkit_atomic_u64 **ret_atomic);

/**
 * shmkit_atomic_u64_open_or_create() - Open a named uint64_t, or create it.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start, should it be created.
 * @ret_atomic: The handle, to be closed with shmkit_atomic_u64_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_atomic_u64_create() or shmkit_atomic_u64_open().
 * Crash: As shmkit_atomic_u64_create().
 * Return: 1 created; 0 opened, whatever its value; -EPROTOTYPE it is of another kind; -ENOSPC;
 *         -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_u64_open_or_create(struct shmkit_segment *segment, const char *name,
				     uint64_t initial, struct shmkit_atomic_u64 **ret_atomic);

/**
 * shmkit_atomic_u64_close() - Give up a handle.
 * @atomic: Handle, or NULL. No other thread may be using it.
 *
 * The value stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_u64_close(struct shmkit_atomic_u64 *atomic);

/**
 * shmkit_atomic_u64_load() - Read the value.
 * @atomic: Open handle, on a read-only segment too.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Return: The value; 0 when atomic is NULL.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_load(const struct shmkit_atomic_u64 *atomic);

/**
 * shmkit_atomic_u64_store() - Write the value.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_u64_store(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_exchange() - Write the value and tell the one before.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_exchange(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_compare_exchange() - Write the value if it is what was expected.
 * @atomic: Open handle.
 * @expected: What it must be; set to what was there when it is not.
 * @desired: What it is to be.
 *
 * Wakes the waiters when it writes.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent, also when it does not write.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: 1 written; 0 not written; never negative. 0 on a read-only segment, whatever was there; 0
 *         when atomic or expected is NULL.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_atomic_u64_compare_exchange(struct shmkit_atomic_u64 *atomic, uint64_t *expected,
				       uint64_t desired);

/**
 * shmkit_atomic_u64_fetch_add() - Add to the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to add.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_add(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_fetch_sub() - Subtract from the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to subtract.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_sub(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_fetch_and() - Clear bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits that stay.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_and(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_fetch_or() - Set bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to set.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_or(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_fetch_xor() - Flip bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to flip.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_xor(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_fetch_min() - Lower the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was more.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_min(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_fetch_max() - Raise the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was less.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_atomic_u64_fetch_max(struct shmkit_atomic_u64 *atomic, uint64_t value);

/**
 * shmkit_atomic_u64_wait() - Wait until the value differs from a given one.
 * @atomic: Open handle, on a read-only segment too.
 * @old: The value to wait away from.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait, on a read-only segment up to 2 ms too long.
 * Ordering: Sequentially consistent; what the writer of the value seen did before happens before
 *           the return.
 * Crash: The death of a waiter leaves nothing to repair; a waker that dies makes it return up to 50
 *        ms late.
 * Return: 0 it differs, or did when it was looked at; -ETIMEDOUT; -EINTR; -ECANCELED; -EINVAL;
 *         -ESTALE it was removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_atomic_u64_wait(const struct shmkit_atomic_u64 *atomic, uint64_t old,
				      int64_t timeout_ns);

/* ---- i64 ------------------------------------------------------------------------------------ */

/**
 * struct shmkit_atomic_i64 - A handle on a shared int64_t.
 *
 * Opaque.
 */
struct shmkit_atomic_i64;

/**
 * shmkit_atomic_i64_create() - Create a named int64_t that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_i64_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole atomic or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_i64_create(struct shmkit_segment *segment, const char *name, int64_t initial,
			     struct shmkit_atomic_i64 **ret_atomic);

/**
 * shmkit_atomic_i64_open() - Open a named int64_t that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_i64_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_i64_open(struct shmkit_segment *segment, const char *name,
			   struct shmkit_atomic_i64 **ret_atomic);

/**
 * shmkit_atomic_i64_open_or_create() - Open a named int64_t, or create it.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start, should it be created.
 * @ret_atomic: The handle, to be closed with shmkit_atomic_i64_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_atomic_i64_create() or shmkit_atomic_i64_open().
 * Crash: As shmkit_atomic_i64_create().
 * Return: 1 created; 0 opened, whatever its value; -EPROTOTYPE it is of another kind; -ENOSPC;
 *         -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_i64_open_or_create(struct shmkit_segment *segment, const char *name,
				     int64_t initial, struct shmkit_atomic_i64 **ret_atomic);

/**
 * shmkit_atomic_i64_close() - Give up a handle.
 * @atomic: Handle, or NULL. No other thread may be using it.
 *
 * The value stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_i64_close(struct shmkit_atomic_i64 *atomic);

/**
 * shmkit_atomic_i64_load() - Read the value.
 * @atomic: Open handle, on a read-only segment too.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Return: The value; 0 when atomic is NULL.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_load(const struct shmkit_atomic_i64 *atomic);

/**
 * shmkit_atomic_i64_store() - Write the value.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_i64_store(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_exchange() - Write the value and tell the one before.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_exchange(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_compare_exchange() - Write the value if it is what was expected.
 * @atomic: Open handle.
 * @expected: What it must be; set to what was there when it is not.
 * @desired: What it is to be.
 *
 * Wakes the waiters when it writes.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent, also when it does not write.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: 1 written; 0 not written; never negative. 0 on a read-only segment, whatever was there; 0
 *         when atomic or expected is NULL.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_atomic_i64_compare_exchange(struct shmkit_atomic_i64 *atomic, int64_t *expected,
				       int64_t desired);

/**
 * shmkit_atomic_i64_fetch_add() - Add to the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to add.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_add(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_fetch_sub() - Subtract from the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to subtract.
 *
 * Wakes the waiters. Wraps around.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_sub(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_fetch_and() - Clear bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits that stay.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_and(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_fetch_or() - Set bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to set.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_or(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_fetch_xor() - Flip bits of the value and tell the one before.
 * @atomic: Open handle.
 * @value: The bits to flip.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_xor(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_fetch_min() - Lower the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was more.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_min(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_fetch_max() - Raise the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was less.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_atomic_i64_fetch_max(struct shmkit_atomic_i64 *atomic, int64_t value);

/**
 * shmkit_atomic_i64_wait() - Wait until the value differs from a given one.
 * @atomic: Open handle, on a read-only segment too.
 * @old: The value to wait away from.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait, on a read-only segment up to 2 ms too long.
 * Ordering: Sequentially consistent; what the writer of the value seen did before happens before
 *           the return.
 * Crash: The death of a waiter leaves nothing to repair; a waker that dies makes it return up to 50
 *        ms late.
 * Return: 0 it differs, or did when it was looked at; -ETIMEDOUT; -EINTR; -ECANCELED; -EINVAL;
 *         -ESTALE it was removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_atomic_i64_wait(const struct shmkit_atomic_i64 *atomic, int64_t old,
				      int64_t timeout_ns);

/* ---- bool ----------------------------------------------------------------------------------- */

/**
 * struct shmkit_atomic_bool - A handle on a shared truth value, 0 or 1.
 *
 * Opaque.
 *
 * Any value other than 0 given to a function below counts as 1; 0 and 1 are what they return.
 */
struct shmkit_atomic_bool;

/**
 * shmkit_atomic_bool_create() - Create a named truth value that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_bool_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole atomic or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_bool_create(struct shmkit_segment *segment, const char *name, uint8_t initial,
			      struct shmkit_atomic_bool **ret_atomic);

/**
 * shmkit_atomic_bool_open() - Open a named truth value that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_bool_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_bool_open(struct shmkit_segment *segment, const char *name,
			    struct shmkit_atomic_bool **ret_atomic);

/**
 * shmkit_atomic_bool_open_or_create() - Open a named truth value, or create it.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start, should it be created.
 * @ret_atomic: The handle, to be closed with shmkit_atomic_bool_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_atomic_bool_create() or shmkit_atomic_bool_open().
 * Crash: As shmkit_atomic_bool_create().
 * Return: 1 created; 0 opened, whatever its value; -EPROTOTYPE it is of another kind; -ENOSPC;
 *         -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_bool_open_or_create(struct shmkit_segment *segment, const char *name,
				      uint8_t initial, struct shmkit_atomic_bool **ret_atomic);

/**
 * shmkit_atomic_bool_close() - Give up a handle.
 * @atomic: Handle, or NULL. No other thread may be using it.
 *
 * The value stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_bool_close(struct shmkit_atomic_bool *atomic);

/**
 * shmkit_atomic_bool_load() - Read the value.
 * @atomic: Open handle, on a read-only segment too.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Return: The value; 0 when atomic is NULL.
 * Since: 1.0
 */
SHMKIT_API uint8_t shmkit_atomic_bool_load(const struct shmkit_atomic_bool *atomic);

/**
 * shmkit_atomic_bool_store() - Write the value.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_bool_store(struct shmkit_atomic_bool *atomic, uint8_t value);

/**
 * shmkit_atomic_bool_exchange() - Write the value and tell the one before.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API uint8_t shmkit_atomic_bool_exchange(struct shmkit_atomic_bool *atomic, uint8_t value);

/**
 * shmkit_atomic_bool_compare_exchange() - Write the value if it is what was expected.
 * @atomic: Open handle.
 * @expected: What it must be; set to what was there when it is not.
 * @desired: What it is to be.
 *
 * Wakes the waiters when it writes.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent, also when it does not write.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: 1 written; 0 not written; never negative. 0 on a read-only segment, whatever was there; 0
 *         when atomic or expected is NULL.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_atomic_bool_compare_exchange(struct shmkit_atomic_bool *atomic, uint8_t *expected,
					uint8_t desired);

/**
 * shmkit_atomic_bool_wait() - Wait until the value differs from a given one.
 * @atomic: Open handle, on a read-only segment too.
 * @old: The value to wait away from.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait, on a read-only segment up to 2 ms too long.
 * Ordering: Sequentially consistent; what the writer of the value seen did before happens before
 *           the return.
 * Crash: The death of a waiter leaves nothing to repair; a waker that dies makes it return up to 50
 *        ms late.
 * Return: 0 it differs, or did when it was looked at; -ETIMEDOUT; -EINTR; -ECANCELED; -EINVAL;
 *         -ESTALE it was removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_atomic_bool_wait(const struct shmkit_atomic_bool *atomic, uint8_t old,
				       int64_t timeout_ns);

/* ---- f64 ------------------------------------------------------------------------------------ */

/**
 * struct shmkit_atomic_f64 - A handle on a shared double.
 *
 * Opaque.
 *
 * compare_exchange() and wait() compare bytes: 0.0 and -0.0 differ, a NaN equals the same NaN.
 */
struct shmkit_atomic_f64;

/**
 * shmkit_atomic_f64_create() - Create a named double that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_f64_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole atomic or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_f64_create(struct shmkit_segment *segment, const char *name, double initial,
			     struct shmkit_atomic_f64 **ret_atomic);

/**
 * shmkit_atomic_f64_open() - Open a named double that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @ret_atomic: The new handle, to be closed with shmkit_atomic_f64_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_f64_open(struct shmkit_segment *segment, const char *name,
			   struct shmkit_atomic_f64 **ret_atomic);

/**
 * shmkit_atomic_f64_open_or_create() - Open a named double, or create it.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @initial: The value it has from the start, should it be created.
 * @ret_atomic: The handle, to be closed with shmkit_atomic_f64_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_atomic_f64_create() or shmkit_atomic_f64_open().
 * Crash: As shmkit_atomic_f64_create().
 * Return: 1 created; 0 opened, whatever its value; -EPROTOTYPE it is of another kind; -ENOSPC;
 *         -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_atomic_f64_open_or_create(struct shmkit_segment *segment, const char *name,
				     double initial, struct shmkit_atomic_f64 **ret_atomic);

/**
 * shmkit_atomic_f64_close() - Give up a handle.
 * @atomic: Handle, or NULL. No other thread may be using it.
 *
 * The value stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_f64_close(struct shmkit_atomic_f64 *atomic);

/**
 * shmkit_atomic_f64_load() - Read the value.
 * @atomic: Open handle, on a read-only segment too.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Return: The value; 0 when atomic is NULL.
 * Since: 1.0
 */
SHMKIT_API double shmkit_atomic_f64_load(const struct shmkit_atomic_f64 *atomic);

/**
 * shmkit_atomic_f64_store() - Write the value.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Since: 1.0
 */
SHMKIT_API void shmkit_atomic_f64_store(struct shmkit_atomic_f64 *atomic, double value);

/**
 * shmkit_atomic_f64_exchange() - Write the value and tell the one before.
 * @atomic: Open handle.
 * @value: What it is to be.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API double shmkit_atomic_f64_exchange(struct shmkit_atomic_f64 *atomic, double value);

/**
 * shmkit_atomic_f64_compare_exchange() - Write the value if it is what was expected.
 * @atomic: Open handle.
 * @expected: What it must be; set to what was there when it is not.
 * @desired: What it is to be.
 *
 * Compares bytes. Wakes the waiters when it writes.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent, also when it does not write.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: 1 written; 0 not written; never negative. 0 on a read-only segment, whatever was there; 0
 *         when atomic or expected is NULL.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_atomic_f64_compare_exchange(struct shmkit_atomic_f64 *atomic, double *expected,
				       double desired);

/**
 * shmkit_atomic_f64_fetch_add() - Add to the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to add.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API double shmkit_atomic_f64_fetch_add(struct shmkit_atomic_f64 *atomic, double value);

/**
 * shmkit_atomic_f64_fetch_sub() - Subtract from the value and tell the one before.
 * @atomic: Open handle.
 * @value: What to subtract.
 *
 * Wakes the waiters.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API double shmkit_atomic_f64_fetch_sub(struct shmkit_atomic_f64 *atomic, double value);

/**
 * shmkit_atomic_f64_fetch_min() - Lower the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was more.
 *
 * Wakes the waiters. A NaN on either side changes nothing.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API double shmkit_atomic_f64_fetch_min(struct shmkit_atomic_f64 *atomic, double value);

/**
 * shmkit_atomic_f64_fetch_max() - Raise the value to a limit and tell the one before.
 * @atomic: Open handle.
 * @value: The limit; the value becomes it where it was less.
 *
 * Wakes the waiters. A NaN on either side changes nothing.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Sequentially consistent.
 * Crash: The caller's death leaves the old value or the new one.
 * Return: The value before.
 * Since: 1.0
 */
SHMKIT_API double shmkit_atomic_f64_fetch_max(struct shmkit_atomic_f64 *atomic, double value);

/**
 * shmkit_atomic_f64_wait() - Wait until the value differs from a given one.
 * @atomic: Open handle, on a read-only segment too.
 * @old: The value to wait away from.
 * @timeout_ns: How long to wait.
 *
 * Compares bytes.
 *
 * Context: Any thread, any process; may wait, on a read-only segment up to 2 ms too long.
 * Ordering: Sequentially consistent; what the writer of the value seen did before happens before
 *           the return.
 * Crash: The death of a waiter leaves nothing to repair; a waker that dies makes it return up to 50
 *        ms late.
 * Return: 0 it differs, or did when it was looked at; -ETIMEDOUT; -EINTR; -ECANCELED; -EINVAL;
 *         -ESTALE it was removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_atomic_f64_wait(const struct shmkit_atomic_f64 *atomic, double old,
				      int64_t timeout_ns);

#ifdef __cplusplus
}
#endif
#endif
