/*
 * libshmkit: rings, a stream of elements in bulk, with any number of observers.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h. Names, creating and
 * opening: shmkit/object.h.
 */
#ifndef SHMKIT_RING_H
#define SHMKIT_RING_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>
#include <shmkit/segment.h>
#include <shmkit/object.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Rings
 *
 * Elements are pushed at one end, in batches of any size, and popped at the other; when asked the
 * newest are kept and the oldest overwritten. What one push call puts in is one with regard to
 * death: all of it is there, or none. Observers read the stream without taking anything: each sees
 * every element, or is told exactly how many it missed.
 *
 * Positions count elements since the creation of the ring: the first element has position 0.
 *
 * A ring has two ends. Without SHMKIT_RING_MULTI_PRODUCER one thread of one process pushes: the
 * first push takes the role, the closing of the handle or the death of the process gives it back,
 * and until then a push through another segment handle is -EBUSY. With the flag the role is held
 * for the length of a push: pushes of others wait for it, and are -EBUSY when a process has held it
 * for 50 ms, be it stopped or copying that long. Pops have a role in the same way, but with
 * SHMKIT_RING_MULTI_CONSUMER they have none: they are lock-free. The dead hold no role.
 */

/**
 * struct shmkit_ring - A handle on a ring.
 *
 * Opaque.
 */
struct shmkit_ring;

/**
 * DOC: Ring flags
 *
 * Of object_options.flags.
 *
 * @SHMKIT_RING_MULTI_PRODUCER: Any number of threads and processes push.
 * @SHMKIT_RING_MULTI_CONSUMER: Any number of threads and processes pop.
 */
enum {
	SHMKIT_RING_MULTI_PRODUCER = 1 << 0,
	SHMKIT_RING_MULTI_CONSUMER = 1 << 1,
};

/**
 * shmkit_ring_create() - Create a ring that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element, 1 to 2^30.
 * @capacity: Elements, 1 to 2^31 - 1.
 * @options: SHMKIT_RING_* flags, alignment and schema; NULL for defaults.
 * @ret_ring: The new handle, to be closed with shmkit_ring_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole ring or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -E2BIG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_ring_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		       uint64_t capacity, const struct shmkit_object_options *options,
		       struct shmkit_ring **ret_ring);

/**
 * shmkit_ring_open() - Open a ring that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element as the caller knows it; 0 accepts whatever is there.
 * @ret_ring: The new handle, to be closed with shmkit_ring_close().
 *
 * Opening takes no role.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind or element size;
 *         -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_ring_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		     struct shmkit_ring **ret_ring);

/**
 * shmkit_ring_open_or_create() - Open a ring, or create it where it does not exist.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element, 1 to 2^30.
 * @capacity: Elements, 1 to 2^31 - 1.
 * @options: SHMKIT_RING_* flags, alignment and schema; NULL for defaults.
 * @ret_ring: The handle, to be closed with shmkit_ring_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_ring_create() or shmkit_ring_open().
 * Crash: As shmkit_ring_create().
 * Return: 1 created; 0 opened; -EPROTOTYPE it is of another kind, element size, capacity, flags or
 *         schema; -ENOSPC; -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -E2BIG; -ENOMEM; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_ring_open_or_create(struct shmkit_segment *segment, const char *name,
			       uint32_t element_size, uint64_t capacity,
			       const struct shmkit_object_options *options,
			       struct shmkit_ring **ret_ring);

/**
 * shmkit_ring_close() - Give up a ring handle, and the roles taken through it.
 * @ring: Handle, or NULL. No other thread may be using it. Readers opened from it stay usable.
 *
 * The ring stays in the segment.
 *
 * Context: One thread; does not wait. A forked child gives back nothing of its parent's.
 * Ordering: Release; pairs with the next holder of a role.
 * Crash: As death with the role held: others take it.
 * Since: 1.0
 */
SHMKIT_API void shmkit_ring_close(struct shmkit_ring *ring);

/**
 * shmkit_ring_get_info() - Tell name, size, fill and schema of a ring.
 * @ring: Open handle, on a read-only segment too.
 * @ret_info: Where to write it; struct_size is set.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view.
 * Return: 0; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_ring_get_info(const struct shmkit_ring *ring, struct shmkit_entry_info *ret_info);

/**
 * shmkit_ring_capacity() - Tell how many elements a ring can hold.
 * @ring: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Elements, exactly as asked for at creation; 0 when ring is NULL.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_ring_capacity(const struct shmkit_ring *ring);

/**
 * shmkit_ring_size() - Tell how many elements wait to be popped.
 * @ring: Open handle, on a read-only segment too.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view, which may be over when the call returns.
 * Return: 0 to capacity; 0 when ring is NULL or the ring was removed.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_ring_size(const struct shmkit_ring *ring);

/**
 * shmkit_ring_element_size() - Tell how large an element is.
 * @ring: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Bytes; 0 when ring is NULL.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_ring_element_size(const struct shmkit_ring *ring);

/**
 * shmkit_ring_total_pushed() - Tell how many elements were ever pushed.
 * @ring: Open handle, on a read-only segment too.
 *
 * It is also the position the next element will have.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the last push counted.
 * Return: Elements since creation; 0 when ring is NULL or the ring was removed.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_ring_total_pushed(const struct shmkit_ring *ring);

/**
 * shmkit_ring_total_dropped() - Tell how many elements were overwritten before anybody popped them.
 * @ring: Open handle, on a read-only segment too.
 *
 * Exact, also after a producer was killed. What observers missed is not in it.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view.
 * Return: Elements since creation; 0 when ring is NULL or the ring was removed.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_ring_total_dropped(const struct shmkit_ring *ring);

/* ---- pushing -------------------------------------------------------------------------------- */

/**
 * shmkit_ring_push() - Copy one element in.
 * @ring: Open handle.
 * @element: element_size bytes, borrowed for the call.
 *
 * Context: The producer's thread, or any with SHMKIT_RING_MULTI_PRODUCER; does not wait, except
 *          then for another push.
 * Ordering: Release; pairs with the pop, last or read that returns this element.
 * Crash: The caller's death leaves the element absent or whole; others can take its role.
 * Return: 0; -EAGAIN full; -ESHUTDOWN after shmkit_ring_shutdown(); -EBUSY another, who is alive,
 *         has the producer's role; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_ring_push(struct shmkit_ring *ring, const void *element);

/**
 * shmkit_ring_push_bulk() - Copy elements in, as many as fit.
 * @ring: Open handle.
 * @elements: count * element_size bytes, borrowed for the call; may be NULL when count is 0.
 * @count: Elements.
 *
 * Context: As shmkit_ring_push().
 * Ordering: Release; pairs with the pop, last or read that returns any of these elements.
 * Crash: The caller's death leaves all that goes in absent or all of it whole; others can take its
 *        role.
 * Return: How many went in, from the first on, 0 to count; 0 when full. -ESHUTDOWN; -EBUSY another,
 *         who is alive, has the producer's role; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_push_bulk(struct shmkit_ring *ring, const void *elements,
					 size_t count);

/**
 * shmkit_ring_push_bulk_wait() - Copy elements in, waiting for room for at least one.
 * @ring: Open handle.
 * @elements: count * element_size bytes, borrowed for the call; may be NULL when count is 0.
 * @count: Elements; with 0 it does not wait.
 * @timeout_ns: How long to wait for the first.
 *
 * Once some have gone in it does not wait for the rest.
 *
 * Context: The producer's thread, or any with SHMKIT_RING_MULTI_PRODUCER; may wait.
 * Ordering: As shmkit_ring_push_bulk().
 * Crash: As shmkit_ring_push_bulk(); the death of a waiter leaves nothing to repair.
 * Return: How many went in, from the first on, 1 to count; 0 when count is 0. -ETIMEDOUT full all
 *         the time; -EINTR; -ECANCELED; -ESHUTDOWN; -EBUSY; -EROFS; -EINVAL; -ESTALE; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_push_bulk_wait(struct shmkit_ring *ring, const void *elements,
					      size_t count, int64_t timeout_ns);

/**
 * shmkit_ring_push_overwrite() - Copy elements in, in place of the oldest where there is no room.
 * @ring: Open handle.
 * @elements: count * element_size bytes, borrowed for the call; may be NULL when count is 0.
 * @count: Elements.
 *
 * All go in; of more than capacity the last, those before them counting as pushed and dropped at
 * once. In a ring with a single consumer the first drop of the ring's life tells that consumer, once,
 * that it is no longer alone with the read index: some microseconds, 2 ms where the kernel has no
 * membarrier(); pops are a little slower from then on.
 *
 * Context: As shmkit_ring_push().
 * Ordering: As shmkit_ring_push_bulk().
 * Crash: The caller's death leaves what goes in absent or whole, the last up to capacity of it as
 *        one. Elements it was to overwrite may be gone in either case, and are counted in
 *        shmkit_ring_total_dropped().
 * Return: How many were dropped that nobody had popped, 0 or more. -ESHUTDOWN; -EBUSY another, who
 *         is alive, has the producer's role; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_push_overwrite(struct shmkit_ring *ring, const void *elements,
					      size_t count);

/* ---- popping -------------------------------------------------------------------------------- */

/**
 * shmkit_ring_pop() - Copy the oldest element out, and take it off.
 * @ring: Open handle.
 * @ret_element: element_size bytes of the caller's.
 *
 * Context: The consumer's thread, or any with SHMKIT_RING_MULTI_CONSUMER; does not wait.
 * Ordering: Acquire; pairs with the push of this element.
 * Crash: The caller's death inside the call leaves the element there for the next consumer, or
 *        taken off; others can take its role.
 * Return: 0; -EAGAIN empty; -ESHUTDOWN after shmkit_ring_shutdown(), at the end of the stream;
 *         -EBUSY another, who is alive, has the consumer's role; -EROFS; -EINVAL; -ESTALE;
 *         -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_ring_pop(struct shmkit_ring *ring, void *ret_element);

/**
 * shmkit_ring_pop_bulk() - Copy the oldest elements out and take them off, as many as it has.
 * @ring: Open handle.
 * @ret_elements: count * element_size bytes of the caller's; NULL skips the elements.
 * @count: Elements wanted at most.
 *
 * Context: As shmkit_ring_pop().
 * Ordering: Acquire; pairs with the pushes of these elements.
 * Crash: The caller's death inside the call leaves all of them there for the next consumer, or all
 *        of them taken off; others can take its role.
 * Return: How many came out, 0 to count; 0 when empty, and fewer than are there, or 0, while a
 *         producer overwrites them. -ESHUTDOWN at the end of the stream; -EBUSY another, who is
 *         alive, has the consumer's role; -EROFS; -EINVAL; -ESTALE; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_pop_bulk(struct shmkit_ring *ring, void *ret_elements, size_t count);

/**
 * shmkit_ring_pop_wait() - Copy the oldest element out and take it off, waiting for one.
 * @ring: Open handle.
 * @ret_element: element_size bytes of the caller's.
 * @timeout_ns: How long to wait.
 *
 * Context: The consumer's thread, or any with SHMKIT_RING_MULTI_CONSUMER; may wait.
 * Ordering: As shmkit_ring_pop().
 * Crash: As shmkit_ring_pop(); the death of a waiter leaves nothing to repair.
 * Return: 0; -ETIMEDOUT empty all the time; -EINTR; -ECANCELED; -ESHUTDOWN at the end of the
 *         stream; -EBUSY; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_ring_pop_wait(struct shmkit_ring *ring, void *ret_element,
				    int64_t timeout_ns);

/**
 * shmkit_ring_pop_bulk_wait() - Copy the oldest elements out, waiting for at least one.
 * @ring: Open handle.
 * @ret_elements: count * element_size bytes of the caller's; NULL skips the elements.
 * @count: Elements wanted at most; with 0 it does not wait.
 * @timeout_ns: How long to wait for the first.
 *
 * Takes them off. Once some have come out it does not wait for more.
 *
 * Context: The consumer's thread, or any with SHMKIT_RING_MULTI_CONSUMER; may wait.
 * Ordering: As shmkit_ring_pop_bulk().
 * Crash: As shmkit_ring_pop_bulk(); the death of a waiter leaves nothing to repair.
 * Return: How many came out, 1 to count; 0 when count is 0. -ETIMEDOUT empty all the time; -EINTR;
 *         -ECANCELED; -ESHUTDOWN at the end of the stream; -EBUSY; -EROFS; -EINVAL; -ESTALE;
 *         -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_pop_bulk_wait(struct shmkit_ring *ring, void *ret_elements,
					     size_t count, int64_t timeout_ns);

/* ---- the newest, and the end ---------------------------------------------------------------- */

/**
 * shmkit_ring_last() - Copy the newest elements, without taking anything.
 * @ring: Open handle, on a read-only segment too.
 * @ret_elements: count * element_size bytes of the caller's; may be NULL when count is 0.
 * @count: Elements wanted at most.
 *
 * Popped or not, the oldest of them first, whole and in order: neighbours in the stream, none of
 * them overwritten during the copy.
 *
 * Context: Any thread, whatever the roles; does not wait.
 * Ordering: Acquire; pairs with the pushes of these elements.
 * Return: How many were copied, 0 to count; fewer than count when the ring does not hold so many.
 *         -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_last(struct shmkit_ring *ring, void *ret_elements, size_t count);

/**
 * shmkit_ring_shutdown() - Mark the end of the stream.
 * @ring: Open handle.
 *
 * Pushes are -ESHUTDOWN from now on; pops and readers when they have come to the end. Waiters wake.
 * There is no way back.
 *
 * Context: Any thread, whatever the roles; does not wait.
 * Ordering: Every element whose push returned before is popped or read before -ESHUTDOWN.
 * Crash: The caller's death leaves the ring open or shut down; waiters not woken notice within
 *        50 ms.
 * Return: 0, also when it was shut down before; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_ring_shutdown(struct shmkit_ring *ring);

/* ---- observers ------------------------------------------------------------------------------ */

/**
 * struct shmkit_ring_reader - An observer's own place in the stream of a ring.
 *
 * Opaque. Lives in the memory of its process alone: others neither see it nor wait for it. One
 * thread uses it at a time.
 */
struct shmkit_ring_reader;

/**
 * DOC: Where a reader begins
 *
 * @SHMKIT_READ_FROM_OLDEST: At the oldest element still held, popped or not.
 * @SHMKIT_READ_FROM_NEWEST: At what is pushed from now on.
 */
enum {
	SHMKIT_READ_FROM_OLDEST = 0,
	SHMKIT_READ_FROM_NEWEST = 1,
};

/**
 * shmkit_ring_reader_open() - Begin to observe a ring.
 * @ring: Open handle, on a read-only segment too; may be closed before the reader.
 * @from: SHMKIT_READ_FROM_*.
 * @ret_reader: The new reader, to be closed with shmkit_ring_reader_close().
 *
 * Context: Any thread; does not wait.
 * Return: 0; -EINVAL; -ENOMEM; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_ring_reader_open(struct shmkit_ring *ring, uint32_t from,
			    struct shmkit_ring_reader **ret_reader);

/**
 * shmkit_ring_reader_close() - Give up a reader.
 * @reader: Reader, or NULL. No other thread may be using it.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_ring_reader_close(struct shmkit_ring_reader *reader);

/**
 * shmkit_ring_reader_read() - Copy the next elements, without taking them from anybody.
 * @reader: Reader.
 * @ret_elements: count * element_size bytes of the caller's; may be NULL when count is 0.
 * @count: Elements wanted at most.
 * @ret_lost: How many were overwritten before this reader came to them, since its last read; those
 *	missed lie before the elements returned. May be NULL.
 *
 * Context: One thread at a time; does not wait.
 * Ordering: Acquire; pairs with the pushes of these elements.
 * Return: How many were copied, 0 to count; 0 when nothing is new. -ESHUTDOWN after
 *         shmkit_ring_shutdown(), at the end of the stream; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_reader_read(struct shmkit_ring_reader *reader, void *ret_elements,
					   size_t count, uint64_t *ret_lost);

/**
 * shmkit_ring_reader_wait() - Copy the next elements, waiting for at least one.
 * @reader: Reader.
 * @ret_elements: count * element_size bytes of the caller's; may be NULL when count is 0.
 * @count: Elements wanted at most; with 0 it does not wait.
 * @ret_lost: As for shmkit_ring_reader_read(); also told with -ESHUTDOWN, at the end of the stream.
 * @timeout_ns: How long to wait for the first.
 *
 * Context: One thread at a time; may wait. On a read-only segment it may return up to 2 ms late.
 * Ordering: As shmkit_ring_reader_read().
 * Return: How many were copied, 1 to count; 0 when count is 0. -ETIMEDOUT nothing new all the time;
 *         -EINTR; -ECANCELED; -ESHUTDOWN at the end of the stream; -EINVAL; -ESTALE the ring was
 *         removed, or read-only, and the last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_ring_reader_wait(struct shmkit_ring_reader *reader, void *ret_elements,
					   size_t count, uint64_t *ret_lost, int64_t timeout_ns);

/**
 * shmkit_ring_reader_position() - Tell where a reader is, to go on there after a restart.
 * @reader: Reader.
 *
 * Context: One thread at a time; does not wait.
 * Return: Position of the next element it will read, in elements since the creation of the ring; 0
 *         when reader is NULL.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_ring_reader_position(const struct shmkit_ring_reader *reader);

/**
 * shmkit_ring_reader_seek() - Move a reader.
 * @reader: Reader.
 * @position: Where to read next, in elements since the creation of the ring. What is held no longer
 *	counts as lost at the next read.
 *
 * Context: One thread at a time; does not wait.
 * Return: 0; -ERANGE past what was pushed so far; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_ring_reader_seek(struct shmkit_ring_reader *reader, uint64_t position);

#ifdef __cplusplus
}
#endif
#endif
