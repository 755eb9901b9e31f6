/*
 * particle_renderer - draws frames of a running particle simulation into PNG files.
 *
 * Only frames that were seen whole are drawn: a copy that the simulation disturbed is counted as
 * torn and thrown away, and the checksum of every other must be the one that the simulation told.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <shmkit.h>

#include "particles.h"
#include "picture.h"

#define SLICE_NS (NSEC_PER_SEC / 4)	/* how often one that waits looks whether the other lives */

struct options {
	const char *segment;
	const char *directory;
	uint32_t frames;
	uint32_t every;
	uint32_t width, height;
	int64_t timeout_ns;
};

struct renderer {
	const struct options *options;
	struct scene scene;
	struct snapshot snapshot;
	struct picture picture;
	uint64_t whole, torn, wrong;
	uint32_t written;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: particle_renderer [OPTION]...\n"
	      "Draw frames of a particle simulation into PNG files.\n"
	      "\n"
	      "  -s, --segment=NAME  the simulation (default " PARTICLES_SEGMENT ")\n"
	      "  -o, --out=DIR       where the pictures go (default .)\n"
	      "  -n, --frames=N      pictures to draw, at most (default 10)\n"
	      "  -e, --every=N       one in N frames of the simulation (default 20)\n"
	      "  -W, --width=N       pixels (default 960)\n"
	      "  -H, --height=N      pixels (default 540)\n"
	      "  -t, --timeout=SEC   how long to wait for the simulation (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "It ends when it has them all or the simulation ends.\n"
	      "Exit status: 0 every frame drawn was whole, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_option(int option, struct options *options)
{
	switch (option) {
	case 's':
		options->segment = optarg;
		break;
	case 'o':
		options->directory = optarg;
		break;
	case 'n':
		options->frames = parse_number("--frames", optarg, 1, 1000000);
		break;
	case 'e':
		options->every = parse_number("--every", optarg, 1, 1000000);
		break;
	case 'W':
		options->width = parse_number("--width", optarg, 16, 8192);
		break;
	case 'H':
		options->height = parse_number("--height", optarg, 16, 8192);
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
		{ "segment", required_argument, NULL, 's' },
		{ "out",     required_argument, NULL, 'o' },
		{ "frames",  required_argument, NULL, 'n' },
		{ "every",   required_argument, NULL, 'e' },
		{ "width",   required_argument, NULL, 'W' },
		{ "height",  required_argument, NULL, 'H' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help",    no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:o:n:e:W:H:t:h", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
	if (mkdir(options->directory, 0777) < 0 && errno != EEXIST)
		err(EXIT_FAILURE, "%s", options->directory);
}

static bool is_as_published(const struct snapshot *snapshot, uint64_t checksum)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < snapshot->count; i++)
		sum += particle_checksum(i, snapshot->handles[i], &snapshot->particles[i]);
	if (sum == checksum)
		return true;
	warnx("frame %" PRIu64 ": %" PRIu32 " particles were copied, their checksum is %016" PRIx64
	      ", the simulation says %016" PRIx64, snapshot->frame, snapshot->count, sum, checksum);
	return false;
}

static void write_picture(struct renderer *renderer)
{
	char path[4096];
	int length = snprintf(path, sizeof(path), "%s/frame_%06" PRIu64 ".png",
			      renderer->options->directory, renderer->snapshot.frame);

	if (length < 0 || (size_t)length >= sizeof(path))
		errx(EXIT_FAILURE, "the name of directory '%s' is too long",
		     renderer->options->directory);
	picture_draw(&renderer->picture, &renderer->snapshot);
	if (!picture_write(&renderer->picture, path))
		exit(EXIT_FAILURE);
	renderer->written++;
	printf("wrote %s, %" PRIu32 " particles\n", path, renderer->snapshot.count);
	fflush(stdout);
}

/* Copy the newest frame, and draw it where it is whole. */
static bool render_frame(struct renderer *renderer)
{
	uint64_t checksum;

	if (!scene_copy_frame(&renderer->scene, &renderer->snapshot, &checksum)) {
		renderer->torn++;
		return false;
	}
	renderer->whole++;
	if (is_as_published(&renderer->snapshot, checksum))
		write_picture(renderer);
	else
		renderer->wrong++;
	return true;
}

/* Wait until there is a frame other than @old. */
static void wait_for_frame(const struct renderer *renderer, uint64_t old)
{
	uint64_t deadline = now_ns() + (uint64_t)renderer->options->timeout_ns;

	for (;;) {
		int result = shmkit_atomic_u64_wait(renderer->scene.frame, old, SLICE_NS);

		if (result == 0)
			return;
		if (result != -ETIMEDOUT && result != -EINTR)
			scene_fail("cannot wait for a frame");
		if (shmkit_atomic_u64_load(renderer->scene.frame) != old)
			return;
		if (!scene_has_simulation(&renderer->scene))
			errx(EXIT_FAILURE, "the simulation died after frame %" PRIu64, old);
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "no new frame after frame %" PRIu64, old);
	}
}

/* Is this the last frame? "running" is cleared while the last is being made. */
static bool is_last(const struct scene *scene, uint64_t frame)
{
	return shmkit_atomic_bool_load(scene->running) == 0 &&
	       shmkit_atomic_u64_load(scene->frame_begin) == frame;
}

/* One frame in so many, and the last: that one stays, and can always be copied whole. */
static void render(struct renderer *renderer)
{
	const struct scene *scene = &renderer->scene;
	uint64_t seen = 0;	/* the newest frame known: 0 is the empty one before the first */
	uint64_t next = 1;	/* draw this one or a later one */

	while (renderer->written < renderer->options->frames) {
		if (shmkit_atomic_u64_load(scene->frame) == seen) {
			if (is_last(scene, seen))
				return;
			wait_for_frame(renderer, seen);
		}
		seen = shmkit_atomic_u64_load(scene->frame);
		if (seen < next && !is_last(scene, seen))
			continue;
		if (render_frame(renderer))
			next = renderer->snapshot.frame + renderer->options->every;
		seen = renderer->snapshot.frame;
	}
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = PARTICLES_SEGMENT,
		.directory = ".",
		.frames = 10,
		.every = 20,
		.width = 960,
		.height = 540,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct renderer renderer;
	bool ok;

	parse_options(argc, argv, &options);
	renderer.options = &options;
	scene_join(&renderer.scene, options.segment, options.timeout_ns);
	snapshot_init(&renderer.snapshot, &renderer.scene);
	picture_init(&renderer.picture, options.width, options.height);

	render(&renderer);
	ok = renderer.wrong == 0 && renderer.written > 0;
	printf("particle_renderer: %" PRIu64 " frames copied whole, %" PRIu64 " torn, %" PRIu64
	       " with a wrong checksum, %" PRIu32 " drawn\n", renderer.whole, renderer.torn,
	       renderer.wrong, renderer.written);
	printf("particle_renderer: %s\n", ok ? "PASS" : "FAIL");
	picture_finish(&renderer.picture);
	snapshot_finish(&renderer.snapshot);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
