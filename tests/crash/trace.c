#include "trace.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define HASH_SIZE (1u << 17)
#define STEP_COST 1u
#define HIT_COST 4u

extern char crash_begin_mark[], crash_end_mark[];
void crash_marked_call(trace_call call, void *context);


bool trace_init(struct trace *trace)
{
	memset(trace, 0, sizeof(*trace));
	trace->points = mmap(NULL, TRACE_MAX_POINTS * sizeof(*trace->points), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return trace->points != MAP_FAILED;
}

/* Out of line, so that the marks are there once. */
__attribute__((noinline)) void crash_marked_call(trace_call call, void *context)
{
	__asm__ __volatile__(".globl crash_begin_mark\ncrash_begin_mark: int3" ::: "memory");
	call(context);
	__asm__ __volatile__(".globl crash_end_mark\ncrash_end_mark: nop" ::: "memory");
}

static _Noreturn void be_victim(trace_prepare prepare, trace_call call, void *context, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || !prepare(context) || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(99);
	crash_marked_call(call, context);
	_exit(0);
}

static char fault[128];                     /* what ended, or stopped, a victim that was to run */

const char *trace_fault(void)
{
	return fault;
}

/* 0 stopped by a trap; otherwise it is gone (reaped), or was stopped by something else. */
static int wait_trap(pid_t victim)
{
	int status;

	while (waitpid(victim, &status, __WALL) < 0)
		if (errno != EINTR) {
			snprintf(fault, sizeof(fault), "it cannot be waited for: %s", strerror(errno));
			return -1;
		}
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
		return 0;
	if (WIFSTOPPED(status))
		snprintf(fault, sizeof(fault), "it met signal %d", WSTOPSIG(status));
	else if (WIFSIGNALED(status))
		snprintf(fault, sizeof(fault), "signal %d ended it", WTERMSIG(status));
	else
		snprintf(fault, sizeof(fault), "it ended with exit status %d", WEXITSTATUS(status));
	return -1;
}

pid_t trace_start(trace_prepare prepare, trace_call call, void *context)
{
	pid_t parent = getpid();
	pid_t victim = fork();

	if (victim == 0)
		be_victim(prepare, call, context, parent);
	if (victim < 0)
		snprintf(fault, sizeof(fault), "no process can be had: %s", strerror(errno));
	if (victim < 0 || wait_trap(victim))
		return -1;
	ptrace(PTRACE_SETOPTIONS, victim, NULL, (void *)PTRACE_O_EXITKILL);
	return victim;
}

static bool refuses(void *context)
{
	(void)context;
	return true;
}

static void nothing(void *context)
{
	(void)context;
}

const char *trace_refused(void)
{
	struct user_regs_struct regs;
	pid_t victim = trace_start(refuses, nothing, NULL);
	const char *why = NULL;

	if (victim < 0)
		return "a child cannot be traced (ptrace is not permitted)";
	if (ptrace(PTRACE_GETREGS, victim, NULL, &regs) != 0 ||
	    ptrace(PTRACE_POKETEXT, victim, crash_end_mark,
		   (void *)ptrace(PTRACE_PEEKTEXT, victim, crash_end_mark, NULL)) != 0 ||
	    trace_step_to(victim, 1) != TRACE_THERE)
		why = "a traced child cannot be read, written or stepped";
	trace_kill(victim);
	return why;
}

/* ---- recording ---- */

static uint32_t count_hit(uint32_t *hash, uint64_t *keys, uint64_t rip)
{
	uint32_t at = (uint32_t)((rip * UINT64_C(0x9e3779b97f4a7c15)) >> 40) % HASH_SIZE;

	while (keys[at] && keys[at] != rip)
		at = (at + 1) % HASH_SIZE;
	keys[at] = rip;
	return hash[at]++;
}

/* Where the breakpoint for each point is best set: hits cost more than steps. */
static bool choose_anchors(struct trace *trace)
{
	uint32_t *hits = calloc(HASH_SIZE, sizeof(*hits));
	uint64_t *keys = calloc(HASH_SIZE, sizeof(*keys));
	uint32_t cost = 0, anchor = UINT32_MAX;

	if (!hits || !keys) {
		free(hits);
		free(keys);
		return false;
	}
	for (uint32_t i = 0; i < trace->count; i++) {
		struct trace_point *point = &trace->points[i];
		uint32_t here;

		point->hit = count_hit(hits, keys, point->rip);
		here = HIT_COST * (point->hit + 1);
		if (i > 0)
			cost += STEP_COST;
		if (here < cost) {
			cost = here;
			anchor = i;
		}
		point->anchor = anchor;
	}
	free(hits);
	free(keys);
	return true;
}

enum trace_end trace_record(pid_t victim, struct trace *trace)
{
	struct user_regs_struct regs;
	bool look = trace->ranges > 0;
	uint64_t first_rsp = 0;

	trace->count = 0;
	snprintf(fault, sizeof(fault), "more than %u instructions, or it could not be read", TRACE_MAX_POINTS);
	for (;;) {
		struct trace_point *point = &trace->points[trace->count];

		if (ptrace(PTRACE_GETREGS, victim, NULL, &regs) != 0)
			return TRACE_FAULT;
		if (regs.rip == (uint64_t)(uintptr_t)crash_end_mark)
			return choose_anchors(trace) ? TRACE_THERE : TRACE_FAULT;
		if (trace->count == TRACE_MAX_POINTS)
			return TRACE_FAULT;
		if (trace->count == 0)
			first_rsp = regs.rsp;
		*point = (struct trace_point){ .rip = regs.rip, .rsp = regs.rsp - first_rsp };
		if (look)
			point->shares = access_shares(trace, victim, &regs);
		trace->count++;
		if (ptrace(PTRACE_SINGLESTEP, victim, NULL, NULL) != 0 || wait_trap(victim))
			return TRACE_FAULT;
	}
}

/* ---- running ---- */

static bool step(pid_t victim)
{
	return ptrace(PTRACE_SINGLESTEP, victim, NULL, NULL) == 0 && wait_trap(victim) == 0;
}

static uint64_t where(pid_t victim)
{
	errno = 0;
	return (uint64_t)ptrace(PTRACE_PEEKUSER, victim, (void *)offsetof(struct user_regs_struct, rip),
				NULL);
}

enum trace_end trace_step_to(pid_t victim, uint32_t point)
{
	for (uint32_t i = 0; i < point; i++) {
		if (where(victim) == (uint64_t)(uintptr_t)crash_end_mark)
			return TRACE_MISSED;
		if (!step(victim))
			return TRACE_FAULT;
	}
	return where(victim) == (uint64_t)(uintptr_t)crash_end_mark && point ? TRACE_MISSED : TRACE_THERE;
}

static long poke(pid_t victim, uint64_t address, long word)
{
	return ptrace(PTRACE_POKETEXT, victim, (void *)(uintptr_t)address, (void *)word);
}

/* Until address is about to be executed, hits times having passed it; or the end of the call. */
static enum trace_end run_to_address(pid_t victim, uint64_t address, uint32_t hits)
{
	uint64_t end = (uint64_t)(uintptr_t)crash_end_mark;
	long plain = ptrace(PTRACE_PEEKTEXT, victim, (void *)(uintptr_t)address, NULL);
	long end_plain = ptrace(PTRACE_PEEKTEXT, victim, (void *)(uintptr_t)end, NULL);
	struct user_regs_struct regs;

	poke(victim, end, (end_plain & ~0xffL) | 0xcc);
	for (;;) {
		if (where(victim) == address) {
			if (hits == 0) {
				poke(victim, end, end_plain);
				return TRACE_THERE;
			}
			hits--;
			if (!step(victim))
				return TRACE_FAULT;
			continue;           /* a string instruction is there again at once */
		}
		poke(victim, address, (plain & ~0xffL) | 0xcc);
		if (ptrace(PTRACE_CONT, victim, NULL, NULL) != 0 || wait_trap(victim) ||
		    ptrace(PTRACE_GETREGS, victim, NULL, &regs) != 0)
			return TRACE_FAULT;
		poke(victim, address, plain);
		regs.rip--;
		if (ptrace(PTRACE_SETREGS, victim, NULL, &regs) != 0)
			return TRACE_FAULT;
		if (regs.rip == end) {
			poke(victim, end, end_plain);
			return TRACE_MISSED;
		}
		if (regs.rip != address) {
			snprintf(fault, sizeof(fault), "it met a trap at 0x%llx", (unsigned long long)regs.rip);
			return TRACE_FAULT;
		}
	}
}

enum trace_end trace_run_to(pid_t victim, const struct trace *trace, uint32_t point)
{
	const struct trace_point *wanted = &trace->points[point];
	struct user_regs_struct regs;
	enum trace_end end = TRACE_THERE;
	uint32_t steps = point;
	uint64_t first_rsp;

	if (ptrace(PTRACE_GETREGS, victim, NULL, &regs) != 0)
		return TRACE_FAULT;
	first_rsp = regs.rsp;
	if (wanted->anchor != UINT32_MAX) {
		const struct trace_point *anchor = &trace->points[wanted->anchor];

		end = run_to_address(victim, anchor->rip, anchor->hit);
		steps = point - wanted->anchor;
	}
	if (end == TRACE_THERE)
		end = trace_step_to(victim, steps);
	if (end != TRACE_THERE)
		return end;
	if (ptrace(PTRACE_GETREGS, victim, NULL, &regs) != 0)
		return TRACE_FAULT;
	return regs.rip == wanted->rip && regs.rsp - first_rsp == wanted->rsp ? TRACE_THERE : TRACE_MISSED;
}

enum trace_end trace_finish(pid_t victim)
{
	uint64_t end = (uint64_t)(uintptr_t)crash_end_mark;
	enum trace_end result = run_to_address(victim, end, 0);

	return result == TRACE_MISSED ? TRACE_THERE : result;
}

/* ---- the end ---- */

void trace_kill(pid_t victim)
{
	int status;

	kill(victim, SIGKILL);
	/* a stop that was pending may be told first */
	do {
		while (waitpid(victim, &status, __WALL) < 0)
			if (errno != EINTR)
				return;
	} while (WIFSTOPPED(status));
}

bool trace_freeze(pid_t victim)
{
	int status;

	if (ptrace(PTRACE_DETACH, victim, NULL, (void *)SIGSTOP) != 0)
		return false;
	while (waitpid(victim, &status, WUNTRACED) < 0)
		if (errno != EINTR)
			return false;
	return WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP;
}

void trace_thaw(pid_t victim)
{
	int status;

	kill(victim, SIGCONT);
	while (waitpid(victim, &status, 0) < 0 && errno == EINTR)
		;
}

void trace_describe(uint64_t address, char *text, size_t size)
{
	const char *file;
	Dl_info info;

	if (!dladdr((void *)(uintptr_t)address, &info) || !info.dli_fname) {
		snprintf(text, size, "0x%llx", (unsigned long long)address);
		return;
	}
	file = strrchr(info.dli_fname, '/');
	file = file ? file + 1 : info.dli_fname;
	snprintf(text, size, "%s+0x%llx (%s+0x%llx)", info.dli_sname ? info.dli_sname : "?",
		 info.dli_sname ? (unsigned long long)(address - (uint64_t)(uintptr_t)info.dli_saddr) : 0ull,
		 file, (unsigned long long)(address - (uint64_t)(uintptr_t)info.dli_fbase));
}
