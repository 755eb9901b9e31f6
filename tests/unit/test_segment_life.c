/*
 * Goal: every function of shmkit/segment.h that makes, finds, describes and ends segments does
 * what the header says, and each of its errors comes with a sentence.
 *
 * Method: one process; peers are second handles (each is a member of its own). What needs other
 * processes is in tests/process.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static struct shmkit_segment_options options_with(uint32_t flags)
{
	return (struct shmkit_segment_options){ .struct_size = sizeof(struct shmkit_segment_options),
						.flags = flags };
}

static struct shmkit_segment_info info_of(struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	assert_int_equal(shmkit_segment_get_info(segment, &info), 0);
	return info;
}

/* The last error names all of the words. */
static void expect_words(const char *first, const char *second)
{
	if (!strstr(shmkit_last_error(), first) || !strstr(shmkit_last_error(), second))
		print_error("last error: %s\n", shmkit_last_error());
	assert_non_null(strstr(shmkit_last_error(), first));
	assert_non_null(strstr(shmkit_last_error(), second));
}

static void path_of(const char *name, char path[300])
{
	snprintf(path, 300, "/dev/shm/%s", name);
}

/* ---- names and sizes ---- */

static void test_create_bad_names_are_refused(void **state)
{
	static const char *const names[] = { "", "/", ".", "..", "/.", "a/b", "//a", "/a/", NULL };
	struct shmkit_segment *segment = NULL;
	char longest[258];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(shmkit_segment_create(names[i], MIB, NULL, &segment), -EINVAL);
		assert_int_equal(shmkit_segment_open(names[i], 0, &segment), -EINVAL);
		assert_int_equal(shmkit_segment_open_or_create(names[i], MIB, NULL, &segment), -EINVAL);
		assert_int_equal(shmkit_segment_open_wait(names[i], 0, 0, &segment), -EINVAL);
		assert_int_equal(shmkit_segment_unlink(names[i]), -EINVAL);
	}
	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	assert_int_equal(shmkit_segment_create(longest, MIB, NULL, &segment), -ENAMETOOLONG);
	assert_int_equal(shmkit_segment_open(longest, 0, &segment), -ENAMETOOLONG);
	assert_int_equal(shmkit_segment_unlink(longest), -ENAMETOOLONG);
	expect_words("256", "255");
	longest[255] = '\0';
	assert_int_equal(shmkit_segment_create(longest, MIB, NULL, &segment), 0);
	shmkit_segment_close(segment);
	assert_int_equal(shmkit_segment_open(longest, 0, &segment), -ENOENT);
}

static void test_create_slash_in_front_is_the_same_name(void **state)
{
	struct shmkit_segment *segment, *again;
	char name[64];

	(void)state;
	snprintf(name, sizeof(name), "/%s", test_name("slash"));
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_segment_open(name + 1, 0, &again), 0);
	assert_int_equal(shmkit_segment_create(name + 1, MIB, NULL, &again), -EEXIST);
	expect_words(name + 1, "exists");
	shmkit_segment_close(again);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name + 1), 0);
}

static void test_create_bad_options_are_refused(void **state)
{
	const char *name = test_name("options");
	struct shmkit_segment *segment;
	struct shmkit_segment_options options;
	unsigned char larger[sizeof(options) + 8] = { 0 };
	uint32_t size = sizeof(larger);
	uint64_t footprint;

	(void)state;
	options = options_with(0);
	options.struct_size = 12;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	expect_words("struct_size is 12", "sizeof");
	options = options_with(1u << 30);
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	expect_words("unknown bits", "0x40000000");
	options = options_with(SHMKIT_SEGMENT_UNLINKED);
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	options = options_with(0);
	options.table = 9;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	options.table = SHMKIT_TABLE_CUSTOM;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	expect_words("max_entries is 0", "4096");
	options.max_entries = 10;
	options.name_size = 257;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	expect_words("name_size is 257", "256");
	options = options_with(0);
	options.max_entries = 10;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	options = options_with(0);
	options.max_members = 1025;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	expect_words("max_members is 1025", "1024");
	options = options_with(0);
	options.mode = 01777;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	options = options_with(0);
	options.max_size = MIB / 2;
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EINVAL);
	expect_words("max_size", "less than the size");
	memcpy(larger, &size, sizeof(size));
	larger[sizeof(options)] = 1;
	assert_int_equal(shmkit_segment_create(name, MIB, (void *)larger, &segment), -E2BIG);
	larger[sizeof(options)] = 0;
	assert_int_equal(shmkit_segment_create(name, MIB, (void *)larger, &segment), 0);
	shmkit_segment_close(segment);
	assert_int_equal(shmkit_segment_create(name, 16639, NULL, &segment), -EINVAL);
	expect_words("16639", "16640");
	assert_int_equal(shmkit_segment_create(name, 0, NULL, &segment), -EINVAL);
	assert_int_equal(shmkit_segment_create(name, UINT64_MAX, NULL, &segment), -EINVAL);
	assert_int_equal(shmkit_segment_create(name, UINT64_C(1) << 55, NULL, &segment), -ENOSPC);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_segment_footprint(NULL, NULL), -EINVAL);
	assert_int_equal(shmkit_segment_footprint(NULL, &footprint), 0);
	assert_int_equal(footprint, 16640);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_footprint_of_each_table_is_its_overhead(void **state)
{
	static const struct {
		uint32_t table, entries, name_size, members;
		uint64_t overhead;
	} cases[] = {
		{ SHMKIT_TABLE_SMALL, 16, 16, 32, 4096 },
		{ SHMKIT_TABLE_DEFAULT, 64, 32, 128, 16640 },
		{ SHMKIT_TABLE_LARGE, 256, 64, 128, 46336 },
		{ SHMKIT_TABLE_CUSTOM, 128, 48, 128, 0 },
		{ SHMKIT_TABLE_CUSTOM, 4096, 256, 1024, 0 },
		{ SHMKIT_TABLE_CUSTOM, 1, 2, 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct shmkit_segment_options options = options_with(0);
		struct shmkit_segment_info info;
		struct shmkit_segment *segment;
		uint64_t overhead;

		options.table = cases[i].table;
		if (cases[i].table == SHMKIT_TABLE_CUSTOM) {
			options.max_entries = cases[i].entries;
			options.name_size = cases[i].name_size;
			options.max_members = cases[i].members;
		}
		assert_int_equal(shmkit_segment_footprint(&options, &overhead), 0);
		assert_int_equal(shmkit_segment_create(test_name("table"), 4 * MIB, &options, &segment), 0);
		info = info_of(segment);
		assert_int_equal(info.overhead, overhead);
		assert_int_equal(info.used, overhead);
		assert_int_equal(info.max_entries, cases[i].entries);
		assert_int_equal(info.name_size, cases[i].name_size);
		assert_int_equal(info.max_members, cases[i].members);
		assert_int_equal(info.entries, 0);
		assert_int_equal(info.members, 1);
		assert_int_equal(info.format_version, 1);
		if (cases[i].overhead)
			assert_int_equal(overhead, cases[i].overhead);
		shmkit_segment_close(segment);
	}
}

/* ---- mode, persist, unlink ---- */

static void test_create_mode_and_group_whatever_the_umask(void **state)
{
	const char *name = test_name("mode");
	struct shmkit_segment_options options = options_with(SHMKIT_SEGMENT_GROUP);
	struct shmkit_segment *segment;
	mode_t mask = umask(0777);
	struct stat file;
	char path[300];

	(void)state;
	path_of(name, path);
	options.mode = 0664;
	options.group = getgid();
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 07777, 0664);
	assert_int_equal(file.st_gid, getgid());
	shmkit_segment_close(segment);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_int_equal(file.st_mode & 07777, 0600);
	shmkit_segment_close(segment);
	umask(0);
	assert_int_equal(shmkit_segment_create_anonymous("mode", MIB, NULL, &segment), 0);
	assert_int_equal(fstat(shmkit_segment_fd(segment), &file), 0);
	assert_int_equal(file.st_mode & 07777, 0600);
	shmkit_segment_close(segment);
	umask(mask);
}

static void test_close_last_handle_unlinks_unless_persistent(void **state)
{
	const char *name = test_name("last");
	struct shmkit_segment_options options = options_with(SHMKIT_SEGMENT_PERSIST);
	struct shmkit_segment *first, *second, *reader;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &first), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &second), 0);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	assert_int_equal(info_of(reader).members, 2);
	shmkit_segment_close(first);
	assert_int_equal(test_shm_leftovers(name), 1);
	assert_int_equal(info_of(second).members, 1);
	shmkit_segment_close(second);
	/* a read-only opener keeps no name, and goes on reading */
	assert_int_equal(test_shm_leftovers(name), 0);
	assert_int_equal(info_of(reader).flags & SHMKIT_SEGMENT_UNLINKED, SHMKIT_SEGMENT_UNLINKED);
	assert_int_equal(info_of(reader).members, 0);
	assert_int_equal(shmkit_segment_wait_for(reader, "never", -1), -ESTALE);
	shmkit_segment_close(reader);

	assert_int_equal(shmkit_segment_create(name, MIB, &options, &first), 0);
	assert_int_equal(info_of(first).flags, SHMKIT_SEGMENT_PERSIST);
	shmkit_segment_close(first);
	assert_int_equal(test_shm_leftovers(name), 1);
	assert_int_equal(shmkit_segment_open(name, 0, &first), 0);
	shmkit_segment_close(first);
	assert_int_equal(shmkit_segment_unlink(name), 0);
	assert_int_equal(shmkit_segment_unlink(name), -ENOENT);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_unlink_attached_go_on_and_do_not_unlink_a_successor(void **state)
{
	const char *name = test_name("successor");
	struct shmkit_segment *old, *fresh;
	struct shmkit_queue *queue;
	uint64_t element = 7;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &old), 0);
	assert_int_equal(shmkit_queue_create(old, "q", 8, 4, NULL, &queue), 0);
	assert_int_equal(shmkit_segment_unlink(name), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &fresh), -ENOENT);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &fresh), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	assert_int_equal(info_of(old).flags, SHMKIT_SEGMENT_UNLINKED);
	shmkit_queue_close(queue);
	shmkit_segment_close(old);
	assert_int_equal(test_shm_leftovers(name), 1);
	assert_int_equal(info_of(fresh).flags, 0);
	shmkit_segment_close(fresh);
	assert_int_equal(test_shm_leftovers(name), 0);
}

static void test_close_structures_after_segment_in_any_order(void **state)
{
	const char *name = test_name("order");
	struct shmkit_segment *segment, *peer;
	struct shmkit_queue *queue;
	uint64_t element = 3;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &peer), 0);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	shmkit_segment_close(segment);
	assert_int_equal(info_of(peer).members, 2);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	assert_int_equal(shmkit_queue_dequeue(queue, &element), 0);
	shmkit_queue_close(queue);
	assert_int_equal(info_of(peer).members, 1);
	shmkit_segment_close(peer);
	shmkit_segment_close(NULL);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* ---- what is not a segment ---- */

static void make_file(const char *name, const char *bytes)
{
	char path[300];
	int fd;

	path_of(name, path);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, strlen(bytes)), strlen(bytes));
	close(fd);
}

static void test_open_foreign_things_are_refused_and_left_alone(void **state)
{
	const char *name = test_name("foreign");
	struct shmkit_segment_options options = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	struct shmkit_segment *segment;
	char path[300], text[400] = { 0 };

	(void)state;
	path_of(name, path);
	memset(text, 'x', 300);
	make_file(name, text);
	assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTO);
	expect_words(name, "not a shmkit segment");
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, NULL, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), -EEXIST);
	assert_int_equal(shmkit_segment_create(name, MIB, &options, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, &options, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_unlink(name), -EPROTO);
	assert_int_equal(test_shm_leftovers(name), 1);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_unlink(name), -EPROTO);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/dev/zero", path), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTO);
	expect_words(name, "symbolic link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment), -EPROTO);
	assert_int_equal(unlink(path), 0);
}

static void spoil(const char *name)
{
	char path[300];
	uint64_t wrong = 12345;
	int fd;

	path_of(name, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, &wrong, sizeof(wrong), 88), sizeof(wrong));
	close(fd);
}

static void test_replace_dead_damaged_only_when_nobody_has_it(void **state)
{
	const char *name = test_name("damaged");
	struct shmkit_segment_options persist = options_with(SHMKIT_SEGMENT_PERSIST);
	struct shmkit_segment_options replace = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	struct shmkit_segment *segment, *fresh;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, &persist, &segment), 0);
	/* sound and alive; sound, persistent and nobody in it */
	assert_int_equal(shmkit_segment_create(name, MIB, &replace, &fresh), -EEXIST);
	shmkit_segment_close(segment);
	assert_int_equal(shmkit_segment_create(name, MIB, &replace, &fresh), -EEXIST);
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, &replace, &segment), 0);
	spoil(name);
	/* damaged, but in use */
	assert_int_equal(shmkit_segment_create(name, MIB, &replace, &fresh), -EBUSY);
	expect_words(name, "damaged");
	assert_int_equal(shmkit_segment_open_or_create(name, MIB, &replace, &fresh), -EBUSY);
	shmkit_segment_close(segment);
	/* damaged, and nobody in it */
	assert_int_equal(shmkit_segment_open(name, 0, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &fresh), -EEXIST);
	assert_int_equal(shmkit_segment_open_or_create(name, 2 * MIB, &replace, &fresh), 1);
	assert_int_equal(info_of(fresh).size, 2 * MIB);
	assert_int_equal(info_of(fresh).flags, 0);
	shmkit_segment_close(fresh);
	assert_int_equal(test_shm_leftovers(name), 0);
	assert_int_equal(test_shm_leftovers(".shmkit-"), 0);
}

/* ---- by descriptor ---- */

static void test_create_anonymous_is_sealed_and_opened_by_descriptor(void **state)
{
	struct shmkit_segment *segment, *again, *reader;
	struct shmkit_queue *queue, *other;
	struct stat file;
	uint64_t element = 9;
	int fd, before = test_fd_count();

	(void)state;
	assert_int_equal(shmkit_segment_create_anonymous(NULL, MIB, NULL, &segment), -EINVAL);
	assert_int_equal(shmkit_segment_create_anonymous("x", 100, NULL, &segment), -EINVAL);
	assert_int_equal(shmkit_segment_create_anonymous("payload", MIB, NULL, &segment), 0);
	fd = shmkit_segment_fd(segment);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(fstat(fd, &file), 0);
	assert_int_equal(file.st_size, MIB);
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 4, NULL, &queue), 0);
	fd = dup(fd);
	assert_int_equal(shmkit_segment_open_fd(fd, 0, &again), 0);
	assert_int_equal(shmkit_segment_open_fd(fd, SHMKIT_READ_ONLY, &reader), 0);
	close(fd);
	assert_int_equal(shmkit_queue_open(again, "q", 8, &other), 0);
	assert_int_equal(shmkit_queue_enqueue(queue, &element), 0);
	element = 0;
	assert_int_equal(shmkit_queue_dequeue(other, &element), 0);
	assert_int_equal(element, 9);
	assert_int_equal(info_of(reader).members, 2);
	assert_int_equal(info_of(reader).flags & SHMKIT_SEGMENT_UNLINKED, SHMKIT_SEGMENT_UNLINKED);
	shmkit_queue_close(queue);
	shmkit_queue_close(other);
	shmkit_segment_close(segment);
	shmkit_segment_close(again);
	shmkit_segment_close(reader);
	assert_int_equal(test_fd_count(), before);
}

static void test_open_fd_what_is_no_segment_is_refused(void **state)
{
	struct shmkit_segment *segment;
	int pipe_fds[2], null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int empty = memfd_create("empty", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(shmkit_segment_open_fd(-1, 0, &segment), -EINVAL);
	assert_int_equal(shmkit_segment_open_fd(9999, 0, &segment), -EINVAL);
	expect_words("9999", "not open");
	assert_int_equal(shmkit_segment_open_fd(pipe_fds[0], 0, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_open_fd(null_fd, 0, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_open_fd(empty, 0, &segment), -EPROTO);
	assert_int_equal(shmkit_segment_open_fd(empty, 1u << 29, &segment), -EINVAL);
	assert_int_equal(shmkit_segment_open_fd(empty, 0, NULL), -EINVAL);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	close(null_fd);
	close(empty);
}

static void test_open_fd_of_a_named_segment_knows_its_name(void **state)
{
	const char *name = test_name("byfd");
	struct shmkit_segment *segment, *again;

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_segment_open_fd(shmkit_segment_fd(segment), 0, &again), 0);
	shmkit_segment_close(segment);
	assert_int_equal(test_shm_leftovers(name), 1);
	shmkit_segment_close(again);
	assert_int_equal(test_shm_leftovers(name), 0);
}

/* ---- size ---- */

static void test_grow_peers_see_it_without_memory_being_used(void **state)
{
	const char *name = test_name("grow");
	struct shmkit_segment_options options = options_with(0);
	struct shmkit_segment *segment, *peer;
	struct shmkit_queue *queue, *other;
	struct stat file;
	char path[300];

	(void)state;
	path_of(name, path);
	options.max_size = UINT64_C(64) << 30;
	assert_int_equal(shmkit_segment_create(name, 64 << 10, &options, &segment), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &peer), 0);
	assert_int_equal(shmkit_queue_create(segment, "q", 64, 1024, NULL, &queue), -ENOSPC);
	expect_words("'q' needs", "shmkit_segment_grow");
	for (uint64_t size = MIB; size <= options.max_size; size *= 4)
		assert_int_equal(shmkit_segment_grow(segment, size), 0);
	assert_int_equal(shmkit_segment_grow(segment, options.max_size), 0);
	assert_int_equal(info_of(peer).size, options.max_size);
	assert_int_equal(info_of(peer).max_size, options.max_size);
	assert_int_equal(shmkit_segment_grow(segment, options.max_size + 1), -ENOSPC);
	assert_int_equal(shmkit_segment_grow(segment, MIB), -EINVAL);
	expect_words("cannot shrink", name);
	assert_int_equal(shmkit_segment_grow(NULL, MIB), -EINVAL);
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_blocks * 512 < 64 << 10);
	assert_int_equal(shmkit_queue_create(peer, "q", 64, 1024, NULL, &queue), 0);
	assert_int_equal(shmkit_queue_open(segment, "q", 64, &other), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_blocks * 512 < 256 << 10);
	shmkit_queue_close(queue);
	shmkit_queue_close(other);
	shmkit_segment_close(segment);
	shmkit_segment_close(peer);
}

static void test_create_populate_has_all_its_memory(void **state)
{
	const char *name = test_name("populate");
	struct shmkit_segment_options options =
		options_with(SHMKIT_SEGMENT_POPULATE | SHMKIT_SEGMENT_HUGE_PAGES);
	struct shmkit_segment *segment, *again;
	struct shmkit_array *array;
	struct stat file;
	char path[300];

	(void)state;
	path_of(name, path);
	options.max_size = 8 * MIB;
	assert_int_equal(shmkit_segment_create(name, 4 * MIB, &options, &segment), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_blocks * 512 >= (blkcnt_t)(4 * MIB));
	assert_int_equal(shmkit_segment_grow(segment, 8 * MIB), 0);
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_blocks * 512 >= (blkcnt_t)(8 * MIB));
	/* the place of a removed structure is zero again, and its memory stays */
	assert_int_equal(shmkit_array_create(segment, "a", 4096, 10, NULL, &array), 0);
	memset(shmkit_array_data(array), 0xff, 40960);
	shmkit_array_close(array);
	assert_int_equal(shmkit_segment_remove(segment, "a"), 0);
	assert_int_equal(shmkit_array_create(segment, "b", 4096, 10, NULL, &array), 0);
	for (int i = 0; i < 40960; i++)
		assert_int_equal(((const char *)shmkit_array_view(array))[i], 0);
	assert_int_equal(stat(path, &file), 0);
	assert_true(file.st_blocks * 512 >= (blkcnt_t)(8 * MIB));
	assert_int_equal(shmkit_segment_open(name, SHMKIT_SEGMENT_POPULATE | SHMKIT_SEGMENT_HUGE_PAGES,
					     &again), 0);
	shmkit_segment_close(again);
	shmkit_array_close(array);
	shmkit_segment_close(segment);
}

static void test_info_and_base_and_fd_describe_the_segment(void **state)
{
	const char *name = test_name("info");
	struct shmkit_segment *segment;
	struct {
		struct shmkit_segment_info info;
		uint64_t behind[2];
	} large = { .info = { .struct_size = sizeof(large) }, .behind = { 1, 1 } };
	struct shmkit_segment_info info = { .struct_size = 8 };

	(void)state;
	assert_int_equal(shmkit_segment_create(name, 100000, NULL, &segment), 0);
	assert_int_equal(shmkit_segment_get_info(segment, &info), -EINVAL);
	assert_int_equal(shmkit_segment_get_info(segment, NULL), -EINVAL);
	assert_int_equal(shmkit_segment_get_info(NULL, &info), -EINVAL);
	assert_int_equal(shmkit_segment_get_info(segment, &large.info), 0);
	assert_int_equal(large.info.struct_size, sizeof(large));
	assert_int_equal(large.behind[0], 0);
	assert_int_equal(large.info.size, 102400);   /* whole pages of 4096 */
	assert_int_equal(large.info.recoveries, 0);
	assert_memory_equal(shmkit_segment_base(segment), "SHMKIT\r\n", 8);
	assert_null(shmkit_segment_base(NULL));
	assert_true(shmkit_segment_fd(segment) >= 0);
	assert_int_equal(shmkit_segment_fd(NULL), -EINVAL);
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_int_equal(shmkit_segment_check(NULL), -EINVAL);
	shmkit_segment_close(segment);
}

static void test_read_only_every_writing_call_is_refused(void **state)
{
	const char *name = test_name("readonly");
	struct shmkit_segment *segment, *reader;
	struct shmkit_queue *queue;
	struct shmkit_recovery report = { .struct_size = sizeof(report) };

	(void)state;
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	assert_int_equal(shmkit_segment_grow(reader, MIB), -EROFS);
	assert_int_equal(shmkit_segment_remove(reader, "q"), -EROFS);
	assert_int_equal(shmkit_segment_set_label(reader, "me"), -EROFS);
	assert_int_equal(shmkit_segment_heartbeat(reader), -EROFS);
	assert_int_equal(shmkit_segment_member_id(reader), -EROFS);
	assert_int_equal(shmkit_segment_recover(reader, &report), -EROFS);
	expect_words("shmkit_segment_recover", "read-only");
	assert_int_equal(shmkit_queue_create(reader, "q", 8, 4, NULL, &queue), -EROFS);
	assert_int_equal(shmkit_queue_open_or_create(reader, "q", 8, 4, NULL, &queue), -EROFS);
	assert_int_equal(shmkit_segment_check(reader), 0);
	assert_int_equal(shmkit_segment_interrupt(reader), 0);
	assert_int_equal(shmkit_segment_interrupt(NULL), -EINVAL);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY | SHMKIT_SEGMENT_PERSIST, &reader),
			 -EINVAL);
	shmkit_segment_close(reader);
	shmkit_segment_close(segment);
}

/* ---- waiting ---- */

struct helper {
	struct shmkit_segment *segment;
	const char *name;
	pthread_t main;
	int what;
};

static void on_signal(int number)
{
	(void)number;
}

static void *help_later(void *argument)
{
	struct helper *helper = argument;
	struct shmkit_queue *queue;

	test_sleep_ms(30);
	if (helper->what == 0)
		(void)shmkit_segment_interrupt(helper->segment);
	else if (helper->what == 1)
		pthread_kill(helper->main, SIGUSR1);
	else if (shmkit_queue_create(helper->segment, helper->name, 8, 4, NULL, &queue) == 0)
		shmkit_queue_close(queue);
	return NULL;
}

static int wait_with(struct shmkit_segment *segment, int what, int64_t timeout_ns)
{
	struct helper helper = { segment, "wanted", pthread_self(), what };
	pthread_t thread;
	int result;

	assert_int_equal(pthread_create(&thread, NULL, help_later, &helper), 0);
	result = shmkit_segment_wait_for(segment, "wanted", timeout_ns);
	pthread_join(thread, NULL);
	return result;
}

static void test_wait_for_ends_as_it_should(void **state)
{
	const char *name = test_name("waitfor");
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct shmkit_segment *segment;
	uint64_t start = test_now_ns();

	(void)state;
	sigaction(SIGUSR1, &action, NULL);
	assert_int_equal(shmkit_segment_create(name, MIB, NULL, &segment), 0);
	assert_int_equal(shmkit_segment_wait_for(segment, "wanted", 0), -ETIMEDOUT);
	assert_int_equal(shmkit_segment_wait_for(segment, "wanted", 20000000), -ETIMEDOUT);
	assert_true(test_now_ns() - start >= 20000000);
	expect_words("wanted", name);
	assert_int_equal(shmkit_segment_wait_for(segment, "", 0), -EINVAL);
	assert_int_equal(shmkit_segment_wait_for(NULL, "a", 0), -EINVAL);
	assert_int_equal(wait_with(segment, 0, -1), -ECANCELED);
	assert_int_equal(wait_with(segment, 1, -1), -EINTR);
	assert_int_equal(wait_with(segment, 2, -1), 0);
	assert_int_equal(shmkit_segment_wait_for(segment, "wanted", 0), 0);
	shmkit_segment_close(segment);
}

static void *create_later(void *argument)
{
	struct helper *helper = argument;

	test_sleep_ms(30);
	return shmkit_segment_create(helper->name, MIB, NULL, &helper->segment) ? argument : NULL;
}

static void test_open_wait_until_it_exists(void **state)
{
	struct helper helper = { .name = test_name("openwait") };
	struct shmkit_segment *segment;
	uint64_t start = test_now_ns();
	pthread_t thread;
	void *failed;

	(void)state;
	assert_int_equal(shmkit_segment_open_wait(helper.name, 0, 0, &segment), -ETIMEDOUT);
	assert_int_equal(shmkit_segment_open_wait(helper.name, 0, 20000000, &segment), -ETIMEDOUT);
	assert_true(test_now_ns() - start >= 20000000);
	expect_words(helper.name, "within the time");
	assert_int_equal(shmkit_segment_open_wait(helper.name, 1u << 28, 0, &segment), -EINVAL);
	assert_int_equal(pthread_create(&thread, NULL, create_later, &helper), 0);
	assert_int_equal(shmkit_segment_open_wait(helper.name, 0, -1, &segment), 0);
	pthread_join(thread, &failed);
	assert_null(failed);
	shmkit_segment_close(segment);
	shmkit_segment_close(helper.segment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_bad_names_are_refused),
		cmocka_unit_test(test_create_slash_in_front_is_the_same_name),
		cmocka_unit_test(test_create_bad_options_are_refused),
		cmocka_unit_test(test_footprint_of_each_table_is_its_overhead),
		cmocka_unit_test(test_create_mode_and_group_whatever_the_umask),
		cmocka_unit_test(test_close_last_handle_unlinks_unless_persistent),
		cmocka_unit_test(test_unlink_attached_go_on_and_do_not_unlink_a_successor),
		cmocka_unit_test(test_close_structures_after_segment_in_any_order),
		cmocka_unit_test(test_open_foreign_things_are_refused_and_left_alone),
		cmocka_unit_test(test_replace_dead_damaged_only_when_nobody_has_it),
		cmocka_unit_test(test_create_anonymous_is_sealed_and_opened_by_descriptor),
		cmocka_unit_test(test_open_fd_what_is_no_segment_is_refused),
		cmocka_unit_test(test_open_fd_of_a_named_segment_knows_its_name),
		cmocka_unit_test(test_grow_peers_see_it_without_memory_being_used),
		cmocka_unit_test(test_create_populate_has_all_its_memory),
		cmocka_unit_test(test_info_and_base_and_fd_describe_the_segment),
		cmocka_unit_test(test_read_only_every_writing_call_is_refused),
		cmocka_unit_test(test_wait_for_ends_as_it_should),
		cmocka_unit_test(test_open_wait_until_it_exists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
