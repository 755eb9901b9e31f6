/*
 * Queue: every call, every error it may return, and what it promises, within one process (and its
 * forked children). Wrap-around is started near by setting the words; hostile bytes are written
 * into them, after which every call must still return.
 */
#include "support.h"

#include "queue.h"

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
	static unsigned nth;            /* what a failed test leaves must not fail the next */
	char stem[32];

	(void)state;
	snprintf(stem, sizeof(stem), "queue%u", nth++);
	snprintf(segment_name, sizeof(segment_name), "%s", test_name(stem));
	return shmkit_segment_create(segment_name, 4 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_queue *make_queue(const char *name, uint32_t element_size, uint64_t capacity)
{
	struct shmkit_queue *queue = NULL;

	assert_int_equal(shmkit_queue_create(segment, name, element_size, capacity, NULL, &queue), 0);
	return queue;
}

static struct shmkit_queue *open_queue(const char *name)
{
	struct shmkit_queue *queue = NULL;

	assert_int_equal(shmkit_queue_open(segment, name, 0, &queue), 0);
	return queue;
}

static void put(struct shmkit_queue *queue, uint64_t value)
{
	assert_int_equal(shmkit_queue_enqueue(queue, &value), 0);
}

static void expect_next(struct shmkit_queue *queue, uint64_t expected)
{
	uint64_t value = 0;

	assert_int_equal(shmkit_queue_dequeue(queue, &value), 0);
	assert_int_equal(value, expected);
}

static void expect_empty(struct shmkit_queue *queue)
{
	uint64_t value = 4711;

	assert_int_equal(shmkit_queue_dequeue(queue, &value), -EAGAIN);
	assert_int_equal(value, 4711);
}

static uint64_t leased_value(const struct shmkit_slot *slot)
{
	uint64_t value;

	memcpy(&value, slot->data, sizeof(value));
	return value;
}

static void expect_lease(struct shmkit_queue *queue, uint64_t value, uint32_t deliveries,
			 struct shmkit_slot *ret_slot)
{
	assert_int_equal(shmkit_queue_lease(queue, ret_slot), 0);
	assert_int_equal(leased_value(ret_slot), value);
	assert_int_equal(ret_slot->deliveries, deliveries);
	assert_int_equal(ret_slot->element_size, 8);
}

/* All of the capacity can be filled and emptied; the queue must be empty before. */
static void expect_full_capacity(struct shmkit_queue *queue)
{
	uint64_t capacity = shmkit_queue_capacity(queue), value = 1;

	for (uint64_t i = 0; i < capacity; i++)
		put(queue, i);
	assert_int_equal(shmkit_queue_enqueue(queue, &value), -EAGAIN);
	assert_int_equal(shmkit_queue_size(queue), capacity);
	for (uint64_t i = 0; i < capacity; i++)
		expect_next(queue, i);
	expect_empty(queue);
	assert_int_equal(shmkit_segment_check(segment), 0);
}

/* An empty queue that nobody uses, moved to a position. */
static void move_to(struct shmkit_queue *queue, uint64_t position)
{
	position &= queue->position_mask;
	queue->shm->base = position;
	queue->shm->head = queue->shm->tail = shk_index_word(position, 0, 0);
	for (uint64_t i = 0; i <= queue->mask; i++) {
		uint64_t at = shk_step(queue, position, i);

		*shk_slot(queue, at) = shk_free_word(queue, at);
	}
	assert_int_equal(shmkit_segment_check(segment), 0);
}

/* ---- life ---- */

static void test_create_bad_argument_einval(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options) };
	struct shmkit_queue *queue = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_queue_create(NULL, "q", 8, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, NULL, 8, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "", 8, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 0, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", (1u << 30) + 1, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 0, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, (1u << 24) + 1, NULL, &queue), -EINVAL);
	options.flags = 1;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	options.flags = 0;
	options.alignment = 24;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	options.alignment = 8192;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	options.alignment = 0;
	options.struct_size = 4;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	options.struct_size = sizeof(options);
	options.schema = "a:u32";
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	assert_ptr_equal(queue, UNTOUCHED);
}

static void test_create_unknown_tail_e2big(void **state)
{
	struct {
		struct shmkit_object_options known;
		uint64_t more;
	} options = { .known = { .struct_size = sizeof(options) } };
	struct shmkit_queue *queue = UNTOUCHED;

	(void)state;
	options.more = 1;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options.known, &queue), -E2BIG);
	assert_ptr_equal(queue, UNTOUCHED);
	options.more = 0;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options.known, &queue), 0);
	shmkit_queue_close(queue);
}

static void test_create_taken_or_long_name_or_no_space_refused(void **state)
{
	struct shmkit_queue *queue = UNTOUCHED, *first = make_queue("q", 8, 4);

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), -EEXIST);
	assert_int_equal(shmkit_queue_create(segment, "a-name-of-more-than-thirty-one-bytes", 8, 4, NULL,
					     &queue), -ENAMETOOLONG);
	assert_int_equal(shmkit_queue_create(segment, "big", 8, 1 << 24, NULL, &queue), -ENOSPC);
	assert_int_equal(shmkit_queue_create(segment, "big", 1 << 30, 1 << 24, NULL, &queue), -ENOSPC);
	assert_ptr_equal(queue, UNTOUCHED);
	shmkit_queue_close(first);
}

static void test_open_missing_or_other_shape_refused(void **state)
{
	struct shmkit_queue *queue = UNTOUCHED, *first;

	(void)state;
	assert_int_equal(shmkit_queue_open(segment, "q", 8, &queue), -ENOENT);
	first = make_queue("q", 8, 4);
	assert_int_equal(shmkit_queue_open(segment, "q", 4, &queue), -EPROTOTYPE);
	assert_int_equal(shmkit_queue_open(NULL, "q", 8, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_open(segment, NULL, 8, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_open(segment, "q", 8, NULL), -EINVAL);
	assert_ptr_equal(queue, UNTOUCHED);
	assert_int_equal(shmkit_queue_open(segment, "q", 0, &queue), 0);
	assert_int_equal(shmkit_queue_element_size(queue), 8);
	shmkit_queue_close(queue);
	shmkit_queue_close(first);
}

static void test_open_or_create_other_shape_eprototype(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .schema = "v:u64" };
	struct shmkit_object_options other = { .struct_size = sizeof(other), .schema = "v:i64" };
	struct shmkit_queue *first, *queue = UNTOUCHED;

	(void)state;
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 100, &options, &first), 1);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 128, &options, &queue), -EPROTOTYPE);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 16, 100, NULL, &queue), -EPROTOTYPE);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 100, &other, &queue), -EPROTOTYPE);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 0, &other, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_open_or_create(NULL, "q", 8, 100, NULL, &queue), -EINVAL);
	assert_ptr_equal(queue, UNTOUCHED);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 100, NULL, &queue), 0);
	put(first, 5);
	expect_next(queue, 5);
	shmkit_queue_close(first);
	shmkit_queue_close(queue);
	shmkit_queue_close(NULL);
}

static void test_capacity_any_rounded_up(void **state)
{
	static const struct {
		uint64_t asked, given;
	} cases[] = { { 1, 1 }, { 2, 2 }, { 3, 4 }, { 4, 4 }, { 5, 8 }, { 100, 128 }, { 128, 128 }, { 129, 256 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shmkit_entry_info info = { .struct_size = sizeof(info) };
		struct shmkit_queue *queue = make_queue("q", 8, cases[i].asked);

		assert_int_equal(shmkit_queue_capacity(queue), cases[i].given);
		expect_full_capacity(queue);
		put(queue, 1);
		assert_int_equal(shmkit_queue_get_info(queue, &info), 0);
		assert_int_equal(info.kind, SHMKIT_KIND_QUEUE);
		assert_int_equal(info.capacity, cases[i].given);
		assert_int_equal(info.element_size, 8);
		assert_int_equal(info.used, 1);
		assert_string_equal(info.name, "q");
		shmkit_queue_close(queue);
		assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	}
}

static void test_elements_size_1_to_200_whole_and_aligned(void **state)
{
	static const uint32_t alignments[] = { 0, 1, 8, 16, 64, 4096 };
	uint8_t in[200], out[200 + 8];

	(void)state;
	for (uint32_t size = 1; size <= 200; size++) {
		struct shmkit_object_options options = { .struct_size = sizeof(options),
				.alignment = alignments[size % 6] };
		struct shmkit_queue *queue;
		struct shmkit_slot slot;

		assert_int_equal(shmkit_queue_create(segment, "q", size, 4, &options, &queue), 0);
		for (unsigned round = 0; round < 11; round++) {
			for (uint32_t i = 0; i < size; i++)
				in[i] = (uint8_t)(i * 7 + round * 31 + size);
			if (round % 2) {
				assert_int_equal(shmkit_queue_enqueue(queue, in), 0);
			} else {
				assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
				assert_int_equal(slot.element_size, size);
				assert_int_equal(slot.deliveries, 0);
				if (options.alignment)
					assert_int_equal((uintptr_t)slot.data % options.alignment, 0);
				memcpy(slot.data, in, size);
				assert_int_equal(shmkit_queue_commit(queue, &slot), 0);
			}
			memset(out, 0xee, sizeof(out));
			assert_int_equal(shmkit_queue_dequeue(queue, out), 0);
			assert_memory_equal(in, out, size);
			assert_int_equal(out[size], 0xee);
		}
		shmkit_queue_close(queue);
		assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	}
}

/* ---- copying ---- */

static void test_every_call_null_einval(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_slot slot = { 0 };
	uint64_t value = 0;

	(void)state;
	assert_int_equal(shmkit_queue_enqueue(NULL, &value), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue(NULL, &value), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_bulk(NULL, &value, 1), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_bulk(queue, NULL, 1), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_bulk(queue, NULL, 0), 0);
	assert_int_equal(shmkit_queue_dequeue_bulk(NULL, &value, 1), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, NULL, 1), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, NULL, 0), 0);
	assert_int_equal(shmkit_queue_enqueue_wait(NULL, &value, 0), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_wait(queue, NULL, 0), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue_wait(NULL, &value, 0), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue_wait(queue, NULL, 0), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_bulk_wait(NULL, &value, 1, 0), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_bulk_wait(queue, NULL, 1, 0), -EINVAL);
	assert_int_equal(shmkit_queue_enqueue_bulk_wait(queue, NULL, 0, -1), 0);
	assert_int_equal(shmkit_queue_dequeue_bulk_wait(NULL, &value, 1, 0), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue_bulk_wait(queue, NULL, 1, 0), -EINVAL);
	assert_int_equal(shmkit_queue_dequeue_bulk_wait(queue, NULL, 0, -1), 0);
	assert_int_equal(shmkit_queue_reserve(NULL, &slot), -EINVAL);
	assert_int_equal(shmkit_queue_reserve(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_reserve_wait(NULL, &slot, 0), -EINVAL);
	assert_int_equal(shmkit_queue_reserve_wait(queue, NULL, 0), -EINVAL);
	assert_int_equal(shmkit_queue_lease(NULL, &slot), -EINVAL);
	assert_int_equal(shmkit_queue_lease(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_lease_wait(NULL, &slot, 0), -EINVAL);
	assert_int_equal(shmkit_queue_lease_wait(queue, NULL, 0), -EINVAL);
	assert_int_equal(shmkit_queue_commit(NULL, &slot), -EINVAL);
	assert_int_equal(shmkit_queue_commit(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_cancel(NULL, &slot), -EINVAL);
	assert_int_equal(shmkit_queue_cancel(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_ack(NULL, &slot), -EINVAL);
	assert_int_equal(shmkit_queue_ack(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_nack(NULL, &slot), -EINVAL);
	assert_int_equal(shmkit_queue_nack(queue, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_shutdown(NULL), -EINVAL);
	assert_int_equal(shmkit_queue_reopen(NULL), -EINVAL);
	assert_int_equal(shmkit_queue_get_info(NULL, &info), -EINVAL);
	assert_int_equal(shmkit_queue_get_stats(NULL, &stats), -EINVAL);
	stats.struct_size = 4;
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), -EINVAL);
	assert_int_equal(shmkit_queue_capacity(NULL), 0);
	assert_int_equal(shmkit_queue_size(NULL), 0);
	assert_int_equal(shmkit_queue_element_size(NULL), 0);
	assert_true(strlen(shmkit_last_error()) > 0);
	shmkit_queue_close(queue);
}

static void test_enqueue_full_and_dequeue_empty_eagain_and_fifo(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 8);

	(void)state;
	expect_empty(queue);
	assert_true(strlen(shmkit_last_error()) > 0);
	for (unsigned i = 0; i < 5; i++)
		expect_full_capacity(queue);
	for (uint64_t i = 0; i < 1000; i++) {
		put(queue, i);
		put(queue, i + 1000000);
		assert_int_equal(shmkit_queue_size(queue), 2);
		expect_next(queue, i);
		expect_next(queue, i + 1000000);
	}
	shmkit_queue_close(queue);
}

static void test_bulk_more_than_a_batch_all_in_order(void **state)
{
	enum { COUNT = 1000 };
	struct shmkit_queue *queue = make_queue("q", 8, 1024);
	static uint64_t in[2 * COUNT], out[2 * COUNT];

	(void)state;
	for (uint64_t i = 0; i < 2 * COUNT; i++)
		in[i] = i + 1;
	for (unsigned round = 0; round < 5; round++) {
		memset(out, 0, sizeof(out));
		assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, COUNT), 0);
		assert_int_equal(shmkit_queue_enqueue_bulk(queue, in, COUNT), COUNT);
		/* as many as fit */
		assert_int_equal(shmkit_queue_enqueue_bulk(queue, in + COUNT, COUNT), 1024 - COUNT);
		assert_int_equal(shmkit_queue_enqueue_bulk(queue, in, 1), 0);
		assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, 300), 300);
		assert_int_equal(shmkit_queue_dequeue_bulk(queue, out + 300, 2 * COUNT), 1024 - 300);
		assert_memory_equal(in, out, 1024 * sizeof(in[0]));
		assert_int_equal(out[1024], 0);
		assert_int_equal(shmkit_queue_size(queue), 0);
	}
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_queue_close(queue);
}

static void test_every_call_across_the_wrap_as_ever(void **state)
{
	static const uint64_t capacities[] = { 1, 2, 4, 8, 16, 64, 512 };

	(void)state;
	for (size_t c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++) {
		struct shmkit_queue *queue = make_queue("q", 8, capacities[c]);
		struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
		uint64_t capacity = capacities[c], in[4], out[4] = { 0 }, count = 0;
		struct shmkit_slot slot;

		for (uint64_t back = 1; back <= 2 * capacity; back += 1 + capacity / 8) {
			move_to(queue, 0 - back);
			for (uint64_t i = 0, next = 0; i < 3 * capacity; i++) {
				size_t n = capacity < 4 ? capacity - 1 : 3;

				for (size_t k = 0; k < n; k++)
					in[k] = next + k;
				assert_int_equal(shmkit_queue_enqueue_bulk(queue, in, n), n);
				assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
				in[0] = next + n;
				memcpy(slot.data, in, 8);
				assert_int_equal(shmkit_queue_commit(queue, &slot), 0);
				assert_int_equal(shmkit_queue_size(queue), n + 1);
				assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, n), n);
				for (size_t k = 0; k < n; k++)
					assert_int_equal(out[k], next + k);
				expect_lease(queue, next + n, 1, &slot);
				assert_int_equal(shmkit_queue_nack(queue, &slot), 0);
				expect_lease(queue, next + n, 2, &slot);
				assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
				next += n + 1;
				count = next;
			}
			assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
			assert_int_equal(stats.enqueued, count);
			assert_int_equal(stats.dequeued, count);
			expect_full_capacity(queue);
		}
		shmkit_queue_close(queue);
		assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	}
}

/* ---- in place ---- */

static void test_settle_twice_or_as_the_other_sort_estale(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_slot slot, reserved;

	(void)state;
	put(queue, 1);
	expect_lease(queue, 1, 1, &slot);
	assert_int_equal(shmkit_queue_commit(queue, &slot), -ESTALE);
	assert_int_equal(shmkit_queue_cancel(queue, &slot), -ESTALE);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	assert_int_equal(shmkit_queue_ack(queue, &slot), -ESTALE);
	assert_int_equal(shmkit_queue_nack(queue, &slot), -ESTALE);
	assert_int_equal(shmkit_queue_reserve(queue, &reserved), 0);
	assert_int_equal(shmkit_queue_ack(queue, &reserved), -ESTALE);
	assert_int_equal(shmkit_queue_nack(queue, &reserved), -ESTALE);
	assert_int_equal(shmkit_queue_cancel(queue, &reserved), 0);
	assert_int_equal(shmkit_queue_cancel(queue, &reserved), -ESTALE);
	assert_int_equal(shmkit_queue_commit(queue, &reserved), -ESTALE);
	put(queue, 2);
	expect_lease(queue, 2, 1, &slot);
	assert_int_equal(shmkit_queue_nack(queue, &slot), 0);
	assert_int_equal(shmkit_queue_ack(queue, &slot), -ESTALE);
	expect_lease(queue, 2, 2, &reserved);
	/* the token of the first lease does not end the second */
	assert_int_equal(shmkit_queue_ack(queue, &slot), -ESTALE);
	assert_int_equal(shmkit_queue_ack(queue, &reserved), 0);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_settle_invented_token_refused(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_slot slot = { 0 };
	unsigned me = (unsigned)shmkit_segment_member_id(segment);

	(void)state;
	put(queue, 1);
	for (unsigned i = 0; i < 100000; i++) {
		int expected;

		slot.token = test_random();
		if (i % 2)
			slot.token = (slot.token & ~SHK_OWNER_MASK) | me;
		expected = (slot.token & SHK_OWNER_MASK) == me ? -ESTALE : -EPERM;
		assert_int_equal(shmkit_queue_commit(queue, &slot), expected);
		assert_int_equal(shmkit_queue_cancel(queue, &slot), expected);
		assert_int_equal(shmkit_queue_ack(queue, &slot), expected);
		assert_int_equal(shmkit_queue_nack(queue, &slot), expected);
	}
	expect_next(queue, 1);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_nack_many_times_deliveries_rest(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 2);
	uint32_t last = 0, deliveries = 0;
	struct shmkit_slot slot;

	(void)state;
	put(queue, 77);
	for (unsigned i = 1; i <= 3000; i++) {
		assert_int_equal(shmkit_queue_lease(queue, &slot), 0);
		assert_int_equal(leased_value(&slot), 77);
		deliveries = slot.deliveries;
		assert_true(deliveries == i || (deliveries == last && i > 500));
		last = deliveries;
		assert_int_equal(shmkit_queue_nack(queue, &slot), 0);
	}
	expect_lease(queue, 77, deliveries, &slot);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_nack_before_younger_delivered_first_the_oldest_first(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 8);
	struct shmkit_slot slots[3];
	uint64_t out[8];

	(void)state;
	for (uint64_t i = 0; i < 6; i++)
		put(queue, i);
	for (uint64_t i = 0; i < 3; i++)
		expect_lease(queue, i, 1, &slots[i]);
	assert_int_equal(shmkit_queue_nack(queue, &slots[2]), 0);
	assert_int_equal(shmkit_queue_nack(queue, &slots[0]), 0);
	assert_int_equal(shmkit_queue_size(queue), 5);
	expect_next(queue, 0);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, 8), 4);
	assert_int_equal(out[0], 2);
	for (uint64_t i = 1; i < 4; i++)
		assert_int_equal(out[i], i + 2);
	assert_int_equal(shmkit_queue_ack(queue, &slots[1]), 0);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_lease_held_blocks_producers_one_lap_later(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_slot slot;
	uint64_t value = 9;

	(void)state;
	put(queue, 0);
	put(queue, 1);
	expect_lease(queue, 0, 1, &slot);
	expect_next(queue, 1);
	for (uint64_t i = 2; i < 4; i++)
		put(queue, i);
	/* position 4 is the leased slot, one lap later */
	assert_int_equal(shmkit_queue_enqueue(queue, &value), -EAGAIN);
	assert_int_equal(shmkit_queue_size(queue), 2);
	expect_next(queue, 2);
	assert_int_equal(shmkit_queue_enqueue(queue, &value), -EAGAIN);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	put(queue, 4);
	expect_next(queue, 3);
	expect_next(queue, 4);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_reserve_held_hides_what_lies_behind(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 8);
	struct shmkit_slot slot, second;
	uint64_t value = 5, out[8];

	(void)state;
	put(queue, 4);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
	put(queue, 6);
	assert_int_equal(shmkit_queue_reserve(queue, &second), 0);
	put(queue, 8);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, 8), 1);
	assert_int_equal(out[0], 4);
	expect_empty(queue);
	memcpy(slot.data, &value, 8);
	assert_int_equal(shmkit_queue_commit(queue, &slot), 0);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, 8), 2);
	assert_int_equal(out[0], 5);
	assert_int_equal(out[1], 6);
	expect_empty(queue);
	assert_int_equal(shmkit_queue_cancel(queue, &second), 0);
	expect_next(queue, 8);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_cancel_of_all_capacity_again_without_a_consumer(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_slot slots[4];

	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(shmkit_queue_reserve(queue, &slots[i]), 0);
		assert_int_equal(shmkit_queue_reserve(queue, &slots[0]), -EAGAIN);
		for (unsigned i = 4; i-- > 0;)
			assert_int_equal(shmkit_queue_cancel(queue, &slots[i]), 0);
	}
	for (uint64_t i = 0; i < 4; i++)
		put(queue, i);
	for (uint64_t i = 0; i < 4; i++)
		expect_next(queue, i);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

/* A repairer or consumer died between the freeing of a TOMB and the moving of head. */
static void test_enqueue_tomb_freed_head_not_moved_capacity_again(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_slot slots[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(shmkit_queue_reserve(queue, &slots[i]), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(shmkit_queue_cancel(queue, &slots[i]), 0);
	*shk_slot(queue, 0) = shk_freed_word(queue, 0);
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
	assert_int_equal(stats.enqueued, 0);
	for (uint64_t i = 0; i < 4; i++)
		put(queue, i);
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
	assert_int_equal(stats.enqueued, 4);
	for (uint64_t i = 0; i < 4; i++)
		expect_next(queue, i);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_close_holding_gives_back_its_own(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 8), *other = open_queue("q");
	struct shmkit_slot slots[4], kept;

	(void)state;
	for (uint64_t i = 0; i < 4; i++)
		put(queue, i);
	expect_lease(queue, 0, 1, &slots[0]);
	expect_lease(queue, 1, 1, &kept);
	expect_lease(other, 2, 1, &slots[1]);
	assert_int_equal(shmkit_queue_reserve(other, &slots[2]), 0);
	put(queue, 4);
	shmkit_queue_close(other);
	/* of the same process, but held no longer */
	assert_int_equal(shmkit_queue_ack(queue, &slots[1]), -ESTALE);
	assert_int_equal(shmkit_queue_commit(queue, &slots[2]), -ESTALE);
	expect_lease(queue, 2, 2, &slots[1]);
	assert_int_equal(shmkit_queue_ack(queue, &slots[1]), 0);
	assert_int_equal(shmkit_queue_ack(queue, &kept), 0);
	expect_next(queue, 3);
	expect_next(queue, 4);
	expect_empty(queue);
	assert_int_equal(shmkit_queue_ack(queue, &slots[0]), 0);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

/* What was settled through another handle of the process, and taken again, is not the first's. */
static void test_close_settled_through_another_handle_steals_nothing(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 2), *first = open_queue("q");
	struct shmkit_slot slot, reserved;

	(void)state;
	put(queue, 1);
	put(queue, 2);
	expect_lease(first, 1, 1, &slot);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	expect_next(queue, 2);
	assert_int_equal(shmkit_queue_reserve(first, &reserved), 0);
	assert_int_equal(shmkit_queue_commit(queue, &reserved), 0);
	expect_lease(queue, 1, 1, &slot);
	assert_int_equal(shmkit_queue_reserve(queue, &reserved), 0);
	shmkit_queue_close(first);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	assert_int_equal(shmkit_queue_commit(queue, &reserved), 0);
	expect_next(queue, 2);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_close_last_handle_gives_back_all(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	struct shmkit_slot slot;

	(void)state;
	put(queue, 1);
	put(queue, 2);
	expect_lease(queue, 1, 1, &slot);
	expect_lease(queue, 2, 1, &slot);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
	shmkit_queue_close(queue);
	queue = open_queue("q");
	expect_lease(queue, 1, 2, &slot);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	expect_next(queue, 2);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

/* ---- shutdown, counts ---- */

static void test_shutdown_producers_refused_consumers_drain(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 8);
	struct shmkit_slot slot, reserved;
	uint64_t value = 9, out[4];

	(void)state;
	put(queue, 1);
	put(queue, 2);
	assert_int_equal(shmkit_queue_reserve(queue, &reserved), 0);
	assert_int_equal(shmkit_queue_shutdown(queue), 0);
	assert_int_equal(shmkit_queue_shutdown(queue), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &value), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_enqueue_bulk(queue, &value, 1), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_enqueue_wait(queue, &value, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_enqueue_bulk_wait(queue, &value, 1, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_reserve_wait(queue, &slot, -1), -ESHUTDOWN);
	expect_next(queue, 1);
	expect_lease(queue, 2, 1, &slot);
	/* reserved before: may still come */
	expect_empty(queue);
	memcpy(reserved.data, &(uint64_t){ 3 }, 8);
	assert_int_equal(shmkit_queue_commit(queue, &reserved), 0);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, 4), 1);
	assert_int_equal(out[0], 3);
	/* leased: may come back, and does */
	expect_empty(queue);
	assert_int_equal(shmkit_queue_dequeue_wait(queue, &value, 0), -ETIMEDOUT);
	assert_int_equal(shmkit_queue_nack(queue, &slot), 0);
	expect_lease(queue, 2, 2, &slot);
	expect_empty(queue);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	assert_int_equal(shmkit_queue_dequeue(queue, &value), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, out, 4), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_dequeue_wait(queue, &value, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_dequeue_bulk_wait(queue, out, 4, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_lease(queue, &slot), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_lease_wait(queue, &slot, -1), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_reopen(queue), 0);
	assert_int_equal(shmkit_queue_reopen(queue), 0);
	expect_empty(queue);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void test_shutdown_cancelled_reservation_then_drained(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 2);
	struct shmkit_slot slot;
	uint64_t value;

	(void)state;
	assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
	assert_int_equal(shmkit_queue_shutdown(queue), 0);
	expect_empty(queue);
	assert_int_equal(shmkit_queue_cancel(queue, &slot), 0);
	assert_int_equal(shmkit_queue_dequeue(queue, &value), -ESHUTDOWN);
	assert_int_equal(shmkit_queue_reopen(queue), 0);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void expect_stats(struct shmkit_queue *queue, uint64_t enqueued, uint64_t dequeued,
			 uint64_t discarded, uint64_t redelivered)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };

	assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
	assert_int_equal(stats.enqueued, enqueued);
	assert_int_equal(stats.dequeued, dequeued);
	assert_int_equal(stats.discarded, discarded);
	assert_int_equal(stats.redelivered, redelivered);
}

static void test_stats_every_outcome_counted(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 8), *other;
	struct shmkit_slot slot;
	uint64_t values[8] = { 1, 2, 3, 4 };

	(void)state;
	expect_stats(queue, 0, 0, 0, 0);
	assert_int_equal(shmkit_queue_enqueue_bulk(queue, values, 4), 4);
	expect_stats(queue, 4, 0, 0, 0);
	expect_next(queue, 1);
	expect_lease(queue, 2, 1, &slot);
	expect_stats(queue, 4, 1, 0, 0);
	assert_int_equal(shmkit_queue_nack(queue, &slot), 0);
	expect_stats(queue, 4, 1, 0, 1);
	expect_next(queue, 2);
	expect_stats(queue, 4, 2, 0, 1);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
	expect_stats(queue, 4, 2, 0, 1);
	assert_int_equal(shmkit_queue_cancel(queue, &slot), 0);
	expect_stats(queue, 4, 2, 0, 1);
	other = open_queue("q");
	expect_lease(other, 3, 1, &slot);
	assert_int_equal(shmkit_queue_reserve(other, &slot), 0);
	shmkit_queue_close(other);
	expect_stats(queue, 4, 2, 0, 2);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, values, 8), 2);
	expect_empty(queue);
	expect_stats(queue, 4, 4, 0, 2);
	shmkit_queue_close(queue);
}

/* ---- waiting ---- */

static struct shmkit_queue *shared;     /* handle of the threads below */
static int64_t thread_result;
static uint64_t thread_value;

static void test_wait_not_possible_etimedout_after_the_time(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 2);
	uint64_t value = 1, before;
	struct shmkit_slot slot;

	(void)state;
	for (int64_t timeout = 0; timeout <= 30 * NS_PER_MS; timeout += 15 * NS_PER_MS) {
		before = test_now_ns();
		assert_int_equal(shmkit_queue_dequeue_wait(queue, &value, timeout), -ETIMEDOUT);
		assert_int_equal(shmkit_queue_dequeue_bulk_wait(queue, &value, 1, timeout), -ETIMEDOUT);
		assert_int_equal(shmkit_queue_lease_wait(queue, &slot, timeout), -ETIMEDOUT);
		put(queue, 1);
		put(queue, 2);
		assert_int_equal(shmkit_queue_enqueue_wait(queue, &value, timeout), -ETIMEDOUT);
		assert_int_equal(shmkit_queue_enqueue_bulk_wait(queue, &value, 1, timeout), -ETIMEDOUT);
		assert_int_equal(shmkit_queue_reserve_wait(queue, &slot, timeout), -ETIMEDOUT);
		assert_true(test_now_ns() - before >= (uint64_t)(6 * timeout));
		assert_true(test_now_ns() - before < (uint64_t)(6 * timeout + 2000 * NS_PER_MS));
		expect_next(queue, 1);
		expect_next(queue, 2);
	}
	/* possible: the time does not matter */
	value = 7;
	assert_int_equal(shmkit_queue_enqueue_wait(queue, &value, 0), 0);
	assert_int_equal(shmkit_queue_reserve_wait(queue, &slot, INT64_MAX), 0);
	assert_int_equal(shmkit_queue_commit(queue, &slot), 0);
	assert_int_equal(shmkit_queue_lease_wait(queue, &slot, -1), 0);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	assert_int_equal(shmkit_queue_dequeue_wait(queue, &value, 0), 0);
	shmkit_queue_close(queue);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void test_wait_signal_eintr(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 2);
	struct sigaction action = { .sa_handler = on_alarm }, old;
	struct itimerval soon = { .it_value = { .tv_usec = 30000 } };
	uint64_t value;

	(void)state;
	sigaction(SIGALRM, &action, &old);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(shmkit_queue_dequeue_wait(queue, &value, 10000 * NS_PER_MS), -EINTR);
	put(queue, 1);
	put(queue, 2);
	setitimer(ITIMER_REAL, &soon, NULL);
	assert_int_equal(shmkit_queue_enqueue_wait(queue, &value, -1), -EINTR);
	sigaction(SIGALRM, &old, NULL);
	shmkit_queue_close(queue);
}

static void *dequeue_thread(void *argument)
{
	(void)argument;
	thread_result = shmkit_queue_dequeue_wait(shared, &thread_value, 20000 * NS_PER_MS);
	return NULL;
}

static void *enqueue_thread(void *argument)
{
	uint64_t value = 3;

	(void)argument;
	thread_result = shmkit_queue_enqueue_wait(shared, &value, 20000 * NS_PER_MS);
	return NULL;
}

static pthread_t start(void *(*run)(void *))
{
	pthread_t thread;

	thread_result = 1;
	assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
	test_sleep_ms(20);
	assert_int_equal(__atomic_load_n(&thread_result, __ATOMIC_RELAXED), 1);
	return thread;
}

static void expect_end(pthread_t thread, int64_t result)
{
	uint64_t before = test_now_ns();

	pthread_join(thread, NULL);
	assert_int_equal(thread_result, result);
	assert_true(test_now_ns() - before < (uint64_t)(1000 * NS_PER_MS));
}

static void test_wait_interrupted_ecanceled(void **state)
{
	pthread_t thread;

	(void)state;
	shared = make_queue("q", 8, 2);
	thread = start(dequeue_thread);
	assert_int_equal(shmkit_segment_interrupt(segment), 0);
	expect_end(thread, -ECANCELED);
	shmkit_queue_close(shared);
}

static void test_wait_possible_later_woken(void **state)
{
	pthread_t thread;
	struct shmkit_slot slot;

	(void)state;
	shared = make_queue("q", 8, 2);
	for (unsigned round = 0; round < 5; round++) {
		thread = start(dequeue_thread);
		if (round % 2) {
			put(shared, 5);
		} else {
			assert_int_equal(shmkit_queue_reserve(shared, &slot), 0);
			memcpy(slot.data, &(uint64_t){ 5 }, 8);
			assert_int_equal(shmkit_queue_commit(shared, &slot), 0);
		}
		expect_end(thread, 0);
		assert_int_equal(thread_value, 5);
		put(shared, 1);
		put(shared, 2);
		expect_lease(shared, 1, 1, &slot);
		thread = start(enqueue_thread);
		assert_int_equal(shmkit_queue_ack(shared, &slot), 0);
		expect_end(thread, 0);
		expect_next(shared, 2);
		expect_next(shared, 3);
	}
	put(shared, 9);
	expect_lease(shared, 9, 1, &slot);
	thread = start(dequeue_thread);
	assert_int_equal(shmkit_queue_nack(shared, &slot), 0);
	expect_end(thread, 0);
	thread = start(dequeue_thread);
	assert_int_equal(shmkit_queue_shutdown(shared), 0);
	expect_end(thread, -ESHUTDOWN);
	shmkit_queue_close(shared);
}

/* ---- other processes, other rights ---- */

struct inherited {
	struct shmkit_queue *queue;
	struct shmkit_slot leased, reserved;
};

static int use_inherited(void *argument)
{
	struct inherited *inherited = argument;
	struct shmkit_slot slot;

	assert_int_equal(shmkit_queue_ack(inherited->queue, &inherited->leased), -EPERM);
	assert_int_equal(shmkit_queue_nack(inherited->queue, &inherited->leased), -EPERM);
	assert_int_equal(shmkit_queue_commit(inherited->queue, &inherited->reserved), -EPERM);
	assert_int_equal(shmkit_queue_cancel(inherited->queue, &inherited->reserved), -EPERM);
	expect_lease(inherited->queue, 2, 1, &slot);
	assert_int_equal(shmkit_queue_ack(inherited->queue, &slot), 0);
	put(inherited->queue, 4);
	/* gives back nothing of the parent's */
	shmkit_queue_close(inherited->queue);
	return 0;
}

static int die_holding(void *argument)
{
	struct inherited *inherited = argument;
	struct shmkit_slot slot;

	assert_int_equal(shmkit_queue_lease(inherited->queue, &slot), 0);
	assert_int_equal(shmkit_queue_reserve(inherited->queue, &slot), 0);
	raise(SIGKILL);
	return 0;
}

static void test_fork_child_uses_the_queue_but_not_the_parents_slots(void **state)
{
	struct inherited inherited = { .queue = make_queue("q", 8, 8) };

	(void)state;
	put(inherited.queue, 1);
	put(inherited.queue, 2);
	expect_lease(inherited.queue, 1, 1, &inherited.leased);
	assert_int_equal(shmkit_queue_reserve(inherited.queue, &inherited.reserved), 0);
	memcpy(inherited.reserved.data, &(uint64_t){ 3 }, 8);
	assert_int_equal(test_wait_exit(test_fork(use_inherited, &inherited), 10000), 0);
	assert_int_equal(shmkit_queue_ack(inherited.queue, &inherited.leased), 0);
	assert_int_equal(shmkit_queue_commit(inherited.queue, &inherited.reserved), 0);
	expect_next(inherited.queue, 3);
	expect_next(inherited.queue, 4);
	expect_full_capacity(inherited.queue);
	shmkit_queue_close(inherited.queue);
}

static void test_death_of_a_holder_repaired_and_counted(void **state)
{
	struct inherited inherited = { .queue = make_queue("q", 8, 4) };
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	struct shmkit_slot slot;

	(void)state;
	put(inherited.queue, 1);
	assert_int_equal(test_wait_exit(test_fork(die_holding, &inherited), 10000), -SIGKILL);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	assert_int_equal(report.discarded, 1);
	assert_int_equal(report.redelivered, 1);
	expect_lease(inherited.queue, 1, 2, &slot);
	assert_int_equal(shmkit_queue_ack(inherited.queue, &slot), 0);
	expect_stats(inherited.queue, 1, 1, 1, 1);
	expect_full_capacity(inherited.queue);
	shmkit_queue_close(inherited.queue);
}

/* Every call that writes, with the one error it must give. */
static void expect_of_all_writers(struct shmkit_queue *queue, int error)
{
	struct shmkit_slot slot = { 0 };
	uint64_t value = 0;

	assert_int_equal(shmkit_queue_enqueue(queue, &value), error);
	assert_int_equal(shmkit_queue_dequeue(queue, &value), error);
	assert_int_equal(shmkit_queue_enqueue_bulk(queue, &value, 1), error);
	assert_int_equal(shmkit_queue_dequeue_bulk(queue, &value, 1), error);
	assert_int_equal(shmkit_queue_enqueue_wait(queue, &value, -1), error);
	assert_int_equal(shmkit_queue_dequeue_wait(queue, &value, -1), error);
	assert_int_equal(shmkit_queue_enqueue_bulk_wait(queue, &value, 1, -1), error);
	assert_int_equal(shmkit_queue_dequeue_bulk_wait(queue, &value, 1, -1), error);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), error);
	assert_int_equal(shmkit_queue_reserve_wait(queue, &slot, -1), error);
	assert_int_equal(shmkit_queue_lease(queue, &slot), error);
	assert_int_equal(shmkit_queue_lease_wait(queue, &slot, -1), error);
	assert_int_equal(shmkit_queue_commit(queue, &slot), error);
	assert_int_equal(shmkit_queue_cancel(queue, &slot), error);
	assert_int_equal(shmkit_queue_ack(queue, &slot), error);
	assert_int_equal(shmkit_queue_nack(queue, &slot), error);
	assert_int_equal(shmkit_queue_shutdown(queue), error);
	assert_int_equal(shmkit_queue_reopen(queue), error);
}

static void test_read_only_writers_erofs_readers_work(void **state)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_queue *queue = make_queue("q", 8, 4), *view, *none = UNTOUCHED;
	struct shmkit_segment *observer;

	(void)state;
	put(queue, 1);
	assert_int_equal(shmkit_segment_open(segment_name, SHMKIT_READ_ONLY, &observer), 0);
	assert_int_equal(shmkit_queue_create(observer, "new", 8, 4, NULL, &none), -EROFS);
	assert_int_equal(shmkit_queue_open_or_create(observer, "new", 8, 4, NULL, &none), -EROFS);
	assert_ptr_equal(none, UNTOUCHED);
	assert_int_equal(shmkit_queue_open(observer, "q", 8, &view), 0);
	expect_of_all_writers(view, -EROFS);
	assert_int_equal(shmkit_queue_size(view), 1);
	assert_int_equal(shmkit_queue_capacity(view), 4);
	assert_int_equal(shmkit_queue_get_info(view, &info), 0);
	assert_int_equal(info.used, 1);
	assert_int_equal(shmkit_queue_get_stats(view, &stats), 0);
	assert_int_equal(stats.enqueued, 1);
	shmkit_queue_close(view);
	shmkit_segment_close(observer);
	expect_next(queue, 1);
	shmkit_queue_close(queue);
}

static void test_every_call_removed_estale(void **state)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_queue *queue = make_queue("q", 8, 4), *next;
	struct shmkit_slot slot;

	(void)state;
	put(queue, 1);
	expect_lease(queue, 1, 1, &slot);
	assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	next = make_queue("q", 8, 4);
	put(next, 2);
	expect_of_all_writers(queue, -ESTALE);
	assert_int_equal(shmkit_queue_ack(queue, &slot), -ESTALE);
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), -ESTALE);
	assert_int_equal(shmkit_queue_get_info(queue, &info), -ESTALE);
	assert_int_equal(shmkit_queue_size(queue), 0);
	shmkit_queue_close(queue);
	expect_next(next, 2);
	expect_full_capacity(next);
	shmkit_queue_close(next);
}

/* ---- threads on one handle ---- */

enum { THREADS = 4, ROUNDS = 20000 };

static uint64_t sums[THREADS];

static void *mixed_thread(void *argument)
{
	size_t me = (size_t)(uintptr_t)argument;
	uint64_t value, got = 0, sent = 0;
	struct shmkit_slot slot;

	while (sent < ROUNDS || got < ROUNDS) {
		if (sent < ROUNDS) {
			value = sent + 1;
			if (sent % 3) {
				sent += shmkit_queue_enqueue(shared, &value) == 0;
			} else if (shmkit_queue_reserve(shared, &slot) == 0) {
				memcpy(slot.data, &value, 8);
				sent += shmkit_queue_commit(shared, &slot) == 0;
			}
		}
		if (got < ROUNDS) {
			if (got % 3) {
				if (shmkit_queue_dequeue(shared, &value))
					continue;
			} else {
				if (shmkit_queue_lease(shared, &slot))
					continue;
				value = leased_value(&slot);
				if (shmkit_queue_ack(shared, &slot))
					return NULL;
			}
			sums[me] += value;
			got++;
		}
	}
	return NULL;
}

static void test_threads_one_handle_nothing_lost(void **state)
{
	pthread_t threads[THREADS];
	uint64_t sum = 0;

	(void)state;
	shared = make_queue("q", 8, 16);
	memset(sums, 0, sizeof(sums));
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, mixed_thread, (void *)(uintptr_t)i), 0);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		sum += sums[i];
	}
	assert_int_equal(sum, (uint64_t)THREADS * ROUNDS * (ROUNDS + 1) / 2);
	expect_full_capacity(shared);
	shmkit_queue_close(shared);
}

static pthread_barrier_t together;

static void *lease_thread(void *argument)
{
	struct shmkit_slot slot;

	(void)argument;
	pthread_barrier_wait(&together);
	return shmkit_queue_lease(shared, &slot) ? argument : NULL;
}

/* The first leases through a fresh handle, at once: closing it must know of all of them. */
static void test_close_first_leases_at_once_all_given_back(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, THREADS);
	pthread_t threads[THREADS];

	(void)state;
	for (unsigned round = 0; round < 500; round++) {
		shared = open_queue("q");
		for (uint64_t i = 0; i < THREADS; i++)
			put(queue, i);
		pthread_barrier_init(&together, NULL, THREADS);
		for (size_t i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&threads[i], NULL, lease_thread, &together), 0);
		for (size_t i = 0; i < THREADS; i++) {
			void *failed;

			pthread_join(threads[i], &failed);
			assert_null(failed);
		}
		pthread_barrier_destroy(&together);
		shmkit_queue_close(shared);
		for (uint64_t i = 0; i < THREADS; i++)
			expect_next(queue, i);
		expect_empty(queue);
	}
	shmkit_queue_close(queue);
}

/* ---- damage ---- */

static void test_slot_impossible_ebadmsg(void **state)
{
	struct shmkit_queue *queue = make_queue("q", 8, 4);
	uint64_t value = 1;

	(void)state;
	*shk_slot(queue, 0) = shk_slot_word(5, 0, SHK_READY, 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &value), -EBADMSG);
	assert_int_equal(shmkit_queue_dequeue(queue, &value), -EBADMSG);
	assert_non_null(strstr(shmkit_last_error(), "'q'"));
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	*shk_slot(queue, 0) = shk_free_word(queue, 0);
	expect_full_capacity(queue);
	shmkit_queue_close(queue);
}

static void hostile_round(struct shmkit_queue *queue)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	uint64_t values[300] = { 0 };
	struct shmkit_slot slot;

	switch (test_random_below(10)) {
	case 0: shmkit_queue_enqueue(queue, values); break;
	case 1: shmkit_queue_dequeue(queue, values); break;
	case 2: shmkit_queue_enqueue_bulk(queue, values, 1 + test_random_below(300)); break;
	case 3: shmkit_queue_dequeue_bulk(queue, values, 1 + test_random_below(300)); break;
	case 4:
		if (shmkit_queue_lease(queue, &slot) == 0) {
			memset(slot.data, 1, 8);
			shmkit_queue_nack(queue, &slot);
		}
		break;
	case 5:
		if (shmkit_queue_reserve(queue, &slot) == 0) {
			memset(slot.data, 2, 8);
			shmkit_queue_commit(queue, &slot);
		}
		break;
	case 6: shmkit_queue_get_stats(queue, &stats); break;
	case 7: assert_true(shmkit_queue_size(queue) <= shmkit_queue_capacity(queue)); break;
	case 8: shmkit_segment_check(segment); break;
	default: shmkit_queue_shutdown(queue); shmkit_queue_reopen(queue); break;
	}
}

/* A word that is nearly right goes further than one that is not. */
static uint64_t hostile_word(uint64_t word)
{
	switch (test_random_below(5)) {
	case 0: return test_random();
	case 1: return word ^ UINT64_C(1) << test_random_below(64);
	case 2: return word + (UINT64_C(1) << test_random_below(64));
	case 3: return (word & ~UINT64_C(0xffffff)) | test_random_below(1 << 24);
	default: return 0 - test_random_below(4);
	}
}

static void test_every_call_hostile_bytes_returns(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct shmkit_queue *queue = make_queue("q", 8, 1 + test_random_below(32)), *other;
		shk_u64 *words[] = { &queue->shm->head, &queue->shm->tail, &queue->shm->redo_set,
				     &queue->shm->redo_done, &queue->shm->base, &queue->shm->discarded };

		for (unsigned round = 0; round < 300; round++) {
			uint64_t which = test_random_below(8);
			shk_u64 *word = which < 6 ? words[which] : shk_slot(queue, test_random());

			*word = hostile_word(*word);
			hostile_round(queue);
			if (round % 50 == 0) {
				other = open_queue("q");
				hostile_round(other);
				shmkit_queue_close(other);
			}
		}
		shmkit_queue_close(queue);
		assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create_bad_argument_einval),
		TEST(test_create_unknown_tail_e2big),
		TEST(test_create_taken_or_long_name_or_no_space_refused),
		TEST(test_open_missing_or_other_shape_refused),
		TEST(test_open_or_create_other_shape_eprototype),
		TEST(test_capacity_any_rounded_up),
		TEST(test_elements_size_1_to_200_whole_and_aligned),
		TEST(test_every_call_null_einval),
		TEST(test_enqueue_full_and_dequeue_empty_eagain_and_fifo),
		TEST(test_bulk_more_than_a_batch_all_in_order),
		TEST(test_every_call_across_the_wrap_as_ever),
		TEST(test_settle_twice_or_as_the_other_sort_estale),
		TEST(test_settle_invented_token_refused),
		TEST(test_nack_many_times_deliveries_rest),
		TEST(test_nack_before_younger_delivered_first_the_oldest_first),
		TEST(test_lease_held_blocks_producers_one_lap_later),
		TEST(test_reserve_held_hides_what_lies_behind),
		TEST(test_cancel_of_all_capacity_again_without_a_consumer),
		TEST(test_enqueue_tomb_freed_head_not_moved_capacity_again),
		TEST(test_close_holding_gives_back_its_own),
		TEST(test_close_settled_through_another_handle_steals_nothing),
		TEST(test_close_last_handle_gives_back_all),
		TEST(test_shutdown_producers_refused_consumers_drain),
		TEST(test_shutdown_cancelled_reservation_then_drained),
		TEST(test_stats_every_outcome_counted),
		TEST(test_wait_not_possible_etimedout_after_the_time),
		TEST(test_wait_signal_eintr),
		TEST(test_wait_interrupted_ecanceled),
		TEST(test_wait_possible_later_woken),
		TEST(test_fork_child_uses_the_queue_but_not_the_parents_slots),
		TEST(test_death_of_a_holder_repaired_and_counted),
		TEST(test_read_only_writers_erofs_readers_work),
		TEST(test_every_call_removed_estale),
		TEST(test_threads_one_handle_nothing_lost),
		TEST(test_close_first_leases_at_once_all_given_back),
		TEST(test_slot_impossible_ebadmsg),
		TEST(test_every_call_hostile_bytes_returns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
