/*
 * The robust_start example: many processes at once, and everything that can stand in their way.
 *
 * The programs judge for themselves whether exactly one created and exactly one initialised, and
 * exit with 0 if so; here that is checked a second time from what they print. In their way: peers
 * killed at chosen points, segments left over, damaged, of a newer format, files that are none.
 */
#include "example.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <shmkit.h>

const char *const example_name = "robust_start";

#define MAX_CHILDREN 16

/* Offsets in the header of a segment, see doc/format.md. */
#define HEADER_FEATURES_INCOMPAT 16
#define HEADER_INNER_PART        48

/* One more option; NULL for none. */
static struct child start(const char *name, const char *count, const char *option)
{
	return example_start("robust_start", "--segment", name, "--count", count, option, NULL);
}

static int count_of(const char *text, const char *words)
{
	int count = 0;

	for (; (text = strstr(text, words)) != NULL; text += strlen(words))
		count++;
	return count;
}

struct said {
	int created, joined, replaced_left_over, replaced_damaged, replaced_foreign;
	int initialised, took_over, agree;
};

/* Let all end well, and add up what they said. */
static struct said finish_all(const struct child *children, int count)
{
	struct said said = { 0 };

	for (int i = 0; i < count; i++) {
		char *text;

		example_expect_success(children[i], NULL, &text);
		said.created += count_of(text, ": created the segment");
		said.joined += count_of(text, ": joined the segment");
		said.replaced_left_over += count_of(text, ": replaced a segment left over");
		said.replaced_damaged += count_of(text, ": replaced a damaged segment");
		said.replaced_foreign += count_of(text, ": replaced a foreign file or");
		said.initialised += count_of(text, ": initialised the contents");
		said.took_over += count_of(text, ": took over");
		said.agree += count_of(text, " agree: ");
		free(text);
	}
	return said;
}

static void test_many_at_once_one_creates_one_initialises(void **state)
{
	const char *name = test_name("robust-many");
	struct child children[MAX_CHILDREN];

	(void)state;
	for (int round = 0; round < 8; round++) {
		struct said said;

		for (int i = 0; i < MAX_CHILDREN; i++)
			children[i] = start(name, "16", NULL);
		said = finish_all(children, MAX_CHILDREN);
		assert_int_equal(said.created, 1);
		assert_int_equal(said.joined, MAX_CHILDREN - 1);
		assert_int_equal(said.initialised, 1);
		assert_int_equal(said.agree, MAX_CHILDREN);
		assert_int_equal(test_shm_leftovers(name), 0);
	}
}

/* The victims run among the others, so each round is another interleaving. */
static void kill_among_others(const char *crash_option)
{
	const char *name = test_name("robust-kill");
	struct child victims[2], children[4];
	int result;

	for (int round = 0; round < 5; round++) {
		struct said said;

		victims[0] = start(name, "4", crash_option);
		children[0] = start(name, "4", NULL);
		victims[1] = start(name, "4", crash_option);
		for (int i = 1; i < 4; i++)
			children[i] = start(name, "4", NULL);
		said = finish_all(children, 4);
		assert_int_equal(said.agree, 4);
		assert_true(said.created + said.replaced_left_over <= 1);
		assert_true(said.initialised + said.took_over <= 1);
		for (int i = 0; i < 2; i++)
			assert_int_equal(example_finish(victims[i], NULL), -SIGKILL);
		/* A victim may have come last, with nobody there to clean up after it. */
		result = shmkit_segment_unlink(name);
		assert_true(result == 0 || result == -ENOENT);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_killed_when_created_others_agree(void **state)
{
	(void)state;
	kill_among_others("--crash-at=created");
}

static void test_killed_while_initialising_others_agree(void **state)
{
	(void)state;
	kill_among_others("--crash-at=initialising");
}

static void test_killed_when_initialised_others_agree(void **state)
{
	(void)state;
	kill_among_others("--crash-at=initialised");
}

/* The test itself holds the segment alive, so that what the dead one has begun is still there. */
static void test_initialiser_killed_next_takes_over(void **state)
{
	const char *name = test_name("robust-take-over");
	struct shmkit_segment *segment;
	struct child victim, children[3];
	struct said said;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, 256 * 1024, NULL, &segment), 0);
	victim = start(name, "3", "--crash-at=initialising");
	assert_int_equal(example_finish(victim, NULL), -SIGKILL);
	for (int i = 0; i < 3; i++)
		children[i] = start(name, "3", NULL);
	said = finish_all(children, 3);
	assert_int_equal(said.joined, 3);
	assert_int_equal(said.took_over, 1);
	assert_int_equal(said.initialised, 0);
	assert_int_equal(said.agree, 3);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* Two processes that wait for a third, killed while they do. */
static void leave_over(const char *name)
{
	struct shmkit_atomic_u32 *checked_in;
	struct shmkit_segment *segment;
	struct child children[2];

	for (int i = 0; i < 2; i++)
		children[i] = start(name, "3", NULL);
	assert_int_equal(shmkit_segment_open_wait(name, SHMKIT_READ_ONLY, -1, &segment), 0);
	assert_int_equal(shmkit_segment_wait_for(segment, "checked_in", -1), 0);
	assert_int_equal(shmkit_atomic_u32_open(segment, "checked_in", &checked_in), 0);
	for (uint32_t here; (here = shmkit_atomic_u32_load(checked_in)) < 2;)
		assert_int_equal(shmkit_atomic_u32_wait(checked_in, here, 10000000000), 0);
	for (int i = 0; i < 2; i++)
		example_kill(children[i]);
	shmkit_atomic_u32_close(checked_in);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name), 1);
}

static struct said run_two(const char *name, const char *option)
{
	struct child children[2];

	for (int i = 0; i < 2; i++)
		children[i] = start(name, "2", option);
	return finish_all(children, 2);
}

static int open_file(const char *name, int flags)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	fd = open(path, flags, 0600);
	assert_true(fd >= 0);
	return fd;
}

static void overwrite(const char *name, off_t offset, const void *bytes, size_t size)
{
	int fd = open_file(name, O_WRONLY);

	assert_int_equal(pwrite(fd, bytes, size, offset), (ssize_t)size);
	close(fd);
}

static void remove_file(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	assert_int_equal(unlink(path), 0);
}

static void test_left_over_segment_is_replaced(void **state)
{
	const char *name = test_name("robust-left-over");
	struct said said;

	(void)state;
	leave_over(name);
	said = run_two(name, NULL);
	assert_int_equal(said.replaced_left_over, 1);
	assert_int_equal(said.joined, 1);
	assert_int_equal(said.initialised, 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_damaged_segment_is_replaced(void **state)
{
	const char *name = test_name("robust-damaged");
	unsigned char garbage[128];
	struct said said;

	(void)state;
	memset(garbage, 0xa5, sizeof(garbage));
	leave_over(name);
	overwrite(name, HEADER_INNER_PART, garbage, sizeof(garbage));
	said = run_two(name, NULL);
	assert_int_equal(said.replaced_damaged, 1);
	assert_int_equal(said.joined, 1);
	assert_int_equal(said.initialised, 1);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static char *run(const char *name, const char *option, int expected_status)
{
	return example_run(expected_status, "robust_start", "--segment", name, option, NULL);
}

static void test_newer_segment_is_refused(void **state)
{
	const char *name = test_name("robust-newer");
	uint64_t features = UINT64_C(1) << 63;
	char *text;

	(void)state;
	leave_over(name);
	overwrite(name, HEADER_FEATURES_INCOMPAT, &features, sizeof(features));
	text = run(name, NULL, 4);
	assert_non_null(strstr(text, "left alone"));
	free(text);
	free(run(name, "--replace-foreign", 4));
	assert_int_equal(test_shm_leftovers(name), 1);
	remove_file(name);
}

static void make_foreign(const char *name, const char *content)
{
	int fd = open_file(name, O_WRONLY | O_CREAT | O_EXCL);

	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	close(fd);
}

static void test_foreign_file_is_left_alone(void **state)
{
	const char *name = test_name("robust-foreign");
	char content[64] = { 0 };
	char *text;
	int fd;

	(void)state;
	make_foreign(name, "somebody's notes\n");
	text = run(name, NULL, 3);
	assert_non_null(strstr(text, name));
	assert_non_null(strstr(text, "--replace-foreign"));
	free(text);

	fd = open_file(name, O_RDONLY);
	assert_int_equal(read(fd, content, sizeof(content) - 1), 17);
	close(fd);
	assert_string_equal(content, "somebody's notes\n");
	remove_file(name);
}

/* Several remove it at once: none may remove what another has just created in its place. */
static void test_foreign_file_is_replaced_when_asked(void **state)
{
	const char *name = test_name("robust-replace");
	struct child children[8];
	struct said said;

	(void)state;
	for (int round = 0; round < 5; round++) {
		make_foreign(name, round == 0 ? "" : "somebody's notes\n");
		for (int i = 0; i < 8; i++)
			children[i] = start(name, "8", "--replace-foreign");
		said = finish_all(children, 8);
		assert_int_equal(said.replaced_foreign + said.created, 1);
		assert_int_equal(said.joined, 7);
		assert_int_equal(said.initialised, 1);
		assert_int_equal(test_shm_leftovers(name), 0);
	}
}

static void test_missing_processes_are_reported(void **state)
{
	const char *name = test_name("robust-missing");
	char *text;

	(void)state;
	text = run(name, "--timeout=1", 1);
	assert_non_null(strstr(text, "1 of 4 processes came"));
	free(text);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_wrong_usage_is_explained(void **state)
{
	static const struct {
		const char *option;
		int status;
		const char *answer;
	} cases[] = {
		{ "--help", 0, "Usage: robust_start" },
		{ "--count=0", 2, "--count 0: too small" },
		{ "--count=many", 2, "--count many: invalid" },
		{ "--crash-at=dawn", 2, "not one of created, initialising, initialised" },
		{ "--no-such-option", 2, "Usage: robust_start" },
		{ "surplus", 2, "unexpected argument 'surplus'" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *text = run(test_name("robust-usage"), cases[i].option, cases[i].status);

		assert_non_null(strstr(text, cases[i].answer));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_many_at_once_one_creates_one_initialises),
		cmocka_unit_test(test_killed_when_created_others_agree),
		cmocka_unit_test(test_killed_while_initialising_others_agree),
		cmocka_unit_test(test_killed_when_initialised_others_agree),
		cmocka_unit_test(test_initialiser_killed_next_takes_over),
		cmocka_unit_test(test_left_over_segment_is_replaced),
		cmocka_unit_test(test_damaged_segment_is_replaced),
		cmocka_unit_test(test_newer_segment_is_refused),
		cmocka_unit_test(test_foreign_file_is_left_alone),
		cmocka_unit_test(test_foreign_file_is_replaced_when_asked),
		cmocka_unit_test(test_missing_processes_are_reported),
		cmocka_unit_test(test_wrong_usage_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
