/*
 * Goal: structs that begin with struct_size are read and written as their caller knows them: never
 * a byte outside struct_size, never one that the caller did not give taken for something; those of
 * a newer caller are accepted as long as what is unknown is zero.
 *
 * Method: the three internal functions with every size around the known one, in buffers whose
 * surroundings are checked; then each public function that takes such a struct.
 */
#include "structs.h"
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define KNOWN 32u
#define FIRST 16u
#define GUARD 0xa5

/* As a later release might have it: the first release's fields, and more. */
struct sample {
	uint32_t struct_size;
	uint32_t a;
	uint64_t b;
	/* since the second release */
	uint64_t c, d;
};

_Static_assert(sizeof(struct sample) == KNOWN, "sample");

static void fill(unsigned char bytes[96], uint32_t size)
{
	memset(bytes, GUARD, 96);
	for (uint32_t i = 0; i < size && i < 96; i++)
		bytes[i] = (unsigned char)(i + 1);
	memcpy(bytes, &size, sizeof(size));
}

static void test_struct_in_every_size_takes_what_was_given_and_no_more(void **state)
{
	unsigned char given[96];
	struct sample known;

	(void)state;
	for (uint32_t size = 0; size <= 64; size++) {
		uint32_t nonzero = size;
		int result;

		fill(given, size);
		memset(&known, 0xff, sizeof(known));
		result = shk_struct_in(&known, sizeof(known), FIRST, given, "sample");
		if (size < FIRST) {
			assert_int_equal(result, -EINVAL);
			continue;
		}
		if (size > KNOWN) {
			assert_int_equal(result, -E2BIG);
			/* each byte behind the known ones counts, alone */
			memset(given + KNOWN, 0, size - KNOWN);
			assert_int_equal(shk_struct_in(&known, sizeof(known), FIRST, given, "sample"), 0);
			given[size - 1] = 1;
			assert_int_equal(shk_struct_in(&known, sizeof(known), FIRST, given, "sample"), -E2BIG);
			given[size - 1] = 0;
			assert_int_equal(shk_struct_in(&known, sizeof(known), FIRST, given, "sample"), 0);
			nonzero = KNOWN;
		}
		for (uint32_t i = 4; i < KNOWN; i++)
			assert_int_equal(((unsigned char *)&known)[i], i < nonzero ? i + 1 : 0);
	}
	memset(&known, 0xff, sizeof(known));
	assert_int_equal(shk_struct_in(&known, sizeof(known), FIRST, NULL, "sample"), 0);
	for (uint32_t i = 0; i < KNOWN; i++)
		assert_int_equal(((unsigned char *)&known)[i], 0);
}

static void test_struct_out_every_size_writes_within_it(void **state)
{
	unsigned char to[96], known[KNOWN];

	(void)state;
	for (uint32_t i = 0; i < KNOWN; i++)
		known[i] = (unsigned char)(200 - i);
	for (uint32_t size = FIRST; size <= 64; size++) {
		memset(to, GUARD, sizeof(to));
		memcpy(to, &size, sizeof(size));
		assert_int_equal(shk_struct_check(to, FIRST, "sample"), 0);
		shk_struct_out(to, known, sizeof(known));
		/* the caller's own size stays */
		assert_memory_equal(to, &size, sizeof(size));
		for (uint32_t i = 4; i < size; i++)
			assert_int_equal(to[i], i < KNOWN ? known[i] : 0);
		for (uint32_t i = size; i < sizeof(to); i++)
			assert_int_equal(to[i], GUARD);
	}
	assert_int_equal(shk_struct_check(NULL, FIRST, "sample"), -EINVAL);
	memset(to, 0, sizeof(to));
	assert_int_equal(shk_struct_check(to, FIRST, "sample"), -EINVAL);
	to[0] = FIRST - 1;
	assert_int_equal(shk_struct_check(to, FIRST, "sample"), -EINVAL);
}

/* ---- the public structs ---- */

static char name[64], another_name[64];
static struct shmkit_segment *segment;
static struct shmkit_queue *queue;

static int make_segment(void **state)
{
	(void)state;
	strlcpy(name, test_name("structs"), sizeof(name));
	strlcpy(another_name, test_name("another"), sizeof(another_name));
	return shmkit_segment_create(name, MIB, NULL, &segment) ||
	       shmkit_queue_create(segment, "q", 8, 4, NULL, &queue);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	return test_shm_leftovers(name) || test_shm_leftovers(another_name);
}

static int get_info(void *to)
{
	return shmkit_segment_get_info(segment, to);
}

static int find(void *to)
{
	return shmkit_segment_find(segment, "q", to);
}

static int next_entry(void *to)
{
	uint32_t cursor = 0;

	return shmkit_segment_next_entry(segment, &cursor, to) - 1;
}

static int next_member(void *to)
{
	uint32_t cursor = 0;

	return shmkit_segment_next_member(segment, &cursor, to) - 1;
}

static int recover(void *to)
{
	return shmkit_segment_recover(segment, to);
}

static int queue_get_info(void *to)
{
	return shmkit_queue_get_info(queue, to);
}

static int queue_get_stats(void *to)
{
	return shmkit_queue_get_stats(queue, to);
}

static const struct {
	const char *name;
	int (*call)(void *to);
	uint32_t size;
} results[] = {
	{ "segment_get_info", get_info, sizeof(struct shmkit_segment_info) },
	{ "segment_find", find, sizeof(struct shmkit_entry_info) },
	{ "segment_next_entry", next_entry, sizeof(struct shmkit_entry_info) },
	{ "segment_next_member", next_member, sizeof(struct shmkit_member_info) },
	{ "segment_recover", recover, sizeof(struct shmkit_recovery) },
	{ "queue_get_info", queue_get_info, sizeof(struct shmkit_entry_info) },
	{ "queue_get_stats", queue_get_stats, sizeof(struct shmkit_queue_stats) },
};

/* A page whose end is the end of what may be touched: sizes of a buffer at its end. */
static unsigned char *page_end(void)
{
	unsigned char *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(pages != MAP_FAILED);
	assert_int_equal(mprotect(pages + 2 * 4096, 4096, PROT_NONE), 0);
	return pages + 2 * 4096;
}

static void test_results_are_written_within_struct_size_alone(void **state)
{
	unsigned char *end = page_end();

	(void)state;
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
		uint32_t known = results[i].size;

		for (uint32_t extra = 0; extra <= 64; extra += 8) {
			uint32_t size = known + extra;
			unsigned char *to = end - size;

			memset(end - 2 * 4096, GUARD, 2 * 4096);
			memcpy(to, &size, sizeof(size));
			assert_int_equal(results[i].call(to), 0);
			assert_memory_equal(to, &size, sizeof(size));
			assert_int_equal(to[-1], GUARD);
			for (uint32_t at = known; at < size; at++)
				assert_int_equal(to[at], 0);
		}
		/* too small: refused, and nothing touched */
		for (uint32_t size = 0; size < known; size += known < 100 ? 1 : 13) {
			unsigned char *to = end - (size < 4 ? 4 : size);

			memset(end - 2 * 4096, GUARD, 2 * 4096);
			memcpy(to, &size, sizeof(size));
			assert_int_equal(results[i].call(to), i == 2 || i == 3 ? -EINVAL - 1 : -EINVAL);
			for (unsigned char *at = to + 4; at < end; at++)
				assert_int_equal(*at, GUARD);
		}
	}
	munmap(end - 2 * 4096, 3 * 4096);
}

static int believe(void *argument)
{
	uint32_t garbage = *(const uint32_t *)argument;
	unsigned char *end = page_end();
	struct shmkit_segment_options *options = (void *)(end - sizeof(*options));
	struct shmkit_segment_info *info = (void *)(end - sizeof(*info));
	struct shmkit_segment *other;
	int result;

	options->struct_size = garbage;
	result = shmkit_segment_create(another_name, MIB, options, &other);
	if (result != -EINVAL && result != -E2BIG)
		return 1;
	info->struct_size = garbage;
	result = shmkit_segment_get_info(segment, info);
	return result == -EINVAL || result == -E2BIG ? 0 : 2;
}

/*
 * A struct_size that was never set is most often garbage. It must not be believed: no options
 * struct has a megabyte, and a result must not be written over all that lies behind it.
 */
static void test_struct_size_garbage_is_refused_without_being_believed(void **state)
{
	static uint32_t garbage[] = { 1u << 20, 0x7fffffff, 0x80000000, 0xffffffff };
	int failures = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
		int status = test_wait_exit(test_fork(believe, &garbage[i]), 10000);

		if (status != 0) {
			print_error("struct_size 0x%x is believed: %d\n", garbage[i], status);
			failures++;
		}
	}
	assert_int_equal(failures, 0);
}

static void test_options_of_a_newer_caller_are_taken_when_the_rest_is_zero(void **state)
{
	struct {
		struct shmkit_object_options options;
		uint64_t later[4];
	} large = { .options = { .struct_size = sizeof(large) } };
	struct {
		struct shmkit_segment_options options;
		uint64_t later[4];
	} larger = { .options = { .struct_size = sizeof(larger), .table = SHMKIT_TABLE_SMALL } };
	struct shmkit_queue *other;
	uint64_t size;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "large", 8, 4, &large.options, &other), 0);
	shmkit_queue_close(other);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 8, 4, &large.options, &size), 0);
	assert_int_equal(shmkit_segment_footprint(&larger.options, &size), 0);
	assert_int_equal(size, 4096);
	large.later[3] = 1;
	larger.later[3] = 1;
	size = 77;
	assert_int_equal(shmkit_queue_create(segment, "larger", 8, 4, &large.options, &other), -E2BIG);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 4, &large.options, &other), -E2BIG);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 8, 4, &large.options, &size), -E2BIG);
	assert_int_equal(shmkit_segment_footprint(&larger.options, &size), -E2BIG);
	assert_int_equal(size, 77);
	large.options.struct_size = larger.options.struct_size = 3;
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 8, 4, &large.options, &size), -EINVAL);
	assert_int_equal(shmkit_segment_footprint(&larger.options, &size), -EINVAL);
}

/* ret_* outputs are written on success only. */
static void test_outputs_are_left_alone_on_failure(void **state)
{
	void *const untouched = (void *)(uintptr_t)0x5a5a5a;
	struct shmkit_segment *other = untouched;
	struct shmkit_queue *another = untouched;
	struct shmkit_array *array = untouched;
	struct shmkit_ring *ring = untouched;
	struct shmkit_pool *pool = untouched;
	struct shmkit_atomic_u64 *atomic = untouched;
	uint32_t cursor = 5;
	struct shmkit_entry_info info = { .struct_size = sizeof(info), .kind = 99 };

	(void)state;
	assert_true(shmkit_segment_open(another_name, 0, &other) < 0);
	assert_true(shmkit_segment_open_wait(another_name, 0, 0, &other) < 0);
	assert_true(shmkit_segment_create(another_name, 1, NULL, &other) < 0);
	assert_true(shmkit_segment_open_or_create(another_name, 1, NULL, &other) < 0);
	assert_true(shmkit_segment_create_anonymous("none", 1, NULL, &other) < 0);
	assert_true(shmkit_segment_open_fd(-1, 0, &other) < 0);
	assert_ptr_equal(other, untouched);
	assert_true(shmkit_queue_open(segment, "none", 8, &another) < 0);
	assert_true(shmkit_queue_open(segment, "q", 9, &another) < 0);
	assert_true(shmkit_queue_create(segment, "q", 8, 4, NULL, &another) < 0);
	assert_true(shmkit_queue_open_or_create(segment, "q", 8, 5, NULL, &another) < 0);
	assert_true(shmkit_queue_create(segment, "large", 8, 1 << 20, NULL, &another) < 0);
	assert_ptr_equal(another, untouched);
	assert_true(shmkit_array_open(segment, "q", 8, &array) < 0);
	assert_true(shmkit_ring_open(segment, "q", 8, &ring) < 0);
	assert_true(shmkit_pool_open(segment, "q", 8, &pool) < 0);
	assert_true(shmkit_atomic_u64_open(segment, "q", &atomic) < 0);
	assert_ptr_equal(array, untouched);
	assert_ptr_equal(ring, untouched);
	assert_ptr_equal(pool, untouched);
	assert_ptr_equal(atomic, untouched);
	assert_true(shmkit_segment_find(segment, "none", &info) < 0);
	assert_int_equal(info.kind, 99);
	/* the end of a walk is no failure, and writes nothing either */
	while (shmkit_segment_next_entry(segment, &cursor, &info) == 1)
		;
	info.kind = 98;
	assert_int_equal(shmkit_segment_next_entry(segment, &cursor, &info), 0);
	assert_int_equal(info.kind, 98);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_struct_in_every_size_takes_what_was_given_and_no_more),
		cmocka_unit_test(test_struct_out_every_size_writes_within_it),
		TEST(test_results_are_written_within_struct_size_alone),
		TEST(test_struct_size_garbage_is_refused_without_being_believed),
		TEST(test_options_of_a_newer_caller_are_taken_when_the_rest_is_zero),
		TEST(test_outputs_are_left_alone_on_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
