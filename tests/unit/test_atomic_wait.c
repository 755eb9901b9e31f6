/*
 * Atomics: waiting, and what threads and forked children of one process do to one another.
 */
#include "support.h"

#include "atomic_value.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("atomicwait"));
	return shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

/* Runs function in a thread of its own, 30 ms from now. */
struct later {
	void (*function)(void *arg);
	void *arg;
	pthread_t thread;
};

static void *run_later(void *arg)
{
	struct later *later = arg;

	test_sleep_ms(30);
	later->function(later->arg);
	return NULL;
}

static void start_later(struct later *later, void (*function)(void *arg), void *arg)
{
	later->function = function;
	later->arg = arg;
	assert_int_equal(pthread_create(&later->thread, NULL, run_later, later), 0);
}

/* ---- one that waits for ever, one that writes ---- */

#define WOKEN_TEST(f, one, two) \
	static void write_##f(void *atomic) \
	{ \
		shmkit_atomic_##f##_store(atomic, two); \
	} \
	static void test_##f##_wait_store_wakes(void **state) \
	{ \
		struct shmkit_atomic_##f *atomic = NULL; \
		struct later later; \
		(void)state; \
		assert_int_equal(shmkit_atomic_##f##_create(segment, "n", one, &atomic), 0); \
		start_later(&later, write_##f, atomic); \
		assert_int_equal(shmkit_atomic_##f##_wait(atomic, one, -1), 0); \
		assert_true(shmkit_atomic_##f##_load(atomic) == (two)); \
		pthread_join(later.thread, NULL); \
		shmkit_atomic_##f##_close(atomic); \
	}

WOKEN_TEST(u32, 1, 2)
WOKEN_TEST(i32, 1, -2)
WOKEN_TEST(u64, 1, UINT64_C(1) << 63)
WOKEN_TEST(i64, 1, INT64_MIN)
WOKEN_TEST(bool, 0, 1)
WOKEN_TEST(f64, 1.5, -2.5)

struct ping {
	struct shmkit_atomic_u32 *ball;
	uint32_t rounds;
};

static void *answer(void *arg)
{
	struct ping *ping = arg;

	for (uint32_t i = 0; i < ping->rounds; i++) {
		while (shmkit_atomic_u32_load(ping->ball) != 2 * i + 1)
			assert_int_equal(shmkit_atomic_u32_wait(ping->ball, 2 * i, -1), 0);
		shmkit_atomic_u32_fetch_add(ping->ball, 1);
	}
	return NULL;
}

/* Each waits for the other's value. A wake-up lost costs a slice of 50 ms: 2,000 are 100 s. */
static void test_wait_ping_pong_no_wake_lost(void **state)
{
	struct ping ping = { .rounds = 2000 };
	uint64_t start;
	pthread_t thread;

	(void)state;
	assert_int_equal(shmkit_atomic_u32_create(segment, "n", 0, &ping.ball), 0);
	assert_int_equal(pthread_create(&thread, NULL, answer, &ping), 0);
	start = test_now_ns();
	for (uint32_t i = 0; i < ping.rounds; i++) {
		shmkit_atomic_u32_fetch_add(ping.ball, 1);
		while (shmkit_atomic_u32_load(ping.ball) != 2 * i + 2)
			assert_int_equal(shmkit_atomic_u32_wait(ping.ball, 2 * i + 1, -1), 0);
	}
	assert_true(test_now_ns() - start < UINT64_C(30000000000));
	pthread_join(thread, NULL);
	shmkit_atomic_u32_close(ping.ball);
}

/* ---- other ends of a wait ---- */

static void interrupt(void *arg)
{
	shmkit_segment_interrupt(arg);
}

static void test_wait_interrupted_ecanceled(void **state)
{
	struct shmkit_atomic_u64 *atomic = NULL;
	struct later later;

	(void)state;
	assert_int_equal(shmkit_atomic_u64_create(segment, "n", 1, &atomic), 0);
	start_later(&later, interrupt, segment);
	assert_int_equal(shmkit_atomic_u64_wait(atomic, 1, -1), -ECANCELED);
	pthread_join(later.thread, NULL);
	shmkit_atomic_u64_close(atomic);
}

static void on_alarm(int number)
{
	(void)number;
}

static void test_wait_signal_eintr(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm }, before;
	const struct itimerval soon = { { 0, 20000 }, { 0, 20000 } },
			       never = { { 0, 0 }, { 0, 0 } };
	struct shmkit_atomic_u32 *atomic = NULL;

	(void)state;
	assert_int_equal(shmkit_atomic_u32_create(segment, "n", 1, &atomic), 0);
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	assert_int_equal(shmkit_atomic_u32_wait(atomic, 1, -1), -EINTR);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	shmkit_atomic_u32_close(atomic);
}

static void remove_it(void *arg)
{
	(void)arg;
	shmkit_segment_remove(segment, "n");
}

static void test_wait_removed_meanwhile_estale(void **state)
{
	struct shmkit_atomic_i64 *atomic = NULL;
	struct later later;

	(void)state;
	assert_int_equal(shmkit_atomic_i64_create(segment, "n", 1, &atomic), 0);
	start_later(&later, remove_it, NULL);
	assert_int_equal(shmkit_atomic_i64_wait(atomic, 1, -1), -ESTALE);
	pthread_join(later.thread, NULL);
	shmkit_atomic_i64_close(atomic);
}

/* ---- threads and forked children ---- */

struct counting {
	struct shmkit_atomic_u64 *sum;
	struct shmkit_atomic_f64 *real;
	struct shmkit_atomic_i32 *lowest, *highest;
};

#define COUNTS 10000

static void *count(void *arg)
{
	struct counting *counting = arg;

	for (int i = 0; i < COUNTS; i++) {
		shmkit_atomic_u64_fetch_add(counting->sum, 3);
		shmkit_atomic_f64_fetch_add(counting->real, 0.5);
		shmkit_atomic_i32_fetch_min(counting->lowest, -i);
		shmkit_atomic_i32_fetch_max(counting->highest, i);
	}
	return NULL;
}

static int count_in_child(void *arg)
{
	count(arg);
	return 0;
}

/* Two threads and a forked child: nothing is lost. */
static void test_fetch_concurrent_exact(void **state)
{
	struct counting counting;
	pthread_t thread;
	pid_t child;

	(void)state;
	assert_int_equal(shmkit_atomic_u64_create(segment, "sum", 0, &counting.sum), 0);
	assert_int_equal(shmkit_atomic_f64_create(segment, "real", 0, &counting.real), 0);
	assert_int_equal(shmkit_atomic_i32_create(segment, "lowest", 0, &counting.lowest), 0);
	assert_int_equal(shmkit_atomic_i32_create(segment, "highest", 0, &counting.highest), 0);
	child = test_fork(count_in_child, &counting);
	assert_int_equal(pthread_create(&thread, NULL, count, &counting), 0);
	count(&counting);
	pthread_join(thread, NULL);
	assert_int_equal(test_wait_exit(child, 60000), 0);
	assert_int_equal(shmkit_atomic_u64_load(counting.sum), 3 * 3 * COUNTS);
	assert_true(shmkit_atomic_f64_load(counting.real) == 3 * COUNTS / 2);
	assert_int_equal(shmkit_atomic_i32_load(counting.lowest), 1 - COUNTS);
	assert_int_equal(shmkit_atomic_i32_load(counting.highest), COUNTS - 1);
	shmkit_atomic_u64_close(counting.sum);
	shmkit_atomic_f64_close(counting.real);
	shmkit_atomic_i32_close(counting.lowest);
	shmkit_atomic_i32_close(counting.highest);
}

static int write_removed_in_child(void *arg)
{
	struct shmkit_atomic_u64 *atomic = arg;

	test_sleep_ms(100);
	shmkit_atomic_u64_store(atomic, 666);
	return shmkit_atomic_u64_exchange(atomic, 666) == 0 && shmkit_atomic_u64_load(atomic) == 0
		       ? 0
		       : 1;
}

/* The parent removed and closed the atomic before its child joined: the place is another's. */
static void test_store_removed_forked_child_spares_the_next(void **state)
{
	struct shmkit_atomic_u64 *atomic = NULL, *next = NULL;
	void *place;
	pid_t child;

	(void)state;
	assert_int_equal(shmkit_atomic_u64_create(segment, "n", 5, &atomic), 0);
	place = shk_atomic_word((struct shk_atomic *)atomic);
	child = test_fork(write_removed_in_child, atomic);
	assert_int_equal(shmkit_segment_remove(segment, "n"), 0);
	shmkit_atomic_u64_close(atomic);
	assert_int_equal(shmkit_atomic_u64_create(segment, "m", 7, &next), 0);
	assert_ptr_equal(shk_atomic_word((struct shk_atomic *)next), place);
	assert_int_equal(test_wait_exit(child, 10000), 0);
	assert_int_equal(shmkit_atomic_u64_load(next), 7);
	shmkit_atomic_u64_close(next);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_u32_wait_store_wakes),
		TEST(test_i32_wait_store_wakes),
		TEST(test_u64_wait_store_wakes),
		TEST(test_i64_wait_store_wakes),
		TEST(test_bool_wait_store_wakes),
		TEST(test_f64_wait_store_wakes),
		TEST(test_wait_ping_pong_no_wake_lost),
		TEST(test_wait_interrupted_ecanceled),
		TEST(test_wait_signal_eintr),
		TEST(test_wait_removed_meanwhile_estale),
		TEST(test_fetch_concurrent_exact),
		TEST(test_store_removed_forked_child_spares_the_next),
	};

	return cmocka_run_group_tests_name("atomic_wait", tests, NULL, NULL);
}
