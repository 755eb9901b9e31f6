/*
 * Goal: a registry that is full of the dead is no obstacle, however many come at once; one that is
 * full of the living refuses one more and lets nobody else's id go; ids are given out once.
 *
 * Method: a child opens the segment as often as there are ids and is killed; opener processes,
 * started together by a barrier in private shared memory, then open it at the same moment. Each
 * must succeed, whoever of them does the repair. In between they compare the ids they got.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define IDS 3u
#define OPENERS 3u                         /* as many as there is room for: none may be refused */
#define ROUNDS 900u

struct board {
	_Atomic unsigned arrived, go, opened, failures;
	_Atomic int result;                 /* of a failure */
	_Atomic unsigned ids[IDS];          /* handles that say they have it */
	_Atomic unsigned twice;             /* ids seen with two holders */
};

static char name[64];
static struct board *board;

static struct shmkit_segment *make(uint32_t max_members)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .flags = SHMKIT_SEGMENT_PERSIST,
						  .max_members = max_members };
	struct shmkit_segment *segment;

	snprintf(name, sizeof(name), "%s", test_name("crowd"));
	assert_int_equal(shmkit_segment_create(name, 256 << 10, &options, &segment), 0);
	return segment;
}

static int tear_down(void **state)
{
	(void)state;
	(void)shmkit_segment_unlink(name);
	return test_shm_leftovers(name);
}

static int take_every_id(void *argument)
{
	int *ready = argument;

	for (unsigned i = 0; i < IDS; i++) {
		struct shmkit_segment *segment;
		int result = shmkit_segment_open(name, 0, &segment);

		if (result) {
			fprintf(stderr, "of the %u-th: %d, %s\n", i, result, shmkit_last_error());
			return 1;
		}
	}
	if (write(ready[1], "r", 1) != 1)
		return 2;
	for (;;)
		pause();
}

static void die_with_every_id(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = test_fork(take_every_id, ready);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	kill(pid, SIGKILL);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
	close(ready[0]);
}

static void fail_with(int result)
{
	atomic_fetch_add(&board->failures, 1);
	atomic_store(&board->result, result);
}

static int open_with_the_others(void *argument)
{
	(void)argument;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct shmkit_segment *segment;
		int result, id;

		atomic_fetch_add(&board->arrived, 1);
		while (atomic_load(&board->go) <= round)
			sched_yield();
		result = shmkit_segment_open(name, 0, &segment);
		if (result)
			fail_with(result);
		id = result ? -1 : shmkit_segment_member_id(segment);
		if (id >= 0 && atomic_fetch_add(&board->ids[id], 1) != 0)
			atomic_fetch_add(&board->twice, 1);
		atomic_fetch_add(&board->opened, 1);
		while (atomic_load(&board->opened) < OPENERS * (round + 1))
			sched_yield();
		if (id < 0)
			continue;
		atomic_fetch_sub(&board->ids[id], 1);
		shmkit_segment_close(segment);
	}
	return 0;
}

static void wait_until_all_arrived(unsigned round)
{
	uint64_t start = test_now_ns();

	while (atomic_load(&board->arrived) < OPENERS * (round + 1)) {
		if (test_now_ns() - start > UINT64_C(20000000000))
			fail_msg("round %u does not begin", round);
		sched_yield();
	}
}

static void test_open_many_at_once_into_a_registry_of_the_dead_all_succeed(void **state)
{
	pid_t pids[OPENERS];

	(void)state;
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(board != MAP_FAILED);
	shmkit_segment_close(make(IDS));
	for (unsigned i = 0; i < OPENERS; i++)
		pids[i] = test_fork(open_with_the_others, NULL);
	for (unsigned round = 0; round < ROUNDS; round++) {
		wait_until_all_arrived(round);
		die_with_every_id();
		atomic_store(&board->go, round + 1);
	}
	for (unsigned i = 0; i < OPENERS; i++)
		assert_int_equal(test_wait_exit(pids[i], 20000), 0);
	if (board->failures)
		print_error("%u of %u opens failed, with %d\n", board->failures, OPENERS * ROUNDS,
			    board->result);
	assert_int_equal(board->failures, 0);
	assert_int_equal(board->twice, 0);
	munmap(board, sizeof(*board));
}

static void test_open_full_of_the_living_is_eusers_and_all_stay(void **state)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment = make(IDS + 1), *one_more;
	uint64_t start = test_now_ns();
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = test_fork(take_every_id, ready);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	kill(pid, SIGSTOP);                 /* alive all the same */
	for (int i = 0; i < 20; i++)
		assert_int_equal(shmkit_segment_open(name, 0, &one_more), -EUSERS);
	assert_true(test_now_ns() - start < UINT64_C(2000000000));
	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.members, IDS + 1);
	assert_int_equal(info.recoveries, 0);
	kill(pid, SIGKILL);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
	assert_int_equal(shmkit_segment_open(name, 0, &one_more), 0);
	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.members, 2);
	assert_int_equal(info.recoveries, IDS);
	shmkit_segment_close(one_more);
	shmkit_segment_close(segment);
	close(ready[0]);
	close(ready[1]);
}

/* Joins and leaves while others look: at no moment is a living one counted as dead. */
static int come_and_go(void *argument)
{
	uint64_t end = test_now_ns() + UINT64_C(1500000000);

	(void)argument;
	while (test_now_ns() < end) {
		struct shmkit_segment *segment;
		int result = shmkit_segment_open(name, 0, &segment);

		if (result) {
			fprintf(stderr, "open: %d, %s\n", result, shmkit_last_error());
			return 1;
		}
		shmkit_segment_close(segment);
	}
	return 0;
}

static void test_join_and_leave_under_constant_recovery_no_false_death(void **state)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment = make(0);
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	uint64_t end = test_now_ns() + UINT64_C(1500000000);
	pid_t pids[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(come_and_go, NULL);
	while (test_now_ns() < end) {
		assert_int_equal(shmkit_segment_recover(segment, &report), 0);
		assert_int_equal(report.members, 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_wait_exit(pids[i], 10000), 0);
	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.recoveries, 0);
	assert_int_equal(info.members, 1);
	shmkit_segment_close(segment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(
			test_open_many_at_once_into_a_registry_of_the_dead_all_succeed, tear_down),
		cmocka_unit_test_teardown(test_open_full_of_the_living_is_eusers_and_all_stay, tear_down),
		cmocka_unit_test_teardown(test_join_and_leave_under_constant_recovery_no_false_death, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
