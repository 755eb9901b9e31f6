/*
 * What is right for a pool, kept beside it.
 *
 *	pool_oracle.c      every word of every slot, followed from point to point; the audit
 *	pool_operations.c  operations, and whether what they returned is right
 *	explore_pool.c     states
 */
#ifndef EXPLORE_POOL_ORACLE_H
#define EXPLORE_POOL_ORACLE_H

#include "fixture.h"

#include "pool.h"

#define POOL_SLOTS 66u                      /* of the largest */
#define POOL_OBJECTS 256u                   /* ever made in a run */

/* An object, from the commit that made it on. */
struct pool_object {
	uint64_t handle;
	uint64_t made, released;            /* step; released 0: not yet */
	unsigned owner;                     /* process */
	bool leaving, left;                 /* the owner, from the segment */
	unsigned adoptions;
	unsigned value, writing;            /* its contents, 0: being written; what is being written */
	bool on_board;                      /* to be taken over by whoever comes */
	bool returned;                      /* who made it knows its handle */
	bool doomed;                        /* somebody who found it before that releases it */
};

extern struct pool_known {
	unsigned capacity;
	uint64_t words[POOL_SLOTS];         /* as the commits left them */
	uint64_t free_since[POOL_SLOTS];    /* step */
	uint16_t at[POOL_SLOTS];            /* the object that is or was last in the slot */
	struct pool_object objects[POOL_OBJECTS];
	unsigned object_count, built;       /* built: of the state */
	unsigned shared;                    /* an object that everybody knows */
	unsigned next_value;
	uint64_t changes;                   /* commits so far */
	uint64_t departures;                /* ids freed so far: after the dead, or of those who left */
} pool_known;

/* Of the operation a thread is in. */
extern struct pool_run {
	uint64_t begin, changes, departures;
	uint32_t buried;                    /* processes that were dead when it began */
	unsigned slot;                      /* it is acquiring; POOL_SLOTS: none */
	unsigned made;                      /* object number + 1; 0: none since the last acquire began */
	uint64_t releasing, adopting;       /* handle, 0: none */
	bool reclaims;
	unsigned freed, adopted;            /* by it */
} pool_runs[SIM_THREADS];

#define POOL_RUN (pool_runs[thread->id])

enum {
	POOL_ACQUIRE, POOL_ACQUIRE_2, POOL_RELEASE, POOL_RELEASE_ACQUIRE, POOL_RELEASE_SHARED,
	POOL_RENEW_SHARED, POOL_ADOPT_SHARED, POOL_READ, POOL_READ_NEW, POOL_VIEW, POOL_WALK, POOL_RECLAIM,
	POOL_REPAIR, POOL_ADOPT, POOL_ACQUIRE_ALL, POOL_RELEASE_FOUND, POOL_OWNER, POOL_FIGURES, POOL_CLOSE,
	POOL_LEAVE, POOL_ATTACH, POOL_CHECK, POOL_OPERATIONS
};

extern const char *const pool_operation_names[];

extern struct shmkit_pool *pool_handles[FIXTURE_PROCESSES];

void pool_start(const struct sim_thread *thread);
void pool_on_point(const char *label);

/* What is in the segment is what is known: at the end of build. */
void pool_take(void);

struct pool_object *pool_object_of(uint64_t handle);

/* Is its owner dead, or leaving? */
bool pool_is_orphan(const struct pool_object *object);

/* Memory shows a FREE slot that can be used. */
bool pool_is_usable(uint64_t word);

void pool_operate(struct sim_thread *thread, unsigned operation);
void pool_audit(void);

#endif
