/*
 * What a ring may hold after a death, or after a stop. The model: ring_scene.h.
 */
#include "ring_scene.h"

/* How many of the added ones are in, were the result this. */
static int64_t pushed_by(const struct scene *scene, int64_t result)
{
	if (result < 0)
		return 0;
	if (scene->subject->effect == OVERWRITE)
		return strstr(scene->subject->name, "many") ? MANY : 3;
	if (scene->subject->effect != PUSH)
		return 0;
	return strstr(scene->subject->name, "bulk") ? result : 1;
}

/* Whole pieces: the first of an overwrite of more than fit is what is over. */
static bool is_piece(const struct scene *scene, int64_t pushed)
{
	int64_t all = pushed_by(scene, scene->result_known ? scene->note->result : scene->learned);

	if (pushed == all)
		return true;
	if (scene->result_known)
		return false;
	if (pushed == 0)
		return true;
	return all > CAPACITY && pushed < all && pushed % CAPACITY == all % CAPACITY;
}

static int64_t popped_by(const struct scene *scene)
{
	return scene->subject->effect != POP ? 0
	       : scene->result_known ? scene->note->out_count : scene->learned_count;
}

static bool drain(struct scene *scene, struct shmkit_ring *ring, uint8_t ids[64], unsigned *ret_count)
{
	struct element element;
	unsigned count = 0;
	int result;

	while ((result = shmkit_ring_pop(ring, &element)) == 0) {
		if (!element_is_whole(&element) || count > CAPACITY)
			return wrong(scene, "an element is torn, or they do not end");
		ids[count++] = (uint8_t)element.id;
	}
	*ret_count = count;
	if (result == -ESHUTDOWN && (scene->state == SHUT || scene->subject->effect == END))
		return true;
	return is(scene, "when drained: ring_pop", result, -EAGAIN);
}

/* What came is the end of what was there, and of what the victim has pushed. */
static bool compare_order(struct scene *scene, const uint8_t *ids, unsigned count, int64_t pushed)
{
	uint8_t all[64];
	unsigned length = 0;

	for (unsigned id = 0; id < PEERS_FIRST; id++)
		if (scene->present & BIT(id))
			all[length++] = (uint8_t)id;
	for (int64_t i = 0; i < pushed; i++)
		all[length++] = (uint8_t)(ADDED_FIRST + (unsigned)i);
	if (count > length || memcmp(all + length - count, ids, count) != 0)
		return wrong(scene, "%u elements came, the first with id %u, which are not the last of those "
				    "that were pushed", count, count ? ids[0] : 0);
	return true;
}

static bool compare_sets(struct scene *scene, const uint8_t *ids, unsigned count)
{
	uint64_t seen = scene->touched;

	for (uint32_t i = 0; i < scene->note->out_count && !scene->note->unseen; i++) {
		if (seen & BIT(scene->note->out[i]))
			return wrong(scene, "element %llu came twice",
				     (unsigned long long)scene->note->out[i]);
		seen |= BIT(scene->note->out[i]);
	}
	for (unsigned i = 0; i < count; i++) {
		if (seen & BIT(ids[i]))
			return wrong(scene, "element %u came twice", ids[i]);
		seen |= BIT(ids[i]);
		if (!(scene->present & BIT(ids[i])) && ids[i] < ADDED_FIRST)
			return wrong(scene, "element %u was not pushed", ids[i]);
	}
	return true;
}

static bool compare(struct scene *scene, struct shmkit_ring *ring, const uint8_t *ids, unsigned count)
{
	int64_t pushed = (int64_t)shmkit_ring_total_pushed(ring) -
			 (int64_t)(scene->expected[0] + scene->expected[2]);
	int64_t dropped = (int64_t)shmkit_ring_total_dropped(ring) - (int64_t)scene->expected[1];
	int64_t held = __builtin_popcountll(scene->present), popped = popped_by(scene);
	int64_t taken = __builtin_popcountll(scene->touched);
	bool overwrites = scene->subject->effect == OVERWRITE;

	if (!is_piece(scene, pushed))
		return wrong(scene, "%lld were pushed by the victim, no whole batch", (long long)pushed);
	if (dropped < 0 || (dropped > 0 && !overwrites))
		return wrong(scene, "%lld were dropped", (long long)dropped);
	held += pushed - dropped - taken;
	if (held != count && !(held - popped == count))
		return wrong(scene, "%u came of %lld: %lld pushed and %lld dropped since", count,
			     (long long)held, (long long)pushed, (long long)dropped);
	if (scene->result_known && held - popped != count)
		return wrong(scene, "%u came of %lld, and the victim had %lld", count, (long long)held,
			     (long long)popped);
	if (!scene->result_known || scene->expected[2] + (uint64_t)taken == 0)
		return compare_order(scene, ids, count, pushed);
	return compare_sets(scene, ids, count);
}

/* The observer sees every element, or is told how many it missed. */
static bool audit_reader(struct scene *scene)
{
	uint64_t total = shmkit_ring_total_pushed(scene->fresh.ring), lost = 0, seen = 0, missed = 0;
	struct element got[CAPACITY];
	int64_t count;

	while ((count = shmkit_ring_reader_read(scene->peer.reader, got, CAPACITY, &lost)) > 0) {
		for (int64_t i = 0; i < count; i++)
			if (!element_is_whole(&got[i]))
				return wrong(scene, "the observer got a torn element");
		seen += (uint64_t)count;
		missed += lost;
	}
	if (count == 0)
		missed += lost;
	else if (count != -ESHUTDOWN)
		return fine(scene, "ring_reader_read", count);
	if (scene->expected[3] + seen + missed != total && count == 0)
		return wrong(scene, "the observer saw %llu from %llu on and missed %llu; %llu were pushed",
			     (unsigned long long)seen, (unsigned long long)scene->expected[3],
			     (unsigned long long)missed, (unsigned long long)total);
	count = shmkit_ring_last(scene->fresh.ring, got, 1);
	if (count == 1 && !element_is_whole(&got[0]))
		return wrong(scene, "ring_last gave a torn element");
	return fine(scene, "ring_last", count);
}

static bool all_of_it(struct scene *scene, struct shmkit_ring *ring)
{
	struct element element;
	bool may_be_shut = scene->state == SHUT || scene->subject->effect == END;
	int result;

	for (uint64_t i = 0; i < CAPACITY; i++) {
		fill_element(&element, i);
		result = shmkit_ring_push(ring, &element);
		if (result == -ESHUTDOWN && may_be_shut && i == 0)
			return true;
		if (!is(scene, "filling: ring_push", result, 0))
			return false;
	}
	if (scene->state == SHUT)
		return wrong(scene, "it is open again");
	if (!is(scene, "when full: ring_push", shmkit_ring_push(ring, &element), -EAGAIN))
		return false;
	for (uint64_t i = 0; i < CAPACITY; i++)
		if (!is(scene, "emptying: ring_pop", shmkit_ring_pop(ring, &element), 0) ||
		    !is(scene, "order", (int64_t)element.id, (int64_t)i) || !element_is_whole(&element))
			return wrong(scene, "an element is torn");
	return is(scene, "when empty: ring_pop", shmkit_ring_pop(ring, &element), -EAGAIN);
}

bool ring_audit(struct scene *scene)
{
	bool on_contact = scene->variant % 4 == 3;
	uint8_t ids[64];
	unsigned count = 0;

	/* one who was there before takes what the dead held on contact */
	look(scene->peer.segment, on_contact);
	if (!on_contact && !fresh_segment(scene))
		return false;
	if (on_contact) {
		if (!drain(scene, scene->peer.ring, ids, &count) ||
		    !compare(scene, scene->peer.ring, ids, count) || !all_of_it(scene, scene->peer.ring) ||
		    !fresh_segment(scene))
			return false;
	}
	shmkit_ring_close(scene->peer.ring);
	scene->peer.ring = NULL;
	if (!fine(scene, "ring_open",
		  shmkit_ring_open(scene->fresh.segment, "r", ELEMENT, &scene->fresh.ring)))
		return false;
	if (!on_contact && (!drain(scene, scene->fresh.ring, ids, &count) ||
			    !compare(scene, scene->fresh.ring, ids, count)))
		return false;
	note_worst(scene);
	return audit_reader(scene) && all_of_it(scene, scene->fresh.ring) &&
	       audit_segment(scene, scene->fresh.segment, 2);
}

/* ---- while the victim is stopped ---- */

static bool peer_pushes(struct scene *scene, struct shmkit_ring *ring)
{
	struct element element;
	int64_t result = 0;

	fill_element(&element, PEERS_FIRST + scene->expected[2]);
	if (!TIMED(scene, 100, result = shmkit_ring_push(ring, &element)))
		return false;
	if (result == 0)
		scene->present |= BIT(PEERS_FIRST + scene->expected[2]++);
	fill_element(&element, PEERS_FIRST + scene->expected[2]);
	if (!TIMED(scene, 150, result = shmkit_ring_push_bulk_wait(ring, &element, 1, 1000000)))
		return false;
	if (result == 1)
		scene->present |= BIT(PEERS_FIRST + scene->expected[2]++);
	return true;
}

static bool peer_pops(struct scene *scene, struct shmkit_ring *ring)
{
	struct element element;
	int result = 0;

	for (unsigned i = 0; i < 2; i++) {
		if (!TIMED(scene, 50, result = i ? shmkit_ring_pop_wait(ring, &element, 1000000)
						 : shmkit_ring_pop(ring, &element)))
			return false;
		if (result)
			continue;
		if (!element_is_whole(&element) || (scene->touched & BIT(element.id)))
			return wrong(scene, "frozen: a torn element, or one that came twice");
		scene->touched |= BIT(element.id);
	}
	return true;
}

bool ring_peers(struct scene *scene)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_ring *ring = scene->peer.ring, *second = NULL;
	struct element got[2];
	uint64_t lost;

	if (!peer_pops(scene, ring) || !peer_pushes(scene, ring) || !peer_pops(scene, ring) ||
	    !peer_pushes(scene, ring) || !TIMED(scene, 50, shmkit_ring_last(ring, got, 2)) ||
	    !TIMED(scene, 50, shmkit_ring_size(ring)) || !TIMED(scene, 50,
								shmkit_ring_get_info(ring, &info)) ||
	    !TIMED(scene, 50, shmkit_ring_open(scene->peer.segment, "r", ELEMENT, &second)))
		return false;
	call_begins();
	shmkit_ring_close(second);
	if (!call_ends(scene, "shmkit_ring_close", 0, 50))
		return false;
	/* an observer of its own, so that the worker's has its account to itself */
	if (!TIMED(scene, 50, shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_OLDEST, &scene->fresh.reader)) ||
	    !TIMED(scene, 50, shmkit_ring_reader_wait(scene->fresh.reader, got, 2, &lost, 1000000)))
		return false;
	shmkit_ring_reader_close(scene->fresh.reader);
	scene->fresh.reader = NULL;
	/* the roles go back: the victim may want them, and the audit */
	shmkit_ring_close(scene->peer.ring);
	scene->peer.ring = NULL;
	return TIMED(scene, 50, shmkit_ring_open(scene->peer.segment, "r", ELEMENT, &scene->peer.ring)) &&
	       peers_table(scene, scene->peer.segment);
}

/* ---- a consumer that is blocked ---- */

static int64_t consume(struct scene *scene, struct blocked *blocked)
{
	struct element element;
	uint64_t until = now_ns() + UINT64_C(3000000000);
	int result = shmkit_ring_open(scene->own.segment, "r", ELEMENT, &scene->own.ring);

	while (!result && !(blocked->taken & BIT(SENTINEL))) {
		result = shmkit_ring_pop_wait(scene->own.ring, &element, INT64_C(3000000000));
		/* the victim has the role: for as long as it lives */
		if (result == -EBUSY && now_ns() < until) {
			nap_ms(1);
			result = 0;
			continue;
		}
		if (!result && (!element_is_whole(&element) || (blocked->taken & BIT(element.id % 64))))
			result = -EBADMSG;
		if (!result)
			blocked->taken |= BIT(element.id % 64);
	}
	return result;
}

bool ring_block(struct scene *scene)
{
	return scene->state != SHUT && scene->subject->effect != END && blocked_start(scene, consume);
}

bool ring_unblock(struct scene *scene)
{
	const struct blocked *blocked;
	struct element element;

	fill_element(&element, SENTINEL);
	if (!is(scene, "a peer's ring_push_bulk_wait",
		shmkit_ring_push_bulk_wait(scene->peer.ring, &element, 1, LIMIT_MS * (int64_t)NS_PER_MS), 1))
		return false;
	scene->expected[2]++;
	scene->present |= BIT(SENTINEL);
	if (!blocked_end(scene, &blocked))
		return false;
	scene->touched = blocked->taken;
	/* without the role */
	shmkit_ring_close(scene->peer.ring);
	scene->peer.ring = NULL;
	return fine(scene, "ring_open",
		    shmkit_ring_open(scene->peer.segment, "r", ELEMENT, &scene->peer.ring));
}
