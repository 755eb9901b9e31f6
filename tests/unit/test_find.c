/*
 * Goal: a name is found where it is, whatever a handle remembers of where it was; and what was
 * removed comes back when the last who could touch it has let go.
 *
 * Method: two handles on one segment, of which each has hints of its own: one removes and makes,
 * the other looks. Hints are also written over with wrong ones. The value of an atomic tells which
 * structure was found.
 */
#include "support.h"

#include <shmkit.h>

#include "segment.h"
#include "table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

static struct shmkit_segment *make(const char *name, uint32_t entries)
{
	struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .table = SHMKIT_TABLE_CUSTOM, .max_entries = entries,
		.name_size = 32,
	};
	struct shmkit_segment *segment;

	assert_int_equal(shmkit_segment_create(name, 2 * MIB, &options, &segment), 0);
	return segment;
}

static struct shmkit_segment *open_also(const char *name, uint32_t flags)
{
	struct shmkit_segment *segment;

	assert_int_equal(shmkit_segment_open(name, flags, &segment), 0);
	return segment;
}

static void add(struct shmkit_segment *segment, const char *name, uint64_t value)
{
	struct shmkit_atomic_u64 *atomic;

	assert_int_equal(shmkit_atomic_u64_create(segment, name, value, &atomic), 0);
	shmkit_atomic_u64_close(atomic);
}

static void expect(struct shmkit_segment *segment, const char *name, uint64_t value)
{
	struct shmkit_atomic_u64 *atomic;

	assert_int_equal(shmkit_atomic_u64_open(segment, name, &atomic), 0);
	assert_int_equal(shmkit_atomic_u64_load(atomic), value);
	shmkit_atomic_u64_close(atomic);
}

static void expect_none(struct shmkit_segment *segment, const char *name)
{
	struct shmkit_atomic_u64 *atomic;

	assert_int_equal(shmkit_atomic_u64_open(segment, name, &atomic), -ENOENT);
}

/* Bytes of extents, of what is removed too. */
static uint64_t used(struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info.used - info.overhead;
}

/* ---- hints ---- */

static void test_open_name_made_again_elsewhere_is_found(void **state)
{
	const char *name = test_name("find");
	struct shmkit_segment *maker = make(name, 8), *other = open_also(name, 0);

	(void)state;
	add(maker, "first", 1);
	add(maker, "second", 2);
	expect(other, "second", 2);
	assert_int_equal(shmkit_segment_remove(maker, "first"), 0);
	assert_int_equal(shmkit_segment_remove(maker, "second"), 0);
	expect_none(other, "second");
	/* other's hint leads to what has another name now, then to the right one, then to nothing */
	add(maker, "third", 3);
	add(maker, "fourth", 4);
	expect_none(other, "second");
	add(maker, "second", 5);
	expect(other, "second", 5);
	expect(other, "fourth", 4);
	assert_int_equal(shmkit_segment_remove(other, "second"), 0);
	expect_none(maker, "second");
	expect_none(other, "second");
	shmkit_segment_close(other);
	shmkit_segment_close(maker);
}

static void test_open_hint_that_lies_is_not_believed(void **state)
{
	struct shmkit_segment *segment = make(test_name("find"), 5);
	const char *names[] = { "a", "b", "c", "longer than eight", "longer than eight too" };

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		add(segment, names[i], i);
	for (uint32_t wrong = 0; wrong < 5; wrong++) {
		for (uint32_t i = 0; i < 5; i++) {
			struct shk_name name;
			uint32_t *hints;

			assert_int_equal(shk_table_check_name(segment, names[i], &name), 0);
			hints = segment->hints + (name.hash & segment->hint_mask) * SHK_HINT_WAYS;
			for (uint32_t way = 0; way < SHK_HINT_WAYS; way++)
				hints[way] = (name.hash & 0xffff0000u) | (wrong + 1);
			expect(segment, names[i], i);
		}
		expect_none(segment, "longer than eigh");
	}
	shmkit_segment_close(segment);
}

static void test_open_names_that_begin_alike_are_told_apart(void **state)
{
	struct shmkit_segment *segment = make(test_name("find"), 32);
	const char *text = "abcdefghijklmnopqrstuvwxyz_0123";

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t size = 1; size <= 31; size++) {
			char name[32];

			snprintf(name, sizeof(name), "%.*s", (int)size, text);
			if (round == 0) {
				expect_none(segment, name);
				add(segment, name, size);
			} else {
				expect(segment, name, size);
			}
			name[size - 1] = '!';
			expect_none(segment, name);
		}
	}
	shmkit_segment_close(segment);
}

static void test_open_more_names_than_hints_all_are_found(void **state)
{
	enum { ENTRIES = 64, ROUNDS = 40 };
	const char *segment_name = test_name("find");
	struct shmkit_segment *maker = make(segment_name, ENTRIES), *other = open_also(segment_name, 0);
	char name[32];

	(void)state;
	/* ever new names: what the hints say soon is of those that are gone */
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < ENTRIES; i++) {
			snprintf(name, sizeof(name), "name_%u", round * ENTRIES + i);
			add(maker, name, round * ENTRIES + i);
		}
		for (unsigned i = 0; i < 3 * ENTRIES; i++) {
			unsigned which = round * ENTRIES + i * 37 % ENTRIES;

			snprintf(name, sizeof(name), "name_%u", which);
			expect(other, name, which);
		}
		for (unsigned i = 0; i < ENTRIES; i++) {
			snprintf(name, sizeof(name), "name_%u", round * ENTRIES + i);
			assert_int_equal(shmkit_segment_remove(i % 2 ? other : maker, name), 0);
			expect_none(other, name);
		}
	}
	assert_int_equal(used(maker), 0);
	shmkit_segment_close(other);
	shmkit_segment_close(maker);
}

/* ---- what was removed ---- */

static void test_remove_last_of_two_handles_gives_it_back(void **state)
{
	const char *name = test_name("find");
	struct shmkit_segment *maker = make(name, 8), *other = open_also(name, 0);
	struct shmkit_atomic_u64 *here, *there, *again;

	(void)state;
	assert_int_equal(shmkit_atomic_u64_create(maker, "it", 1, &here), 0);
	assert_int_equal(shmkit_atomic_u64_open(other, "it", &there), 0);
	assert_int_equal(shmkit_atomic_u64_open(other, "it", &again), 0);
	assert_int_equal(shmkit_segment_remove(maker, "it"), 0);
	assert_int_equal(used(maker), 64);
	shmkit_atomic_u64_close(here);
	assert_int_equal(used(maker), 64);
	shmkit_atomic_u64_close(there);
	assert_int_equal(used(maker), 64);
	shmkit_atomic_u64_close(again);
	assert_int_equal(used(maker), 0);
	shmkit_segment_close(other);
	shmkit_segment_close(maker);
}

/* A read-only opener gives nothing back and tells nobody: who has met it looks again. */
static void test_remove_held_by_an_observer_comes_back_with_the_next_close(void **state)
{
	const char *name = test_name("find");
	struct shmkit_segment *maker = make(name, 8), *observer = open_also(name, SHMKIT_READ_ONLY);
	struct shmkit_atomic_u64 *seen, *more;

	(void)state;
	add(maker, "it", 1);
	add(maker, "more", 2);
	assert_int_equal(shmkit_atomic_u64_open(observer, "it", &seen), 0);
	assert_int_equal(shmkit_segment_remove(maker, "it"), 0);
	assert_int_equal(shmkit_atomic_u64_open(maker, "more", &more), 0);
	shmkit_atomic_u64_close(more);
	assert_int_equal(used(maker), 128);
	assert_int_equal(shmkit_atomic_u64_open(maker, "more", &more), 0);
	shmkit_atomic_u64_close(seen);
	assert_int_equal(used(maker), 128);
	shmkit_atomic_u64_close(more);
	assert_int_equal(used(maker), 64);
	shmkit_segment_close(observer);
	shmkit_segment_close(maker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_name_made_again_elsewhere_is_found),
		cmocka_unit_test(test_open_hint_that_lies_is_not_believed),
		cmocka_unit_test(test_open_names_that_begin_alike_are_told_apart),
		cmocka_unit_test(test_open_more_names_than_hints_all_are_found),
		cmocka_unit_test(test_remove_last_of_two_handles_gives_it_back),
		cmocka_unit_test(test_remove_held_by_an_observer_comes_back_with_the_next_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
