/*
 * The pool as it must be. Each change of a word is followed by a point before anybody else runs:
 * there the words in memory are compared with those that are known, and the one that has changed
 * must be what the operation was to change, into what it was to become. So every object's fate is
 * known exactly, also when he who changed it dies there.
 *
 *	taken      FREE(g) -> ACQUIRING(g + 1, me)
 *	used       my ACQUIRING -> USED of the same generation; the bytes are zero
 *	free       USED -> FREE, or RETIRED at the last generation, by a release of that handle, or a
 *	           reclaim when its owner is dead or gone; ACQUIRING -> FREE when its owner is dead
 *	adopted    USED -> USED, by an adopt of that handle
 */
#include "pool_oracle.h"

#include "segment.h"

#include <errno.h>
#include <string.h>

struct pool_known pool_known;
struct pool_run pool_runs[SIM_THREADS];
struct shmkit_pool *pool_handles[FIXTURE_PROCESSES];

#define HEX(word) ((unsigned long long)(word))

static const shk_u64 *words(void)
{
	return pool_handles[0]->words;
}

/* ---- what is known ---- */

bool pool_is_usable(uint64_t word)
{
	return shk_pool_state(word) == SHK_SLOT_FREE && shk_pool_generation(word) < SHK_POOL_MAX_GENERATION;
}

struct pool_object *pool_object_of(uint64_t handle)
{
	uint64_t slot = shk_pool_slot(handle);

	for (unsigned i = 0; i < pool_known.object_count; i++)
		if (pool_known.objects[i].handle == handle && slot < pool_known.capacity)
			return &pool_known.objects[i];
	return NULL;
}

bool pool_is_orphan(const struct pool_object *object)
{
	return object->leaving || !sim_world.processes[object->owner].alive;
}

static void add_object(unsigned slot, uint64_t word, unsigned owner, unsigned value)
{
	struct pool_object *object = &pool_known.objects[pool_known.object_count];

	*object = (struct pool_object){ .handle = shk_pool_handle(word, slot), .made = sim_step,
					.owner = owner, .value = value };
	pool_known.at[slot] = (uint16_t)pool_known.object_count;
	if (++pool_known.object_count == POOL_OBJECTS)
		__builtin_trap();
}

void pool_take(void)
{
	for (unsigned slot = 0; slot < pool_known.capacity; slot++) {
		uint64_t word = words()[slot];
		unsigned owner = 0, value = pool_known.next_value++;
		uint64_t element[2];

		pool_known.words[slot] = word;
		if (shk_pool_state(word) != SHK_SLOT_USED)
			continue;
		while (fixture_segments[owner]->member_id != shk_pool_owner(word))
			owner++;
		add_object(slot, word, owner, value);
		fixture_encode(element, value);
		memcpy(shk_pool_element(pool_handles[0], slot), element, sizeof(element));
	}
}

void pool_start(const struct sim_thread *thread)
{
	struct pool_run *run = &POOL_RUN;

	*run = (struct pool_run){ .begin = sim_step, .changes = pool_known.changes,
				  .departures = pool_known.departures, .slot = POOL_SLOTS };
	for (unsigned i = 0; i < SIM_PROCESSES; i++)
		if (sim_world.processes[i].exists && !sim_world.processes[i].alive)
			run->buried |= UINT32_C(1) << i;
}

/* ---- as points are passed ---- */

static bool is_mine(const struct sim_thread *thread, uint64_t word)
{
	const struct shmkit_segment *segment = fixture_segments[thread->process];

	return shk_pool_owner(word) == segment->member_id &&
	       shk_pool_incarnation(word) == (segment->incarnation & SHK_POOL_INCARNATION_MASK);
}

static void on_taken(const struct sim_thread *thread, unsigned slot, uint64_t was, uint64_t now)
{
	POOL_RUN.slot = slot;
	if (!pool_is_usable(was) || shk_pool_state(now) != SHK_SLOT_ACQUIRING || !is_mine(thread, now) ||
	    shk_pool_generation(now) != shk_pool_generation(was) + 1)
		sim_fail("slot %u was taken: 0x%llx became 0x%llx", slot, HEX(was), HEX(now));
}

static void on_used(const struct sim_thread *thread, unsigned slot, uint64_t was, uint64_t now)
{
	const uint8_t *element = shk_pool_element(pool_handles[0], slot);

	if (POOL_RUN.slot != slot || shk_pool_state(was) != SHK_SLOT_ACQUIRING ||
	    shk_pool_state(now) != SHK_SLOT_USED || !is_mine(thread, now) ||
	    shk_pool_generation(now) != shk_pool_generation(was))
		sim_fail("slot %u became an object: 0x%llx became 0x%llx", slot, HEX(was), HEX(now));
	for (unsigned i = 0; i < FIXTURE_ELEMENT; i++)
		if (element[i])
			sim_fail("slot %u became an object, and byte %u is not zero", slot, i);
	if (pool_object_of(shk_pool_handle(now, slot)))
		sim_fail("a handle was given twice: 0x%llx", HEX(shk_pool_handle(now, slot)));
	POOL_RUN.slot = POOL_SLOTS;
	POOL_RUN.made = pool_known.object_count + 1;
	add_object(slot, now, thread->process, 0);
}

/* Whoever was making an object there is dead. */
static bool maker_is_dead(const struct sim_thread *thread, unsigned slot)
{
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (t != thread->id && pool_runs[t].slot == slot && sim_threads[t].state != SIM_UNUSED)
			return sim_threads[t].state == SIM_DEAD;
	return true;                        /* as the state has it */
}

static void on_free(const struct sim_thread *thread, unsigned slot, uint64_t was, uint64_t now)
{
	struct pool_object *object = &pool_known.objects[pool_known.at[slot]];

	pool_known.free_since[slot] = sim_step;
	if (now != shk_pool_freed_word(was))
		sim_fail("slot %u was freed: 0x%llx became 0x%llx", slot, HEX(was), HEX(now));
	if (shk_pool_state(was) == SHK_SLOT_ACQUIRING) {
		if (!maker_is_dead(thread, slot))
			sim_fail("slot %u was freed, and who acquires it is alive", slot);
		return;
	}
	if (shk_pool_state(was) != SHK_SLOT_USED || object->released)
		sim_fail("slot %u was freed, and there was no object", slot);
	else if (POOL_RUN.reclaims ? !pool_is_orphan(object) : POOL_RUN.releasing != object->handle)
		sim_fail("slot %u was freed, and its object has an owner, or was not to be released", slot);
	object->released = sim_step;
	POOL_RUN.freed++;
}

static void on_adopted(const struct sim_thread *thread, unsigned slot, uint64_t was, uint64_t now)
{
	struct pool_object *object = &pool_known.objects[pool_known.at[slot]];

	if (shk_pool_state(was) != SHK_SLOT_USED || shk_pool_state(now) != SHK_SLOT_USED ||
	    !is_mine(thread, now) || shk_pool_generation(now) != shk_pool_generation(was) ||
	    POOL_RUN.adopting != object->handle)
		sim_fail("slot %u was adopted: 0x%llx became 0x%llx", slot, HEX(was), HEX(now));
	object->owner = thread->process;
	object->leaving = object->left = false;
	object->adoptions++;
	POOL_RUN.adopted++;
}

static void on_retired(const struct sim_thread *thread, unsigned slot, uint64_t was, uint64_t now)
{
	(void)thread;
	if (pool_is_usable(was) || shk_pool_state(was) != SHK_SLOT_FREE ||
	    shk_pool_state(now) != SHK_SLOT_RETIRED)
		sim_fail("slot %u was retired: 0x%llx became 0x%llx", slot, HEX(was), HEX(now));
}

static const struct commit {
	const char *label;
	void (*judge)(const struct sim_thread *thread, unsigned slot, uint64_t was, uint64_t now);
} commits[] = {
	{ "pool.acquire.taken", on_taken }, { "pool.acquire.used", on_used },
	{ "pool.release.free", on_free }, { "pool.adopt.done", on_adopted },
	{ "pool.acquire.retired", on_retired },
};

void pool_on_point(const char *label)
{
	void (*judge)(const struct sim_thread *, unsigned, uint64_t, uint64_t) = NULL;
	unsigned slot = POOL_SLOTS, changed = 0;

	pool_known.departures += strcmp(label, "repair.freed") == 0 || strcmp(label, "member.free") == 0;
	if (strncmp(label, "pool.", 5) != 0)
		return;
	for (size_t i = 0; i < sizeof(commits) / sizeof(commits[0]); i++)
		if (strcmp(label, commits[i].label) == 0)
			judge = commits[i].judge;
	for (unsigned i = 0; i < pool_known.capacity; i++)
		if (words()[i] != pool_known.words[i]) {
			slot = i;
			changed++;
		}
	/* one who adopts what is his changes nothing */
	if (judge == on_adopted && changed == 0) {
		slot = (unsigned)shk_pool_slot(pool_runs[sim_current->id].adopting);
		changed = 1;
	}
	/* somebody else may have retired it */
	if (judge == on_retired && changed == 0)
		return;
	if (changed != (judge != NULL)) {
		sim_fail("%s, and %u words have changed", label, changed);
		return;
	}
	if (!judge)
		return;
	pool_known.changes++;
	judge(sim_current, slot, pool_known.words[slot], words()[slot]);
	pool_known.words[slot] = words()[slot];
}

/* ---- the audit ---- */

static void expect(int64_t result, int64_t expected, const char *what)
{
	if (result != expected)
		sim_fail("at the end, %s: %lld instead of %lld: %s", what, (long long)result,
			 (long long)expected, shmkit_last_error());
}

/* Repair has freed what the dead were making, and changed nothing else. */
static void check_words(void)
{
	for (unsigned slot = 0; slot < pool_known.capacity; slot++) {
		uint64_t known = pool_known.words[slot];

		if (shk_pool_state(known) == SHK_SLOT_ACQUIRING)
			known = shk_pool_freed_word(known);
		if (words()[slot] != known)
			sim_fail("at the end, slot %u holds 0x%llx instead of 0x%llx", slot,
				 HEX(words()[slot]), HEX(known));
		pool_known.words[slot] = words()[slot];
	}
}

static bool is_hidden(unsigned slot)
{
	const struct shmkit_pool *pool = pool_handles[0];

	for (unsigned level = 0; level < SHK_POOL_LEVELS; level++, slot /= 64)
		if (pool->levels[level][slot / 64] >> slot % 64 & 1)
			return true;
	return false;
}

/* Invariants 3 and 4. */
static void check_hints(void)
{
	const struct shk_pool_shm *shm = pool_handles[0]->shm;

	for (unsigned slot = 0; slot < pool_known.capacity; slot++)
		if (pool_is_usable(words()[slot]) && is_hidden(slot) && shm->rescan_set == shm->rescan_done)
			sim_fail("at the end, slot %u is free and hidden, and no scan is to come", slot);
}

static void check_objects(void)
{
	uint64_t live = 0, cursor = 0, handle, element[2];

	for (unsigned i = 0; i < pool_known.object_count; i++) {
		struct pool_object *object = &pool_known.objects[i];
		const void *at = shmkit_pool_view(pool_handles[0], object->handle);

		live += !object->released;
		if ((at == NULL) != (object->released != 0))
			sim_fail("at the end, object 0x%llx is %s", HEX(object->handle),
				 at ? "there" : "lost");
		if (!at || !object->value)
			continue;
		memcpy(element, at, sizeof(element));
		if (fixture_decode(element, POOL_OBJECTS) != object->value)
			sim_fail("at the end, object 0x%llx holds another's bytes", HEX(object->handle));
	}
	expect((int64_t)shmkit_pool_size(pool_handles[0]), (int64_t)live, "size");
	while (shmkit_pool_next(pool_handles[0], &cursor, &handle) == 1) {
		struct pool_object *object = pool_object_of(handle);

		live--;
		if (!object || object->released)
			sim_fail("at the end, a walk finds 0x%llx", HEX(handle));
	}
	expect((int64_t)live, 0, "objects no walk finds");
}

/* Those whose owner is gone are reclaimed, the others can be released, once. */
static void release_all(void)
{
	int64_t orphans = 0;

	for (unsigned i = 0; i < pool_known.object_count; i++)
		orphans += !pool_known.objects[i].released && pool_is_orphan(&pool_known.objects[i]);
	expect(shmkit_pool_reclaim(pool_handles[0]), orphans, "reclaim");
	for (unsigned i = 0; i < pool_known.object_count; i++) {
		struct pool_object *object = &pool_known.objects[i];

		if (!object->released && !pool_is_orphan(object))
			expect(shmkit_pool_release(pool_handles[0], object->handle), 0, "release");
		expect(shmkit_pool_release(pool_handles[0], object->handle), -ESTALE, "another release");
	}
	expect((int64_t)shmkit_pool_size(pool_handles[0]), 0, "size of an empty pool");
}

static void check_capacity(void)
{
	uint64_t handle, zero[2] = { 0 };
	unsigned usable = 0;

	for (unsigned slot = 0; slot < pool_known.capacity; slot++)
		usable += pool_is_usable(words()[slot]);
	for (unsigned i = 0; i < usable; i++) {
		int result = shmkit_pool_acquire(pool_handles[0], &handle);

		expect(result, 0, "acquire of all there is");
		if (result)
			return;
		if (pool_object_of(handle))
			sim_fail("at the end, handle 0x%llx was given again", HEX(handle));
		if (memcmp(shmkit_pool_view(pool_handles[0], handle), zero, sizeof(zero)) != 0)
			sim_fail("at the end, a new object is not zero");
	}
	expect(shmkit_pool_acquire(pool_handles[0], &handle), -EAGAIN, "acquire of one more");
}

void pool_audit(void)
{
	sim_on_point = NULL;
	fixture_recover();
	check_words();
	check_hints();
	check_objects();
	release_all();
	check_hints();
	check_capacity();
	expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}
