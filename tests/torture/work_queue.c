/*
 * Producers, one-shot consumers and lessees of the queues, through every call there is.
 */
#include "torture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HELD 4u                             /* leases at once */

/* ---- what all workers do ---- */

bool stopped(const struct self *self)
{
	(void)self;
	return atomic_load_explicit(&board->stop, memory_order_relaxed);
}

/* Now and then, so that many die there. */
void linger(struct self *self, uint32_t one_in, uint32_t us)
{
	if (below(self, one_in) == 0)
		usleep(1 + below(self, us));
}

/* More processes than ids: it may have to wait until another leaves. */
void join(struct self *self, uint32_t flags)
{
	int result;

	note(self, EVENT_STARTS, 0, 0, (int64_t)self->worker->role);
	while ((result = shmkit_segment_open(segment_name, flags, &self->segment)) == -EUSERS) {
		atomic_fetch_add(&board->full_of_members, 1);
		usleep(500);
	}
	if (result)
		blame(self, 0, "open: %d", result);
	note(self, EVENT_JOINED, 0, 0, flags ? -1 : shmkit_segment_member_id(self->segment));
	progress(self);
}

void leave(struct self *self)
{
	note(self, EVENT_LEAVES, 0, 0, 0);
	/* what it owns may be reclaimed from now on */
	atomic_store(&self->worker->gone, self->incarnation);
	shmkit_segment_close(self->segment);
	progress(self);
}

static struct shmkit_queue *open_queue(struct self *self, enum flow flow)
{
	struct shmkit_queue *queue = NULL;
	int result = shmkit_queue_open(self->segment, flow_shapes[flow].name,
				       flow_shapes[flow].words * 8, &queue);

	if (result)
		blame(self, 0, "open of queue '%s': %d", flow_shapes[flow].name, result);
	return queue;
}

/* ---- producers ---- */

/* 0 .. count, or -ESHUTDOWN. */
static int64_t put_copies(struct self *self, struct shmkit_queue *queue, enum flow flow, bool waits)
{
	static uint64_t words[BULK * MAX_WORDS];
	struct worker *worker = self->worker;
	bool bulk = below(self, 2);
	uint32_t count = bulk ? 1 + below(self, BULK) : 1;
	uint32_t first = new_messages(self, flow, count);
	int64_t result;

	if (!first)
		return stopped(self) ? -ESHUTDOWN : 0;
	for (uint32_t i = 0; i < count; i++)
		fill(flow, &words[i * flow_shapes[flow].words], first + i);
	note(self, EVENT_PUTS, flow, first, count);
	begin_call(self, CALL_PUT, flow, first, count);
	if (bulk)
		result = waits ? shmkit_queue_enqueue_bulk_wait(queue, words, count, WAIT_NS)
			       : shmkit_queue_enqueue_bulk(queue, words, count);
	else
		result = waits ? shmkit_queue_enqueue_wait(queue, words, WAIT_NS)
			       : shmkit_queue_enqueue(queue, words);
	if (!bulk && result == 0)
		result = 1;
	else if (result == -EAGAIN)
		result = 0;
	atomic_store(&worker->call.result, (int32_t)result);
	note(self, EVENT_PUT_RETURNED, flow, first, result);
	note_put(first, count, result);
	end_call(self);
	if (result < 0 && result != -ESHUTDOWN)
		blame(self, first, "put of %u: %lld", count, (long long)result);
	return result;
}

static int64_t put_in_place(struct self *self, struct shmkit_queue *queue, enum flow flow, bool waits)
{
	uint32_t id = new_messages(self, flow, 1);
	struct shmkit_slot slot;
	uint64_t *words;
	int result;

	if (!id)
		return stopped(self) ? -ESHUTDOWN : 0;
	atomic_fetch_or(&message_of(id)->state, RESERVED);
	note(self, EVENT_RESERVES, flow, id, 0);
	begin_call(self, CALL_RESERVE, flow, id, 1);
	result = waits ? shmkit_queue_reserve_wait(queue, &slot, WAIT_NS)
		       : shmkit_queue_reserve(queue, &slot);
	note(self, EVENT_RESERVE_RETURNED, flow, id, result);
	if (result) {
		note_put(id, 1, 0);
		end_call(self);
		if (result != -EAGAIN && result != -ESHUTDOWN)
			blame(self, id, "reserve: %d", result);
		return result == -ESHUTDOWN ? result : 0;
	}
	/* the first word first: what is delivered unfinished shows it */
	words = slot.data;
	fill(flow, words, id);
	words[flow_shapes[flow].words - 1] ^= 1;
	linger(self, 4, 1000);
	words[flow_shapes[flow].words - 1] ^= 1;
	if (below(self, 8) == 0) {
		note_put(id, 1, 0);
		note(self, EVENT_CANCELS, flow, id, 0);
		result = shmkit_queue_cancel(queue, &slot);
		end_call(self);
		if (result)
			blame(self, id, "cancel: %d", result);
		return 0;
	}
	atomic_fetch_or(&message_of(id)->state, FILLED);
	note(self, EVENT_COMMITS, flow, id, 0);
	begin_call(self, CALL_PUT, flow, id, 1);
	result = shmkit_queue_commit(queue, &slot);
	atomic_store(&self->worker->call.result, result ? result : 1);
	note(self, EVENT_COMMIT_RETURNED, flow, id, result);
	note_put(id, 1, result ? 0 : 1);
	end_call(self);
	if (result)
		blame(self, id, "commit: %d", result);
	return 1;
}

void produce(struct self *self, enum flow flow)
{
	struct shmkit_queue *queue = open_queue(self, flow);
	int64_t result = 0;

	while (result != -ESHUTDOWN) {
		bool waits = below(self, 4) != 0;

		if (below(self, 3) == 0)
			result = put_in_place(self, queue, flow, waits);
		else
			result = put_copies(self, queue, flow, waits);
		linger(self, 32, 1000);             /* and now and then the queue is empty */
	}
	shmkit_queue_close(queue);
}

/* ---- one-shot consumers ---- */

static int64_t take_copies(struct self *self, struct shmkit_queue *queue, enum flow flow)
{
	struct worker *worker = self->worker;
	uint64_t *words = worker->buffer;
	bool bulk = below(self, 2), waits = below(self, 4) != 0;
	uint32_t count = bulk ? 1 + below(self, BULK) : 1;
	int64_t result;

	note(self, EVENT_TAKES, flow, 0, count);
	begin_call(self, CALL_TAKE, flow, 0, count);
	if (bulk)
		result = waits ? shmkit_queue_dequeue_bulk_wait(queue, words, count, WAIT_NS)
			       : shmkit_queue_dequeue_bulk(queue, words, count);
	else
		result = waits ? shmkit_queue_dequeue_wait(queue, words, WAIT_NS)
			       : shmkit_queue_dequeue(queue, words);
	if (!bulk && result == 0)
		result = 1;
	else if (result == -EAGAIN)
		result = 0;
	atomic_store(&worker->call.result, (int32_t)result);
	note(self, EVENT_TAKE_RETURNED, flow, 0, result);
	for (int64_t i = 0; i < result; i++)
		note_got(self, flow, &words[(size_t)i * flow_shapes[flow].words], (int32_t)i);
	end_call(self);
	if (result < 0 && result != -ESHUTDOWN)
		blame(self, 0, "take of up to %u: %lld", count, (long long)result);
	return result;
}

void consume(struct self *self, enum flow flow)
{
	struct shmkit_queue *queue = open_queue(self, flow);

	while (take_copies(self, queue, flow) != -ESHUTDOWN)
		linger(self, 32, 1000);
	shmkit_queue_close(queue);
}

/* ---- lessees ---- */

struct holding {
	struct shmkit_slot slot;
	uint32_t id;
};

static void settle(struct self *self, struct shmkit_queue *queue, enum flow flow, struct holding *held)
{
	uint32_t again = 0;
	int result;

	if (!is_whole(flow, held->slot.data, &again) || again != held->id)
		blame(self, held->id, "changed while it was leased");
	if (below(self, 6) == 0) {
		atomic_fetch_or(&message_of(held->id)->state, NACKED);
		note(self, EVENT_NACKS, flow, held->id, held->slot.deliveries);
		result = shmkit_queue_nack(queue, &held->slot);
		note(self, EVENT_NACK_RETURNED, flow, held->id, result);
		progress(self);
		if (result)
			blame(self, held->id, "nack: %d", result);
		return;
	}
	atomic_fetch_or(&message_of(held->id)->state, ACKING);
	note(self, EVENT_ACKS, flow, held->id, held->slot.deliveries);
	begin_call(self, CALL_ACK, flow, held->id, 1);
	result = shmkit_queue_ack(queue, &held->slot);
	atomic_store(&self->worker->call.result, result);
	note(self, EVENT_ACK_RETURNED, flow, held->id, result);
	if (result)
		blame(self, held->id, "ack: %d", result);
	note_acked(self, held->id);
	end_call(self);
}

/* Up to HELD; waits for the first only, since what it holds may be what all wait for. */
static int take_leases(struct self *self, struct shmkit_queue *queue, enum flow flow,
		       struct holding held[HELD], unsigned *ret_count)
{
	unsigned wanted = 1 + below(self, HELD), count = 0;
	int result = 0;

	while (count < wanted && result == 0) {
		struct shmkit_slot *slot = &held[count].slot;

		begin_call(self, CALL_LEASE, flow, 0, 1);
		result = count == 0 && below(self, 4) ? shmkit_queue_lease_wait(queue, slot, WAIT_NS)
						      : shmkit_queue_lease(queue, slot);
		if (result == 0) {
			held[count].id = note_leased(self, flow, slot->data, slot->deliveries);
			count++;
		}
		end_call(self);
	}
	*ret_count = count;
	if (result && result != -EAGAIN && result != -ESHUTDOWN)
		blame(self, 0, "lease: %d", result);
	return result;
}

void lease(struct self *self, enum flow flow)
{
	struct shmkit_queue *queue = open_queue(self, flow);
	struct holding held[HELD];
	int result = 0;

	while (result != -ESHUTDOWN) {
		unsigned count;

		result = take_leases(self, queue, flow, held, &count);
		linger(self, 8, 3000);
		if (below(self, 128) == 0) {
			/* all that is held comes back, to whomever */
			note(self, EVENT_CLOSES_HANDLE, flow, count ? held[0].id : 0, count);
			shmkit_queue_close(queue);
			queue = open_queue(self, flow);
			progress(self);
			continue;
		}
		/* in any order */
		while (count > 0) {
			unsigned one = below(self, count);

			settle(self, queue, flow, &held[one]);
			held[one] = held[--count];
		}
	}
	shmkit_queue_close(queue);
}
