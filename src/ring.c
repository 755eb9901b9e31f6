/*
 * The ring's hot paths: pushes and pops. Protocol and death table: ring.h.
 */
#include "ring.h"

#include "copy.h"

#include <errno.h>

#define POP_ROUNDS 1000u                    /* of copying what others take or overwrite meanwhile */

int shk_ring_null(const char *what)
{
	return shk_fail(-EINVAL, "%s: the ring or the place of the elements is NULL", what);
}

/* ---- looking ---- */

int shk_ring_look(const struct shmkit_ring *ring, struct shk_ring_view *ret_view)
{
	for (unsigned round = 0; round < SHK_RING_ROUNDS; round++) {
		/* pop:R acquire. Pairs with pop:C. Before write_index, which it never passes. */
		uint64_t read_word = shk_load_acquire(&ring->shm->read_word);
		/* pop:W acquire. Pairs with push:C: elements before the index. */
		uint64_t write_index = shk_load_acquire(&ring->shm->write_index);
		uint32_t held = (uint32_t)write_index - (uint32_t)read_word;

		/* more than fit: overwritten between the two loads, or damaged */
		if (held > ring->capacity || held > write_index)
			continue;
		*ret_view = (struct shk_ring_view){ read_word, write_index - held, write_index };
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

static void copy_in(struct shmkit_ring *ring, uint64_t position, uint64_t count, const void *elements)
{
	uint64_t slot = shk_ring_slot(ring, position);
	uint64_t size = ring->element_size, stride = ring->stride;
	const uint8_t *from = elements;

	if (stride == size) {
		uint64_t first = ring->capacity - slot < count ? ring->capacity - slot : count;

		shk_copy_racing(ring->elements + slot * size, from, (size_t)(first * size));
		if (first < count)
			shk_copy_racing(ring->elements, from + first * size, (size_t)((count - first) * size));
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		shk_copy_racing(ring->elements + slot * stride, from + i * size, (size_t)size);
		slot = slot + 1 == ring->capacity ? 0 : slot + 1;
	}
}

/* ---- roles ---- */

static SHK_COLD int shut_down(struct shmkit_ring *ring)
{
	/* he who shut it down may have died before he had finished */
	shk_ring_finish_shutdown(ring->shm);
	return shk_fail_fixed(-ESHUTDOWN, "the ring was shut down");
}

static SHK_COLD int take_role(struct shmkit_ring *ring, shk_u64 *role, uint32_t *ret_has,
			      const char *who, const char *flag)
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

/* A push that its dead producer did not finish is none. Holder of the role only. */
static void forget_push(struct shmkit_ring *ring)
{
	if (shk_likely(!shk_load_relaxed(&ring->shm->pushing)))   /* only holders write it */
		return;
	shk_store_release(&ring->shm->pushing, 0);
	shk_event_signal(&ring->shm->data_event);   /* one who waits for the end may have seen it */
}

static inline int enter_producer(struct shmkit_ring *ring, uint64_t *ret_word)
{
	shk_u64 *role = &ring->shm->producer_role;
	int result;

	if (shk_unlikely(shk_load_acquire(&ring->shm->closed) != SHK_RING_OPEN))
		return shut_down(ring);
	if (ring->object.shape.flags & SHMKIT_RING_MULTI_PRODUCER) {
		result = shk_lock_word_acquire(ring->object.segment, role, SHK_SLICE_NS,
					       "the producer's role of a ring", ret_word);
	} else {
		/* relaxed: if it is ours we put it there; if not, take_role() looks again */
		if (shk_likely(shk_ring_is_mine(ring, shk_load_relaxed(role))))
			return 0;
		result = take_role(ring, role, &ring->has_producer_role, "producer",
				   "SHMKIT_RING_MULTI_PRODUCER");
	}
	if (result == 0)
		forget_push(ring);
	return result;
}

static inline void leave_producer(struct shmkit_ring *ring, uint64_t word)
{
	if (ring->object.shape.flags & SHMKIT_RING_MULTI_PRODUCER)
		shk_lock_word_release(&ring->shm->producer_role, word);
}

static inline int enter_consumer(struct shmkit_ring *ring)
{
	shk_u64 *role = &ring->shm->consumer_role;
	int result;

	/* relaxed: as in enter_producer */
	if ((ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER) ||
	    shk_likely(shk_ring_is_mine(ring, shk_load_relaxed(role))))
		return 0;
	result = take_role(ring, role, &ring->has_consumer_role, "consumer", "SHMKIT_RING_MULTI_CONSUMER");
	if (result == 0)
		ring->last_view = (struct shk_ring_view){ 0 };   /* others have popped */
	return result;
}

/* ---- push ---- */

/* Announces a push; false when the ring was shut down before. */
static inline bool begin_push(struct shmkit_ring *ring)
{
	struct shk_ring_shm *shm = ring->shm;

	/*
	 * push:P relaxed. Before the look at closed: with shutdown's barrier between its store of
	 * closed and its look at pushing, one of the two sees the other. A process the barrier does
	 * not reach fences itself.
	 */
	shk_store_relaxed(&shm->pushing, 1);
	/* Dies here: pushing of the dead. Peers: see that its holder is dead; the next one clears it. */
	SHK_POINT("ring.push.announced");
	if (shk_unlikely(shk_process->fences))
		shk_fence_seq_cst();
	/* acquire: nothing of the push before this */
	if (shk_likely(shk_load_acquire(&shm->closed) == SHK_RING_OPEN))
		return true;
	shk_store_release(&shm->pushing, 0);
	shk_event_signal(&shm->data_event);   /* one who waits for the end may have seen it */
	return false;
}

/* release: one who sees no push sees the index it committed. */
static inline void end_push(struct shmkit_ring *ring)
{
	shk_store_release(&ring->shm->pushing, 0);
	/* Dies here: nothing left to do but to wake; those who sleep look when their slice ends. */
	SHK_POINT("ring.push.ended");
	shk_event_signal(&ring->shm->data_event);
}

/* Copies count (at most what there is room for) in and commits them. */
static inline void put(struct shmkit_ring *ring, uint64_t write_index, const void *elements,
		       uint64_t count)
{
	struct shk_ring_shm *shm = ring->shm;

	/* relaxed: only holders of the role write it. It must not fall: invariant 3. */
	if (write_index + count > shk_load_relaxed(&shm->write_next))
		shk_store_relaxed(&shm->write_next, write_index + count);   /* before the fence */
	/* Dies here: the oldest positions are doubtful without need. */
	SHK_POINT("ring.push.next");
	/* push:F release. write_next before the first byte; pairs with the acquire fence of copies. */
	shk_fence_release();
	copy_in(ring, write_index, count, elements);
	/* Dies here: as before; the bytes are overwritten by the next push. */
	SHK_POINT("ring.push.copied");
	/* push:C release. Pairs with pop:W. Commits all of it. */
	shk_store_release(&shm->write_index, write_index + count);
	/* Dies here: committed. */
	SHK_POINT("ring.push.committed");
}

/* How many of count fit. 0: full; -EBADMSG. The caller has the role. */
static inline int64_t count_fitting(struct shmkit_ring *ring, uint64_t write_index, uint64_t count)
{
	/* relaxed: private to the process; the index was this far, with acquire, and never falls */
	uint64_t room = ring->capacity - (write_index - shk_load_relaxed(&ring->known_read_index));

	if (room < count || room > ring->capacity) {
		struct shk_ring_view view;
		int result = shk_ring_look(ring, &view);

		if (result)
			return result;
		if (view.write_index != write_index)
			return shk_object_damaged(&ring->object, "somebody without the producer's role pushes");
		shk_store_relaxed(&ring->known_read_index, view.read_index);
		room = ring->capacity - (write_index - view.read_index);
	}
	return (int64_t)(room < count ? room : count);
}

/* What fits of count, as one: 1..count, -EAGAIN, -ESHUTDOWN, -EBADMSG. The caller has the role. */
static inline int64_t push_fitting(struct shmkit_ring *ring, const void *elements, uint64_t count)
{
	/* relaxed: only the holder of the role writes it */
	uint64_t write_index = shk_load_relaxed(&ring->shm->write_index);
	int64_t n = count_fitting(ring, write_index, count);

	if (shk_unlikely(n <= 0))
		return n ? n : shk_fail_fixed(-EAGAIN, "the ring is full");
	if (shk_unlikely(!begin_push(ring)))
		return shut_down(ring);
	put(ring, write_index, elements, (uint64_t)n);
	end_push(ring);
	return n;
}

/*
 * Before dropped runs away from the base by 2^32: a drop adds less than 2^31 to what was at most
 * 2^30. Only the holder of the producer's role drops and carries, so that the base never passes
 * the count.
 */
static void carry_dropped(struct shk_ring_shm *shm, uint32_t dropped)
{
	uint64_t base = shk_load_acquire(&shm->dropped_base);
	uint32_t ahead = dropped - (uint32_t)base;

	if (ahead > UINT32_C(1) << 30) {
		/* carry:C acq_rel. Before drop:C of what counts on from here; pairs with the reader of totals. */
		shk_cas_acq_rel(&shm->dropped_base, base, base + ahead);
		/* Dies here: the sum is the same. */
		SHK_POINT("ring.drop.carried");
	}
}

/* Makes room for count (at most capacity) by dropping the oldest unread. How many, or -EBADMSG. */
static int64_t drop_unread(struct shmkit_ring *ring, uint64_t write_index, uint64_t count)
{
	for (;;) {
		struct shk_ring_view view;
		uint64_t room, drop;
		uint32_t dropped;
		int result = shk_ring_look(ring, &view);

		if (result)
			return result;
		if (view.write_index != write_index)
			return shk_object_damaged(&ring->object, "somebody without the producer's role pushes");
		room = ring->capacity - (view.write_index - view.read_index);
		if (room >= count)
			return 0;
		drop = count - room;
		dropped = shk_ring_dropped(view.read_word);
		carry_dropped(ring->shm, dropped);
		/* drop:C acq_rel. Index and count in one; a pop comes before it or fails. */
		if (!shk_cas_acq_rel(&ring->shm->read_word, view.read_word,
				     shk_ring_read_word(dropped + (uint32_t)drop, view.read_index + drop)))
			continue;
		/* Dies here: dropped and counted. */
		SHK_POINT("ring.drop.counted");
		return (int64_t)drop;
	}
}

/*
 * All of count; how many were dropped, or -ESHUTDOWN, -EBADMSG. The caller has the role. More than
 * fit go in one piece after the other, each pushed, and dropped by those behind it; the last piece,
 * which alone stays, is one commit.
 */
static int64_t push_over(struct shmkit_ring *ring, const uint8_t *elements, uint64_t count)
{
	uint64_t write_index = shk_load_relaxed(&ring->shm->write_index);   /* as in push_fitting */
	int64_t dropped = 0;

	if (!begin_push(ring))
		return shut_down(ring);
	while (count > 0) {
		uint64_t piece = count > ring->capacity ? count % ring->capacity : count;
		int64_t lost;

		if (piece == 0)
			piece = ring->capacity;
		lost = drop_unread(ring, write_index, piece);
		if (lost < 0) {
			dropped = lost;
			break;
		}
		put(ring, write_index, elements, piece);
		dropped += lost;
		write_index += piece;
		elements += piece * ring->element_size;
		count -= piece;
	}
	end_push(ring);
	return dropped;
}

int shmkit_ring_push(struct shmkit_ring *ring, const void *element)
{
	uint64_t role = 0;
	int64_t pushed;
	int result;

	if (shk_unlikely(!ring || !element))
		return shk_ring_null("shmkit_ring_push");
	result = shk_object_enter_write(&ring->object);
	if (shk_unlikely(result))
		return result;
	result = enter_producer(ring, &role);
	if (shk_unlikely(result))
		return result;
	pushed = push_fitting(ring, element, 1);
	leave_producer(ring, role);
	if (shk_unlikely(pushed == -EAGAIN))
		shk_look(ring->object.segment);
	return (int)shk_object_leave(&ring->object, pushed > 0 ? 0 : pushed);
}

int64_t shmkit_ring_push_bulk(struct shmkit_ring *ring, const void *elements, size_t count)
{
	uint64_t role = 0;
	int64_t pushed;
	int result;

	if (shk_unlikely(!ring || (!elements && count)))
		return shk_ring_null("shmkit_ring_push_bulk");
	result = shk_object_enter_write(&ring->object);
	if (shk_unlikely(result || count == 0))
		return result;
	result = enter_producer(ring, &role);
	if (shk_unlikely(result))
		return result;
	pushed = push_fitting(ring, elements, count);
	leave_producer(ring, role);
	if (pushed == -EAGAIN)
		shk_look(ring->object.segment);
	return shk_object_leave(&ring->object, pushed == -EAGAIN ? 0 : pushed);
}

int64_t shmkit_ring_push_overwrite(struct shmkit_ring *ring, const void *elements, size_t count)
{
	uint64_t role = 0;
	int64_t dropped;
	int result;

	if (shk_unlikely(!ring || (!elements && count)))
		return shk_ring_null("shmkit_ring_push_overwrite");
	result = shk_object_enter_write(&ring->object);
	if (shk_unlikely(result || count == 0))
		return result;
	result = enter_producer(ring, &role);
	if (shk_unlikely(result))
		return result;
	dropped = push_over(ring, elements, count);
	leave_producer(ring, role);
	return shk_object_leave(&ring->object, dropped);
}

/* ---- pop ---- */

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

/* 1..count, -EAGAIN, -ESHUTDOWN, -EBADMSG. ret_elements NULL: skip. */
static int64_t pop(struct shmkit_ring *ring, void *ret_elements, uint64_t count)
{
	bool alone = !(ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER);

	for (unsigned round = 0; round < POP_ROUNDS; round++) {
		struct shk_ring_view view;
		uint64_t n, base, popped;
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
		popped = shk_ring_read_word(shk_ring_dropped(view.read_word), view.read_index + n);
		/*
		 * pop:F acquire. The copy before the CAS. Bytes that a push had overwritten would bring
		 * along, by push:F, the drop or pop that made room for it, and the CAS would fail:
		 * there is no need to look at write_next.
		 */
		shk_fence_acquire();
		/* pop:C acq_rel. Pairs with drop:C and the producer's look: copied before it is free. */
		if (shk_likely(shk_cas_acq_rel(&ring->shm->read_word, view.read_word, popped))) {
			/* Dies here: popped, inside the call. */
			SHK_POINT("ring.pop.taken");
			if (alone) {
				ring->last_view = (struct shk_ring_view){ popped, view.read_index + n,
									  view.write_index };
				ring->last_base = base;
			}
			shk_event_signal(&ring->shm->space_event);
			return (int64_t)n;
		}
	}
	return shk_fail_fixed(-EAGAIN, "the oldest elements were taken or overwritten while they were "
				       "copied, again and again");
}

int shmkit_ring_pop(struct shmkit_ring *ring, void *ret_element)
{
	int64_t popped;
	int result;

	if (shk_unlikely(!ring || !ret_element))
		return shk_ring_null("shmkit_ring_pop");
	result = shk_object_enter_write(&ring->object);
	if (!result)
		result = enter_consumer(ring);
	if (shk_unlikely(result))
		return result;
	popped = pop(ring, ret_element, 1);
	return (int)shk_object_leave(&ring->object, popped > 0 ? 0 : popped);
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
