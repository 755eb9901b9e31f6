/*
 * Atomics under exploration: two of them, one whose operations the machine has and one that needs a
 * loop for its addition. What is right: whatever was read and written through them has an order, of
 * all threads and both values, in which each operation sees the one before it; as time tells too,
 * where it can be told. Who waits is woken.
 */
#include "fixture.h"

#include "atomic_value.h"
#include "segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ZERO, BEFORE_WRAP, WAITED_FOR_BY_THE_DEAD, WITHOUT_MEMBARRIER, REUSED, WAITED_FOR_IN_VAIN, STATES
};

static const char *const state_names[] = {
	"zero", "about to wrap", "a dead one's announcement", "without membarrier",
	"where another was removed", "without membarrier, a dead one's announcement",
};

enum {
	SET_X_SEE_Y, SET_Y_SEE_X, SET_X_WAIT_Y, SET_Y_WAIT_X, ADD_X_SEE_Y, ADD_Y_SEE_X, SWAP_X, SWAP_Y, WAIT_X, WAIT_Y, LOOK_XY, LOOK_YX,
	REPAIR, ATTACH, OPERATIONS
};

static const char *const operation_names[] = {
	"set-x-see-y", "set-y-see-x", "set-x-wait-y", "set-y-wait-x", "add-x-see-y", "add-y-see-x", "swap-x", "swap-y", "wait-x", "wait-y",
	"look-xy", "look-yx", "repair", "attach",
};

enum { X, Y, VALUES };

static struct place {
	struct shmkit_atomic_u64 *x;
	struct shmkit_atomic_f64 *y;
} places[FIXTURE_PROCESSES], built[STATES][FIXTURE_PROCESSES];

static struct shmkit_segment *built_segments[STATES][FIXTURE_PROCESSES];
static uint64_t initial[STATES];            /* of both; beyond 2^53 only x */

/* What a thread did, in its order. */
enum kind { LOAD, DIFFERS, EXCHANGE, ADD, SWAP };

struct access {
	enum kind kind;
	unsigned which;
	uint64_t operand, expected, seen;   /* written or added; of SWAP and DIFFERS; what it was told */
	uint64_t begin, end;                /* end 0: it never returned */
};

#define ACCESSES 16

static struct run {
	unsigned count;
	struct access accesses[ACCESSES];
} runs[SIM_THREADS];

static uint64_t changed_step[VALUES];       /* the last write that is known to be over */
static uint64_t next_value;

#define RUN runs[thread->id]
#define HERE (&places[thread->process])

/* ---- states ---- */

static uint32_t *event_of(void *atomic)
{
	struct shk_atomic *base = atomic;

	return &((struct shk_atomic_shm *)(void *)base->object.base)->event;
}

static unsigned state_built;

static void create(void)
{
	struct shmkit_atomic_u64 *before;

	if (state_built == REUSED) {
		fixture_must(shmkit_atomic_u64_create(fixture_segments[0], "old", UINT64_MAX, &before));
		*event_of(before) = 1;
		fixture_must(shmkit_segment_remove(fixture_segments[0], "old"));
		shmkit_atomic_u64_close(before);
	}
	fixture_must(shmkit_atomic_u64_create(fixture_segments[0], "x", initial[state_built], &places[0].x));
	fixture_must(shmkit_atomic_f64_create(fixture_segments[0], "y", 0, &places[0].y));
}

static void open_both(unsigned process)
{
	if (process == 0) {
		create();
		return;
	}
	fixture_must(shmkit_atomic_u64_open(fixture_segments[process], "x", &places[process].x));
	fixture_must(shmkit_atomic_f64_open(fixture_segments[process], "y", &places[process].y));
}

static void build(unsigned state)
{
	state_built = state;
	initial[state] = state == BEFORE_WRAP ? UINT64_MAX : 0;
	memset(places, 0, sizeof(places));
	sim_world.no_membarrier = state == WITHOUT_MEMBARRIER || state == WAITED_FOR_IN_VAIN;
	fixture_build(open_both);
	if (state == WAITED_FOR_BY_THE_DEAD || state == WAITED_FOR_IN_VAIN) {
		*event_of(places[0].x) |= 1;
		*event_of(places[0].y) |= 1;
	}
	memcpy(built[state], places, sizeof(places));
	memcpy(built_segments[state], fixture_segments, sizeof(fixture_segments));
}

static unsigned current_state;

static void begin(unsigned state)
{
	current_state = state;
	memcpy(places, built[state], sizeof(places));
	memcpy(fixture_segments, built_segments[state], sizeof(fixture_segments));
	memset(runs, 0, sizeof(runs));
	memset(changed_step, 0, sizeof(changed_step));
	next_value = 1;
}

/* ---- operations ---- */

static struct access *begin_access(struct sim_thread *thread, enum kind kind, unsigned which)
{
	struct access *access = &RUN.accesses[RUN.count];

	if (RUN.count == ACCESSES) {
		fprintf(stderr, "more than %u accesses of a thread\n", ACCESSES);
		abort();
	}
	RUN.count++;
	*access = (struct access){ .kind = kind, .which = which, .begin = sim_step };
	return access;
}

static void end_access(struct access *access, uint64_t seen)
{
	access->seen = seen;
	access->end = sim_step + 1;
	if (access->kind != LOAD && access->kind != DIFFERS)
		changed_step[access->which] = sim_step;
}

static uint64_t load(struct sim_thread *thread, unsigned which)
{
	struct access *access = begin_access(thread, LOAD, which);

	end_access(access, which == X ? shmkit_atomic_u64_load(HERE->x)
				      : (uint64_t)shmkit_atomic_f64_load(HERE->y));
	return access->seen;
}

/* By store(), which tells nothing, or by exchange(). */
static void set(struct sim_thread *thread, unsigned which)
{
	struct access *access = begin_access(thread, EXCHANGE, which);

	access->operand = 16 * next_value++;
	if (which == X)
		end_access(access, shmkit_atomic_u64_exchange(HERE->x, access->operand));
	else
		end_access(access,
			   (uint64_t)shmkit_atomic_f64_exchange(HERE->y, (double)access->operand));
}

static void add(struct sim_thread *thread, unsigned which)
{
	struct access *access = begin_access(thread, ADD, which);

	access->operand = 1;
	if (which == X)
		end_access(access, shmkit_atomic_u64_fetch_add(HERE->x, 1));
	else
		end_access(access, (uint64_t)shmkit_atomic_f64_fetch_add(HERE->y, 1));
}

static void swap(struct sim_thread *thread, unsigned which)
{
	uint64_t expected = load(thread, which), was = expected;
	double expected_y = (double)expected;
	struct access *access = begin_access(thread, SWAP, which);
	int done;

	access->expected = expected;
	access->operand = 16 * next_value++;
	if (which == X) {
		done = shmkit_atomic_u64_compare_exchange(HERE->x, &expected, access->operand);
	} else {
		done = shmkit_atomic_f64_compare_exchange(HERE->y, &expected_y, (double)access->operand);
		expected = (uint64_t)expected_y;
	}
	if (!done && expected == was)
		sim_fail("compare_exchange failed on the value that was expected");
	if (done && expected != was)
		sim_fail("compare_exchange wrote, and changed what was expected");
	end_access(access, expected);
}

static uint64_t value_now(unsigned which)
{
	double y;

	if (which == X)
		return *(uint64_t *)shk_atomic_word((struct shk_atomic *)places[0].x);
	memcpy(&y, shk_atomic_word((struct shk_atomic *)places[0].y), sizeof(y));
	return (uint64_t)y;
}

/* Until a value is another than old, however that is known. */
static void await(struct sim_thread *thread, unsigned which, uint64_t old)
{
	struct access *access = begin_access(thread, DIFFERS, which);
	int result;

	access->expected = old;
	thread->timed_out = false;
	result = which == X ? shmkit_atomic_u64_wait(HERE->x, old, INT64_C(120000000))
			    : shmkit_atomic_f64_wait(HERE->y, (double)old, INT64_C(120000000));
	if (result == 0) {
		fixture_check_wake(thread);
		end_access(access, 0);
		return;
	}
	RUN.count--;                        /* it saw nothing */
	if (result != -ETIMEDOUT)
		sim_fail("wait: %d: %s", result, shmkit_last_error());
	else if (value_now(which) != old)
		fixture_check_timeout(thread, changed_step[which]);
}

static void attach(struct sim_thread *thread)
{
	if (fixture_shares_process(thread))
		return;
	if (!fixture_attach(thread)) {
		program_of(thread)->given_up = true;
		return;
	}
	fixture_must(shmkit_atomic_u64_open(fixture_segments[thread->process], "x", &HERE->x));
	fixture_must(shmkit_atomic_f64_open(fixture_segments[thread->process], "y", &HERE->y));
}

static void operate(struct sim_thread *thread, unsigned operation)
{
	switch (operation) {
	case SET_X_SEE_Y:
	case SET_Y_SEE_X:
		set(thread, operation == SET_X_SEE_Y ? X : Y);
		load(thread, operation == SET_X_SEE_Y ? Y : X);
		break;
	case SET_X_WAIT_Y:
	case SET_Y_WAIT_X:
		set(thread, operation == SET_X_WAIT_Y ? X : Y);
		/* from another than itself, who has seen more */
		await(thread, operation == SET_X_WAIT_Y ? Y : X,
		      value_now(operation == SET_X_WAIT_Y ? Y : X));
		break;
	case ADD_X_SEE_Y:
	case ADD_Y_SEE_X:
		add(thread, operation == ADD_X_SEE_Y ? X : Y);
		load(thread, operation == ADD_X_SEE_Y ? Y : X);
		break;
	case SWAP_X:
	case SWAP_Y:
		swap(thread, operation == SWAP_X ? X : Y);
		break;
	case WAIT_X:
	case WAIT_Y:
		await(thread, operation == WAIT_X ? X : Y, load(thread, operation == WAIT_X ? X : Y));
		break;
	case LOOK_XY:
	case LOOK_YX:
		load(thread, operation == LOOK_XY ? X : Y);
		load(thread, operation == LOOK_XY ? Y : X);
		break;
	case REPAIR:
		if (shmkit_segment_recover(fixture_segments[thread->process], NULL))
			sim_fail("recover: %s", shmkit_last_error());
		break;
	case ATTACH:
		attach(thread);
		break;
	}
}

/* ---- the audit: is there an order? ---- */

struct search {
	unsigned at[SIM_THREADS];
	uint64_t values[VALUES];
	uint64_t left;                      /* of orders to look at */
};

/* The value after it, if it could come next; it may have seen what it was told. */
static bool applies(const struct access *access, uint64_t *value)
{
	uint64_t before = *value;

	if (access->kind == DIFFERS)
		return before != access->expected;
	if (access->end && access->seen != before)
		return false;
	if (access->kind == EXCHANGE || (access->kind == SWAP && before == access->expected))
		*value = access->operand;
	else if (access->kind == ADD)
		*value = before + access->operand;
	return true;
}

/* Somebody's next one had ended before this began. Under the weak model steps are not time. */
static bool comes_too_soon(const struct search *search, const struct access *access)
{
	for (unsigned t = 1; t < SIM_THREADS && !sim_weak; t++) {
		const struct access *other = &runs[t].accesses[search->at[t]];

		if (search->at[t] < runs[t].count && other->end && other->end <= access->begin)
			return true;
	}
	return false;
}

static bool has_order(struct search *search)
{
	bool over = true;

	if (search->left == 0)
		return true;                /* too many to say */
	search->left--;
	for (unsigned t = 1; t < SIM_THREADS; t++) {
		const struct access *access = &runs[t].accesses[search->at[t]];
		uint64_t before = search->values[access->which];

		if (search->at[t] == runs[t].count)
			continue;
		over &= access->end == 0;   /* what never returned may not have been done */
		if (comes_too_soon(search, access) || !applies(access, &search->values[access->which]))
			continue;
		search->at[t]++;
		if (has_order(search))
			return true;
		search->at[t]--;
		search->values[access->which] = before;
	}
	return over && search->values[X] == value_now(X) && search->values[Y] == value_now(Y);
}

static void print_accesses(void)
{
	static const char *const kinds[] = { "load", "differs", "exchange", "add", "compare_exchange" };

	for (unsigned t = 1; t < SIM_THREADS; t++)
		for (unsigned i = 0; i < runs[t].count; i++) {
			const struct access *access = &runs[t].accesses[i];

			sim_fail("thread %u: %s %c %llu (expected %llu): %llu%s", t, kinds[access->kind],
				 "xy"[access->which], (unsigned long long)access->operand,
				 (unsigned long long)access->expected, (unsigned long long)access->seen,
				 access->end ? "" : ", did not return");
		}
}

static void audit(void)
{
	struct search search = { .values = { initial[current_state], 0 }, .left = 100000 };

	fixture_recover();
	if (has_order(&search))
		return;
	sim_fail("no order of what was done explains what was seen, and %llu and %llu at the end",
		 (unsigned long long)value_now(X), (unsigned long long)value_now(Y));
	print_accesses();
}

const struct scenario scenario = {
	.name = "atomic",
	.states = STATES,
	.state_names = state_names,
	.operations = REPAIR + 1,
	.operation_names = operation_names,
	.extra = OPERATIONS - REPAIR - 1,
	.repair = REPAIR,
	.attach = ATTACH,
	.build = build,
	.begin = begin,
	.operate = operate,
	.audit = audit,
};
