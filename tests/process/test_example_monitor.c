/*
 * The monitor example: does it tell alive, hung, dead and gone apart?
 *
 * Three processes work under its eyes. One is stopped (hung), one is killed (dead), the first goes
 * on (recovered), and at the end the others leave. The test follows what the monitor prints and
 * takes each step when the one before has been seen, never after a mere while.
 */
#include "support.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shmkit.h>

#define TIMEOUT_MS 20000

struct child {
	pid_t pid;
	int output;
	size_t size;			/* of what it has printed so far */
	char text[1 << 18];
};

/* start(child, program, argument, ..., NULL) */
static void start(struct child *child, const char *program, ...)
{
	const char *argv[16] = { program };
	char path[4096];
	va_list arguments;
	int count = 0;

	va_start(arguments, program);
	while (argv[count] != NULL && count < 14)
		argv[++count] = va_arg(arguments, const char *);
	va_end(arguments);
	snprintf(path, sizeof(path), "%s/monitor/%s", getenv("SHMKIT_EXAMPLES"), program);
	child->size = 0;
	child->text[0] = '\0';
	child->pid = test_spawn(path, argv, &child->output);
	assert_true(child->pid > 0);
}

/* Reads on until it has said @words. */
static void wait_until_said(struct child *child, const char *words)
{
	uint64_t deadline_ns = test_now_ns() + TIMEOUT_MS * UINT64_C(1000000);

	while (strstr(child->text, words) == NULL) {
		struct pollfd ready = { .fd = child->output, .events = POLLIN };
		ssize_t count = -1;

		if (poll(&ready, 1, 100) == 1)
			count = read(child->output, child->text + child->size,
				     sizeof(child->text) - child->size - 1);
		if (count == 0 || test_now_ns() > deadline_ns)
			fail_msg("no '%s' in:\n%s", words, child->text);
		child->size += count > 0 ? (size_t)count : 0;
		child->text[child->size] = '\0';
	}
}

static int finish(struct child *child)
{
	char *rest = test_read_all(child->output, TIMEOUT_MS);
	int status = test_wait_exit(child->pid, TIMEOUT_MS);

	close(child->output);
	assert_non_null(rest);
	snprintf(child->text + child->size, sizeof(child->text) - child->size, "%s", rest);
	free(rest);
	return status;
}

static void expect_in_order(struct child *monitor)
{
	int status = finish(monitor);

	if (status != 0)
		print_error("the monitor said:\n%s", monitor->text);
	assert_int_equal(status, 0);
	assert_null(strstr(monitor->text, "DOES NOT FIT"));
}

/* "process 2 (pid 4711) joined" */
static const char *event(int id, const struct child *child, const char *what)
{
	static char text[128];

	snprintf(text, sizeof(text), "process %d (pid %d) %s", id, (int)child->pid, what);
	return text;
}

static void test_hung_dead_recovered_and_left_are_told_apart(void **state)
{
	static struct child monitor, one, two, three;
	const char *name = test_name("monitor");

	(void)state;
	start(&one, "monitored", "--segment", name, "--id", "1", "--seconds", "4", "--bad-every", "50",
	      NULL);
	start(&monitor, "monitor", "--segment", name, "--seconds", "15", "--interval-ms", "50",
	      "--hung-ms", "600", NULL);
	start(&two, "monitored", "--segment", name, "--id", "2", "--seconds", "4", NULL);
	start(&three, "monitored", "--segment", name, "--id", "3", "--seconds", "4", NULL);
	wait_until_said(&monitor, event(1, &one, "joined"));
	wait_until_said(&monitor, event(2, &two, "joined"));
	wait_until_said(&monitor, event(3, &three, "joined"));

	kill(two.pid, SIGSTOP);
	wait_until_said(&monitor, event(2, &two, "appears hung"));
	assert_null(strstr(monitor.text, event(2, &two, "died")));

	kill(three.pid, SIGKILL);
	assert_int_equal(finish(&three), -SIGKILL);
	wait_until_said(&monitor, event(3, &three, "died"));

	kill(two.pid, SIGCONT);
	wait_until_said(&monitor, event(2, &two, "recovered"));

	assert_int_equal(finish(&one), 0);
	assert_int_equal(finish(&two), 0);
	expect_in_order(&monitor);
	assert_non_null(strstr(monitor.text, event(1, &one, "left")));
	assert_non_null(strstr(monitor.text, event(2, &two, "left")));
	assert_null(strstr(monitor.text, event(3, &three, "left")));
	assert_null(strstr(monitor.text, event(3, &three, "appears hung")));
	assert_null(strstr(monitor.text, "errors: the processes say 0,"));
	assert_non_null(strstr(monitor.text, " 1 died, 2 left"));
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* When everybody has left in order, the figures must fit to the last message. */
static void test_monitor_first_ends_when_all_have_left(void **state)
{
	static struct child monitor, monitored[4];
	static const char *const ids[] = { "0", "1", "2", "31" };
	const char *name = test_name("monitor-first");

	(void)state;
	start(&monitor, "monitor", "--segment", name, "--seconds", "60", "--interval-ms", "20", NULL);
	for (int i = 0; i < 4; i++)
		start(&monitored[i], "monitored", "--segment", name, "--id", ids[i], "--seconds", "1",
		      "--bad-every", "7", NULL);
	expect_in_order(&monitor);
	for (int i = 0; i < 4; i++)
		assert_int_equal(finish(&monitored[i]), 0);
	assert_non_null(strstr(monitor.text, "events: 0 hung, 0 recovered, 0 died, 4 left"));
	assert_non_null(strstr(monitor.text, "up to 0 may be underway: fits"));
	assert_null(strstr(monitor.text, "the processes say 0,"));
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The monitor sees two processes, one after the other; the statistics go on. */
static void test_restarted_process_goes_on_counting(void **state)
{
	static struct child monitor, first, second, witness;
	const char *name = test_name("monitor-restart");

	(void)state;
	start(&witness, "monitored", "--segment", name, "--id", "0", "--seconds", "60", NULL);
	start(&first, "monitored", "--segment", name, "--id", "5", "--seconds", "60", NULL);
	start(&monitor, "monitor", "--segment", name, "--seconds", "60", "--interval-ms", "20", NULL);
	wait_until_said(&monitor, event(5, &first, "joined"));
	kill(first.pid, SIGKILL);
	assert_int_equal(finish(&first), -SIGKILL);
	wait_until_said(&monitor, event(5, &first, "died"));

	start(&second, "monitored", "--segment", name, "--id", "5", "--seconds", "60", NULL);
	wait_until_said(&monitor, event(5, &second, "joined"));
	kill(second.pid, SIGTERM);
	assert_int_equal(finish(&second), 0);
	assert_non_null(strstr(second.text, "run 2"));
	wait_until_said(&monitor, event(5, &second, "left"));
	kill(witness.pid, SIGTERM);
	assert_int_equal(finish(&witness), 0);
	expect_in_order(&monitor);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_monitor_stops_while_work_goes_on(void **state)
{
	static struct child monitor, monitored[2];
	static const char *const ids[] = { "1", "2" };
	const char *name = test_name("monitor-stops");

	(void)state;
	for (int i = 0; i < 2; i++)
		start(&monitored[i], "monitored", "--segment", name, "--id", ids[i], "--seconds", "60",
		      "--tick-ms", "1", NULL);
	start(&monitor, "monitor", "--segment", name, "--seconds", "1", "--interval-ms", "100", NULL);
	expect_in_order(&monitor);
	for (int i = 0; i < 2; i++) {
		kill(monitored[i].pid, SIGTERM);
		assert_int_equal(finish(&monitored[i]), 0);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Nobody is left to clean up: the monitor finds what is left over and waits for a new beginning. */
static void test_left_over_segment_is_not_watched(void **state)
{
	static struct child monitor, dead, alive;
	const char *name = test_name("monitor-left-over");
	struct shmkit_segment *segment;

	(void)state;
	start(&dead, "monitored", "--segment", name, "--id", "1", "--seconds", "60", NULL);
	assert_int_equal(shmkit_segment_open_wait(name, SHMKIT_READ_ONLY, -1, &segment), 0);
	assert_int_equal(shmkit_segment_wait_for(segment, "errors_total", -1), 0);
	shmkit_segment_close(segment);
	kill(dead.pid, SIGKILL);
	assert_int_equal(finish(&dead), -SIGKILL);
	assert_int_equal(test_shm_leftovers(name), 1);

	start(&monitor, "monitor", "--segment", name, "--seconds", "60", "--interval-ms", "20", NULL);
	start(&alive, "monitored", "--segment", name, "--id", "2", "--seconds", "1", NULL);
	assert_int_equal(finish(&alive), 0);
	expect_in_order(&monitor);
	assert_non_null(strstr(monitor.text, event(2, &alive, "joined")));
	assert_null(strstr(monitor.text, event(1, &dead, "")));
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void expect_answer(const char *program, const char *const argv[], int expected_status,
			  const char *expected)
{
	char path[4096];
	char *text;
	int status;

	snprintf(path, sizeof(path), "%s/monitor/%s", getenv("SHMKIT_EXAMPLES"), program);
	text = test_run(path, argv, &status, TIMEOUT_MS);
	assert_non_null(text);
	assert_int_equal(status, expected_status);
	assert_non_null(strstr(text, expected));
	free(text);
}

static void test_id_in_use_is_refused(void **state)
{
	static struct child monitored;
	const char *name = test_name("monitor-id");
	const char *argv[] = { "monitored", "--segment", name, "--id", "7", NULL };
	struct shmkit_segment *segment;

	(void)state;
	start(&monitored, "monitored", "--segment", name, "--id", "7", "--seconds", "60", NULL);
	assert_int_equal(shmkit_segment_open_wait(name, SHMKIT_READ_ONLY, -1, &segment), 0);
	assert_int_equal(shmkit_segment_wait_for(segment, "errors_total", -1), 0);
	shmkit_segment_close(segment);
	expect_answer("monitored", argv, 1, "id 7 is taken by process");
	kill(monitored.pid, SIGTERM);
	assert_int_equal(finish(&monitored), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	static const struct {
		const char *program, *argument;
		int status;
		const char *answer;
	} cases[] = {
		{ "monitor", "--help", 0, "Usage: monitor" },
		{ "monitored", "--help", 0, "Usage: monitored" },
		{ "monitored", NULL, 2, "--id is missing" },
		{ "monitored", "--id=32", 2, "--id 32: too large" },
		{ "monitor", "--hung-ms=x", 2, "--hung-ms x: invalid" },
		{ "monitor", "--no-such-option", 2, "Usage: monitor" },
		{ "monitor", "surplus", 2, "unexpected argument 'surplus'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *argv[] = { cases[i].program, cases[i].argument, NULL };

		expect_answer(cases[i].program, argv, cases[i].status, cases[i].answer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hung_dead_recovered_and_left_are_told_apart),
		cmocka_unit_test(test_monitor_first_ends_when_all_have_left),
		cmocka_unit_test(test_restarted_process_goes_on_counting),
		cmocka_unit_test(test_monitor_stops_while_work_goes_on),
		cmocka_unit_test(test_left_over_segment_is_not_watched),
		cmocka_unit_test(test_id_in_use_is_refused),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
