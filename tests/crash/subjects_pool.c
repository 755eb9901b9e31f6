/*
 * Pools of five objects, and (wide_*) of 66, whose hints have more than one word. Every object
 * holds its number.
 *
 *	expected  the handles of the objects there before the call, 0 where there is none
 *	ids       how many of them
 *	added     1: the victim's child, which died, owns the last one
 */
#include "scene.h"

#define SMALL 5u
#define WIDE 66u
#define KEPT 8u                             /* handles the model knows; of a wide pool the last ones */

enum { EMPTY, ONE, HALF, FULL, RELEASED, DEAD_OWNER, DEAD_OWNER_CLEAN, WIDE_EMPTY, WIDE_ONE_FREE, WIDE_FULL };

static const char *const states[] = {
	[EMPTY] = "empty", [ONE] = "one", [HALF] = "half", [FULL] = "full", [RELEASED] = "released",
	[DEAD_OWNER] = "dead_owner", [DEAD_OWNER_CLEAN] = "dead_owner_clean", [WIDE_EMPTY] = "wide_empty",
	[WIDE_ONE_FREE] = "wide_one_free", [WIDE_FULL] = "wide_full", NULL,
};

enum effect { NOTHING, ACQUIRE, RELEASE, ADOPT, RECLAIM };

static unsigned capacity(const struct scene *scene)
{
	return scene->state >= WIDE_EMPTY ? WIDE : SMALL;
}

static unsigned objects(const struct scene *scene)
{
	switch (scene->state) {
	case ONE:
	case DEAD_OWNER:
	case DEAD_OWNER_CLEAN:
		return 1;
	case HALF:
	case RELEASED:
		return 3;
	case FULL:
		return SMALL;
	case WIDE_ONE_FREE:
	case WIDE_FULL:
		return WIDE;
	default:
		return 0;
	}
}

/* ---- setting up ---- */

static bool acquire(struct scene *scene, struct shmkit_pool *pool, uint64_t *ret_handle)
{
	uint64_t *object;

	if (!is(scene, "pool_acquire", shmkit_pool_acquire(pool, ret_handle), 0))
		return false;
	object = shmkit_pool_get(pool, *ret_handle);
	if (!object)
		return wrong(scene, "pool_get of a new object: %s", shmkit_last_error());
	for (unsigned i = 0; i < ELEMENT / 8; i++)
		if (object[i] != 0)
			return wrong(scene, "a new object is not zero");
	fill_element((struct element *)object, *ret_handle);
	return true;
}

static bool build(struct scene *scene)
{
	uint64_t handle = 0;

	if (!scene_segment(scene, 0) ||
	    !fine(scene, "pool_create",
		  shmkit_pool_create(scene->peer.segment, "p", ELEMENT, capacity(scene), NULL,
							    &scene->peer.pool)))
		return false;
	for (unsigned i = 0; i < objects(scene); i++) {
		if (!acquire(scene, scene->peer.pool, &handle))
			return false;
		scene->expected[scene->ids++ % KEPT] = handle;
	}
	if (scene->state == RELEASED || scene->state == WIDE_ONE_FREE) {
		unsigned at = scene->state == RELEASED ? 1 : (unsigned)(scene->ids - 2) % KEPT;

		if (!is(scene, "pool_release", shmkit_pool_release(scene->peer.pool, scene->expected[at]), 0))
			return false;
		scene->expected[at] = 0;
		scene->ids--;
	}
	scene->entries = 1;
	scene->used = space_used(scene->peer.segment);
	return true;
}

static int64_t die_owning(struct scene *scene)
{
	uint64_t handle;

	return acquire(scene, scene->own.pool, &handle) ? (note_out(scene, handle), 0) : -1;
}

static bool join(struct scene *scene)
{
	if (!own_segment(scene) || shmkit_pool_open(scene->own.segment, "p", ELEMENT, &scene->own.pool) != 0)
		return false;
	if (scene->state == DEAD_OWNER || scene->state == DEAD_OWNER_CLEAN) {
		if (!leave_dead(scene, die_owning))
			return false;
		if (scene->state == DEAD_OWNER_CLEAN)
			return shmkit_segment_recover(scene->own.segment, NULL) == 0;
	}
	return true;
}

/* ---- what is done to them ---- */

static uint64_t chosen(const struct scene *scene)
{
	for (unsigned i = KEPT; i-- > 0;)
		if (scene->expected[i])
			return scene->expected[i];
	return UINT64_C(1) << 28;           /* a handle that never was */
}

static int64_t call_acquire(struct scene *scene)
{
	uint64_t handle;

	return shmkit_pool_acquire(scene->own.pool, &handle);
}

static int64_t call_release(struct scene *scene)
{
	return shmkit_pool_release(scene->own.pool, chosen(scene));
}

static int64_t call_adopt(struct scene *scene)
{
	return shmkit_pool_adopt(scene->own.pool,
				 scene->note->out_count ? scene->note->out[0] : chosen(scene));
}

static int64_t call_reclaim(struct scene *scene)
{
	return shmkit_pool_reclaim(scene->own.pool);
}

static bool ready_own(struct scene *scene)
{
	/* one of the victim's own, so that there is something to leave */
	if (scene->ids < capacity(scene))
		return die_owning(scene) == 0;
	return true;
}

static int64_t call_close(struct scene *scene)
{
	shmkit_pool_close(scene->own.pool);
	return 0;
}

static int64_t call_recover(struct scene *scene)
{
	return shmkit_segment_recover(scene->own.segment, NULL);
}

/* ---- audit ---- */

/* Every object there was, but one that was being released, is there, and is what it was. */
static bool audit_objects(struct scene *scene, struct shmkit_pool *pool, unsigned *ret_gone)
{
	for (unsigned i = 0; i < KEPT; i++) {
		uint64_t handle = scene->expected[i];
		struct element element;
		int result;

		if (!handle)
			continue;
		result = shmkit_pool_read(pool, handle, &element);
		if (result == -ESTALE && scene->subject->effect == RELEASE && handle == chosen(scene)) {
			++*ret_gone;
			continue;
		}
		if (!is(scene, "pool_read of an object", result, 0))
			return false;
		if (element.id != handle || !element_is_whole(&element))
			return wrong(scene, "an object is not what it was");
	}
	return true;
}

static bool audit_walk(struct scene *scene, struct shmkit_pool *pool, unsigned *ret_count, unsigned *ret_new)
{
	uint64_t cursor = 0, handle;
	int result;

	while ((result = shmkit_pool_next(pool, &cursor, &handle)) == 1) {
		const struct element *element = shmkit_pool_view(pool, handle);

		if (!element)
			return wrong(scene, "pool_view: %s", shmkit_last_error());
		/* all but one that was just made hold their handle */
		++*ret_count;
		*ret_new += element->id == 0;
		if (element->id != 0 && element->id != handle)
			return wrong(scene, "an object is not what it was");
	}
	return is(scene, "pool_next", result, 0);
}

static bool count_is_right(struct scene *scene, unsigned count, unsigned fresh, unsigned gone)
{
	int64_t result = scene->result_known ? scene->note->result : scene->learned;
	bool must = scene->result_known, acquires = scene->subject->effect == ACQUIRE && result == 0;
	bool releases = scene->subject->effect == RELEASE && result == 0;
	unsigned dead = scene->note->out_count, before = (unsigned)(scene->ids + scene->leased) + dead;

	if (scene->subject->effect == RECLAIM) {
		/* the dead owner's may be gone */
		if (count == before || (dead && count == before - 1))
			return true;
	} else if (count == before + fresh - gone && fresh <= acquires && gone <= releases &&
		   (!must || (fresh == acquires && gone == releases))) {
		return true;
	}
	return wrong(scene, "%u objects, %u of them new, %u released, where %u were", count, fresh, gone,
		     before);
}

static bool all_of_it(struct scene *scene, struct shmkit_pool *pool, unsigned there)
{
	static uint64_t handles[WIDE + 1];
	unsigned count = 0, room = capacity(scene) - there;
	int result;

	while (count <= room && (result = shmkit_pool_acquire(pool, &handles[count])) == 0)
		count++;
	if (count != room)
		return wrong(scene, "%u objects could be made where there is room for %u: %s", count, room,
			     shmkit_last_error());
	if (!is(scene, "pool_size", (int64_t)shmkit_pool_size(pool), capacity(scene)))
		return false;
	for (unsigned i = 0; i < count; i++)
		if (!is(scene, "pool_release", shmkit_pool_release(pool, handles[i]), 0) ||
		    !is(scene, "a second release", shmkit_pool_release(pool, handles[i]), -ESTALE))
			return false;
	return true;
}

static bool audit(struct scene *scene)
{
	bool on_contact = scene->variant % 4 == 3;
	unsigned count = 0, fresh = 0, gone = 0, owned;
	struct shmkit_pool *pool;
	int64_t reclaimed;

	look(scene->peer.segment, on_contact);
	/* a full pool is when a peer looks for the dead */
	if (on_contact && scene->state != FULL && scene->state != WIDE_FULL &&
	    scene->subject->effect != RECLAIM) {
		if (!audit_objects(scene, scene->peer.pool, &gone) ||
		    !audit_walk(scene, scene->peer.pool, &count, &fresh) ||
		    !count_is_right(scene, count, fresh, gone) || !all_of_it(scene, scene->peer.pool, count))
			return false;
		count = fresh = gone = 0;
	}
	if (!fresh_segment(scene) ||
	    !fine(scene, "pool_open",
		  shmkit_pool_open(scene->fresh.segment, "p", ELEMENT, &scene->fresh.pool)))
		return false;
	pool = scene->fresh.pool;
	if (!audit_objects(scene, pool, &gone) || !audit_walk(scene, pool, &count, &fresh) ||
	    !count_is_right(scene, count, fresh, gone) || !all_of_it(scene, pool, count))
		return false;
	note_worst(scene);
	/* what the dead owned goes, and nothing else; what was adopted may be the worker's or the dead's */
	reclaimed = shmkit_pool_reclaim(pool);
	owned = count - (unsigned)scene->ids - (unsigned)scene->leased + gone;
	if (reclaimed != owned && !(scene->subject->effect == ADOPT && reclaimed == owned + 1))
		return wrong(scene, "pool_reclaim: %lld where the dead own %u", (long long)reclaimed, owned);
	return all_of_it(scene, pool, count - (unsigned)reclaimed) &&
	       audit_segment(scene, scene->fresh.segment, 2);
}

/* ---- while the victim is stopped ---- */

static bool peers(struct scene *scene)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_pool *pool = scene->peer.pool, *second = NULL;
	uint64_t handle = 0, cursor = 0;
	uint32_t alive;
	int32_t pid;
	int result = 0;

	if (!TIMED(scene, 50, result = shmkit_pool_acquire(pool, &handle)))
		return false;
	if (result == 0) {
		if (!TIMED(scene, 50, result = shmkit_pool_adopt(pool, handle)) ||
		    !is(scene, "adopt", result, 0) ||
		    !TIMED(scene, 50, result = shmkit_pool_owner(pool, handle, &pid, &alive)) ||
		    !is(scene, "owner", result, 0) ||
		    !TIMED(scene, 50, result = shmkit_pool_release(pool, handle)) ||
		    !is(scene, "release", result, 0))
			return false;
	}
	if (!TIMED(scene, 50, shmkit_pool_next(pool, &cursor, &handle)) ||
	    !TIMED(scene, 50, shmkit_pool_size(pool)) || !TIMED(scene, 50,
								shmkit_pool_get_info(pool, &info)) ||
	    !TIMED(scene, 50, shmkit_pool_open(scene->peer.segment, "p", ELEMENT, &second)))
		return false;
	call_begins();
	shmkit_pool_close(second);
	return call_ends(scene, "shmkit_pool_close", 0, 50) && peers_table(scene, scene->peer.segment);
}

static void finish(struct scene *scene)
{
	close_hands(&scene->fresh);
	close_hands(&scene->peer);
}

static const struct family family = {
	.name = "pool", .states = states, .build = build, .join = join, .audit = audit, .peers = peers,
	.finish = finish,
};

static const struct subject subjects[] = {
	{ &family, "pool_acquire", call_acquire, NULL, ACQUIRE, 0, true },
	{ &family, "pool_release", call_release, NULL, RELEASE, 0, true },
	{ &family, "pool_adopt", call_adopt, NULL, ADOPT, 0, true },
	{ &family, "pool_reclaim", call_reclaim, NULL, RECLAIM, 0, true },
	{ &family, "pool_close", call_close, ready_own, NOTHING, 0, false },
	{ &family, "segment_recover_pool", call_recover, NULL, NOTHING, 0, false },
	{ 0 },
};

const struct subject *const pool_subjects = subjects;
