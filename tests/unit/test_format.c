/*
 * Goal: the bytes of a segment are those of doc/format.md, and every header that says otherwise is
 * refused.
 *
 * Method: sizes and offsets are compared with the numbers of the document; a fresh segment's file
 * is read byte by byte; each field of the header is spoilt in turn, and the segment opened. The
 * same table of numbers holds for a 32-bit process, which test_ia32 lets work on one segment.
 */
#include "layout.h"
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_layout_every_field_is_where_the_document_says(void **state)
{
	static const struct {
		const char *what;
		size_t offset;
		size_t expected;
	} table[] = {
		{ "size of header", sizeof(struct shk_header_shm), 256 },
		{ "size of entry", sizeof(struct shk_entry_shm), 64 },
		{ "size of member", sizeof(struct shk_member_shm), 72 },
		{ "size of atomic", sizeof(struct shk_atomic_shm), 64 },
		{ "size of queue", sizeof(struct shk_queue_shm), 384 },
		{ "size of ring", sizeof(struct shk_ring_shm), 384 },
		{ "size of pool", sizeof(struct shk_pool_shm), 64 },
		{ "byte_order", offsetof(struct shk_header_shm, byte_order), 8 },
		{ "format_version", offsetof(struct shk_header_shm, format_version), 12 },
		{ "features_incompat", offsetof(struct shk_header_shm, features_incompat), 16 },
		{ "features_ro_compat", offsetof(struct shk_header_shm, features_ro_compat), 24 },
		{ "features_compat", offsetof(struct shk_header_shm, features_compat), 32 },
		{ "instance", offsetof(struct shk_header_shm, instance), 40 },
		{ "header_size", offsetof(struct shk_header_shm, header_size), 56 },
		{ "flags", offsetof(struct shk_header_shm, flags), 60 },
		{ "max_size", offsetof(struct shk_header_shm, max_size), 64 },
		{ "table_offset", offsetof(struct shk_header_shm, table_offset), 72 },
		{ "members_offset", offsetof(struct shk_header_shm, members_offset), 80 },
		{ "data_offset", offsetof(struct shk_header_shm, data_offset), 88 },
		{ "max_entries", offsetof(struct shk_header_shm, max_entries), 96 },
		{ "name_size", offsetof(struct shk_header_shm, name_size), 100 },
		{ "entry_stride", offsetof(struct shk_header_shm, entry_stride), 104 },
		{ "member_stride", offsetof(struct shk_header_shm, member_stride), 108 },
		{ "max_members", offsetof(struct shk_header_shm, max_members), 112 },
		{ "created_ns", offsetof(struct shk_header_shm, created_ns), 120 },
		{ "size", offsetof(struct shk_header_shm, size), 128 },
		{ "table_lock", offsetof(struct shk_header_shm, table_lock), 136 },
		{ "table_event", offsetof(struct shk_header_shm, table_event), 144 },
		{ "recoveries", offsetof(struct shk_header_shm, recoveries), 152 },
		{ "label", offsetof(struct shk_header_shm, label), 192 },
		{ "entry offset", offsetof(struct shk_entry_shm, offset), 8 },
		{ "entry capacity", offsetof(struct shk_entry_shm, capacity), 24 },
		{ "entry requested", offsetof(struct shk_entry_shm, requested), 32 },
		{ "entry element_size", offsetof(struct shk_entry_shm, element_size), 40 },
		{ "entry kind", offsetof(struct shk_entry_shm, kind), 44 },
		{ "entry schema_size", offsetof(struct shk_entry_shm, schema_size), 56 },
		{ "member pid", offsetof(struct shk_member_shm, pid), 8 },
		{ "member heartbeat_ns", offsetof(struct shk_member_shm, heartbeat_ns), 24 },
		{ "member label", offsetof(struct shk_member_shm, label), 40 },
		{ "queue ready_event", offsetof(struct shk_queue_shm, ready_event), 64 },
		{ "queue redo_set", offsetof(struct shk_queue_shm, redo_set), 72 },
		{ "queue closing", offsetof(struct shk_queue_shm, closing), 88 },
		{ "queue tail", offsetof(struct shk_queue_shm, tail), 128 },
		{ "queue head", offsetof(struct shk_queue_shm, head), 256 },
		{ "ring dropped_base", offsetof(struct shk_ring_shm, dropped_base), 16 },
		{ "ring producer_role", offsetof(struct shk_ring_shm, producer_role), 128 },
		{ "ring write_next", offsetof(struct shk_ring_shm, write_next), 136 },
		{ "ring write_index", offsetof(struct shk_ring_shm, write_index), 192 },
		{ "ring pushing", offsetof(struct shk_ring_shm, pushing), 144 },
		{ "ring consumer_role", offsetof(struct shk_ring_shm, consumer_role), 256 },
		{ "ring read_word", offsetof(struct shk_ring_shm, read_word), 264 },
		{ "ring read_index", offsetof(struct shk_ring_shm, read_index), 272 },
		{ "ring sharing", offsetof(struct shk_ring_shm, sharing), 280 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].offset != table[i].expected)
			print_error("%s is %zu, not %zu\n", table[i].what, table[i].offset,
				    table[i].expected);
		assert_int_equal(table[i].offset, table[i].expected);
	}
}

static int open_file(const char *name, int flags)
{
	char path[300];

	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	return open(path, flags | O_CLOEXEC);
}

static void test_create_default_writes_the_documented_header(void **state)
{
	const char *name = test_name("format");
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shk_header_shm header;
	struct shk_entry_shm entry;
	char text[32];
	int fd;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, 1 << 20, NULL, &segment), 0);
	assert_int_equal(shmkit_queue_create(segment, "numbers", 8, 10, NULL, &queue), 0);
	fd = open_file(name, O_RDONLY);
	assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
	assert_memory_equal(header.magic, "SHMKIT\r\n", 8);
	assert_int_equal(header.byte_order, 0x01020304);
	assert_int_equal(header.format_version, 1);
	assert_int_equal(header.header_size, 256);
	assert_int_equal(header.flags, 0);
	assert_int_equal(header.table_offset, 256);
	assert_int_equal(header.members_offset, 256 + 64 * 96);
	assert_int_equal(header.data_offset, 16640);
	assert_int_equal(header.size, 1 << 20);
	assert_int_equal(header.max_size, 1 << 20);
	assert_int_equal(pread(fd, &entry, sizeof(entry), 256), sizeof(entry));
	assert_int_equal(shk_entry_state(entry.word), SHK_ENTRY_LIVE);
	assert_int_equal(entry.offset, 16640);
	assert_int_equal(entry.kind, SHMKIT_KIND_QUEUE);
	assert_int_equal(entry.capacity, 16);
	assert_int_equal(entry.requested, 10);
	assert_int_equal(entry.element_size, 8);
	assert_int_equal(entry.size, 384 + 16 * 16);
	assert_int_equal(pread(fd, text, sizeof(text), 256 + 64), sizeof(text));
	assert_string_equal(text, "numbers");
	close(fd);
	shmkit_queue_close(queue);
	shmkit_segment_close(segment);
}

/* ---- damage ---- */

struct spoilt {
	size_t offset;
	uint32_t value;
	int expected;                       /* of open, writing; 0 any refusal */
	int expected_read_only;
};

static void try_spoilt(const char *name, const struct spoilt *spoilt)
{
	struct shmkit_segment *segment;
	uint32_t before;
	int fd = open_file(name, O_RDWR);
	int result;

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &before, sizeof(before), (off_t)spoilt->offset), sizeof(before));
	assert_int_equal(pwrite(fd, &spoilt->value, sizeof(before), (off_t)spoilt->offset), sizeof(before));
	result = shmkit_segment_open(name, 0, &segment);
	if (result != spoilt->expected)
		print_error("byte %zu: %d %s\n", spoilt->offset, result, shmkit_last_error());
	assert_int_equal(result, spoilt->expected);
	assert_non_null(strstr(shmkit_last_error(), name));
	result = shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment);
	assert_int_equal(result, spoilt->expected_read_only);
	if (result == 0)
		shmkit_segment_close(segment);
	assert_int_equal(pwrite(fd, &before, sizeof(before), (off_t)spoilt->offset), sizeof(before));
	close(fd);
}

static void test_open_spoilt_header_is_refused(void **state)
{
	static const struct spoilt cases[] = {
		{ 0, 0x12345678, -EPROTO, -EPROTO },
		{ 8, 0x04030201, -EPROTO, -EPROTO },
		{ 12, 0, -EPROTO, -EPROTO },
		{ 12, 2, -EPROTONOSUPPORT, -EPROTONOSUPPORT },
		{ 16, 1, -EPROTONOSUPPORT, -EPROTONOSUPPORT },
		{ 24, 1, -EROFS, 0 },
		{ 56, 512, -EPROTO, -EPROTO },
		{ 64, 12345, -EPROTO, -EPROTO },
		{ 68, 0x7fffffff, -EPROTO, -EPROTO },
		{ 72, 257, -EPROTO, -EPROTO },
		{ 80, 1, -EPROTO, -EPROTO },
		{ 88, 0, -EPROTO, -EPROTO },
		{ 96, 0, -EPROTO, -EPROTO },
		{ 96, 4097, -EPROTO, -EPROTO },
		{ 96, 65, -EPROTO, -EPROTO },
		{ 100, 1, -EPROTO, -EPROTO },
		{ 100, 257, -EPROTO, -EPROTO },
		{ 104, 0, -EPROTO, -EPROTO },
		{ 108, 81, -EPROTO, -EPROTO },
		{ 112, 0, -EPROTO, -EPROTO },
		{ 112, 1025, -EPROTO, -EPROTO },
		{ 128, 0, -EPROTO, -EPROTO },
		{ 128, 4096, -EPROTO, -EPROTO },
		{ 132, 1, -EPROTO, -EPROTO },
	};
	const char *name = test_name("spoilt");
	struct shmkit_segment *segment;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, 1 << 20, NULL, &segment), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		try_spoilt(name, &cases[i]);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_open_unknown_compat_bit_is_ignored(void **state)
{
	const char *name = test_name("compat");
	struct shmkit_segment *segment, *again;
	uint64_t bit = UINT64_C(1) << 63;
	int fd;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, 1 << 20, NULL, &segment), 0);
	fd = open_file(name, O_RDWR);
	assert_int_equal(pwrite(fd, &bit, sizeof(bit), 32), sizeof(bit));
	close(fd);
	assert_int_equal(shmkit_segment_open(name, 0, &again), 0);
	shmkit_segment_close(again);
	shmkit_segment_close(segment);
}

static void test_open_shortened_file_is_refused(void **state)
{
	const char *name = test_name("short");
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .flags = SHMKIT_SEGMENT_PERSIST };
	static const off_t lengths[] = { 1 << 19, 20480, 300, 255, 8, 1, 0 };
	struct shmkit_segment *segment;
	int fd;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, 1 << 20, &options, &segment), 0);
	shmkit_segment_close(segment);
	fd = open_file(name, O_RDWR);
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(ftruncate(fd, lengths[i]), 0);
		assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTO);
		assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment), -EPROTO);
	}
	/* no mark left: not known for a segment any more, and left alone */
	assert_int_equal(shmkit_segment_unlink(name), -EPROTO);
	assert_int_equal(test_shm_leftovers(name), 1);
	close(fd);
	assert_int_equal(shm_unlink(name), 0);
}

/* Random bytes over table and extents: calls return, and say what is wrong. */
static void test_open_random_bytes_in_table_nothing_breaks(void **state)
{
	const char *name = test_name("noise");
	struct shmkit_segment_options options = { .struct_size = sizeof(options),
						  .flags = SHMKIT_SEGMENT_PERSIST };

	(void)state;
	for (int round = 0; round < 300; round++) {
		struct shmkit_segment *segment;
		struct shmkit_queue *queue;
		struct shmkit_entry_info info = { .struct_size = sizeof(info) };
		uint64_t element = 0;
		uint32_t cursor = 0;
		int fd, result;

		assert_int_equal(shmkit_segment_create(name, 64 << 10, &options, &segment), 0);
		assert_int_equal(shmkit_queue_create(segment, "q", 8, 16, NULL, &queue), 0);
		shmkit_queue_close(queue);
		shmkit_segment_close(segment);
		fd = open_file(name, O_RDWR);
		for (int i = 0; i < 20; i++) {
			uint64_t value = test_random() >> test_random_below(64);
			/* the entry of the queue, its words, or anywhere */
			off_t at = i % 3 == 0 ? 256 + (off_t)test_random_below(16) * 8
				   : i % 3 == 1 ? 16640 + (off_t)test_random_below(100) * 8
						: 128 + (off_t)test_random_below(4000) * 8;

			assert_int_equal(pwrite(fd, &value, sizeof(value), at), sizeof(value));
		}
		close(fd);
		if (shmkit_segment_open(name, 0, &segment) == 0) {
			(void)shmkit_segment_check(segment);
			while (shmkit_segment_next_entry(segment, &cursor, &info) == 1)
				;
			result = shmkit_queue_open(segment, "q", 0, &queue);
			if (result == 0) {
				for (int i = 0; i < 40 && shmkit_queue_enqueue(queue, &element) == 0; i++)
					;
				for (int i = 0; i < 40 && shmkit_queue_dequeue(queue, &element) == 0; i++)
					;
				shmkit_queue_close(queue);
			}
			shmkit_segment_close(segment);
		}
		assert_int_equal(shm_unlink(name), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layout_every_field_is_where_the_document_says),
		cmocka_unit_test(test_create_default_writes_the_documented_header),
		cmocka_unit_test(test_open_spoilt_header_is_refused),
		cmocka_unit_test(test_open_unknown_compat_bit_is_ignored),
		cmocka_unit_test(test_open_shortened_file_is_refused),
		cmocka_unit_test(test_open_random_bytes_in_table_nothing_breaks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
