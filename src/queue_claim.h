/*
 * The queue's claims, in line in every call that makes one. Protocol and death table: queue.h.
 */
#ifndef SHK_QUEUE_CLAIM_H
#define SHK_QUEUE_CLAIM_H

#include "queue.h"

#include <errno.h>

/* What a claim got. */
struct shk_claim {
	uint64_t position;                  /* the first */
	uint64_t index;                     /* what the index word was set to */
	shk_u64 *slot;                      /* of the first position, and its word when it is FREE: */
	uint64_t word;
};

/* The slot at the tail that index shows was not FREE at its turn. 0: look again; -EAGAIN, -EBADMSG. */
int64_t shk_queue_tail_refuses(struct shmkit_queue *queue, uint64_t index, unsigned *impossible) SHK_COLD;

/*
 * The slot at the head that index shows held word, not READY. 1: look again; 0: something is to be
 * delivered again, and comes first; -EAGAIN, -ESHUTDOWN, -EBADMSG.
 */
int64_t shk_queue_head_refuses(struct shmkit_queue *queue, uint64_t index, uint64_t word,
			       unsigned *impossible) SHK_COLD;

/* How many of count slots from slot on hold word. */
static inline size_t shk_count_run(const uint8_t *slot, uint32_t stride, size_t count, uint64_t word)
{
	size_t n = 0;

	/* claim:A acquire, followers. Pairs with READY (payload) and FREE (copied out). */
	while (n < count && shk_load_acquire((const shk_u64 *)(const void *)slot) == word) {
		slot += stride;
		n++;
	}
	return n;
}

/* How many of count positions (up to capacity) from position on are in that phase, each at its turn. */
static inline size_t shk_count_slots(const struct shmkit_queue *queue, uint64_t position, size_t count,
				     unsigned phase)
{
	size_t lap = (size_t)(queue->mask + 1 - (position & queue->mask));
	size_t first = count < lap ? count : lap;
	size_t n = shk_count_run((const uint8_t *)shk_slot(queue, position), queue->stride, first,
				 shk_free_word(queue, position) | (uint64_t)phase << 10);

	if (n < first || n == count)
		return n;
	position = shk_step(queue, position, n);
	return n + shk_count_run(queue->slots, queue->stride, count - n,
				 shk_free_word(queue, position) | (uint64_t)phase << 10);
}

/*
 * The common case, in a straight line: the newest claim is one this handle has finished, the next slot
 * is FREE (READY), nobody comes in between. False: nothing was done, shk_claim_tail() finds out why.
 */
static inline bool shk_claim_next_tail(struct shmkit_queue *queue, struct shk_claim *ret_claim)
{
	struct shk_queue_shm *shm = queue->shm;
	/* relaxed: used when it is the word that was stored through this handle, which is not a closed one */
	uint64_t index = shk_load_relaxed(&shm->tail);
	uint64_t position = shk_index_position(queue, index);
	shk_u64 *slot = shk_slot(queue, position);
	uint64_t word = shk_free_word(queue, position), next;

	if (shk_unlikely(index != shk_load_relaxed(&queue->finished_tail)) ||
	    shk_unlikely(shk_load_acquire(slot) != word))   /* acquire: claim:A, as below */
		return false;
	next = shk_index_word(shk_step(queue, position, 1), 1, queue->object.segment->member_id);
	/* release: claim:C, as below */
	if (shk_unlikely(!shk_cas_release(&shm->tail, index, next)))
		return false;
	SHK_POINT("queue.tail.claimed");
	*ret_claim = (struct shk_claim){ position, next, slot, word };
	return true;
}

static inline bool shk_claim_next_head(struct shmkit_queue *queue, struct shk_claim *ret_claim)
{
	struct shk_queue_shm *shm = queue->shm;
	/* relaxed: as in shk_claim_next_tail() */
	uint64_t index = shk_load_relaxed(&shm->head);
	uint64_t position = shk_index_position(queue, index);
	shk_u64 *slot = shk_slot(queue, position);
	uint64_t word = shk_free_word(queue, position), next;

	if (shk_unlikely(index != shk_load_relaxed(&queue->finished_head)) ||
	    shk_unlikely(shk_load_acquire(slot) != (word | SHK_READY << 10)))   /* acquire: claim:A, as below */
		return false;
	next = shk_index_word(shk_step(queue, position, 1), 1, queue->object.segment->member_id);
	/* release: claim:C, as below */
	if (shk_unlikely(!shk_cas_release(&shm->head, index, next)))
		return false;
	SHK_POINT("queue.head.claimed");
	*ret_claim = (struct shk_claim){ position, next, slot, word };
	return true;
}

/*
 * Claims up to count positions at the tail; count is at least 1, at most the capacity and
 * SHK_QUEUE_BATCH. 1..count; -EAGAIN full, -ESHUTDOWN, -EBADMSG.
 */
static inline int64_t shk_claim_tail(struct shmkit_queue *queue, size_t count, struct shk_claim *ret_claim)
{
	struct shk_queue_shm *shm = queue->shm;
	unsigned impossible = 0;

	for (;;) {
		uint64_t index = shk_load_acquire(&shm->tail);
		uint64_t position = shk_index_position(queue, index);
		shk_u64 *slot = shk_slot(queue, position);
		uint64_t word = shk_free_word(queue, position), next;
		size_t n = 1;

		if (shk_unlikely(index & SHK_INDEX_CLOSED))
			return shk_fail_fixed(-ESHUTDOWN, "the queue was shut down");
		/* claim:A acquire, the first. Pairs with FREE (copied out). */
		if (shk_unlikely(shk_load_acquire(slot) != word)) {
			int64_t result = shk_queue_tail_refuses(queue, index, &impossible);

			if (result < 0)
				return result;
			continue;
		}
		if (count > 1)
			n += shk_count_slots(queue, shk_step(queue, position, 1), count - 1, SHK_FREE);
		/* relaxed: a word this handle finished is finished whenever it is seen */
		if (shk_unlikely(index != shk_load_relaxed(&queue->finished_tail)))
			shk_queue_record_tail(queue, index);
		next = shk_index_word(shk_step(queue, position, n), (unsigned)n,
				      queue->object.segment->member_id);
		/*
		 * claim:C release. Names us before anybody can see the position gone, and the record
		 * before it. What acquire would add the load of index has: a word occurs once.
		 */
		if (shk_likely(shk_cas_release(&shm->tail, index, next))) {
			/* Dies here: named in tail. Peers: record. Repair: TOMB. */
			SHK_POINT("queue.tail.claimed");
			*ret_claim = (struct shk_claim){ position, next, slot, word };
			return (int64_t)n;
		}
	}
}

/* The same at the head; also 0: something is to be delivered again, and comes first. */
static inline int64_t shk_claim_head(struct shmkit_queue *queue, size_t count, struct shk_claim *ret_claim)
{
	struct shk_queue_shm *shm = queue->shm;
	unsigned impossible = 0;

	for (;;) {
		uint64_t index = shk_load_acquire(&shm->head);
		uint64_t position = shk_index_position(queue, index);
		shk_u64 *slot = shk_slot(queue, position);
		uint64_t word = shk_free_word(queue, position), next;
		/* claim:A acquire, the first. Pairs with READY (payload). */
		uint64_t seen = shk_load_acquire(slot);
		size_t n = 1;

		if (shk_unlikely(seen != (word | SHK_READY << 10))) {
			int64_t result = shk_queue_head_refuses(queue, index, seen, &impossible);

			if (result <= 0)
				return result;
			continue;
		}
		if (count > 1)
			n += shk_count_slots(queue, shk_step(queue, position, 1), count - 1, SHK_READY);
		/* relaxed: as in shk_claim_tail */
		if (shk_unlikely(index != shk_load_relaxed(&queue->finished_head)))
			shk_queue_record_head(queue, index);
		next = shk_index_word(shk_step(queue, position, n), (unsigned)n,
				      queue->object.segment->member_id);
		/* claim:C release, as in shk_claim_tail */
		if (shk_likely(shk_cas_release(&shm->head, index, next))) {
			/* Dies here: named in head. Peers: record. Repair: REDO. */
			SHK_POINT("queue.head.claimed");
			*ret_claim = (struct shk_claim){ position, next, slot, word };
			return (int64_t)n;
		}
	}
}

#endif
