/*
 * Starting workers, killing them, burying them, and measuring how soon the others go on.
 *
 * Most kills come at random, with a mean interval that changes between 0.2 and 20 ms. Now and then
 * half of all die at once. One in MEASURE_ONE_IN is followed by a pause in which nobody else is
 * killed and the victim is not replaced, so that nobody who attaches repairs, until every other
 * worker has got something done: that time is the recovery time.
 */
#include "torture.h"

#include "support.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MEASURE_ONE_IN 16u
#define BURST_ONE_IN 200u
#define PHASE 64u                           /* kills with one mean interval */
#define HUNG_NS UINT64_C(10000000000)
#define NS_PER_MS 1e6

struct tally tally;

static const struct role {
	const char *name;
	void (*run)(struct self *self, enum flow flow);
	void (*run_plain)(struct self *self);
	enum flow flow;
	bool veteran, read_only;
} roles[] = {
	{ "producer", produce, NULL, WIDE, false, false },
	{ "producer", produce, NULL, SLIM, false, false },
	{ "consumer", consume, NULL, WIDE, false, false },
	{ "consumer", consume, NULL, SLIM, false, false },
	{ "lessee", lease, NULL, WIDE, false, false },
	{ "lessee", lease, NULL, SLIM, false, false },
	{ "pusher", NULL, push_stream, STREAM, false, false },
	{ "popper", NULL, pop_stream, STREAM, false, false },
	{ "pusher", NULL, push_latest, LATEST, false, false },
	{ "popper", NULL, pop_latest, LATEST, false, false },
	{ "observer", NULL, observe, LATEST, false, true },
	{ "pool user", NULL, use_pool, FLOWS, false, false },
	{ "namer", NULL, use_names, FLOWS, false, false },
	{ "passer-by", NULL, come_and_go, FLOWS, false, false },
	{ "repairer", NULL, repair, FLOWS, false, false },
	{ "waiter", NULL, wait_for_things, FLOWS, false, false },
	/* once more, so that nobody is the only one who could wake the others */
	{ "producer", produce, NULL, WIDE, false, false },
	{ "producer", produce, NULL, SLIM, false, false },
	{ "lessee", lease, NULL, WIDE, true, false },
	{ "lessee", lease, NULL, SLIM, false, false },
	{ "pusher", NULL, push_stream, STREAM, false, false },
	{ "popper", NULL, pop_stream, STREAM, false, false },
	{ "pusher", NULL, push_latest, LATEST, false, false },
	{ "pool user", NULL, use_pool, FLOWS, false, false },
	{ "namer", NULL, use_names, FLOWS, true, false },
	{ "waiter", NULL, wait_for_things, FLOWS, true, false },
};

#define ROLES ((uint32_t)(sizeof(roles) / sizeof(roles[0])))

const char *role_name(uint32_t role)
{
	return roles[role % ROLES].name;
}

/* ---- starting ---- */

static _Noreturn void work(struct worker *worker)
{
	const struct role *role = &roles[worker->role];
	struct self self = as_worker(worker->number);
	int fds = test_fd_count();

	join(&self, role->read_only ? SHMKIT_READ_ONLY : 0);
	if (role->run)
		role->run(&self, role->flow);
	else
		role->run_plain(&self);
	leave(&self);
	if (test_fd_count() != fds)
		blame(&self, 0, "%d descriptors were open at the start, %d are at the end", fds,
		      test_fd_count());
	_exit(0);
}

static void start(struct worker *worker)
{
	pid_t parent = getpid(), pid;

	worker->incarnation++;
	worker->call.kind = CALL_NONE;
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid > 0) {
		worker->pid = pid;          /* not in the child: the board is one for all */
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	work(worker);
}

void start_workers(uint32_t count)
{
	for (uint32_t number = 0; number < count; number++) {
		struct worker *worker = &board->workers[number];

		worker->role = number % ROLES;
		worker->veteran = roles[worker->role].veteran && number < ROLES;
		start(worker);
	}
}

/* ---- killing ---- */

static void doom(struct worker *victim)
{
	atomic_store(&victim->gone, victim->incarnation);
	kill(victim->pid, SIGKILL);
}

/* Waits until the kernel has torn it down, and writes down what it could not. */
static void collect(struct self *self, struct worker *victim)
{
	int status = 0;

	while (waitpid(victim->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!board->failed && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) &&
	    !(WIFEXITED(status) && WEXITSTATUS(status) == 0 && board->stop))
		blame(self, 0, "worker %u (%s) ended by itself: %s %d", victim->number,
		      role_name(victim->role), WIFSIGNALED(status) ? "signal" : "status",
		      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	tally.undecided += victim->call.kind == CALL_PUT && victim->call.result == CALL_OPEN;
	if (victim->call.result == CALL_OPEN &&
	    (victim->call.kind == CALL_TAKE || victim->call.kind == CALL_LEASE))
		tally.may_invert[victim->call.flow] += victim->call.count;
	bury(victim);
	victim->pid = 0;
}

/* ---- who gets nothing done ---- */

static struct {
	uint64_t progress, since_ns;
} watched[MAX_WORKERS];

static void watch(struct self *self, uint32_t workers)
{
	uint64_t now = test_now_ns();

	for (uint32_t number = 0; number < workers; number++) {
		struct worker *worker = &board->workers[number];
		uint64_t progress = atomic_load(&worker->progress);
		double stalled_ms = (double)(now - watched[number].since_ns) / NS_PER_MS;

		if (progress != watched[number].progress || watched[number].since_ns == 0) {
			watched[number].progress = progress;
			watched[number].since_ns = now;
			continue;
		}
		if (stalled_ms > tally.worst_stall_ms)
			tally.worst_stall_ms = stalled_ms;
		if (now - watched[number].since_ns > HUNG_NS) {
			blame(self, 0, "worker %u (%s, pid %d) gets nothing done", number,
			      role_name(worker->role), (int)worker->pid);
			board->failed_worker = number;
			return;
		}
	}
}

/* From now on until every other worker has got something done. */
static void measure(struct self *self, uint32_t workers)
{
	uint64_t before[MAX_WORKERS], began = test_now_ns();
	uint32_t waiting = 0;

	for (uint32_t number = 0; number < workers; number++)
		before[number] = atomic_load(&board->workers[number].progress);
	while (waiting < workers && !board->failed && !board->exhausted) {
		const struct worker *worker = &board->workers[waiting];
		double took_ms;

		if (worker->pid != 0 && atomic_load(&worker->progress) == before[waiting]) {
			usleep(100);
			watch(self, workers);
			continue;
		}
		took_ms = (double)(test_now_ns() - began) / NS_PER_MS;
		if (took_ms > tally.worst_recovery_ms) {
			tally.worst_recovery_ms = took_ms;
			tally.worst_worker = waiting;
		}
		waiting++;
	}
	/* who waits for a message that nobody can send any more is not stuck */
	if (board->exhausted)
		return;
	tally.sum_recovery_ms += (double)(test_now_ns() - began) / NS_PER_MS;
	tally.measured++;
}

/* ---- a round ---- */

static void replace(uint32_t workers)
{
	for (uint32_t number = 0; number < workers; number++)
		if (board->workers[number].pid == 0)
			start(&board->workers[number]);
}

static void kill_one(struct self *self, uint32_t workers)
{
	struct worker *victim;

	do
		victim = &board->workers[below(self, workers)];
	while (victim->veteran);
	doom(victim);
	collect(self, victim);
	tally.kills++;
}

/* Half of them, the kills before the burials. */
static void kill_half(struct self *self, uint32_t workers)
{
	bool chosen[MAX_WORKERS] = { false };

	for (uint32_t number = 0; number < workers; number++) {
		chosen[number] = !board->workers[number].veteran && below(self, 2);
		if (chosen[number])
			doom(&board->workers[number]);
	}
	for (uint32_t number = 0; number < workers; number++)
		if (chosen[number]) {
			collect(self, &board->workers[number]);
			tally.kills++;
		}
	tally.bursts++;
}

static void sleep_until(struct self *self, uint32_t workers, uint64_t until_ns)
{
	uint64_t now;

	watch(self, workers);
	while ((now = test_now_ns()) < until_ns && !board->failed)
		usleep(until_ns - now > 2000000 ? 2000 : (useconds_t)((until_ns - now) / 1000 + 1));
}

/* Exponential, in nanoseconds. */
static uint64_t interval(struct self *self, double mean_ms)
{
	double uniform = (double)(random_of(self) >> 11) / 9007199254740992.0;

	return (uint64_t)(-log(1.0 - uniform) * mean_ms * NS_PER_MS);
}

void torture(struct self *self, uint32_t workers, uint64_t until_ns, uint64_t max_kills)
{
	double mean_ms = 1;

	memset(watched, 0, sizeof(watched));
	for (uint32_t n = 0; !board->failed && !board->exhausted; n++) {
		uint64_t now = test_now_ns();

		if (now >= until_ns || tally.kills >= max_kills)
			break;
		if (n % PHASE == 0)
			mean_ms = 0.2 * pow(100.0, (double)(random_of(self) >> 11) / 9007199254740992.0);
		sleep_until(self, workers, now + interval(self, mean_ms));
		if (below(self, BURST_ONE_IN) == 0) {
			kill_half(self, workers);
			replace(workers);
			continue;
		}
		kill_one(self, workers);
		if (below(self, MEASURE_ONE_IN) == 0)
			measure(self, workers);
		replace(workers);
	}
}

/* ---- the end of a round ---- */

/* Everybody leaves, the streams having come to their end. */
void end_gently(uint32_t workers)
{
	struct self self = as_worker(CONTROLLER);
	uint64_t began = test_now_ns();

	for (uint32_t number = 0; number < workers; number++) {
		struct worker *worker = &board->workers[number];

		while (worker->pid && !board->failed) {
			int status;
			pid_t ended = waitpid(worker->pid, &status, WNOHANG);

			if (ended == worker->pid) {
				if (!WIFEXITED(status) || WEXITSTATUS(status))
					blame(&self, 0, "worker %u (%s) ended with 0x%x", number,
					      role_name(worker->role), (unsigned)status);
				worker->pid = 0;
				break;
			}
			if (test_now_ns() - began > HUNG_NS) {
				blame(&self, 0, "worker %u (%s, pid %d) does not leave after the end of its "
				      "stream", number, role_name(worker->role), (int)worker->pid);
				board->failed_worker = number;
			}
			usleep(200);
		}
	}
}

void end_by_force(uint32_t workers)
{
	struct self self = as_worker(CONTROLLER);

	for (uint32_t number = 0; number < workers; number++)
		if (board->workers[number].pid > 0)
			doom(&board->workers[number]);
	for (uint32_t number = 0; number < workers; number++)
		if (board->workers[number].pid > 0) {
			collect(&self, &board->workers[number]);
			tally.kills++;
		}
}
