/*
 * The quick part of the proof: for one family of functions, a sample of the points at which a
 * process is killed, or stopped, or killed and then its repairer. Each function is a test; the
 * points differ from run to run, and a failure says how to replay it with the program "crash".
 *
 * usage: test_crash FAMILY [kill|freeze|two]
 *	SHMKIT_CRASH_EVERY   every so many-th point (by family and mode)
 *	SHMKIT_TEST_SEED     chooses which
 */
#include "support.h"

#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_TESTS 128u
#define HITS 3u

static struct CMUnitTest tests[MAX_TESTS];
static size_t test_count;
static struct run_options options = { .every = 1, .at = -1, .then = -1, .blocked_every = 40,
				      .hits = HITS, .quiet = true };

static const char *refused(void)
{
	pid_t pid;

	if (trace_refused())
		return trace_refused();
	pid = fork();
	if (pid == 0)
		_exit(!run_private_shm());
	return test_wait_exit(pid, 10000) == 0 ? NULL : "no /dev/shm of its own can be mounted";
}

static void test_function(void **state)
{
	const struct subject *subject = *state;
	struct run_options chosen = options;
	const char *why = refused();
	struct run_tally tally;

	if (why) {
		print_message("skipped: %s\n", why);
		skip();
	}
	chosen.function = subject->name;
	chosen.family = subject->family->name;
	chosen.offset = (uint32_t)test_random();
	assert_true(run_all(&chosen, &tally));
	print_message("%s: %llu instructions, %llu of them tried, worst %.1f ms, blocked peers %.1f ms\n",
		      subject->name, (unsigned long long)tally.traced,
		      (unsigned long long)(tally.kills + tally.freezes + tally.pairs),
		      (double)tally.worst_ns / 1e6, (double)tally.worst_blocked_ns / 1e6);
	assert_int_equal(tally.failures, 0);
	assert_true(tally.traced > 0);
	assert_true(tally.lost <= tally.points / 50 + 1);
}

static void add_test(const struct subject *subject, unsigned state, void *context)
{
	(void)state;
	(void)context;
	if (test_count == MAX_TESTS ||
	    (test_count > 0 && tests[test_count - 1].initial_state == subject))
		return;
	tests[test_count++] = (struct CMUnitTest){ .name = subject->name, .test_func = test_function,
						   .initial_state = (void *)(uintptr_t)subject };
}

/* A sample of a few seconds. */
static uint32_t sample(const char *family, enum run_mode mode)
{
	const char *text = getenv("SHMKIT_CRASH_EVERY");

	if (text && *text)
		return (uint32_t)strtoul(text, NULL, 0) ? (uint32_t)strtoul(text, NULL, 0) : 1;
	if (mode == RUN_TWO)
		return 7;
	if (strcmp(family, "table") == 0 || strcmp(family, "segment") == 0)
		return mode == RUN_FREEZE ? 397 : 199;
	return mode == RUN_FREEZE ? 97 : 29;
}

int main(int argc, char *argv[])
{
	const char *mode = argc > 2 ? argv[2] : "kill";

	if (argc < 2) {
		fputs("usage: test_crash FAMILY [kill|freeze|two]\n", stderr);
		return 2;
	}
	run_bind_now(argv);
	options.family = argv[1];
	options.mode = strcmp(mode, "freeze") == 0 ? RUN_FREEZE : strcmp(mode,
									 "two") == 0 ? RUN_TWO : RUN_KILL;
	options.every = sample(argv[1], options.mode);
	/* a stopped one is mostly waited for; more parts are more to trace, which is long for the waits */
	options.jobs = options.mode == RUN_FREEZE ? 64 : run_processors();
	options.parts = options.mode == RUN_FREEZE && options.every > 100 ? 8 : 1;
	run_each(&options, add_test, NULL);
	return _cmocka_run_group_tests(argv[1], tests, test_count, NULL, NULL);
}
