/*
 * Checks of a game that stands still: what one side counted against what the structures hold.
 */
#include "game.h"

#include <err.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct totals totals_of(const struct game *game)
{
	struct totals totals;

	if (shmkit_array_read(game->totals, 0, 1, &totals) < 0)
		game_fail("cannot read the totals");
	return totals;
}

static bool is_equal(const char *what, uint64_t found, uint64_t expected)
{
	if (found == expected)
		return true;
	warnx("%s: %" PRIu64 ", expected %" PRIu64, what, found, expected);
	return false;
}

static struct shmkit_queue_stats stats_of(struct shmkit_queue *queue)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };

	if (shmkit_queue_get_stats(queue, &stats) < 0)
		game_fail("cannot read the statistics of a queue");
	return stats;
}

bool check_monsters(const struct game *game)
{
	struct totals totals = totals_of(game);
	uint64_t expected = totals.monsters_spawned - totals.monsters_killed;
	uint64_t cursor = 0, handle;
	uint64_t walked = 0;
	bool ok;

	while (shmkit_pool_next(game->monsters, &cursor, &handle) == 1)
		walked++;
	ok = is_equal("monsters met in the pool", walked, expected);
	ok &= is_equal("monsters by the pool's count", shmkit_pool_size(game->monsters), expected);
	return ok;
}

bool check_grid(const struct game *game)
{
	static uint32_t recount[GRID_CELLS];
	const uint32_t *grid = shmkit_array_view(game->collision);
	uint64_t cursor = 0, handle;
	struct monster monster;
	uint64_t wrong = 0;

	memset(recount, 0, sizeof(recount));
	while (shmkit_pool_next(game->monsters, &cursor, &handle) == 1) {
		if (shmkit_pool_read(game->monsters, handle, &monster) < 0)
			game_fail("a monster went away after the match");
		recount[cell_of(monster.x, monster.y)]++;
	}
	for (size_t i = 0; i < GRID_CELLS; i++)
		wrong += grid_load(&grid[i]) != recount[i];
	return is_equal("cells of the grid that differ from a recount", wrong, 0);
}

static int by_score_descending(const void *a, const void *b)
{
	uint32_t x = ((const struct player *)a)->score;
	uint32_t y = ((const struct player *)b)->score;

	return (y > x) - (y < x);
}

static size_t read_players(const struct game *game, struct player players[MAX_PLAYERS])
{
	uint64_t cursor = 0, handle;
	size_t count = 0;

	while (count < MAX_PLAYERS && shmkit_pool_next(game->players, &cursor, &handle) == 1) {
		if (shmkit_pool_read(game->players, handle, &players[count]) < 0)
			game_fail("a player went away after the match");
		count++;
	}
	return count;
}

static bool is_score_of(const struct score_entry *entry, const struct player *players, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (players[i].player_id == entry->player_id)
			return players[i].score == entry->score &&
			       strncmp(players[i].name, entry->name, NAME_SIZE) == 0;
	}
	return false;
}

/* The table must show the ten best scores there are, best first, each under its player's name. */
bool check_leaderboard(const struct game *game)
{
	struct score_entry table[LEADERBOARD];
	struct player players[MAX_PLAYERS];
	size_t count = read_players(game, players);
	bool ok;

	if (shmkit_array_read(game->leaderboard, 0, LEADERBOARD, table) < 0)
		game_fail("cannot read the leaderboard");
	ok = is_equal("players online", shmkit_atomic_u32_load(game->players_online), count);
	ok &= is_equal("players in the pool", shmkit_pool_size(game->players), count);
	qsort(players, count, sizeof(players[0]), by_score_descending);
	for (size_t i = 0; i < LEADERBOARD; i++) {
		uint32_t expected = i < count ? players[i].score : 0;

		ok &= is_equal("a score of the leaderboard", table[i].score, expected);
		if (table[i].score != 0 && !is_score_of(&table[i], players, count)) {
			warnx("leaderboard: '%.31s' has no such score", table[i].name);
			ok = false;
		}
	}
	return ok;
}

/* Every tick pushed one frame; the ring keeps the newest, consecutive. */
bool check_frames(const struct game *game)
{
	static struct frame_stats frames[FRAME_HISTORY];
	uint64_t tick = shmkit_atomic_u64_load(game->tick);
	uint64_t kept = tick < FRAME_HISTORY ? tick : FRAME_HISTORY;
	int64_t count;
	bool ok;

	ok = is_equal("frames by the server's count", totals_of(game).frames, tick);
	ok &= is_equal("frames pushed", shmkit_ring_total_pushed(game->frame_history), tick);
	ok &= is_equal("frames overwritten", shmkit_ring_total_dropped(game->frame_history),
		       tick - kept);
	count = shmkit_ring_last(game->frame_history, frames, FRAME_HISTORY);
	if (count < 0)
		game_fail("cannot read the frames");
	ok &= is_equal("frames in the ring", (uint64_t)count, kept);
	for (int64_t i = 0; i < count; i++)
		ok &= is_equal("number of a frame", frames[i].frame, tick - kept + 1 + (uint64_t)i);
	return ok;
}

/* What clients report is complete when none died before it could. */
static bool have_all_reported(const struct game *game)
{
	uint64_t done = shmkit_atomic_u64_load(game->clients_done);

	return (uint32_t)__builtin_popcountll(done) == shmkit_atomic_u32_load(game->clients_ready);
}

/*
 * Each request enqueued was spawned, rejected, or found after the match. The queue's own count is
 * exact even when an AI was killed.
 */
bool check_requests(const struct game *game)
{
	struct shmkit_queue_stats stats = stats_of(game->spawn_requests);
	struct totals totals = totals_of(game);
	uint64_t consumed = totals.requests_spawned + totals.requests_rejected +
			    totals.requests_late;
	uint64_t reported = shmkit_atomic_u64_load(game->spawns_requested);
	bool ok;

	ok = is_equal("spawn requests consumed", consumed, stats.enqueued);
	ok &= is_equal("spawn requests left", shmkit_queue_size(game->spawn_requests), 0);
	if (have_all_reported(game))
		ok &= is_equal("spawn requests reported by the AI", reported, consumed);
	return ok;
}

bool check_messages(const struct game *game)
{
	struct shmkit_queue_stats network = stats_of(game->network_messages);
	struct shmkit_queue_stats damage = stats_of(game->damage_events);
	struct totals totals = totals_of(game);
	bool ok;

	ok = is_equal("network messages enqueued", network.enqueued, totals.messages_sent);
	ok &= is_equal("network messages taken or left",
		       network.dequeued + shmkit_queue_size(game->network_messages),
		       totals.messages_sent);
	if (have_all_reported(game))
		ok &= is_equal("network messages received by analytics",
			       shmkit_atomic_u64_load(game->messages_received), network.dequeued);
	ok &= is_equal("damage events enqueued", damage.enqueued, totals.damage_sent);
	ok &= is_equal("damage events applied or too late",
		       totals.damage_applied + totals.damage_too_late, totals.damage_sent);
	ok &= is_equal("damage events left", shmkit_queue_size(game->damage_events), 0);
	return ok;
}
