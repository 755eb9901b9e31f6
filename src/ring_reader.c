/*
 * Those who look at a ring and take nothing: last, and readers with a place of their own. They
 * write nothing to the segment, so that a read-only one serves. Protocol: ring.h.
 */
#include "ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READ_ROUNDS 16u                     /* of copying what was overwritten meanwhile */

struct shmkit_ring_reader {
	struct shmkit_ring *ring;
	uint64_t position;                  /* of the next element to read */
	uint64_t lost;                      /* missed, and not told yet */
};

/* Of count elements copied from position on: how many of the oldest are doubtful after all. */
static uint64_t count_doubtful(const struct shmkit_ring *ring, uint64_t position, uint64_t count)
{
	uint64_t oldest;

	/* read:F acquire. The copy before write_next; pairs with push:F. */
	shk_fence_acquire();
	/* relaxed: the fence orders it */
	oldest = shk_ring_oldest(ring, shk_load_relaxed(&ring->shm->write_next));
	if (oldest <= position)
		return 0;
	return oldest - position < count ? oldest - position : count;
}

static void drop_front(const struct shmkit_ring *ring, void *elements, uint64_t drop, uint64_t count)
{
	size_t size = ring->element_size;

	if (drop)
		memmove(elements, (uint8_t *)elements + drop * size, (size_t)(count - drop) * size);
}

int64_t shmkit_ring_last(struct shmkit_ring *ring, void *ret_elements, size_t count)
{
	uint64_t kept = 0;
	int result;

	if (!ring || (!ret_elements && count))
		return shk_ring_null("shmkit_ring_last");
	result = shk_object_enter(&ring->object);
	if (result || count == 0)
		return result;
	for (unsigned round = 0; round < READ_ROUNDS; round++) {
		/* acquire: as pop:W */
		uint64_t end = shk_load_acquire(&ring->shm->write_index);
		uint64_t n = count < ring->capacity ? count : ring->capacity;
		uint64_t doubtful;

		if (n > end)
			n = end;
		shk_ring_copy_out(ring, end - n, n, ret_elements);
		doubtful = count_doubtful(ring, end - n, n);
		drop_front(ring, ret_elements, doubtful, n);
		kept = n - doubtful;
		/* what a push has begun to overwrite is no longer held; all there is, unless more came */
		if (doubtful == 0 || shk_load_acquire(&ring->shm->write_index) == end)
			break;
	}
	return shk_object_leave(&ring->object, (int64_t)kept);
}

/* ---- readers ---- */

static int reader_null(const char *what)
{
	return shk_fail(-EINVAL, "%s: the reader or the place of the elements is NULL", what);
}

int shmkit_ring_reader_open(struct shmkit_ring *ring, uint32_t from,
			    struct shmkit_ring_reader **ret_reader)
{
	struct shmkit_ring_reader *reader;
	int result;

	if (!ring || !ret_reader)
		return shk_ring_null("shmkit_ring_reader_open");
	if (from > SHMKIT_READ_FROM_NEWEST)
		return shk_fail(-EINVAL, "shmkit_ring_reader_open: from is %u; there are "
					 "SHMKIT_READ_FROM_OLDEST and SHMKIT_READ_FROM_NEWEST", from);
	result = shk_object_enter(&ring->object);
	if (result)
		return result;
	reader = calloc(1, sizeof(*reader));
	if (!reader)
		return shk_fail(-ENOMEM, "no memory for a reader of ring '%s'",
				shk_object_name(&ring->object));
	reader->ring = ring;
	reader->position = shk_load_acquire(&ring->shm->write_index);
	if (from == SHMKIT_READ_FROM_OLDEST) {
		uint64_t oldest = shk_ring_oldest(ring, shk_load_acquire(&ring->shm->write_next));

		if (oldest < reader->position)
			reader->position = oldest;
	}
	__atomic_fetch_add(&ring->references, 1, __ATOMIC_RELAXED);
	*ret_reader = reader;
	return 0;
}

void shmkit_ring_reader_close(struct shmkit_ring_reader *reader)
{
	if (!reader)
		return;
	shk_ring_put(reader->ring);
	free(reader);
}

/*
 * Moves the reader on over what is no longer held. After a copy that was overwritten altogether it
 * goes on a little further: what lies right behind would be overwritten before it is copied, again
 * and again.
 */
static void skip_lost(struct shmkit_ring_reader *reader, uint64_t end, unsigned round)
{
	uint64_t capacity = reader->ring->capacity;
	uint64_t kept = capacity - capacity / READ_ROUNDS * round;

	if (end - reader->position <= kept)
		return;
	reader->lost += end - kept - reader->position;
	reader->position = end - kept;
}

/* 0..count; moves the reader on, over what it missed. */
static uint64_t read_some(struct shmkit_ring_reader *reader, void *ret_elements, uint64_t count)
{
	const struct shmkit_ring *ring = reader->ring;

	for (unsigned round = 0; round < READ_ROUNDS; round++) {
		/* acquire: as pop:W */
		uint64_t end = shk_load_acquire(&ring->shm->write_index);
		uint64_t n, doubtful;

		if (end <= reader->position)
			return 0;
		skip_lost(reader, end, round);
		n = end - reader->position < count ? end - reader->position : count;
		shk_ring_copy_out(ring, reader->position, n, ret_elements);
		doubtful = count_doubtful(ring, reader->position, n);
		drop_front(ring, ret_elements, doubtful, n);
		reader->lost += doubtful;
		reader->position += n;
		if (doubtful < n)
			return n - doubtful;
	}
	return 0;                           /* overwritten faster than it can be copied */
}

/* 0..count, or why not; tells_lost: what was missed is worth a result of its own. */
static int64_t read_next(struct shmkit_ring_reader *reader, void *ret_elements, size_t count,
			 bool tells_lost)
{
	const struct shmkit_ring *ring = reader->ring;
	int64_t result = shk_object_enter(&ring->object);
	uint64_t n;

	if (result || count == 0)
		return result;
	n = read_some(reader, ret_elements, count);
	if (shk_unlikely(n == 0)) {
		shk_look(ring->object.segment);
		if (!(tells_lost && reader->lost) && shk_ring_is_end(ring, reader->position))
			return shk_fail_fixed(-ESHUTDOWN, "the ring was shut down, and this reader is at "
							  "its end");
	}
	return shk_object_leave(&ring->object, (int64_t)n);
}

/* What was missed is told with what was read, or else when it is asked for. */
static void tell_lost(struct shmkit_ring_reader *reader, uint64_t *ret_lost)
{
	if (ret_lost)
		*ret_lost = reader->lost;
	reader->lost = 0;
}

int64_t shmkit_ring_reader_read(struct shmkit_ring_reader *reader, void *ret_elements, size_t count,
				uint64_t *ret_lost)
{
	int64_t n;

	if (!reader || (!ret_elements && count))
		return reader_null("shmkit_ring_reader_read");
	n = read_next(reader, ret_elements, count, ret_lost != NULL);
	if (n > 0 || (n == 0 && ret_lost))
		tell_lost(reader, ret_lost);
	return n;
}

uint64_t shmkit_ring_reader_position(const struct shmkit_ring_reader *reader)
{
	if (!reader) {
		reader_null("shmkit_ring_reader_position");
		return 0;
	}
	return reader->position;
}

int shmkit_ring_reader_seek(struct shmkit_ring_reader *reader, uint64_t position)
{
	uint64_t end;
	int result;

	if (!reader)
		return reader_null("shmkit_ring_reader_seek");
	result = shk_object_enter(&reader->ring->object);
	if (result)
		return result;
	end = shk_load_acquire(&reader->ring->shm->write_index);
	if (position > end)
		return shk_fail(-ERANGE, "position %llu was asked for; %llu elements were pushed so far",
				(unsigned long long)position, (unsigned long long)end);
	reader->position = position;
	reader->lost = 0;
	return 0;
}

/* ---- waiting ---- */

struct reading {
	struct shmkit_ring_reader *reader;
	void *to;
	size_t count;
};

static int64_t try_read(void *context)
{
	struct reading *reading = context;
	int64_t n = read_next(reading->reader, reading->to, reading->count, false);

	return n == 0 ? shk_fail_fixed(-EAGAIN, "nothing new in the ring") : n;
}

int64_t shmkit_ring_reader_wait(struct shmkit_ring_reader *reader, void *ret_elements, size_t count,
				uint64_t *ret_lost, int64_t timeout_ns)
{
	struct reading reading = { reader, ret_elements, count };
	int64_t n;

	if (!reader || (!ret_elements && count))
		return reader_null("shmkit_ring_reader_wait");
	if (count == 0)
		return shmkit_ring_reader_read(reader, ret_elements, 0, ret_lost);
	n = shk_wait_until(reader->ring->object.segment, &reader->ring->shm->data_event, timeout_ns,
			   try_read, &reading);
	/* also at the end: there will be nothing more to tell it with */
	if (n > 0 || (n == -ESHUTDOWN && ret_lost))
		tell_lost(reader, ret_lost);
	return n;
}
