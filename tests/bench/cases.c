/* What is measured, and of what it is measured how it grows. The goals that some of them have stand in goals.tsv. */
#include "bench.h"

#include <stdio.h>

#define SPSC "shmkit_ring ideal ideal_so rte_spsc ck_spsc boost_spsc libqb"
#define MPMC "shmkit_queue vyukov_so vyukov rte_mpmc rte_hts rte_rts ck_mpmc boost_queue"
#define SLOW "shmkit_queue shmkit_ring libqb boost_mq posix_mq pipe seqpacket zeromq"
#define PAIR BENCH_PAIR
#define FLOW BENCH_FLOW
#define CALLS BENCH_CALLS
#define CASE(ID, KIND, BYTES, BATCH, CAPACITY, PRODUCERS, CONSUMERS, SUBJECTS, WHAT)                       \
	.id = ID, .kind = KIND, .element_size = BYTES, .batch = BATCH, .capacity = CAPACITY,              \
	.producers = PRODUCERS, .consumers = CONSUMERS, .subjects = SUBJECTS, .what = WHAT

const struct bench_case bench_cases[] = {
	/* id, kind, element bytes, batch, capacity, producers, consumers, subjects, what */
	{ CASE("ring_pair_8", PAIR, 8, 1, 1024, 1, 0, SPSC, "ring, one process, 8 B") },
	{ CASE("ring_pair_64", PAIR, 64, 1, 1024, 1, 0, SPSC, "ring, one process, 64 B") },
	{ CASE("ring_flow_8", FLOW, 8, 1, 1024, 1, 1, SPSC, "ring, two processes, 8 B") },
	{ CASE("ring_flow_64", FLOW, 64, 1, 1024, 1, 1, SPSC, "ring, two processes, 64 B") },
	{ CASE("ring_batch_flow_8", FLOW, 8, 32, 1024, 1, 1, SPSC, "ring, two processes, 32 at once, 8 B") },
	{ CASE("ring_batch_flow_64", FLOW, 64, 32, 1024, 1, 1, SPSC, "ring, two processes, 32 at once, 64 B") },
	{ CASE("ring_batch_pair_8", PAIR, 8, 32, 1024, 1, 0, SPSC, "ring, one process, 32 at once, 8 B") },
	{ CASE("ring_batch_pair_64", PAIR, 64, 32, 1024, 1, 0, SPSC, "ring, one process, 32 at once, 64 B") },
	{ CASE("queue_pair_8", PAIR, 8, 1, 1024, 1, 0, MPMC, "queue, one process, 8 B") },
	{ CASE("queue_pair_64", PAIR, 64, 1, 1024, 1, 0, MPMC, "queue, one process, 64 B") },
	{ CASE("queue_flow_8", FLOW, 8, 1, 1024, 1, 1, MPMC, "queue, two processes, 8 B") },
	{ CASE("queue_flow_64", FLOW, 64, 1, 1024, 1, 1, MPMC, "queue, two processes, 64 B") },
	{ CASE("queue_2_2_8", FLOW, 8, 1, 1024, 2, 2, MPMC, "queue, two producers and two consumers, 8 B") },
	{ CASE("queue_batch_pair_8", PAIR, 8, 32, 1024, 1, 0, MPMC, "queue, one process, 32 at once, 8 B") },
	{ CASE("queue_batch_pair_64", PAIR, 64, 32, 1024, 1, 0, MPMC, "queue, one process, 32 at once, 64 B") },
	{ CASE("queue_batch_flow_8", FLOW, 8, 32, 1024, 1, 1, MPMC, "queue, two processes, 32 at once, 8 B") },
	{ CASE("services_pair_64", PAIR, 64, 1, 1024, 1, 0, SLOW, "what has names or a kernel behind it, one process, 64 B") },
	{ CASE("services_flow_64", FLOW, 64, 1, 1024, 1, 1, SLOW, "what has names or a kernel behind it, two processes, 64 B") },
	{ CASE("trip_8", BENCH_TRIP, 8, 1, 1024, 1, 1, "shmkit_ring shmkit_queue ideal rte_spsc vyukov_so",
	  "there and back by polling, 8 B") },
	{ CASE("trip_wait_8", BENCH_TRIP_WAIT, 8, 1, 1024, 1, 1, "shmkit_ring shmkit_queue futex",
	  "there and back through *_wait, both busy, 8 B") },
	{ CASE("trip_asleep_8", BENCH_TRIP_ASLEEP, 8, 1, 1024, 1, 1, "shmkit_ring shmkit_queue futex",
	  "there and back through *_wait, both asleep, 8 B") },
	{ CASE("pool_alone", CALLS, 64, 1, 4096, 1, 0, "shmkit_pool malloc", "acquire and release, 64 B") },
	{ CASE("pool_two", FLOW, 64, 1, 4096, 1, 1, "shmkit_pool rte_freelist",
	  "acquire and release, two processes, 64 B") },
	{ CASE("pool_million", CALLS, 64, 1, 1000000, 1, 0, "shmkit_pool_live shmkit_pool",
	  "acquire and release, 99.9 % of a million live") },
	{ CASE("array_words", CALLS, 8, 1, 65536, 1, 0, "shmkit_array heap", "an array's words, read and written") },
	{ CASE("open_64", CALLS, 8, 1, 64, 1, 0, "shmkit_open boost_find", "open by name among 64") },
	{ CASE("open_256", CALLS, 8, 1, 256, 1, 0, "shmkit_open boost_find", "open by name among 256") },
	{ CASE("attach", CALLS, 8, 1, 1, 1, 0, "shmkit_attach bare_attach", "attach a segment, and let go") },
	{ CASE("create_500M", CALLS, 8, 1, 500u << 20, 1, 0, "shmkit_create bare_create", "create a segment of 500 MiB") },
	{ CASE("copy_64K", CALLS, 65536, 1, 64, 1, 0, "shmkit_copy memcpy", "copies of 64 KiB, in and out") },
	{ CASE("lease_64K", CALLS, 65536, 1, 64, 1, 0, "shmkit_lease", "leased in place, 64 KiB") },
	{ CASE("lease_64", CALLS, 64, 1, 64, 1, 0, "shmkit_lease", "leased in place, 64 B") },
	{ CASE("idle", CALLS, 8, 1, 64, 1, 0, "shmkit_idle futex_idle",
	       "processor time of a waiter whom nobody wakes, half a second"), .first = 1, .rounds = 10 },
	{ .id = NULL },
};

#define QUEUES "shmkit_queue_waits shmkit_queue vyukov_so rte_mpmc"
#define RINGS "shmkit_ring_mpmc_waits shmkit_ring_mpmc rte_mpmc"

/* Where there are more processes than processors a turn has to be many of the scheduler's. */
#define CROWD .slice_us = 200000, .rounds = 6

const struct bench_curve bench_curves[] = {
	{ { CASE("queue_by_processes", FLOW, 8, 1, 1024, 1, 1, QUEUES, "queue, half put in, half take out, 8 B"),
	    CROWD },
	  BENCH_PROCESSES, "processes", 2, 2, 32 },
	{ { CASE("ring_by_processes", FLOW, 8, 1, 1024, 1, 1, RINGS, "ring of many, half push, half pop, 8 B"), CROWD },
	  BENCH_PROCESSES, "processes", 2, 2, 32 },
	{ { CASE("pool_by_processes", FLOW, 64, 1, 4096, 1, 0, "shmkit_pool rte_freelist", "acquire and release, 64 B"),
	    .first = 8, CROWD }, BENCH_ALL_PROCESSES, "processes", 1, 2, 32 },
	{ { CASE("queue_by_members", PAIR, 8, 1, 1024, 1, 0, "shmkit_queue", "queue, one process, others idle, 8 B") },
	  BENCH_MEMBERS, "members", 1, 4, 1024 },
	{ { CASE("ring_by_members", PAIR, 8, 1, 1024, 1, 0, "shmkit_ring", "ring, one process, others idle, 8 B") },
	  BENCH_MEMBERS, "members", 1, 4, 1024 },
	{ { CASE("pool_by_members", CALLS, 64, 1, 4096, 1, 0, "shmkit_pool", "acquire and release, others idle, 64 B") },
	  BENCH_MEMBERS, "members", 1, 4, 1024 },
	{ { CASE("open_by_members", CALLS, 8, 1, 64, 1, 0, "shmkit_open", "open by name, others idle") },
	  BENCH_MEMBERS, "members", 1, 4, 1024 },
	{ { CASE("attach_by_members", CALLS, 8, 1, 1, 1, 0, "shmkit_attach", "attach and let go, others idle") },
	  BENCH_MEMBERS, "members", 1, 4, 1024 },
	{ { CASE("names_by_members", CALLS, 8, 1, 64, 1, 0, "shmkit_open", "create and remove, others idle") },
	  BENCH_MEMBERS, "members", 1, 4, 1024 },
	{ { CASE("open_by_entries", CALLS, 8, 1, 4, 1, 0, "shmkit_open boost_find", "open by name") },
	  BENCH_CAPACITY, "entries", 4, 4, 4096 },
	{ { CASE("names_by_entries", CALLS, 8, 1, 4, 1, 0, "shmkit_open", "create and remove a name") },
	  BENCH_CAPACITY, "entries", 4, 4, 4096 },
	{ { CASE("copy_by_size", CALLS, 1, 1, 64, 1, 0, "shmkit_copy shmkit_ring_copy memcpy", "copied in and out") },
	  BENCH_ELEMENT_SIZE, "bytes of an element", 1, 2, 65536 },
	{ { CASE("lease_by_size", CALLS, 1, 1, 64, 1, 0, "shmkit_lease", "leased in place") },
	  BENCH_ELEMENT_SIZE, "bytes of an element", 1, 4, 65536 },
	{ { CASE("queue_by_capacity", PAIR, 8, 1, 2, 1, 0, "shmkit_queue vyukov_so", "queue, one process, 8 B") },
	  BENCH_CAPACITY, "capacity, elements", 2, 4, 1 << 24 },
	{ { CASE("ring_by_capacity", PAIR, 8, 1, 2, 1, 0, "shmkit_ring ideal_so", "ring, one process, 8 B") },
	  BENCH_CAPACITY, "capacity, elements", 2, 4, 1 << 24 },
	{ { CASE("pool_by_capacity", CALLS, 8, 1, 2, 1, 0, "shmkit_pool", "acquire and release, 8 B") },
	  BENCH_CAPACITY, "capacity, objects", 16, 4, 1 << 24 },
	{ { CASE("attach_by_segment", CALLS, 8, 1, 1, 1, 0, "shmkit_attach bare_attach", "attach and let go") },
	  BENCH_SEGMENT_SIZE, "bytes of the segment", 4 << 20, 4, UINT64_C(4) << 30 },
	{ { CASE("create_by_segment", CALLS, 8, 1, 1, 1, 0, "shmkit_create bare_create", "create and let go") },
	  BENCH_CAPACITY, "bytes of the segment", 4 << 20, 4, UINT64_C(4) << 30 },
	{ { CASE("queue_by_segment", PAIR, 8, 1, 1024, 1, 0, "shmkit_queue", "queue, one process, 8 B") },
	  BENCH_SEGMENT_SIZE, "bytes of the segment", 4 << 20, 4, UINT64_C(4) << 30 },
	{ { CASE("anywhere_by_words", CALLS, 8, 1, 1, 1, 0, "shmkit_array shmkit_array_huge heap heap_huge",
		 "an array's words in no order") },
	  BENCH_CAPACITY, "words of 8 B", 1 << 12, 4, 1 << 26 },
	{ .axis = NULL },
};

struct bench_case bench_case_at(const struct bench_curve *curve, uint64_t value, char id[64])
{
	struct bench_case what = curve->base;

	snprintf(id, 64, "%s@%llu", what.id, (unsigned long long)value);
	what.id = id;
	switch (curve->parameter) {
	case BENCH_PROCESSES:
		what.producers = what.consumers = (unsigned)value / 2;
		break;
	case BENCH_ALL_PROCESSES:
		what.producers = (unsigned)value;
		break;
	case BENCH_MEMBERS:
		/* the caller is one of them; where attaching is what is measured there is a place for it */
		what.members = (uint32_t)value;
		break;
	case BENCH_ELEMENT_SIZE:
		what.element_size = (uint32_t)value;
		break;
	case BENCH_CAPACITY:
		what.capacity = value;
		what.warm = what.kind == BENCH_PAIR ? value : 0;
		break;
	case BENCH_SEGMENT_SIZE:
		what.segment_size = value;
		break;
	}
	return what;
}
