/*
 * What a structure brings to the explorer: states to start from, operations, and the audit that
 * says whether what came of them is right.
 */
#ifndef EXPLORE_SCENARIO_H
#define EXPLORE_SCENARIO_H

#include "sim.h"

#define SCENARIO_ACTORS 4                   /* processes with open handles: 1 to 4 */
#define SCENARIO_PROGRAM 4                  /* operations of a thread */

struct scenario {
	const char *name;
	unsigned states;
	const char *const *state_names;
	unsigned operations;                /* of which every pair is tried; see extra */
	const char *const *operation_names; /* extra ones included */
	unsigned extra;                     /* further ones, of random runs alone */
	unsigned repair;                    /* the operation that looks for the dead */
	unsigned attach;                    /* the one that goes on as a newcomer; 0 none */
	/* In a world just reset, as process 0: makes the segment, the structure, the actors' handles. */
	void (*build)(unsigned state);
	/* Before a run: what the audit keeps is as at the state. */
	void (*begin)(unsigned state);
	/* One operation, as the thread's process. */
	void (*operate)(struct sim_thread *thread, unsigned operation);
	/* All threads have ended, or are dead. As process 0; may repair, drain, and so on. */
	void (*audit)(void);
};

extern const struct scenario scenario;

/* What a thread does. */
struct program {
	unsigned actor;                     /* 1 .. SCENARIO_ACTORS, whose handles it uses */
	unsigned count;
	unsigned operations[SCENARIO_PROGRAM];
	unsigned at;                        /* the one under way, or count */
	bool given_up;                      /* what is left of it cannot be done in this run */
	bool ended;                         /* its last operation returned */
};

static inline struct program *program_of(const struct sim_thread *thread)
{
	return thread->arg;
}

#endif
