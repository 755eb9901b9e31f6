/*
 * Rings of five elements, for one producer and one consumer, and (mp_*) for several. Elements are
 * known by ids: 0.. those that are there before the call, 20.. what the worker pushes while the
 * victim is stopped, 40.. what the victim's call is to push.
 *
 *	present   in the ring before the call, and what the worker has pushed since
 *	touched   taken by the worker, or a blocked peer, while the victim was stopped
 *	ids       the next one
 *	expected  [0] pushed, [1] dropped, before the call; [2] pushed by the worker since; [3] where the
 *	          worker's reader began
 */
#include "blocked.h"

#define CAPACITY 5u
#define MANY 12u
#define WAIT_NS INT64_C(2000000)
#define BIT(id) (UINT64_C(1) << (id))
#define PEERS_FIRST 20u
#define ADDED_FIRST 40u

enum {
	EMPTY, ONE, HALF, FULL, LAP, DROPPED, SHUT, DEAD_ROLES, MP_EMPTY, MP_HALF, MP_FULL, MP_LAP,
	MP_DROPPED, MP_DEAD,
};

static const char *const states[] = {
	[EMPTY] = "empty", [ONE] = "one", [HALF] = "half", [FULL] = "full", [LAP] = "lap",
	[DROPPED] = "dropped", [SHUT] = "shut", [DEAD_ROLES] = "dead_roles", [MP_EMPTY] = "mp_empty",
	[MP_HALF] = "mp_half", [MP_FULL] = "mp_full", [MP_LAP] = "mp_lap", [MP_DROPPED] = "mp_dropped",
	[MP_DEAD] = "mp_dead", NULL,
};

enum effect { NOTHING, PUSH, OVERWRITE, POP, END };

static bool is_mp(const struct scene *scene)
{
	return scene->state >= MP_EMPTY;
}

/* ---- setting up ---- */

static bool push(struct scene *scene, unsigned count, bool overwrite)
{
	struct element element;

	while (count-- > 0) {
		fill_element(&element, scene->ids);
		if (overwrite) {
			if (!fine(scene, "push_overwrite",
				  shmkit_ring_push_overwrite(scene->peer.ring, &element, 1)))
				return false;
			if (scene->ids >= CAPACITY)
				scene->present &= ~BIT(scene->ids - CAPACITY);
		} else if (!is(scene, "ring_push", shmkit_ring_push(scene->peer.ring, &element), 0)) {
			return false;
		}
		scene->present |= BIT(scene->ids);
		scene->ids++;
	}
	return true;
}

static bool pop(struct scene *scene, unsigned count)
{
	struct element element;

	while (count-- > 0) {
		if (!is(scene, "ring_pop", shmkit_ring_pop(scene->peer.ring, &element), 0))
			return false;
		scene->present &= ~BIT(element.id);
	}
	return true;
}

static bool build_state(struct scene *scene)
{
	switch (scene->state) {
	case ONE:
		return push(scene, 1, false);
	case HALF:
	case MP_HALF:
	case MP_DEAD:
		return push(scene, 3, false);
	case FULL:
	case MP_FULL:
		return push(scene, CAPACITY, false);
	case LAP:
	case MP_LAP:
		return push(scene, 4, false) && pop(scene, 4) && push(scene, 4, false);
	case DROPPED:
	case MP_DROPPED:
		return push(scene, CAPACITY + 2, true);
	case SHUT:
		return push(scene, 2, false) &&
		       is(scene, "ring_shutdown", shmkit_ring_shutdown(scene->peer.ring), 0);
	case DEAD_ROLES:
		/* the victim's child pushes the last and pops the first */
		if (!push(scene, 3, false))
			return false;
		scene->present = (scene->present & ~BIT(0)) | BIT(scene->ids);
		scene->ids++;
		return true;
	default:
		return true;
	}
}

static bool build(struct scene *scene)
{
	struct shmkit_object_options options = {
		.struct_size = sizeof(options),
		.flags = is_mp(scene) ? SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER : 0,
	};
	struct shmkit_segment *segment;

	if (!scene_segment(scene, 0))
		return false;
	segment = scene->peer.segment;
	if (!fine(scene, "ring_create", shmkit_ring_create(segment, "r", ELEMENT, CAPACITY, &options,
							    &scene->peer.ring)) ||
	    !build_state(scene))
		return false;
	scene->expected[0] = scene->ids;
	scene->expected[1] = shmkit_ring_total_dropped(scene->peer.ring);
	/* another handle, which has no role */
	shmkit_ring_close(scene->peer.ring);
	scene->peer.ring = NULL;
	if (!fine(scene, "ring_open", shmkit_ring_open(segment, "r", ELEMENT, &scene->peer.ring)) ||
	    !fine(scene, "reader_open", shmkit_ring_reader_open(scene->peer.ring, SHMKIT_READ_FROM_OLDEST,
								 &scene->peer.reader)))
		return false;
	scene->expected[3] = shmkit_ring_reader_position(scene->peer.reader);
	scene->entries = 1;
	scene->used = space_used(segment);
	return true;
}

static int64_t die_with_roles(struct scene *scene)
{
	struct element element;
	int64_t result;

	fill_element(&element, scene->ids - 1);
	result = shmkit_ring_push(scene->own.ring, &element);
	return result ? result : shmkit_ring_pop(scene->own.ring, &element);
}

static int64_t die_idle(struct scene *scene)
{
	return shmkit_segment_member_id(scene->own.segment);
}

static struct element elements[MANY];       /* the victim's own */

static bool join(struct scene *scene)
{
	for (unsigned i = 0; i < MANY; i++)
		fill_element(&elements[i], ADDED_FIRST + i);
	if (!own_segment(scene) || shmkit_ring_open(scene->own.segment, "r", ELEMENT, &scene->own.ring) != 0)
		return false;
	if (scene->state == DEAD_ROLES)
		return leave_dead(scene, die_with_roles);
	if (scene->state == MP_DEAD)
		return leave_dead(scene, die_idle);
	return true;
}

/* ---- what is done to them ---- */

static int64_t take_note(struct scene *scene, int64_t result, int64_t count)
{
	if (result >= 0)
		for (int64_t i = 0; i < count; i++)
			note_out(scene, element_is_whole(&elements[i]) ? elements[i].id : UINT64_C(63));
	return result;
}

static int64_t push_one(struct scene *scene)
{
	return shmkit_ring_push(scene->own.ring, elements);
}

static int64_t push_bulk(struct scene *scene)
{
	return shmkit_ring_push_bulk(scene->own.ring, elements, 3);
}

static int64_t push_bulk_wait(struct scene *scene)
{
	return shmkit_ring_push_bulk_wait(scene->own.ring, elements, 3, WAIT_NS);
}

static int64_t overwrite(struct scene *scene)
{
	return shmkit_ring_push_overwrite(scene->own.ring, elements, 3);
}

static int64_t overwrite_many(struct scene *scene)
{
	return shmkit_ring_push_overwrite(scene->own.ring, elements, MANY);
}

static int64_t pop_one(struct scene *scene)
{
	return take_note(scene, shmkit_ring_pop(scene->own.ring, elements), 1);
}

static int64_t pop_bulk(struct scene *scene)
{
	int64_t count = shmkit_ring_pop_bulk(scene->own.ring, elements, 2);

	return take_note(scene, count, count);
}

static int64_t pop_skip(struct scene *scene)
{
	int64_t count = shmkit_ring_pop_bulk(scene->own.ring, NULL, 2);

	scene->note->out_count = count > 0 ? (uint32_t)count : 0;
	return count;
}

static int64_t pop_wait(struct scene *scene)
{
	return take_note(scene, shmkit_ring_pop_wait(scene->own.ring, elements, WAIT_NS), 1);
}

static int64_t pop_bulk_wait(struct scene *scene)
{
	int64_t count = shmkit_ring_pop_bulk_wait(scene->own.ring, elements, 2, WAIT_NS);

	return take_note(scene, count, count);
}

static int64_t last(struct scene *scene)
{
	return shmkit_ring_last(scene->own.ring, elements, 3);
}

static int64_t end(struct scene *scene)
{
	return shmkit_ring_shutdown(scene->own.ring);
}

/* Holding a role: an empty ring gives it without an element, and so does a full one. */
static bool ready_role(struct scene *scene)
{
	if (scene->present == 0)
		(void)shmkit_ring_pop(scene->own.ring, elements);
	if (scene->state == FULL || scene->state == DROPPED)
		(void)shmkit_ring_push(scene->own.ring, elements);
	return true;
}

static int64_t close_ring(struct scene *scene)
{
	shmkit_ring_close(scene->own.ring);
	return 0;
}

static bool ready_reader(struct scene *scene)
{
	return shmkit_ring_reader_open(scene->own.ring, SHMKIT_READ_FROM_OLDEST, &scene->own.reader) == 0;
}

static int64_t read_some(struct scene *scene)
{
	uint64_t lost;

	return shmkit_ring_reader_read(scene->own.reader, elements, 3, &lost);
}

static int64_t read_wait(struct scene *scene)
{
	uint64_t lost;

	return shmkit_ring_reader_wait(scene->own.reader, elements, 3, &lost, WAIT_NS);
}

static int64_t recover(struct scene *scene)
{
	return shmkit_segment_recover(scene->own.segment, NULL);
}

/* ---- audit ---- */

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

	for (uint32_t i = 0; i < scene->note->out_count && scene->subject->call != pop_skip; i++) {
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

static bool audit(struct scene *scene)
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
	if (scene->killed_ns && now_ns() - scene->killed_ns > scene->worst_ns)
		scene->worst_ns = now_ns() - scene->killed_ns;
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

static bool peers(struct scene *scene)
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

static bool block(struct scene *scene)
{
	return scene->state != SHUT && scene->subject->effect != END && blocked_start(scene, consume);
}

static bool unblock(struct scene *scene)
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

static void finish(struct scene *scene)
{
	close_hands(&scene->fresh);
	close_hands(&scene->peer);
}

static const struct family family = {
	.name = "ring", .states = states, .build = build, .join = join, .audit = audit, .peers = peers,
	.finish = finish, .block = block, .unblock = unblock,
};

static const struct subject subjects[] = {
	{ &family, "ring_push", push_one, NULL, PUSH, 0, true },
	{ &family, "ring_push_bulk", push_bulk, NULL, PUSH, 0, true },
	{ &family, "ring_push_bulk_wait", push_bulk_wait, NULL, PUSH, 0, false },
	{ &family, "ring_push_overwrite", overwrite, NULL, OVERWRITE, 0, true },
	{ &family, "ring_push_overwrite_many", overwrite_many, NULL, OVERWRITE, 0, true },
	{ &family, "ring_pop", pop_one, NULL, POP, 0, true },
	{ &family, "ring_pop_bulk", pop_bulk, NULL, POP, 0, true },
	{ &family, "ring_pop_bulk_skip", pop_skip, NULL, POP, 0, false },
	{ &family, "ring_pop_wait", pop_wait, NULL, POP, 0, false },
	{ &family, "ring_pop_bulk_wait", pop_bulk_wait, NULL, POP, 0, false },
	{ &family, "ring_last", last, NULL, NOTHING, 0, false },
	{ &family, "ring_shutdown", end, NULL, END, 0, true },
	{ &family, "ring_close", close_ring, ready_role, NOTHING, 0, true },
	{ &family, "ring_reader_read", read_some, ready_reader, NOTHING, 0, false },
	{ &family, "ring_reader_wait", read_wait, ready_reader, NOTHING, 0, false },
	{ &family, "segment_recover_ring", recover, NULL, NOTHING, 0, true },
	{ 0 },
};

const struct subject *const ring_subjects = subjects;
