/*
 * What the tests of the examples share: the programs of one example are started, waited for or
 * killed, and judged by their exit status and by what they print. Includes support.h.
 *
 * These functions check with cmocka: where one cannot do what it says, the running test fails.
 */
#ifndef TEST_EXAMPLE_H
#define TEST_EXAMPLE_H

#include "support.h"

#include <stdbool.h>

#define EXAMPLE_TIMEOUT_MS 20000        /* a program that takes longer has failed */

/* The example whose programs are meant, a directory in $SHMKIT_EXAMPLES. Each test defines it. */
extern const char *const example_name;

/**
 * struct child - A program that was started. It must be waited for, once.
 * @program: Its name, not copied.
 * @pid: Its pid, for signals, and to be known by.
 * @output: Where its standard output can be read, until it has been waited for.
 */
struct child {
	const char *program;
	pid_t pid;
	int output;
};

/**
 * example_path() - Where a program of the example lies.
 * @program: Its name.
 *
 * Return: A static buffer, the same at each call.
 */
const char *example_path(const char *program);

/**
 * example_start() - Start a program of the example.
 * @program: Its name, which is also its argv[0]; kept in the result, not copied.
 * @...: Its arguments, at most 14 strings, NULL at the end.
 *
 * Its standard error is the caller's.
 *
 * Return: The child, to be waited for with example_finish(), example_expect_success() or
 * example_kill().
 */
struct child example_start(const char *program, ...) __attribute__((sentinel));

/**
 * example_finish() - Wait for a child to end.
 * @child: From example_start().
 * @ret_text: What it has printed and nobody has read, a string to free(); may be NULL.
 *
 * Return: Its exit status, or -N when signal N ended it.
 */
int example_finish(struct child child, char **ret_text);

/**
 * example_expect_success() - Wait for a child to end with status 0.
 * @child: As for example_finish().
 * @expected: What it must have printed, among other things; NULL: anything.
 * @ret_text: As for example_finish().
 */
void example_expect_success(struct child child, const char *expected, char **ret_text);

/**
 * example_kill() - Kill a child with SIGKILL, and wait for its end.
 * @child: As for example_finish(). It must not have ended before.
 */
void example_kill(struct child child);

/** example_is_running() - Has the child not ended? It need not be waited for to know. */
bool example_is_running(struct child child);

/**
 * example_run() - Run a program of the example to its end.
 * @expected_status: Its exit status.
 * @program: Its name, as for example_start().
 * @...: As for example_start().
 *
 * Return: Standard output and standard error, a string to free().
 */
char *example_run(int expected_status, const char *program, ...) __attribute__((sentinel));

/**
 * example_expect_answer() - Run a program of the example that has something to say.
 * @program: Its name.
 * @argument: Its only argument; NULL for none.
 * @expected_status: Its exit status.
 * @expected: What must be in its standard output or standard error.
 */
void example_expect_answer(const char *program, const char *argument, int expected_status,
			   const char *expected);

/**
 * example_wait_for_segment() - Wait until the segment's file exists.
 * @name: From test_name().
 */
void example_wait_for_segment(const char *name);

/** example_number_before() - The number that ends where @words begin in @text. */
unsigned long long example_number_before(const char *text, const char *words);

/** example_number_after() - The number that begins where @words end in @text. */
unsigned long long example_number_after(const char *text, const char *words);

#endif
