/* Workers, turns, rounds: bench.h. */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPINS 20000u                        /* before one who waits gives the processor away */
#define PINGS 2000u
#define FIRST_COUNT 64u
#define ASLEEP_NS 300000
#define END UINT32_MAX                      /* a command: no more turns */

/* What the workers share. Each line is written by one and read by others. */
struct control {
	alignas(128) uint32_t turn;         /* grows; the words below are for this one */
	uint32_t subject;
	uint64_t count;
	alignas(128) uint32_t ready;
	alignas(128) uint32_t go;           /* the turn that has begun */
	alignas(128) uint32_t done;
	alignas(128) uint64_t ball;         /* of the calibration */
	struct {
		alignas(128) uint64_t end_ns;
		uint32_t failed;
	} workers[BENCH_WORKERS];
};

struct table {
	const struct bench_case *what;
	const struct bench_subject *const *subjects;
	unsigned count;
	unsigned workers;
	const struct bench_options *options;
	struct control *control;
	struct bench_link links[BENCH_SUBJECTS][2];
	bool here[BENCH_SUBJECTS];
};

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

bench_name *bench_names(uint64_t count)
{
	bench_name *names = reallocarray(NULL, count, sizeof(*names));

	if (!names)
		abort();
	for (uint64_t i = 0; i < count; i++)
		snprintf(names[i], sizeof(names[i]), "structure_%llu", (unsigned long long)i);
	return names;
}

void bench_let_sleep(struct bench_link *link)
{
	const struct timespec time = { .tv_nsec = ASLEEP_NS };
	uint64_t began = bench_now_ns();

	nanosleep(&time, NULL);
	link->spared_ns += bench_now_ns() - began;
}

static unsigned link_count(const struct bench_case *what)
{
	return what->kind >= BENCH_TRIP && what->kind <= BENCH_TRIP_ASLEEP ? 2 : 1;
}

static void stay_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		fprintf(stderr, "bench: cannot stay on processor %d: %s\n", processor, strerror(errno));
}

/* ---- waiting for each other ---- */

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* More processes than processors: who waits must let the others run. */
static void wait_at_least(const uint32_t *word, uint32_t value)
{
	for (unsigned spin = 0; load(word) < value; spin++)
		if (spin < SPINS)
			bench_pause();
		else
			sched_yield();
}

/* A worker between turns: nobody's time is to be his. */
static uint32_t await_turn(struct control *control, uint32_t last)
{
	uint32_t seen;

	for (unsigned spin = 0; (seen = load(&control->turn)) == last; spin++)
		if (spin < SPINS)
			bench_pause();
		else
			syscall(SYS_futex, &control->turn, FUTEX_WAIT, last, NULL, NULL, 0);
	return seen;
}

/* ---- the work of a turn ---- */

static enum bench_role role_of(const struct bench_case *what, unsigned worker)
{
	switch (what->kind) {
	case BENCH_FLOW:
		/* on both processors there is one of each kind where there are two of each */
		return worker % 2 == 0 && worker / 2 < what->producers ? BENCH_PRODUCER
		       : worker % 2 == 1 && worker / 2 < what->consumers ? BENCH_CONSUMER
		       : worker >= 2 * what->consumers ? BENCH_PRODUCER : BENCH_CONSUMER;
	case BENCH_TRIP:
	case BENCH_TRIP_WAIT:
	case BENCH_TRIP_ASLEEP:
		return worker == 0 ? BENCH_PING : BENCH_PONG;
	default:
		return BENCH_BOTH;
	}
}

/* Each producer's part, or each consumer's, of count. */
static uint64_t part_of(const struct bench_case *what, enum bench_role role, uint64_t count)
{
	if (role == BENCH_PRODUCER)
		return count / what->producers;
	return role == BENCH_CONSUMER ? count / what->consumers : count;
}

static void play(struct table *table, unsigned worker, unsigned subject, uint64_t count)
{
	enum bench_role role = role_of(table->what, worker);

	table->subjects[subject]->loop(table->what, role)(table->links[subject],
							   part_of(table->what, role, count));
}

/* Nanoseconds that all workers took for count units of work. */
static uint64_t turn(struct table *table, unsigned subject, uint64_t count)
{
	struct control *control = table->control;
	uint32_t number = control->turn + 1;
	uint64_t began, ended;

	control->subject = subject;
	control->count = count;
	table->links[subject][0].spared_ns = 0;
	__atomic_store_n(&control->ready, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&control->done, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&control->turn, number, __ATOMIC_RELEASE);
	if (table->workers > 1) {
		syscall(SYS_futex, &control->turn, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
		wait_at_least(&control->ready, table->workers - 1);
	}
	began = bench_now_ns();
	__atomic_store_n(&control->go, number, __ATOMIC_RELEASE);
	play(table, 0, subject, count);
	ended = bench_now_ns();
	wait_at_least(&control->done, table->workers - 1);
	for (unsigned w = 1; w < table->workers; w++)
		if (control->workers[w].end_ns > ended)
			ended = control->workers[w].end_ns;
	return ended - began - table->links[subject][0].spared_ns;
}

/* The ball goes to and fro: even it is the leader's, odd the other's. Nanoseconds for both ways. */
static double calibrate(struct table *table)
{
	struct control *control = table->control;
	uint64_t began;

	if (table->workers < 2)
		return 0;
	control->subject = BENCH_SUBJECTS;
	__atomic_store_n(&control->ball, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&control->ready, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&control->done, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&control->turn, control->turn + 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &control->turn, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	wait_at_least(&control->ready, table->workers - 1);
	began = bench_now_ns();
	__atomic_store_n(&control->go, control->turn, __ATOMIC_RELEASE);
	for (uint64_t i = 0; i < PINGS; i++) {
		while (__atomic_load_n(&control->ball, __ATOMIC_ACQUIRE) != 2 * i)
			bench_pause();
		__atomic_store_n(&control->ball, 2 * i + 1, __ATOMIC_RELEASE);
	}
	while (__atomic_load_n(&control->ball, __ATOMIC_ACQUIRE) != 2 * PINGS)
		bench_pause();
	began = bench_now_ns() - began;
	wait_at_least(&control->done, table->workers - 1);
	return (double)began / PINGS;
}

static void return_balls(struct control *control)
{
	for (uint64_t i = 0; i < PINGS; i++) {
		while (__atomic_load_n(&control->ball, __ATOMIC_ACQUIRE) != 2 * i + 1)
			bench_pause();
		__atomic_store_n(&control->ball, 2 * i + 2, __ATOMIC_RELEASE);
	}
}

/* ---- workers ---- */

static bool attach(struct table *table, unsigned worker)
{
	unsigned links = link_count(table->what);

	for (unsigned s = 0; s < table->count; s++)
		for (unsigned i = 0; i < links && table->here[s]; i++) {
			struct bench_link *link = &table->links[s][i];

			memset(link->own, 0, sizeof(link->own));
			link->worker = worker;
			if (!table->subjects[s]->attach || table->subjects[s]->attach(link))
				continue;
			fprintf(stderr, "bench: %s: worker %u of %s could not attach\n", table->what->id, worker,
				table->subjects[s]->name);
			return false;
		}
	return true;
}

static void detach(struct table *table)
{
	unsigned links = link_count(table->what);

	for (unsigned s = 0; s < table->count; s++)
		for (unsigned i = 0; i < links && table->here[s]; i++)
			if (table->subjects[s]->detach)
				table->subjects[s]->detach(&table->links[s][i]);
}

static _Noreturn void work(struct table *table, unsigned worker, uint32_t last)
{
	struct control *control = table->control;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stay_on(table->options->processors[worker % 2]);
	control->workers[worker].failed = !attach(table, worker);
	__atomic_add_fetch(&control->done, 1, __ATOMIC_RELEASE);
	for (;;) {
		last = await_turn(control, last);
		if (control->subject == END)
			break;
		__atomic_add_fetch(&control->ready, 1, __ATOMIC_RELEASE);
		while (load(&control->go) != last) {
			if (table->workers > 2)
				sched_yield();
			else
				bench_pause();
		}
		if (control->subject < BENCH_SUBJECTS)
			play(table, worker, control->subject, control->count);
		else if (worker == 1)
			return_balls(control);
		control->workers[worker].end_ns = bench_now_ns();
		__atomic_add_fetch(&control->done, 1, __ATOMIC_RELEASE);
	}
	detach(table);
	_exit(0);
}

static bool hire(struct table *table)
{
	struct control *control = table->control;

	fflush(NULL);
	for (unsigned w = 1; w < table->workers; w++) {
		pid_t pid = fork();

		if (pid == 0)
			work(table, w, 0);
		if (pid < 0) {
			perror("bench: fork");
			return false;
		}
	}
	stay_on(table->options->processors[0]);
	control->workers[0].failed = !attach(table, 0);
	while (load(&control->done) < table->workers - 1) {
		if (waitpid(-1, NULL, WNOHANG) > 0)
			return false;       /* one has died */
		usleep(1000);
	}
	for (unsigned w = 0; w < table->workers; w++)
		if (control->workers[w].failed)
			return false;
	return true;
}

static bool dismiss(struct table *table)
{
	struct control *control = table->control;
	bool good = true;
	int status;

	control->subject = END;
	__atomic_add_fetch(&control->turn, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &control->turn, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	while (wait(&status) > 0)
		good &= status == 0;
	detach(table);
	return good;
}

/* ---- rounds ---- */

/* As many units as a slice has room for, a multiple of what all roles need. */
static uint64_t fit_count(struct table *table, unsigned subject)
{
	const struct bench_case *what = table->what;
	uint64_t unit = (uint64_t)what->batch * (what->producers ? what->producers : 1) *
			(what->consumers ? what->consumers : 1);
	uint64_t first = what->first ? what->first : what->kind == BENCH_TRIP_ASLEEP ? 1 : FIRST_COUNT;
	uint64_t count = (first + unit - 1) / unit * unit;
	uint64_t wanted = (what->slice_us ? what->slice_us : table->options->slice_us) * UINT64_C(1000);

	for (;;) {
		uint64_t took = turn(table, subject, count);

		if (took >= wanted / 2 || count > UINT64_C(1) << 30) {
			count = (uint64_t)((double)count * (double)wanted / (double)(took ? took : 1));
			count = count / unit * unit;
			return count ? count : unit;
		}
		count *= took * 8 < wanted ? 4 : 2;
	}
}

static void rounds(struct table *table)
{
	uint64_t counts[BENCH_SUBJECTS] = { 0 };
	unsigned wanted = table->options->rounds;

	for (unsigned s = 0; s < table->count; s++)
		if (table->here[s]) {
			if (table->what->warm)
				turn(table, s, table->what->warm);
			counts[s] = fit_count(table, s);
		}
	if (table->what->rounds && wanted > table->what->rounds)
		wanted = table->what->rounds;
	for (unsigned round = 0; round < wanted; round++) {
		double took[BENCH_SUBJECTS] = { 0 }, before = calibrate(table), after;

		for (unsigned i = 0; i < table->count; i++) {
			unsigned s = (i + round) % table->count;   /* nobody is always the first */

			if (table->here[s])
				took[s] = (double)turn(table, s, counts[s]) / (double)counts[s];
		}
		after = calibrate(table);
		for (unsigned s = 0; s < table->count; s++)
			if (table->here[s])
				printf("%s,%s,%u,%.3f,%.1f,%.1f\n", table->what->id, table->subjects[s]->name, round,
				       took[s], before, after);
	}
}

static void prepare(struct table *table)
{
	unsigned links = link_count(table->what);

	for (unsigned s = 0; s < table->count; s++) {
		const struct bench_subject *subject = table->subjects[s];

		table->here[s] = subject->loop(table->what, role_of(table->what, 0)) != NULL;
		if (!table->here[s])
			fprintf(stderr, "bench: %s: %s has no such work\n", table->what->id, subject->name);
		for (unsigned i = 0; i < links && table->here[s]; i++) {
			struct bench_link *link = &table->links[s][i];

			*link = (struct bench_link){ .what = table->what, .index = i };
			snprintf(link->name, sizeof(link->name), "bench-%d-%u-%u", (int)getpid(), s, i);
			link->memory = mmap(NULL, BENCH_MEMORY, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
			if (link->memory == MAP_FAILED || (subject->prepare && !subject->prepare(link))) {
				fprintf(stderr, "bench: %s: %s could not be prepared\n", table->what->id,
					subject->name);
				table->here[s] = false;
			}
		}
	}
}

static void finish(struct table *table)
{
	for (unsigned s = 0; s < table->count; s++)
		for (unsigned i = 0; i < 2; i++) {
			struct bench_link *link = &table->links[s][i];

			if (!link->memory || link->memory == MAP_FAILED)
				continue;
			if (table->here[s] && table->subjects[s]->finish)
				table->subjects[s]->finish(link);
			munmap(link->memory, BENCH_MEMORY);
		}
}

static struct table the_table;           /* too large for a stack */

bool bench_run(const struct bench_case *what, const struct bench_subject *const *subjects, unsigned count,
	       const struct bench_options *options)
{
	struct table *table = &the_table;
	unsigned workers = what->kind == BENCH_FLOW ? what->producers + what->consumers
			   : link_count(what);   /* there and back: two of both */
	bool good;

	memset(table, 0, sizeof(*table));
	table->what = what;
	table->subjects = subjects;
	table->count = count < BENCH_SUBJECTS ? count : BENCH_SUBJECTS;
	table->workers = workers < BENCH_WORKERS ? workers : BENCH_WORKERS;
	table->options = options;
	table->control = mmap(NULL, sizeof(*table->control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			     0);
	if (table->control == MAP_FAILED) {
		perror("bench: mmap");
		return false;
	}
	prepare(table);
	good = hire(table);
	if (good)
		rounds(table);
	else
		fprintf(stderr, "bench: %s was not run\n", what->id);
	good &= dismiss(table);
	finish(table);
	munmap(table->control, sizeof(*table->control));
	return good;
}

bool bench_count(const struct bench_case *what, const struct bench_subject *subject, uint64_t count)
{
	const struct bench_options options = { .rounds = 1 };
	struct bench_link *link;
	bool good;

	if (what->kind != BENCH_PAIR && what->kind != BENCH_CALLS) {
		fprintf(stderr, "bench: %s is not the work of one process\n", what->id);
		return false;
	}
	memset(&the_table, 0, sizeof(the_table));
	the_table.what = what;
	the_table.subjects = &subject;
	the_table.count = the_table.workers = 1;
	the_table.options = &options;
	prepare(&the_table);
	good = the_table.here[0] && attach(&the_table, 0);
	link = the_table.links[0];
	if (good) {
		subject->loop(what, BENCH_BOTH)(link, count);
		detach(&the_table);
	}
	finish(&the_table);
	return good;
}
