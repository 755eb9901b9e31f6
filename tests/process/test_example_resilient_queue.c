/*
 * The resilient_queue example: consumers killed at chosen points and at random, again and again.
 *
 * The producer audits the ledger at the end: every message has taken effect exactly once, account
 * by account. Each window between taking a message and acknowledging it is hit once, with what must
 * follow from it; then consumers are killed at random; then everybody, and all go on.
 */
#include "example.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <shmkit.h>

const char *const example_name = "resilient_queue";

#define CONSUMERS 2

/* It may have ended before. */
static void stop(struct child child)
{
	kill(child.pid, SIGKILL);
	example_finish(child, NULL);
}

static char *expect_exact(struct child producer)
{
	char *text;

	example_expect_success(producer, "the ledger is exact: each message took effect once",
			       &text);
	return text;
}

static void test_producer_first_ledger_exact(void **state)
{
	const char *name = test_name("resilient-producer-first");
	struct child producer = example_start("resilient_producer", "--segment", name, NULL);
	struct child consumer = example_start("resilient_consumer", "--segment", name, NULL);
	char *text;

	(void)state;
	text = expect_exact(producer);
	assert_int_equal(example_number_before(text, " redelivered"), 0);
	free(text);
	assert_int_equal(example_finish(consumer, &text), 0);
	assert_int_equal(example_number_before(text, " messages taken"), 20000);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_consumers_first_ledger_exact(void **state)
{
	const char *name = test_name("resilient-consumers-first");
	struct child consumers[CONSUMERS];

	(void)state;
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = example_start("resilient_consumer", "--segment", name, NULL);
	free(expect_exact(example_start("resilient_producer", "--segment", name, NULL)));
	for (int i = 0; i < CONSUMERS; i++)
		assert_int_equal(example_finish(consumers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* @duplicates: is the message that comes back a duplicate? @completed: is an intent left behind? */
static void kill_one_at(const char *point, unsigned long long duplicates,
			unsigned long long completed)
{
	const char *name = test_name(point);
	struct child producer =
		example_start("resilient_producer", "--segment", name, "--count", "500", NULL);
	struct child victim = example_start("resilient_consumer", "--segment", name,
					    "--crash-after", "50", "--crash-at", point, NULL);
	struct child other;
	char *text;

	assert_int_equal(example_finish(victim, NULL), -SIGKILL);
	other = example_start("resilient_consumer", "--segment", name, NULL);
	text = expect_exact(producer);
	assert_int_equal(example_number_before(text, " redelivered"), 1);
	assert_int_equal(example_number_before(text, " recognised"), duplicates);
	free(text);
	assert_int_equal(example_finish(other, &text), 0);
	assert_int_equal(example_number_before(text, " of them again"), 1);
	assert_int_equal(example_number_before(text, " intents"), completed);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_consumer_killed_with_message_taken_done_by_another(void **state)
{
	(void)state;
	kill_one_at("taken", 0, 0);
}

static void test_consumer_killed_with_intent_written_carried_out(void **state)
{
	(void)state;
	kill_one_at("intended", 1, 1);
}

static void test_consumer_killed_with_effect_applied_not_applied_twice(void **state)
{
	(void)state;
	kill_one_at("applied", 1, 1);
}

static void test_consumer_killed_before_ack_duplicate_recognised(void **state)
{
	(void)state;
	kill_one_at("concluded", 1, 0);
}

static struct child start_consumer(const char *name)
{
	return example_start("resilient_consumer", "--segment", name, "--timeout", "10", NULL);
}

static void test_consumers_killed_again_and_again_ledger_exact(void **state)
{
	const char *name = test_name("resilient-again");
	struct child producer = example_start("resilient_producer", "--segment", name, "--count",
					      "1000000", "--rounds", "10", NULL);
	uint64_t end_ns = test_now_ns() + UINT64_C(5000000000);
	struct child consumers[CONSUMERS];
	int kills = 0;
	char *text;

	(void)state;
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = start_consumer(name);
	while (example_is_running(producer) && test_now_ns() < end_ns) {
		uint64_t i = test_random_below(CONSUMERS);

		test_sleep_ms((int)test_random_below(12));
		kill(consumers[i].pid, SIGKILL);
		kills += example_finish(consumers[i], NULL) == -SIGKILL;
		consumers[i] = start_consumer(name);
	}
	text = expect_exact(producer);
	print_message("%d consumers killed, %llu messages redelivered, %llu recognised\n", kills,
		      example_number_before(text, " redelivered"),
		      example_number_before(text, " recognised"));
	free(text);
	assert_true(kills > 0);
	/* One that came too late waits for another producer. It holds nothing. */
	for (int i = 0; i < CONSUMERS; i++)
		stop(consumers[i]);
	shmkit_segment_unlink(name);	/* unless one of them was just about to leave */
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Nobody is left, the segment is: it holds the messages, the ledger, and where the producer was. */
static void test_everybody_killed_all_go_on(void **state)
{
	const char *name = test_name("resilient-everybody");
	struct child producer, consumers[CONSUMERS];
	int goings_on = 0;
	char *text;

	(void)state;
	for (int round = 0; round < 8; round++) {
		producer = example_start("resilient_producer", "--segment", name, "--count",
					 "1000000", "--rounds", "10", NULL);
		for (int i = 0; i < CONSUMERS; i++)
			consumers[i] = start_consumer(name);
		test_sleep_ms(20 + (int)test_random_below(60));
		kill(producer.pid, SIGKILL);
		for (int i = 0; i < CONSUMERS; i++)
			stop(consumers[i]);
		example_finish(producer, &text);
		goings_on += strstr(text, "going on with message") != NULL;
		free(text);
	}
	assert_true(goings_on > 0);
	producer = example_start("resilient_producer", "--segment", name, "--count", "1000000",
				 "--rounds", "10", NULL);
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = start_consumer(name);
	text = expect_exact(producer);
	assert_non_null(strstr(text, "going on with message"));
	free(text);
	for (int i = 0; i < CONSUMERS; i++)
		assert_int_equal(example_finish(consumers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("resilient_producer", "--help", 0, "Usage: resilient_producer");
	example_expect_answer("resilient_consumer", "--help", 0, "Usage: resilient_consumer");
	example_expect_answer("resilient_producer", "--count=0", 2, "--count 0: too small");
	example_expect_answer("resilient_producer", "--count=2000000", 2, "too large");
	example_expect_answer("resilient_consumer", "--timeout=soon", 2, "--timeout soon: invalid");
	example_expect_answer("resilient_consumer", "--crash-at=dusk", 2,
			      "not one of taken, intended");
	example_expect_answer("resilient_consumer", "--no-such-option", 2,
			      "Usage: resilient_consumer");
	example_expect_answer("resilient_producer", "surplus", 2, "unexpected argument 'surplus'");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_producer_first_ledger_exact),
		cmocka_unit_test(test_consumers_first_ledger_exact),
		cmocka_unit_test(test_consumer_killed_with_message_taken_done_by_another),
		cmocka_unit_test(test_consumer_killed_with_intent_written_carried_out),
		cmocka_unit_test(test_consumer_killed_with_effect_applied_not_applied_twice),
		cmocka_unit_test(test_consumer_killed_before_ack_duplicate_recognised),
		cmocka_unit_test(test_consumers_killed_again_and_again_ledger_exact),
		cmocka_unit_test(test_everybody_killed_all_go_on),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
