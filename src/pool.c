/*
 * The pool: made, opened; acquire and release. Protocol and death table: pool.h.
 */
#include "pool.h"

#include "copy.h"

#include <errno.h>

#define ROUNDS 4u                           /* of a search, before a pool is called full */

/* ---- life ---- */

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

static uint32_t element_stride(const struct shk_shape *shape)
{
	return (uint32_t)align_up(shape->element_size, shape->alignment);
}

/* Where the parts of a pool of capacity slots lie, in bytes from its beginning. */
struct parts {
	uint64_t bits[SHK_POOL_LEVELS];
	uint64_t levels[SHK_POOL_LEVELS];
	uint64_t elements;
};

static struct parts place_parts(uint64_t capacity, uint32_t alignment)
{
	uint64_t bits = capacity;
	struct parts parts;
	uint64_t end = sizeof(struct shk_pool_shm) + capacity * sizeof(shk_u64);

	for (unsigned level = 0; level < SHK_POOL_LEVELS; level++) {
		parts.bits[level] = bits;
		parts.levels[level] = align_up(end, SHK_EXTENT_ALIGN);
		bits = (bits + 63) / 64;
		end = parts.levels[level] + bits * sizeof(shk_u64);
	}
	parts.elements = align_up(end, alignment > SHK_EXTENT_ALIGN ? alignment : SHK_EXTENT_ALIGN);
	return parts;
}

static int measure(struct shk_shape *shape)
{
	if (shape->requested < 1 || shape->requested > SHK_POOL_MAX_CAPACITY)
		return shk_fail(-EINVAL, "a pool of %llu objects was asked for; 1 to %llu are "
					 "possible",
				(unsigned long long)shape->requested,
				(unsigned long long)SHK_POOL_MAX_CAPACITY);
	shape->capacity = shape->requested;
	shape->size = place_parts(shape->capacity, shape->alignment).elements +
		      shape->capacity * element_stride(shape);
	return 0;
}

/* All zero is a pool: every slot FREE, every hint saying so. */
static void init(struct shk_object *object, uint64_t initial)
{
	(void)object;
	(void)initial;
}

void shk_pool_bind(struct shmkit_pool *pool, const struct shk_object *object)
{
	const struct shk_shape *shape = &object->shape;
	struct parts parts = place_parts(shape->capacity, shape->alignment);

	pool->object = *object;
	pool->shm = (struct shk_pool_shm *)(void *)object->base;
	pool->words = (shk_u64 *)(void *)(pool->shm + 1);
	for (unsigned level = 0; level < SHK_POOL_LEVELS; level++) {
		pool->levels[level] = (shk_u64 *)(void *)(object->base + parts.levels[level]);
		pool->bits[level] = parts.bits[level];
	}
	pool->elements = object->base + parts.elements;
	pool->stride = element_stride(shape);
	pool->element_size = shape->element_size;
}

static int open_pool(struct shk_object *object)
{
	struct shmkit_pool *pool = (struct shmkit_pool *)object;

	shk_pool_bind(pool, object);
	pool->cursor_member = SHK_NO_MEMBER;
	return 0;
}

const struct shk_kind shk_kind_pool = {
	.kind = SHMKIT_KIND_POOL,
	.name = "pool",
	.handle_size = sizeof(struct shmkit_pool),
	.measure = measure,
	.init = init,
	.open = open_pool,
	.repair = shk_pool_repair,
	.check = shk_pool_check,
	.used = shk_pool_used,
};

int shmkit_pool_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		       uint64_t capacity, const struct shmkit_object_options *options,
		       struct shmkit_pool **ret_pool)
{
	return shk_object_create(segment, name, SHMKIT_KIND_POOL, element_size, capacity, options,
				 0, (struct shk_object **)ret_pool);
}

int shmkit_pool_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		     struct shmkit_pool **ret_pool)
{
	return shk_object_open(segment, name, SHMKIT_KIND_POOL, element_size,
			       (struct shk_object **)ret_pool);
}

int shmkit_pool_open_or_create(struct shmkit_segment *segment, const char *name,
			       uint32_t element_size, uint64_t capacity,
			       const struct shmkit_object_options *options,
			       struct shmkit_pool **ret_pool)
{
	return shk_object_open_or_create(segment, name, SHMKIT_KIND_POOL, element_size, capacity,
					 options, 0, (struct shk_object **)ret_pool);
}

void shmkit_pool_close(struct shmkit_pool *pool)
{
	shk_object_close((struct shk_object *)pool);
}

int shmkit_pool_get_info(const struct shmkit_pool *pool, struct shmkit_entry_info *ret_info)
{
	return shk_object_get_info((const struct shk_object *)pool, ret_info);
}

uint64_t shmkit_pool_capacity(const struct shmkit_pool *pool)
{
	return pool ? pool->bits[0] : 0;
}

uint32_t shmkit_pool_element_size(const struct shmkit_pool *pool)
{
	return pool ? pool->element_size : 0;
}

int shk_pool_null(const char *function)
{
	return shk_fail(-EINVAL, "%s: the pool or the place for the result is NULL; pass an open "
				 "pool and a variable", function);
}

/* ---- acquire ---- */

/*
 * relaxed, plain: private to the process. Threads that push and pop at once may lose a slot or
 * remember it twice; the count stays in its bounds, and what is written there is a slot of the pool.
 */
static inline void remember(struct shmkit_pool *pool, uint64_t slot)
{
	uint32_t count = __atomic_load_n(&pool->released_count, __ATOMIC_RELAXED);

	/* full: the newest is the best to have */
	if (shk_unlikely(count == SHK_POOL_REMEMBERED))
		count--;
	__atomic_store_n(&pool->released[count], (uint32_t)slot, __ATOMIC_RELAXED);
	__atomic_store_n(&pool->released_count, count + 1, __ATOMIC_RELAXED);
}

/* relaxed, plain: as in remember() */
static inline uint64_t recall(struct shmkit_pool *pool)
{
	uint32_t count = __atomic_load_n(&pool->released_count, __ATOMIC_RELAXED);

	if (shk_unlikely(count == 0))
		return SHK_POOL_NONE;
	__atomic_store_n(&pool->released_count, count - 1, __ATOMIC_RELAXED);
	return __atomic_load_n(&pool->released[count - 1], __ATOMIC_RELAXED);
}

/* Is what the handle remembers this process's own, and not that of the one it was forked from? */
static inline bool is_own(const struct shmkit_pool *pool)
{
	/* relaxed, plain: private to the process; any value will do */
	return __atomic_load_n(&pool->cursor_member, __ATOMIC_RELAXED) ==
	       pool->object.segment->member_id;
}

/* Members begin far from one another; what a parent remembers is its to take. */
static SHK_COLD void begin_elsewhere(struct shmkit_pool *pool)
{
	uint32_t member = pool->object.segment->member_id;
	uint32_t spread = member * UINT32_C(2654435769);
	uint32_t start = (uint32_t)(spread * pool->bits[0] >> 32);

	/* relaxed, plain: as in is_own() */
	__atomic_store_n(&pool->released_count, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&pool->cursor, start, __ATOMIC_RELAXED);
	__atomic_store_n(&pool->cursor_member, member, __ATOMIC_RELAXED);
}

/* FREE at a generation at which nobody frees a slot: poked, or damaged. */
static SHK_COLD uint64_t retire(struct shmkit_pool *pool, uint64_t slot, uint64_t word)
{
	shk_cas_release(&pool->words[slot], word, shk_pool_freed_word(word));
	SHK_POINT("pool.acquire.retired");
	return 0;
}

/* FREE -> ACQUIRING(me): the word that is there now, or 0 when the slot is not to be had. */
static inline uint64_t take(struct shmkit_pool *pool, uint64_t slot)
{
	/* acquire: see pool.c, take:C */
	uint64_t word = shk_load_acquire(&pool->words[slot]), taken;

	if (shk_unlikely(shk_pool_state(word) != SHK_SLOT_FREE))
		return 0;
	if (shk_unlikely(shk_pool_is_last(word)))
		return retire(pool, slot, word);
	taken = shk_pool_own_word(pool, shk_pool_generation(word) + 1, SHK_SLOT_ACQUIRING);
	/* take:C acq_rel. Pairs with free:C: what the last holder did comes before what we do. */
	if (shk_unlikely(!shk_cas_acq_rel(&pool->words[slot], word, taken)))
		return 0;
	/* Dies here: ACQUIRING(dead), no object. Repair: FREE. */
	SHK_POINT("pool.acquire.taken");
	return taken;
}

/* ACQUIRING(me), as seen in word, and zeroed -> USED: a new object. */
static inline int commit(struct shmkit_pool *pool, uint64_t slot, uint64_t word,
			 uint64_t *ret_handle)
{
	/* acquire:P release. Pairs with find:A of who is given the handle. Commits. */
	shk_store_release(&pool->words[slot], shk_pool_committed_word(word));
	/* Dies here: an object of a dead owner, whose handle nobody knows: reclaimed. */
	SHK_POINT("pool.acquire.used");
	if (shk_unlikely(shk_object_is_lost(&pool->object)))
		return (int)shk_object_lost(&pool->object);
	*ret_handle = shk_pool_handle(word, slot);
	return 0;
}

static SHK_NOINLINE int make_any(struct shmkit_pool *pool, uint64_t slot, uint64_t word,
				 uint64_t *ret_handle)
{
	/* racing: as in make() */
	shk_zero_racing(shk_pool_element(pool, slot), pool->element_size);
	return commit(pool, slot, word, ret_handle);
}

/* ACQUIRING(me), as seen in word -> USED. Nothing is called but at the end: no registers saved. */
static inline int make(struct shmkit_pool *pool, uint64_t slot, uint64_t word, uint64_t *ret_handle)
{
	/* acquire:F release. ACQUIRING before the first zero: pairs with the fence in read. */
	shk_fence_release();
	/* racing: who still reads the last object there finds out by its word */
	if (!shk_zero_racing_short(shk_pool_element(pool, slot), pool->element_size))
		return make_any(pool, slot, word, ret_handle);
	return commit(pool, slot, word, ret_handle);
}

/* From slot first on to before last, as the hints say. */
static uint64_t take_between(struct shmkit_pool *pool, uint64_t first, uint64_t last,
			     uint64_t *ret_word)
{
	for (uint64_t slot = first; (slot = shk_pool_hint_next(pool, slot)) < last; slot++) {
		*ret_word = take(pool, slot);
		if (*ret_word) {
			shk_pool_hint_taken(pool, slot);
			return slot;
		}
		shk_pool_hint_used(pool, slot);
	}
	return SHK_POOL_NONE;
}

/* Goes on where the last one ended. */
static uint64_t search(struct shmkit_pool *pool, uint64_t *ret_word)
{
	/* relaxed, plain: private to the process; below the capacity, as all that is written there */
	uint64_t start = __atomic_load_n(&pool->cursor, __ATOMIC_RELAXED);
	uint64_t slot = take_between(pool, start, pool->bits[0], ret_word);

	if (slot == SHK_POOL_NONE)
		slot = take_between(pool, 0, start, ret_word);
	if (slot != SHK_POOL_NONE)
		__atomic_store_n(&pool->cursor, (uint32_t)slot, __ATOMIC_RELAXED);
	return slot;
}

/* The hints know of no FREE slot. */
static SHK_COLD uint64_t search_all(struct shmkit_pool *pool, uint64_t *ret_word)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t slot;

		if (!shk_pool_rescan(pool) && !shk_look(pool->object.segment))
			break;
		slot = search(pool, ret_word);
		if (slot != SHK_POOL_NONE)
			return slot;
	}
	return SHK_POOL_NONE;
}

/* All that is not the common case: a first call, a remembered slot that is taken, none remembered. */
static SHK_NOINLINE int acquire_any(struct shmkit_pool *pool, uint64_t *ret_handle)
{
	uint64_t slot, word = 0;
	int result = shk_object_enter_write(&pool->object);

	if (shk_unlikely(result))
		return result;
	if (shk_unlikely(!is_own(pool)))
		begin_elsewhere(pool);
	/* comes to an end: only a release by another thread adds one */
	while ((slot = recall(pool)) != SHK_POOL_NONE && !(word = take(pool, slot)))
		;
	if (slot == SHK_POOL_NONE)
		slot = search(pool, &word);
	if (shk_unlikely(slot == SHK_POOL_NONE))
		slot = search_all(pool, &word);
	if (shk_unlikely(slot == SHK_POOL_NONE))
		return (int)shk_object_leave(&pool->object,
					     shk_fail_fixed(-EAGAIN, "the pool is full"));
	return make(pool, slot, word, ret_handle);
}

int shmkit_pool_acquire(struct shmkit_pool *pool, uint64_t *ret_handle)
{
	uint64_t slot, word;

	if (shk_unlikely(!pool || !ret_handle))
		return shk_pool_null("shmkit_pool_acquire");
	if (shk_unlikely(!shk_object_is_ready_to_write(&pool->object) || !is_own(pool)))
		return acquire_any(pool, ret_handle);
	slot = recall(pool);
	if (shk_unlikely(slot == SHK_POOL_NONE))
		return acquire_any(pool, ret_handle);
	word = take(pool, slot);
	if (shk_unlikely(!word))
		return acquire_any(pool, ret_handle);
	return make(pool, slot, word, ret_handle);
}

/* ---- release ---- */

int shk_pool_stale(void)
{
	return shk_fail_fixed(-ESTALE, "the object of that handle was released, or the handle never "
				       "named one of this pool; forget the handle");
}

/* All that is not the common case: a first call, an object that was adopted meanwhile. */
static SHK_NOINLINE int release_any(struct shmkit_pool *pool, uint64_t handle)
{
	uint64_t word;
	int result = shk_object_enter_write(&pool->object);

	if (shk_unlikely(result))
		return result;
	do {
		if (shk_unlikely(!shk_pool_find(pool, handle, &word)))
			return -ESTALE;
		/* again when it was adopted meanwhile */
	} while (shk_unlikely(!shk_pool_free_slot(pool, shk_pool_slot(handle), word)));
	remember(pool, shk_pool_slot(handle));
	return 0;
}

int shmkit_pool_release(struct shmkit_pool *pool, uint64_t handle)
{
	uint64_t word;

	if (shk_unlikely(!pool))
		return shk_pool_null("shmkit_pool_release");
	if (shk_unlikely(!shk_object_is_ready_to_write(&pool->object)))
		return release_any(pool, handle);
	if (shk_unlikely(!shk_pool_find(pool, handle, &word)))
		return -ESTALE;
	if (shk_unlikely(!shk_pool_free_word(pool, shk_pool_slot(handle), word)))
		return release_any(pool, handle);
	/* before its bits are right: a thread that takes it may leave them as they are */
	remember(pool, shk_pool_slot(handle));
	shk_pool_hint_freed(pool, shk_pool_slot(handle), word);
	return 0;
}
