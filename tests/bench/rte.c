/* DPDK's rte_ring, by rte_ring_init() in memory of ours: no EAL, no huge pages. */
#include "loops.h"

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <stdio.h>

static struct rte_ring *ring_of(struct bench_link *link)
{
	return link->memory;
}

static bool prepare(struct bench_link *link, unsigned flags)
{
	/* one less than capacity fit: as much memory as the others have */
	int result = rte_ring_init(ring_of(link), "bench", (unsigned)link->what->capacity, flags);

	if (result)
		fprintf(stderr, "bench: rte_ring_init: %d\n", result);
	return result == 0;
}

static bool prepare_spsc(struct bench_link *link)
{
	return prepare(link, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static bool prepare_mpmc(struct bench_link *link)
{
	return prepare(link, 0);
}

static bool prepare_hts(struct bench_link *link)
{
	return prepare(link, RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ);
}

static bool prepare_rts(struct bench_link *link)
{
	return prepare(link, RING_F_MP_RTS_ENQ | RING_F_MC_RTS_DEQ);
}

#define OF(NAME, enqueue, dequeue)                                                                        \
	static inline size_t NAME##_push(struct bench_link *link, const void *elements, size_t n,         \
					 size_t size)                                                     \
	{                                                                                                 \
		return enqueue(ring_of(link), elements, (unsigned)size, (unsigned)n, NULL);               \
	}                                                                                                 \
	static inline size_t NAME##_pop(struct bench_link *link, void *elements, size_t n, size_t size)   \
	{                                                                                                 \
		return dequeue(ring_of(link), elements, (unsigned)size, (unsigned)n, NULL);               \
	}

OF(spsc, rte_ring_sp_enqueue_burst_elem, rte_ring_sc_dequeue_burst_elem)
OF(mpmc, rte_ring_mp_enqueue_burst_elem, rte_ring_mc_dequeue_burst_elem)
OF(hts, rte_ring_mp_hts_enqueue_burst_elem, rte_ring_mc_hts_dequeue_burst_elem)
OF(rts, rte_ring_mp_rts_enqueue_burst_elem, rte_ring_mc_rts_dequeue_burst_elem)

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
#define push hts_push
#define pop hts_pop
BENCH_LOOPS(hts_loop)
#undef push
#undef pop
#define push rts_push
#define pop rts_pop
BENCH_LOOPS(rts_loop)
#undef push
#undef pop

/* ---- a ring of free indices: how objects are shared where DPDK is at home ---- */

#define OBJECTS 8u                          /* as in calls.c */

static bool prepare_freelist(struct bench_link *link)
{
	if (!prepare_mpmc(link))
		return false;
	for (uint64_t index = 0; index + 1 < link->what->capacity; index++)
		if (mpmc_push(link, &index, 1, sizeof(index)) != 1)
			return false;
	return true;
}

static void use_freelist(struct bench_link *links, uint64_t count)
{
	uint64_t indices[OBJECTS];

	for (uint64_t done = 0; done < count; done += OBJECTS) {
		for (unsigned i = 0; i < OBJECTS; i++)
			while (mpmc_pop(links, &indices[i], 1, sizeof(indices[i])) == 0)
				bench_pause();
		for (unsigned i = 0; i < OBJECTS; i++)
			while (mpmc_push(links, &indices[i], 1, sizeof(indices[i])) == 0)
				bench_pause();
	}
}

static bench_loop freelist_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "pool", 4) == 0 ? use_freelist : NULL;
}

static bench_loop spsc_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? spsc_loop(what, role) : NULL;
}

const struct bench_subject bench_subjects_rte[] = {
	{ "rte_spsc", prepare_spsc, NULL, NULL, NULL, spsc_if_single },
	{ "rte_mpmc", prepare_mpmc, NULL, NULL, NULL, mpmc_loop },
	{ "rte_hts", prepare_hts, NULL, NULL, NULL, hts_loop },
	{ "rte_rts", prepare_rts, NULL, NULL, NULL, rts_loop },
	{ "rte_freelist", prepare_freelist, NULL, NULL, NULL, freelist_loop },
	{ .name = NULL },
};
