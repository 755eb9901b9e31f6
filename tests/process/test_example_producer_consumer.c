/*
 * Producer and consumer, as a user runs them: separate programs that find each other by name.
 *
 * The programs check every message themselves and exit with 1 where one is missing, doubled, wrong
 * or out of order; here it is checked that they do so in any order of starting, with several of
 * each, and that a death is noticed and leaves nothing in the way of the next run.
 */
#include "example.h"

#include <stdlib.h>
#include <string.h>

const char *const example_name = "producer_consumer";

static void test_consumer_first_all_received(void **state)
{
	const char *name = test_name("pc-consumer-first");
	struct child consumer = example_start("consumer", "--segment", name, NULL);
	struct child producer;
	char *text;

	(void)state;
	example_wait_for_segment(name);
	producer = example_start("producer", "--segment", name, NULL);
	example_expect_success(consumer, "PASS, all 1000 messages of 1 producer(s)", &text);
	assert_non_null(strstr(text, "from producer 1: 1000, the last has value 3136.86"));
	free(text);
	example_expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_producer_first_all_received(void **state)
{
	const char *name = test_name("pc-producer-first");
	struct child producer = example_start("producer", "--segment", name, "--verbose", NULL);
	struct child consumer;
	char *text;

	(void)state;
	example_wait_for_segment(name);
	consumer = example_start("consumer", "--segment", name, "--verbose", NULL);
	example_expect_success(consumer, "PASS, all 1000 messages of 1 producer(s)", &text);
	assert_non_null(strstr(text, "Consumed message from producer 1 with value 3.14\n"));
	free(text);
	example_expect_success(producer, "Produced message 999", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* A queue of two and batches far larger: everything has to wait for everything. */
static void test_tiny_queue_all_received(void **state)
{
	const char *name = test_name("pc-tiny");
	struct child producer = example_start("producer", "--segment", name, "--capacity", "2",
					      "--batch", "500", "--count", "20000", NULL);
	struct child consumer = example_start("consumer", "--segment", name, "--capacity", "2",
					      "--batch", "500", NULL);

	(void)state;
	example_expect_success(consumer, "PASS, all 20000 messages of 1 producer(s)", NULL);
	example_expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_many_messages_in_bulk_all_received(void **state)
{
	const char *name = test_name("pc-bulk");
	struct child consumer = example_start("consumer", "--segment", name, "--capacity", "4096",
					      "--batch", "1024", NULL);
	struct child producer = example_start("producer", "--segment", name, "--capacity", "4096",
					      "--batch", "1024", "--count", "3000000", NULL);

	(void)state;
	example_expect_success(consumer, "PASS, all 3000000 messages of 1 producer(s)", NULL);
	example_expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_several_of_each_all_received_once(void **state)
{
	const char *name = test_name("pc-several");
	struct child producers[3], consumers[2];
	unsigned long long received = 0;
	char *text;

	(void)state;
	for (int i = 0; i < 3; i++)
		producers[i] = example_start("producer", "--segment", name, "--producers", "3",
					     "--count", "30000", NULL);
	for (int i = 0; i < 2; i++)
		consumers[i] =
			example_start("consumer", "--segment", name, "--producers", "3", NULL);
	for (int i = 0; i < 2; i++) {
		example_expect_success(consumers[i], "PASS, all 90000 messages of 3 producer(s)",
				       &text);
		if (strstr(text, "others took all") == NULL)
			received += example_number_after(text, "consumer: received ");
		free(text);
	}
	assert_int_equal(received, 90000);
	for (int i = 0; i < 3; i++)
		example_expect_success(producers[i], "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_producer_killed_consumer_notices(void **state)
{
	const char *name = test_name("pc-producer-killed");
	struct child consumer = example_start("consumer", "--segment", name, NULL);
	struct child producer =
		example_start("producer", "--segment", name, "--count", "1000000000", NULL);

	(void)state;
	test_sleep_ms(150);
	example_kill(producer);
	assert_int_equal(example_finish(consumer, NULL), 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_consumer_killed_producer_gives_up(void **state)
{
	const char *name = test_name("pc-consumer-killed");
	struct child consumer = example_start("consumer", "--segment", name, NULL);
	struct child producer = example_start("producer", "--segment", name, "--count",
					      "1000000000", "--timeout", "1", NULL);

	(void)state;
	test_sleep_ms(150);
	example_kill(consumer);
	assert_int_equal(example_finish(producer, NULL), 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Nobody was left to clean up: the next who come replace what they find. */
static void test_all_killed_next_run_starts_afresh(void **state)
{
	const char *name = test_name("pc-all-killed");
	struct child consumer = example_start("consumer", "--segment", name, NULL);
	struct child producer =
		example_start("producer", "--segment", name, "--count", "1000000000", NULL);

	(void)state;
	test_sleep_ms(150);
	example_kill(producer);
	example_kill(consumer);
	consumer = example_start("consumer", "--segment", name, NULL);
	producer = example_start("producer", "--segment", name, NULL);
	example_expect_success(consumer, "PASS, all 1000 messages of 1 producer(s)", NULL);
	example_expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_another_number_of_producers_is_refused(void **state)
{
	const char *name = test_name("pc-number");
	struct child consumer =
		example_start("consumer", "--segment", name, "--producers", "2", NULL);

	(void)state;
	example_wait_for_segment(name);
	test_sleep_ms(50);
	assert_int_equal(example_finish(example_start("producer", "--segment", name, NULL), NULL),
			 1);
	example_kill(consumer);
	/* What the killed consumer left still wants two. */
	consumer = example_start("consumer", "--segment", name, NULL);
	example_expect_success(example_start("producer", "--segment", name, NULL), "PASS", NULL);
	example_expect_success(consumer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("producer", "--help", 0, "Usage: producer");
	example_expect_answer("consumer", "--help", 0, "Usage: consumer");
	example_expect_answer("producer", "--count=0", 2, "--count 0: too small");
	example_expect_answer("producer", "--batch=many", 2, "--batch many: invalid");
	example_expect_answer("consumer", "--producers=65", 2, "--producers 65: too large");
	example_expect_answer("consumer", "--no-such-option", 2, "Usage: consumer");
	example_expect_answer("consumer", "surplus", 2, "unexpected argument 'surplus'");
	example_expect_answer("producer", "--segment=a/b", 1, "a/b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_consumer_first_all_received),
		cmocka_unit_test(test_producer_first_all_received),
		cmocka_unit_test(test_tiny_queue_all_received),
		cmocka_unit_test(test_many_messages_in_bulk_all_received),
		cmocka_unit_test(test_several_of_each_all_received_once),
		cmocka_unit_test(test_producer_killed_consumer_notices),
		cmocka_unit_test(test_consumer_killed_producer_gives_up),
		cmocka_unit_test(test_all_killed_next_run_starts_afresh),
		cmocka_unit_test(test_another_number_of_producers_is_refused),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
