/*
 * Those who make and remove names, who come and go, who repair, and who wait for things.
 */
#include "torture.h"

#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_KEYS 5u                       /* of KEYS; the others are of several kinds */
#define MAX_ARRAY_WORDS 2000u

/* A long-lived one looks whether descriptors pile up. */
static void count_fds(struct self *self, int expected)
{
	int count = test_fd_count();

	if (count != expected)
		blame(self, 0, "%d descriptors are open, %d are expected", count, expected);
}

/* ---- names ---- */

static uint64_t word_of(uint32_t key, uint64_t i)
{
	return (uint64_t)(key + 1) << 32 | i;
}

static uint64_t array_words(uint32_t key)
{
	return 200 + 400 * (uint64_t)key;
}

/* What nobody but the users of this key writes: zero, or what they all write. */
static void check_array(struct self *self, uint32_t key, const uint64_t *words, const char *when)
{
	for (uint64_t i = 0; i < array_words(key); i++)
		if (words[i] != 0 && words[i] != word_of(key, i))
			blame(self, 0, "word %llu of 'key %u' is 0x%llx %s", (unsigned long long)i, key,
			      (unsigned long long)words[i], when);
}

static void use_array(struct self *self, uint32_t key, struct shmkit_array *array)
{
	static uint64_t words[MAX_ARRAY_WORDS];
	uint64_t count = array_words(key), *raw;
	int result;

	/* the memory is ours to touch as long as the handle is open, removed or not */
	raw = shmkit_array_data(array);
	if (raw)
		check_array(self, key, raw, "in a name just opened");
	for (uint64_t i = 0; i < count; i++)
		words[i] = word_of(key, i);
	result = shmkit_array_write(array, 0, count, words);
	if (result && result != -ESTALE)
		blame(self, 0, "write of 'key %u': %d", key, result);
	linger(self, 4, 1000);
	result = shmkit_array_read(array, 0, count, words);
	if (result == 0)
		check_array(self, key, words, "when read");
	else if (result != -ESTALE)
		blame(self, 0, "read of 'key %u': %d", key, result);
	if (raw)
		check_array(self, key, raw, "while its handle is open");
	shmkit_array_close(array);
}

static int64_t make_array(struct self *self, uint32_t key, const char *name)
{
	struct shmkit_array *array = NULL;
	uint32_t how = below(self, 3);
	int result;

	if (how == 0)
		result = shmkit_array_create(self->segment, name, 8, array_words(key), NULL, &array);
	else if (how == 1)
		result = shmkit_array_open(self->segment, name, 8, &array);
	else
		result = shmkit_array_open_or_create(self->segment, name, 8, array_words(key), NULL, &array);
	progress(self);
	if (result >= 0) {
		note(self, how == 0 || result ? EVENT_MADE : EVENT_OPENED, 0, 0, (int64_t)key);
		use_array(self, key, array);
	}
	return result;
}

/* A queue, a ring, a pool or an atomic: made, used once, closed. */
static int64_t make_other(struct self *self, uint32_t key, const char *name)
{
	uint64_t element = 1;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_pool *pool;
	int result;

	switch (key - ARRAY_KEYS) {
	case 0:
		result = shmkit_queue_open_or_create(self->segment, name, 8, 256, NULL, &queue);
		if (result < 0)
			return result;
		(void)shmkit_queue_enqueue(queue, &element);
		if (below(self, 2))
			(void)shmkit_queue_dequeue(queue, &element);
		shmkit_queue_close(queue);
		break;
	case 1:
		result = shmkit_ring_open_or_create(self->segment, name, 8, 77, NULL, &ring);
		if (result < 0)
			return result;
		(void)shmkit_ring_push(ring, &element);
		(void)shmkit_ring_pop(ring, &element);
		shmkit_ring_close(ring);
		break;
	default:
		result = shmkit_pool_open_or_create(self->segment, name, 24, 100, NULL, &pool);
		if (result < 0)
			return result;
		(void)shmkit_pool_acquire(pool, &element);
		shmkit_pool_close(pool);
		break;
	}
	progress(self);
	note(self, result ? EVENT_MADE : EVENT_OPENED, 0, 0, (int64_t)key);
	return result;
}

static void walk(struct self *self)
{
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	uint32_t cursor = 0, count = 0;
	int result;

	while ((result = shmkit_segment_next_entry(self->segment, &cursor, &entry)) == 1)
		count++;
	progress(self);
	if (result || count > 32)
		blame(self, 0, "a walk over %u names ended with %d", count, result);
}

void use_names(struct self *self)
{
	int fds = test_fd_count();
	char name[16];

	for (uint32_t loops = 0; !stopped(self); loops++) {
		uint32_t key = below(self, KEYS);
		int64_t result;

		snprintf(name, sizeof(name), "key %u", key);
		if (below(self, 3) == 0) {
			result = shmkit_segment_remove(self->segment, name);
			progress(self);
			note(self, EVENT_REMOVED, 0, 0, result ? -1 : (int64_t)key);
			if (result == -ENOENT)
				result = 0;
		} else if (key < ARRAY_KEYS) {
			result = make_array(self, key, name);
		} else {
			result = make_other(self, key, name);
		}
		if (result < 0 && result != -EEXIST && result != -ENOENT && result != -ESTALE)
			blame(self, 0, "'%s': %lld", name, (long long)result);
		atomic_fetch_add(&board->names, 1);
		linger(self, 16, 500);
		if (loops % 64 == 0) {
			walk(self);
			count_fds(self, fds);
		}
	}
}

/*
 * In half of the rounds nobody attaches but who replaces the dead, and nobody asks for a repair:
 * what blocks the others then, they have to find themselves.
 */
static bool rests(struct self *self)
{
	if (board->round % 4 < 2)
		return false;
	usleep(1000);
	progress(self);
	return true;
}

/* ---- membership ---- */

/* Up to three handles more, each a member of its own. */
void come_and_go(struct self *self)
{
	int fds = test_fd_count();

	while (!stopped(self)) {
		struct shmkit_segment *segments[3];
		uint32_t count = 0, wanted = 1 + below(self, 3);
		struct shmkit_queue *queue;
		int result = 0;

		if (rests(self))
			continue;
		while (count < wanted && result == 0) {
			uint32_t flags = below(self, 8) ? 0 : SHMKIT_READ_ONLY;

			result = shmkit_segment_open(segment_name, flags, &segments[count]);
			count += result == 0;
		}
		atomic_fetch_add(&board->opens, count);
		if (result == -EUSERS)
			atomic_fetch_add(&board->full_of_members, 1);
		else if (result)
			blame(self, 0, "open: %d", result);
		for (uint32_t i = 0; i < count; i++) {
			result = shmkit_queue_open(segments[i], "wide", 0, &queue);
			if (result)
				blame(self, 0, "open of a queue: %d", result);
			(void)shmkit_segment_set_label(segments[i], "passing by");
			(void)shmkit_segment_heartbeat(segments[i]);
			shmkit_queue_close(queue);
		}
		linger(self, 4, 2000);
		while (count-- > 0)
			shmkit_segment_close(segments[count]);
		progress(self);
		linger(self, 2, 1000);
	}
	count_fds(self, fds);
}

/* ---- repairers ---- */

void repair(struct self *self)
{
	int fds = test_fd_count();

	for (uint32_t loops = 0; !stopped(self); loops++) {
		struct shmkit_recovery report = { .struct_size = sizeof(report) };
		struct shmkit_segment_info info = { .struct_size = sizeof(info) };
		struct shmkit_member_info member = { .struct_size = sizeof(member) };
		uint32_t cursor = 0;
		int result;

		if (rests(self))
			continue;
		result = shmkit_segment_recover(self->segment, &report);
		if (!result)
			result = shmkit_segment_get_info(self->segment, &info);
		while (!result && shmkit_segment_next_member(self->segment, &cursor, &member) == 1)
			;
		if (result)
			blame(self, 0, "recover or look: %d", result);
		result = shmkit_segment_check(self->segment);
		if (result)
			blame(self, 0, "check: %d", result);
		progress(self);
		usleep(1 + below(self, 3000));
		if (loops % 64 == 0)
			count_fds(self, fds);
	}
}

/* ---- waiters ---- */

static void expect_soft(struct self *self, const char *what, int64_t result)
{
	progress(self);
	atomic_fetch_add(&board->waits, 1);
	if (result != 0 && result != -ETIMEDOUT && result != -ENOENT)
		blame(self, 0, "%s: %lld", what, (long long)result);
}

/* Each wakes the others by what it does itself. */
void wait_for_things(struct self *self)
{
	struct shmkit_atomic_u64 *clock = NULL;
	struct shmkit_segment *another;
	char name[16];

	if (shmkit_atomic_u64_open(self->segment, "clock", &clock))
		blame(self, 0, "open of the atomic");
	while (!stopped(self)) {
		uint64_t seen = shmkit_atomic_u64_fetch_add(clock, 1) + 1, now;
		int result = shmkit_atomic_u64_wait(clock, seen, 4 * MS);

		expect_soft(self, "wait for a change", result);
		now = shmkit_atomic_u64_load(clock);
		if (now < seen || (result == 0 && now == seen))
			blame(self, 0, "the value was %llu, is %llu, and the wait said %d",
			      (unsigned long long)seen, (unsigned long long)now, result);
		snprintf(name, sizeof(name), "key %u", below(self, KEYS));
		expect_soft(self, "wait for a name", shmkit_segment_wait_for(self->segment, name, 3 * MS));
		if (below(self, 4) == 0) {
			result = shmkit_segment_open_wait(segment_name, SHMKIT_READ_ONLY, 3 * MS, &another);
			expect_soft(self, "wait for the segment", result);
			if (result == 0)
				shmkit_segment_close(another);
		}
	}
	shmkit_atomic_u64_close(clock);
}
