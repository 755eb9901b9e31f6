/*
 * Goal: a removed structure's space is used again when nobody can touch it any more, and not a
 * moment before, whoever holds it and however the holder ends; its handles are stale in every
 * process at once. A name that its creator never finished, and a removal nobody finished, are
 * finished by others.
 *
 * Method: children hold structures open, as members and as read-only openers, and then close, exit
 * without closing, are killed, or exec. States that chance seldom hits (a creator that dies with
 * the entry half made, a reaper that dies) are made by a child through the layout, which then dies.
 */
#include "layout.h"
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define BYTES 65536u

static char name[64];
static struct shmkit_segment *segment;
static uint64_t baseline;

static uint64_t used(void)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info.used;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("holders"));
	if (shmkit_segment_create(name, MIB, NULL, &segment))
		return 1;
	baseline = used();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(name);
}

static void make_array(const char *what, int fill, uint64_t *ret_offset)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_array *array;

	assert_int_equal(shmkit_array_create(segment, what, 1, BYTES, NULL, &array), 0);
	assert_int_equal(shmkit_array_get_info(array, &info), 0);
	for (uint32_t i = 0; i < BYTES; i++)
		if (((const char *)shmkit_array_view(array))[i] != 0)
			fail_msg("byte %u of a new array is not 0", i);
	memset(shmkit_array_data(array), fill, BYTES);
	shmkit_array_close(array);
	*ret_offset = info.offset;
}

/* ---- holders ---- */

enum ending { CLOSES, CLOSES_SEGMENT_FIRST, EXITS, KILLED, EXECS };

struct holder {
	uint32_t flags;
	enum ending ending;
	int hold[2], let_go[2];
};

static int hold_array(void *argument)
{
	struct holder *holder = argument;
	struct shmkit_segment *own;
	struct shmkit_array *array;
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	const volatile char *bytes;
	char byte;

	if (shmkit_segment_open(name, holder->flags, &own) || shmkit_array_open(own, "held", 1, &array))
		return 1;
	bytes = shmkit_array_view(array);
	if (!bytes || write(holder->hold[1], "h", 1) != 1 || read(holder->let_go[0], &byte, 1) != 1)
		return 2;
	/* removed by now, and others have tried to take its place: the bytes are what they were */
	for (uint32_t i = 0; i < BYTES; i++)
		if (bytes[i] != 'A')
			return 3;
	if (shmkit_array_read(array, 0, 1, &byte) != -ESTALE || shmkit_array_view(array) ||
	    shmkit_array_get_info(array, &info) != -ESTALE)
		return 4;
	switch (holder->ending) {
	case CLOSES:
		shmkit_array_close(array);
		shmkit_segment_close(own);
		return 0;
	case CLOSES_SEGMENT_FIRST:
		shmkit_segment_close(own);
		shmkit_array_close(array);
		return 0;
	case EXITS:
		return 0;
	case EXECS:
		execl("/bin/true", "true", (char *)NULL);
		return 5;
	default:
		raise(SIGKILL);
	}
	return 6;
}

static void hold_and_end(uint32_t flags, enum ending ending)
{
	struct holder holder = { .flags = flags, .ending = ending };
	uint64_t first, second, third;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(holder.hold), 0);
	assert_int_equal(pipe(holder.let_go), 0);
	make_array("held", 'A', &first);
	pid = test_fork(hold_array, &holder);
	assert_int_equal(read(holder.hold[0], &byte, 1), 1);
	assert_int_equal(shmkit_segment_remove(segment, "held"), 0);
	assert_int_equal(shmkit_segment_find(segment, "held", NULL), -ENOENT);
	assert_true(used() > baseline);
	/* the name is free at once, the place is not */
	make_array("held", 'B', &second);
	assert_int_not_equal(second, first);
	assert_int_equal(shmkit_segment_remove(segment, "held"), 0);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_true(used() > baseline);
	assert_int_equal(write(holder.let_go[1], "g", 1), 1);
	assert_int_equal(test_wait_exit(pid, 10000), ending == KILLED ? -SIGKILL : 0);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(used(), baseline);
	make_array("third", 'C', &third);
	assert_int_equal(third, first);
	assert_int_equal(shmkit_segment_remove(segment, "third"), 0);
	assert_int_equal(used(), baseline);
	assert_int_equal(shmkit_segment_check(segment), 0);
	for (int i = 0; i < 2; i++) {
		close(holder.hold[i]);
		close(holder.let_go[i]);
	}
}

static void test_remove_held_by_a_member_waits_for_its_end(void **state)
{
	(void)state;
	hold_and_end(0, CLOSES);
	hold_and_end(0, CLOSES_SEGMENT_FIRST);
	hold_and_end(0, EXITS);
	hold_and_end(0, KILLED);
	hold_and_end(0, EXECS);
}

static void test_remove_held_by_a_read_only_opener_waits_for_its_end(void **state)
{
	(void)state;
	hold_and_end(SHMKIT_READ_ONLY, CLOSES);
	hold_and_end(SHMKIT_READ_ONLY, CLOSES_SEGMENT_FIRST);
	hold_and_end(SHMKIT_READ_ONLY, EXITS);
	hold_and_end(SHMKIT_READ_ONLY, KILLED);
	hold_and_end(SHMKIT_READ_ONLY, EXECS);
}

/* The memory itself, not only the space. */
static void test_remove_memory_goes_back_to_the_system(void **state)
{
	struct stat before, full, after;
	struct shmkit_array *array;
	int fd = shmkit_segment_fd(segment);

	(void)state;
	assert_int_equal(fstat(fd, &before), 0);
	for (int round = 0; round < 5; round++) {
		assert_int_equal(shmkit_array_create(segment, "a", 4096, 128, NULL, &array), 0);
		assert_int_equal(fstat(fd, &full), 0);
		/* all of it is there when the call returns, before anybody has touched it */
		assert_true((full.st_blocks - before.st_blocks) * 512 >= 128 * 4096);
		shmkit_array_close(array);
		assert_int_equal(shmkit_segment_remove(segment, "a"), 0);
		assert_int_equal(fstat(fd, &after), 0);
		/* but for the pages it began and ended in */
		assert_true((after.st_blocks - before.st_blocks) * 512 <= 2 * 4096);
	}
}

/* Whatever somebody has left where no structure is, a new one begins with zeroes. */
static void test_create_where_bytes_were_left_is_zero_all_the_same(void **state)
{
	uint8_t *base = (uint8_t *)(uintptr_t)shmkit_segment_base(segment);
	struct shmkit_array *array;

	(void)state;
	memset(base + baseline, 0xee, 3 * BYTES);
	assert_int_equal(shmkit_array_create(segment, "a", 1, 2 * BYTES + 1000, NULL, &array), 0);
	for (uint32_t i = 0; i < 2 * BYTES + 1000; i++)
		if (((const uint8_t *)shmkit_array_view(array))[i] != 0)
			fail_msg("byte %u of a new array is not 0", i);
	shmkit_array_close(array);
}

/* ---- left half done ---- */

static struct shk_entry_shm *entry_of(struct shmkit_segment *own, uint32_t index)
{
	const struct shk_header_shm *header = shmkit_segment_base(own);

	return (struct shk_entry_shm *)((uintptr_t)header + header->table_offset +
					(uintptr_t)index * header->entry_stride);
}

/* Turns the finished "half" back into what it was before its commit, as this member's, and dies. */
static int die_making(void *argument)
{
	const unsigned *state = argument;
	struct shmkit_segment *own;
	struct shmkit_queue *queue;
	struct shk_entry_shm *entry;

	if (shmkit_segment_open(name, 0, &own) || shmkit_queue_create(own, "half", 8, 16, NULL, &queue))
		return 1;
	entry = entry_of(own, 0);
	if (*state == SHK_ENTRY_REAP) {
		shmkit_queue_close(queue);
		if (shk_entry_state(entry->word) != SHK_ENTRY_LIVE)
			return 2;
	}
	entry->word = shk_entry_word(shk_entry_generation(entry->word), *state,
				     (unsigned)shmkit_segment_member_id(own));
	raise(SIGKILL);
	return 3;
}

static void test_create_name_its_dead_creator_never_finished_is_taken_over(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	unsigned making = SHK_ENTRY_INIT;
	struct shmkit_queue *queue;
	uint64_t start;

	(void)state;
	assert_int_equal(test_wait_exit(test_fork(die_making, &making), 10000), -SIGKILL);
	assert_int_equal(shmkit_segment_find(segment, "half", NULL), -ENOENT);
	assert_true(used() > baseline);
	start = test_now_ns();
	assert_int_equal(shmkit_queue_open_or_create(segment, "half", 8, 16, NULL, &queue), 1);
	assert_true(test_now_ns() - start < UINT64_C(250000000));
	shmkit_queue_close(queue);
	assert_int_equal(shmkit_segment_remove(segment, "half"), 0);
	assert_int_equal(used(), baseline);

	/* and recover() says that it has undone it */
	assert_int_equal(test_wait_exit(test_fork(die_making, &making), 10000), -SIGKILL);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	assert_int_equal(report.rolled_back, 1);
	assert_int_equal(used(), baseline);
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void test_remove_its_dead_reaper_never_finished_is_finished(void **state)
{
	unsigned reaping = SHK_ENTRY_REAP, removed = SHK_ENTRY_DYING;
	struct shmkit_recovery report = { .struct_size = sizeof(report) };

	(void)state;
	assert_int_equal(test_wait_exit(test_fork(die_making, &reaping), 10000), -SIGKILL);
	assert_true(used() > baseline);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	assert_int_equal(report.rolled_back, 0);
	assert_int_equal(used(), baseline);
	assert_int_equal(test_wait_exit(test_fork(die_making, &removed), 10000), -SIGKILL);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(used(), baseline);
}

/* By a member that there is not: damaged, and nothing to wait for. */
static void test_create_name_that_nobody_is_making_is_ebadmsg(void **state)
{
	struct shk_entry_shm *entry;
	struct shmkit_queue *queue;
	uint64_t start, live;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "nobody's", 8, 16, NULL, &queue), 0);
	entry = entry_of(segment, 0);
	live = entry->word;
	for (unsigned owner = 100; owner < 1024; owner += 923) {
		entry->word = shk_entry_word(shk_entry_generation(live), SHK_ENTRY_INIT, owner);
		start = test_now_ns();
		{
			struct shmkit_queue *again;

			assert_int_equal(shmkit_queue_open_or_create(segment, "nobody's", 8, 16, NULL, &again),
					 -EBADMSG);
			assert_non_null(strstr(shmkit_last_error(), "nobody's"));
		}
		assert_true(test_now_ns() - start < UINT64_C(1000000000));
	}
	entry->word = live;
	shmkit_queue_close(queue);
}

static int make_slowly(void *argument)
{
	unsigned making = SHK_ENTRY_INIT, *ready = argument;
	struct shmkit_segment *own;
	struct shmkit_queue *queue;
	struct shk_entry_shm *entry;
	uint64_t live;

	if (shmkit_segment_open(name, 0, &own) || shmkit_queue_create(own, "slow", 8, 16, NULL, &queue))
		return 1;
	entry = entry_of(own, 0);
	live = entry->word;
	entry->word = shk_entry_word(shk_entry_generation(live), making,
				     (unsigned)shmkit_segment_member_id(own));
	__atomic_store_n(ready, 1, __ATOMIC_SEQ_CST);
	test_sleep_ms(150);
	__atomic_store_n(&entry->word, live, __ATOMIC_SEQ_CST);
	pause();
	return 0;
}

/* Alive and slow: the second creator waits, and then finds it made. */
static void test_create_name_that_another_is_making_waits_for_it(void **state)
{
	unsigned *ready = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct shmkit_queue *queue;
	uint64_t start;
	pid_t pid;

	(void)state;
	assert_true(ready != MAP_FAILED);
	pid = test_fork(make_slowly, ready);
	while (!__atomic_load_n(ready, __ATOMIC_SEQ_CST))
		test_sleep_ms(1);
	start = test_now_ns();
	/* one who only opens sees no name yet */
	assert_int_equal(shmkit_queue_open(segment, "slow", 8, &queue), -ENOENT);
	assert_int_equal(shmkit_queue_open_or_create(segment, "slow", 8, 16, NULL, &queue), 0);
	assert_true(test_now_ns() - start > UINT64_C(50000000));
	assert_true(test_now_ns() - start < UINT64_C(1000000000));
	assert_int_equal(shmkit_queue_create(segment, "slow", 8, 16, NULL, &queue), -EEXIST);
	kill(pid, SIGKILL);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
	shmkit_queue_close(queue);
	munmap(ready, 4096);
}

/* ---- names under load ---- */

#define LOADERS 4
#define KEYS 3u

/* Makes, opens, uses and removes a few names; what an array holds never belongs to another. */
static int use_names(void *argument)
{
	uint64_t end = test_now_ns() + UINT64_C(2500000000);
	struct shmkit_segment *own;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own))
		return 1;
	while (test_now_ns() < end) {
		static const uint64_t sizes[KEYS] = { 100, 5000, 300 };
		unsigned key = (unsigned)test_random_below(KEYS);
		struct shmkit_array *array;
		uint64_t words[300], count;
		char what[16];
		int result;

		snprintf(what, sizeof(what), "key %u", key);
		result = shmkit_array_open_or_create(own, what, 8, sizes[key], NULL, &array);
		if (result < 0) {
			fprintf(stderr, "open_or_create: %d, %s\n", result, shmkit_last_error());
			return 2;
		}
		count = sizes[key] < 300 ? sizes[key] : 300;
		result = shmkit_array_read(array, 0, count, words);
		for (uint64_t i = 0; i < count && result == 0; i++)
			if (words[i] != 0 && words[i] != key + 1)
				return 3;
		for (uint64_t i = 0; i < count; i++)
			words[i] = key + 1;
		if (result == 0)
			result = shmkit_array_write(array, 0, count, words);
		if (result != 0 && result != -ESTALE)
			return 4;
		if (test_random_below(3) == 0 && (result = shmkit_segment_remove(own, what)) != 0 &&
		    result != -ENOENT)
			return 5;
		shmkit_array_close(array);
	}
	shmkit_segment_close(own);
	return 0;
}

static void test_names_made_and_removed_by_many_never_share_space(void **state)
{
	pid_t pids[LOADERS];
	uint64_t end = test_now_ns() + UINT64_C(2500000000);
	char what[16];

	(void)state;
	for (int i = 0; i < LOADERS; i++)
		pids[i] = test_fork(use_names, NULL);
	/* sound at every moment, to one who looks on */
	while (test_now_ns() < end) {
		int result = shmkit_segment_check(segment);

		if (result)
			fail_msg("check: %d, %s", result, shmkit_last_error());
		test_sleep_ms(1);
	}
	for (int i = 0; i < LOADERS; i++)
		assert_int_equal(test_wait_exit(pids[i], 10000), 0);
	for (unsigned key = 0; key < KEYS; key++) {
		snprintf(what, sizeof(what), "key %u", key);
		(void)shmkit_segment_remove(segment, what);
	}
	assert_int_equal(used(), baseline);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_remove_held_by_a_member_waits_for_its_end),
		TEST(test_remove_held_by_a_read_only_opener_waits_for_its_end),
		TEST(test_remove_memory_goes_back_to_the_system),
		TEST(test_create_where_bytes_were_left_is_zero_all_the_same),
		TEST(test_create_name_its_dead_creator_never_finished_is_taken_over),
		TEST(test_remove_its_dead_reaper_never_finished_is_finished),
		TEST(test_create_name_that_nobody_is_making_is_ebadmsg),
		TEST(test_create_name_that_another_is_making_waits_for_it),
		TEST(test_names_made_and_removed_by_many_never_share_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
