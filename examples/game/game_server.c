/*
 * game_server - simulates a match in one shared-memory segment that other programs join.
 *
 * The segment holds pools of players, monsters and projectiles, a collision grid, three queues, the
 * frame history, counters and the leaderboard. The AI system asks for monsters through a queue,
 * analytics reads everything. Start the programs in any order; the match does not depend on clients
 * and goes on when one is killed.
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

#include "game.h"
#include "world.h"

struct options {
	const char *segment;
	uint64_t size;
	uint32_t seconds;
	uint32_t clients;
	uint32_t players;
	uint32_t monsters;
	uint32_t seed;
	int64_t timeout_ns;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: game_server [OPTION]...\n"
	      "Simulate a match in shared memory.\n"
	      "\n"
	      "  -s, --segment=NAME  shared memory to create (default " GAME_SEGMENT ")\n"
	      "  -S, --size=MIB      its size (default 500; what is not used takes no memory)\n"
	      "  -d, --seconds=N     length of the match (default 4)\n"
	      "  -c, --clients=N     begin when N clients have come (default 0)\n"
	      "  -p, --players=N     players who join (default 16, at most 100)\n"
	      "  -m, --monsters=N    monsters at the beginning (default 300, at most 1000)\n"
	      "  -r, --seed=N        seed of the random numbers (default 1)\n"
	      "  -t, --timeout=SEC   how long to wait for clients (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "Clients: ai_system, analytics.\n"
	      "Exit status: 0 everything adds up, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_option(int option, struct options *options)
{
	switch (option) {
	case 's':
		options->segment = optarg;
		break;
	case 'S':
		options->size = (uint64_t)parse_number("size", optarg, 1, 1 << 20) << 20;
		break;
	case 'd':
		options->seconds = parse_number("seconds", optarg, 1, 86400);
		break;
	case 'c':
		options->clients = parse_number("clients", optarg, 0, MAX_MEMBERS - 1);
		break;
	case 'p':
		options->players = parse_number("players", optarg, 1, MAX_PLAYERS);
		break;
	case 'm':
		options->monsters = parse_number("monsters", optarg, 0, MAX_MONSTERS);
		break;
	case 'r':
		options->seed = parse_number("seed", optarg, 0, UINT32_MAX);
		break;
	case 't':
		options->timeout_ns = parse_number("timeout", optarg, 1, 3600) * NSEC_PER_SEC;
		break;
	case 'h':
		usage(stdout, EXIT_SUCCESS);
	default:
		usage(stderr, 2);
	}
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",  required_argument, NULL, 's' },
		{ "size",     required_argument, NULL, 'S' },
		{ "seconds",  required_argument, NULL, 'd' },
		{ "clients",  required_argument, NULL, 'c' },
		{ "players",  required_argument, NULL, 'p' },
		{ "monsters", required_argument, NULL, 'm' },
		{ "seed",     required_argument, NULL, 'r' },
		{ "timeout",  required_argument, NULL, 't' },
		{ "help",     no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:S:d:c:p:m:r:t:h", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
}

static void wait_for_clients(const struct game *game, const struct options *options)
{
	uint64_t deadline = now_ns() + (uint64_t)options->timeout_ns;
	uint32_t ready;

	while ((ready = shmkit_atomic_u32_load(game->clients_ready)) < options->clients) {
		uint64_t now = now_ns();
		int result = now >= deadline ? -ETIMEDOUT :
			     shmkit_atomic_u32_wait(game->clients_ready, ready,
						    (int64_t)(deadline - now));

		if (result == -ETIMEDOUT)
			errx(EXIT_FAILURE, "%" PRIu32 " of %" PRIu32 " clients came", ready,
			     options->clients);
		if (result < 0 && result != -EINTR)
			game_fail("cannot wait for clients");
	}
}

static void push_frame(const struct world *world, uint64_t start_ns)
{
	struct game *game = world->game;
	struct frame_stats stats = {
		.frame = world->totals.frames,
		.start_ns = start_ns,
		.work_ns = (uint32_t)(now_ns() - start_ns),
		.players = shmkit_atomic_u32_load(game->players_online),
		.monsters = (uint32_t)shmkit_pool_size(game->monsters),
		.projectiles = (uint32_t)shmkit_pool_size(game->projectiles),
	};

	if (shmkit_ring_push_overwrite(game->frame_history, &stats, 1) < 0)
		game_fail("cannot push the frame");
}

static void sleep_until(uint64_t deadline_ns)
{
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR)
		;
}

/*
 * The match is over before the last tick: who wakes up at that tick finds it over and need not wait
 * for one that never comes.
 */
static void run_match(struct world *world, uint32_t seconds)
{
	struct game *game = world->game;
	uint64_t frames = (uint64_t)seconds * FRAMES_PER_SEC;
	uint64_t begin = now_ns();

	shmkit_atomic_bool_store(game->match_active, 1);
	for (uint64_t i = 0; i < frames; i++) {
		uint64_t start = now_ns();

		world_step(world);
		push_frame(world, start);
		if (i + 1 == frames)
			shmkit_atomic_bool_store(game->match_active, 0);
		shmkit_atomic_u64_fetch_add(game->tick, 1);
		sleep_until(begin + (i + 1) * NSEC_PER_SEC / FRAMES_PER_SEC);
	}
}

/* How many clients alive have not finished. One that was killed is not waited for. */
static uint32_t count_busy_clients(const struct game *game, uint64_t done)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;
	uint32_t busy = 0;

	while (shmkit_segment_next_member(game->segment, &cursor, &member) == 1) {
		bool is_client = strcmp(member.label, AI_LABEL) == 0 ||
				 strcmp(member.label, ANALYTICS_LABEL) == 0;

		busy += is_client && member.alive != 0 && member.id < MAX_MEMBERS &&
			(done >> member.id & 1) == 0;
	}
	return busy;
}

static void wait_until_still(const struct game *game, int64_t timeout_ns)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;

	for (;;) {
		uint64_t done = shmkit_atomic_u64_load(game->clients_done);
		uint32_t busy = count_busy_clients(game, done);
		int result;

		if (busy == 0)
			return;
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "%" PRIu32 " client(s) did not finish", busy);
		result = shmkit_atomic_u64_wait(game->clients_done, done, 100 * NSEC_PER_MSEC);
		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			game_fail("cannot wait for clients");
	}
}

static bool is_sound(const struct game *game)
{
	bool ok = check_monsters(game);

	ok &= check_grid(game);
	ok &= check_leaderboard(game);
	ok &= check_frames(game);
	ok &= check_requests(game);
	ok &= check_messages(game);
	return ok;
}

static void print_totals(const struct game *game, const struct totals *totals)
{
	printf("frames    %" PRIu64 "\n", totals->frames);
	printf("monsters  %" PRIu64 " spawned - %" PRIu64 " killed = %" PRIu64 " alive\n",
	       totals->monsters_spawned, totals->monsters_killed,
	       shmkit_pool_size(game->monsters));
	printf("requests  %" PRIu64 " spawned, %" PRIu64 " rejected, %" PRIu64 " too late\n",
	       totals->requests_spawned, totals->requests_rejected, totals->requests_late);
	printf("shots     %" PRIu64 " fired, %" PRIu64 " hits, %" PRIu64 " refused\n",
	       totals->shots, totals->hits, totals->shots_refused);
	printf("damage    %" PRIu64 " events, %" PRIu64 " applied, %" PRIu64 " too late\n",
	       totals->damage_sent, totals->damage_applied, totals->damage_too_late);
	printf("messages  %" PRIu64 " sent, %" PRIu64 " dropped\n", totals->messages_sent,
	       totals->messages_dropped);
}

/* The game stands still: write down the totals, check them, and tell the clients. */
static bool conclude(struct world *world)
{
	struct game *game = world->game;
	bool ok;

	world_drain_requests(world);
	if (shmkit_array_write(game->totals, 0, 1, &world->totals) < 0)
		game_fail("cannot write the totals");
	ok = is_sound(game);
	shmkit_atomic_u32_store(game->verdict, ok ? VERDICT_SOUND : VERDICT_BROKEN);
	print_totals(game, &world->totals);
	printf("game_server: %s\n", ok ? "PASS, everything adds up" : "FAIL");
	return ok;
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = GAME_SEGMENT,
		.size = GAME_SEGMENT_SIZE,
		.seconds = 4,
		.players = 16,
		.monsters = 300,
		.seed = 1,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct world world;
	static struct game game;
	bool ok;

	parse_options(argc, argv, &options);
	game_create(&game, options.segment, options.size);
	world_init(&world, &game, options.players, options.monsters, options.seed);
	print_memory_layout(&game, options.segment);
	fflush(stdout);

	wait_for_clients(&game, &options);
	run_match(&world, options.seconds);
	wait_until_still(&game, options.timeout_ns);
	ok = conclude(&world);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
