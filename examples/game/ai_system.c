/*
 * ai_system - looks at the monsters of a running match and asks the server for more.
 *
 * It finds everything by name. In every tick it walks the monsters; one that sees none of its kind
 * around may call for minions, through the spawn queue.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <shmkit.h>

#include "game.h"

#define CALL_CHANCE 200		/* a lonely monster calls for help in one tick of so many */

struct options {
	const char *segment;
	uint32_t seed;
	int64_t timeout_ns;
};

struct ai {
	struct game game;
	const uint32_t *grid;
	uint64_t random;
	uint64_t ticks;
	uint64_t looked_at, gone;	/* monsters, summed over the ticks */
	uint64_t requested, refused;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: ai_system [OPTION]...\n"
	      "Watch the monsters of a match and ask the server for more.\n"
	      "\n"
	      "  -s, --segment=NAME  the match (default " GAME_SEGMENT ")\n"
	      "  -r, --seed=N        seed of the random numbers (default 1)\n"
	      "  -t, --timeout=SEC   how long to wait for the server (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "Exit status: 0 everything adds up, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment", required_argument, NULL, 's' },
		{ "seed",    required_argument, NULL, 'r' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help",    no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:r:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'r':
			options->seed = parse_number("seed", optarg, 0, UINT32_MAX);
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

/* Monsters in the cell and around it. */
static uint32_t count_around(const struct ai *ai, const struct monster *monster)
{
	int column = (int)(monster->x / CELL_SIZE);
	int row = (int)(monster->y / CELL_SIZE);
	uint32_t count = 0;

	for (int y = row - 1; y <= row + 1; y++) {
		for (int x = column - 1; x <= column + 1; x++) {
			if (y >= 0 && y < GRID_SIDE && x >= 0 && x < GRID_SIDE)
				count += grid_load(&ai->grid[y * GRID_SIDE + x]);
		}
	}
	return count;
}

static bool should_spawn_adds(struct ai *ai, const struct monster *monster)
{
	return monster->kind != MONSTER_MINION && count_around(ai, monster) <= 1 &&
	       next_random(&ai->random) % CALL_CHANCE == 0;
}

static void request_minion(struct ai *ai, const struct monster *monster)
{
	struct spawn_request request = {
		.kind = MONSTER_MINION,
		.x = monster->x,
		.y = monster->y,
	};
	int result = shmkit_queue_enqueue(ai->game.spawn_requests, &request);

	if (result == 0)
		ai->requested++;
	else if (result == -EAGAIN)	/* the server has not kept up: next time */
		ai->refused++;
	else
		game_fail("cannot ask for a monster");
}

/* The server moves and kills monsters meanwhile: decide on a copy, and mind that it may be gone. */
static void update_ai(struct ai *ai)
{
	uint64_t cursor = 0, handle;
	struct monster monster;

	while (shmkit_pool_next(ai->game.monsters, &cursor, &handle) == 1) {
		if (shmkit_pool_read(ai->game.monsters, handle, &monster) < 0) {
			ai->gone++;
			continue;
		}
		ai->looked_at++;
		if (should_spawn_adds(ai, &monster))
			request_minion(ai, &monster);
	}
	ai->ticks++;
}

static void play(struct ai *ai)
{
	struct game *game = &ai->game;

	for (;;) {
		/* In this order: the tick that follows the end of the match must wake us up. */
		uint64_t tick = shmkit_atomic_u64_load(game->tick);
		int result;

		if (shmkit_atomic_bool_load(game->match_active) == 0)
			return;
		update_ai(ai);
		result = shmkit_atomic_u64_wait(game->tick, tick, NSEC_PER_SEC);
		if (result == -ETIMEDOUT && !game_has_server(game))
			errx(EXIT_FAILURE, "the server died at tick %" PRIu64, tick);
		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			game_fail("cannot wait for a tick");
	}
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = GAME_SEGMENT,
		.seed = 1,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct ai ai;
	bool ok;

	parse_options(argc, argv, &options);
	ai.random = options.seed;
	game_join(&ai.game, options.segment, AI_LABEL, options.timeout_ns);
	ai.grid = shmkit_array_view(ai.game.collision);
	printf("AI system connected to the game: %" PRIu64 " monsters\n",
	       shmkit_pool_size(ai.game.monsters));
	fflush(stdout);

	play(&ai);
	shmkit_atomic_u64_fetch_add(ai.game.spawns_requested, ai.requested);
	if (!game_leave(&ai.game, options.timeout_ns))
		errx(EXIT_FAILURE, "the server died before it told its totals");

	printf("ai_system: %" PRIu64 " ticks, %.1f monsters a tick, %" PRIu64 " vanished\n",
	       ai.ticks, ai.ticks > 0 ? (double)ai.looked_at / (double)ai.ticks : 0.0, ai.gone);
	printf("ai_system: asked for %" PRIu64 " minions, %" PRIu64 " times the queue was full\n",
	       ai.requested, ai.refused);
	ok = check_requests(&ai.game);
	ok &= check_monsters(&ai.game);
	ok &= check_grid(&ai.game);
	printf("ai_system: %s\n", ok ? "PASS, monsters, grid and requests add up" : "FAIL");
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
