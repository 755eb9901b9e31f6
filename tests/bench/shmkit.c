/* The library: every process opens the segment and the structure by name, as users do. */
#include "bench.h"

#include <shmkit.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loops.h"

struct own {
	struct shmkit_segment *segment;
	struct shmkit_ring *ring;
	struct shmkit_queue *queue;
	struct bench_crowd *crowd;
};

static struct own *own(struct bench_link *link)
{
	return (struct own *)(void *)link->own;
}

static bool said(int result)
{
	if (result < 0)
		fprintf(stderr, "bench: %s\n", shmkit_last_error());
	return result >= 0;
}

static _Noreturn void die(int64_t result)
{
	said((int)result);
	abort();
}

/* ---- segments ---- */

struct shmkit_segment *bench_make_segment(const struct bench_link *link, uint64_t size, uint32_t entries,
					  uint32_t flags)
{
	const struct bench_case *what = link->what;
	struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .flags = SHMKIT_SEGMENT_PERSIST | flags,
		.max_members = what->members > 128 ? what->members : 0,
	};
	struct shmkit_segment *segment;

	if (entries > 256) {
		options.table = SHMKIT_TABLE_CUSTOM;
		options.max_entries = entries;
		options.name_size = 64;
	} else if (entries) {
		options.table = SHMKIT_TABLE_LARGE;
	}
	if (size < what->segment_size)
		size = what->segment_size;
	if (!said(shmkit_segment_create(link->name, size, &options, &segment)))
		abort();
	return segment;
}

struct shmkit_segment *bench_open_segment(const struct bench_link *link, uint32_t flags)
{
	struct shmkit_segment *segment;

	if (!said(shmkit_segment_open(link->name, flags, &segment)))
		abort();
	return segment;
}

struct bench_crowd {
	uint32_t count;
	struct shmkit_segment *members[];
};

struct bench_crowd *bench_join_crowd(const struct bench_link *link)
{
	uint32_t count = link->worker == 0 && link->what->members ? link->what->members - 1 : 0;
	struct bench_crowd *crowd = count ? malloc(sizeof(*crowd) + count * sizeof(crowd->members[0])) : NULL;

	for (uint32_t i = 0; crowd && i < count; i++)
		crowd->members[i] = bench_open_segment(link, 0);
	if (crowd)
		crowd->count = count;
	return crowd;
}

void bench_leave_crowd(struct bench_crowd *crowd)
{
	for (uint32_t i = 0; crowd && i < crowd->count; i++)
		shmkit_segment_close(crowd->members[i]);
	free(crowd);
}

static bool prepare(struct bench_link *link, bool queue, uint32_t flags)
{
	const struct shmkit_object_options options = { .struct_size = sizeof(options), .flags = flags };
	const struct bench_case *what = link->what;
	struct shmkit_segment *segment;
	struct shmkit_queue *its_queue = NULL;
	struct shmkit_ring *its_ring = NULL;
	int result;

	segment = bench_make_segment(link, (UINT64_C(1) << 20) + 2 * what->capacity * (what->element_size + 16u), 0,
				     0);
	result = queue ? shmkit_queue_create(segment, "it", what->element_size, what->capacity, NULL, &its_queue)
		       : shmkit_ring_create(segment, "it", what->element_size, what->capacity, &options,
					    &its_ring);
	said(result);
	shmkit_queue_close(its_queue);
	shmkit_ring_close(its_ring);
	shmkit_segment_close(segment);
	return result == 0;
}

static bool prepare_ring(struct bench_link *link)
{
	return prepare(link, false, 0);
}

static bool prepare_multi_ring(struct bench_link *link)
{
	return prepare(link, false, SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER);
}

static bool prepare_queue(struct bench_link *link)
{
	return prepare(link, true, 0);
}

static bool attach_ring(struct bench_link *link)
{
	own(link)->crowd = bench_join_crowd(link);
	own(link)->segment = bench_open_segment(link, 0);
	return said(shmkit_ring_open(own(link)->segment, "it", link->what->element_size, &own(link)->ring));
}

static bool attach_queue(struct bench_link *link)
{
	own(link)->crowd = bench_join_crowd(link);
	own(link)->segment = bench_open_segment(link, 0);
	return said(shmkit_queue_open(own(link)->segment, "it", link->what->element_size, &own(link)->queue));
}

static void detach(struct bench_link *link)
{
	shmkit_ring_close(own(link)->ring);
	shmkit_queue_close(own(link)->queue);
	shmkit_segment_close(own(link)->segment);
	bench_leave_crowd(own(link)->crowd);
	*own(link) = (struct own){ .segment = NULL };
}

static void finish(struct bench_link *link)
{
	said(shmkit_segment_unlink(link->name));
}

/* 0 for what is full or empty at the moment; anything else has no place in a benchmark. */
static inline size_t counted(int64_t result)
{
	if (__builtin_expect(result >= 0, 1))
		return (size_t)result;
	if (result != -EAGAIN)
		die(result);
	return 0;
}

static inline size_t one(int result)
{
	return __builtin_expect(result == 0, 1) ? 1 : counted(result);
}

/* ---- rings ---- */

#define push ring_push
#define pop ring_pop

static inline size_t ring_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	(void)size;
	if (n > 1)
		return counted(shmkit_ring_push_bulk(own(link)->ring, elements, n));
	return one(shmkit_ring_push(own(link)->ring, elements));
}

static inline size_t ring_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	(void)size;
	if (n > 1)
		return counted(shmkit_ring_pop_bulk(own(link)->ring, elements, n));
	return one(shmkit_ring_pop(own(link)->ring, elements));
}

BENCH_LOOPS(ring_polls)

#undef push
#undef pop

static inline size_t ring_pop_wait(struct bench_link *link, void *elements, size_t n, size_t size)
{
	int result = shmkit_ring_pop_wait(own(link)->ring, elements, -1);

	(void)n;
	(void)size;
	if (result)
		die(result);
	return 1;
}

BENCH_TRIPS_OF(ring_waits, ring_push, ring_pop_wait, 8)

#define push ring_push
#define pop ring_pop_wait
BENCH_LOOPS_OF(ring_waits, 1, 8)
#undef push
#undef pop

static bench_loop ring_loop(const struct bench_case *what, enum bench_role role)
{
	if (what->kind == BENCH_TRIP_WAIT || what->kind == BENCH_TRIP_ASLEEP)
		return role == BENCH_PING ? ring_waits_ping_8 : ring_waits_pong_8;
	return ring_polls(what, role);
}

/* Who finds it empty sleeps, instead of trying again. (There is no waiting for room in a ring.) */
static bench_loop ring_waits_loop(const struct bench_case *what, enum bench_role role)
{
	BENCH_CHOICE(ring_waits, 1, 8);
	return NULL;
}

/* ---- queues ---- */

#define push queue_push
#define pop queue_pop

static inline size_t queue_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	(void)size;
	if (n > 1)
		return counted(shmkit_queue_enqueue_bulk(own(link)->queue, elements, n));
	return one(shmkit_queue_enqueue(own(link)->queue, elements));
}

static inline size_t queue_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	(void)size;
	if (n > 1)
		return counted(shmkit_queue_dequeue_bulk(own(link)->queue, elements, n));
	return one(shmkit_queue_dequeue(own(link)->queue, elements));
}

BENCH_LOOPS(queue_polls)

#undef push
#undef pop

static inline size_t queue_pop_wait(struct bench_link *link, void *elements, size_t n, size_t size)
{
	int result = shmkit_queue_dequeue_wait(own(link)->queue, elements, -1);

	(void)n;
	(void)size;
	if (result)
		die(result);
	return 1;
}

static inline size_t queue_push_wait(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	int result = shmkit_queue_enqueue_wait(own(link)->queue, elements, -1);

	(void)n;
	(void)size;
	if (result)
		die(result);
	return 1;
}

BENCH_TRIPS_OF(queue_waits, queue_push, queue_pop_wait, 8)

#define push queue_push_wait
#define pop queue_pop_wait
BENCH_LOOPS_OF(queue_waits, 1, 8)
#undef push
#undef pop

static bench_loop queue_loop(const struct bench_case *what, enum bench_role role)
{
	if (what->kind == BENCH_TRIP_WAIT || what->kind == BENCH_TRIP_ASLEEP)
		return role == BENCH_PING ? queue_waits_ping_8 : queue_waits_pong_8;
	return queue_polls(what, role);
}

/* Who finds it full or empty sleeps. */
static bench_loop queue_waits_loop(const struct bench_case *what, enum bench_role role)
{
	BENCH_CHOICE(queue_waits, 1, 8);
	return NULL;
}

const struct bench_subject bench_subjects_shmkit[] = {
	{ "shmkit_ring", prepare_ring, attach_ring, detach, finish, ring_loop },
	{ "shmkit_ring_mpmc", prepare_multi_ring, attach_ring, detach, finish, ring_loop },
	{ "shmkit_queue", prepare_queue, attach_queue, detach, finish, queue_loop },
	{ "shmkit_ring_waits", prepare_ring, attach_ring, detach, finish, ring_waits_loop },
	{ "shmkit_ring_mpmc_waits", prepare_multi_ring, attach_ring, detach, finish, ring_waits_loop },
	{ "shmkit_queue_waits", prepare_queue, attach_queue, detach, finish, queue_waits_loop },
	{ .name = NULL },
};
