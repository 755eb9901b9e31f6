/*
 * What the tests share: names, child processes with a time limit, captured output, counts of what
 * must not be left behind, and random numbers that can be replayed. Includes cmocka.
 *
 * A child started here gets SIGKILL when the thread that started it ends, so that nothing
 * outlives a test that was killed.
 */
#ifndef TEST_SUPPORT_H
#define TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#define TEST_TIMEOUT  (-1000)           /* the child had to be killed */
#define TEST_NO_CHILD (-1001)           /* there was none to wait for */

/**
 * test_name() - A segment name no other test process uses, nor one that ended has left behind.
 * @stem: What the test is about.
 *
 * "t-<stem>-<pid>-<time of the first call>", the pid being the caller's: ask before a fork, not in
 * the child.
 *
 * Return: One of 8 static buffers, used in turn.
 */
const char *test_name(const char *stem);

/**
 * test_spawn() - Start a program.
 * @path: As for execvp().
 * @argv: From argv[0] on, NULL at the end.
 * @ret_stdout_fd: Where its standard output can be read, to be closed by the caller; NULL: it
 * shares the caller's.
 *
 * Return: Its pid, or -errno, also when the program could not be executed.
 */
pid_t test_spawn(const char *path, const char *const argv[], int *ret_stdout_fd);

/**
 * test_fork() - Run a function in a child process.
 * @fn: Its result is the exit status of the child.
 * @arg: Passed on to @fn.
 *
 * A cmocka assertion that fails in the child prints its message and ends the child with SIGABRT;
 * a fault there ends it by its signal. Neither comes back into the caller's test.
 *
 * Return: Its pid, or -errno.
 */
pid_t test_fork(int (*fn)(void *arg), void *arg);

/**
 * test_wait_exit() - Wait for a child to end.
 * @pid: From test_spawn() or test_fork().
 * @timeout_ms: < 0 waits for ever; a child that takes longer is killed.
 *
 * Return: Its exit status, 0..255; -N when signal N ended it; TEST_TIMEOUT; TEST_NO_CHILD.
 */
int test_wait_exit(pid_t pid, int timeout_ms);

/**
 * test_read_all() - Read to the end of the file.
 * @fd: Stays open.
 * @timeout_ms: < 0 waits for ever.
 *
 * Return: A string to free(). NULL when the end did not come in time, or on an error; what had
 * been read until then is on standard error.
 */
char *test_read_all(int fd, int timeout_ms);

/**
 * test_run() - Run a program to its end and take what it prints.
 * @path: As for test_spawn().
 * @argv: As for test_spawn().
 * @ret_status: As from test_wait_exit(); TEST_NO_CHILD when it could not be started.
 * @timeout_ms: < 0 waits for ever.
 *
 * Return: Standard output and standard error, a string to free(), also when it timed out. NULL
 * when it could not be started.
 */
char *test_run(const char *path, const char *const argv[], int *ret_status, int timeout_ms);

/** test_now_ns() - CLOCK_MONOTONIC in nanoseconds. */
uint64_t test_now_ns(void);

/** test_sleep_ms() - Sleep the whole time, whatever signals come. */
void test_sleep_ms(int milliseconds);

/** test_shm_leftovers() - Count the entries of /dev/shm that contain @stem; -errno. */
int test_shm_leftovers(const char *stem);

/** test_fd_count() - Count the open descriptors of this process; -errno. */
int test_fd_count(void);

/**
 * test_random() - A random number.
 *
 * The seed is printed at the first call; SHMKIT_TEST_SEED sets it. Any thread. A child of
 * test_fork() has a sequence of its own, which follows from the seed and the number of forks
 * before it.
 */
uint64_t test_random(void);

/** test_random_below() - A random number from 0 to @bound - 1; 0 for a @bound of 0. */
uint64_t test_random_below(uint64_t bound);

#endif
