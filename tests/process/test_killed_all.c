/*
 * Goal: after kill -9 of all members at random moments a new process opens the segment and goes
 * on: it is sound, space and capacity are what they were, nothing blocks.
 *
 * Method: six workers use a queue, a ring, a pool and a changing set of names as fast as they can,
 * are killed and replaced one by one, then all at once. After each such round the parent, who was
 * no member meanwhile, opens the segment and audits it: check() is 0, the space used, the queue's
 * capacity and the pool's are back. Fixed seeds can be set, see support.h.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORKERS 6
#define ROUNDS 60
#define ELEMENT 64u

static char name[64];

struct handles {
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_pool *pool;
};

static int open_all(struct handles *handles)
{
	int result = shmkit_segment_open(name, 0, &handles->segment);

	if (!result)
		result = shmkit_queue_open(handles->segment, "queue", ELEMENT, &handles->queue);
	if (!result)
		result = shmkit_ring_open(handles->segment, "ring", ELEMENT, &handles->ring);
	if (!result)
		result = shmkit_pool_open(handles->segment, "pool", ELEMENT, &handles->pool);
	return result;
}

static void close_all(struct handles *handles)
{
	shmkit_queue_close(handles->queue);
	shmkit_ring_close(handles->ring);
	shmkit_pool_close(handles->pool);
	shmkit_segment_close(handles->segment);
}

static int64_t use_slots(struct handles *handles, bool consumer)
{
	struct shmkit_slot slot;
	int64_t result = consumer ? shmkit_queue_lease(handles->queue, &slot)
				  : shmkit_queue_reserve(handles->queue, &slot);

	if (result)
		return result;
	if (consumer)
		return test_random_below(2) ? shmkit_queue_ack(handles->queue, &slot)
					    : shmkit_queue_nack(handles->queue, &slot);
	memset(slot.data, 1, ELEMENT);
	return test_random_below(2) ? shmkit_queue_commit(handles->queue, &slot)
				    : shmkit_queue_cancel(handles->queue, &slot);
}

static int64_t use_pool(struct handles *handles)
{
	uint64_t handle;
	int64_t result;

	if (test_random_below(4) == 0)
		return shmkit_pool_reclaim(handles->pool);
	result = shmkit_pool_acquire(handles->pool, &handle);
	if (result == 0 && test_random_below(3))
		result = shmkit_pool_release(handles->pool, handle);
	return result;
}

static int64_t use_names(struct handles *handles)
{
	struct shmkit_queue *queue;
	uint64_t element = 1;
	char text[16];
	int result;

	snprintf(text, sizeof(text), "name %d", (int)test_random_below(6));
	if (test_random_below(3) == 0)
		return shmkit_segment_remove(handles->segment, text);
	result = shmkit_queue_open_or_create(handles->segment, text, 8, 64u << test_random_below(3), NULL,
					     &queue);
	if (result < 0)
		return result;
	(void)shmkit_queue_enqueue(queue, &element);
	(void)shmkit_queue_dequeue(queue, &element);
	shmkit_queue_close(queue);
	return 0;
}

static int64_t use_something(struct handles *handles)
{
	static char elements[40 * ELEMENT];
	size_t count = 1 + test_random_below(40);

	switch (test_random_below(9)) {
	case 0:
	case 1:
		return shmkit_queue_enqueue_bulk(handles->queue, elements, count);
	case 2:
	case 3:
		return shmkit_queue_dequeue_bulk(handles->queue, elements, count);
	case 4:
		return use_slots(handles, test_random_below(2));
	case 5:
		return shmkit_ring_push_overwrite(handles->ring, elements, count);
	case 6:
		return shmkit_ring_pop_bulk(handles->ring, elements, count);
	case 7:
		return use_pool(handles);
	default:
		return use_names(handles);
	}
}

static int worker(void *argument)
{
	struct handles handles;
	int64_t result = open_all(&handles);

	(void)argument;
	while (result >= 0 || result == -EAGAIN || result == -EBUSY || result == -ESTALE ||
	       result == -ENOSPC || result == -ENOENT || result == -EPROTOTYPE)
		result = use_something(&handles);
	fprintf(stderr, "worker: %lld, %s\n", (long long)result, shmkit_last_error());
	return 1;
}

/* Killed, it must not have ended by itself. */
static void kill_worker(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
}

static uint64_t used(struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.members, 1);
	return info.used;
}

static void expect_ok(const char *what, int64_t result)
{
	if (result)
		print_error("%s: %lld, %s\n", what, (long long)result, shmkit_last_error());
	assert_int_equal(result, 0);
}

static void audit(uint64_t used_before)
{
	static char element[ELEMENT];
	struct handles handles;
	uint64_t start = test_now_ns(), handle;
	char text[16];
	int count;

	expect_ok("open", open_all(&handles));
	expect_ok("check", shmkit_segment_check(handles.segment));
	for (int i = 0; i < 6; i++) {
		snprintf(text, sizeof(text), "name %d", i);
		(void)shmkit_segment_remove(handles.segment, text);
	}
	expect_ok("recover", shmkit_segment_recover(handles.segment, NULL));
	assert_int_equal(used(handles.segment), used_before);
	while (shmkit_queue_dequeue(handles.queue, element) == 0)
		;
	for (count = 0; shmkit_queue_enqueue(handles.queue, element) == 0; count++)
		;
	assert_int_equal(count, 128);
	while (shmkit_queue_dequeue(handles.queue, element) == 0)
		;
	assert_true(shmkit_pool_reclaim(handles.pool) >= 0);
	for (count = 0; shmkit_pool_acquire(handles.pool, &handle) == 0; count++)
		;
	assert_int_equal(count, 100);
	assert_true(shmkit_ring_push_overwrite(handles.ring, element, 1) >= 0);
	expect_ok("check", shmkit_segment_check(handles.segment));
	close_all(&handles);
	assert_true(test_now_ns() - start < UINT64_C(2000000000));
}

static uint64_t make_segment(void)
{
	struct shmkit_segment_options persist = { .struct_size = sizeof(persist),
						  .flags = SHMKIT_SEGMENT_PERSIST };
	struct shmkit_object_options many = {
		.struct_size = sizeof(many),
		.flags = SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER,
	};
	struct handles handles;
	uint64_t before;

	snprintf(name, sizeof(name), "%s", test_name("killed"));
	assert_int_equal(shmkit_segment_create(name, 1 << 20, &persist, &handles.segment), 0);
	assert_int_equal(shmkit_queue_create(handles.segment, "queue", ELEMENT, 128, NULL,
					     &handles.queue), 0);
	assert_int_equal(shmkit_ring_create(handles.segment, "ring", ELEMENT, 100, &many,
					    &handles.ring), 0);
	assert_int_equal(shmkit_pool_create(handles.segment, "pool", ELEMENT, 100, NULL,
					    &handles.pool), 0);
	before = used(handles.segment);
	close_all(&handles);
	return before;
}

static void test_open_after_all_were_killed_goes_on(void **state)
{
	uint64_t before = make_segment();
	pid_t pids[WORKERS];

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < WORKERS; i++)
			pids[i] = test_fork(worker, NULL);
		for (int kills = 0; kills < 8; kills++) {
			int victim = (int)test_random_below(WORKERS);

			usleep((useconds_t)test_random_below(4000));
			kill_worker(pids[victim]);
			pids[victim] = test_fork(worker, NULL);
		}
		usleep((useconds_t)test_random_below(3000));
		for (int i = 0; i < WORKERS; i++)
			kill(pids[i], SIGKILL);
		for (int i = 0; i < WORKERS; i++)
			kill_worker(pids[i]);
		audit(before);
	}
	assert_int_equal(shmkit_segment_unlink(name), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_after_all_were_killed_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
