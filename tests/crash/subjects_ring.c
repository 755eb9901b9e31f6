/*
 * Rings: the states, and the calls. The model: ring_scene.h.
 */
#include "ring_scene.h"

#define WAIT_NS INT64_C(2000000)

static const char *const states[] = {
	[EMPTY] = "empty", [ONE] = "one", [HALF] = "half", [FULL] = "full", [LAP] = "lap",
	[DROPPED] = "dropped", [SHUT] = "shut", [DEAD_ROLES] = "dead_roles", [MP_EMPTY] = "mp_empty",
	[MP_HALF] = "mp_half", [MP_FULL] = "mp_full", [MP_LAP] = "mp_lap", [MP_DROPPED] = "mp_dropped",
	[MP_DEAD] = "mp_dead", NULL,
};

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
	scene->note->unseen = 1;
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

static void finish(struct scene *scene)
{
	close_hands(&scene->fresh);
	close_hands(&scene->peer);
}

static const struct family family = {
	.name = "ring", .states = states, .build = build, .join = join, .audit = ring_audit, .peers = ring_peers,
	.finish = finish, .block = ring_block, .unblock = ring_unblock,
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
