/*
 * Goal: any number of processes that open or create the same segment and the same names at once
 * agree on one creator for each, meet no error, and leave nothing behind.
 *
 * Method: 8 processes, 1,000 rounds, 20 names, over three segment names in turn, so that the
 * closing of one round meets the opening of the next but two. A barrier in private shared memory
 * lets them go at the same moment; the parent counts who created what.
 */
#include "support.h"

#include <shmkit.h>

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define PROCESSES 8u
#define NAMES 20
#define ROUNDS 1000u

struct board {
	_Atomic unsigned arrived, go, opened;
	_Atomic unsigned segments[ROUNDS], structures[ROUNDS];
	char name[3][64];
};

static int complain(const char *what, int result)
{
	fprintf(stderr, "%s: %d, %s\n", what, result, shmkit_last_error());
	return 1;
}

static int one_round(struct board *board, unsigned round)
{
	struct shmkit_segment *segment;
	struct shmkit_queue *queues[NAMES];
	char name[16];
	int result;

	result = shmkit_segment_open_or_create(board->name[round % 3], 256 << 10, NULL, &segment);
	if (result < 0)
		return complain("segment", result);
	atomic_fetch_add(&board->segments[round], (unsigned)result);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "queue %d", i);
		result = shmkit_queue_open_or_create(segment, name, 8, 16, NULL, &queues[i]);
		if (result < 0)
			return complain(name, result);
		atomic_fetch_add(&board->structures[round], (unsigned)result);
	}
	/* all have it open before the first closes: else a second creation would be right */
	atomic_fetch_add(&board->opened, 1);
	while (atomic_load(&board->opened) < PROCESSES * (round + 1))
		sched_yield();
	for (int i = 0; i < NAMES; i++)
		shmkit_queue_close(queues[i]);
	shmkit_segment_close(segment);
	return 0;
}

static int starter(void *argument)
{
	struct board *board = argument;

	for (unsigned round = 0; round < ROUNDS; round++) {
		atomic_fetch_add(&board->arrived, 1);
		while (atomic_load(&board->go) <= round)
			sched_yield();
		if (one_round(board, round))
			return 1;
	}
	return 0;
}

static void test_open_or_create_eight_at_once_one_creates(void **state)
{
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[PROCESSES];
	const char *name = test_name("many");
	uint64_t start = test_now_ns();

	(void)state;
	assert_true(board != MAP_FAILED);
	for (int i = 0; i < 3; i++)
		snprintf(board->name[i], sizeof(board->name[i]), "%s-%d", name, i);
	for (unsigned i = 0; i < PROCESSES; i++)
		pids[i] = test_fork(starter, board);
	for (unsigned round = 0; round < ROUNDS; round++) {
		while (atomic_load(&board->arrived) < PROCESSES * (round + 1)) {
			if (test_now_ns() - start > UINT64_C(100) * 1000000000)
				fail_msg("round %u does not end", round);
			sched_yield();
		}
		atomic_store(&board->go, round + 1);
	}
	for (unsigned i = 0; i < PROCESSES; i++)
		assert_int_equal(test_wait_exit(pids[i], 20000), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		assert_int_equal(board->segments[round], 1);
		assert_int_equal(board->structures[round], NAMES);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
	munmap(board, sizeof(*board));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_or_create_eight_at_once_one_creates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
