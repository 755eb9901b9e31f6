/*
 * The monitor example: does it tell alive, hung, dead and gone apart?
 *
 * Three processes work under its eyes. One is stopped (hung), one is killed (dead), the first goes
 * on (recovered), and at the end the others leave. The test follows what the monitor prints and
 * takes each step when the one before has been seen, never after a mere while.
 */
#include "example.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shmkit.h>

const char *const example_name = "monitor";

/* A monitor, and what it has printed so far. */
struct monitor {
	struct child child;
	size_t size;
	char text[1 << 18];
};

static void follow(struct monitor *monitor, struct child child)
{
	monitor->child = child;
	monitor->size = 0;
	monitor->text[0] = '\0';
}

/* Reads on until it has said @words. */
static void wait_until_said(struct monitor *monitor, const char *words)
{
	uint64_t deadline_ns = test_now_ns() + EXAMPLE_TIMEOUT_MS * UINT64_C(1000000);

	while (strstr(monitor->text, words) == NULL) {
		struct pollfd ready = { .fd = monitor->child.output, .events = POLLIN };
		ssize_t count = -1;

		if (poll(&ready, 1, 100) == 1)
			count = read(monitor->child.output, monitor->text + monitor->size,
				     sizeof(monitor->text) - monitor->size - 1);
		if (count == 0 || test_now_ns() > deadline_ns)
			fail_msg("no '%s' in:\n%s", words, monitor->text);
		monitor->size += count > 0 ? (size_t)count : 0;
		monitor->text[monitor->size] = '\0';
	}
}

static void expect_in_order(struct monitor *monitor)
{
	char *rest;
	int status = example_finish(monitor->child, &rest);

	snprintf(monitor->text + monitor->size, sizeof(monitor->text) - monitor->size, "%s", rest);
	free(rest);
	if (status != 0)
		print_error("the monitor said:\n%s", monitor->text);
	assert_int_equal(status, 0);
	assert_null(strstr(monitor->text, "DOES NOT FIT"));
}

/* "process 2 (pid 4711) joined" */
static const char *event(int id, struct child child, const char *what)
{
	static char text[128];

	snprintf(text, sizeof(text), "process %d (pid %d) %s", id, (int)child.pid, what);
	return text;
}

/* Not before it has started working. */
static void wait_until_monitored(const char *name)
{
	struct shmkit_segment *segment;

	assert_int_equal(shmkit_segment_open_wait(name, SHMKIT_READ_ONLY, -1, &segment), 0);
	assert_int_equal(shmkit_segment_wait_for(segment, "errors_total", -1), 0);
	shmkit_segment_close(segment);
}

static void test_hung_dead_recovered_and_left_are_told_apart(void **state)
{
	static struct monitor monitor;
	struct child one, two, three;
	const char *name = test_name("monitor");

	(void)state;
	one = example_start("monitored", "--segment", name, "--id", "1", "--seconds", "4",
			    "--bad-every", "50", NULL);
	follow(&monitor, example_start("monitor", "--segment", name, "--seconds", "15",
				       "--interval-ms", "50", "--hung-ms", "600", NULL));
	two = example_start("monitored", "--segment", name, "--id", "2", "--seconds", "4", NULL);
	three = example_start("monitored", "--segment", name, "--id", "3", "--seconds", "4", NULL);
	wait_until_said(&monitor, event(1, one, "joined"));
	wait_until_said(&monitor, event(2, two, "joined"));
	wait_until_said(&monitor, event(3, three, "joined"));

	kill(two.pid, SIGSTOP);
	wait_until_said(&monitor, event(2, two, "appears hung"));
	assert_null(strstr(monitor.text, event(2, two, "died")));

	example_kill(three);
	wait_until_said(&monitor, event(3, three, "died"));

	kill(two.pid, SIGCONT);
	wait_until_said(&monitor, event(2, two, "recovered"));

	assert_int_equal(example_finish(one, NULL), 0);
	assert_int_equal(example_finish(two, NULL), 0);
	expect_in_order(&monitor);
	assert_non_null(strstr(monitor.text, event(1, one, "left")));
	assert_non_null(strstr(monitor.text, event(2, two, "left")));
	assert_null(strstr(monitor.text, event(3, three, "left")));
	assert_null(strstr(monitor.text, event(3, three, "appears hung")));
	assert_null(strstr(monitor.text, "errors: the processes say 0,"));
	assert_non_null(strstr(monitor.text, " 1 died, 2 left"));
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* When everybody has left in order, the figures must fit to the last message. */
static void test_monitor_first_ends_when_all_have_left(void **state)
{
	static struct monitor monitor;
	struct child monitored[4];
	static const char *const ids[] = { "0", "1", "2", "31" };
	const char *name = test_name("monitor-first");

	(void)state;
	follow(&monitor, example_start("monitor", "--segment", name, "--seconds", "60",
				       "--interval-ms", "20", NULL));
	for (int i = 0; i < 4; i++)
		monitored[i] = example_start("monitored", "--segment", name, "--id", ids[i],
					     "--seconds", "1", "--bad-every", "7", NULL);
	expect_in_order(&monitor);
	for (int i = 0; i < 4; i++)
		assert_int_equal(example_finish(monitored[i], NULL), 0);
	assert_non_null(strstr(monitor.text, "events: 0 hung, 0 recovered, 0 died, 4 left"));
	assert_non_null(strstr(monitor.text, "up to 0 may be underway: fits"));
	assert_null(strstr(monitor.text, "the processes say 0,"));
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The monitor sees two processes, one after the other; the statistics go on. */
static void test_restarted_process_goes_on_counting(void **state)
{
	static struct monitor monitor;
	struct child first, second, witness;
	const char *name = test_name("monitor-restart");
	char *text;

	(void)state;
	witness =
		example_start("monitored", "--segment", name, "--id", "0", "--seconds", "60", NULL);
	first = example_start("monitored", "--segment", name, "--id", "5", "--seconds", "60", NULL);
	follow(&monitor, example_start("monitor", "--segment", name, "--seconds", "60",
				       "--interval-ms", "20", NULL));
	/* the witness keeps the monitor watching when the first is gone */
	wait_until_said(&monitor, event(0, witness, "joined"));
	wait_until_said(&monitor, event(5, first, "joined"));
	example_kill(first);
	wait_until_said(&monitor, event(5, first, "died"));

	second =
		example_start("monitored", "--segment", name, "--id", "5", "--seconds", "60", NULL);
	wait_until_said(&monitor, event(5, second, "joined"));
	kill(second.pid, SIGTERM);
	assert_int_equal(example_finish(second, &text), 0);
	assert_non_null(strstr(text, "run 2"));
	free(text);
	wait_until_said(&monitor, event(5, second, "left"));
	kill(witness.pid, SIGTERM);
	assert_int_equal(example_finish(witness, NULL), 0);
	expect_in_order(&monitor);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_monitor_stops_while_work_goes_on(void **state)
{
	static struct monitor monitor;
	struct child monitored[2];
	static const char *const ids[] = { "1", "2" };
	const char *name = test_name("monitor-stops");

	(void)state;
	for (int i = 0; i < 2; i++)
		monitored[i] = example_start("monitored", "--segment", name, "--id", ids[i],
					     "--seconds", "60", "--tick-ms", "1", NULL);
	follow(&monitor, example_start("monitor", "--segment", name, "--seconds", "1",
				       "--interval-ms", "100", NULL));
	expect_in_order(&monitor);
	for (int i = 0; i < 2; i++) {
		kill(monitored[i].pid, SIGTERM);
		assert_int_equal(example_finish(monitored[i], NULL), 0);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Nobody is left to clean up: the monitor finds what is left over and waits for a new beginning. */
static void test_left_over_segment_is_not_watched(void **state)
{
	static struct monitor monitor;
	struct child dead, alive;
	const char *name = test_name("monitor-left-over");

	(void)state;
	dead = example_start("monitored", "--segment", name, "--id", "1", "--seconds", "60", NULL);
	wait_until_monitored(name);
	example_kill(dead);
	assert_int_equal(test_shm_leftovers(name), 1);

	follow(&monitor, example_start("monitor", "--segment", name, "--seconds", "60",
				       "--interval-ms", "20", NULL));
	alive = example_start("monitored", "--segment", name, "--id", "2", "--seconds", "1", NULL);
	assert_int_equal(example_finish(alive, NULL), 0);
	expect_in_order(&monitor);
	assert_non_null(strstr(monitor.text, event(2, alive, "joined")));
	assert_null(strstr(monitor.text, event(1, dead, "")));
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_id_in_use_is_refused(void **state)
{
	struct child monitored;
	const char *name = test_name("monitor-id");
	char *text;

	(void)state;
	monitored =
		example_start("monitored", "--segment", name, "--id", "7", "--seconds", "60", NULL);
	wait_until_monitored(name);
	text = example_run(1, "monitored", "--segment", name, "--id", "7", NULL);
	assert_non_null(strstr(text, "id 7 is taken by process"));
	free(text);
	kill(monitored.pid, SIGTERM);
	assert_int_equal(example_finish(monitored, NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("monitor", "--help", 0, "Usage: monitor");
	example_expect_answer("monitored", "--help", 0, "Usage: monitored");
	example_expect_answer("monitored", NULL, 2, "--id is missing");
	example_expect_answer("monitored", "--id=32", 2, "--id 32: too large");
	example_expect_answer("monitor", "--hung-ms=x", 2, "--hung-ms x: invalid");
	example_expect_answer("monitor", "--no-such-option", 2, "Usage: monitor");
	example_expect_answer("monitor", "surplus", 2, "unexpected argument 'surplus'");
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
