/*
 * Ring between processes: every element that is delivered is verified whole (position and checksum)
 * and accounted for exactly, while producers and consumers are killed at random moments, roles
 * change hands, and the stream is shut down under full speed.
 *
 * What the processes find out stands in anonymous shared memory, so that a kill does not lose it.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define PATIENCE_NS (20000 * NS_PER_MS)
#define CHILD_MS 60000
#define EACH 40000u

/* An element tells its position (or who made it) and can be seen to be torn. */
struct element {
	uint64_t value, mixed[5], sum;
};

struct notes {
	uint64_t popped, read, lost, pushed, producers;
	uint32_t stop, ready;
	uint8_t seen[2][EACH];
};

static struct shmkit_segment *segment;
static struct shmkit_ring *ring;
static struct notes *notes;
static char segment_name[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("ringp"));
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return notes == MAP_FAILED ? -1 : shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int tear_down(void **state)
{
	(void)state;
	shmkit_ring_close(ring);
	ring = NULL;
	shmkit_segment_close(segment);
	munmap(notes, sizeof(*notes));
	return test_shm_leftovers(segment_name);
}

static void make_ring(uint64_t capacity, uint32_t flags)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .flags = flags };

	assert_int_equal(shmkit_ring_create(segment, "r", sizeof(struct element), capacity, &options, &ring),
			 0);
}

static void remove_ring(void)
{
	shmkit_ring_close(ring);
	ring = NULL;
	assert_int_equal(shmkit_segment_remove(segment, "r"), 0);
}

static uint64_t mix(uint64_t value, uint64_t salt)
{
	value = (value + salt) * UINT64_C(0x9e3779b97f4a7c15);
	return value ^ value >> 29;
}

static void fill(struct element *element, uint64_t value)
{
	element->value = value;
	element->sum = value;
	for (unsigned i = 0; i < 5; i++) {
		element->mixed[i] = mix(value, i + 1);
		element->sum += element->mixed[i];
	}
}

static void expect_whole(const struct element *element)
{
	struct element expected;

	fill(&expected, element->value);
	assert_memory_equal(element, &expected, sizeof(expected));
}

static uint64_t get(const uint64_t *note)
{
	return __atomic_load_n(note, __ATOMIC_ACQUIRE);
}

static void add(uint64_t *note, uint64_t value)
{
	__atomic_fetch_add(note, value, __ATOMIC_RELEASE);
}

static bool stopping(void)
{
	return __atomic_load_n(&notes->stop, __ATOMIC_ACQUIRE) != 0;
}

static pid_t start(int (*run)(void *), uintptr_t arg)
{
	pid_t pid = test_fork(run, (void *)arg);

	assert_true(pid > 0);
	return pid;
}

static void expect_exit(pid_t pid)
{
	assert_int_equal(test_wait_exit(pid, CHILD_MS), 0);
}

static void kill_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(test_wait_exit(pid, CHILD_MS), -SIGKILL);
}

/* As a program of its own does: its own handles, not inherited ones. */
static struct shmkit_ring *open_own(uint32_t flags)
{
	struct shmkit_segment *own = NULL;
	struct shmkit_ring *own_ring = NULL;

	assert_int_equal(shmkit_segment_open(segment_name, flags, &own), 0);
	assert_int_equal(shmkit_ring_open(own, "r", sizeof(struct element), &own_ring), 0);
	shmkit_segment_close(own);
	return own_ring;
}

/* ---- one and one ---- */

static int produce_in_order(void *arg)
{
	struct shmkit_ring *own = open_own(0);

	(void)arg;
	for (uint64_t next = 0; next < EACH;) {
		struct element elements[9];
		uint64_t count = 1 + test_random_below(9);
		int64_t n;

		if (count > EACH - next)
			count = EACH - next;
		for (uint64_t i = 0; i < count; i++)
			fill(&elements[i], next + i);
		if (count == 1)
			n = shmkit_ring_push(own, elements) == 0;
		else
			n = shmkit_ring_push_bulk_wait(own, elements, (size_t)count, PATIENCE_NS);
		assert_in_range(n, count == 1 ? 0 : 1, count);
		next += (uint64_t)n;
	}
	assert_int_equal(shmkit_ring_shutdown(own), 0);
	shmkit_ring_close(own);
	return 0;
}

/* Every position from *next on to the end. */
static void consume_in_order(struct shmkit_ring *own, uint64_t *next)
{
	for (;;) {
		struct element elements[6];
		int64_t n = shmkit_ring_pop_bulk_wait(own, elements, 1 + test_random_below(6), PATIENCE_NS);

		if (n == -ESHUTDOWN)
			return;
		assert_in_range(n, 1, 6);
		for (int64_t i = 0; i < n; i++) {
			expect_whole(&elements[i]);
			assert_int_equal(elements[i].value, (*next)++);
		}
	}
}

static void test_producer_and_consumer_every_payload_in_order(void **state)
{
	static const uint64_t capacities[] = { 1, 7, 64 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t next = 0;
		pid_t producer;

		make_ring(capacities[i], 0);
		producer = start(produce_in_order, 0);
		consume_in_order(ring, &next);
		assert_int_equal(next, EACH);
		expect_exit(producer);
		assert_int_equal(shmkit_ring_total_pushed(ring), EACH);
		assert_int_equal(shmkit_ring_total_dropped(ring), 0);
		remove_ring();
	}
}

/* ---- two and two ---- */

static int produce_own_numbers(void *arg)
{
	uint64_t who = (uintptr_t)arg;

	for (uint64_t next = 0; next < EACH;) {
		struct element elements[4];
		uint64_t count = 1 + test_random_below(4);
		int64_t n;

		if (count > EACH - next)
			count = EACH - next;
		for (uint64_t i = 0; i < count; i++)
			fill(&elements[i], who * EACH + next + i);
		n = shmkit_ring_push_bulk_wait(ring, elements, (size_t)count, PATIENCE_NS);
		assert_in_range(n, 1, count);
		next += (uint64_t)n;
	}
	return 0;
}

static int consume_anything(void *arg)
{
	uint64_t last[2] = { 0, 0 };

	(void)arg;
	for (;;) {
		struct element elements[4];
		int64_t n = shmkit_ring_pop_bulk_wait(ring, elements, 4, PATIENCE_NS);

		if (n == -ESHUTDOWN)
			return 0;
		assert_in_range(n, 1, 4);
		for (int64_t i = 0; i < n; i++) {
			uint64_t who = elements[i].value / EACH, number = elements[i].value % EACH;

			expect_whole(&elements[i]);
			assert_true(who < 2 && number >= last[who]);   /* each one's in its order */
			last[who] = number;
			__atomic_fetch_add(&notes->seen[who][number], 1, __ATOMIC_RELAXED);
		}
	}
}

static void test_two_and_two_each_element_once(void **state)
{
	pid_t producers[2], consumers[2];

	(void)state;
	make_ring(13, SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER);
	for (uintptr_t i = 0; i < 2; i++) {
		consumers[i] = start(consume_anything, 0);
		producers[i] = start(produce_own_numbers, i);
	}
	for (unsigned i = 0; i < 2; i++)
		expect_exit(producers[i]);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	for (unsigned i = 0; i < 2; i++)
		expect_exit(consumers[i]);
	for (unsigned i = 0; i < EACH; i++) {
		assert_int_equal(notes->seen[0][i], 1);
		assert_int_equal(notes->seen[1][i], 1);
	}
}

/* ---- overwriting, popping, observing ---- */

/* The element at position p is p, whoever pushes: the role makes the position its holder's. */
static void push_positions(struct shmkit_ring *own, bool overwrite, uint64_t capacity)
{
	struct element elements[40];
	uint64_t next = shmkit_ring_total_pushed(own);
	uint64_t count = 1 + test_random_below(test_random_below(8) ? 4 : 2 * capacity < 40 ? 2 * capacity : 40);
	int64_t n;

	for (uint64_t i = 0; i < count; i++)
		fill(&elements[i], next + i);
	if (overwrite) {
		n = shmkit_ring_push_overwrite(own, elements, (size_t)count);
		assert_true(n >= 0);
	} else {
		n = shmkit_ring_push_bulk(own, elements, (size_t)count);
		assert_in_range(n, 0, count);
	}
}

static int overwrite_positions(void *arg)
{
	struct shmkit_ring *own = open_own(0);

	while (!stopping())
		push_positions(own, true, (uintptr_t)arg);
	shmkit_ring_close(own);
	return 0;
}

/* Everything from the oldest on; each position read, whole, or counted as lost. */
static int observe_positions(void *arg)
{
	struct shmkit_ring *own = open_own((uint32_t)(uintptr_t)arg);
	struct shmkit_ring_reader *reader = NULL;
	uint64_t next, lost;

	assert_int_equal(shmkit_ring_reader_open(own, SHMKIT_READ_FROM_OLDEST, &reader), 0);
	next = shmkit_ring_reader_position(reader);
	shmkit_ring_close(own);
	__atomic_fetch_add(&notes->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		struct element elements[8];
		int64_t n = shmkit_ring_reader_wait(reader, elements, 1 + test_random_below(8), &lost,
						    PATIENCE_NS);

		if (n == -ESHUTDOWN) {
			/* the last may have been lost to a dead producer: told, and none comes with them */
			next += lost;
			add(&notes->lost, lost);
			assert_int_equal(shmkit_ring_reader_position(reader), next);
			break;
		}
		assert_in_range(n, 1, 8);
		next += lost;
		add(&notes->lost, lost);
		for (int64_t i = 0; i < n; i++) {
			expect_whole(&elements[i]);
			assert_int_equal(elements[i].value, next++);
		}
		add(&notes->read, (uint64_t)n);
		assert_int_equal(shmkit_ring_reader_position(reader), next);
	}
	shmkit_ring_reader_close(reader);
	return 0;
}

static int pop_positions(void *arg)
{
	struct shmkit_ring *own = open_own(0);
	uint64_t last = 0;

	(void)arg;
	while (!stopping()) {
		struct element elements[8];
		int64_t n = shmkit_ring_pop_bulk(own, elements, 1 + test_random_below(8));

		assert_in_range(n, 0, 8);
		for (int64_t i = 0; i < n; i++) {
			expect_whole(&elements[i]);
			assert_true(elements[i].value >= last);
			last = elements[i].value + 1;
		}
		add(&notes->popped, (uint64_t)n);
	}
	shmkit_ring_close(own);
	return 0;
}

static void expect_accounted(void)
{
	assert_int_equal(get(&notes->popped) + shmkit_ring_total_dropped(ring) + shmkit_ring_size(ring),
			 shmkit_ring_total_pushed(ring));
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void test_overwriting_producer_popper_readers_exact(void **state)
{
	static const uintptr_t capacities[] = { 1, 5, 16 };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		pid_t producer, popper, observers[2];

		memset(notes, 0, sizeof(*notes));
		make_ring(capacities[i], 0);
		observers[0] = start(observe_positions, 0);
		observers[1] = start(observe_positions, SHMKIT_READ_ONLY);
		while (__atomic_load_n(&notes->ready, __ATOMIC_ACQUIRE) < 2)
			test_sleep_ms(1);
		popper = start(pop_positions, 0);
		producer = start(overwrite_positions, capacities[i]);
		for (unsigned look = 0; look < 20; look++) {
			test_sleep_ms(15);
			assert_int_equal(shmkit_segment_check(segment), 0);
		}
		notes->stop = 1;
		expect_exit(producer);
		expect_exit(popper);
		expect_accounted();
		assert_int_equal(shmkit_ring_shutdown(ring), 0);
		expect_exit(observers[0]);
		expect_exit(observers[1]);
		assert_int_equal(get(&notes->read) + get(&notes->lost), 2 * shmkit_ring_total_pushed(ring));
		assert_true(shmkit_ring_total_pushed(ring) > 100);
		remove_ring();
	}
}

/* ---- kills ---- */

static int push_positions_until_killed(void *arg)
{
	struct shmkit_ring *own = open_own(0);

	add(&notes->producers, 1);
	for (;;)
		push_positions(own, (uintptr_t)arg != 0, 8);
	return 0;
}

/* Some when it has begun to push, some while it attaches. */
static void let_run_and_kill(pid_t pid, uint64_t producers)
{
	if (test_random_below(8))
		for (unsigned i = 0; i < 5000 && get(&notes->producers) == producers; i++)
			usleep(100);
	usleep((useconds_t)test_random_below(1500));
	kill_child(pid);
}

/* Nothing is dropped: each position comes exactly once, whatever happens to producers. */
static int pop_every_position(void *arg)
{
	struct shmkit_ring *own = open_own(0);
	uint64_t next = 0;

	(void)arg;
	consume_in_order(own, &next);
	add(&notes->popped, next);
	return 0;
}

static void test_producer_killed_nothing_committed_lost(void **state)
{
	pid_t consumer, observer;

	(void)state;
	make_ring(8, 0);
	observer = start(observe_positions, 0);
	while (!__atomic_load_n(&notes->ready, __ATOMIC_ACQUIRE))   /* to see all from the first on */
		test_sleep_ms(1);
	consumer = start(pop_every_position, 0);
	for (unsigned round = 0; round < 120; round++) {
		uint64_t producers = get(&notes->producers);

		let_run_and_kill(start(push_positions_until_killed, 0), producers);
		assert_int_equal(shmkit_segment_check(segment), 0);
	}
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect_exit(consumer);
	expect_exit(observer);
	assert_int_equal(shmkit_ring_total_dropped(ring), 0);
	expect_accounted();
	assert_int_equal(get(&notes->popped), shmkit_ring_total_pushed(ring));
	assert_int_equal(get(&notes->read) + get(&notes->lost), shmkit_ring_total_pushed(ring));
	assert_true(get(&notes->popped) > 1000);
}

static void test_overwriting_producer_killed_accounted_exactly(void **state)
{
	pid_t consumer, observers[2];

	(void)state;
	make_ring(8, 0);
	observers[0] = start(observe_positions, 0);
	observers[1] = start(observe_positions, SHMKIT_READ_ONLY);
	while (__atomic_load_n(&notes->ready, __ATOMIC_ACQUIRE) < 2)
		test_sleep_ms(1);
	consumer = start(pop_positions, 0);
	for (unsigned round = 0; round < 120; round++) {
		uint64_t producers = get(&notes->producers);

		let_run_and_kill(start(push_positions_until_killed, 1), producers);
		assert_int_equal(shmkit_segment_check(segment), 0);
	}
	notes->stop = 1;
	expect_exit(consumer);
	expect_accounted();
	assert_true(shmkit_ring_total_dropped(ring) > 1000);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect_exit(observers[0]);
	expect_exit(observers[1]);
	assert_int_equal(get(&notes->read) + get(&notes->lost), 2 * shmkit_ring_total_pushed(ring));
}

/* Each tells what it has verified; what one pop returned to the dead may be missing, no more. */
static int pop_until_killed(void *arg)
{
	struct shmkit_ring *own = open_own(0);

	(void)arg;
	add(&notes->producers, 1);          /* consumers, here */
	for (;;) {
		struct element elements[4];
		int64_t n = shmkit_ring_pop_bulk(own, elements, 4);

		assert_in_range(n, 0, 4);
		for (int64_t i = 0; i < n; i++) {
			uint64_t value = elements[i].value;

			expect_whole(&elements[i]);
			assert_true(value >= get(&notes->pushed));   /* never twice, never backwards */
			__atomic_store_n(&notes->pushed, value + 1, __ATOMIC_RELEASE);
			add(&notes->popped, 1);
		}
	}
	return 0;
}

static int produce_until_stopped(void *arg)
{
	struct shmkit_ring *own = open_own(0);

	(void)arg;
	while (!stopping())
		push_positions(own, false, 8);
	shmkit_ring_close(own);
	return 0;
}

static void test_consumer_killed_the_next_goes_on(void **state)
{
	uint64_t taken, rounds = 120;
	pid_t producer;

	(void)state;
	make_ring(8, 0);
	producer = start(produce_until_stopped, 0);
	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t consumers = get(&notes->producers);

		let_run_and_kill(start(pop_until_killed, 0), consumers);
		assert_int_equal(shmkit_segment_check(segment), 0);
	}
	notes->stop = 1;
	expect_exit(producer);
	taken = shmkit_ring_total_pushed(ring) - shmkit_ring_size(ring);
	assert_in_range(taken, get(&notes->popped), get(&notes->popped) + 4 * rounds);
	assert_true(taken > 1000);
}

static int push_own_numbers_until_killed(void *arg)
{
	struct shmkit_ring *own = open_own(0);
	struct element element;

	(void)arg;
	add(&notes->producers, 1);
	for (uint64_t i = 0;; i++) {
		int result;

		fill(&element, i);
		result = shmkit_ring_push(own, &element);
		assert_true(result == 0 || result == -EAGAIN);
	}
	return 0;
}

static int count_whole(void *arg)
{
	(void)arg;
	for (;;) {
		struct element element;
		int result = shmkit_ring_pop_wait(ring, &element, PATIENCE_NS);

		if (result == -ESHUTDOWN)
			return 0;
		assert_int_equal(result, 0);
		expect_whole(&element);
		add(&notes->popped, 1);
	}
}

static void test_many_producers_killed_the_others_go_on(void **state)
{
	pid_t steady, consumers[2];
	uint64_t before;

	(void)state;
	make_ring(8, SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER);
	consumers[0] = start(count_whole, 0);
	consumers[1] = start(count_whole, 0);
	steady = start(push_own_numbers_until_killed, 0);
	for (unsigned round = 0; round < 80; round++) {
		uint64_t producers = get(&notes->producers);

		let_run_and_kill(start(push_own_numbers_until_killed, 0), producers);
		assert_int_equal(shmkit_segment_check(segment), 0);
	}
	before = shmkit_ring_total_pushed(ring);
	for (unsigned i = 0; i < 1000 && shmkit_ring_total_pushed(ring) == before; i++)
		test_sleep_ms(1);
	assert_true(shmkit_ring_total_pushed(ring) > before);
	kill_child(steady);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect_exit(consumers[0]);
	expect_exit(consumers[1]);
	assert_int_equal(get(&notes->popped), shmkit_ring_total_pushed(ring));
	expect_accounted();
}

/* ---- roles ---- */

static int hold_producer_role(void *arg)
{
	struct shmkit_ring *own = open_own(0);
	struct element element;

	fill(&element, 0);
	assert_int_equal(shmkit_ring_push(own, &element), 0);
	__atomic_store_n(&notes->ready, 1, __ATOMIC_RELEASE);
	while (arg)
		pause();
	while (!stopping())
		test_sleep_ms(1);
	shmkit_ring_close(own);
	return 0;
}

static void wait_ready(void)
{
	while (!__atomic_load_n(&notes->ready, __ATOMIC_ACQUIRE))
		test_sleep_ms(1);
	notes->ready = 0;
}

static void test_role_of_a_living_process_ebusy_until_it_closes(void **state)
{
	struct element element;
	char holder_text[64];
	pid_t holder;

	(void)state;
	make_ring(4, 0);
	fill(&element, 1);
	holder = start(hold_producer_role, 0);
	wait_ready();
	assert_int_equal(shmkit_ring_push(ring, &element), -EBUSY);
	snprintf(holder_text, sizeof(holder_text), "process %d", (int)holder);
	assert_non_null(strstr(shmkit_last_error(), holder_text));
	assert_int_equal(shmkit_ring_pop(ring, &element), 0);
	expect_whole(&element);
	notes->stop = 1;
	expect_exit(holder);
	assert_int_equal(shmkit_ring_push(ring, &element), 0);
}

static void test_role_of_the_dead_taken_at_once(void **state)
{
	struct element element;

	(void)state;
	make_ring(64, 0);
	fill(&element, 1);
	for (unsigned round = 0; round < 20; round++) {
		pid_t holder = start(hold_producer_role, 1);
		uint64_t killed;
		int result;

		wait_ready();
		/* a stopped process is alive */
		assert_int_equal(kill(holder, SIGSTOP), 0);
		assert_int_equal(shmkit_ring_push(ring, &element), -EBUSY);
		killed = test_now_ns();
		assert_int_equal(kill(holder, SIGKILL), 0);
		do
			result = shmkit_ring_push(ring, &element);
		while (result == -EBUSY && test_now_ns() - killed < 5000 * (uint64_t)NS_PER_MS);
		assert_int_equal(result, 0);
		assert_int_equal(test_wait_exit(holder, CHILD_MS), -SIGKILL);
		/* give it to the next one */
		shmkit_ring_close(ring);
		assert_int_equal(shmkit_ring_open(segment, "r", 0, &ring), 0);
	}
	assert_int_equal(shmkit_ring_size(ring), 40);
}

/* Several producers: one that is stopped, wherever, holds nobody up for long. */
static void test_many_producers_one_stopped_others_return(void **state)
{
	struct element element;
	pid_t other;

	(void)state;
	make_ring(8, SHMKIT_RING_MULTI_PRODUCER);
	fill(&element, 1);
	other = start(push_own_numbers_until_killed, 0);
	while (!get(&notes->producers))
		test_sleep_ms(1);
	for (unsigned round = 0; round < 40; round++) {
		uint64_t before;
		int result;

		usleep((useconds_t)test_random_below(2000));
		assert_int_equal(kill(other, SIGSTOP), 0);
		assert_int_equal(waitpid(other, &result, WUNTRACED), other);
		assert_true(WIFSTOPPED(result));
		while (shmkit_ring_pop(ring, &element) == 0)
			expect_whole(&element);
		before = test_now_ns();
		result = shmkit_ring_push(ring, &element);
		assert_true(result == 0 || result == -EBUSY);
		assert_true(test_now_ns() - before < 5000 * (uint64_t)NS_PER_MS);
		assert_int_equal(kill(other, SIGCONT), 0);
	}
	assert_int_equal(kill(other, SIGSTOP), 0);
	kill_child(other);
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 8) < 0, 0);
	assert_int_equal(shmkit_ring_push(ring, &element), 0);
}

/* ---- the end ---- */

static int push_until_shut_down(void *arg)
{
	struct shmkit_ring *own = open_own(0);
	bool overwrite = (uintptr_t)arg != 0;

	__atomic_store_n(&notes->ready, 1, __ATOMIC_RELEASE);
	for (;;) {
		struct element elements[3];
		int64_t n;

		for (uint64_t i = 0; i < 3; i++)
			fill(&elements[i], get(&notes->pushed) + i);
		if (overwrite)
			n = shmkit_ring_push_overwrite(own, elements, 3);
		else
			n = shmkit_ring_push_bulk(own, elements, 3);
		if (n == -ESHUTDOWN)
			return 0;
		assert_true(n >= 0);
		add(&notes->pushed, overwrite ? 3 : (uint64_t)n);
	}
}

static int shut_down_soon(void *arg)
{
	struct shmkit_ring *own = open_own(0);

	(void)arg;
	usleep((useconds_t)test_random_below(1500));
	assert_int_equal(shmkit_ring_shutdown(own), 0);
	if (test_random_below(2))
		kill(getpid(), SIGKILL);
	return 0;
}

/* Whatever was told to be pushed is popped before the end, and nothing comes after it. */
static void test_shutdown_under_full_speed_exact_end(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		pid_t producer, other;
		uint64_t popped = 0;

		memset(notes, 0, sizeof(*notes));
		make_ring(round % 2 ? 7 : 1000, 0);
		producer = start(push_until_shut_down, round % 2);
		wait_ready();
		other = start(shut_down_soon, 0);
		for (;;) {
			struct element element;
			int result = shmkit_ring_pop_wait(ring, &element, PATIENCE_NS);

			if (result == -ESHUTDOWN)
				break;
			assert_int_equal(result, 0);
			expect_whole(&element);
			popped++;
		}
		assert_int_equal(shmkit_ring_size(ring), 0);
		assert_int_equal(popped + shmkit_ring_total_dropped(ring), shmkit_ring_total_pushed(ring));
		expect_exit(producer);
		assert_int_equal(get(&notes->pushed), shmkit_ring_total_pushed(ring));
		assert_int_equal(popped + shmkit_ring_total_dropped(ring), get(&notes->pushed));
		test_wait_exit(other, CHILD_MS);
		assert_int_equal(shmkit_segment_check(segment), 0);
		remove_ring();
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_producer_and_consumer_every_payload_in_order),
		TEST(test_two_and_two_each_element_once),
		TEST(test_overwriting_producer_popper_readers_exact),
		TEST(test_producer_killed_nothing_committed_lost),
		TEST(test_overwriting_producer_killed_accounted_exactly),
		TEST(test_consumer_killed_the_next_goes_on),
		TEST(test_many_producers_killed_the_others_go_on),
		TEST(test_role_of_a_living_process_ebusy_until_it_closes),
		TEST(test_role_of_the_dead_taken_at_once),
		TEST(test_many_producers_one_stopped_others_return),
		TEST(test_shutdown_under_full_speed_exact_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
