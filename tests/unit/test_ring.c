/*
 * Ring: making, pushing, popping, roles, shutdown, waits: every call and every error it may return,
 * within one process (and its forked children). Wrap-around is started near by setting the words;
 * what a death leaves is set up the same way; hostile bytes are written into the words, after which
 * every call must still return. Observers: test_ring_readers.c.
 */
#include "support.h"

#include "ring.h"

#include <shmkit/queue.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("ring"));
	return shmkit_segment_create(segment_name, 4 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_ring *make_ring_of(uint32_t element_size, uint64_t capacity, uint32_t flags)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .flags = flags };
	struct shmkit_ring *ring = NULL;

	assert_int_equal(shmkit_ring_create(segment, "r", element_size, capacity, &options, &ring), 0);
	return ring;
}

static struct shmkit_ring *make_ring(uint64_t capacity)
{
	return make_ring_of(8, capacity, 0);
}

static void remove_ring(struct shmkit_ring *ring)
{
	shmkit_ring_close(ring);
	assert_int_equal(shmkit_segment_remove(segment, "r"), 0);
}

static struct shmkit_ring *open_ring(struct shmkit_segment *from)
{
	struct shmkit_ring *ring = NULL;

	assert_int_equal(shmkit_ring_open(from, "r", 0, &ring), 0);
	return ring;
}

/* A member of its own: the same process may open a segment again. */
static struct shmkit_segment *open_segment(uint32_t flags)
{
	struct shmkit_segment *other = NULL;

	assert_int_equal(shmkit_segment_open(segment_name, flags, &other), 0);
	return other;
}

static void put(struct shmkit_ring *ring, uint64_t value)
{
	assert_int_equal(shmkit_ring_push(ring, &value), 0);
}

static void expect_next(struct shmkit_ring *ring, uint64_t expected)
{
	uint64_t value = 0;

	assert_int_equal(shmkit_ring_pop(ring, &value), 0);
	assert_int_equal(value, expected);
}

static void expect_pop(struct shmkit_ring *ring, int expected)
{
	uint64_t value = 4711;

	assert_int_equal(shmkit_ring_pop(ring, &value), expected);
	assert_int_equal(value, 4711);
}

static void expect_push(struct shmkit_ring *ring, int expected)
{
	uint64_t value = 0, before = shmkit_ring_total_pushed(ring);

	assert_int_equal(shmkit_ring_push(ring, &value), expected);
	assert_int_equal(shmkit_ring_push_overwrite(ring, &value, 1), expected == -EAGAIN ? 1 : expected);
	assert_int_equal(shmkit_ring_total_pushed(ring), before + (expected == -EAGAIN));
}

/* A ring that nobody uses, moved to a position, with so many dropped. */
static void move_to(struct shmkit_ring *ring, uint64_t position, uint64_t dropped)
{
	ring->shm->write_index = ring->shm->write_next = position;
	ring->shm->sharing = SHK_RING_SHARED;
	ring->shm->read_word = shk_ring_read_word((uint32_t)dropped, position);
	ring->shm->dropped_base = dropped > UINT64_C(1) << 29 ? dropped - (UINT64_C(1) << 29) : 0;
	ring->known_read_index = position;
	ring->last_view = (struct shk_ring_view){ 0 };
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_int_equal(shmkit_ring_total_pushed(ring), position);
	assert_int_equal(shmkit_ring_total_dropped(ring), dropped);
}

/* ---- life ---- */

static void test_create_bad_argument_einval(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options) };
	struct shmkit_ring *ring = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_ring_create(NULL, "r", 8, 4, NULL, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_create(segment, NULL, 8, 4, NULL, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_create(segment, "", 8, 4, NULL, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 4, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_ring_create(segment, "r", 0, 4, NULL, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_create(segment, "r", (1u << 30) + 1, 4, NULL, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 0, NULL, &ring), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "a ring of 0 elements"));
	assert_int_equal(shmkit_ring_create(segment, "r", 8, UINT64_C(1) << 31, NULL, &ring), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "2147483648"));
	assert_int_equal(shmkit_ring_create(segment, "r", 8, UINT64_MAX, NULL, &ring), -EINVAL);
	options.flags = 1 << 2;
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 4, &options, &ring), -EINVAL);
	options.flags = 0;
	options.alignment = 24;
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 4, &options, &ring), -EINVAL);
	options.alignment = 0;
	options.struct_size = 4;
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 4, &options, &ring), -EINVAL);
	options.struct_size = sizeof(options);
	options.schema = "a:u32";
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 4, &options, &ring), -EINVAL);
	assert_ptr_equal(ring, UNTOUCHED);
}

static void test_create_taken_or_no_space_refused(void **state)
{
	struct shmkit_ring *ring = UNTOUCHED, *first = make_ring(4);

	(void)state;
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 4, NULL, &ring), -EEXIST);
	assert_int_equal(shmkit_ring_create(segment, "a-name-of-more-than-thirty-one-bytes", 8, 4, NULL,
					    &ring), -ENAMETOOLONG);
	assert_int_equal(shmkit_ring_create(segment, "big", 8, 1 << 24, NULL, &ring), -ENOSPC);
	assert_int_equal(shmkit_ring_create(segment, "big", 1 << 30, (UINT64_C(1) << 31) - 1, NULL, &ring),
			 -ENOSPC);
	assert_ptr_equal(ring, UNTOUCHED);
	shmkit_ring_close(first);
}

static void test_open_missing_or_other_shape_refused(void **state)
{
	struct shmkit_ring *ring = UNTOUCHED, *first;
	struct shmkit_queue *queue = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_ring_open(segment, "r", 8, &ring), -ENOENT);
	first = make_ring(4);
	assert_int_equal(shmkit_ring_open(segment, "r", 4, &ring), -EPROTOTYPE);
	assert_int_equal(shmkit_queue_open(segment, "r", 8, &queue), -EPROTOTYPE);
	assert_int_equal(shmkit_ring_open(NULL, "r", 8, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_open(segment, NULL, 8, &ring), -EINVAL);
	assert_int_equal(shmkit_ring_open(segment, "r", 8, NULL), -EINVAL);
	assert_ptr_equal(ring, UNTOUCHED);
	assert_int_equal(shmkit_ring_open(segment, "r", 8, &ring), 0);
	shmkit_ring_close(ring);
	shmkit_ring_close(first);
}

static void test_open_or_create_other_shape_eprototype(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options),
						 .flags = SHMKIT_RING_MULTI_CONSUMER };
	struct shmkit_ring *first = NULL, *ring = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 5, &options, &first), 1);
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 6, &options, &ring), -EPROTOTYPE);
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 16, 5, &options, &ring), -EPROTOTYPE);
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 5, NULL, &ring), -EPROTOTYPE);
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 0, &options, &ring), -EINVAL);
	assert_ptr_equal(ring, UNTOUCHED);
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 5, &options, &ring), 0);
	put(first, 7);
	expect_next(ring, 7);
	shmkit_ring_close(ring);
	shmkit_ring_close(first);
}

static void test_figures_any_capacity_exact(void **state)
{
	static const uint64_t capacities[] = { 1, 2, 3, 5, 64, 100, 1023 };

	(void)state;
	for (unsigned i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct shmkit_entry_info info = { .struct_size = sizeof(info) };
		struct shmkit_ring *ring = make_ring_of(12, capacities[i], SHMKIT_RING_MULTI_PRODUCER);
		unsigned char element[12] = { 0 };

		for (uint64_t n = 0; n < capacities[i]; n++) {
			assert_int_equal(shmkit_ring_size(ring), n);
			assert_int_equal(shmkit_ring_push(ring, element), 0);
		}
		assert_int_equal(shmkit_ring_push(ring, element), -EAGAIN);
		assert_int_equal(shmkit_ring_capacity(ring), capacities[i]);
		assert_int_equal(shmkit_ring_size(ring), capacities[i]);
		assert_int_equal(shmkit_ring_element_size(ring), 12);
		assert_int_equal(shmkit_ring_total_pushed(ring), capacities[i]);
		assert_int_equal(shmkit_ring_total_dropped(ring), 0);
		assert_int_equal(shmkit_ring_get_info(ring, &info), 0);
		assert_int_equal(info.kind, SHMKIT_KIND_RING);
		assert_int_equal(info.capacity, capacities[i]);
		assert_int_equal(info.used, capacities[i]);
		assert_int_equal(info.flags, SHMKIT_RING_MULTI_PRODUCER);
		assert_int_equal(shmkit_segment_check(segment), 0);
		remove_ring(ring);
	}
}

static void test_every_call_null_einval(void **state)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_ring *ring = make_ring(4);
	uint64_t value = 0;

	(void)state;
	shmkit_ring_close(NULL);
	assert_int_equal(shmkit_ring_get_info(NULL, &info), -EINVAL);
	assert_int_equal(shmkit_ring_get_info(ring, NULL), -EINVAL);
	assert_int_equal(shmkit_ring_capacity(NULL), 0);
	assert_int_equal(shmkit_ring_size(NULL), 0);
	assert_int_equal(shmkit_ring_element_size(NULL), 0);
	assert_int_equal(shmkit_ring_total_pushed(NULL), 0);
	assert_int_equal(shmkit_ring_total_dropped(NULL), 0);
	assert_non_null(strstr(shmkit_last_error(), "shmkit_ring_total_dropped"));
	assert_int_equal(shmkit_ring_push(NULL, &value), -EINVAL);
	assert_int_equal(shmkit_ring_push(ring, NULL), -EINVAL);
	assert_non_null(strstr(shmkit_last_error(), "shmkit_ring_push"));
	assert_int_equal(shmkit_ring_push_bulk(NULL, &value, 1), -EINVAL);
	assert_int_equal(shmkit_ring_push_bulk(ring, NULL, 1), -EINVAL);
	assert_int_equal(shmkit_ring_push_bulk_wait(NULL, &value, 1, 0), -EINVAL);
	assert_int_equal(shmkit_ring_push_bulk_wait(ring, NULL, 1, 0), -EINVAL);
	assert_int_equal(shmkit_ring_push_overwrite(NULL, &value, 1), -EINVAL);
	assert_int_equal(shmkit_ring_push_overwrite(ring, NULL, 1), -EINVAL);
	assert_int_equal(shmkit_ring_pop(NULL, &value), -EINVAL);
	assert_int_equal(shmkit_ring_pop(ring, NULL), -EINVAL);
	assert_int_equal(shmkit_ring_pop_bulk(NULL, &value, 1), -EINVAL);
	assert_int_equal(shmkit_ring_pop_wait(NULL, &value, 0), -EINVAL);
	assert_int_equal(shmkit_ring_pop_wait(ring, NULL, 0), -EINVAL);
	assert_int_equal(shmkit_ring_pop_bulk_wait(NULL, &value, 1, 0), -EINVAL);
	assert_int_equal(shmkit_ring_shutdown(NULL), -EINVAL);
	/* nothing to copy needs no place */
	assert_int_equal(shmkit_ring_push_bulk(ring, NULL, 0), 0);
	assert_int_equal(shmkit_ring_push_bulk_wait(ring, NULL, 0, -1), 0);
	assert_int_equal(shmkit_ring_push_overwrite(ring, NULL, 0), 0);
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 0), 0);
	assert_int_equal(shmkit_ring_pop_bulk_wait(ring, NULL, 0, -1), 0);
	assert_int_equal(shmkit_ring_total_pushed(ring), 0);
	shmkit_ring_close(ring);
}

static void test_every_call_removed_estale(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	uint64_t value = 0;

	(void)state;
	put(ring, 1);
	assert_int_equal(shmkit_segment_remove(segment, "r"), 0);
	assert_int_equal(shmkit_ring_push(ring, &value), -ESTALE);
	assert_int_equal(shmkit_ring_push_bulk(ring, &value, 1), -ESTALE);
	assert_int_equal(shmkit_ring_push_bulk_wait(ring, &value, 1, -1), -ESTALE);
	assert_int_equal(shmkit_ring_push_overwrite(ring, &value, 1), -ESTALE);
	assert_int_equal(shmkit_ring_pop(ring, &value), -ESTALE);
	assert_int_equal(shmkit_ring_pop_bulk(ring, &value, 1), -ESTALE);
	assert_int_equal(shmkit_ring_pop_wait(ring, &value, -1), -ESTALE);
	assert_int_equal(shmkit_ring_pop_bulk_wait(ring, &value, 1, -1), -ESTALE);
	assert_int_equal(shmkit_ring_shutdown(ring), -ESTALE);
	assert_int_equal(shmkit_ring_size(ring), 0);
	assert_int_equal(shmkit_ring_total_pushed(ring), 0);
	assert_int_equal(shmkit_ring_total_dropped(ring), 0);
	shmkit_ring_close(ring);
}

static void test_read_only_writers_erofs(void **state)
{
	struct shmkit_ring *ring = make_ring(4), *seen;
	struct shmkit_segment *observer = open_segment(SHMKIT_READ_ONLY);
	uint64_t value = 0;

	(void)state;
	put(ring, 1);
	put(ring, 2);
	seen = open_ring(observer);
	assert_int_equal(shmkit_ring_push(seen, &value), -EROFS);
	assert_int_equal(shmkit_ring_push_bulk(seen, &value, 1), -EROFS);
	assert_int_equal(shmkit_ring_push_bulk(seen, &value, 0), -EROFS);
	assert_int_equal(shmkit_ring_push_bulk_wait(seen, &value, 1, -1), -EROFS);
	assert_int_equal(shmkit_ring_push_bulk_wait(seen, &value, 0, -1), -EROFS);
	assert_int_equal(shmkit_ring_push_overwrite(seen, &value, 1), -EROFS);
	assert_int_equal(shmkit_ring_pop(seen, &value), -EROFS);
	assert_int_equal(shmkit_ring_pop_bulk(seen, &value, 1), -EROFS);
	assert_int_equal(shmkit_ring_pop_wait(seen, &value, -1), -EROFS);
	assert_int_equal(shmkit_ring_pop_bulk_wait(seen, &value, 1, -1), -EROFS);
	assert_int_equal(shmkit_ring_pop_bulk_wait(seen, &value, 0, -1), -EROFS);
	assert_int_equal(shmkit_ring_shutdown(seen), -EROFS);
	assert_int_equal(shmkit_ring_size(seen), 2);
	assert_int_equal(shmkit_ring_total_pushed(seen), 2);
	assert_int_equal(shmkit_ring_total_dropped(seen), 0);
	assert_int_equal(shmkit_ring_capacity(seen), 4);
	assert_int_equal(shmkit_segment_check(observer), 0);
	shmkit_ring_close(seen);
	shmkit_segment_close(observer);
	expect_next(ring, 1);
	shmkit_ring_close(ring);
}

/* ---- pushing and popping ---- */

static void fill(unsigned char *element, size_t size, uint64_t value)
{
	for (size_t i = 0; i < size; i++)
		element[i] = (unsigned char)(value * 31 + i * 7 + 1);
}

static void expect_filled(const unsigned char *element, size_t size, uint64_t value)
{
	for (size_t i = 0; i < size; i++)
		assert_int_equal(element[i], (unsigned char)(value * 31 + i * 7 + 1));
}

static void push_pop_elements(struct shmkit_ring *ring, uint32_t size)
{
	unsigned char elements[3][200], guard[200];
	uint64_t in = 0, out = 0;

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 3; i++)
			fill(elements[i], size, in + i);
		for (unsigned i = 0; i < 3; i++)
			memmove((unsigned char *)elements + i * size, elements[i], size);
		assert_int_equal(shmkit_ring_push_bulk(ring, elements, 3), 3);
		in += 3;
		memset(guard, 0xee, sizeof(guard));
		assert_int_equal(shmkit_ring_pop(ring, guard), 0);
		expect_filled(guard, size, out++);
		for (size_t i = size; i < sizeof(guard); i++)
			assert_int_equal(guard[i], 0xee);
		assert_int_equal(shmkit_ring_pop_bulk(ring, elements, 5), 2);
		for (unsigned i = 0; i < 2; i++)
			expect_filled((unsigned char *)elements + i * size, size, out++);
	}
}

static void test_elements_size_1_to_200_whole_and_aligned(void **state)
{
	static const uint32_t alignments[] = { 0, 1, 8, 64, 256 };

	(void)state;
	for (uint32_t size = 1; size <= 200; size++) {
		struct shmkit_object_options options = { .struct_size = sizeof(options),
							 .alignment = alignments[size % 5] };
		struct shmkit_ring *ring = NULL;

		assert_int_equal(shmkit_ring_create(segment, "r", size, 4 + size % 3, &options, &ring), 0);
		assert_true(ring->stride >= size);
		if (options.alignment) {
			assert_int_equal((uintptr_t)ring->elements % options.alignment, 0);
			assert_int_equal(ring->stride % options.alignment, 0);
		}
		push_pop_elements(ring, size);
		remove_ring(ring);
	}
}

static void test_push_full_and_pop_empty_eagain_and_fifo(void **state)
{
	struct shmkit_ring *ring = make_ring(3);
	uint64_t value = 0;

	(void)state;
	expect_pop(ring, -EAGAIN);
	assert_non_null(strstr(shmkit_last_error(), "empty"));
	assert_int_equal(shmkit_ring_pop_bulk(ring, &value, 1), 0);
	for (uint64_t i = 1; i <= 3; i++)
		put(ring, i);
	assert_int_equal(shmkit_ring_push(ring, &value), -EAGAIN);
	assert_non_null(strstr(shmkit_last_error(), "full"));
	assert_int_equal(shmkit_ring_push_bulk(ring, &value, 1), 0);
	expect_next(ring, 1);
	put(ring, 4);
	assert_int_equal(shmkit_ring_push(ring, &value), -EAGAIN);
	for (uint64_t i = 2; i <= 4; i++)
		expect_next(ring, i);
	expect_pop(ring, -EAGAIN);
	assert_int_equal(shmkit_ring_total_pushed(ring), 4);
	shmkit_ring_close(ring);
}

static void test_pop_bulk_null_skips(void **state)
{
	struct shmkit_ring *ring = make_ring(5);

	(void)state;
	for (uint64_t i = 0; i < 5; i++)
		put(ring, i);
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 2), 2);
	expect_next(ring, 2);
	assert_int_equal(shmkit_ring_pop_bulk_wait(ring, NULL, SIZE_MAX, -1), 2);
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 1), 0);
	shmkit_ring_close(ring);
}

/* Random bulks against a model that is two counters. */
static void bulks(struct shmkit_ring *ring, unsigned rounds)
{
	uint64_t capacity = shmkit_ring_capacity(ring), first = shmkit_ring_total_pushed(ring);
	uint64_t in = first, out = first, values[32];

	for (unsigned round = 0; round < rounds; round++) {
		size_t count = test_random_below(24);
		uint64_t expected;

		for (size_t i = 0; i < count; i++)
			values[i] = in + i;
		expected = capacity - (in - out) < count ? capacity - (in - out) : count;
		assert_int_equal(shmkit_ring_push_bulk(ring, values, count), expected);
		in += expected;
		assert_int_equal(shmkit_ring_size(ring), in - out);
		count = test_random_below(24);
		expected = in - out < count ? in - out : count;
		assert_int_equal(shmkit_ring_pop_bulk(ring, values, count), expected);
		for (size_t i = 0; i < expected; i++)
			assert_int_equal(values[i], out + i);
		out += expected;
		assert_int_equal(shmkit_ring_total_pushed(ring), in);
	}
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void test_bulk_across_every_wrap_in_order(void **state)
{
	static const uint64_t capacities[] = { 1, 2, 3, 7, 8, 13, 16, 21 };

	(void)state;
	for (unsigned i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct shmkit_ring *ring = make_ring(capacities[i]);

		bulks(ring, 300);
		/* the 32 bits of the read index wrap */
		move_to(ring, (UINT64_C(1) << 32) - 40, 0);
		bulks(ring, 100);
		assert_true(shmkit_ring_total_pushed(ring) > UINT64_C(1) << 32);
		move_to(ring, (UINT64_C(5) << 32) - 40, 0);
		bulks(ring, 100);
		assert_true(shmkit_ring_total_pushed(ring) > UINT64_C(5) << 32);
		remove_ring(ring);
	}
}

/* ---- overwriting ---- */

/* Random calls against a model; the identity holds after each. */
static void overwrites(struct shmkit_ring *ring, unsigned rounds)
{
	uint64_t capacity = shmkit_ring_capacity(ring);
	uint64_t in = shmkit_ring_total_pushed(ring), out = in - shmkit_ring_size(ring);
	uint64_t dropped = shmkit_ring_total_dropped(ring), values[64];

	for (unsigned round = 0; round < rounds; round++) {
		size_t count = test_random_below(3 * capacity < 64 ? 3 * capacity : 64);
		uint64_t lost;

		for (size_t i = 0; i < count; i++)
			values[i] = in + i;
		lost = in + count - out > capacity ? in + count - out - capacity : 0;
		assert_int_equal(shmkit_ring_push_overwrite(ring, values, count), lost);
		in += count;
		out += lost;
		dropped += lost;
		assert_int_equal(shmkit_ring_total_pushed(ring), in);
		assert_int_equal(shmkit_ring_total_dropped(ring), dropped);
		assert_int_equal(shmkit_ring_size(ring), in - out);
		count = test_random_below(capacity + 1);
		lost = in - out < count ? in - out : count;
		assert_int_equal(shmkit_ring_pop_bulk(ring, values, count), lost);
		for (size_t i = 0; i < lost; i++)
			assert_int_equal(values[i], out + i);
		out += lost;
	}
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void test_push_overwrite_any_count_accounted_exactly(void **state)
{
	static const uint64_t capacities[] = { 1, 2, 3, 8, 11 };

	(void)state;
	for (unsigned i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		struct shmkit_ring *ring = make_ring(capacities[i]);

		overwrites(ring, 300);
		/* both halves of the word wrap, and the base must follow */
		move_to(ring, (UINT64_C(7) << 32) - 60, (UINT64_C(3) << 32) - 30);
		overwrites(ring, 200);
		assert_true(shmkit_ring_total_dropped(ring) > UINT64_C(3) << 32);
		move_to(ring, (UINT64_C(9) << 32) - 60, (UINT64_C(3) << 32) - (UINT64_C(1) << 31));
		ring->shm->dropped_base = (UINT64_C(3) << 32) - (UINT64_C(1) << 31) - (UINT64_C(1) << 30);
		overwrites(ring, 50);
		assert_true(ring->shm->dropped_base >= (UINT64_C(3) << 32) - (UINT64_C(1) << 31));
		remove_ring(ring);
	}
}

/* The read index is the consumer's own until the first drop, and is at the same place behind it. */
static void test_push_overwrite_first_drop_shares_the_read_index(void **state)
{
	struct shmkit_ring *ring = make_ring(4), *several;

	(void)state;
	for (uint64_t i = 0; i < 7; i++) {
		put(ring, i);
		expect_next(ring, i);
	}
	for (uint64_t i = 7; i < 11; i++)
		put(ring, i);
	assert_int_equal(ring->shm->sharing, SHK_RING_ALONE);
	assert_int_equal(shmkit_ring_push_overwrite(ring, &(uint64_t){ 11 }, 1), 1);
	assert_int_equal(ring->shm->sharing, UINT64_C(7) << 2 | SHK_RING_SHARED);
	assert_int_equal(shmkit_ring_total_dropped(ring), 1);
	assert_int_equal(shmkit_ring_size(ring), 4);
	for (uint64_t i = 8; i < 12; i++)
		expect_next(ring, i);
	expect_pop(ring, -EAGAIN);
	assert_int_equal(shmkit_segment_check(segment), 0);
	remove_ring(ring);
	/* one who died in it: the consumer goes on */
	ring = make_ring(4);
	put(ring, 0);
	put(ring, 1);
	expect_next(ring, 0);
	ring->shm->sharing = SHK_RING_SHARING;
	expect_next(ring, 1);
	assert_int_equal(ring->shm->sharing, UINT64_C(2) << 2 | SHK_RING_SHARED);
	expect_pop(ring, -EAGAIN);
	remove_ring(ring);
	several = make_ring_of(8, 4, SHMKIT_RING_MULTI_CONSUMER);
	assert_int_equal(shmkit_ring_push_overwrite(several, (uint64_t[5]){ 0 }, 5), 1);
	assert_int_equal(several->shm->sharing, SHK_RING_ALONE);
	remove_ring(several);
}

static void test_push_overwrite_more_than_capacity_the_last_stay(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	uint64_t values[11];

	(void)state;
	put(ring, 100);
	for (uint64_t i = 0; i < 11; i++)
		values[i] = i;
	assert_int_equal(shmkit_ring_push_overwrite(ring, values, 11), 1 + 7);
	assert_int_equal(shmkit_ring_total_pushed(ring), 12);
	assert_int_equal(shmkit_ring_total_dropped(ring), 8);
	for (uint64_t i = 7; i < 11; i++)
		expect_next(ring, i);
	expect_pop(ring, -EAGAIN);
	shmkit_ring_close(ring);
}

/*
 * What a handle remembers of its last pop must not be taken for the present when both halves of the
 * read word have come round to what they were.
 */
static void test_pop_words_come_round_looks_again(void **state)
{
	struct shmkit_ring *ring = make_ring(3);
	uint64_t round = UINT64_C(1) << 32;

	(void)state;
	ring->shm->sharing = SHK_RING_SHARED;
	for (uint64_t i = 0; i < 3; i++)
		put(ring, i);
	expect_next(ring, 0);
	/* 2^32 were pushed and dropped: position 1 + 2^32 lies in another slot than 1 */
	assert_int_not_equal(shk_ring_slot(ring, 1), shk_ring_slot(ring, 1 + round));
	ring->shm->write_index += round;
	ring->shm->write_next += round;
	ring->shm->dropped_base += round;
	for (uint64_t i = 1; i < 3; i++)
		memcpy(ring->elements + shk_ring_slot(ring, i + round) * 8, &(uint64_t){ 10 + i }, 8);
	expect_next(ring, 11);
	/* 2^32 were popped by another consumer, whose role is free again */
	ring->shm->write_index += round;
	ring->shm->write_next += round;
	ring->shm->consumer_role &= ~(SHK_LOCK_HELD | SHK_OWNER_MASK);
	memcpy(ring->elements + shk_ring_slot(ring, 2 + 2 * round) * 8, &(uint64_t){ 20 }, 8);
	expect_next(ring, 20);
	expect_pop(ring, -EAGAIN);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_ring_close(ring);
}

/* ---- roles ---- */

static void test_push_role_held_by_another_ebusy(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring(8), *other = open_ring(second);
	char holder[64];

	(void)state;
	put(ring, 1);
	expect_push(other, -EBUSY);
	snprintf(holder, sizeof(holder), "process %d", (int)getpid());
	assert_non_null(strstr(shmkit_last_error(), holder));
	assert_non_null(strstr(shmkit_last_error(), "SHMKIT_RING_MULTI_PRODUCER"));
	assert_int_equal(shmkit_ring_push_bulk(other, &(uint64_t){ 0 }, 1), -EBUSY);
	assert_int_equal(shmkit_ring_push_bulk_wait(other, &(uint64_t){ 0 }, 1, -1), -EBUSY);
	/* the ends are two roles */
	expect_next(other, 1);
	put(ring, 2);
	expect_pop(ring, -EBUSY);
	assert_non_null(strstr(shmkit_last_error(), "SHMKIT_RING_MULTI_CONSUMER"));
	assert_int_equal(shmkit_ring_pop_bulk(ring, NULL, 1), -EBUSY);
	assert_int_equal(shmkit_ring_pop_wait(ring, &(uint64_t){ 0 }, -1), -EBUSY);
	assert_int_equal(shmkit_ring_pop_bulk_wait(ring, NULL, 1, -1), -EBUSY);
	expect_next(other, 2);
	shmkit_ring_close(ring);
	put(other, 3);
	ring = open_ring(segment);
	expect_push(ring, -EBUSY);
	expect_pop(ring, -EBUSY);
	shmkit_ring_close(other);
	expect_next(ring, 3);
	put(ring, 4);
	shmkit_ring_close(ring);
	shmkit_segment_close(second);
}

static void test_role_two_handles_of_one_member_shared(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring(8), *same = open_ring(segment), *other = open_ring(second);

	(void)state;
	put(ring, 1);
	put(same, 2);
	expect_next(same, 1);
	expect_next(ring, 2);
	shmkit_ring_close(same);
	expect_push(other, -EBUSY);
	shmkit_ring_close(ring);
	put(other, 3);
	expect_next(other, 3);
	shmkit_ring_close(other);
	shmkit_segment_close(second);
}

static void test_role_reader_stays_role_goes(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring(8), *other = open_ring(second);
	struct shmkit_ring_reader *reader = NULL;

	(void)state;
	put(ring, 1);
	assert_int_equal(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_OLDEST, &reader), 0);
	shmkit_ring_close(ring);
	put(other, 2);
	shmkit_ring_reader_close(reader);
	expect_next(other, 1);
	shmkit_ring_close(other);
	shmkit_segment_close(second);
}

static void test_role_many_by_flag_no_ebusy(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring_of(8, 8, SHMKIT_RING_MULTI_PRODUCER |
						      SHMKIT_RING_MULTI_CONSUMER);
	struct shmkit_ring *other = open_ring(second);

	(void)state;
	for (uint64_t i = 0; i < 20; i += 2) {
		put(ring, i);
		put(other, i + 1);
		expect_next(other, i);
		expect_next(ring, i + 1);
	}
	shmkit_ring_close(other);
	shmkit_ring_close(ring);
	shmkit_segment_close(second);
}

static struct shmkit_ring *inherited;

static int push_and_die(void *arg)
{
	(void)arg;
	put(inherited, 1);
	put(inherited, 2);
	expect_next(inherited, 1);
	/* dies in its third push, as far as anybody can see */
	inherited->shm->pushing = 1;
	inherited->shm->write_next += 3;
	kill(getpid(), SIGKILL);
	return 1;
}

static void test_role_of_the_dead_taken_over(void **state)
{
	(void)state;
	inherited = make_ring(4);
	assert_int_equal(test_wait_exit(test_fork(push_and_die, NULL), 10000), -SIGKILL);
	assert_int_equal(inherited->shm->pushing, 1);
	put(inherited, 3);
	assert_int_equal(inherited->shm->pushing, 0);
	/* what the dead had begun to overwrite stays doubtful: 2 + 3 were announced */
	assert_int_equal(inherited->shm->write_next, 5);
	expect_next(inherited, 2);
	expect_next(inherited, 3);
	bulks(inherited, 20);
	shmkit_ring_close(inherited);
}

static int find_role_taken(void *arg)
{
	(void)arg;
	expect_push(inherited, -EBUSY);
	expect_pop(inherited, -EBUSY);
	shmkit_ring_close(inherited);
	return 0;
}

static void test_fork_child_role_of_the_parent_ebusy(void **state)
{
	(void)state;
	inherited = make_ring(4);
	put(inherited, 1);
	put(inherited, 2);
	expect_next(inherited, 1);
	assert_int_equal(test_wait_exit(test_fork(find_role_taken, NULL), 10000), 0);
	/* nor has the child given it back */
	put(inherited, 3);
	expect_next(inherited, 2);
	shmkit_ring_close(inherited);
}

/* Multi-producer: stopped in a push. Held by a member that is alive but does not go on. */
static void test_push_role_not_given_back_ebusy_after_a_slice(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring_of(8, 4, SHMKIT_RING_MULTI_PRODUCER);
	struct shmkit_ring *other = open_ring(second);
	uint64_t word, value = 0, before;

	(void)state;
	assert_int_equal(shk_lock_word_acquire(second, &other->shm->producer_role, 0, "it", &word), 0);
	before = test_now_ns();
	assert_int_equal(shmkit_ring_push(ring, &value), -EBUSY);
	assert_in_range(test_now_ns() - before, 40 * NS_PER_MS, 5000 * NS_PER_MS);
	assert_non_null(strstr(shmkit_last_error(), "does not go on"));
	shk_lock_word_release(&other->shm->producer_role, word);
	put(ring, 1);
	shmkit_ring_close(other);
	shmkit_ring_close(ring);
	shmkit_segment_close(second);
}

/* ---- the end ---- */

static void test_shutdown_producers_refused_consumers_drain(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring(4), *other = open_ring(second);
	uint64_t value = 4711;

	(void)state;
	put(ring, 1);
	put(ring, 2);
	put(ring, 3);
	assert_int_equal(shmkit_ring_shutdown(other), 0);
	assert_int_equal(shmkit_ring_shutdown(other), 0);
	expect_push(ring, -ESHUTDOWN);
	expect_push(other, -ESHUTDOWN);
	assert_int_equal(shmkit_ring_push_bulk(ring, &value, 1), -ESHUTDOWN);
	assert_int_equal(shmkit_ring_push_bulk_wait(ring, &value, 1, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_ring_push_bulk(ring, &value, 0), 0);
	expect_next(ring, 1);
	assert_int_equal(shmkit_ring_pop_wait(ring, &value, 0), 0);
	assert_int_equal(shmkit_ring_pop_bulk(ring, &value, 1), 1);
	assert_int_equal(value, 3);
	value = 4711;
	expect_pop(ring, -ESHUTDOWN);
	assert_int_equal(shmkit_ring_pop_bulk(ring, &value, 1), -ESHUTDOWN);
	assert_int_equal(shmkit_ring_pop_wait(ring, &value, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_ring_pop_bulk_wait(ring, &value, 1, -1), -ESHUTDOWN);
	assert_int_equal(value, 4711);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_ring_close(other);
	shmkit_ring_close(ring);
	shmkit_segment_close(second);
}

/* It was begun by one who died: whoever meets it goes on. */
static void test_shutdown_left_half_done_finished_by_others(void **state)
{
	struct shmkit_ring *ring = make_ring(4);

	(void)state;
	put(ring, 1);
	ring->shm->closed = SHK_RING_CLOSING;
	expect_push(ring, -ESHUTDOWN);
	assert_int_equal(ring->shm->closed, SHK_RING_CLOSED);
	ring->shm->closed = SHK_RING_CLOSING;
	expect_next(ring, 1);
	expect_pop(ring, -ESHUTDOWN);
	assert_int_equal(ring->shm->closed, SHK_RING_CLOSED);
	shmkit_ring_close(ring);
}

/* A push that was under way when the end was called is not cut off. */
static void test_shutdown_push_under_way_waited_for(void **state)
{
	struct shmkit_segment *second = open_segment(0);
	struct shmkit_ring *ring = make_ring(4), *other = open_ring(second);
	uint64_t value;

	(void)state;
	put(other, 1);
	expect_next(ring, 1);
	other->shm->pushing = 1;
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect_pop(ring, -EAGAIN);
	assert_int_equal(shmkit_ring_pop_wait(ring, &value, 2 * NS_PER_MS), -ETIMEDOUT);
	memcpy(other->elements + 8, &(uint64_t){ 2 }, 8);
	other->shm->write_index = other->shm->write_next = 2;
	expect_next(ring, 2);
	expect_pop(ring, -EAGAIN);
	other->shm->pushing = 0;
	expect_pop(ring, -ESHUTDOWN);
	shmkit_ring_close(other);
	shmkit_ring_close(ring);
	shmkit_segment_close(second);
}

static void test_shutdown_push_of_the_dead_not_waited_for(void **state)
{
	(void)state;
	inherited = make_ring(4);
	assert_int_equal(test_wait_exit(test_fork(push_and_die, NULL), 10000), -SIGKILL);
	assert_int_equal(shmkit_ring_shutdown(inherited), 0);
	expect_next(inherited, 2);
	expect_pop(inherited, -ESHUTDOWN);
	assert_int_equal(inherited->shm->write_next, 5);
	shmkit_ring_close(inherited);
}

/* ---- waiting ---- */

static void expect_timeout(uint64_t since_ns, int64_t result, int64_t at_least_ns)
{
	assert_int_equal(result, -ETIMEDOUT);
	assert_in_range(test_now_ns() - since_ns, (uint64_t)at_least_ns,
			(uint64_t)at_least_ns + 5000 * NS_PER_MS);
}

static void test_wait_not_possible_etimedout_after_the_time(void **state)
{
	static const int64_t times[] = { 0, 1, 3 * NS_PER_MS, 120 * NS_PER_MS };
	struct shmkit_ring *empty = make_ring(2), *full = NULL;
	uint64_t value = 4711;

	(void)state;
	assert_int_equal(shmkit_ring_create(segment, "full", 8, 1, NULL, &full), 0);
	put(full, 1);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t now = test_now_ns();

		expect_timeout(now, shmkit_ring_pop_wait(empty, &value, times[i]), times[i]);
		now = test_now_ns();
		expect_timeout(now, shmkit_ring_pop_bulk_wait(empty, &value, 1, times[i]), times[i]);
		now = test_now_ns();
		expect_timeout(now, shmkit_ring_push_bulk_wait(full, &value, 1, times[i]), times[i]);
	}
	assert_int_equal(value, 4711);
	shmkit_ring_close(full);
	shmkit_ring_close(empty);
}

static void on_alarm(int number)
{
	(void)number;
}

static void test_wait_signal_eintr(void **state)
{
	struct sigaction action = { .sa_handler = on_alarm }, before;
	struct itimerval soon = { .it_value = { .tv_usec = 20000 } };
	struct shmkit_ring *ring = make_ring(1);
	uint64_t value;

	(void)state;
	assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(shmkit_ring_pop_wait(ring, &value, -1), -EINTR);
	put(ring, 1);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(shmkit_ring_push_bulk_wait(ring, &value, 1, -1), -EINTR);
	sigaction(SIGALRM, &before, NULL);
	shmkit_ring_close(ring);
}

static struct shmkit_ring *shared;
static uint64_t thread_value;

static void *pop_thread(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)shmkit_ring_pop_wait(shared, &thread_value, 10000 * NS_PER_MS);
}

static void *push_thread(void *arg)
{
	uint64_t values[2] = { 3, 4 };

	(void)arg;
	return (void *)(intptr_t)shmkit_ring_push_bulk_wait(shared, values, 2, 10000 * NS_PER_MS);
}

/* Started, and asleep most likely. */
static pthread_t start(void *(*run)(void *))
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	test_sleep_ms(20);
	return thread;
}

static void expect_end(pthread_t thread, int expected)
{
	void *result;

	assert_int_equal(pthread_join(thread, &result), 0);
	assert_int_equal((int)(intptr_t)result, expected);
}

static void test_wait_possible_later_woken(void **state)
{
	uint64_t values[2] = { 1, 2 };

	(void)state;
	shared = make_ring(2);
	for (unsigned round = 0; round < 5; round++) {
		pthread_t thread = start(pop_thread);

		put(shared, 5);
		expect_end(thread, 0);
		assert_int_equal(thread_value, 5);
		assert_int_equal(shmkit_ring_push_bulk(shared, values, 2), 2);
		thread = start(push_thread);
		expect_next(shared, 1);
		expect_end(thread, 1);
		expect_next(shared, 2);
		expect_next(shared, 3);
	}
	shmkit_ring_close(shared);
}

static void test_wait_shutdown_or_interrupt_woken(void **state)
{
	pthread_t thread;

	(void)state;
	shared = make_ring(1);
	thread = start(pop_thread);
	assert_int_equal(shmkit_segment_interrupt(segment), 0);
	expect_end(thread, -ECANCELED);
	put(shared, 1);
	thread = start(push_thread);
	assert_int_equal(shmkit_segment_interrupt(segment), 0);
	expect_end(thread, -ECANCELED);
	thread = start(push_thread);
	assert_int_equal(shmkit_ring_shutdown(shared), 0);
	expect_end(thread, -ESHUTDOWN);
	remove_ring(shared);
	shared = make_ring(1);
	thread = start(pop_thread);
	assert_int_equal(shmkit_ring_shutdown(shared), 0);
	expect_end(thread, -ESHUTDOWN);
	shmkit_ring_close(shared);
}

/* ---- threads ---- */

#define THREADS 2
#define EACH 30000u

static uint32_t popped_times[THREADS * EACH];
static uint32_t threads_popped;

static void *producing_thread(void *arg)
{
	uint64_t first = (uint64_t)(uintptr_t)arg * EACH;

	for (uint64_t i = 0; i < EACH;) {
		uint64_t values[5], count = 1 + i % 5;

		if (count > EACH - i)
			count = EACH - i;
		for (uint64_t k = 0; k < count; k++)
			values[k] = first + i + k;
		int64_t n = shmkit_ring_push_bulk_wait(shared, values, (size_t)count, 10000 * NS_PER_MS);

		if (n < 1)
			return (void *)(intptr_t)n;
		i += (uint64_t)n;
	}
	return NULL;
}

static void *consuming_thread(void *arg)
{
	(void)arg;
	for (;;) {
		uint64_t values[4];
		int64_t n = shmkit_ring_pop_bulk_wait(shared, values, 4, 10000 * NS_PER_MS);

		if (n < 1)
			return (void *)(intptr_t)(n == -ESHUTDOWN ? 0 : n);
		for (int64_t i = 0; i < n; i++)
			__atomic_fetch_add(&popped_times[values[i]], 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&threads_popped, (uint32_t)n, __ATOMIC_RELAXED);
	}
}

static void test_threads_many_ends_each_element_once(void **state)
{
	pthread_t producers[THREADS], consumers[THREADS];

	(void)state;
	memset(popped_times, 0, sizeof(popped_times));
	threads_popped = 0;
	shared = make_ring_of(8, 7, SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER);
	for (uintptr_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&producers[i], NULL, producing_thread, (void *)i), 0);
		assert_int_equal(pthread_create(&consumers[i], NULL, consuming_thread, NULL), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		expect_end(producers[i], 0);
	assert_int_equal(shmkit_ring_shutdown(shared), 0);
	for (unsigned i = 0; i < THREADS; i++)
		expect_end(consumers[i], 0);
	assert_int_equal(threads_popped, THREADS * EACH);
	for (unsigned i = 0; i < THREADS * EACH; i++)
		assert_int_equal(popped_times[i], 1);
	shmkit_ring_close(shared);
}

/* ---- damage ---- */

static void test_check_impossible_words_ebadmsg(void **state)
{
	struct shmkit_ring *ring = make_ring(4);
	struct shk_ring_shm sound;
	uint64_t value = 0;

	(void)state;
	put(ring, 1);
	put(ring, 2);
	expect_next(ring, 1);
	assert_int_equal(shmkit_segment_check(segment), 0);
	sound = *ring->shm;
	ring->shm->read_index = 3;          /* past what was pushed */
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_int_equal(shmkit_ring_pop(ring, &value), -EBADMSG);
	*ring->shm = sound;
	ring->shm->sharing = UINT64_C(1) << 2 | SHK_RING_SHARED;
	assert_int_equal(shmkit_segment_check(segment), 0);
	sound = *ring->shm;

	ring->shm->write_index = 1 + 5;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_int_equal(shmkit_ring_pop(ring, &value), -EBADMSG);
	assert_int_equal(shmkit_ring_push_overwrite(ring, &value, 1), -EBADMSG);
	assert_int_equal(shmkit_ring_size(ring), 0);
	*ring->shm = sound;
	ring->shm->read_word = 3;           /* past what was pushed */
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_int_equal(shmkit_ring_pop(ring, &value), -EBADMSG);
	*ring->shm = sound;
	ring->shm->sharing = 3;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_non_null(strstr(shmkit_last_error(), "who moves the read index"));
	ring->shm->sharing = 5;             /* neither alone nor shared, and nothing makes it so */
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_int_equal(shmkit_ring_push_overwrite(ring, (uint64_t[9]){ 0 }, 9), -EBADMSG);
	assert_int_equal(shmkit_ring_pop(ring, &value), -EBADMSG);
	*ring->shm = sound;
	ring->shm->write_next = 1;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	ring->shm->write_next = 7;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_non_null(strstr(shmkit_last_error(), "ring 'r'"));
	*ring->shm = sound;
	ring->shm->closed = 3;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	*ring->shm = sound;
	ring->shm->pushing = 2;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	*ring->shm = sound;
	ring->shm->read_word = shk_ring_read_word(2, 0);
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	*ring->shm = sound;
	ring->shm->consumer_role |= SHK_OWNER_MASK;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	*ring->shm = sound;
	assert_int_equal(shmkit_segment_check(segment), 0);
	expect_next(ring, 2);
	shmkit_ring_close(ring);
}

static void hostile_round(struct shmkit_ring *ring, struct shmkit_ring_reader *reader)
{
	uint64_t values[20] = { 0 }, lost;

	shmkit_ring_push(ring, values);
	shmkit_ring_push_bulk(ring, values, 7);
	shmkit_ring_push_overwrite(ring, values, 3);
	shmkit_ring_push_overwrite(ring, values, 17);
	shmkit_ring_pop(ring, values);
	shmkit_ring_pop_bulk(ring, values, 20);
	shmkit_ring_pop_bulk(ring, NULL, SIZE_MAX);
	shmkit_ring_last(ring, values, 20);
	shmkit_ring_push_bulk_wait(ring, values, 2, 1);
	shmkit_ring_pop_wait(ring, values, 1);
	shmkit_ring_reader_read(reader, values, 20, &lost);
	shmkit_ring_reader_wait(reader, values, 1, &lost, 1);
	shmkit_ring_reader_seek(reader, test_random_below(40));
	shmkit_ring_size(ring);
	shmkit_ring_total_dropped(ring);
	(void)shmkit_segment_check(segment);
}

static uint64_t hostile_word(uint64_t word)
{
	switch (test_random_below(5)) {
	case 0:
		return test_random();
	case 1:
		return word ^ UINT64_C(1) << test_random_below(64);
	case 2:
		return word + test_random_below(40) - 20;
	case 3:
		return test_random_below(30);
	default:
		return UINT64_MAX - test_random_below(30);
	}
}

static void test_every_call_hostile_bytes_returns(void **state)
{
	(void)state;
	for (unsigned ring_round = 0; ring_round < 20; ring_round++) {
		struct shmkit_ring *ring = make_ring_of(8, 1 + ring_round, ring_round % 4);
		struct shmkit_ring_reader *reader = NULL;

		assert_int_equal(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_OLDEST, &reader), 0);
		for (unsigned round = 0; round < 60; round++) {
			struct shk_ring_shm *shm = ring->shm;
			shk_u64 *words[] = { &shm->write_index, &shm->write_next, &shm->read_word,
					     &shm->dropped_base, &shm->producer_role,
					     &shm->consumer_role, &shm->read_index, &shm->sharing };
			uint64_t which = test_random_below(10);
			uint64_t before = test_now_ns();

			if (which < 8)
				*words[which] = hostile_word(*words[which]);
			else if (which == 8)
				shm->pushing = (uint32_t)hostile_word(shm->pushing);
			else
				shm->closed = (uint32_t)test_random_below(4);
			hostile_round(ring, reader);
			assert_true(test_now_ns() - before < 5000 * (uint64_t)NS_PER_MS);
		}
		shmkit_ring_reader_close(reader);
		remove_ring(ring);
	}
}

static bool flipping;

static void *flipping_thread(void *arg)
{
	struct shk_ring_shm *shm = arg;
	shk_u64 *words[] = { &shm->write_index, &shm->write_next, &shm->read_word, &shm->dropped_base,
			     &shm->read_index, &shm->sharing };
	uint64_t sound = 0;

	while (__atomic_load_n(&flipping, __ATOMIC_RELAXED)) {
		shk_u64 *word = words[test_random_below(6)];

		shk_store_relaxed(word, hostile_word(shk_load_relaxed(word)));
		if (test_random_below(20))
			continue;
		/* and back to a ring that can be used, with something in it */
		sound += test_random_below(1000);
		shk_store_relaxed(&shm->read_word, shk_ring_read_word(0, sound));
		shk_store_relaxed(&shm->read_index, sound);
		shk_store_relaxed(&shm->sharing, test_random_below(3));
		shk_store_relaxed(&shm->write_index, sound + 3);
		shk_store_relaxed(&shm->write_next, sound + 3);
	}
	return NULL;
}

/* A peer with write access may deny service, no more. */
static void test_every_call_live_hostile_writer_returns(void **state)
{
	struct shmkit_ring *ring = make_ring(7);
	struct shmkit_ring_reader *reader = NULL;
	uint64_t until = test_now_ns() + 300 * NS_PER_MS;
	pthread_t thread;

	(void)state;
	flipping = true;
	assert_int_equal(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_OLDEST, &reader), 0);
	assert_int_equal(pthread_create(&thread, NULL, flipping_thread, ring->shm), 0);
	while (test_now_ns() < until) {
		uint64_t before = test_now_ns();

		hostile_round(ring, reader);
		assert_true(test_now_ns() - before < 5000 * (uint64_t)NS_PER_MS);
	}
	__atomic_store_n(&flipping, false, __ATOMIC_RELAXED);
	expect_end(thread, 0);
	shmkit_ring_reader_close(reader);
	shmkit_ring_close(ring);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_bad_argument_einval),
		TEST(test_create_taken_or_no_space_refused),
		TEST(test_open_missing_or_other_shape_refused),
		TEST(test_open_or_create_other_shape_eprototype),
		TEST(test_figures_any_capacity_exact),
		TEST(test_every_call_null_einval),
		TEST(test_every_call_removed_estale),
		TEST(test_read_only_writers_erofs),
		TEST(test_elements_size_1_to_200_whole_and_aligned),
		TEST(test_push_full_and_pop_empty_eagain_and_fifo),
		TEST(test_pop_bulk_null_skips),
		TEST(test_bulk_across_every_wrap_in_order),
		TEST(test_push_overwrite_any_count_accounted_exactly),
		TEST(test_push_overwrite_first_drop_shares_the_read_index),
		TEST(test_push_overwrite_more_than_capacity_the_last_stay),
		TEST(test_pop_words_come_round_looks_again),
		TEST(test_push_role_held_by_another_ebusy),
		TEST(test_role_two_handles_of_one_member_shared),
		TEST(test_role_reader_stays_role_goes),
		TEST(test_role_many_by_flag_no_ebusy),
		TEST(test_role_of_the_dead_taken_over),
		TEST(test_fork_child_role_of_the_parent_ebusy),
		TEST(test_push_role_not_given_back_ebusy_after_a_slice),
		TEST(test_shutdown_producers_refused_consumers_drain),
		TEST(test_shutdown_left_half_done_finished_by_others),
		TEST(test_shutdown_push_under_way_waited_for),
		TEST(test_shutdown_push_of_the_dead_not_waited_for),
		TEST(test_wait_not_possible_etimedout_after_the_time),
		TEST(test_wait_signal_eintr),
		TEST(test_wait_possible_later_woken),
		TEST(test_wait_shutdown_or_interrupt_woken),
		TEST(test_threads_many_ends_each_element_once),
		TEST(test_check_impossible_words_ebadmsg),
		TEST(test_every_call_hostile_bytes_returns),
		TEST(test_every_call_live_hostile_writer_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
