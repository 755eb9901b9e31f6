/*
 * The queue in bulk: one claim, one commit for up to SHK_QUEUE_BATCH elements. Protocol and death
 * table: queue.h.
 */
#include "queue_claim.h"

#include "copy.h"

#include <errno.h>

/*
 * A batch lies in one or two runs of slots: to the end of the lap, and on from slot 0 at the next
 * turn. In a run all slots have the same word.
 */
struct run {
	uint8_t *slot;                      /* the first */
	size_t count;
	uint64_t word;                      /* when it is FREE */
};

static inline void split(const struct shmkit_queue *queue, const struct shk_claim *claim, size_t count,
			 struct run ret_runs[2])
{
	size_t lap = (size_t)(queue->mask + 1 - (claim->position & queue->mask));
	size_t first = count < lap ? count : lap;

	ret_runs[0] = (struct run){ (uint8_t *)claim->slot, first, claim->word };
	ret_runs[1] = (struct run){ queue->slots, count - first,
				    shk_free_word(queue, shk_step(queue, claim->position, first)) };
}

static inline shk_u64 *word_at(uint8_t *slot)
{
	return (shk_u64 *)(void *)slot;
}

static SHK_ALWAYS_INLINE void put_run(const struct shmkit_queue *queue, const struct run *run,
				      const uint8_t *elements, uint32_t size)
{
	uint32_t stride = queue->stride, offset = queue->payload_offset;
	uint8_t *slot = run->slot + run->count * stride;
	uint64_t ready = run->word | SHK_READY << 10;

	elements += run->count * size;
	for (size_t left = run->count; left > 0; left--) {
		slot -= stride;
		elements -= size;
		shk_copy(slot + offset, elements, size);
		/* enqueue:P release, last to first: the first commits all */
		shk_store_release(word_at(slot), ready);
		/* Dies here: followers READY, the first is not. Repair: all TOMB. */
		SHK_POINT("queue.enqueue.follower");
	}
}

static SHK_ALWAYS_INLINE void put_runs(const struct shmkit_queue *queue, const struct run runs[2],
				       const uint8_t *elements, uint32_t size)
{
	put_run(queue, &runs[1], elements + runs[0].count * size, size);
	put_run(queue, &runs[0], elements, size);
}

/* Loops of their own for common sizes: a copy is a move or two then. */
static void put_batch(const struct shmkit_queue *queue, const struct run runs[2], const uint8_t *elements)
{
	switch (queue->element_size) {
	case 8:
		put_runs(queue, runs, elements, 8);
		break;
	case 16:
		put_runs(queue, runs, elements, 16);
		break;
	case 32:
		put_runs(queue, runs, elements, 32);
		break;
	case 64:
		put_runs(queue, runs, elements, 64);
		break;
	default:
		put_runs(queue, runs, elements, queue->element_size);
	}
}

static SHK_ALWAYS_INLINE void take_runs(const struct shmkit_queue *queue, const struct run runs[2],
					uint8_t *to, uint32_t size)
{
	uint32_t stride = queue->stride, offset = queue->payload_offset;

	for (unsigned i = 0; i < 2; i++)
		for (size_t n = 0; n < runs[i].count; n++, to += size)
			shk_copy(to, runs[i].slot + n * stride + offset, size);
}

static void take_batch(const struct shmkit_queue *queue, const struct run runs[2], uint8_t *to)
{
	switch (queue->element_size) {
	case 8:
		take_runs(queue, runs, to, 8);
		break;
	case 16:
		take_runs(queue, runs, to, 16);
		break;
	case 32:
		take_runs(queue, runs, to, 32);
		break;
	case 64:
		take_runs(queue, runs, to, 64);
		break;
	default:
		take_runs(queue, runs, to, queue->element_size);
	}
}

/* Last to first: while the first says DONE, a repair goes on with the rest. */
static void free_run(const struct shmkit_queue *queue, const struct run *run)
{
	uint64_t freed = shk_slot_word((shk_slot_turn(run->word) + 1) & queue->turn_mask, 0, SHK_FREE, 0);
	uint32_t stride = queue->stride;
	uint8_t *slot = run->slot + run->count * stride;

	for (size_t left = run->count; left > 0; left--) {
		slot -= stride;
		shk_store_release(word_at(slot), freed);
		SHK_POINT("queue.dequeue.follower");
	}
}

/* How many one claim may ask for. */
static size_t at_once(const struct shmkit_queue *queue, size_t count)
{
	if (count > SHK_QUEUE_BATCH)
		count = SHK_QUEUE_BATCH;
	return count > queue->mask + 1 ? (size_t)(queue->mask + 1) : count;
}

/*
 * After a claim that got less than it asked for: is there nothing more to ask for, because the slot
 * behind it has what a full (empty) queue has there? Whatever else it holds, TOMB, CLAIM, a lease, is
 * for another claim to look into.
 */
static bool is_full(const struct shmkit_queue *queue, const struct shk_claim *claim, size_t claimed)
{
	uint64_t next = shk_step(queue, claim->position, claimed);
	uint64_t before = shk_step(queue, next, 0 - (queue->mask + 1));

	/* relaxed: nothing is read on the strength of it */
	return shk_load_relaxed(shk_slot(queue, next)) == shk_ready_word(queue, before);
}

static bool is_empty(const struct shmkit_queue *queue, const struct shk_claim *claim, size_t claimed)
{
	uint64_t next = shk_step(queue, claim->position, claimed);

	/* relaxed: as above */
	return shk_load_relaxed(shk_slot(queue, next)) == shk_free_word(queue, next);
}

/* One batch, at most SHK_QUEUE_BATCH; *ret_last: another will get nothing. */
static int64_t enqueue_batch(struct shmkit_queue *queue, const uint8_t *elements, size_t count,
			     bool *ret_last)
{
	struct shk_claim claim;
	struct run runs[2];
	int64_t claimed = shk_claim_tail(queue, at_once(queue, count), &claim);

	if (claimed <= 0)
		return claimed;
	*ret_last = (size_t)claimed < at_once(queue, count) && is_full(queue, &claim, (size_t)claimed);
	split(queue, &claim, (size_t)claimed, runs);
	put_batch(queue, runs, elements);
	shk_store_relaxed(&queue->finished_tail, claim.index);
	shk_event_signal(&queue->shm->ready_event);
	return claimed;
}

static int64_t dequeue_batch(struct shmkit_queue *queue, uint8_t *ret_elements, size_t count,
			     bool *ret_last)
{
	struct shk_claim claim = { 0 };     /* gcc does not see that a claim fills it */
	struct run runs[2];
	int64_t claimed;

	do {
		if (shk_queue_redo_pending(queue) && shk_queue_redeliver(queue, ret_elements) == 0)
			return 1;
		claimed = shk_claim_head(queue, at_once(queue, count), &claim);
	} while (claimed == 0);
	if (claimed < 0)
		return claimed;
	*ret_last = (size_t)claimed < at_once(queue, count) && is_empty(queue, &claim, (size_t)claimed);
	split(queue, &claim, (size_t)claimed, runs);
	take_batch(queue, runs, ret_elements);
	if (claimed > 1) {
		/* dequeue:D release. Commits the batch: from here on it is rolled forward. */
		shk_store_release(claim.slot,
				  claim.word | (uint64_t)claimed << 13 | SHK_DONE << 10 |
				  queue->object.segment->member_id);
		/* Dies here: DONE(dead). Repair: followers and it FREE. */
		SHK_POINT("queue.dequeue.done");
	}
	free_run(queue, &runs[1]);
	free_run(queue, &runs[0]);
	shk_store_relaxed(&queue->finished_head, claim.index);
	shk_queue_signal_space(queue);
	return claimed;
}

/* Batches until count or no more; what came before an error counts. */
int64_t shmkit_queue_enqueue_bulk(struct shmkit_queue *queue, const void *elements, size_t count)
{
	bool last = false;
	size_t done = 0;
	int result;

	if (shk_unlikely(!queue || (!elements && count)))
		return shk_queue_null("shmkit_queue_enqueue_bulk");
	result = shk_object_enter_write(&queue->object);
	if (shk_unlikely(result))
		return result;
	while (done < count && !last) {
		int64_t n = enqueue_batch(queue, (const uint8_t *)elements + done * queue->element_size,
					  count - done, &last);

		if (n < 0) {
			if (done == 0 && n != -EAGAIN)
				return n;
			break;
		}
		done += (size_t)n;
	}
	return shk_object_leave(&queue->object, (int64_t)done);
}

int64_t shmkit_queue_dequeue_bulk(struct shmkit_queue *queue, void *ret_elements, size_t count)
{
	bool last = false;
	size_t done = 0;
	int result;

	if (shk_unlikely(!queue || (!ret_elements && count)))
		return shk_queue_null("shmkit_queue_dequeue_bulk");
	result = shk_object_enter_write(&queue->object);
	if (shk_unlikely(result))
		return result;
	while (done < count && !last) {
		int64_t n = dequeue_batch(queue, (uint8_t *)ret_elements + done * queue->element_size,
					  count - done, &last);

		if (n < 0) {
			if (done == 0 && n != -EAGAIN)
				return n;
			break;
		}
		done += (size_t)n;
	}
	return shk_object_leave(&queue->object, (int64_t)done);
}
