/*
 * Calls of the hot paths for tools/compare-points, which counts their instructions. Argument: how
 * many of each.
 */
#include <shmkit.h>

#include <stdio.h>
#include <stdlib.h>

static void must(int64_t result)
{
	if (result < 0) {
		fprintf(stderr, "%s\n", shmkit_last_error());
		exit(1);
	}
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : 1000;
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_pool *pool;
	uint64_t element = 1, elements[32] = { 0 }, handle;

	must(shmkit_segment_create_anonymous("cost", 1 << 20, NULL, &segment));
	must(shmkit_queue_create(segment, "q", sizeof(element), 64, NULL, &queue));
	must(shmkit_ring_create(segment, "r", sizeof(element), 64, NULL, &ring));
	must(shmkit_pool_create(segment, "p", sizeof(element), 64, NULL, &pool));
	for (unsigned long i = 0; i < count; i++) {
		struct shmkit_slot slot;

		must(shmkit_queue_enqueue(queue, &element));
		must(shmkit_queue_dequeue(queue, &element));
		must(shmkit_queue_enqueue_bulk(queue, elements, 32));
		must(shmkit_queue_dequeue_bulk(queue, elements, 32));
		must(shmkit_queue_reserve(queue, &slot));
		must(shmkit_queue_commit(queue, &slot));
		must(shmkit_queue_lease(queue, &slot));
		must(shmkit_queue_ack(queue, &slot));
		must(shmkit_ring_push_bulk(ring, elements, 32));
		must(shmkit_ring_pop_bulk(ring, elements, 32));
		must(shmkit_pool_acquire(pool, &handle));
		must(shmkit_pool_release(pool, handle));
	}
	shmkit_pool_close(pool);
	shmkit_ring_close(ring);
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	return 0;
}
