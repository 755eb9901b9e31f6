/*
 * A 32-bit process on a segment that a 64-bit process made; see test_ia32.c. Opens each structure
 * by name, checks what the other side put there, answers. Exit status 0: all was as agreed.
 *
 * Usage: ia32_peer SEGMENT
 */
#include "ia32.h"

#include <errno.h>
#include <stdio.h>

#define CHECK(condition)                                                                      \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			fprintf(stderr, "ia32_peer: line %d: %s; %s\n", __LINE__, #condition, \
				shmkit_last_error());                                         \
			return 1;                                                             \
		}                                                                             \
	} while (0)

static int use_values(struct shmkit_segment *segment)
{
	struct shmkit_atomic_u64 *counter;
	struct shmkit_atomic_f64 *real;
	struct shmkit_array *array;
	struct message message;

	CHECK(shmkit_atomic_u64_open(segment, "counter", &counter) == 0);
	CHECK(shmkit_atomic_u64_load(counter) == COUNTER_START);
	CHECK(shmkit_atomic_u64_fetch_add(counter, 1) == COUNTER_START);
	CHECK(shmkit_atomic_f64_open(segment, "real", &real) == 0);
	CHECK(shmkit_atomic_f64_fetch_add(real, 0.5) == 2.25);
	CHECK(shmkit_array_open(segment, "array", sizeof(message), &array) == 0);
	for (uint64_t i = 0; i < ARRAY_SIZE; i++) {
		CHECK(shmkit_array_read(array, i, 1, &message) == 0);
		CHECK(is_message(&message, i));
		message = make_message(i + 1000);
		CHECK(shmkit_array_write(array, i, 1, &message) == 0);
	}
	shmkit_atomic_u64_close(counter);
	shmkit_atomic_f64_close(real);
	shmkit_array_close(array);
	return 0;
}

static int use_pool(struct shmkit_segment *segment)
{
	struct shmkit_pool *pool;
	struct message *message;
	uint64_t handle, cursor = 0;
	int found = 0;

	CHECK(shmkit_pool_open(segment, "pool", sizeof(*message), &pool) == 0);
	while (shmkit_pool_next(pool, &cursor, &handle) == 1) {
		message = shmkit_pool_get(pool, handle);
		CHECK(message && is_message(message, (uint64_t)found++));
		CHECK(shmkit_pool_release(pool, handle) == 0);
	}
	CHECK(found == POOL_OBJECTS);
	CHECK(shmkit_pool_acquire(pool, &handle) == 0);
	message = shmkit_pool_get(pool, handle);
	*message = make_message(4242);
	shmkit_pool_close(pool);
	return 0;
}

/* Takes from one queue, by lease and in bulk, and answers on another; and through rings. */
static int answer(struct shmkit_segment *segment)
{
	struct shmkit_queue *to, *from;
	struct shmkit_ring *ring, *back;
	struct message messages[50];
	struct shmkit_slot slot;
	uint64_t next = 0;
	int64_t n;

	CHECK(shmkit_queue_open(segment, "to 32", sizeof(struct message), &to) == 0);
	CHECK(shmkit_queue_open(segment, "from 32", sizeof(struct message), &from) == 0);
	CHECK(shmkit_ring_open(segment, "ring to 32", sizeof(struct message), &ring) == 0);
	CHECK(shmkit_ring_open(segment, "ring from 32", sizeof(struct message), &back) == 0);
	while (next < MESSAGES) {
		if (next % 3 == 0) {
			CHECK(shmkit_queue_lease_wait(to, &slot, TIMEOUT_NS) == 0);
			messages[0] = *(struct message *)slot.data;
			CHECK(shmkit_queue_ack(to, &slot) == 0);
			n = 1;
		} else {
			n = shmkit_queue_dequeue_bulk_wait(to, messages, 50, TIMEOUT_NS);
			CHECK(n > 0);
		}
		for (int64_t i = 0; i < n; i++) {
			CHECK(is_message(&messages[i], next++));
			CHECK(shmkit_queue_enqueue_wait(from, &messages[i], TIMEOUT_NS) == 0);
		}
	}
	CHECK(shmkit_queue_shutdown(from) == 0);
	for (next = 0; (n = shmkit_ring_pop_bulk_wait(ring, messages, 50, TIMEOUT_NS)) > 0;) {
		for (int64_t i = 0; i < n; i++)
			CHECK(is_message(&messages[i], next++));
		for (int64_t done = 0, k; done < n; done += k) {
			k = shmkit_ring_push_bulk_wait(back, messages + done, (size_t)(n - done), TIMEOUT_NS);
			CHECK(k > 0);
		}
	}
	CHECK(n == -ESHUTDOWN && next == MESSAGES);
	CHECK(shmkit_ring_shutdown(back) == 0);
	shmkit_queue_close(to);
	shmkit_queue_close(from);
	shmkit_ring_close(ring);
	shmkit_ring_close(back);
	return 0;
}

int main(int argc, char **argv)
{
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;

	if (sizeof(void *) != 4 || argc != 2)
		return 2;
	CHECK(shmkit_segment_open_wait(argv[1], 0, TIMEOUT_NS, &segment) == 0);
	CHECK(shmkit_segment_check(segment) == 0);
	CHECK(shmkit_segment_wait_for(segment, "ring from 32", TIMEOUT_NS) == 0);
	if (use_values(segment) || use_pool(segment) || answer(segment))
		return 1;
	CHECK(shmkit_queue_create(segment, "made by 32", 12, 3, NULL, &queue) == 0);
	CHECK(shmkit_segment_check(segment) == 0);
	/* dies with all it has open: the 64-bit side cleans up */
	return 0;
}
