/*
 * Pool: made and opened; objects acquired, released, found by handle and by slot. Owners, wrong
 * arguments, read-only and removed pools: test_pool_calls.c. Generations that end, repairs, hints
 * and hostile bytes: test_pool_words.c.
 */
#include "support.h"

#include "pool.h"

#include <shmkit/atomic.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("pool"));
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

/* ---- life ---- */

static void test_create_bad_argument_einval(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options) };
	struct shmkit_pool *pool = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_pool_create(NULL, "p", 8, 4, NULL, &pool), -EINVAL);
	assert_int_equal(shmkit_pool_create(segment, NULL, 8, 4, NULL, &pool), -EINVAL);
	assert_int_equal(shmkit_pool_create(segment, "p", 8, 4, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_pool_create(segment, "p", 0, 4, NULL, &pool), -EINVAL);
	assert_int_equal(shmkit_pool_create(segment, "p", (1u << 30) + 1, 4, NULL, &pool), -EINVAL);
	assert_int_equal(shmkit_pool_create(segment, "p", 8, 0, NULL, &pool), -EINVAL);
	assert_int_equal(shmkit_pool_create(segment, "p", 8, 1u << 28, NULL, &pool), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "268435455"));
	assert_int_equal(shmkit_pool_create(segment, "p", 8, UINT64_MAX, NULL, &pool), -EINVAL);
	options.flags = 1;
	assert_int_equal(shmkit_pool_create(segment, "p", 8, 4, &options, &pool), -EINVAL);
	assert_ptr_equal(pool, UNTOUCHED);
}

static void test_create_too_large_enospc(void **state)
{
	struct shmkit_pool *pool = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_pool_create(segment, "p", 1 << 20, 2, NULL, &pool), -ENOSPC);
	assert_int_equal(shmkit_pool_create(segment, "p", 1u << 30, (1u << 28) - 1, NULL, &pool),
			 -ENOSPC);
	assert_ptr_equal(pool, UNTOUCHED);
}

static void test_create_taken_or_read_only_refused(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 8, 4), *other = UNTOUCHED;
	struct shmkit_segment *viewer = NULL;

	(void)state;
	assert_int_equal(shmkit_pool_create(segment, "p", 8, 4, NULL, &other), -EEXIST);
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &viewer), 0);
	assert_int_equal(shmkit_pool_create(viewer, "q", 8, 4, NULL, &other), -EROFS);
	assert_int_equal(shmkit_pool_open_or_create(viewer, "q", 8, 4, NULL, &other), -EROFS);
	assert_ptr_equal(other, UNTOUCHED);
	shmkit_segment_close(viewer);
	shmkit_pool_close(pool);
	shmkit_pool_close(NULL);
}

static void test_open_wrong_refused(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 8, 4), *other = UNTOUCHED;
	struct shmkit_atomic_u32 *atomic = NULL;

	(void)state;
	assert_int_equal(shmkit_atomic_u32_create(segment, "n", 0, &atomic), 0);
	assert_int_equal(shmkit_pool_open(segment, "none", 8, &other), -ENOENT);
	assert_int_equal(shmkit_pool_open(segment, "n", 0, &other), -EPROTOTYPE);
	assert_int_equal(shmkit_pool_open(segment, "p", 4, &other), -EPROTOTYPE);
	assert_int_equal(shmkit_pool_open_or_create(segment, "p", 8, 5, NULL, &other), -EPROTOTYPE);
	assert_int_equal(shmkit_pool_open(segment, "p", 8, NULL), -EINVAL);
	assert_ptr_equal(other, UNTOUCHED);
	assert_int_equal(shmkit_pool_open_or_create(segment, "p", 8, 4, NULL, &other), 0);
	shmkit_pool_close(other);
	shmkit_atomic_u32_close(atomic);
	shmkit_pool_close(pool);
}

static void test_get_info_tells_shape_and_use(void **state)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_pool *pool = make_pool("p", 24, 5);
	uint64_t footprint = 0;

	(void)state;
	acquire(pool);
	acquire(pool);
	assert_int_equal(shmkit_pool_get_info(pool, &info), 0);
	assert_int_equal(info.kind, SHMKIT_KIND_POOL);
	assert_int_equal(info.capacity, 5);
	assert_int_equal(info.element_size, 24);
	assert_int_equal(info.used, 2);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_POOL, 24, 5, NULL, &footprint), 0);
	assert_int_equal(info.size, footprint);
	assert_int_equal(shmkit_pool_capacity(pool), 5);
	assert_int_equal(shmkit_pool_element_size(pool), 24);
	assert_int_equal(shmkit_pool_size(pool), 2);
	assert_int_equal(shmkit_pool_get_info(pool, NULL), -EINVAL);
	info.struct_size = 8;
	assert_int_equal(shmkit_pool_get_info(pool, &info), -EINVAL);
	shmkit_pool_close(pool);
}

/* Elements of every size and alignment lie apart, aligned, and inside the extent. */
static void test_create_any_shape_elements_apart(void **state)
{
	static const uint32_t sizes[] = { 1, 3, 8, 24, 64, 65, 200 };
	static const uint32_t alignments[] = { 0, 1, 8, 64, 256, 4096 };
	static const uint64_t capacities[] = { 1, 2, 8 };

	(void)state;
	for (size_t i = 0; i < 7 * 6 * 3; i++) {
		struct shmkit_object_options options = { .struct_size = sizeof(options),
							 .alignment = alignments[i / 7 % 6] };
		uint32_t size = sizes[i % 7];
		uint64_t capacity = capacities[i / 42];
		struct shmkit_pool *pool = NULL;
		uint8_t *end;

		assert_int_equal(shmkit_pool_create(segment, "p", size, capacity, &options, &pool),
				 0);
		end = pool->object.base + pool->object.shape.size;
		for (uint64_t n = 0; n < capacity; n++)
			memset(shmkit_pool_get(pool, acquire(pool)), (int)n + 1, size);
		expect_full(pool);
		for (uint64_t n = 0; n < capacity; n++) {
			uint8_t bytes[200];
			uint64_t handle = 0;
			uint8_t *at;

			assert_int_equal(shmkit_pool_at(pool, n, &handle), 0);
			at = shmkit_pool_get(pool, handle);
			assert_true(at + size <= end);
			assert_int_equal((uintptr_t)at % pool->object.shape.alignment, 0);
			assert_int_equal(shmkit_pool_read(pool, handle, bytes), 0);
			for (uint32_t b = 1; b < size; b++)
				assert_int_equal(bytes[b], bytes[0]);
			assert_int_equal(shmkit_pool_release(pool, handle), 0);
		}
		assert_int_equal(shmkit_segment_check(segment), 0);
		shmkit_pool_close(pool);
		assert_int_equal(shmkit_segment_remove(segment, "p"), 0);
	}
}

/* ---- acquire and release ---- */

static void test_acquire_to_capacity_then_eagain(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 130);
	uint64_t handles[130];

	(void)state;
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < 130; i++) {
			handles[i] = acquire(pool);
			for (size_t k = 0; k < i; k++)
				assert_ptr_not_equal(shmkit_pool_get(pool, handles[i]),
						     shmkit_pool_get(pool, handles[k]));
		}
		expect_full(pool);
		assert_int_equal(shmkit_pool_size(pool), 130);
		for (size_t i = 0; i < 130; i++)
			assert_int_equal(shmkit_pool_release(pool, handles[i]), 0);
		assert_int_equal(shmkit_pool_size(pool), 0);
	}
	shmkit_pool_close(pool);
}

static void test_acquire_used_slot_bytes_zero(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 100, 1);
	uint8_t bytes[100];

	(void)state;
	for (int round = 0; round < 3; round++) {
		uint64_t handle = acquire(pool);

		assert_int_equal(shmkit_pool_read(pool, handle, bytes), 0);
		for (size_t i = 0; i < sizeof(bytes); i++)
			assert_int_equal(bytes[i], 0);
		memset(shmkit_pool_get(pool, handle), 0xa5, sizeof(bytes));
		assert_int_equal(shmkit_pool_release(pool, handle), 0);
	}
	shmkit_pool_close(pool);
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

static void test_calls_released_handle_estale(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 1), *other = open_pool(segment, "p");
	uint64_t first = acquire(pool), second;

	(void)state;
	assert_int_equal(shmkit_pool_release(pool, first), 0);
	expect_stale(pool, first);
	second = acquire(pool);
	assert_int_not_equal(first, second);
	/* the slot is in use again */
	expect_stale(pool, first);
	expect_stale(other, first);
	assert_non_null(shmkit_pool_get(other, second));
	shmkit_pool_close(other);
	shmkit_pool_close(pool);
}

static void test_calls_handle_that_never_was_estale(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 3);
	uint64_t handle = acquire(pool);

	(void)state;
	expect_stale(pool, SHMKIT_POOL_INVALID);
	expect_stale(pool, shk_pool_slot(handle));                         /* generation 0 */
	expect_stale(pool, handle + (UINT64_C(1) << SHK_POOL_INDEX_BITS)); /* one not reached yet */
	expect_stale(pool, (handle & ~SHK_POOL_INDEX_MASK) | 3);           /* past the end */
	expect_stale(pool, handle | SHK_POOL_INDEX_MASK);
	expect_stale(pool, UINT64_MAX);
	for (uint64_t slot = 0; slot < 3; slot++)                          /* free slots */
		if (slot != shk_pool_slot(handle))
			expect_stale(pool, UINT64_C(1) << SHK_POOL_INDEX_BITS | slot);
	assert_non_null(shmkit_pool_get(pool, handle));
	shmkit_pool_close(pool);
}

static void test_release_other_handle_of_pool_ok(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 1), *other = open_pool(segment, "p");
	uint64_t handle = acquire(pool);

	(void)state;
	expect_full(other);
	assert_int_equal(shmkit_pool_release(other, handle), 0);
	assert_int_equal(shmkit_pool_release(pool, handle), -ESTALE);
	handle = acquire(pool);
	assert_int_equal(shmkit_pool_release(other, handle), 0);
	shmkit_pool_close(other);
	shmkit_pool_close(pool);
}

static void test_close_objects_stay(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 4);
	uint64_t handle = acquire(pool);

	(void)state;
	strcpy(shmkit_pool_get(pool, handle), "still here");
	shmkit_pool_close(pool);
	pool = open_pool(segment, "p");
	assert_int_equal(shmkit_pool_size(pool), 1);
	assert_string_equal(shmkit_pool_view(pool, handle), "still here");
	/* its owner is this member, which goes on */
	assert_int_equal(shmkit_pool_reclaim(pool), 0);
	shmkit_pool_close(pool);
}

/* ---- by slot ---- */

static void test_index_and_at_name_the_same(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 5);
	uint64_t found = 4711;

	(void)state;
	for (int i = 0; i < 4; i++) {
		uint64_t handle = acquire(pool);
		int64_t index = shmkit_pool_index(pool, handle);

		assert_in_range(index, 0, 4);
		assert_int_equal(shmkit_pool_at(pool, (uint64_t)index, &found), 0);
		assert_int_equal(found, handle);
	}
	found = 4711;
	for (uint64_t slot = 0, empty = 0; slot < 5; slot++) {
		int result = shmkit_pool_at(pool, slot, &found);

		if (result == 0)
			continue;
		assert_int_equal(result, -ENOENT);
		assert_int_equal(empty++, 0);
	}
	found = 4711;
	assert_int_equal(shmkit_pool_at(pool, 5, &found), -ERANGE);
	assert_non_null(strstr(shmkit_last_error(), "slots 0 to 4"));
	assert_int_equal(shmkit_pool_at(pool, UINT64_MAX, &found), -ERANGE);
	assert_int_equal(found, 4711);
	shmkit_pool_close(pool);
}

static void test_next_visits_every_object_once(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, 70);
	uint64_t handles[70], cursor = 0, handle = 0, count = 0, last = 0;

	(void)state;
	assert_int_equal(shmkit_pool_next(pool, &cursor, &handle), 0);
	for (int i = 0; i < 70; i++)
		handles[i] = acquire(pool);
	for (int i = 0; i < 70; i += 2)
		assert_int_equal(shmkit_pool_release(pool, handles[i]), 0);
	cursor = 0;
	while (shmkit_pool_next(pool, &cursor, &handle) == 1) {
		uint64_t slot = shk_pool_slot(handle);

		assert_non_null(shmkit_pool_get(pool, handle));
		assert_true(count == 0 || slot > last);
		last = slot;
		count++;
	}
	assert_int_equal(count, 35);
	handle = 4711;
	assert_int_equal(shmkit_pool_next(pool, &cursor, &handle), 0);
	cursor = UINT64_MAX;
	assert_int_equal(shmkit_pool_next(pool, &cursor, &handle), 0);
	assert_int_equal(handle, 4711);
	shmkit_pool_close(pool);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 20000

static void *churn(void *arg)
{
	struct shmkit_pool *pool = arg;

	for (uint64_t i = 0; i < ROUNDS; i++) {
		uint64_t handle = 0, copy[2] = { 1, 1 };
		uint64_t *object;

		if (shmkit_pool_acquire(pool, &handle) == -EAGAIN)
			continue;
		object = shmkit_pool_get(pool, handle);
		assert_non_null(object);
		assert_int_equal(object[0], 0);
		assert_int_equal(object[1], 0);
		object[0] = handle;
		object[1] = ~handle;
		assert_int_equal(shmkit_pool_read(pool, handle, copy), 0);
		assert_int_equal(copy[0], handle);
		assert_int_equal(copy[1], ~handle);
		assert_int_equal(shmkit_pool_release(pool, handle), 0);
	}
	return NULL;
}

/* Through one handle; fewer slots than threads. */
static void test_acquire_release_threads_one_holder_each(void **state)
{
	struct shmkit_pool *pool = make_pool("p", 16, THREADS - 1);
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, pool), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shmkit_pool_size(pool), 0);
	for (int i = 0; i < THREADS - 1; i++)
		acquire(pool);
	expect_full(pool);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_pool_close(pool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_bad_argument_einval),
		TEST(test_create_too_large_enospc),
		TEST(test_create_taken_or_read_only_refused),
		TEST(test_open_wrong_refused),
		TEST(test_get_info_tells_shape_and_use),
		TEST(test_create_any_shape_elements_apart),
		TEST(test_acquire_to_capacity_then_eagain),
		TEST(test_acquire_used_slot_bytes_zero),
		TEST(test_calls_released_handle_estale),
		TEST(test_calls_handle_that_never_was_estale),
		TEST(test_release_other_handle_of_pool_ok),
		TEST(test_close_objects_stay),
		TEST(test_index_and_at_name_the_same),
		TEST(test_next_visits_every_object_once),
		TEST(test_acquire_release_threads_one_holder_each),
	};

	return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
