/*
 * Goal: who is alive is told by the kernel, and by nothing that can go wrong: signals that stop,
 * descriptors closed under the library, forks of every kind, exec, threads that end, id reuse.
 * And: the last member unlinks, also when the others were killed; a registry full of the dead
 * mends itself; whatever a dead member held is free for the next.
 *
 * Method: children that attach and wait, and are stopped, killed, forked. Where a state cannot be
 * hit by chance (death while the table's lock is held) a child makes it through the layout.
 */
#include "layout.h"
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define SECOND INT64_C(1000000000)

static const char *name;
static struct shmkit_segment *segment;

static int set_up(void **state)
{
	(void)state;
	name = test_name("alive");
	return shmkit_segment_create(name, MIB, NULL, &segment);
}

static int tear_down(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(name);
}

static uint32_t members(void)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info.members;
}

static void wait_for_members(uint32_t count)
{
	uint64_t start = test_now_ns();

	while (members() != count) {
		assert_true(test_now_ns() - start < UINT64_C(5000000000));
		test_sleep_ms(1);
	}
}

/* alive of the member with that pid; -1 when it is not listed. */
static int alive(pid_t pid)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	while (shmkit_segment_next_member(segment, &cursor, &member) == 1)
		if (member.pid == pid)
			return (int)member.alive;
	return -1;
}

static void kill_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(test_wait_exit(pid, 10000), -SIGKILL);
}

static int attach_and_wait(void *argument)
{
	struct shmkit_segment *own;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own) != 0)
		return 1;
	for (;;)
		pause();
}

static void test_stopped_member_is_alive_killed_is_dead(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	pid_t pid = test_fork(attach_and_wait, NULL);

	(void)state;
	wait_for_members(2);
	assert_int_equal(alive(pid), 1);
	kill(pid, SIGSTOP);
	test_sleep_ms(20);
	assert_int_equal(alive(pid), 1);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 0);
	kill_child(pid);
	assert_int_equal(alive(pid), 0);
	assert_int_equal(members(), 1);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	assert_int_equal(alive(pid), -1);
}

static void test_close_last_when_others_were_killed_unlinks(void **state)
{
	pid_t pids[5];

	(void)state;
	for (int i = 0; i < 5; i++)
		pids[i] = test_fork(attach_and_wait, NULL);
	wait_for_members(6);
	for (int i = 0; i < 5; i++)
		kill_child(pids[i]);
	/* tear_down closes the last and looks */
}

/* ---- descriptors ---- */

static void test_descriptor_closed_underneath_nobody_dies(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	pid_t pid = test_fork(attach_and_wait, NULL);
	struct shmkit_queue *queue;
	uint64_t element = 1;
	int fd = shmkit_segment_fd(segment), stranger;

	(void)state;
	wait_for_members(2);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	/* closed, and the number is another file's now */
	stranger = open("/dev/null", O_RDWR);
	assert_int_equal(dup2(stranger, fd), fd);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 0);
	assert_int_equal(alive(pid), 1);
	assert_int_equal(alive(getpid()), 1);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	kill_child(pid);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	shmkit_queue_close(queue);
	close(stranger);
	close(fd);
}

static int close_everything_and_wait(void *argument)
{
	struct shmkit_segment *own;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own) != 0)
		return 1;
	for (int fd = 3; fd < 200; fd++)
		close(fd);
	for (;;)
		pause();
}

static void test_member_that_closed_all_descriptors_is_alive(void **state)
{
	pid_t pid = test_fork(close_everything_and_wait, NULL);

	(void)state;
	wait_for_members(2);
	test_sleep_ms(50);
	assert_int_equal(alive(pid), 1);
	kill_child(pid);
	assert_int_equal(members(), 1);
}

/* ---- fork, clone, exec, threads ---- */

static void test_fork_child_joins_on_first_use(void **state)
{
	struct shmkit_queue *queue;
	uint64_t element = 5;
	int status, id = shmkit_segment_member_id(segment);
	pid_t pid;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	pid = fork();
	if (pid == 0) {
		struct shmkit_slot slot;
		int result = shmkit_queue_enqueue(queue, &element);

		if (result || shmkit_segment_member_id(segment) == id)
			_exit(1);
		if (shmkit_queue_lease(queue, &slot) || *(uint64_t *)slot.data != 5)
			_exit(2);
		/* its handles end like any others: what it leased goes back */
		shmkit_queue_close(queue);
		shmkit_segment_close(segment);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(members(), 1);
	assert_int_equal(alive(getpid()), 1);
	element = 0;
	assert_int_equal(shmkit_queue_dequeue(queue, &element), 0);
	assert_int_equal(element, 5);
	shmkit_queue_close(queue);
}

static void test_fork_child_that_uses_nothing_changes_nothing(void **state)
{
	struct shmkit_queue *queue;
	struct shmkit_slot slot;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
	pid = fork();
	if (pid == 0) {
		shmkit_queue_close(queue);
		shmkit_segment_close(segment);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(members(), 1);
	assert_int_equal(test_shm_leftovers(name), 1);
	/* what the parent had reserved is still the parent's */
	assert_int_equal(shmkit_queue_commit(queue, &slot), 0);
	shmkit_queue_close(queue);
}

static void test_fork_child_may_not_settle_its_parents_slot(void **state)
{
	struct shmkit_queue *queue;
	struct shmkit_slot slot;
	uint64_t element = 1;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	assert_int_equal(shmkit_queue_lease(queue, &slot), 0);
	pid = fork();
	if (pid == 0)
		_exit(shmkit_queue_ack(queue, &slot) == -EPERM ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	shmkit_queue_close(queue);
}

static void test_raw_clone_child_is_a_member_of_its_own(void **state)
{
	struct shmkit_queue *queue;
	uint64_t element = 6;
	int status;
	pid_t pid;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		if (shmkit_queue_enqueue(queue, &element) || shmkit_segment_member_id(segment) != 1)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(members(), 1);
	assert_int_equal(shmkit_queue_dequeue(queue, &element), 0);
	shmkit_queue_close(queue);
}

static void test_parent_killed_child_lives_parent_is_dead(void **state)
{
	int pipes[2];
	pid_t pid, grandchild = 0;

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct shmkit_segment *own;

		if (shmkit_segment_open(name, 0, &own))
			_exit(1);
		grandchild = fork();
		if (grandchild == 0)
			for (;;)
				pause();
		if (write(pipes[1], &grandchild, sizeof(grandchild)) != sizeof(grandchild))
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(pipes[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
	assert_int_equal(members(), 2);
	kill_child(pid);
	assert_int_equal(alive(pid), 0);
	assert_int_equal(members(), 1);
	kill(grandchild, SIGKILL);
	close(pipes[0]);
	close(pipes[1]);
}

static int attach_and_exec(void *argument)
{
	struct shmkit_segment *own;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own) != 0)
		return 1;
	execl("/bin/sleep", "sleep", "60", (char *)NULL);
	return 1;
}

static void test_exec_ends_membership(void **state)
{
	pid_t pid = test_fork(attach_and_exec, NULL);
	uint64_t start = test_now_ns();

	(void)state;
	while (alive(pid) != 0) {
		assert_true(test_now_ns() - start < UINT64_C(5000000000));
		test_sleep_ms(1);
	}
	kill_child(pid);
}

static void *wait_for_ever(void *argument)
{
	(void)argument;
	for (;;)
		pause();
	return NULL;
}

static int main_thread_ends(void *argument)
{
	struct shmkit_segment *own;
	pthread_t thread;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own) != 0 ||
	    pthread_create(&thread, NULL, wait_for_ever, NULL) != 0)
		return 1;
	syscall(SYS_exit, 0);               /* this thread alone */
	return 1;
}

static void test_member_whose_main_thread_ended_is_alive(void **state)
{
	pid_t pid = test_fork(main_thread_ends, NULL);

	(void)state;
	wait_for_members(2);
	test_sleep_ms(50);
	assert_int_equal(alive(pid), 1);
	kill_child(pid);
	assert_int_equal(alive(pid), 0);
}

/* ---- many dead, locks of the dead ---- */

static void test_registry_full_of_the_dead_mends_itself(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .max_members = 4 };
	const char *outer = name;
	struct shmkit_segment *own;

	(void)state;
	name = test_name("dead");
	options.flags = SHMKIT_SEGMENT_PERSIST;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &own), 0);
	shmkit_segment_close(own);
	for (int round = 0; round < 20; round++) {
		pid_t pids[4];

		for (int i = 0; i < 4; i++)
			pids[i] = test_fork(attach_and_wait, NULL);
		test_sleep_ms(20);
		for (int i = 0; i < 4; i++)
			kill_child(pids[i]);
		assert_int_equal(shmkit_segment_open(name, 0, &own), 0);
		shmkit_segment_close(own);
	}
	assert_int_equal(shmkit_segment_unlink(name), 0);
	name = outer;
}

/* Takes the lock of the name table as the library would, and dies with it. */
static int die_with_table_lock(void *argument)
{
	struct shmkit_segment *own;
	struct shk_header_shm *header;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own) != 0)
		return 1;
	header = (struct shk_header_shm *)(uintptr_t)shmkit_segment_base(own);
	header->table_lock = (header->table_lock | 4095) + 1 + (UINT64_C(1) << 10) +
			     (unsigned)shmkit_segment_member_id(own);
	raise(SIGKILL);
	return 1;
}

static void test_death_with_the_table_lock_stops_nobody(void **state)
{
	struct shmkit_queue *queue;
	uint64_t start;

	(void)state;
	assert_int_equal(test_wait_exit(test_fork(die_with_table_lock, NULL), 10000), -SIGKILL);
	start = test_now_ns();
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	assert_true(test_now_ns() - start < UINT64_C(250000000));
	shmkit_queue_close(queue);
}

static int lease_and_wait(void *argument)
{
	struct shmkit_segment *own;
	struct shmkit_queue *queue;
	struct shmkit_slot slot;

	(void)argument;
	if (shmkit_segment_open(name, 0, &own) || shmkit_queue_open(own, "q", 8, &queue) ||
	    shmkit_queue_lease(queue, &slot))
		return 1;
	for (;;)
		pause();
}

static void test_removed_structure_of_a_dead_opener_gives_its_space_back(void **state)
{
	struct shmkit_segment_info before = { .struct_size = sizeof(before) };
	struct shmkit_segment_info after = { .struct_size = sizeof(after) };
	struct shmkit_queue *queue;
	uint64_t element = 1;
	pid_t pid;

	(void)state;
	assert_int_equal(shmkit_segment_get_info(segment, &before), 0);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 1000, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	shmkit_queue_close(queue);
	pid = test_fork(lease_and_wait, NULL);
	wait_for_members(2);
	test_sleep_ms(30);
	assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	assert_int_equal(shmkit_segment_get_info(segment, &after), 0);
	assert_true(after.used > before.used);
	kill_child(pid);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(shmkit_segment_get_info(segment, &after), 0);
	assert_int_equal(after.used, before.used);
}

/* A waiter that nobody wakes finds the dead by itself, in time. */
static void test_waiter_gets_the_lease_of_the_dead_in_time(void **state)
{
	struct shmkit_queue *queue;
	struct shmkit_slot slot;
	uint64_t element = 77, start;
	pid_t pid;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	pid = test_fork(lease_and_wait, NULL);
	wait_for_members(2);
	test_sleep_ms(30);
	assert_int_equal(shmkit_queue_lease(queue, &slot), -EAGAIN);
	kill_child(pid);
	start = test_now_ns();
	assert_int_equal(shmkit_queue_lease_wait(queue, &slot, 10 * SECOND), 0);
	assert_true(test_now_ns() - start < UINT64_C(250000000));
	assert_int_equal(*(uint64_t *)slot.data, 77);
	assert_int_equal(slot.deliveries, 2);
	assert_int_equal(shmkit_queue_ack(queue, &slot), 0);
	shmkit_queue_close(queue);
}

/* ---- truncation ---- */

static int use_what_is_cut_short(void *argument)
{
	struct shmkit_segment *own;
	struct shmkit_array *array;
	static char bytes[65536];
	int result;

	(void)argument;
	if (shmkit_segment_open(name, SHMKIT_SEGMENT_GUARD, &own) ||
	    shmkit_array_create(own, "a", 1, sizeof(bytes), NULL, &array) ||
	    shmkit_array_write(array, 0, sizeof(bytes), bytes))
		return 1;
	if (ftruncate(shmkit_segment_fd(own), 20480) != 0)
		return 2;
	result = shmkit_array_write(array, 0, sizeof(bytes), bytes);
	if (result != -EBADMSG)
		return 3;
	if (shmkit_array_read(array, 0, 1, bytes) != -EBADMSG || shmkit_segment_check(own) != -EBADMSG)
		return 4;
	shmkit_array_close(array);
	shmkit_segment_close(own);
	return 0;
}

static void test_guard_truncated_segment_answers_ebadmsg(void **state)
{
	const char *outer = name;
	struct shmkit_segment *own;

	(void)state;
	name = test_name("cut");
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &own), 0);
	assert_int_equal(test_wait_exit(test_fork(use_what_is_cut_short, NULL), 10000), 0);
	/* sound no longer, and said so; the parent touches nothing that is lost */
	assert_int_equal(shmkit_segment_check(own), -EBADMSG);
	shmkit_segment_close(own);
	name = outer;
}

/* ---- another user ---- */

static int open_as_nobody(void *argument)
{
	struct shmkit_segment *own;
	int fd = *(int *)argument;

	if (setgid(65534) != 0 || setuid(65534) != 0)
		return 77;
	if (shmkit_segment_open(name, 0, &own) != -EACCES)
		return 1;
	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &own) != -EACCES)
		return 2;
	if (shmkit_segment_open_fd(fd, 0, &own) != -EACCES)
		return 3;
	if (shmkit_segment_unlink(name) != -EACCES)
		return 4;
	return 0;
}

static void test_another_user_without_permission_is_eacces(void **state)
{
	struct shmkit_segment *anonymous;
	int fd, status;

	(void)state;
	if (getuid() != 0) {
		print_message("left out: only root can become somebody else\n");
		skip();
	}
	assert_int_equal(shmkit_segment_create_anonymous("private", MIB, NULL, &anonymous), 0);
	fd = shmkit_segment_fd(anonymous);
	status = test_wait_exit(test_fork(open_as_nobody, &fd), 10000);
	assert_int_equal(status, 0);
	shmkit_segment_close(anonymous);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stopped_member_is_alive_killed_is_dead),
		TEST(test_close_last_when_others_were_killed_unlinks),
		TEST(test_descriptor_closed_underneath_nobody_dies),
		TEST(test_member_that_closed_all_descriptors_is_alive),
		TEST(test_fork_child_joins_on_first_use),
		TEST(test_fork_child_that_uses_nothing_changes_nothing),
		TEST(test_fork_child_may_not_settle_its_parents_slot),
		TEST(test_raw_clone_child_is_a_member_of_its_own),
		TEST(test_parent_killed_child_lives_parent_is_dead),
		TEST(test_exec_ends_membership),
		TEST(test_member_whose_main_thread_ended_is_alive),
		TEST(test_registry_full_of_the_dead_mends_itself),
		TEST(test_death_with_the_table_lock_stops_nobody),
		TEST(test_removed_structure_of_a_dead_opener_gives_its_space_back),
		TEST(test_waiter_gets_the_lease_of_the_dead_in_time),
		TEST(test_guard_truncated_segment_answers_ebadmsg),
		TEST(test_another_user_without_permission_is_eacces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
