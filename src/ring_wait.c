/*
 * The ring's blocking calls, its figures, and the calls that make and open it.
 */
#include "ring.h"

#include <errno.h>

int shmkit_ring_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		       uint64_t capacity, const struct shmkit_object_options *options,
		       struct shmkit_ring **ret_ring)
{
	return shk_object_create(segment, name, SHMKIT_KIND_RING, element_size, capacity, options, 0,
				 (struct shk_object **)ret_ring);
}

int shmkit_ring_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		     struct shmkit_ring **ret_ring)
{
	return shk_object_open(segment, name, SHMKIT_KIND_RING, element_size,
			       (struct shk_object **)ret_ring);
}

int shmkit_ring_open_or_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
			       uint64_t capacity, const struct shmkit_object_options *options,
			       struct shmkit_ring **ret_ring)
{
	return shk_object_open_or_create(segment, name, SHMKIT_KIND_RING, element_size, capacity, options,
					 0, (struct shk_object **)ret_ring);
}

int shmkit_ring_get_info(const struct shmkit_ring *ring, struct shmkit_entry_info *ret_info)
{
	return shk_object_get_info((const struct shk_object *)ring, ret_info);
}

/* ---- figures ---- */

static bool enter_figure(const struct shmkit_ring *ring, const char *what)
{
	if (ring)
		return shk_object_enter(&ring->object) == 0;
	shk_ring_null(what);
	return false;
}

uint64_t shmkit_ring_capacity(const struct shmkit_ring *ring)
{
	if (!ring)
		shk_ring_null("shmkit_ring_capacity");
	return ring ? ring->capacity : 0;
}

uint32_t shmkit_ring_element_size(const struct shmkit_ring *ring)
{
	if (!ring)
		shk_ring_null("shmkit_ring_element_size");
	return ring ? ring->element_size : 0;
}

uint64_t shmkit_ring_size(const struct shmkit_ring *ring)
{
	struct shk_ring_view view;

	if (!enter_figure(ring, "shmkit_ring_size") || shk_ring_look(ring, &view))
		return 0;
	return view.write_index - view.read_index;
}

uint64_t shmkit_ring_total_pushed(const struct shmkit_ring *ring)
{
	if (!enter_figure(ring, "shmkit_ring_total_pushed"))
		return 0;
	return shk_load_acquire(&ring->shm->write_index);
}

uint64_t shmkit_ring_total_dropped(const struct shmkit_ring *ring)
{
	uint64_t base;

	if (!enter_figure(ring, "shmkit_ring_total_dropped"))
		return 0;
	/* acquire: the base before the count that it may lag behind, never the other way round */
	base = shk_load_acquire(&ring->shm->dropped_base);
	return base + (uint32_t)(shk_ring_dropped(shk_load_acquire(&ring->shm->read_word)) -
				 (uint32_t)base);
}

/* ---- waiting ---- */

struct transfer {
	struct shmkit_ring *ring;
	const void *from;
	void *to;
	size_t count;
};

static int64_t try_push_bulk(void *context)
{
	struct transfer *transfer = context;
	int64_t n = shmkit_ring_push_bulk(transfer->ring, transfer->from, transfer->count);

	return n == 0 ? -EAGAIN : n;
}

static int64_t try_pop(void *context)
{
	struct transfer *transfer = context;

	return shmkit_ring_pop(transfer->ring, transfer->to);
}

static int64_t try_pop_bulk(void *context)
{
	struct transfer *transfer = context;
	int64_t n = shmkit_ring_pop_bulk(transfer->ring, transfer->to, transfer->count);

	return n == 0 ? -EAGAIN : n;
}

int64_t shmkit_ring_push_bulk_wait(struct shmkit_ring *ring, const void *elements, size_t count,
				   int64_t timeout_ns)
{
	struct transfer transfer = { .ring = ring, .from = elements, .count = count };

	if (!ring || (!elements && count))
		return shk_ring_null("shmkit_ring_push_bulk_wait");
	if (count == 0)
		return shk_object_enter_write(&ring->object);
	return shk_wait_until(ring->object.segment, &ring->shm->space_event, timeout_ns, try_push_bulk,
			      &transfer);
}

int shmkit_ring_pop_wait(struct shmkit_ring *ring, void *ret_element, int64_t timeout_ns)
{
	struct transfer transfer = { .ring = ring, .to = ret_element };

	if (!ring || !ret_element)
		return shk_ring_null("shmkit_ring_pop_wait");
	return (int)shk_wait_until(ring->object.segment, &ring->shm->data_event, timeout_ns, try_pop,
				   &transfer);
}

int64_t shmkit_ring_pop_bulk_wait(struct shmkit_ring *ring, void *ret_elements, size_t count,
				  int64_t timeout_ns)
{
	struct transfer transfer = { .ring = ring, .to = ret_elements, .count = count };

	if (!ring)
		return shk_ring_null("shmkit_ring_pop_bulk_wait");
	if (count == 0)
		return shk_object_enter_write(&ring->object);
	return shk_wait_until(ring->object.segment, &ring->shm->data_event, timeout_ns, try_pop_bulk,
			      &transfer);
}
