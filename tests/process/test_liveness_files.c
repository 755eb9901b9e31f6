/*
 * Goal: what happens to the file, the name and the descriptors of a segment, or to the process while
 * it attaches, makes nobody dead who is alive, hides no death, and ends in an answer.
 *
 * Method: one cell of the matrix in test_liveness.c each: the file cut to every size of interest
 * under each thing a peer may do next; its name taken away and given to another; no descriptors
 * left; a storm of signals; descriptors closed under a wait.
 */
#include "layout.h"
#include "liveness.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>

static int set_up(void **state)
{
	(void)state;
	return set_up_segment(0);
}

static int tear_down(void **state)
{
	(void)state;
	return tear_down_segment();
}

/* ---- the file cut to each size ---- */

static char path[128];

/* What is done next, by whom. 0, or an error of the library; anything else is a failure. */
static int use_queue(struct holding *holding)
{
	uint64_t element = 7;

	return shmkit_queue_enqueue(holding->queue, &element);
}

static int look_for_dead(struct holding *holding)
{
	return shmkit_segment_recover(holding->segment, NULL);
}

static int join_as_another(struct holding *holding)
{
	struct shmkit_segment *another;
	int result = shmkit_segment_open(name, SHMKIT_SEGMENT_GUARD, &another);

	(void)holding;
	if (result == 0)
		shmkit_segment_close(another);
	return result;
}

static int observe(struct holding *holding)
{
	struct shmkit_segment *another;
	int result = shmkit_segment_open(name, SHMKIT_SEGMENT_GUARD | SHMKIT_READ_ONLY, &another);

	(void)holding;
	if (result == 0) {
		result = shmkit_segment_check(another);
		shmkit_segment_close(another);
	}
	return result;
}

static int create_name(struct holding *holding)
{
	struct shmkit_array *array;
	int result = shmkit_array_create(holding->segment, "array", 8, 1000, NULL, &array);

	if (result == 0)
		shmkit_array_close(array);
	return result;
}

static int wait_for_element(struct holding *holding)
{
	uint64_t element;
	int result;

	do
		result = shmkit_queue_dequeue_wait(holding->queue, &element, 200 * MS);
	while (result == 0);
	return result;
}

static int just_close(struct holding *holding)
{
	(void)holding;
	return 0;
}

static int (*const steps[])(struct holding *holding) = {
	use_queue, look_for_dead, join_as_another, observe, create_name, wait_for_element, just_close,
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

struct cut {
	off_t size;
	size_t step;
};

static int use_after_cut(void *argument)
{
	struct cut *cut = argument;
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .flags = SHMKIT_SEGMENT_GUARD };
	struct holding holding;
	int result;

	if (shmkit_segment_create(name, MIB, &options, &holding.segment) ||
	    shmkit_queue_create(holding.segment, "queue", 8, 512, NULL, &holding.queue) ||
	    shmkit_ring_create(holding.segment, "ring", 8, 4, NULL, &holding.ring) ||
	    shmkit_pool_create(holding.segment, "pool", 8, 4, NULL, &holding.pool))
		return 98;
	if (truncate(path, cut->size))
		return 97;
	result = steps[cut->step](&holding);
	close_all(&holding);
	if (result == 0 || result == -EBADMSG || result == -EPROTO || result == -ETIMEDOUT ||
	    result == -ENOSPC || result == -ESTALE)
		return 0;
	fprintf(stderr, "step %zu at %lld bytes: %d, %s\n", cut->step, (long long)cut->size, result,
		shmkit_last_error());
	return 1;
}

static void test_cut_to_each_size_each_step_no_signal(void **state)
{
	static const off_t sizes[] = { 0, 1, 64, 136, 256, 4095, 4096, 8192, 12288, 16384, 20480, 24576,
				       MIB - 4096 };
	char outer[64];
	int failures = 0;

	(void)state;
	snprintf(outer, sizeof(outer), "%s", name);
	snprintf(name, sizeof(name), "%s", test_name("cut"));
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (size_t step = 0; step < STEPS; step++) {
			struct cut cut = { sizes[i], step };
			int status = test_wait_exit(test_fork(use_after_cut, &cut), CHILD_MS);

			if (status) {
				print_error("cut to %lld, step %zu: %d\n", (long long)sizes[i], step, status);
				failures++;
			}
			unlink(path);
		}
	snprintf(name, sizeof(name), "%s", outer);
	assert_int_equal(failures, 0);
}

/* ---- the name ---- */

static int hold_until_told(void *unused)
{
	struct holding held;

	(void)unused;
	if (open_all(&held) || hold_something(&held))
		return 97;
	tell_ready();
	wait_to_go();
	return let_go(&held);
}

static void test_unlinked_in_use_another_of_the_name_is_another(void **state)
{
	struct shmkit_segment *second, *third;
	struct shmkit_queue *queue;
	uint64_t element = 99;
	int status;

	(void)state;
	holder = test_fork(hold_until_told, NULL);
	assert_true(wait_until_ready(holder, &status));
	assert_int_equal(shmkit_segment_unlink(name), 0);
	assert_true(segment_info().flags & SHMKIT_SEGMENT_UNLINKED);
	assert_int_equal(shmkit_segment_open(name, 0, &second), -ENOENT);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &second), 0);
	assert_int_equal(shmkit_queue_create(second, "queue", 8, 4, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	/* who is a member of the one is none of the other, and its repair repairs nothing there */
	assert_int_equal(shmkit_segment_recover(second, NULL), 0);
	assert_int_equal(segment_info().members, 2);
	assert_int_equal(alive(cell->id), 1);
	kill(holder, SIGKILL);
	assert_int_equal(test_wait_exit(holder, CHILD_MS), -SIGKILL);
	holder = 0;
	assert_int_equal(shmkit_segment_recover(second, NULL), 0);
	expect_dead(1);
	/* the last of the old one goes, and leaves the name to the new one */
	close_all(&ours);
	assert_int_equal(test_shm_leftovers(name), 1);
	assert_int_equal(shmkit_segment_open(name, 0, &third), 0);
	element = 0;
	assert_int_equal(shmkit_queue_dequeue(queue, &element), 0);
	assert_int_equal(element, 99);
	shmkit_segment_close(third);
	shmkit_queue_close(queue);
	shmkit_segment_close(second);
	memset(&ours, 0, sizeof(ours));
}

/* ---- no descriptors ---- */

static int join_without_descriptors(void *unused)
{
	struct rlimit limit = { 0 };
	struct shmkit_segment *segment = NULL;
	int fds = test_fd_count(), refused = 0, result = -1;

	(void)unused;
	getrlimit(RLIMIT_NOFILE, &limit);
	for (rlim_t files = 0; files < 64 && result != 0; files++) {
		limit.rlim_cur = files;
		setrlimit(RLIMIT_NOFILE, &limit);
		result = shmkit_segment_open(name, 0, &segment);
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		if (result != 0 && result != -EMFILE) {
			fprintf(stderr, "with %d descriptors: %d, %s\n", (int)files, result,
				shmkit_last_error());
			return 1;
		}
		refused += result == -EMFILE;
		if (result != 0 && test_fd_count() != fds)
			return 2;
	}
	if (result || refused < 2)
		return 3;
	shmkit_segment_close(segment);
	return test_fd_count() == fds ? 0 : 4;
}

static void test_join_without_descriptors_is_emfile_and_leaves_nothing(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(join_without_descriptors, NULL), CHILD_MS), 0);
	assert_int_equal(segment_info().members, 1);
	assert_int_equal(segment_info().recoveries, 0);
}

/* ---- signals ---- */

static _Atomic unsigned alarms;

static void count_alarm(int signal)
{
	(void)signal;
	atomic_fetch_add(&alarms, 1);
}

static int come_and_go_under_alarms(void *unused)
{
	struct itimerval often = { .it_interval = { .tv_usec = 50 }, .it_value = { .tv_usec = 50 } };
	struct sigaction action = { .sa_handler = count_alarm };   /* no SA_RESTART */
	uint64_t end = test_now_ns() + UINT64_C(1500000000);
	int fds = test_fd_count();
	unsigned opens = 0;

	(void)unused;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while (test_now_ns() < end || opens < 20) {
		struct holding holding;
		uint64_t element;

		if (open_all(&holding)) {
			fprintf(stderr, "open: %s\n", shmkit_last_error());
			return 1;
		}
		if (shmkit_queue_dequeue(holding.queue, &element) == 0 &&
		    shmkit_queue_enqueue(holding.queue, &element))
			return 2;
		close_all(&holding);
		opens++;
	}
	memset(&often, 0, sizeof(often));
	setitimer(ITIMER_REAL, &often, NULL);
	return alarms < 100 ? 3 : test_fd_count() == fds ? 0 : 4;
}

static void test_alarms_during_open_and_close_nobody_dies(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	uint64_t end = test_now_ns() + UINT64_C(1400000000);
	pid_t pids[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		pids[i] = test_fork(come_and_go_under_alarms, NULL);
	while (test_now_ns() < end) {
		assert_int_equal(shmkit_segment_recover(ours.segment, &report), 0);
		assert_int_equal(report.members, 0);
		usleep(200);
	}
	for (int i = 0; i < 2; i++)
		assert_int_equal(test_wait_exit(pids[i], CHILD_MS), 0);
	assert_int_equal(segment_info().members, 1);
	assert_int_equal(segment_info().recoveries, 0);
	assert_int_equal(shmkit_queue_size(ours.queue), 1);
}

/* ---- descriptors closed under a wait ---- */

static void *wait_in_thread(void *argument)
{
	struct holding *holding = argument;
	struct shmkit_slot slot;

	return (void *)(intptr_t)shmkit_queue_lease_wait(holding->queue, &slot, 10000 * MS);
}

/* A waiter whose descriptors go meanwhile still finds the dead, through one it opens anew. */
static int wait_while_all_is_closed(void *unused)
{
	struct holding held;
	pthread_t thread;
	void *result;

	(void)unused;
	if (open_all(&held) || pthread_create(&thread, NULL, wait_in_thread, &held))
		return 97;
	test_sleep_ms(60);
	closefrom(3);
	tell_ready();
	pthread_join(thread, &result);
	if (result)
		return 1;
	close_all(&held);
	return 0;
}

static void test_descriptors_closed_under_a_wait_it_still_finds_the_dead(void **state)
{
	pid_t victim = test_fork(hold_until_told, NULL), waiter;
	int status;

	(void)state;
	holder = victim;
	assert_true(wait_until_ready(victim, &status));
	atomic_store(&cell->ready, 0);
	waiter = test_fork(wait_while_all_is_closed, NULL);
	assert_true(wait_until_ready(waiter, &status));
	kill(victim, SIGKILL);
	holder = 0;
	assert_int_equal(test_wait_exit(victim, CHILD_MS), -SIGKILL);
	/* the test itself repairs nothing */
	assert_int_equal(test_wait_exit(waiter, 3000), 0);
	assert_int_equal(segment_info().members, 1);
	assert_int_equal(segment_info().recoveries, 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_cut_to_each_size_each_step_no_signal),
		TEST(test_unlinked_in_use_another_of_the_name_is_another),
		TEST(test_join_without_descriptors_is_emfile_and_leaves_nothing),
		TEST(test_alarms_during_open_and_close_nobody_dies),
		TEST(test_descriptors_closed_under_a_wait_it_still_finds_the_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
