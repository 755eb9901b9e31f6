/*
 * One call of one process, instruction by instruction.
 *
 * A victim is a child that prepares, stops, and then makes the call between two marks. Traced once,
 * every instruction it executes there is a point: its address, its stack pointer and how often that
 * address was executed before. Later victims, forked from the same process in the same state, are
 * run to a point with a breakpoint at its address, or at one shortly before it that was executed
 * less often, from where they are stepped. One that does not come by, because something outside
 * decided otherwise (a clock, a lock), is stepped all the way instead.
 */
#ifndef CRASH_TRACE_H
#define CRASH_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#define TRACE_MAX_POINTS (1u << 19)
#define TRACE_RANGES 4u

struct trace_point {
	uint64_t rip;
	uint64_t rsp;                       /* from where it was at the first point */
	uint32_t hit;                       /* executions of rip before this one */
	uint32_t anchor;                    /* the point to set the breakpoint for; UINT32_MAX: none */
	uint32_t shares;                    /* it may touch the segment: memory in it, or a system call */
};

struct trace {
	struct trace_point *points;         /* TRACE_MAX_POINTS, mapped */
	uint32_t count;
	uint64_t from[TRACE_RANGES], to[TRACE_RANGES];   /* where the segment is mapped */
	uint32_t ranges;
};

enum trace_end {
	TRACE_THERE,                        /* stopped before the instruction of the point */
	TRACE_MISSED,                       /* the call returned without coming by */
	TRACE_FAULT,                        /* the victim died, or met a signal */
};

/* What a victim does: prepares unwatched; then its call. Its result is the caller's affair. */
typedef bool (*trace_prepare)(void *context);
typedef void (*trace_call)(void *context);

bool trace_init(struct trace *trace);

/* NULL when processes can be traced here; why not otherwise. */
const char *trace_refused(void);

/* Of the last TRACE_FAULT, or victim that could not be had: what it met. */
const char *trace_fault(void);

/* A victim before the first instruction of its call; -1 when it could not prepare. */
pid_t trace_start(trace_prepare prepare, trace_call call, void *context);

/* Steps a victim through its call and notes every point; it stays before its end. */
enum trace_end trace_record(pid_t victim, struct trace *trace);

/* Runs it to a point. */
enum trace_end trace_run_to(pid_t victim, const struct trace *trace, uint32_t point);

/* Steps it that many instructions. */
enum trace_end trace_step_to(pid_t victim, uint32_t point);

/* Lets it run to the end of its call, where it stops. */
enum trace_end trace_finish(pid_t victim);

void trace_kill(pid_t victim);              /* and reaps */

/* Stopped by SIGSTOP and no longer traced. */
bool trace_freeze(pid_t victim);
void trace_thaw(pid_t victim);              /* goes on, ends, is reaped */

/* "symbol+0x12 (library)" */
void trace_describe(uint64_t address, char *text, size_t size);

/* ---- access.c ---- */

/* Can access.c tell? If not every instruction counts as touching the segment. */
bool access_is_known(void);

/* Might the instruction at regs->rip, about to be executed, touch one of the trace's ranges? */
bool access_shares(const struct trace *trace, pid_t pid, const struct user_regs_struct *regs);

#endif
