/*
 * The sensor pipeline, as a user runs it: collector, processor and a read-only viewer.
 *
 * The processor finds the frequency of each channel from the readings and compares it with what the
 * collector has put in; every reading is taken, dropped or left, and the three programs must agree
 * on how many. Here: any order of starting, a processor and a viewer that are too slow, and deaths.
 */
#include "example.h"

#include <stdlib.h>
#include <string.h>

const char *const example_name = "sensors";

#define COLLECTOR_PASS "sensor_collector: PASS"
#define PROCESSOR_PASS "sensor_processor: PASS"
#define VIEWER_PASS    "sensor_viewer: PASS"

static void test_collector_first_frequencies_are_found(void **state)
{
	const char *name = test_name("sensors-collector-first");
	struct child collector = example_start("sensor_collector", "--segment", name, "--wait",
					       "--seconds", "1", NULL);
	struct child processor, viewer;
	char *text;

	(void)state;
	example_wait_for_segment(name);
	processor = example_start("sensor_processor", "--segment", name, NULL);
	viewer = example_start("sensor_viewer", "--segment", name, "--seconds", "0.5", NULL);
	example_expect_success(collector, COLLECTOR_PASS, &text);
	assert_int_equal(example_number_before(text, " readings in "), 1000000);
	assert_int_equal(example_number_before(text, " dropped"), 0);
	assert_int_equal(example_number_before(text, " left"), 0);
	free(text);
	example_expect_success(processor, PROCESSOR_PASS, &text);
	assert_int_equal(example_number_before(text, " readings taken"), 1000000);
	free(text);
	example_expect_success(viewer, VIEWER_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_collector_last_frequencies_are_found(void **state)
{
	const char *name = test_name("sensors-collector-last");
	struct child viewer =
		example_start("sensor_viewer", "--segment", name, "--seconds", "0.5", NULL);
	struct child processor = example_start("sensor_processor", "--segment", name, NULL);
	struct child collector;

	(void)state;
	test_sleep_ms(50);
	collector = example_start("sensor_collector", "--segment", name, "--wait", "--seconds", "1",
				  "--capacity", "100000", "--seed", "7", NULL);
	example_expect_success(collector, COLLECTOR_PASS, NULL);
	example_expect_success(processor, PROCESSOR_PASS, NULL);
	example_expect_success(viewer, VIEWER_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The ring holds 10 ms, the processor pauses for 20: much is dropped, and all of it is known. */
static void test_slow_processor_drops_add_up(void **state)
{
	const char *name = test_name("sensors-slow-processor");
	struct child processor = example_start("sensor_processor", "--segment", name,
					       "--slow-processor", "20000", NULL);
	struct child collector = example_start("sensor_collector", "--segment", name, "--wait",
					       "--seconds", "1", "--capacity", "10000", NULL);
	unsigned long long processed, dropped;
	char *text;

	(void)state;
	example_expect_success(collector, COLLECTOR_PASS, &text);
	processed = example_number_before(text, " processed");
	dropped = example_number_before(text, " dropped");
	assert_true(dropped > 100000);
	assert_int_equal(processed + dropped, 1000000);
	free(text);
	example_expect_success(processor, PROCESSOR_PASS, &text);
	assert_int_equal(example_number_before(text, " readings taken"), processed);
	assert_int_equal(example_number_before(text, " missing"), dropped);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_slow_viewer_losses_add_up(void **state)
{
	const char *name = test_name("sensors-slow-viewer");
	struct child viewer = example_start("sensor_viewer", "--segment", name, "--slow-viewer",
					    "30000", "--seconds", "0.5", NULL);
	struct child collector = example_start("sensor_collector", "--segment", name, "--seconds",
					       "1", "--capacity", "10000", NULL);
	char *text;

	(void)state;
	example_expect_success(viewer, VIEWER_PASS, &text);
	assert_true(example_number_before(text, " readings seen") > 0);
	assert_true(example_number_before(text, " lost") > 10000);
	assert_non_null(strstr(text, "no processor has come"));
	free(text);
	example_expect_success(collector, COLLECTOR_PASS, &text);
	assert_int_equal(example_number_before(text, " left"), 10000);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_viewer_killed_nobody_notices(void **state)
{
	const char *name = test_name("sensors-viewer-killed");
	struct child collector = example_start("sensor_collector", "--segment", name, "--wait",
					       "--seconds", "0.8", NULL);
	struct child processor = example_start("sensor_processor", "--segment", name, NULL);
	struct child viewer =
		example_start("sensor_viewer", "--segment", name, "--seconds", "60", NULL);

	(void)state;
	test_sleep_ms(400);
	example_kill(viewer);
	example_expect_success(collector, COLLECTOR_PASS, NULL);
	example_expect_success(processor, PROCESSOR_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_processor_killed_collector_goes_on(void **state)
{
	const char *name = test_name("sensors-processor-killed");
	struct child collector = example_start("sensor_collector", "--segment", name, "--wait",
					       "--seconds", "0.8", "--capacity", "10000", NULL);
	struct child processor = example_start("sensor_processor", "--segment", name, NULL);
	char *text;

	(void)state;
	test_sleep_ms(400);
	example_kill(processor);
	example_expect_success(collector, COLLECTOR_PASS, &text);
	assert_int_equal(example_number_before(text, " left"), 10000);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* The next collector waits until the processor of the dead one has noticed and gone. */
static void test_collector_killed_others_notice(void **state)
{
	const char *name = test_name("sensors-collector-killed");
	struct child collector = example_start("sensor_collector", "--segment", name, "--wait",
					       "--seconds", "60", NULL);
	struct child processor = example_start("sensor_processor", "--segment", name, NULL);
	struct child viewer =
		example_start("sensor_viewer", "--segment", name, "--seconds", "60", NULL);

	(void)state;
	test_sleep_ms(400);
	example_kill(collector);
	collector = example_start("sensor_collector", "--segment", name, "--seconds", "0.1", NULL);
	assert_int_equal(example_finish(processor, NULL), 1);
	assert_int_equal(example_finish(viewer, NULL), 1);
	example_expect_success(collector, COLLECTOR_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("sensor_collector", "--help", 0, "Usage: sensor_collector");
	example_expect_answer("sensor_processor", "--help", 0, "Usage: sensor_processor");
	example_expect_answer("sensor_viewer", "--help", 0, "Usage: sensor_viewer");
	example_expect_answer("sensor_collector", "--capacity=10", 2, "--capacity 10: too small");
	example_expect_answer("sensor_processor", "--slow-processor=very", 2,
			      "--slow-processor very: invalid");
	example_expect_answer("sensor_collector", "--seconds=0", 2, "--seconds 0: out of range");
	example_expect_answer("sensor_collector", "--seconds=1s", 2, "--seconds 1s: not a number");
	example_expect_answer("sensor_viewer", "--last=101", 2, "--last 101: too large");
	example_expect_answer("sensor_viewer", "--no-such-option", 2, "Usage: sensor_viewer");
	example_expect_answer("sensor_viewer", "surplus", 2, "unexpected argument 'surplus'");
	example_expect_answer("sensor_collector", "--segment=a/b", 1, "a/b");
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
