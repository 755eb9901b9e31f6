/*
 * The workers example, as a user runs it: real programs, found by name alone, killed on the way.
 *
 * Whatever happens to the workers, the master must end with every result right; the master itself
 * computes each one again. A worker is killed in each of the three windows between taking a task
 * and acknowledging it, then at random. Nothing may be left in /dev/shm.
 */
#include "support.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS    4
#define TIMEOUT_MS 20000

struct child {
	pid_t pid;
	int output;
};

/* start(program, argument, ..., NULL) */
static struct child start(const char *program, ...)
{
	const char *argv[16] = { program };
	struct child child;
	char path[4096];
	va_list arguments;
	int count = 0;

	va_start(arguments, program);
	while (argv[count] != NULL && count < 14)
		argv[++count] = va_arg(arguments, const char *);
	va_end(arguments);
	snprintf(path, sizeof(path), "%s/workers/%s", getenv("SHMKIT_EXAMPLES"), program);
	child.pid = test_spawn(path, argv, &child.output);
	assert_true(child.pid > 0);
	return child;
}

/* The exit status; what it has printed is in *ret_text, to be freed, unless NULL. */
static int finish(struct child child, char **ret_text)
{
	char *text = test_read_all(child.output, TIMEOUT_MS);
	int status = test_wait_exit(child.pid, TIMEOUT_MS);

	close(child.output);
	assert_non_null(text);
	if (ret_text != NULL)
		*ret_text = text;
	else
		free(text);
	return status;
}

static bool is_running(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

/* The number that stands before @words in the output of the master. */
static long number_before(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	assert_non_null(at);
	while (at > text && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return strtol(at, NULL, 10);
}

static void expect_all_right(struct child master, char **ret_text)
{
	char *text;
	int status = finish(master, &text);

	if (status != 0)
		print_error("the master said:\n%s", text);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, "every result was computed again and is right"));
	if (ret_text != NULL)
		*ret_text = text;
	else
		free(text);
}

static void test_master_first_all_results_right(void **state)
{
	const char *name = test_name("workers-master-first");
	struct child master = start("master", "--segment", name, NULL);
	struct child workers[WORKERS];
	long tasks = 0;
	char *text;

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start("worker", "--segment", name, NULL);
	expect_all_right(master, &text);
	assert_int_equal(number_before(text, " results collected"), 1000);
	assert_int_equal(number_before(text, " tasks came back"), 0);
	free(text);
	for (int i = 0; i < WORKERS; i++) {
		assert_int_equal(finish(workers[i], &text), 0);
		tasks += number_before(text, " tasks,");
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
		workers[i] = start("worker", "--segment", name, NULL);
	expect_all_right(start("master", "--segment", name, NULL), NULL);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(finish(workers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void kill_one_at(const char *point, long expected_duplicates)
{
	const char *name = test_name(point);
	struct child master = start("master", "--segment", name, "--tasks", "300",
				    "--workers", "3", NULL);
	struct child victim = start("worker", "--segment", name, "--crash-after", "7",
				    "--crash-point", point, NULL);
	struct child others[2];
	char *text;

	for (int i = 0; i < 2; i++)
		others[i] = start("worker", "--segment", name, NULL);
	assert_int_equal(finish(victim, NULL), -SIGKILL);
	expect_all_right(master, &text);
	assert_int_equal(number_before(text, " tasks came back"), 1);
	assert_int_equal(number_before(text, " results came twice"), expected_duplicates);
	free(text);
	for (int i = 0; i < 2; i++)
		assert_int_equal(finish(others[i], NULL), 0);
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
	master = start("master", "--segment", name, "--tasks", "5", "--workers", "1", NULL);
	victim = start("worker", "--segment", name, "--crash-after", "3", "--crash-point", "sent",
		       NULL);
	assert_int_equal(finish(victim, NULL), -SIGKILL);
	other = start("worker", "--segment", name, NULL);
	expect_all_right(master, &text);
	assert_int_equal(number_before(text, " tasks came back"), 1);
	free(text);
	assert_int_equal(finish(other, NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static struct child start_worker(const char *name)
{
	return start("worker", "--segment", name, "--timeout", "2", NULL);
}

static void test_workers_killed_at_random_no_task_lost(void **state)
{
	const char *name = test_name("workers-random");
	struct child master = start("master", "--segment", name, "--tasks", "4000", NULL);
	uint64_t end_ns = test_now_ns() + UINT64_C(6000000000);
	struct child workers[WORKERS];
	int kills = 0;
	char *text;

	(void)state;
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start_worker(name);
	while (is_running(master.pid) && test_now_ns() < end_ns) {
		uint64_t i = test_random_below(WORKERS);

		test_sleep_ms((int)test_random_below(40));
		kill(workers[i].pid, SIGKILL);
		kills += finish(workers[i], NULL) == -SIGKILL;
		workers[i] = start_worker(name);
	}
	expect_all_right(master, &text);
	print_message("%d workers killed, %ld tasks came back, %ld results twice\n", kills,
		      number_before(text, " tasks came back"),
		      number_before(text, " results came twice"));
	free(text);
	assert_true(kills > 0);
	/* One that was started too late has found no master, and says so. */
	for (int i = 0; i < WORKERS; i++)
		assert_in_range(finish(workers[i], NULL), 0, 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_master_killed_next_run_starts_afresh(void **state)
{
	const char *name = test_name("workers-master-killed");
	struct child master = start("master", "--segment", name, "--tasks", "1000000",
				    "--workers", "1", NULL);
	struct child orphan = start("worker", "--segment", name, NULL);
	struct child workers[WORKERS];

	(void)state;
	test_sleep_ms(100);
	kill(master.pid, SIGKILL);
	assert_int_equal(finish(master, NULL), -SIGKILL);
	/* The new master has to wait until the orphan has noticed, and new workers must not mix in. */
	for (int i = 0; i < WORKERS; i++)
		workers[i] = start("worker", "--segment", name, NULL);
	expect_all_right(start("master", "--segment", name, NULL), NULL);
	assert_int_equal(finish(orphan, NULL), 1);
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(finish(workers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_second_master_is_refused(void **state)
{
	const char *name = test_name("workers-two-masters");
	struct child first = start("master", "--segment", name, "--workers", "1", "--tasks", "10", NULL);
	struct child worker;
	char *text;

	(void)state;
	while (test_shm_leftovers(name) == 0)
		test_sleep_ms(1);
	assert_int_equal(finish(start("master", "--segment", name, NULL), &text), 1);
	assert_string_equal(text, "");
	free(text);
	worker = start("worker", "--segment", name, NULL);
	expect_all_right(first, NULL);
	assert_int_equal(finish(worker, NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Runs @program with one argument; its output must contain @expected. */
static void expect_answer(const char *program, const char *argument, int expected_status,
			  const char *expected)
{
	const char *argv[] = { program, argument, NULL };
	char path[4096];
	char *text;
	int status;

	snprintf(path, sizeof(path), "%s/workers/%s", getenv("SHMKIT_EXAMPLES"), program);
	text = test_run(path, argv, &status, TIMEOUT_MS);
	assert_non_null(text);
	assert_int_equal(status, expected_status);
	assert_non_null(strstr(text, expected));
	free(text);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	expect_answer("master", "--help", 0, "Usage: master");
	expect_answer("worker", "--help", 0, "Usage: worker");
	expect_answer("master", "--tasks=0", 2, "--tasks 0: too small");
	expect_answer("master", "--workers=four", 2, "--workers four: invalid");
	expect_answer("worker", "--crash-point=later", 2, "not one of taken, computed, sent");
	expect_answer("worker", "--no-such-option", 2, "Usage: worker");
	expect_answer("worker", "surplus", 2, "unexpected argument 'surplus'");
	expect_answer("master", "--segment=a/b", 1, "a/b");
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
