/*
 * Atomics: every call of every family, and every error it may return, within one process. Waiting,
 * threads and forks: test_atomic_wait.c.
 *
 * The families have the same tests, which are macros: FAMILY_TESTS(family, type, two values that
 * differ), INTEGER_TESTS(family, type, lowest, highest value).
 */
#include "support.h"

#include "atomic_value.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* a macro of stdbool.h: it would get into the names made below */
#undef bool

#define NS_PER_MS INT64_C(1000000)
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("atomic"));
	return shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_segment *open_viewer(void)
{
	struct shmkit_segment *viewer = NULL;

	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &viewer), 0);
	return viewer;
}

static uint32_t *event_of(const void *atomic)
{
	const struct shk_atomic *handle = atomic;

	return &((struct shk_atomic_shm *)(void *)handle->object.base)->event;
}

/* With the event's bit as a waiter leaves it: the call has woken. */
#define assert_wakes(atomic, call) \
	do { \
		*event_of(atomic) |= 1u; \
		call; \
		assert_int_equal(*event_of(atomic) & 1u, 0); \
	} while (0)

/* ---- what all families have ---- */

#define LIFE_TEST(f, value) \
static void test_##f##_life_every_result(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL, *other = UNTOUCHED; \
	struct shmkit_segment *viewer = open_viewer(); \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_open(segment, "n", &other), -ENOENT); \
	assert_int_equal(shmkit_atomic_##f##_create(NULL, "n", value, &other), -EINVAL); \
	assert_int_equal(shmkit_atomic_##f##_create(segment, NULL, value, &other), -EINVAL); \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", value, NULL), -EINVAL); \
	assert_int_equal(shmkit_atomic_##f##_open(segment, "n", NULL), -EINVAL); \
	assert_int_equal(shmkit_atomic_##f##_open_or_create(segment, "n", value, NULL), -EINVAL); \
	assert_int_equal(shmkit_atomic_##f##_create(viewer, "n", value, &other), -EROFS); \
	assert_int_equal(shmkit_atomic_##f##_open_or_create(viewer, "n", value, &other), -EROFS); \
	assert_ptr_equal(other, UNTOUCHED); \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", value, &atomic), 0); \
	assert_true(shmkit_atomic_##f##_load(atomic) == (value)); \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", value, &other), -EEXIST); \
	assert_ptr_equal(other, UNTOUCHED); \
	assert_int_equal(shmkit_atomic_##f##_open(segment, "n", &other), 0); \
	shmkit_atomic_##f##_store(other, 0); \
	assert_true(shmkit_atomic_##f##_load(atomic) == 0); \
	shmkit_atomic_##f##_close(other); \
	assert_int_equal(shmkit_atomic_##f##_open_or_create(segment, "n", value, &other), 0); \
	assert_true(shmkit_atomic_##f##_load(other) == 0); \
	shmkit_atomic_##f##_close(other); \
	assert_int_equal(shmkit_atomic_##f##_open_or_create(segment, "m", value, &other), 1); \
	assert_true(shmkit_atomic_##f##_load(other) == (value)); \
	shmkit_atomic_##f##_close(other); \
	shmkit_atomic_##f##_close(atomic); \
	shmkit_atomic_##f##_close(NULL); \
	shmkit_segment_close(viewer); \
}

#define VALUE_TEST(f, type, one, two) \
static void test_##f##_value_written_and_told(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL; \
	type expected = two; \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &atomic), 0); \
	assert_int_equal(shmkit_atomic_##f##_compare_exchange(atomic, &expected, two), 0); \
	assert_true(expected == (one)); \
	assert_wakes(atomic, assert_int_equal(shmkit_atomic_##f##_compare_exchange( \
					      atomic, &expected, two), 1)); \
	assert_true(expected == (one)); \
	assert_true(shmkit_atomic_##f##_load(atomic) == (two)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_exchange(atomic, one) == (two))); \
	assert_wakes(atomic, shmkit_atomic_##f##_store(atomic, two)); \
	assert_true(shmkit_atomic_##f##_load(atomic) == (two)); \
	assert_int_equal(shmkit_segment_check(segment), 0); \
	shmkit_atomic_##f##_close(atomic); \
}

#define NULL_TEST(f, type, one) \
static void test_##f##_null_handle_takes_no_value(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL; \
	type expected = one; \
	(void)state; \
	assert_true(shmkit_atomic_##f##_load(NULL) == 0); \
	assert_non_null(strstr(shmkit_last_error(), "shmkit_atomic_" #f "_load")); \
	shmkit_atomic_##f##_store(NULL, one); \
	assert_non_null(strstr(shmkit_last_error(), "shmkit_atomic_" #f "_store")); \
	assert_true(shmkit_atomic_##f##_exchange(NULL, one) == 0); \
	assert_non_null(strstr(shmkit_last_error(), "shmkit_atomic_" #f "_exchange")); \
	assert_int_equal(shmkit_atomic_##f##_compare_exchange(NULL, &expected, one), 0); \
	assert_true(expected == (one)); \
	assert_int_equal(shmkit_atomic_##f##_wait(NULL, one, 0), -EINVAL); \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &atomic), 0); \
	assert_int_equal(shmkit_atomic_##f##_compare_exchange(atomic, NULL, 0), 0); \
	assert_true(shmkit_atomic_##f##_load(atomic) == (one)); \
	shmkit_atomic_##f##_close(atomic); \
}

#define READ_ONLY_TEST(f, type, one, two) \
static void test_##f##_read_only_changes_nothing(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL, *view = NULL; \
	struct shmkit_segment *viewer = open_viewer(); \
	type expected = one; \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &atomic), 0); \
	assert_int_equal(shmkit_atomic_##f##_open(viewer, "n", &view), 0); \
	assert_true(shmkit_atomic_##f##_load(view) == (one)); \
	shmkit_atomic_##f##_store(view, two); \
	assert_non_null(strstr(shmkit_last_error(), "read-only")); \
	assert_true(shmkit_atomic_##f##_exchange(view, two) == (one)); \
	assert_int_equal(shmkit_atomic_##f##_compare_exchange(view, &expected, two), 0); \
	assert_true(expected == (one)); \
	expected = two; \
	assert_int_equal(shmkit_atomic_##f##_compare_exchange(view, &expected, two), 0); \
	assert_true(expected == (one)); \
	assert_true(shmkit_atomic_##f##_load(atomic) == (one)); \
	assert_int_equal(shmkit_atomic_##f##_wait(view, two, -1), 0); \
	assert_int_equal(shmkit_atomic_##f##_wait(view, one, 0), -ETIMEDOUT); \
	assert_int_equal(shmkit_atomic_##f##_wait(view, one, 5 * NS_PER_MS), -ETIMEDOUT); \
	shmkit_atomic_##f##_close(view); \
	shmkit_segment_close(viewer); \
	shmkit_atomic_##f##_close(atomic); \
}

#define REMOVED_TEST(f, type, one, two) \
static void test_##f##_removed_reads_zero(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL, *again = NULL; \
	type expected = two; \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &atomic), 0); \
	assert_int_equal(shmkit_segment_remove(segment, "n"), 0); \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &again), 0); \
	shmkit_atomic_##f##_store(atomic, two); \
	assert_true(shmkit_atomic_##f##_load(atomic) == 0); \
	assert_non_null(strstr(shmkit_last_error(), "removed")); \
	assert_true(shmkit_atomic_##f##_exchange(atomic, two) == 0); \
	assert_int_equal(shmkit_atomic_##f##_compare_exchange(atomic, &expected, two), 0); \
	assert_true(expected == 0); \
	assert_int_equal(shmkit_atomic_##f##_wait(atomic, 0, -1), -ESTALE); \
	assert_true(shmkit_atomic_##f##_load(again) == (one)); \
	shmkit_atomic_##f##_close(atomic); \
	shmkit_atomic_##f##_close(again); \
}

#define WAIT_TEST(f, one, two) \
static void test_##f##_wait_same_etimedout(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL; \
	uint64_t start; \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &atomic), 0); \
	assert_int_equal(shmkit_atomic_##f##_wait(atomic, two, 0), 0); \
	assert_int_equal(shmkit_atomic_##f##_wait(atomic, two, -1), 0); \
	assert_int_equal(shmkit_atomic_##f##_wait(atomic, one, 0), -ETIMEDOUT); \
	start = test_now_ns(); \
	assert_int_equal(shmkit_atomic_##f##_wait(atomic, one, 20 * NS_PER_MS), -ETIMEDOUT); \
	assert_true(test_now_ns() - start >= 20 * (uint64_t)NS_PER_MS); \
	shmkit_atomic_##f##_close(atomic); \
}

#define FAMILY_TESTS(f, type, one, two) \
	LIFE_TEST(f, one) \
	VALUE_TEST(f, type, one, two) \
	NULL_TEST(f, type, one) \
	READ_ONLY_TEST(f, type, one, two) \
	REMOVED_TEST(f, type, one, two) \
	WAIT_TEST(f, one, two)

/* ---- integers ---- */

#define ARITHMETIC_TEST(f) \
static void test_##f##_fetch_tells_value_before(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL; \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", 100, &atomic), 0); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_add(atomic, 5) == 100)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_sub(atomic, 3) == 105)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_and(atomic, 0x6e) == 102)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_or(atomic, 0x11) == 102)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_xor(atomic, 0x0f) == 0x77)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_min(atomic, 50) == 0x78)); \
	assert_wakes(atomic, assert_true(shmkit_atomic_##f##_fetch_max(atomic, 60) == 50)); \
	assert_true(shmkit_atomic_##f##_fetch_min(atomic, 60) == 60); \
	assert_true(shmkit_atomic_##f##_fetch_min(atomic, 61) == 60); \
	assert_true(shmkit_atomic_##f##_fetch_max(atomic, 59) == 60); \
	assert_true(shmkit_atomic_##f##_load(atomic) == 60); \
	shmkit_atomic_##f##_close(atomic); \
}

#define WRAP_TEST(f, type, lowest, highest) \
static void test_##f##_fetch_past_the_end_wraps(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL; \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", highest, &atomic), 0); \
	assert_true(shmkit_atomic_##f##_fetch_add(atomic, 1) == (highest)); \
	assert_true(shmkit_atomic_##f##_fetch_sub(atomic, 1) == (lowest)); \
	assert_true(shmkit_atomic_##f##_fetch_sub(atomic, lowest) == (highest)); \
	assert_true(shmkit_atomic_##f##_fetch_max(atomic, highest) == (type)-1); \
	assert_true(shmkit_atomic_##f##_fetch_min(atomic, lowest) == (highest)); \
	assert_true(shmkit_atomic_##f##_fetch_max(atomic, 3) == (lowest)); \
	assert_true(shmkit_atomic_##f##_load(atomic) == 3); \
	shmkit_atomic_##f##_close(atomic); \
}

#define REFUSED_TEST(f) \
static void test_##f##_fetch_not_possible_changes_nothing(void **state) \
{ \
	struct shmkit_atomic_##f *atomic = NULL, *view = NULL; \
	struct shmkit_segment *viewer = open_viewer(); \
	(void)state; \
	assert_int_equal(shmkit_atomic_##f##_create(segment, "n", 9, &atomic), 0); \
	assert_int_equal(shmkit_atomic_##f##_open(viewer, "n", &view), 0); \
	assert_true(shmkit_atomic_##f##_fetch_add(view, 1) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_sub(view, 1) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_and(view, 1) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_or(view, 2) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_xor(view, 1) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_min(view, 1) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_max(view, 10) == 9); \
	assert_true(shmkit_atomic_##f##_load(atomic) == 9); \
	assert_true(shmkit_atomic_##f##_fetch_add(NULL, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_sub(NULL, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_and(NULL, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_or(NULL, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_xor(NULL, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_min(NULL, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_max(NULL, 1) == 0); \
	assert_non_null(strstr(shmkit_last_error(), "shmkit_atomic_" #f "_fetch_max")); \
	shmkit_atomic_##f##_close(view); \
	shmkit_segment_close(viewer); \
	assert_int_equal(shmkit_segment_remove(segment, "n"), 0); \
	assert_true(shmkit_atomic_##f##_fetch_add(atomic, 1) == 0); \
	assert_true(shmkit_atomic_##f##_fetch_max(atomic, 1) == 0); \
	shmkit_atomic_##f##_close(atomic); \
}

#define INTEGER_TESTS(f, type, lowest, highest) \
	FAMILY_TESTS(f, type, lowest + 1, highest) \
	ARITHMETIC_TEST(f) \
	WRAP_TEST(f, type, lowest, highest) \
	REFUSED_TEST(f)

INTEGER_TESTS(u32, uint32_t, 0, UINT32_MAX)
INTEGER_TESTS(i32, int32_t, INT32_MIN, INT32_MAX)
INTEGER_TESTS(u64, uint64_t, 0, UINT64_MAX)
INTEGER_TESTS(i64, int64_t, INT64_MIN, INT64_MAX)
FAMILY_TESTS(bool, uint8_t, 1, 0)
FAMILY_TESTS(f64, double, 1.5, -1e300)

/* ---- bool ---- */

static void test_bool_any_nonzero_is_one(void **state)
{
	struct shmkit_atomic_bool *atomic = NULL;
	uint8_t expected = 7;

	(void)state;
	assert_int_equal(shmkit_atomic_bool_create(segment, "n", 9, &atomic), 0);
	assert_int_equal(shmkit_atomic_bool_load(atomic), 1);
	assert_int_equal(shmkit_atomic_bool_exchange(atomic, 0), 1);
	shmkit_atomic_bool_store(atomic, 255);
	assert_int_equal(shmkit_atomic_bool_load(atomic), 1);
	assert_int_equal(shmkit_atomic_bool_compare_exchange(atomic, &expected, 2), 1);
	assert_int_equal(shmkit_atomic_bool_exchange(atomic, 0x80), 1);
	assert_int_equal(shmkit_atomic_bool_wait(atomic, 3, 0), -ETIMEDOUT);
	assert_int_equal(shmkit_atomic_bool_wait(atomic, 0, 0), 0);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_atomic_bool_close(atomic);
}

static void test_bool_other_byte_in_memory_is_one(void **state)
{
	struct shmkit_atomic_bool *atomic = NULL;
	uint8_t *byte, expected = 0;

	(void)state;
	assert_int_equal(shmkit_atomic_bool_create(segment, "n", 0, &atomic), 0);
	byte = shk_atomic_word((struct shk_atomic *)atomic);
	*byte = 0x40;
	assert_int_equal(shmkit_atomic_bool_load(atomic), 1);
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_non_null(strstr(shmkit_last_error(), "'n'"));
	assert_int_equal(shmkit_atomic_bool_wait(atomic, 1, 0), -ETIMEDOUT);
	assert_int_equal(shmkit_atomic_bool_compare_exchange(atomic, &expected, 1), 0);
	assert_int_equal(expected, 1);
	/* the loop that callers write ends */
	assert_int_equal(shmkit_atomic_bool_compare_exchange(atomic, &expected, 0), 1);
	assert_int_equal(*byte, 0);
	*byte = 0x40;
	assert_int_equal(shmkit_atomic_bool_exchange(atomic, 1), 1);
	assert_int_equal(*byte, 1);
	shmkit_atomic_bool_close(atomic);
}

/* ---- f64 ---- */

static void test_f64_fetch_tells_value_before(void **state)
{
	struct shmkit_atomic_f64 *atomic = NULL;

	(void)state;
	assert_int_equal(shmkit_atomic_f64_create(segment, "n", 1.5, &atomic), 0);
	assert_wakes(atomic, assert_true(shmkit_atomic_f64_fetch_add(atomic, 2.25) == 1.5));
	assert_wakes(atomic, assert_true(shmkit_atomic_f64_fetch_sub(atomic, 0.5) == 3.75));
	assert_wakes(atomic, assert_true(shmkit_atomic_f64_fetch_min(atomic, -7) == 3.25));
	assert_wakes(atomic, assert_true(shmkit_atomic_f64_fetch_max(atomic, 8) == -7));
	assert_true(shmkit_atomic_f64_fetch_min(atomic, 9) == 8);
	assert_true(shmkit_atomic_f64_fetch_max(atomic, 7) == 8);
	assert_true(shmkit_atomic_f64_load(atomic) == 8);
	shmkit_atomic_f64_close(atomic);
}

static void test_f64_fetch_limit_nan_changes_nothing(void **state)
{
	struct shmkit_atomic_f64 *atomic = NULL;

	(void)state;
	assert_int_equal(shmkit_atomic_f64_create(segment, "n", 1, &atomic), 0);
	assert_true(shmkit_atomic_f64_fetch_min(atomic, (double)NAN) == 1);
	assert_true(shmkit_atomic_f64_fetch_max(atomic, (double)NAN) == 1);
	assert_true(shmkit_atomic_f64_load(atomic) == 1);
	shmkit_atomic_f64_store(atomic, (double)NAN);
	assert_true(isnan(shmkit_atomic_f64_fetch_min(atomic, 1)));
	assert_true(isnan(shmkit_atomic_f64_fetch_max(atomic, 1)));
	assert_true(isnan(shmkit_atomic_f64_fetch_add(atomic, 1)));
	assert_true(isnan(shmkit_atomic_f64_load(atomic)));
	shmkit_atomic_f64_close(atomic);
}

static void test_f64_compares_bytes(void **state)
{
	struct shmkit_atomic_f64 *atomic = NULL;
	double expected = -0.0;

	(void)state;
	assert_int_equal(shmkit_atomic_f64_create(segment, "n", 0.0, &atomic), 0);
	assert_int_equal(shmkit_atomic_f64_compare_exchange(atomic, &expected, 1), 0);
	assert_false(signbit(expected));
	assert_int_equal(shmkit_atomic_f64_wait(atomic, -0.0, 0), 0);
	assert_int_equal(shmkit_atomic_f64_wait(atomic, 0.0, 0), -ETIMEDOUT);
	expected = 0.0;
	assert_int_equal(shmkit_atomic_f64_compare_exchange(atomic, &expected, (double)NAN), 1);
	expected = (double)NAN;
	assert_int_equal(shmkit_atomic_f64_wait(atomic, (double)NAN, 0), -ETIMEDOUT);
	assert_int_equal(shmkit_atomic_f64_compare_exchange(atomic, &expected, -0.0), 1);
	assert_true(signbit(shmkit_atomic_f64_load(atomic)));
	shmkit_atomic_f64_close(atomic);
}

/* Every pattern of bits gets through *expected unchanged, a signalling NaN too. */
static void test_f64_compare_exchange_signalling_nan_ends_loop(void **state)
{
	static const uint64_t bits = UINT64_C(0x7ff0000000000001);
	struct shmkit_atomic_f64 *atomic = NULL;
	double expected = 0;

	(void)state;
	assert_int_equal(shmkit_atomic_f64_create(segment, "n", 1, &atomic), 0);
	memcpy(shk_atomic_word((struct shk_atomic *)atomic), &bits, sizeof(bits));
	assert_int_equal(shmkit_atomic_f64_compare_exchange(atomic, &expected, 2), 0);
	assert_memory_equal(&expected, &bits, sizeof(bits));
	assert_int_equal(shmkit_atomic_f64_compare_exchange(atomic, &expected, 2), 1);
	shmkit_atomic_f64_close(atomic);
}

static void test_f64_fetch_not_possible_changes_nothing(void **state)
{
	struct shmkit_atomic_f64 *atomic = NULL, *view = NULL;
	struct shmkit_segment *viewer = open_viewer();

	(void)state;
	assert_int_equal(shmkit_atomic_f64_create(segment, "n", 9, &atomic), 0);
	assert_int_equal(shmkit_atomic_f64_open(viewer, "n", &view), 0);
	assert_true(shmkit_atomic_f64_fetch_add(view, 1) == 9);
	assert_true(shmkit_atomic_f64_fetch_sub(view, 1) == 9);
	assert_true(shmkit_atomic_f64_fetch_min(view, 1) == 9);
	assert_true(shmkit_atomic_f64_fetch_max(view, 10) == 9);
	assert_true(shmkit_atomic_f64_load(atomic) == 9);
	assert_true(shmkit_atomic_f64_fetch_add(NULL, 1) == 0);
	assert_true(shmkit_atomic_f64_fetch_sub(NULL, 1) == 0);
	assert_true(shmkit_atomic_f64_fetch_min(NULL, 1) == 0);
	assert_true(shmkit_atomic_f64_fetch_max(NULL, 1) == 0);
	shmkit_atomic_f64_close(view);
	shmkit_segment_close(viewer);
	shmkit_atomic_f64_close(atomic);
}

/* ---- kinds ---- */

static void test_open_other_family_eprototype(void **state)
{
	struct shmkit_atomic_u32 *atomic = NULL;
	struct shmkit_atomic_i32 *i32 = UNTOUCHED;
	struct shmkit_atomic_u64 *u64 = UNTOUCHED;
	struct shmkit_atomic_bool *flag = UNTOUCHED;
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };

	(void)state;
	assert_int_equal(shmkit_atomic_u32_create(segment, "n", 3, &atomic), 0);
	assert_int_equal(shmkit_atomic_i32_open(segment, "n", &i32), -EPROTOTYPE);
	assert_int_equal(shmkit_atomic_u64_open_or_create(segment, "n", 3, &u64), -EPROTOTYPE);
	assert_int_equal(shmkit_atomic_bool_open(segment, "n", &flag), -EPROTOTYPE);
	assert_ptr_equal(i32, UNTOUCHED);
	assert_ptr_equal(u64, UNTOUCHED);
	assert_ptr_equal(flag, UNTOUCHED);
	assert_int_equal(shmkit_segment_find(segment, "n", &info), 0);
	assert_int_equal(info.kind, SHMKIT_KIND_ATOMIC_U32);
	assert_int_equal(info.capacity, 1);
	assert_int_equal(info.used, 1);
	assert_int_equal(info.element_size, 4);
	shmkit_atomic_u32_close(atomic);
}

static void test_footprint_one_line(void **state)
{
	uint64_t size = 0;

	(void)state;
	for (uint32_t kind = SHMKIT_KIND_ATOMIC_U32; kind <= SHMKIT_KIND_ATOMIC_F64; kind++) {
		assert_int_equal(shmkit_object_footprint(kind, 0, 1, NULL, &size), 0);
		assert_int_equal(size, 64);
		assert_int_equal(shmkit_object_footprint(kind, 0, 2, NULL, &size), -EINVAL);
		assert_int_equal(shmkit_object_footprint(kind, 3, 1, NULL, &size), -EINVAL);
	}
}

static void test_calls_leave_errno_alone(void **state)
{
	struct shmkit_atomic_f64 *atomic = NULL;

	(void)state;
	assert_int_equal(shmkit_atomic_f64_create(segment, "n", 1, &atomic), 0);
	errno = 4711;
	assert_int_equal(shmkit_atomic_f64_wait(atomic, 1, 10 * NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(shmkit_atomic_f64_wait(NULL, 1, 0), -EINVAL);
	shmkit_atomic_f64_fetch_add(atomic, 1);
	assert_int_equal(errno, 4711);
	shmkit_atomic_f64_close(atomic);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

#define LIST_FAMILY(f) \
	TEST(test_##f##_life_every_result), \
	TEST(test_##f##_value_written_and_told), \
	TEST(test_##f##_null_handle_takes_no_value), \
	TEST(test_##f##_read_only_changes_nothing), \
	TEST(test_##f##_removed_reads_zero), \
	TEST(test_##f##_wait_same_etimedout)

#define LIST_INTEGER(f) \
	LIST_FAMILY(f), \
	TEST(test_##f##_fetch_tells_value_before), \
	TEST(test_##f##_fetch_past_the_end_wraps), \
	TEST(test_##f##_fetch_not_possible_changes_nothing)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIST_INTEGER(u32),
		LIST_INTEGER(i32),
		LIST_INTEGER(u64),
		LIST_INTEGER(i64),
		LIST_FAMILY(bool),
		LIST_FAMILY(f64),
		TEST(test_bool_any_nonzero_is_one),
		TEST(test_bool_other_byte_in_memory_is_one),
		TEST(test_f64_fetch_tells_value_before),
		TEST(test_f64_fetch_limit_nan_changes_nothing),
		TEST(test_f64_compares_bytes),
		TEST(test_f64_compare_exchange_signalling_nan_ends_loop),
		TEST(test_f64_fetch_not_possible_changes_nothing),
		TEST(test_open_other_family_eprototype),
		TEST(test_footprint_one_line),
		TEST(test_calls_leave_errno_alone),
	};

	return cmocka_run_group_tests_name("atomic", tests, NULL, NULL);
}
