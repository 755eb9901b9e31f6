/*
 * Rings: many producers and consumers of a stream, in which nothing may be lost; and a ring whose
 * newest elements are wanted, with rivals for the producer's role, one consumer, and observers who
 * read the segment only.
 */
#include "torture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct shmkit_ring *open_ring(struct self *self, enum flow flow)
{
	struct shmkit_ring *ring = NULL;
	int result = shmkit_ring_open(self->segment, flow_shapes[flow].name, flow_shapes[flow].words * 8,
				      &ring);

	if (result)
		blame(self, 0, "open of ring '%s': %d", flow_shapes[flow].name, result);
	return ring;
}

/* A living process has the role, or was not given the processor in a push. */
static bool is_soft(int64_t result)
{
	return result == -EAGAIN || result == -EBUSY;
}

/* ---- producers ---- */

static int64_t push(struct shmkit_ring *ring, enum flow flow, uint32_t how, const uint64_t *words,
		    uint32_t count)
{
	int64_t result;

	switch (how) {
	case 0:
		result = shmkit_ring_push(ring, words);
		return result ? result : 1;
	case 1:
		return shmkit_ring_push_bulk(ring, words, count);
	case 2:
		return shmkit_ring_push_bulk_wait(ring, words, count, WAIT_NS);
	default:
		result = shmkit_ring_push_overwrite(ring, words, count);
		if (result > (int64_t)flow_shapes[flow].capacity)
			return -ERANGE;     /* more dropped than it holds */
		return result < 0 ? result : (int64_t)count;
	}
}

static int64_t put(struct self *self, struct shmkit_ring *ring, enum flow flow, uint32_t how)
{
	static uint64_t words[BULK * MAX_WORDS];
	uint32_t count = how == 0 ? 1 : 1 + below(self, BULK);
	uint32_t first = new_messages(self, flow, count);
	int64_t result;

	if (!first)
		return stopped(self) ? -ESHUTDOWN : 0;
	for (uint32_t i = 0; i < count; i++)
		fill(flow, &words[i * flow_shapes[flow].words], first + i);
	note(self, EVENT_PUTS, flow, first, count);
	begin_call(self, CALL_PUT, flow, first, count);
	result = push(ring, flow, how, words, count);
	atomic_store(&self->worker->call.result, is_soft(result) ? 0 : (int32_t)result);
	note(self, EVENT_PUT_RETURNED, flow, first, result);
	note_put(first, count, result);
	end_call(self);
	if (result < 0 && result != -ESHUTDOWN && !is_soft(result))
		blame(self, first, "push of %u: %lld", count, (long long)result);
	if (result == -EBUSY)
		usleep(500);
	return result;
}

void push_stream(struct self *self)
{
	struct shmkit_ring *ring = open_ring(self, STREAM);

	while (put(self, ring, STREAM, below(self, 3)) != -ESHUTDOWN)
		linger(self, 32, 1000);
	shmkit_ring_close(ring);
}

void push_latest(struct self *self)
{
	struct shmkit_ring *ring = open_ring(self, LATEST);

	while (put(self, ring, LATEST, below(self, 4) ? 3 : below(self, 2)) != -ESHUTDOWN) {
		linger(self, 16, 1000);
		/* now and then the role is given back without a death */
		if (below(self, 256) == 0) {
			shmkit_ring_close(ring);
			ring = open_ring(self, LATEST);
		}
	}
	shmkit_ring_close(ring);
}

/* ---- consumers ---- */

static int64_t take(struct self *self, struct shmkit_ring *ring, enum flow flow)
{
	uint64_t *words = self->worker->buffer;
	bool bulk = below(self, 2), waits = below(self, 4) != 0;
	uint32_t count = bulk ? 1 + below(self, BULK) : 1;
	int64_t result;

	note(self, EVENT_TAKES, flow, 0, count);
	begin_call(self, CALL_TAKE, flow, 0, count);
	if (bulk)
		result = waits ? shmkit_ring_pop_bulk_wait(ring, words, count, WAIT_NS)
			       : shmkit_ring_pop_bulk(ring, words, count);
	else
		result = waits ? shmkit_ring_pop_wait(ring, words, WAIT_NS) : shmkit_ring_pop(ring, words);
	if (!bulk && result == 0)
		result = 1;
	else if (is_soft(result))
		result = 0;
	atomic_store(&self->worker->call.result, (int32_t)result);
	note(self, EVENT_TAKE_RETURNED, flow, 0, result);
	for (int64_t i = 0; i < result; i++)
		note_got(self, flow, &words[(size_t)i * flow_shapes[flow].words], (int32_t)i);
	end_call(self);
	if (result < 0 && result != -ESHUTDOWN)
		blame(self, 0, "pop of up to %u: %lld", count, (long long)result);
	return result;
}

void pop_stream(struct self *self)
{
	struct shmkit_ring *ring = open_ring(self, STREAM);

	while (take(self, ring, STREAM) != -ESHUTDOWN)
		linger(self, 32, 1000);
	shmkit_ring_close(ring);
}

void pop_latest(struct self *self)
{
	struct shmkit_ring *ring = open_ring(self, LATEST);

	while (take(self, ring, LATEST) != -ESHUTDOWN)
		linger(self, 4, 2000);              /* too slow for what comes */
	shmkit_ring_close(ring);
}

/* ---- observers ---- */

/* Whoever sees a position sees the same message there, and a message lies at one position. */
static void note_seen(struct self *self, const uint64_t *words, uint64_t position, int64_t nth)
{
	uint64_t there = 0;
	uint32_t id = 0, known = 0;
	struct message *message;

	if (!is_whole(LATEST, words, &id))
		blame(self, (uint32_t)words[0] < MAX_MESSAGES ? (uint32_t)words[0] : 0,
		      "an observer was given what is torn: 0x%llx", (unsigned long long)words[0]);
	message = message_of(id);
	note(self, EVENT_SEEN, LATEST, id, nth);
	if (atomic_load(&message->state) & REFUSED)
		blame(self, id, "seen, though it was refused");
	if (!atomic_compare_exchange_strong(&message->position, &there, position + 1) &&
	    there != position + 1)
		blame(self, id, "seen at position %llu, and at %llu before", (unsigned long long)position,
		      (unsigned long long)(there - 1));
	if (position < MAX_MESSAGES && !atomic_compare_exchange_strong(&board->at[position], &known, id) &&
	    known != id)
		blame(self, id, "at position %llu, where #%u was", (unsigned long long)position, known);
	if (id <= self->last[LATEST][message->producer])
		blame(self, id, "after #%u of the same producer", self->last[LATEST][message->producer]);
	self->last[LATEST][message->producer] = id;
}

static int64_t read_next(struct self *self, struct shmkit_ring_reader *reader)
{
	static uint64_t words[BULK * MAX_WORDS];
	uint64_t before = shmkit_ring_reader_position(reader), after, lost = 0;
	uint32_t count = 1 + below(self, BULK);
	int64_t result = below(self, 4) ? shmkit_ring_reader_wait(reader, words, count, &lost, WAIT_NS)
					: shmkit_ring_reader_read(reader, words, count, &lost);

	progress(self);
	if (result == -ESHUTDOWN)
		return result;
	if (result < 0) {
		blame(self, 0, "reading from position %llu on: %lld", (unsigned long long)before,
		      (long long)result);
		return result;
	}
	after = shmkit_ring_reader_position(reader);
	if (after != before + lost + (uint64_t)result)
		blame(self, 0, "a reader at %llu lost %llu, read %lld, and is at %llu",
		      (unsigned long long)before, (unsigned long long)lost, (long long)result,
		      (unsigned long long)after);
	for (int64_t i = 0; i < result; i++)
		note_seen(self, &words[(size_t)i * flow_shapes[LATEST].words],
			  after - (uint64_t)result + (uint64_t)i, i);
	atomic_fetch_add(&board->reads, (uint64_t)result);
	return result;
}

/* The newest: neighbours in the stream, whole. Their positions are not told. */
static void look_at_last(struct self *self, struct shmkit_ring *ring)
{
	static uint64_t words[BULK * MAX_WORDS];
	int64_t count = shmkit_ring_last(ring, words, BULK);
	uint32_t id = 0;

	progress(self);
	if (count < 0)
		blame(self, 0, "last: %lld", (long long)count);
	for (int64_t i = 0; i < count; i++)
		if (!is_whole(LATEST, &words[(size_t)i * flow_shapes[LATEST].words], &id))
			blame(self, 0, "the %lld-th of the newest %lld is torn", (long long)i,
			      (long long)count);
}

/* A reader of its own, for a while. */
void observe(struct self *self)
{
	struct shmkit_ring *ring = open_ring(self, LATEST);
	int64_t result = 0;

	while (result != -ESHUTDOWN) {
		struct shmkit_ring_reader *reader = NULL;

		memset(self->last[LATEST], 0, sizeof(self->last[LATEST]));
		result = shmkit_ring_reader_open(ring, below(self, 2), &reader);
		if (result)
			blame(self, 0, "a reader: %lld", (long long)result);
		for (uint32_t left = 1 + below(self, 500); left > 0 && result != -ESHUTDOWN; left--) {
			result = read_next(self, reader);
			linger(self, 16, 2000);
		}
		shmkit_ring_reader_close(reader);
		look_at_last(self, ring);
	}
	shmkit_ring_close(ring);
}
