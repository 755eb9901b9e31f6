/* What the kernel offers: POSIX message queues, pipes, unix sockets that keep messages apart. */
#include "loops.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct own {
	mqd_t queue;
};

/* Descriptors are the same numbers in all workers: they lie where all see them. */
struct shared {
	int ends[2];                        /* to read, to write */
};

static struct shared *shared(struct bench_link *link)
{
	return link->memory;
}

static struct own *own(struct bench_link *link)
{
	return (struct own *)(void *)link->own;
}

static _Noreturn void die(const char *what)
{
	perror(what);
	abort();
}

/* ---- POSIX message queues: at most ten messages, unless the administrator allows more ---- */

static const char *mq_name(const struct bench_link *link, char name[80])
{
	snprintf(name, 80, "/%s", link->name);
	return name;
}

static bool prepare_mq(struct bench_link *link)
{
	struct mq_attr attributes = { .mq_maxmsg = 10, .mq_msgsize = (long)link->what->element_size };
	char name[80];
	mqd_t queue = mq_open(mq_name(link, name), O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);

	if (queue == (mqd_t)-1) {
		perror("bench: mq_open");
		return false;
	}
	mq_close(queue);
	return true;
}

static bool attach_mq(struct bench_link *link)
{
	char name[80];

	own(link)->queue = mq_open(mq_name(link, name), O_RDWR | O_NONBLOCK);
	return own(link)->queue != (mqd_t)-1;
}

static void detach_mq(struct bench_link *link)
{
	mq_close(own(link)->queue);
}

static void finish_mq(struct bench_link *link)
{
	char name[80];

	mq_unlink(mq_name(link, name));
}

static inline size_t mq_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && mq_send(own(link)->queue, (const char *)elements + done * size, size, 0) == 0)
		done++;
	if (done == 0 && errno != EAGAIN)
		die("bench: mq_send");
	return done;
}

static inline size_t mq_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && mq_receive(own(link)->queue, (char *)elements + done * size, size, NULL) >= 0)
		done++;
	if (done == 0 && errno != EAGAIN)
		die("bench: mq_receive");
	return done;
}

/* ---- pipes: a stream, in which what is no larger than a page goes in whole ---- */

static bool prepare_pipe(struct bench_link *link)
{
	return pipe2(shared(link)->ends, O_NONBLOCK | O_CLOEXEC) == 0;
}

static bool prepare_socket(struct bench_link *link)
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, shared(link)->ends) == 0;
}

static void finish_ends(struct bench_link *link)
{
	close(shared(link)->ends[0]);
	close(shared(link)->ends[1]);
}

static inline size_t pipe_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	ssize_t written = write(shared(link)->ends[1], elements, n * size);

	if (written < 0 && errno != EAGAIN)
		die("bench: write");
	return written < 0 ? 0 : (size_t)written / size;
}

static inline size_t pipe_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	ssize_t got = read(shared(link)->ends[0], elements, n * size);

	if (got < 0 && errno != EAGAIN)
		die("bench: read");
	return got < 0 ? 0 : (size_t)got / size;
}

static inline size_t socket_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && send(shared(link)->ends[1], (const char *)elements + done * size, size, 0) >= 0)
		done++;
	if (done == 0 && errno != EAGAIN)
		die("bench: send");
	return done;
}

static inline size_t socket_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && recv(shared(link)->ends[0], (char *)elements + done * size, size, 0) > 0)
		done++;
	if (done == 0 && errno != EAGAIN)
		die("bench: recv");
	return done;
}

#define push mq_push
#define pop mq_pop
BENCH_LOOPS(mq_loop)
#undef push
#undef pop
#define push pipe_push
#define pop pipe_pop
BENCH_LOOPS(pipe_loop)
#undef push
#undef pop
#define push socket_push
#define pop socket_pop
BENCH_LOOPS(socket_loop)
#undef push
#undef pop

const struct bench_subject bench_subjects_kernel[] = {
	{ "posix_mq", prepare_mq, attach_mq, detach_mq, finish_mq, mq_loop },
	{ "pipe", prepare_pipe, NULL, NULL, finish_ends, pipe_loop },
	{ "seqpacket", prepare_socket, NULL, NULL, finish_ends, socket_loop },
	{ .name = NULL },
};
