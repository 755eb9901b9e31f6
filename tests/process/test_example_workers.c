/*
 * The workers example, as a user runs it: real programs, found by name alone, killed on the way.
 *
 * Whatever happens to the workers, the master must end with every result right; the master itself
 * computes each one again. A worker is killed in each of the three windows between taking a task
 * and acknowledging it, then at random. Nothing may be left in /dev/shm.
 */
#include "example.h"

#include <shmkit.h>

#include <signal.h>
#include <stdlib.h>

const char *const example_name = "workers";

#define WORKERS 4

static void expect_all_right(struct child master, char **ret_text)
{
	example_expect_success(master, "every result was computed again and is right", ret_text);
}

static void test_master_first_all_results_right(void **state)
{
	const char *name = test_name("workers-master-first");
	struct child master = example_start("master", "--segment", name, NULL);
	struct child workers[WORKERS];
	unsigned long long tasks = 0;
	char *text;

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		workers[i] = example_start("worker", "--segment", name, NULL);
	expect_all_right(master, &text);
	assert_int_equal(example_number_before(text, " results collected"), 1000);
	assert_int_equal(example_number_before(text, " tasks came back"), 0);
	free(text);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(example_finish(workers[i], &text), 0);
		tasks += example_number_before(text, " tasks,");
		free(text);
	}
	assert_int_equal(tasks, 1000);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_workers_first_all_results_right(void **state)
{
	const char *name = test_name("workers-first");
	struct child workers[WORKERS];

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		workers[i] = example_start("worker", "--segment", name, NULL);
	expect_all_right(example_start("master", "--segment", name, NULL), NULL);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(example_finish(workers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void kill_one_at(const char *point, unsigned long long expected_duplicates)
{
	const char *name = test_name(point);
	struct child master = example_start("master", "--segment", name, "--tasks", "300",
					    "--workers", "3", NULL);
	struct child victim = example_start("worker", "--segment", name, "--crash-after", "7",
					    "--crash-point", point, NULL);
	struct child others[2];
	char *text;

	for (int i = 0; i < 2; i++)
		others[i] = example_start("worker", "--segment", name, NULL);
	assert_int_equal(example_finish(victim, NULL), -SIGKILL);
	expect_all_right(master, &text);
	assert_int_equal(example_number_before(text, " tasks came back"), 1);
	assert_int_equal(example_number_before(text, " results came twice"), expected_duplicates);
	free(text);
	for (int i = 0; i < 2; i++)
		assert_int_equal(example_finish(others[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_worker_killed_with_task_taken_task_comes_back(void **state)
{
	(void)state;
	kill_one_at("taken", 0);
}

static void test_worker_killed_with_result_computed_task_comes_back(void **state)
{
	(void)state;
	kill_one_at("computed", 0);
}

/* The task comes back although its result is out: the master sees the second one for what it is. */
static void test_worker_killed_with_result_sent_duplicate_recognised(void **state)
{
	const char *name = test_name("sent");
	struct child master, victim, other;
	char *text;

	(void)state;
	/* The last task of all is the worst case: nobody waits for its second result any more. */
	master = example_start("master", "--segment", name, "--tasks", "5", "--workers", "1", NULL);
	victim = example_start("worker", "--segment", name, "--crash-after", "3", "--crash-point",
			       "sent", NULL);
	assert_int_equal(example_finish(victim, NULL), -SIGKILL);
	other = example_start("worker", "--segment", name, NULL);
	expect_all_right(master, &text);
	assert_int_equal(example_number_before(text, " tasks came back"), 1);
	free(text);
	assert_int_equal(example_finish(other, NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static struct child start_worker(const char *name)
{
	return example_start("worker", "--segment", name, "--timeout", "2", NULL);
}

static void test_workers_killed_at_random_no_task_lost(void **state)
{
	const char *name = test_name("workers-random");
	struct child master = example_start("master", "--segment", name, "--tasks", "4000", NULL);
	uint64_t end_ns = test_now_ns() + UINT64_C(6000000000);
	struct child workers[WORKERS];
	struct shmkit_segment *segment;
	int kills = 0;
	char *text;

	(void)state;
	/* A member that is not killed: where the last one is, the name stays until the next open. */
	assert_int_equal(shmkit_segment_open_wait(name, 0, INT64_C(10000000000), &segment), 0);
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start_worker(name);
	while (example_is_running(master) && test_now_ns() < end_ns) {
		uint64_t i = test_random_below(WORKERS);

		test_sleep_ms((int)test_random_below(40));
		kill(workers[i].pid, SIGKILL);
		kills += example_finish(workers[i], NULL) == -SIGKILL;
		workers[i] = start_worker(name);
	}
	expect_all_right(master, &text);
	print_message("%d workers killed, %llu tasks came back, %llu results twice\n", kills,
		      example_number_before(text, " tasks came back"),
		      example_number_before(text, " results came twice"));
	free(text);
	assert_true(kills > 0);
	/* One that was started too late has found no master, and says so. */
	for (int i = 0; i < WORKERS; i++)
		assert_in_range(example_finish(workers[i], NULL), 0, 1);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_master_killed_next_run_starts_afresh(void **state)
{
	const char *name = test_name("workers-master-killed");
	struct child master = example_start("master", "--segment", name, "--tasks", "1000000",
					    "--workers", "1", NULL);
	struct child orphan = example_start("worker", "--segment", name, NULL);
	struct child workers[WORKERS];

	(void)state;
	test_sleep_ms(100);
	example_kill(master);
	/* The new master has to wait until the orphan has noticed, and new workers must not mix in. */
	for (int i = 0; i < WORKERS; i++)
		workers[i] = example_start("worker", "--segment", name, NULL);
	expect_all_right(example_start("master", "--segment", name, NULL), NULL);
	assert_int_equal(example_finish(orphan, NULL), 1);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(example_finish(workers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_second_master_is_refused(void **state)
{
	const char *name = test_name("workers-two-masters");
	struct child first =
		example_start("master", "--segment", name, "--workers", "1", "--tasks", "10", NULL);
	struct child worker;
	char *text;

	(void)state;
	example_wait_for_segment(name);
	assert_int_equal(example_finish(example_start("master", "--segment", name, NULL), &text),
			 1);
	assert_string_equal(text, "");
	free(text);
	worker = example_start("worker", "--segment", name, NULL);
	expect_all_right(first, NULL);
	assert_int_equal(example_finish(worker, NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("master", "--help", 0, "Usage: master");
	example_expect_answer("worker", "--help", 0, "Usage: worker");
	example_expect_answer("master", "--tasks=0", 2, "--tasks 0: too small");
	example_expect_answer("master", "--workers=four", 2, "--workers four: invalid");
	example_expect_answer("worker", "--crash-point=later", 2,
			      "not one of taken, computed, sent");
	example_expect_answer("worker", "--no-such-option", 2, "Usage: worker");
	example_expect_answer("worker", "surplus", 2, "unexpected argument 'surplus'");
	example_expect_answer("master", "--segment=a/b", 1, "a/b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_master_first_all_results_right),
		cmocka_unit_test(test_workers_first_all_results_right),
		cmocka_unit_test(test_worker_killed_with_task_taken_task_comes_back),
		cmocka_unit_test(test_worker_killed_with_result_computed_task_comes_back),
		cmocka_unit_test(test_worker_killed_with_result_sent_duplicate_recognised),
		cmocka_unit_test(test_workers_killed_at_random_no_task_lost),
		cmocka_unit_test(test_master_killed_next_run_starts_afresh),
		cmocka_unit_test(test_second_master_is_refused),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
