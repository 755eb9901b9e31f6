/*
 * Runs subjects: every traced instruction of a call is a point at which a victim is killed, or
 * stopped, and what is left is audited.
 */
#ifndef CRASH_RUN_H
#define CRASH_RUN_H

#include "scene.h"

enum run_mode {
	RUN_KILL,
	RUN_FREEZE,
	RUN_TWO,
};

struct run_options {
	enum run_mode mode;
	const char *function, *state;       /* only these; NULL: all */
	const char *family;
	uint32_t every, offset;             /* of the points: offset, offset + every, ... */
	uint32_t hits;                      /* only the first executions of an address; 0 all */
	int64_t at, then;                   /* one point, one of the repairer; -1: all */
	uint32_t blocked_every;             /* of the kills: with peers that are blocked; 0 none */
	unsigned jobs;
	uint32_t parts;                     /* into which the points of one state are cut */
	bool quiet;
	/* of a worker, set by run_all() */
	unsigned job, processors;
	int turns_fd;                       /* a file to take turns on */
};

struct run_tally {
	uint64_t traced, points, kills, freezes, pairs, failures;
	uint64_t stepped;                   /* reached by stepping, because the breakpoint was not */
	uint64_t lost;                      /* not reached at all */
	uint64_t temporaries, unnamed_busy, blocked;
	uint64_t worst_ns, worst_blocked_ns;
	uint64_t took_ns;
};

/* Where a worker is, for who watches over it; in shared memory. */
struct run_place {
	uint32_t point, then;
	uint64_t beat_ns;
};

/* The exit status of a worker that has said what was wrong, and wants another to go on. */
#define RUN_ANEW 42

/* Runs one subject in one state from a point on, every parts-th; adds to tally. */
void run_subject(const struct run_options *options, const struct subject *subject, unsigned state,
		 uint32_t part, uint32_t from, struct run_place *place, struct run_tally *tally);

/*
 * Starts the program again with every symbol bound at start: what the dynamic linker does at a
 * first call is not the library's. Returns the second time.
 */
void run_bind_now(char *argv[]);

/* Gives this process a /dev/shm of its own. False, with perror(), where that is not permitted. */
bool run_private_shm(void);

/* All that options choose, in as many processes; the sum in *ret_tally. False: nothing matches. */
bool run_all(const struct run_options *options, struct run_tally *ret_tally);

/* On which it may run. */
unsigned run_processors(void);

unsigned state_count(const struct family *family);

/* Calls each() for all that options choose. */
void run_each(const struct run_options *options,
	      void (*each)(const struct subject *subject, unsigned state, void *context), void *context);

#endif
