/*
 * The simulation. Everything lives in shared memory and only the server writes it, but for the
 * queue of spawn requests, which the AI fills.
 */
#include "world.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define FRAME_SECONDS     (1.0f / FRAMES_PER_SEC)
#define PLAYER_SPEED      60		/* a second */
#define MONSTER_SPEED     20
#define PROJECTILE_SPEED  200
#define PROJECTILE_FRAMES 60
#define PROJECTILE_DAMAGE 10
#define PLAYER_HEALTH     100
#define SHOT_COOLDOWN     8		/* frames */
#define SIGHT             10		/* cells a player looks around for a target */
#define BITE_FRAMES       15		/* how often monsters bite who stands in their cell */
#define BITE_DAMAGE       5
#define JOIN_FRAMES       5		/* how often a player joins */

_Static_assert(PROJECTILE_SPEED < CELL_SIZE * FRAMES_PER_SEC, "a projectile must not skip a cell");

static const struct {
	int32_t health;
	uint32_t score;
	float speed;
} monster_kinds[MONSTER_KINDS] = {
	[MONSTER_GRUNT]  = { 30, 25, 1.0f },
	[MONSTER_MINION] = { 10, 10, 1.5f },
	[MONSTER_BOSS]   = { 150, 100, 0.5f },
};

static const char *const player_names[] = {
	"Ada", "Alan", "Barbara", "Bjarne", "Dennis", "Donald", "Edsger", "Frances",
	"Grace", "Ken", "Leslie", "Linus", "Margaret", "Niklaus", "Radia", "Tony",
};
#define PLAYER_NAMES (sizeof(player_names) / sizeof(player_names[0]))

/* Enqueue, and answer whether there was room. */
static bool send(struct shmkit_queue *queue, const void *element, const char *what)
{
	int result = shmkit_queue_enqueue(queue, element);

	if (result < 0 && result != -EAGAIN)
		game_fail(what);
	return result == 0;
}

static bool receive(struct shmkit_queue *queue, void *element, const char *what)
{
	int result = shmkit_queue_dequeue(queue, element);

	if (result < 0 && result != -EAGAIN)
		game_fail(what);
	return result == 0;
}

/* A new object, or NULL where the pool is full. */
static void *acquire(struct shmkit_pool *pool, uint64_t *ret_handle, const char *what)
{
	int result = shmkit_pool_acquire(pool, ret_handle);

	if (result < 0 && result != -EAGAIN)
		game_fail(what);
	return result == 0 ? shmkit_pool_get(pool, *ret_handle) : NULL;
}

static void release(struct shmkit_pool *pool, uint64_t handle, const char *what)
{
	if (shmkit_pool_release(pool, handle) < 0)
		game_fail(what);
}

/* Nobody has to listen: where the queue is full, the message is counted and dropped. */
static void tell(struct world *world, enum message_type type, uint32_t player_id, uint32_t value)
{
	struct network_message message = {
		.tick = world->totals.frames + 1,
		.sequence = world->message_sequence,
		.type = type,
		.player_id = player_id,
		.value = value,
	};

	if (send(world->game->network_messages, &message, "cannot send a network message")) {
		world->message_sequence++;
		world->totals.messages_sent++;
	} else {
		world->totals.messages_dropped++;
	}
}

static void deal_damage(struct world *world, uint64_t target, enum target_kind target_kind,
			uint64_t source, int32_t amount)
{
	struct damage_event event = {
		.target = target,
		.source = source,
		.target_kind = target_kind,
		.amount = amount,
	};

	/* A frame has at most one event a projectile and one a player: it is never full. */
	if (!send(world->game->damage_events, &event, "cannot send a damage event"))
		game_fail("the damage queue is full");
	world->totals.damage_sent++;
}

static void set_course(struct world *world, float speed, float *vx, float *vy)
{
	float angle = random_below(&world->random, 2.0f * (float)M_PI);

	*vx = speed * cosf(angle);
	*vy = speed * sinf(angle);
}

/* One step along an axis, turning round at the edge of the world. */
static void advance(float *position, float *velocity)
{
	const float last = WORLD_SIZE - 0.001f;

	*position += *velocity * FRAME_SECONDS;
	if (*position < 0.0f || *position > last) {
		*velocity = -*velocity;
		*position = *position < 0.0f ? 0.0f : last;
	}
}

static bool spawn_monster(struct world *world, uint32_t kind, float x, float y)
{
	struct monster *monster;
	uint64_t handle;

	if (kind >= MONSTER_KINDS || !(x >= 0 && x < WORLD_SIZE && y >= 0 && y < WORLD_SIZE))
		return false;
	monster = acquire(world->game->monsters, &handle, "cannot spawn a monster");
	if (monster == NULL)
		return false;
	monster->x = x;
	monster->y = y;
	monster->kind = kind;
	monster->health = monster_kinds[kind].health;
	set_course(world, MONSTER_SPEED * monster_kinds[kind].speed, &monster->vx, &monster->vy);
	grid_add(&world->grid[cell_of(x, y)], 1);
	world->totals.monsters_spawned++;
	return true;
}

static void take_requests(struct world *world)
{
	struct spawn_request request;

	while (receive(world->game->spawn_requests, &request, "cannot take a spawn request")) {
		if (spawn_monster(world, request.kind, request.x, request.y))
			world->totals.requests_spawned++;
		else
			world->totals.requests_rejected++;
	}
}

void world_drain_requests(struct world *world)
{
	struct spawn_request request;

	while (receive(world->game->spawn_requests, &request, "cannot take a spawn request"))
		world->totals.requests_late++;
}

static void place_player(struct world *world, struct player *player)
{
	player->x = random_below(&world->random, WORLD_SIZE);
	player->y = random_below(&world->random, WORLD_SIZE);
	player->health = PLAYER_HEALTH;
	set_course(world, PLAYER_SPEED, &player->vx, &player->vy);
}

static void join_player(struct world *world)
{
	struct player *player;
	uint64_t handle;
	uint32_t id;

	player = acquire(world->game->players, &handle, "a player cannot join");
	if (player == NULL)
		return;
	id = shmkit_atomic_u32_fetch_add(world->game->players_online, 1) + 1;
	player->player_id = id;
	if (id <= PLAYER_NAMES)
		snprintf(player->name, NAME_SIZE, "%s", player_names[id - 1]);
	else
		snprintf(player->name, NAME_SIZE, "%s %" PRIu32, player_names[id % PLAYER_NAMES],
			 id);
	place_player(world, player);
	tell(world, MESSAGE_JOIN, id, 0);
}

/* The nearest cell in sight with a monster in it, by the grid. */
static bool find_target(const struct world *world, const struct player *player,
			float *target_x, float *target_y)
{
	int column = (int)(player->x / CELL_SIZE);
	int row = (int)(player->y / CELL_SIZE);
	int nearest = SIGHT * SIGHT + 1;

	for (int y = -SIGHT; y <= SIGHT; y++) {
		for (int x = -SIGHT; x <= SIGHT; x++) {
			if (row + y < 0 || row + y >= GRID_SIDE || column + x < 0 ||
			    column + x >= GRID_SIDE || x * x + y * y >= nearest)
				continue;
			if (grid_load(&world->grid[(row + y) * GRID_SIDE + column + x]) == 0)
				continue;
			nearest = x * x + y * y;
			*target_x = ((float)(column + x) + 0.5f) * CELL_SIZE;
			*target_y = ((float)(row + y) + 0.5f) * CELL_SIZE;
		}
	}
	return nearest <= SIGHT * SIGHT;
}

static void shoot(struct world *world, uint64_t shooter, const struct player *player,
		  float target_x, float target_y)
{
	float dx = target_x - player->x;
	float dy = target_y - player->y;
	float distance = sqrtf(dx * dx + dy * dy);
	struct projectile *projectile;
	uint64_t handle;

	projectile = acquire(world->game->projectiles, &handle, "cannot shoot");
	if (projectile == NULL) {
		world->totals.shots_refused++;
		return;
	}
	projectile->x = player->x;
	projectile->y = player->y;
	projectile->vx = distance > 0 ? dx / distance * PROJECTILE_SPEED : PROJECTILE_SPEED;
	projectile->vy = distance > 0 ? dy / distance * PROJECTILE_SPEED : 0;
	projectile->shooter = shooter;
	projectile->damage = PROJECTILE_DAMAGE;
	projectile->frames_left = PROJECTILE_FRAMES;
	world->totals.shots++;
}

static void step_player(struct world *world, uint64_t handle, struct player *player)
{
	uint32_t monsters_here;
	float x, y;

	advance(&player->x, &player->vx);
	advance(&player->y, &player->vy);

	monsters_here = grid_load(&world->grid[cell_of(player->x, player->y)]);
	if (monsters_here > 0 && (world->totals.frames + player->player_id) % BITE_FRAMES == 0)
		deal_damage(world, handle, TARGET_PLAYER, SHMKIT_POOL_INVALID,
			    (int32_t)monsters_here * BITE_DAMAGE);

	if (player->cooldown > 0) {
		player->cooldown--;
	} else if (find_target(world, player, &x, &y)) {
		shoot(world, handle, player, x, y);
		player->cooldown = SHOT_COOLDOWN;
	}
}

static void step_players(struct world *world)
{
	uint64_t cursor = 0, handle;

	if (world->totals.frames % JOIN_FRAMES == 0 &&
	    shmkit_pool_size(world->game->players) < world->max_players)
		join_player(world);
	while (shmkit_pool_next(world->game->players, &cursor, &handle) == 1)
		step_player(world, handle, shmkit_pool_get(world->game->players, handle));
}

static void step_monsters(struct world *world)
{
	uint64_t cursor = 0, handle;

	while (shmkit_pool_next(world->game->monsters, &cursor, &handle) == 1) {
		struct monster *monster = shmkit_pool_get(world->game->monsters, handle);
		uint32_t before = cell_of(monster->x, monster->y);
		uint32_t after;

		advance(&monster->x, &monster->vx);
		advance(&monster->y, &monster->vy);
		after = cell_of(monster->x, monster->y);
		if (after != before) {
			grid_add(&world->grid[before], (uint32_t)-1);
			grid_add(&world->grid[after], 1);
		}
	}
}

static uint64_t monster_in_cell(const struct world *world, uint32_t cell)
{
	uint64_t cursor = 0, handle;

	while (shmkit_pool_next(world->game->monsters, &cursor, &handle) == 1) {
		const struct monster *monster = shmkit_pool_view(world->game->monsters, handle);

		if (cell_of(monster->x, monster->y) == cell)
			return handle;
	}
	return SHMKIT_POOL_INVALID;
}

/* Did it hit, leave the world, or run out? Then it is gone. */
static bool is_spent(struct world *world, struct projectile *projectile)
{
	uint32_t cell;

	projectile->x += projectile->vx * FRAME_SECONDS;
	projectile->y += projectile->vy * FRAME_SECONDS;
	if (--projectile->frames_left == 0 || !(projectile->x >= 0 && projectile->x < WORLD_SIZE &&
						projectile->y >= 0 && projectile->y < WORLD_SIZE))
		return true;

	cell = cell_of(projectile->x, projectile->y);
	if (grid_load(&world->grid[cell]) == 0)	/* nearly always: no need to look at monsters */
		return false;
	deal_damage(world, monster_in_cell(world, cell), TARGET_MONSTER, projectile->shooter,
		    projectile->damage);
	world->totals.hits++;
	return true;
}

static void step_projectiles(struct world *world)
{
	uint64_t cursor = 0, handle;

	while (shmkit_pool_next(world->game->projectiles, &cursor, &handle) == 1) {
		if (is_spent(world, shmkit_pool_get(world->game->projectiles, handle)))
			release(world->game->projectiles, handle, "cannot drop a projectile");
	}
}

/* Keep the ten best in order: a score only grows, so an entry can only move up. */
static void update_leaderboard(struct world *world, const struct player *player)
{
	struct score_entry *table = shmkit_array_data(world->game->leaderboard);
	size_t i = 0;

	while (i < LEADERBOARD - 1 && table[i].player_id != player->player_id)
		i++;
	if (table[i].player_id != player->player_id && table[i].score >= player->score)
		return;
	for (; i > 0 && table[i - 1].score < player->score; i--)
		table[i] = table[i - 1];
	memcpy(table[i].name, player->name, NAME_SIZE);
	table[i].score = player->score;
	table[i].player_id = player->player_id;
}

static void kill_monster(struct world *world, uint64_t handle, const struct monster *monster,
			 uint64_t killer)
{
	struct player *player = shmkit_pool_get(world->game->players, killer);
	uint32_t score = monster_kinds[monster->kind].score;

	grid_add(&world->grid[cell_of(monster->x, monster->y)], (uint32_t)-1);
	release(world->game->monsters, handle, "cannot remove a monster");
	world->totals.monsters_killed++;
	if (player != NULL) {
		player->kills++;
		player->score += score;
		update_leaderboard(world, player);
		tell(world, MESSAGE_KILL, player->player_id, score);
	}
}

/* An event may name what was killed earlier in the frame: its handle then answers NULL. */
static bool apply_damage(struct world *world, const struct damage_event *event)
{
	struct monster *monster;
	struct player *player;

	if (event->target_kind == TARGET_MONSTER) {
		monster = shmkit_pool_get(world->game->monsters, event->target);
		if (monster == NULL)
			return false;
		monster->health -= event->amount;
		if (monster->health <= 0)
			kill_monster(world, event->target, monster, event->source);
		return true;
	}
	player = shmkit_pool_get(world->game->players, event->target);
	if (player == NULL)
		return false;
	player->health -= event->amount;
	if (player->health <= 0) {
		player->deaths++;
		tell(world, MESSAGE_DEATH, player->player_id, player->deaths);
		place_player(world, player);
	}
	return true;
}

static void apply_events(struct world *world)
{
	struct damage_event event;

	while (receive(world->game->damage_events, &event, "cannot take a damage event")) {
		if (apply_damage(world, &event))
			world->totals.damage_applied++;
		else
			world->totals.damage_too_late++;
	}
}

void world_step(struct world *world)
{
	take_requests(world);
	step_players(world);
	step_monsters(world);
	step_projectiles(world);
	apply_events(world);
	world->totals.frames++;
}

void world_init(struct world *world, struct game *game, uint32_t players, uint32_t monsters,
		uint64_t seed)
{
	memset(world, 0, sizeof(*world));
	world->game = game;
	world->grid = shmkit_array_data(game->collision);
	world->random = seed;
	world->max_players = players;
	for (uint32_t i = 0; i < monsters; i++) {
		uint32_t kind = i % 50 == 49 ? MONSTER_BOSS : MONSTER_GRUNT;
		float x = random_below(&world->random, WORLD_SIZE);
		float y = random_below(&world->random, WORLD_SIZE);

		spawn_monster(world, kind, x, y);
	}
}
