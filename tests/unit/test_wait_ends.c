/*
 * Goal: every wait of the library ends as it should: at once with a timeout of 0, not before a
 * positive one and not long after it, never with a negative one unless something happens; by what
 * was waited for, by a signal (-EINTR), by shmkit_segment_interrupt() (-ECANCELED, all waits of
 * this process on this segment and no other), by removal of the structure (-ESTALE).
 *
 * Method: one table of all calls that wait, each on a structure that gives it nothing; every way
 * to end a wait is tried on every one of them, from a second thread.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define MS INT64_C(1000000)

static char name[64];
static struct shmkit_segment *segment;
static struct shmkit_queue *empty, *full;
static struct shmkit_ring *dry, *brimful;
static struct shmkit_ring_reader *reader;
static struct shmkit_atomic_u32 *atomic32;
static struct shmkit_atomic_u64 *atomic64;
static struct shmkit_atomic_bool *flag;
static struct shmkit_atomic_f64 *number;

static int make_all(void **state)
{
	uint64_t element = 1;

	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("wait"));
	if (shmkit_segment_create(name, MIB, NULL, &segment) ||
	    shmkit_queue_create(segment, "empty", 8, 2, NULL, &empty) ||
	    shmkit_queue_create(segment, "full", 8, 2, NULL, &full) ||
	    shmkit_ring_create(segment, "dry", 8, 2, NULL, &dry) ||
	    shmkit_ring_create(segment, "brimful", 8, 2, NULL, &brimful) ||
	    shmkit_ring_reader_open(dry, SHMKIT_READ_FROM_NEWEST, &reader) ||
	    shmkit_atomic_u32_create(segment, "u32", 5, &atomic32) ||
	    shmkit_atomic_u64_create(segment, "u64", 5, &atomic64) ||
	    shmkit_atomic_bool_create(segment, "bool", 1, &flag) ||
	    shmkit_atomic_f64_create(segment, "f64", 0.5, &number))
		return 1;
	for (int i = 0; i < 2; i++)
		if (shmkit_queue_enqueue(full, &element) || shmkit_ring_push(brimful, &element))
			return 1;
	return 0;
}

static int drop_all(void **state)
{
	(void)state;
	shmkit_atomic_f64_close(number);
	shmkit_atomic_bool_close(flag);
	shmkit_atomic_u64_close(atomic64);
	shmkit_atomic_u32_close(atomic32);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(brimful);
	shmkit_ring_close(dry);
	shmkit_queue_close(full);
	shmkit_queue_close(empty);
	shmkit_segment_close(segment);
	return test_shm_leftovers(name);
}

/* ---- all that waits ---- */

static int64_t wait_for_name(int64_t timeout_ns)
{
	return shmkit_segment_wait_for(segment, "never", timeout_ns);
}

static int64_t wait_dequeue(int64_t timeout_ns)
{
	uint64_t element;

	return shmkit_queue_dequeue_wait(empty, &element, timeout_ns);
}

static int64_t wait_dequeue_bulk(int64_t timeout_ns)
{
	uint64_t elements[2];

	return shmkit_queue_dequeue_bulk_wait(empty, elements, 2, timeout_ns);
}

static int64_t wait_lease(int64_t timeout_ns)
{
	struct shmkit_slot slot;

	return shmkit_queue_lease_wait(empty, &slot, timeout_ns);
}

static int64_t wait_enqueue(int64_t timeout_ns)
{
	uint64_t element = 1;

	return shmkit_queue_enqueue_wait(full, &element, timeout_ns);
}

static int64_t wait_enqueue_bulk(int64_t timeout_ns)
{
	uint64_t elements[2] = { 1, 2 };

	return shmkit_queue_enqueue_bulk_wait(full, elements, 2, timeout_ns);
}

static int64_t wait_reserve(int64_t timeout_ns)
{
	struct shmkit_slot slot;

	return shmkit_queue_reserve_wait(full, &slot, timeout_ns);
}

static int64_t wait_pop(int64_t timeout_ns)
{
	uint64_t element;

	return shmkit_ring_pop_wait(dry, &element, timeout_ns);
}

static int64_t wait_pop_bulk(int64_t timeout_ns)
{
	uint64_t elements[2];

	return shmkit_ring_pop_bulk_wait(dry, elements, 2, timeout_ns);
}

static int64_t wait_push_bulk(int64_t timeout_ns)
{
	uint64_t elements[2] = { 1, 2 };

	return shmkit_ring_push_bulk_wait(brimful, elements, 2, timeout_ns);
}

static int64_t wait_reader(int64_t timeout_ns)
{
	uint64_t element;

	return shmkit_ring_reader_wait(reader, &element, 1, NULL, timeout_ns);
}

static int64_t wait_u32(int64_t timeout_ns)
{
	return shmkit_atomic_u32_wait(atomic32, 5, timeout_ns);
}

static int64_t wait_u64(int64_t timeout_ns)
{
	return shmkit_atomic_u64_wait(atomic64, 5, timeout_ns);
}

static int64_t wait_bool(int64_t timeout_ns)
{
	return shmkit_atomic_bool_wait(flag, 1, timeout_ns);
}

static int64_t wait_f64(int64_t timeout_ns)
{
	return shmkit_atomic_f64_wait(number, 0.5, timeout_ns);
}

static const struct waiting {
	const char *call;
	int64_t (*wait)(int64_t timeout_ns);
	const char *structure;              /* whose removal ends it; NULL none */
} waits[] = {
	{ "segment_wait_for", wait_for_name, NULL },
	{ "queue_dequeue_wait", wait_dequeue, "empty" },
	{ "queue_dequeue_bulk_wait", wait_dequeue_bulk, "empty" },
	{ "queue_lease_wait", wait_lease, "empty" },
	{ "queue_enqueue_wait", wait_enqueue, "full" },
	{ "queue_enqueue_bulk_wait", wait_enqueue_bulk, "full" },
	{ "queue_reserve_wait", wait_reserve, "full" },
	{ "ring_pop_wait", wait_pop, "dry" },
	{ "ring_pop_bulk_wait", wait_pop_bulk, "dry" },
	{ "ring_push_bulk_wait", wait_push_bulk, "brimful" },
	{ "ring_reader_wait", wait_reader, "dry" },
	{ "atomic_u32_wait", wait_u32, "u32" },
	{ "atomic_u64_wait", wait_u64, "u64" },
	{ "atomic_bool_wait", wait_bool, "bool" },
	{ "atomic_f64_wait", wait_f64, "f64" },
};

#define WAITS (sizeof(waits) / sizeof(waits[0]))

static int failures;

static void expect(const char *call, const char *how, int64_t result, int64_t expected, int64_t took_ns,
		   int64_t least_ns, int64_t most_ns)
{
	if (result == expected && took_ns >= least_ns && took_ns <= most_ns)
		return;
	print_error("%s, %s: %lld after %lld us; expected %lld after %lld to %lld us\n", call, how,
		    (long long)result, (long long)took_ns / 1000, (long long)expected,
		    (long long)least_ns / 1000, (long long)most_ns / 1000);
	failures++;
}

/* ---- time ---- */

static void test_wait_timeouts_are_kept(void **state)
{
	(void)state;
	failures = 0;
	for (size_t i = 0; i < WAITS; i++) {
		static const int64_t times[] = { 0, 1, 3 * MS, 70 * MS };

		for (size_t j = 0; j < sizeof(times) / sizeof(times[0]); j++) {
			int64_t start = (int64_t)test_now_ns();
			int64_t result = waits[i].wait(times[j]);

			expect(waits[i].call, "nothing happens", result, -ETIMEDOUT,
			       (int64_t)test_now_ns() - start, times[j], times[j] + 1500 * MS);
		}
	}
	assert_int_equal(failures, 0);
}

/* ---- ends of other sorts ---- */

enum how { INTERRUPT, SIGNAL, REMOVE, INTERRUPT_OTHER };

struct ending {
	enum how how;
	pthread_t waiter;
	const char *structure;
	struct shmkit_segment *other;
};

static void on_signal(int signal_number)
{
	(void)signal_number;
}

static void *end_it(void *argument)
{
	struct ending *ending = argument;

	test_sleep_ms(15);
	switch (ending->how) {
	case INTERRUPT:
		return shmkit_segment_interrupt(segment) ? argument : NULL;
	case SIGNAL:
		return pthread_kill(ending->waiter, SIGUSR1) ? argument : NULL;
	case REMOVE:
		return shmkit_segment_remove(segment, ending->structure) ? argument : NULL;
	default:
		return shmkit_segment_interrupt(ending->other) ? argument : NULL;
	}
}

static void end_each(enum how how, const char *what, int64_t timeout_ns, int64_t expected, int64_t least_ns,
		     int64_t most_ns)
{
	for (size_t i = 0; i < WAITS; i++) {
		struct ending ending = { .how = how, .waiter = pthread_self(),
					 .structure = waits[i].structure };
		int64_t start, result;
		pthread_t thread;
		void *failed;

		if (how == REMOVE) {
			if (!waits[i].structure)
				continue;
			assert_int_equal(make_all(NULL), 0);
		}
		if (how == INTERRUPT_OTHER)
			assert_int_equal(shmkit_segment_open(name, 0, &ending.other), 0);
		start = (int64_t)test_now_ns();
		assert_int_equal(pthread_create(&thread, NULL, end_it, &ending), 0);
		result = waits[i].wait(timeout_ns);
		expect(waits[i].call, what, result, expected, (int64_t)test_now_ns() - start, least_ns, most_ns);
		pthread_join(thread, &failed);
		assert_null(failed);
		shmkit_segment_close(ending.other);
		if (how == REMOVE)
			assert_int_equal(drop_all(NULL), 0);
	}
	assert_int_equal(failures, 0);
}

static void test_interrupt_ends_each_wait_with_ecanceled(void **state)
{
	(void)state;
	failures = 0;
	end_each(INTERRUPT, "interrupted", -1, -ECANCELED, 10 * MS, 2000 * MS);
}

static void test_interrupt_of_another_handle_ends_no_wait(void **state)
{
	(void)state;
	failures = 0;
	end_each(INTERRUPT_OTHER, "another handle interrupted", 60 * MS, -ETIMEDOUT, 60 * MS, 1500 * MS);
}

static void test_signal_ends_each_wait_with_eintr(void **state)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;

	(void)state;
	failures = 0;
	sigaction(SIGUSR1, &action, &before);
	end_each(SIGNAL, "a signal", -1, -EINTR, 10 * MS, 2000 * MS);
	sigaction(SIGUSR1, &before, NULL);
}

/* The last slice may just have begun. */
static void test_remove_ends_each_wait_with_estale(void **state)
{
	(void)state;
	failures = 0;
	end_each(REMOVE, "removed", 3000 * MS, -ESTALE, 10 * MS, 1500 * MS);
}

/* ---- all at once ---- */

struct one {
	const struct waiting *waiting;
	_Atomic bool done;
	int64_t result;
};

static void *wait_for_ever(void *argument)
{
	struct one *one = argument;

	one->result = one->waiting->wait(-1);
	atomic_store(&one->done, true);
	return NULL;
}

static void test_interrupt_ends_all_waits_of_the_process_at_once(void **state)
{
	struct one ones[WAITS];
	pthread_t threads[WAITS];
	size_t still = 0;
	uint64_t element = 9;

	(void)state;
	for (size_t i = 0; i < WAITS; i++) {
		ones[i] = (struct one){ .waiting = &waits[i] };
		/* a ring's end is one thread's */
		if (waits[i].wait == wait_pop_bulk)
			ones[i].waiting = &waits[0];
		assert_int_equal(pthread_create(&threads[i], NULL, wait_for_ever, &ones[i]), 0);
	}
	test_sleep_ms(120);
	for (size_t i = 0; i < WAITS; i++)
		assert_false(atomic_load(&ones[i].done));
	assert_int_equal(shmkit_segment_interrupt(segment), 0);
	for (int round = 0; round < 2000; round++) {
		still = 0;
		for (size_t i = 0; i < WAITS; i++)
			still += !atomic_load(&ones[i].done);
		if (!still)
			break;
		test_sleep_ms(1);
	}
	assert_int_equal(still, 0);
	for (size_t i = 0; i < WAITS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(ones[i].result, -ECANCELED);
	}
	/* waits that begin later are none of its business */
	assert_int_equal(wait_dequeue(5 * MS), -ETIMEDOUT);
	assert_int_equal(shmkit_queue_enqueue(empty, &element), 0);
	assert_int_equal(wait_dequeue(-1), 0);
}

/* ---- what is waited for ---- */

static void *make_it_happen(void *argument)
{
	uint64_t element = 1;

	(void)argument;
	test_sleep_ms(10);
	(void)shmkit_queue_enqueue(empty, &element);
	(void)shmkit_queue_dequeue(full, &element);
	(void)shmkit_ring_push(dry, &element);
	(void)shmkit_ring_pop(brimful, &element);
	shmkit_atomic_u32_store(atomic32, 6);
	(void)shmkit_atomic_u64_fetch_add(atomic64, 1);
	(void)shmkit_atomic_bool_exchange(flag, 0);
	(void)shmkit_atomic_f64_fetch_add(number, 1.0);
	return NULL;
}

/* At once, not when a slice ends. */
static void test_wait_ends_at_once_when_it_happens(void **state)
{
	static int64_t (*const needs[])(int64_t) = { wait_dequeue, wait_enqueue, wait_pop, wait_push_bulk,
						     wait_u32, wait_u64, wait_bool, wait_f64 };
	(void)state;
	failures = 0;
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		int64_t best = INT64_MAX, took, result;

		/* the best of some: the machine is busy with others too */
		for (int round = 0; round < 6; round++) {
			int64_t start;
			pthread_t thread;

			assert_int_equal(make_all(NULL), 0);
			start = (int64_t)test_now_ns();
			assert_int_equal(pthread_create(&thread, NULL, make_it_happen, NULL), 0);
			result = needs[i](-1);
			took = (int64_t)test_now_ns() - start;
			assert_true(result >= 0);
			if (took < best)
				best = took;
			pthread_join(thread, NULL);
			assert_int_equal(drop_all(NULL), 0);
		}
		expect("wait", "it happens", 0, 0, best, 10 * MS, 25 * MS);
	}
	assert_int_equal(failures, 0);
}

static void test_wait_bad_arguments_are_refused_at_once(void **state)
{
	(void)state;
	assert_int_equal(shmkit_queue_dequeue_wait(NULL, NULL, -1), -EINVAL);
	assert_int_equal(shmkit_segment_wait_for(segment, NULL, -1), -EINVAL);
	assert_int_equal(shmkit_segment_wait_for(segment, "a name of more than thirty-one bytes", -1),
			 -ENAMETOOLONG);
	assert_int_equal(shmkit_segment_wait_for(segment, "empty", INT64_MIN), 0);
	/* as far as time goes */
	assert_int_equal(shmkit_segment_wait_for(segment, "empty", INT64_MAX), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_all, drop_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_wait_timeouts_are_kept),
		TEST(test_interrupt_ends_each_wait_with_ecanceled),
		TEST(test_interrupt_of_another_handle_ends_no_wait),
		TEST(test_signal_ends_each_wait_with_eintr),
		cmocka_unit_test(test_remove_ends_each_wait_with_estale),
		TEST(test_interrupt_ends_all_waits_of_the_process_at_once),
		cmocka_unit_test(test_wait_ends_at_once_when_it_happens),
		TEST(test_wait_bad_arguments_are_refused_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
