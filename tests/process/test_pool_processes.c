/*
 * Pool between processes: who owns what, and random kills in the middle of everything, after
 * which every slot is accounted for.
 *
 * Workers keep what they acquired marked as theirs and look at the marks again and again: a slot
 * with two holders, or an object taken from a living owner, ends a worker with its own exit status.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CAPACITY 40
#define WORKERS 4
#define HELD 12                             /* a worker's at most: together more than there are */
#define KILLS 200
#define WAIT_MS 20000

static struct shmkit_segment *segment;
static struct shmkit_pool *pool;
static char segment_name[64];

struct object {
	uint64_t handle;
	uint64_t holder;
	uint64_t check;                     /* ~(handle ^ holder) */
};

static int make_pool_of(uint64_t capacity)
{
	int result;

	snprintf(segment_name, sizeof(segment_name), "%s", test_name("poolproc"));
	result = shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
	return result ? result
		      : shmkit_pool_create(segment, "p", sizeof(struct object), capacity, NULL,
					   &pool);
}

static int make_pool(void **state)
{
	(void)state;
	return make_pool_of(CAPACITY);
}

static int make_single(void **state)
{
	(void)state;
	return make_pool_of(1);
}

static int drop_pool(void **state)
{
	(void)state;
	shmkit_pool_close(pool);
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

/* In a child: its own handles, as another program would have. */
static struct shmkit_pool *join(struct shmkit_segment **ret_segment)
{
	struct shmkit_pool *own = NULL;

	assert_int_equal(shmkit_segment_open(segment_name, 0, ret_segment), 0);
	assert_int_equal(shmkit_pool_open(*ret_segment, "p", sizeof(struct object), &own), 0);
	return own;
}

static uint64_t acquire(struct shmkit_pool *from)
{
	uint64_t handle = SHMKIT_POOL_INVALID;

	assert_int_equal(shmkit_pool_acquire(from, &handle), 0);
	return handle;
}

/* Every slot can be had, each once; nothing was in it before. */
static void expect_empty_and_whole(uint64_t capacity)
{
	uint64_t handles[CAPACITY], handle;

	assert_int_equal(shmkit_pool_size(pool), 0);
	for (uint64_t i = 0; i < capacity; i++) {
		handles[i] = acquire(pool);
		for (uint64_t k = 0; k < i; k++)
			assert_int_not_equal(shmkit_pool_index(pool, handles[i]),
					     shmkit_pool_index(pool, handles[k]));
	}
	assert_int_equal(shmkit_pool_acquire(pool, &handle), -EAGAIN);
	for (uint64_t i = 0; i < capacity; i++)
		assert_int_equal(shmkit_pool_release(pool, handles[i]), 0);
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static uint32_t members_alive(void)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info.members;
}

/* ---- random kills ---- */

enum { LOST = 10, NOT_ZERO = 11, NOT_MINE = 12, BAD_RESULT = 13 };

static int look_at_held(struct shmkit_pool *own, const uint64_t *held, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct object *object = shmkit_pool_view(own, held[i]);

		if (!object)
			return LOST;
		if (object->handle != held[i] || object->holder != (uint64_t)getpid() ||
		    object->check != ~(object->handle ^ object->holder))
			return NOT_MINE;
	}
	return 0;
}

static int take_one(struct shmkit_pool *own, uint64_t *held, size_t *count)
{
	struct object *object;
	uint64_t handle = 0;
	int result = shmkit_pool_acquire(own, &handle);

	if (result)
		return result == -EAGAIN ? 0 : BAD_RESULT;
	object = shmkit_pool_get(own, handle);
	if (!object)
		return LOST;
	if (object->handle || object->holder || object->check)
		return NOT_ZERO;
	*object = (struct object){ handle, (uint64_t)getpid(), ~(handle ^ (uint64_t)getpid()) };
	held[(*count)++] = handle;
	return 0;
}

/* What the dead left: adopted, to be released at once. Another may come first. */
static int take_over_one(struct shmkit_pool *own)
{
	uint64_t cursor = test_random_below(CAPACITY), handle = 0;
	uint32_t alive = 1;
	int32_t pid = 0;
	int result;

	if (shmkit_pool_next(own, &cursor, &handle) != 1 ||
	    shmkit_pool_owner(own, handle, &pid, &alive) != 0 || alive)
		return 0;
	result = shmkit_pool_adopt(own, handle);
	if (result == 0)
		result = shmkit_pool_release(own, handle);
	return result == 0 || result == -ESTALE ? 0 : BAD_RESULT;
}

static int work(void *arg)
{
	struct shmkit_segment *own_segment = NULL;
	struct shmkit_pool *own = join(&own_segment);
	uint64_t held[HELD];
	size_t count = 0;
	int result = 0;

	(void)arg;
	while (!result) {
		uint64_t choice = test_random_below(64);

		if (choice == 0) {
			result = shmkit_pool_reclaim(own) < 0 ? BAD_RESULT : 0;
		} else if (choice < 4) {
			result = take_over_one(own);
		} else if (choice < 36 && count < HELD) {
			result = take_one(own, held, &count);
		} else if (count > 0) {
			size_t pick = (size_t)test_random_below(count);

			result = look_at_held(own, held, count);
			if (!result && shmkit_pool_release(own, held[pick]) != 0)
				result = LOST;
			held[pick] = held[--count];
		}
	}
	return result;
}

static void test_kill_random_every_slot_accounted(void **state)
{
	pid_t workers[WORKERS];

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		workers[i] = test_fork(work, NULL);
	for (int kills = 0; kills < KILLS; kills++) {
		size_t victim = (size_t)test_random_below(WORKERS);
		uint64_t until = test_now_ns() + test_random_below(6000000);

		while (test_now_ns() < until)
			usleep(100);
		assert_true(shmkit_pool_size(pool) <= CAPACITY);
		kill(workers[victim], SIGKILL);
		assert_int_equal(test_wait_exit(workers[victim], WAIT_MS), -SIGKILL);
		workers[victim] = test_fork(work, NULL);
	}
	for (int i = 0; i < WORKERS; i++) {
		kill(workers[i], SIGKILL);
		assert_int_equal(test_wait_exit(workers[i], WAIT_MS), -SIGKILL);
	}
	assert_int_equal(members_alive(), 1);
	assert_in_range(shmkit_pool_reclaim(pool), 0, CAPACITY);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	expect_empty_and_whole(CAPACITY);
}

static int acquire_release(void *arg)
{
	struct shmkit_segment *own_segment = NULL;
	struct shmkit_pool *own = join(&own_segment);
	uint64_t handle;

	(void)arg;
	for (;;)
		if (shmkit_pool_acquire(own, &handle) == 0 && shmkit_pool_release(own, handle) != 0)
			return LOST;
}

/* The only slot, the only other process: what it left is had again, though nobody repairs. */
static void test_kill_single_slot_had_again(void **state)
{
	(void)state;
	for (int round = 0; round < 60; round++) {
		pid_t worker = test_fork(acquire_release, NULL);
		uint64_t handle = 0, start;
		int result;

		usleep((unsigned)(2000 + test_random_below(3000)));
		kill(worker, SIGKILL);
		assert_int_equal(test_wait_exit(worker, WAIT_MS), -SIGKILL);
		start = test_now_ns();
		/* an object of the dead is to be reclaimed, anything else comes back */
		while ((result = shmkit_pool_acquire(pool, &handle)) == -EAGAIN &&
		       test_now_ns() - start < UINT64_C(10000000000))
			if (shmkit_pool_size(pool) == 1)
				assert_in_range(shmkit_pool_reclaim(pool), 0, 1);
		assert_int_equal(result, 0);
		assert_int_equal(shmkit_pool_release(pool, handle), 0);
	}
	expect_empty_and_whole(1);
}

/* ---- read ---- */

#define LARGE 40000

/* Fills one object after the other with its handle's bytes, and tells the handle meanwhile. */
static int fill_and_release(void *arg)
{
	struct shmkit_segment *own_segment = NULL;
	struct shmkit_atomic_u64 *current = NULL;
	struct shmkit_pool *own = NULL;

	(void)arg;
	assert_int_equal(shmkit_segment_open(segment_name, 0, &own_segment), 0);
	assert_int_equal(shmkit_pool_open(own_segment, "large", LARGE, &own), 0);
	assert_int_equal(shmkit_atomic_u64_open(own_segment, "current", &current), 0);
	for (;;) {
		uint64_t handle = acquire(own);
		uint64_t *words = shmkit_pool_get(own, handle);

		for (size_t i = 0; i < LARGE / 8; i++)
			words[i] = handle;
		shmkit_atomic_u64_store(current, handle);
		if (test_random() % 2)
			usleep((unsigned)test_random_below(
				100)); /* time for a whole copy, or not */
		if (shmkit_pool_release(own, handle) != 0)
			return LOST;
	}
}

/* The bytes of the object asked for, or -ESTALE; never those of the next one in its slot. */
static void test_read_released_meanwhile_whole_or_estale(void **state)
{
	static uint64_t words[LARGE / 8];
	struct shmkit_atomic_u64 *current = NULL;
	struct shmkit_pool *large = NULL;
	uint64_t whole = 0, stale = 0, start;
	pid_t child;

	(void)state;
	assert_int_equal(shmkit_pool_create(segment, "large", LARGE, 1, NULL, &large), 0);
	assert_int_equal(shmkit_atomic_u64_create(segment, "current", 0, &current), 0);
	child = test_fork(fill_and_release, NULL);
	assert_int_equal(shmkit_atomic_u64_wait(current, 0, INT64_C(20000000000)), 0);
	for (start = test_now_ns(); test_now_ns() - start < 500000000 || !whole || !stale;) {
		uint64_t handle = shmkit_atomic_u64_load(current);
		int result = shmkit_pool_read(large, handle, words);

		assert_true(result == 0 || result == -ESTALE);
		assert_true(test_now_ns() - start < UINT64_C(20000000000));
		whole += result == 0;
		stale += result != 0;
		for (size_t i = 0; i < LARGE / 8 && result == 0; i++)
			if (words[i] != handle)
				fail_msg("word %zu is 0x%llx, not 0x%llx", i,
					 (unsigned long long)words[i], (unsigned long long)handle);
	}
	kill(child, SIGKILL);
	assert_int_equal(test_wait_exit(child, WAIT_MS), -SIGKILL);
	shmkit_atomic_u64_close(current);
	shmkit_pool_close(large);
}

/* ---- owners ---- */

struct asked {
	int to_parent[2];
	size_t count;                       /* objects to acquire */
};

/* Acquires, tells the handles, and stays. */
static int hold(void *arg)
{
	struct asked *asked = arg;
	struct shmkit_segment *own_segment = NULL;
	struct shmkit_pool *own = join(&own_segment);

	for (size_t i = 0; i < asked->count; i++) {
		uint64_t handle = acquire(own);

		strcpy(shmkit_pool_get(own, handle), "from a child");
		assert_int_equal(write(asked->to_parent[1], &handle, sizeof(handle)),
				 sizeof(handle));
	}
	pause();
	return BAD_RESULT;
}

static pid_t start_holder(struct asked *asked, size_t count, uint64_t *ret_handles)
{
	pid_t child;

	asked->count = count;
	assert_int_equal(pipe(asked->to_parent), 0);
	child = test_fork(hold, asked);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(read(asked->to_parent[0], &ret_handles[i], 8), 8);
	close(asked->to_parent[0]);
	close(asked->to_parent[1]);
	return child;
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	assert_int_equal(test_wait_exit(child, WAIT_MS), -SIGKILL);
}

static void test_owner_killed_not_alive_object_stays(void **state)
{
	struct asked asked;
	uint64_t handle;
	uint32_t alive = 4711;
	int32_t pid = 0;
	pid_t child = start_holder(&asked, 1, &handle);

	(void)state;
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(pid, child);
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	end(child);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_true(pid == child || pid == 0);
	assert_int_equal(alive, 0);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(alive, 0);

	/* shared state is not garbage because its creator died */
	assert_string_equal(shmkit_pool_view(pool, handle), "from a child");
	assert_int_equal(shmkit_pool_adopt(pool, handle), 0);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	assert_string_equal(shmkit_pool_view(pool, handle), "from a child");
	assert_int_equal(shmkit_pool_release(pool, handle), 0);
}

static void test_reclaim_two_owners_only_the_dead_ones(void **state)
{
	struct asked asked;
	uint64_t first[5], second[7], own = acquire(pool);
	pid_t stays = start_holder(&asked, 5, first), dies = start_holder(&asked, 7, second);

	(void)state;
	assert_int_equal(shmkit_pool_size(pool), 13);
	end(dies);
	assert_int_equal(shmkit_pool_reclaim(pool), 7);
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	for (int i = 0; i < 5; i++)
		assert_non_null(shmkit_pool_view(pool, first[i]));
	for (int i = 0; i < 7; i++)
		assert_null(shmkit_pool_view(pool, second[i]));
	/* any process may release it */
	assert_int_equal(shmkit_pool_release(pool, first[0]), 0);
	end(stays);
	assert_int_equal(shmkit_pool_reclaim(pool), 4);
	assert_int_equal(shmkit_pool_release(pool, own), 0);
	expect_empty_and_whole(CAPACITY);
}

static void test_owner_stopped_is_alive(void **state)
{
	struct asked asked;
	uint64_t handle;
	uint32_t alive = 0;
	int32_t pid = 0;
	pid_t child = start_holder(&asked, 1, &handle);

	(void)state;
	kill(child, SIGSTOP);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(pid, child);
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	end(child);
	assert_int_equal(shmkit_pool_reclaim(pool), 1);
}

/* ---- fork ---- */

static int use_inherited(void *arg)
{
	uint64_t parents = *(uint64_t *)arg, handle = 0;
	uint32_t alive = 0;
	int32_t pid = 0;

	assert_int_equal(shmkit_pool_owner(pool, parents, &pid, &alive), 0);
	assert_int_equal(pid, getppid());
	assert_int_equal(alive, 1);
	handle = acquire(pool);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_adopt(pool, parents), 0);
	assert_int_equal(shmkit_pool_owner(pool, parents, &pid, &alive), 0);
	assert_int_equal(pid, getpid());
	return 0;
}

/* A forked child is an owner of its own through the handle it inherited. */
static void test_fork_child_owns_what_it_acquires(void **state)
{
	uint64_t handle = acquire(pool);
	uint32_t alive = 1;
	int32_t pid = 0;

	(void)state;
	assert_int_equal(test_wait_exit(test_fork(use_inherited, &handle), WAIT_MS), 0);
	/* it ended without closing */
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(alive, 0);
	assert_int_equal(shmkit_pool_size(pool), 2);
	assert_int_equal(shmkit_pool_reclaim(pool), 2);
	expect_empty_and_whole(CAPACITY);
}

static int churn_inherited(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		uint64_t handle;

		if (shmkit_pool_acquire(pool, &handle) != 0)
			continue;
		*(uint64_t *)shmkit_pool_get(pool, handle) = handle;
		if (*(const uint64_t *)shmkit_pool_view(pool, handle) != handle)
			return NOT_MINE;
		if (shmkit_pool_release(pool, handle) != 0)
			return LOST;
	}
	return 0;
}

/* Both have the same private hint where to look first. */
static void test_fork_parent_and_child_share_slots(void **state)
{
	uint64_t handle = acquire(pool);
	pid_t child;

	(void)state;
	assert_int_equal(shmkit_pool_release(pool, handle), 0);
	child = test_fork(churn_inherited, NULL);
	assert_int_equal(churn_inherited(NULL), 0);
	assert_int_equal(test_wait_exit(child, WAIT_MS), 0);
	expect_empty_and_whole(CAPACITY);
}

#define TEST(name, make) cmocka_unit_test_setup_teardown(name, make, drop_pool)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill_random_every_slot_accounted, make_pool),
		TEST(test_kill_single_slot_had_again, make_single),
		TEST(test_read_released_meanwhile_whole_or_estale, make_pool),
		TEST(test_owner_killed_not_alive_object_stays, make_pool),
		TEST(test_reclaim_two_owners_only_the_dead_ones, make_pool),
		TEST(test_owner_stopped_is_alive, make_pool),
		TEST(test_fork_child_owns_what_it_acquires, make_pool),
		TEST(test_fork_parent_and_child_share_slots, make_pool),
	};

	return cmocka_run_group_tests_name("pool_processes", tests, NULL, NULL);
}
