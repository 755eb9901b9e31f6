/*
 * Producer and consumer, as a user runs them: separate programs that find each other by name.
 *
 * The programs check every message themselves and exit with 1 where one is missing, doubled, wrong
 * or out of order; here it is checked that they do so in any order of starting, with several of
 * each, and that a death is noticed and leaves nothing in the way of the next run.
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
	snprintf(path, sizeof(path), "%s/producer_consumer/%s", getenv("SHMKIT_EXAMPLES"), program);
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

/* The number that stands after @words. */
static unsigned long long number_after(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	assert_non_null(at);
	return strtoull(at + strlen(words), NULL, 10);
}

static void test_consumer_first_all_received(void **state)
{
	const char *name = test_name("pc-consumer-first");
	struct child consumer = start("consumer", "--segment", name, NULL);
	struct child producer;
	char *text;

	(void)state;
	while (test_shm_leftovers(name) == 0)
		test_sleep_ms(1);
	producer = start("producer", "--segment", name, NULL);
	expect_success(consumer, "PASS, all 1000 messages of 1 producer(s)", &text);
	assert_non_null(strstr(text, "from producer 1: 1000, the last has value 3136.86"));
	free(text);
	expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_producer_first_all_received(void **state)
{
	const char *name = test_name("pc-producer-first");
	struct child producer = start("producer", "--segment", name, "--verbose", NULL);
	struct child consumer;
	char *text;

	(void)state;
	while (test_shm_leftovers(name) == 0)
		test_sleep_ms(1);
	consumer = start("consumer", "--segment", name, "--verbose", NULL);
	expect_success(consumer, "PASS, all 1000 messages of 1 producer(s)", &text);
	assert_non_null(strstr(text, "Consumed message from producer 1 with value 3.14\n"));
	free(text);
	expect_success(producer, "Produced message 999", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* A queue of two and batches far larger: everything has to wait for everything. */
static void test_tiny_queue_all_received(void **state)
{
	const char *name = test_name("pc-tiny");
	struct child producer = start("producer", "--segment", name, "--capacity", "2",
				      "--batch", "500", "--count", "20000", NULL);
	struct child consumer = start("consumer", "--segment", name, "--capacity", "2",
				      "--batch", "500", NULL);

	(void)state;
	expect_success(consumer, "PASS, all 20000 messages of 1 producer(s)", NULL);
	expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_many_messages_in_bulk_all_received(void **state)
{
	const char *name = test_name("pc-bulk");
	struct child consumer = start("consumer", "--segment", name, "--capacity", "4096",
				      "--batch", "1024", NULL);
	struct child producer = start("producer", "--segment", name, "--capacity", "4096",
				      "--batch", "1024", "--count", "3000000", NULL);

	(void)state;
	expect_success(consumer, "PASS, all 3000000 messages of 1 producer(s)", NULL);
	expect_success(producer, "PASS", NULL);
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
		producers[i] = start("producer", "--segment", name, "--producers", "3",
				     "--count", "30000", NULL);
	for (int i = 0; i < 2; i++)
		consumers[i] = start("consumer", "--segment", name, "--producers", "3", NULL);
	for (int i = 0; i < 2; i++) {
		expect_success(consumers[i], "PASS, all 90000 messages of 3 producer(s)", &text);
		if (strstr(text, "others took all") == NULL)
			received += number_after(text, "consumer: received ");
		free(text);
	}
	assert_int_equal(received, 90000);
	for (int i = 0; i < 3; i++)
		expect_success(producers[i], "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_producer_killed_consumer_notices(void **state)
{
	const char *name = test_name("pc-producer-killed");
	struct child consumer = start("consumer", "--segment", name, NULL);
	struct child producer = start("producer", "--segment", name, "--count", "1000000000", NULL);

	(void)state;
	test_sleep_ms(150);
	kill_child(producer);
	assert_int_equal(finish(consumer, NULL), 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_consumer_killed_producer_gives_up(void **state)
{
	const char *name = test_name("pc-consumer-killed");
	struct child consumer = start("consumer", "--segment", name, NULL);
	struct child producer = start("producer", "--segment", name, "--count", "1000000000",
				      "--timeout", "1", NULL);

	(void)state;
	test_sleep_ms(150);
	kill_child(consumer);
	assert_int_equal(finish(producer, NULL), 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Nobody was left to clean up: the next who come replace what they find. */
static void test_all_killed_next_run_starts_afresh(void **state)
{
	const char *name = test_name("pc-all-killed");
	struct child consumer = start("consumer", "--segment", name, NULL);
	struct child producer = start("producer", "--segment", name, "--count", "1000000000", NULL);

	(void)state;
	test_sleep_ms(150);
	kill_child(producer);
	kill_child(consumer);
	consumer = start("consumer", "--segment", name, NULL);
	producer = start("producer", "--segment", name, NULL);
	expect_success(consumer, "PASS, all 1000 messages of 1 producer(s)", NULL);
	expect_success(producer, "PASS", NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_another_number_of_producers_is_refused(void **state)
{
	const char *name = test_name("pc-number");
	struct child consumer = start("consumer", "--segment", name, "--producers", "2", NULL);

	(void)state;
	while (test_shm_leftovers(name) == 0)
		test_sleep_ms(1);
	test_sleep_ms(50);
	assert_int_equal(finish(start("producer", "--segment", name, NULL), NULL), 1);
	kill_child(consumer);
	/* What the killed consumer left still wants two. */
	consumer = start("consumer", "--segment", name, NULL);
	expect_success(start("producer", "--segment", name, NULL), "PASS", NULL);
	expect_success(consumer, "PASS", NULL);
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

	snprintf(path, sizeof(path), "%s/producer_consumer/%s", getenv("SHMKIT_EXAMPLES"), program);
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
	expect_answer("producer", "--help", 0, "Usage: producer");
	expect_answer("consumer", "--help", 0, "Usage: consumer");
	expect_answer("producer", "--count=0", 2, "--count 0: too small");
	expect_answer("producer", "--batch=many", 2, "--batch many: invalid");
	expect_answer("consumer", "--producers=65", 2, "--producers 65: too large");
	expect_answer("consumer", "--no-such-option", 2, "Usage: consumer");
	expect_answer("consumer", "surplus", 2, "unexpected argument 'surplus'");
	expect_answer("producer", "--segment=a/b", 1, "a/b");
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
