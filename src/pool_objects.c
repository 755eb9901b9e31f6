/*
 * The pool's objects: looked up, walked, owned; and the pool after a death. Protocol: pool.h.
 */
#include "pool.h"

#include "copy.h"
#include "member.h"

#include <errno.h>

/* ---- by handle ---- */

void *shmkit_pool_get(struct shmkit_pool *pool, uint64_t handle)
{
	uint64_t word;

	if (shk_unlikely(!pool)) {
		shk_pool_null("shmkit_pool_get");
		return NULL;
	}
	if (shk_unlikely(shk_object_enter_write(&pool->object)) ||
	    !shk_pool_find(pool, handle, &word))
		return NULL;
	return shk_pool_element(pool, shk_pool_slot(handle));
}

const void *shmkit_pool_view(const struct shmkit_pool *pool, uint64_t handle)
{
	uint64_t word;

	if (shk_unlikely(!pool)) {
		shk_pool_null("shmkit_pool_view");
		return NULL;
	}
	if (shk_unlikely(shk_object_enter(&pool->object)) || !shk_pool_find(pool, handle, &word))
		return NULL;
	return shk_pool_element(pool, shk_pool_slot(handle));
}

int shmkit_pool_read(const struct shmkit_pool *pool, uint64_t handle, void *ret_element)
{
	uint64_t word, slot = shk_pool_slot(handle);
	int result;

	if (shk_unlikely(!pool || !ret_element))
		return shk_pool_null("shmkit_pool_read");
	result = shk_object_enter(&pool->object);
	if (shk_unlikely(result))
		return result;
	if (!shk_pool_find(pool, handle, &word))
		return -ESTALE;
	shk_copy_racing(ret_element, shk_pool_element(pool, slot), pool->element_size);
	/* read:F acquire. Pairs with acquire:F: who saw bytes of the next object sees its word. */
	shk_fence_acquire();
	/* relaxed: ordered by the fence */
	if (shk_unlikely(!shk_pool_is_live(shk_load_relaxed(&pool->words[slot]), handle)))
		result = shk_fail_fixed(-ESTALE, "the object was released while it was copied");
	return (int)shk_object_leave(&pool->object, result);
}

int64_t shmkit_pool_index(const struct shmkit_pool *pool, uint64_t handle)
{
	uint64_t word;
	int result;

	if (!pool)
		return shk_pool_null("shmkit_pool_index");
	result = shk_object_enter(&pool->object);
	if (result)
		return result;
	return shk_pool_find(pool, handle, &word) ? (int64_t)shk_pool_slot(handle) : -ESTALE;
}

/* ---- by slot ---- */

/* acquire: as find:A */
static uint64_t look_at(const struct shmkit_pool *pool, uint64_t slot)
{
	return shk_load_acquire(&pool->words[slot]);
}

/* An object that a handle can name: a damaged slot may be USED at generation 0. */
static bool is_object(uint64_t word)
{
	return shk_pool_state(word) == SHK_SLOT_USED && shk_pool_generation(word) != 0;
}

int shmkit_pool_at(const struct shmkit_pool *pool, uint64_t index, uint64_t *ret_handle)
{
	uint64_t word;
	int result;

	if (!pool || !ret_handle)
		return shk_pool_null("shmkit_pool_at");
	result = shk_object_enter(&pool->object);
	if (result)
		return result;
	if (index >= pool->bits[0])
		return shk_fail(-ERANGE, "slot %llu of pool '%s' was asked for; it has slots 0 to "
					"%llu",
				(unsigned long long)index, shk_object_name(&pool->object),
				(unsigned long long)(pool->bits[0] - 1));
	word = look_at(pool, index);
	if (!is_object(word))
		return shk_fail_fixed(-ENOENT, "there is no object in that slot of the pool");
	*ret_handle = shk_pool_handle(word, index);
	return 0;
}

int shmkit_pool_next(struct shmkit_pool *pool, uint64_t *cursor, uint64_t *ret_handle)
{
	int result;

	if (!pool || !cursor || !ret_handle)
		return shk_pool_null("shmkit_pool_next");
	result = shk_object_enter(&pool->object);
	if (result)
		return result;
	for (uint64_t slot = *cursor; slot < pool->bits[0]; slot++) {
		uint64_t word = look_at(pool, slot);

		if (!is_object(word))
			continue;
		*cursor = slot + 1;
		*ret_handle = shk_pool_handle(word, slot);
		return (int)shk_object_leave(&pool->object, 1);
	}
	*cursor = pool->bits[0];
	return (int)shk_object_leave(&pool->object, 0);
}

/* Looks at every slot: there is no count that a death could leave wrong. */
static uint64_t count_objects(const struct shmkit_pool *pool)
{
	uint64_t count = 0;

	for (uint64_t slot = 0; slot < pool->bits[0]; slot++)
		count += is_object(look_at(pool, slot));
	return count;
}

uint64_t shk_pool_used(const struct shk_object *object)
{
	struct shmkit_pool pool = { 0 };

	shk_pool_bind(&pool, object);
	return count_objects(&pool);
}

uint64_t shmkit_pool_size(const struct shmkit_pool *pool)
{
	if (!pool) {
		shk_pool_null("shmkit_pool_size");
		return 0;
	}
	return shk_object_enter(&pool->object) ? 0 : count_objects(pool);
}

/* ---- owners ---- */

/*
 * What the registry says of the owner a word names; read after the word, so that an owner it no
 * longer shows has gone for good. *ret_member is its registry word, 0 when it shows none. True when
 * it is alive, or when there is a doubt.
 */
static bool owner_is_alive(const struct shmkit_pool *pool, uint64_t word, uint64_t *ret_member)
{
	struct shmkit_segment *segment = pool->object.segment;
	unsigned id = shk_pool_owner(word);
	uint64_t member, dead;

	*ret_member = 0;
	if (id >= segment->geometry.max_members)
		return false;
	/* owner:R acquire. After the slot's word. */
	member = shk_load_acquire(&shk_member(segment, id)->word);
	if (!(member & SHK_MEMBER_LIVE) ||
	    (member >> 1 & SHK_POOL_INCARNATION_MASK) != shk_pool_incarnation(word))
		return false;
	*ret_member = member;
	if (shk_member_is_dead(segment, id, &dead))
		return false;
	/* it may have left, or been cleaned up after, between the two looks */
	return shk_load_acquire(&shk_member(segment, id)->word) == member;
}

int shmkit_pool_owner(struct shmkit_pool *pool, uint64_t handle, int32_t *ret_pid,
		      uint32_t *ret_alive)
{
	uint64_t word, member;
	int32_t pid = 0;
	bool alive;
	int result;

	if (!pool || !ret_pid || !ret_alive)
		return shk_pool_null("shmkit_pool_owner");
	result = shk_object_enter(&pool->object);
	if (result)
		return result;
	if (!shk_pool_find(pool, handle, &word))
		return -ESTALE;
	alive = owner_is_alive(pool, word, &member);
	if (member) {
		const struct shk_member_shm *shm =
			shk_member(pool->object.segment, shk_pool_owner(word));

		/* relaxed: between two looks at the word that publishes it */
		pid = shk_load_relaxed(&shm->pid);
		shk_fence_acquire();
		if (shk_load_relaxed(&shm->word) != member) {
			/* it has left meanwhile: the pid may be another's */
			pid = 0;
			alive = false;
		}
	}
	*ret_pid = pid;
	*ret_alive = alive;
	return (int)shk_object_leave(&pool->object, 0);
}

int shmkit_pool_adopt(struct shmkit_pool *pool, uint64_t handle)
{
	uint64_t word, own;
	int result;

	if (!pool)
		return shk_pool_null("shmkit_pool_adopt");
	result = shk_object_enter_write(&pool->object);
	if (result)
		return result;
	own = shk_pool_own_word(pool, shk_pool_generation(handle), SHK_SLOT_USED);
	do {
		if (!shk_pool_find(pool, handle, &word))
			return -ESTALE;
		/* adopt:C acq_rel. Pairs with acquire:P, and passes it on to find:A. Commits. */
	} while (!shk_cas_acq_rel(&pool->words[shk_pool_slot(handle)], word, own));
	/* Dies here: an object of a dead owner. */
	SHK_POINT("pool.adopt.done");
	return 0;
}

/* What one call has found out about member ids: 0 nothing, else 2 + 2 * incarnation + alive. */
struct verdicts {
	uint32_t of[SHK_MAX_MEMBERS];
};

/*
 * A verdict holds for one incarnation. That one is dead stays true for the rest of the call; that
 * one is alive may not, and its objects are left for the next call.
 */
static bool is_orphan(const struct shmkit_pool *pool, struct verdicts *verdicts, uint64_t word)
{
	uint32_t *verdict = &verdicts->of[shk_pool_owner(word)];
	uint32_t incarnation = (uint32_t)shk_pool_incarnation(word);
	uint64_t member;

	if (*verdict >> 1 != incarnation + 1)
		*verdict = (incarnation + 1) << 1 | owner_is_alive(pool, word, &member);
	return !(*verdict & 1);
}

int64_t shmkit_pool_reclaim(struct shmkit_pool *pool)
{
	struct verdicts verdicts = { 0 };
	int64_t count = 0;
	int result;

	if (!pool)
		return shk_pool_null("shmkit_pool_reclaim");
	result = shk_object_enter_write(&pool->object);
	if (result)
		return result;
	for (uint64_t slot = 0; slot < pool->bits[0]; slot++) {
		uint64_t word = look_at(pool, slot);

		if (shk_pool_state(word) != SHK_SLOT_USED || !is_orphan(pool, &verdicts, word))
			continue;
		/* adopted or released meanwhile: no longer ours to free */
		if (shk_pool_free_slot(pool, slot, word))
			count++;
	}
	return shk_object_leave(&pool->object, count);
}

/* ---- after a death ---- */

void shk_pool_repair(struct shk_object *object, const struct shk_dead *dead)
{
	uint64_t incarnation = dead->word >> 1 & SHK_POOL_INCARNATION_MASK;
	struct shmkit_pool pool = { 0 };

	shk_pool_bind(&pool, object);
	for (uint64_t slot = 0; slot < pool.bits[0]; slot++) {
		uint64_t word = look_at(&pool, slot);

		if (shk_pool_state(word) != SHK_SLOT_ACQUIRING ||
		    shk_pool_owner(word) != dead->id ||
		    shk_pool_incarnation(word) != incarnation || !shk_still_dead(dead))
			continue;
		/*
		 * repair:W. The word occurs once: whoever is first has done it. Hints as after a
		 * release; what is lost when this one dies too is found by the scan.
		 */
		if (shk_pool_free_slot(&pool, slot, word))
			SHK_POINT("pool.repair.slot");
	}
	/*
	 * Always: the dead may have hidden any slot, as a releaser or a repairer too.
	 * repair:C release. Pairs with rescan:S.
	 */
	shk_add_release(&pool.shm->rescan_set, 1);
	SHK_POINT("pool.repair.counted");
}

/* ---- check ---- */

/*
 * Words only. A hint that hides a FREE slot is what one who stands still, or died a moment ago,
 * leaves; it is no damage, and a scan mends it.
 */
int shk_pool_check(struct shk_object *object)
{
	uint32_t max_members = object->segment->geometry.max_members;
	struct shmkit_pool pool = { 0 };
	uint64_t done, set;

	shk_pool_bind(&pool, object);
	for (uint64_t slot = 0; slot < pool.bits[0]; slot++) {
		uint64_t word = look_at(&pool, slot);
		unsigned state = shk_pool_state(word);
		bool owned = state == SHK_SLOT_ACQUIRING || state == SHK_SLOT_USED;

		if (owned ? shk_pool_owner(word) < max_members && shk_pool_generation(word) != 0
			  : (shk_pool_owner(word) | shk_pool_incarnation(word)) == 0)
			continue;
		return shk_object_damaged(object, "slot %llu holds the word 0x%016llx, which cannot "
					  "be",
					  (unsigned long long)slot, (unsigned long long)word);
	}
	done = shk_load_acquire(&pool.shm->rescan_done);
	set = shk_load_acquire(&pool.shm->rescan_set);
	if (done > set)
		return shk_object_damaged(object, "%llu repairs were followed up of %llu",
					  (unsigned long long)done, (unsigned long long)set);
	return 0;
}
