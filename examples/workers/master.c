/*
 * master - deals tasks to the workers of this machine and checks every result.
 *
 * The master starts nobody. It creates the segment, waits until enough workers have come, deals
 * the tasks through one queue and collects the results from another. Workers lease tasks: the
 * task of a worker that is killed comes back by itself and another worker does it. A worker that
 * is killed after its result went out leaves a task behind whose result is here already: the
 * second result is recognised by its task id.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shmkit.h>

#include "workers.h"

#define SEGMENT_SIZE   (1024 * 1024)	/* 64 tasks and 64 results are 84 KiB; the rest is free */
#define QUEUE_CAPACITY 64
#define ROOM_NS        (2 * NSEC_PER_MSEC)	/* how long to wait for room before results are collected again */

struct options {
	const char *segment;
	uint32_t workers;
	uint32_t tasks;
	int64_t timeout_ns;
};

struct master {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_queue *tasks;
	struct shmkit_queue *results;
	struct shmkit_atomic_u32 *workers_ready;
	bool *collected;	/* by task id */
	uint64_t results_collected;
	uint64_t duplicates;
	uint64_t wrong;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: master [OPTION]...\n"
	      "Deal tasks to worker processes and check every result.\n"
	      "\n"
	      "  -s, --segment=NAME  shared memory to create (default " WORKERS_SEGMENT ")\n"
	      "  -w, --workers=N     begin when N workers are there (default 4)\n"
	      "  -n, --tasks=N       tasks to deal (default 1000)\n"
	      "  -t, --timeout=SEC   give up when nothing happens for so long (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "Start the workers with: worker [--segment=NAME]\n"
	      "Exit status: 0 every result was right, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static uint32_t parse_number(const char *option, const char *text, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, 1, max, &problem);

	if (problem != NULL)
		errx(2, "--%s %s: %s (1 to %" PRIu32 ")", option, text, problem, max);
	return (uint32_t)value;
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment", required_argument, NULL, 's' },
		{ "workers", required_argument, NULL, 'w' },
		{ "tasks",   required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help",    no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:w:n:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'w':
			options->workers = parse_number("workers", optarg, 32);
			break;
		case 'n':
			options->tasks = parse_number("tasks", optarg, 10000000);
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 3600) * NSEC_PER_SEC;
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

/* Is this a live master's segment? What has live members otherwise are workers on their way out. */
static bool is_master_there(const char *name)
{
	struct shmkit_segment *segment;
	bool is_there;

	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment) < 0)
		return false;
	is_there = workers_have_master(segment);
	shmkit_segment_close(segment);
	return is_there;
}

/*
 * What a killed run has left behind is replaced as soon as nobody uses it any more: workers whose
 * master has died notice within a second and leave.
 */
static void create_segment(struct master *master)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,
	};
	const struct timespec pause = { .tv_nsec = 20 * NSEC_PER_MSEC };
	const char *name = master->options->segment;
	int r;

	for (int looks = 0; looks < 100; looks++) {
		r = shmkit_segment_create(name, SEGMENT_SIZE, &options, &master->segment);
		if (r != -EEXIST || is_master_there(name))
			break;
		nanosleep(&pause, NULL);
	}
	if (r < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	if (shmkit_segment_set_label(master->segment, WORKERS_MASTER_LABEL) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

/* Workers wait for WORKERS_READY, so it comes last: they never see half of the system. */
static void create_structures(struct master *master)
{
	const struct shmkit_object_options task_options = {
		.struct_size = sizeof(task_options),
		.schema = TASK_SCHEMA,
	};
	const struct shmkit_object_options result_options = {
		.struct_size = sizeof(result_options),
		.schema = RESULT_SCHEMA,
	};

	if (shmkit_queue_create(master->segment, WORKERS_TASK_QUEUE, sizeof(struct task),
				QUEUE_CAPACITY, &task_options, &master->tasks) < 0 ||
	    shmkit_queue_create(master->segment, WORKERS_RESULT_QUEUE, sizeof(struct result),
				QUEUE_CAPACITY, &result_options, &master->results) < 0 ||
	    shmkit_atomic_u32_create(master->segment, WORKERS_READY, 0,
				     &master->workers_ready) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

static void wait_for_workers(struct master *master)
{
	uint32_t wanted = master->options->workers;
	uint32_t ready;

	printf("segment '%s': waiting for %" PRIu32 " workers\n", master->options->segment, wanted);
	while ((ready = shmkit_atomic_u32_load(master->workers_ready)) < wanted) {
		if (shmkit_atomic_u32_wait(master->workers_ready, ready,
					   master->options->timeout_ns) < 0)
			errx(EXIT_FAILURE, "%" PRIu32 " of %" PRIu32 " workers came: %s",
			     ready, wanted, shmkit_last_error());
	}
	printf("%" PRIu32 " workers are ready\n", ready);
}

/* Do the task once more, here, and compare. */
static bool result_is_right(const struct result *result)
{
	struct task task;
	struct result expected;

	task_prepare(&task, result->task_id);
	task_execute(&task, &expected);
	return result->success != 0 &&
	       memcmp(result->output, expected.output, sizeof(expected.output)) == 0;
}

static void accept_result(struct master *master, const struct result *result)
{
	if (result->task_id >= master->options->tasks) {
		warnx("worker %" PRIu32 " answered task %" PRIu64 ", which was never dealt",
		      result->worker_id, result->task_id);
		master->wrong++;
		return;
	}
	if (!result_is_right(result)) {
		warnx("worker %" PRIu32 ": the result of task %" PRIu64 " is wrong",
		      result->worker_id, result->task_id);
		master->wrong++;
	}
	if (master->collected[result->task_id]) {
		master->duplicates++;	/* its first worker died after this result, before the ack */
		return;
	}
	master->collected[result->task_id] = true;
	master->results_collected++;
}

static void collect_result(struct master *master)
{
	struct result result;

	if (shmkit_queue_dequeue_wait(master->results, &result, master->options->timeout_ns) < 0)
		errx(EXIT_FAILURE, "%" PRIu64 " of %" PRIu32 " results came, no more: %s",
		     master->results_collected, master->options->tasks, shmkit_last_error());
	accept_result(master, &result);
}

static bool collect_what_is_there(struct master *master)
{
	struct result result;
	bool any = false;

	for (; shmkit_queue_dequeue(master->results, &result) == 0; any = true)
		accept_result(master, &result);
	return any;
}

/*
 * While the task queue is full there are results to collect: were they left alone, the result
 * queue would fill up as well, and everybody wait. But results alone must not be waited for
 * either: the last one out may have come, and its worker not have acked the task yet. So the wait
 * is for room, a little at a time.
 */
static int deal_task(struct master *master, const struct task *task)
{
	int64_t patience_ns = master->options->timeout_ns;
	int r;

	while ((r = shmkit_queue_enqueue_wait(master->tasks, task, ROOM_NS)) == -ETIMEDOUT) {
		if (collect_what_is_there(master))
			patience_ns = master->options->timeout_ns;
		else if ((patience_ns -= ROOM_NS) < 0)
			break;
	}
	return r;
}

static void deal_tasks(struct master *master)
{
	struct task task;
	int r;

	for (uint64_t id = 0; id < master->options->tasks; id++) {
		task_prepare(&task, id);
		r = deal_task(master, &task);
		if (r < 0)
			errx(EXIT_FAILURE, "dealing task %" PRIu64 ", %" PRIu64 " results came: %s", id,
			     master->results_collected, shmkit_last_error());
		(void)collect_what_is_there(master);
	}
}

/*
 * Every result is here. What still comes back from workers that died between result and ack is
 * acked unseen, until nobody holds a task any more.
 */
static void retire_tasks(struct master *master)
{
	struct shmkit_slot slot;
	int r;

	if (shmkit_queue_shutdown(master->results) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	while ((r = shmkit_queue_lease_wait(master->tasks, &slot, master->options->timeout_ns)) == 0)
		r = shmkit_queue_ack(master->tasks, &slot);
	if (r != -ESHUTDOWN)
		errx(EXIT_FAILURE, "a task is not given back: %s", shmkit_last_error());
	(void)collect_what_is_there(master);
}

static int report(struct master *master)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	bool complete = master->results_collected == master->options->tasks;

	if (shmkit_queue_get_stats(master->tasks, &stats) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	printf("%" PRIu64 " tasks dealt, %" PRIu64 " results collected\n",
	       stats.enqueued, master->results_collected);
	printf("%" PRIu64 " tasks came back from dead workers, %" PRIu64 " results came twice\n",
	       stats.redelivered, master->duplicates);
	if (!complete || master->wrong > 0 || master->duplicates > stats.redelivered) {
		warnx("%" PRIu64 " wrong results, %" PRIu64 " of %" PRIu32 " collected",
		      master->wrong, master->results_collected, master->options->tasks);
		return EXIT_FAILURE;
	}
	printf("every result was computed again and is right\n");
	return EXIT_SUCCESS;
}

static void master_close(struct master *master)
{
	shmkit_atomic_u32_close(master->workers_ready);
	shmkit_queue_close(master->results);
	shmkit_queue_close(master->tasks);
	shmkit_segment_close(master->segment);
	free(master->collected);
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = WORKERS_SEGMENT,
		.workers = 4,
		.tasks = 1000,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	struct master master = { .options = &options };
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);	/* progress shows at once in a pipe too */
	parse_options(argc, argv, &options);
	master.collected = calloc(options.tasks, sizeof(*master.collected));
	if (master.collected == NULL)
		err(EXIT_FAILURE, "results");
	create_segment(&master);
	create_structures(&master);
	wait_for_workers(&master);

	deal_tasks(&master);
	if (shmkit_queue_shutdown(master.tasks) < 0)	/* workers leave when all is acked */
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	while (master.results_collected < options.tasks)
		collect_result(&master);
	retire_tasks(&master);

	status = report(&master);
	master_close(&master);
	return status;
}
