/* The ideal structures, inline and behind a shared library; and a bare futex. */
#include "bench.h"
#include "ideal.h"
#include "loops.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct ideal_side *side(struct bench_link *link)
{
	return (struct ideal_side *)(void *)link->own;
}

static bool prepare_ring(struct bench_link *link)
{
	ideal_ring_init(link->memory, link->what->capacity);
	return true;
}

static bool attach_ring(struct bench_link *link)
{
	/* one for each side: a pair has both in one process */
	ideal_ring_attach(&side(link)[0], link->memory);
	ideal_ring_attach(&side(link)[1], link->memory);
	return true;
}

static bool prepare_vyukov(struct bench_link *link)
{
	vyukov_init(link->memory, link->what->capacity, link->what->element_size);
	return true;
}

/* ---- rings ---- */

#define push ring_push
#define pop ring_pop

static inline size_t ring_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	return ideal_ring_push(&side(link)[0], elements, n, size);
}

static inline size_t ring_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	return ideal_ring_pop(&side(link)[1], elements, n, size);
}

BENCH_LOOPS(ring_loop)

#undef push
#undef pop
#define push so_ring_push
#define pop so_ring_pop

static inline size_t so_ring_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	return ideal_so_ring_push(&side(link)[0], elements, n, size);
}

static inline size_t so_ring_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	return ideal_so_ring_pop(&side(link)[1], elements, n, size);
}

BENCH_LOOPS(so_ring_loop)

#undef push
#undef pop

/* One producer, one consumer. */
static bench_loop ring_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? ring_loop(what, role) : NULL;
}

static bench_loop so_ring_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? so_ring_loop(what, role) : NULL;
}

/* ---- Vyukov ---- */

#define push inline_vyukov_push
#define pop inline_vyukov_pop

static inline size_t inline_vyukov_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && vyukov_push(link->memory, (const unsigned char *)elements + done * size, size))
		done++;
	return done;
}

static inline size_t inline_vyukov_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && vyukov_pop(link->memory, (unsigned char *)elements + done * size, size))
		done++;
	return done;
}

BENCH_LOOPS(vyukov_loop)

#undef push
#undef pop
#define push so_vyukov_push
#define pop so_vyukov_pop

static inline size_t so_vyukov_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && ideal_so_vyukov_push(link->memory, (const unsigned char *)elements + done * size, size))
		done++;
	return done;
}

static inline size_t so_vyukov_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && ideal_so_vyukov_pop(link->memory, (unsigned char *)elements + done * size, size))
		done++;
	return done;
}

BENCH_LOOPS(so_vyukov_loop)

#undef push
#undef pop

/* ---- a bare futex: what sleeping and waking costs whoever does it ---- */

static inline size_t futex_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	uint32_t *word = link->memory;

	(void)elements;
	(void)n;
	(void)size;
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
	return 1;
}

static inline size_t futex_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	uint32_t *word = link->memory;

	(void)elements;
	(void)n;
	(void)size;
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == 0)
		syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
	__atomic_store_n(word, 0, __ATOMIC_RELAXED);
	return 1;
}

BENCH_TRIPS_OF(futex, futex_push, futex_pop, 8)

static bench_loop futex_loop(const struct bench_case *what, enum bench_role role)
{
	if (what->kind != BENCH_TRIP_WAIT && what->kind != BENCH_TRIP_ASLEEP)
		return NULL;
	return role == BENCH_PING ? futex_ping_8 : futex_pong_8;
}

const struct bench_subject bench_subjects_plain[] = {
	{ "ideal", prepare_ring, attach_ring, NULL, NULL, ring_if_single },
	{ "ideal_so", prepare_ring, attach_ring, NULL, NULL, so_ring_if_single },
	{ "vyukov", prepare_vyukov, NULL, NULL, NULL, vyukov_loop },
	{ "vyukov_so", prepare_vyukov, NULL, NULL, NULL, so_vyukov_loop },
	{ "futex", NULL, NULL, NULL, NULL, futex_loop },
	{ .name = NULL },
};
