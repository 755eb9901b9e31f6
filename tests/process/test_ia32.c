/*
 * Goal: a 32-bit and a 64-bit process work on one segment: every kind of structure, both ways, and
 * the 64-bit one cleans up after the 32-bit one.
 *
 * Method: this process makes everything, starts ia32_peer (its path in SHMKIT_IA32_PEER), streams
 * messages to it through a queue and a ring and checks what comes back. The peer ends without
 * closing anything, which is a death. Left out where no 32-bit program could be built.
 */
#include "ia32.h"
#include "support.h"

#include <errno.h>
#include <stdlib.h>

static struct shmkit_segment *segment;

static void make_values(void)
{
	struct shmkit_atomic_u64 *counter;
	struct shmkit_atomic_f64 *real;
	struct shmkit_array *array;
	struct shmkit_pool *pool;
	uint64_t handle;

	assert_int_equal(shmkit_atomic_u64_create(segment, "counter", COUNTER_START, &counter), 0);
	assert_int_equal(shmkit_atomic_f64_create(segment, "real", 2.25, &real), 0);
	assert_int_equal(shmkit_array_create(segment, "array", sizeof(struct message), ARRAY_SIZE, NULL,
					     &array), 0);
	for (uint64_t i = 0; i < ARRAY_SIZE; i++)
		((struct message *)shmkit_array_data(array))[i] = make_message(i);
	assert_int_equal(shmkit_pool_create(segment, "pool", sizeof(struct message), 100, NULL, &pool), 0);
	for (uint64_t i = 0; i < POOL_OBJECTS; i++) {
		/* in the order of the slots, which is how the other side walks */
		assert_int_equal(shmkit_pool_acquire(pool, &handle), 0);
		*(struct message *)shmkit_pool_get(pool, handle) = make_message(i);
	}
	shmkit_atomic_u64_close(counter);
	shmkit_atomic_f64_close(real);
	shmkit_array_close(array);
	shmkit_pool_close(pool);
}

static void check_values(void)
{
	struct shmkit_atomic_u64 *counter;
	struct shmkit_atomic_f64 *real;
	struct shmkit_array *array;
	struct shmkit_pool *pool;
	uint64_t handle, cursor = 0;

	assert_int_equal(shmkit_atomic_u64_open(segment, "counter", &counter), 0);
	assert_true(shmkit_atomic_u64_load(counter) == COUNTER_START + 1);
	assert_int_equal(shmkit_atomic_f64_open(segment, "real", &real), 0);
	assert_true(shmkit_atomic_f64_load(real) == 2.75);
	assert_int_equal(shmkit_array_open(segment, "array", sizeof(struct message), &array), 0);
	for (uint64_t i = 0; i < ARRAY_SIZE; i++)
		assert_true(is_message(shmkit_array_at(array, i), i + 1000));
	assert_int_equal(shmkit_pool_open(segment, "pool", sizeof(struct message), &pool), 0);
	assert_int_equal(shmkit_pool_size(pool), 1);
	assert_int_equal(shmkit_pool_next(pool, &cursor, &handle), 1);
	assert_true(is_message(shmkit_pool_get(pool, handle), 4242));
	/* its owner is gone */
	assert_int_equal(shmkit_pool_reclaim(pool), 1);
	assert_int_equal(shmkit_pool_size(pool), 0);
	shmkit_atomic_u64_close(counter);
	shmkit_atomic_f64_close(real);
	shmkit_array_close(array);
	shmkit_pool_close(pool);
}

static void stream_through_queues(struct shmkit_queue *to, struct shmkit_queue *from)
{
	struct message message;
	uint64_t sent = 0, received = 0;

	while (received < MESSAGES) {
		while (sent < MESSAGES) {
			message = make_message(sent);
			if (shmkit_queue_enqueue(to, &message) != 0)
				break;
			sent++;
		}
		assert_int_equal(shmkit_queue_dequeue_wait(from, &message, TIMEOUT_NS), 0);
		assert_true(is_message(&message, received++));
	}
	assert_int_equal(shmkit_queue_dequeue_wait(from, &message, TIMEOUT_NS), -ESHUTDOWN);
}

static void stream_through_rings(struct shmkit_ring *to, struct shmkit_ring *from)
{
	struct message messages[70];
	uint64_t sent = 0, received = 0;
	int64_t n;

	for (;;) {
		while (sent < MESSAGES) {
			for (uint64_t i = 0; i < 70; i++)
				messages[i] = make_message(sent + i);
			n = shmkit_ring_push_bulk(to, messages,
						  MESSAGES - sent < 70 ? (size_t)(MESSAGES - sent) : 70);
			assert_true(n >= 0);
			if (n == 0)
				break;
			sent += (uint64_t)n;
			if (sent == MESSAGES)
				assert_int_equal(shmkit_ring_shutdown(to), 0);
		}
		n = shmkit_ring_pop_bulk_wait(from, messages, 70, TIMEOUT_NS);
		if (n < 0)
			break;
		for (int64_t i = 0; i < n; i++)
			assert_true(is_message(&messages[i], received++));
	}
	assert_int_equal(n, -ESHUTDOWN);
	assert_int_equal(received, MESSAGES);
}

static void test_segment_shared_by_32_and_64_bits(void **state)
{
	const char *peer = getenv("SHMKIT_IA32_PEER");
	const char *name = test_name("ia32");
	const char *argv[] = { peer, name, NULL };
	struct shmkit_queue *to, *from, *made;
	struct shmkit_ring *ring, *back;
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	pid_t pid;

	(void)state;
	if (!peer || sizeof(void *) != 8) {
		print_message("left out: no 32-bit program (gcc-multilib, libbsd-dev:i386)\n");
		skip();
	}
	pid = test_spawn(peer, argv, NULL);
	assert_true(pid > 0);
	assert_int_equal(shmkit_segment_create(name, 1 << 20, NULL, &segment), 0);
	make_values();
	assert_int_equal(shmkit_queue_create(segment, "to 32", sizeof(struct message), 64, NULL, &to), 0);
	assert_int_equal(shmkit_queue_create(segment, "from 32", sizeof(struct message), 64, NULL, &from), 0);
	assert_int_equal(shmkit_ring_create(segment, "ring to 32", sizeof(struct message), 100, NULL,
					    &ring), 0);
	assert_int_equal(shmkit_ring_create(segment, "ring from 32", sizeof(struct message), 100, NULL,
					    &back), 0);
	stream_through_queues(to, from);
	stream_through_rings(ring, back);
	assert_int_equal(test_wait_exit(pid, 20000), 0);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	check_values();
	assert_int_equal(shmkit_queue_open(segment, "made by 32", 12, &made), 0);
	assert_int_equal(shmkit_queue_capacity(made), 4);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_queue_close(made);
	shmkit_queue_close(to);
	shmkit_queue_close(from);
	shmkit_ring_close(ring);
	shmkit_ring_close(back);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_segment_shared_by_32_and_64_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
