/*
 * Peers that are blocked when the victim dies: processes of their own, with the segment open before,
 * asleep in a call. How long they take to go on after the teardown is what is measured.
 */
#ifndef CRASH_BLOCKED_H
#define CRASH_BLOCKED_H

#include "scene.h"

#define SENTINEL 62u                        /* the id of the element that ends a blocked consumer */

/* What it found out, in memory shared with the worker. */
struct blocked {
	uint64_t taken;                     /* bits of ids */
	uint64_t done_ns, delay_ns;         /* and how long it was ready, and was not let run */
	int64_t result;
	uint32_t ready;
	char error[200];
};

/*
 * Starts a peer that runs this with a segment handle of its own and waits until it is asleep, or
 * has come to its end. The result is its own to judge: a negative one is what went wrong.
 */
bool blocked_start(struct scene *scene, int64_t (*body)(struct scene *scene, struct blocked *blocked));

/* Waits for its end, notes how long it took since the teardown, and judges both. */
bool blocked_end(struct scene *scene, const struct blocked **ret_blocked);

#endif
