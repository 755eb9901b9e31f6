/*
 * What the three programs of the game agree on: one segment, what is in it by name, and how a match
 * begins and ends.
 *
 * A match: the server makes everything and simulates. When time is up it clears "match_active".
 * Each client (AI, analytics) then stops touching the game, sets its bit in "clients_done" and
 * stays attached. When every client alive has done so the game stands still: the server writes
 * "totals" and its "verdict", and the clients check the same state for themselves.
 */
#ifndef GAME_H
#define GAME_H

#include <stdbool.h>
#include <stdint.h>

#include <shmkit.h>

#define GAME_SEGMENT      "game_server"
#define GAME_SEGMENT_SIZE (UINT64_C(500) << 20)
#define GAME_LAST_NAME    "leaderboard"	/* made last: who finds it finds all the others */

#define SERVER_LABEL    "game_server"
#define AI_LABEL        "ai_system"
#define ANALYTICS_LABEL "analytics"

#define MAX_MEMBERS     64	/* a bit each in clients_done */
#define MAX_PLAYERS     100
#define MAX_MONSTERS    1000
#define MAX_PROJECTILES 500
#define GRID_SIDE       256
#define GRID_CELLS      (GRID_SIDE * GRID_SIDE)
#define CELL_SIZE       4
#define WORLD_SIZE      (GRID_SIDE * CELL_SIZE)
#define FRAME_HISTORY   3600	/* a minute */
#define FRAMES_PER_SEC  60
#define LEADERBOARD     10
#define NAME_SIZE       32

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

enum monster_kind { MONSTER_GRUNT, MONSTER_MINION, MONSTER_BOSS, MONSTER_KINDS };
enum target_kind { TARGET_MONSTER, TARGET_PLAYER };
enum message_type { MESSAGE_KILL, MESSAGE_DEATH, MESSAGE_JOIN, MESSAGE_TYPES };
enum verdict { VERDICT_NONE, VERDICT_SOUND, VERDICT_BROKEN };

struct player {
	float    x, y, vx, vy;
	int32_t  health;
	uint32_t score;
	uint32_t kills;
	uint32_t deaths;
	uint32_t player_id;	/* 1, 2, ... */
	uint32_t cooldown;	/* frames until the next shot */
	char     name[NAME_SIZE];
};
#define PLAYER_SCHEMA "x:f32 y:f32 vx:f32 vy:f32 health:i32 score:u32 kills:u32 deaths:u32 " \
		      "player_id:u32 cooldown:u32 name:char[32]"

struct monster {
	float    x, y, vx, vy;
	int32_t  health;
	uint32_t kind;
};
#define MONSTER_SCHEMA "x:f32 y:f32 vx:f32 vy:f32 health:i32 kind:u32"

struct projectile {
	float    x, y, vx, vy;
	uint64_t shooter;	/* a player's handle */
	int32_t  damage;
	uint32_t frames_left;
};
#define PROJECTILE_SCHEMA "x:f32 y:f32 vx:f32 vy:f32 shooter:u64 damage:i32 frames_left:u32"

struct damage_event {
	uint64_t target;	/* the handle of a monster or a player, by target_kind */
	uint64_t source;	/* a player's handle, or SHMKIT_POOL_INVALID */
	uint32_t target_kind;
	int32_t  amount;
};
#define DAMAGE_SCHEMA "target:u64 source:u64 target_kind:u32 amount:i32"

struct spawn_request {
	uint32_t kind;
	float    x, y;
};
#define SPAWN_SCHEMA "kind:u32 x:f32 y:f32"

struct network_message {
	uint64_t tick;
	uint32_t sequence;	/* without a gap */
	uint32_t type;
	uint32_t player_id;
	uint32_t value;
};
#define NETWORK_SCHEMA "tick:u64 sequence:u32 type:u32 player_id:u32 value:u32"

struct frame_stats {
	uint64_t frame;		/* 1, 2, ... */
	uint64_t start_ns;	/* CLOCK_MONOTONIC */
	uint32_t work_ns;
	uint32_t players;
	uint32_t monsters;
	uint32_t projectiles;
};
#define FRAME_SCHEMA "frame:u64 start_ns:u64 work_ns:u32 players:u32 monsters:u32 projectiles:u32"

struct score_entry {
	char     name[NAME_SIZE];
	uint32_t score;
	uint32_t player_id;
};
#define SCORE_SCHEMA "name:char[32] score:u32 player_id:u32"

/* What the server counted by itself, to be held against what the structures hold. */
struct totals {
	uint64_t frames;
	uint64_t monsters_spawned, monsters_killed;
	uint64_t requests_spawned, requests_rejected, requests_late;
	uint64_t shots, shots_refused, hits;
	uint64_t damage_sent, damage_applied, damage_too_late;
	uint64_t messages_sent, messages_dropped;
};
#define TOTALS_SCHEMA "counters:u64[14]"

_Static_assert(sizeof(struct player) == 72, "no hidden padding");
_Static_assert(sizeof(struct projectile) == 32, "no hidden padding");
_Static_assert(sizeof(struct damage_event) == 24, "no hidden padding");
_Static_assert(sizeof(struct network_message) == 24, "no hidden padding");
_Static_assert(sizeof(struct frame_stats) == 32, "no hidden padding");
_Static_assert(sizeof(struct totals) == 14 * sizeof(uint64_t), "as TOTALS_SCHEMA says");

struct game {
	struct shmkit_segment *segment;
	struct shmkit_pool *players;
	struct shmkit_pool *monsters;
	struct shmkit_pool *projectiles;
	struct shmkit_array *collision;		/* u32 a cell: how many monsters are in it */
	struct shmkit_queue *damage_events;
	struct shmkit_queue *spawn_requests;	/* from the AI to the server */
	struct shmkit_queue *network_messages;	/* from the server to analytics */
	struct shmkit_ring *frame_history;
	struct shmkit_atomic_u64 *tick;
	struct shmkit_atomic_u32 *players_online;
	struct shmkit_atomic_bool *match_active;
	struct shmkit_array *leaderboard;
	struct shmkit_array *totals;
	struct shmkit_atomic_u32 *clients_ready;	/* how many have ever come */
	struct shmkit_atomic_u64 *clients_done;		/* a bit for each member who has */
	struct shmkit_atomic_u64 *spawns_requested;	/* what the AIs say they have enqueued */
	struct shmkit_atomic_u64 *messages_received;	/* what analytics says it has taken */
	struct shmkit_atomic_u32 *verdict;
};

/* Print "@what: why it failed" and exit with 1. */
_Noreturn void game_fail(const char *what);

/* The number in @text, or exit with 2. */
uint32_t parse_number(const char *option, const char *text, uint32_t min, uint32_t max);

uint64_t now_ns(void);
uint64_t next_random(uint64_t *state);
float random_below(uint64_t *state, float limit);

/*
 * The server's side. @size: bytes; where memory is short, as many as the game needs will do.
 * A game created or joined is closed by exit(), also by one for an error: the last to leave takes
 * the segment's name along. So @game must be static.
 */
void game_create(struct game *game, const char *name, uint64_t size);

/* The clients' side: wait until there is a game, find everything, wait for the match to begin. */
void game_join(struct game *game, const char *name, const char *label, int64_t timeout_ns);

/* How many live processes with this label are attached. */
uint32_t game_count_members(const struct game *game, const char *label);

/* Is the server alive? */
bool game_has_server(const struct game *game);

/* A client has stopped touching the game. False: no server is left to tell the verdict. */
bool game_leave(struct game *game, int64_t timeout_ns);

/* The cell that holds a point of the world. */
static inline uint32_t cell_of(float x, float y)
{
	return (uint32_t)(y / CELL_SIZE) * GRID_SIDE + (uint32_t)(x / CELL_SIZE);
}

/* The AI reads the grid while the server counts in it: both sides do so atomically. */
static inline uint32_t grid_load(const uint32_t *cell)
{
	return __atomic_load_n(cell, __ATOMIC_RELAXED);
}

static inline void grid_add(uint32_t *cell, uint32_t count)
{
	__atomic_fetch_add(cell, count, __ATOMIC_RELAXED);
}

/* Checks of a game that stands still. Each prints what is wrong; the answer: is it sound? */
bool check_monsters(const struct game *game);
bool check_grid(const struct game *game);
bool check_leaderboard(const struct game *game);
bool check_frames(const struct game *game);
bool check_requests(const struct game *game);
bool check_messages(const struct game *game);

/* Print what the segment holds, from its name table. */
void print_memory_layout(const struct game *game, const char *name);

#endif
