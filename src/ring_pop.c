/*
 * Pops from a ring. Protocol and death table: ring.h.
 */
#include "ring.h"

#include "copy.h"

#include <errno.h>

#define POP_ROUNDS 1000u                    /* of copying what others take or overwrite meanwhile */

static inline int enter_consumer(struct shmkit_ring *ring)
{
	shk_u64 *role = &ring->shm->consumer_role;
	int result;

	/* relaxed: as in enter_producer */
	if ((ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER) ||
	    shk_likely(shk_ring_is_mine(ring, shk_load_relaxed(role))))
		return 0;
	result = shk_ring_take_role(ring, role, &ring->has_consumer_role, "consumer", "SHMKIT_RING_MULTI_CONSUMER");
	if (result == 0)
		ring->last_view = (struct shk_ring_view){ 0 };   /* others have popped */
	return result;
}

static SHK_COLD int64_t nothing_to_pop(struct shmkit_ring *ring, uint64_t position)
{
	shk_look(ring->object.segment);
	if (shk_ring_is_end(ring, position))
		return shk_fail_fixed(-ESHUTDOWN, "the ring was shut down, and this is its end");
	return shk_fail_fixed(-EAGAIN, "the ring is empty");
}

/*
 * The indices as this handle's last pop left them, where they still hold and give count elements:
 * the producer's line is not touched then. The read word is the same as long as nobody popped or
 * dropped: a single consumer is alone, and 2^32 drops move dropped_base.
 */
static inline bool look_again(const struct shmkit_ring *ring, uint64_t count, uint64_t *ret_base,
			      struct shk_ring_view *ret_view)
{
	*ret_view = ring->last_view;
	*ret_base = ring->last_base;
	/* acquire: as pop:R */
	return ret_view->write_index - ret_view->read_index >= count &&
	       ret_view->write_index - ret_view->read_index <= ring->capacity &&
	       shk_ring_is_shared(ret_view->sharing) &&
	       shk_load_acquire(&ring->shm->read_word) == ret_view->read_word &&
	       shk_load_acquire(&ring->shm->dropped_base) == *ret_base;
}

static inline int look_to_pop(const struct shmkit_ring *ring, uint64_t count, uint64_t *ret_base,
			      struct shk_ring_view *ret_view)
{
	if (shk_likely(!(ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER)) &&
	    look_again(ring, count, ret_base, ret_view))
		return 0;
	*ret_base = shk_load_acquire(&ring->shm->dropped_base);   /* before what counts on from it */
	return shk_ring_look(ring, ret_view);
}

/* After a copy of count elements at what the view shows: popped, unless others popped or dropped. */
static inline bool commit_shared(struct shk_ring_shm *shm, struct shk_ring_view *view, uint64_t count)
{
	uint64_t popped = shk_ring_read_word(shk_ring_dropped(view->read_word), view->read_word + count);

	/*
	 * pop:F acquire. The copy before the CAS. Bytes that a push had overwritten would bring
	 * along, by push:F, the drop or pop that made room for it, and the CAS would fail: there is
	 * no need to look at write_next.
	 */
	shk_fence_acquire();
	/* pop:C acq_rel. Pairs with drop:C and the producer's look: copied before it is free. */
	if (shk_unlikely(!shk_cas_acq_rel(&shm->read_word, view->read_word, popped)))
		return false;
	/* Dies here: popped, inside the call. */
	SHK_POINT("ring.pop.taken");
	view->read_word = popped;
	view->read_index += count;
	return true;
}

/* Alone, after a copy of what lies below end: as a rule, that is the commit. */
static inline void store_alone(struct shk_ring_shm *shm, uint64_t end)
{
	/* pop:C release. Pairs with the producer's look: copied before it is free. */
	shk_store_release(&shm->read_index, end);
	/* Dies here: popped, inside the call; not, if sharing does not cover it. */
	SHK_POINT("ring.pop.stored");
	/* Before the look at sharing: as push:P, with share's barrier in place of shutdown's. */
	if (shk_unlikely(shk_process->fences))
		shk_fence_seq_cst();
	else
		__asm__ __volatile__("" ::: "memory");
}

/* It was not ALONE any more behind the store: was the store in time? */
static SHK_COLD bool stored_in_time(struct shk_ring_shm *shm, uint64_t end)
{
	/* share:C release. Only the consumer moves read_index: it may say itself where that is. */
	if (shk_cas_release(&shm->sharing, SHK_RING_SHARING, end << 2 | SHK_RING_SHARED)) {
		SHK_POINT("ring.share.done");
		return true;
	}
	/* relaxed: its value alone counts; who pops again looks again */
	return shk_load_relaxed(&shm->sharing) >> 2 == (end << 2) >> 2;
}

static inline bool commit_alone(struct shk_ring_shm *shm, uint64_t end)
{
	store_alone(shm, end);
	/* relaxed: ALONE says nothing else; the slow end looks again */
	return shk_likely(shk_load_relaxed(&shm->sharing) == SHK_RING_ALONE) || stored_in_time(shm, end);
}

/* As commit_shared(), wherever the read index is. */
static bool commit_pop(struct shmkit_ring *ring, struct shk_ring_view *view, uint64_t count)
{
	if (shk_ring_is_shared(view->sharing))
		return commit_shared(ring->shm, view, count);
	return commit_alone(ring->shm, view->read_index + count);
}

/* 1..count, -EAGAIN, -ESHUTDOWN, -EBADMSG. ret_elements NULL: skip. */
static int64_t pop(struct shmkit_ring *ring, void *ret_elements, uint64_t count)
{
	bool alone = !(ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER);

	for (unsigned round = 0; round < POP_ROUNDS; round++) {
		struct shk_ring_view view;
		uint64_t n, base;
		int result = look_to_pop(ring, count, &base, &view);

		if (shk_unlikely(result))
			return result;
		n = view.write_index - view.read_index;
		if (shk_unlikely(n == 0))
			return nothing_to_pop(ring, view.read_index);
		if (n > count)
			n = count;
		/* a producer that overwrites faster than we copy: less is copied sooner */
		if (shk_unlikely(round >= 4 && n > 1))
			count = n /= 2;
		if (ret_elements)
			shk_ring_copy_out(ring, view.read_index, n, ret_elements);
		if (shk_likely(commit_pop(ring, &view, n))) {
			if (alone) {
				ring->last_view = view;
				ring->last_base = base;
			}
			shk_event_signal(&ring->shm->space_event);
			return (int64_t)n;
		}
	}
	return shk_fail_fixed(-EAGAIN, "the oldest elements were taken or overwritten while they were "
				       "copied, again and again");
}

/* All that the straight line of the public call leaves out. */
static SHK_NOINLINE int pop_anyhow(struct shmkit_ring *ring, void *ret_element)
{
	int64_t popped;
	int result = shk_object_enter_write(&ring->object);

	if (!result)
		result = enter_consumer(ring);
	if (result)
		return result;
	popped = pop(ring, ret_element, 1);
	return (int)shk_object_leave(&ring->object, popped > 0 ? 0 : popped);
}

static SHK_NOINLINE int wake_producer(struct shmkit_ring *ring)
{
	shk_event_signal(&ring->shm->space_event);
	return (int)shk_object_leave(&ring->object, 0);
}

/* The end of a straight line that met one who shares. */
static SHK_NOINLINE int pop_beside_sharing(struct shmkit_ring *ring, void *ret_element, uint64_t end)
{
	return stored_in_time(ring->shm, end) ? wake_producer(ring) : pop_anyhow(ring, ret_element);
}

int shmkit_ring_pop(struct shmkit_ring *ring, void *ret_element)
{
	struct shk_ring_shm *shm;
	uint64_t read_index, write_index;

	if (shk_unlikely(!ring || !ret_element))
		return shk_ring_null("shmkit_ring_pop");
	shm = ring->shm;
	/* relaxed: ALONE says nothing else; looked at again behind the store */
	if (shk_unlikely(!shk_object_is_ready_to_write(&ring->object) || !ring->straight ||
			 !shk_ring_has_role(ring, &shm->consumer_role, ring->consumer_held) ||
			 shk_load_relaxed(&shm->sharing) != SHK_RING_ALONE))
		return pop_anyhow(ring, ret_element);
	read_index = shk_load_relaxed(&shm->read_index);   /* relaxed: only the consumer writes it */
	write_index = shk_load_relaxed(&ring->known_write_index);   /* relaxed: private to the process */
	if (write_index - read_index - 1 >= ring->capacity) {
		/* acquire: as pop:W */
		write_index = shk_load_acquire(&shm->write_index);
		if (shk_unlikely(write_index - read_index - 1 >= ring->capacity))
			return pop_anyhow(ring, ret_element);
		shk_store_relaxed(&ring->known_write_index, write_index);
	}
	shk_copy_racing_straight(ret_element, ring->elements + (read_index & ring->mask) * ring->stride,
				 ring->element_size);
	store_alone(shm, read_index + 1);
	if (shk_unlikely(shk_load_relaxed(&shm->sharing) != SHK_RING_ALONE))
		return pop_beside_sharing(ring, ret_element, read_index + 1);
	if (shk_event_is_awaited(&shm->space_event) || shk_object_is_lost(&ring->object))
		return wake_producer(ring);
	return 0;
}

int64_t shmkit_ring_pop_bulk(struct shmkit_ring *ring, void *ret_elements, size_t count)
{
	int64_t popped;
	int result;

	if (shk_unlikely(!ring))
		return shk_ring_null("shmkit_ring_pop_bulk");
	result = shk_object_enter_write(&ring->object);
	if (shk_unlikely(result || count == 0))
		return result;
	result = enter_consumer(ring);
	if (shk_unlikely(result))
		return result;
	popped = pop(ring, ret_elements, count);
	return shk_object_leave(&ring->object, popped == -EAGAIN ? 0 : popped);
}
