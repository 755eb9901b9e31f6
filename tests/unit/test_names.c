/*
 * Goal: the name table, the rules every structure shares, and members, in one process: names and
 * tables filled to the brim, space used again, kinds and sizes checked, schema text, versions and
 * error texts.
 *
 * Method: queues and arrays stand for all structures; each error of each function is provoked, and
 * its sentence looked at.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static struct shmkit_segment *make(const char *name, uint64_t size)
{
	struct shmkit_segment *segment;

	assert_int_equal(shmkit_segment_create(name, size, NULL, &segment), 0);
	return segment;
}

static uint64_t used(struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info.used;
}

static void expect_words(const char *first, const char *second)
{
	if (!strstr(shmkit_last_error(), first) || !strstr(shmkit_last_error(), second))
		print_error("last error: %s\n", shmkit_last_error());
	assert_non_null(strstr(shmkit_last_error(), first));
	assert_non_null(strstr(shmkit_last_error(), second));
}

/* ---- tables ---- */

static void fill_table(uint32_t table, uint32_t entries, uint32_t name_size)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .table = table };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment;
	struct shmkit_atomic_u32 *atomic;
	struct shmkit_array *array;
	char name[300];
	uint32_t cursor = 0, seen = 0;

	if (table == SHMKIT_TABLE_CUSTOM) {
		options.max_entries = entries;
		options.name_size = name_size;
	}
	assert_int_equal(shmkit_segment_create(test_name("fill"), 4 * MIB, &options, &segment), 0);
	for (uint32_t i = 0; i < entries; i++) {
		memset(name, 'n', sizeof(name));
		/* full length: a number in front, filled up */
		name[snprintf(name, sizeof(name), "%u", i)] = '_';
		name[name_size - 1] = '\0';
		assert_int_equal(shmkit_atomic_u32_create(segment, name, i, &atomic), 0);
		shmkit_atomic_u32_close(atomic);
	}
	assert_int_equal(shmkit_array_create(segment, "more", 4, 1, NULL, &array), -ENOSPC);
	expect_words("table", "full");
	memset(name, 'n', name_size);
	name[name_size] = '\0';
	assert_int_equal(shmkit_atomic_u32_create(segment, name, 0, &atomic), -ENAMETOOLONG);
	assert_int_equal(shmkit_segment_find(segment, name, &info), -ENAMETOOLONG);
	while (shmkit_segment_next_entry(segment, &cursor, &info) == 1) {
		assert_int_equal(strlen(info.name), name_size - 1);
		assert_int_equal(shmkit_atomic_u32_open(segment, info.name, &atomic), 0);
		assert_int_equal(shmkit_atomic_u32_load(atomic), seen);
		shmkit_atomic_u32_close(atomic);
		seen++;
	}
	assert_int_equal(seen, entries);
	assert_int_equal(shmkit_segment_check(segment), 0);
	/* one goes, another comes */
	assert_int_equal(shmkit_segment_remove(segment, info.name), 0);
	assert_int_equal(shmkit_array_create(segment, "m", 4, 1, NULL, &array), 0);
	shmkit_array_close(array);
	shmkit_segment_close(segment);
}

static void test_table_each_is_filled_with_full_names(void **state)
{
	(void)state;
	fill_table(SHMKIT_TABLE_SMALL, 16, 16);
	fill_table(SHMKIT_TABLE_DEFAULT, 64, 32);
	fill_table(SHMKIT_TABLE_LARGE, 256, 64);
	fill_table(SHMKIT_TABLE_CUSTOM, 128, 48);
	fill_table(SHMKIT_TABLE_CUSTOM, 300, 256);
}

/* ---- space ---- */

static blkcnt_t blocks(struct shmkit_segment *segment)
{
	struct stat file;

	assert_int_equal(fstat(shmkit_segment_fd(segment), &file), 0);
	return file.st_blocks;
}

static void test_remove_space_is_used_again_and_memory_given_back(void **state)
{
	struct shmkit_segment *segment = make(test_name("space"), 8 * MIB);
	struct shmkit_entry_info first = { .struct_size = sizeof(first) };
	struct shmkit_entry_info second = { .struct_size = sizeof(second) };
	uint64_t before = used(segment);
	blkcnt_t blocks_before = blocks(segment);
	struct shmkit_array *a, *b, *c;

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 4096, 256, NULL, &a), 0);
	assert_int_equal(shmkit_array_create(segment, "b", 4096, 256, NULL, &b), 0);
	assert_int_equal(shmkit_array_get_info(a, &first), 0);
	assert_int_equal(used(segment), before + 2 * MIB);
	memset(shmkit_array_data(a), 0x5a, MIB);
	assert_int_equal(shmkit_segment_remove(segment, "a"), 0);
	/* held open: the bytes stay, the handle is stale */
	assert_int_equal(((const volatile char *)shmkit_segment_base(segment))[first.offset], 0x5a);
	assert_null(shmkit_array_data(a));
	assert_int_equal(shmkit_array_read(a, 0, 1, &first), -ESTALE);
	assert_int_equal(shmkit_array_get_info(a, &second), -ESTALE);
	assert_int_equal(used(segment), before + 2 * MIB);
	assert_int_equal(shmkit_segment_find(segment, "a", NULL), -ENOENT);
	assert_int_equal(shmkit_array_create(segment, "c", 4096, 256, NULL, &c), 0);
	assert_int_equal(shmkit_array_get_info(c, &second), 0);
	assert_int_not_equal(second.offset, first.offset);
	shmkit_array_close(c);
	assert_int_equal(shmkit_segment_remove(segment, "c"), 0);
	shmkit_array_close(a);
	/* nobody can touch it any more: the gap is used again, all zero */
	assert_int_equal(used(segment), before + MIB);
	assert_int_equal(shmkit_array_create(segment, "d", 1024, 1024, NULL, &c), 0);
	assert_int_equal(shmkit_array_get_info(c, &second), 0);
	assert_int_equal(second.offset, first.offset);
	for (size_t i = 0; i < MIB; i++)
		assert_int_equal(((const char *)shmkit_array_view(c))[i], 0);
	shmkit_array_close(c);
	shmkit_array_close(b);
	assert_int_equal(shmkit_segment_remove(segment, "b"), 0);
	assert_int_equal(shmkit_segment_remove(segment, "d"), 0);
	assert_int_equal(shmkit_segment_remove(segment, "d"), -ENOENT);
	assert_int_equal(used(segment), before);
	/* but for pages that an extent began or ended in */
	assert_true(blocks(segment) <= blocks_before + 4 * 8);
	assert_int_equal(shmkit_segment_remove(NULL, "a"), -EINVAL);
	assert_int_equal(shmkit_segment_remove(segment, NULL), -EINVAL);
	shmkit_segment_close(segment);
}

static void test_remove_read_only_opener_holds_the_space_too(void **state)
{
	const char *name = test_name("rohold");
	struct shmkit_segment *segment = make(name, MIB), *reader;
	struct shmkit_array *array, *view;
	uint64_t before = used(segment);
	char byte = 'x';

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 1, 1000, NULL, &array), 0);
	assert_int_equal(shmkit_array_write(array, 0, 1, &byte), 0);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	assert_int_equal(shmkit_array_open(reader, "a", 1, &view), 0);
	shmkit_array_close(array);
	assert_int_equal(shmkit_segment_remove(segment, "a"), 0);
	assert_true(used(segment) > before);
	assert_int_equal(shmkit_array_read(view, 0, 1, &byte), -ESTALE);
	shmkit_array_close(view);
	/* it cannot give it back itself; the next who looks does */
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(used(segment), before);
	shmkit_segment_close(reader);
	shmkit_segment_close(segment);
}

static void test_create_until_full_sums_of_footprints_fit(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .alignment = 256 };
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_array *array;
	struct shmkit_pool *pool;
	uint64_t overhead, q, a, p, total;

	(void)state;
	assert_int_equal(shmkit_segment_footprint(NULL, &overhead), 0);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 24, 100, NULL, &q), 0);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_ARRAY, 256, 33, &options, &a), 0);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_POOL, 100, 77, NULL, &p), 0);
	total = overhead + q + a + p;
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_ARRAY, 1, 5000, NULL, &q), 0);
	assert_int_equal(q, 5056);
	segment = make(test_name("sums"), total);
	assert_int_equal(shmkit_queue_create(segment, "q", 24, 100, NULL, &queue), 0);
	assert_int_equal(shmkit_array_create(segment, "a", 256, 33, &options, &array), 0);
	assert_int_equal(shmkit_pool_create(segment, "p", 100, 77, NULL, &pool), 0);
	assert_true(used(segment) <= total);
	assert_int_equal((uintptr_t)shmkit_array_data(array) % 256, 0);
	shmkit_queue_close(queue);
	shmkit_array_close(array);
	shmkit_pool_close(pool);
	assert_int_equal(shmkit_array_create(segment, "more", 1, 5000, NULL, &array), -ENOSPC);
	expect_words("'more' needs 5056 bytes", "larger");
	shmkit_segment_close(segment);
	assert_int_equal(shmkit_object_footprint(99, 8, 1, NULL, &total), -EINVAL);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 0, 1, NULL, &total), -EINVAL);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 8, 0, NULL, &total), -EINVAL);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_ARRAY, 1u << 30, UINT64_MAX / 2, NULL, &total),
			 -ENOSPC);
	expect_words("array", "larger than any segment");
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 8, 1, NULL, NULL), -EINVAL);
}

/* ---- kinds, sizes, options ---- */

static void test_open_another_kind_or_size_is_refused(void **state)
{
	struct shmkit_segment *segment = make(test_name("kinds"), MIB);
	struct shmkit_object_options flags = { .struct_size = sizeof(flags),
					       .flags = SHMKIT_RING_MULTI_PRODUCER };
	struct shmkit_queue *queue, *again;
	struct shmkit_array *array;
	struct shmkit_ring *ring;
	struct shmkit_atomic_i32 *atomic;

	(void)state;
	assert_int_equal(shmkit_queue_open(segment, "q", 8, &queue), -ENOENT);
	expect_words("'q'", "wait_for");
	assert_int_equal(shmkit_queue_create(segment, "q", 64, 100, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_create(segment, "q", 64, 100, NULL, &again), -EEXIST);
	assert_int_equal(shmkit_queue_open(segment, "q", 48, &again), -EPROTOTYPE);
	expect_words("a queue of 100 elements of 64 bytes", "48-byte");
	assert_int_equal(shmkit_array_open(segment, "q", 64, &array), -EPROTOTYPE);
	expect_words("a queue", "an array");
	assert_int_equal(shmkit_atomic_i32_open(segment, "q", &atomic), -EPROTOTYPE);
	assert_int_equal(shmkit_queue_open(segment, "q", 0, &again), 0);
	assert_int_equal(shmkit_queue_element_size(again), 64);
	shmkit_queue_close(again);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 64, 100, NULL, &again), 0);
	shmkit_queue_close(again);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 64, 128, NULL, &again), -EPROTOTYPE);
	expect_words("100 elements", "128 elements were asked for");
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 32, 100, NULL, &again), -EPROTOTYPE);
	assert_int_equal(shmkit_array_open_or_create(segment, "q", 64, 100, NULL, &array), -EPROTOTYPE);
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 10, &flags, &ring), 0);
	shmkit_ring_close(ring);
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 10, NULL, &ring), -EPROTOTYPE);
	expect_words("flags", "0x1");
	assert_int_equal(shmkit_ring_open_or_create(segment, "r", 8, 10, &flags, &ring), 0);
	shmkit_ring_close(ring);
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
}

static void test_create_bad_arguments_are_refused(void **state)
{
	struct shmkit_segment *segment = make(test_name("args"), MIB);
	struct shmkit_object_options options = { .struct_size = sizeof(options) };
	struct shmkit_queue *queue;
	char name[40];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[32] = '\0';
	assert_int_equal(shmkit_queue_create(NULL, "q", 8, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, NULL, 8, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "", 8, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, name, 8, 4, NULL, &queue), -ENAMETOOLONG);
	expect_words("32 bytes", "31");
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_open(segment, "q", 8, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_open_or_create(segment, "q", 8, 4, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 0, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", (1u << 30) + 1, 4, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 0, NULL, &queue), -EINVAL);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, (1u << 24) + 1, NULL, &queue), -EINVAL);
	options.flags = 4;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	expect_words("unknown bits", "0x4");
	options.flags = 0;
	options.reserved = 1;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	options.reserved = 0;
	options.alignment = 24;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	expect_words("alignment of 24", "powers of two");
	options.alignment = 8192;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	options.alignment = 0;
	options.struct_size = 4;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL);
	shmkit_segment_close(segment);
}

/* ---- schema ---- */

static int try_schema(struct shmkit_segment *segment, const char *schema, uint32_t element_size)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options), .schema = schema };
	struct shmkit_queue *queue;
	int result = shmkit_queue_create(segment, "s", element_size, 4, &options, &queue);

	if (result == 0) {
		shmkit_queue_close(queue);
		assert_int_equal(shmkit_segment_remove(segment, "s"), 0);
	}
	return result;
}

static void test_schema_good_and_bad_texts(void **state)
{
	struct shmkit_segment *segment = make(test_name("schema"), MIB);
	char longest[1200];

	(void)state;
	assert_int_equal(try_schema(segment, "timestamp:u64 producer:i32 values:f32[8]", 48), 0);
	assert_int_equal(try_schema(segment, "a:u8 b:u16 c:u8 d:u64", 16), 0);
	assert_int_equal(try_schema(segment, "a:u64 b:u8", 16), 0);
	assert_int_equal(try_schema(segment, "  name:char[32]\n\tok:bool ", 33), 0);
	assert_int_equal(try_schema(segment, "x:f64 y:i8 z:i16", 16), 0);
	assert_int_equal(try_schema(segment, "a:u64 b:u8", 9), -EINVAL);
	expect_words("16 bytes", "element size is 9");
	assert_int_equal(try_schema(segment, "", 8), -EINVAL);
	assert_int_equal(try_schema(segment, "a", 8), -EINVAL);
	expect_words("'a' is no field", "name:type");
	assert_int_equal(try_schema(segment, ":u8", 1), -EINVAL);
	assert_int_equal(try_schema(segment, "a:u9", 1), -EINVAL);
	expect_words("'u9'", "is no type");
	assert_int_equal(try_schema(segment, "a:u8[0]", 1), -EINVAL);
	assert_int_equal(try_schema(segment, "a:u8[", 1), -EINVAL);
	assert_int_equal(try_schema(segment, "a:u8[2]x", 2), -EINVAL);
	assert_int_equal(try_schema(segment, "a:u8[99999999999999999999]", 1), -EINVAL);
	assert_int_equal(try_schema(segment, "a:u8,b:u8", 2), -EINVAL);
	memset(longest, 'f', sizeof(longest));
	strcpy(longest + sizeof(longest) - 4, ":u8");
	assert_int_equal(try_schema(segment, longest, 1), -EINVAL);
	expect_words("longer than", "1023");
	strcpy(longest + 1020, ":u8");
	assert_int_equal(try_schema(segment, longest, 1), 0);
	shmkit_segment_close(segment);
}

static void test_schema_is_kept_and_compared(void **state)
{
	struct shmkit_segment *segment = make(test_name("schemas"), MIB);
	struct shmkit_object_options options = { .struct_size = sizeof(options),
						 .schema = "a:u32   b:u32" };
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	struct shmkit_array *array;

	(void)state;
	assert_int_equal(shmkit_array_create(segment, "a", 8, 7, &options, &array), 0);
	shmkit_array_close(array);
	assert_int_equal(shmkit_segment_find(segment, "a", &info), 0);
	assert_string_equal(info.schema, "a:u32 b:u32");
	assert_string_equal(info.name, "a");
	assert_int_equal(info.kind, SHMKIT_KIND_ARRAY);
	assert_int_equal(info.capacity, 7);
	assert_int_equal(info.used, 7);
	assert_int_equal(info.element_size, 8);
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 8, 7, &options, &array), 0);
	shmkit_array_close(array);
	options.schema = NULL;
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 8, 7, &options, &array), 0);
	shmkit_array_close(array);
	options.schema = "a:u64";
	assert_int_equal(shmkit_array_open_or_create(segment, "a", 8, 7, &options, &array), -EPROTOTYPE);
	expect_words("'a'", "schema");
	assert_int_equal(shmkit_segment_find(segment, "b", &info), -ENOENT);
	assert_int_equal(shmkit_segment_find(NULL, "a", &info), -EINVAL);
	info.struct_size = 20;
	assert_int_equal(shmkit_segment_find(segment, "a", &info), -EINVAL);
	assert_int_equal(shmkit_segment_next_entry(segment, NULL, &info), -EINVAL);
	shmkit_segment_close(segment);
}

/* ---- members ---- */

static void test_members_are_listed_with_label_and_heartbeat(void **state)
{
	const char *name = test_name("members");
	struct shmkit_segment *segment = make(name, MIB), *peer;
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	(void)state;
	assert_int_equal(shmkit_segment_open(name, 0, &peer), 0);
	assert_int_equal(shmkit_segment_member_id(segment), 0);
	assert_int_equal(shmkit_segment_member_id(peer), 1);
	assert_int_equal(shmkit_segment_member_id(NULL), -EINVAL);
	assert_int_equal(shmkit_segment_set_label(peer, "a label of thirty-one characters"), -ENAMETOOLONG);
	expect_words("32 bytes", "31");
	assert_int_equal(shmkit_segment_set_label(peer, "a label of thirty-one character"), 0);
	assert_int_equal(shmkit_segment_set_label(peer, NULL), -EINVAL);
	assert_int_equal(shmkit_segment_set_label(NULL, "x"), -EINVAL);
	assert_int_equal(shmkit_segment_heartbeat(peer), 0);
	assert_int_equal(shmkit_segment_heartbeat(NULL), -EINVAL);
	assert_int_equal(shmkit_segment_next_member(segment, &cursor, &member), 1);
	assert_int_equal(member.id, 0);
	assert_int_equal(member.pid, getpid());
	assert_int_equal(member.alive, 1);
	assert_int_equal(member.heartbeat_ns, 0);
	assert_true(member.heartbeat_age_ns == UINT64_MAX);
	assert_true(member.attached_ns > UINT64_C(1600000000) * 1000000000);
	assert_string_equal(member.label, program_invocation_short_name);
	assert_int_equal(shmkit_segment_next_member(segment, &cursor, &member), 1);
	assert_int_equal(member.id, 1);
	assert_string_equal(member.label, "a label of thirty-one character");
	assert_true(member.heartbeat_ns >= member.attached_ns);
	assert_true(member.heartbeat_age_ns < UINT64_C(5000000000));
	assert_int_equal(shmkit_segment_next_member(segment, &cursor, &member), 0);
	assert_int_equal(shmkit_segment_next_member(NULL, &cursor, &member), -EINVAL);
	assert_int_equal(shmkit_segment_next_member(segment, NULL, &member), -EINVAL);
	member.struct_size = 3;
	assert_int_equal(shmkit_segment_next_member(segment, &cursor, &member), -EINVAL);
	shmkit_segment_close(peer);
	shmkit_segment_close(segment);
}

static void test_open_more_than_max_members_is_refused(void **state)
{
	const char *name = test_name("full");
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .max_members = 3 };
	struct shmkit_segment *segments[4], *reader;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segments[0]), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segments[1]), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segments[2]), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segments[3]), -EUSERS);
	expect_words("3 members", "max_members");
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	shmkit_segment_close(reader);
	shmkit_segment_close(segments[1]);
	assert_int_equal(shmkit_segment_open(name, 0, &segments[3]), 0);
	for (int i = 0; i < 4; i++)
		if (i != 1)
			shmkit_segment_close(segments[i]);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_recover_nothing_to_do_reports_zero(void **state)
{
	struct shmkit_segment *segment = make(test_name("recover"), MIB);
	struct shmkit_recovery report = { .struct_size = sizeof(report), .members = 9 };

	(void)state;
	assert_int_equal(shmkit_segment_recover(segment, &report), 0);
	assert_int_equal(report.members, 0);
	assert_int_equal(shmkit_segment_recover(segment, NULL), 0);
	assert_int_equal(shmkit_segment_recover(NULL, &report), -EINVAL);
	report.struct_size = 1;
	assert_int_equal(shmkit_segment_recover(segment, &report), -EINVAL);
	shmkit_segment_close(segment);
}

/* ---- library ---- */

static void test_library_versions_and_texts(void **state)
{
	char version[32];

	(void)state;
	assert_int_equal(shmkit_version(), SHMKIT_VERSION);
	snprintf(version, sizeof(version), "%u.%u.%u", SHMKIT_VERSION >> 16, SHMKIT_VERSION >> 8 & 255,
		 SHMKIT_VERSION & 255);
	assert_string_equal(shmkit_version_string(), version);
	for (int error = -4095; error <= 5; error++)
		assert_non_null(shmkit_strerror(error));
	assert_string_not_equal(shmkit_strerror(-ESTALE), shmkit_strerror(-EBADMSG));
	assert_string_equal(shmkit_strerror(0), "success");
	assert_non_null(shmkit_last_error());
}

static void test_calls_leave_errno_alone(void **state)
{
	struct shmkit_segment *segment;

	(void)state;
	errno = 4242;
	assert_int_equal(shmkit_segment_open("t-there-is-no-such-segment", 0, &segment), -ENOENT);
	assert_int_equal(errno, 4242);
	assert_int_equal(shmkit_segment_create(test_name("errno"), MIB, NULL, &segment), 0);
	assert_int_equal(errno, 4242);
	assert_int_equal(shmkit_segment_wait_for(segment, "x", 1000000), -ETIMEDOUT);
	assert_int_equal(errno, 4242);
	shmkit_segment_close(segment);
	assert_int_equal(errno, 4242);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_each_is_filled_with_full_names),
		cmocka_unit_test(test_remove_space_is_used_again_and_memory_given_back),
		cmocka_unit_test(test_remove_read_only_opener_holds_the_space_too),
		cmocka_unit_test(test_create_until_full_sums_of_footprints_fit),
		cmocka_unit_test(test_open_another_kind_or_size_is_refused),
		cmocka_unit_test(test_create_bad_arguments_are_refused),
		cmocka_unit_test(test_schema_good_and_bad_texts),
		cmocka_unit_test(test_schema_is_kept_and_compared),
		cmocka_unit_test(test_members_are_listed_with_label_and_heartbeat),
		cmocka_unit_test(test_open_more_than_max_members_is_refused),
		cmocka_unit_test(test_recover_nothing_to_do_reports_zero),
		cmocka_unit_test(test_library_versions_and_texts),
		cmocka_unit_test(test_calls_leave_errno_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
