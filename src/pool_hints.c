/*
 * The pool's hint bits. What they promise, and why they may lie: pool.h.
 */
#include "pool.h"

#include "sys.h"

static uint64_t bit_of(uint64_t index)
{
	return UINT64_C(1) << index % 64;
}

/* The bits of a level's word at that there are. */
static uint64_t valid_bits(const struct shmkit_pool *pool, unsigned level, uint64_t at)
{
	uint64_t left = pool->bits[level] - at * 64;

	return left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
}

static bool is_full(const struct shmkit_pool *pool, unsigned level, uint64_t at, uint64_t word)
{
	uint64_t valid = valid_bits(pool, level, at);

	return (word & valid) == valid;
}

/* ---- to clear ---- */

static void clear_upwards(struct shmkit_pool *pool, unsigned level, uint64_t index)
{
	/*
	 * All levels, also where this one is clear: he who cleared it may stand still before he
	 * comes to the next.
	 */
	for (; level < SHK_POOL_LEVELS; level++, index /= 64) {
		if (!shk_pool_hint_is_set(pool, level, index))
			continue;
		/* hint:C seq_cst. Before hint:L of the level above; pairs with hint:R there. */
		shk_and_seq_cst(&pool->levels[level][index / 64], ~bit_of(index));
		/* Dies here: clear, set above. Repair: rescan_set. */
		SHK_POINT("pool.hint.cleared");
	}
}

void shk_pool_hint_free(struct shmkit_pool *pool, uint64_t slot)
{
	clear_upwards(pool, 0, slot);
}

/* ---- to set ---- */

/* True when that filled the word. */
static bool set_bit(struct shmkit_pool *pool, unsigned level, uint64_t index)
{
	uint64_t at = index / 64;
	/* hint:S seq_cst. Before hint:R; pairs with hint:L. */
	uint64_t before = shk_or_seq_cst(&pool->levels[level][at], bit_of(index));

	/* Dies here: set, and perhaps no longer right. Repair: rescan_set. */
	SHK_POINT("pool.hint.set");
	return is_full(pool, level, at, before | bit_of(index));
}

/* A word of level 0 was seen full: says so above. */
static void set_upwards(struct shmkit_pool *pool, unsigned level, uint64_t at)
{
	for (level++; level < SHK_POOL_LEVELS; level++, at /= 64) {
		bool filled = set_bit(pool, level, at);

		/* hint:R seq_cst. After hint:S; pairs with the word's hint:C. */
		if (!is_full(pool, level - 1, at, shk_load_seq_cst(&pool->levels[level - 1][at]))) {
			clear_upwards(pool, level, at);
			return;
		}
		if (!filled)
			return;
	}
}

void shk_pool_hint_taken(struct shmkit_pool *pool, uint64_t slot)
{
	if (set_bit(pool, 0, slot))
		set_upwards(pool, 0, slot / 64);
}

void shk_pool_hint_used(struct shmkit_pool *pool, uint64_t slot)
{
	bool filled = set_bit(pool, 0, slot);

	/* hint:R seq_cst. After hint:S; pairs with the CAS that makes the slot FREE. */
	if (shk_pool_state(shk_load_seq_cst(&pool->words[slot])) == SHK_SLOT_FREE)
		clear_upwards(pool, 0, slot);
	else if (filled)
		set_upwards(pool, 0, slot / 64);
}

/* ---- to find ---- */

/* relaxed: a hint; the CAS on the slot's word decides */
static uint64_t clear_bits(const struct shmkit_pool *pool, unsigned level, uint64_t at)
{
	return ~shk_load_relaxed(&pool->levels[level][at]) & valid_bits(pool, level, at);
}

/* The next clear bit of a level at or after from; goes forward only, whatever the bits do. */
static uint64_t next_clear(struct shmkit_pool *pool, unsigned level, uint64_t from)
{
	uint64_t at = from / 64, clear;

	if (from >= pool->bits[level])
		return SHK_POOL_NONE;
	clear = clear_bits(pool, level, at) & UINT64_MAX << from % 64;
	while (!clear) {
		at++;
		if (level + 1 < SHK_POOL_LEVELS)
			at = next_clear(pool, level + 1, at);
		else if (at * 64 >= pool->bits[level])
			at = SHK_POOL_NONE;
		if (at == SHK_POOL_NONE)
			return SHK_POOL_NONE;
		clear = clear_bits(pool, level, at);
		if (!clear)
			set_upwards(pool, level, at);
	}
	return at * 64 + (unsigned)__builtin_ctzll(clear);
}

uint64_t shk_pool_hint_next(struct shmkit_pool *pool, uint64_t from)
{
	return next_clear(pool, 0, from);
}

/* ---- to put right ---- */

static bool scan_is_due(struct shmkit_pool *pool)
{
	uint64_t now;

	if (pool->bits[0] <= SHK_POOL_SCAN_ALWAYS)
		return true;
	now = (uint64_t)shk_coarse_ns();
	/* relaxed: private to the process; at worst two threads scan */
	if (now < shk_load_relaxed(&pool->next_scan_ns))
		return false;
	shk_store_relaxed(&pool->next_scan_ns, now + (uint64_t)SHK_POOL_SCAN_NS);
	return true;
}

bool shk_pool_rescan(struct shmkit_pool *pool)
{
	struct shk_pool_shm *shm = pool->shm;
	uint64_t done = shk_load_acquire(&shm->rescan_done);
	/* rescan:S acquire. Pairs with repair:C: what was freed before is seen FREE. */
	uint64_t set = shk_load_acquire(&shm->rescan_set);
	bool found = false;

	if (!scan_is_due(pool) && done == set)
		return false;
	for (uint64_t slot = 0; slot < pool->bits[0]; slot++) {
		/* acquire: clear_upwards() looks at the bits after it */
		if (shk_pool_state(shk_load_acquire(&pool->words[slot])) != SHK_SLOT_FREE)
			continue;
		found = true;
		clear_upwards(pool, 0, slot);
	}
	SHK_POINT("pool.rescan.scanned");
	if (done != set)
		/* rescan:D acq_rel. Bits first. A repair counted meanwhile is still to come. */
		shk_cas_acq_rel(&shm->rescan_done, done, set);
	return found;
}
