/*
 * Queue between processes: every message arrives once, whole, and in its producer's order; and
 * while producers and consumers are killed at random moments, a ledger of every single element
 * stays exact.
 *
 * What the processes find out stands in anonymous shared memory, so that a kill does not lose it:
 * a worker announces what it is about to do before the call, and notes what came of it after.
 *
 *	SHMKIT_TEST_MESSAGES   of the large transfer; 10,000,000
 *	SHMKIT_TEST_SECONDS    of the torture; 10
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NS_PER_MS INT64_C(1000000)
#define CHILD_MS 100000
#define MAX_WORKERS 8
#define BULK 64u
#define MAX_IDS (UINT64_C(1) << 25)

struct element {
	uint64_t id, mixed[2];
};

struct notes {
	uint64_t received;                   /* of all consumers */
	uint64_t next_id;
	uint64_t errors;
	uint32_t stop;
	uint32_t in_call[MAX_WORKERS];       /* elements a one-shot consumer may be taking now */
	uint8_t ids[MAX_IDS];                /* bits below */
};

enum {
	ATTEMPTED = 1, ACCEPTED = 2, REFUSED = 4,    /* by its producer */
	GOT = 8,                                     /* a one-shot call has returned it */
	LEASED = 16, ACKING = 32, ACKED = 64,
};

static struct shmkit_segment *segment;
static struct shmkit_queue *queue;
static struct notes *notes;
static char segment_name[64];

static int set_up(void **state)
{
	static unsigned nth;
	char stem[32];

	(void)state;
	snprintf(stem, sizeof(stem), "queuep%u", nth++);
	snprintf(segment_name, sizeof(segment_name), "%s", test_name(stem));
	notes = mmap(NULL, sizeof(*notes), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return notes == MAP_FAILED ? -1 : shmkit_segment_create(segment_name, 1 << 20, NULL, &segment);
}

static int tear_down(void **state)
{
	(void)state;
	shmkit_queue_close(queue);
	queue = NULL;
	shmkit_segment_close(segment);
	munmap(notes, sizeof(*notes));
	return test_shm_leftovers(segment_name);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void fill(struct element *element, uint64_t id)
{
	element->id = id;
	element->mixed[0] = (id + 1) * UINT64_C(0x9e3779b97f4a7c15);
	element->mixed[1] = ~element->mixed[0] ^ id >> 7;
}

static bool is_whole(const struct element *element)
{
	struct element expected;

	fill(&expected, element->id);
	return memcmp(&expected, element, sizeof(expected)) == 0;
}

/* In a child: the first of these errors ends it, and the test. */
static void require(bool condition, const char *what, uint64_t id)
{
	if (condition)
		return;
	__atomic_fetch_add(&notes->errors, 1, __ATOMIC_RELAXED);
	print_error("%s: element %llu: %s\n", what, (unsigned long long)id, shmkit_last_error());
	_exit(1);
}

static void expect_whole_capacity(void)
{
	uint64_t capacity = shmkit_queue_capacity(queue);
	struct element element;

	for (uint64_t i = 0; i < capacity; i++) {
		fill(&element, i);
		assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	}
	assert_int_equal(shmkit_queue_enqueue(queue, &element), -EAGAIN);
	for (uint64_t i = 0; i < capacity; i++) {
		assert_int_equal(shmkit_queue_dequeue(queue, &element), 0);
		assert_int_equal(element.id, i);
		assert_true(is_whole(&element));
	}
	assert_int_equal(shmkit_queue_dequeue(queue, &element), -EAGAIN);
	assert_int_equal(shmkit_segment_check(segment), 0);
}

/* ---- transfer ---- */

struct transfer {
	uint64_t each;                       /* messages of a producer */
	unsigned producers, consumers;
	unsigned bulk_producers, bulk_consumers;   /* how many of them use bulk calls */
};

struct part {
	const struct transfer *transfer;
	unsigned number;
};

static int produce(void *argument)
{
	const struct part *part = argument;
	uint64_t first = part->number * part->transfer->each, done = 0, each = part->transfer->each;
	bool bulk = part->number < part->transfer->bulk_producers;
	struct element elements[BULK];

	while (done < each) {
		uint64_t count = !bulk ? 1 : each - done < BULK ? each - done : BULK;
		int64_t sent;

		for (uint64_t i = 0; i < count; i++)
			fill(&elements[i], first + done + i);
		if (bulk)
			sent = shmkit_queue_enqueue_bulk_wait(queue, elements, (size_t)count, -1);
		else
			sent = shmkit_queue_enqueue_wait(queue, elements, -1) ? -1 : 1;
		require(sent > 0, "enqueue", first + done);
		done += (uint64_t)sent;
	}
	return 0;
}

static int consume(void *argument)
{
	const struct part *part = argument;
	const struct transfer *transfer = part->transfer;
	bool bulk = part->number < transfer->bulk_consumers;
	uint64_t next[MAX_WORKERS] = { 0 }, total = 0;
	struct element elements[BULK];

	for (;;) {
		int64_t got;

		if (bulk) {
			got = shmkit_queue_dequeue_bulk_wait(queue, elements, BULK, -1);
		} else {
			got = shmkit_queue_dequeue_wait(queue, elements, -1);
			got = got ? got : 1;
		}
		if (got == -ESHUTDOWN)
			break;
		require(got > 0, "dequeue", total);
		for (int64_t i = 0; i < got; i++) {
			uint64_t id = elements[i].id, producer = id / transfer->each;

			require(producer < transfer->producers && is_whole(&elements[i]), "torn or alien", id);
			require(id % transfer->each >= next[producer], "out of order", id);
			next[producer] = id % transfer->each + 1;
			require(!__atomic_exchange_n(&notes->ids[id], 1, __ATOMIC_RELAXED), "twice", id);
		}
		total += (uint64_t)got;
	}
	__atomic_fetch_add(&notes->received, total, __ATOMIC_RELAXED);
	return 0;
}

static void run_transfer(const struct transfer *transfer, uint64_t capacity)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct part parts[2][MAX_WORKERS];
	pid_t pids[2][MAX_WORKERS];
	uint64_t started = test_now_ns(), count = transfer->each * transfer->producers;
	double seconds;

	assert_true(count <= MAX_IDS);
	assert_int_equal(shmkit_queue_create(segment, "q", sizeof(struct element), capacity, NULL, &queue), 0);
	for (unsigned i = 0; i < transfer->consumers; i++) {
		parts[1][i] = (struct part){ transfer, i };
		pids[1][i] = test_fork(consume, &parts[1][i]);
		assert_true(pids[1][i] > 0);
	}
	for (unsigned i = 0; i < transfer->producers; i++) {
		parts[0][i] = (struct part){ transfer, i };
		pids[0][i] = test_fork(produce, &parts[0][i]);
		assert_true(pids[0][i] > 0);
	}
	for (unsigned i = 0; i < transfer->producers; i++)
		assert_int_equal(test_wait_exit(pids[0][i], CHILD_MS), 0);
	assert_int_equal(shmkit_queue_shutdown(queue), 0);
	for (unsigned i = 0; i < transfer->consumers; i++)
		assert_int_equal(test_wait_exit(pids[1][i], CHILD_MS), 0);
	seconds = (double)(test_now_ns() - started) / 1e9;
	print_message("%u to %u: %llu messages in %.2f s, %.0f ns each\n", transfer->producers,
		      transfer->consumers, (unsigned long long)count, seconds, seconds * 1e9 / (double)count);
	assert_int_equal(notes->received, count);
	for (uint64_t id = 0; id < count; id++)
		if (!notes->ids[id])
			fail_msg("element %llu is lost", (unsigned long long)id);
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
	assert_int_equal(stats.enqueued, count);
	assert_int_equal(stats.dequeued, count);
	assert_int_equal(shmkit_queue_reopen(queue), 0);
	expect_whole_capacity();
}

static void test_transfer_four_to_four_all_once_in_order(void **state)
{
	struct transfer transfer = {
		.each = from_environment("SHMKIT_TEST_MESSAGES", 10000000) / 4,
		.producers = 4, .consumers = 4, .bulk_producers = 2, .bulk_consumers = 2,
	};

	(void)state;
	run_transfer(&transfer, 1024);
}

static void test_transfer_two_to_two_single_calls_all_once_in_order(void **state)
{
	struct transfer transfer = { .each = 500000, .producers = 2, .consumers = 2 };

	(void)state;
	run_transfer(&transfer, 256);
}

/* Both ends block all the time. */
static void test_transfer_two_to_two_tiny_queue_all_once_in_order(void **state)
{
	struct transfer transfer = { .each = 20000, .producers = 2, .consumers = 2, .bulk_consumers = 1 };

	(void)state;
	run_transfer(&transfer, 1);
}

/* ---- torture ---- */

enum { PRODUCERS = 3, ONE_SHOT = 2, LEASERS = 2, WORKERS = PRODUCERS + ONE_SHOT + LEASERS };
#define CAPACITY 64u
#define SLOW_NS (100 * NS_PER_MS)            /* so that a worker sees stop */

static uint8_t mark(uint64_t id, unsigned bits)
{
	require(id < MAX_IDS, "alien", id);
	return __atomic_fetch_or(&notes->ids[id], (uint8_t)bits, __ATOMIC_SEQ_CST);
}

static bool stopped(void)
{
	return __atomic_load_n(&notes->stop, __ATOMIC_RELAXED);
}

static bool is_soft(int64_t result)
{
	return result == -EAGAIN || result == -ETIMEDOUT;
}

/* Now and then with a slot held, so that many die there. */
static void linger(void)
{
	if (test_random_below(16) == 0)
		usleep(200);
}

static int torture_producer(void *argument)
{
	struct element elements[8];
	struct shmkit_slot slot;

	(void)argument;
	while (!stopped()) {
		unsigned how = (unsigned)test_random_below(4);
		uint64_t count = how < 2 ? 1 : 1 + test_random_below(8);
		uint64_t id = __atomic_fetch_add(&notes->next_id, count, __ATOMIC_RELAXED);
		int64_t done;

		if (id + count > MAX_IDS)
			break;
		for (uint64_t i = 0; i < count; i++) {
			fill(&elements[i], id + i);
			mark(id + i, ATTEMPTED);
		}
		switch (how) {
		case 0:
			done = shmkit_queue_enqueue_wait(queue, elements, SLOW_NS) == 0;
			break;
		case 1:
			done = shmkit_queue_reserve_wait(queue, &slot, SLOW_NS) == 0;
			if (!done)
				break;
			memcpy(slot.data, elements, sizeof(elements[0]));
			linger();
			done = test_random_below(8) != 0;
			if (done)
				require(shmkit_queue_commit(queue, &slot) == 0, "commit", id);
			else
				require(shmkit_queue_cancel(queue, &slot) == 0, "cancel", id);
			break;
		default:
			done = shmkit_queue_enqueue_bulk_wait(queue, elements, (size_t)count, SLOW_NS);
			require(done > 0 || is_soft(done), "enqueue_bulk_wait", id);
			done = done > 0 ? done : 0;
			break;
		}
		for (uint64_t i = 0; i < count; i++)
			mark(id + i, (int64_t)i < done ? ACCEPTED : REFUSED);
		linger();                           /* and now and then the queue is empty */
	}
	return 0;
}

static void note_got(const struct element *element)
{
	require(is_whole(element), "torn", element->id);
	require(!(mark(element->id, GOT) & (GOT | ACKED)), "delivered twice", element->id);
	__atomic_fetch_add(&notes->received, 1, __ATOMIC_RELAXED);
}

static int torture_one_shot(void *argument)
{
	unsigned me = *(unsigned *)argument;
	struct element elements[8];

	while (!stopped()) {
		unsigned count = test_random_below(2) ? 1 : 1 + (unsigned)test_random_below(8);
		int64_t got;

		__atomic_store_n(&notes->in_call[me], count, __ATOMIC_SEQ_CST);
		if (count == 1) {
			got = shmkit_queue_dequeue_wait(queue, elements, SLOW_NS);
			got = got ? got : 1;
		} else {
			got = shmkit_queue_dequeue_bulk_wait(queue, elements, count, SLOW_NS);
		}
		require(got > 0 || is_soft(got), "dequeue", count);
		for (int64_t i = 0; i < got; i++)
			note_got(&elements[i]);
		__atomic_store_n(&notes->in_call[me], 0, __ATOMIC_SEQ_CST);
	}
	return 0;
}

static int torture_leaser(void *argument)
{
	struct shmkit_slot slots[4];

	(void)argument;
	while (!stopped()) {
		unsigned wanted = 1 + (unsigned)test_random_below(4), held = 0;
		int result;

		for (; held < wanted; held++) {
			result = shmkit_queue_lease_wait(queue, &slots[held], held ? 0 : SLOW_NS);
			if (result)
				require(is_soft(result), "lease", held);
			if (result)
				break;
		}
		linger();
		while (held-- > 0) {
			struct element element;
			uint8_t before;

			memcpy(&element, slots[held].data, sizeof(element));
			require(is_whole(&element), "torn", element.id);
			before = mark(element.id, LEASED);
			require(!(before & (GOT | ACKED)), "leased after it was gone", element.id);
			require(!(before & LEASED) || slots[held].deliveries > 1, "deliveries", element.id);
			if (test_random_below(8) == 0) {
				require(shmkit_queue_nack(queue, &slots[held]) == 0, "nack", element.id);
				continue;
			}
			mark(element.id, ACKING);
			require(shmkit_queue_ack(queue, &slots[held]) == 0, "ack", element.id);
			require(!(mark(element.id, ACKED) & (GOT | ACKED)), "acked twice", element.id);
			__atomic_fetch_add(&notes->received, 1, __ATOMIC_RELAXED);
		}
	}
	return 0;
}

static unsigned numbers[WORKERS];

static pid_t start_worker(unsigned number)
{
	pid_t pid;

	numbers[number] = number;
	notes->in_call[number] = 0;
	pid = test_fork(number < PRODUCERS ? torture_producer
			: number < PRODUCERS + ONE_SHOT ? torture_one_shot : torture_leaser, &numbers[number]);
	assert_true(pid > 0);
	return pid;
}

/*
 * The time until two laps have passed since a death: none of the positions that the dead may have
 * held is in the way any more. The test itself repairs nothing.
 */
static uint64_t time_to_recover(void)
{
	uint64_t started = test_now_ns();
	uint64_t target = __atomic_load_n(&notes->received, __ATOMIC_RELAXED) + 2 * CAPACITY;

	while (__atomic_load_n(&notes->received, __ATOMIC_RELAXED) < target) {
		if (test_now_ns() - started > (uint64_t)(10000 * NS_PER_MS) || notes->errors)
			fail_msg("nobody goes on after a kill");
		usleep(200);
	}
	return test_now_ns() - started;
}

/* Everything accepted was delivered, but for what killed one-shot consumers had taken in the call. */
static void audit(uint64_t may_be_missing)
{
	uint64_t counts[2] = { 0 }, missing = 0, ids = notes->next_id < MAX_IDS ? notes->next_id : MAX_IDS;

	for (uint64_t id = 0; id < ids; id++) {
		uint8_t bits = notes->ids[id];
		bool gone = bits & (GOT | ACKED);

		if (!(bits & ATTEMPTED) || (bits & REFUSED))
			if (bits & (GOT | LEASED | ACKED))
				fail_msg("element %llu was never accepted: 0x%x", (unsigned long long)id, bits);
		counts[0] += !!(bits & ACCEPTED);
		counts[1] += gone;
		/* acking: killed in or just after that call */
		if ((bits & ACCEPTED) && !gone && !(bits & ACKING))
			missing++;
	}
	print_message("%llu attempted, %llu accepted, %llu delivered; %llu went with killed one-shot "
		      "consumers, which were taking up to %llu\n", (unsigned long long)ids,
		      (unsigned long long)counts[0], (unsigned long long)counts[1],
		      (unsigned long long)missing, (unsigned long long)may_be_missing);
	assert_true(missing <= may_be_missing);
	assert_true(counts[1] > 10000);
}

static void expect_alone(void)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	assert_int_equal(info.members, 1);
	print_message("%u members were cleaned up after\n", info.recoveries);
}

static void test_torture_random_kills_ledger_exact(void **state)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	uint64_t until, worst = 0, total = 0, kills = 0, may_be_missing = 0;
	pid_t pids[WORKERS];
	struct element element;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", sizeof(element), CAPACITY, NULL, &queue), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		pids[i] = start_worker(i);
	until = test_now_ns() + from_environment("SHMKIT_TEST_SECONDS", 10) * (uint64_t)(1000 * NS_PER_MS);
	while (test_now_ns() < until && notes->next_id < MAX_IDS / 8 * 7) {
		unsigned victim = (unsigned)test_random_below(WORKERS);
		uint64_t took;

		usleep((useconds_t)test_random_below(4000));
		kill(pids[victim], SIGKILL);
		assert_int_equal(test_wait_exit(pids[victim], CHILD_MS), -SIGKILL);
		may_be_missing += notes->in_call[victim];
		kills++;
		took = time_to_recover();
		worst = took > worst ? took : worst;
		total += took;
		pids[victim] = start_worker(victim);
	}
	__atomic_store_n(&notes->stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < WORKERS; i++)
		assert_int_equal(test_wait_exit(pids[i], CHILD_MS), 0);
	print_message("%llu kills; peers went on after at most %.1f ms, %.2f ms in the mean\n",
		      (unsigned long long)kills, (double)worst / 1e6, (double)total / 1e6 / (double)kills);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	while (shmkit_queue_dequeue(queue, &element) == 0)
		note_got(&element);
	assert_int_equal(notes->errors, 0);
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
	print_message("discarded %llu, redelivered %llu\n", (unsigned long long)stats.discarded,
		      (unsigned long long)stats.redelivered);
	audit(may_be_missing);
	expect_whole_capacity();
	expect_alone();
	assert_true(worst < (uint64_t)(2000 * NS_PER_MS));   /* 250 ms, and what a busy machine adds */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_transfer_four_to_four_all_once_in_order),
		TEST(test_transfer_two_to_two_single_calls_all_once_in_order),
		TEST(test_transfer_two_to_two_tiny_queue_all_once_in_order),
		TEST(test_torture_random_kills_ledger_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
