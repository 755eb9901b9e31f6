/* The pool under exploration: states to start from. What is right: pool_oracle.h. */
#include "pool_oracle.h"

#include "segment.h"

#include <string.h>

enum {
	EMPTY, ONE, FULL, FULL_OF_ONE, TWO_WORDS, TWO_WORDS_FULL, GENERATION, ORPHANS, HALF_MADE, REUSED,
	HIDDEN, PROMISED, STATES
};

static const char *const state_names[] = {
	"empty", "one of three", "full", "full, of one", "two words of hints", "two words of hints, full",
	"generations used up", "objects of the dead", "half made by the dead",
	"where another was removed", "a free slot that hints hide",
	"used slots that hints promise",
};

static const struct state {
	unsigned capacity, used;            /* slots from used on are free */
	unsigned hole;                      /* and this one, + 1 */
} states[] = {
	[EMPTY] = { 3, 0, 0 }, [ONE] = { 3, 1, 0 }, [FULL] = { 3, 3, 0 }, [FULL_OF_ONE] = { 1, 1, 0 },
	[TWO_WORDS] = { 66, 65, 3 }, [TWO_WORDS_FULL] = { 66, 66, 0 }, [GENERATION] = { 4, 1, 0 },
	[ORPHANS] = { 3, 2, 0 }, [HALF_MADE] = { 3, 3, 2 }, [REUSED] = { 3, 2, 0 }, [HIDDEN] = { 3, 3, 2 },
	[PROMISED] = { 3, 3, 0 },
};

static struct built {
	struct pool_known known;
	struct shmkit_pool *handles[FIXTURE_PROCESSES];
	struct shmkit_segment *segments[FIXTURE_PROCESSES];
} builts[STATES];

#define NEWCOMER (SCENARIO_ACTORS + 1)

/* ---- states ---- */

static void open_pool(unsigned process)
{
	if (process == 0)
		fixture_must(shmkit_pool_create(fixture_segments[0], "p", FIXTURE_ELEMENT, pool_known.capacity, NULL,
					&pool_handles[0]));
	else
		fixture_must(shmkit_pool_open(fixture_segments[process], "p", FIXTURE_ELEMENT,
				      &pool_handles[process]));
}

static void open_after_another(unsigned process)
{
	struct shmkit_pool *before;
	uint64_t handle;

	if (process == 0) {
		fixture_must(shmkit_pool_create(fixture_segments[0], "old", FIXTURE_ELEMENT, 3, NULL, &before));
		for (unsigned i = 0; i < 3; i++) {
			fixture_must(shmkit_pool_acquire(before, &handle));
			memset(shmkit_pool_get(before, handle), 0xff, FIXTURE_ELEMENT);
		}
		fixture_must(shmkit_segment_remove(fixture_segments[0], "old"));
		shmkit_pool_close(before);
	}
	open_pool(process);
}

static void add_newcomer(void)
{
	sim_act_as(sim_process_new());
	fixture_must(shmkit_segment_open("s", 0, &fixture_segments[NEWCOMER]));
	fixture_must(shmkit_pool_open(fixture_segments[NEWCOMER], "p", FIXTURE_ELEMENT, &pool_handles[NEWCOMER]));
	sim_act_as(0);
}

/* All slots are acquired, by one process after the other; those that are to be free are released. */
static void fill(const struct state *state, unsigned owner)
{
	uint64_t handles[POOL_SLOTS];

	for (unsigned i = 0; i < state->capacity; i++) {
		unsigned process = owner ? owner : 1 + i % SCENARIO_ACTORS;

		sim_act_as(process);
		fixture_must(shmkit_pool_acquire(pool_handles[process], &handles[i]));
	}
	sim_act_as(0);
	for (unsigned i = 0; i < state->capacity; i++) {
		uint64_t slot = shk_pool_slot(handles[i]);

		if (slot >= state->used || slot + 1 == state->hole)
			fixture_must(shmkit_pool_release(pool_handles[0], handles[i]));
	}
}

static uint64_t *word_of(unsigned slot)
{
	return &pool_handles[0]->words[slot];
}

static void hide(unsigned slot)
{
	for (unsigned level = 0; level < SHK_POOL_LEVELS; level++, slot /= 64)
		pool_handles[0]->levels[level][slot / 64] |= UINT64_C(1) << slot % 64;
}

/* What a state has that calls do not leave, or not so soon. */
static void poke(unsigned state)
{
	if (state == GENERATION) {
		*word_of(0) |= SHK_POOL_MAX_GENERATION << SHK_POOL_INDEX_BITS;
		*word_of(1) = shk_pool_word(SHK_POOL_MAX_GENERATION - 1, SHK_SLOT_FREE, 0, 0);
		*word_of(2) = shk_pool_word(SHK_POOL_MAX_GENERATION, SHK_SLOT_FREE, 0, 0);
	} else if (state == HALF_MADE) {
		*word_of(1) = shk_pool_own_word(pool_handles[NEWCOMER], 2, SHK_SLOT_ACQUIRING);
		hide(1);
	} else if (state == PROMISED) {
		for (unsigned level = 0; level < SHK_POOL_LEVELS; level++)
			pool_handles[0]->levels[level][0] = 0;
	} else if (state == HIDDEN) {
		hide(1);
		pool_handles[0]->shm->rescan_set = 1;
	}
}

static void build(unsigned number)
{
	const struct state *state = &states[number];
	struct built *built = &builts[number];
	bool dead = number == ORPHANS || number == HALF_MADE;

	memset(&pool_known, 0, sizeof(pool_known));
	memset(pool_handles, 0, sizeof(pool_handles));
	pool_known.capacity = state->capacity;
	pool_known.next_value = 1;
	fixture_build(number == REUSED ? open_after_another : open_pool);
	if (dead)
		add_newcomer();
	if (state->used)
		fill(state, dead ? NEWCOMER : 0);
	poke(number);
	pool_take();
	if (dead)
		sim_process_kill(NEWCOMER);
	/* the last is shared; a few of the others are on the board */
	pool_known.built = pool_known.object_count;
	pool_known.shared = pool_known.object_count ? pool_known.object_count - 1 : POOL_OBJECTS;
	for (unsigned i = 0; i + 1 < pool_known.object_count && i < 4; i++)
		pool_known.objects[i * 21 % (pool_known.object_count - 1)].on_board = true;
	built->known = pool_known;
	memcpy(built->handles, pool_handles, sizeof(pool_handles));
	memcpy(built->segments, fixture_segments, sizeof(fixture_segments));
}

static void begin(unsigned state)
{
	pool_known = builts[state].known;
	memcpy(pool_handles, builts[state].handles, sizeof(pool_handles));
	memcpy(fixture_segments, builts[state].segments, sizeof(fixture_segments));
	memset(pool_runs, 0, sizeof(pool_runs));
	for (unsigned t = 0; t < SIM_THREADS; t++)
		pool_runs[t].slot = POOL_SLOTS;
	sim_on_point = pool_on_point;
}

const struct scenario scenario = {
	.name = "pool",
	.states = STATES,
	.state_names = state_names,
	.operations = POOL_REPAIR + 1,
	.operation_names = pool_operation_names,
	.extra = POOL_OPERATIONS - POOL_REPAIR - 1,
	.repair = POOL_REPAIR,
	.attach = POOL_ATTACH,
	.build = build,
	.begin = begin,
	.operate = pool_operate,
	.audit = pool_audit,
};
