/*
 * The part that both programs share: what is in the segment, and showing and copying a frame.
 */
#include "particles.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct scene *scene_to_close;

_Noreturn void scene_fail(const char *what)
{
	errx(EXIT_FAILURE, "%s: %s", what, shmkit_last_error());
}

uint32_t parse_number(const char *source, const char *text, uint32_t min, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, min, max, &problem);

	if (problem != NULL)
		errx(2, "%s '%s': %s (%" PRIu32 " to %" PRIu32 ")", source, text, problem, min,
		     max);
	return (uint32_t)value;
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

static uint64_t object_size(uint32_t kind, uint32_t element_size, uint64_t capacity)
{
	uint64_t size;

	if (shmkit_object_footprint(kind, element_size, capacity, NULL, &size) < 0)
		scene_fail("cannot tell the size of the segment");
	return size;
}

/* Exactly what the structures take: nobody has to guess. */
static uint64_t segment_size(uint32_t max_particles)
{
	uint64_t size;

	if (shmkit_segment_footprint(NULL, &size) < 0)
		scene_fail("cannot tell the size of the segment");
	size += object_size(SHMKIT_KIND_POOL, sizeof(struct particle), max_particles);
	size += object_size(SHMKIT_KIND_ARRAY, sizeof(uint64_t), max_particles);
	size += 3 * object_size(SHMKIT_KIND_ATOMIC_U64, sizeof(uint64_t), 1);
	size += 2 * object_size(SHMKIT_KIND_ATOMIC_U32, sizeof(uint32_t), 1);
	size += object_size(SHMKIT_KIND_ATOMIC_BOOL, sizeof(uint8_t), 1);
	return size;
}

static void close_scene(void)
{
	struct scene *scene = scene_to_close;

	shmkit_pool_close(scene->particles);
	shmkit_array_close(scene->active_list);
	shmkit_atomic_u64_close(scene->frame_begin);
	shmkit_atomic_u64_close(scene->frame);
	shmkit_atomic_u64_close(scene->checksum);
	shmkit_atomic_bool_close(scene->running);
	shmkit_atomic_u32_close(scene->renderers_ready);
	shmkit_atomic_u32_close(scene->active);
	shmkit_segment_close(scene->segment);
}

static void close_at_exit(struct scene *scene)
{
	scene_to_close = scene;
	atexit(close_scene);
}

static void pause_20_ms(void)
{
	const struct timespec pause = { .tv_nsec = 20000000 };

	nanosleep(&pause, NULL);
}

/* Look read-only: a reader is no member and does not keep alive what it looks at. */
static bool is_simulation_there(const char *name)
{
	struct scene scene = { 0 };
	bool is_there;

	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &scene.segment) < 0)
		return false;
	is_there = scene_has_simulation(&scene);
	shmkit_segment_close(scene.segment);
	return is_there;
}

/*
 * What a killed simulation has left behind is replaced as soon as nobody uses it any more: its
 * renderers notice within a second and leave.
 */
static void create_segment(struct scene *scene, const char *name, uint64_t size)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,
	};
	int result = -EEXIST;

	for (int looks = 0; looks < 150; looks++) {
		result = shmkit_segment_create(name, size, &options, &scene->segment);
		if (result != -EEXIST || is_simulation_there(name))
			break;
		pause_20_ms();
	}
	if (result < 0)
		scene_fail("cannot create the segment");
	if (shmkit_segment_set_label(scene->segment, SIM_LABEL) < 0)
		scene_fail("cannot set the label");
}

void scene_create(struct scene *scene, const char *name, uint32_t max_particles)
{
	struct shmkit_object_options particle_options = {
		.struct_size = sizeof(particle_options),
		.schema = PARTICLE_SCHEMA,
	};
	struct shmkit_object_options handle_options = {
		.struct_size = sizeof(handle_options),
		.schema = HANDLE_SCHEMA,
	};
	struct shmkit_segment *segment;

	close_at_exit(scene);
	create_segment(scene, name, segment_size(max_particles));
	segment = scene->segment;
	if (shmkit_pool_create(segment, "particles", sizeof(struct particle), max_particles,
			       &particle_options, &scene->particles) < 0 ||
	    shmkit_array_create(segment, "active_list", sizeof(uint64_t), max_particles,
				&handle_options, &scene->active_list) < 0 ||
	    shmkit_atomic_u64_create(segment, "frame_begin", 0, &scene->frame_begin) < 0 ||
	    shmkit_atomic_u64_create(segment, "frame", 0, &scene->frame) < 0 ||
	    shmkit_atomic_u64_create(segment, "checksum", 0, &scene->checksum) < 0 ||
	    shmkit_atomic_bool_create(segment, "running", 1, &scene->running) < 0 ||
	    shmkit_atomic_u32_create(segment, "renderers_ready", 0, &scene->renderers_ready) < 0 ||
	    shmkit_atomic_u32_create(segment, LAST_NAME, 0, &scene->active) < 0)
		scene_fail("cannot set up the simulation");
}

/* A segment without a simulation is what a dead one has left: with its last renderer it goes. */
static void find_simulation(struct scene *scene, const char *name, int64_t timeout_ns)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;

	for (;;) {
		if (shmkit_segment_open_wait(name, 0, timeout_ns, &scene->segment) < 0)
			scene_fail("cannot find the simulation");
		if (scene_has_simulation(scene))
			return;
		shmkit_segment_close(scene->segment);
		scene->segment = NULL;
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "segment '%s' is left over from a simulation that died",
			     name);
		pause_20_ms();
	}
}

void scene_join(struct scene *scene, const char *name, int64_t timeout_ns)
{
	struct shmkit_segment *segment;

	close_at_exit(scene);
	find_simulation(scene, name, timeout_ns);
	segment = scene->segment;
	if (shmkit_segment_wait_for(segment, LAST_NAME, timeout_ns) < 0)
		scene_fail("the simulation is not complete");
	if (shmkit_pool_open(segment, "particles", sizeof(struct particle),
			     &scene->particles) < 0 ||
	    shmkit_array_open(segment, "active_list", sizeof(uint64_t), &scene->active_list) < 0 ||
	    shmkit_atomic_u64_open(segment, "frame_begin", &scene->frame_begin) < 0 ||
	    shmkit_atomic_u64_open(segment, "frame", &scene->frame) < 0 ||
	    shmkit_atomic_u64_open(segment, "checksum", &scene->checksum) < 0 ||
	    shmkit_atomic_bool_open(segment, "running", &scene->running) < 0 ||
	    shmkit_atomic_u32_open(segment, "renderers_ready", &scene->renderers_ready) < 0 ||
	    shmkit_atomic_u32_open(segment, LAST_NAME, &scene->active) < 0)
		scene_fail("cannot join the simulation");
	shmkit_atomic_u32_fetch_add(scene->renderers_ready, 1);
}

bool scene_has_simulation(const struct scene *scene)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	while (shmkit_segment_next_member(scene->segment, &cursor, &member) == 1) {
		if (member.alive != 0 && strcmp(member.label, SIM_LABEL) == 0)
			return true;
	}
	return false;
}

uint64_t particle_checksum(uint32_t index, uint64_t handle, const struct particle *particle)
{
	uint32_t words[sizeof(*particle) / sizeof(uint32_t)];
	uint64_t sum = handle ^ (index * UINT64_C(0x9e3779b97f4a7c15));

	memcpy(words, particle, sizeof(words));
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		sum = (sum ^ words[i]) * UINT64_C(0x100000001b3) + (sum >> 29);
	return sum ^ (sum >> 32);
}

/* Particles are plain memory: the fence keeps their changes behind frame_begin. */
void scene_begin_frame(struct scene *scene, uint64_t frame)
{
	shmkit_atomic_u64_store(scene->frame_begin, frame);
	atomic_thread_fence(memory_order_release);
}

void scene_end_frame(struct scene *scene, uint64_t frame, uint32_t active, uint64_t checksum)
{
	shmkit_atomic_u32_store(scene->active, active);
	shmkit_atomic_u64_store(scene->checksum, checksum);
	shmkit_atomic_u64_store(scene->frame, frame);
}

void snapshot_init(struct snapshot *snapshot, const struct scene *scene)
{
	size_t capacity = (size_t)shmkit_pool_capacity(scene->particles);

	memset(snapshot, 0, sizeof(*snapshot));
	snapshot->handles = calloc(capacity, sizeof(snapshot->handles[0]));
	snapshot->particles = calloc(capacity, sizeof(snapshot->particles[0]));
	if (snapshot->handles == NULL || snapshot->particles == NULL)
		err(EXIT_FAILURE, "no memory for a copy of %zu particles", capacity);
}

void snapshot_finish(struct snapshot *snapshot)
{
	free(snapshot->handles);
	free(snapshot->particles);
}

/* A handle in the list that is not valid any more is one more sign that the frame is gone. */
static bool copy_particles(const struct scene *scene, struct snapshot *snapshot)
{
	if (snapshot->count > shmkit_pool_capacity(scene->particles))
		return false;
	if (shmkit_array_read(scene->active_list, 0, snapshot->count, snapshot->handles) < 0)
		scene_fail("cannot read the list of particles");
	for (uint32_t i = 0; i < snapshot->count; i++) {
		int result = shmkit_pool_read(scene->particles, snapshot->handles[i],
					      &snapshot->particles[i]);

		if (result == -ESTALE)
			return false;
		if (result < 0)
			scene_fail("cannot read a particle");
	}
	return true;
}

bool scene_copy_frame(const struct scene *scene, struct snapshot *snapshot, uint64_t *ret_checksum)
{
	bool is_complete;

	snapshot->frame = shmkit_atomic_u64_load(scene->frame);
	if (shmkit_atomic_u64_load(scene->frame_begin) != snapshot->frame)
		return false;
	snapshot->count = shmkit_atomic_u32_load(scene->active);
	*ret_checksum = shmkit_atomic_u64_load(scene->checksum);
	is_complete = copy_particles(scene, snapshot);

	/* The copy is complete before the counter is looked at again. */
	atomic_thread_fence(memory_order_acquire);
	return is_complete && shmkit_atomic_u64_load(scene->frame_begin) == snapshot->frame;
}
