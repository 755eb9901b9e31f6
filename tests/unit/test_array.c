/*
 * Array: every call, every error it may return, and what it promises, within one process and its
 * forked children.
 */
#include "support.h"

#include "object.h"

#include <shmkit/array.h>
#include <shmkit/atomic.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("array"));
	return shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_array *make_array(const char *name, uint32_t element_size, uint64_t capacity)
{
	struct shmkit_array *array = NULL;

	assert_int_equal(shmkit_array_create(segment, name, element_size, capacity, NULL, &array),
			 0);
	return array;
}

/* A second handle, on the same segment opened read-only. */
static struct shmkit_array *open_read_only(const char *name, struct shmkit_segment **ret_segment)
{
	struct shmkit_array *array = NULL;

	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, ret_segment), 0);
	assert_int_equal(shmkit_array_open(*ret_segment, name, 0, &array), 0);
	return array;
}

/* ---- life ---- */

static void test_create_bad_argument_einval(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options) };
	struct shmkit_array *array = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_array_create(NULL, "a", 8, 4, NULL, &array), -EINVAL);
	assert_int_equal(shmkit_array_create(segment, NULL, 8, 4, NULL, &array), -EINVAL);
	assert_int_equal(shmkit_array_create(segment, "a", 8, 4, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_array_create(segment, "a", 0, 4, NULL, &array), -EINVAL);
	assert_int_equal(shmkit_array_create(segment, "a", (1u << 30) + 1, 4, NULL, &array),
			 -EINVAL);
	assert_int_equal(shmkit_array_create(segment, "a", 8, 0, NULL, &array), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "0 elements"));
	options.flags = 1;
	assert_int_equal(shmkit_array_create(segment, "a", 8, 4, &options, &array), -EINVAL);
	assert_ptr_equal(array, UNTOUCHED);
}

static void test_create_alignment_not_dividing_size_einval(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .alignment = 16 };
	struct shmkit_array *array = UNTOUCHED;
	uint64_t size = 4711;

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 24, 4, &options, &array), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "must divide element_size"));
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_ARRAY, 24, 4, &options, &size),
			 -EINVAL);
	assert_int_equal(size, 4711);
	assert_ptr_equal(array, UNTOUCHED);
	assert_int_equal(shmkit_segment_find(segment, "a", NULL), -ENOENT);
}

static void test_create_too_large_enospc(void **state)
{
	struct shmkit_array *array = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 1024, 1024, NULL, &array), -ENOSPC);
	assert_int_equal(shmkit_array_create(segment, "a", 1 << 30, UINT64_MAX, NULL, &array),
			 -ENOSPC);
	assert_int_equal(
		shmkit_array_create(segment, "a", 1 << 30, UINT64_C(1) << 34, NULL, &array),
		-ENOSPC);
	assert_ptr_equal(array, UNTOUCHED);
}

static void test_create_again_eexist(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4), *other = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 8, 4, NULL, &other), -EEXIST);
	assert_ptr_equal(other, UNTOUCHED);
	shmkit_array_close(array);
}

static void test_create_read_only_erofs(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4), *other = UNTOUCHED;
	struct shmkit_segment *viewer = NULL;

	(void)state;
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &viewer), 0);
	assert_int_equal(shmkit_array_create(viewer, "b", 8, 4, NULL, &other), -EROFS);
	assert_int_equal(shmkit_array_open_or_create(viewer, "b", 8, 4, NULL, &other), -EROFS);
	assert_ptr_equal(other, UNTOUCHED);
	assert_int_equal(shmkit_array_open_or_create(viewer, "a", 8, 4, NULL, &other), 0);
	shmkit_array_close(other);
	shmkit_segment_close(viewer);
	shmkit_array_close(array);
}

static void test_open_wrong_eprototype(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4), *other = UNTOUCHED;
	struct shmkit_atomic_u32 *atomic = NULL;

	(void)state;
	assert_int_equal(shmkit_array_open(segment, "none", 8, &other), -ENOENT);
	assert_int_equal(shmkit_array_open(segment, "a", 4, &other), -EPROTOTYPE);
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 8, 5, NULL, &other),
			 -EPROTOTYPE);
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 16, 4, NULL, &other),
			 -EPROTOTYPE);
	assert_int_equal(shmkit_atomic_u32_create(segment, "n", 0, &atomic), 0);
	assert_int_equal(shmkit_array_open(segment, "n", 0, &other), -EPROTOTYPE);
	assert_ptr_equal(other, UNTOUCHED);
	assert_int_equal(shmkit_array_open(segment, "a", 0, NULL), -EINVAL);
	shmkit_atomic_u32_close(atomic);
	shmkit_array_close(array);
}

static void test_open_or_create_twice_same_memory(void **state)
{
	struct shmkit_array *first = NULL, *second = NULL;

	(void)state;
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 8, 4, NULL, &first), 1);
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 8, 4, NULL, &second), 0);
	((uint64_t *)shmkit_array_data(first))[3] = 77;
	assert_int_equal(*(uint64_t *)shmkit_array_at(second, 3), 77);
	shmkit_array_close(first);
	shmkit_array_close(second);
	shmkit_array_close(NULL);
}

static void test_get_info_tells_shape(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .alignment = 64,
						 .schema = "position:f32[48]" };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_array *array = NULL;

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 192, 5, &options, &array), 0);
	assert_int_equal(shmkit_array_get_info(array, &info), 0);
	assert_int_equal(info.kind, SHMKIT_KIND_ARRAY);
	assert_int_equal(info.capacity, 5);
	assert_int_equal(info.used, 5);
	assert_int_equal(info.element_size, 192);
	assert_string_equal(info.name, "a");
	assert_string_equal(info.schema, "position:f32[48]");
	assert_int_equal(shmkit_array_capacity(array), 5);
	assert_int_equal(shmkit_array_element_size(array), 192);
	assert_int_equal((uintptr_t)shmkit_array_data(array) % 64, 0);
	assert_int_equal(shmkit_array_get_info(array, NULL), -EINVAL);
	info.struct_size = 4;
	assert_int_equal(shmkit_array_get_info(array, &info), -EINVAL);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_array_close(array);
}

/* ---- elements ---- */

static void test_new_elements_are_zero(void **state)
{
	struct shmkit_array *array;
	uint8_t bytes[100];

	(void)state;
	/* memory that was used before */
	array = make_array("before", 10, 10);
	memset(shmkit_array_data(array), 0xff, 100);
	shmkit_array_close(array);
	assert_int_equal(shmkit_segment_remove(segment, "before"), 0);
	array = make_array("a", 10, 10);
	memset(bytes, 0xff, sizeof(bytes));
	assert_int_equal(shmkit_array_read(array, 0, 10, bytes), 0);
	for (size_t i = 0; i < sizeof(bytes); i++)
		assert_int_equal(bytes[i], 0);
	shmkit_array_close(array);
}

static void test_at_every_element_apart(void **state)
{
	struct shmkit_array *array = make_array("a", 7, 9);
	uint8_t *data = shmkit_array_data(array);

	(void)state;
	assert_ptr_equal(shmkit_array_view(array), data);
	for (uint64_t i = 0; i < 9; i++)
		assert_ptr_equal(shmkit_array_at(array, i), data + 7 * i);
	shmkit_array_close(array);
}

static void test_at_past_the_end_null(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4);

	(void)state;
	assert_null(shmkit_array_at(array, 4));
	assert_non_null(strstr(shmkit_last_error(), "'a' has 4"));
	assert_null(shmkit_array_at(array, UINT64_MAX));
	shmkit_array_close(array);
}

static void test_write_then_read_same_bytes(void **state)
{
	struct shmkit_array *array = make_array("a", 4, 8);
	uint32_t in[3] = { 1, 2, 3 }, out[8] = { 0 };

	(void)state;
	assert_int_equal(shmkit_array_write(array, 5, 3, in), 0);
	assert_int_equal(shmkit_array_read(array, 0, 8, out), 0);
	for (int i = 0; i < 8; i++)
		assert_int_equal(out[i], i < 5 ? 0 : i - 4);
	shmkit_array_close(array);
}

static void test_read_write_out_of_range_erange(void **state)
{
	static const struct {
		uint64_t first, count;
	} wrong[] = { { 0, 5 },
		      { 4, 1 },
		      { 5, 0 },
		      { 3, 2 },
		      { UINT64_MAX, 1 },
		      { 1, UINT64_MAX },
		      { UINT64_MAX, UINT64_MAX },
		      { UINT64_C(1) << 61, 1 },
		      { 0, UINT64_C(1) << 61 } };
	struct shmkit_array *array = make_array("a", 8, 4);
	uint64_t bytes[4] = { 7, 7, 7, 7 };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(shmkit_array_read(array, wrong[i].first, wrong[i].count, bytes),
				 -ERANGE);
		assert_int_equal(shmkit_array_write(array, wrong[i].first, wrong[i].count, bytes),
				 -ERANGE);
	}
	assert_int_equal(bytes[0], 7);
	assert_int_equal(*(uint64_t *)shmkit_array_at(array, 3), 0);
	shmkit_array_close(array);
}

static void test_read_write_nothing_ok(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4);

	(void)state;
	assert_int_equal(shmkit_array_read(array, 4, 0, NULL), 0);
	assert_int_equal(shmkit_array_write(array, 0, 0, NULL), 0);
	shmkit_array_close(array);
}

static void test_calls_null_handle_einval(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4);
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(shmkit_array_read(NULL, 0, 1, &bytes), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "shmkit_array_read"));
	assert_int_equal(shmkit_array_read(array, 0, 1, NULL), -EINVAL);
	assert_int_equal(shmkit_array_write(NULL, 0, 1, &bytes), -EINVAL);
	assert_int_equal(shmkit_array_write(array, 0, 1, NULL), -EINVAL);
	assert_int_equal(shmkit_array_get_info(NULL, &info), -EINVAL);
	assert_null(shmkit_array_data(NULL));
	assert_null(shmkit_array_view(NULL));
	assert_null(shmkit_array_at(NULL, 0));
	assert_int_equal(shmkit_array_capacity(NULL), 0);
	assert_int_equal(shmkit_array_element_size(NULL), 0);
	shmkit_array_close(array);
}

static void test_calls_read_only_erofs(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4), *view;
	struct shmkit_segment *viewer;
	uint64_t bytes = 5;

	(void)state;
	assert_int_equal(shmkit_array_write(array, 1, 1, &bytes), 0);
	view = open_read_only("a", &viewer);
	assert_null(shmkit_array_data(view));
	assert_non_null(strstr(shmkit_last_error(), "read-only"));
	assert_null(shmkit_array_at(view, 0));
	assert_int_equal(shmkit_array_write(view, 0, 1, &bytes), -EROFS);
	assert_int_equal(((const uint64_t *)shmkit_array_view(view))[1], 5);
	bytes = 0;
	assert_int_equal(shmkit_array_read(view, 1, 1, &bytes), 0);
	assert_int_equal(bytes, 5);
	shmkit_array_close(view);
	shmkit_segment_close(viewer);
	shmkit_array_close(array);
}

static void test_calls_removed_estale(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4), *again, *view;
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *viewer;
	uint64_t bytes = 5;

	(void)state;
	view = open_read_only("a", &viewer);
	assert_int_equal(shmkit_segment_remove(segment, "a"), 0);
	again = make_array("a", 8, 4);
	assert_null(shmkit_array_data(array));
	assert_null(shmkit_array_view(array));
	assert_null(shmkit_array_at(array, 0));
	assert_int_equal(shmkit_array_read(array, 0, 1, &bytes), -ESTALE);
	assert_int_equal(shmkit_array_write(array, 0, 1, &bytes), -ESTALE);
	assert_int_equal(shmkit_array_get_info(array, &info), -ESTALE);
	assert_null(shmkit_array_view(view));
	assert_int_equal(shmkit_array_read(view, 0, 1, &bytes), -ESTALE);
	assert_int_equal(shmkit_array_capacity(array), 4);
	assert_int_equal(*(uint64_t *)shmkit_array_at(again, 0), 0);
	shmkit_array_close(view);
	shmkit_segment_close(viewer);
	shmkit_array_close(array);
	shmkit_array_close(again);
}

static int write_in_child(void *arg)
{
	uint64_t value = 99;

	return shmkit_array_write(arg, 2, 1, &value) == 0 && shmkit_array_at(arg, 2) ? 0 : 1;
}

static void test_write_forked_child_seen_by_parent(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4);
	uint64_t value = 0;

	(void)state;
	assert_int_equal(test_wait_exit(test_fork(write_in_child, array), 10000), 0);
	assert_int_equal(shmkit_array_read(array, 2, 1, &value), 0);
	assert_int_equal(value, 99);
	shmkit_array_close(array);
}

static void test_calls_leave_errno_alone(void **state)
{
	struct shmkit_array *array = make_array("a", 8, 4);
	uint64_t value = 0;

	(void)state;
	errno = 4711;
	assert_int_equal(shmkit_array_read(array, 9, 1, &value), -ERANGE);
	assert_null(shmkit_array_at(array, 9));
	assert_int_equal(shmkit_array_write(NULL, 9, 1, &value), -EINVAL);
	assert_int_equal(errno, 4711);
	shmkit_array_close(array);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_bad_argument_einval),
		TEST(test_create_alignment_not_dividing_size_einval),
		TEST(test_create_too_large_enospc),
		TEST(test_create_again_eexist),
		TEST(test_create_read_only_erofs),
		TEST(test_open_wrong_eprototype),
		TEST(test_open_or_create_twice_same_memory),
		TEST(test_get_info_tells_shape),
		TEST(test_new_elements_are_zero),
		TEST(test_at_every_element_apart),
		TEST(test_at_past_the_end_null),
		TEST(test_write_then_read_same_bytes),
		TEST(test_read_write_out_of_range_erange),
		TEST(test_read_write_nothing_ok),
		TEST(test_calls_null_handle_einval),
		TEST(test_calls_read_only_erofs),
		TEST(test_calls_removed_estale),
		TEST(test_write_forked_child_seen_by_parent),
		TEST(test_calls_leave_errno_alone),
	};

	return cmocka_run_group_tests_name("array", tests, NULL, NULL);
}
