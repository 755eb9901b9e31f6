/*
 * The end of a round: everybody has gone, everything is drained and counted, capacity, names, bytes,
 * members and descriptors are what they were. In every other round all were killed, and whatever
 * they left is found by the calls that drain, before anybody asks for a repair.
 */
#include "torture.h"

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LAZY_NS (300 * MS)                  /* within which a repair comes by itself: 250 ms, and slack */

struct counted counted;

static struct {
	struct shmkit_queue *queues[FLOWS], *over;
	struct shmkit_ring *rings[FLOWS];
	struct shmkit_pool *pool;
	struct shmkit_atomic_u64 *clock;
	struct shmkit_queue_stats before[FLOWS];
} open_now;

static void expect(struct self *self, const char *what, int64_t result, int64_t expected)
{
	if (result != expected)
		blame(self, 0, "%s: %lld, not %lld", what, (long long)result, (long long)expected);
}

/* ---- structures ---- */

static void make_rings(struct self *self)
{
	for (unsigned flow = STREAM; flow < FLOWS; flow++) {
		const struct flow_shape *shape = &flow_shapes[flow];
		struct shmkit_object_options options = { .struct_size = sizeof(options),
							 .flags = shape->ring_flags };

		expect(self, shape->name,
		       shmkit_ring_create(self->segment, shape->name, shape->words * 8, shape->capacity,
					  &options, &open_now.rings[flow]), 0);
	}
}

void make_structures(struct self *self)
{
	for (unsigned flow = 0; flow < STREAM; flow++)
		expect(self, flow_shapes[flow].name,
		       shmkit_queue_create(self->segment, flow_shapes[flow].name,
					   flow_shapes[flow].words * 8, flow_shapes[flow].capacity, NULL,
					   &open_now.queues[flow]), 0);
	expect(self, "over", shmkit_queue_create(self->segment, "over", 24, 16, NULL, &open_now.over), 0);
	expect(self, "pool", shmkit_pool_create(self->segment, "pool", POOL_WORDS * 8, POOL_CAPACITY, NULL,
						&open_now.pool), 0);
	expect(self, "clock", shmkit_atomic_u64_create(self->segment, "clock", 0, &open_now.clock), 0);
	make_rings(self);
}

static struct shmkit_segment_info info_of(struct self *self)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	expect(self, "get_info", shmkit_segment_get_info(self->segment, &info), 0);
	return info;
}

void take_baseline(struct self *self, struct baseline *ret_baseline)
{
	struct shmkit_segment_info info = info_of(self);

	*ret_baseline = (struct baseline){ .used = info.used, .entries = info.entries,
					   .fds = test_fd_count() };
}

void close_structures(void)
{
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		shmkit_queue_close(open_now.queues[flow]);
		shmkit_ring_close(open_now.rings[flow]);
	}
	shmkit_queue_close(open_now.over);
	shmkit_pool_close(open_now.pool);
	shmkit_atomic_u64_close(open_now.clock);
}

void shut_down_flows(struct self *self)
{
	for (unsigned flow = 0; flow < FLOWS; flow++)
		expect(self, "shutdown", flow_shapes[flow].ring
		       ? shmkit_ring_shutdown(open_now.rings[flow])
		       : shmkit_queue_shutdown(open_now.queues[flow]), 0);
}

/* A shut ring stays shut: others take its place. A queue opens again. */
void next_round(struct self *self)
{
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		if (!flow_shapes[flow].ring) {
			expect(self, "reopen", shmkit_queue_reopen(open_now.queues[flow]), 0);
			continue;
		}
		shmkit_ring_close(open_now.rings[flow]);
		expect(self, "remove", shmkit_segment_remove(self->segment, flow_shapes[flow].name), 0);
	}
	make_rings(self);
	memset(self->last, 0, sizeof(self->last));
	memset(tally.may_invert, 0, sizeof(tally.may_invert));
	reset_board();
}

/* ---- draining ---- */

static int64_t take_one(struct self *self, enum flow flow, int64_t timeout_ns)
{
	static uint64_t words[MAX_WORDS];
	struct shmkit_slot slot;
	int64_t result;
	uint32_t id;

	if (flow_shapes[flow].ring || below(self, 2)) {
		result = flow_shapes[flow].ring
				 ? shmkit_ring_pop_wait(open_now.rings[flow], words, timeout_ns)
				 : shmkit_queue_dequeue_wait(open_now.queues[flow], words, timeout_ns);
		if (result == 0)
			note_got(self, flow, words, 0);
		return result;
	}
	result = shmkit_queue_lease_wait(open_now.queues[flow], &slot, timeout_ns);
	if (result)
		return result;
	id = note_leased(self, flow, slot.data, slot.deliveries);
	expect(self, "ack", shmkit_queue_ack(open_now.queues[flow], &slot), 0);
	note_acked(self, id);
	return 0;
}

/* Gently: the consumers have left nothing. Otherwise what the dead held comes by itself. */
static void drain(struct self *self, enum flow flow, bool gently)
{
	int64_t result;
	uint32_t count = 0;

	while ((result = take_one(self, flow, gently ? 0 : LAZY_NS)) == 0 && !board->failed)
		count++;
	if (board->failed)
		return;
	if (gently && (result != -ESHUTDOWN || (count && flow != LATEST)))
		blame(self, 0, "'%s' was shut down and its consumers came to the end, and then %u elements "
		      "came out and %lld", flow_shapes[flow].name, count, (long long)result);
	if (!gently && result != -ETIMEDOUT)
		blame(self, 0, "drained '%s': %lld", flow_shapes[flow].name, (long long)result);
}

/* ---- counts ---- */

static void expect_between(struct self *self, const char *what, enum flow flow, uint64_t low,
			   uint64_t value, uint64_t high)
{
	if (value < low || value > high)
		blame(self, 0, "%s of '%s' is %llu, which should be %llu to %llu", what,
		      flow_shapes[flow].name, (unsigned long long)value, (unsigned long long)low,
		      (unsigned long long)high);
}

static void count_ring(struct self *self, enum flow flow, const struct flow_sums *sums)
{
	struct shmkit_ring *ring = open_now.rings[flow];
	uint64_t pushed = shmkit_ring_total_pushed(ring), dropped = shmkit_ring_total_dropped(ring);

	expect_between(self, "total_pushed", flow, sums->committed, pushed,
		       sums->committed + sums->undecided);
	expect_between(self, "total_pushed less dropped", flow, sums->delivered, pushed - dropped,
		       sums->delivered + sums->graves);
	expect_between(self, "size", flow, 0, shmkit_ring_size(ring), 0);
	if (flow == STREAM)
		expect_between(self, "total_dropped", flow, 0, dropped, 0);
}

static void count_queue(struct self *self, enum flow flow, const struct flow_sums *sums)
{
	struct shmkit_queue_stats *before = &open_now.before[flow];
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };

	expect(self, "get_stats", shmkit_queue_get_stats(open_now.queues[flow], &stats), 0);
	/* a repairer killed between the repair and its count leaves that count behind */
	expect_between(self, "discarded", flow, 0, stats.discarded - before->discarded, sums->absent);
	expect_between(self, "dequeued", flow, stats.enqueued, stats.dequeued, stats.enqueued);
	expect_between(self, "elements out of order", flow, 0, sums->inverted, tally.may_invert[flow]);
	counted.discarded += stats.discarded - before->discarded;
	counted.redelivered += stats.redelivered - before->redelivered;
	*before = stats;
}

static void count_messages(struct self *self)
{
	struct flow_sums sums[FLOWS];

	sum_messages(self, sums);
	for (unsigned flow = 0; flow < FLOWS && !board->failed; flow++) {
		counted.messages += sums[flow].committed;
		counted.delivered += sums[flow].delivered;
		counted.lost_in_graves += sums[flow].graves;
		if (flow_shapes[flow].ring)
			count_ring(self, flow, &sums[flow]);
		else
			count_queue(self, flow, &sums[flow]);
	}
}

/* ---- capacity ---- */

static void fill_queue(struct self *self, struct shmkit_queue *queue, const char *name)
{
	static uint64_t words[MAX_WORDS];
	uint64_t count = 0, capacity = shmkit_queue_capacity(queue);

	while (count <= capacity && shmkit_queue_enqueue(queue, words) == 0)
		count++;
	expect(self, name, (int64_t)count, (int64_t)capacity);
	for (count = 0; count < capacity; count++)
		expect(self, name, shmkit_queue_dequeue(queue, words), 0);
	expect(self, name, shmkit_queue_dequeue(queue, words), -EAGAIN);
}

static void fill_pool(struct self *self)
{
	uint64_t handles[POOL_CAPACITY + 1];
	uint32_t count = 0;

	if (shmkit_pool_reclaim(open_now.pool) < 0)
		blame(self, 0, "reclaim after all have gone");
	expect(self, "objects after a reclaim", (int64_t)shmkit_pool_size(open_now.pool), 0);
	while (count <= POOL_CAPACITY && shmkit_pool_acquire(open_now.pool, &handles[count]) == 0)
		count++;
	expect(self, "objects the pool holds", count, POOL_CAPACITY);
	while (count-- > 0)
		expect(self, "release", shmkit_pool_release(open_now.pool, handles[count]), 0);
}

static void fill_queues(struct self *self)
{
	uint64_t parcel[3];

	for (unsigned flow = 0; flow < STREAM; flow++) {
		expect(self, "reopen", shmkit_queue_reopen(open_now.queues[flow]), 0);
		fill_queue(self, open_now.queues[flow], flow_shapes[flow].name);
		/* what that added is no message */
		expect(self, "get_stats", shmkit_queue_get_stats(open_now.queues[flow],
								 &open_now.before[flow]), 0);
	}
	while (shmkit_queue_dequeue_wait(open_now.over, parcel, 60 * MS) == 0)
		;
	fill_queue(self, open_now.over, "over");
}

/* As many as there are ids, and not one more. */
static void fill_registry(struct self *self)
{
	struct shmkit_segment *handles[4 * MAX_WORKERS];
	uint32_t limit = info_of(self).max_members - 1, count = 0;
	int result = 0;

	while (count <= limit && (result = shmkit_segment_open(segment_name, 0, &handles[count])) == 0)
		count++;
	expect(self, "members more", count, limit);
	expect(self, "one too many", result, -EUSERS);
	while (count-- > 0)
		shmkit_segment_close(handles[count]);
}

static void remove_keys(struct self *self)
{
	char name[16];

	for (uint32_t key = 0; key < KEYS; key++) {
		int result;

		snprintf(name, sizeof(name), "key %u", key);
		result = shmkit_segment_remove(self->segment, name);
		if (result && result != -ENOENT)
			blame(self, 0, "remove '%s': %d", name, result);
	}
}

void audit(struct self *self, const struct baseline *baseline, bool gently)
{
	struct shmkit_segment_info info;

	for (unsigned flow = 0; flow < FLOWS && !board->failed; flow++)
		drain(self, flow, gently);
	if (!board->failed)
		count_messages(self);
	if (board->failed)
		return;
	fill_queues(self);
	remove_keys(self);
	expect(self, "recover", shmkit_segment_recover(self->segment, NULL), 0);
	fill_pool(self);
	info = info_of(self);
	expect(self, "members", info.members, 1);
	expect(self, "names", info.entries, baseline->entries);
	expect(self, "bytes in use", (int64_t)info.used, (int64_t)baseline->used);
	counted.recoveries = info.recoveries;
	fill_registry(self);
	expect(self, "check", shmkit_segment_check(self->segment), 0);
	expect(self, "descriptors", test_fd_count(), baseline->fds);
}
