/*
 * What is right for members: who joins, leaves, dies, is repaired after, forks, and is counted.
 *
 *	alive        nothing of a living member is repaired away, whatever its id was before, and
 *	             whoever stands still in the middle of a repair: what it leases stays its own, what
 *	             it locks stays locked, and it is never shown dead
 *	dead         what the dead had comes back, and their ids; -EUSERS only while all are alive
 *	fork         a child is a member of its own as soon as it uses what it was given; as long as it
 *	             has not it gives nothing back
 *	waits        nobody sleeps through what he waits for
 *
 * The witnesses are leases of a queue that nobody fills: each element is with one member at a time. *
 *	members_oracle.c      ids; the audit
 *	members_operations.c  operations, and whether what they returned is right
 *	explore_members.c     states
 */
#ifndef EXPLORE_MEMBERS_ORACLE_H
#define EXPLORE_MEMBERS_ORACLE_H

#include "fixture.h"

#include "queue.h"

#define MEMBERS_IDS 4u
#define MEMBERS_ELEMENTS 4u  /* 1 to MEMBERS_ELEMENTS - 1 */
#define MEMBERS_NEWCOMERS 4u /* of a run */
#define MEMBERS_FORKS 2u

enum {
	MEMBERS_JOIN,
	MEMBERS_LEAVE,
	MEMBERS_NEWCOMER,
	MEMBERS_REPAIR,
	MEMBERS_LOCK,
	MEMBERS_COUNT,
	MEMBERS_LEASE_ACK,
	MEMBERS_LEASE_KEEP,
	MEMBERS_FORK,
	MEMBERS_ADD,
	MEMBERS_WAIT,
	MEMBERS_ADD_WAIT,
	MEMBERS_ATTACH,
	MEMBERS_LEASE_NACK,
	MEMBERS_BEAT,
	MEMBERS_JOIN_TWICE,
	MEMBERS_OPERATIONS
};

extern const char *const members_operation_names[];

/* Of a process. */
struct members_place {
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_atomic_u64 *value;
	bool joined; /* it is a member as far as it knows */
	bool forked; /* and was not told yet whether it is one */
};

struct members_element {
	unsigned holder; /* process, 0 none */
	bool done;
	struct shmkit_slot slot;
};

extern struct members_known {
	struct members_place places[FIXTURE_PROCESSES];
	/* forked from under another thread's hands: what that one was about to open is left */
	bool littered[FIXTURE_PROCESSES];
	struct members_element elements[MEMBERS_ELEMENTS];
	unsigned lock_holder; /* thread, 0 none */
	unsigned newcomers, forks;
	int64_t added_ns;    /* when the value had last been changed */
	uint64_t added_step; /* and when that had begun */
	bool left_over;      /* the state has dead, of whom nobody knows */
	struct program children[MEMBERS_FORKS];
} members_known;

/* Of a thread. */
extern struct members_run {
	unsigned settling; /* element that is being acked, 0 none */
	bool settled;
	unsigned occupied; /* ids at most, since its operation has begun */
} members_runs[SIM_THREADS];

#define MEMBERS_RUN (members_runs[thread->id])
#define MEMBERS_HERE (&members_known.places[thread->process])

static inline bool members_is_alive(unsigned process)
{
	return sim_world.processes[process].alive;
}

/* Ids whose lock somebody alive holds. */
unsigned members_occupied(void);
void members_note_occupied(void);

/* -EUSERS, or -ECHILD of a child that finds no id: true when all may have been taken. */
bool members_were_all_taken(void);

void members_expect(int64_t result, int64_t expected, const char *what);
void members_on_point(const char *label);

/* A process closes all it has. */
void members_close(unsigned process);

void members_operate(struct sim_thread *thread, unsigned operation);
void members_audit(void);

#endif
