/*
 * What simulation and renderer agree on: names, the shape of a particle, and how a frame is shown.
 *
 * The simulation changes particles in place while others may be reading. Two counters tell a reader
 * whether what it copied is one whole frame:
 *
 *	simulation: frame_begin = n; change everything; active, checksum; frame = n
 *	reader:     n = frame; frame_begin == n?  copy everything; frame_begin still == n?
 *
 * If the last answer is no, the simulation had begun the next frame: the copy is torn and thrown
 * away. The checksum proves the point: it is computed over what was published and again over what
 * was copied.
 */
#ifndef PARTICLES_H
#define PARTICLES_H

#include <stdbool.h>
#include <stdint.h>

#include <shmkit.h>

#define PARTICLES_SEGMENT "particle_sim"
#define LAST_NAME         "active"	/* made last: who finds it finds all the others */
#define SIM_LABEL         "particle_sim"
#define DEFAULT_PARTICLES 10000
#define LIMIT_PARTICLES   1000000

#define NSEC_PER_SEC INT64_C(1000000000)

enum particle_type { PARTICLE_WATER, PARTICLE_EMBER, PARTICLE_SHELL, PARTICLE_SPARK,
		     PARTICLE_TYPES };

struct particle {
	float    position[3];	/* metres; y points up, the ground is y = 0 */
	float    velocity[3];	/* metres a second */
	float    mass;		/* kilograms */
	float    lifetime;	/* seconds left */
	uint32_t type;
	uint32_t flags;		/* of a shell and its sparks: the hue, 0 to 255 */
};
#define PARTICLE_SCHEMA "position:f32[3] velocity:f32[3] mass:f32 lifetime:f32 type:u32 flags:u32"
#define HANDLE_SCHEMA   "handle:u64"

_Static_assert(sizeof(struct particle) == 40, "no hidden padding");

struct scene {
	struct shmkit_segment *segment;
	struct shmkit_pool *particles;
	struct shmkit_array *active_list;		/* handles: the first "active" count */
	struct shmkit_atomic_u64 *frame_begin;		/* the frame that is being made, or was */
	struct shmkit_atomic_u64 *frame;		/* the newest whole frame */
	struct shmkit_atomic_u64 *checksum;		/* of that frame */
	struct shmkit_atomic_u32 *active;
	struct shmkit_atomic_bool *running;
	struct shmkit_atomic_u32 *renderers_ready;	/* how many have ever come */
};

/* A copy of one frame. */
struct snapshot {
	uint64_t frame;
	uint32_t count;
	uint64_t *handles;
	struct particle *particles;
};

/* Print "@what: why it failed" and exit with 1. */
_Noreturn void scene_fail(const char *what);

/* The number in @text, or exit with 2. @source names the option or variable it came from. */
uint32_t parse_number(const char *source, const char *text, uint32_t min, uint32_t max);

uint64_t now_ns(void);

/*
 * The simulation's side. A scene created or joined is closed by exit(), also by one for an error:
 * the last to leave takes the segment's name along. So @scene must be static.
 */
void scene_create(struct scene *scene, const char *name, uint32_t max_particles);
void scene_begin_frame(struct scene *scene, uint64_t frame);
void scene_end_frame(struct scene *scene, uint64_t frame, uint32_t active, uint64_t checksum);

/* The renderer's side: wait until there is a simulation and find everything. */
void scene_join(struct scene *scene, const char *name, int64_t timeout_ns);
bool scene_has_simulation(const struct scene *scene);
void snapshot_init(struct snapshot *snapshot, const struct scene *scene);
void snapshot_finish(struct snapshot *snapshot);

/*
 * Copy the newest frame. False: the simulation changed it meanwhile and the copy is worthless;
 * @snapshot->frame then tells which one it was, to wait for the next.
 */
bool scene_copy_frame(const struct scene *scene, struct snapshot *snapshot, uint64_t *ret_checksum);

/* One particle's share of a frame's checksum: summed, so it can be computed in parallel. */
uint64_t particle_checksum(uint32_t index, uint64_t handle, const struct particle *particle);

#endif
