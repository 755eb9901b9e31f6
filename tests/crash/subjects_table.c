/*
 * Names: made, opened, closed, removed, for every kind. The name in question is "x"; others are
 * there as the state has it. The segment has four entries.
 *
 *	present   1: "x" is there before the call
 *	touched   1: the worker has tried to make "x" while the victim was stopped
 *	expected  [0] entries that are LIVE, [1] entries that can be made yet
 */
#include "blocked.h"
#include "kinds.h"

#include <stdio.h>

#define ENTRIES 4u

enum { EMPTY, ONE, NEARLY, FULL, EXISTS, GAP, HELD, DEAD_HOLDER, TIGHT };

static const char *const states[] = {
	[EMPTY] = "empty", [ONE] = "one", [NEARLY] = "nearly_full", [FULL] = "full", [EXISTS] = "exists",
	[GAP] = "gap", [HELD] = "removed_held", [DEAD_HOLDER] = "removed_dead", [TIGHT] = "no_space", NULL,
};

/* The effect of a subject is one of these, and the number of its kind times 16. */
enum effect { NOTHING, MAKE, OPEN, EITHER, CLOSE, REMOVE };

static enum effect effect(const struct scene *scene)
{
	return (enum effect)(scene->subject->effect % 16);
}

static const struct kind *kind(const struct scene *scene)
{
	return &kinds[scene->subject->effect / 16];
}

/* ---- setting up ---- */

static bool make(struct scene *scene, const char *name, uint64_t elements)
{
	struct shmkit_array *array;

	if (!is(scene, "array_create",
		shmkit_array_create(scene->peer.segment, name, 8, elements, NULL, &array), 0))
		return false;
	shmkit_array_close(array);
	return true;
}

static bool make_x(struct scene *scene)
{
	if (!is(scene, "create", kind(scene)->create(scene->peer.segment, "x", &scene->peer.other), 0))
		return false;
	return true;
}

static bool drop(struct scene *scene, const char *name)
{
	return is(scene, "segment_remove", shmkit_segment_remove(scene->peer.segment, name), 0);
}

static bool build_state(struct scene *scene)
{
	static const char *const names[ENTRIES] = { "a", "b", "c", "d" };
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	unsigned count = scene->state == ONE ? 1 : scene->state == NEARLY || scene->state == GAP ? 3
			 : scene->state == FULL ? ENTRIES : 0;

	for (unsigned i = 0; i < count; i++)
		if (!make(scene, names[i], 40))
			return false;
	switch (scene->state) {
	case EXISTS:
		scene->present = 1;
		return make(scene, "a", 40) && make_x(scene);
	case GAP:
		return drop(scene, "b");
	case HELD:
		/* the worker holds what had the name */
		return make(scene, "a", 40) && make_x(scene) && drop(scene, "x");
	case DEAD_HOLDER:
		/* the victim's child will hold it, and die */
		if (!make(scene, "a", 40))
			return false;
		scene->used = space_used(scene->peer.segment);
		if (!make_x(scene))
			return false;
		kind(scene)->close(scene->peer.other);
		scene->peer.other = NULL;
		return true;
	case TIGHT:
		return fine(scene, "get_info", shmkit_segment_get_info(scene->peer.segment, &info)) &&
		       make(scene, "a", (info.size - info.used) / 8);
	default:
		return true;
	}
}

static bool build(struct scene *scene)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	if (!scene_segment(scene, 0) || !build_state(scene) ||
	    !fine(scene, "get_info", shmkit_segment_get_info(scene->peer.segment, &info)))
		return false;
	scene->entries = info.entries - (scene->state == DEAD_HOLDER);
	if (!scene->used)
		scene->used = info.used;
	scene->expected[1] = ENTRIES - scene->entries - (scene->state == HELD);
	return true;
}

/* In the victim, while its child holds "x". */
static int64_t die_holding(struct scene *scene)
{
	void *handle;
	int result = kind(scene)->open(scene->own.segment, "x", &handle);

	return result ? result : shmkit_segment_remove(scene->own.segment, "x");
}

static bool join(struct scene *scene)
{
	if (!own_segment(scene))
		return false;
	return scene->state != DEAD_HOLDER || leave_dead(scene, die_holding);
}

/* ---- what is done to them ---- */

static int64_t call_create(struct scene *scene)
{
	return kind(scene)->create(scene->own.segment, "x", &scene->own.other);
}

static int64_t call_open(struct scene *scene)
{
	return kind(scene)->open(scene->own.segment, "x", &scene->own.other);
}

static int64_t call_either(struct scene *scene)
{
	return kind(scene)->open_or_create(scene->own.segment, "x", &scene->own.other);
}

static bool ready_close(struct scene *scene)
{
	if (scene->present)
		return kind(scene)->open(scene->own.segment, "x", &scene->own.other) == 0;
	/* with nothing of its own in the model */
	return scene->state == EMPTY || scene->state == DEAD_HOLDER ||
	       kinds[0].open(scene->own.segment, "x", &scene->own.other) == -ENOENT;
}

static int64_t call_close(struct scene *scene)
{
	kind(scene)->close(scene->own.other);
	return 0;
}

static int64_t call_remove(struct scene *scene)
{
	return shmkit_segment_remove(scene->own.segment, "x");
}

static int64_t call_wait_for(struct scene *scene)
{
	return shmkit_segment_wait_for(scene->own.segment, "x", 2000000);
}

static int64_t call_recover(struct scene *scene)
{
	return shmkit_segment_recover(scene->own.segment, NULL);
}

static int64_t call_write(struct scene *scene)
{
	static const char bytes[3 * ELEMENT] = "what is written";

	return scene->own.other ? shmkit_array_write(scene->own.other, 2, 3, bytes) : 0;
}

static int64_t call_read(struct scene *scene)
{
	char bytes[3 * ELEMENT];

	return scene->own.other ? shmkit_array_read(scene->own.other, 2, 3, bytes) : 0;
}

/* ---- audit ---- */

static bool may_exist(const struct scene *scene)
{
	int64_t result = scene->result_known ? scene->note->result : scene->learned;

	if (effect(scene) == REMOVE)
		return scene->present && !(scene->result_known && result == 0);
	return scene->present || scene->touched ||
	       ((effect(scene) == MAKE && result == 0) || (effect(scene) == EITHER && result == 1));
}

static bool must_exist(const struct scene *scene)
{
	if (scene->present)
		return effect(scene) != REMOVE || (scene->result_known && scene->note->result != 0);
	return scene->result_known && may_exist(scene) && !scene->touched;
}

/* "x" is whole, or not there and can be made; then it is as it was before. */
static bool audit_name(struct scene *scene, struct shmkit_segment *segment)
{
	const struct kind *x = kind(scene);
	void *handle = NULL;
	int result = x->open(segment, "x", &handle);
	bool exists = result == 0;

	if (!exists && result != -ENOENT)
		return wrong(scene, "opening the name: %d, %s", result, shmkit_last_error());
	if (exists ? !may_exist(scene) : must_exist(scene))
		return wrong(scene, "the name is %s", exists ? "there" : "gone");
	if (!exists) {
		result = x->create(segment, "x", &handle);
		if (result && !(result == -ENOSPC && (scene->state == FULL || scene->state == TIGHT)))
			return wrong(scene, "making the name again: %d, %s", result, shmkit_last_error());
	}
	if (handle && effect(scene) != NOTHING && !x->is_new(handle))
		return wrong(scene, "it is not as its creator left it");
	if (handle && effect(scene) == NOTHING && strncmp(scene->subject->name, "array", 5) != 0 &&
	    !x->is_new(handle))
		return wrong(scene, "it is not as its creator left it");
	x->close(handle);
	if (!handle || (scene->present && effect(scene) != REMOVE))
		return true;
	if (!is(scene, "segment_remove", shmkit_segment_remove(segment, "x"), 0))
		return false;
	if (scene->present) {
		/* it was there before, and there is one less now */
		scene->entries--;
		scene->expected[1]++;
		scene->used = 0;
	}
	return true;
}

static bool all_of_it(struct scene *scene, struct shmkit_segment *segment)
{
	struct shmkit_array *array;
	unsigned count = 0;
	char name[16];
	int result;

	for (;; count++) {
		snprintf(name, sizeof(name), "f%u", count);
		result = shmkit_array_create(segment, name, 8, 8, NULL, &array);
		if (result)
			break;
		shmkit_array_close(array);
	}
	if (result != -ENOSPC || count != (scene->state == TIGHT ? 0 : scene->expected[1]))
		return wrong(scene, "%u entries could be made where %llu are free: %d, %s", count,
			     (unsigned long long)scene->expected[1], result, shmkit_last_error());
	while (count-- > 0) {
		snprintf(name, sizeof(name), "f%u", count);
		if (!is(scene, "segment_remove", shmkit_segment_remove(segment, name), 0))
			return false;
	}
	return true;
}

/* A peer that wants the same name waits for who is making it, and finds out that he is dead. */
static bool audit_contact(struct scene *scene)
{
	void *handle = NULL;
	int result = kind(scene)->open_or_create(scene->peer.segment, "x", &handle);
	uint64_t took = since_death_ns(scene) / NS_PER_MS;

	if (result < 0 && !(result == -ENOSPC && (scene->state == FULL || scene->state == TIGHT)))
		return fine(scene, "open_or_create by a peer", result);
	if (took > LIMIT_MS)
		return wrong(scene, "a peer got the name after %llu ms", (unsigned long long)took);
	if (result >= 0 && result != 1 && !may_exist(scene))
		return wrong(scene, "a peer found the name");
	kind(scene)->close(handle);
	if (result == 1 && must_exist(scene))
		return wrong(scene, "the name was gone");
	return result != 1 || is(scene, "segment_remove", shmkit_segment_remove(scene->peer.segment, "x"), 0);
}

/* A peer that has not looked for the dead wants the last entry, which one of them may have had. */
static bool audit_room(struct scene *scene)
{
	struct shmkit_array *array = NULL;
	int result = shmkit_array_create(scene->peer.segment, "y", 8, 8, NULL, &array);
	void *handle = NULL;

	shmkit_array_close(array);
	if (result == 0)
		return is(scene, "segment_remove", shmkit_segment_remove(scene->peer.segment, "y"), 0);
	if (result != -ENOSPC)
		return fine(scene, "array_create by a peer", result);
	result = kind(scene)->open(scene->peer.segment, "x", &handle);
	kind(scene)->close(handle);
	return result == 0 || wrong(scene, "a peer found no room, and \"x\" is not there: %d", result);
}

static bool audit(struct scene *scene)
{
	bool on_contact = scene->variant % 16 == 3 && !scene->result_known && effect(scene) != REMOVE &&
			  !scene->present;

	look(scene->peer.segment, on_contact);
	if (on_contact && !audit_contact(scene))
		return false;
	if (scene->state == NEARLY && scene->variant % 16 >= 8 && !audit_room(scene))
		return false;
	if (on_contact)
		note_worst(scene);
	if (!fresh_segment(scene) || !audit_name(scene, scene->fresh.segment))
		return false;
	note_worst(scene);
	if (scene->present && scene->peer.other && scene->state == EXISTS && effect(scene) == REMOVE) {
		kind(scene)->close(scene->peer.other);
		scene->peer.other = NULL;
	}
	return all_of_it(scene, scene->fresh.segment) && audit_segment(scene, scene->fresh.segment, 2);
}

/* ---- while the victim is stopped ---- */

static int64_t grow(struct shmkit_segment *segment)
{
	return shmkit_segment_grow(segment, 64u << 10);
}

static bool peers(struct scene *scene)
{
	struct shmkit_segment *segment = scene->peer.segment;
	struct beside growth = { .what = "shmkit_segment_grow", .call = grow, .segment = segment,
				 .bound_ms = 2050 };
	void *handle = NULL;
	bool good;

	if (!TIMED(scene, 50, kind(scene)->open(segment, "x", &handle)) || !beside_begins(scene, &growth))
		return false;
	kind(scene)->close(handle);
	good = peers_table(scene, segment);
	if (!beside_ends(scene, &growth) || !good)
		return false;
	/* who makes it and is stopped is waited for 30 s */
	if (scene->variant % 64 == 0 && effect(scene) != REMOVE) {
		int result = 0;

		handle = NULL;
		if (!TIMED(scene, 34100, result = kind(scene)->open_or_create(segment, "x", &handle)))
			return false;
		scene->touched = result >= 0;
		kind(scene)->close(handle);
	}
	return true;
}

/* ---- one who wants the same name ---- */

static int64_t want(struct scene *scene, struct blocked *blocked)
{
	void *handle = NULL;
	int result = kind(scene)->open_or_create(scene->own.segment, "x", &handle);

	(void)blocked;
	kind(scene)->close(handle);
	/* as it was */
	if (result == 1)
		result = shmkit_segment_remove(scene->own.segment, "x");
	return result == -ENOSPC && (scene->state == FULL || scene->state == TIGHT) ? 0 : result;
}

static bool block(struct scene *scene)
{
	return effect(scene) != REMOVE && blocked_start(scene, want);
}

static bool unblock(struct scene *scene)
{
	const struct blocked *blocked;

	return blocked_end(scene, &blocked);
}

static void finish(struct scene *scene)
{
	if (scene->peer.other)
		kind(scene)->close(scene->peer.other);
	scene->peer.other = NULL;
	close_hands(&scene->fresh);
	close_hands(&scene->peer);
}

static const struct family family = {
	.name = "table", .states = states, .build = build, .join = join, .audit = audit, .peers = peers,
	.finish = finish, .block = block, .unblock = unblock,
};

#define WITH_X (1u << EXISTS)
#define OF_KIND(name, number, two)                                                                        \
	{ &family, name "_create", call_create, NULL, MAKE + 16 * number, 0, two },                      \
	{ &family, name "_open", call_open, NULL, OPEN + 16 * number, 0, two },                          \
	{ &family, name "_open_or_create", call_either, NULL, EITHER + 16 * number, 0, false },          \
	{ &family, name "_close", call_close, ready_close, CLOSE + 16 * number, WITH_X, two }

static const struct subject subjects[] = {
	OF_KIND("array", 0, true), OF_KIND("queue", 1, false), OF_KIND("ring", 2, false),
	OF_KIND("pool", 3, false), OF_KIND("atomic_u32", 4, false), OF_KIND("atomic_i32", 5, false),
	OF_KIND("atomic_u64", 6, false), OF_KIND("atomic_i64", 7, false), OF_KIND("atomic_bool", 8, false),
	OF_KIND("atomic_f64", 9, false),
	{ &family, "segment_remove", call_remove, NULL, REMOVE, 0, true },
	{ &family, "segment_wait_for", call_wait_for, NULL, OPEN, 0, false },
	{ &family, "segment_recover_table", call_recover, NULL, OPEN, 0, true },
	{ &family, "array_write", call_write, ready_close, NOTHING, WITH_X, false },
	{ &family, "array_read", call_read, ready_close, NOTHING, WITH_X, false },
	{ 0 },
};

const struct subject *const table_subjects = subjects;
