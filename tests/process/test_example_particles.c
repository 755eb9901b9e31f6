/*
 * Particle simulation and renderer, as a user runs them.
 *
 * The simulation checks every particle against the closed form of its steps; the renderer computes
 * the checksum of every frame again and draws only frames it saw whole. Here: any order of
 * starting, frames that are torn for certain, full pools, the death of each, and whether the
 * pictures are pictures.
 */
#include "support.h"

#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TIMEOUT_MS 20000

struct child {
	pid_t pid;
	int output;
};

/* start(program, argument, ..., NULL) */
static struct child start(const char *program, ...)
{
	const char *argv[16] = { program };
	struct child child;
	char path[4096];
	va_list arguments;
	int count = 0;

	va_start(arguments, program);
	while (argv[count] != NULL && count < 14)
		argv[++count] = va_arg(arguments, const char *);
	va_end(arguments);
	snprintf(path, sizeof(path), "%s/particles/%s", getenv("SHMKIT_EXAMPLES"), program);
	child.pid = test_spawn(path, argv, &child.output);
	assert_true(child.pid > 0);
	return child;
}

/* The exit status; what it has printed is in *ret_text, to be freed, unless NULL. */
static int finish(struct child child, char **ret_text)
{
	char *text = test_read_all(child.output, TIMEOUT_MS);
	int status = test_wait_exit(child.pid, TIMEOUT_MS);

	close(child.output);
	assert_non_null(text);
	if (ret_text != NULL)
		*ret_text = text;
	else
		free(text);
	return status;
}

/* It must succeed and say @expected; what it has printed is in *ret_text, unless NULL. */
static void expect_success(struct child child, const char *expected, char **ret_text)
{
	char *text;
	int status = finish(child, &text);

	if (status != 0 || strstr(text, expected) == NULL)
		print_error("expected '%s', status %d, printed:\n%s", expected, status, text);
	assert_int_equal(status, 0);
	assert_non_null(strstr(text, expected));
	if (ret_text != NULL)
		*ret_text = text;
	else
		free(text);
}

static void kill_child(struct child child)
{
	kill(child.pid, SIGKILL);
	assert_int_equal(finish(child, NULL), -SIGKILL);
}

#define SIM_PASS      "particle_sim: PASS"
#define RENDERER_PASS "particle_renderer: PASS"

/* The number that stands before @words. */
static unsigned long long number_before(const char *text, const char *words)
{
	const char *at = strstr(text, words);

	assert_non_null(at);
	while (at > text && at[-1] >= '0' && at[-1] <= '9')
		at--;
	return strtoull(at, NULL, 10);
}

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
	return start("particle_renderer", "--segment", name, "--out", directory, "--width", "320",
		     "--height", "180", "--every", "10", "--frames", "5", NULL);
}

static void test_simulation_first_frames_are_drawn(void **state)
{
	const char *name = test_name("particles-sim-first");
	struct child sim = start("particle_sim", "--segment", name, "--renderers", "1", "--frames",
				 "120", NULL);
	struct child renderer;
	char directory[64];

	(void)state;
	make_directory(directory);
	while (test_shm_leftovers(name) == 0)
		test_sleep_ms(1);
	renderer = start_renderer(name, directory);
	expect_success(sim, SIM_PASS, NULL);
	expect_success(renderer, RENDERER_PASS, NULL);
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
	sim = start("particle_sim", "--segment", name, "--renderers", "2", "--frames", "120", NULL);
	expect_success(sim, SIM_PASS, NULL);
	for (int i = 0; i < 2; i++) {
		expect_success(renderers[i], RENDERER_PASS, NULL);
		assert_int_equal(take_pictures(directories[i], 320, 180), 5);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Without a pause between frames nearly every copy is disturbed: it must be known to be torn. */
static void test_no_pause_torn_frames_are_not_drawn(void **state)
{
	const char *name = test_name("particles-torn");
	struct child sim = start("particle_sim", "--segment", name, "--renderers", "1", "--fps",
				 "0", "--frames", "600", NULL);
	char directory[64];
	char *text;

	(void)state;
	make_directory(directory);
	expect_success(start("particle_renderer", "--segment", name, "--out", directory, "--every",
			     "1", "--frames", "1000000", "--width", "32", "--height", "18", NULL),
		       RENDERER_PASS, &text);
	assert_true(number_before(text, " torn") > 0);
	assert_int_equal(number_before(text, " with a wrong checksum"), 0);
	free(text);
	expect_success(sim, SIM_PASS, NULL);
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
	expect_success(start("particle_sim", "--segment", name, "--fps", "0", NULL), SIM_PASS,
		       &text);
	unsetenv("MAX_PARTICLES");
	assert_non_null(strstr(text, "50 particles at most"));
	assert_true(number_before(text, " found no room") > 0);
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_same_seed_same_particles(void **state)
{
	char *first, *second, *other;

	(void)state;
	expect_success(start("particle_sim", "--segment", test_name("particles-a"), "--fps", "0",
			     NULL), SIM_PASS, &first);
	expect_success(start("particle_sim", "--segment", test_name("particles-b"), "--fps", "0",
			     NULL), SIM_PASS, &second);
	expect_success(start("particle_sim", "--segment", test_name("particles-c"), "--fps", "0",
			     "--seed", "2", NULL), SIM_PASS, &other);
	assert_string_equal(first, second);
	assert_string_not_equal(first, other);
	free(first);
	free(second);
	free(other);
}

static void test_renderer_killed_simulation_goes_on(void **state)
{
	const char *name = test_name("particles-renderer-killed");
	struct child sim = start("particle_sim", "--segment", name, "--renderers", "1", "--frames",
				 "60", NULL);
	char directory[64];
	struct child renderer;

	(void)state;
	make_directory(directory);
	renderer = start_renderer(name, directory);
	test_sleep_ms(300);
	kill_child(renderer);
	expect_success(sim, SIM_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
	assert_true(take_pictures(directory, 320, 180) <= 5);
}

/* The next simulation waits until the renderer of the dead one has noticed and gone. */
static void test_simulation_killed_renderer_notices(void **state)
{
	const char *name = test_name("particles-sim-killed");
	struct child sim = start("particle_sim", "--segment", name, "--renderers", "1", "--frames",
				 "100000", NULL);
	char directory[64];
	struct child renderer;

	(void)state;
	make_directory(directory);
	renderer = start("particle_renderer", "--segment", name, "--out", directory, "--frames",
			 "100000", "--width", "320", "--height", "180", NULL);
	test_sleep_ms(300);
	kill_child(sim);
	sim = start("particle_sim", "--segment", name, "--frames", "10", NULL);
	assert_int_equal(finish(renderer, NULL), 1);
	expect_success(sim, SIM_PASS, NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
	take_pictures(directory, 320, 180);
}

/* Runs @program with one argument; its output must contain @expected. */
static void expect_answer(const char *program, const char *argument, int expected_status,
			  const char *expected)
{
	const char *argv[] = { program, argument, NULL };
	char path[4096];
	char *text;
	int status;

	snprintf(path, sizeof(path), "%s/particles/%s", getenv("SHMKIT_EXAMPLES"), program);
	text = test_run(path, argv, &status, TIMEOUT_MS);
	assert_non_null(text);
	if (status != expected_status || strstr(text, expected) == NULL)
		print_error("%s %s: expected '%s', status %d, printed:\n%s", program, argument,
			    expected, status, text);
	assert_int_equal(status, expected_status);
	assert_non_null(strstr(text, expected));
	free(text);
}

static void test_wrong_usage_is_explained(void **state)
{
	(void)state;
	expect_answer("particle_sim", "--help", 0, "Usage: particle_sim");
	expect_answer("particle_renderer", "--help", 0, "Usage: particle_renderer");
	expect_answer("particle_sim", "--frames=0", 2, "--frames '0': too small");
	expect_answer("particle_renderer", "--width=wide", 2, "--width 'wide': invalid");
	expect_answer("particle_renderer", "surplus", 2, "unexpected argument 'surplus'");
	expect_answer("particle_renderer", "--out=/no/such/directory", 1, "/no/such/directory");
	setenv("MAX_PARTICLES", "", 1);
	expect_answer("particle_sim", "--frames=1", 2, "MAX_PARTICLES '': invalid");
	setenv("MAX_PARTICLES", "-1", 1);
	expect_answer("particle_sim", "--frames=1", 2, "MAX_PARTICLES '-1': too small");
	setenv("MAX_PARTICLES", "10000x", 1);
	expect_answer("particle_sim", "--frames=1", 2, "MAX_PARTICLES '10000x': invalid");
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
