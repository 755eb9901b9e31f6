/* libqb's ring buffer: chunks of any size, one writer, one reader, and a semaphore told of each. */
#include "loops.h"

#include <qb/qbrb.h>

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static qb_ringbuffer_t **own(struct bench_link *link)
{
	return (qb_ringbuffer_t **)(void *)link->own;
}

static size_t bytes(const struct bench_case *what)
{
	return (size_t)(what->capacity * (what->element_size + 16));
}

/* The creator's handle is worker 0's own. */
static bool attach(struct bench_link *link)
{
	uint32_t flags = QB_RB_FLAG_SHARED_PROCESS | (link->worker == 0 ? (uint32_t)QB_RB_FLAG_CREATE : 0u);

	/* the others come first: whoever opens it must find it */
	for (unsigned tries = 0; tries < 1000 && !*own(link); tries++) {
		*own(link) = qb_rb_open(link->name, bytes(link->what), flags, 0);
		if (!*own(link))
			usleep(1000);
	}
	if (!*own(link))
		perror("bench: qb_rb_open");
	return *own(link) != NULL;
}

static void detach(struct bench_link *link)
{
	qb_rb_close(*own(link));
}

static inline size_t qb_push(struct bench_link *link, const void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && qb_rb_chunk_write(*own(link), (const char *)elements + done * size, size) >= 0)
		done++;
	return done;
}

static inline size_t qb_pop(struct bench_link *link, void *elements, size_t n, size_t size)
{
	size_t done = 0;

	while (done < n && qb_rb_chunk_read(*own(link), (char *)elements + done * size, size, 0) > 0)
		done++;
	return done;
}

#define push qb_push
#define pop qb_pop
BENCH_LOOPS(qb_loop)
#undef push
#undef pop

static bench_loop qb_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? qb_loop(what, role) : NULL;
}

const struct bench_subject bench_subjects_qb[] = {
	{ "libqb", NULL, attach, detach, NULL, qb_if_single },
	{ .name = NULL },
};
