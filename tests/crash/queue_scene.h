/*
 * Queues of four elements. Elements are known by ids 1..63, in the order of their enqueueing, so
 * that sets of them are words of bits.
 *
 *	present   committed, and not taken by anybody who lives
 *	leased    held by the worker
 *	added     what the victim's call is to enqueue, lowest first
 *	touched   may be delivered one time more than the model says
 *	expected  [0] delivered for the second time; [1] reserved by the worker; [2] taken by the
 *	          worker, or a blocked peer, while the victim was stopped
 */
#ifndef CRASH_QUEUE_SCENE_H
#define CRASH_QUEUE_SCENE_H

#include "blocked.h"

#define CAPACITY 4u
#define BULK 3u
#define BIT(id) (UINT64_C(1) << (id))

enum queue_state {
	EMPTY, ONE, HALF, FULL, LAP, WRAP, LEASED, REDO, TOMB, RESERVED, DEAD_PRODUCER, DEAD_CONSUMER, SHUT,
	DEAD_FULL,
};

enum effect {
	NOTHING,
	PUT,                                /* enqueues what is added */
	TAKE,                               /* takes for good */
	HOLD,                               /* takes on lease, or reserves */
	COMMIT, ACK, NACK,
	END, BEGIN,                         /* shutdown, reopen */
};

static inline uint64_t lowest(uint64_t set)
{
	return (uint64_t)__builtin_ctzll(set);
}

/* ---- audit_queue.c ---- */

bool queue_audit(struct scene *scene);
bool queue_peers(struct scene *scene);      /* while the victim is stopped */
bool queue_block(struct scene *scene);      /* a consumer of its own process */
bool queue_unblock(struct scene *scene);

#endif
