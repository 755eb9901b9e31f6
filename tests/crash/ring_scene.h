/*
 * Rings of five elements, for one producer and one consumer, and (mp_*) for several. Elements are
 * known by ids: 0.. those that are there before the call, 20.. what the worker pushes while the
 * victim is stopped, 40.. what the victim's call is to push.
 *
 *	present   in the ring before the call, and what the worker has pushed since
 *	touched   taken by the worker, or a blocked peer, while the victim was stopped
 *	ids       the next one
 *	expected  [0] pushed, [1] dropped, before the call; [2] pushed by the worker since; [3] where the
 *	          worker's reader began
 */
#ifndef CRASH_RING_SCENE_H
#define CRASH_RING_SCENE_H

#include "blocked.h"

#define CAPACITY 5u
#define MANY 12u
#define BIT(id) (UINT64_C(1) << (id))
#define PEERS_FIRST 20u
#define ADDED_FIRST 40u

enum ring_state {
	EMPTY, ONE, HALF, FULL, LAP, DROPPED, SHUT, DEAD_ROLES, MP_EMPTY, MP_HALF, MP_FULL, MP_LAP,
	MP_DROPPED, MP_DEAD,
};

enum effect { NOTHING, PUSH, OVERWRITE, POP, END };

/* ---- audit_ring.c ---- */

bool ring_audit(struct scene *scene);
bool ring_peers(struct scene *scene);       /* while the victim is stopped */
bool ring_block(struct scene *scene);       /* a consumer of its own process */
bool ring_unblock(struct scene *scene);

#endif
