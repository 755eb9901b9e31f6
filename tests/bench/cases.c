/* What is measured. The goals that some of them have stand in goals.tsv. */
#include "bench.h"

#define SPSC "shmkit_ring ideal ideal_so rte_spsc ck_spsc boost_spsc libqb"
#define MPMC "shmkit_queue vyukov_so vyukov rte_mpmc rte_hts rte_rts ck_mpmc boost_queue"
#define SLOW "shmkit_queue shmkit_ring libqb boost_mq posix_mq pipe seqpacket zeromq"
#define PAIR BENCH_PAIR
#define FLOW BENCH_FLOW
#define CALLS BENCH_CALLS

const struct bench_case bench_cases[] = {
	/* id, kind, element bytes, batch, capacity, producers, consumers, subjects, what */
	{ "ring_pair_8", PAIR, 8, 1, 1024, 1, 0, SPSC, "ring, one process, 8 B" },
	{ "ring_pair_64", PAIR, 64, 1, 1024, 1, 0, SPSC, "ring, one process, 64 B" },
	{ "ring_flow_8", FLOW, 8, 1, 1024, 1, 1, SPSC, "ring, two processes, 8 B" },
	{ "ring_flow_64", FLOW, 64, 1, 1024, 1, 1, SPSC, "ring, two processes, 64 B" },
	{ "ring_batch_flow_8", FLOW, 8, 32, 1024, 1, 1, SPSC, "ring, two processes, 32 at once, 8 B" },
	{ "ring_batch_flow_64", FLOW, 64, 32, 1024, 1, 1, SPSC, "ring, two processes, 32 at once, 64 B" },
	{ "ring_batch_pair_8", PAIR, 8, 32, 1024, 1, 0, SPSC, "ring, one process, 32 at once, 8 B" },
	{ "ring_batch_pair_64", PAIR, 64, 32, 1024, 1, 0, SPSC, "ring, one process, 32 at once, 64 B" },
	{ "queue_pair_8", PAIR, 8, 1, 1024, 1, 0, MPMC, "queue, one process, 8 B" },
	{ "queue_pair_64", PAIR, 64, 1, 1024, 1, 0, MPMC, "queue, one process, 64 B" },
	{ "queue_flow_8", FLOW, 8, 1, 1024, 1, 1, MPMC, "queue, two processes, 8 B" },
	{ "queue_flow_64", FLOW, 64, 1, 1024, 1, 1, MPMC, "queue, two processes, 64 B" },
	{ "queue_2_2_8", FLOW, 8, 1, 1024, 2, 2, MPMC, "queue, two producers and two consumers, 8 B" },
	{ "queue_batch_pair_8", PAIR, 8, 32, 1024, 1, 0, MPMC, "queue, one process, 32 at once, 8 B" },
	{ "queue_batch_pair_64", PAIR, 64, 32, 1024, 1, 0, MPMC, "queue, one process, 32 at once, 64 B" },
	{ "queue_batch_flow_8", FLOW, 8, 32, 1024, 1, 1, MPMC, "queue, two processes, 32 at once, 8 B" },
	{ "services_pair_64", PAIR, 64, 1, 1024, 1, 0, SLOW, "what has names or a kernel behind it, one process, 64 B" },
	{ "services_flow_64", FLOW, 64, 1, 1024, 1, 1, SLOW, "what has names or a kernel behind it, two processes, 64 B" },
	{ "trip_8", BENCH_TRIP, 8, 1, 1024, 1, 1, "shmkit_ring shmkit_queue ideal rte_spsc vyukov_so",
	  "there and back by polling, 8 B" },
	{ "trip_wait_8", BENCH_TRIP_WAIT, 8, 1, 1024, 1, 1, "shmkit_ring shmkit_queue futex",
	  "there and back through *_wait, both busy, 8 B" },
	{ "trip_asleep_8", BENCH_TRIP_ASLEEP, 8, 1, 1024, 1, 1, "shmkit_ring shmkit_queue futex",
	  "there and back through *_wait, both asleep, 8 B" },
	{ "pool_alone", CALLS, 64, 1, 4096, 1, 0, "shmkit_pool malloc", "acquire and release, 64 B" },
	{ "pool_two", FLOW, 64, 1, 4096, 1, 1, "shmkit_pool rte_freelist",
	  "acquire and release, two processes, 64 B" },
	{ "pool_million", CALLS, 64, 1, 1000000, 1, 0, "shmkit_pool_live shmkit_pool",
	  "acquire and release, 99.9 % of a million live" },
	{ "array_words", CALLS, 8, 1, 65536, 1, 0, "shmkit_array heap", "an array's words, read and written" },
	{ "open_64", CALLS, 8, 1, 64, 1, 0, "shmkit_open boost_find", "open by name among 64" },
	{ "open_256", CALLS, 8, 1, 256, 1, 0, "shmkit_open boost_find", "open by name among 256" },
	{ "attach", CALLS, 8, 1, 1, 1, 0, "shmkit_attach bare_attach", "attach a segment, and let go" },
	{ "create_500M", CALLS, 8, 1, 500u << 20, 1, 0, "shmkit_create bare_create", "create a segment of 500 MiB" },
	{ "copy_64K", CALLS, 65536, 1, 64, 1, 0, "shmkit_copy memcpy", "copies of 64 KiB, in and out" },
	{ "lease_64K", CALLS, 65536, 1, 64, 1, 0, "shmkit_lease", "leased in place, 64 KiB" },
	{ "lease_64", CALLS, 64, 1, 64, 1, 0, "shmkit_lease", "leased in place, 64 B" },
	{ .id = NULL },
};
