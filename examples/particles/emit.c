/*
 * Where particles come from. All of it follows from the seed.
 */
#include "emit.h"

#include <math.h>

#define GRAVITY        9.8f
#define TWO_PI         6.2831853f
#define WATER_A_FRAME  34
#define EMBERS_A_FRAME 8
#define SHELL_FRAMES   24	/* a shell so often */
#define SPARKS         260	/* of one shell */

static uint64_t next_random(uint64_t *state)	/* splitmix64 */
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static float between(struct emitter *emitter, float low, float high)
{
	float unit = (float)(next_random(&emitter->random) >> 40) / (float)(1 << 24);

	return low + unit * (high - low);
}

/* A stream of water that spreads as it rises. */
static void emit_water(struct emitter *emitter)
{
	float angle = between(emitter, 0, TWO_PI);
	float spread = between(emitter, 0.4f, 2.6f);
	struct particle particle = {
		.position = { between(emitter, -0.15f, 0.15f), 0, between(emitter, -0.15f, 0.15f) },
		.velocity = { spread * cosf(angle), between(emitter, 11.0f, 13.5f),
			      spread * sinf(angle) },
		.mass = 0.02f,
		.type = PARTICLE_WATER,
	};

	particle.lifetime = 2 * particle.velocity[1] / GRAVITY;	/* until it is back on the ground */
	emitter->spawn(emitter->context, &particle);
}

/* A ring of low fire around the fountain. */
static void emit_ember(struct emitter *emitter)
{
	float angle = between(emitter, 0, TWO_PI);
	float radius = between(emitter, 6.5f, 7.5f);
	struct particle particle = {
		.position = { radius * cosf(angle), 0, radius * sinf(angle) },
		.velocity = { between(emitter, -0.5f, 0.5f), between(emitter, 2.5f, 6.0f),
			      between(emitter, -0.5f, 0.5f) },
		.mass = 0.005f,
		.type = PARTICLE_EMBER,
	};

	particle.lifetime = between(emitter, 0.6f, 1.0f) * 2 * particle.velocity[1] / GRAVITY;
	emitter->spawn(emitter->context, &particle);
}

static void emit_shell(struct emitter *emitter)
{
	struct particle particle = {
		.position = { between(emitter, -13.0f, 13.0f), 0, between(emitter, -8.0f, 2.0f) },
		.velocity = { between(emitter, -1.5f, 1.5f), between(emitter, 14.5f, 18.0f),
			      between(emitter, -1.0f, 1.0f) },
		.mass = 0.5f,
		.type = PARTICLE_SHELL,
		.flags = (uint32_t)(next_random(&emitter->random) >> 56),
	};

	particle.lifetime = particle.velocity[1] / GRAVITY;	/* until it stands still */
	emitter->spawn(emitter->context, &particle);
}

void emit_frame(struct emitter *emitter, uint64_t frame, float scale)
{
	int water = (int)ceilf(WATER_A_FRAME * scale);
	int embers = (int)ceilf(EMBERS_A_FRAME * scale);

	if (frame % SHELL_FRAMES == 1)
		emit_shell(emitter);
	for (int i = 0; i < water; i++)
		emit_water(emitter);
	for (int i = 0; i < embers; i++)
		emit_ember(emitter);
}

/* Evenly over a sphere, all nearly as fast: it looks like a ball. */
void emit_burst(struct emitter *emitter, const struct particle *shell, float scale)
{
	int sparks = (int)ceilf(SPARKS * scale);

	for (int i = 0; i < sparks; i++) {
		float up = between(emitter, -1, 1);
		float angle = between(emitter, 0, TWO_PI);
		float speed = between(emitter, 5.2f, 6.0f);
		float side = speed * sqrtf(1 - up * up);
		struct particle particle = *shell;

		particle.velocity[0] += side * cosf(angle);
		particle.velocity[1] += speed * up;
		particle.velocity[2] += side * sinf(angle);
		particle.mass = shell->mass / (float)sparks;
		particle.lifetime = between(emitter, 1.1f, 1.7f);
		particle.type = PARTICLE_SPARK;
		emitter->spawn(emitter->context, &particle);
	}
}
