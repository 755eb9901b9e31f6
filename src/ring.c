/*
 * The ring: made, opened; pushes and pops. Protocol and death table: ring.h.
 */
#include "ring.h"

#include "lock.h"
#include "member.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

#define ROUNDS 10000u                       /* of looking at words that cannot be */

/* ---- life ---- */

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static int measure(struct shk_shape *shape)
{
	if (shape->requested < 1 || shape->requested > SHK_MAX_RING_CAPACITY)
		return shk_fail(-EINVAL, "a ring of %llu elements was asked for; 1 to %llu are possible",
				(unsigned long long)shape->requested,
				(unsigned long long)SHK_MAX_RING_CAPACITY);
	shape->capacity = shape->requested;
	/* below 2^31 elements of at most 2^30 + 2^12 bytes: no overflow */
	shape->size = align_up(sizeof(struct shk_ring_shm), shape->alignment) +
		      shape->capacity * align_up(shape->element_size, shape->alignment);
	return 0;
}

/* All zero is a ring: nothing pushed, nobody has a role. */
static void init(struct shk_object *object, uint64_t initial)
{
	(void)object;
	(void)initial;
}

static void bind(struct shmkit_ring *ring, const struct shk_object *object)
{
	const struct shk_shape *shape = &object->shape;

	ring->object = *object;
	ring->shm = (struct shk_ring_shm *)(void *)object->base;
	ring->elements = object->base + align_up(sizeof(struct shk_ring_shm), shape->alignment);
	ring->capacity = shape->capacity;
	ring->mask = shape->capacity & (shape->capacity - 1) ? 0 : shape->capacity - 1;
	ring->stride = (uint32_t)align_up(shape->element_size, shape->alignment);
	ring->element_size = shape->element_size;
}

static int open_ring(struct shk_object *object)
{
	struct shmkit_ring *ring = (struct shmkit_ring *)object;

	bind(ring, object);
	ring->references = 1;
	return 0;
}

/* A role held by the dead (or by oneself, on the way out) becomes free. */
static void free_role(shk_u64 *role, const struct shk_dead *dead)
{
	uint64_t word = shk_load_acquire(role);

	if (shk_lock_is_held(word) && shk_lock_owner(word) == dead->id && shk_still_dead(dead))
		shk_lock_word_release(role, word);
}

static void repair(struct shk_object *object, const struct shk_dead *dead)
{
	struct shk_ring_shm *shm = (struct shk_ring_shm *)(void *)object->base;

	free_role(&shm->producer_role, dead);
	SHK_POINT("ring.repair.producer");
	free_role(&shm->consumer_role, dead);
	/* who waits for an end that the dead would not come to looks again */
	shk_event_signal(&shm->data_event);
	shk_event_signal(&shm->space_event);
}

static uint64_t used(const struct shk_object *object)
{
	struct shmkit_ring ring = { 0 };
	struct shk_ring_view view;

	bind(&ring, object);
	return shk_ring_look(&ring, &view) ? 0 : view.write_index - view.read_index;
}

static int check(struct shk_object *object)
{
	const struct shk_ring_shm *shm = (const struct shk_ring_shm *)(const void *)object->base;
	uint32_t members = object->segment->geometry.max_members;
	struct shmkit_ring ring = { 0 };
	struct shk_ring_view view;
	uint64_t next = 0;

	bind(&ring, object);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (shk_ring_look(&ring, &view))
			return -EBADMSG;
		next = shk_load_acquire(&shm->write_next);
		/* a ring in use: only what was there when nothing moved counts */
		if (shk_load_acquire(&shm->write_index) == view.write_index &&
		    shk_load_acquire(&shm->write_next) == next)
			break;
	}
	if (next != view.write_index &&
	    (next < view.write_index || next - view.write_index > ring.capacity) &&
	    shk_load_acquire(&shm->write_index) == view.write_index)
		return shk_object_damaged(object, "%llu positions are committed and %llu begun, which cannot be "
					  "in %llu slots", (unsigned long long)view.write_index,
					  (unsigned long long)next, (unsigned long long)ring.capacity);
	if (shk_load_acquire(&shm->closed) > SHK_RING_CLOSED)
		return shk_object_damaged(object, "its shutdown word is %u", shk_load_acquire(&shm->closed));
	if (shk_lock_owner(shk_load_acquire(&shm->producer_role)) >= members ||
	    shk_lock_owner(shk_load_acquire(&shm->consumer_role)) >= members)
		return shk_object_damaged(object, "a role names a member that there cannot be");
	return 0;
}

const struct shk_kind shk_kind_ring = {
	.kind = SHMKIT_KIND_RING,
	.name = "ring",
	.flags = SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER,
	.handle_size = sizeof(struct shmkit_ring),
	.measure = measure,
	.init = init,
	.open = open_ring,
	.repair = repair,
	.check = check,
	.used = used,
};

int shk_ring_null(const char *what)
{
	return shk_fail(-EINVAL, "%s: the ring or the place of the elements is NULL", what);
}

/* ---- looking ---- */

int shk_ring_look(const struct shmkit_ring *ring, struct shk_ring_view *ret_view)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
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
 * write_next has shown that they were not. Invariant 2.
 */
__attribute__((no_sanitize("thread"))) static void copy_doubtful(void *to, const void *from, size_t size)
{
	switch (size) {
	case 4:
		memcpy(to, from, 4);
		break;
	case 8:
		memcpy(to, from, 8);
		break;
	case 16:
		memcpy(to, from, 16);
		break;
	case 32:
		memcpy(to, from, 32);
		break;
	case 64:
		memcpy(to, from, 64);
		break;
	default:
		memcpy(to, from, size);
	}
}

void shk_ring_copy_out(const struct shmkit_ring *ring, uint64_t position, uint64_t count,
		       void *ret_elements)
{
	uint64_t slot = shk_ring_slot(ring, position);
	uint64_t size = ring->element_size, stride = ring->stride;
	uint8_t *to = ret_elements;

	if (stride == size) {
		uint64_t first = ring->capacity - slot < count ? ring->capacity - slot : count;

		copy_doubtful(to, ring->elements + slot * size, (size_t)(first * size));
		if (first < count)
			copy_doubtful(to + first * size, ring->elements, (size_t)((count - first) * size));
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		copy_doubtful(to + i * size, ring->elements + slot * stride, (size_t)size);
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

		copy_doubtful(ring->elements + slot * size, from, (size_t)(first * size));
		if (first < count)
			copy_doubtful(ring->elements, from + first * size, (size_t)((count - first) * size));
		return;
	}
	for (uint64_t i = 0; i < count; i++) {
		copy_doubtful(ring->elements + slot * stride, from + i * size, (size_t)size);
		slot = slot + 1 == ring->capacity ? 0 : slot + 1;
	}
}

/* ---- roles ---- */

static bool is_mine(const struct shmkit_ring *ring, uint64_t role)
{
	return shk_lock_is_held(role) && shk_lock_owner(role) == ring->object.segment->member_id;
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
			(int)shk_member(segment, owner)->pid, owner, flag);
}

/* A push that its dead producer did not finish is none. Holder of the role only. */
static void forget_push(struct shmkit_ring *ring)
{
	if (shk_load_relaxed(&ring->shm->pushing))   /* only holders write it */
		shk_store_release(&ring->shm->pushing, 0);
}

static inline int enter_producer(struct shmkit_ring *ring, uint64_t *ret_word)
{
	shk_u64 *role = &ring->shm->producer_role;
	int result;

	if (ring->object.shape.flags & SHMKIT_RING_MULTI_PRODUCER) {
		result = shk_lock_word_acquire(ring->object.segment, role, SHK_SLICE_NS,
					       "the producer's role of a ring", ret_word);
	} else {
		/* relaxed: if it is ours we put it there; if not, take_role() looks again */
		if (shk_likely(is_mine(ring, shk_load_relaxed(role))))
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

	/* relaxed: as in enter_producer */
	if ((ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER) ||
	    shk_likely(is_mine(ring, shk_load_relaxed(role))))
		return 0;
	return take_role(ring, role, &ring->has_consumer_role, "consumer", "SHMKIT_RING_MULTI_CONSUMER");
}

static void give_back_role(struct shmkit_ring *ring, shk_u64 *role, uint32_t has)
{
	uint64_t word = shk_load_acquire(role);

	if (has && is_mine(ring, word))
		shk_lock_word_release(role, word);
}

/* ---- push ---- */

/* Announces a push; false when the ring was shut down before. */
static inline bool begin_push(struct shmkit_ring *ring, uint64_t next)
{
	struct shk_ring_shm *shm = ring->shm;
	/* relaxed: only holders of the role write it */
	uint64_t before = shk_load_relaxed(&shm->write_next);

	/* push:N relaxed, ordered before the elements by the fence below */
	if (next > before)
		shk_store_relaxed(&shm->write_next, next);
	/* Dies here: the oldest positions are doubtful without need. */
	SHK_POINT("ring.push.next");
	shk_store_relaxed(&shm->pushing, 1);
	/*
	 * push:P. pushing before the look at closed: shutdown's barrier makes one of the two seen.
	 * A process it does not reach fences itself.
	 */
	if (shk_unlikely(shk_process->fences))
		shk_fence_seq_cst();
	/* push:F release. write_next before the first byte; pairs with the acquire fence of copies. */
	shk_fence_release();
	if (shk_likely(shk_load_acquire(&shm->closed) == SHK_RING_OPEN))
		return true;
	/* nothing was written: what write_next said before is still true */
	shk_store_relaxed(&shm->write_next, before);
	shk_store_release(&shm->pushing, 0);
	return false;
}

static inline void end_push(struct shmkit_ring *ring, uint64_t write_index)
{
	/* push:C release. Pairs with pop:W. Commits all of it. */
	shk_store_release(&ring->shm->write_index, write_index);
	/* Dies here: committed. Those who sleep look when their slice ends. */
	SHK_POINT("ring.push.committed");
	/* release: one who sees no push sees the index */
	shk_store_release(&ring->shm->pushing, 0);
	shk_event_signal(&ring->shm->data_event);
}

static int64_t shut_down(void)
{
	return shk_fail_fixed(-ESHUTDOWN, "the ring was shut down");
}

/* What fits of count, as one. The caller has the role. */
static int64_t push_fitting(struct shmkit_ring *ring, const void *elements, uint64_t count)
{
	/* relaxed: only the holder of the role writes it */
	uint64_t write_index = shk_load_relaxed(&ring->shm->write_index);
	uint64_t room = ring->capacity - (write_index - ring->known_read_index);
	struct shk_ring_view view;

	if (shk_load_acquire(&ring->shm->closed) != SHK_RING_OPEN)
		return shut_down();
	if (room < count || room > ring->capacity) {
		int result = shk_ring_look(ring, &view);

		if (result)
			return result;
		write_index = view.write_index;
		ring->known_read_index = view.read_index;
		room = ring->capacity - (write_index - view.read_index);
		if (room == 0) {
			shk_look(ring->object.segment);
			return shk_fail_fixed(-EAGAIN, "the ring is full");
		}
	}
	if (count > room)
		count = room;
	if (!begin_push(ring, write_index + count))
		return shut_down();
	copy_in(ring, write_index, count, elements);
	end_push(ring, write_index + count);
	return (int64_t)count;
}

/* Keeps the base within reach of the 32 bits that count. */
static void carry_dropped(struct shk_ring_shm *shm, uint32_t dropped)
{
	uint64_t base = shk_load_acquire(&shm->dropped_base);
	uint32_t ahead = dropped - (uint32_t)base;

	/* Whoever is first; never backwards, for ahead is less than 2^31 + 2^31. */
	if (ahead > UINT32_C(1) << 30)
		shk_cas_acq_rel(&shm->dropped_base, base, base + ahead);
}

/* Makes room for count (at most capacity) by dropping the oldest unread. How many, or -EBADMSG. */
static int64_t drop_unread(struct shmkit_ring *ring, uint64_t count)
{
	struct shk_ring_view view;

	for (;;) {
		uint64_t room, drop;
		uint32_t dropped;
		int result = shk_ring_look(ring, &view);

		if (result)
			return result;
		room = ring->capacity - (view.write_index - view.read_index);
		if (room >= count)
			return 0;
		drop = count - room;
		dropped = shk_ring_dropped(view.read_word) + (uint32_t)drop;
		/* drop:C acq_rel. Index and count in one; a pop comes before it or fails. */
		if (!shk_cas_acq_rel(&ring->shm->read_word, view.read_word,
				     shk_ring_read_word(dropped, view.read_index + drop)))
			continue;
		/* Dies here: dropped and counted. */
		SHK_POINT("ring.drop.counted");
		carry_dropped(ring->shm, dropped);
		return (int64_t)drop;
	}
}

/* At most capacity elements. The caller has the role. */
static int64_t push_over(struct shmkit_ring *ring, const void *elements, uint64_t count)
{
	uint64_t write_index = shk_load_relaxed(&ring->shm->write_index);   /* as in push_fitting */
	int64_t dropped;

	if (shk_load_acquire(&ring->shm->closed) != SHK_RING_OPEN)
		return shut_down();
	dropped = drop_unread(ring, count);
	if (dropped < 0)
		return dropped;
	if (!begin_push(ring, write_index + count))
		return shut_down();
	copy_in(ring, write_index, count, elements);
	end_push(ring, write_index + count);
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
	return shk_object_leave(&ring->object, pushed == -EAGAIN ? 0 : pushed);
}

int64_t shmkit_ring_push_overwrite(struct shmkit_ring *ring, const void *elements, size_t count)
{
	const uint8_t *from = elements;
	uint64_t role = 0;
	int64_t dropped = 0;
	int result;

	if (shk_unlikely(!ring || (!elements && count)))
		return shk_ring_null("shmkit_ring_push_overwrite");
	result = shk_object_enter_write(&ring->object);
	if (shk_unlikely(result || count == 0))
		return result;
	result = enter_producer(ring, &role);
	if (shk_unlikely(result))
		return result;
	/* More than fit go in one after the other: each is pushed, and dropped by those behind it. */
	while (count > 0) {
		uint64_t piece = count < ring->capacity ? count : ring->capacity;
		int64_t lost = push_over(ring, from, piece);

		if (lost < 0) {
			dropped = lost;
			break;
		}
		dropped += lost;
		from += piece * ring->element_size;
		count -= (size_t)piece;
	}
	leave_producer(ring, role);
	return shk_object_leave(&ring->object, dropped);
}

/* ---- pop ---- */

bool shk_ring_is_end(const struct shmkit_ring *ring, uint64_t position)
{
	struct shmkit_segment *segment = ring->object.segment;
	struct shk_ring_shm *shm = ring->shm;
	uint32_t closed = shk_load_acquire(&shm->closed);
	uint64_t role, word;

	if (shk_likely(closed == SHK_RING_OPEN))
		return false;
	if (closed == SHK_RING_CLOSING) {
		/* he who shut it down has not come to the end of it, or died: finish for him */
		if (segment->read_only)
			return false;
		if (!shk_barrier_all())
			shk_sleep_ns(2000000);
		shk_cas_u32_seq_cst(&shm->closed, SHK_RING_CLOSING, SHK_RING_CLOSED);
	}
	/* end:P acquire. Pairs with end_push(): no push, then its index is seen below. */
	if (shk_load_acquire(&shm->pushing)) {
		role = shk_load_acquire(&shm->producer_role);
		if (shk_lock_is_held(role) && shk_lock_owner(role) < segment->geometry.max_members &&
		    (shk_load_acquire(&shk_member(segment, shk_lock_owner(role))->word) &
		     SHK_MEMBER_LIVE) &&
		    !shk_member_is_dead(segment, shk_lock_owner(role), &word))
			return false;
	}
	return shk_load_acquire(&shm->write_index) == position;
}

static SHK_COLD int64_t nothing_to_pop(struct shmkit_ring *ring, uint64_t position)
{
	shk_look(ring->object.segment);
	if (shk_ring_is_end(ring, position))
		return shk_fail_fixed(-ESHUTDOWN, "the ring was shut down, and this is its end");
	return shk_fail_fixed(-EAGAIN, "the ring is empty");
}

/* 1..count, -EAGAIN, -ESHUTDOWN, -EBADMSG. ret_elements NULL: skip. */
static int64_t pop(struct shmkit_ring *ring, void *ret_elements, uint64_t count)
{
	struct shk_ring_view view;
	uint64_t last_word = 0;

	for (unsigned same = 0; same < ROUNDS;) {
		uint64_t n;
		int result = shk_ring_look(ring, &view);

		if (shk_unlikely(result))
			return result;
		n = view.write_index - view.read_index;
		if (shk_unlikely(n == 0))
			return nothing_to_pop(ring, view.read_index);
		if (n > count)
			n = count;
		if (ret_elements)
			shk_ring_copy_out(ring, view.read_index, n, ret_elements);
		/* pop:F acquire. The copy before write_next; pairs with push:F. */
		shk_fence_acquire();
		/* relaxed: the fence orders it */
		if (shk_unlikely(shk_ring_oldest(ring, shk_load_relaxed(&ring->shm->write_next)) >
				 view.read_index)) {
			/* overwritten: then its dropper has moved the index, unless it is damaged */
			same = view.read_word == last_word ? same + 1 : 0;
			last_word = view.read_word;
			continue;
		}
		/* pop:C acq_rel. Pairs with drop:C and the producer's look: copied before it is free. */
		if (shk_likely(shk_cas_acq_rel(&ring->shm->read_word, view.read_word,
					       shk_ring_read_word(shk_ring_dropped(view.read_word),
								  view.read_index + n)))) {
			/* Dies here: popped, inside the call. */
			SHK_POINT("ring.pop.taken");
			shk_event_signal(&ring->shm->space_event);
			return (int64_t)n;
		}
	}
	return shk_object_damaged(&ring->object, "its oldest elements are being overwritten by nobody");
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

/* ---- the end ---- */

int shmkit_ring_shutdown(struct shmkit_ring *ring)
{
	struct shk_ring_shm *shm;
	int result;

	if (!ring)
		return shk_ring_null("shmkit_ring_shutdown");
	result = shk_object_enter_write(&ring->object);
	if (result)
		return result;
	shm = ring->shm;
	shk_cas_u32_seq_cst(&shm->closed, SHK_RING_OPEN, SHK_RING_CLOSING);
	/* Dies here: no push begins; the first who comes to the end goes on from here. */
	SHK_POINT("ring.shutdown.closing");
	/* Every thread that has seen it open has made its pushing visible, or sees it closed. */
	if (!shk_barrier_all())
		shk_sleep_ns(2000000);      /* longer than any store takes to be seen */
	shk_cas_u32_seq_cst(&shm->closed, SHK_RING_CLOSING, SHK_RING_CLOSED);
	SHK_POINT("ring.shutdown.closed");
	shk_event_signal(&shm->data_event);
	shk_event_signal(&shm->space_event);
	return 0;
}

void shk_ring_put(struct shmkit_ring *ring)
{
	if (__atomic_sub_fetch(&ring->references, 1, __ATOMIC_ACQ_REL) == 0)
		shk_object_close(&ring->object);
}

void shmkit_ring_close(struct shmkit_ring *ring)
{
	if (!ring)
		return;
	/* readers may keep the handle's memory; the roles go back now */
	if (!ring->object.segment->read_only && ring->object.segment->epoch == shk_process_epoch()) {
		give_back_role(ring, &ring->shm->producer_role, ring->has_producer_role);
		give_back_role(ring, &ring->shm->consumer_role, ring->has_consumer_role);
	}
	shk_ring_put(ring);
}
