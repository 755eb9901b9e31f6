/*
 * What a queue may hold after a death, or after a stop. The model: queue_scene.h.
 */
#include "queue_scene.h"

/* Takes all that is to be had; *ret_set of the ids. */
static bool drain(struct scene *scene, struct shmkit_queue *queue, uint64_t *ret_set, uint64_t *ret_again)
{
	struct shmkit_slot slot;
	uint64_t last = 0;
	int result;

	while ((result = shmkit_queue_lease(queue, &slot)) == 0) {
		struct element element;

		memcpy(&element, slot.data, sizeof(element));
		if (!element_is_whole(&element) || element.id < 1 || element.id > 63)
			return wrong(scene, "an element came that is torn, or never was: id %llu",
				     (unsigned long long)element.id);
		if (*ret_set & BIT(element.id))
			return wrong(scene, "element %llu came twice", (unsigned long long)element.id);
		*ret_set |= BIT(element.id);
		if (slot.deliveries > 1)
			*ret_again |= BIT(element.id);
		if (slot.deliveries > 2 + !!(scene->expected[0] & scene->touched & BIT(element.id)))
			return wrong(scene, "element %llu was delivered %u times",
				     (unsigned long long)element.id,
				     slot.deliveries);
		if (slot.deliveries == 1 && element.id < last && !scene->result_known &&
		    !(scene->touched & BIT(element.id)))
			return wrong(scene, "element %llu came after element %llu",
				     (unsigned long long)element.id, (unsigned long long)last);
		if (slot.deliveries == 1)
			last = element.id;
		if (!is(scene, "queue_ack", shmkit_queue_ack(queue, &slot), 0))
			return false;
	}
	return result == -EAGAIN || result == -ESHUTDOWN ||
	       wrong(scene, "queue_lease: %d, %s", result, shmkit_last_error());
}

static uint64_t learned_set(const struct scene *scene, uint32_t count)
{
	uint64_t set = 0;

	for (uint32_t i = 0; i < count && i < scene->learned_count; i++)
		set |= BIT(scene->learned_out[i]);
	return set;
}

static uint64_t noted_set(const struct note *note)
{
	uint64_t set = 0;

	for (uint32_t i = 0; i < note->out_count; i++)
		set |= BIT(note->out[i]);
	return set;
}

static uint64_t first_added(const struct scene *scene, int64_t count)
{
	uint64_t set = 0, left = scene->added;

	for (; count-- > 0 && left; left &= left - 1)
		set |= left & -left;
	return set;
}

/* How many the call enqueued, from its result. */
static int64_t put_count(const struct scene *scene, int64_t result)
{
	if (strstr(scene->subject->name, "bulk"))
		return result > 0 ? result : 0;
	return result == 0;
}

/* Taken by the worker, who did not note it as the end of an element; a blocked peer's is added later. */
static uint64_t peer_has(const struct scene *scene)
{
	return scene->result_known ? scene->expected[2] : 0;
}

/* Which sets may be in the queue? Whole batches only. */
static unsigned may_be(const struct scene *scene, uint64_t sets[8])
{
	const struct note *note = scene->note;
	uint64_t before = scene->present, held = note->out_count ? BIT(note->out[0]) : 0;
	unsigned count = 0;
	int64_t all;

	if (!scene->result_known)
		sets[count++] = before;
	else
		before &= ~scene->expected[2];
	switch (scene->subject->effect) {
	case PUT:
		all = put_count(scene, scene->result_known ? note->result : scene->learned);
		/* two fit before the TOMB at the head gives room for another */
		if (!scene->result_known && scene->state == TOMB && all == BULK)
			sets[count++] = before | first_added(scene, 2);
		sets[count++] = before | (first_added(scene, all) & ~peer_has(scene));
		break;
	case TAKE:
		if (!scene->result_known && (scene->state == REDO || scene->state == DEAD_CONSUMER))
			sets[count++] = before & ~learned_set(scene, 1);
		sets[count++] = before & ~(scene->result_known ? noted_set(note)
							       : learned_set(scene, OUT_MAX));
		break;
	case COMMIT:
		all = scene->result_known ? note->result == 0 : scene->learned == 0;
		sets[count++] = before | (first_added(scene, all) & ~peer_has(scene));
		break;
	case ACK:
		sets[count++] = before & ~held;
		break;
	default:
		sets[count++] = before;
	}
	return count;
}

static void note_touched(struct scene *scene)
{
	uint64_t held = scene->note->out_count ? BIT(scene->note->out[0]) : 0;

	switch (scene->subject->effect) {
	case TAKE:
	case HOLD:
		scene->touched = learned_set(scene, OUT_MAX) | held;
		break;
	case ACK:
	case NACK:
		/* it was delivered to the victim */
		scene->touched |= held & scene->expected[0];
		scene->expected[0] |= held;
		break;
	default:
		break;
	}
	if (strcmp(scene->subject->name, "queue_close") == 0)
		scene->touched = scene->present;
}

static bool compare(struct scene *scene, uint64_t got, uint64_t again)
{
	uint64_t sets[8], twice = scene->expected[0] & got;
	unsigned count = may_be(scene, sets);
	bool known = false;

	/* a consumer that was blocked has had its part */
	if (!scene->result_known) {
		if (got & scene->expected[2])
			return wrong(scene, "0x%llx came twice",
				     (unsigned long long)(got & scene->expected[2]));
		got |= scene->expected[2];
		twice &= ~scene->expected[2];
	}

	for (unsigned i = 0; i < count; i++)
		known |= sets[i] == got;
	if (!known)
		return wrong(scene, "the queue held 0x%llx; 0x%llx before, 0x%llx after the call are right",
			     (unsigned long long)got, (unsigned long long)sets[0],
			     (unsigned long long)sets[count - 1]);
	if (scene->result_known && scene->subject->effect == TAKE &&
	    (noted_set(scene->note) & scene->expected[2]))
		return wrong(scene, "the victim and a peer got the same element");
	if (again & ~(twice | scene->touched))
		return wrong(scene, "0x%llx were delivered again without need",
			     (unsigned long long)(again & ~(twice | scene->touched)));
	if (twice & ~again)
		return wrong(scene, "0x%llx were delivered to the dead and are said to be new",
			     (unsigned long long)(twice & ~again));
	return true;
}

/* What the worker holds ends as it wants it to. */
static bool settle(struct scene *scene)
{
	struct shmkit_queue *queue = scene->peer.queue;

	if (scene->leased && scene->variant % 2) {
		scene->present |= scene->leased;
		scene->expected[0] |= scene->leased;
		return is(scene, "nack of a living lease", shmkit_queue_nack(queue, &scene->peer.slot), 0);
	}
	if (scene->leased)
		return is(scene, "ack of a living lease", shmkit_queue_ack(queue, &scene->peer.slot), 0);
	if (scene->expected[1]) {
		scene->present |= scene->expected[1];
		return is(scene, "commit of a living reservation",
			  shmkit_queue_commit(queue, &scene->peer.slot2), 0);
	}
	return true;
}

static bool all_of_it(struct scene *scene, struct shmkit_queue *in, struct shmkit_queue *out)
{
	struct element element;

	for (uint64_t i = 0; i < CAPACITY; i++) {
		fill_element(&element, i);
		if (!is(scene, "filling: queue_enqueue", shmkit_queue_enqueue(in, &element), 0))
			return false;
	}
	if (!is(scene, "when full: queue_enqueue", shmkit_queue_enqueue(in, &element), -EAGAIN))
		return false;
	for (uint64_t i = 0; i < CAPACITY; i++)
		if (!is(scene, "emptying: queue_dequeue", shmkit_queue_dequeue(out, &element), 0) ||
		    !is(scene, "order", (int64_t)element.id, (int64_t)i) || !element_is_whole(&element))
			return wrong(scene, "an element is torn");
	return is(scene, "when empty: queue_dequeue", shmkit_queue_dequeue(out, &element), -EAGAIN);
}

static bool right_end(struct scene *scene, struct shmkit_queue *queue)
{
	struct element element;
	int result = shmkit_queue_dequeue(queue, &element);
	bool may_be_open = scene->state != SHUT || scene->subject->effect == BEGIN;
	bool may_be_shut = scene->state == SHUT || scene->subject->effect == END;

	if (!(result == -EAGAIN && may_be_open) && !(result == -ESHUTDOWN && may_be_shut))
		return wrong(scene, "when drained: queue_dequeue: %d, %s", result, shmkit_last_error());
	return is(scene, "queue_reopen", shmkit_queue_reopen(queue), 0);
}

bool queue_audit(struct scene *scene)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	uint64_t got = 0, again = 0;
	struct shmkit_queue *queue = scene->peer.queue;

	note_touched(scene);
	/* one who was there before repairs on contact */
	look(scene->peer.segment, scene->variant % 4 == 3);
	if (scene->variant % 4 == 3 && !drain(scene, queue, &got, &again))
		return false;
	if (!fresh_segment(scene) ||
	    !fine(scene, "queue_open", shmkit_queue_open(scene->fresh.segment, "q", ELEMENT,
							  &scene->fresh.queue)))
		return false;
	queue = scene->fresh.queue;
	if (!drain(scene, queue, &got, &again) || !settle(scene) || !drain(scene, queue, &got, &again) ||
	    !compare(scene, got, again) || !right_end(scene, queue))
		return false;
	note_worst(scene);
	if (!all_of_it(scene, scene->variant % 2 ? queue : scene->peer.queue,
		       scene->variant % 4 < 2 ? queue : scene->peer.queue) ||
	    !fine(scene, "queue_get_stats", shmkit_queue_get_stats(queue, &stats)))
		return false;
	if (stats.enqueued != stats.dequeued || stats.discarded > BULK + 1)
		return wrong(scene, "%llu enqueued, %llu dequeued, %llu discarded, and it is empty",
			     (unsigned long long)stats.enqueued, (unsigned long long)stats.dequeued,
			     (unsigned long long)stats.discarded);
	return audit_segment(scene, scene->fresh.segment, 2);
}

/* ---- while the victim is stopped ---- */

static bool peer_puts(struct scene *scene, struct shmkit_queue *queue)
{
	struct element element[2];
	struct shmkit_slot slot = { 0 };
	int64_t done = 0;
	int result = 0;

	fill_element(&element[0], scene->ids + 1);
	if (!TIMED(scene, 50, result = shmkit_queue_enqueue(queue, element)))
		return false;
	if (result == 0)
		scene->present |= BIT(++scene->ids);
	fill_element(&element[0], scene->ids + 1);
	fill_element(&element[1], scene->ids + 2);
	if (!TIMED(scene, 50, done = shmkit_queue_enqueue_bulk_wait(queue, element, 2, 1000000)))
		return false;
	for (; done > 0; done--)
		scene->present |= BIT(++scene->ids);
	if (!TIMED(scene, 50, result = shmkit_queue_reserve_wait(queue, &slot, 1000000)))
		return false;
	if (result)
		return true;
	fill_element(slot.data, ++scene->ids);
	scene->present |= BIT(scene->ids);
	return TIMED(scene, 50, result = shmkit_queue_commit(queue, &slot)) && is(scene, "commit", result, 0);
}

static bool peer_got(struct scene *scene, const struct element *element)
{
	/* the victim's own may have been published before it was stopped */
	uint64_t known = scene->present | scene->added;

	if (!element_is_whole(element) || element->id > 63 || !(known & BIT(element->id)) ||
	    (scene->expected[2] & BIT(element->id)))
		return wrong(scene, "frozen: element %llu is torn, or came twice, or is another's",
			     (unsigned long long)element->id);
	scene->expected[2] |= BIT(element->id);
	return true;
}

static bool peer_takes(struct scene *scene, struct shmkit_queue *queue)
{
	struct element element[2];
	struct shmkit_slot slot;
	int64_t done = 0;
	int result = 0;

	if (!TIMED(scene, 50, result = shmkit_queue_dequeue(queue, element)) ||
	    (result == 0 && !peer_got(scene, element)) ||
	    !TIMED(scene, 50, done = shmkit_queue_dequeue_bulk_wait(queue, element, 2, 1000000)))
		return false;
	for (int64_t i = 0; i < done; i++)
		if (!peer_got(scene, &element[i]))
			return false;
	if (!TIMED(scene, 50, result = shmkit_queue_lease_wait(queue, &slot, 1000000)))
		return false;
	if (result)
		return true;
	return peer_got(scene, slot.data) && TIMED(scene, 50, result = shmkit_queue_ack(queue, &slot)) &&
	       is(scene, "ack", result, 0);
}

bool queue_peers(struct scene *scene)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_queue *queue = scene->peer.queue, *second = NULL;
	struct shmkit_slot slot;
	int result = 0;

	if (!peer_takes(scene, queue) || !peer_puts(scene, queue) || !peer_takes(scene, queue) ||
	    !peer_puts(scene, queue) ||
	    !TIMED(scene, 50, result = shmkit_queue_reserve(queue, &slot)) ||
	    (result == 0 && !TIMED(scene, 50, shmkit_queue_cancel(queue, &slot))) ||
	    !TIMED(scene, 50, shmkit_queue_get_stats(queue, &stats)) ||
	    !TIMED(scene, 50, shmkit_queue_get_info(queue, &info)) ||
	    !TIMED(scene, 50, shmkit_queue_size(queue)) ||
	    !TIMED(scene, 50, shmkit_queue_open(scene->peer.segment, "q", ELEMENT, &second)))
		return false;
	call_begins();
	shmkit_queue_close(second);
	return call_ends(scene, "shmkit_queue_close", 0, 50) && peers_table(scene, scene->peer.segment);
}

/* ---- a consumer that is blocked ---- */

static int64_t consume(struct scene *scene, struct blocked *blocked)
{
	struct element element;
	int result = shmkit_queue_open(scene->own.segment, "q", ELEMENT, &scene->own.queue);

	while (!result && !(blocked->taken & BIT(SENTINEL))) {
		result = shmkit_queue_dequeue_wait(scene->own.queue, &element, INT64_C(3000000000));
		if (!result && (!element_is_whole(&element) || (blocked->taken & BIT(element.id % 64))))
			result = -EBADMSG;
		if (!result)
			blocked->taken |= BIT(element.id % 64);
	}
	return result;
}

bool queue_block(struct scene *scene)
{
	/* there the worker itself is in the way, or an end comes */
	if (scene->state == RESERVED || scene->state == LEASED || scene->state == SHUT ||
	    scene->subject->effect == END)
		return false;
	return blocked_start(scene, consume);
}

bool queue_unblock(struct scene *scene)
{
	const struct blocked *blocked;
	struct element element;

	fill_element(&element, SENTINEL);
	if (!is(scene, "a peer's queue_enqueue_wait",
		shmkit_queue_enqueue_wait(scene->peer.queue, &element, LIMIT_MS * (int64_t)NS_PER_MS), 0) ||
	    !blocked_end(scene, &blocked))
		return false;
	scene->expected[2] = blocked->taken & ~BIT(SENTINEL);
	return true;
}
