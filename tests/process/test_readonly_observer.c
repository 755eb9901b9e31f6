/*
 * Goal: a read-only opener sees what is there and never anything else, needs no more than read
 * permission, is no member and is in nobody's way; its waits end by what is written, at most a
 * little late, and with -ESTALE once nobody can write any more.
 *
 * Method: observers in processes of their own, also as another user, beside members who create,
 * fill, remove and grow as fast as they can, leave, or are killed.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define MS INT64_C(1000000)

static char name[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("readonly"));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)shmkit_segment_unlink(name);
	return test_shm_leftovers(name);
}

static struct shmkit_segment_info info_of(struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info;
}

/* ---- as another user ---- */

static int look_as_nobody(void *argument)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	struct shmkit_segment *segment;
	struct shmkit_array *array;
	uint32_t cursor = 0;
	uint64_t value = 0;

	(void)argument;
	if (setgid(65534) || setuid(65534))
		return 98;
	if (shmkit_segment_open(name, 0, &segment) != -EACCES)
		return 1;
	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment) || shmkit_array_open(segment, "a", 8, &array))
		return 2;
	if (shmkit_array_read(array, 0, 1, &value) || value != 42 || shmkit_array_data(array) ||
	    shmkit_array_at(array, 0) || !shmkit_array_view(array))
		return 3;
	/* who is alive it knows too */
	if (shmkit_segment_next_member(segment, &cursor, &member) != 1 || !member.alive ||
	    shmkit_segment_check(segment))
		return 4;
	shmkit_array_close(array);
	shmkit_segment_close(segment);
	return 0;
}

static void test_read_only_by_another_user_who_may_read(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .mode = 0644 };
	struct shmkit_segment *segment;
	struct shmkit_array *array;
	uint64_t value = 42;

	(void)state;
	if (getuid() != 0) {
		print_message("left out: only root can become somebody else\n");
		skip();
	}
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), 0);
	assert_int_equal(shmkit_array_create(segment, "a", 8, 1, NULL, &array), 0);
	assert_int_equal(shmkit_array_write(array, 0, 1, &value), 0);
	assert_int_equal(test_wait_exit(test_fork(look_as_nobody, NULL), 10000), 0);
	assert_int_equal(info_of(segment).members, 1);
	shmkit_array_close(array);
	shmkit_segment_close(segment);
}

/* ---- beside members at work ---- */

#define NAMES 4u
#define WORDS 700u

static uint64_t end_ns;

/* Word i of the array of that name, once it is filled. */
static uint64_t word_of(unsigned key, uint64_t i)
{
	return (uint64_t)(key + 1) << 32 | i;
}

static int create_and_remove(void *argument)
{
	static uint64_t words[WORDS];
	struct shmkit_segment *segment;
	char what[16];

	(void)argument;
	if (shmkit_segment_open(name, 0, &segment))
		return 1;
	while (test_now_ns() < end_ns) {
		unsigned key = (unsigned)test_random_below(NAMES);
		uint64_t count = 100 + 200 * key;
		struct shmkit_array *array;
		int result;

		snprintf(what, sizeof(what), "name %u", key);
		result = shmkit_segment_remove(segment, what);
		if (result && result != -ENOENT)
			return 2;
		result = shmkit_array_create(segment, what, 8, count, NULL, &array);
		if (result == -EEXIST || result == -ESTALE)
			continue;
		if (result) {
			fprintf(stderr, "create: %d, %s\n", result, shmkit_last_error());
			return 3;
		}
		for (uint64_t i = 0; i < count; i++)
			words[i] = word_of(key, i);
		result = shmkit_array_write(array, 0, count, words);
		if (result && result != -ESTALE)
			return 4;
		shmkit_array_close(array);
	}
	shmkit_segment_close(segment);
	return 0;
}

/* Every word is zero or what belongs there: never another structure's. */
static int observe(void *argument)
{
	static uint64_t words[WORDS];
	struct shmkit_segment *segment;
	unsigned reads = 0;
	char what[16];

	(void)argument;
	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment))
		return 1;
	while (test_now_ns() < end_ns) {
		unsigned key = (unsigned)test_random_below(NAMES);
		struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
		struct shmkit_array *array;
		uint64_t count;
		int result;

		snprintf(what, sizeof(what), "name %u", key);
		result = shmkit_array_open(segment, what, 8, &array);
		if (result == -ENOENT)
			continue;
		if (result) {
			fprintf(stderr, "open: %d, %s\n", result, shmkit_last_error());
			return 2;
		}
		count = shmkit_array_capacity(array);
		if (count != 100 + 200 * key)
			return 3;
		result = shmkit_array_read(array, 0, count, words);
		for (uint64_t i = 0; i < count && result == 0; i++)
			if (words[i] != 0 && words[i] != word_of(key, i))
				return 4;
		if (result && result != -ESTALE)
			return 5;
		result = shmkit_array_get_info(array, &entry);
		if (result == 0 && (strcmp(entry.name, what) != 0 || entry.capacity != count))
			return 6;
		reads++;
		shmkit_array_close(array);
		if (reads % 64 == 0 && shmkit_segment_check(segment)) {
			fprintf(stderr, "check: %s\n", shmkit_last_error());
			return 7;
		}
	}
	shmkit_segment_close(segment);
	return reads > 100 ? 0 : 8;
}

static void test_read_only_beside_creators_and_removers_sees_nothing_wrong(void **state)
{
	struct shmkit_segment *segment;
	uint64_t before;
	pid_t pids[5];
	char what[16];

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	before = info_of(segment).used;
	end_ns = test_now_ns() + UINT64_C(2000000000);
	for (int i = 0; i < 5; i++)
		pids[i] = test_fork(i < 2 ? create_and_remove : observe, NULL);
	for (int i = 0; i < 5; i++)
		assert_int_equal(test_wait_exit(pids[i], 20000), 0);
	for (unsigned key = 0; key < NAMES; key++) {
		snprintf(what, sizeof(what), "name %u", key);
		(void)shmkit_segment_remove(segment, what);
	}
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(info_of(segment).used, before);
	shmkit_segment_close(segment);
}

static void test_read_only_sees_what_members_have_grown(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .max_size = 64 * MIB };
	struct shmkit_segment *segment, *reader;
	struct shmkit_array *array, *view;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), 0);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY | SHMKIT_SEGMENT_POPULATE |
					     SHMKIT_SEGMENT_HUGE_PAGES, &reader), 0);
	assert_int_equal(shmkit_segment_grow(segment, 64 * MIB), 0);
	assert_int_equal(shmkit_array_create(segment, "far", 4096, 8192, NULL, &array), 0);
	memset(shmkit_array_at(array, 8191), 7, 4096);
	assert_int_equal(shmkit_array_open(reader, "far", 4096, &view), 0);
	assert_int_equal(((const char *)shmkit_array_view(view))[32 * MIB - 1], 7);
	assert_int_equal(info_of(reader).size, 64 * MIB);
	shmkit_array_close(view);
	shmkit_array_close(array);
	shmkit_segment_close(reader);
	shmkit_segment_close(segment);
}

/* ---- waits ---- */

struct changer {
	int pipe[2];
	int what;
};

enum { LEAVES, IS_KILLED, STORES };

static int change_later(void *argument)
{
	struct changer *changer = argument;
	struct shmkit_atomic_u64 *atomic;
	struct shmkit_segment *segment;

	if (shmkit_segment_create(name, MIB, NULL, &segment) ||
	    shmkit_atomic_u64_create(segment, "value", 1, &atomic) || write(changer->pipe[1], "m", 1) != 1)
		return 1;
	for (uint64_t i = 2; changer->what == STORES && i < 30; i++) {
		test_sleep_ms(10);
		shmkit_atomic_u64_store(atomic, i);
	}
	test_sleep_ms(60);
	if (changer->what == IS_KILLED)
		raise(SIGKILL);
	shmkit_atomic_u64_close(atomic);
	shmkit_segment_close(segment);
	return 0;
}

static pid_t start_changer(struct changer *changer, int what)
{
	char byte;
	pid_t pid;

	changer->what = what;
	assert_int_equal(pipe(changer->pipe), 0);
	pid = test_fork(change_later, changer);
	assert_int_equal(read(changer->pipe[0], &byte, 1), 1);
	close(changer->pipe[0]);
	close(changer->pipe[1]);
	return pid;
}

static void open_reader(struct shmkit_segment **ret_segment, struct shmkit_atomic_u64 **ret_atomic)
{
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, ret_segment), 0);
	assert_int_equal(shmkit_atomic_u64_open(*ret_segment, "value", ret_atomic), 0);
}

static void test_read_only_wait_sees_each_change(void **state)
{
	struct shmkit_atomic_u64 *atomic;
	struct shmkit_segment *reader;
	struct changer changer;
	pid_t pid = start_changer(&changer, STORES);
	uint64_t seen = 1;

	(void)state;
	open_reader(&reader, &atomic);
	while (seen < 29) {
		uint64_t value;

		assert_int_equal(shmkit_atomic_u64_wait(atomic, seen, 5000 * MS), 0);
		value = shmkit_atomic_u64_load(atomic);
		assert_true(value > seen);
		seen = value;
	}
	assert_int_equal(test_wait_exit(pid, 10000), 0);
	/* the last member has left: what was there can be read, and will not change */
	assert_int_equal(shmkit_atomic_u64_load(atomic), 29);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 28, -1), 0);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 29, -1), -ESTALE);
	assert_int_equal(test_shm_leftovers(name), 0);
	shmkit_atomic_u64_close(atomic);
	shmkit_segment_close(reader);
}

static void test_read_only_wait_ends_when_the_last_member_leaves(void **state)
{
	struct shmkit_atomic_u64 *atomic;
	struct shmkit_segment *reader;
	struct changer changer;
	pid_t pid = start_changer(&changer, LEAVES);
	uint64_t start = test_now_ns();

	(void)state;
	open_reader(&reader, &atomic);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 1, -1), -ESTALE);
	assert_true(test_now_ns() - start < UINT64_C(1000000000));
	assert_int_equal(test_wait_exit(pid, 10000), 0);
	shmkit_atomic_u64_close(atomic);
	shmkit_segment_close(reader);
}

/* The name is still there: somebody may come and go on, and somebody does. */
static void test_read_only_wait_goes_on_when_the_last_member_was_killed(void **state)
{
	struct shmkit_atomic_u64 *atomic, *again;
	struct shmkit_segment *reader, *segment;
	struct changer changer;
	pid_t pid = start_changer(&changer, IS_KILLED);

	(void)state;
	open_reader(&reader, &atomic);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 1, 150 * MS), -ETIMEDOUT);
	assert_int_equal(info_of(reader).members, 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segment), 0);
	assert_int_equal(shmkit_atomic_u64_open(segment, "value", &again), 0);
	shmkit_atomic_u64_store(again, 2);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 1, 5000 * MS), 0);
	shmkit_atomic_u64_close(again);
	shmkit_segment_close(segment);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 2, -1), -ESTALE);
	shmkit_atomic_u64_close(atomic);
	shmkit_segment_close(reader);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_read_only_by_another_user_who_may_read),
		TEST(test_read_only_beside_creators_and_removers_sees_nothing_wrong),
		TEST(test_read_only_sees_what_members_have_grown),
		TEST(test_read_only_wait_sees_each_change),
		TEST(test_read_only_wait_ends_when_the_last_member_leaves),
		TEST(test_read_only_wait_goes_on_when_the_last_member_was_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
