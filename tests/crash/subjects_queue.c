/*
 * Queues: the states, and the calls. The model: queue_scene.h.
 */
#include "queue_scene.h"

#include "layout.h"

#include <stdio.h>
#include <unistd.h>

#define WAIT_NS INT64_C(2000000)

static const char *const states[] = {
	[EMPTY] = "empty", [ONE] = "one", [HALF] = "half", [FULL] = "full", [LAP] = "lap", [WRAP] = "wrap",
	[LEASED] = "leased", [REDO] = "redo", [TOMB] = "tomb", [RESERVED] = "reserved",
	[DEAD_PRODUCER] = "dead_producer", [DEAD_CONSUMER] = "dead_consumer", [SHUT] = "shut",
	[DEAD_FULL] = "dead_full", NULL,
};

/* ---- setting up ---- */

static bool put(struct scene *scene, struct shmkit_queue *queue)
{
	struct element element;
	uint64_t id = ++scene->ids;

	fill_element(&element, id);
	scene->present |= BIT(id);
	return is(scene, "queue_enqueue", shmkit_queue_enqueue(queue, &element), 0);
}

static bool put_many(struct scene *scene, unsigned count)
{
	while (count-- > 0)
		if (!put(scene, scene->peer.queue))
			return false;
	return true;
}

/* So far that the next position is this one; white box, for nobody enqueues 2^42 elements. */
static bool move_to(struct scene *scene, uint64_t position)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	unsigned shift = (unsigned)__builtin_ctz(CAPACITY);
	uint64_t positions = (UINT64_C(1) << (40 + shift)) - 1;
	struct shk_queue_shm *shm;
	uint8_t *base;

	if (!fine(scene, "find", shmkit_segment_find(scene->peer.segment, "q", &info)))
		return false;
	base = (uint8_t *)(uintptr_t)shmkit_segment_base(scene->peer.segment) + info.offset;
	shm = (struct shk_queue_shm *)(void *)base;
	position &= positions;
	shm->base = position;
	shm->head = shm->tail = position << 20;
	for (uint64_t i = 0; i < CAPACITY; i++) {
		uint64_t at = (position + i) & positions;

		uint8_t *slot = base + sizeof(*shm) + at % CAPACITY * (8 + ELEMENT);

		*(uint64_t *)(void *)slot = at >> shift << 24;
	}
	return true;
}

static bool take_one(struct scene *scene)
{
	struct element element;

	if (!is(scene, "queue_dequeue", shmkit_queue_dequeue(scene->peer.queue, &element), 0))
		return false;
	scene->present &= ~BIT(element.id);
	return true;
}

static bool build_redo(struct scene *scene)
{
	if (!put_many(scene, 2) ||
	    !fine(scene, "lease", shmkit_queue_lease(scene->peer.queue, &scene->peer.slot)) ||
	    !fine(scene, "nack", shmkit_queue_nack(scene->peer.queue, &scene->peer.slot)))
		return false;
	scene->expected[0] = BIT(1);
	return true;
}

static bool build_state(struct scene *scene)
{
	struct shmkit_queue *queue = scene->peer.queue;

	switch (scene->state) {
	case ONE:
		return put_many(scene, 1);
	case HALF:
		return put_many(scene, 2);
	case FULL:
		return put_many(scene, CAPACITY);
	case LAP:
		/* seven gone, two there, over the end of the slots */
		for (unsigned i = 0; i < 7; i++)
			if (!put_many(scene, 1) || !take_one(scene))
				return false;
		return put_many(scene, 2);
	case WRAP:
		return move_to(scene, 0 - UINT64_C(2)) && put_many(scene, 1);
	case LEASED:
		if (!put_many(scene, 3) ||
		    !fine(scene, "lease", shmkit_queue_lease(queue, &scene->peer.slot)))
			return false;
		scene->present &= ~BIT(1);
		scene->leased = BIT(1);
		return true;
	case REDO:
		return build_redo(scene);
	case TOMB:
		return fine(scene, "reserve", shmkit_queue_reserve(queue, &scene->peer.slot)) &&
		       put_many(scene, 1) &&
		       fine(scene, "cancel", shmkit_queue_cancel(queue, &scene->peer.slot));
	case RESERVED:
		if (!fine(scene, "reserve", shmkit_queue_reserve(queue, &scene->peer.slot2)))
			return false;
		scene->expected[1] = BIT(++scene->ids);
		fill_element(scene->peer.slot2.data, scene->ids);
		return put_many(scene, 1);
	case DEAD_CONSUMER:
		/* the victim's child will lease the first */
		scene->expected[0] = BIT(1);
		return put_many(scene, 2);
	case SHUT:
		return put_many(scene, 2) && fine(scene, "shutdown", shmkit_queue_shutdown(queue));
	case DEAD_PRODUCER:
	case DEAD_FULL:
		/* the victim's child will enqueue these */
		for (unsigned i = 0; i < (scene->state == DEAD_FULL ? CAPACITY - 1 : 1); i++)
			scene->present |= BIT(++scene->ids);
		return true;
	default:
		return true;
	}
}

static bool build(struct scene *scene)
{
	if (!scene_segment(scene, 0) ||
	    !fine(scene, "queue_create",
		  shmkit_queue_create(scene->peer.segment, "q", ELEMENT, CAPACITY, NULL,
							      &scene->peer.queue)) ||
	    !build_state(scene))
		return false;
	for (unsigned i = 0; i < BULK; i++)
		scene->added |= BIT(++scene->ids);
	scene->entries = 1;
	scene->used = space_used(scene->peer.segment);
	return true;
}

static int64_t die_reserving(struct scene *scene)
{
	struct shmkit_slot slot;
	struct element element;
	int64_t result = shmkit_queue_reserve(scene->own.queue, &slot);

	for (uint64_t left = scene->present; result == 0 && left; left &= left - 1) {
		fill_element(&element, lowest(left));
		result = shmkit_queue_enqueue(scene->own.queue, &element);
	}
	return result;
}

static int64_t die_leasing(struct scene *scene)
{
	struct shmkit_slot slot;

	return shmkit_queue_lease(scene->own.queue, &slot);
}

static bool join(struct scene *scene)
{
	if (!own_segment(scene) ||
	    shmkit_queue_open(scene->own.segment, "q", ELEMENT, &scene->own.queue) != 0)
		return false;
	if (scene->state == DEAD_PRODUCER || scene->state == DEAD_FULL)
		return leave_dead(scene, die_reserving) &&
		       (look(scene->own.segment, scene->state == DEAD_FULL), true);
	if (scene->state == DEAD_CONSUMER)
		return leave_dead(scene, die_leasing);
	return true;
}

/* ---- what is done to them ---- */

static void fill_added(struct scene *scene, struct element elements[BULK])
{
	uint64_t left = scene->added;

	for (unsigned i = 0; i < BULK; i++, left &= left - 1)
		fill_element(&elements[i], lowest(left));
}

static int64_t take_note(struct scene *scene, const struct element *elements, int64_t result, int64_t count)
{
	if (result >= 0)
		for (int64_t i = 0; i < count; i++)
			note_out(scene, element_is_whole(&elements[i]) ? elements[i].id : 0);
	return result;
}

static struct element elements[BULK];       /* the victim's own */

static bool ready_put(struct scene *scene)
{
	fill_added(scene, elements);
	return true;
}

static int64_t enqueue(struct scene *scene)
{
	return shmkit_queue_enqueue(scene->own.queue, elements);
}

static int64_t enqueue_bulk(struct scene *scene)
{
	return shmkit_queue_enqueue_bulk(scene->own.queue, elements, BULK);
}

static int64_t enqueue_wait(struct scene *scene)
{
	return shmkit_queue_enqueue_wait(scene->own.queue, elements, WAIT_NS);
}

static int64_t enqueue_bulk_wait(struct scene *scene)
{
	return shmkit_queue_enqueue_bulk_wait(scene->own.queue, elements, BULK, WAIT_NS);
}

static int64_t dequeue(struct scene *scene)
{
	return take_note(scene, elements, shmkit_queue_dequeue(scene->own.queue, elements), 1);
}

static int64_t dequeue_bulk(struct scene *scene)
{
	int64_t count = shmkit_queue_dequeue_bulk(scene->own.queue, elements, BULK);

	return take_note(scene, elements, count, count);
}

static int64_t dequeue_wait(struct scene *scene)
{
	return take_note(scene, elements, shmkit_queue_dequeue_wait(scene->own.queue, elements, WAIT_NS), 1);
}

static int64_t dequeue_bulk_wait(struct scene *scene)
{
	int64_t count = shmkit_queue_dequeue_bulk_wait(scene->own.queue, elements, BULK, WAIT_NS);

	return take_note(scene, elements, count, count);
}

static int64_t reserve(struct scene *scene)
{
	return shmkit_queue_reserve(scene->own.queue, &scene->own.slot);
}

static int64_t reserve_wait(struct scene *scene)
{
	return shmkit_queue_reserve_wait(scene->own.queue, &scene->own.slot, WAIT_NS);
}

static int64_t lease(struct scene *scene)
{
	int64_t result = shmkit_queue_lease(scene->own.queue, &scene->own.slot);

	return take_note(scene, scene->own.slot.data, result, 1);
}

static int64_t lease_wait(struct scene *scene)
{
	int64_t result = shmkit_queue_lease_wait(scene->own.queue, &scene->own.slot, WAIT_NS);

	return take_note(scene, scene->own.slot.data, result, 1);
}

static bool ready_reserve(struct scene *scene)
{
	if (shmkit_queue_reserve(scene->own.queue, &scene->own.slot) == 0)
		fill_element(scene->own.slot.data, lowest(scene->added));
	return true;
}

static bool ready_lease(struct scene *scene)
{
	(void)lease(scene);
	return true;
}

static int64_t commit(struct scene *scene)
{
	return shmkit_queue_commit(scene->own.queue, &scene->own.slot);
}

static int64_t cancel(struct scene *scene)
{
	return shmkit_queue_cancel(scene->own.queue, &scene->own.slot);
}

static int64_t ack(struct scene *scene)
{
	return shmkit_queue_ack(scene->own.queue, &scene->own.slot);
}

static int64_t nack(struct scene *scene)
{
	return shmkit_queue_nack(scene->own.queue, &scene->own.slot);
}

static int64_t end(struct scene *scene)
{
	return shmkit_queue_shutdown(scene->own.queue);
}

static int64_t reopen(struct scene *scene)
{
	return shmkit_queue_reopen(scene->own.queue);
}

/* Holding both. */
static bool ready_close(struct scene *scene)
{
	(void)shmkit_queue_lease(scene->own.queue, &scene->own.slot);
	if (shmkit_queue_reserve(scene->own.queue, &scene->own.slot2) == 0)
		fill_element(scene->own.slot2.data, lowest(scene->added));
	scene->note->out_count = 0;
	return true;
}

static int64_t close_queue(struct scene *scene)
{
	shmkit_queue_close(scene->own.queue);
	return 0;
}

static int64_t recover(struct scene *scene)
{
	return shmkit_segment_recover(scene->own.segment, NULL);
}

/* ---- the table ---- */

static void finish(struct scene *scene)
{
	close_hands(&scene->fresh);
	close_hands(&scene->peer);
}

static const struct family family = {
	.name = "queue", .states = states, .build = build, .join = join, .audit = queue_audit,
	.peers = queue_peers,
	.finish = finish, .block = queue_block, .unblock = queue_unblock,
};

#define PLAIN (~(1u << DEAD_FULL))
#define SUBJECT(name, call, ready, effect, states, two) \
	{ &family, name, call, ready, effect, states, two }

static const struct subject subjects[] = {
	SUBJECT("queue_enqueue", enqueue, ready_put, PUT, 0, true),
	SUBJECT("queue_enqueue_bulk", enqueue_bulk, ready_put, PUT, 0, true),
	SUBJECT("queue_enqueue_wait", enqueue_wait, ready_put, PUT, PLAIN, false),
	SUBJECT("queue_enqueue_bulk_wait", enqueue_bulk_wait, ready_put, PUT, PLAIN, false),
	SUBJECT("queue_dequeue", dequeue, NULL, TAKE, 0, true),
	SUBJECT("queue_dequeue_bulk", dequeue_bulk, NULL, TAKE, 0, true),
	SUBJECT("queue_dequeue_wait", dequeue_wait, NULL, TAKE, PLAIN, false),
	SUBJECT("queue_dequeue_bulk_wait", dequeue_bulk_wait, NULL, TAKE, PLAIN, false),
	SUBJECT("queue_reserve", reserve, NULL, NOTHING, 0, true),
	SUBJECT("queue_reserve_wait", reserve_wait, NULL, NOTHING, PLAIN, false),
	SUBJECT("queue_commit", commit, ready_reserve, COMMIT, PLAIN, true),
	SUBJECT("queue_cancel", cancel, ready_reserve, NOTHING, PLAIN, true),
	SUBJECT("queue_lease", lease, NULL, HOLD, 0, true),
	SUBJECT("queue_lease_wait", lease_wait, NULL, HOLD, PLAIN, false),
	SUBJECT("queue_ack", ack, ready_lease, ACK, PLAIN, true),
	SUBJECT("queue_nack", nack, ready_lease, NACK, PLAIN, true),
	SUBJECT("queue_shutdown", end, NULL, END, PLAIN, true),
	SUBJECT("queue_reopen", reopen, NULL, BEGIN, PLAIN, false),
	SUBJECT("queue_close", close_queue, ready_close, NOTHING, PLAIN, true),
	SUBJECT("segment_recover_queue", recover, NULL, NOTHING, 0, false),
	{ 0 },
};

const struct subject *const queue_subjects = subjects;
