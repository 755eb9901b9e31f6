#include "support.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAME_BUFFERS 8
#define NAME_SIZE    256
#define NS_PER_MS    UINT64_C(1000000)
#define NS_PER_S     UINT64_C(1000000000)
#define POLL_MS      60000              /* the longest single poll() */

const char *test_name(const char *stem)
{
	static char buffers[NAME_BUFFERS][NAME_SIZE];
	static atomic_uint next;
	static atomic_ullong start;
	unsigned long long unset = 0, now = test_now_ns() | 1;
	char *buffer = buffers[atomic_fetch_add(&next, 1) % NAME_BUFFERS];

	if (atomic_compare_exchange_strong(&start, &unset, now))
		unset = now;
	snprintf(buffer, NAME_SIZE, "t-%s-%d-%llx", stem, (int)getpid(), unset);
	return buffer;
}

/* -- time -- */

uint64_t test_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void test_sleep_ms(int milliseconds)
{
	uint64_t until_ns = test_now_ns() + (uint64_t)(milliseconds > 0 ? milliseconds : 0) * NS_PER_MS;
	struct timespec until = {
		.tv_sec = (time_t)(until_ns / NS_PER_S),
		.tv_nsec = (long)(until_ns % NS_PER_S),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static uint64_t deadline_in(int timeout_ms)
{
	return timeout_ms < 0 ? UINT64_MAX : test_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
}

/* For poll(): rounded up, so that a deadline is not met by spinning. */
static int left_ms(uint64_t deadline_ns)
{
	uint64_t now = test_now_ns();
	uint64_t left;

	if (now >= deadline_ns)
		return 0;
	left = (deadline_ns - now - 1) / NS_PER_MS + 1;
	return left < POLL_MS ? (int)left : POLL_MS;
}

/* -- random numbers: splitmix64, whose whole state is one word -- */

#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

static atomic_bool seed_printed;
static uint64_t seed;
static _Atomic uint64_t random_state;
static atomic_uint forks;

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Before main(), so that threads and children all find it done. */
__attribute__((constructor)) static void choose_seed(void)
{
	const char *text = getenv("SHMKIT_TEST_SEED");

	if (text && *text)
		seed = strtoull(text, NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
		seed = test_now_ns();
	atomic_store(&random_state, seed);
}

uint64_t test_random(void)
{
	if (!atomic_exchange(&seed_printed, true)) {
		printf("# SHMKIT_TEST_SEED=0x%" PRIx64 "\n", seed);
		fflush(stdout);
	}
	return mix(atomic_fetch_add(&random_state, GOLDEN) + GOLDEN);
}

uint64_t test_random_below(uint64_t bound)
{
	return bound ? test_random() % bound : 0;
}

/* -- children -- */

/*
 * Held from the making of a pipe until only the child holds its end: a child that another thread
 * forks in between would hold it too, and the reader would wait for that child.
 */
static pthread_mutex_t fork_lock = PTHREAD_MUTEX_INITIALIZER;

/* In the child. Ends it if the parent has gone before the request took effect. */
static void die_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
}

/* A limit of 1 also keeps a core_pattern that is a pipe from being run. */
static void dump_no_core(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_CORE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max < 1 ? limit.rlim_max : 1;
		setrlimit(RLIMIT_CORE, &limit);
	}
}

/*
 * cmocka turns a fault into a jump back into the running test. In a child that would go on with
 * the parent's tests. Handlers that somebody else installed since stay.
 */
static void drop_cmocka_handlers(void)
{
	static const int faults[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS };

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		struct sigaction action;
		Dl_info info;

		if (sigaction(faults[i], NULL, &action) < 0 || action.sa_flags & SA_SIGINFO ||
		    action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN)
			continue;
		if (dladdr((void *)(uintptr_t)action.sa_handler, &info) && info.dli_fname &&
		    strstr(info.dli_fname, "cmocka"))
			signal(faults[i], SIG_DFL);
	}
}

pid_t test_fork(int (*fn)(void *arg), void *arg)
{
	unsigned int nth = atomic_fetch_add(&forks, 1) + 1;
	pid_t parent = getpid();
	pid_t pid;
	int status;

	fflush(NULL);                   /* or the child prints it again */
	pthread_mutex_lock(&fork_lock);
	pid = fork();
	if (pid < 0)
		pid = -errno;
	pthread_mutex_unlock(&fork_lock);
	if (pid != 0)
		return pid;

	die_with(parent);
	dump_no_core();
	drop_cmocka_handlers();
	setenv("CMOCKA_TEST_ABORT", "1", 1);   /* a failed assertion aborts, and jumps nowhere */
	atomic_store(&random_state, mix(atomic_load(&random_state) ^ mix(nth)));
	status = fn(arg);
	fflush(NULL);
	_exit(status);
}

static _Noreturn void exec_child(pid_t parent, const char *path, const char *const argv[],
				 int output_fd, bool with_stderr, int error_fd)
{
	sigset_t none;
	int error;

	die_with(parent);
	dump_no_core();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (output_fd < 0 || (dup2(output_fd, STDOUT_FILENO) >= 0 &&
			      (!with_stderr || dup2(output_fd, STDERR_FILENO) >= 0)))
		execvp(path, (char *const *)(uintptr_t)argv);
	error = errno;
	while (write(error_fd, &error, sizeof(error)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* Whether the program was executed: the pipe closes on exec, and carries errno otherwise. */
static int read_exec_error(int fd)
{
	int error = 0;
	ssize_t n;

	do
		n = read(fd, &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(error) ? -error : 0;
}

/* Starts a program whose output goes to output_fd, unless that is -1. */
static pid_t spawn(const char *path, const char *const argv[], int output_fd, bool with_stderr)
{
	pid_t parent = getpid();
	int error_fds[2];
	int error;
	pid_t pid;

	if (pipe2(error_fds, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		exec_child(parent, path, argv, output_fd, with_stderr, error_fds[1]);
	error = pid < 0 ? -errno : 0;
	close(error_fds[1]);
	if (pid > 0)
		error = read_exec_error(error_fds[0]);
	close(error_fds[0]);
	if (!error)
		return pid;
	if (pid > 0)
		test_wait_exit(pid, -1);
	return error;
}

/* The same with a pipe to read the output from. */
static pid_t spawn_piped(const char *path, const char *const argv[], bool with_stderr, int *ret_fd)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = spawn(path, argv, fds[1], with_stderr);
	close(fds[1]);
	if (pid < 0)
		close(fds[0]);
	else
		*ret_fd = fds[0];
	return pid;
}

pid_t test_spawn(const char *path, const char *const argv[], int *ret_stdout_fd)
{
	pid_t pid;

	pthread_mutex_lock(&fork_lock);
	if (ret_stdout_fd)
		pid = spawn_piped(path, argv, false, ret_stdout_fd);
	else
		pid = spawn(path, argv, -1, false);
	pthread_mutex_unlock(&fork_lock);
	return pid;
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int wait_until(pid_t pid, uint64_t deadline_ns)
{
	int status;

	if (pid <= 0)
		return TEST_NO_CHILD;
	for (;;) {
		bool late = test_now_ns() >= deadline_ns;
		pid_t ended = waitpid(pid, &status, WNOHANG);

		if (ended == pid)
			return exit_code(status);
		if (ended < 0)
			return TEST_NO_CHILD;
		if (late)
			break;
		test_sleep_ms(1);
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return TEST_TIMEOUT;
}

int test_wait_exit(pid_t pid, int timeout_ms)
{
	return wait_until(pid, deadline_in(timeout_ms));
}

/* -- what they print -- */

/* A string, whatever came; 0 at the end of the file, else -errno. */
static int read_until(int fd, uint64_t deadline_ns, char **ret_text)
{
	size_t size = 4096, used = 0;
	char *text = malloc(size);
	int result = 0;

	while (text) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (used + 1 == size) {
			size *= 2;
			text = realloc(text, size);
			if (!text)
				break;
		}
		n = poll(&ready, 1, left_ms(deadline_ns));
		if (n == 0 && test_now_ns() >= deadline_ns) {
			result = -ETIMEDOUT;
			break;
		}
		if (n > 0)
			n = read(fd, text + used, size - used - 1);
		else if (n == 0)
			continue;
		if (n > 0)
			used += (size_t)n;
		else if (n == 0)
			break;
		else if (errno != EINTR && errno != EAGAIN) {
			result = -errno;
			break;
		}
	}
	if (!text)
		abort();
	text[used] = '\0';
	*ret_text = text;
	return result;
}

char *test_read_all(int fd, int timeout_ms)
{
	char *text;
	int result = read_until(fd, deadline_in(timeout_ms), &text);

	if (result == 0)
		return text;
	fprintf(stderr, "test_read_all: %s after:\n%s\n", strerror(-result), text);
	free(text);
	return NULL;
}

char *test_run(const char *path, const char *const argv[], int *ret_status, int timeout_ms)
{
	uint64_t deadline_ns = deadline_in(timeout_ms);
	char *text;
	int fd;
	pid_t pid;

	pthread_mutex_lock(&fork_lock);
	pid = spawn_piped(path, argv, true, &fd);
	pthread_mutex_unlock(&fork_lock);
	if (pid < 0) {
		fprintf(stderr, "test_run: %s: %s\n", path, strerror(-pid));
		*ret_status = TEST_NO_CHILD;
		return NULL;
	}
	read_until(fd, deadline_ns, &text);
	close(fd);
	*ret_status = wait_until(pid, deadline_ns);
	return text;
}

/* -- what must not be left behind -- */

static int count_entries(const char *path, const char *stem)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int count = 0;

	if (!directory)
		return -errno;
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    strstr(entry->d_name, stem))
			count++;
	closedir(directory);
	return count;
}

int test_shm_leftovers(const char *stem)
{
	return count_entries("/dev/shm", stem);
}

int test_fd_count(void)
{
	int count = count_entries("/proc/self/fd", "");

	return count < 0 ? count : count - 1;   /* without the one that read the directory */
}
