/*
 * What the tests of who is alive share: a process that holds something of everything, and what
 * others must find while it is alive, and once it is dead.
 *
 * The holder talks through private shared memory: whatever it does to its descriptors, its threads
 * or its namespaces, it can still be told to go on.
 */
#ifndef TEST_LIVENESS_H
#define TEST_LIVENESS_H

#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define MS INT64_C(1000000)
#define CHILD_MS 20000
#define CANNOT 77                           /* exit status: this machine cannot make that situation */
#define IN_TIME_NS UINT64_C(1000000000)     /* 250 ms is promised; the rest is for a busy machine */

struct cell {
	_Atomic int ready, go;
	_Atomic int pid;                    /* as seen from here; the holder's, or its child's in its place */
	_Atomic int id;                     /* its member id */
	_Atomic uint64_t object;            /* it owns */
};

struct holding {
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_pool *pool;
	struct shmkit_slot slot;
	uint64_t object;
};

static char name[64];
static struct holding ours;                 /* the test's own handles; it holds nothing */
static struct cell *cell;
static pid_t holder;                        /* to be ended by tear_down_segment(); 0 none */

static inline int open_all(struct holding *holding)
{
	int result = shmkit_segment_open(name, 0, &holding->segment);

	if (!result)
		result = shmkit_queue_open(holding->segment, "queue", 8, &holding->queue);
	if (!result)
		result = shmkit_ring_open(holding->segment, "ring", 8, &holding->ring);
	if (!result)
		result = shmkit_pool_open(holding->segment, "pool", 8, &holding->pool);
	return result;
}

static inline void close_all(struct holding *holding)
{
	shmkit_queue_close(holding->queue);
	shmkit_ring_close(holding->ring);
	shmkit_pool_close(holding->pool);
	shmkit_segment_close(holding->segment);
}

/* A segment with one element in its queue. */
static inline int set_up_segment(uint32_t mode)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .mode = mode };
	static unsigned count;
	uint64_t element = 41;

	snprintf(name, sizeof(name), "%s-%u", test_name("liveness"), count++);
	cell = mmap(NULL, sizeof(*cell), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return cell == MAP_FAILED || shmkit_segment_create(name, MIB, &options, &ours.segment) ||
	       shmkit_queue_create(ours.segment, "queue", 8, 4, NULL, &ours.queue) ||
	       shmkit_ring_create(ours.segment, "ring", 8, 4, NULL, &ours.ring) ||
	       shmkit_pool_create(ours.segment, "pool", 8, 4, NULL, &ours.pool) ||
	       shmkit_queue_enqueue(ours.queue, &element);
}

static inline int tear_down_segment(void)
{
	int left;

	/* one that a failed test has left */
	if (holder > 0) {
		kill(holder, SIGKILL);
		(void)test_wait_exit(holder, CHILD_MS);
		if (cell->pid > 0)
			kill(cell->pid, SIGKILL);
	}
	holder = 0;
	close_all(&ours);
	munmap(cell, sizeof(*cell));
	left = test_shm_leftovers(name);
	if (left > 0)
		(void)shmkit_segment_unlink(name);   /* told, and not in the way of the next */
	return left;
}

/* A lease, a ring's role, an object. */
static inline int hold_something(struct holding *holding)
{
	uint64_t element = 1;

	if (shmkit_queue_lease_wait(holding->queue, &holding->slot, 5000 * MS) ||
	    shmkit_ring_push(holding->ring, &element) ||
	    shmkit_pool_acquire(holding->pool, &holding->object))
		return 1;
	atomic_store(&cell->object, holding->object);
	atomic_store(&cell->id, shmkit_segment_member_id(holding->segment));
	return 0;
}

/* Nobody took anything from it: all it holds it can still end itself. */
static inline int let_go(struct holding *holding)
{
	uint64_t element = 2;

	if (shmkit_queue_ack(holding->queue, &holding->slot))
		return 11;
	if (shmkit_ring_push(holding->ring, &element))
		return 12;
	if (shmkit_pool_release(holding->pool, holding->object))
		return 13;
	close_all(holding);
	return 0;
}

static inline void tell_ready(void)
{
	atomic_store(&cell->ready, 1);
}

static inline void wait_to_go(void)
{
	while (!atomic_load(&cell->go))
		usleep(500);
}

/* False when the holder ended first, with *ret_status. */
static inline bool wait_until_ready(pid_t pid, int *ret_status)
{
	uint64_t start = test_now_ns();

	while (!atomic_load(&cell->ready)) {
		int status = test_now_ns() - start > UINT64_C(10000000000) ? test_wait_exit(pid, 0)
									   : TEST_NO_CHILD;
		siginfo_t info = { .si_pid = 0 };

		if (status == TEST_NO_CHILD &&
		    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		    info.si_pid == pid && !atomic_load(&cell->ready))
			status = test_wait_exit(pid, 0);
		if (status != TEST_NO_CHILD) {
			*ret_status = status;
			return false;
		}
		usleep(500);
	}
	return true;
}

/* 1, 0; -1 it is not listed. */
static inline int alive(int id)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	while (shmkit_segment_next_member(ours.segment, &cursor, &member) == 1)
		if ((int)member.id == id)
			return (int)member.alive;
	return -1;
}

static inline struct shmkit_segment_info segment_info(void)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(ours.segment, &info), 0);
	return info;
}

/*
 * While it is alive nothing is taken from it, and others go on around it. deaths: of others, which
 * have been cleaned up after.
 */
static inline void expect_alive(uint32_t deaths)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	struct shmkit_segment *another;
	struct shmkit_slot slot;
	uint64_t element = 3;
	uint32_t owner_alive = 0;
	int32_t owner_pid = 0;

	for (int round = 0; round < 3; round++) {
		assert_int_equal(alive(cell->id), 1);
		assert_int_equal(shmkit_segment_recover(ours.segment, &report), 0);
		assert_int_equal(report.members, 0);
		assert_int_equal(shmkit_queue_lease_wait(ours.queue, &slot, 70 * MS), -ETIMEDOUT);
		assert_int_equal(shmkit_ring_push(ours.ring, &element), -EBUSY);
		assert_int_equal(shmkit_pool_owner(ours.pool, cell->object, &owner_pid, &owner_alive), 0);
		assert_int_equal(owner_alive, 1);
		assert_int_equal(shmkit_pool_reclaim(ours.pool), 0);
	}
	assert_int_equal(shmkit_segment_open(name, 0, &another), 0);
	assert_int_not_equal(shmkit_segment_member_id(another), cell->id);
	shmkit_segment_close(another);
	assert_int_equal(shmkit_segment_check(ours.segment), 0);
	assert_int_equal(segment_info().recoveries, deaths);
}

/* What it held is somebody else's in time, without a call that asks for it. */
static inline void expect_dead(uint32_t members_left)
{
	uint64_t start = test_now_ns(), element = 3;
	struct shmkit_slot slot;
	uint32_t owner_alive = 1;
	int32_t owner_pid = 0;

	assert_int_not_equal(alive(cell->id), 1);
	assert_int_equal(shmkit_pool_owner(ours.pool, cell->object, &owner_pid, &owner_alive), 0);
	assert_int_equal(owner_alive, 0);
	assert_int_equal(shmkit_queue_lease_wait(ours.queue, &slot, 5000 * MS), 0);
	assert_true(test_now_ns() - start < IN_TIME_NS);
	assert_int_equal(slot.deliveries, 2);
	assert_int_equal(*(const uint64_t *)slot.data, 41);
	assert_int_equal(shmkit_queue_ack(ours.queue, &slot), 0);
	assert_int_equal(shmkit_ring_push(ours.ring, &element), 0);
	assert_int_equal(shmkit_pool_reclaim(ours.pool), 1);
	assert_int_equal(shmkit_pool_size(ours.pool), 0);
	assert_int_equal(segment_info().members, members_left);
	assert_int_equal(segment_info().recoveries, 1);
	assert_int_equal(shmkit_segment_check(ours.segment), 0);
}

#endif
