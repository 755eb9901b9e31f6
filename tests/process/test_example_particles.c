/*
 * Particle simulation and renderer, as a user runs them.
 *
 * The simulation checks every particle against the closed form of its steps; the renderer computes
 * the checksum of every frame again and draws only frames it saw whole. Here: any order of
 * starting, frames that are torn for certain, full pools, the death of each, and whether the
 * pictures are pictures.
 */
#include "example.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const example_name = "particles";

#define SIM_PASS      "particle_sim: PASS"
#define RENDERER_PASS "particle_renderer: PASS"

static void make_directory(char path[64])
{
	snprintf(path, 64, "/tmp/shmkit-particles-XXXXXX");
	assert_non_null(mkdtemp(path));
}

/* A PNG of that size, and larger than an empty one would be. */
static void expect_picture(const char *path, unsigned width, unsigned height)
{
	static const unsigned char signature[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
	unsigned char head[24];
	struct stat status;
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	assert_int_equal(fread(head, 1, sizeof(head), file), sizeof(head));
	fclose(file);
	assert_memory_equal(head, signature, sizeof(signature));
	assert_int_equal(head[18] << 8 | head[19], width);
	assert_int_equal(head[22] << 8 | head[23], height);
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_size > 2000);
}

/* How many pictures were in the directory; it is gone afterwards. */
static int take_pictures(const char *directory, unsigned width, unsigned height)
{
	DIR *stream = opendir(directory);
	struct dirent *entry;
	char path[512];
	int count = 0;

	assert_non_null(stream);
	while ((entry = readdir(stream)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (strstr(path, ".part") == NULL) {	/* else one that a kill interrupted */
			expect_picture(path, width, height);
			count++;
		}
		assert_int_equal(unlink(path), 0);
	}
	closedir(stream);
	assert_int_equal(rmdir(directory), 0);
	return count;
}

static struct child start_renderer(const char *name, const char *directory)
{
	return example_start("particle_renderer", "--segment", name, "--out", directory, "--width",
			     "320", "--height", "180", "--every", "10", "--frames", "5", NULL);
}

static void test_simulation_first_frames_are_drawn(void **state)
{
	const char *name = test_name("particles-sim-first");
	struct child sim = example_start("particle_sim", "--segment", name, "--renderers", "1",
					 "--frames", "120", NULL);
	struct child renderer;
	char directory[64];

	(void)state;
	make_directory(directory);
	example_wait_for_segment(name);
	renderer = start_renderer(name, directory);
	example_expect_success(sim, SIM_PASS, NULL);
	example_expect_success(renderer, RENDERER_PASS, NULL);
	assert_int_equal(take_pictures(directory, 320, 180), 5);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_renderers_first_frames_are_drawn(void **state)
{
	const char *name = test_name("particles-renderers-first");
	char directories[2][64];
	struct child renderers[2], sim;

	(void)state;
	for (int i = 0; i < 2; i++) {
		make_directory(directories[i]);
		renderers[i] = start_renderer(name, directories[i]);
	}
	test_sleep_ms(50);
	sim = example_start("particle_sim", "--segment", name, "--renderers", "2", "--frames",
			    "120", NULL);
	example_expect_success(sim, SIM_PASS, NULL);
	for (int i = 0; i < 2; i++) {
		example_expect_success(renderers[i], RENDERER_PASS, NULL);
		assert_int_equal(take_pictures(directories[i], 320, 180), 5);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Without a pause between frames nearly every copy is disturbed: it must be known to be torn. */
static void test_no_pause_torn_frames_are_not_drawn(void **state)
{
	const char *name = test_name("particles-torn");
	struct child sim = example_start("particle_sim", "--segment", name, "--renderers", "1",
					 "--fps", "0", "--frames", "600", NULL);
	char directory[64];
	char *text;

	(void)state;
	make_directory(directory);
	example_expect_success(example_start("particle_renderer", "--segment", name, "--out",
					     directory, "--every", "1", "--frames", "1000000",
					     "--width", "32", "--height", "18", NULL),
			       RENDERER_PASS, &text);
	assert_true(example_number_before(text, " torn") > 0);
	assert_int_equal(example_number_before(text, " with a wrong checksum"), 0);
	free(text);
	example_expect_success(sim, SIM_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);

	text = NULL;
	assert_true(asprintf(&text, "rm -r '%s'", directory) > 0);
	assert_int_equal(system(text), 0);
	free(text);
}

static void test_small_pool_full_is_survived(void **state)
{
	const char *name = test_name("particles-small");
	char *text;

	(void)state;
	setenv("MAX_PARTICLES", "50", 1);
	example_expect_success(example_start("particle_sim", "--segment", name, "--fps", "0", NULL),
			       SIM_PASS, &text);
	unsetenv("MAX_PARTICLES");
	assert_non_null(strstr(text, "50 particles at most"));
	assert_true(example_number_before(text, " found no room") > 0);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_same_seed_same_particles(void **state)
{
	char *first, *second, *other;

	(void)state;
	example_expect_success(example_start("particle_sim", "--segment", test_name("particles-a"),
					     "--fps", "0", NULL),
			       SIM_PASS, &first);
	example_expect_success(example_start("particle_sim", "--segment", test_name("particles-b"),
					     "--fps", "0", NULL),
			       SIM_PASS, &second);
	example_expect_success(example_start("particle_sim", "--segment", test_name("particles-c"),
					     "--fps", "0", "--seed", "2", NULL),
			       SIM_PASS, &other);
	assert_string_equal(first, second);
	assert_string_not_equal(first, other);
	free(first);
	free(second);
	free(other);
}

static void test_renderer_killed_simulation_goes_on(void **state)
{
	const char *name = test_name("particles-renderer-killed");
	struct child sim = example_start("particle_sim", "--segment", name, "--renderers", "1",
					 "--frames", "60", NULL);
	char directory[64];
	struct child renderer;

	(void)state;
	make_directory(directory);
	renderer = start_renderer(name, directory);
	test_sleep_ms(300);
	example_kill(renderer);
	example_expect_success(sim, SIM_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
	assert_true(take_pictures(directory, 320, 180) <= 5);
}

/* The next simulation waits until the renderer of the dead one has noticed and gone. */
static void test_simulation_killed_renderer_notices(void **state)
{
	const char *name = test_name("particles-sim-killed");
	struct child sim = example_start("particle_sim", "--segment", name, "--renderers", "1",
					 "--frames", "100000", NULL);
	char directory[64];
	struct child renderer;

	(void)state;
	make_directory(directory);
	renderer = example_start("particle_renderer", "--segment", name, "--out", directory,
				 "--frames", "100000", "--width", "320", "--height", "180", NULL);
	test_sleep_ms(300);
	example_kill(sim);
	sim = example_start("particle_sim", "--segment", name, "--frames", "10", NULL);
	assert_int_equal(example_finish(renderer, NULL), 1);
	example_expect_success(sim, SIM_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
	take_pictures(directory, 320, 180);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	example_expect_answer("particle_sim", "--help", 0, "Usage: particle_sim");
	example_expect_answer("particle_renderer", "--help", 0, "Usage: particle_renderer");
	example_expect_answer("particle_sim", "--frames=0", 2, "--frames '0': too small");
	example_expect_answer("particle_renderer", "--width=wide", 2, "--width 'wide': invalid");
	example_expect_answer("particle_renderer", "surplus", 2, "unexpected argument 'surplus'");
	example_expect_answer("particle_renderer", "--out=/no/such/directory", 1,
			      "/no/such/directory");
	setenv("MAX_PARTICLES", "", 1);
	example_expect_answer("particle_sim", "--frames=1", 2, "MAX_PARTICLES '': invalid");
	setenv("MAX_PARTICLES", "-1", 1);
	example_expect_answer("particle_sim", "--frames=1", 2, "MAX_PARTICLES '-1': too small");
	setenv("MAX_PARTICLES", "10000x", 1);
	example_expect_answer("particle_sim", "--frames=1", 2, "MAX_PARTICLES '10000x': invalid");
	unsetenv("MAX_PARTICLES");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_simulation_first_frames_are_drawn),
		cmocka_unit_test(test_renderers_first_frames_are_drawn),
		cmocka_unit_test(test_no_pause_torn_frames_are_not_drawn),
		cmocka_unit_test(test_small_pool_full_is_survived),
		cmocka_unit_test(test_same_seed_same_particles),
		cmocka_unit_test(test_renderer_killed_simulation_goes_on),
		cmocka_unit_test(test_simulation_killed_renderer_notices),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	/* Threads that wait must not keep others from a processor while many tests run. */
	setenv("OMP_WAIT_POLICY", "passive", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
