/*
 * Ring: those who look and take nothing, last and readers, within one process. What a producer's
 * death leaves, and a push that is under way, are set up by setting the words.
 */
#include "support.h"

#include "ring.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("ringr"));
	return shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_ring *make_ring(uint64_t capacity)
{
	struct shmkit_ring *ring = NULL;

	assert_int_equal(shmkit_ring_create(segment, "r", 8, capacity, NULL, &ring), 0);
	return ring;
}

static struct shmkit_ring_reader *read_from(struct shmkit_ring *ring, uint32_t from)
{
	struct shmkit_ring_reader *reader = NULL;

	assert_int_equal(shmkit_ring_reader_open(ring, from, &reader), 0);
	return reader;
}

/* The element at position p is p. */
static void push_next(struct shmkit_ring *ring, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = shmkit_ring_total_pushed(ring);

		assert_in_range(shmkit_ring_push_overwrite(ring, &value, 1), 0, 1);
	}
}

static void move_to(struct shmkit_ring *ring, uint64_t position)
{
	ring->shm->write_index = ring->shm->write_next = position;
	ring->shm->sharing = SHK_RING_SHARED;
	ring->shm->read_word = shk_ring_read_word(0, position);
	ring->known_read_index = position;
	ring->last_view = (struct shk_ring_view){ 0 };
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void expect_last(struct shmkit_ring *ring, size_t asked, uint64_t first, uint64_t count)
{
	uint64_t values[40] = { 0 };

	assert_int_equal(shmkit_ring_last(ring, values, asked), count);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(values[i], first + i);
	for (uint64_t i = asked; i < 40; i++)
		assert_int_equal(values[i], 0);
}

static void expect_read(struct shmkit_ring_reader *reader, size_t asked, uint64_t first,
			uint64_t count, uint64_t expected_lost)
{
	uint64_t values[40] = { 0 }, lost = 4711;

	assert_int_equal(shmkit_ring_reader_read(reader, values, asked, &lost), count);
	assert_int_equal(lost, expected_lost);
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(values[i], first + i);
	if (count)
		assert_int_equal(shmkit_ring_reader_position(reader), first + count);
}

static void expect_end(struct shmkit_ring_reader *reader)
{
	uint64_t value = 4711, lost = 4712;

	assert_int_equal(shmkit_ring_reader_read(reader, &value, 1, &lost), -ESHUTDOWN);
	assert_int_equal(lost, 4712);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, -1), -ESHUTDOWN);
	assert_int_equal(lost, 0);
	assert_int_equal(value, 4711);
}

/* ---- errors ---- */

static void test_every_call_bad_argument_einval(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shmkit_ring_reader *reader = UNTOUCHED;
	uint64_t value, lost;

	(void)state;
	assert_int_equal(shmkit_ring_last(NULL, &value, 1), -EINVAL);
	assert_int_equal(shmkit_ring_last(ring, NULL, 1), -EINVAL);
	assert_int_equal(shmkit_ring_last(ring, NULL, 0), 0);
	assert_int_equal(shmkit_ring_reader_open(NULL, 0, &reader), -EINVAL);
	assert_int_equal(shmkit_ring_reader_open(ring, 0, NULL), -EINVAL);
	assert_int_equal(shmkit_ring_reader_open(ring, 2, &reader), -EINVAL);
	assert_ptr_equal(reader, UNTOUCHED);
	shmkit_ring_reader_close(NULL);
	reader = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	assert_int_equal(shmkit_ring_reader_read(NULL, &value, 1, &lost), -EINVAL);
	assert_int_equal(shmkit_ring_reader_read(reader, NULL, 1, &lost), -EINVAL);
	assert_int_equal(shmkit_ring_reader_wait(NULL, &value, 1, &lost, 0), -EINVAL);
	assert_int_equal(shmkit_ring_reader_wait(reader, NULL, 1, &lost, 0), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "shmkit_ring_reader_wait"));
	assert_int_equal(shmkit_ring_reader_read(reader, NULL, 0, NULL), 0);
	assert_int_equal(shmkit_ring_reader_wait(reader, NULL, 0, NULL, -1), 0);
	assert_int_equal(shmkit_ring_reader_seek(NULL, 0), -EINVAL);
	assert_int_equal(shmkit_ring_reader_position(NULL), 0);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

static void test_every_call_removed_estale(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shmkit_ring_reader *reader = read_from(ring, SHMKIT_READ_FROM_OLDEST), *more = UNTOUCHED;
	uint64_t value;

	(void)state;
	push_next(ring, 2);
	expect_read(reader, 1, 0, 1, 0);
	assert_int_equal(shmkit_segment_remove(segment, "r"), 0);
	assert_int_equal(shmkit_ring_last(ring, &value, 1), -ESTALE);
	assert_int_equal(shmkit_ring_reader_open(ring, 0, &more), -ESTALE);
	assert_ptr_equal(more, UNTOUCHED);
	assert_int_equal(shmkit_ring_reader_read(reader, &value, 1, NULL), -ESTALE);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, NULL, -1), -ESTALE);
	assert_int_equal(shmkit_ring_reader_seek(reader, 0), -ESTALE);
	assert_int_equal(shmkit_ring_reader_position(reader), 1);
	shmkit_ring_close(ring);
	shmkit_ring_reader_close(reader);
}

/* ---- last ---- */

static void test_last_fewer_than_held_newest_in_order(void **state)
{
	struct shmkit_ring *ring = make_ring(5);

	(void)state;
	expect_last(ring, 3, 0, 0);
	push_next(ring, 2);
	expect_last(ring, 1, 1, 1);
	expect_last(ring, 2, 0, 2);
	expect_last(ring, 9, 0, 2);
	push_next(ring, 9);
	expect_last(ring, 3, 8, 3);
	expect_last(ring, 5, 6, 5);
	expect_last(ring, 30, 6, 5);
	/* popped ones are there until they are overwritten, and nothing is consumed */
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 4), 4);
	expect_last(ring, 5, 6, 5);
	assert_int_equal(shmkit_ring_size(ring), 1);
	move_to(ring, (UINT64_C(1) << 32) - 2);
	push_next(ring, 7);
	expect_last(ring, 4, (UINT64_C(1) << 32) + 1, 4);
	shmkit_ring_close(ring);
}

static void test_last_element_wider_than_its_size_packed(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .alignment = 64 };
	struct shmkit_ring *ring = NULL;
	unsigned char out[4][5];

	(void)state;
	assert_int_equal(shmkit_ring_create(segment, "wide", 5, 3, &options, &ring), 0);
	for (unsigned char i = 0; i < 5; i++) {
		unsigned char element[5] = { i, i, i, i, (unsigned char)(i + 1) };

		assert_in_range(shmkit_ring_push_overwrite(ring, element, 1), 0, 1);
	}
	memset(out, 0xee, sizeof(out));
	assert_int_equal(shmkit_ring_last(ring, out, 4), 3);
	for (unsigned char i = 0; i < 3; i++) {
		assert_int_equal(out[i][0], i + 2);
		assert_int_equal(out[i][4], i + 3);
	}
	assert_int_equal(out[3][0], 0xee);
	shmkit_ring_close(ring);
}

/* A push was announced: the oldest positions may be anything. */
static void test_last_push_under_way_doubtful_ones_left_out(void **state)
{
	struct shmkit_ring *ring = make_ring(6);

	(void)state;
	push_next(ring, 9);
	ring->shm->write_next = 9 + 2;
	expect_last(ring, 6, 5, 4);
	expect_last(ring, 4, 5, 4);
	expect_last(ring, 2, 7, 2);
	ring->shm->write_next = 9 + 6;
	expect_last(ring, 6, 0, 0);
	shmkit_ring_close(ring);
}

/* ---- readers ---- */

static void test_reader_from_oldest_or_newest_begins_there(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shmkit_ring_reader *first = read_from(ring, SHMKIT_READ_FROM_OLDEST), *oldest, *newest;

	(void)state;
	expect_read(first, 5, 0, 0, 0);
	push_next(ring, 6);
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 3), 3);
	oldest = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	newest = read_from(ring, SHMKIT_READ_FROM_NEWEST);
	assert_int_equal(shmkit_ring_reader_position(oldest), 2);
	assert_int_equal(shmkit_ring_reader_position(newest), 6);
	expect_read(oldest, 10, 2, 4, 0);   /* popped or not */
	expect_read(newest, 10, 6, 0, 0);
	expect_read(first, 10, 2, 4, 2);
	push_next(ring, 1);
	expect_read(oldest, 10, 6, 1, 0);
	expect_read(newest, 10, 6, 1, 0);
	expect_read(first, 10, 6, 1, 0);
	/* the oldest that is whole */
	ring->shm->write_next = 7 + 3;
	shmkit_ring_reader_close(oldest);
	oldest = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	expect_read(oldest, 10, 6, 1, 0);
	shmkit_ring_reader_close(oldest);
	shmkit_ring_reader_close(newest);
	shmkit_ring_reader_close(first);
	shmkit_ring_close(ring);
}

static void test_reader_lapped_lost_exactly_once_told(void **state)
{
	struct shmkit_ring *ring = make_ring(5);
	struct shmkit_ring_reader *reader = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	uint64_t values[5], lost = 0;

	(void)state;
	push_next(ring, 12);
	expect_read(reader, 2, 7, 2, 7);
	expect_read(reader, 2, 9, 2, 0);
	push_next(ring, 7);                 /* 11 was read next; 14 is the oldest */
	/* not asked for: told with these elements to nobody */
	assert_int_equal(shmkit_ring_reader_read(reader, values, 1, NULL), 1);
	assert_int_equal(values[0], 14);
	expect_read(reader, 5, 15, 4, 0);
	/* nothing whole to read is no element, but a loss */
	push_next(ring, 2);
	ring->shm->write_next = 21 + 5;
	assert_int_equal(shmkit_ring_reader_read(reader, values, 5, &lost), 0);
	assert_int_equal(lost, 2);
	assert_int_equal(shmkit_ring_reader_position(reader), 21);
	push_next(ring, 1);
	expect_read(reader, 5, 21, 1, 0);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

/* Random pushes and reads: every position is read once or counted as lost. */
static void test_reader_random_every_position_read_or_lost(void **state)
{
	static const uint64_t capacities[] = { 1, 2, 3, 8, 13 };

	(void)state;
	for (unsigned i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct shmkit_ring *ring = make_ring(capacities[i]);
		struct shmkit_ring_reader *reader;
		uint64_t next = (UINT64_C(1) << 32) - 100;

		move_to(ring, next);
		push_next(ring, 0);
		reader = read_from(ring, SHMKIT_READ_FROM_NEWEST);
		for (unsigned round = 0; round < 300; round++) {
			uint64_t values[16], lost = 0;
			size_t count = test_random_below(16);
			int64_t n;

			push_next(ring, test_random_below(2 * capacities[i]));
			n = shmkit_ring_reader_read(reader, values, count, &lost);
			assert_in_range(n, 0, count);
			next += lost;
			for (int64_t k = 0; k < n; k++)
				assert_int_equal(values[k], next++);
			assert_int_equal(shmkit_ring_reader_position(reader), next);
		}
		assert_true(next > UINT64_C(1) << 32);
		shmkit_ring_reader_close(reader);
		shmkit_ring_close(ring);
		assert_int_equal(shmkit_segment_remove(segment, "r"), 0);
	}
}

static void test_reader_seek_back_forth_or_too_far(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shmkit_ring_reader *reader = read_from(ring, SHMKIT_READ_FROM_OLDEST);

	(void)state;
	push_next(ring, 9);
	expect_read(reader, 10, 5, 4, 5);
	assert_int_equal(shmkit_ring_reader_seek(reader, 10), -ERANGE);
	assert_int_equal(shmkit_ring_reader_seek(reader, UINT64_MAX), -ERANGE);
	assert_int_equal(shmkit_ring_reader_position(reader), 9);
	assert_int_equal(shmkit_ring_reader_seek(reader, 7), 0);
	expect_read(reader, 10, 7, 2, 0);
	assert_int_equal(shmkit_ring_reader_seek(reader, 1), 0);
	assert_int_equal(shmkit_ring_reader_position(reader), 1);
	expect_read(reader, 1, 5, 1, 4);
	assert_int_equal(shmkit_ring_reader_seek(reader, 9), 0);
	expect_read(reader, 10, 9, 0, 0);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

static void test_reader_ring_and_segment_closed_first_reads_on(void **state)
{
	struct shmkit_ring *ring = make_ring(4), *observed = NULL;
	struct shmkit_segment *other = NULL;
	struct shmkit_ring_reader *reader, *second;

	(void)state;
	assert_int_equal(shmkit_segment_open(segment_name, 0, &other), 0);
	assert_int_equal(shmkit_ring_open(other, "r", 8, &observed), 0);
	reader = read_from(observed, SHMKIT_READ_FROM_OLDEST);
	second = read_from(observed, SHMKIT_READ_FROM_OLDEST);
	shmkit_segment_close(other);
	shmkit_ring_close(observed);
	push_next(ring, 2);
	expect_read(reader, 4, 0, 2, 0);
	shmkit_ring_reader_close(reader);
	expect_read(second, 1, 0, 1, 0);
	shmkit_ring_reader_close(second);
	shmkit_ring_close(ring);
}

static void test_reader_read_only_segment_works(void **state)
{
	struct shmkit_ring *ring = make_ring(4), *seen = NULL;
	struct shmkit_segment *observer = NULL;
	struct shmkit_ring_reader *reader;
	uint64_t value, lost;

	(void)state;
	push_next(ring, 6);
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &observer), 0);
	assert_int_equal(shmkit_ring_open(observer, "r", 8, &seen), 0);
	expect_last(seen, 3, 3, 3);
	reader = read_from(seen, SHMKIT_READ_FROM_OLDEST);
	expect_read(reader, 3, 2, 3, 0);
	push_next(ring, 8);
	expect_read(reader, 9, 10, 4, 5);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, 3 * NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(shmkit_ring_reader_seek(reader, 13), 0);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, -1), 1);
	assert_int_equal(value, 13);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect_end(reader);
	/* nobody who may write is left: it stays readable */
	shmkit_ring_close(ring);
	shmkit_segment_close(segment);
	segment = NULL;
	expect_last(seen, 2, 12, 2);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(seen);
	shmkit_segment_close(observer);
}

static void test_reader_shutdown_reads_to_the_end(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shmkit_ring_reader *reader = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	uint64_t values[4], lost = 4711;

	(void)state;
	push_next(ring, 6);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect_read(reader, 3, 2, 3, 2);
	expect_read(reader, 3, 5, 1, 0);
	expect_end(reader);
	assert_int_equal(shmkit_ring_reader_seek(reader, 4), 0);
	expect_read(reader, 3, 4, 2, 0);
	expect_end(reader);
	/* all that is left is a loss: told before the end */
	assert_int_equal(shmkit_ring_reader_seek(reader, 4), 0);
	ring->shm->write_next = 6 + 4;
	assert_int_equal(shmkit_ring_reader_read(reader, values, 4, &lost), 0);
	assert_int_equal(lost, 2);
	expect_end(reader);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

static int push_and_die(void *arg)
{
	struct shmkit_ring *ring = arg;

	push_next(ring, 1);
	/* dies in its second push, as far as anybody can see */
	ring->shm->pushing = 1;
	kill(getpid(), SIGKILL);
	return 1;
}

/* An observer cannot repair, and need not: it asks the kernel whether the producer lives. */
static void test_reader_read_only_push_of_the_dead_is_no_hindrance(void **state)
{
	struct shmkit_ring *ring = make_ring(4), *seen = NULL;
	struct shmkit_segment *observer = NULL;
	struct shmkit_ring_reader *reader;

	(void)state;
	assert_int_equal(test_wait_exit(test_fork(push_and_die, ring), 10000), -SIGKILL);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &observer), 0);
	assert_int_equal(shmkit_ring_open(observer, "r", 8, &seen), 0);
	reader = read_from(seen, SHMKIT_READ_FROM_OLDEST);
	expect_read(reader, 3, 0, 1, 0);
	assert_true(shk_lock_is_held(ring->shm->producer_role));
	expect_end(reader);
	assert_int_equal(ring->shm->pushing, 1);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(seen);
	shmkit_segment_close(observer);
	shmkit_ring_close(ring);
}

/* Shut down halfway: not the end until somebody who may write has met it. */
/* He who shut down died in the middle: an observer finds the end by itself, a writer writes it down. */
static void test_reader_read_only_shutdown_half_done_is_the_end(void **state)
{
	struct shmkit_ring *ring = make_ring(4), *seen = NULL;
	struct shmkit_segment *observer = NULL;
	struct shmkit_ring_reader *reader;
	uint64_t value;

	(void)state;
	ring->shm->closed = SHK_RING_CLOSING;
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &observer), 0);
	assert_int_equal(shmkit_ring_open(observer, "r", 8, &seen), 0);
	reader = read_from(seen, SHMKIT_READ_FROM_OLDEST);
	expect_end(reader);
	assert_int_equal(ring->shm->closed, SHK_RING_CLOSING);
	assert_int_equal(shmkit_ring_pop(ring, &value), -ESHUTDOWN);
	assert_int_equal(ring->shm->closed, SHK_RING_CLOSED);
	expect_end(reader);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(seen);
	shmkit_segment_close(observer);
	shmkit_ring_close(ring);
}

/* All that was left to read was being overwritten by one who died: told, though nothing is read. */
static void test_reader_wait_loss_at_the_end_told_with_eshutdown(void **state)
{
	struct shmkit_ring *ring = make_ring(8);
	struct shmkit_ring_reader *reader = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	uint64_t value, lost = 4242;

	(void)state;
	push_next(ring, 100);
	ring->shm->write_next = ring->shm->write_index + 8;
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, 1000 * NS_PER_MS), -ESHUTDOWN);
	assert_int_equal(lost, 100);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, 1000 * NS_PER_MS), -ESHUTDOWN);
	assert_int_equal(lost, 0);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

/* ---- waiting ---- */

static struct shmkit_ring *shared;
static uint64_t thread_value, thread_lost;

static void *reading_thread(void *arg)
{
	return (void *)(intptr_t)shmkit_ring_reader_wait(arg, &thread_value, 1, &thread_lost,
							 10000 * NS_PER_MS);
}

static void expect_woken(pthread_t thread, int expected)
{
	void *result;

	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((int)(intptr_t)result, expected);
}

static void test_reader_wait_woken_or_timed_out(void **state)
{
	static const int64_t times[] = { 0, 3 * NS_PER_MS, 120 * NS_PER_MS };
	struct shmkit_ring_reader *reader;
	pthread_t thread;

	(void)state;
	shared = make_ring(4);
	reader = read_from(shared, SHMKIT_READ_FROM_OLDEST);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t value = 4711, before = test_now_ns();

		assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, NULL, times[i]), -ETIMEDOUT);
		assert_in_range(test_now_ns() - before, (uint64_t)times[i], 5000 * NS_PER_MS);
		assert_int_equal(value, 4711);
	}
	for (uint64_t i = 0; i < 5; i++) {
		assert_int_equal(pthread_create(&thread, NULL, reading_thread, reader), 0);
		test_sleep_ms(20);
		push_next(shared, 1);
		expect_woken(thread, 1);
		assert_int_equal(thread_value, i);
		assert_int_equal(thread_lost, 0);
	}
	push_next(shared, 6);
	assert_int_equal(shmkit_ring_reader_wait(reader, &thread_value, 1, &thread_lost, 0), 1);
	assert_int_equal(thread_value, 7);
	assert_int_equal(thread_lost, 2);
	assert_int_equal(shmkit_ring_reader_seek(reader, 11), 0);
	assert_int_equal(pthread_create(&thread, NULL, reading_thread, reader), 0);
	test_sleep_ms(20);
	assert_int_equal(shmkit_segment_interrupt(segment), 0);
	expect_woken(thread, -ECANCELED);
	assert_int_equal(pthread_create(&thread, NULL, reading_thread, reader), 0);
	test_sleep_ms(20);
	assert_int_equal(shmkit_ring_shutdown(shared), 0);
	expect_woken(thread, -ESHUTDOWN);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(shared);
}

/* A loss met while nothing could be read is told with the next elements. */
static void test_reader_wait_loss_before_timeout_told_later(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shmkit_ring_reader *reader = read_from(ring, SHMKIT_READ_FROM_OLDEST);
	uint64_t value, lost = 4711;

	(void)state;
	push_next(ring, 3);
	ring->shm->write_next = 3 + 4;
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, NS_PER_MS), -ETIMEDOUT);
	assert_int_equal(lost, 4711);
	push_next(ring, 1);
	assert_int_equal(shmkit_ring_reader_wait(reader, &value, 1, &lost, -1), 1);
	assert_int_equal(value, 3);
	assert_int_equal(lost, 3);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

/* ---- threads: torn copies would show ---- */

struct wide {
	uint64_t position, repeated[24];
};

static bool stop;

static void *overwriting_thread(void *arg)
{
	(void)arg;
	for (uint64_t position = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED);) {
		struct wide wide[3];
		uint64_t count = 1 + position % 3;

		for (uint64_t i = 0; i < count; i++) {
			wide[i].position = position + i;
			for (unsigned k = 0; k < 24; k++)
				wide[i].repeated[k] = position + i;
		}
		if (shmkit_ring_push_overwrite(shared, wide, (size_t)count) < 0)
			return (void *)1;
		position += count;
	}
	return NULL;
}

static void expect_whole(const struct wide *wide, uint64_t position)
{
	assert_int_equal(wide->position, position);
	for (unsigned k = 0; k < 24; k++)
		assert_int_equal(wide->repeated[k], position);
}

static void test_threads_overwritten_never_torn(void **state)
{
	struct shmkit_ring_reader *reader;
	struct wide wide[8];
	uint64_t next = 0, popped = 0, until = test_now_ns() + 400 * NS_PER_MS, element;
	pthread_t thread;

	(void)state;
	stop = false;
	assert_int_equal(shmkit_ring_create(segment, "wide", sizeof(struct wide), 8, NULL, &shared), 0);
	reader = read_from(shared, SHMKIT_READ_FROM_OLDEST);
	assert_int_equal(pthread_create(&thread, NULL, overwriting_thread, NULL), 0);
	while (test_now_ns() < until) {
		uint64_t lost = 0;
		int64_t n = shmkit_ring_reader_read(reader, wide, 1 + next % 8, &lost);

		assert_in_range(n, 0, 8);
		next += lost;
		for (int64_t i = 0; i < n; i++)
			expect_whole(&wide[i], next++);
		n = shmkit_ring_last(shared, wide, 1 + next % 8);
		assert_in_range(n, 0, 8);
		for (int64_t i = 1; i <= n; i++)
			expect_whole(&wide[n - i], wide[n - 1].position + 1 - (uint64_t)i);
		n = shmkit_ring_pop_bulk(shared, wide, 1 + next % 4);
		assert_in_range(n, 0, 4);
		for (int64_t i = 0; i < n; i++)
			expect_whole(&wide[i], wide[0].position + (uint64_t)i);
		popped += (uint64_t)n;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	assert_int_equal(pthread_join(thread, (void **)&element), 0);
	assert_int_equal(element, 0);
	assert_int_equal(popped + shmkit_ring_total_dropped(shared) + shmkit_ring_size(shared),
			 shmkit_ring_total_pushed(shared));
	assert_true(popped > 0 && next > 0);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(shared);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_call_bad_argument_einval),
		TEST(test_every_call_removed_estale),
		TEST(test_last_fewer_than_held_newest_in_order),
		TEST(test_last_element_wider_than_its_size_packed),
		TEST(test_last_push_under_way_doubtful_ones_left_out),
		TEST(test_reader_from_oldest_or_newest_begins_there),
		TEST(test_reader_lapped_lost_exactly_once_told),
		TEST(test_reader_random_every_position_read_or_lost),
		TEST(test_reader_seek_back_forth_or_too_far),
		TEST(test_reader_ring_and_segment_closed_first_reads_on),
		TEST(test_reader_read_only_segment_works),
		TEST(test_reader_shutdown_reads_to_the_end),
		TEST(test_reader_read_only_push_of_the_dead_is_no_hindrance),
		TEST(test_reader_read_only_shutdown_half_done_is_the_end),
		TEST(test_reader_wait_loss_at_the_end_told_with_eshutdown),
		TEST(test_reader_wait_woken_or_timed_out),
		TEST(test_reader_wait_loss_before_timeout_told_later),
		TEST(test_threads_overwritten_never_torn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
