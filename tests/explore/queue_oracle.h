/*
 * What is right for a queue. What each call returned, and at which of its points a process died,
 * gives the exact fate of every element; the audit compares.
 *
 *	conserved    committed: delivered once; taken by the dead before they had finished: again;
 *	             not finished by a dead producer, refused, cancelled: never
 *	in order     of the four ways in which a FIFO queue can fail to be linearisable (Henzinger,
 *	             Sezgin, Vafeiadis: Aspect-Oriented Linearizability Proofs, 2013): an element
 *	             nobody enqueued, one delivered twice, two in the wrong order, "empty" while one
 *	             was there; and "full" while there was room
 *	regained     at the end the whole capacity is there, and check() finds nothing
 *
 *	queue_oracle.c      the points that were passed; the audit
 *	queue_operations.c  operations, and whether what they returned is right
 *	explore_queue.c     states
 */
#ifndef EXPLORE_QUEUE_ORACLE_H
#define EXPLORE_QUEUE_ORACLE_H

#include "fixture.h"

#include "queue.h"

#define QUEUE_CAPACITY 4u
#define QUEUE_VALUES 160u
#define QUEUE_CALLS 64u /* of a run */
#define QUEUE_HELD 6u   /* leases and reservations of a thread */

enum queue_fate { UNKNOWN, UNDECIDED, COMMITTED, NEVER };

struct queue_value {
	enum queue_fate fate;
	unsigned got;        /* times it was delivered for good */
	unsigned leases;     /* that returned */
	bool taken_in_place; /* leased, given back, or made by a reservation */
	uint64_t put_begin, put_end, got_begin, got_end;
};

extern struct queue_known {
	struct queue_value values[QUEUE_VALUES];
	unsigned next_value;
	unsigned cancelled;                 /* of the state; they count until they are passed */
	struct queue_outcome { /* "empty" or "full" was the answer */
		bool full;
		uint64_t begin, end;
	} outcomes[QUEUE_CALLS];
	unsigned outcome_count;
	uint64_t puts_begun[QUEUE_CALLS], puts_ended[QUEUE_CALLS]; /* end 0: not yet */
	unsigned put_count;
	bool was_shut, was_reopened;
	bool in_place;         /* elements are not taken and put in their order alone */
	bool disturbed;        /* the statistics count more than calls that returned */
	uint64_t changed_step; /* the last point of the queue that anybody passed */
} queue_known;

/* Of a thread. */
extern struct queue_run {
	struct shmkit_slot slots[QUEUE_HELD];
	unsigned values[QUEUE_HELD];
	unsigned held;
	/* of the operation under way */
	unsigned first; /* its first value */
	bool puts, takes;
	unsigned batches, batch_start[8], batch_size[8], filled, followers;
	bool batch_committed[8];
	unsigned taken, claimed; /* of a dequeue: committed so far; in the last claim */
	uint64_t elements[16];
	int settling; /* value + 1; negative: a reservation's */
	bool settled;
	unsigned handle; /* process whose handle it uses */
} queue_runs[SIM_THREADS];

#define QUEUE_RUN (queue_runs[thread->id])

enum {
	QUEUE_ENQUEUE,
	QUEUE_ENQUEUE_2,
	QUEUE_ENQUEUE_3,
	QUEUE_DEQUEUE,
	QUEUE_DEQUEUE_2,
	QUEUE_DEQUEUE_3,
	QUEUE_LEASE_ACK,
	QUEUE_LEASE_NACK,
	QUEUE_LEASE_TWO,
	QUEUE_RESERVE_COMMIT,
	QUEUE_RESERVE_CANCEL,
	QUEUE_REPAIR,
	QUEUE_SHUTDOWN,
	QUEUE_REOPEN,
	QUEUE_LEASE_KEEP,
	QUEUE_RESERVE_KEEP,
	QUEUE_DEQUEUE_WAIT,
	QUEUE_ENQUEUE_WAIT,
	QUEUE_CLOSE,
	QUEUE_ATTACH, QUEUE_SIZE,
	QUEUE_OPERATIONS
};

extern const char *const queue_operation_names[];

extern struct shmkit_queue *queue_handles[FIXTURE_PROCESSES];

static inline struct shk_queue_shm *queue_shm(void)
{
	return queue_handles[0]->shm;
}

static inline struct shmkit_queue *queue_handle(const struct sim_thread *thread)
{
	return queue_handles[thread->process];
}

void queue_on_point(const char *label);

/* A value was given to somebody by a call that began at a step; now it is over. */
void queue_deliver(unsigned value, uint64_t begin);
void queue_expect(int result, int expected, const char *what);

void queue_operate(struct sim_thread *thread, unsigned operation);
void queue_audit(void);

#endif
