/*
 * Pool: objects in place, named by handles that are refused once the object is released.
 *
 *	struct shk_pool_shm, words[capacity], three levels of hint bits, elements; all but the
 *	words begin on a line of 64 bytes, elements stride apart
 *
 *	word     generation:36 | state:2 | incarnation:16 | owner:10
 *	handle   generation:36 | slot:28
 *
 *	FREE       generation of the last object, 0 before the first
 *	ACQUIRING  owner is making the object of this generation: bytes are being zeroed
 *	USED       an object; owner acquired or adopted it
 *	RETIRED    its generations are used up; never used again
 *
 *	FREE(g) -> ACQUIRING(g + 1)   take()                 CAS
 *	ACQUIRING -> USED             acquire()              plain store by its owner; the commit
 *	USED -> USED                  shmkit_pool_adopt()    CAS, other owner
 *	USED -> FREE or RETIRED       shk_pool_free_slot()   CAS; the commit of release and reclaim
 *	ACQUIRING -> FREE or RETIRED  shk_pool_repair()      CAS, when owner is dead
 *
 * The words are the truth. The bits are hints where to look for a FREE one, so that a million slots
 * stay cheap: bit s of level 0 is set when slot s is believed not to be FREE, bit w of level n + 1
 * when all bits of word w of level n are set. Bits past the end count as set. All zero is an empty
 * pool.
 *
 * Invariants
 *	1  A generation is given to one object of a slot, so that a handle names one object ever,
 *	   and an ACQUIRING word occurs once.
 *	2  USED names an owner that is dead only until the object is released or adopted; the dead
 *	   write no words, so that a word which names one does not come back once it is gone.
 *	3  While nobody is inside a call and nobody died in one, all three bits above a FREE slot
 *	   are clear. A bit that is clear above a slot that is not FREE is harmless.
 *	4  rescan_done != rescan_set whenever somebody who died may have broken 3 and no scan of
 *	   all words has mended it.
 *
 * Why 3 holds: who makes a slot FREE then reads the bits above it and clears those that are set.
 * Who sets a bit then reads what it is about, and clears it, and the bits above, when it no longer
 * holds. All of it is seq_cst, so that one of the two sees the other. He who took the slot himself
 * sets its bit before he commits, when nobody else can free it, and needs no second look; or he
 * leaves it clear.
 *
 * A handle remembers the slots released last through it, and acquire takes those first, without a
 * look at the bits: they were cleared by the release and stay clear while the slot comes and goes,
 * unless a search of another meets it USED and sets them. It is no claim: a remembered slot is FREE
 * and shown by its bits to everyone, and the CAS on its word decides who has it.
 *
 * ABA bound: a CAS on a word can be fooled by nothing short of the 2^36 generations of a slot, and
 * these do not wrap: it is RETIRED. Whether an owner is alive is asked by the low 16 bits of its
 * incarnation: an object whose owner's member id was taken 65,536 times since passes for one of a
 * living owner, and is not reclaimed.
 *
 * Progress: lock-free; get, view, read, index, at are wait-free. One who stands still between
 * setting a bit and his second look, or between freeing a slot and clearing its bits, may hide a
 * FREE slot; the scan that comes before "full" finds it, always in a pool of up to
 * SHK_POOL_SCAN_ALWAYS slots, every SHK_POOL_SCAN_NS in larger ones.
 *
 * | dies after                      | leaves             | peers see, who repairs          | back |
 * |---------------------------------|--------------------|---------------------------------|------|
 * | ACQUIRING, also while zeroing   | ACQUIRING(dead)    | no object; repair: FREE         | 3, 4 |
 * | its bit is set, or one above    | the same           | the same                        | 3, 4 |
 * | USED                            | an object          | whole; to be released, adopted, | 2    |
 * |                                 |                    | or reclaimed                    |      |
 * | FREE, bits not cleared          | a slot hints hide  | repair raises rescan_set; scan  | 3, 4 |
 * | a bit cleared, not those above  | the same           | the same                        | 3, 4 |
 * | a bit set, no second look       | perhaps the same   | the same                        | 3, 4 |
 * | adopt                           | an object it owns  | as after USED                   | 2    |
 * | some slots repaired             | others ACQUIRING   | the next full pass              | 3, 4 |
 * | a repair, rescan_set not raised | the dead id LIVE   | the next full pass raises it    | 4    |
 * | a scan, rescan_done not set     | as before it       | the next scan                   | 4    |
 * | some objects reclaimed          | others of the dead | the next reclaim                | 2    |
 */
#ifndef SHK_POOL_H
#define SHK_POOL_H

#include "object.h"

#include <shmkit/pool.h>

enum {
	SHK_SLOT_FREE = 0,
	SHK_SLOT_ACQUIRING = 1,
	SHK_SLOT_USED = 2,
	SHK_SLOT_RETIRED = 3,
};

#define SHK_POOL_LEVELS 3u
#define SHK_POOL_INDEX_BITS 28u
#define SHK_POOL_INDEX_MASK ((UINT64_C(1) << SHK_POOL_INDEX_BITS) - 1)
#define SHK_POOL_MAX_CAPACITY SHK_POOL_INDEX_MASK
#define SHK_POOL_MAX_GENERATION ((UINT64_C(1) << 36) - 1)
#define SHK_POOL_INCARNATION_MASK UINT64_C(65535)
#define SHK_POOL_SCAN_ALWAYS 1024u          /* slots */
#define SHK_POOL_SCAN_NS INT64_C(20000000)
#define SHK_POOL_NONE UINT64_MAX            /* no slot */
#define SHK_POOL_REMEMBERED 32u             /* slots; the most that one acquire looks at in vain */

struct shmkit_pool {
	struct shk_object object;
	struct shk_pool_shm *shm;
	shk_u64 *words;
	shk_u64 *levels[SHK_POOL_LEVELS];
	uint64_t bits[SHK_POOL_LEVELS];     /* how many a level has; bits[0] is the capacity */
	uint8_t *elements;
	uint32_t stride;                    /* bytes from element to element */
	uint32_t element_size;
	/* where to look first: private to the process, racy among its threads, and never wrong */
	uint8_t pad[64];
	uint32_t cursor;                    /* the slot where the last search ended */
	uint32_t cursor_member;             /* whose all this is: a forked child begins elsewhere */
	shk_u64 next_scan_ns;
	uint32_t released_count;
	uint32_t released[SHK_POOL_REMEMBERED]; /* slots released last through this handle */
};

/* ---- words ---- */

static inline uint64_t shk_pool_word(uint64_t generation, unsigned state, uint64_t incarnation,
				     unsigned owner)
{
	return generation << SHK_POOL_INDEX_BITS | (uint64_t)state << 26 |
	       (incarnation & SHK_POOL_INCARNATION_MASK) << 10 | owner;
}

static inline uint64_t shk_pool_generation(uint64_t word)
{
	return word >> SHK_POOL_INDEX_BITS;
}

static inline unsigned shk_pool_state(uint64_t word)
{
	return (unsigned)(word >> 26 & 3);
}

static inline uint64_t shk_pool_incarnation(uint64_t word)
{
	return word >> 10 & SHK_POOL_INCARNATION_MASK;
}

static inline unsigned shk_pool_owner(uint64_t word)
{
	return (unsigned)(word & SHK_OWNER_MASK);
}

/* Is its generation the last one? */
static inline bool shk_pool_is_last(uint64_t word)
{
	return word >= SHK_POOL_MAX_GENERATION << SHK_POOL_INDEX_BITS;
}

/* What a word becomes when its slot is freed. */
static inline uint64_t shk_pool_freed_word(uint64_t word)
{
	uint64_t generation = shk_pool_generation(word);

	if (shk_unlikely(shk_pool_is_last(word)))
		return shk_pool_word(generation, SHK_SLOT_RETIRED, 0, 0);
	return shk_pool_word(generation, SHK_SLOT_FREE, 0, 0);
}

/* The same object with the caller as its owner, or what is becoming one. */
static inline uint64_t shk_pool_own_word(const struct shmkit_pool *pool, uint64_t generation,
					 unsigned state)
{
	const struct shmkit_segment *segment = pool->object.segment;

	return shk_pool_word(generation, state, segment->incarnation, segment->member_id);
}

/* ACQUIRING -> USED, of the same owner. */
static inline uint64_t shk_pool_committed_word(uint64_t word)
{
	return word + ((uint64_t)(SHK_SLOT_USED - SHK_SLOT_ACQUIRING) << 26);
}

/* ---- handles ---- */

static inline uint64_t shk_pool_handle(uint64_t word, uint64_t slot)
{
	return (word & ~SHK_POOL_INDEX_MASK) | slot;
}

static inline uint64_t shk_pool_slot(uint64_t handle)
{
	return handle & SHK_POOL_INDEX_MASK;
}

/* Does the word of its slot show the object that the handle names? */
static inline bool shk_pool_is_live(uint64_t word, uint64_t handle)
{
	uint64_t live = shk_pool_word(shk_pool_generation(handle), SHK_SLOT_USED, 0, 0);

	/* generation and state at once */
	return (word ^ live) >> 26 == 0;
}

int shk_pool_stale(void) SHK_COLD;

/*
 * Does the handle name a live object? *ret_word is the word of its slot then; else the last error
 * is set, to -ESTALE.
 */
static inline bool shk_pool_find(const struct shmkit_pool *pool, uint64_t handle,
				 uint64_t *ret_word)
{
	uint64_t slot = shk_pool_slot(handle);

	/* generation 0 is never USED, but the word of a damaged slot may say so */
	if (shk_likely(slot < pool->bits[0] && shk_pool_generation(handle) != 0)) {
		/* find:A acquire. Pairs with acquire:P, adopt:C: zeros before the handle works. */
		*ret_word = shk_load_acquire(&pool->words[slot]);
		if (shk_likely(shk_pool_is_live(*ret_word, handle)))
			return true;
	}
	shk_pool_stale();
	return false;
}

static inline void *shk_pool_element(const struct shmkit_pool *pool, uint64_t slot)
{
	return pool->elements + slot * pool->stride;
}

/* ---- between the pool's files ---- */

void shk_pool_bind(struct shmkit_pool *pool, const struct shk_object *object);

int shk_pool_null(const char *function);

void shk_pool_repair(struct shk_object *object, const struct shk_dead *dead);
int shk_pool_check(struct shk_object *object);
uint64_t shk_pool_used(const struct shk_object *object);

/* ---- pool_hints.c ---- */

/* The next slot at or after from that is believed to be FREE, or SHK_POOL_NONE. */
uint64_t shk_pool_hint_next(struct shmkit_pool *pool, uint64_t from);

/* Sets the bits of a slot the caller is acquiring. */
void shk_pool_hint_taken(struct shmkit_pool *pool, uint64_t slot);

/* Sets the bits of a slot that was seen not to be FREE. */
void shk_pool_hint_used(struct shmkit_pool *pool, uint64_t slot);

/* Is bit index of a level set? */
static inline bool shk_pool_hint_is_set(const struct shmkit_pool *pool, unsigned level,
					uint64_t index)
{
	/* hint:L seq_cst. After the slot's FREE, or hint:C below; pairs with hint:S. */
	return shk_load_seq_cst(&pool->levels[level][index / 64]) >> index % 64 & 1;
}

/* Clears the bits of a slot that was made FREE. */
void shk_pool_hint_free(struct shmkit_pool *pool, uint64_t slot);

/* After shk_pool_free_word(). Most often the bits are clear. */
static inline void shk_pool_hint_freed(struct shmkit_pool *pool, uint64_t slot, uint64_t word)
{
	if (shk_likely(!shk_pool_hint_is_set(pool, 0, slot) &&
		       !shk_pool_hint_is_set(pool, 1, slot / 64) &&
		       !shk_pool_hint_is_set(pool, 2, slot / 64 / 64)))
		return;
	/* RETIRED: hidden for good */
	if (!shk_pool_is_last(word))
		shk_pool_hint_free(pool, slot);
}

/*
 * When hints may be missing, or have not been looked over for long: looks at every word and puts
 * them right. True when it found a FREE slot.
 */
bool shk_pool_rescan(struct shmkit_pool *pool);

/* ---- free ---- */

/*
 * USED, or ACQUIRING by the dead, as seen in word, -> FREE or RETIRED; the hints are then still to
 * be put right. False: the word has changed.
 */
static inline bool shk_pool_free_word(struct shmkit_pool *pool, uint64_t slot, uint64_t word)
{
	/* free:C seq_cst. Before the bits are read; pairs with hint:R, and with take:C. Commits. */
	if (shk_unlikely(!shk_cas_seq_cst(&pool->words[slot], word, shk_pool_freed_word(word))))
		return false;
	/* Dies here: FREE and hidden by its hints. Repair: rescan_set. */
	SHK_POINT("pool.release.free");
	return true;
}

/* The same, and the hints put right. */
static inline bool shk_pool_free_slot(struct shmkit_pool *pool, uint64_t slot, uint64_t word)
{
	if (!shk_pool_free_word(pool, slot, word))
		return false;
	shk_pool_hint_freed(pool, slot, word);
	return true;
}

#endif
