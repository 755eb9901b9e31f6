/*
 * Goal: a segment that is passed on by its descriptor is a segment like any other, to whoever may
 * have it and to nobody else; and a descriptor that somebody in the process closes, or that comes
 * to be another file's, does no harm.
 *
 * Method: descriptors go over a unix socket to children, who open them, some as another user;
 * closefrom(3) and dup2() stand for the careless library that closes what is not its own. Peers
 * change the segment meanwhile.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)
#define NOBODY 65534u

static char name[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(name, sizeof(name), "%s", test_name("fd"));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return test_shm_leftovers(name);
}

/* ---- over a socket ---- */

static int send_fd(int socket, int fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .bytes = { 0 } };
	struct iovec one = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

static int receive_fd(int socket)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec one = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &one, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	int fd = -1;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* What a receiving process is to do. */
struct receiver {
	int socket;
	unsigned user;                      /* to become, 0: stays */
	uint32_t flags;
	int expected;                       /* of open_fd */
};

/* Answers through the queues of the segment: takes from "there", puts the square into "back". */
static int receive_and_answer(void *argument)
{
	const struct receiver *receiver = argument;
	struct shmkit_segment *segment;
	struct shmkit_queue *there, *back;
	uint64_t element;
	int fd, result;

	if (receiver->user && (setgid(receiver->user) || setuid(receiver->user)))
		return 98;
	fd = receive_fd(receiver->socket);
	if (fd < 0)
		return 99;
	result = shmkit_segment_open_fd(fd, receiver->flags, &segment);
	close(fd);
	if (result != receiver->expected) {
		fprintf(stderr, "open_fd: %d, %s\n", result, shmkit_last_error());
		return 1;
	}
	if (result)
		return 0;
	if (shmkit_queue_open(segment, "there", 8, &there) || shmkit_queue_open(segment, "back", 8, &back))
		return 2;
	if (receiver->flags & SHMKIT_READ_ONLY) {
		if (shmkit_queue_dequeue(there, &element) != -EROFS || shmkit_queue_size(there) != 1 ||
		    shmkit_segment_member_id(segment) != -EROFS)
			return 3;
	} else {
		if (shmkit_queue_dequeue_wait(there, &element, INT64_C(5000000000)))
			return 4;
		element *= element;
		if (shmkit_queue_enqueue(back, &element))
			return 5;
	}
	shmkit_queue_close(there);
	shmkit_queue_close(back);
	shmkit_segment_close(segment);
	return 0;
}

static int passed_to(struct shmkit_segment *segment, int fd, struct receiver receiver)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	int sockets[2], status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	receiver.socket = sockets[1];
	pid = test_fork(receive_and_answer, &receiver);
	assert_int_equal(send_fd(sockets[0], fd), 0);
	status = test_wait_exit(pid, 10000);
	close(sockets[0]);
	close(sockets[1]);
	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.members, 1);
	return status;
}

static void open_queues(struct shmkit_segment *segment, struct shmkit_queue *queues[2])
{
	assert_int_equal(shmkit_queue_create(segment, "there", 8, 4, NULL, &queues[0]), 0);
	assert_int_equal(shmkit_queue_create(segment, "back", 8, 4, NULL, &queues[1]), 0);
}

static void put(struct shmkit_queue *queue, uint64_t value)
{
	assert_int_equal(shmkit_queue_enqueue(queue, &value), 0);
}

static void expect(struct shmkit_queue *queue, uint64_t expected)
{
	uint64_t value = 0;

	assert_int_equal(shmkit_queue_dequeue(queue, &value), 0);
	assert_int_equal(value, expected);
}

static void test_open_fd_passed_to_another_process_both_use_it(void **state)
{
	struct shmkit_segment *segment;
	struct shmkit_queue *queues[2];
	char path[40];
	int reader;

	(void)state;
	assert_int_equal(shmkit_segment_create_anonymous("passed", MIB, NULL, &segment), 0);
	open_queues(segment, queues);
	put(queues[0], 12);
	assert_int_equal(passed_to(segment, shmkit_segment_fd(segment), (struct receiver){ 0 }), 0);
	expect(queues[1], 144);
	put(queues[0], 13);
	assert_int_equal(passed_to(segment, shmkit_segment_fd(segment),
				   (struct receiver){ .flags = SHMKIT_READ_ONLY }), 0);
	/* the owner of the memory may open it to write, though the descriptor is for reading */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", shmkit_segment_fd(segment));
	reader = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(reader >= 0);
	assert_int_equal(passed_to(segment, reader, (struct receiver){ 0 }), 0);
	expect(queues[1], 169);
	close(reader);
	shmkit_queue_close(queues[0]);
	shmkit_queue_close(queues[1]);
	shmkit_segment_close(segment);
}

static void test_open_fd_by_another_user_as_the_mode_allows(void **state)
{
	static const struct {
		uint32_t mode;
		uint32_t flags;
		int expected;
	} cases[] = {
		{ 0600, 0, -EACCES }, { 0600, SHMKIT_READ_ONLY, -EACCES },
		{ 0644, 0, -EACCES }, { 0644, SHMKIT_READ_ONLY, 0 },
		{ 0666, 0, 0 },
	};

	(void)state;
	if (getuid() != 0) {
		print_message("left out: only root can become somebody else\n");
		skip();
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shmkit_segment_options options = { .struct_size = sizeof(options),
							  .mode = cases[i].mode };
		struct receiver receiver = { .user = NOBODY, .flags = cases[i].flags,
					     .expected = cases[i].expected };
		struct shmkit_segment *segment;
		struct shmkit_queue *queues[2];

		assert_int_equal(shmkit_segment_create_anonymous("modes", MIB, &options, &segment), 0);
		open_queues(segment, queues);
		put(queues[0], 5);
		assert_int_equal(passed_to(segment, shmkit_segment_fd(segment), receiver), 0);
		shmkit_queue_close(queues[0]);
		shmkit_queue_close(queues[1]);
		shmkit_segment_close(segment);
		/* the same for a segment that has a name */
		assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), 0);
		open_queues(segment, queues);
		put(queues[0], 5);
		assert_int_equal(passed_to(segment, shmkit_segment_fd(segment), receiver), 0);
		shmkit_queue_close(queues[0]);
		shmkit_queue_close(queues[1]);
		shmkit_segment_close(segment);
	}
}

static int use_as_group(void *argument)
{
	struct shmkit_segment *segment;
	unsigned group = *(unsigned *)argument;
	int result;

	if (setgid(group) || setuid(NOBODY))
		return 98;
	result = shmkit_segment_open(name, 0, &segment);
	if (result)
		return -result;
	shmkit_segment_close(segment);
	return 0;
}

static void test_create_group_its_members_may_open(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .mode = 0660,
						  .flags = SHMKIT_SEGMENT_GROUP, .group = 54321 };
	unsigned another = 54322;
	struct shmkit_segment *segment;
	struct stat file;

	(void)state;
	if (getuid() != 0) {
		print_message("left out: only root can give a segment to any group\n");
		skip();
	}
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), 0);
	assert_int_equal(fstat(shmkit_segment_fd(segment), &file), 0);
	assert_int_equal(file.st_gid, options.group);
	assert_int_equal(test_wait_exit(test_fork(use_as_group, &options.group), 10000), 0);
	assert_int_equal(test_wait_exit(test_fork(use_as_group, &another), 10000), EACCES);
	shmkit_segment_close(segment);
}

static int create_for_another_group(void *argument)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .flags = SHMKIT_SEGMENT_GROUP, .group = 0 };
	struct shmkit_segment *segment;

	(void)argument;
	if (getuid() == 0 && (setgid(NOBODY) || setuid(NOBODY)))
		return 98;
	if (shmkit_segment_create(name, MIB, &options, &segment) != -EPERM)
		return 1;
	if (shmkit_segment_create_anonymous("x", MIB, &options, &segment) != -EPERM)
		return 2;
	return strstr(shmkit_last_error(), "group 0") ? 0 : 3;
}

static void test_create_group_one_is_not_in_is_eperm(void **state)
{
	(void)state;
	assert_int_equal(test_wait_exit(test_fork(create_for_another_group, NULL), 10000), 0);
}

static void test_anonymous_that_may_grow_grows_for_all_and_never_shrinks(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .max_size = 8 * MIB };
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment, *peer;
	struct shmkit_array *array, *view;

	(void)state;
	assert_int_equal(shmkit_segment_create_anonymous("grows", MIB, &options, &segment), 0);
	assert_int_equal(shmkit_segment_open_fd(shmkit_segment_fd(segment), 0, &peer), 0);
	assert_int_equal(fcntl(shmkit_segment_fd(segment), F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_SEAL);
	assert_int_equal(ftruncate(shmkit_segment_fd(segment), 4096), -1);
	assert_int_equal(shmkit_segment_grow(peer, 8 * MIB), 0);
	assert_int_equal(shmkit_array_create(peer, "a", 4096, 1024, NULL, &array), 0);
	memset(shmkit_array_data(array), 9, 4 * MIB);
	assert_int_equal(shmkit_array_open(segment, "a", 0, &view), 0);
	assert_int_equal(((const char *)shmkit_array_view(view))[4 * MIB - 1], 9);
	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.size, 8 * MIB);
	shmkit_array_close(array);
	shmkit_array_close(view);
	shmkit_segment_close(peer);
	shmkit_segment_close(segment);
}

/* ---- closed by somebody else ---- */

static int grow_and_create(void *argument)
{
	struct shmkit_segment *segment;
	struct shmkit_array *array;

	(void)argument;
	if (shmkit_segment_open(name, 0, &segment) || shmkit_segment_grow(segment, 16 * MIB) ||
	    shmkit_array_create(segment, "far", 4096, 2048, NULL, &array))
		return 1;
	memset(shmkit_array_data(array), 4, 8 * MIB);
	shmkit_array_close(array);
	shmkit_segment_close(segment);
	return 0;
}

/* Tells of a step that failed; 1 if it did. */
static int failed(const char *how, const char *what, bool bad)
{
	if (bad)
		fprintf(stderr, "%s: %s; last error: %s\n", how, what, shmkit_last_error());
	return bad;
}

/* What a process does whose descriptors are gone; how many steps failed. In this order: the first
 * ones must do without a step before them that has found a new descriptor. */
static int go_on(struct shmkit_segment *segment, const char *how)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_queue *queue;
	struct shmkit_array *array;
	uint64_t element = 3;
	int failures = 0;

	failures += failed(how, "check", shmkit_segment_check(segment) != 0);
	failures += failed(how, "a peer grows and creates",
			   test_wait_exit(test_fork(grow_and_create, NULL), 10000) != 0);
	if (shmkit_array_open(segment, "far", 4096, &array) == 0) {
		failures += failed(how, "bytes", ((const char *)shmkit_array_view(array))[8 * MIB - 1] != 4);
		shmkit_array_close(array);
	} else {
		failures += failed(how, "open in what a peer has grown", true);
	}
	failures += failed(how, "get_info", shmkit_segment_get_info(segment, &info) != 0);
	failures += failed(how, "unlinked, it says", info.flags & SHMKIT_SEGMENT_UNLINKED);
	failures += failed(how, "members", info.members != 1);
	if (shmkit_queue_create(segment, "q", 8, 4, NULL, &queue) == 0) {
		failures += failed(how, "enqueue", shmkit_queue_enqueue(queue, &element) != 0);
		shmkit_queue_close(queue);
	} else {
		failures += failed(how, "create", true);
	}
	failures += failed(how, "remove", shmkit_segment_remove(segment, "far") != 0);
	failures += failed(how, "recover", shmkit_segment_recover(segment, NULL) != 0);
	return failures;
}

static int lose_descriptors(void *argument)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .max_size = 32 * MIB };
	const char *how = argument;
	struct shmkit_segment *segment;
	int fd, failures;

	if (shmkit_segment_create(name, MIB, &options, &segment))
		return 99;
	fd = shmkit_segment_fd(segment);
	if (strcmp(how, "closefrom") == 0) {
		closefrom(3);
	} else {
		int other = strcmp(how, "larger file") == 0 ? memfd_create("other", 0)
							    : open("/dev/null", O_RDWR);

		if (strcmp(how, "larger file") == 0 && ftruncate(other, (off_t)(1024 * MIB)))
			return 99;
		if (dup2(other, fd) != fd)
			return 99;
	}
	failures = go_on(segment, how);
	shmkit_segment_close(segment);
	/* the number is whoever's it is now */
	failures += failed(how, "closed a descriptor that was another's",
			   strcmp(how, "closefrom") != 0 && fcntl(fd, F_GETFD) < 0);
	return failures;
}

static void test_descriptors_closed_from_outside_the_segment_goes_on(void **state)
{
	static const char *const ways[] = { "closefrom", "another file", "larger file" };
	int failures = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		int status = test_wait_exit(test_fork(lose_descriptors, (void *)(uintptr_t)ways[i]), 20000);

		if (status) {
			print_error("%s: %d\n", ways[i], status);
			failures++;
		}
		assert_int_equal(test_shm_leftovers(name), 0);
	}
	assert_int_equal(failures, 0);
}

/* Nothing can be reopened: no verdict, no false death, a clear refusal where memory is needed. */
static void test_descriptor_of_an_anonymous_segment_closed_is_no_death(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	struct shmkit_segment *segment, *peer;
	struct shmkit_queue *queue, *other;
	uint64_t element = 8;
	int fd, keep;

	(void)state;
	assert_int_equal(shmkit_segment_create_anonymous("nameless", MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	fd = shmkit_segment_fd(segment);
	assert_int_equal(shmkit_segment_open_fd(fd, 0, &peer), 0);
	keep = dup(fd);
	close(fd);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 0);
	assert_int_equal(shmkit_segment_recover(peer, &report), 0);
	assert_int_equal(report.members, 0);
	assert_int_equal(shmkit_queue_create(segment, "more", 8, 4, NULL, &other), -ESTALE);
	assert_non_null(strstr(shmkit_last_error(), "nameless"));
	assert_int_equal(shmkit_segment_grow(segment, MIB), -ESTALE);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	assert_int_equal(shmkit_queue_open(peer, "q", 8, &other), 0);
	assert_int_equal(shmkit_queue_dequeue(other, &element), 0);
	shmkit_queue_close(other);
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
	shmkit_segment_close(peer);
	close(keep);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_open_fd_passed_to_another_process_both_use_it),
		TEST(test_open_fd_by_another_user_as_the_mode_allows),
		TEST(test_create_group_its_members_may_open),
		TEST(test_create_group_one_is_not_in_is_eperm),
		TEST(test_anonymous_that_may_grow_grows_for_all_and_never_shrinks),
		TEST(test_descriptors_closed_from_outside_the_segment_goes_on),
		TEST(test_descriptor_of_an_anonymous_segment_closed_is_no_death),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
