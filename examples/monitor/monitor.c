/*
 * monitor - shows which processes are alive, which appear hung, which have died, and what they do.
 *
 * It opens the segment read-only: a monitor that cannot write cannot disturb, is not counted among
 * the members, and does not keep the segment alive.
 *
 * Three things are told apart. Alive or dead is the kernel's word, through the library: a dead
 * process is known as dead, however it died, as soon as it is gone. Hung is a suspicion: alive, but
 * no sign of life for too long. And a process that is no longer listed has either left in order,
 * which it says in its line of the statistics, or has died and been cleaned up after by a peer.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <shmkit.h>

#include "monitor.h"

#define MAX_WATCHED 128

struct options {
	const char *segment;
	int64_t run_ns;
	int64_t interval_ns;
	int64_t timeout_ns;
	uint64_t hung_ns;
};

enum state { STATE_ALIVE, STATE_HUNG, STATE_DEAD };

/* A process, from the first look that finds it to the last. */
struct watched {
	uint32_t member_id;	/* with the time it attached, this names it: ids and pids are reused */
	uint64_t attached_ns;
	uint64_t heartbeat_age_ns;
	int32_t  pid;
	uint32_t id;		/* its line of the statistics */
	uint32_t run;
	enum state state;
	bool     is_listed;	/* at this look */
};

struct monitor {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_array *stats_array;
	const struct process_stats *stats;
	struct shmkit_atomic_u64 *messages_total;
	struct shmkit_atomic_u64 *errors_total;
	struct watched watched[MAX_WATCHED];
	uint32_t watched_count;
	uint32_t hung, recovered, died, left;	/* events so far */
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: monitor [OPTION]...\n"
	      "Watch the processes started with: monitored --id=N\n"
	      "\n"
	      "  -s, --segment=NAME    shared memory to watch (default " MONITOR_SEGMENT ")\n"
	      "  -d, --seconds=SEC     watch so long, at most until all have left (default 10)\n"
	      "  -i, --interval-ms=MS  look every MS (default 500)\n"
	      "  -u, --hung-ms=MS      no sign of life for so long means hung (default 2000)\n"
	      "  -t, --timeout=SEC     wait so long for the first process (default 30)\n"
	      "  -h, --help            show this help\n"
	      "\n"
	      "Exit status: 0 the figures fit together, 1 failure, 2 wrong usage.\n", stream);
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
		{ "segment",     required_argument, NULL, 's' },
		{ "seconds",     required_argument, NULL, 'd' },
		{ "interval-ms", required_argument, NULL, 'i' },
		{ "hung-ms",     required_argument, NULL, 'u' },
		{ "timeout",     required_argument, NULL, 't' },
		{ "help",        no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:d:i:u:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'd':
			options->run_ns = parse_number("seconds", optarg, 86400) * NSEC_PER_SEC;
			break;
		case 'i':
			options->interval_ns =
				parse_number("interval-ms", optarg, 60000) * NSEC_PER_MSEC;
			break;
		case 'u':
			options->hung_ns = parse_number("hung-ms", optarg, 3600000) *
					   (uint64_t)NSEC_PER_MSEC;
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

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static void sleep_ns(int64_t ns)
{
	const struct timespec pause = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };

	nanosleep(&pause, NULL);
}

/* ---- finding the segment ------------------------------------------------------------------- */

static bool has_live_member(struct shmkit_segment *segment)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	while (shmkit_segment_next_member(segment, &cursor, &member) == 1) {
		if (member.alive != 0)
			return true;
	}
	return false;
}

/* A segment without a live member is left over; the next process replaces it, so look again. */
static void find_segment(struct monitor *monitor)
{
	const struct options *options = monitor->options;
	int64_t deadline_ns = now_ns() + options->timeout_ns;
	int64_t left_ns;

	while ((left_ns = deadline_ns - now_ns()) > 0) {
		if (shmkit_segment_open_wait(options->segment, SHMKIT_READ_ONLY, left_ns,
					     &monitor->segment) < 0)
			errx(EXIT_FAILURE, "nobody to watch: %s", shmkit_last_error());
		if (has_live_member(monitor->segment))
			return;
		shmkit_segment_close(monitor->segment);
		sleep_ns(20 * NSEC_PER_MSEC);
	}
	errx(EXIT_FAILURE, "segment '%s' is left over from dead processes", options->segment);
}

static void open_structures(struct monitor *monitor)
{
	struct shmkit_segment *segment = monitor->segment;

	if (shmkit_segment_wait_for(segment, MONITOR_ERRORS, monitor->options->timeout_ns) < 0 ||
	    shmkit_array_open(segment, MONITOR_STATS, sizeof(struct process_stats),
			      &monitor->stats_array) < 0 ||
	    shmkit_atomic_u64_open(segment, MONITOR_MESSAGES, &monitor->messages_total) < 0 ||
	    shmkit_atomic_u64_open(segment, MONITOR_ERRORS, &monitor->errors_total) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	if (shmkit_array_capacity(monitor->stats_array) <= MONITOR_MAX_ID)
		errx(EXIT_FAILURE, "'" MONITOR_STATS "' is shorter than %d", MONITOR_MAX_ID + 1);
	monitor->stats = shmkit_array_view(monitor->stats_array);
}

/* ---- a look -------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3)))
static void event(const struct watched *watched, const char *format, ...)
{
	va_list arguments;

	printf("process %" PRIu32 " (pid %d) ", watched->id, watched->pid);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

static bool find_stats(const struct monitor *monitor, int32_t pid, uint32_t *ret_id)
{
	for (uint32_t id = 0; id <= MONITOR_MAX_ID; id++) {
		if (__atomic_load_n(&monitor->stats[id].pid, __ATOMIC_ACQUIRE) == pid) {
			*ret_id = id;
			return true;
		}
	}
	return false;
}

/* The process behind a member; NULL if it is none of ours, or not ready yet. */
static struct watched *find_watched(struct monitor *monitor,
				    const struct shmkit_member_info *member)
{
	struct watched *watched;
	uint32_t id;

	for (uint32_t i = 0; i < monitor->watched_count; i++) {
		watched = &monitor->watched[i];
		if (watched->member_id == member->id &&
		    watched->attached_ns == member->attached_ns)
			return watched;
	}
	if (monitor->watched_count == MAX_WATCHED || !find_stats(monitor, member->pid, &id))
		return NULL;

	watched = &monitor->watched[monitor->watched_count++];
	*watched = (struct watched) {
		.member_id = member->id,
		.attached_ns = member->attached_ns,
		.pid = member->pid,
		.id = id,
		.run = __atomic_load_n(&monitor->stats[id].run, __ATOMIC_RELAXED),
	};
	event(watched, "joined");
	return watched;
}

static void note_death(struct monitor *monitor, struct watched *watched)
{
	if (watched->state != STATE_DEAD) {
		watched->state = STATE_DEAD;
		monitor->died++;
		event(watched, "died");
	}
}

static void judge_listed(struct monitor *monitor, struct watched *watched,
			 const struct shmkit_member_info *member)
{
	/* One that has not given its first sign of life yet is not hung. */
	bool is_silent = member->heartbeat_age_ns != UINT64_MAX &&
			 member->heartbeat_age_ns > monitor->options->hung_ns;

	watched->heartbeat_age_ns = member->heartbeat_age_ns;
	if (member->alive == 0) {
		note_death(monitor, watched);
	} else if (is_silent && watched->state == STATE_ALIVE) {
		watched->state = STATE_HUNG;
		monitor->hung++;
		event(watched, "appears hung: no sign of life for %" PRIu64 " ms",
		      member->heartbeat_age_ns / NSEC_PER_MSEC);
	} else if (!is_silent && watched->state == STATE_HUNG) {
		watched->state = STATE_ALIVE;
		monitor->recovered++;
		event(watched, "recovered");
	}
}

static void judge_missing(struct monitor *monitor, struct watched *watched)
{
	const struct process_stats *stats = &monitor->stats[watched->id];

	if (__atomic_load_n(&stats->finished_run, __ATOMIC_ACQUIRE) != watched->run) {
		note_death(monitor, watched);
	} else if (watched->state != STATE_DEAD) {
		monitor->left++;
		event(watched, "left");
	}
}

static void look(struct monitor *monitor)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	struct watched *watched;
	uint32_t cursor = 0;
	int r;

	for (uint32_t i = 0; i < monitor->watched_count; i++)
		monitor->watched[i].is_listed = false;

	while ((r = shmkit_segment_next_member(monitor->segment, &cursor, &member)) == 1) {
		watched = find_watched(monitor, &member);
		if (watched != NULL) {
			watched->is_listed = true;
			judge_listed(monitor, watched, &member);
		}
	}
	if (r < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());

	for (uint32_t i = 0; i < monitor->watched_count; i++) {
		watched = &monitor->watched[i];
		if (watched->is_listed)
			continue;
		judge_missing(monitor, watched);
		*watched = monitor->watched[--monitor->watched_count];
		i--;		/* the last one has come here: judge it, too */
	}
}

/* ---- what is shown ------------------------------------------------------------------------- */

static void print_stats(const struct process_stats *stats)
{
	double average_us;

	__atomic_load(&stats->avg_latency_us, &average_us, __ATOMIC_RELAXED);
	printf(" %10" PRIu64 " %8" PRIu64 " %10" PRIu64 " %10.1f\n",
	       __atomic_load_n(&stats->messages_processed, __ATOMIC_RELAXED),
	       __atomic_load_n(&stats->errors, __ATOMIC_RELAXED),
	       __atomic_load_n(&stats->queue_full, __ATOMIC_RELAXED), average_us);
}

static void print_table(const struct monitor *monitor)
{
	static const char *const names[] = {
		[STATE_ALIVE] = "alive", [STATE_HUNG] = "hung", [STATE_DEAD] = "dead",
	};

	printf("  id     pid state  beat ms   messages   errors queue full latency us\n");
	for (uint32_t i = 0; i < monitor->watched_count; i++) {
		const struct watched *watched = &monitor->watched[i];

		printf("%4" PRIu32 " %7d %-5s", watched->id, watched->pid, names[watched->state]);
		if (watched->heartbeat_age_ns == UINT64_MAX)
			printf(" %8s", "-");
		else
			printf(" %8" PRIu64, watched->heartbeat_age_ns / NSEC_PER_MSEC);
		print_stats(&monitor->stats[watched->id]);
	}
}

/* ---- the summary --------------------------------------------------------------------------- */

struct sums {
	uint64_t messages;
	uint64_t errors;
};

static struct sums add_up(const struct monitor *monitor)
{
	struct sums sums = { 0 };

	for (uint32_t id = 0; id <= MONITOR_MAX_ID; id++) {
		const struct process_stats *stats = &monitor->stats[id];

		sums.messages += __atomic_load_n(&stats->messages_processed, __ATOMIC_SEQ_CST);
		sums.errors += __atomic_load_n(&stats->errors, __ATOMIC_SEQ_CST);
	}
	return sums;
}

/*
 * How many processes may have counted something in their own line and not in the total: those that
 * are at it now, and those that were killed.
 */
static uint64_t count_unfinished(struct monitor *monitor)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;
	uint64_t count;

	if (shmkit_segment_get_info(monitor->segment, &info) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	count = info.recoveries;
	while (shmkit_segment_next_member(monitor->segment, &cursor, &member) == 1)
		count++;
	return count;
}

static bool figures_fit(const char *what, uint64_t before, uint64_t total, uint64_t after,
			uint64_t unfinished)
{
	bool fit = total + unfinished >= before && total <= after;

	if (before == after)
		printf("%s: the processes say %" PRIu64, what, after);
	else
		printf("%s: the processes say %" PRIu64 " to %" PRIu64, what, before, after);
	printf(", the total is %" PRIu64 ", up to %" PRIu64 " may be underway: %s\n",
	       total, unfinished, fit ? "fits" : "DOES NOT FIT");
	return fit;
}

static int summarise(struct monitor *monitor)
{
	struct sums before, after, total;
	uint64_t unfinished = count_unfinished(monitor);
	bool fit;

	/* Work may be going on: the total is looked at between two looks at its parts. */
	before = add_up(monitor);
	total.messages = shmkit_atomic_u64_load(monitor->messages_total);
	total.errors = shmkit_atomic_u64_load(monitor->errors_total);
	after = add_up(monitor);

	printf("\nsummary\n");
	for (uint32_t id = 0; id <= MONITOR_MAX_ID; id++) {
		if (monitor->stats[id].run == 0)
			continue;
		printf("%4" PRIu32 " runs %-14" PRIu32, id, monitor->stats[id].run);
		print_stats(&monitor->stats[id]);
	}
	printf("events: %" PRIu32 " hung, %" PRIu32 " recovered, %" PRIu32 " died, %" PRIu32
	       " left\n", monitor->hung, monitor->recovered, monitor->died, monitor->left);
	fit = figures_fit("messages", before.messages, total.messages, after.messages, unfinished);
	fit = figures_fit("errors", before.errors, total.errors, after.errors, unfinished) && fit;
	return fit ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void watch(struct monitor *monitor)
{
	int64_t end_ns = now_ns() + monitor->options->run_ns;

	do {
		look(monitor);
		print_table(monitor);
		sleep_ns(monitor->options->interval_ns);
	} while (now_ns() < end_ns && has_live_member(monitor->segment));
	look(monitor);		/* who has left or died since */
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = MONITOR_SEGMENT,
		.run_ns = 10 * NSEC_PER_SEC,
		.interval_ns = 500 * NSEC_PER_MSEC,
		.timeout_ns = 30 * NSEC_PER_SEC,
		.hung_ns = 2000 * NSEC_PER_MSEC,
	};
	struct monitor monitor = { .options = &options };
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse_options(argc, argv, &options);
	find_segment(&monitor);
	open_structures(&monitor);

	watch(&monitor);
	status = summarise(&monitor);

	shmkit_atomic_u64_close(monitor.errors_total);
	shmkit_atomic_u64_close(monitor.messages_total);
	shmkit_array_close(monitor.stats_array);
	shmkit_segment_close(monitor.segment);
	return status;
}
