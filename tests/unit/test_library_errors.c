/*
 * Goal: each failure comes with its code and with one sentence that says what was asked, what was
 * found and, where somebody can do something, what. The table of codes is closed, and each has a
 * text.
 *
 * Method: every sentence that can be provoked in one process is provoked, printed, to be read by
 * people, and searched for the words it owes: the name that was asked for, the number that was
 * given, the limit. A sentence that breaks a general rule (empty, cut off, "(null)", a raw errno
 * number) fails too. All are tried before a test fails, so that one run shows all that is poor.
 */
#include "layout.h"
#include "support.h"

#include <shmkit.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static char name[64], path[80];
static struct shmkit_segment *segment;
static int failures;

static int set_up(void **state)
{
	(void)state;
	failures = 0;
	snprintf(name, sizeof(name), "%s", test_name("errors"));
	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	return shmkit_segment_create(name, MIB, NULL, &segment);
}

static int tear_down(void **state)
{
	(void)state;
	shmkit_segment_close(segment);
	return test_shm_leftovers(name);
}

static void complain(const char *call, const char *why, const char *detail)
{
	print_error("%s: %s %s\n    \"%s\"\n", call, why, detail, shmkit_last_error());
	failures++;
}

/* The rules for every sentence. */
static void expect_sentence(const char *call, const char *text)
{
	static const char *const never[] = { "(null)", "errno", "Success", "  ", "\n", "%", " 1 elements", " 1 members",
					     "0-byte", "Unknown error" };
	size_t length = strlen(text);

	if (length < 12)
		complain(call, "is no sentence", "");
	if (length >= 511)
		complain(call, "is cut off", "");
	if (length && (text[length - 1] == '.' || isspace((unsigned char)text[length - 1])))
		complain(call, "does not end as the others do", "");
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (strstr(text, never[i]))
			complain(call, "has in it", never[i]);
}

/* The result of a call against the code, and the words (NULL at the end) its sentence must have. */
static void expect(const char *call, int64_t result, int64_t code, ...)
{
	va_list words;
	const char *word;

	if (result != code) {
		char text[80];

		snprintf(text, sizeof(text), "returned %lld instead of %lld", (long long)result,
			 (long long)code);
		complain(call, text, "");
		return;
	}
	print_message("# %s: %s\n", call, shmkit_last_error());
	expect_sentence(call, shmkit_last_error());
	va_start(words, code);
	while ((word = va_arg(words, const char *)))
		if (!strstr(shmkit_last_error(), word))
			complain(call, "does not say", word);
	va_end(words);
}

static struct shmkit_segment_options options_with(uint32_t flags)
{
	return (struct shmkit_segment_options){ .struct_size = sizeof(struct shmkit_segment_options),
						.flags = flags };
}

/* ---- codes ---- */

static void test_strerror_each_code_of_the_table_has_its_own_text(void **state)
{
	static const int codes[] = {
		EINVAL, E2BIG, ENAMETOOLONG, ENOENT, EEXIST, EACCES, EPERM, EPROTO, EPROTONOSUPPORT,
		EPROTOTYPE, EROFS, EUSERS, ENOSPC, ENOMEM, EFBIG, EMFILE, ENFILE, EAGAIN, EBUSY,
		ETIMEDOUT, EINTR, ECANCELED, ESHUTDOWN, ESTALE, EBADMSG, ERANGE, ECHILD, ENOSYS, EIO,
	};
	size_t count = sizeof(codes) / sizeof(codes[0]);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		print_message("# -%d: %s\n", codes[i], shmkit_strerror(-codes[i]));
		assert_true(strlen(shmkit_strerror(-codes[i])) > 8);
		assert_string_not_equal(shmkit_strerror(-codes[i]), shmkit_strerror(-4000));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(shmkit_strerror(-codes[i]), shmkit_strerror(-codes[j]));
	}
	assert_string_equal(shmkit_strerror(0), shmkit_strerror(1));
	assert_string_equal(shmkit_strerror(INT32_MIN), shmkit_strerror(-4000));
	/* a text stays where it is: a pointer may be kept */
	assert_ptr_equal(shmkit_strerror(-ENOENT), shmkit_strerror(-ENOENT));
}

static void *look_at_last_error(void *argument)
{
	*(const char **)argument = shmkit_last_error();
	return NULL;
}

static void test_last_error_is_each_threads_own_and_stays_after_success(void **state)
{
	struct shmkit_segment *other;
	const char *seen = NULL;
	char before[512];
	pthread_t thread;

	(void)state;
	assert_int_equal(shmkit_segment_open("t-no-such-segment", 0, &other), -ENOENT);
	strlcpy(before, shmkit_last_error(), sizeof(before));
	assert_non_null(strstr(before, "t-no-such-segment"));
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_string_equal(shmkit_last_error(), before);
	assert_int_equal(pthread_create(&thread, NULL, look_at_last_error, &seen), 0);
	pthread_join(thread, NULL);
	assert_non_null(seen);
	assert_null(strstr(seen, "t-no-such-segment"));
}

/* ---- segments ---- */

static void test_segment_arguments_each_sentence(void **state)
{
	struct shmkit_segment_options options;
	struct shmkit_segment_info info = { .struct_size = 8 };
	struct shmkit_segment *other = NULL;
	unsigned char larger[sizeof(options) + 16] = { [0] = sizeof(larger), [sizeof(larger) - 1] = 1 };
	char longest[700];
	uint64_t size;

	(void)state;
	expect("create name NULL", shmkit_segment_create(NULL, MIB, NULL, &other), -EINVAL, "NULL", "name", NULL);
	expect("create \"\"", shmkit_segment_create("", MIB, NULL, &other), -EINVAL, "''", "empty", NULL);
	expect("create a/b", shmkit_segment_create("a/b", MIB, NULL, &other), -EINVAL, "'a/b'", "slash", NULL);
	expect("create ..", shmkit_segment_create("..", MIB, NULL, &other), -EINVAL, "'..'", NULL);
	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	expect("create long", shmkit_segment_create(longest, MIB, NULL, &other), -ENAMETOOLONG, "699", "255",
	       NULL);
	longest[300] = '/';
	expect("create long with slash", shmkit_segment_create(longest, MIB, NULL, &other), -EINVAL, "slash",
	       NULL);
	expect("create ret NULL", shmkit_segment_create(name, MIB, NULL, NULL), -EINVAL,
	       "shmkit_segment_create", "ret_segment", NULL);
	expect("open ret NULL", shmkit_segment_open(name, 0, NULL), -EINVAL, "shmkit_segment_open",
	       "ret_segment", NULL);
	expect("open_wait ret NULL", shmkit_segment_open_wait(name, 0, 0, NULL), -EINVAL, "ret_segment", NULL);
	expect("open_or_create ret NULL", shmkit_segment_open_or_create(name, MIB, NULL, NULL), -EINVAL,
	       "shmkit_segment_open_or_create", "ret_segment", NULL);
	expect("open flags", shmkit_segment_open(name, 1u << 20, &other), -EINVAL, "flags", "0x100000", NULL);
	expect("open PERSIST", shmkit_segment_open(name, SHMKIT_SEGMENT_PERSIST, &other), -EINVAL, "flags", "0x1",
	       NULL);
	options = options_with(1u << 20);
	expect("create flags", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "flags", "0x100000",
	       NULL);
	options = options_with(0);
	options.struct_size = 8;
	expect("create struct_size", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "struct_size",
	       "is 8", "at least 40", NULL);
	expect("create larger", shmkit_segment_create(name, MIB, (void *)larger, &other), -E2BIG, "56 bytes", "byte 55",
	       NULL);
	options = options_with(0);
	options.mode = 04755;
	expect("create mode", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "mode", "04755", "0777",
	       NULL);
	options = options_with(0);
	options.table = 7;
	expect("create table", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "table is 7", "CUSTOM",
	       NULL);
	options.table = SHMKIT_TABLE_SMALL;
	options.max_entries = 5;
	expect("create max_entries", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "max_entries",
	       "SHMKIT_TABLE_CUSTOM", NULL);
	options.table = SHMKIT_TABLE_CUSTOM;
	options.max_entries = 5000;
	options.name_size = 16;
	expect("create custom entries", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "5000",
	       "4096", NULL);
	options.max_entries = 5;
	options.name_size = 1;
	expect("create custom name_size", shmkit_segment_create(name, MIB, &options, &other), -EINVAL,
	       "name_size is 1", "256", NULL);
	options = options_with(0);
	options.max_members = 2000;
	expect("create max_members", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "2000", "1024",
	       NULL);
	options = options_with(0);
	options.max_size = 4096;
	expect("create max_size", shmkit_segment_create(name, MIB, &options, &other), -EINVAL, "max_size 4096",
	       "1048576", NULL);
	expect("create tiny", shmkit_segment_create(name, 100, NULL, &other), -EINVAL, name, "100", "16640",
	       "footprint", NULL);
	expect("create huge", shmkit_segment_create(name, UINT64_MAX, NULL, &other), -EINVAL,
	       "18446744073709551615", NULL);
	expect("create too large", shmkit_segment_create("t-errors-large", UINT64_C(1) << 50, NULL, &other),
	       -ENOSPC, "t-errors-large", "1125899906842624", "/dev/shm", NULL);
	options = options_with(0);
	options.max_size = UINT64_C(1) << 55;
	expect("create cannot map", shmkit_segment_create("t-errors-map", MIB, &options, &other), -ENOMEM,
	       "t-errors-map", "36028797018963968", "mapped", NULL);
	expect("create exists", shmkit_segment_create(name, MIB, NULL, &other), -EEXIST, name, "exists", "open it",
	       NULL);
	options = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	expect("create replace", shmkit_segment_create(name, MIB, &options, &other), -EEXIST, name, "in use", NULL);
	expect("footprint NULL", shmkit_segment_footprint(NULL, NULL), -EINVAL, "shmkit_segment_footprint",
	       "ret_size", NULL);
	options = options_with(1u << 20);
	expect("footprint flags", shmkit_segment_footprint(&options, &size), -EINVAL, "0x100000", NULL);
	expect("anonymous label NULL", shmkit_segment_create_anonymous(NULL, MIB, NULL, &other), -EINVAL, "label",
	       NULL);
	expect("anonymous label long", shmkit_segment_create_anonymous(longest, MIB, NULL, &other), -ENAMETOOLONG,
	       "699", "63", NULL);
	expect("anonymous tiny", shmkit_segment_create_anonymous("payload", 100, NULL, &other), -EINVAL, "payload",
	       "100", "16640", NULL);
	expect("open_fd closed", shmkit_segment_open_fd(987, 0, &other), -EINVAL, "987", "open", NULL);
	expect("open_fd directory", shmkit_segment_open_fd(open("/", O_RDONLY | O_CLOEXEC), 0, &other), -EPROTO,
	       "descriptor", "not a file", NULL);
	expect("open missing", shmkit_segment_open("t-no-such-segment", 0, &other), -ENOENT, "t-no-such-segment",
	       NULL);
	expect("open_wait missing", shmkit_segment_open_wait("t-no-such-segment", 0, 0, &other), -ETIMEDOUT,
	       "t-no-such-segment", "time", NULL);
	expect("unlink missing", shmkit_segment_unlink("t-no-such-segment"), -ENOENT, "t-no-such-segment", NULL);
	expect("get_info NULL", shmkit_segment_get_info(NULL, &info), -EINVAL, "shmkit_segment_get_info", NULL);
	expect("get_info small", shmkit_segment_get_info(segment, &info), -EINVAL, "struct_size is 8", NULL);
	expect("get_info ret NULL", shmkit_segment_get_info(segment, NULL), -EINVAL, "NULL", NULL);
	expect("fd NULL", shmkit_segment_fd(NULL), -EINVAL, "shmkit_segment_fd", NULL);
	expect("grow NULL", shmkit_segment_grow(NULL, MIB), -EINVAL, "shmkit_segment_grow", NULL);
	expect("grow too far", shmkit_segment_grow(segment, 2 * MIB), -ENOSPC, name, "1048576", "2097152", NULL);
	expect("grow smaller", shmkit_segment_grow(segment, 4096), -EINVAL, name, "4096", "shrink", NULL);
	expect("interrupt NULL", shmkit_segment_interrupt(NULL), -EINVAL, "shmkit_segment_interrupt", NULL);
	expect("check NULL", shmkit_segment_check(NULL), -EINVAL, "shmkit_segment_check", NULL);
	expect("recover NULL", shmkit_segment_recover(NULL, NULL), -EINVAL, "shmkit_segment_recover", NULL);
	assert_null(other);
	assert_int_equal(failures, 0);
}

static void poke(uint64_t at, const void *bytes, size_t size)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, size, (off_t)at), size);
	close(fd);
}

static void test_segment_that_cannot_be_opened_each_sentence(void **state)
{
	static const struct {
		const char *field, *word;
		uint32_t at, size;
		uint64_t value;
		int code;
	} spoils[] = {
		{ "byte order", "byte order", offsetof(struct shk_header_shm, byte_order), 4, 0x04030201, -EPROTO },
		{ "version 7", "7", offsetof(struct shk_header_shm, format_version), 4, 7, -EPROTONOSUPPORT },
		{ "incompat bit", "0x40", offsetof(struct shk_header_shm, features_incompat), 8, 0x40,
		  -EPROTONOSUPPORT },
		{ "ro_compat bit", "SHMKIT_READ_ONLY", offsetof(struct shk_header_shm, features_ro_compat), 8, 0x80,
		  -EROFS },
		{ "header size", "header size of 999", offsetof(struct shk_header_shm, header_size), 4, 999,
		  -EPROTO },
		{ "max size", "size", offsetof(struct shk_header_shm, max_size), 8, 12345, -EPROTO },
		{ "table offset", "table offset of 8", offsetof(struct shk_header_shm, table_offset), 8, 8,
		  -EPROTO },
		{ "entries", "entries of 99999", offsetof(struct shk_header_shm, max_entries), 4, 99999, -EPROTO },
		{ "name size", "name size of 0", offsetof(struct shk_header_shm, name_size), 4, 0, -EPROTO },
		{ "members", "members of 0", offsetof(struct shk_header_shm, max_members), 4, 0, -EPROTO },
		{ "size", "a size of 1", offsetof(struct shk_header_shm, size), 8, 1, -EPROTO },
	};
	struct shmkit_segment_options options = options_with(SHMKIT_SEGMENT_REPLACE_DEAD);
	struct shmkit_segment *other;
	struct rlimit limit, none;
	uint8_t good[256];
	int fd;

	(void)state;
	memcpy(good, shmkit_segment_base(segment), sizeof(good));
	for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
		poke(spoils[i].at, &spoils[i].value, spoils[i].size);
		expect(spoils[i].field, shmkit_segment_open(name, 0, &other), spoils[i].code, name, spoils[i].word,
		       NULL);
		if (spoils[i].code == -EPROTO) {
			expect(spoils[i].field, shmkit_segment_check(segment), -EBADMSG, name, NULL);
			expect("replace damaged", shmkit_segment_create(name, MIB, &options, &other), -EBUSY, name,
			       "damaged", "alive", NULL);
		}
		poke(0, good, sizeof(good));
	}
	poke(0, "SOMEBODY", 8);
	expect("not the mark", shmkit_segment_open(name, 0, &other), -EPROTO, name, "not a shmkit segment", NULL);
	expect("unlink foreign", shmkit_segment_unlink(name), -EPROTO, name, "left alone", NULL);
	expect("replace foreign", shmkit_segment_create(name, MIB, &options, &other), -EPROTO, name, "left alone",
	       NULL);
	poke(0, good, sizeof(good));

	/* a limit of the process */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = dup(0);
	close(fd);
	none = (struct rlimit){ (rlim_t)fd, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	expect("no descriptor to open", shmkit_segment_open(name, 0, &other), -EMFILE, name, "open files", NULL);
	expect("no descriptor to create", shmkit_segment_create("t-errors-none", MIB, NULL, &other), -EMFILE,
	       "t-errors-none", "open files", NULL);
	none.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	expect("no descriptor to join", shmkit_segment_open(name, 0, &other), -EMFILE, name, "joined", NULL);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

	/* somebody who stands still while he closes it: the lock of the life, held by this test */
	fd = open(path, O_RDWR | O_CLOEXEC);
	{
		struct flock lock = { .l_type = F_WRLCK, .l_start = (off_t)SHK_LOCK_LIFE, .l_len = 1 };

		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	}
	expect("open while it is closed", shmkit_segment_open(name, 0, &other), -EBUSY, name, "second", NULL);
	expect("unlink while it is closed", shmkit_segment_unlink(name), -EBUSY, name, "second", NULL);
	close(fd);
	assert_int_equal(failures, 0);
}

static void test_members_each_sentence(void **state)
{
	struct shmkit_segment_options options = options_with(0);
	struct shmkit_member_info member = { .struct_size = 12 };
	struct shmkit_recovery report = { .struct_size = 5 };
	struct shmkit_segment *full, *other, *reader;
	char second[80];
	uint32_t cursor = 0;

	(void)state;
	snprintf(second, sizeof(second), "%s-full", name);
	options.max_members = 1;
	assert_int_equal(shmkit_segment_create(second, MIB, &options, &full), 0);
	expect("open full", shmkit_segment_open(second, 0, &other), -EUSERS, second, "1 member", "max_members", NULL);
	shmkit_segment_close(full);
	expect("next_member cursor", shmkit_segment_next_member(segment, NULL, &member), -EINVAL, "cursor is NULL",
	       NULL);
	expect("next_member small", shmkit_segment_next_member(segment, &cursor, &member), -EINVAL,
	       "struct_size is 12", NULL);
	expect("set_label NULL", shmkit_segment_set_label(segment, NULL), -EINVAL, "label", NULL);
	expect("set_label long", shmkit_segment_set_label(segment, "0123456789012345678901234567890123456789"),
	       -ENAMETOOLONG, "0123456789", "40", "31", NULL);
	expect("member_id NULL", shmkit_segment_member_id(NULL), -EINVAL, "shmkit_segment_member_id", NULL);
	expect("heartbeat NULL", shmkit_segment_heartbeat(NULL), -EINVAL, "shmkit_segment_heartbeat", NULL);
	expect("recover small", shmkit_segment_recover(segment, &report), -EINVAL, "struct_size is 5", NULL);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	expect("heartbeat read-only", shmkit_segment_heartbeat(reader), -EROFS, "shmkit_segment_heartbeat", name,
	       "read-only", "SHMKIT_READ_ONLY", NULL);
	expect("member_id read-only", shmkit_segment_member_id(reader), -EROFS, "shmkit_segment_member_id", name,
	       NULL);
	expect("grow read-only", shmkit_segment_grow(reader, MIB), -EROFS, "shmkit_segment_grow", name, NULL);
	expect("remove read-only", shmkit_segment_remove(reader, "q"), -EROFS, "shmkit_segment_remove", name, NULL);
	shmkit_segment_close(reader);
	assert_int_equal(failures, 0);
}

/* ---- names and structures ---- */

static void test_names_each_sentence(void **state)
{
	struct shmkit_segment_options options = options_with(0);
	struct shmkit_entry_info info = { .struct_size = 100 };
	struct shmkit_segment *small;
	struct shmkit_atomic_bool *flag;
	struct shmkit_queue *queue;
	char second[80], longest[600], numbered[16];
	uint32_t cursor = 0;
	uint64_t size;

	(void)state;
	memset(longest, 'm', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	expect("find missing", shmkit_segment_find(segment, "score", NULL), -ENOENT, "'score'", name, NULL);
	expect("find empty", shmkit_segment_find(segment, "", NULL), -EINVAL, "name", "31", NULL);
	expect("find long", shmkit_segment_find(segment, longest, NULL), -ENAMETOOLONG, "599", "31", name, NULL);
	expect("find NULL", shmkit_segment_find(NULL, "score", NULL), -EINVAL, "shmkit_segment_find", NULL);
	expect("next_entry small", shmkit_segment_next_entry(segment, &cursor, &info), -EINVAL, "struct_size is 100",
	       NULL);
	expect("next_entry cursor", shmkit_segment_next_entry(segment, NULL, &info), -EINVAL, "cursor is NULL",
	       NULL);
	expect("remove missing", shmkit_segment_remove(segment, "score"), -ENOENT, "'score'", name, NULL);
	expect("wait_for 0", shmkit_segment_wait_for(segment, "score", 0), -ETIMEDOUT, NULL);
	expect("wait_for 1 ms", shmkit_segment_wait_for(segment, "score", 1000000), -ETIMEDOUT, "'score'", name,
	       NULL);
	snprintf(second, sizeof(second), "%s-small", name);
	options.table = SHMKIT_TABLE_SMALL;
	options.max_size = MIB;
	assert_int_equal(shmkit_segment_create(second, 8192, &options, &small), 0);
	assert_int_equal(shmkit_object_footprint(SHMKIT_KIND_QUEUE, 64, 1024, NULL, &size), 0);
	snprintf(numbered, sizeof(numbered), "%u", (unsigned)size);
	expect("queue too large", shmkit_queue_create(small, "events", 64, 1024, NULL, &queue), -ENOSPC, "'events'",
	       second, numbered, "8192", "4096", "shmkit_segment_grow", NULL);
	for (int i = 0; i < 16; i++) {
		snprintf(numbered, sizeof(numbered), "flag %d", i);
		assert_int_equal(shmkit_atomic_bool_create(small, numbered, 0, &flag), 0);
		shmkit_atomic_bool_close(flag);
	}
	expect("table full", shmkit_atomic_bool_create(small, "one more", 0, &flag), -ENOSPC, second, "16", "table",
	       "remove", NULL);
	shmkit_segment_close(small);
	assert_int_equal(failures, 0);
}

static void test_structures_each_sentence_of_create_and_open(void **state)
{
	struct shmkit_object_options options = { .struct_size = sizeof(options) };
	struct shmkit_segment *reader;
	struct shmkit_queue *queue, *again;
	struct shmkit_atomic_u64 *atomic;
	struct shmkit_array *array;
	struct shmkit_pool *pool;
	struct shmkit_ring *ring;
	uint64_t size;

	(void)state;
	expect("create segment NULL", shmkit_queue_create(NULL, "q", 8, 4, NULL, &queue), -EINVAL, "segment is NULL",
	       NULL);
	expect("create ret NULL", shmkit_queue_create(segment, "q", 8, 4, NULL, NULL), -EINVAL, "NULL", NULL);
	expect("create name NULL", shmkit_queue_create(segment, NULL, 8, 4, NULL, &queue), -EINVAL, "name", "31",
	       NULL);
	expect("create element 0", shmkit_queue_create(segment, "q", 0, 4, NULL, &queue), -EINVAL, "element size of 0",
	       "1073741824", NULL);
	expect("create capacity 0", shmkit_queue_create(segment, "q", 8, 0, NULL, &queue), -EINVAL, "queue of 0",
	       "16777216", NULL);
	expect("array capacity 0", shmkit_array_create(segment, "a", 8, 0, NULL, &array), -EINVAL, "array of 0", NULL);
	expect("ring capacity 0", shmkit_ring_create(segment, "r", 8, 0, NULL, &ring), -EINVAL, "ring of 0", NULL);
	expect("pool capacity 0", shmkit_pool_create(segment, "p", 8, 0, NULL, &pool), -EINVAL, "pool of 0", NULL);
	expect("array beyond all", shmkit_array_create(segment, "a", 1u << 20, UINT64_C(1) << 40, NULL, &array),
	       -ENOSPC, "array of 1099511627776", "1048576", NULL);
	options.flags = 0x10;
	expect("create flags", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL, "0x10", NULL);
	options.flags = 0;
	options.alignment = 3;
	expect("create alignment", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL,
	       "alignment of 3", "4096", NULL);
	options.alignment = 64;
	expect("array alignment", shmkit_array_create(segment, "a", 24, 4, &options, &array), -EINVAL, "24-byte",
	       "64", NULL);
	options.alignment = 0;
	options.reserved = 5;
	expect("create reserved", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL, "reserved", "0",
	       NULL);
	options.reserved = 0;
	options.struct_size = 9;
	expect("create struct_size", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL,
	       "struct_size is 9", NULL);
	options.struct_size = sizeof(options);
	options.schema = "x:f32 y:f33";
	expect("schema type", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL, "'f33'", "'y:f33'",
	       "f32", NULL);
	options.schema = "x:f32 y";
	expect("schema field", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL, "'y'", "name:type",
	       NULL);
	options.schema = "x:f32[0]";
	expect("schema count", shmkit_queue_create(segment, "q", 8, 4, &options, &queue), -EINVAL, "'x:f32[0]'",
	       "count", NULL);
	options.schema = "x:f32 y:f32";
	expect("schema size", shmkit_queue_create(segment, "q", 12, 4, &options, &queue), -EINVAL, "8 bytes", "12",
	       NULL);
	options.schema = " ";
	expect("schema empty", shmkit_queue_create(segment, "q", 12, 4, &options, &queue), -EINVAL, "no field", NULL);
	expect("footprint kind", shmkit_object_footprint(77, 8, 4, NULL, &size), -EINVAL, "kind 77", NULL);
	expect("footprint NULL", shmkit_object_footprint(SHMKIT_KIND_QUEUE, 8, 4, NULL, NULL), -EINVAL, "ret_size",
	       NULL);
	expect("footprint atomic", shmkit_object_footprint(SHMKIT_KIND_ATOMIC_U64, 4, 1, NULL, &size), -EINVAL, "u64",
	       "8 bytes", NULL);

	expect("open missing", shmkit_queue_open(segment, "q", 8, &queue), -ENOENT, "'q'", name,
	       "shmkit_segment_wait_for", NULL);
	options.schema = "x:f32 y:f32";
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 5, &options, &queue), 0);
	expect("create taken", shmkit_queue_create(segment, "q", 8, 5, NULL, &again), -EEXIST, "'q'", name, NULL);
	expect("open another size", shmkit_queue_open(segment, "q", 48, &again), -EPROTOTYPE, name, "'q'", "a queue",
	       "8 bytes", "48-byte", NULL);
	expect("open another kind", shmkit_pool_open(segment, "q", 8, &pool), -EPROTOTYPE, "a queue", "a pool", NULL);
	/* whatever element size is there: none was asked for, and none is to be named */
	expect("open another kind of any size", shmkit_array_open(segment, "q", 0, &array), -EPROTOTYPE, "a queue",
	       "an array", NULL);
	expect("open as atomic", shmkit_atomic_u64_open(segment, "q", &atomic), -EPROTOTYPE, "a queue",
	       "an atomic u64", NULL);
	expect("another capacity", shmkit_queue_open_or_create(segment, "q", 8, 6, NULL, &again), -EPROTOTYPE,
	       "5 elements", "6 elements", NULL);
	options.schema = "x:u32 y:u32";
	expect("another schema", shmkit_queue_open_or_create(segment, "q", 8, 5, &options, &again), -EPROTOTYPE, "'q'",
	       "schema", "x:f32 y:f32", NULL);
	assert_int_equal(shmkit_atomic_u64_create(segment, "counter", 1, &atomic), 0);
	shmkit_atomic_u64_close(atomic);
	expect("an atomic as queue", shmkit_queue_open(segment, "counter", 8, &again), -EPROTOTYPE, "an atomic u64",
	       "a queue", NULL);
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 5, NULL, &ring), 0);
	shmkit_ring_close(ring);
	options.flags = SHMKIT_RING_MULTI_PRODUCER;
	options.schema = NULL;
	expect("another flag", shmkit_ring_open_or_create(segment, "r", 8, 5, &options, &ring), -EPROTOTYPE, "'r'",
	       "0x0", "0x1", NULL);

	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	expect("create read-only", shmkit_queue_create(reader, "q2", 8, 4, NULL, &again), -EROFS, "create", "'q2'",
	       name, "read-only", NULL);
	expect("open_or_create read-only", shmkit_queue_open_or_create(reader, "q2", 8, 4, NULL, &again), -EROFS,
	       "create", "'q2'", name, "read-only", NULL);
	assert_int_equal(shmkit_queue_open(reader, "q", 8, &again), 0);
	size = 1;
	expect("enqueue read-only", shmkit_queue_enqueue(again, &size), -EROFS, "'q'", name, "SHMKIT_READ_ONLY", NULL);
	shmkit_queue_close(again);
	shmkit_segment_close(reader);

	assert_int_equal(shmkit_segment_remove(segment, "q"), 0);
	expect("enqueue stale", shmkit_queue_enqueue(queue, &size), -ESTALE, "removed", NULL);
	shmkit_queue_close(queue);
	assert_int_equal(failures, 0);
}

static void test_structures_each_sentence_of_use(void **state)
{
	struct shmkit_queue_stats stats = { .struct_size = 3 };
	struct shmkit_entry_info info = { .struct_size = 3 };
	struct shmkit_ring_reader *reader;
	struct shmkit_slot slot, other;
	struct shmkit_atomic_u64 *atomic;
	struct shmkit_queue *queue;
	struct shmkit_array *array;
	struct shmkit_pool *pool;
	struct shmkit_ring *ring;
	uint64_t value = 3, handle;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "q", 8, 2, NULL, &queue), 0);
	assert_int_equal(shmkit_array_create(segment, "a", 8, 10, NULL, &array), 0);
	assert_int_equal(shmkit_pool_create(segment, "p", 8, 1, NULL, &pool), 0);
	assert_int_equal(shmkit_ring_create(segment, "r", 8, 2, NULL, &ring), 0);
	assert_int_equal(shmkit_atomic_u64_create(segment, "u", 1, &atomic), 0);

	expect("enqueue NULL", shmkit_queue_enqueue(NULL, &value), -EINVAL, "queue", "NULL", NULL);
	expect("enqueue element NULL", shmkit_queue_enqueue(queue, NULL), -EINVAL, "NULL", NULL);
	expect("dequeue empty", shmkit_queue_dequeue(queue, &value), -EAGAIN, "empty", NULL);
	expect("dequeue_wait", shmkit_queue_dequeue_wait(queue, &value, 1000000), -ETIMEDOUT, "time", NULL);
	expect("get_info small", shmkit_queue_get_info(queue, &info), -EINVAL, "struct_size is 3", NULL);
	expect("get_info NULL", shmkit_queue_get_info(NULL, &info), -EINVAL, "NULL", NULL);
	expect("get_stats small", shmkit_queue_get_stats(queue, &stats), -EINVAL, "struct_size is 3", NULL);
	assert_int_equal(shmkit_queue_reserve(queue, &slot), 0);
	other = slot;
	other.token ^= 1;                   /* another owner */
	expect("commit another's", shmkit_queue_commit(queue, &other), -EPERM, "member", NULL);
	assert_int_equal(shmkit_queue_commit(queue, &slot), 0);
	expect("commit twice", shmkit_queue_commit(queue, &slot), -ESTALE, "held no longer", NULL);
	assert_int_equal(shmkit_queue_enqueue(queue, &value), 0);
	expect("enqueue full", shmkit_queue_enqueue(queue, &value), -EAGAIN, "full", NULL);
	assert_int_equal(shmkit_queue_shutdown(queue), 0);
	expect("enqueue shut down", shmkit_queue_enqueue(queue, &value), -ESHUTDOWN, "shut down", NULL);
	assert_int_equal(shmkit_queue_dequeue(queue, &value), 0);
	assert_int_equal(shmkit_queue_dequeue(queue, &value), 0);
	expect("dequeue drained", shmkit_queue_dequeue(queue, &value), -ESHUTDOWN, "drained", NULL);

	expect("array read past", shmkit_array_read(array, 8, 3, &value), -ERANGE, "'a'", "3", "8", "10", NULL);
	expect("array write NULL", shmkit_array_write(array, 0, 1, NULL), -EINVAL, "shmkit_array_write", NULL);
	expect("array read NULL", shmkit_array_read(NULL, 0, 1, &value), -EINVAL, "shmkit_array_read", NULL);

	assert_int_equal(shmkit_pool_acquire(pool, &handle), 0);
	expect("pool full", shmkit_pool_acquire(pool, &value), -EAGAIN, "full", NULL);
	expect("pool acquire NULL", shmkit_pool_acquire(pool, NULL), -EINVAL, "shmkit_pool_acquire", NULL);
	assert_int_equal(shmkit_pool_release(pool, handle), 0);
	expect("pool release twice", shmkit_pool_release(pool, handle), -ESTALE, "released", NULL);
	expect("pool at empty", shmkit_pool_at(pool, 0, &value), -ENOENT, "slot", NULL);
	expect("pool at past", shmkit_pool_at(pool, 5, &value), -ERANGE, "'p'", "5", NULL);

	expect("ring pop empty", shmkit_ring_pop(ring, &value), -EAGAIN, "empty", NULL);
	expect("ring push NULL", shmkit_ring_push(NULL, &value), -EINVAL, "ring", "NULL", NULL);
	assert_int_equal(shmkit_ring_push(ring, &value), 0);
	assert_int_equal(shmkit_ring_push(ring, &value), 0);
	expect("ring push full", shmkit_ring_push(ring, &value), -EAGAIN, "full", NULL);
	expect("reader from", shmkit_ring_reader_open(ring, 9, &reader), -EINVAL, "9", "SHMKIT_READ_FROM_OLDEST",
	       NULL);
	assert_int_equal(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_NEWEST, &reader), 0);
	expect("reader wait", shmkit_ring_reader_wait(reader, &value, 1, NULL, 1000000), -ETIMEDOUT, "time", NULL);
	expect("reader seek", shmkit_ring_reader_seek(reader, 1000), -ERANGE, "1000", "2", NULL);
	shmkit_ring_reader_close(reader);
	assert_int_equal(shmkit_ring_shutdown(ring), 0);
	expect("ring push shut down", shmkit_ring_push(ring, &value), -ESHUTDOWN, "shut down", NULL);

	expect("atomic wait", shmkit_atomic_u64_wait(atomic, 1, 0), -ETIMEDOUT, "time", NULL);
	expect("atomic wait NULL", shmkit_atomic_u64_wait(NULL, 1, 0), -EINVAL, "atomic", "NULL", NULL);

	shmkit_atomic_u64_close(atomic);
	shmkit_ring_close(ring);
	shmkit_pool_close(pool);
	shmkit_array_close(array);
	shmkit_queue_close(queue);
	assert_int_equal(failures, 0);
}

/* ---- damage ---- */

static void *second_segment(void *argument)
{
	(void)argument;
	test_sleep_ms(40);
	(void)shmkit_segment_interrupt(segment);
	return NULL;
}

static void test_damaged_table_each_sentence(void **state)
{
	struct shk_header_shm *header = (void *)(uintptr_t)shmkit_segment_base(segment);
	struct shk_entry_shm *entries[2], good;
	struct shmkit_queue *queues[2];
	uint64_t lock = header->table_lock;
	pthread_t thread;

	(void)state;
	assert_int_equal(shmkit_queue_create(segment, "first", 8, 4, NULL, &queues[0]), 0);
	assert_int_equal(shmkit_queue_create(segment, "second", 8, 4, NULL, &queues[1]), 0);
	shmkit_queue_close(queues[0]);
	shmkit_queue_close(queues[1]);
	for (unsigned i = 0; i < 2; i++)
		entries[i] = (void *)((uint8_t *)header + header->table_offset + i * header->entry_stride);
	good = *entries[1];
	entries[1]->offset = entries[0]->offset;
	expect("overlap", shmkit_segment_check(segment), -EBADMSG, name, "0", "1", "overlap", NULL);
	entries[1]->offset = UINT64_C(1) << 40;
	expect("outside", shmkit_segment_check(segment), -EBADMSG, name, "1", "outside", NULL);
	expect("open outside", shmkit_queue_open(segment, "second", 8, &queues[1]), -EBADMSG, name, "'second'",
	       "damaged", NULL);
	*entries[1] = good;
	entries[1]->element_size = 16;
	expect("numbers", shmkit_segment_check(segment), -EBADMSG, name, "'second'", "damaged", NULL);
	*entries[1] = good;
	entries[1]->word = good.word | 7u << 10;
	expect("state", shmkit_segment_check(segment), -EBADMSG, name, "entry 1", "7", NULL);
	*entries[1] = good;
	strcpy((char *)(entries[1] + 1), "first");
	expect("twice", shmkit_segment_check(segment), -EBADMSG, name, "'first'", "twice", NULL);
	strcpy((char *)(entries[1] + 1), "second");
	header->table_lock = 1023;
	expect("lock", shmkit_segment_check(segment), -EBADMSG, name, "1023", NULL);
	/* held by this living process, which never lets it go */
	header->table_lock = lock | UINT64_C(1) << 10 | (unsigned)shmkit_segment_member_id(segment);
	expect("create, table held", shmkit_queue_create(segment, "third", 8, 4, NULL, &queues[0]), -EBUSY,
	       "name table", name, "process", "member 0", NULL);
	header->table_lock = lock;
	assert_int_equal(shmkit_segment_check(segment), 0);
	assert_int_equal(pthread_create(&thread, NULL, second_segment, NULL), 0);
	expect("interrupted", shmkit_segment_wait_for(segment, "never", -1), -ECANCELED,
	       "shmkit_segment_interrupt", NULL);
	pthread_join(thread, NULL);
	assert_int_equal(failures, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_strerror_each_code_of_the_table_has_its_own_text),
		TEST(test_last_error_is_each_threads_own_and_stays_after_success),
		TEST(test_segment_arguments_each_sentence),
		TEST(test_segment_that_cannot_be_opened_each_sentence),
		TEST(test_members_each_sentence),
		TEST(test_names_each_sentence),
		TEST(test_structures_each_sentence_of_create_and_open),
		TEST(test_structures_each_sentence_of_use),
		TEST(test_damaged_table_each_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
