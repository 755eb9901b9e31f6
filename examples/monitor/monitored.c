/*
 * monitored - a process that works, and lets a monitor see how it fares.
 *
 * Several of these send each other jobs through one queue. Every few milliseconds each gives a sign
 * of life; after every job it updates its own line in the array of statistics.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <shmkit.h>

#include "monitor.h"

#define SEGMENT_SIZE   (256 * 1024)
#define QUEUE_CAPACITY 64
#define JOBS_PER_TICK  4

/* A number, and how many Collatz steps lead from it to 1, as its sender says. */
struct job {
	uint64_t sent_ns;
	uint64_t number;
	uint64_t steps;
};
#define JOB_SCHEMA "sent_ns:u64 number:u64 steps:u64"

struct options {
	const char *segment;
	uint32_t id;
	uint32_t bad_every;	/* 0: never */
	int64_t run_ns;
	int64_t tick_ns;
};

struct process {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_queue *jobs;
	struct shmkit_array *stats_array;
	struct shmkit_atomic_u64 *messages_total;
	struct shmkit_atomic_u64 *errors_total;
	struct process_stats *stats;	/* our own line */
	uint64_t jobs_sent;
};

static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
	(void)number;
	is_stopped = 1;		/* a wait in the library ends with -EINTR */
}

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: monitored --id=N [OPTION]...\n"
	      "Exchange jobs with others of its kind, under the eyes of: monitor\n"
	      "\n"
	      "  -i, --id=N           number of this process, 0 to 31\n"
	      "  -s, --segment=NAME   shared memory (default " MONITOR_SEGMENT ")\n"
	      "  -d, --seconds=SEC    work so long (default 5); SIGTERM ends it sooner\n"
	      "  -k, --tick-ms=MS     send jobs and give a sign of life every MS (default 10)\n"
	      "  -b, --bad-every=N    make every Nth job it sends a wrong one (default: none)\n"
	      "  -h, --help           show this help\n"
	      "\n"
	      "Exit status: 0 ended in order, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static uint32_t parse_number(const char *option, const char *text, uint32_t min, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, min, max, &problem);

	if (problem != NULL)
		errx(2, "--%s %s: %s (%" PRIu32 " to %" PRIu32 ")", option, text, problem, min, max);
	return (uint32_t)value;
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "id",        required_argument, NULL, 'i' },
		{ "segment",   required_argument, NULL, 's' },
		{ "seconds",   required_argument, NULL, 'd' },
		{ "tick-ms",   required_argument, NULL, 'k' },
		{ "bad-every", required_argument, NULL, 'b' },
		{ "help",      no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool have_id = false;
	int c;

	while ((c = getopt_long(argc, argv, "i:s:d:k:b:h", known, NULL)) != -1) {
		switch (c) {
		case 'i':
			options->id = parse_number("id", optarg, 0, MONITOR_MAX_ID);
			have_id = true;
			break;
		case 's':
			options->segment = optarg;
			break;
		case 'd':
			options->run_ns = parse_number("seconds", optarg, 1, 86400) * NSEC_PER_SEC;
			break;
		case 'k':
			options->tick_ns = parse_number("tick-ms", optarg, 1, 10000) * NSEC_PER_MSEC;
			break;
		case 'b':
			options->bad_every = parse_number("bad-every", optarg, 1, UINT32_MAX);
			break;
		case 'h':
			usage(stdout, EXIT_SUCCESS);
		default:
			usage(stderr, 2);
		}
	}
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
	if (!have_id)
		errx(2, "--id is missing; see --help");
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static void open_structures(struct process *process)
{
	const struct shmkit_object_options job_options = {
		.struct_size = sizeof(job_options),
		.schema = JOB_SCHEMA,
	};
	const struct shmkit_object_options stats_options = {
		.struct_size = sizeof(stats_options),
		.schema = PROCESS_STATS_SCHEMA,
	};
	struct shmkit_segment *segment = process->segment;

	if (shmkit_queue_open_or_create(segment, "jobs", sizeof(struct job), QUEUE_CAPACITY,
					&job_options, &process->jobs) < 0 ||
	    shmkit_array_open_or_create(segment, MONITOR_STATS, sizeof(struct process_stats),
					MONITOR_MAX_ID + 1, &stats_options,
					&process->stats_array) < 0 ||
	    shmkit_atomic_u64_open_or_create(segment, MONITOR_MESSAGES, 0,
					     &process->messages_total) < 0 ||
	    shmkit_atomic_u64_open_or_create(segment, MONITOR_ERRORS, 0,
					     &process->errors_total) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

/* Each line of the statistics has one writer: a second live process with our label is too many. */
static void claim_id(struct process *process)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	char label[sizeof(member.label)];
	uint32_t cursor = 0;

	snprintf(label, sizeof(label), "monitored-%" PRIu32, process->options->id);
	if (shmkit_segment_set_label(process->segment, label) < 0 ||
	    shmkit_segment_heartbeat(process->segment) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	while (shmkit_segment_next_member(process->segment, &cursor, &member) == 1) {
		if (member.alive != 0 && strcmp(member.label, label) == 0 &&
		    (int)member.id != shmkit_segment_member_id(process->segment))
			errx(EXIT_FAILURE, "id %" PRIu32 " is taken by process %d",
			     process->options->id, member.pid);
	}
}

static void join(struct process *process)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,	/* its figures are of no use any more */
	};

	if (shmkit_segment_open_or_create(process->options->segment, SEGMENT_SIZE, &options,
					  &process->segment) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	claim_id(process);
	open_structures(process);

	process->stats = shmkit_array_at(process->stats_array, process->options->id);
	__atomic_store_n(&process->stats->run, process->stats->run + 1, __ATOMIC_RELAXED);
	/* Release: who finds us by our pid sees the number of our run. */
	__atomic_store_n(&process->stats->pid, getpid(), __ATOMIC_RELEASE);
}

static uint64_t collatz_steps(uint64_t number)
{
	uint64_t steps = 0;

	for (; number > 1; steps++)
		number = number % 2 == 0 ? number / 2 : 3 * number + 1;
	return steps;
}

static void send_jobs(struct process *process)
{
	uint32_t bad_every = process->options->bad_every;
	struct process_stats *stats = process->stats;

	for (int i = 0; i < JOBS_PER_TICK; i++) {
		struct job job = {
			.sent_ns = (uint64_t)now_ns(),
			.number = 1000000 + process->jobs_sent,
		};
		int r;

		job.steps = collatz_steps(job.number);
		if (bad_every != 0 && process->jobs_sent % bad_every == bad_every - 1)
			job.steps++;
		r = shmkit_queue_enqueue(process->jobs, &job);
		if (r == 0)
			process->jobs_sent++;
		else if (r == -EAGAIN)
			__atomic_store_n(&stats->queue_full, stats->queue_full + 1, __ATOMIC_RELAXED);
		else
			errx(EXIT_FAILURE, "%s", shmkit_last_error());
	}
}

/*
 * Our own line first, the total after it: should we be killed in between, the lines say one more
 * than the total, never less, and the monitor allows for that.
 */
static void do_job(struct process *process, const struct job *job)
{
	struct process_stats *stats = process->stats;
	uint64_t messages = stats->messages_processed + 1;
	double latency_us = (double)((uint64_t)now_ns() - job->sent_ns) / 1000.0;
	double average_us = stats->avg_latency_us;

	if (collatz_steps(job->number) != job->steps) {
		__atomic_store_n(&stats->errors, stats->errors + 1, __ATOMIC_RELAXED);
		shmkit_atomic_u64_fetch_add(process->errors_total, 1);
		return;
	}
	average_us += (latency_us - average_us) / (double)messages;
	__atomic_store(&stats->avg_latency_us, &average_us, __ATOMIC_RELAXED);
	__atomic_store_n(&stats->messages_processed, messages, __ATOMIC_RELAXED);
	shmkit_atomic_u64_fetch_add(process->messages_total, 1);
}

static void work(struct process *process)
{
	int64_t end_ns = now_ns() + process->options->run_ns;
	int64_t tick_ns = now_ns();
	struct job job;
	int64_t now;
	int r;

	while ((now = now_ns()) < end_ns && !is_stopped) {
		if (now >= tick_ns) {
			if (shmkit_segment_heartbeat(process->segment) < 0)
				errx(EXIT_FAILURE, "%s", shmkit_last_error());
			send_jobs(process);
			tick_ns = now + process->options->tick_ns;
			continue;
		}
		r = shmkit_queue_dequeue_wait(process->jobs, &job, tick_ns - now);
		if (r == 0)
			do_job(process, &job);
		else if (r != -ETIMEDOUT && r != -EINTR)
			errx(EXIT_FAILURE, "%s", shmkit_last_error());
	}
}

static void leave(struct process *process)
{
	struct process_stats *stats = process->stats;

	printf("process %" PRIu32 ": %" PRIu64 " messages, %" PRIu64 " errors, run %" PRIu32 "\n",
	       process->options->id, stats->messages_processed, stats->errors, stats->run);
	__atomic_store_n(&stats->finished_run, stats->run, __ATOMIC_RELEASE);
	shmkit_atomic_u64_close(process->errors_total);
	shmkit_atomic_u64_close(process->messages_total);
	shmkit_array_close(process->stats_array);
	shmkit_queue_close(process->jobs);
	shmkit_segment_close(process->segment);
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = MONITOR_SEGMENT,
		.run_ns = 5 * NSEC_PER_SEC,
		.tick_ns = 10 * NSEC_PER_MSEC,
	};
	struct process process = { .options = &options };
	const struct sigaction action = { .sa_handler = on_signal };

	parse_options(argc, argv, &options);
	if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
		err(EXIT_FAILURE, "sigaction");
	join(&process);
	work(&process);
	leave(&process);
	return EXIT_SUCCESS;
}
