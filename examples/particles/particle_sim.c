/*
 * particle_sim - simulates particles in shared memory, for renderers to look at.
 *
 * The particles live in a pool, the handles of those alive in an array. Every frame is shown whole
 * or not at all (see particles.h). Each particle is checked when it dies: the steps of the
 * integrator have a closed form, and its position and energy must agree with it.
 *
 * MAX_PARTICLES in the environment sets the size of the pool.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shmkit.h>

#include "emit.h"
#include "particles.h"

#define GRAVITY          9.8f
#define FRAME_SECONDS    (1.0f / 60)
#define BURSTS_AT_ONCE   64

/* What hundreds of steps in float may differ from one in double. */
#define POSITION_ERROR   5e-3	/* metres */
#define ENERGY_ERROR     5e-2	/* joules a kilogram */

struct options {
	const char *segment;
	uint32_t max_particles;
	uint32_t frames;
	uint32_t fps;
	uint32_t renderers;
	uint32_t seed;
	int64_t timeout_ns;
};

/* Where a particle began, by its index in the pool. */
struct origin {
	struct particle particle;
	uint64_t first_frame;	/* the first that moved it */
};

struct sim {
	const struct options *options;
	struct scene scene;
	struct emitter emitter;
	struct origin *origins;
	uint64_t *list;
	uint32_t active;
	uint64_t frame;
	uint64_t spawned, died, refused;
	uint64_t checked, wrong;
	double worst_position, worst_energy;
	struct particle bursts[BURSTS_AT_ONCE];	/* shells that died in the last frame */
	uint32_t burst_count;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: particle_sim [OPTION]...\n"
	      "Simulate particles in shared memory.\n"
	      "\n"
	      "  -s, --segment=NAME  shared memory to create (default " PARTICLES_SEGMENT ")\n"
	      "  -n, --frames=N      frames to simulate, 1/60 s each (default 300)\n"
	      "  -f, --fps=N         frames a second of real time; 0: no pause (default 60)\n"
	      "  -R, --renderers=N   begin when N renderers have come (default 0)\n"
	      "  -r, --seed=N        seed of the random numbers (default 1)\n"
	      "  -t, --timeout=SEC   how long to wait for renderers (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "Environment: MAX_PARTICLES, 1 to 1000000 (default 10000).\n"
	      "Exit status: 0 every check held, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_option(int option, struct options *options)
{
	switch (option) {
	case 's':
		options->segment = optarg;
		break;
	case 'n':
		options->frames = parse_number("--frames", optarg, 1, 100000000);
		break;
	case 'f':
		options->fps = parse_number("--fps", optarg, 0, 10000);
		break;
	case 'R':
		options->renderers = parse_number("--renderers", optarg, 0, 1000);
		break;
	case 'r':
		options->seed = parse_number("--seed", optarg, 0, UINT32_MAX);
		break;
	case 't':
		options->timeout_ns = parse_number("--timeout", optarg, 1, 3600) * NSEC_PER_SEC;
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
		{ "segment",   required_argument, NULL, 's' },
		{ "frames",    required_argument, NULL, 'n' },
		{ "fps",       required_argument, NULL, 'f' },
		{ "renderers", required_argument, NULL, 'R' },
		{ "seed",      required_argument, NULL, 'r' },
		{ "timeout",   required_argument, NULL, 't' },
		{ "help",      no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *max_particles = getenv("MAX_PARTICLES");
	int c;

	while ((c = getopt_long(argc, argv, "s:n:f:R:r:t:h", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
	if (max_particles != NULL)
		options->max_particles = parse_number("MAX_PARTICLES", max_particles, 1,
						      LIMIT_PARTICLES);
}

static struct origin *origin_of(struct sim *sim, uint64_t handle)
{
	int64_t index = shmkit_pool_index(sim->scene.particles, handle);

	if (index < 0)
		scene_fail("a particle of the active list is gone");
	return &sim->origins[index];
}

static struct particle *particle_of(const struct sim *sim, uint64_t handle)
{
	struct particle *particle = shmkit_pool_get(sim->scene.particles, handle);

	if (particle == NULL)
		errx(EXIT_FAILURE, "handle %" PRIx64 " of the active list is not valid", handle);
	return particle;
}

static void spawn_particle(void *context, const struct particle *particle)
{
	struct sim *sim = context;
	struct origin *origin;
	uint64_t handle;
	int result = shmkit_pool_acquire(sim->scene.particles, &handle);

	if (result == -EAGAIN) {
		sim->refused++;
		return;
	}
	if (result < 0)
		scene_fail("cannot spawn a particle");
	*particle_of(sim, handle) = *particle;
	origin = origin_of(sim, handle);
	origin->particle = *particle;
	origin->first_frame = sim->frame;
	sim->list[sim->active++] = handle;
	sim->spawned++;
}

static void emit(struct sim *sim)
{
	float scale = (float)sim->options->max_particles / DEFAULT_PARTICLES;

	for (uint32_t i = 0; i < sim->burst_count; i++)
		emit_burst(&sim->emitter, &sim->bursts[i], scale);
	sim->burst_count = 0;
	emit_frame(&sim->emitter, sim->frame, scale);
}

static void step_particle(struct particle *particle)
{
	for (int axis = 0; axis < 3; axis++)
		particle->position[axis] += particle->velocity[axis] * FRAME_SECONDS;
	particle->velocity[1] -= GRAVITY * FRAME_SECONDS;
	particle->lifetime -= FRAME_SECONDS;
}

/* Each particle is independent of the others, and a handle can be resolved by any thread. */
static void update_physics(struct sim *sim)
{
	#pragma omp parallel for schedule(static)
	for (uint32_t i = 0; i < sim->active; i++)
		step_particle(particle_of(sim, sim->list[i]));
}

/*
 * After n steps of h seconds:
 *	x = x0 + n h v0,  y = y0 + n h v0 - g h^2 n (n - 1) / 2,  v = v0 - n g h
 * and so the energy has grown by exactly n (g h)^2 / 2 a kilogram: the price of this integrator.
 */
static void check_particle(struct sim *sim, const struct particle *particle,
			   const struct origin *origin)
{
	const struct particle *start = &origin->particle;
	const double g = GRAVITY, h = FRAME_SECONDS;
	double n = (double)(sim->frame - origin->first_frame + 1);
	double energy = g * ((double)particle->position[1] - (double)start->position[1]);
	double position_error = 0;
	double energy_error;

	for (int axis = 0; axis < 3; axis++) {
		double v0 = start->velocity[axis], v = particle->velocity[axis];
		double expected = start->position[axis] + n * h * v0;

		if (axis == 1)
			expected -= g * h * h * n * (n - 1) / 2;
		position_error = fmax(position_error, fabs(particle->position[axis] - expected));
		energy += (v * v - v0 * v0) / 2;
	}
	energy_error = fabs(energy - n * (g * h) * (g * h) / 2);

	sim->worst_position = fmax(sim->worst_position, position_error);
	sim->worst_energy = fmax(sim->worst_energy, energy_error);
	sim->wrong += !(position_error < POSITION_ERROR && energy_error < ENERGY_ERROR);
	sim->checked++;
}

static void bury(struct sim *sim, uint64_t handle, const struct particle *particle)
{
	check_particle(sim, particle, origin_of(sim, handle));
	if (particle->type == PARTICLE_SHELL && sim->burst_count < BURSTS_AT_ONCE)
		sim->bursts[sim->burst_count++] = *particle;
	if (shmkit_pool_release(sim->scene.particles, handle) < 0)
		scene_fail("cannot release a particle");
	sim->died++;
}

static void compact_active_list(struct sim *sim)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < sim->active; i++) {
		uint64_t handle = sim->list[i];
		const struct particle *particle = particle_of(sim, handle);

		if (particle->lifetime > 0)
			sim->list[kept++] = handle;
		else
			bury(sim, handle, particle);
	}
	sim->active = kept;
}

static uint64_t frame_checksum(const struct sim *sim)
{
	uint64_t sum = 0;

	#pragma omp parallel for schedule(static) reduction(+:sum)
	for (uint32_t i = 0; i < sim->active; i++)
		sum += particle_checksum(i, sim->list[i], particle_of(sim, sim->list[i]));
	return sum;
}

static void simulate_frame(struct sim *sim)
{
	scene_begin_frame(&sim->scene, ++sim->frame);
	emit(sim);
	update_physics(sim);
	compact_active_list(sim);
	/* Before the last frame shows: who waits for a frame finds that it is the last. */
	if (sim->frame == sim->options->frames)
		shmkit_atomic_bool_store(sim->scene.running, 0);
	scene_end_frame(&sim->scene, sim->frame, sim->active, frame_checksum(sim));
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

static void simulate(struct sim *sim)
{
	uint64_t begin = now_ns();

	while (sim->frame < sim->options->frames) {
		simulate_frame(sim);
		if (sim->options->fps != 0)
			sleep_until(begin + sim->frame * NSEC_PER_SEC / sim->options->fps);
	}
}

static void wait_for_renderers(const struct scene *scene, const struct options *options)
{
	uint64_t deadline = now_ns() + (uint64_t)options->timeout_ns;
	uint32_t ready;

	while ((ready = shmkit_atomic_u32_load(scene->renderers_ready)) < options->renderers) {
		uint64_t now = now_ns();
		int result = now >= deadline ? -ETIMEDOUT :
			     shmkit_atomic_u32_wait(scene->renderers_ready, ready,
						    (int64_t)(deadline - now));

		if (result == -ETIMEDOUT)
			errx(EXIT_FAILURE, "%" PRIu32 " of %" PRIu32 " renderers came", ready,
			     options->renderers);
		if (result < 0 && result != -EINTR)
			scene_fail("cannot wait for renderers");
	}
}

/* The pool and the list must hold the same particles, and no others. */
static bool is_list_whole(struct sim *sim)
{
	uint64_t cursor = 0, handle;
	uint64_t walked = 0;
	bool *is_listed = calloc(sim->options->max_particles, sizeof(is_listed[0]));
	bool ok = true;

	if (is_listed == NULL)
		err(EXIT_FAILURE, "no memory");
	for (uint32_t i = 0; i < sim->active; i++)
		is_listed[origin_of(sim, sim->list[i]) - sim->origins] = true;
	for (; shmkit_pool_next(sim->scene.particles, &cursor, &handle) == 1; walked++)
		ok &= is_listed[origin_of(sim, handle) - sim->origins];
	free(is_listed);

	if (ok && walked == sim->active && sim->spawned - sim->died == sim->active &&
	    shmkit_pool_size(sim->scene.particles) == sim->active)
		return true;
	warnx("particles: %" PRIu64 " spawned - %" PRIu64 " died, %" PRIu32 " in the list, %" PRIu64
	      " in the pool, %" PRIu64 " met there", sim->spawned, sim->died, sim->active,
	      shmkit_pool_size(sim->scene.particles), walked);
	return false;
}

static bool is_sound(struct sim *sim)
{
	bool ok = is_list_whole(sim);

	for (uint32_t i = 0; i < sim->active; i++)
		check_particle(sim, particle_of(sim, sim->list[i]),
			       origin_of(sim, sim->list[i]));
	if (sim->wrong != 0) {
		warnx("%" PRIu64 " of %" PRIu64 " particles are not where the integrator leads",
		      sim->wrong, sim->checked);
		ok = false;
	}
	return ok;
}

static void sim_init(struct sim *sim, const struct options *options)
{
	sim->options = options;
	scene_create(&sim->scene, options->segment, options->max_particles);
	sim->list = shmkit_array_data(sim->scene.active_list);
	sim->origins = calloc(options->max_particles, sizeof(sim->origins[0]));
	if (sim->origins == NULL)
		err(EXIT_FAILURE, "no memory for %" PRIu32 " particles", options->max_particles);
	sim->emitter = (struct emitter){
		.random = options->seed,
		.spawn = spawn_particle,
		.context = sim,
	};
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = PARTICLES_SEGMENT,
		.max_particles = DEFAULT_PARTICLES,
		.frames = 300,
		.fps = 60,
		.seed = 1,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct sim sim;
	bool ok;

	parse_options(argc, argv, &options);
	sim_init(&sim, &options);
	printf("particle_sim: %" PRIu32 " particles at most, %" PRIu32 " frames\n",
	       options.max_particles, options.frames);
	fflush(stdout);

	wait_for_renderers(&sim.scene, &options);
	simulate(&sim);
	ok = is_sound(&sim);
	printf("particle_sim: %" PRIu64 " spawned, %" PRIu64 " died, %" PRIu32 " alive, %" PRIu64
	       " found no room\n", sim.spawned, sim.died, sim.active, sim.refused);
	printf("particle_sim: %" PRIu64 " checked, off by %.1e m and %.1e J/kg at most\n",
	       sim.checked, sim.worst_position, sim.worst_energy);
	printf("particle_sim: %s\n", ok ? "PASS" : "FAIL");
	free(sim.origins);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
