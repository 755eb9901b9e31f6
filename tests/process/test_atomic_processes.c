/*
 * Atomics between processes, each with handles of its own: exact sums, waiting and waking, on
 * read-only segments too, and deaths of those who wait or write.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define WAIT_MS 30000
#define PROCESSES 4
#define COUNTS 50000

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("atomicproc"));
	return shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_segment *join(uint32_t flags)
{
	struct shmkit_segment *own = NULL;

	assert_int_equal(shmkit_segment_open(segment_name, flags, &own), 0);
	return own;
}

static struct shmkit_atomic_u64 *make_u64(const char *name, uint64_t initial)
{
	struct shmkit_atomic_u64 *atomic = NULL;

	assert_int_equal(shmkit_atomic_u64_create(segment, name, initial, &atomic), 0);
	return atomic;
}

static struct shmkit_atomic_u64 *open_u64(struct shmkit_segment *where, const char *name)
{
	struct shmkit_atomic_u64 *atomic = NULL;

	assert_int_equal(shmkit_atomic_u64_open(where, name, &atomic), 0);
	return atomic;
}

/* ---- sums ---- */

static int count(void *arg)
{
	struct shmkit_segment *own = join(0);
	struct shmkit_atomic_u64 *start = open_u64(own, "start"), *sum = open_u64(own, "sum");
	struct shmkit_atomic_i32 *balance = NULL;
	struct shmkit_atomic_f64 *real = NULL;

	(void)arg;
	assert_int_equal(shmkit_atomic_i32_open(own, "balance", &balance), 0);
	assert_int_equal(shmkit_atomic_f64_open(own, "real", &real), 0);
	assert_int_equal(shmkit_atomic_u64_wait(start, 0, WAIT_MS * NS_PER_MS), 0);
	for (int i = 0; i < COUNTS; i++) {
		shmkit_atomic_u64_fetch_add(sum, 5);
		shmkit_atomic_i32_fetch_add(balance, 7);
		shmkit_atomic_i32_fetch_sub(balance, 7);
		shmkit_atomic_f64_fetch_add(real, 0.25);
	}
	shmkit_atomic_u64_close(start);
	shmkit_atomic_u64_close(sum);
	shmkit_atomic_i32_close(balance);
	shmkit_atomic_f64_close(real);
	shmkit_segment_close(own);
	return 0;
}

static void test_fetch_add_four_processes_exact(void **state)
{
	struct shmkit_atomic_u64 *start = make_u64("start", 0), *sum = make_u64("sum", 0);
	struct shmkit_atomic_i32 *balance = NULL;
	struct shmkit_atomic_f64 *real = NULL;
	pid_t children[PROCESSES];

	(void)state;
	assert_int_equal(shmkit_atomic_i32_create(segment, "balance", -1, &balance), 0);
	assert_int_equal(shmkit_atomic_f64_create(segment, "real", 0, &real), 0);
	for (int i = 0; i < PROCESSES; i++)
		children[i] = test_fork(count, NULL);
	test_sleep_ms(50);
	shmkit_atomic_u64_store(start, 1);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(test_wait_exit(children[i], WAIT_MS), 0);
	assert_int_equal(shmkit_atomic_u64_load(sum), UINT64_C(5) * PROCESSES * COUNTS);
	assert_int_equal(shmkit_atomic_i32_load(balance), -1);
	assert_true(shmkit_atomic_f64_load(real) == 0.25 * PROCESSES * COUNTS);
	shmkit_atomic_u64_close(start);
	shmkit_atomic_u64_close(sum);
	shmkit_atomic_i32_close(balance);
	shmkit_atomic_f64_close(real);
}

/* A lock as users write it: bool as its word, wait instead of spinning. */
static int increment_under_lock(void *arg)
{
	struct shmkit_segment *own = join(0);
	struct shmkit_atomic_bool *lock = NULL;
	struct shmkit_array *plain = NULL;
	uint64_t *value;

	(void)arg;
	assert_int_equal(shmkit_atomic_bool_open(own, "lock", &lock), 0);
	assert_int_equal(shmkit_array_open(own, "plain", 8, &plain), 0);
	value = shmkit_array_data(plain);
	for (int i = 0; i < COUNTS / 10; i++) {
		uint8_t expected = 0;

		while (!shmkit_atomic_bool_compare_exchange(lock, &expected, 1)) {
			assert_int_equal(shmkit_atomic_bool_wait(lock, 1, WAIT_MS * NS_PER_MS), 0);
			expected = 0;
		}
		++*value;
		shmkit_atomic_bool_store(lock, 0);
	}
	shmkit_array_close(plain);
	shmkit_atomic_bool_close(lock);
	shmkit_segment_close(own);
	return 0;
}

static void test_compare_exchange_as_lock_excludes(void **state)
{
	struct shmkit_atomic_bool *lock = NULL;
	struct shmkit_array *plain = NULL;
	pid_t children[PROCESSES];

	(void)state;
	assert_int_equal(shmkit_atomic_bool_create(segment, "lock", 0, &lock), 0);
	assert_int_equal(shmkit_array_create(segment, "plain", 8, 1, NULL, &plain), 0);
	for (int i = 0; i < PROCESSES; i++)
		children[i] = test_fork(increment_under_lock, NULL);
	for (int i = 0; i < PROCESSES; i++)
		assert_int_equal(test_wait_exit(children[i], WAIT_MS), 0);
	assert_int_equal(*(const uint64_t *)shmkit_array_view(plain), PROCESSES * (COUNTS / 10));
	shmkit_array_close(plain);
	shmkit_atomic_bool_close(lock);
}

/* ---- waiting ---- */

/* Answers each new value of "ask" by the same of "answer", until it is 0 again. */
static int answer(void *arg)
{
	struct shmkit_segment *own = join(0);
	struct shmkit_atomic_u64 *ask = open_u64(own, "ask"), *reply = open_u64(own, "answer");
	uint64_t seen = UINT64_C(1) << 40;

	(void)arg;
	while (seen) {
		assert_int_equal(shmkit_atomic_u64_wait(ask, seen, WAIT_MS * NS_PER_MS), 0);
		seen = shmkit_atomic_u64_load(ask);
		shmkit_atomic_u64_exchange(reply, seen);
	}
	return 0;
}

/* A wake-up lost costs a slice of 50 ms; of 500 pairs hardly one may be. */
static void test_wait_between_processes_no_wake_lost(void **state)
{
	struct shmkit_atomic_u64 *ask = make_u64("ask", UINT64_C(1) << 40),
				 *reply = make_u64("answer", 0);
	pid_t child = test_fork(answer, NULL);
	uint64_t start = test_now_ns();

	(void)state;
	for (uint64_t i = 1; i <= 500; i++) {
		if (i % 100 == 0)
			test_sleep_ms(5);   /* asleep by then, not spinning */
		shmkit_atomic_u64_store(ask, i);
		assert_int_equal(shmkit_atomic_u64_wait(reply, i - 1, WAIT_MS * NS_PER_MS), 0);
		assert_int_equal(shmkit_atomic_u64_load(reply), i);
	}
	assert_true(test_now_ns() - start < UINT64_C(15000000000));
	shmkit_atomic_u64_store(ask, 0);
	assert_int_equal(test_wait_exit(child, WAIT_MS), 0);
	shmkit_atomic_u64_close(ask);
	shmkit_atomic_u64_close(reply);
}

static int observe(void *arg)
{
	struct shmkit_segment *own = join(SHMKIT_READ_ONLY);
	struct shmkit_atomic_u64 *ask = open_u64(own, "ask");
	const int *to_parent = arg;

	assert_int_equal(shmkit_atomic_u64_wait(ask, 1, 0), -ETIMEDOUT);
	assert_int_equal(shmkit_atomic_u64_wait(ask, 1, 10 * NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(write(to_parent[1], "", 1), 1);
	assert_int_equal(shmkit_atomic_u64_wait(ask, 1, WAIT_MS * NS_PER_MS), 0);
	assert_int_equal(shmkit_atomic_u64_load(ask), 2);
	/* and then nobody is left who could write */
	assert_int_equal(shmkit_atomic_u64_wait(ask, 2, WAIT_MS * NS_PER_MS), -ESTALE);
	return 0;
}

/* Somebody who sees what changes without being able to change anything. */
static void test_wait_read_only_sees_change_and_end(void **state)
{
	struct shmkit_atomic_u64 *ask = make_u64("ask", 1);
	int from_child[2];
	pid_t child;
	char byte;

	(void)state;
	assert_int_equal(pipe(from_child), 0);
	child = test_fork(observe, from_child);
	close(from_child[1]);
	assert_int_equal(read(from_child[0], &byte, 1), 1);
	close(from_child[0]);
	test_sleep_ms(50);
	shmkit_atomic_u64_store(ask, 2);
	test_sleep_ms(50);
	shmkit_atomic_u64_close(ask);
	shmkit_segment_close(segment);
	segment = NULL;
	assert_int_equal(test_wait_exit(child, WAIT_MS), 0);
}

static int wait_for_ever(void *arg)
{
	struct shmkit_segment *own = join(0);

	(void)arg;
	return shmkit_atomic_u64_wait(open_u64(own, "ask"), 0, -1);
}

/* A waiter killed leaves nothing in the way of the others. */
static void test_wait_waiter_killed_others_woken(void **state)
{
	struct shmkit_atomic_u64 *ask = make_u64("ask", 0);

	(void)state;
	for (int round = 0; round < 20; round++) {
		pid_t dies = test_fork(wait_for_ever, NULL), lives = test_fork(wait_for_ever, NULL);

		test_sleep_ms((int)test_random_below(10));
		kill(dies, SIGKILL);
		assert_int_equal(test_wait_exit(dies, WAIT_MS), -SIGKILL);
		shmkit_atomic_u64_store(ask, 1);
		assert_int_equal(test_wait_exit(lives, WAIT_MS), 0);
		shmkit_atomic_u64_store(ask, 0);
	}
	shmkit_atomic_u64_close(ask);
}

static int add_for_ever(void *arg)
{
	struct shmkit_segment *own = join(0);
	struct shmkit_atomic_u64 *sum = open_u64(own, "sum");

	(void)arg;
	for (;;)
		if (shmkit_atomic_u64_fetch_add(sum, 1) == UINT64_MAX)
			return 1;
}

/* A writer killed anywhere: the value is one that it wrote, and a waiter has seen the change. */
static void test_fetch_add_writer_killed_value_whole(void **state)
{
	struct shmkit_atomic_u64 *sum = make_u64("sum", 0);
	uint64_t before = 0;

	(void)state;
	for (int round = 0; round < 20; round++) {
		pid_t child = test_fork(add_for_ever, NULL);
		uint64_t after;

		assert_int_equal(shmkit_atomic_u64_wait(sum, before, 10 * NS_PER_S), 0);
		kill(child, SIGKILL);
		assert_int_equal(test_wait_exit(child, WAIT_MS), -SIGKILL);
		after = shmkit_atomic_u64_load(sum);
		assert_true(after > before);
		assert_int_equal(shmkit_atomic_u64_load(sum), after);
		before = after;
	}
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_atomic_u64_close(sum);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fetch_add_four_processes_exact),
		TEST(test_compare_exchange_as_lock_excludes),
		TEST(test_wait_between_processes_no_wake_lost),
		TEST(test_wait_read_only_sees_change_and_end),
		TEST(test_wait_waiter_killed_others_woken),
		TEST(test_fetch_add_writer_killed_value_whole),
	};

	return cmocka_run_group_tests_name("atomic_processes", tests, NULL, NULL);
}
