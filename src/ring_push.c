/*
 * Pushes into a ring. Protocol and death table: ring.h.
 */
#include "ring.h"

#include "copy.h"

#include <errno.h>

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

/* ---- the role ---- */

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
		return shk_ring_shut_down(ring);
	if (ring->object.shape.flags & SHMKIT_RING_MULTI_PRODUCER) {
		result = shk_lock_word_acquire(ring->object.segment, role, SHK_SLICE_NS,
					       "the producer's role of a ring", ret_word);
	} else {
		/* relaxed: if it is ours we put it there; if not, shk_ring_take_role() looks again */
		if (shk_likely(shk_ring_is_mine(ring, shk_load_relaxed(role))))
			return 0;
		result = shk_ring_take_role(ring, role, &ring->has_producer_role, "producer",
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

/* ---- push ---- */

static inline void announce_push(struct shk_ring_shm *shm)
{
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
}

static SHK_COLD int64_t retract_push(struct shmkit_ring *ring)
{
	shk_store_release(&ring->shm->pushing, 0);
	shk_event_signal(&ring->shm->data_event);   /* one who waits for the end may have seen it */
	return shk_ring_shut_down(ring);
}

/* Announces a push; false when the ring was shut down before. */
static inline bool begin_push(struct shmkit_ring *ring)
{
	announce_push(ring->shm);
	/* acquire: nothing of the push before this */
	return shk_likely(shk_load_acquire(&ring->shm->closed) == SHK_RING_OPEN);
}

/* Positions below next may be being written from here on. */
static inline void begin_writing(struct shk_ring_shm *shm, uint64_t next)
{
	/* relaxed: only holders of the role write it. It must not fall: invariant 3. */
	if (shk_likely(next > shk_load_relaxed(&shm->write_next)))
		shk_store_relaxed(&shm->write_next, next);   /* before the fence */
	/* Dies here: the oldest positions are doubtful without need. */
	SHK_POINT("ring.push.next");
	/* push:F release. write_next before the first byte; pairs with the acquire fence of copies. */
	shk_fence_release();
}

/* Positions below index are there. */
static inline void publish(struct shk_ring_shm *shm, uint64_t index)
{
	/* Dies here: as before; the bytes are overwritten by the next push. */
	SHK_POINT("ring.push.copied");
	/* push:C release. Pairs with pop:W. Commits all of it. */
	shk_store_release(&shm->write_index, index);
	/* Dies here: committed. */
	SHK_POINT("ring.push.committed");
}

static inline void withdraw(struct shk_ring_shm *shm)
{
	/* release: one who sees no push sees the index it committed. */
	shk_store_release(&shm->pushing, 0);
	/* Dies here: nothing left to do but to wake; those who sleep look when their slice ends. */
	SHK_POINT("ring.push.ended");
}

static inline void end_push(struct shmkit_ring *ring)
{
	withdraw(ring->shm);
	shk_event_signal(&ring->shm->data_event);
}

/* Copies count (at most what there is room for) in and commits them. */
static inline void put(struct shmkit_ring *ring, uint64_t write_index, const void *elements,
		       uint64_t count)
{
	begin_writing(ring->shm, write_index + count);
	copy_in(ring, write_index, count, elements);
	publish(ring->shm, write_index + count);
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
		return retract_push(ring);
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
	bool shared = false;

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
		if (!shk_ring_is_shared(view.sharing)) {
			if (shared)         /* it stays so: somebody else writes there */
				return shk_object_damaged(&ring->object, "it was shared, and is not");
			shk_ring_share(ring);
			shared = true;
			continue;
		}
		drop = count - room;
		dropped = shk_ring_dropped(view.read_word);
		carry_dropped(ring->shm, dropped);
		/* drop:C acq_rel. Index and count in one; a pop comes before it or fails. */
		if (!shk_cas_acq_rel(&ring->shm->read_word, view.read_word,
				     shk_ring_read_word(dropped + (uint32_t)drop, view.read_word + drop)))
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
		return retract_push(ring);
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

/* All that the straight line of the public call leaves out. */
static SHK_NOINLINE int push_anyhow(struct shmkit_ring *ring, const void *element)
{
	uint64_t role = 0;
	int64_t pushed;
	int result = shk_object_enter_write(&ring->object);

	if (result)
		return result;
	result = enter_producer(ring, &role);
	if (result)
		return result;
	pushed = push_fitting(ring, element, 1);
	leave_producer(ring, role);
	if (pushed == -EAGAIN)
		shk_look(ring->object.segment);
	return (int)shk_object_leave(&ring->object, pushed > 0 ? 0 : pushed);
}

static SHK_NOINLINE int wake_consumer(struct shmkit_ring *ring)
{
	shk_event_signal(&ring->shm->data_event);
	return (int)shk_object_leave(&ring->object, 0);
}

int shmkit_ring_push(struct shmkit_ring *ring, const void *element)
{
	struct shk_ring_shm *shm;
	uint64_t write_index;

	if (shk_unlikely(!ring || !element))
		return shk_ring_null("shmkit_ring_push");
	shm = ring->shm;
	/* relaxed: who looks after a shutdown sees it, and announces nothing there */
	if (shk_unlikely(!shk_object_is_ready_to_write(&ring->object) || !ring->straight ||
			 !shk_ring_has_role(ring, &shm->producer_role, ring->producer_held) ||
			 shk_load_relaxed(&shm->closed) != SHK_RING_OPEN))
		return push_anyhow(ring, element);
	write_index = shk_load_relaxed(&shm->write_index);   /* as in push_fitting() */
	/* full, as far as known; what cannot be is more than that */
	if (shk_unlikely(write_index - shk_load_relaxed(&ring->known_read_index) >= ring->capacity))
		return push_anyhow(ring, element);
	announce_push(shm);
	if (shk_unlikely(shk_load_acquire(&shm->closed) != SHK_RING_OPEN))   /* as in begin_push() */
		return (int)retract_push(ring);
	begin_writing(shm, write_index + 1);
	shk_copy_racing_straight(ring->elements + (write_index & ring->mask) * ring->stride, element,
				 ring->element_size);
	publish(shm, write_index + 1);
	withdraw(shm);
	if (shk_event_is_awaited(&shm->data_event) || shk_object_is_lost(&ring->object))
		return wake_consumer(ring);
	return 0;
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
