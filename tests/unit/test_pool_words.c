/*
 * Pool, below its calls: generations near their end, what a death leaves, hints that hide or lie,
 * a pool of a million slots, and words with hostile bytes, after which every call must return.
 *
 * The words and bits are written as a process that died, or an attacker, would leave them.
 */
#include "support.h"

#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct shmkit_segment *segment;
static char segment_name[64];

static int make_segment(void **state)
{
	(void)state;
	snprintf(segment_name, sizeof(segment_name), "%s", test_name("poolwords"));
	return shmkit_segment_create(segment_name, 12 << 20, NULL, &segment);
}

static int drop_segment(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(segment_name);
}

static struct shmkit_pool *make_pool(uint32_t element_size, uint64_t capacity)
{
	struct shmkit_pool *pool = NULL;

	assert_int_equal(shmkit_pool_create(segment, "p", element_size, capacity, NULL, &pool), 0);
	return pool;
}

static uint64_t acquire(struct shmkit_pool *pool)
{
	uint64_t handle = SHMKIT_POOL_INVALID;

	assert_int_equal(shmkit_pool_acquire(pool, &handle), 0);
	assert_int_not_equal(handle, SHMKIT_POOL_INVALID);
	return handle;
}

static void release(struct shmkit_pool *pool, uint64_t handle)
{
	assert_int_equal(shmkit_pool_release(pool, handle), 0);
}

static void expect_full(struct shmkit_pool *pool)
{
	uint64_t handle = 4711;

	assert_int_equal(shmkit_pool_acquire(pool, &handle), -EAGAIN);
	assert_int_equal(handle, 4711);
}

static int bit_of(const struct shmkit_pool *pool, unsigned level, uint64_t index)
{
	return (int)(pool->levels[level][index / 64] >> index % 64 & 1);
}

/* Every FREE slot can be found by the hints: invariant 3 of pool.h. */
static void expect_hints_complete(const struct shmkit_pool *pool)
{
	for (uint64_t slot = 0; slot < pool->bits[0]; slot++) {
		if (shk_pool_state(pool->words[slot]) != SHK_SLOT_FREE)
			continue;
		assert_int_equal(bit_of(pool, 0, slot), 0);
		assert_int_equal(bit_of(pool, 1, slot / 64), 0);
		assert_int_equal(bit_of(pool, 2, slot / 4096), 0);
	}
}

/* ---- generations ---- */

static void test_acquire_first_generation_is_one(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 1);

	(void)state;
	assert_int_equal(acquire(pool), UINT64_C(1) << SHK_POOL_INDEX_BITS);
	shmkit_pool_close(pool);
}

static void test_release_last_generation_retires_slot(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 2);
	uint64_t last, before, other, found = 4711;

	(void)state;
	other = acquire(pool);
	for (uint64_t slot = 0; slot < 2; slot++)
		if (slot != shk_pool_slot(other))
			pool->words[slot] =
				shk_pool_word(SHK_POOL_MAX_GENERATION - 2, SHK_SLOT_FREE, 0, 0);
	before = acquire(pool);
	assert_int_equal(shk_pool_generation(before), SHK_POOL_MAX_GENERATION - 1);
	release(pool, before);
	last = acquire(pool);
	assert_int_equal(shk_pool_generation(last), SHK_POOL_MAX_GENERATION);
	assert_null(shmkit_pool_get(pool, before));
	assert_non_null(shmkit_pool_get(pool, last));
	expect_full(pool);
	release(pool, last);

	/* for ever: no handle would be left that has not named an object */
	expect_full(pool);
	assert_int_equal(shk_pool_state(pool->words[shk_pool_slot(last)]), SHK_SLOT_RETIRED);
	assert_null(shmkit_pool_get(pool, last));
	assert_int_equal(shmkit_pool_release(pool, last), -ESTALE);
	assert_int_equal(shmkit_pool_at(pool, shk_pool_slot(last), &found), -ENOENT);
	assert_int_equal(shmkit_pool_size(pool), 1);
	assert_int_equal(shmkit_segment_check(segment), 0);
	release(pool, other);
	for (int i = 0; i < 100; i++) {
		other = acquire(pool);
		expect_full(pool);
		release(pool, other);
	}
	shmkit_pool_close(pool);
}

static void test_acquire_free_at_last_generation_retires_slot(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 1);

	(void)state;
	pool->words[0] = shk_pool_word(SHK_POOL_MAX_GENERATION, SHK_SLOT_FREE, 0, 0);
	expect_full(pool);
	assert_int_equal(shk_pool_state(pool->words[0]), SHK_SLOT_RETIRED);
	shmkit_pool_close(pool);
}

/* ---- after a death ---- */

/* A member that is gone for good, and what it is called in a repair. */
static struct shk_dead make_dead(struct shmkit_recovery *report)
{
	struct shmkit_segment *second = NULL;
	struct shk_dead dead = { .segment = segment, .report = report };

	assert_int_equal(shmkit_segment_open(segment_name, 0, &second), 0);
	dead.id = second->member_id;
	dead.word = second->member_word;
	shmkit_segment_close(second);
	/* LIVE and not locked, as a kill leaves it */
	shk_member(segment, dead.id)->word = dead.word;
	return dead;
}

static void test_recover_acquiring_dead_frees_slot(void **state)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	struct shmkit_pool *pool = make_pool(8, 3);
	struct shk_dead dead = make_dead(&report);
	uint64_t live, incarnation = dead.word >> 1;

	(void)state;
	live = acquire(pool);
	for (uint64_t slot = 0; slot < 3; slot++) {
		if (slot == shk_pool_slot(live))
			continue;
		pool->words[slot] = shk_pool_word(5, SHK_SLOT_ACQUIRING, incarnation, dead.id);
		pool->levels[0][0] |= UINT64_C(1) << slot;
	}
	pool->levels[0][0] |= UINT64_C(1) << shk_pool_slot(live);
	pool->levels[1][0] = pool->levels[2][0] = 1;
	/* a repair needs the dead to have had the pool open */
	*shk_member_open_word(segment, dead.id, pool->object.entry) |= UINT64_C(1)
								       << pool->object.entry % 64;
	assert_int_equal(shmkit_pool_size(pool), 1);
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 1);
	expect_hints_complete(pool);
	assert_int_equal(shk_pool_generation(acquire(pool)), 6);
	assert_int_equal(shk_pool_generation(acquire(pool)), 6);
	expect_full(pool);
	assert_non_null(shmkit_pool_get(pool, live));
	shmkit_pool_close(pool);
}

static void test_repair_other_owner_or_state_left_alone(void **state)
{
	struct shmkit_recovery report = { 0 };
	struct shmkit_pool *pool = make_pool(8, 6);
	struct shk_dead dead = make_dead(&report);
	uint64_t incarnation = dead.word >> 1, before[6], set = pool->shm->rescan_set;
	struct shk_object object = pool->object;

	(void)state;
	pool->words[0] = shk_pool_word(1, SHK_SLOT_ACQUIRING, incarnation + 1, dead.id);
	pool->words[1] = shk_pool_word(1, SHK_SLOT_ACQUIRING, incarnation, dead.id + 1);
	pool->words[2] = shk_pool_word(1, SHK_SLOT_USED, incarnation, dead.id);
	pool->words[3] = shk_pool_word(1, SHK_SLOT_FREE, 0, 0);
	pool->words[4] = shk_pool_word(1, SHK_SLOT_RETIRED, 0, 0);
	memcpy(before, pool->words, sizeof(before));
	shk_pool_repair(&object, &dead);
	assert_memory_equal(pool->words, before, sizeof(before));
	assert_int_equal(pool->shm->rescan_set, set + 1);

	/* a repairer that stood still while the id was freed */
	pool->words[5] = shk_pool_word(1, SHK_SLOT_ACQUIRING, incarnation, dead.id);
	shk_member(segment, dead.id)->word = dead.word & ~SHK_MEMBER_LIVE;
	before[5] = pool->words[5];
	shk_pool_repair(&object, &dead);
	assert_memory_equal(pool->words, before, sizeof(before));
	shmkit_pool_close(pool);
}

/* A releaser that died before it cleared the bits; the repair raised rescan_set. */
static void test_acquire_hidden_slot_found_after_repair(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 5000);   /* more than are scanned always */
	uint64_t handle = 0;

	(void)state;
	for (int i = 0; i < 5000; i++)
		handle = acquire(pool);
	expect_full(pool);
	pool->next_scan_ns = UINT64_MAX;
	pool->words[4099] = shk_pool_freed_word(pool->words[4099]);
	expect_full(pool);
	/* a bit further: hidden by the level above alone, which is what a search looks at */
	pool->levels[0][4099 / 64] &= ~(UINT64_C(1) << 4099 % 64);
	expect_full(pool);
	pool->shm->rescan_set++;
	handle = acquire(pool);
	assert_int_equal(shk_pool_slot(handle), 4099);
	assert_int_equal(pool->shm->rescan_done, pool->shm->rescan_set);
	expect_full(pool);
	shmkit_pool_close(pool);
}

/* Nobody died, but somebody stands still between his two looks: it is found within 20 ms. */
static void test_acquire_hidden_slot_found_without_repair(void **state)
{
	static const uint64_t capacities[] = { 1, 1024, 5000 };

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct shmkit_pool *pool = make_pool(8, capacities[i]);
		uint64_t slot = capacities[i] / 2, start = test_now_ns(), handle = 0;
		int result;

		for (uint64_t n = 0; n < capacities[i]; n++)
			acquire(pool);
		expect_full(pool);
		pool->words[slot] = shk_pool_freed_word(pool->words[slot]);
		do {
			result = shmkit_pool_acquire(pool, &handle);
			assert_true(result == 0 ||
				    (result == -EAGAIN && capacities[i] > SHK_POOL_SCAN_ALWAYS));
		} while (result != 0 && test_now_ns() - start < UINT64_C(10000000000));
		assert_int_equal(result, 0);
		assert_int_equal(shk_pool_slot(handle), slot);
		shmkit_pool_close(pool);
		assert_int_equal(shmkit_segment_remove(segment, "p"), 0);
	}
}

/* ---- hints ---- */

/* Random fills and drains of sizes around the ends of words: the hints are complete at rest. */
static void test_acquire_release_random_hints_complete(void **state)
{
	static const uint64_t capacities[] = { 1, 2, 63, 64, 65, 128, 4095, 4096, 4097, 8200 };
	static uint64_t handles[8200];

	(void)state;
	for (size_t c = 0; c < sizeof(capacities) / sizeof(capacities[0]); c++) {
		struct shmkit_pool *pool = make_pool(1, capacities[c]);
		uint64_t count = 0;

		pool->next_scan_ns = UINT64_MAX;
		for (int phase = 0; phase < 12; phase++) {
			uint64_t want =
				phase % 2 ? test_random_below(capacities[c] + 1) : capacities[c];

			if (phase == 11)
				want = 0;
			while (count < want)
				handles[count++] = acquire(pool);
			if (count == capacities[c])
				expect_full(pool);
			while (count > want) {
				uint64_t pick = test_random_below(count);

				release(pool, handles[pick]);
				/* as if another process had, which leaves no slot to be looked at first */
				if (phase % 4 == 1)
					pool->released_count = 0;
				handles[pick] = handles[--count];
			}
			expect_hints_complete(pool);
			assert_int_equal(shmkit_pool_size(pool), count);
		}
		assert_int_equal(shmkit_segment_check(segment), 0);
		shmkit_pool_close(pool);
		assert_int_equal(shmkit_segment_remove(segment, "p"), 0);
	}
}

/*
 * A million slots, 999 of 1,000 in use: a pair is a matter of a few words. If each looked at a
 * hundredth of them, the pairs below would take hours.
 */
static void test_acquire_million_slots_nearly_full_cheap(void **state)
{
	const uint64_t capacity = 1000000, unused = 1000;
	struct shmkit_pool *pool = make_pool(1, capacity);
	uint64_t start, handle = 0;

	(void)state;
	for (uint64_t i = 0; i < capacity - unused; i++)
		acquire(pool);
	start = test_now_ns();
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t slot = test_random_below(capacity);

		/* others come and go all over the pool, and what they leave is found */
		if (shmkit_pool_at(pool, slot, &handle) == 0) {
			release(pool, handle);
			pool->released_count = 0;
			acquire(pool);
		}
	}
	for (uint64_t i = 0; i < 1000000; i++) {
		handle = acquire(pool);
		release(pool, handle);
	}
	assert_true(test_now_ns() - start < UINT64_C(40000000000));
	for (uint64_t i = 0; i < unused; i++)
		acquire(pool);
	expect_full(pool);
	assert_int_equal(shmkit_pool_size(pool), capacity);
	assert_int_equal(shmkit_segment_check(segment), 0);
	shmkit_pool_close(pool);
}

/* Bits that say FREE of slots that are not, and the other way: put right as they are met. */
static void test_acquire_lying_hints_found_out(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 200);
	size_t bitmaps = (size_t)((uint8_t *)(pool->levels[2] + 1) - (uint8_t *)pool->levels[0]);
	uint64_t handle;

	(void)state;
	for (int i = 0; i < 199; i++)
		acquire(pool);
	for (int round = 0; round < 20; round++) {
		memset(pool->levels[0], round % 2 ? 0 : 0xff, bitmaps);
		handle = acquire(pool);
		expect_full(pool);
		release(pool, handle);
		pool->released_count = 0;
	}
	assert_int_equal(shmkit_pool_size(pool), 199);
	shmkit_pool_close(pool);
}

/* ---- remembered slots ---- */

#define MANY (3u * SHK_POOL_REMEMBERED)

static void acquire_many(struct shmkit_pool *pool, uint64_t *handles, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		handles[i] = acquire(pool);
}

static void release_many(struct shmkit_pool *pool, const uint64_t *handles, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		release(pool, handles[i]);
}

static void test_release_more_than_remembered_all_found_again(void **state)
{
	struct shmkit_pool *pool = make_pool(8, MANY);
	uint64_t handles[MANY];

	(void)state;
	for (int round = 0; round < 3; round++) {
		acquire_many(pool, handles, MANY);
		expect_full(pool);
		assert_int_equal(shmkit_pool_size(pool), MANY);
		release_many(pool, handles, MANY);
		assert_int_equal(pool->released_count, SHK_POOL_REMEMBERED);
		expect_hints_complete(pool);
	}
	shmkit_pool_close(pool);
}

/* What makes a pair cheap: its slots come and go, and their bits stay clear. */
static void test_acquire_remembered_slot_leaves_hints_alone(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 64);
	uint64_t handles[64], again[8];

	(void)state;
	acquire_many(pool, handles, 64);
	release_many(pool, handles, 8);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(__builtin_popcountll(pool->levels[0][0]), 56);
		acquire_many(pool, again, 8);
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(shk_pool_slot(again[i]), shk_pool_slot(handles[7 - i]));
		assert_int_equal(__builtin_popcountll(pool->levels[0][0]), 56);
		expect_full(pool);
		/* the search found them used, and has said so */
		assert_int_equal(__builtin_popcountll(pool->levels[0][0]), 64);
		for (unsigned i = 8; i-- > 0;)
			release(pool, again[i]);
	}
	shmkit_pool_close(pool);
}

/* A remembered slot is free for everyone, and one that another took is passed over. */
static void test_acquire_remembered_slot_taken_by_another_passed_over(void **state)
{
	struct shmkit_pool *pool = make_pool(8, MANY), *other = NULL;
	uint64_t handles[MANY], handle;

	(void)state;
	assert_int_equal(shmkit_pool_open(segment, "p", 8, &other), 0);
	acquire_many(pool, handles, MANY);
	release_many(pool, handles, MANY);
	acquire_many(other, handles, MANY);
	expect_full(pool);
	assert_int_equal(pool->released_count, 0);
	release(other, handles[5]);
	handle = acquire(pool);
	assert_int_equal(shk_pool_slot(handle), shk_pool_slot(handles[5]));
	expect_full(other);
	/* released by one, acquired by the other, many times over: none is lost */
	handles[5] = handle;
	for (int round = 0; round < 3000; round++) {
		uint64_t pick = test_random_below(MANY);

		release(test_random() % 2 ? pool : other, handles[pick]);
		handles[pick] = acquire(test_random() % 2 ? pool : other);
	}
	release_many(pool, handles, MANY / 2);
	acquire_many(other, handles, MANY / 2);
	expect_full(pool);
	expect_full(other);
	assert_int_equal(shmkit_pool_size(pool), MANY);
	shmkit_pool_close(other);
	shmkit_pool_close(pool);
}

static struct shmkit_pool *forked_pool;

static int acquire_in_child(void *argument)
{
	const uint64_t *parents = argument;
	uint64_t handle;

	for (unsigned n = 0; n < 8; n++) {
		if (shmkit_pool_acquire(forked_pool, &handle))
			return 1;
		for (unsigned i = 0; i < 8; i++)
			if (shk_pool_slot(handle) == shk_pool_slot(parents[i]))
				return 2;
	}
	return forked_pool->released_count == 0 ? 0 : 3;
}

/* What the parent remembers stays its own to take; what the child left is had again. */
static void test_acquire_forked_child_begins_elsewhere(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 1000);
	uint64_t handles[8], handle;

	(void)state;
	acquire_many(pool, handles, 8);
	release_many(pool, handles, 8);
	forked_pool = pool;
	assert_int_equal(test_wait_exit(test_fork(acquire_in_child, handles), 10000), 0);
	assert_int_equal(pool->released_count, 8);
	handle = acquire(pool);
	assert_int_equal(shk_pool_slot(handle), shk_pool_slot(handles[7]));
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(shmkit_pool_reclaim(pool), 8);
	for (int i = 1; i < 1000; i++)
		acquire(pool);
	expect_full(pool);
	assert_int_equal(shmkit_pool_size(pool), 1000);
	shmkit_pool_close(pool);
}

/* ---- check ---- */

static void expect_damaged(const struct shmkit_pool *pool, uint64_t word)
{
	uint64_t saved = pool->words[1];

	pool->words[1] = word;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	assert_non_null(strstr(shmkit_last_error(), "slot 1 "));
	pool->words[1] = saved;
	assert_int_equal(shmkit_segment_check(segment), 0);
}

static void test_check_impossible_word_ebadmsg(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 3);
	uint32_t members = segment->geometry.max_members;

	(void)state;
	acquire(pool);
	assert_int_equal(shmkit_segment_check(segment), 0);
	expect_damaged(pool, shk_pool_word(1, SHK_SLOT_USED, 0, members));
	expect_damaged(pool, shk_pool_word(1, SHK_SLOT_ACQUIRING, 0, members));
	expect_damaged(pool, shk_pool_word(0, SHK_SLOT_USED, 0, 0));
	expect_damaged(pool, shk_pool_word(0, SHK_SLOT_ACQUIRING, 0, 0));
	expect_damaged(pool, shk_pool_word(1, SHK_SLOT_FREE, 0, 1));
	expect_damaged(pool, shk_pool_word(1, SHK_SLOT_FREE, 1, 0));
	expect_damaged(pool, shk_pool_word(1, SHK_SLOT_RETIRED, 0, 1));
	pool->shm->rescan_done = pool->shm->rescan_set + 1;
	assert_int_equal(shmkit_segment_check(segment), -EBADMSG);
	shmkit_pool_close(pool);
}

static void test_calls_used_at_generation_zero_no_object(void **state)
{
	struct shmkit_pool *pool = make_pool(8, 1);
	uint64_t cursor = 0, found = 4711;

	(void)state;
	pool->words[0] = shk_pool_word(0, SHK_SLOT_USED, 0, 0);
	assert_null(shmkit_pool_get(pool, SHMKIT_POOL_INVALID));
	assert_int_equal(shmkit_pool_release(pool, SHMKIT_POOL_INVALID), -ESTALE);
	assert_int_equal(shmkit_pool_at(pool, 0, &found), -ENOENT);
	assert_int_equal(shmkit_pool_next(pool, &cursor, &found), 0);
	assert_int_equal(shmkit_pool_size(pool), 0);
	assert_int_equal(found, 4711);
	shmkit_pool_close(pool);
}

/* Whatever the bytes of words, bits and counters: every call returns and stays inside. */
static void test_calls_random_bytes_return(void **state)
{
	(void)state;
	for (int round = 0; round < 300; round++) {
		uint64_t capacity = 1 + test_random_below(150);
		struct shmkit_pool *pool = make_pool(16, capacity);
		uint8_t *begin = pool->object.base, *end = pool->elements;
		struct shmkit_entry_info info = { .struct_size = sizeof(info) };
		uint64_t handle = 0, cursor = 0, bytes[2];
		uint32_t alive = 0;
		int32_t pid = 0;

		for (uint8_t *at = begin; at < end; at++)
			*at = (uint8_t)test_random();
		for (int i = 0; i < 20; i++) {
			if (shmkit_pool_acquire(pool, &handle) == 0)
				memset(shmkit_pool_get(pool, handle), 1, 16);
			if (shmkit_pool_at(pool, test_random_below(capacity), &handle) == 0) {
				assert_int_equal(shmkit_pool_read(pool, handle, bytes), 0);
				assert_int_equal(shmkit_pool_owner(pool, handle, &pid, &alive), 0);
				if (test_random() % 2)
					assert_int_equal(shmkit_pool_adopt(pool, handle), 0);
				assert_int_equal(shmkit_pool_release(pool, handle), 0);
			}
			shmkit_pool_release(pool, test_random());
		}
		for (uint64_t n = 0; shmkit_pool_next(pool, &cursor, &handle) == 1; n++)
			assert_true(n < capacity);
		assert_true(shmkit_pool_size(pool) <= capacity);
		assert_int_equal(shmkit_pool_get_info(pool, &info), 0);
		shmkit_segment_check(segment);
		assert_true(shmkit_pool_reclaim(pool) <= (int64_t)capacity);
		shmkit_pool_close(pool);
		assert_int_equal(shmkit_segment_remove(segment, "p"), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_segment, drop_segment)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_acquire_first_generation_is_one),
		TEST(test_release_last_generation_retires_slot),
		TEST(test_acquire_free_at_last_generation_retires_slot),
		TEST(test_recover_acquiring_dead_frees_slot),
		TEST(test_repair_other_owner_or_state_left_alone),
		TEST(test_acquire_hidden_slot_found_after_repair),
		TEST(test_acquire_hidden_slot_found_without_repair),
		TEST(test_acquire_release_random_hints_complete),
		TEST(test_acquire_million_slots_nearly_full_cheap),
		TEST(test_release_more_than_remembered_all_found_again),
		TEST(test_acquire_remembered_slot_leaves_hints_alone),
		TEST(test_acquire_remembered_slot_taken_by_another_passed_over),
		TEST(test_acquire_forked_child_begins_elsewhere),
		TEST(test_acquire_lying_hints_found_out),
		TEST(test_check_impossible_word_ebadmsg),
		TEST(test_calls_used_at_generation_zero_no_object),
		TEST(test_calls_random_bytes_return),
	};

	return cmocka_run_group_tests_name("pool_words", tests, NULL, NULL);
}
