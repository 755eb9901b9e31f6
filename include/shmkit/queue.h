/*
 * libshmkit: queues, bounded FIFO for any number of producers and consumers.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h. Names, creating and
 * opening: shmkit/object.h.
 */
#ifndef SHMKIT_QUEUE_H
#define SHMKIT_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>
#include <shmkit/segment.h>
#include <shmkit/object.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Queues
 *
 * An element whose enqueue or commit has returned is delivered exactly once. With lease and ack it
 * is delivered at least once: when its consumer dies before the ack it is delivered again, and
 * deliveries says so. An element whose producer died before it was finished is discarded whole,
 * and counted. Elements are delivered in the order of their enqueueing, except that one delivered
 * again may come after younger ones.
 *
 * Bulk calls take positions in batches of at most 255 elements. The elements of a batch lie next to
 * each other, and a batch is one with regard to death: all of it is delivered, or all of it is
 * discarded. A bulk enqueue of up to 255 elements that fits as a whole is one batch. Between
 * batches others may come.
 *
 * A position is held from claim to publication. A producer that is stopped, not dead, in between,
 * or that holds a reservation, hides what lies behind it from consumers. A lease keeps its
 * position; producers stop there one lap later, so that the queue is full for them although its
 * size is less than its capacity.
 */

/**
 * struct shmkit_queue - A handle on a queue.
 *
 * Opaque.
 */
struct shmkit_queue;

/**
 * shmkit_queue_create() - Create a queue that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element, 1 to 2^30.
 * @capacity: Elements, 1 to 2^24; rounded up to a power of two.
 * @options: Alignment and schema; NULL for defaults.
 * @ret_queue: The new handle, to be closed with shmkit_queue_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole queue or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -E2BIG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_queue_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
			uint64_t capacity, const struct shmkit_object_options *options,
			struct shmkit_queue **ret_queue);

/**
 * shmkit_queue_open() - Open a queue that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element as the caller knows it; 0 accepts whatever is there.
 * @ret_queue: The new handle, to be closed with shmkit_queue_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind or element size;
 *         -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_queue_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		      struct shmkit_queue **ret_queue);

/**
 * shmkit_queue_open_or_create() - Open a queue, or create it where it does not exist.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element, 1 to 2^30.
 * @capacity: Elements, 1 to 2^24; rounded up to a power of two.
 * @options: Alignment and schema; NULL for defaults.
 * @ret_queue: The handle, to be closed with shmkit_queue_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_queue_create() or shmkit_queue_open().
 * Crash: As shmkit_queue_create().
 * Return: 1 created; 0 opened; -EPROTOTYPE it is of another kind, element size, capacity (as asked)
 *         or schema; -ENOSPC; -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -E2BIG; -ENOMEM; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_queue_open_or_create(struct shmkit_segment *segment, const char *name,
				uint32_t element_size, uint64_t capacity,
				const struct shmkit_object_options *options,
				struct shmkit_queue **ret_queue);

/**
 * shmkit_queue_close() - Give up a queue handle.
 * @queue: Handle, or NULL. No other thread may be using it.
 *
 * Gives back what was leased through this handle and not acked, to be delivered again, and cancels
 * what was reserved and not committed. The queue stays in the segment.
 *
 * Context: One thread; does not wait. A forked child gives back nothing of its parent's.
 * Crash: As death with the leases and reservations held: peers give them back.
 * Since: 1.0
 */
SHMKIT_API void shmkit_queue_close(struct shmkit_queue *queue);

/**
 * shmkit_queue_get_info() - Tell name, size, fill and schema of a queue.
 * @queue: Open handle, on a read-only segment too.
 * @ret_info: Where to write it; struct_size is set.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view.
 * Return: 0; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_queue_get_info(const struct shmkit_queue *queue, struct shmkit_entry_info *ret_info);

/**
 * shmkit_queue_capacity() - Tell how many elements a queue can hold.
 * @queue: Open handle.
 *
 * All of it fits while nothing is leased or reserved: a held lease keeps its position, and
 * producers stop there one lap later; a held reservation hides what lies behind it.
 *
 * Context: Any thread; does not wait.
 * Return: Elements, a power of two; 0 when queue is NULL.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_queue_capacity(const struct shmkit_queue *queue);

/**
 * shmkit_queue_size() - Tell how many elements are in a queue.
 * @queue: Open handle, on a read-only segment too.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view, which may be over when the call returns.
 * Return: 0 to capacity; 0 when queue is NULL or the queue was removed.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_queue_size(const struct shmkit_queue *queue);

/**
 * shmkit_queue_element_size() - Tell how large an element is.
 * @queue: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Bytes; 0 when queue is NULL.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_queue_element_size(const struct shmkit_queue *queue);

/* ---- copying in and out --------------------------------------------------------------------- */

/**
 * shmkit_queue_enqueue() - Copy one element to the tail.
 * @queue: Open handle.
 * @element: element_size bytes, borrowed for the call.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Release; pairs with the dequeue or lease that returns this element.
 * Crash: The caller's death leaves the element absent, and counted as discarded, or whole; peers
 *        repair.
 * Return: 0; -EAGAIN full; -ESHUTDOWN after shmkit_queue_shutdown(); -EROFS; -EINVAL; -ESTALE;
 *         -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_enqueue(struct shmkit_queue *queue, const void *element);

/**
 * shmkit_queue_dequeue() - Copy one element from the head, and take it off.
 * @queue: Open handle.
 * @ret_element: element_size bytes of the caller's.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Acquire; pairs with the enqueue or commit of this element.
 * Crash: The caller's death inside the call leaves the element in the queue, to be delivered again,
 *        or taken off; peers repair.
 * Return: 0; -EAGAIN empty; -ESHUTDOWN shut down and drained; -EROFS; -EINVAL; -ESTALE; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_dequeue(struct shmkit_queue *queue, void *ret_element);

/**
 * shmkit_queue_enqueue_bulk() - Copy elements to the tail, as many as fit.
 * @queue: Open handle.
 * @elements: count * element_size bytes, borrowed for the call; may be NULL when count is 0.
 * @count: Elements.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Release, per batch; pairs with the dequeue or lease that returns an element of it.
 * Crash: The caller's death leaves each batch of up to 255 absent, its elements counted as
 *        discarded, or whole; peers repair.
 * Return: How many went in, from the first on, 0 to count; 0 when full. -ESHUTDOWN after
 *         shmkit_queue_shutdown(), when none went in; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_queue_enqueue_bulk(struct shmkit_queue *queue, const void *elements,
					     size_t count);

/**
 * shmkit_queue_dequeue_bulk() - Copy elements from the head and take them off, as many as it has.
 * @queue: Open handle.
 * @ret_elements: count * element_size bytes of the caller's; may be NULL when count is 0.
 * @count: Elements wanted at most.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Acquire; pairs with the enqueues and commits of these elements.
 * Crash: The caller's death leaves each batch of up to 255 in the queue, to be delivered again, or
 *        taken off; peers repair.
 * Return: How many came out, 0 to count; 0 when empty. -ESHUTDOWN shut down and drained, when none
 *         came out; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_queue_dequeue_bulk(struct shmkit_queue *queue, void *ret_elements,
					     size_t count);

/**
 * shmkit_queue_enqueue_wait() - Copy one element to the tail, waiting for room.
 * @queue: Open handle.
 * @element: element_size bytes, borrowed for the call.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait; usable in a forked child.
 * Ordering: As shmkit_queue_enqueue().
 * Crash: As shmkit_queue_enqueue(); the death of a waiter leaves nothing to repair.
 * Return: 0; -ETIMEDOUT full all the time; -EINTR; -ECANCELED; -ESHUTDOWN; -EROFS; -EINVAL;
 *         -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_enqueue_wait(struct shmkit_queue *queue, const void *element,
					 int64_t timeout_ns);

/**
 * shmkit_queue_dequeue_wait() - Copy one element from the head and take it off, waiting for one.
 * @queue: Open handle.
 * @ret_element: element_size bytes of the caller's.
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait; usable in a forked child.
 * Ordering: As shmkit_queue_dequeue().
 * Crash: As shmkit_queue_dequeue(); the death of a waiter leaves nothing to repair.
 * Return: 0; -ETIMEDOUT empty all the time; -EINTR; -ECANCELED; -ESHUTDOWN shut down and drained;
 *         -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_dequeue_wait(struct shmkit_queue *queue, void *ret_element,
					 int64_t timeout_ns);

/**
 * shmkit_queue_enqueue_bulk_wait() - Copy elements to the tail, waiting for room for at least one.
 * @queue: Open handle.
 * @elements: count * element_size bytes, borrowed for the call; may be NULL when count is 0.
 * @count: Elements; with 0 it does not wait.
 * @timeout_ns: How long to wait for the first.
 *
 * Once some have gone in it does not wait for the rest.
 *
 * Context: Any thread, any process; may wait; usable in a forked child.
 * Ordering: As shmkit_queue_enqueue_bulk().
 * Crash: As shmkit_queue_enqueue_bulk(); the death of a waiter leaves nothing to repair.
 * Return: How many went in, from the first on, 1 to count; 0 when count is 0. -ETIMEDOUT full all
 *         the time; -EINTR; -ECANCELED; -ESHUTDOWN; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_queue_enqueue_bulk_wait(struct shmkit_queue *queue, const void *elements,
						  size_t count, int64_t timeout_ns);

/**
 * shmkit_queue_dequeue_bulk_wait() - Copy elements from the head, waiting for at least one.
 * @queue: Open handle.
 * @ret_elements: count * element_size bytes of the caller's; may be NULL when count is 0.
 * @count: Elements wanted at most; with 0 it does not wait.
 * @timeout_ns: How long to wait for the first.
 *
 * Takes them off the queue. Once some have come out it does not wait for more.
 *
 * Context: Any thread, any process; may wait; usable in a forked child.
 * Ordering: As shmkit_queue_dequeue_bulk().
 * Crash: As shmkit_queue_dequeue_bulk(); the death of a waiter leaves nothing to repair.
 * Return: How many came out, 1 to count; 0 when count is 0. -ETIMEDOUT empty all the time; -EINTR;
 *         -ECANCELED; -ESHUTDOWN shut down and drained; -EROFS; -EINVAL; -ESTALE; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_queue_dequeue_bulk_wait(struct shmkit_queue *queue, void *ret_elements,
						  size_t count, int64_t timeout_ns);

/* ---- in place, and at least once ------------------------------------------------------------ */

/**
 * struct shmkit_slot - An element held in place: reserved by its producer or leased by a consumer.
 * @data: element_size bytes inside the segment, aligned as the queue was created; the holder's
 *	until commit, cancel, ack, nack or the closing of the handle.
 * @token: What commit, cancel, ack and nack read back; they read nothing else of this struct.
 * @deliveries: Of a lease: 1 the first time, one more each time it comes back; rests at its highest
 *	value. Of a reservation 0.
 * @element_size: Bytes at data.
 * @reserved: 0.
 *
 * Written by the library; may be copied. It names a slot for the threads of the process that took
 * it: in another process, a forked child too, the calls that end it are -EPERM.
 */
struct shmkit_slot {
	void    *data;
	uint64_t token;
	uint32_t deliveries;
	uint32_t element_size;
	uint64_t reserved[3];
};

/**
 * shmkit_queue_reserve() - Claim the next slot at the tail, to fill it in place.
 * @queue: Open handle.
 * @ret_slot: The slot; to be ended with shmkit_queue_commit() or shmkit_queue_cancel().
 *
 * The bytes at data are whatever an earlier element has left. While the reservation is held,
 * consumers do not come past its position.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Acquire; pairs with the end of the consumer that used the slot before.
 * Crash: The caller's death before the commit discards the element, and counts it; peers repair.
 *        Kernel I/O still in flight into data is not stopped by that.
 * Return: 0; -EAGAIN full; -ESHUTDOWN after shmkit_queue_shutdown(); -ENOMEM; -EROFS; -EINVAL;
 *         -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_reserve(struct shmkit_queue *queue, struct shmkit_slot *ret_slot);

/**
 * shmkit_queue_reserve_wait() - Claim the next slot at the tail, waiting for room.
 * @queue: Open handle.
 * @ret_slot: The slot; to be ended with shmkit_queue_commit() or shmkit_queue_cancel().
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait; usable in a forked child.
 * Ordering: As shmkit_queue_reserve().
 * Crash: As shmkit_queue_reserve(); the death of a waiter leaves nothing to repair.
 * Return: 0; -ETIMEDOUT full all the time; -EINTR; -ECANCELED; -ESHUTDOWN; -ENOMEM; -EROFS;
 *         -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_reserve_wait(struct shmkit_queue *queue, struct shmkit_slot *ret_slot,
					 int64_t timeout_ns);

/**
 * shmkit_queue_commit() - Publish a reserved slot.
 * @queue: The handle it was reserved through.
 * @slot: As reserve returned it.
 *
 * Also after shmkit_queue_shutdown(): a reservation already made may commit.
 *
 * Context: Any thread of the process that reserved it; does not wait.
 * Ordering: Release: what was written to data; pairs with the dequeue or lease that returns this
 *           element.
 * Crash: The caller's death leaves the element discarded, and counted, or whole; peers repair.
 * Return: 0; -EPERM reserved by another process; -ESTALE not held any more (committed or cancelled
 *         before), no reservation, or the queue was removed; -EROFS; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_commit(struct shmkit_queue *queue, const struct shmkit_slot *slot);

/**
 * shmkit_queue_cancel() - Give up a reserved slot: no element comes of it.
 * @queue: The handle it was reserved through.
 * @slot: As reserve returned it.
 *
 * Not counted as discarded.
 *
 * Context: Any thread of the process that reserved it; does not wait.
 * Ordering: Release; pairs with the producer that uses the slot next.
 * Crash: The caller's death leaves it cancelled, or discarded and counted; peers repair.
 * Return: 0; -EPERM reserved by another process; -ESTALE not held any more (committed or cancelled
 *         before), no reservation, or the queue was removed; -EROFS; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_cancel(struct shmkit_queue *queue, const struct shmkit_slot *slot);

/**
 * shmkit_queue_lease() - Take the element at the head, in place, until it is acked.
 * @queue: Open handle.
 * @ret_slot: The slot; to be ended with shmkit_queue_ack() or shmkit_queue_nack().
 *
 * The element is gone from the queue only when it is acked; until then the death of its holder, or
 * the closing of the handle, gives it back. A lease has no time limit.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Acquire; pairs with the enqueue or commit of this element, and with the nack or the
 *           repair that gave it back.
 * Crash: The caller's death before the ack makes peers deliver the element again, deliveries one
 *        higher, and with data as it was left.
 * Return: 0; -EAGAIN empty; -ESHUTDOWN shut down, and nothing is committed, reserved or leased any
 *         more; -ENOMEM; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_lease(struct shmkit_queue *queue, struct shmkit_slot *ret_slot);

/**
 * shmkit_queue_lease_wait() - Take the element at the head, in place, waiting for one.
 * @queue: Open handle.
 * @ret_slot: The slot; to be ended with shmkit_queue_ack() or shmkit_queue_nack().
 * @timeout_ns: How long to wait.
 *
 * Context: Any thread, any process; may wait; usable in a forked child.
 * Ordering: As shmkit_queue_lease().
 * Crash: As shmkit_queue_lease(); the death of a waiter leaves nothing to repair.
 * Return: 0; -ETIMEDOUT empty all the time; -EINTR; -ECANCELED; -ESHUTDOWN as
 *         shmkit_queue_lease(); -ENOMEM; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_lease_wait(struct shmkit_queue *queue, struct shmkit_slot *ret_slot,
				       int64_t timeout_ns);

/**
 * shmkit_queue_ack() - Finish with a leased element: it is gone for good.
 * @queue: The handle it was leased through.
 * @slot: As lease returned it.
 *
 * Context: Any thread of the process that leased it; does not wait.
 * Ordering: Release; pairs with the producer that uses the slot next.
 * Crash: The caller's death leaves the element acked, or to be delivered again; peers repair.
 * Return: 0; -EPERM leased by another process; -ESTALE not held any more (acked or nacked before),
 *         no lease, or the queue was removed; -EROFS; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_ack(struct shmkit_queue *queue, const struct shmkit_slot *slot);

/**
 * shmkit_queue_nack() - Give a leased element back, to be delivered again.
 * @queue: The handle it was leased through.
 * @slot: As lease returned it.
 *
 * The next to take an element gets it, before those that were never delivered. Counted as
 * redelivered.
 *
 * Context: Any thread of the process that leased it; does not wait.
 * Ordering: Release; pairs with the dequeue or lease that returns this element again.
 * Crash: The caller's death leaves the element to be delivered again in any case.
 * Return: 0; -EPERM leased by another process; -ESTALE not held any more (acked or nacked before),
 *         no lease, or the queue was removed; -EROFS; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_nack(struct shmkit_queue *queue, const struct shmkit_slot *slot);

/* ---- the end of the stream, and counts ------------------------------------------------------ */

/**
 * shmkit_queue_shutdown() - Accept no more elements; let consumers come to the end.
 * @queue: Open handle.
 *
 * Producers get -ESHUTDOWN; a reservation already made may commit. Consumers get it once nothing
 * is committed, reserved or leased: a lease may still come back. Waiters wake.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Every element whose enqueue returned before is delivered before a consumer gets
 *           -ESHUTDOWN.
 * Crash: The caller's death leaves the queue open or shut down; waiters not woken notice within
 *        50 ms.
 * Return: 0, also when it was shut down before; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_shutdown(struct shmkit_queue *queue);

/**
 * shmkit_queue_reopen() - Undo a shutdown.
 * @queue: Open handle.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Release; pairs with the enqueue that succeeds again.
 * Crash: The caller's death leaves the queue shut down or open.
 * Return: 0, also when it was open; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_queue_reopen(struct shmkit_queue *queue);

/**
 * struct shmkit_queue_stats - What has passed through a queue since its creation, in elements.
 * @struct_size: sizeof(struct shmkit_queue_stats), set before the call.
 * @reserved: 0.
 * @enqueued: Committed by producers.
 * @dequeued: Dequeued or acked by consumers.
 * @discarded: Not delivered, because the producer died before it had finished them.
 * @redelivered: Given back, by nack, by closing the handle, or because the consumer died.
 */
struct shmkit_queue_stats {
	uint32_t struct_size, reserved;
	uint64_t enqueued, dequeued, discarded, redelivered;
};

/**
 * shmkit_queue_get_stats() - Tell what has passed through a queue.
 * @queue: Open handle, on a read-only segment too.
 * @ret_stats: Where to write it; struct_size is set.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: each count is a moment's view; exact when no call is in progress and the dead
 *           are cleaned up after.
 * Crash: A peer killed between a repair and its count leaves that count behind.
 * Return: 0; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_queue_get_stats(struct shmkit_queue *queue, struct shmkit_queue_stats *ret_stats);

#ifdef __cplusplus
}
#endif
#endif
