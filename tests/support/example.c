#include "example.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGUMENTS 14
#define ARGV_SIZE     (MAX_ARGUMENTS + 2)       /* with the program and the NULL */

const char *example_path(const char *program)
{
	static char path[4096];
	const char *examples = getenv("SHMKIT_EXAMPLES");

	assert_non_null(examples);
	snprintf(path, sizeof(path), "%s/%s/%s", examples, example_name, program);
	return path;
}

/* The arguments come up to a NULL. */
static void fill_argv(const char *argv[ARGV_SIZE], const char *program, va_list arguments)
{
	int count = 0;

	argv[0] = program;
	while (argv[count] != NULL) {
		assert_true(++count < ARGV_SIZE);
		argv[count] = va_arg(arguments, const char *);
	}
}

struct child example_start(const char *program, ...)
{
	const char *argv[ARGV_SIZE];
	struct child child = { .program = program };
	va_list arguments;

	va_start(arguments, program);
	fill_argv(argv, program, arguments);
	va_end(arguments);
	child.pid = test_spawn(example_path(program), argv, &child.output);
	assert_true(child.pid > 0);
	return child;
}

/* To the caller, or to nobody. */
static void hand_over(char *text, char **ret_text)
{
	if (ret_text != NULL)
		*ret_text = text;
	else
		free(text);
}

int example_finish(struct child child, char **ret_text)
{
	char *text = test_read_all(child.output, EXAMPLE_TIMEOUT_MS);
	int status = test_wait_exit(child.pid, EXAMPLE_TIMEOUT_MS);

	close(child.output);
	assert_non_null(text);
	hand_over(text, ret_text);
	return status;
}

/* @expected: NULL where anything may have been printed. */
static void check(const char *program, const char *text, int status, int expected_status,
		  const char *expected)
{
	bool said = expected == NULL || strstr(text, expected) != NULL;

	if (status != expected_status || !said)
		print_error("%s: expected status %d and '%s', got %d, printed:\n%s\n", program,
			    expected_status, expected != NULL ? expected : "", status, text);
	assert_int_equal(status, expected_status);
	assert_true(said);
}

void example_expect_success(struct child child, const char *expected, char **ret_text)
{
	char *text;
	int status = example_finish(child, &text);

	check(child.program, text, status, 0, expected);
	hand_over(text, ret_text);
}

void example_kill(struct child child)
{
	char *text;
	int status;

	kill(child.pid, SIGKILL);
	status = example_finish(child, &text);
	check(child.program, text, status, -SIGKILL, NULL);
	free(text);
}

bool example_is_running(struct child child)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid == 0;
}

static char *run(const char *const argv[], int expected_status, const char *expected)
{
	int status;
	char *text = test_run(example_path(argv[0]), argv, &status, EXAMPLE_TIMEOUT_MS);

	assert_non_null(text);
	check(argv[0], text, status, expected_status, expected);
	return text;
}

char *example_run(int expected_status, const char *program, ...)
{
	const char *argv[ARGV_SIZE];
	va_list arguments;

	va_start(arguments, program);
	fill_argv(argv, program, arguments);
	va_end(arguments);
	return run(argv, expected_status, NULL);
}

void example_expect_answer(const char *program, const char *argument, int expected_status,
			   const char *expected)
{
	const char *argv[] = { program, argument, NULL };

	free(run(argv, expected_status, expected));
}

void example_wait_for_segment(const char *name)
{
	uint64_t deadline_ns = test_now_ns() + EXAMPLE_TIMEOUT_MS * UINT64_C(1000000);

	while (test_shm_leftovers(name) == 0) {
		assert_true(test_now_ns() < deadline_ns);
		test_sleep_ms(1);
	}
}

unsigned long long example_number_before(const char *text, const char *words)
{
	const char *end = strstr(text, words);
	const char *at = end;

	assert_non_null(end);
	while (at > text && isdigit((unsigned char)at[-1]))
		at--;
	assert_true(at < end);
	return strtoull(at, NULL, 10);
}

unsigned long long example_number_after(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	assert_non_null(at);
	at += strlen(words);
	assert_true(isdigit((unsigned char)*at));
	return strtoull(at, NULL, 10);
}
