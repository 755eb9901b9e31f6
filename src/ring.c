/*
 * What pushes and pops of a ring share. Protocol and death table: ring.h.
 */
#include "ring.h"

#include "copy.h"

#include <errno.h>

int shk_ring_null(const char *what)
{
	return shk_fail(-EINVAL, "%s: the ring or the place of the elements is NULL", what);
}

/* ---- looking ---- */

int shk_ring_look(const struct shmkit_ring *ring, struct shk_ring_view *ret_view)
{
	for (unsigned round = 0; round < SHK_RING_ROUNDS; round++) {
		uint64_t sharing = shk_ring_sharing(ring), read_word = 0, read_index, write_index;
		uint32_t held;

		/* pop:R acquire. Pairs with pop:C. Before write_index, which it never passes. */
		if (shk_ring_is_shared(sharing)) {
			read_word = shk_load_acquire(&ring->shm->read_word);
			read_index = (sharing >> 2) + (uint32_t)read_word;
		} else if (sharing <= SHK_RING_SHARING) {
			read_index = shk_load_acquire(&ring->shm->read_index);
		} else {
			continue;           /* damaged */
		}
		/* pop:W acquire. Pairs with push:C: elements before the index. */
		write_index = shk_load_acquire(&ring->shm->write_index);
		held = (uint32_t)write_index - (uint32_t)read_index;
		/* more than fit: overwritten between the loads, shared meanwhile, or damaged */
		if (held > ring->capacity || held > write_index || shk_ring_sharing(ring) != sharing)
			continue;
		*ret_view = (struct shk_ring_view){ sharing, read_word, write_index - held, write_index };
		return 0;
	}
	return shk_object_damaged(&ring->object, "its read and write indices do not fit its capacity");
}

/*
 * The elements may be overwritten while they are copied; what was copied is used only after
 * write_next has shown that they were not (invariant 2).
 */
void shk_ring_copy_out(const struct shmkit_ring *ring, uint64_t position, uint64_t count,
		       void *ret_elements)
{
	uint64_t slot = shk_ring_slot(ring, position);
	uint64_t size = ring->element_size, stride = ring->stride;
	uint8_t *to = ret_elements;

	if (stride == size) {
		uint64_t first = ring->capacity - slot < count ? ring->capacity - slot : count;

		shk_copy_racing(to, ring->elements + slot * size, (size_t)(first * size));
		if (first < count)
			shk_copy_racing(to + first * size, ring->elements, (size_t)((count - first) * size));
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		shk_copy_racing(to + i * size, ring->elements + slot * stride, (size_t)size);
		slot = slot + 1 == ring->capacity ? 0 : slot + 1;
	}
}

/* ---- roles ---- */

int shk_ring_shut_down(struct shmkit_ring *ring)
{
	/* he who shut it down may have died before he had finished */
	shk_ring_finish_shutdown(ring->shm);
	return shk_fail_fixed(-ESHUTDOWN, "the ring was shut down");
}

int shk_ring_take_role(struct shmkit_ring *ring, shk_u64 *role, uint32_t *ret_has, const char *who,
		       const char *flag)
{
	struct shmkit_segment *segment = ring->object.segment;
	uint64_t word;
	unsigned owner;

	if (shk_lock_word_acquire(segment, role, 0, who, &word) == 0) {
		*ret_has = 1;
		return 0;
	}
	owner = shk_lock_owner(shk_load_relaxed(role)) % segment->geometry.max_members;
	return shk_fail(-EBUSY, "ring '%s' has its %s, process %d (member %u), which is alive; a ring with "
				"several is created with %s", shk_object_name(&ring->object), who,
			(int)shk_load_relaxed(&shk_member(segment, owner)->pid), owner, flag);
}
