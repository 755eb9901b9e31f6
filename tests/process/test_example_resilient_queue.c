/*
 * The resilient_queue example: consumers killed at chosen points and at random, again and again.
 *
 * The producer audits the ledger at the end: every message has taken effect exactly once, account
 * by account. Each window between taking a message and acknowledging it is hit once, with what must
 * follow from it; then consumers are killed at random; then everybody, and all go on.
 */
#include "support.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <shmkit.h>

#define CONSUMERS  2
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
	snprintf(path, sizeof(path), "%s/resilient_queue/%s", getenv("SHMKIT_EXAMPLES"), program);
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

static void stop(struct child child)
{
	kill(child.pid, SIGKILL);
	finish(child, NULL);
}

static bool is_running(pid_t pid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

static long number_before(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	assert_non_null(at);
	while (at > text && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return strtol(at, NULL, 10);
}

static char *expect_exact(struct child producer)
{
	char *text;
	int status = finish(producer, &text);

	if (status != 0)
		print_error("the producer said:\n%s", text);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, "the ledger is exact: each message took effect once"));
	return text;
}

static void test_producer_first_ledger_exact(void **state)
{
	const char *name = test_name("resilient-producer-first");
	struct child producer = start("resilient_producer", "--segment", name, NULL);
	struct child consumer = start("resilient_consumer", "--segment", name, NULL);
	char *text;

	(void)state;
	text = expect_exact(producer);
	assert_int_equal(number_before(text, " redelivered"), 0);
	free(text);
	assert_int_equal(finish(consumer, &text), 0);
	assert_int_equal(number_before(text, " messages taken"), 20000);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_consumers_first_ledger_exact(void **state)
{
	const char *name = test_name("resilient-consumers-first");
	struct child consumers[CONSUMERS];

	(void)state;
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = start("resilient_consumer", "--segment", name, NULL);
	free(expect_exact(start("resilient_producer", "--segment", name, NULL)));
	for (int i = 0; i < CONSUMERS; i++)
		assert_int_equal(finish(consumers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* @duplicates: is the message that comes back a duplicate? @completed: is an intent left behind? */
static void kill_one_at(const char *point, long duplicates, long completed)
{
	const char *name = test_name(point);
	struct child producer = start("resilient_producer", "--segment", name, "--count", "500", NULL);
	struct child victim = start("resilient_consumer", "--segment", name, "--crash-after", "50",
				    "--crash-at", point, NULL);
	struct child other;
	char *text;

	assert_int_equal(finish(victim, NULL), -SIGKILL);
	other = start("resilient_consumer", "--segment", name, NULL);
	text = expect_exact(producer);
	assert_int_equal(number_before(text, " redelivered"), 1);
	assert_int_equal(number_before(text, " recognised"), duplicates);
	free(text);
	assert_int_equal(finish(other, &text), 0);
	assert_int_equal(number_before(text, " of them again"), 1);
	assert_int_equal(number_before(text, " intents"), completed);
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
	return start("resilient_consumer", "--segment", name, "--timeout", "10", NULL);
}

static void test_consumers_killed_again_and_again_ledger_exact(void **state)
{
	const char *name = test_name("resilient-again");
	struct child producer = start("resilient_producer", "--segment", name, "--count", "1000000",
				      "--rounds", "10", NULL);
	uint64_t end_ns = test_now_ns() + UINT64_C(5000000000);
	struct child consumers[CONSUMERS];
	int kills = 0;
	char *text;

	(void)state;
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = start_consumer(name);
	while (is_running(producer.pid) && test_now_ns() < end_ns) {
		uint64_t i = test_random_below(CONSUMERS);

		test_sleep_ms((int)test_random_below(12));
		kill(consumers[i].pid, SIGKILL);
		kills += finish(consumers[i], NULL) == -SIGKILL;
		consumers[i] = start_consumer(name);
	}
	text = expect_exact(producer);
	print_message("%d consumers killed, %ld messages redelivered, %ld recognised\n", kills,
		      number_before(text, " redelivered"), number_before(text, " recognised"));
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
		producer = start("resilient_producer", "--segment", name, "--count", "1000000",
				 "--rounds", "10", NULL);
		for (int i = 0; i < CONSUMERS; i++)
			consumers[i] = start_consumer(name);
		test_sleep_ms(20 + (int)test_random_below(60));
		kill(producer.pid, SIGKILL);
		for (int i = 0; i < CONSUMERS; i++)
			stop(consumers[i]);
		finish(producer, &text);
		goings_on += strstr(text, "going on with message") != NULL;
		free(text);
	}
	assert_true(goings_on > 0);
	producer = start("resilient_producer", "--segment", name, "--count", "1000000",
			 "--rounds", "10", NULL);
	for (int i = 0; i < CONSUMERS; i++)
		consumers[i] = start_consumer(name);
	text = expect_exact(producer);
	assert_non_null(strstr(text, "going on with message"));
	free(text);
	for (int i = 0; i < CONSUMERS; i++)
		assert_int_equal(finish(consumers[i], NULL), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void expect_answer(const char *program, const char *argument, int expected_status,
			  const char *expected)
{
	const char *argv[] = { program, argument, NULL };
	char path[4096];
	char *text;
	int status;

	snprintf(path, sizeof(path), "%s/resilient_queue/%s", getenv("SHMKIT_EXAMPLES"), program);
	text = test_run(path, argv, &status, TIMEOUT_MS);
	assert_non_null(text);
	assert_int_equal(status, expected_status);
	assert_non_null(strstr(text, expected));
	free(text);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	expect_answer("resilient_producer", "--help", 0, "Usage: resilient_producer");
	expect_answer("resilient_consumer", "--help", 0, "Usage: resilient_consumer");
	expect_answer("resilient_producer", "--count=0", 2, "--count 0: too small");
	expect_answer("resilient_producer", "--count=2000000", 2, "too large");
	expect_answer("resilient_consumer", "--timeout=soon", 2, "--timeout soon: invalid");
	expect_answer("resilient_consumer", "--crash-at=dusk", 2, "not one of taken, intended");
	expect_answer("resilient_consumer", "--no-such-option", 2, "Usage: resilient_consumer");
	expect_answer("resilient_producer", "surplus", 2, "unexpected argument 'surplus'");
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
