/*
 * Goal: a program can always start. Whatever earlier ones left of that name, killed at any moment
 * of their life, the next opens it and goes on, or replaces it when it says so; a replacement has
 * one maker however many come at once; what is not left over, or no segment, is left alone.
 *
 * Method: segments are left behind by children that are killed; then one process, or several at
 * the same moment (a barrier in private shared memory), start with each combination of options.
 * For death at every moment children open, create, use, close and unlink one name as fast as they
 * can while they are killed and replaced.
 */
#include "layout.h"
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define STARTERS 5u
#define ROUNDS 150u

static char name[64], path[80];

static int set_up(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("startup"));
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	(void)shmkit_segment_unlink(name);
	return test_shm_leftovers(name);
}

static struct shmkit_segment_options options_with(uint32_t flags)
{
	return (struct shmkit_segment_options){ .struct_size = sizeof(struct shmkit_segment_options),
						.flags = flags };
}

static ino_t inode(void)
{
	struct stat file;

	return stat(path, &file) == 0 ? file.st_ino : 0;
}

/* Of a replacement; those of other tests that run beside this one come and go. */
static void expect_no_temporary_names(void)
{
	uint64_t start = test_now_ns();

	while (test_shm_leftovers(".shmkit-") != 0) {
		assert_true(test_now_ns() - start < UINT64_C(5000000000));
		test_sleep_ms(3);
	}
}

static int make_and_die(void *argument)
{
	struct shmkit_segment_options options = options_with(*(uint32_t *)argument);
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	uint64_t element = 11;

	if (shmkit_segment_create(name, MIB, &options, &segment) ||
	    shmkit_queue_create(segment, "q", 8, 4, NULL, &queue) ||
	    shmkit_queue_enqueue(queue, &element))
		return 1;
	raise(SIGKILL);
	return 2;
}

static void leave_behind(uint32_t flags)
{
	assert_int_equal(test_wait_exit(test_fork(make_and_die, &flags), 10000), -SIGKILL);
	assert_true(inode() != 0);
}

/* ---- one comes ---- */

static void test_open_or_create_left_over_is_gone_on_with(void **state)
{
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	uint64_t element = 0;

	(void)state;
	leave_behind(0);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), -EEXIST);
	assert_int_equal(shmkit_segment_open_or_create(name, 2 * MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_queue_open(segment, "q", 8, &queue), 0);
	assert_int_equal(shmkit_queue_dequeue(queue, &element), 0);
	assert_int_equal(element, 11);
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	/* its last member has left: the killed one does not count */
	assert_true(inode() == 0);
}

static int attach_and_wait(void *argument)
{
	struct shmkit_segment *segment;
	int *ready = argument;

	if (shmkit_segment_open(name, 0, &segment) || write(ready[1], "r", 1) != 1)
		return 1;
	for (;;)
		pause();
}

/* Too soon after its last look for the dead: the one who closes asks the kernel all the same. */
static void test_close_last_right_after_a_death_unlinks(void **state)
{
	(void)state;
	for (int round = 0; round < 10; round++) {
		struct shmkit_segment *segment, *again;
		int ready[2];
		char byte;
		pid_t pid;

		assert_int_equal(pipe(ready), 0);
		assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
		pid = test_fork(attach_and_wait, ready);
		assert_int_equal(read(ready[0], &byte, 1), 1);
		assert_int_equal(shmkit_segment_open(name, 0, &again), 0);   /* looks */
		shmkit_segment_close(segment);
		kill(pid, SIGKILL);
		assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
		shmkit_segment_close(again);
		assert_true(inode() == 0);
		close(ready[0]);
		close(ready[1]);
	}
}

static void test_replace_dead_left_over_is_replaced(void **state)
{
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	struct shmkit_segment *segment;
	ino_t old;

	(void)state;
	for (int i = 0; i < 2; i++) {
		leave_behind(0);
		old = inode();
		if (i == 0)
			assert_int_equal(shmkit_segment_create(name, MIB, &replace, &segment), 0);
		else
			assert_int_equal(shmkit_segment_open_or_create(name, MIB, &replace, &segment), 1);
		assert_true(inode() != old);
		assert_int_equal(shmkit_segment_find(segment, "q", NULL), -ENOENT);
		shmkit_segment_close(segment);
	}
	/* nor does one that only looks on keep it */
	leave_behind(0);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment), 0);
	old = inode();
	{
		struct shmkit_segment *fresh;

		assert_int_equal(shmkit_segment_create(name, MIB, &replace, &fresh), 0);
		assert_true(inode() != old);
		assert_int_equal(shmkit_segment_find(segment, "q", NULL), 0);
		shmkit_segment_close(fresh);
	}
	shmkit_segment_close(segment);
}

static void test_replace_dead_persistent_or_alive_is_kept(void **state)
{
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	struct shmkit_segment *segment, *other;
	ino_t old;

	(void)state;
	leave_behind(SHMKIT_SEGMENT_PERSIST);
	old = inode();
	assert_int_equal(shmkit_segment_create(name, MIB, &replace, &other), -EEXIST);
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, &replace, &segment), 0);
	assert_int_equal(shmkit_segment_find(segment, "q", NULL), 0);
	shmkit_segment_close(segment);
	assert_true(inode() == old);
	assert_int_equal(shmkit_segment_unlink(name), 0);

	leave_behind(0);
	old = inode();
	assert_int_equal(shmkit_segment_open(name, 0, &segment), 0);
	assert_int_equal(shmkit_segment_create(name, MIB, &replace, &other), -EEXIST);
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, &replace, &other), 0);
	assert_true(inode() == old);
	shmkit_segment_close(other);
	shmkit_segment_close(segment);
}

/* Of a newer library: without a member, damaged by our lights, and none of our business. */
static void test_replace_dead_newer_format_is_left_alone(void **state)
{
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	struct shmkit_segment *segment;
	uint32_t version = SHK_FORMAT_VERSION + 1;
	ino_t old;
	int fd;

	(void)state;
	leave_behind(0);
	old = inode();
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, &version, 4, offsetof(struct shk_header_shm, format_version)), 4);
	close(fd);
	assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTONOSUPPORT);
	assert_int_equal(shmkit_segment_create(name, MIB, &replace, &segment), -EPROTONOSUPPORT);
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, &replace, &segment), -EPROTONOSUPPORT);
	assert_true(inode() == old);
	/* its name can be taken away by who asks for that */
	assert_int_equal(shmkit_segment_unlink(name), 0);
}

/* ---- what is no segment ---- */

static int make_thing(const char *what)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const char text[] = "SHMKIT\n\n............";
	int fd, result;

	if (strcmp(what, "directory") == 0)
		return mkdir(path, 0700);
	if (strcmp(what, "symbolic link") == 0)
		return symlink("/dev/null", path);
	if (strcmp(what, "dangling link") == 0)
		return symlink("t-there-is-no-such-thing", path);
	if (strcmp(what, "fifo") == 0)
		return mkfifo(path, 0600);
	if (strcmp(what, "socket") == 0) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		strcpy(address.sun_path, path);
		result = bind(fd, (struct sockaddr *)&address, sizeof(address));
		close(fd);
		return result;
	}
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	result = strcmp(what, "empty file") == 0 || write(fd, text, 20) == 20 ? 0 : -1;
	close(fd);
	return result;
}

struct attempt {
	const char *what;
	int (*make)(struct shmkit_segment **ret_segment);
	int expected;
};

static int try_open(struct shmkit_segment **ret_segment)
{
	return shmkit_segment_open(name, 0, ret_segment);
}

static int try_open_read_only(struct shmkit_segment **ret_segment)
{
	return shmkit_segment_open(name, SHMKIT_READ_ONLY, ret_segment);
}

static int try_open_wait(struct shmkit_segment **ret_segment)
{
	return shmkit_segment_open_wait(name, 0, 1000000000, ret_segment);
}

static int try_open_or_create(struct shmkit_segment **ret_segment)
{
	return shmkit_segment_open_or_create(name, MIB, NULL, ret_segment);
}

static int try_create(struct shmkit_segment **ret_segment)
{
	return shmkit_segment_create(name, MIB, NULL, ret_segment);
}

static int try_replace(struct shmkit_segment **ret_segment)
{
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);

	return shmkit_segment_create(name, MIB, &replace, ret_segment);
}

static int try_open_or_replace(struct shmkit_segment **ret_segment)
{
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);

	return shmkit_segment_open_or_create(name, MIB, &replace, ret_segment);
}

static int try_unlink(struct shmkit_segment **ret_segment)
{
	(void)ret_segment;
	return shmkit_segment_unlink(name);
}

/* An empty or short file begins as no segment does: nobody's to throw away but its owner's. */
static void test_start_on_what_is_no_segment_is_eproto_and_left_alone(void **state)
{
	static const char *const things[] = { "directory", "symbolic link", "dangling link", "fifo", "socket",
					      "empty file", "text file" };
	static const struct attempt attempts[] = {
		{ "open", try_open, -EPROTO },
		{ "open read-only", try_open_read_only, -EPROTO },
		{ "open_wait", try_open_wait, -EPROTO },
		{ "open_or_create", try_open_or_create, -EPROTO },
		{ "create", try_create, -EEXIST },
		{ "create with REPLACE_DEAD", try_replace, -EPROTO },
		{ "open_or_create with REPLACE_DEAD", try_open_or_replace, -EPROTO },
		{ "unlink", try_unlink, -EPROTO },
	};
	int failures = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(things) / sizeof(things[0]); i++) {
		struct stat before, after;

		assert_int_equal(make_thing(things[i]), 0);
		assert_int_equal(lstat(path, &before), 0);
		for (size_t j = 0; j < sizeof(attempts) / sizeof(attempts[0]); j++) {
			struct shmkit_segment *segment = NULL;
			int result = attempts[j].make(&segment);

			if (result == attempts[j].expected && strstr(shmkit_last_error(), name) && !segment)
				continue;
			print_error("%s on a %s: %d, expected %d: %s\n", attempts[j].what, things[i], result,
				    attempts[j].expected, shmkit_last_error());
			failures++;
		}
		assert_int_equal(lstat(path, &after), 0);
		assert_int_equal(before.st_ino, after.st_ino);
		assert_int_equal(remove(path), 0);
	}
	assert_int_equal(failures, 0);
}

/* ---- many come at once ---- */

struct board {
	_Atomic unsigned arrived, go, opened;
	_Atomic unsigned created[ROUNDS], failures[ROUNDS];
	_Atomic int result;
	_Atomic uint64_t inodes[ROUNDS];    /* sum of the inodes that they got */
};

static int start_with_the_others(void *argument)
{
	struct board *board = argument;
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);

	for (unsigned round = 0; round < ROUNDS; round++) {
		struct shmkit_segment *segment;
		struct stat file;
		int result;

		atomic_fetch_add(&board->arrived, 1);
		while (atomic_load(&board->go) <= round)
			sched_yield();
		result = shmkit_segment_open_or_create(name, MIB, &replace, &segment);
		if (result < 0) {
			atomic_store(&board->result, result);
			atomic_fetch_add(&board->failures[round], 1);
		} else {
			atomic_fetch_add(&board->created[round], (unsigned)result);
			fstat(shmkit_segment_fd(segment), &file);
			atomic_fetch_add(&board->inodes[round], file.st_ino);
		}
		atomic_fetch_add(&board->opened, 1);
		while (atomic_load(&board->opened) < STARTERS * (round + 1))
			sched_yield();
		if (result >= 0)
			shmkit_segment_close(segment);
	}
	return 0;
}

static void test_replace_dead_many_at_once_one_makes_it(void **state)
{
	struct board *board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t start = test_now_ns();
	pid_t pids[STARTERS];

	(void)state;
	assert_true(board != MAP_FAILED);
	for (unsigned i = 0; i < STARTERS; i++)
		pids[i] = test_fork(start_with_the_others, board);
	for (unsigned round = 0; round < ROUNDS; round++) {
		while (atomic_load(&board->arrived) < STARTERS * (round + 1)) {
			if (test_now_ns() - start > UINT64_C(60000000000))
				fail_msg("round %u does not begin", round);
			sched_yield();
		}
		leave_behind(0);
		atomic_store(&board->go, round + 1);
	}
	for (unsigned i = 0; i < STARTERS; i++)
		assert_int_equal(test_wait_exit(pids[i], 20000), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (board->failures[round])
			fail_msg("round %u: %u failed with %d", round, board->failures[round], board->result);
		assert_int_equal(board->created[round], 1);
		assert_int_equal(board->inodes[round] % STARTERS, 0);
	}
	assert_int_equal(test_shm_leftovers(name), 0);
	expect_no_temporary_names();
	munmap(board, sizeof(*board));
}

/* ---- killed at any moment of a life ---- */

#define LIVERS 5
#define KILLS 250

static int live(void *argument)
{
	static const int allowed[] = { 0, 1, -ENOENT, -EEXIST };

	(void)argument;
	for (;;) {
		struct shmkit_segment *segment = NULL;
		struct shmkit_queue *queue;
		uint64_t element = 1, what = test_random_below(10);
		bool known = false;
		int result = what < 6 ? shmkit_segment_open_or_create(name, MIB, NULL, &segment)
			     : what < 8 ? shmkit_segment_open(name, 0, &segment)
			     : what < 9 ? shmkit_segment_create(name, MIB, NULL, &segment)
					: shmkit_segment_unlink(name);

		for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
			known |= result == allowed[i];
		if (!known) {
			fprintf(stderr, "step %d: %d, %s\n", (int)what, result, shmkit_last_error());
			return 1;
		}
		if (!segment)
			continue;
		result = shmkit_queue_open_or_create(segment, "q", 8, 64, NULL, &queue);
		if (result >= 0) {
			if (shmkit_queue_enqueue(queue, &element) == -EAGAIN)
				while (shmkit_queue_dequeue(queue, &element) == 0)
					;
			shmkit_queue_close(queue);
		} else {
			fprintf(stderr, "queue: %d, %s\n", result, shmkit_last_error());
			return 2;
		}
		shmkit_segment_close(segment);
	}
}

static void test_start_after_deaths_at_any_moment_always_works(void **state)
{
	pid_t pids[LIVERS];
	uint64_t longest = 0, end = test_now_ns() + UINT64_C(6000000000);

	(void)state;
	for (int i = 0; i < LIVERS; i++)
		pids[i] = test_fork(live, NULL);
	for (int kills = 0; kills < KILLS && test_now_ns() < end; kills++) {
		unsigned victim = (unsigned)test_random_below(LIVERS);
		struct shmkit_segment *segment;
		uint64_t start;
		int result;

		usleep((useconds_t)test_random_below(3000));
		kill(pids[victim], SIGKILL);
		assert_int_equal(test_wait_exit(pids[victim], 10000), -SIGKILL);
		start = test_now_ns();
		result = shmkit_segment_open_or_create(name, MIB, NULL, &segment);
		if (result < 0)
			fail_msg("after %d deaths: %d, %s", kills, result, shmkit_last_error());
		if (shmkit_segment_check(segment))
			fail_msg("after %d deaths: %s", kills, shmkit_last_error());
		shmkit_segment_close(segment);
		if (test_now_ns() - start > longest)
			longest = test_now_ns() - start;
		pids[victim] = test_fork(live, NULL);
	}
	for (int i = 0; i < LIVERS; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < LIVERS; i++)
		assert_int_equal(test_wait_exit(pids[i], 10000), -SIGKILL);
	print_message("longest start: %u ms\n", (unsigned)(longest / 1000000));
	assert_true(longest < UINT64_C(1000000000));
	{
		struct shmkit_segment *segment;

		assert_true(shmkit_segment_open_or_create(name, MIB, NULL, &segment) >= 0);
		shmkit_segment_close(segment);
	}
	/* the last has left; of all those lives nothing is there */
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* ---- the last goes as the next comes ---- */

/* Nobody unlinks: as long as somebody is a member the name names what he has. */
static int come_and_go(void *argument)
{
	uint64_t end = *(uint64_t *)argument;
	unsigned creations = 0;

	while (test_now_ns() < end) {
		struct shmkit_segment_info info = { .struct_size = sizeof(info) };
		struct shmkit_segment *segment;
		struct stat mine;
		int result = shmkit_segment_open_or_create(name, 64 << 10, NULL, &segment);

		if (result < 0) {
			fprintf(stderr, "open_or_create: %d, %s\n", result, shmkit_last_error());
			return 1;
		}
		creations += (unsigned)result;
		if (shmkit_segment_get_info(segment, &info) || info.flags & SHMKIT_SEGMENT_UNLINKED ||
		    fstat(shmkit_segment_fd(segment), &mine) || inode() != mine.st_ino)
			return 2;
		if (test_random_below(2))
			sched_yield();
		shmkit_segment_close(segment);
		/* so that the name goes often: with nobody in it, or with somebody just coming */
		usleep((useconds_t)test_random_below(200));
	}
	/* or it did not test what it is for */
	return creations > 30 ? 0 : 3;
}

static void test_open_while_the_last_closes_gets_one_that_stays(void **state)
{
	uint64_t end = test_now_ns() + UINT64_C(2000000000);
	pid_t pids[3];

	(void)state;
	for (int i = 0; i < 3; i++)
		pids[i] = test_fork(come_and_go, &end);
	for (int i = 0; i < 3; i++)
		assert_int_equal(test_wait_exit(pids[i], 20000), 0);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* ---- those who came too early ---- */

static int wait_for_creator(void *argument)
{
	uint32_t flags = *(uint32_t *)argument;
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };

	if (shmkit_segment_open_wait(name, flags, flags ? INT64_C(10000000000) : -1, &segment) ||
	    shmkit_segment_wait_for(segment, "q", flags ? INT64_C(10000000000) : -1) ||
	    shmkit_queue_open(segment, "q", 8, &queue) || shmkit_queue_get_info(queue, &info))
		return 1;
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	return info.capacity == 4 ? 0 : 2;
}

static void test_open_wait_and_wait_for_started_before_the_creator(void **state)
{
	uint32_t flags[2] = { 0, SHMKIT_READ_ONLY };
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	pid_t pids[6];
	uint64_t start;

	(void)state;
	for (int i = 0; i < 6; i++)
		pids[i] = test_fork(wait_for_creator, &flags[i % 2]);
	test_sleep_ms(60);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	test_sleep_ms(60);
	start = test_now_ns();
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(test_wait_exit(pids[i], 10000), 0);
	assert_true(test_now_ns() - start < UINT64_C(500000000));
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
}

static void on_signal(int number)
{
	(void)number;
}

static void *signal_later(void *thread)
{
	test_sleep_ms(40);
	pthread_kill(*(pthread_t *)thread, SIGUSR1);
	return NULL;
}

static void test_open_wait_signal_ends_it_with_eintr(void **state)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, before;
	pthread_t self = pthread_self(), thread;
	struct shmkit_segment *segment;
	uint64_t start = test_now_ns();

	(void)state;
	sigaction(SIGUSR1, &action, &before);
	assert_int_equal(pthread_create(&thread, NULL, signal_later, &self), 0);
	assert_int_equal(shmkit_segment_open_wait(name, 0, INT64_C(10000000000), &segment), -EINTR);
	assert_true(test_now_ns() - start < UINT64_C(2000000000));
	pthread_join(thread, NULL);
	sigaction(SIGUSR1, &before, NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_or_create_left_over_is_gone_on_with),
		TEST(test_close_last_right_after_a_death_unlinks),
		TEST(test_replace_dead_left_over_is_replaced),
		TEST(test_replace_dead_persistent_or_alive_is_kept),
		TEST(test_replace_dead_newer_format_is_left_alone),
		TEST(test_start_on_what_is_no_segment_is_eproto_and_left_alone),
		TEST(test_replace_dead_many_at_once_one_makes_it),
		TEST(test_start_after_deaths_at_any_moment_always_works),
		TEST(test_open_while_the_last_closes_gets_one_that_stays),
		TEST(test_open_wait_and_wait_for_started_before_the_creator),
		TEST(test_open_wait_signal_ends_it_with_eintr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
