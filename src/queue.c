/*
 * The queue's hot paths: claims, single and bulk calls. Protocol and death table: queue.h.
 */
#include "queue.h"

#include "copy.h"

#include <errno.h>

/* ---- life ---- */

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static uint32_t slot_alignment(const struct shk_shape *shape)
{
	return shape->alignment > 8 ? shape->alignment : 8;
}

static uint32_t slot_stride(const struct shk_shape *shape)
{
	uint32_t alignment = slot_alignment(shape);

	return (uint32_t)align_up((uint64_t)alignment + shape->element_size, alignment);
}

static int measure(struct shk_shape *shape)
{
	if (shape->requested < 1 || shape->requested > SHK_MAX_QUEUE_CAPACITY)
		return shk_fail(-EINVAL, "a queue of %llu elements was asked for; 1 to %llu are possible",
				(unsigned long long)shape->requested,
				(unsigned long long)SHK_MAX_QUEUE_CAPACITY);
	shape->capacity = 1;
	while (shape->capacity < shape->requested)
		shape->capacity *= 2;
	shape->size = align_up(sizeof(struct shk_queue_shm), slot_alignment(shape)) +
		      shape->capacity * slot_stride(shape);
	return 0;
}

/* All zero is a queue: both indices at position 0, every slot FREE at turn 0. */
static void init(struct shk_object *object, uint64_t initial)
{
	(void)object;
	(void)initial;
}

void shk_queue_bind(struct shmkit_queue *queue, const struct shk_object *object)
{
	const struct shk_shape *shape = &object->shape;
	uint32_t position_bits;

	queue->object = *object;
	queue->shm = (struct shk_queue_shm *)(void *)object->base;
	queue->slots = object->base + align_up(sizeof(struct shk_queue_shm), slot_alignment(shape));
	queue->mask = shape->capacity - 1;
	queue->shift = (uint32_t)__builtin_ctzll(shape->capacity);
	position_bits = 40 + queue->shift > 44 ? 44 : 40 + queue->shift;
	queue->position_mask = (UINT64_C(1) << position_bits) - 1;
	queue->turn_mask = (UINT64_C(1) << (position_bits - queue->shift)) - 1;
	queue->stride = slot_stride(shape);
	queue->payload_offset = slot_alignment(shape);
	queue->element_size = shape->element_size;
}

static int open_queue(struct shk_object *object)
{
	struct shmkit_queue *queue = (struct shmkit_queue *)object;

	shk_queue_bind(queue, object);
	queue->finished_tail = queue->finished_head = UINT64_MAX;   /* no index word: owner, spare, run all set */
	return 0;
}

const struct shk_kind shk_kind_queue = {
	.kind = SHMKIT_KIND_QUEUE,
	.name = "queue",
	.handle_size = sizeof(struct shmkit_queue),
	.measure = measure,
	.init = init,
	.open = open_queue,
	.close = shk_queue_give_back,
	.repair = shk_queue_repair,
	.check = shk_queue_check,
	.used = shk_queue_used,
};

/* ---- claims ---- */

void shk_queue_record_tail(struct shmkit_queue *queue, uint64_t index)
{
	unsigned run = shk_index_run(index);
	uint64_t first = shk_step(queue, shk_index_position(queue, index), 0 - (uint64_t)run);
	uint64_t unfinished = shk_free_word(queue, first);

	/* relaxed: only compared; the CAS tells */
	if (run == 0 || shk_load_relaxed(shk_slot(queue, first)) != unfinished)
		return;
	/* record:W release. Its owner may be alive and about to store READY over it. */
	shk_cas_release(shk_slot(queue, first), unfinished,
			shk_slot_word(shk_turn(queue, first), run, SHK_CLAIM, shk_slot_owner(index)));
	SHK_POINT("queue.tail.recorded");
}

void shk_queue_record_head(struct shmkit_queue *queue, uint64_t index)
{
	unsigned run = shk_index_run(index);
	uint64_t first = shk_step(queue, shk_index_position(queue, index), 0 - (uint64_t)run);
	uint64_t unfinished = shk_ready_word(queue, first);

	/* relaxed, as in record_tail */
	if (run == 0 || shk_load_relaxed(shk_slot(queue, first)) != unfinished)
		return;
	shk_cas_release(shk_slot(queue, first), unfinished,
			shk_slot_word(shk_turn(queue, first), run, SHK_TAKEN, shk_slot_owner(index)));
	SHK_POINT("queue.head.recorded");
}

/* A TOMB at the head goes. True when there was one. */
static bool step_over_tomb(struct shmkit_queue *queue, uint64_t index, uint64_t word)
{
	uint64_t head = shk_index_position(queue, index);

	if (shk_slot_phase(word) != SHK_TOMB || shk_slot_turn(word) != shk_turn(queue, head))
		return false;
	shk_queue_record_head(queue, index);
	shk_cas_release(shk_slot(queue, head), word, shk_freed_word(queue, head));
	/* Dies here: FREE at a newer turn, head still before it. Peers: step over it. */
	SHK_POINT("queue.tomb.freed");
	/* tomb:H release. The record of the predecessor before the word that no longer names it. */
	shk_cas_release(&queue->shm->head, index, shk_index_word(shk_step(queue, head, 1), 0, 0));
	shk_event_signal(&queue->shm->space_event);
	return true;
}

/* A TOMB at the head was freed, and he who did it died before he moved the head over it. */
static bool step_over_freed(struct shmkit_queue *queue, uint64_t index, uint64_t word)
{
	uint64_t head = shk_index_position(queue, index);

	if (shk_turn_ahead(queue, shk_slot_turn(word), shk_turn(queue, head)) != 1 ||
	    shk_load_relaxed(&queue->shm->head) != index)   /* relaxed: the CAS tells */
		return false;
	shk_queue_record_head(queue, index);
	/* release, as tomb:H */
	shk_cas_release(&queue->shm->head, index, shk_index_word(shk_step(queue, head, 1), 0, 0));
	return true;
}

/* What dead producers left at the head must not eat the capacity. True when there was something. */
static bool help_head(struct shmkit_queue *queue)
{
	uint64_t index = shk_load_acquire(&queue->shm->head);
	uint64_t word = shk_load_acquire(shk_slot(queue, shk_index_position(queue, index)));

	return step_over_tomb(queue, index, word) || step_over_freed(queue, index, word);
}

/* How many of count slots from position on hold want, want + 1 turn at the wrap, ... */
static inline size_t count_slots(const struct shmkit_queue *queue, uint64_t position, size_t count,
				 unsigned phase)
{
	size_t n = 0;

	/* claim:A acquire, first and followers. Pairs with READY (payload) and FREE (copied out). */
	while (n < count && shk_load_acquire(shk_slot(queue, position)) ==
				    shk_slot_word(shk_turn(queue, position), 0, phase, 0)) {
		position = shk_step(queue, position, 1);
		n++;
	}
	return n;
}

/* The slot at an unmoved tail is not FREE at its turn: full, or help, or damaged. */
static SHK_COLD int64_t tail_is_blocked(struct shmkit_queue *queue, uint64_t position)
{
	uint64_t word = shk_load_acquire(shk_slot(queue, position));
	int64_t ahead = shk_turn_ahead(queue, shk_slot_turn(word), shk_turn(queue, position));

	if (word == shk_free_word(queue, position))
		return 0;                   /* free since */
	if (ahead >= 0)
		return 1;                   /* the tail has moved since, or it cannot be */
	if (help_head(queue))
		return 0;
	if (shk_look(queue->object.segment))
		return 0;
	return shk_fail_fixed(-EAGAIN, "the queue is full");
}

int64_t shk_queue_claim_tail(struct shmkit_queue *queue, size_t count, uint64_t *ret_position,
			     uint64_t *ret_index)
{
	struct shk_queue_shm *shm = queue->shm;
	unsigned impossible = 0;

	if (count > SHK_QUEUE_BATCH)
		count = SHK_QUEUE_BATCH;
	if (count > queue->mask + 1)
		count = (size_t)(queue->mask + 1);
	for (;;) {
		uint64_t index = shk_load_acquire(&shm->tail);
		uint64_t position = shk_index_position(queue, index);
		uint64_t next;
		size_t n;

		if (shk_unlikely(index & SHK_INDEX_CLOSED))
			return shk_fail_fixed(-ESHUTDOWN, "the queue was shut down");
		n = count_slots(queue, position, count, SHK_FREE);
		if (shk_unlikely(n == 0)) {
			int64_t blocked;

			/* relaxed, here and below: the slot's acquire orders it */
			if (shk_load_relaxed(&shm->tail) != index)
				continue;
			blocked = tail_is_blocked(queue, position);
			if (blocked < 0)
				return blocked;
			if (blocked == 1 && shk_load_relaxed(&shm->tail) == index && impossible++ > 3)
				return shk_object_damaged(&queue->object, "the slot at its tail, position "
							  "%llu, is ahead of it", (unsigned long long)position);
			continue;
		}
		/* relaxed: a word this handle finished is finished whenever it is seen */
		if (index != shk_load_relaxed(&queue->finished_tail))
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
			*ret_position = position;
			*ret_index = next;
			return (int64_t)n;
		}
	}
}

/* Nothing at the head: is it the end? */
static SHK_COLD int64_t nothing_ready(struct shmkit_queue *queue, uint64_t head)
{
	uint64_t tail = shk_load_acquire(&queue->shm->tail);

	if (shk_look(queue->object.segment))
		return 0;
	if (!(tail & SHK_INDEX_CLOSED) || shk_index_position(queue, tail) != head)
		return shk_fail_fixed(-EAGAIN, "the queue is empty");
	/* Not while something is leased or being taken: it may come back. */
	for (uint64_t slot = 0; slot <= queue->mask; slot++)
		if (shk_slot_phase(shk_load_acquire(shk_slot(queue, slot))) != SHK_FREE)
			return shk_fail_fixed(-EAGAIN, "the queue is empty; elements are still leased");
	return shk_fail_fixed(-ESHUTDOWN, "the queue was shut down and is drained");
}

int64_t shk_queue_claim_head(struct shmkit_queue *queue, size_t count, uint64_t *ret_position,
			     uint64_t *ret_index)
{
	struct shk_queue_shm *shm = queue->shm;
	unsigned impossible = 0;

	if (count > SHK_QUEUE_BATCH)
		count = SHK_QUEUE_BATCH;
	for (;;) {
		uint64_t index = shk_load_acquire(&shm->head);
		uint64_t position = shk_index_position(queue, index);
		uint64_t word = shk_load_acquire(shk_slot(queue, position));
		int64_t ahead = shk_turn_ahead(queue, shk_slot_turn(word), shk_turn(queue, position));
		unsigned phase = shk_slot_phase(word);

		if (shk_likely(word == shk_ready_word(queue, position))) {
			uint64_t next;
			size_t n = 1;

			if (count > 1)
				n += count_slots(queue, shk_step(queue, position, 1),
						 count - 1 < queue->mask ? count - 1 : (size_t)queue->mask,
						 SHK_READY);
			/* relaxed: as in claim_tail */
			if (index != shk_load_relaxed(&queue->finished_head))
				shk_queue_record_head(queue, index);
			next = shk_index_word(shk_step(queue, position, n), (unsigned)n,
					      queue->object.segment->member_id);
			/* claim:C release, as in claim_tail */
			if (shk_likely(shk_cas_release(&shm->head, index, next))) {
				/* Dies here: named in head. Peers: record. Repair: REDO. */
				SHK_POINT("queue.head.claimed");
				*ret_position = position;
				*ret_index = next;
				return (int64_t)n;
			}
			continue;
		}
		if (step_over_tomb(queue, index, word) || step_over_freed(queue, index, word))
			continue;
		/* relaxed: the slot's acquire orders it */
		if (shk_load_relaxed(&shm->head) != index)
			continue;
		if ((ahead == 0 && (phase == SHK_FREE || phase == SHK_CLAIM)) || ahead == -1) {
			int64_t result = nothing_ready(queue, position);

			if (result < 0)
				return result;
			/* repaired: what is to be delivered again comes first */
			if (shk_queue_redo_pending(queue))
				return 0;
			continue;
		}
		if (impossible++ > 3)
			return shk_object_damaged(&queue->object, "the slot at its head, position %llu, has "
						  "the word 0x%016llx", (unsigned long long)position,
						  (unsigned long long)word);
	}
}

int shk_queue_take_redo(struct shmkit_queue *queue, uint64_t *ret_position, uint64_t *ret_word)
{
	struct shk_queue_shm *shm = queue->shm;
	/* relaxed: if it is behind, a scan is made for nothing, and the CAS fails */
	uint64_t done = shk_load_relaxed(&shm->redo_done);
	uint64_t set = shk_load_acquire(&shm->redo_set);
	uint64_t head = shk_load_relaxed(&shm->head) >> 20;   /* relaxed: where to begin */

	for (uint64_t i = 0; i <= queue->mask; i++) {
		uint64_t slot = (head + i) & queue->mask;   /* the oldest first */
		uint64_t word = shk_load_relaxed(shk_slot(queue, slot));   /* relaxed: the CAS acquires */
		uint64_t taken = shk_slot_word(shk_slot_turn(word),
					       SHK_LEASE | (shk_slot_aux(word) & SHK_ATTEMPTS_MASK),
					       SHK_TAKEN, queue->object.segment->member_id);

		if (shk_slot_phase(word) != SHK_REDO || !shk_cas_acq_rel(shk_slot(queue, slot), word, taken))
			continue;
		/* Dies here: TAKEN(dead). Repair: REDO with one attempt more. */
		SHK_POINT("queue.redo.taken");
		*ret_position = shk_position_of(queue, slot, word);
		*ret_word = taken;
		return 1;
	}
	/* None left of those that set counts. relaxed: nothing is read on the strength of it. */
	shk_cas_relaxed(&shm->redo_done, done, set);
	return 0;
}

/* ---- single ---- */

static int64_t enqueue(struct shmkit_queue *queue, const void *element)
{
	uint64_t position, index;
	int64_t claimed = shk_queue_claim_tail(queue, 1, &position, &index);

	if (shk_unlikely(claimed < 0))
		return claimed;
	shk_copy(shk_payload(queue, position), element, queue->element_size);
	/* enqueue:P release. Pairs with claim:A of the consumer. Commits. */
	shk_store_release(shk_slot(queue, position), shk_ready_word(queue, position));
	/* Dies here: committed. Consumers that sleep look when their slice ends. */
	SHK_POINT("queue.enqueue.ready");
	shk_store_relaxed(&queue->finished_tail, index);   /* private to the process */
	shk_event_signal(&queue->shm->ready_event);
	return 0;
}

static int64_t take_redo_copy(struct shmkit_queue *queue, void *ret_element)
{
	uint64_t position, word;

	if (!shk_queue_take_redo(queue, &position, &word))
		return -EAGAIN;
	shk_copy(ret_element, shk_payload(queue, position), queue->element_size);
	/* dequeue:P release. Pairs with claim:A of the producer one lap later. Commits. */
	shk_store_release(shk_slot(queue, position), shk_freed_word(queue, position));
	SHK_POINT("queue.redo.freed");
	shk_queue_signal_space(queue);
	return 0;
}

static int64_t dequeue(struct shmkit_queue *queue, void *ret_element)
{
	uint64_t position, index;
	int64_t claimed;

	do {
		if (shk_queue_redo_pending(queue) && take_redo_copy(queue, ret_element) == 0)
			return 0;
		claimed = shk_queue_claim_head(queue, 1, &position, &index);
	} while (shk_unlikely(claimed == 0));
	if (shk_unlikely(claimed < 0))
		return claimed;
	shk_copy(ret_element, shk_payload(queue, position), queue->element_size);
	/* dequeue:P release, as above */
	shk_store_release(shk_slot(queue, position), shk_freed_word(queue, position));
	SHK_POINT("queue.dequeue.freed");
	shk_store_relaxed(&queue->finished_head, index);
	shk_queue_signal_space(queue);
	return 0;
}

int shk_queue_null(const char *what)
{
	return shk_fail(-EINVAL, "%s: the queue or the place of the element is NULL", what);
}

int shmkit_queue_enqueue(struct shmkit_queue *queue, const void *element)
{
	int result;

	if (shk_unlikely(!queue || !element))
		return shk_queue_null("shmkit_queue_enqueue");
	result = shk_object_enter_write(&queue->object);
	if (shk_unlikely(result))
		return result;
	return (int)shk_object_leave(&queue->object, enqueue(queue, element));
}

int shmkit_queue_dequeue(struct shmkit_queue *queue, void *ret_element)
{
	int result;

	if (shk_unlikely(!queue || !ret_element))
		return shk_queue_null("shmkit_queue_dequeue");
	result = shk_object_enter_write(&queue->object);
	if (shk_unlikely(result))
		return result;
	return (int)shk_object_leave(&queue->object, dequeue(queue, ret_element));
}

/* ---- bulk ---- */

/* One batch, at most SHK_QUEUE_BATCH. */
static int64_t enqueue_batch(struct shmkit_queue *queue, const uint8_t *elements, size_t count)
{
	uint32_t size = queue->element_size;
	uint64_t position, index;
	int64_t claimed = shk_queue_claim_tail(queue, count, &position, &index);

	if (claimed <= 0)
		return claimed;
	for (uint64_t i = (uint64_t)claimed; i-- > 0;) {
		uint64_t at = shk_step(queue, position, i);

		shk_copy(shk_payload(queue, at), elements + i * size, size);
		/* enqueue:P release, last to first: the first commits all */
		shk_store_release(shk_slot(queue, at), shk_ready_word(queue, at));
		/* Dies here: followers READY, the first is not. Repair: all TOMB. */
		SHK_POINT("queue.enqueue.follower");
	}
	shk_store_relaxed(&queue->finished_tail, index);
	shk_event_signal(&queue->shm->ready_event);
	return claimed;
}

static int64_t dequeue_batch(struct shmkit_queue *queue, uint8_t *ret_elements, size_t count)
{
	uint32_t size = queue->element_size;
	uint64_t position, index;
	int64_t claimed;

	do {
		if (shk_queue_redo_pending(queue) && take_redo_copy(queue, ret_elements) == 0)
			return 1;
		claimed = shk_queue_claim_head(queue, count, &position, &index);
	} while (claimed == 0);
	if (claimed < 0)
		return claimed;
	for (uint64_t i = 0; i < (uint64_t)claimed; i++)
		shk_copy(ret_elements + i * size, shk_payload(queue, shk_step(queue, position, i)), size);
	if (claimed > 1) {
		/* dequeue:D release. Commits the batch: from here on it is rolled forward. */
		shk_store_release(shk_slot(queue, position),
				  shk_slot_word(shk_turn(queue, position), (unsigned)claimed, SHK_DONE,
						queue->object.segment->member_id));
		/* Dies here: DONE(dead). Repair: followers and it FREE. */
		SHK_POINT("queue.dequeue.done");
	}
	for (uint64_t i = (uint64_t)claimed; i-- > 0;) {
		uint64_t at = shk_step(queue, position, i);

		shk_store_release(shk_slot(queue, at), shk_freed_word(queue, at));
		SHK_POINT("queue.dequeue.follower");
	}
	shk_store_relaxed(&queue->finished_head, index);
	shk_queue_signal_space(queue);
	return claimed;
}

/* Batches until count or no more; what came before an error counts. */
int64_t shmkit_queue_enqueue_bulk(struct shmkit_queue *queue, const void *elements, size_t count)
{
	size_t done = 0;
	int result;

	if (shk_unlikely(!queue || (!elements && count)))
		return shk_queue_null("shmkit_queue_enqueue_bulk");
	result = shk_object_enter_write(&queue->object);
	if (shk_unlikely(result))
		return result;
	while (done < count) {
		int64_t n = enqueue_batch(queue, (const uint8_t *)elements + done * queue->element_size,
					  count - done);

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
	size_t done = 0;
	int result;

	if (shk_unlikely(!queue || (!ret_elements && count)))
		return shk_queue_null("shmkit_queue_dequeue_bulk");
	result = shk_object_enter_write(&queue->object);
	if (shk_unlikely(result))
		return result;
	while (done < count) {
		int64_t n = dequeue_batch(queue, (uint8_t *)ret_elements + done * queue->element_size,
					  count - done);

		if (n < 0) {
			if (done == 0 && n != -EAGAIN)
				return n;
			break;
		}
		done += (size_t)n;
	}
	return shk_object_leave(&queue->object, (int64_t)done);
}
