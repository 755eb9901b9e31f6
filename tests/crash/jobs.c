/*
 * Many workers at once. One that dies or hangs is reported with the point it was at, and another
 * goes on behind it.
 */
#include "run.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_TASKS 32768u
#define MAX_JOBS 1024u
#define HANG_MS 120000u
#define NOWHERE UINT32_MAX

struct task {
	const struct subject *subject;
	unsigned state;
	uint32_t part;
	uint32_t from;                      /* the first point that is still to do */
	uint32_t taken, done, printed;
	struct run_place place;
	struct run_tally tally;
};

struct board {
	uint32_t count, next;
	uint32_t workers[MAX_JOBS];         /* the task of each, plus 1 */
	struct task tasks[MAX_TASKS];
};

static const struct subject *const *const families[] = {
	&queue_subjects, &ring_subjects, &pool_subjects, &table_subjects, &atomic_subjects,
	&segment_subjects,
};

unsigned state_count(const struct family *family)
{
	unsigned count = 0;

	while (family->states[count])
		count++;
	return count;
}

static bool chooses(const char *wanted, const char *name)
{
	size_t length = wanted ? strlen(wanted) : 0;

	if (!wanted)
		return true;
	/* "queue_*" */
	if (length && wanted[length - 1] == '*')
		return strncmp(wanted, name, length - 1) == 0;
	return strcmp(wanted, name) == 0;
}

void run_each(const struct run_options *options,
	      void (*each)(const struct subject *subject, unsigned state, void *context), void *context)
{
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
		for (const struct subject *subject = *families[f]; subject->name; subject++)
			for (unsigned state = 0; state < state_count(subject->family); state++) {
				if (subject->states && !(subject->states >> state & 1))
					continue;
				if (options->mode == RUN_TWO && !subject->two)
					continue;
				if (options->mode == RUN_FREEZE && !subject->family->peers)
					continue;
				if (chooses(options->family, subject->family->name) &&
				    chooses(options->function, subject->name) &&
				    chooses(options->state, subject->family->states[state]))
					each(subject, state, context);
			}
}

static void add(struct run_tally *sum, const struct run_tally *tally)
{
	sum->traced += tally->traced;
	sum->points += tally->points;
	sum->kills += tally->kills;
	sum->freezes += tally->freezes;
	sum->pairs += tally->pairs;
	sum->failures += tally->failures;
	sum->stepped += tally->stepped;
	sum->lost += tally->lost;
	sum->temporaries += tally->temporaries;
	sum->unnamed_busy += tally->unnamed_busy;
	sum->blocked += tally->blocked;
	sum->took_ns += tally->took_ns;
	if (tally->worst_ns > sum->worst_ns)
		sum->worst_ns = tally->worst_ns;
	if (tally->worst_blocked_ns > sum->worst_blocked_ns)
		sum->worst_blocked_ns = tally->worst_blocked_ns;
}

/* ---- workers ---- */

static struct board *board;
static const struct run_options *all_options;
static int turns_fd;

/* A worker and its victims on one processor: what one waits for the other does next. */
static void stay_on(unsigned processor)
{
	cpu_set_t set, allowed;
	unsigned left = processor;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || left-- > 0)
			continue;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		(void)sched_setaffinity(0, sizeof(set), &set);
		return;
	}
}

unsigned run_processors(void)
{
	cpu_set_t allowed;

	return sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? (unsigned)CPU_COUNT(&allowed) : 1;
}

static void work(unsigned job)
{
	struct run_options options = *all_options;

	options.job = job;
	options.processors = run_processors();
	options.turns_fd = turns_fd;
	stay_on(job % options.processors);
	if (!run_private_shm())
		_exit(77);
	for (;;) {
		uint32_t at = __atomic_fetch_add(&board->next, 1, __ATOMIC_RELAXED);
		struct task *task;

		if (at >= 2 * board->count)
			_exit(0);
		/* a second time round for those whose worker died */
		task = &board->tasks[at % board->count];
		if (__atomic_exchange_n(&task->taken, 1, __ATOMIC_RELAXED))
			continue;
		board->workers[job] = at % board->count + 1;
		task->place.beat_ns = now_ns();
		run_subject(&options, task->subject, task->state, task->part, task->from, &task->place,
			    &task->tally);
		task->done = 1;
		board->workers[job] = 0;
	}
}

static pid_t hire(unsigned job)
{
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			work(job);
		_exit(1);
	}
	board->workers[job] = 0;
	return pid;
}

static void print(struct task *task)
{
	const struct run_tally *tally = &task->tally;

	if (task->printed || all_options->quiet)
		return;
	task->printed = 1;
	printf("%-28s %-16s traced %6llu, %s %6llu, failures %llu, worst %.1f ms", task->subject->name,
	       task->subject->family->states[task->state], (unsigned long long)tally->traced,
	       all_options->mode == RUN_KILL ? "killed" : all_options->mode == RUN_TWO ? "pairs" : "frozen",
	       (unsigned long long)(tally->kills + tally->freezes + tally->pairs),
	       (unsigned long long)tally->failures, (double)tally->worst_ns / 1e6);
	if (tally->stepped || tally->lost)
		printf(", stepped %llu, lost %llu", (unsigned long long)tally->stepped,
		       (unsigned long long)tally->lost);
	if (tally->temporaries)
		printf(", temporary files %llu", (unsigned long long)tally->temporaries);
	printf(", %.0f/s\n", tally->took_ns ? (double)(tally->kills + tally->freezes + tally->pairs) * 1e9 /
						      (double)tally->took_ns : 0.0);
}

/* Its task goes on behind the point where it was. */
static void bury(unsigned job, int status, bool hung)
{
	struct task *task;

	if (board->workers[job] == 0)
		return;
	task = &board->tasks[board->workers[job] - 1];
	if (!hung && WIFEXITED(status) && WEXITSTATUS(status) == RUN_ANEW)
		goto next;
	printf("FAILED --function %s --state %s --at %d%s: the worker %s %d\n", task->subject->name,
	       task->subject->family->states[task->state],
	       task->place.point == NOWHERE ? -1 : (int)task->place.point,
	       all_options->mode == RUN_FREEZE ? " --freeze" : all_options->mode == RUN_TWO ? " --two" : "",
	       hung ? "hung; killed with" : "ended with status", status);
	task->tally.failures++;
next:
	if (task->place.point == NOWHERE || all_options->at >= 0) {
		task->done = 1;
	} else {
		task->from = task->place.point + 1;
		task->taken = 0;
		/* all may have been looked through already, and it is not to be passed over */
		__atomic_store_n(&board->next, 0, __ATOMIC_RELAXED);
	}
}

struct age {
	uint64_t beat_ns;                   /* the last that was seen */
	unsigned ms;
};

/*
 * The time without a sign of life is counted in naps of the one who watches: where the machine
 * stands still, or gives a crowd of processes no time, he does not wake either.
 */
static bool is_hung(unsigned job, struct age *age, unsigned nap)
{
	uint64_t beat_ns = board->workers[job] ? board->tasks[board->workers[job] - 1].place.beat_ns : 0;

	age->ms = beat_ns && beat_ns == age->beat_ns ? age->ms + nap : 0;
	age->beat_ns = beat_ns;
	return age->ms > HANG_MS;
}

static bool watch(unsigned jobs)
{
	struct age ages[MAX_JOBS] = { 0 };
	pid_t pids[MAX_JOBS];
	unsigned alive = jobs, nap = 20 + jobs / 4;   /* to look at each takes time too */
	bool refused = false;

	for (unsigned job = 0; job < jobs; job++)
		pids[job] = hire(job);
	while (alive > 0) {
		nap_ms(nap);
		for (unsigned job = 0; job < jobs; job++) {
			bool hung = pids[job] > 0 && is_hung(job, &ages[job], nap);
			int status;

			if (pids[job] <= 0)
				continue;
			if (hung)
				kill(pids[job], SIGKILL);
			if (waitpid(pids[job], &status, hung ? 0 : WNOHANG) != pids[job])
				continue;
			refused |= WIFEXITED(status) && WEXITSTATUS(status) == 77;
			if (status == 0 || refused) {
				pids[job] = 0;
				alive--;
			} else {
				bury(job, status, hung);
				pids[job] = hire(job);
			}
		}
		for (uint32_t i = 0; i < board->count; i++)
			if (board->tasks[i].done)
				print(&board->tasks[i]);
		fflush(stdout);
	}
	return !refused;
}

static void add_tasks(const struct subject *subject, unsigned state, void *context)
{
	(void)context;
	for (uint32_t part = 0; part < all_options->parts && board->count < MAX_TASKS; part++)
		board->tasks[board->count++] = (struct task){ .subject = subject, .state = state,
							     .part = part };
}

bool run_all(const struct run_options *options, struct run_tally *ret_tally)
{
	bool ran;

	all_options = options;
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	turns_fd = memfd_create("crash", MFD_CLOEXEC);
	if (board == MAP_FAILED || turns_fd < 0)
		return false;
	run_each(options, add_tasks, NULL);
	memset(ret_tally, 0, sizeof(*ret_tally));
	ran = board->count > 0 && watch(options->jobs < MAX_JOBS ? options->jobs : MAX_JOBS);
	for (uint32_t i = 0; i < board->count; i++) {
		print(&board->tasks[i]);
		add(ret_tally, &board->tasks[i].tally);
	}
	munmap(board, sizeof(*board));
	close(turns_fd);
	return ran;
}
