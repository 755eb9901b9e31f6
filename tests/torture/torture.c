/*
 * Torture: real processes use one segment in every way there is and are killed at random, thousands
 * of times; a ledger says of every message, object, name and byte what has to come of it.
 *
 * Goal: nothing committed is lost or delivered twice, nothing refused or unfinished is delivered, no
 * torn element, no object that lives twice, nothing leaked, and whoever was blocked by the dead goes
 * on in time. Method: torture.h; who is killed and when: kill.c; what must hold: ledger.c, audit.c.
 *
 * Usage: torture [--seconds N] [--kills N] [--seed S] [--workers N] [--limit-ms N] [--summary FILE]
 *
 * Ends after so many seconds of torture or kills, whichever comes first. --limit-ms: a longer
 * recovery is a failure; 500 by default, twice what is promised, since a busy machine adds to it.
 * The seed decides what each worker does and who dies, not how the kernel interleaves them.
 */
#include "torture.h"

#include "support.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ROUND_NS UINT64_C(4000000000)
#define DEFAULT_WORKERS 26u
#define SEGMENT_SIZE (UINT64_C(8) << 20)
#define AUDIT_SECONDS 60u

struct settings {
	uint64_t seconds, kills, seed, limit_ms;
	uint32_t workers;
	const char *summary;
};

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(text, &end, 0);
	if (errno || *end || !*text) {
		fprintf(stderr, "torture: '%s' is no number\n", text);
		exit(2);
	}
	return value;
}

static struct settings read_options(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seconds", required_argument, NULL, 's' }, { "kills", required_argument, NULL, 'k' },
		{ "seed", required_argument, NULL, 'r' }, { "workers", required_argument, NULL, 'w' },
		{ "limit-ms", required_argument, NULL, 'l' }, { "summary", required_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	struct settings settings = { .workers = DEFAULT_WORKERS, .limit_ms = 500 };
	const char *seed = getenv("SHMKIT_TEST_SEED");
	int option;

	if (seed && *seed)
		settings.seed = number(seed);
	else if (getrandom(&settings.seed, sizeof(settings.seed), 0) < 0)
		settings.seed = test_now_ns();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 's': settings.seconds = number(optarg); break;
		case 'k': settings.kills = number(optarg); break;
		case 'r': settings.seed = number(optarg); break;
		case 'w': settings.workers = (uint32_t)number(optarg); break;
		case 'l': settings.limit_ms = number(optarg); break;
		case 'o': settings.summary = optarg; break;
		default: exit(2);
		}
	if (optind < argc || settings.workers < DEFAULT_WORKERS || settings.workers > MAX_WORKERS) {
		fprintf(stderr, "torture: %u to %u workers, and no other arguments\n", DEFAULT_WORKERS,
			MAX_WORKERS);
		exit(2);
	}
	if (!settings.seconds && !settings.kills)
		settings.seconds = 10;
	return settings;
}

/* ---- when it does not end as it should ---- */

static char path[96];

static void give_up(int signal)
{
	static const char late[] = "torture: FAILED: a call of the audit does not come back\n";

	if (signal == SIGALRM)
		(void)!write(STDOUT_FILENO, late, sizeof(late) - 1);
	unlink(path);
	_exit(signal == SIGALRM ? 1 : 128 + signal);
}

static void set_handlers(void)
{
	signal(SIGALRM, give_up);
	signal(SIGTERM, give_up);
	signal(SIGINT, give_up);
}

/* ---- rounds ---- */

static void run_round(struct self *self, const struct settings *settings, const struct baseline *baseline,
		      uint64_t end_ns)
{
	uint64_t until = test_now_ns() + ROUND_NS;
	bool gently = board->round % 2 == 0;

	start_workers(settings->workers);
	torture(self, settings->workers, until < end_ns ? until : end_ns,
		settings->kills ? settings->kills : UINT64_MAX);
	alarm(AUDIT_SECONDS);
	if (gently && !board->failed) {
		board->stop = 1;
		shut_down_flows(self);
		end_gently(settings->workers);
	}
	end_by_force(settings->workers);
	if (!board->failed)
		audit(self, baseline, gently);
	alarm(0);
}

static void run(const struct settings *settings)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .max_members = settings->workers + 2 };
	uint64_t end_ns = settings->seconds ? test_now_ns() + settings->seconds * UINT64_C(1000000000)
					    : UINT64_MAX;
	struct self self = as_worker(CONTROLLER);
	int fds = test_fd_count();
	struct baseline baseline;

	if (shmkit_segment_create(segment_name, SEGMENT_SIZE, &options, &self.segment)) {
		blame(&self, 0, "create");
		return;
	}
	make_structures(&self);
	take_baseline(&self, &baseline);
	while (!board->failed) {
		run_round(&self, settings, &baseline, end_ns);
		if (board->failed || test_now_ns() >= end_ns ||
		    (settings->kills && tally.kills >= settings->kills))
			break;
		next_round(&self);
	}
	if (board->failed)
		return;                     /* what is left may hang whoever touches it */
	close_structures();
	shmkit_segment_close(self.segment);
	if (test_shm_leftovers(segment_name) != 0)
		blame(&self, 0, "the last has left, and the name is still there");
	if (test_fd_count() != fds)
		blame(&self, 0, "%d descriptors are open, %d were at the start", test_fd_count(), fds);
	if (tally.worst_recovery_ms > (double)settings->limit_ms)
		blame(&self, 0, "after a kill worker %u (%s) went on only after %.1f ms", tally.worst_worker,
		      role_name(tally.worst_worker), tally.worst_recovery_ms);
}

static void summarize(FILE *to, const struct settings *settings, double seconds)
{
	fprintf(to, "seed=0x%llx\nworkers=%u\nrounds=%u\nseconds=%.1f\n", (unsigned long long)settings->seed,
		settings->workers, board->round + 1, seconds);
	fprintf(to, "kills=%llu\nbursts=%llu\nrecoveries=%u\n", (unsigned long long)tally.kills,
		(unsigned long long)tally.bursts, counted.recoveries);
	fprintf(to, "messages=%llu\ndelivered=%llu\nredelivered=%llu\ndiscarded=%llu\n",
		(unsigned long long)counted.messages, (unsigned long long)counted.delivered,
		(unsigned long long)counted.redelivered, (unsigned long long)counted.discarded);
	fprintf(to, "undecided_calls=%llu\ntaken_to_the_grave=%llu\nout_of_order=%llu\n",
		(unsigned long long)tally.undecided, (unsigned long long)counted.lost_in_graves,
		(unsigned long long)counted.inverted);
	fprintf(to, "observed=%llu\nobjects=%llu\nnames=%llu\nopens=%llu\nfull_of_members=%llu\nwaits=%llu\n",
		(unsigned long long)board->reads, (unsigned long long)board->objects,
		(unsigned long long)board->names, (unsigned long long)board->opens,
		(unsigned long long)board->full_of_members, (unsigned long long)board->waits);
	fprintf(to, "recoveries_measured=%llu\nworst_recovery_ms=%.1f\nmean_recovery_ms=%.2f\n",
		(unsigned long long)tally.measured, tally.worst_recovery_ms,
		tally.measured ? tally.sum_recovery_ms / (double)tally.measured : 0.0);
	fprintf(to, "worst_recovery_of=%s\nworst_stall_ms=%.1f\nfailures=%u\n", role_name(tally.worst_worker),
		tally.worst_stall_ms, board->failed != 0);
}

int main(int argc, char **argv)
{
	struct settings settings = read_options(argc, argv);
	uint64_t began = test_now_ns();
	double seconds;

	printf("torture: seed 0x%llx\n", (unsigned long long)settings.seed);
	fflush(stdout);
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("torture"));
	snprintf(path, sizeof(path), "/dev/shm/%s", segment_name);
	set_handlers();
	make_board(settings.seed);
	run(&settings);
	seconds = (double)(test_now_ns() - began) / 1e9;
	if (board->failed) {
		print_failure();
		unlink(path);
	}
	summarize(stdout, &settings, seconds);
	if (settings.summary) {
		FILE *file = fopen(settings.summary, "w");

		if (!file) {
			perror(settings.summary);
			return 2;
		}
		summarize(file, &settings, seconds);
		fclose(file);
	}
	return board->failed ? 1 : 0;
}
