/*
 * The queue: how it is made, what claims meet, and the calls for one element. Protocol and death
 * table: queue.h.
 */
#include "queue_claim.h"

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
	queue->straight = shk_is_straight(shape->element_size);
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

/* The slot at an unmoved tail is not FREE at its turn: full, or help, or damaged. */
static int64_t tail_is_blocked(struct shmkit_queue *queue, uint64_t position)
{
	uint64_t word = shk_load_acquire(shk_slot(queue, position));
	int64_t ahead = shk_turn_ahead(queue, shk_slot_turn(word), shk_turn(queue, position));

	if (word == shk_free_word(queue, position))
		return 0;                   /* free since */
	if (ahead >= 0)
		return 1;                   /* the tail has moved since, or it cannot be */
	/* a full queue's head lies in the same slot: no need to pull its line away from consumers */
	if (shk_slot_phase(word) == SHK_TOMB && help_head(queue))
		return 0;
	if (shk_look(queue->object.segment))
		return 0;
	return shk_fail_fixed(-EAGAIN, "the queue is full");
}

int64_t shk_queue_tail_refuses(struct shmkit_queue *queue, uint64_t index, unsigned *impossible)
{
	uint64_t position = shk_index_position(queue, index);
	int64_t blocked;

	/* relaxed, here and below: the slot's acquire orders it */
	if (shk_load_relaxed(&queue->shm->tail) != index)
		return 0;
	blocked = tail_is_blocked(queue, position);
	if (blocked == 1 && shk_load_relaxed(&queue->shm->tail) == index && (*impossible)++ > 3)
		return shk_object_damaged(&queue->object, "the slot at its tail, position %llu, is ahead of "
					  "it", (unsigned long long)position);
	return blocked < 0 ? blocked : 0;
}

/* Nothing at the head: is it the end? */
static SHK_COLD int64_t nothing_ready(struct shmkit_queue *queue, uint64_t head)
{
	uint64_t tail;

	if (shk_look(queue->object.segment))
		return 0;
	/*
	 * relaxed: set before the closed bit, and never cleared; who comes after the shutdown sees it.
	 * Without it the producers' line is left alone.
	 */
	if (shk_likely(!shk_load_relaxed(&queue->shm->closing)))
		return shk_fail_fixed(-EAGAIN, "the queue is empty");
	tail = shk_load_acquire(&queue->shm->tail);
	if (!(tail & SHK_INDEX_CLOSED) || shk_index_position(queue, tail) != head)
		return shk_fail_fixed(-EAGAIN, "the queue is empty");
	/* Not while something is leased or being taken: it may come back. */
	for (uint64_t slot = 0; slot <= queue->mask; slot++)
		if (shk_slot_phase(shk_load_acquire(shk_slot(queue, slot))) != SHK_FREE)
			return shk_fail_fixed(-EAGAIN, "the queue is empty; elements are still leased");
	return shk_fail_fixed(-ESHUTDOWN, "the queue was shut down and is drained");
}

int64_t shk_queue_head_refuses(struct shmkit_queue *queue, uint64_t index, uint64_t word,
			       unsigned *impossible)
{
	uint64_t position = shk_index_position(queue, index);
	int64_t ahead = shk_turn_ahead(queue, shk_slot_turn(word), shk_turn(queue, position));
	unsigned phase = shk_slot_phase(word);

	if (step_over_tomb(queue, index, word) || step_over_freed(queue, index, word))
		return 1;
	/* relaxed: the slot's acquire orders it */
	if (shk_load_relaxed(&queue->shm->head) != index)
		return 1;
	if ((ahead == 0 && (phase == SHK_FREE || phase == SHK_CLAIM)) || ahead == -1) {
		int64_t result = nothing_ready(queue, position);

		if (result < 0)
			return result;
		/* repaired: what is to be delivered again comes first */
		return !shk_queue_redo_pending(queue);
	}
	if ((*impossible)++ > 3)
		return shk_object_damaged(&queue->object, "the slot at its head, position %llu, has the word "
					  "0x%016llx", (unsigned long long)position,
					  (unsigned long long)word);
	return 1;
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

/* Commits what has been copied in. */
static inline void commit(struct shmkit_queue *queue, const struct shk_claim *claim)
{
	/* enqueue:P release. Pairs with claim:A of the consumer. Commits. */
	shk_store_release(claim->slot, claim->word | SHK_READY << 10);
	/* Dies here: committed. Consumers that sleep look when their slice ends. */
	SHK_POINT("queue.enqueue.ready");
	shk_store_relaxed(&queue->finished_tail, claim->index);   /* private to the process */
}

static int64_t enqueue(struct shmkit_queue *queue, const void *element)
{
	struct shk_claim claim;
	int64_t claimed = shk_claim_tail(queue, 1, &claim);

	if (claimed < 0)
		return claimed;
	shk_copy((uint8_t *)claim.slot + queue->payload_offset, element, queue->element_size);
	commit(queue, &claim);
	shk_event_signal(&queue->shm->ready_event);
	return 0;
}

/* All that the straight line of the public call leaves out. */
static SHK_NOINLINE int enqueue_anyhow(struct shmkit_queue *queue, const void *element)
{
	int result = shk_object_enter_write(&queue->object);

	return result ? result : (int)shk_object_leave(&queue->object, enqueue(queue, element));
}

static SHK_NOINLINE int wake_consumers(struct shmkit_queue *queue)
{
	shk_event_signal(&queue->shm->ready_event);
	return (int)shk_object_leave(&queue->object, 0);
}

int64_t shk_queue_redeliver(struct shmkit_queue *queue, void *ret_element)
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

/* Frees the slot of what has been copied out. */
static inline void free_slot(struct shmkit_queue *queue, const struct shk_claim *claim)
{
	/* dequeue:P release. Pairs with claim:A of the producer one lap later. Commits. */
	shk_store_release(claim->slot, shk_freed_word(queue, claim->position));
	SHK_POINT("queue.dequeue.freed");
	shk_store_relaxed(&queue->finished_head, claim->index);
}

static int64_t dequeue(struct shmkit_queue *queue, void *ret_element)
{
	struct shk_claim claim;
	int64_t claimed;

	do {
		if (shk_queue_redo_pending(queue) && shk_queue_redeliver(queue, ret_element) == 0)
			return 0;
		claimed = shk_claim_head(queue, 1, &claim);
	} while (claimed == 0);
	if (claimed < 0)
		return claimed;
	shk_copy(ret_element, (const uint8_t *)claim.slot + queue->payload_offset, queue->element_size);
	free_slot(queue, &claim);
	shk_queue_signal_space(queue);
	return 0;
}

/* All that the straight line of the public call leaves out. */
static SHK_NOINLINE int dequeue_anyhow(struct shmkit_queue *queue, void *ret_element)
{
	int result = shk_object_enter_write(&queue->object);

	return result ? result : (int)shk_object_leave(&queue->object, dequeue(queue, ret_element));
}

static SHK_NOINLINE int wake_producers(struct shmkit_queue *queue)
{
	shk_queue_signal_space(queue);
	return (int)shk_object_leave(&queue->object, 0);
}

int shk_queue_null(const char *what)
{
	return shk_fail(-EINVAL, "%s: the queue or the place of the element is NULL", what);
}

int shmkit_queue_enqueue(struct shmkit_queue *queue, const void *element)
{
	struct shk_claim claim;

	if (shk_unlikely(!queue || !element))
		return shk_queue_null("shmkit_queue_enqueue");
	if (shk_unlikely(!shk_object_is_ready_to_write(&queue->object) || !queue->straight ||
			 !shk_claim_next_tail(queue, &claim)))
		return enqueue_anyhow(queue, element);
	shk_copy_straight((uint8_t *)claim.slot + queue->payload_offset, element, queue->element_size);
	commit(queue, &claim);
	if (shk_event_is_awaited(&queue->shm->ready_event) || shk_object_is_lost(&queue->object))
		return wake_consumers(queue);
	return 0;
}

int shmkit_queue_dequeue(struct shmkit_queue *queue, void *ret_element)
{
	struct shk_claim claim;

	if (shk_unlikely(!queue || !ret_element))
		return shk_queue_null("shmkit_queue_dequeue");
	if (shk_unlikely(!shk_object_is_ready_to_write(&queue->object) || !queue->straight ||
			 shk_queue_redo_pending(queue) || !shk_claim_next_head(queue, &claim)))
		return dequeue_anyhow(queue, ret_element);
	shk_copy_straight(ret_element, (const uint8_t *)claim.slot + queue->payload_offset,
			  queue->element_size);
	free_slot(queue, &claim);
	if (shk_queue_space_is_awaited(queue) || shk_object_is_lost(&queue->object))
		return wake_producers(queue);
	return 0;
}
