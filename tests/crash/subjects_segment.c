/*
 * The life of a segment: made, opened, grown, closed, unlinked. An array "m" tells whether it still
 * is the one that was there before.
 *
 *	present   1: the name is there before the call
 *	leased    members the worker has in it
 *	expected  [0] bytes it has, [1] bytes it may have after the call
 */
#include "scene.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE (64u << 10)
#define GROWN (96u << 10)
#define MEMBERS 6u
#define BIT(state) (1u << (state))

enum { ABSENT, ALIVE, LEFT_OVER, IDLE, PERSIST_DEAD, CROWDED, ALL_ALIVE };

static const char *const states[] = {
	[ABSENT] = "absent", [ALIVE] = "alive", [LEFT_OVER] = "left_over", [IDLE] = "persistent_idle",
	[PERSIST_DEAD] = "persistent_dead", [CROWDED] = "full_of_dead", [ALL_ALIVE] = "full", NULL,
};

enum effect { NOTHING, MAKE, REPLACE, OPEN, CLOSE, UNLINK, GROW };

static bool is_persistent(const struct scene *scene)
{
	return scene->state == IDLE || scene->state == PERSIST_DEAD;
}

static int make(const struct scene *scene, uint32_t flags, struct shmkit_segment **ret_segment)
{
	struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .flags = flags, .table = SHMKIT_TABLE_CUSTOM,
		.max_entries = 4, .name_size = 16, .max_members = MEMBERS, .max_size = 2 * SIZE,
	};

	return shmkit_segment_create(scene->name, SIZE, &options, ret_segment);
}

/* ---- setting up ---- */

static int make_marked(struct scene *scene, struct shmkit_segment **ret_segment)
{
	struct shmkit_array *array;
	int result = make(scene, is_persistent(scene) ? SHMKIT_SEGMENT_PERSIST : 0, ret_segment);

	if (!result)
		result = shmkit_array_create(*ret_segment, "m", 8, 8, NULL, &array);
	if (!result) {
		result = shmkit_array_write(array, 0, 1, "original");
		shmkit_array_close(array);
	}
	return result;
}

/* In a child, which dies when it is left open. */
static int64_t make_and_die(struct scene *scene)
{
	struct shmkit_segment *segment, *more;
	int result = make_marked(scene, &segment);

	for (unsigned i = 1; i < MEMBERS && scene->state == CROWDED && !result; i++)
		result = shmkit_segment_open(scene->name, 0, &more);
	if (scene->state == IDLE && !result)
		shmkit_segment_close(segment);
	return result;
}

static struct shmkit_segment *others[MEMBERS];

static bool build(struct scene *scene)
{
	scene->expected[0] = scene->expected[1] = SIZE;
	if (scene->subject->effect == GROW)
		scene->expected[1] = GROWN;
	scene->present = scene->state != ABSENT;
	if (scene->state == ABSENT)
		return true;
	scene->entries = 1;
	if (scene->state != ALIVE && scene->state != ALL_ALIVE)
		return leave_dead(scene, make_and_die) || wrong(scene, "no segment could be left");
	if (!is(scene, "segment_create", make_marked(scene, &scene->peer.segment), 0))
		return false;
	scene->leased = 1;
	for (; scene->state == ALL_ALIVE && scene->leased < MEMBERS; scene->leased++)
		if (!is(scene, "segment_open", shmkit_segment_open(scene->name, 0, &others[scene->leased]),
			0))
			return false;
	scene->used = space_used(scene->peer.segment);
	return true;
}

static bool join(struct scene *scene)
{
	switch (scene->subject->effect) {
	case NOTHING:
	case CLOSE:
	case GROW:
		return own_segment(scene);
	default:
		return true;
	}
}

/* ---- what is done to them ---- */

static int64_t call_create(struct scene *scene)
{
	return make(scene, 0, &scene->own.segment);
}

static int64_t call_replace(struct scene *scene)
{
	return make(scene, SHMKIT_SEGMENT_REPLACE_DEAD, &scene->own.segment);
}

static int64_t either(struct scene *scene, uint32_t flags)
{
	struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .flags = flags, .table = SHMKIT_TABLE_CUSTOM,
		.max_entries = 4, .name_size = 16, .max_members = MEMBERS, .max_size = 2 * SIZE,
	};

	return shmkit_segment_open_or_create(scene->name, SIZE, &options, &scene->own.segment);
}

static int64_t call_either(struct scene *scene)
{
	return either(scene, 0);
}

static int64_t call_either_replace(struct scene *scene)
{
	return either(scene, SHMKIT_SEGMENT_REPLACE_DEAD);
}

static int64_t call_open(struct scene *scene)
{
	return shmkit_segment_open(scene->name, 0, &scene->own.segment);
}

static int64_t call_open_wait(struct scene *scene)
{
	return shmkit_segment_open_wait(scene->name, 0, 2000000, &scene->own.segment);
}

static int64_t call_open_reader(struct scene *scene)
{
	return shmkit_segment_open(scene->name, SHMKIT_READ_ONLY, &scene->own.segment);
}

static int64_t call_open_fd(struct scene *scene)
{
	return shmkit_segment_open_fd(shmkit_segment_fd(scene->peer.segment), 0, &scene->own.segment);
}

static int64_t call_anonymous(struct scene *scene)
{
	return shmkit_segment_create_anonymous("crash", SIZE, NULL, &scene->own.segment);
}

static int64_t call_close(struct scene *scene)
{
	shmkit_segment_close(scene->own.segment);
	return 0;
}

static int64_t call_unlink(struct scene *scene)
{
	return shmkit_segment_unlink(scene->name);
}

static int64_t call_grow(struct scene *scene)
{
	return shmkit_segment_grow(scene->own.segment, GROWN);
}

static int64_t call_heartbeat(struct scene *scene)
{
	return shmkit_segment_heartbeat(scene->own.segment);
}

static int64_t call_label(struct scene *scene)
{
	return shmkit_segment_set_label(scene->own.segment, "a label of some length");
}

static int64_t call_recover(struct scene *scene)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };

	return shmkit_segment_recover(scene->own.segment, &report);
}

static int64_t call_interrupt(struct scene *scene)
{
	return shmkit_segment_interrupt(scene->own.segment);
}

/* A first call in a forked child, which joins. */
static bool ready_fork(struct scene *scene)
{
	(void)scene;
	return true;
}

static int64_t call_join(struct scene *scene)
{
	return shmkit_segment_member_id(scene->peer.segment);
}

/* ---- audit ---- */

static bool is_original(struct shmkit_segment *segment)
{
	struct shmkit_array *array;
	char text[8] = "";

	if (shmkit_array_open(segment, "m", 8, &array) != 0)
		return false;
	(void)shmkit_array_read(array, 0, 1, text);
	shmkit_array_close(array);
	return memcmp(text, "original", 8) == 0;
}

static bool may_be_gone(const struct scene *scene)
{
	bool frozen = scene->result_known && scene->touched;
	int effect = scene->subject->effect;

	return !scene->present || effect == UNLINK || frozen ||
	       ((effect == CLOSE || effect == OPEN || effect == NOTHING || effect == GROW) &&
		!scene->leased &&
		!is_persistent(scene) && scene->result_known && effect == CLOSE) ||
	       (effect == CLOSE && !scene->leased && !is_persistent(scene));
}

static bool audit_there(struct scene *scene)
{
	struct shmkit_segment *segment = scene->fresh.segment;
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	bool original = is_original(segment);
	int effect = scene->subject->effect;

	if (!scene->present && effect != MAKE && effect != REPLACE && !scene->touched)
		return wrong(scene, "a segment that nobody made is there");
	if (scene->present && !original && effect != REPLACE && !scene->touched)
		return wrong(scene, "it is not the segment that was there");
	if (!is(scene, "get_info", shmkit_segment_get_info(segment, &info), 0))
		return false;
	if (info.size != scene->expected[0] && info.size != scene->expected[1])
		return wrong(scene, "it has %llu bytes", (unsigned long long)info.size);
	scene->entries = original;
	if (!original)
		scene->used = 0;
	return audit_segment(scene, segment, (uint32_t)scene->leased + (scene->state != ALL_ALIVE));
}

/* What is left when everybody has gone. */
static bool audit_end(struct scene *scene, bool there)
{
	int result;

	close_hands(&scene->fresh);
	for (unsigned i = 1; i < MEMBERS; i++) {
		shmkit_segment_close(others[i]);
		others[i] = NULL;
	}
	close_hands(&scene->peer);
	result = shmkit_segment_unlink(scene->name);
	if (result == -ENOENT)
		return !is_persistent(scene) || may_be_gone(scene) || scene->subject->effect == REPLACE ||
		       wrong(scene, "a persistent segment went with its last member");
	if (result)
		return fine(scene, "segment_unlink", result);
	return is_persistent(scene) || wrong(scene, "the name stayed when the last member had left%s",
					     there ? "" : ", though it was gone before");
}

static bool audit(struct scene *scene)
{
	bool there;
	int result;

	/* with all ids taken by the living nobody comes in, but the dead one's is free again */
	result = shmkit_segment_open(scene->name, scene->state == ALL_ALIVE ? SHMKIT_READ_ONLY : 0,
				     &scene->fresh.segment);
	there = result == 0;
	if (!there && (result != -ENOENT || !may_be_gone(scene)))
		return wrong(scene, "opening the segment: %d, %s", result, shmkit_last_error());
	note_worst(scene);
	if (there && scene->state == ALL_ALIVE) {
		close_hands(&scene->fresh);
		scene->fresh.segment = scene->peer.segment;
		there = audit_there(scene);
		scene->fresh.segment = NULL;
		return there && audit_end(scene, true);
	}
	if (there && !audit_there(scene))
		return false;
	if (scene->peer.segment &&
	    !is(scene, "the worker's check", shmkit_segment_check(scene->peer.segment), 0))
		return false;
	return audit_end(scene, there);
}

/* ---- while the victim is stopped ---- */

static bool peers(struct scene *scene)
{
	struct shmkit_segment *segment = NULL, *reader = NULL;

	/* what a peer does may be what decides whether the name is there */
	scene->touched = 1;
	if (!TIMED(scene, 1050, shmkit_segment_open(scene->name, 0, &segment)) ||
	    !TIMED(scene, 1050, shmkit_segment_open(scene->name, SHMKIT_READ_ONLY, &reader)))
		return false;
	call_begins();
	shmkit_segment_close(reader);
	if (!call_ends(scene, "shmkit_segment_close", 0, 1050))
		return false;
	if (segment && !TIMED(scene, 50, shmkit_segment_check(segment)))
		return false;
	call_begins();
	shmkit_segment_close(segment);
	if (!call_ends(scene, "shmkit_segment_close", 0, 1050))
		return false;
	segment = NULL;
	if (!TIMED(scene, 2100, make(scene, SHMKIT_SEGMENT_REPLACE_DEAD, &segment)))
		return false;
	call_begins();
	shmkit_segment_close(segment);
	return call_ends(scene, "shmkit_segment_close", 0, 1050) &&
	       (!scene->peer.segment || scene->state == ALL_ALIVE || peers_table(scene, scene->peer.segment));
}

static void finish(struct scene *scene)
{
	close_hands(&scene->fresh);
	for (unsigned i = 1; i < MEMBERS; i++) {
		shmkit_segment_close(others[i]);
		others[i] = NULL;
	}
	close_hands(&scene->peer);
	(void)shmkit_segment_unlink(scene->name);
}

static const struct family family = {
	.name = "segment", .states = states, .build = build, .join = join, .audit = audit, .peers = peers,
	.finish = finish,
};

#define MEMBER (BIT(ALIVE) | BIT(LEFT_OVER) | BIT(IDLE) | BIT(PERSIST_DEAD) | BIT(CROWDED))

static const struct subject subjects[] = {
	{ &family, "segment_create", call_create, NULL, MAKE, 0, false },
	{ &family, "segment_create_replace", call_replace, NULL, REPLACE, 0, false },
	{ &family, "segment_open_or_create", call_either, NULL, MAKE, 0, false },
	{ &family, "segment_open_or_create_replace", call_either_replace, NULL, REPLACE, 0, false },
	{ &family, "segment_create_anonymous", call_anonymous, NULL, OPEN, BIT(ABSENT) | BIT(ALIVE), false },
	{ &family, "segment_open", call_open, NULL, OPEN, 0, false },
	{ &family, "segment_open_wait", call_open_wait, NULL, OPEN, 0, false },
	{ &family, "segment_open_read_only", call_open_reader, NULL, OPEN, 0, false },
	{ &family, "segment_open_fd", call_open_fd, NULL, OPEN, BIT(ALIVE) | BIT(ALL_ALIVE), false },
	{ &family, "segment_join_forked", call_join, ready_fork, OPEN, BIT(ALIVE) | BIT(ALL_ALIVE), false },
	{ &family, "segment_close", call_close, NULL, CLOSE, MEMBER, false },
	{ &family, "segment_unlink", call_unlink, NULL, UNLINK, 0, false },
	{ &family, "segment_grow", call_grow, NULL, GROW, MEMBER, false },
	{ &family, "segment_heartbeat", call_heartbeat, NULL, NOTHING, MEMBER, false },
	{ &family, "segment_set_label", call_label, NULL, NOTHING, MEMBER, false },
	{ &family, "segment_recover", call_recover, NULL, NOTHING, MEMBER, false },
	{ &family, "segment_interrupt", call_interrupt, NULL, NOTHING, MEMBER, false },
	{ 0 },
};

const struct subject *const segment_subjects = subjects;
