/*
 * The rest of the ring: how it is made, checked, repaired, shut down and let go; its figures; the
 * calls that wait. Protocol and death table: ring.h.
 */
#include "ring.h"

#include "copy.h"
#include "member.h"
#include "sys.h"

#include <errno.h>

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
	ring->straight = ring->mask && shk_is_straight(shape->element_size);
	ring->producer_held = shape->flags & SHMKIT_RING_MULTI_PRODUCER ? UINT64_MAX : SHK_LOCK_HELD;
	ring->consumer_held = shape->flags & SHMKIT_RING_MULTI_CONSUMER ? UINT64_MAX : SHK_LOCK_HELD;
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

	/* The word names its owner and occurs once: a later holder's is another. */
	if (shk_lock_is_held(word) && shk_lock_owner(word) == dead->id && shk_still_dead(dead))
		shk_lock_word_release(role, word);
}

static void repair(struct shk_object *object, const struct shk_dead *dead)
{
	struct shk_ring_shm *shm = (struct shk_ring_shm *)(void *)object->base;

	free_role(&shm->producer_role, dead);
	/* Dies here: the other role is left to the next pass, or to who wants it. */
	SHK_POINT("ring.repair.producer");
	free_role(&shm->consumer_role, dead);
	SHK_POINT("ring.repair.consumer");
	shk_ring_finish_shutdown(shm);
	/* who waits for an end that the dead did not come to looks again */
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

/* Indices of one moment, in a ring that may be in use. */
static int check_indices(const struct shmkit_ring *ring)
{
	const struct shk_ring_shm *shm = ring->shm;

	for (unsigned round = 0; round < SHK_RING_ROUNDS; round++) {
		uint64_t base = shk_load_acquire(&shm->dropped_base);   /* before what counts on from it */
		struct shk_ring_view view;
		uint64_t next, dropped;

		if (shk_ring_look(ring, &view))
			return -EBADMSG;
		next = shk_load_acquire(&shm->write_next);
		if (shk_load_acquire(&shm->write_index) != view.write_index)
			continue;
		dropped = base + (uint32_t)(shk_ring_dropped(view.read_word) - (uint32_t)base);
		if (next < view.write_index || next - view.write_index > ring->capacity)
			return shk_object_damaged(&ring->object, "%llu positions are committed and %llu begun, "
						  "which cannot be in %llu slots",
						  (unsigned long long)view.write_index,
						  (unsigned long long)next,
						  (unsigned long long)ring->capacity);
		if (dropped > view.read_index)
			return shk_object_damaged(&ring->object, "%llu elements were dropped of %llu taken off",
						  (unsigned long long)dropped,
						  (unsigned long long)view.read_index);
		return 0;
	}
	return 0;                           /* never still, and always possible */
}

static int check(struct shk_object *object)
{
	const struct shk_ring_shm *shm = (const struct shk_ring_shm *)(const void *)object->base;
	uint32_t members = object->segment->geometry.max_members;
	uint32_t closed = shk_load_acquire(&shm->closed);
	uint32_t pushing = shk_load_acquire(&shm->pushing);
	uint64_t sharing = shk_load_acquire(&shm->sharing);
	struct shmkit_ring ring = { 0 };

	bind(&ring, object);
	if (check_indices(&ring))
		return -EBADMSG;
	if (sharing && sharing != SHK_RING_SHARING &&
	    ((sharing & 3) != SHK_RING_SHARED || (object->shape.flags & SHMKIT_RING_MULTI_CONSUMER)))
		return shk_object_damaged(object, "its word of who moves the read index is 0x%llx",
					  (unsigned long long)sharing);
	if (closed > SHK_RING_CLOSED || pushing > 1)
		return shk_object_damaged(object, "its shutdown word is %u, its word of a push under way %u",
					  closed, pushing);
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

/* ---- the end ---- */

void shk_ring_wait_for_stores(void)
{
	if (!shk_barrier_all())
		shk_sleep_ns(2000000);      /* longer than any store takes to be seen */
}

void shk_ring_finish_shutdown(struct shk_ring_shm *shm)
{
	if (shk_load_acquire(&shm->closed) != SHK_RING_CLOSING)
		return;
	/* Every thread that has seen it open has made its pushing visible after this, or sees it closed. */
	shk_ring_wait_for_stores();
	/* close:C seq_cst. Pairs with the look at closed in shk_ring_is_end(). */
	shk_cas_u32_seq_cst(&shm->closed, SHK_RING_CLOSING, SHK_RING_CLOSED);
	/* Dies here: shut down; those who wait look when their slice ends. */
	SHK_POINT("ring.shutdown.closed");
}

void shk_ring_share(struct shmkit_ring *ring)
{
	struct shk_ring_shm *shm = ring->shm;

	/* share:O seq_cst. Before the barrier; pairs with the look at sharing at the end of a pop. */
	shk_cas_seq_cst(&shm->sharing, SHK_RING_ALONE, SHK_RING_SHARING);
	/* Dies here: the next who drops, or the consumer, goes on. */
	SHK_POINT("ring.share.announced");
	/* A consumer that has seen ALONE behind its store has made that visible after this. */
	shk_ring_wait_for_stores();
	/*
	 * share:C release, and acquire of the index: what the consumer had copied before its store
	 * comes before what will be overwritten, whoever does that.
	 */
	shk_cas_release(&shm->sharing, SHK_RING_SHARING,
			shk_load_acquire(&shm->read_index) << 2 | SHK_RING_SHARED);
	/* Dies here: shared, nothing dropped. */
	SHK_POINT("ring.share.done");
}

/* One who can still commit something: pushing, with a living holder of the role. */
static bool somebody_pushes(const struct shmkit_ring *ring)
{
	struct shmkit_segment *segment = ring->object.segment;
	uint64_t role, word;
	unsigned owner;

	/* end:P acquire. Pairs with the end of a push: none, then its index is seen after this. */
	if (!shk_load_acquire(&ring->shm->pushing))
		return false;
	/* acquire: pairs with lock:U of one who has finished */
	role = shk_load_acquire(&ring->shm->producer_role);
	owner = shk_lock_owner(role);
	if (!shk_lock_is_held(role) || owner >= segment->geometry.max_members ||
	    !(shk_load_acquire(&shk_member(segment, owner)->word) & SHK_MEMBER_LIVE) ||
	    shk_member_is_dead(segment, owner, &word))
		return false;
	/*
	 * The dead may have been cleaned up after, and their id be another's: then the role is no
	 * longer theirs. One who has taken it since finds the ring closed. acquire: as above. That
	 * somebody waits for it now changes nothing.
	 */
	return ((shk_load_acquire(&ring->shm->producer_role) ^ role) & ~SHK_LOCK_WAITERS) == 0;
}

bool shk_ring_is_end(const struct shmkit_ring *ring, uint64_t position)
{
	struct shk_ring_shm *shm = ring->shm;
	uint32_t closed = shk_load_acquire(&shm->closed);

	if (shk_likely(closed == SHK_RING_OPEN))
		return false;
	if (closed == SHK_RING_CLOSING) {
		/* an observer cannot write it down, but can do what it stands for */
		if (ring->object.segment->read_only)
			shk_ring_wait_for_stores();
		else
			shk_ring_finish_shutdown(shm);
	}
	return !somebody_pushes(ring) && shk_load_acquire(&shm->write_index) == position;
}

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
	/* close:O seq_cst. Before the barrier; pairs with push:P. */
	shk_cas_u32_seq_cst(&shm->closed, SHK_RING_OPEN, SHK_RING_CLOSING);
	/* Dies here: no push begins; the first who meets it goes on from here. */
	SHK_POINT("ring.shutdown.closing");
	shk_ring_finish_shutdown(shm);
	shk_event_signal(&shm->data_event);
	shk_event_signal(&shm->space_event);
	return (int)shk_object_leave(&ring->object, 0);
}

static void give_back_role(const struct shmkit_ring *ring, shk_u64 *role, uint32_t has)
{
	uint64_t word = shk_load_acquire(role);

	if (has && shk_ring_is_mine(ring, word))
		shk_lock_word_release(role, word);
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
	/* readers may keep the handle; the roles taken through it go back now */
	if (!ring->object.segment->read_only && ring->object.segment->epoch == shk_process_epoch()) {
		give_back_role(ring, &ring->shm->producer_role, ring->has_producer_role);
		give_back_role(ring, &ring->shm->consumer_role, ring->has_consumer_role);
	}
	shk_ring_put(ring);
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
		return 0;                   /* last error is set */
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
