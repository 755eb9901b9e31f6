/*
 * worker - takes tasks from a master on this machine, does them, and sends the results.
 *
 * A task is leased, not taken: it is gone from the queue only when the worker acks it, after its
 * result went out. A worker may therefore be killed at any time; the task comes back.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shmkit.h>

#include "workers.h"

#define LOOK_NS (500 * NSEC_PER_MSEC)	/* how often a waiting worker looks for its master */

enum crash_point { CRASH_TAKEN, CRASH_COMPUTED, CRASH_SENT };

struct options {
	const char *segment;
	int64_t timeout_ns;
	int64_t worker_id;		/* -1: the member id in the segment */
	uint32_t crash_after;		/* 0: never */
	enum crash_point crash_point;
};

struct worker {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_queue *tasks;
	struct shmkit_queue *results;
	uint32_t id;
	uint64_t tasks_taken;
	uint64_t tasks_again;		/* taken, after another worker had died over them */
};

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: worker [OPTION]...\n"
	      "Do the tasks that a master deals, until it says that there are no more.\n"
	      "\n"
	      "  -s, --segment=NAME       shared memory of the master (default " WORKERS_SEGMENT ")\n"
	      "  -i, --id=N               number of this worker (default: its place in the segment)\n"
	      "  -t, --timeout=SEC        wait so long for a master (default 30)\n"
	      "      --crash-after=N      to try it out: be killed in the middle of the Nth task ...\n"
	      "      --crash-point=POINT  ... when it is 'taken', 'computed' or its result 'sent'\n"
	      "                           (default computed)\n"
	      "  -h, --help               show this help\n"
	      "\n"
	      "Exit status: 0 all tasks are done, 1 failure, 2 wrong usage.\n", stream);
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

static enum crash_point parse_crash_point(const char *text)
{
	if (strcmp(text, "taken") == 0)
		return CRASH_TAKEN;
	if (strcmp(text, "computed") == 0)
		return CRASH_COMPUTED;
	if (strcmp(text, "sent") == 0)
		return CRASH_SENT;
	errx(2, "--crash-point %s: not one of taken, computed, sent", text);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",     required_argument, NULL, 's' },
		{ "id",          required_argument, NULL, 'i' },
		{ "timeout",     required_argument, NULL, 't' },
		{ "crash-after", required_argument, NULL, 'c' },
		{ "crash-point", required_argument, NULL, 'p' },
		{ "help",        no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:i:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'i':
			options->worker_id = parse_number("id", optarg, 0, 9999);
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 1, 3600) * NSEC_PER_SEC;
			break;
		case 'c':
			options->crash_after = parse_number("crash-after", optarg, 1, UINT32_MAX);
			break;
		case 'p':
			options->crash_point = parse_crash_point(optarg);
			break;
		case 'h':
			usage(stdout, EXIT_SUCCESS);
		default:
			usage(stderr, 2);
		}
	}
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
}

/*
 * Look read-only first: a reader is no member, so looking at what a killed run has left behind does
 * not keep it alive, and the next master can replace it.
 */
static bool is_master_there(const char *name, int64_t timeout_ns)
{
	struct shmkit_segment *segment;
	bool is_there;

	if (shmkit_segment_open_wait(name, SHMKIT_READ_ONLY, timeout_ns, &segment) < 0)
		errx(EXIT_FAILURE, "no master came: %s", shmkit_last_error());
	is_there = shmkit_segment_wait_for(segment, WORKERS_READY, LOOK_NS) == 0 &&
		   workers_have_master(segment);
	shmkit_segment_close(segment);
	return is_there;
}

static bool join_master(struct worker *worker, int64_t timeout_ns)
{
	const char *name = worker->options->segment;

	if (!is_master_there(name, timeout_ns))
		return false;
	if (shmkit_segment_open(name, 0, &worker->segment) < 0)
		return false;
	if (workers_have_master(worker->segment))
		return true;
	shmkit_segment_close(worker->segment);	/* the master died in between */
	return false;
}

/* What the dead have left tells nobody when it is replaced: look again every 20 ms. */
static void find_master(struct worker *worker)
{
	const struct timespec pause = { .tv_nsec = 20 * NSEC_PER_MSEC };
	int64_t deadline_ns = now_ns() + worker->options->timeout_ns;
	int64_t left_ns;

	while ((left_ns = deadline_ns - now_ns()) > 0) {
		if (join_master(worker, left_ns))
			return;
		nanosleep(&pause, NULL);
	}
	errx(EXIT_FAILURE, "segment '%s' is left over from a master that is dead",
	     worker->options->segment);
}

static void open_structures(struct worker *worker)
{
	const struct options *options = worker->options;
	struct shmkit_atomic_u32 *ready;

	if (shmkit_queue_open(worker->segment, WORKERS_TASK_QUEUE, sizeof(struct task),
			      &worker->tasks) < 0 ||
	    shmkit_queue_open(worker->segment, WORKERS_RESULT_QUEUE, sizeof(struct result),
			      &worker->results) < 0 ||
	    shmkit_atomic_u32_open(worker->segment, WORKERS_READY, &ready) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());

	worker->id = options->worker_id >= 0 ? (uint32_t)options->worker_id :
		     (uint32_t)shmkit_segment_member_id(worker->segment);
	shmkit_atomic_u32_fetch_add(ready, 1);
	shmkit_atomic_u32_close(ready);
}

static void maybe_crash(const struct worker *worker, enum crash_point point)
{
	const struct options *options = worker->options;

	if (worker->tasks_taken == options->crash_after && point == options->crash_point)
		raise(SIGKILL);
}

static void check_master(const struct worker *worker)
{
	if (!workers_have_master(worker->segment))
		errx(EXIT_FAILURE, "worker %" PRIu32 ": the master has died", worker->id);
}

static void send_result(struct worker *worker, const struct result *result)
{
	int r;

	while ((r = shmkit_queue_enqueue_wait(worker->results, result, LOOK_NS)) == -ETIMEDOUT)
		check_master(worker);

	/* Shut down: the master has every result, this one too, from one who died over the task. */
	if (r < 0 && r != -ESHUTDOWN)
		errx(EXIT_FAILURE, "sending a result: %s", shmkit_last_error());
}

/* The order matters: a result sent twice is noticed, a result never sent is not. */
static void do_task(struct worker *worker, const struct shmkit_slot *slot)
{
	struct result result;

	worker->tasks_taken++;
	if (slot->deliveries > 1)
		worker->tasks_again++;
	maybe_crash(worker, CRASH_TAKEN);

	task_execute(slot->data, &result);
	result.worker_id = worker->id;
	maybe_crash(worker, CRASH_COMPUTED);

	send_result(worker, &result);
	maybe_crash(worker, CRASH_SENT);

	if (shmkit_queue_ack(worker->tasks, slot) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

static void do_all_tasks(struct worker *worker)
{
	struct shmkit_slot slot;
	int r;

	while ((r = shmkit_queue_lease_wait(worker->tasks, &slot, LOOK_NS)) != -ESHUTDOWN) {
		if (r == 0)
			do_task(worker, &slot);
		else if (r == -ETIMEDOUT)
			check_master(worker);
		else
			errx(EXIT_FAILURE, "%s", shmkit_last_error());
	}
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = WORKERS_SEGMENT,
		.timeout_ns = 30 * NSEC_PER_SEC,
		.worker_id = -1,
		.crash_point = CRASH_COMPUTED,
	};
	struct worker worker = { .options = &options };

	parse_options(argc, argv, &options);
	find_master(&worker);
	open_structures(&worker);

	do_all_tasks(&worker);
	printf("worker %" PRIu32 ": %" PRIu64 " tasks, %" PRIu64 " of them after another's death\n",
	       worker.id, worker.tasks_taken, worker.tasks_again);

	shmkit_queue_close(worker.results);
	shmkit_queue_close(worker.tasks);
	shmkit_segment_close(worker.segment);
	return EXIT_SUCCESS;
}
