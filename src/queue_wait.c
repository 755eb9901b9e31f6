/*
 * The queue's blocking calls, shutdown, and the calls that make and open it.
 */
#include "queue.h"

#include <errno.h>

int shmkit_queue_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
			uint64_t capacity, const struct shmkit_object_options *options,
			struct shmkit_queue **ret_queue)
{
	return shk_object_create(segment, name, SHMKIT_KIND_QUEUE, element_size, capacity, options, 0,
				 (struct shk_object **)ret_queue);
}

int shmkit_queue_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		      struct shmkit_queue **ret_queue)
{
	return shk_object_open(segment, name, SHMKIT_KIND_QUEUE, element_size,
			       (struct shk_object **)ret_queue);
}

int shmkit_queue_open_or_create(struct shmkit_segment *segment, const char *name,
				uint32_t element_size, uint64_t capacity,
				const struct shmkit_object_options *options,
				struct shmkit_queue **ret_queue)
{
	return shk_object_open_or_create(segment, name, SHMKIT_KIND_QUEUE, element_size, capacity, options,
					 0, (struct shk_object **)ret_queue);
}

void shmkit_queue_close(struct shmkit_queue *queue)
{
	shk_object_close((struct shk_object *)queue);
}

int shmkit_queue_get_info(const struct shmkit_queue *queue, struct shmkit_entry_info *ret_info)
{
	return shk_object_get_info((const struct shk_object *)queue, ret_info);
}

uint64_t shmkit_queue_capacity(const struct shmkit_queue *queue)
{
	return queue ? queue->mask + 1 : 0;
}

uint32_t shmkit_queue_element_size(const struct shmkit_queue *queue)
{
	return queue ? queue->element_size : 0;
}

uint64_t shmkit_queue_size(const struct shmkit_queue *queue)
{
	if (!queue || shk_object_enter(&queue->object))
		return 0;
	return shk_queue_used(&queue->object);
}

/* ---- waiting ---- */

struct transfer {
	struct shmkit_queue *queue;
	const void *from;
	void *to;
	size_t count;
};

static int64_t try_enqueue(void *context)
{
	struct transfer *transfer = context;

	return shmkit_queue_enqueue(transfer->queue, transfer->from);
}

static int64_t try_dequeue(void *context)
{
	struct transfer *transfer = context;

	return shmkit_queue_dequeue(transfer->queue, transfer->to);
}

static int64_t try_enqueue_bulk(void *context)
{
	struct transfer *transfer = context;
	int64_t done = shmkit_queue_enqueue_bulk(transfer->queue, transfer->from, transfer->count);

	return done == 0 ? -EAGAIN : done;
}

static int64_t try_dequeue_bulk(void *context)
{
	struct transfer *transfer = context;
	int64_t done = shmkit_queue_dequeue_bulk(transfer->queue, transfer->to, transfer->count);

	return done == 0 ? -EAGAIN : done;
}

int shmkit_queue_enqueue_wait(struct shmkit_queue *queue, const void *element, int64_t timeout_ns)
{
	struct transfer transfer = { .queue = queue, .from = element };

	if (!queue || !element)
		return shk_queue_null("shmkit_queue_enqueue_wait");
	return (int)shk_wait_until(queue->object.segment, &queue->shm->space_event, timeout_ns, try_enqueue,
				   &transfer);
}

int shmkit_queue_dequeue_wait(struct shmkit_queue *queue, void *ret_element, int64_t timeout_ns)
{
	struct transfer transfer = { .queue = queue, .to = ret_element };

	if (!queue || !ret_element)
		return shk_queue_null("shmkit_queue_dequeue_wait");
	return (int)shk_wait_until(queue->object.segment, &queue->shm->ready_event, timeout_ns, try_dequeue,
				   &transfer);
}

int64_t shmkit_queue_enqueue_bulk_wait(struct shmkit_queue *queue, const void *elements, size_t count,
				       int64_t timeout_ns)
{
	struct transfer transfer = { .queue = queue, .from = elements, .count = count };

	if (!queue || (!elements && count))
		return shk_queue_null("shmkit_queue_enqueue_bulk_wait");
	if (count == 0)
		return shk_object_enter_write(&queue->object);
	return shk_wait_until(queue->object.segment, &queue->shm->space_event, timeout_ns, try_enqueue_bulk,
			      &transfer);
}

int64_t shmkit_queue_dequeue_bulk_wait(struct shmkit_queue *queue, void *ret_elements, size_t count,
				       int64_t timeout_ns)
{
	struct transfer transfer = { .queue = queue, .to = ret_elements, .count = count };

	if (!queue || (!ret_elements && count))
		return shk_queue_null("shmkit_queue_dequeue_bulk_wait");
	if (count == 0)
		return shk_object_enter_write(&queue->object);
	return shk_wait_until(queue->object.segment, &queue->shm->ready_event, timeout_ns, try_dequeue_bulk,
			      &transfer);
}

/* ---- shutdown ---- */

static int set_closed(struct shmkit_queue *queue, bool closed, const char *what)
{
	struct shk_queue_shm *shm;
	uint64_t index, wanted;
	int result;

	if (!queue)
		return shk_queue_null(what);
	result = shk_object_enter_write(&queue->object);
	if (result)
		return result;
	shm = queue->shm;
	/* The hint before the fact; never cleared, for another may be shutting down again. */
	if (closed)
		shk_store_relaxed(&shm->closing, 1);
	do {
		index = shk_load_relaxed(&shm->tail);   /* relaxed: the CAS tells */
		wanted = closed ? index | SHK_INDEX_CLOSED : index & ~SHK_INDEX_CLOSED;
		/* shutdown:W release. In the word that claims change: a claim comes before it or fails. */
	} while (index != wanted && !shk_cas_release(&shm->tail, index, wanted));
	/* Dies here: shut down (or open); those who wait look when their slice ends. */
	SHK_POINT("queue.shutdown.closed");
	shk_event_signal(&shm->ready_event);
	shk_event_signal(&shm->space_event);
	return 0;
}

int shmkit_queue_shutdown(struct shmkit_queue *queue)
{
	return set_closed(queue, true, "shmkit_queue_shutdown");
}

int shmkit_queue_reopen(struct shmkit_queue *queue)
{
	return set_closed(queue, false, "shmkit_queue_reopen");
}
