/* ZeroMQ over ipc: a library of sockets with threads of its own. */
#include "loops.h"

#include <zmq.h>

#include <stdio.h>
#include <unistd.h>

struct own {
	void *context, *push, *pull;
};

static struct own *own(struct bench_link *link)
{
	return (struct own *)(void *)link->own;
}

static const char *address(const struct bench_link *link, char text[128])
{
	snprintf(text, 128, "ipc:///tmp/%s", link->name);
	return text;
}

/* Index 0 is pulled from by worker 1, or by worker 0 where it has both ends; index 1 by worker 0. */
static bool attach(struct bench_link *link)
{
	bool both = link->what->kind == BENCH_PAIR;
	bool pulls = both || (link->worker == 1) == (link->index == 0);
	bool pushes = both || !pulls;
	int limit = (int)link->what->capacity;
	char text[128];

	own(link)->context = zmq_ctx_new();
	if (pulls) {
		own(link)->pull = zmq_socket(own(link)->context, ZMQ_PULL);
		zmq_setsockopt(own(link)->pull, ZMQ_RCVHWM, &limit, sizeof(limit));
		if (zmq_bind(own(link)->pull, address(link, text)) != 0)
			return false;
	}
	if (pushes) {
		own(link)->push = zmq_socket(own(link)->context, ZMQ_PUSH);
		zmq_setsockopt(own(link)->push, ZMQ_SNDHWM, &limit, sizeof(limit));
		if (zmq_connect(own(link)->push, address(link, text)) != 0)
			return false;
	}
	return true;
}

static void detach(struct bench_link *link)
{
	int linger = 0;

	if (own(link)->push) {
		zmq_setsockopt(own(link)->push, ZMQ_LINGER, &linger, sizeof(linger));
		zmq_close(own(link)->push);
	}
	if (own(link)->pull)
		zmq_close(own(link)->pull);
	zmq_ctx_term(own(link)->context);
}

static void finish(struct bench_link *link)
{
	char text[128];

	unlink(address(link, text) + sizeof("ipc://") - 1);
}

static inline size_t zmq_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && zmq_send(own(link)->push, (const char *)elements + done * size, size, ZMQ_DONTWAIT) >= 0)
		done++;
	return done;
}

static inline size_t zmq_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && zmq_recv(own(link)->pull, (char *)elements + done * size, size, ZMQ_DONTWAIT) >= 0)
		done++;
	return done;
}

#define push zmq_push
#define pop zmq_pop
BENCH_LOOPS(zmq_loop)
#undef push
#undef pop

static bench_loop zmq_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? zmq_loop(what, role) : NULL;
}

const struct bench_subject bench_subjects_zmq[] = {
	{ "zeromq", NULL, attach, detach, finish, zmq_if_single },
	{ .name = NULL },
};
