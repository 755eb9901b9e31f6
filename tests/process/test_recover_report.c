/*
 * Goal: shmkit_segment_recover() does at once what peers would do when they meet it, says exactly
 * how much that was, and does it once, however many repair at the same time and however many of
 * those who repair are killed while they do.
 *
 * Method: children take a known number of slots and names and are killed; one or several
 * processes then repair, and the sums of their reports, the statistics of the queue and what can
 * still be used are compared with what the children had. For death in the middle of a repair the
 * repairers are killed at random moments until one gets through.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define CAPACITY 256u

struct board {
	_Atomic unsigned go;
	_Atomic uint64_t members, discarded, redelivered;
};

static char name[64];
static struct shmkit_segment *segment;
static struct shmkit_queue *queue;
static struct board *board;

static int set_up(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .flags = SHMKIT_SEGMENT_PERSIST };

	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("recover"));
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return board == MAP_FAILED || shmkit_segment_create(name, MIB, &options, &segment) ||
	       shmkit_queue_create(segment, "q", 8, CAPACITY, NULL, &queue);
}

static int tear_down(void **state)
{
	(void)state;
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	(void)shmkit_segment_unlink(name);
	munmap(board, sizeof(*board));
	return test_shm_leftovers(name);
}

static uint32_t recoveries(void)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info.recoveries;
}

static struct shmkit_queue_stats stats(void)
{
	struct shmkit_queue_stats now = { .struct_size = sizeof(now) };

	assert_int_equal(shmkit_queue_get_stats(queue, &now), 0);
	return now;
}

struct work {
	int reserves, leases;
};

/* Takes what it is told and dies with it. */
static int take_and_die(void *argument)
{
	const struct work *work = argument;
	struct shmkit_segment *own;
	struct shmkit_queue *its;
	struct shmkit_slot slot;

	if (shmkit_segment_open(name, 0, &own) || shmkit_queue_open(own, "q", 8, &its))
		return 1;
	for (int i = 0; i < work->leases; i++)
		if (shmkit_queue_lease(its, &slot))
			return 2;
	for (int i = 0; i < work->reserves; i++)
		if (shmkit_queue_reserve(its, &slot))
			return 3;
	raise(SIGKILL);
	return 4;
}

/* count children, all dead at the end, none repaired: the one who looks on does not meddle. */
static void leave_dead(int count, struct work work)
{
	pid_t pid;

	for (int i = 0; i < count; i++) {
		pid = test_fork(take_and_die, &work);
		assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
	}
}

static void put(unsigned count)
{
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(shmkit_queue_enqueue(queue, &i), 0);
}

/* All of the queue can be used again: what is in it comes out, and a queueful goes in. */
static void expect_whole(unsigned elements)
{
	unsigned count = 0;
	uint64_t element;

	while (shmkit_queue_dequeue(queue, &element) == 0)
		count++;
	assert_int_equal(count, elements);
	for (count = 0; shmkit_queue_enqueue(queue, &element) == 0; count++)
		;
	assert_int_equal(count, CAPACITY);
	while (shmkit_queue_dequeue(queue, &element) == 0)
		;
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void test_recover_reports_exactly_what_it_has_done(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	struct shmkit_queue_stats before = stats();
	struct work work = { .reserves = 5, .leases = 3 };

	(void)state;
	put(10);
	assert_int_equal(test_wait_exit(test_fork(take_and_die, &work), 10000), -SIGKILL);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	assert_int_equal(report.discarded, 5);
	assert_int_equal(report.redelivered, 3);
	assert_int_equal(report.rolled_back, 0);
	assert_int_equal(recoveries(), 1);
	assert_int_equal(stats().discarded - before.discarded, 5);
	assert_int_equal(stats().redelivered - before.redelivered, 3);
	/* and nothing a second time */
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 0);
	assert_int_equal(report.discarded, 0);
	assert_int_equal(report.redelivered, 0);
	expect_whole(10);
}

/* ---- many repair ---- */

static int recover_with_the_others(void *argument)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };

	(void)argument;
	/* the inherited handle: joined by the first call, so that the repair itself begins at once */
	if (shmkit_segment_member_id(segment) < 0)
		return 1;
	while (!atomic_load(&board->go))
		sched_yield();
	if (shmkit_segment_recover(segment, &report))
		return 2;
	atomic_fetch_add(&board->members, report.members);
	atomic_fetch_add(&board->discarded, report.discarded);
	atomic_fetch_add(&board->redelivered, report.redelivered);
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	return 0;
}

static void test_recover_by_many_at_once_each_death_is_counted_once(void **state)
{
	(void)state;
	for (int round = 0; round < 25; round++) {
		struct shmkit_queue_stats before = stats();
		struct work work = { .reserves = 4, .leases = 2 };
		uint32_t dead = recoveries();
		pid_t pids[4], victims[3];

		memset(board, 0, sizeof(*board));
		put(20);
		for (int i = 0; i < 4; i++)
			pids[i] = test_fork(recover_with_the_others, NULL);
		test_sleep_ms(3);
		for (int i = 0; i < 3; i++)
			victims[i] = test_fork(take_and_die, &work);
		for (int i = 0; i < 3; i++)
			assert_int_equal(test_wait_exit(victims[i], 10000), -SIGKILL);
		atomic_store(&board->go, 1);
		for (int i = 0; i < 4; i++)
			assert_int_equal(test_wait_exit(pids[i], 10000), 0);
		assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
		/* a victim may have repaired the one before it, when it attached */
		assert_true(board->members <= 3);
		assert_int_equal(recoveries() - dead, 3);
		assert_int_equal(stats().redelivered - before.redelivered, 6);
		assert_int_equal(stats().discarded - before.discarded, 12);
		assert_true(board->redelivered <= 6 && board->discarded <= 12);
		expect_whole(20);
	}
}

/* ---- those who repair are killed ---- */

static int recover_for_ever(void *argument)
{
	(void)argument;
	for (;;) {
		struct shmkit_segment *own;

		if (shmkit_segment_open(name, 0, &own) || shmkit_segment_recover(own, NULL))
			return 1;
		shmkit_segment_close(own);
	}
}

static void test_recover_killed_in_the_middle_another_finishes(void **state)
{
	(void)state;
	for (int round = 0; round < 40; round++) {
		struct shmkit_queue_stats before = stats();
		struct work work = { .reserves = 6, .leases = 4 };
		pid_t pids[3];

		put(30);
		for (int i = 0; i < 3; i++)
			pids[i] = test_fork(recover_for_ever, NULL);
		leave_dead(2, work);
		for (int i = 0; i < 3; i++) {
			usleep((useconds_t)test_random_below(400));
			kill(pids[i], SIGKILL);
			assert_int_equal(test_wait_exit(pids[i], 10000), -SIGKILL);
		}
		assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
		assert_true(stats().redelivered - before.redelivered >= 1);
		assert_true(stats().discarded - before.discarded >= 1);
		/* exactly what was committed is there, whoever repaired what */
		expect_whole(30);
	}
}

/* A repairer that stands still is alive, and holds up nobody. */
static void test_recover_beside_stopped_repairers_goes_on(void **state)
{
	struct work work = { .reserves = 6, .leases = 4 };

	(void)state;
	for (int round = 0; round < 15; round++) {
		uint64_t start;
		pid_t pids[2];

		put(30);
		for (int i = 0; i < 2; i++)
			pids[i] = test_fork(recover_for_ever, NULL);
		leave_dead(1, work);
		for (int i = 0; i < 2; i++) {
			usleep((useconds_t)test_random_below(300));
			kill(pids[i], SIGSTOP);
		}
		start = test_now_ns();
		assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
		expect_whole(30);
		assert_true(test_now_ns() - start < UINT64_C(1000000000));
		/* and when it goes on, it does no harm */
		put(30);
		for (int i = 0; i < 2; i++)
			kill(pids[i], SIGCONT);
		test_sleep_ms(3);
		expect_whole(30);
		for (int i = 0; i < 2; i++) {
			kill(pids[i], SIGKILL);
			assert_int_equal(test_wait_exit(pids[i], 10000), -SIGKILL);
		}
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_recover_reports_exactly_what_it_has_done),
		TEST(test_recover_by_many_at_once_each_death_is_counted_once),
		TEST(test_recover_killed_in_the_middle_another_finishes),
		TEST(test_recover_beside_stopped_repairers_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
