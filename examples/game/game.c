/*
 * The part that all three programs share: what is in the segment, and joining and leaving a match.
 */
#include "game.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum part_id {
	PLAYERS, MONSTERS, PROJECTILES, COLLISION, DAMAGE_QUEUE, SPAWN_QUEUE, NETWORK_QUEUE,
	FRAME_STATS, TICK, PLAYERS_ONLINE, MATCH_ACTIVE, TOTALS, CLIENTS_READY, CLIENTS_DONE,
	SPAWNS_REQUESTED, MESSAGES_RECEIVED, VERDICT, LEADERS, PARTS,
};

struct part {
	const char *name;
	uint32_t kind;
	uint32_t element_size;
	uint64_t capacity;
	const char *schema;
};

static const struct part parts[PARTS] = {
	[PLAYERS] = { "players", SHMKIT_KIND_POOL, sizeof(struct player), MAX_PLAYERS,
		      PLAYER_SCHEMA },
	[MONSTERS] = { "monsters", SHMKIT_KIND_POOL, sizeof(struct monster), MAX_MONSTERS,
		       MONSTER_SCHEMA },
	[PROJECTILES] = { "projectiles", SHMKIT_KIND_POOL, sizeof(struct projectile),
			  MAX_PROJECTILES, PROJECTILE_SCHEMA },
	[COLLISION] = { "collision", SHMKIT_KIND_ARRAY, sizeof(uint32_t), GRID_CELLS,
			"monsters:u32" },
	[DAMAGE_QUEUE] = { "damage_queue", SHMKIT_KIND_QUEUE, sizeof(struct damage_event), 1000,
			   DAMAGE_SCHEMA },
	[SPAWN_QUEUE] = { "spawn_queue", SHMKIT_KIND_QUEUE, sizeof(struct spawn_request), 100,
			  SPAWN_SCHEMA },
	[NETWORK_QUEUE] = { "network_queue", SHMKIT_KIND_QUEUE, sizeof(struct network_message),
			    5000, NETWORK_SCHEMA },
	[FRAME_STATS] = { "frame_stats", SHMKIT_KIND_RING, sizeof(struct frame_stats),
			  FRAME_HISTORY, FRAME_SCHEMA },
	[TICK] = { "tick", SHMKIT_KIND_ATOMIC_U64, sizeof(uint64_t), 1, NULL },
	[PLAYERS_ONLINE] = { "players_online", SHMKIT_KIND_ATOMIC_U32, sizeof(uint32_t), 1, NULL },
	[MATCH_ACTIVE] = { "match_active", SHMKIT_KIND_ATOMIC_BOOL, sizeof(uint8_t), 1, NULL },
	[TOTALS] = { "totals", SHMKIT_KIND_ARRAY, sizeof(struct totals), 1, TOTALS_SCHEMA },
	[CLIENTS_READY] = { "clients_ready", SHMKIT_KIND_ATOMIC_U32, sizeof(uint32_t), 1, NULL },
	[CLIENTS_DONE] = { "clients_done", SHMKIT_KIND_ATOMIC_U64, sizeof(uint64_t), 1, NULL },
	[SPAWNS_REQUESTED] = { "spawns_requested", SHMKIT_KIND_ATOMIC_U64, sizeof(uint64_t), 1,
			       NULL },
	[MESSAGES_RECEIVED] = { "messages_received", SHMKIT_KIND_ATOMIC_U64, sizeof(uint64_t), 1,
				NULL },
	[VERDICT] = { "verdict", SHMKIT_KIND_ATOMIC_U32, sizeof(uint32_t), 1, NULL },
	[LEADERS] = { GAME_LAST_NAME, SHMKIT_KIND_ARRAY, sizeof(struct score_entry), LEADERBOARD,
		      SCORE_SCHEMA },
};

static struct game *game_to_close;

_Noreturn void game_fail(const char *what)
{
	errx(EXIT_FAILURE, "%s: %s", what, shmkit_last_error());
}

uint32_t parse_number(const char *option, const char *text, uint32_t min, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, min, max, &problem);

	if (problem != NULL)
		errx(2, "--%s %s: %s (%" PRIu32 " to %" PRIu32 ")", option, text, problem, min,
		     max);
	return (uint32_t)value;
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t next_random(uint64_t *state)	/* splitmix64 */
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

float random_below(uint64_t *state, float limit)
{
	return (float)(next_random(state) >> 40) * (limit / (float)(1 << 24));
}

static void require(int result, const struct part *part)
{
	if (result < 0)
		errx(EXIT_FAILURE, "'%s': %s", part->name, shmkit_last_error());
}

static struct shmkit_object_options options_of(const struct part *part)
{
	return (struct shmkit_object_options){
		.struct_size = sizeof(struct shmkit_object_options),
		.schema = part->schema,
	};
}

/* The server makes each part, a client finds it by name; after that their handles are alike. */
static struct shmkit_pool *get_pool(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_object_options options = options_of(part);
	struct shmkit_pool *pool;

	if (create)
		require(shmkit_pool_create(game->segment, part->name, part->element_size,
					   part->capacity, &options, &pool), part);
	else
		require(shmkit_pool_open(game->segment, part->name, part->element_size, &pool),
			part);
	return pool;
}

static struct shmkit_queue *get_queue(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_object_options options = options_of(part);
	struct shmkit_queue *queue;

	if (create)
		require(shmkit_queue_create(game->segment, part->name, part->element_size,
					    part->capacity, &options, &queue), part);
	else
		require(shmkit_queue_open(game->segment, part->name, part->element_size, &queue),
			part);
	return queue;
}

static struct shmkit_array *get_array(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_object_options options = options_of(part);
	struct shmkit_array *array;

	if (create)
		require(shmkit_array_create(game->segment, part->name, part->element_size,
					    part->capacity, &options, &array), part);
	else
		require(shmkit_array_open(game->segment, part->name, part->element_size, &array),
			part);
	return array;
}

static struct shmkit_ring *get_ring(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_object_options options = options_of(part);
	struct shmkit_ring *ring;

	if (create)
		require(shmkit_ring_create(game->segment, part->name, part->element_size,
					   part->capacity, &options, &ring), part);
	else
		require(shmkit_ring_open(game->segment, part->name, part->element_size, &ring),
			part);
	return ring;
}

static struct shmkit_atomic_u32 *get_u32(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_atomic_u32 *atomic;

	if (create)
		require(shmkit_atomic_u32_create(game->segment, part->name, 0, &atomic), part);
	else
		require(shmkit_atomic_u32_open(game->segment, part->name, &atomic), part);
	return atomic;
}

static struct shmkit_atomic_u64 *get_u64(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_atomic_u64 *atomic;

	if (create)
		require(shmkit_atomic_u64_create(game->segment, part->name, 0, &atomic), part);
	else
		require(shmkit_atomic_u64_open(game->segment, part->name, &atomic), part);
	return atomic;
}

static struct shmkit_atomic_bool *get_bool(struct game *game, enum part_id id, bool create)
{
	const struct part *part = &parts[id];
	struct shmkit_atomic_bool *atomic;

	if (create)
		require(shmkit_atomic_bool_create(game->segment, part->name, 0, &atomic), part);
	else
		require(shmkit_atomic_bool_open(game->segment, part->name, &atomic), part);
	return atomic;
}

static void get_parts(struct game *game, bool create)
{
	game->players           = get_pool(game, PLAYERS, create);
	game->monsters          = get_pool(game, MONSTERS, create);
	game->projectiles       = get_pool(game, PROJECTILES, create);
	game->collision         = get_array(game, COLLISION, create);
	game->damage_events     = get_queue(game, DAMAGE_QUEUE, create);
	game->spawn_requests    = get_queue(game, SPAWN_QUEUE, create);
	game->network_messages  = get_queue(game, NETWORK_QUEUE, create);
	game->frame_history     = get_ring(game, FRAME_STATS, create);
	game->tick              = get_u64(game, TICK, create);
	game->players_online    = get_u32(game, PLAYERS_ONLINE, create);
	game->match_active      = get_bool(game, MATCH_ACTIVE, create);
	game->totals            = get_array(game, TOTALS, create);
	game->clients_ready     = get_u32(game, CLIENTS_READY, create);
	game->clients_done      = get_u64(game, CLIENTS_DONE, create);
	game->spawns_requested  = get_u64(game, SPAWNS_REQUESTED, create);
	game->messages_received = get_u64(game, MESSAGES_RECEIVED, create);
	game->verdict           = get_u32(game, VERDICT, create);
	game->leaderboard       = get_array(game, LEADERS, create);
}

static struct shmkit_segment_options segment_options(void)
{
	return (struct shmkit_segment_options){
		.struct_size = sizeof(struct shmkit_segment_options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,
		.table = SHMKIT_TABLE_LARGE,
		.max_members = MAX_MEMBERS,
	};
}

/* What all the parts take together. */
static uint64_t size_needed(void)
{
	const struct shmkit_segment_options options = segment_options();
	uint64_t total;

	if (shmkit_segment_footprint(&options, &total) < 0)
		game_fail("cannot tell the size of the segment");
	for (size_t i = 0; i < PARTS; i++) {
		struct shmkit_object_options part_options = options_of(&parts[i]);
		uint64_t size;

		if (shmkit_object_footprint(parts[i].kind, parts[i].element_size,
					    parts[i].capacity, &part_options, &size) < 0)
			game_fail("cannot tell the size of the segment");
		total += size;
	}
	return total;
}

static void close_game(void)
{
	struct game *game = game_to_close;

	shmkit_pool_close(game->players);
	shmkit_pool_close(game->monsters);
	shmkit_pool_close(game->projectiles);
	shmkit_array_close(game->collision);
	shmkit_queue_close(game->damage_events);
	shmkit_queue_close(game->spawn_requests);
	shmkit_queue_close(game->network_messages);
	shmkit_ring_close(game->frame_history);
	shmkit_atomic_u64_close(game->tick);
	shmkit_atomic_u32_close(game->players_online);
	shmkit_atomic_bool_close(game->match_active);
	shmkit_array_close(game->leaderboard);
	shmkit_array_close(game->totals);
	shmkit_atomic_u32_close(game->clients_ready);
	shmkit_atomic_u64_close(game->clients_done);
	shmkit_atomic_u64_close(game->spawns_requested);
	shmkit_atomic_u64_close(game->messages_received);
	shmkit_atomic_u32_close(game->verdict);
	shmkit_segment_close(game->segment);
}

static void close_at_exit(struct game *game)
{
	game_to_close = game;
	atexit(close_game);
}

static void pause_20_ms(void)
{
	const struct timespec pause = { .tv_nsec = 20 * NSEC_PER_MSEC };

	nanosleep(&pause, NULL);
}

/* Look read-only: a reader is no member and does not keep alive what it looks at. */
static bool is_server_there(const char *name)
{
	struct game game = { 0 };
	bool is_there;

	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &game.segment) < 0)
		return false;
	is_there = game_has_server(&game);
	shmkit_segment_close(game.segment);
	return is_there;
}

/*
 * What a killed server has left behind is replaced as soon as nobody uses it any more: its clients
 * notice within a second or two and leave.
 */
static int create_segment(struct game *game, const char *name, uint64_t size)
{
	const struct shmkit_segment_options options = segment_options();
	int result = -EEXIST;

	for (int looks = 0; looks < 150; looks++) {
		result = shmkit_segment_create(name, size, &options, &game->segment);
		if (result != -EEXIST || is_server_there(name))
			return result;
		pause_20_ms();
	}
	return result;
}

void game_create(struct game *game, const char *name, uint64_t size)
{
	uint64_t needed = size_needed();
	int result;

	close_at_exit(game);
	if (size < needed)
		errx(EXIT_FAILURE, "a game needs a segment of %" PRIu64 " KiB at least",
		     needed / 1024 + 1);
	result = create_segment(game, name, size);
	if (result == -ENOSPC) {
		warnx("%s", shmkit_last_error());
		warnx("trying again with %" PRIu64 " KiB, which will do", needed / 1024);
		result = create_segment(game, name, needed);
	}
	if (result < 0)
		game_fail("cannot create the segment");
	if (shmkit_segment_set_label(game->segment, SERVER_LABEL) < 0)
		game_fail("cannot set the label");
	get_parts(game, true);
}

/* Wait for the match to begin. One that is over already has counted ticks. */
static void wait_for_match(const struct game *game, int64_t timeout_ns)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;

	while (shmkit_atomic_bool_load(game->match_active) == 0 &&
	       shmkit_atomic_u64_load(game->tick) == 0) {
		int result = shmkit_atomic_bool_wait(game->match_active, 0, NSEC_PER_SEC / 4);

		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			game_fail("cannot wait for the match");
		if (!game_has_server(game))
			errx(EXIT_FAILURE, "the server died before the match began");
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "the match did not begin within %" PRId64 " s",
			     timeout_ns / NSEC_PER_SEC);
	}
}

/* A segment without a server is what a dead one has left: with its last client it goes. */
static void find_server(struct game *game, const char *name, const char *label, int64_t timeout_ns)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;

	for (;;) {
		if (shmkit_segment_open_wait(name, 0, timeout_ns, &game->segment) < 0)
			game_fail("cannot find the game");
		if (shmkit_segment_set_label(game->segment, label) < 0)
			game_fail("cannot set the label");
		if (game_has_server(game))
			return;
		shmkit_segment_close(game->segment);
		game->segment = NULL;
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "segment '%s' is left over from a server that died",
			     name);
		pause_20_ms();
	}
}

void game_join(struct game *game, const char *name, const char *label, int64_t timeout_ns)
{
	close_at_exit(game);
	find_server(game, name, label, timeout_ns);
	if (shmkit_segment_wait_for(game->segment, GAME_LAST_NAME, timeout_ns) < 0)
		game_fail("the game is not complete");
	get_parts(game, false);
	if (shmkit_segment_member_id(game->segment) >= MAX_MEMBERS)
		errx(EXIT_FAILURE, "segment '%s' was not made by game_server", name);
	shmkit_atomic_u32_fetch_add(game->clients_ready, 1);
	wait_for_match(game, timeout_ns);
}

uint32_t game_count_members(const struct game *game, const char *label)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;
	uint32_t count = 0;

	while (shmkit_segment_next_member(game->segment, &cursor, &member) == 1)
		count += member.alive != 0 && strcmp(member.label, label) == 0;
	return count;
}

bool game_has_server(const struct game *game)
{
	return game_count_members(game, SERVER_LABEL) > 0;
}

bool game_leave(struct game *game, int64_t timeout_ns)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;
	int id = shmkit_segment_member_id(game->segment);

	shmkit_atomic_u64_fetch_or(game->clients_done, UINT64_C(1) << id);
	while (shmkit_atomic_u32_load(game->verdict) == VERDICT_NONE) {
		int result = shmkit_atomic_u32_wait(game->verdict, VERDICT_NONE, NSEC_PER_SEC / 4);

		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			game_fail("cannot wait for the verdict");
		if (result == -ETIMEDOUT && (!game_has_server(game) || now_ns() > deadline))
			return false;
	}
	return true;
}
