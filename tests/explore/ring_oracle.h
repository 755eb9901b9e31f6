/*
 * What is right for a ring, kept beside it: explore_ring.c (one producer, one consumer) and
 * explore_ring_multi.c (several) have states of their own, and this in common.
 *
 *	ring_oracle.c      positions, as the points that a process passed tell them; the audit
 *	ring_answers.c     is what a call returned right?
 *	ring_operations.c  states and operations
 */
#ifndef EXPLORE_RING_ORACLE_H
#define EXPLORE_RING_ORACLE_H

#include "fixture.h"

#include "ring.h"

#define RING_VALUES 512u                    /* of elements, and positions, of a run */
#define RING_ELEMENTS 12u                   /* of one call */

/* ---- states and operations ---- */

struct ring_state {
	const char *name;
	unsigned capacity, fill;
	uint32_t flags, alignment;
	uint64_t position;                  /* of the first element */
	unsigned overwritten;               /* pushed over what was there, before fill */
	bool warm;                          /* actor 1 has pushed and actor 2 popped: they have the roles */
	bool reused;                        /* where another structure was removed */
	bool lagging;                       /* dropped_base as far behind as it may be, and about to wrap */
	bool dead;                          /* a producer has died in a push that overwrites */
	bool no_membarrier;
};

extern const struct ring_state ring_states[];   /* of the scenario */

enum {
	RING_PUSH, RING_PUSH_2, RING_PUSH_ALL, RING_OVER, RING_OVER_ALL, RING_OVER_MORE, RING_POP, RING_POP_2,
	RING_SKIP, RING_LAST, RING_READ, RING_OBSERVE, RING_FIGURES, RING_END, RING_REPAIR, RING_SHUTDOWN,
	RING_OVER_TWICE, RING_POP_WAIT, RING_POP_BULK_WAIT, RING_PUSH_WAIT, RING_READ_WAIT,
	RING_OBSERVE_WAIT, RING_SEEK, RING_CLOSE, RING_ATTACH, RING_SHUTDOWN_WATCH, RING_OPERATIONS
};

extern const char *const ring_operation_names[];

void ring_build(unsigned state);
void ring_begin(unsigned state);
void ring_operate(struct sim_thread *thread, unsigned operation);
void ring_audit(void);

/* ---- what is known ---- */

enum ring_role { RING_PRODUCER, RING_CONSUMER };

extern struct ring_known {
	const struct ring_state *state;
	uint64_t first, pushed;             /* positions in the log */
	uint64_t changed_step;              /* the last push or pop */
	uint64_t read, dropped;
	struct sim_thread *storing;         /* stored what it popped while it was being shared */
	uint16_t log[RING_VALUES];          /* value at a position */
	uint64_t dropped_at[RING_VALUES];   /* dropped before the commit that ended at a position */
	unsigned next_value;
	bool shut_begun;
	bool ended;                         /* somebody was told the end */
	uint64_t shut_step;                 /* since then it is known that it was shut down */
	uint64_t held_until[2][SIM_PROCESSES];  /* step until which it had the role; 0 never */
} ring_known;

/* Of the operation a thread is in. */
extern struct ring_run {
	bool active, pushes, over;
	uint64_t begin;                     /* step */
	int64_t begin_ns;
	struct { uint64_t pushed, read, dropped, write_next, role; } at;        /* when it began */
	unsigned least, most;               /* elements held, until its own commit */
	unsigned others;                    /* pops and drops of others */
	uint32_t buried;                    /* processes that were dead when it began */
	bool beside_push;                   /* somebody who lives was in a push when it began */
	unsigned first, count;              /* values that it pushes, or how many it wants */
	unsigned commits, committed, piece;
	unsigned dropped, room;             /* room: behind the last drop; capacity + 1: no drop since */
	unsigned popped;
	uint64_t popped_from;
} ring_runs[SIM_THREADS];

#define RING_RUN (ring_runs[thread->id])

extern struct shmkit_ring *ring_handles[FIXTURE_PROCESSES];

static inline struct shk_ring_shm *ring_shm(void)
{
	return ring_handles[0]->shm;
}

static inline bool ring_has(uint32_t flag)
{
	return (ring_known.state->flags & flag) != 0;
}

/* The lower half of the read index, wherever it is. */
static inline uint32_t ring_read_index(void)
{
	const struct shk_ring_shm *shm = ring_shm();

	if (ring_has(SHMKIT_RING_MULTI_CONSUMER))
		return (uint32_t)shm->read_word;
	if (shk_ring_is_shared(shm->sharing))
		return (uint32_t)(shm->sharing >> 2) + (uint32_t)shm->read_word;
	return (uint32_t)shm->read_index;
}

void ring_on_point(const char *label);

/* The operation begins; the role was given up. */
void ring_start(struct sim_thread *thread);
void ring_role_left(unsigned process, enum ring_role role);

/* The value at a position; 0: nobody put it there. */
unsigned ring_value(uint64_t position);

/* Are these the elements from position on? */
void ring_compare(const char *what, const uint64_t *elements, uint64_t position, uint64_t count);

/* ---- ring_answers.c: after the call ---- */

/* Was a wake-up lost? */
void ring_judge_wake(const struct sim_thread *thread, int64_t result);

void ring_judge_push(struct sim_thread *thread, int64_t result, bool waits);
void ring_judge_over(struct sim_thread *thread, int64_t result);
void ring_judge_pop(struct sim_thread *thread, int64_t result, const uint64_t *elements, bool waits);
void ring_judge_last(struct sim_thread *thread, int64_t result, const uint64_t *elements);
/* position: of the reader, before; set to where it is. */
void ring_judge_read(struct sim_thread *thread, struct shmkit_ring_reader *reader, int64_t result,
		     const uint64_t *elements, uint64_t lost, uint64_t *position, bool waits);
void ring_judge_figures(const struct sim_thread *thread, uint64_t pushed, uint64_t dropped, uint64_t size);

#endif
