/*
 * What belongs to this process rather than to a segment: has it forked, and one lock for the
 * operations that must not be cut in two by fork() or by a signal handler.
 *
 * The page behind shk_process is wiped by the kernel in a forked child (MADV_WIPEONFORK), however
 * it was forked. A segment handle remembers the epoch in which it joined; a child sees epoch 0
 * there, which no handle has, and goes the slow way.
 */
#ifndef SHK_PROCESS_H
#define SHK_PROCESS_H

#include "atomics.h"

#include <signal.h>

struct shk_process {
	uint32_t epoch;                     /* 0: nobody has asked yet in this process */
	uint32_t lock;                      /* futex: 0 free, 1 held, 2 held and waited for */
	uint32_t fences;                    /* 1: this process must fence itself before it looks for waiters */
};

extern struct shk_process *shk_process;     /* never NULL */

/* This process's epoch, never 0; takes the lock on the first call of a process. */
uint32_t shk_process_epoch(void);

/*
 * Blocks all signals but those of faults, takes the process lock, keeps fork() of other threads waiting. Not
 * recursive. Nothing may block for long under it.
 */
void shk_process_enter(sigset_t *ret_saved);
void shk_process_leave(const sigset_t *saved);

#endif
