/*
 * Goal: with SHMKIT_SEGMENT_GUARD no call ends in a signal when another process truncates the file
 * of a segment: the first call that meets it and every later one answer -EBADMSG, and every handle
 * can still be closed. Without the flag, and for memory that is not a segment's, the signal is
 * nobody's but the program's.
 *
 * Method: a child opens a guarded segment with structures in it, another process cuts the file to
 * nothing, the child makes one call and exits with what it found. Each call gets a child of its
 * own, so that each is once the first to meet the loss.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define SETUP_FAILED 99
#define UNTOUCHED ((void *)(uintptr_t)0x5a5a)

static char name[64], path[80];

/* What a child has open when the file is cut. */
struct opened {
	struct shmkit_segment *segment;
	struct shmkit_array *array;
	struct shmkit_queue *queue;
	struct shmkit_atomic_u64 *atomic;
};

static int set_up(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("guard"));
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static int open_all(struct opened *all, uint32_t flags)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .flags = flags,
						  .max_size = 2 * MIB };
	uint64_t element = 7;

	return shmkit_segment_create(name, MIB, &options, &all->segment) ||
	       shmkit_array_create(all->segment, "array", 1, 100000, NULL, &all->array) ||
	       shmkit_queue_create(all->segment, "queue", 8, 16, NULL, &all->queue) ||
	       shmkit_atomic_u64_create(all->segment, "atomic", 1, &all->atomic) ||
	       shmkit_queue_enqueue(all->queue, &element);
}

static int cut_to(void *size)
{
	return truncate(path, *(off_t *)size) ? 1 : 0;
}

/* By another process. */
static int cut(off_t size)
{
	return test_wait_exit(test_fork(cut_to, &size), 10000);
}

/* ---- one call each ---- */

static int call_get_info(struct opened *all)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	return shmkit_segment_get_info(all->segment, &info);
}

static int call_find(struct opened *all)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };

	return shmkit_segment_find(all->segment, "queue", &info);
}

static int call_next_member(struct opened *all)
{
	struct shmkit_member_info info = { .struct_size = sizeof(info) };
	uint32_t cursor = 0;

	return shmkit_segment_next_member(all->segment, &cursor, &info);
}

static int call_recover(struct opened *all)
{
	return shmkit_segment_recover(all->segment, NULL);
}

static int call_check(struct opened *all)
{
	return shmkit_segment_check(all->segment);
}

static int call_remove(struct opened *all)
{
	return shmkit_segment_remove(all->segment, "queue");
}

static int call_grow(struct opened *all)
{
	return shmkit_segment_grow(all->segment, 2 * MIB);
}

static int call_wait_for(struct opened *all)
{
	return shmkit_segment_wait_for(all->segment, "not there", INT64_C(5000000000));
}

static int call_heartbeat(struct opened *all)
{
	return shmkit_segment_heartbeat(all->segment);
}

static int call_set_label(struct opened *all)
{
	return shmkit_segment_set_label(all->segment, "still here");
}

static int call_array_write(struct opened *all)
{
	static const char bytes[100000];

	return shmkit_array_write(all->array, 0, sizeof(bytes), bytes);
}

static int call_array_read(struct opened *all)
{
	static char bytes[100000];

	return shmkit_array_read(all->array, 0, sizeof(bytes), bytes);
}

static int call_enqueue(struct opened *all)
{
	uint64_t element = 1;

	return shmkit_queue_enqueue(all->queue, &element);
}

static int call_dequeue(struct opened *all)
{
	uint64_t element;

	return shmkit_queue_dequeue(all->queue, &element);
}

/* A handle that was made and taken back is none: the output is as it was. */
static int call_queue_create(struct opened *all)
{
	struct shmkit_queue *queue = UNTOUCHED;
	int result = shmkit_queue_create(all->segment, "another", 8, 4, NULL, &queue);

	return queue == UNTOUCHED ? result : -1000;
}

static int call_queue_open(struct opened *all)
{
	struct shmkit_queue *queue = UNTOUCHED;
	int result = shmkit_queue_open(all->segment, "queue", 8, &queue);

	return queue == UNTOUCHED ? result : -1000;
}

static int call_atomic_wait(struct opened *all)
{
	return shmkit_atomic_u64_wait(all->atomic, 1, INT64_C(5000000000));
}

/* Closing alone must do, without a call before it that could have met the loss. */
static int call_nothing(struct opened *all)
{
	(void)all;
	return -EBADMSG;
}

static const struct call {
	const char *name;
	int (*make)(struct opened *all);
} calls[] = {
	{ "get_info", call_get_info }, { "find", call_find }, { "next_member", call_next_member },
	{ "recover", call_recover }, { "check", call_check }, { "remove", call_remove },
	{ "grow", call_grow }, { "wait_for", call_wait_for }, { "heartbeat", call_heartbeat },
	{ "set_label", call_set_label }, { "array_write", call_array_write },
	{ "array_read", call_array_read }, { "enqueue", call_enqueue }, { "dequeue", call_dequeue },
	{ "queue_create", call_queue_create }, { "queue_open", call_queue_open },
	{ "atomic_wait", call_atomic_wait }, { "close alone", call_nothing },
};

static void close_all(struct opened *all)
{
	shmkit_atomic_u64_close(all->atomic);
	shmkit_queue_close(all->queue);
	shmkit_array_close(all->array);
	shmkit_segment_close(all->segment);
}

static int make_call(void *argument)
{
	const struct call *call = argument;
	struct opened all;
	int result;

	if (open_all(&all, SHMKIT_SEGMENT_GUARD) || cut(0))
		return SETUP_FAILED;
	result = call->make(&all);
	/* The first to meet it may have done its work on the pages put in place; the next may not. */
	if (result != -EBADMSG)
		fprintf(stderr, "%s: %d at first, %s\n", call->name, result, shmkit_last_error());
	if (result == -EBADMSG && call->make != call_nothing)
		result = call_get_info(&all);
	close_all(&all);
	return result == -EBADMSG ? 0 : 1;
}

/* All are tried before the test fails, so that one run tells of each. */
static void test_guard_each_call_on_a_file_cut_to_nothing_is_ebadmsg(void **state)
{
	int failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int status = test_wait_exit(test_fork(make_call, (void *)(uintptr_t)&calls[i]), 10000);

		if (status != 0) {
			print_error("%s: the child ended with %d\n", calls[i].name, status);
			failed++;
		}
		unlink(path);
	}
	assert_int_equal(failed, 0);
}

/* ---- in the middle ---- */

static int wait_in_vain(void *argument)
{
	struct opened all;
	uint64_t element;
	int *ready = argument;

	if (open_all(&all, SHMKIT_SEGMENT_GUARD) || shmkit_queue_dequeue(all.queue, &element) ||
	    write(ready[1], "r", 1) != 1)
		return SETUP_FAILED;
	if (shmkit_queue_dequeue_wait(all.queue, &element, INT64_C(8000000000)) != -EBADMSG)
		return 1;
	close_all(&all);
	return 0;
}

static void test_guard_wait_under_way_when_the_file_is_cut_is_ebadmsg(void **state)
{
	int ready[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	pid = test_fork(wait_in_vain, ready);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	test_sleep_ms(50);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(test_wait_exit(pid, 10000), 0);
	close(ready[0]);
	close(ready[1]);
}

static int fork_then_cut(void *argument)
{
	struct opened all;
	int status;
	pid_t pid;

	(void)argument;
	if (open_all(&all, SHMKIT_SEGMENT_GUARD))
		return SETUP_FAILED;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		/* it has to join first, and meets the loss in doing so */
		int result = cut(0) ? 0 : call_enqueue(&all);

		if (result != -EBADMSG && result != -ECHILD)
			_exit(1);
		close_all(&all);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return 1;
	close_all(&all);
	return 0;
}

static void test_guard_forked_child_that_joins_a_cut_file_is_refused(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(fork_then_cut, NULL), 10000), 0);
}

/* It has just looked for the dead: closing is the first to touch what is lost. */
static int close_cut_file_others_are_in(void *argument)
{
	struct shmkit_segment *segment;

	(void)argument;
	if (shmkit_segment_open(name, SHMKIT_SEGMENT_GUARD, &segment) || truncate(path, 0))
		return SETUP_FAILED;
	shmkit_segment_close(segment);
	return 0;
}

/* Who else is in it can no longer be read: the name is not the closer's to take away. */
static void test_guard_close_of_a_cut_file_leaves_its_name(void **state)
{
	struct shmkit_segment *segment;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	/* the parent stays a member, and touches nothing */
	assert_int_equal(test_wait_exit(test_fork(close_cut_file_others_are_in, NULL), 10000), 0);
	assert_int_equal(test_shm_leftovers(name), 1);
	/* so that this one can be closed: it has no guard */
	assert_int_equal(truncate(path, MIB), 0);
	shmkit_segment_close(segment);
}

static int lose_the_end_then_fork(void *argument)
{
	int *pipes = argument;
	struct shmkit_segment *segment;
	struct shmkit_array *array;
	static char bytes[100000];
	int status;
	pid_t pid;

	if (shmkit_segment_open(name, SHMKIT_SEGMENT_GUARD, &segment) ||
	    shmkit_array_open(segment, "array", 1, &array) || truncate(path, 65536) ||
	    shmkit_array_read(array, 0, sizeof(bytes), bytes) != -EBADMSG)
		return SETUP_FAILED;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		shmkit_array_close(array);
		shmkit_segment_close(segment);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0 || write(pipes[1], "c", 1) != 1)
		return 1;
	for (;;)
		pause();
}

/* What the child of a damaged handle closes is not its parent's membership. */
static void test_guard_forked_child_that_closes_a_damaged_handle_changes_nothing(void **state)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	struct opened all;
	uint32_t cursor = 0;
	int pipes[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(open_all(&all, 0), 0);
	assert_int_equal(pipe(pipes), 0);
	pid = test_fork(lose_the_end_then_fork, pipes);
	close(pipes[1]);
	assert_int_equal(read(pipes[0], &byte, 1), 1);
	while (shmkit_segment_next_member(all.segment, &cursor, &member) == 1 && member.pid != pid)
		;
	assert_int_equal(member.pid, pid);
	assert_int_equal(member.alive, 1);
	kill(pid, SIGKILL);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
	assert_int_equal(truncate(path, MIB), 0);
	close_all(&all);
	close(pipes[0]);
}

static int cut_off_what_is_behind(void *argument)
{
	struct opened all;
	struct shmkit_segment *reader;
	struct shmkit_array *view;
	static char bytes[100000];
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };

	(void)argument;
	if (open_all(&all, 0) ||
	    shmkit_segment_open(name, SHMKIT_READ_ONLY | SHMKIT_SEGMENT_GUARD, &reader) ||
	    shmkit_array_open(reader, "array", 1, &view) ||
	    shmkit_segment_find(reader, "array", &info))
		return SETUP_FAILED;
	/* in the middle of the array: what is in front of it is still there */
	if (cut((off_t)(info.offset + 40960) / 4096 * 4096))
		return SETUP_FAILED;
	if (shmkit_array_read(view, 0, sizeof(bytes), bytes) != -EBADMSG ||
	    shmkit_array_read(view, 0, 1, bytes) != -EBADMSG)
		return 1;
	shmkit_array_close(view);
	shmkit_segment_close(reader);
	return 0;
}

static void test_guard_read_only_opener_of_a_shortened_file_is_ebadmsg(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(cut_off_what_is_behind, NULL), 10000), 0);
}

/* ---- other people's signals ---- */

static int open_without_the_flag(void *argument)
{
	struct sigaction action;
	struct opened all;

	(void)argument;
	if (open_all(&all, 0) || sigaction(SIGBUS, NULL, &action))
		return SETUP_FAILED;
	return action.sa_handler == SIG_DFL ? 0 : 1;
}

static void test_open_without_guard_installs_no_handler(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(open_without_the_flag, NULL), 10000), 0);
}

/* A mapping of another file that has become shorter: touching it is a SIGBUS. */
static volatile char *lost_page(void)
{
	int fd = memfd_create("lost", MFD_CLOEXEC);
	void *page = fd < 0 || ftruncate(fd, 4096) ? MAP_FAILED
			: mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return page == MAP_FAILED || ftruncate(fd, 0) ? NULL : page;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	_exit(info->si_code == BUS_ADRERR ? 42 : 43);
}

static int other_memory_is_lost(void *argument)
{
	bool with_handler = argument != NULL;
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };
	volatile char *page = lost_page();
	struct opened all;

	if (!page || (with_handler && sigaction(SIGBUS, &action, NULL)) ||
	    open_all(&all, SHMKIT_SEGMENT_GUARD))
		return SETUP_FAILED;
	*page = 1;
	return 1;
}

static void test_guard_sigbus_of_other_memory_goes_to_the_handler_before(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(other_memory_is_lost, ""), 10000), 42);
}

static void test_guard_sigbus_of_other_memory_without_handler_ends_the_process(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(other_memory_is_lost, NULL), 10000), -SIGBUS);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_guard_each_call_on_a_file_cut_to_nothing_is_ebadmsg),
		TEST(test_guard_wait_under_way_when_the_file_is_cut_is_ebadmsg),
		TEST(test_guard_forked_child_that_joins_a_cut_file_is_refused),
		TEST(test_guard_close_of_a_cut_file_leaves_its_name),
		TEST(test_guard_forked_child_that_closes_a_damaged_handle_changes_nothing),
		TEST(test_guard_read_only_opener_of_a_shortened_file_is_ebadmsg),
		TEST(test_open_without_guard_installs_no_handler),
		TEST(test_guard_sigbus_of_other_memory_goes_to_the_handler_before),
		TEST(test_guard_sigbus_of_other_memory_without_handler_ends_the_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
