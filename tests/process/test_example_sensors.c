/*
 * The sensor pipeline, as a user runs it: collector, processor and a read-only viewer.
 *
 * The processor finds the frequency of each channel from the readings and compares it with what the
 * collector has put in; every reading is taken, dropped or left, and the three programs must agree
 * on how many. Here: any order of starting, a processor and a viewer that are too slow, and deaths.
 */
#include "support.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	snprintf(path, sizeof(path), "%s/sensors/%s", getenv("SHMKIT_EXAMPLES"), program);
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

/* It must succeed and say @expected; what it has printed is in *ret_text, unless NULL. */
static void expect_success(struct child child, const char *expected, char **ret_text)
{
	char *text;
	int status = finish(child, &text);

	if (status != 0 || strstr(text, expected) == NULL)
		print_error("expected '%s', status %d, printed:\n%s", expected, status, text);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, expected));
	if (ret_text != NULL)
		*ret_text = text;
	else
		free(text);
}

static void kill_child(struct child child)
{
	kill(child.pid, SIGKILL);
	assert_int_equal(finish(child, NULL), -SIGKILL);
}

#define COLLECTOR_PASS "sensor_collector: PASS"
#define PROCESSOR_PASS "sensor_processor: PASS"
#define VIEWER_PASS    "sensor_viewer: PASS"

/* The number that stands before @words. */
static unsigned long long number_before(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	assert_non_null(at);
	while (at > text && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return strtoull(at, NULL, 10);
}

static void wait_for_segment(const char *name)
{
	while (test_shm_leftovers(name) == 0)
		test_sleep_ms(1);
}

static void test_collector_first_frequencies_are_found(void **state)
{
	const char *name = test_name("sensors-collector-first");
	struct child collector = start("sensor_collector", "--segment", name, "--wait",
				       "--seconds", "1", NULL);
	struct child processor, viewer;
	char *text;

	(void)state;
	wait_for_segment(name);
	processor = start("sensor_processor", "--segment", name, NULL);
	viewer = start("sensor_viewer", "--segment", name, "--seconds", "0.5", NULL);
	expect_success(collector, COLLECTOR_PASS, &text);
	assert_int_equal(number_before(text, " readings in "), 1000000);
	assert_int_equal(number_before(text, " dropped"), 0);
	assert_int_equal(number_before(text, " left"), 0);
	free(text);
	expect_success(processor, PROCESSOR_PASS, &text);
	assert_int_equal(number_before(text, " readings taken"), 1000000);
	free(text);
	expect_success(viewer, VIEWER_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_collector_last_frequencies_are_found(void **state)
{
	const char *name = test_name("sensors-collector-last");
	struct child viewer = start("sensor_viewer", "--segment", name, "--seconds", "0.5",
				    NULL);
	struct child processor = start("sensor_processor", "--segment", name, NULL);
	struct child collector;

	(void)state;
	test_sleep_ms(50);
	collector = start("sensor_collector", "--segment", name, "--wait", "--seconds", "1",
			  "--capacity", "100000", "--seed", "7", NULL);
	expect_success(collector, COLLECTOR_PASS, NULL);
	expect_success(processor, PROCESSOR_PASS, NULL);
	expect_success(viewer, VIEWER_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The ring holds 10 ms, the processor pauses for 20: much is dropped, and all of it is known. */
static void test_slow_processor_drops_add_up(void **state)
{
	const char *name = test_name("sensors-slow-processor");
	struct child processor = start("sensor_processor", "--segment", name, "--slow-processor",
				       "20000", NULL);
	struct child collector = start("sensor_collector", "--segment", name, "--wait",
				       "--seconds", "1", "--capacity", "10000", NULL);
	unsigned long long processed, dropped;
	char *text;

	(void)state;
	expect_success(collector, COLLECTOR_PASS, &text);
	processed = number_before(text, " processed");
	dropped = number_before(text, " dropped");
	assert_true(dropped > 100000);
	assert_int_equal(processed + dropped, 1000000);
	free(text);
	expect_success(processor, PROCESSOR_PASS, &text);
	assert_int_equal(number_before(text, " readings taken"), processed);
	assert_int_equal(number_before(text, " missing"), dropped);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_slow_viewer_losses_add_up(void **state)
{
	const char *name = test_name("sensors-slow-viewer");
	struct child viewer = start("sensor_viewer", "--segment", name, "--slow-viewer", "30000",
				    "--seconds", "0.5", NULL);
	struct child collector = start("sensor_collector", "--segment", name, "--seconds",
				       "1", "--capacity", "10000", NULL);
	char *text;

	(void)state;
	expect_success(viewer, VIEWER_PASS, &text);
	assert_true(number_before(text, " readings seen") > 0);
	assert_true(number_before(text, " lost") > 10000);
	assert_non_null(strstr(text, "no processor has come"));
	free(text);
	expect_success(collector, COLLECTOR_PASS, &text);
	assert_int_equal(number_before(text, " left"), 10000);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_viewer_killed_nobody_notices(void **state)
{
	const char *name = test_name("sensors-viewer-killed");
	struct child collector = start("sensor_collector", "--segment", name, "--wait",
				       "--seconds", "0.8", NULL);
	struct child processor = start("sensor_processor", "--segment", name, NULL);
	struct child viewer = start("sensor_viewer", "--segment", name, "--seconds", "60",
				    NULL);

	(void)state;
	test_sleep_ms(400);
	kill_child(viewer);
	expect_success(collector, COLLECTOR_PASS, NULL);
	expect_success(processor, PROCESSOR_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_processor_killed_collector_goes_on(void **state)
{
	const char *name = test_name("sensors-processor-killed");
	struct child collector = start("sensor_collector", "--segment", name, "--wait",
				       "--seconds", "0.8", "--capacity", "10000", NULL);
	struct child processor = start("sensor_processor", "--segment", name, NULL);
	char *text;

	(void)state;
	test_sleep_ms(400);
	kill_child(processor);
	expect_success(collector, COLLECTOR_PASS, &text);
	assert_int_equal(number_before(text, " left"), 10000);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The next collector waits until the processor of the dead one has noticed and gone. */
static void test_collector_killed_others_notice(void **state)
{
	const char *name = test_name("sensors-collector-killed");
	struct child collector = start("sensor_collector", "--segment", name, "--wait",
				       "--seconds", "60", NULL);
	struct child processor = start("sensor_processor", "--segment", name, NULL);
	struct child viewer = start("sensor_viewer", "--segment", name, "--seconds", "60",
				    NULL);

	(void)state;
	test_sleep_ms(400);
	kill_child(collector);
	collector = start("sensor_collector", "--segment", name, "--seconds", "0.1", NULL);
	assert_int_equal(finish(processor, NULL), 1);
	assert_int_equal(finish(viewer, NULL), 1);
	expect_success(collector, COLLECTOR_PASS, NULL);
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

	snprintf(path, sizeof(path), "%s/sensors/%s", getenv("SHMKIT_EXAMPLES"), program);
	text = test_run(path, argv, &status, TIMEOUT_MS);
	assert_non_null(text);
	if (status != expected_status || strstr(text, expected) == NULL)
		print_error("%s %s: expected '%s', status %d, printed:\n%s", program, argument,
			    expected, status, text);
	assert_int_equal(status, expected_status);
	assert_non_null(strstr(text, expected));
	free(text);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	expect_answer("sensor_collector", "--help", 0, "Usage: sensor_collector");
	expect_answer("sensor_processor", "--help", 0, "Usage: sensor_processor");
	expect_answer("sensor_viewer", "--help", 0, "Usage: sensor_viewer");
	expect_answer("sensor_collector", "--capacity=10", 2, "--capacity 10: too small");
	expect_answer("sensor_processor", "--slow-processor=very", 2,
		      "--slow-processor very: invalid");
	expect_answer("sensor_collector", "--seconds=0", 2, "--seconds 0: out of range");
	expect_answer("sensor_collector", "--seconds=1s", 2, "--seconds 1s: not a number");
	expect_answer("sensor_viewer", "--last=101", 2, "--last 101: too large");
	expect_answer("sensor_viewer", "--no-such-option", 2, "Usage: sensor_viewer");
	expect_answer("sensor_viewer", "surplus", 2, "unexpected argument 'surplus'");
	expect_answer("sensor_collector", "--segment=a/b", 1, "a/b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_collector_first_frequencies_are_found),
		cmocka_unit_test(test_collector_last_frequencies_are_found),
		cmocka_unit_test(test_slow_processor_drops_add_up),
		cmocka_unit_test(test_slow_viewer_losses_add_up),
		cmocka_unit_test(test_viewer_killed_nobody_notices),
		cmocka_unit_test(test_processor_killed_collector_goes_on),
		cmocka_unit_test(test_collector_killed_others_notice),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
