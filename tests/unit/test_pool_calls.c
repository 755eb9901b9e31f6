/*
 * Pool: owners; and what every call says to NULL, on a read-only segment, after removal.
 */
#include "support.h"

#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("poolcalls"));
	return shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_pool *make_pool(const char *name, uint32_t element_size, uint64_t capacity)
{
	struct shmkit_pool *pool = NULL;

	assert_int_equal(shmkit_pool_create(segment, name, element_size, capacity, NULL, &pool), 0);
	return pool;
}

static struct shmkit_pool *open_pool(struct shmkit_segment *where, const char *name)
{
	struct shmkit_pool *pool = NULL;

	assert_int_equal(shmkit_pool_open(where, name, 0, &pool), 0);
	return pool;
}

static uint64_t acquire(struct shmkit_pool *pool)
{
	uint64_t handle = SHMKIT_POOL_INVALID;

	assert_int_equal(shmkit_pool_acquire(pool, &handle), 0);
	assert_int_not_equal(handle, SHMKIT_POOL_INVALID);
	return handle;
}

static void expect_full(struct shmkit_pool *pool)
{
	uint64_t handle = 4711;

	assert_int_equal(shmkit_pool_acquire(pool, &handle), -EAGAIN);
	assert_int_equal(handle, 4711);
	assert_non_null(strstr(shmkit_last_error(), "full"));
}

/* What a released handle gets from every call that takes one. */
static void expect_stale(struct shmkit_pool *pool, uint64_t handle)
{
	uint32_t alive = 4711;
	int32_t pid = 4711;
	uint64_t bytes[2] = { 4711, 4711 };

	assert_null(shmkit_pool_get(pool, handle));
	assert_null(shmkit_pool_view(pool, handle));
	assert_int_equal(shmkit_pool_read(pool, handle, bytes), -ESTALE);
	assert_int_equal(shmkit_pool_index(pool, handle), -ESTALE);
	assert_int_equal(shmkit_pool_release(pool, handle), -ESTALE);
	assert_int_equal(shmkit_pool_adopt(pool, handle), -ESTALE);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), -ESTALE);
	assert_int_equal(bytes[0], 4711);
	assert_int_equal(pid, 4711);
	assert_int_equal(alive, 4711);
}

/* ---- owners ---- */

static void test_owner_of_own_object_alive(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 2);
	uint64_t handle = acquire(pool);
	uint32_t alive = 0;
	int32_t pid = 0;

	(void)state;
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	shmkit_pool_close(pool);
}

/* Two handles on a segment are two members. */
static void test_owner_left_pid_zero_and_reclaimed(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 4), *others;
	struct shmkit_segment *second = NULL;
	uint64_t own = acquire(pool), left, adopted;
	uint32_t alive = 4711;
	int32_t pid = 4711;

	(void)state;
	assert_int_equal(shmkit_segment_open(segment_name, 0, &second), 0);
	others = open_pool(second, "p");
	left = acquire(others);
	adopted = acquire(others);
	assert_int_equal(shmkit_pool_owner(pool, left, &pid, &alive), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_adopt(pool, adopted), 0);
	assert_int_equal(shmkit_pool_adopt(pool, adopted), 0);
	shmkit_pool_close(others);
	shmkit_segment_close(second);

	assert_int_equal(shmkit_pool_owner(pool, left, &pid, &alive), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(alive, 0);
	assert_int_equal(shmkit_pool_owner(pool, adopted, &pid, &alive), 0);
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_reclaim(pool), 1);
	expect_stale(pool, left);
	assert_non_null(shmkit_pool_get(pool, adopted));
	assert_non_null(shmkit_pool_get(pool, own));
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	shmkit_pool_close(pool);
}

/* A member id in use again is not the owner it was. */
static void test_reclaim_id_taken_again_released(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 4), *others;
	struct shmkit_segment *second = NULL;
	uint64_t old, new;
	uint32_t alive = 4711;
	int32_t pid = 4711;
	int id;

	(void)state;
	assert_int_equal(shmkit_segment_open(segment_name, 0, &second), 0);
	id = shmkit_segment_member_id(second);
	others = open_pool(second, "p");
	old = acquire(others);
	shmkit_pool_close(others);
	shmkit_segment_close(second);
	assert_int_equal(shmkit_segment_open(segment_name, 0, &second), 0);
	assert_int_equal(shmkit_segment_member_id(second), id);
	others = open_pool(second, "p");
	new = acquire(others);

	assert_int_equal(shmkit_pool_owner(pool, old, &pid, &alive), 0);
	assert_int_equal(pid, 0);
	assert_int_equal(alive, 0);
	/* its own id too: the newcomer reclaims what it had in a former life */
	assert_int_equal(shmkit_pool_reclaim(others), 1);
	expect_stale(pool, old);
	assert_non_null(shmkit_pool_get(pool, new));
	shmkit_pool_close(others);
	shmkit_segment_close(second);
	shmkit_pool_close(pool);
}

/* ---- arguments, read-only, removal ---- */

static void test_calls_null_einval(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 2);
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	uint64_t handle = acquire(pool), cursor = 0;
	uint32_t alive = 0;
	int32_t pid = 0;

	(void)state;
	assert_int_equal(shmkit_pool_acquire(NULL, &handle), -EINVAL);
	assert_int_equal(shmkit_pool_acquire(pool, NULL), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "shmkit_pool_acquire"));
	assert_int_equal(shmkit_pool_release(NULL, handle), -EINVAL);
	assert_null(shmkit_pool_get(NULL, handle));
	assert_null(shmkit_pool_view(NULL, handle));
	assert_int_equal(shmkit_pool_read(NULL, handle, &cursor), -EINVAL);
	assert_int_equal(shmkit_pool_read(pool, handle, NULL), -EINVAL);
	assert_int_equal(shmkit_pool_index(NULL, handle), -EINVAL);
	assert_int_equal(shmkit_pool_at(NULL, 0, &handle), -EINVAL);
	assert_int_equal(shmkit_pool_at(pool, 0, NULL), -EINVAL);
	assert_int_equal(shmkit_pool_next(NULL, &cursor, &handle), -EINVAL);
	assert_int_equal(shmkit_pool_next(pool, NULL, &handle), -EINVAL);
	assert_int_equal(shmkit_pool_next(pool, &cursor, NULL), -EINVAL);
	assert_int_equal(shmkit_pool_owner(NULL, handle, &pid, &alive), -EINVAL);
	assert_int_equal(shmkit_pool_owner(pool, handle, NULL, &alive), -EINVAL);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, NULL), -EINVAL);
	assert_int_equal(shmkit_pool_adopt(NULL, handle), -EINVAL);
	assert_int_equal(shmkit_pool_reclaim(NULL), -EINVAL);
	assert_int_equal(shmkit_pool_get_info(NULL, &info), -EINVAL);
	assert_int_equal(shmkit_pool_capacity(NULL), 0);
	assert_int_equal(shmkit_pool_size(NULL), 0);
	assert_int_equal(shmkit_pool_element_size(NULL), 0);
	assert_int_equal(cursor, 0);
	shmkit_pool_close(pool);
}

static void test_calls_read_only_look_but_not_touch(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 2), *view;
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *viewer = NULL;
	uint64_t handle = acquire(pool), found = 0, cursor = 0;
	char bytes[16];
	uint32_t alive = 0;
	int32_t pid = 0;

	(void)state;
	strcpy(shmkit_pool_get(pool, handle), "look");
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &viewer), 0);
	view = open_pool(viewer, "p");
	assert_int_equal(shmkit_pool_acquire(view, &found), -EROFS);
	assert_int_equal(shmkit_pool_release(view, handle), -EROFS);
	assert_int_equal(shmkit_pool_adopt(view, handle), -EROFS);
	assert_int_equal(shmkit_pool_reclaim(view), -EROFS);
	assert_null(shmkit_pool_get(view, handle));
	assert_non_null(strstr(shmkit_last_error(), "read-only"));
	assert_string_equal(shmkit_pool_view(view, handle), "look");
	assert_int_equal(shmkit_pool_read(view, handle, bytes), 0);
	assert_string_equal(bytes, "look");
	assert_int_equal(shmkit_pool_index(view, handle), shk_pool_slot(handle));
	assert_int_equal(shmkit_pool_at(view, shk_pool_slot(handle), &found), 0);
	assert_int_equal(found, handle);
	assert_int_equal(shmkit_pool_next(view, &cursor, &found), 1);
	assert_int_equal(found, handle);
	assert_int_equal(shmkit_pool_next(view, &cursor, &found), 0);
	assert_int_equal(shmkit_pool_owner(view, handle, &pid, &alive), 0);
	assert_int_equal(pid, getpid());
	assert_int_equal(alive, 1);
	assert_int_equal(shmkit_pool_size(view), 1);
	assert_int_equal(shmkit_pool_get_info(view, &info), 0);
	assert_int_equal(info.used, 1);
	assert_int_equal(shmkit_segment_check(viewer), 0);
	assert_int_equal(shmkit_pool_release(pool, handle), 0);
	assert_null(shmkit_pool_view(view, handle));
	assert_int_equal(shmkit_pool_read(view, handle, bytes), -ESTALE);
	shmkit_pool_close(view);
	shmkit_segment_close(viewer);
	shmkit_pool_close(pool);
}

static void test_calls_removed_estale(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 2), *again;
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	uint64_t handle = acquire(pool), cursor = 0, found = 4711;

	(void)state;
	assert_int_equal(shmkit_segment_remove(segment, "p"), 0);
	again = make_pool("p", 16, 2);
	expect_stale(pool, handle);
	assert_int_equal(shmkit_pool_acquire(pool, &found), -ESTALE);
	assert_non_null(strstr(shmkit_last_error(), "removed"));
	assert_int_equal(shmkit_pool_at(pool, 0, &found), -ESTALE);
	assert_int_equal(shmkit_pool_next(pool, &cursor, &found), -ESTALE);
	assert_int_equal(shmkit_pool_reclaim(pool), -ESTALE);
	assert_int_equal(shmkit_pool_get_info(pool, &info), -ESTALE);
	assert_int_equal(shmkit_pool_size(pool), 0);
	assert_int_equal(shmkit_pool_capacity(pool), 2);
	assert_int_equal(found, 4711);
	assert_int_equal(shmkit_pool_size(again), 0);
	shmkit_pool_close(again);
	shmkit_pool_close(pool);
}

static void test_calls_leave_errno_alone(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 1);
	uint64_t handle = acquire(pool);
	uint32_t alive = 0;
	int32_t pid = 0;

	(void)state;
	errno = 4711;
	expect_full(pool);
	assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	assert_int_equal(shmkit_pool_at(pool, 7, &handle), -ERANGE);
	assert_int_equal(errno, 4711);
	shmkit_pool_close(pool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_owner_of_own_object_alive),
		TEST(test_owner_left_pid_zero_and_reclaimed),
		TEST(test_reclaim_id_taken_again_released),
		TEST(test_calls_null_einval),
		TEST(test_calls_read_only_look_but_not_touch),
		TEST(test_calls_removed_estale),
		TEST(test_calls_leave_errno_alone),
	};

	return cmocka_run_group_tests_name("pool_calls", tests, NULL, NULL);
}
