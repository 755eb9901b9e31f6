/*
 * The simulation: what the server does in one frame. Only the server includes this.
 */
#ifndef WORLD_H
#define WORLD_H

#include "game.h"

struct world {
	struct game *game;
	uint32_t *grid;
	uint64_t random;
	uint32_t max_players;
	uint32_t message_sequence;
	struct totals totals;
};

/* @monsters: how many there are before anybody asks for more. */
void world_init(struct world *world, struct game *game, uint32_t players, uint32_t monsters,
		uint64_t seed);

/* One frame: spawns, movement, collisions, damage, scores. */
void world_step(struct world *world);

/* Take what the AI asked for too late to be spawned. */
void world_drain_requests(struct world *world);

#endif
