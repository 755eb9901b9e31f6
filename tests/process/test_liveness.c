/*
 * Goal: in whatever state a process is, it is alive until the kernel has torn its memory down, and
 * dead from then on: nothing is taken from the living, and all that the dead held is free in time.
 *
 * Method: a holder has a lease, a ring's role and an object, and brings itself into a situation, or
 * is brought into it. Each situation of the table below is a test of its own; what must hold is the
 * same for all of the living (expect_alive; and then the holder ends what it holds itself), and the
 * same for all of the dead (expect_dead).
 *
 * The whole matrix, and where each cell is tested. L: this file; LF: test_liveness_files; LI:
 * test_liveness_ids; A: test_alive; F: test_fork_kinds; D: test_segment_descriptor; G:
 * test_segment_guard; C: test_member_crowd; R: test_readonly_observer; K: test_killed_all; S:
 * test_startup_leftover; P: test_pool_processes; I: test_ring_processes; T: test_small_tmpfs.
 *
 * | situation                                   | tested in                                        |
 * |---------------------------------------------|--------------------------------------------------|
 * | waits; is killed                            | L, A, K                                          |
 * | forked child uses handles, ends, dies       | A, F; the parent with leases meanwhile: L        |
 * | parent dies, child lives (idle, member)     | A, L                                             |
 * | clone() without CLONE_VM; with CLONE_FILES  | A, F; L                                          |
 * | vfork and exec, posix_spawn                 | F, L                                             |
 * | exec as a member                            | A, L                                             |
 * | closefrom(3), all closed, numbers reused    | A, D, L; during a wait and in a thread: LF       |
 * | main thread ended, another goes on          | A (idle), L (works)                              |
 * | exit without close; a zombie                | L                                                |
 * | PID, user, mount namespace                  | L                                                |
 * | another user id than at the start           | L; two users, modes: LI, A, D, R                 |
 * | SIGSTOP, SIGCONT                            | L, A, C, P, I; -EBUSY names it: LI, I            |
 * | stopped by a tracer, in its exit too        | L (stands for the core dump, whose place the     |
 * |                                             | machine's core_pattern decides)                  |
 * | killed while stopped                        | L                                                |
 * | file truncated, each size, each call        | G, A; each size, join and close: LF              |
 * | unlinked in use, a new one of that name     | LF, S                                            |
 * | no room, no descriptors, signals in attach  | T; LF                                            |
 * | id used again, former holder's words there  | LI; registry full of dead: A, C                  |
 * | more members than ids                       | C; room after one death: LI                      |
 * | read-only openers: no trace, shutdown, lock | R; LI                                            |
 * | thread cancelled inside a call              | not defined: no call is a cancellation point of  |
 * |                                             | the interface                                    |
 */
#include "liveness.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

extern char **environ;

static struct holding held;                 /* the holder's */

/* ---- what the holder does to itself, before it attaches ---- */

/* A child takes the caller's place in what it has unshared; the caller passes its end on. */
static void go_on_in_child(int flags)
{
	int status;
	pid_t pid;

	if (unshare((getuid() == 0 ? 0 : CLONE_NEWUSER) | flags) != 0)
		_exit(CANNOT);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	if (pid < 0)
		_exit(CANNOT);
	atomic_store(&cell->pid, pid);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFSIGNALED(status) ? 100 : WEXITSTATUS(status));
}

static void in_pid_namespace(void)
{
	go_on_in_child(CLONE_NEWPID);
}

/* Its own view of the mounts; /dev/shm is the same file system in it. */
static void in_mount_namespace(void)
{
	if (unshare((getuid() == 0 ? 0 : CLONE_NEWUSER) | CLONE_NEWNS) != 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("/dev/shm", "/dev/shm", NULL, MS_BIND, NULL) != 0)
		_exit(CANNOT);
}

static void in_user_namespace(void)
{
	if (unshare(CLONE_NEWUSER) != 0)
		_exit(CANNOT);
}

/* ---- and afterwards, alive ---- */

static void close_from_3(void)
{
	closefrom(3);
}

static void reuse_descriptors(void)
{
	int fd = shmkit_segment_fd(held.segment);

	for (int i = 3; i < 100; i++)
		close(i);
	for (int i = 3; i <= fd + 5; i++)
		if (open("/dev/null", O_RDWR) < 0)
			_exit(99);
}

static void become_another_user(void)
{
	if (getuid() != 0 || setgid(65534) || setuid(65534))
		_exit(CANNOT);
}

static void wait_for_child(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		_exit(98);
}

/* The child's handles are its own: closing them, or dying, is no end of the parent's. */
static void fork_children_that_end(void)
{
	for (int how = 0; how < 3; how++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (how > 0)
				(void)shmkit_queue_size(held.queue);
			if (how == 1)
				close_all(&held);
			if (how == 2)
				raise(SIGKILL);
			_exit(0);
		}
		wait_for_child(pid);
	}
	if (shmkit_segment_recover(held.segment, NULL))
		_exit(98);
}

static void clone_with_shared_descriptors(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		syscall(SYS_close_range, 3u, ~0u, 0u);   /* the parent's as well */
		syscall(SYS_exit_group, 0);
	}
	wait_for_child(pid);
}

static void spawn_programs(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	wait_for_child(pid);
	if (posix_spawn(&pid, "/bin/true", NULL, NULL, (char *[]){ (char *)(uintptr_t)"true", NULL },
			environ))
		_exit(98);
	wait_for_child(pid);
}

static void *go_on_in_thread(void *unused)
{
	(void)unused;
	test_sleep_ms(20);                  /* the main thread has ended */
	tell_ready();
	wait_to_go();
	_exit(let_go(&held));
}

static void end_main_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, go_on_in_thread, NULL))
		_exit(98);
	pthread_exit(NULL);
}

/* ---- what others do to it ---- */

static void stop(pid_t pid)
{
	siginfo_t info;

	kill(pid, SIGSTOP);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOWAIT), 0);
}

static void let_continue(pid_t pid)
{
	kill(pid, SIGCONT);
}

static void trace(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0)
		skip();
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSTOPPED(status));
}

static void untrace(pid_t pid)
{
	assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
}

/* Past every signal, on its way out, with its memory still there: as when a core is dumped. */
static void stop_in_exit(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACEEXIT) != 0)
		skip();
	kill(pid, SIGTERM);
	for (;;) {
		assert_int_equal(waitpid(pid, &status, __WALL), pid);
		assert_true(WIFSTOPPED(status));
		if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXIT << 8))
			return;
		assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, SIGTERM), 0);
	}
}

static void finish_exit(pid_t pid)
{
	int status;

	assert_int_equal(ptrace(PTRACE_CONT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
}

/* ---- the ends ---- */

static void exec_another_program(void)
{
	tell_ready();
	execl("/bin/sleep", "sleep", "60", (char *)NULL);
	_exit(98);
}

static void exit_without_close(void)
{
	tell_ready();
	_exit(0);
}

static void raise_kill(void)
{
	tell_ready();
	raise(SIGKILL);
}

static void raise_segv(void)
{
	tell_ready();
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static pid_t start_orphan(bool joins)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, 0);
	if (joins && shmkit_queue_size(held.queue) > 1)
		_exit(1);
	if (joins && shmkit_segment_heartbeat(held.segment))
		_exit(1);
	atomic_store(&cell->pid, getpid());
	for (uint64_t end = test_now_ns() + UINT64_C(10000000000); test_now_ns() < end && !cell->go;)
		usleep(500);
	if (joins)
		close_all(&held);
	_exit(0);
}

static void die_before_idle_child(void)
{
	start_orphan(false);
	while (!cell->pid)
		usleep(500);
	raise_kill();
}

static void die_before_joined_child(void)
{
	start_orphan(true);
	while (!cell->pid)
		usleep(500);
	raise_kill();
}

/* ---- the table ---- */

struct situation {
	const char *name;
	void (*before)(void);               /* in the holder, before it attaches */
	void (*after)(void);                /* in the holder; one that dies does it here */
	void (*outside)(pid_t pid);         /* to the holder, before one looks */
	void (*undo)(pid_t pid);
	bool dies;
	uint32_t members_left;              /* after its death, 0: the test's alone */
	uint32_t deaths;                    /* of its children as members */
};

static const struct situation situations[] = {
	{ .name = "alive: waits" },
	{ .name = "alive: stopped", .outside = stop, .undo = let_continue },
	{ .name = "alive: stopped by a tracer", .outside = trace, .undo = untrace },
	{ .name = "alive: closefrom(3)", .after = close_from_3 },
	{ .name = "alive: descriptors closed and used again", .after = reuse_descriptors },
	{ .name = "alive: another user id", .after = become_another_user },
	{ .name = "alive: forked children ended", .after = fork_children_that_end, .deaths = 1 },
	{ .name = "alive: a clone closed the descriptors they share",
	  .after = clone_with_shared_descriptors },
	{ .name = "alive: vfork and exec, posix_spawn", .after = spawn_programs },
	{ .name = "alive: main thread ended", .after = end_main_thread },
	{ .name = "alive: in a PID namespace", .before = in_pid_namespace },
	{ .name = "alive: in a mount namespace", .before = in_mount_namespace },
	{ .name = "alive: in a user namespace", .before = in_user_namespace },
	{ .name = "dead: killed", .after = raise_kill, .dies = true },
	{ .name = "dead: killed while stopped", .outside = stop, .dies = true },
	{ .name = "dead: killed in a PID namespace", .before = in_pid_namespace, .dies = true },
	{ .name = "dead: a fault", .after = raise_segv, .dies = true },
	{ .name = "dead: exit without close", .after = exit_without_close, .dies = true },
	{ .name = "dead: exec", .after = exec_another_program, .dies = true },
	{ .name = "dead: its idle child lives", .after = die_before_idle_child, .dies = true },
	{ .name = "dead: its child is a member", .after = die_before_joined_child, .dies = true,
	  .members_left = 2 },
};

#define SITUATIONS (sizeof(situations) / sizeof(situations[0]))

static int be_holder(void *argument)
{
	const struct situation *situation = argument;

	atomic_store(&cell->pid, 0);
	if (situation->before)
		situation->before();
	if (open_all(&held) || hold_something(&held)) {
		fprintf(stderr, "the holder: %s\n", shmkit_last_error());
		return 97;
	}
	if (situation->after)
		situation->after();
	tell_ready();
	wait_to_go();
	return let_go(&held);
}

/* Without waiting for it: a zombie is dead. */
static void wait_until_torn_down(pid_t pid, const struct situation *situation)
{
	uint64_t start = test_now_ns();

	if (situation->outside || situation->before)
		kill(cell->pid && situation->before ? cell->pid : pid, SIGKILL);
	while (alive(cell->id) == 1) {
		assert_true(test_now_ns() - start < UINT64_C(10000000000));
		usleep(200);
	}
}

static int set_up(void **state)
{
	(void)state;
	return set_up_segment(0);
}

static int tear_down(void **state)
{
	(void)state;
	return tear_down_segment();
}

static void test_situation(void **state)
{
	const struct situation *situation = *state;
	int status = 0;
	pid_t pid = test_fork(be_holder, (void *)(uintptr_t)situation);

	holder = pid;
	if (!wait_until_ready(pid, &status)) {
		holder = 0;
		if (status == CANNOT) {
			print_message("left out: this machine cannot make it so\n");
			skip();
		}
		fail_msg("the holder ended with %d", status);
	}
	if (situation->outside)
		situation->outside(pid);
	if (!situation->dies) {
		expect_alive(situation->deaths);
		if (situation->undo)
			situation->undo(pid);
		atomic_store(&cell->go, 1);
		holder = 0;
		assert_int_equal(test_wait_exit(pid, CHILD_MS), 0);
		assert_int_equal(segment_info().members, 1);
		assert_int_equal(segment_info().recoveries, situation->deaths);
		assert_int_equal(shmkit_pool_size(ours.pool), 0);
		return;
	}
	wait_until_torn_down(pid, situation);
	expect_dead(situation->members_left ? situation->members_left : 1);
	atomic_store(&cell->go, 1);         /* to its child, too */
	kill(pid, SIGKILL);
	(void)test_wait_exit(pid, CHILD_MS);
	holder = 0;
	while (segment_info().members > 1)  /* so that the test's is the last */
		usleep(500);
}

/* Alive as long as the tracer keeps it in its exit, dead afterwards. */
static void test_stopped_in_exit_alive_until_it_is_through(void **state)
{
	static const struct situation plain = { .name = "plain" };
	pid_t pid = test_fork(be_holder, (void *)(uintptr_t)&plain);
	int status;

	(void)state;
	assert_true(wait_until_ready(pid, &status));
	holder = pid;
	stop_in_exit(pid);
	expect_alive(0);
	finish_exit(pid);
	holder = 0;
	expect_dead(1);
}

int main(void)
{
	struct CMUnitTest tests[SITUATIONS + 1] = {
		cmocka_unit_test_setup_teardown(test_stopped_in_exit_alive_until_it_is_through, set_up,
						tear_down),
	};

	for (size_t i = 0; i < SITUATIONS; i++)
		tests[i + 1] = (struct CMUnitTest){ situations[i].name, test_situation, set_up, tear_down,
						    (void *)(uintptr_t)&situations[i] };
	return _cmocka_run_group_tests("liveness", tests, SITUATIONS + 1, NULL, NULL);
}
