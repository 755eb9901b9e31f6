/* Concurrency Kit's ck_ring: one element a call, which is all it has. */
#include "loops.h"

#include <ck_ring.h>

struct e8 {
	uint64_t words[1];
};
struct e64 {
	uint64_t words[8];
};

CK_RING_PROTOTYPE(e8, e8)
CK_RING_PROTOTYPE(e64, e64)

static ck_ring_t *ring_of(struct bench_link *link)
{
	return link->memory;
}

static void *buffer_of(struct bench_link *link)
{
	return (unsigned char *)link->memory + 4096;
}

static bool prepare(struct bench_link *link)
{
	ck_ring_init(ring_of(link), (unsigned)link->what->capacity);
	return true;
}

#define OF(NAME, KIND)                                                                                    \
	static inline size_t NAME##_push(struct bench_link *link, const void *elements, size_t n,         \
					 size_t size)                                                     \
	{                                                                                                 \
		const unsigned char *next = elements;                                                     \
		size_t done = 0;                                                                          \
                                                                                                          \
		for (; done < n; done++, next += size)                                                    \
			if (!(size == 8 ? ck_ring_enqueue_##KIND##_e8(ring_of(link), buffer_of(link),     \
								       (struct e8 *)(uintptr_t)next)      \
					: ck_ring_enqueue_##KIND##_e64(ring_of(link), buffer_of(link),    \
									(struct e64 *)(uintptr_t)next)))  \
				break;                                                            \
		return done;                                                                              \
	}                                                                                                 \
	static inline size_t NAME##_pop(struct bench_link *link, void *elements, size_t n, size_t size)   \
	{                                                                                                 \
		unsigned char *next = elements;                                                           \
		size_t done = 0;                                                                          \
                                                                                                          \
		for (; done < n; done++, next += size)                                                    \
			if (!(size == 8 ? ck_ring_dequeue_##KIND##_e8(ring_of(link), buffer_of(link),     \
								       (struct e8 *)(void *)next)         \
					: ck_ring_dequeue_##KIND##_e64(ring_of(link), buffer_of(link),    \
									(struct e64 *)(void *)next)))     \
				break;                                                            \
		return done;                                                                              \
	}

OF(spsc, spsc)
OF(mpmc, mpmc)

#define push spsc_push
#define pop spsc_pop
BENCH_LOOPS(spsc_loop)
#undef push
#undef pop
#define push mpmc_push
#define pop mpmc_pop
BENCH_LOOPS(mpmc_loop)
#undef push
#undef pop

static bench_loop spsc_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? spsc_loop(what, role) : NULL;
}

const struct bench_subject bench_subjects_ck[] = {
	{ "ck_spsc", prepare, NULL, NULL, NULL, spsc_if_single },
	{ "ck_mpmc", prepare, NULL, NULL, NULL, mpmc_loop },
	{ .name = NULL },
};
