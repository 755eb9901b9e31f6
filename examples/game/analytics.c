/*
 * analytics - reports on a running match: frames a second, players, leaderboard.
 *
 * It also plays the network: it takes the messages of the server and checks their order. Several
 * may run: together they must get all of them.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <shmkit.h>

#include "game.h"

#define BATCH 256

struct options {
	const char *segment;
	int64_t interval_ns;
	int64_t timeout_ns;
};

struct analytics {
	struct game game;
	uint64_t messages[MESSAGE_TYPES];
	uint64_t received;
	uint64_t next_sequence;
	uint64_t wrong;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: analytics [OPTION]...\n"
	      "Report on a match.\n"
	      "\n"
	      "  -s, --segment=NAME      the match (default " GAME_SEGMENT ")\n"
	      "  -i, --interval-ms=MSEC  time between two reports (default 1000)\n"
	      "  -t, --timeout=SEC       how long to wait for the server (default 30)\n"
	      "  -h, --help              show this help\n"
	      "\n"
	      "Exit status: 0 everything adds up, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",     required_argument, NULL, 's' },
		{ "interval-ms", required_argument, NULL, 'i' },
		{ "timeout",     required_argument, NULL, 't' },
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
			options->interval_ns = parse_number("interval-ms", optarg, 10, 3600000) *
					       NSEC_PER_MSEC;
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 1, 3600) *
					      NSEC_PER_SEC;
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

static void take_message(struct analytics *analytics, const struct network_message *message)
{
	if (message->type >= MESSAGE_TYPES || message->sequence < analytics->next_sequence) {
		warnx("network message %" PRIu32 " of type %" PRIu32 " is wrong here",
		      message->sequence, message->type);
		analytics->wrong++;
		return;
	}
	analytics->next_sequence = (uint64_t)message->sequence + 1;
	analytics->messages[message->type]++;
	analytics->received++;
}

static void take_messages(struct analytics *analytics)
{
	struct network_message batch[BATCH];
	int64_t count;

	do {
		count = shmkit_queue_dequeue_bulk(analytics->game.network_messages, batch, BATCH);
		if (count < 0 && count != -EAGAIN)
			game_fail("cannot take network messages");
		for (int64_t i = 0; i < count; i++)
			take_message(analytics, &batch[i]);
	} while (count > 0);
}

/* Frames a second from first to last. */
static double average_fps(const struct frame_stats *frames, int64_t count)
{
	uint64_t elapsed;

	if (count < 2)
		return 0;
	elapsed = frames[count - 1].start_ns - frames[0].start_ns;
	return elapsed > 0 ? (double)(count - 1) * NSEC_PER_SEC / (double)elapsed : 0;
}

static double average_work_us(const struct frame_stats *frames, int64_t count)
{
	double sum = 0;

	for (int64_t i = 0; i < count; i++)
		sum += frames[i].work_ns;
	return count > 0 ? sum / (double)count / 1e3 : 0;
}

static void report(struct analytics *analytics)
{
	static struct frame_stats frames[FRAME_HISTORY];
	struct game *game = &analytics->game;
	int64_t count = shmkit_ring_last(game->frame_history, frames, FRAME_HISTORY);

	if (count < 0 && count != -EAGAIN)
		game_fail("cannot read the frames");
	if (count <= 0)
		return;
	printf("tick %5" PRIu64 ": %.1f frames/s, %.0f us of work a frame, %" PRIu32 " players, %"
	       PRIu32 " monsters, %" PRIu32 " projectiles, %" PRIu64 " messages\n",
	       shmkit_atomic_u64_load(game->tick), average_fps(frames, count),
	       average_work_us(frames, count), shmkit_atomic_u32_load(game->players_online),
	       frames[count - 1].monsters, frames[count - 1].projectiles, analytics->received);
	fflush(stdout);
}

static void print_leaderboard(const struct game *game)
{
	struct score_entry table[LEADERBOARD];

	if (shmkit_array_read(game->leaderboard, 0, LEADERBOARD, table) < 0)
		game_fail("cannot read the leaderboard");
	puts("Top players:");
	for (size_t i = 0; i < LEADERBOARD && table[i].score > 0; i++)
		printf("%3zu. %-16.31s %6" PRIu32 "\n", i + 1, table[i].name, table[i].score);
}

/* The end of the match wakes us up; otherwise the wait is the time between two reports. */
static void watch(struct analytics *analytics, int64_t interval_ns)
{
	struct game *game = &analytics->game;

	while (shmkit_atomic_bool_load(game->match_active) != 0) {
		int result = shmkit_atomic_bool_wait(game->match_active, 1, interval_ns);

		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			game_fail("cannot wait for the end of the match");
		take_messages(analytics);
		report(analytics);
		if (result == -ETIMEDOUT && !game_has_server(game))
			errx(EXIT_FAILURE, "the server died");
	}
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = GAME_SEGMENT,
		.interval_ns = NSEC_PER_SEC,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct analytics analytics;
	bool ok;

	parse_options(argc, argv, &options);
	game_join(&analytics.game, options.segment, ANALYTICS_LABEL, options.timeout_ns);
	watch(&analytics, options.interval_ns);
	take_messages(&analytics);
	shmkit_atomic_u64_fetch_add(analytics.game.messages_received, analytics.received);
	if (!game_leave(&analytics.game, options.timeout_ns))
		errx(EXIT_FAILURE, "the server died before it told its totals");

	puts("=== Performance report ===");
	report(&analytics);
	printf("Network: %" PRIu64 " joins, %" PRIu64 " kills, %" PRIu64 " deaths\n",
	       analytics.messages[MESSAGE_JOIN], analytics.messages[MESSAGE_KILL],
	       analytics.messages[MESSAGE_DEATH]);
	print_leaderboard(&analytics.game);

	ok = check_frames(&analytics.game);
	ok &= check_leaderboard(&analytics.game);
	ok &= check_messages(&analytics.game);
	ok &= analytics.wrong == 0;
	printf("analytics: %s\n", ok ? "PASS, frames, scores and messages add up" : "FAIL");
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
