/*
 * The loops of a subject that is a queue of some kind. Included where push() and pop() are defined:
 *
 *	static inline size_t push(struct bench_link *link, const void *elements, size_t n, size_t size);
 *	static inline size_t pop(struct bench_link *link, void *elements, size_t n, size_t size);
 *
 * how many of n went in or came out, at once. n and size are constants in every loop, so that what
 * is inlined is as good as if it had been written for them. BENCH_LOOPS(NAME) makes a function
 * bench_loop NAME(const struct bench_case *, enum bench_role).
 */
#ifndef BENCH_LOOPS_H
#define BENCH_LOOPS_H

#include "bench.h"

#include <string.h>

#define BENCH_INLINE inline __attribute__((always_inline))
#define BENCH_LOOP_BYTES 2048u              /* of the elements of one call */

typedef size_t (*bench_push)(struct bench_link *link, const void *elements, size_t n, size_t size);
typedef size_t (*bench_pop)(struct bench_link *link, void *elements, size_t n, size_t size);

static BENCH_INLINE void bench_push_all(struct bench_link *link, bench_push push, unsigned char *elements,
					size_t n, size_t size)
{
	size_t done = push(link, elements, n, size);

	while (__builtin_expect(done < n, 0)) {
		bench_pause();
		done += push(link, elements + done * size, n - done, size);
	}
}

static BENCH_INLINE void bench_pop_all(struct bench_link *link, bench_pop pop, unsigned char *elements, size_t n,
				       size_t size)
{
	size_t done = pop(link, elements, n, size);

	while (__builtin_expect(done < n, 0)) {
		bench_pause();
		done += pop(link, elements + done * size, n - done, size);
	}
}

/* count is a multiple of the batch. */
static BENCH_INLINE void bench_both(struct bench_link *link, bench_push push, bench_pop pop, uint64_t count,
				    size_t n, size_t size)
{
	alignas(64) unsigned char elements[BENCH_LOOP_BYTES];

	memset(elements, 1, sizeof(elements));
	for (uint64_t done = 0; done < count; done += n) {
		memcpy(elements, &done, sizeof(done));
		bench_push_all(link, push, elements, n, size);
		bench_pop_all(link, pop, elements, n, size);
		bench_keep(elements);
	}
}

static BENCH_INLINE void bench_produce(struct bench_link *link, bench_push push, uint64_t count, size_t n,
				       size_t size)
{
	alignas(64) unsigned char elements[BENCH_LOOP_BYTES];

	memset(elements, 1, sizeof(elements));
	for (uint64_t done = 0; done < count; done += n) {
		memcpy(elements, &done, sizeof(done));
		bench_keep(elements);
		bench_push_all(link, push, elements, n, size);
	}
}

static BENCH_INLINE void bench_consume(struct bench_link *link, bench_pop pop, uint64_t count, size_t n,
				       size_t size)
{
	alignas(64) unsigned char elements[BENCH_LOOP_BYTES];

	for (uint64_t done = 0; done < count;) {
		size_t wanted = count - done < n ? (size_t)(count - done) : n;
		size_t got = pop(link, elements, wanted, size);

		if (__builtin_expect(got == 0, 0))
			bench_pause();
		done += got;
		bench_keep(elements);
	}
}

static BENCH_INLINE void bench_ping(struct bench_link *links, bench_push push, bench_pop pop, uint64_t count,
				    size_t size)
{
	alignas(64) unsigned char element[BENCH_LOOP_BYTES] = { 0 };

	for (uint64_t done = 0; done < count; done++) {
		memcpy(element, &done, sizeof(done));
		if (links[0].what->kind == BENCH_TRIP_ASLEEP)
			bench_let_sleep(&links[0]);
		bench_push_all(&links[0], push, element, 1, size);
		bench_pop_all(&links[1], pop, element, 1, size);
	}
}

static BENCH_INLINE void bench_pong(struct bench_link *links, bench_push push, bench_pop pop, uint64_t count,
				    size_t size)
{
	alignas(64) unsigned char element[BENCH_LOOP_BYTES];

	for (uint64_t done = 0; done < count; done++) {
		bench_pop_all(&links[0], pop, element, 1, size);
		bench_push_all(&links[1], push, element, 1, size);
	}
}

#define BENCH_LOOPS_OF(NAME, n, size)                                                                     \
	static void NAME##_both_##n##_##size(struct bench_link *links, uint64_t count)                    \
	{                                                                                                 \
		bench_both(links, push, pop, count, n, size);                                             \
	}                                                                                                 \
	static void NAME##_produce_##n##_##size(struct bench_link *links, uint64_t count)                 \
	{                                                                                                 \
		bench_produce(links, push, count, n, size);                                               \
	}                                                                                                 \
	static void NAME##_consume_##n##_##size(struct bench_link *links, uint64_t count)                 \
	{                                                                                                 \
		bench_consume(links, pop, count, n, size);                                                \
	}

#define BENCH_TRIPS_OF(NAME, push, pop, size)                                                             \
	static void NAME##_ping_##size(struct bench_link *links, uint64_t count)                          \
	{                                                                                                 \
		bench_ping(links, push, pop, count, size);                                                \
	}                                                                                                 \
	static void NAME##_pong_##size(struct bench_link *links, uint64_t count)                          \
	{                                                                                                 \
		bench_pong(links, push, pop, count, size);                                                \
	}

#define BENCH_CHOICE(NAME, n, size)                                                                       \
	if (what->batch == n && what->element_size == size)                                               \
	return role == BENCH_BOTH ? NAME##_both_##n##_##size                                              \
	       : role == BENCH_PRODUCER ? NAME##_produce_##n##_##size                                     \
	       : role == BENCH_CONSUMER ? NAME##_consume_##n##_##size : (bench_loop)NULL

/* NAME: a loop function for pairs, flows and trips by polling. */
#define BENCH_LOOPS(NAME)                                                                                 \
	BENCH_LOOPS_OF(NAME, 1, 8)                                                                        \
	BENCH_LOOPS_OF(NAME, 1, 64)                                                                       \
	BENCH_LOOPS_OF(NAME, 32, 8)                                                                       \
	BENCH_LOOPS_OF(NAME, 32, 64)                                                                      \
	BENCH_TRIPS_OF(NAME, push, pop, 8)                                                                \
	static bench_loop NAME(const struct bench_case *what, enum bench_role role)                       \
	{                                                                                                 \
		if (what->kind == BENCH_TRIP)                                                             \
			return role == BENCH_PING ? NAME##_ping_8 : NAME##_pong_8;                        \
		if (what->kind != BENCH_PAIR && what->kind != BENCH_FLOW)                                 \
			return NULL;                                                                      \
		BENCH_CHOICE(NAME, 1, 8);                                                                 \
		BENCH_CHOICE(NAME, 1, 64);                                                                \
		BENCH_CHOICE(NAME, 32, 8);                                                                \
		BENCH_CHOICE(NAME, 32, 64);                                                               \
		return NULL;                                                                              \
	}

#endif
