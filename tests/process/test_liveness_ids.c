/*
 * Goal: ids tell members apart also when they are used again; there is room exactly as long as there
 * is; users who may write are peers, those who may only read are nobody: they leave no trace, see
 * what happens, and can neither make the dead look alive nor the living dead.
 *
 * Method: one cell of the matrix in test_liveness.c each.
 */
#include "layout.h"
#include "liveness.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define NOBODY 65534u
#define ANOTHER 65533u

static int set_up(void **state)
{
	(void)state;
	return set_up_segment(0);
}

static int set_up_for_all(void **state)
{
	(void)state;
	return set_up_segment(0666);
}

static int tear_down(void **state)
{
	(void)state;
	return tear_down_segment();
}

static int hold_until_told(void *user)
{
	unsigned id = user ? *(unsigned *)user : 0;
	struct holding held;

	if (id && (setgid(id) || setuid(id)))
		return CANNOT;
	if (open_all(&held) || hold_something(&held)) {
		fprintf(stderr, "the holder: %s\n", shmkit_last_error());
		return 97;
	}
	tell_ready();
	wait_to_go();
	return let_go(&held);
}

static void start_holder(unsigned *user)
{
	int status;

	atomic_store(&cell->ready, 0);
	holder = test_fork(hold_until_told, user);
	assert_true(wait_until_ready(holder, &status));
}

static void kill_holder(void)
{
	kill(holder, SIGKILL);
	assert_int_equal(test_wait_exit(holder, CHILD_MS), -SIGKILL);
	holder = 0;
}

/* ---- ids ---- */

static void test_id_used_again_is_not_its_former_holder(void **state)
{
	struct shmkit_array *array;
	uint64_t used, old_object, element = 9;
	uint32_t owner_alive = 1;
	int32_t owner_pid = 1;
	int old_id;

	(void)state;
	start_holder(NULL);
	old_id = cell->id;
	old_object = cell->object;
	kill_holder();
	/* who joins next gets the lowest id that is free: that one, once it is cleaned up after */
	assert_int_equal(shmkit_segment_recover(ours.segment, NULL), 0);
	assert_non_null(shmkit_pool_view(ours.pool, old_object));   /* its word is still there */
	start_holder(NULL);
	assert_int_equal(cell->id, old_id);
	assert_int_equal(shmkit_pool_owner(ours.pool, old_object, &owner_pid, &owner_alive), 0);
	assert_int_equal(owner_alive, 0);
	assert_int_equal(owner_pid, 0);
	assert_int_equal(shmkit_pool_owner(ours.pool, cell->object, &owner_pid, &owner_alive), 0);
	assert_int_equal(owner_alive, 1);
	assert_int_equal(owner_pid, holder);
	assert_int_equal(shmkit_pool_reclaim(ours.pool), 1);
	assert_null(shmkit_pool_view(ours.pool, old_object));
	assert_non_null(shmkit_pool_view(ours.pool, cell->object));
	assert_int_equal(shmkit_ring_push(ours.ring, &element), -EBUSY);
	/* it has nothing open but what it opened: a name made and removed gives its space back */
	used = segment_info().used;
	assert_int_equal(shmkit_array_create(ours.segment, "a", 8, 100, NULL, &array), 0);
	shmkit_array_close(array);
	assert_int_equal(shmkit_segment_remove(ours.segment, "a"), 0);
	assert_int_equal(shmkit_segment_recover(ours.segment, NULL), 0);
	assert_int_equal(segment_info().used, used);
	atomic_store(&cell->go, 1);
	assert_int_equal(test_wait_exit(holder, CHILD_MS), 0);
	holder = 0;
}

/* What its former holder had open is not open because the id is in use again. */
static void test_id_used_again_has_nothing_open(void **state)
{
	struct shmkit_segment *another;
	uint64_t used;

	(void)state;
	start_holder(NULL);
	kill_holder();
	assert_int_equal(shmkit_segment_recover(ours.segment, NULL), 0);
	assert_int_equal(shmkit_segment_open(name, 0, &another), 0);
	assert_int_equal(shmkit_segment_member_id(another), cell->id);
	used = segment_info().used;
	assert_int_equal(shmkit_segment_remove(ours.segment, "ring"), 0);
	shmkit_ring_close(ours.ring);
	ours.ring = NULL;
	assert_int_equal(shmkit_segment_recover(ours.segment, NULL), 0);
	assert_true(segment_info().used < used);
	shmkit_segment_close(another);
}

static int open_and_wait(void *segment_title)
{
	struct shmkit_segment *segment;
	int result = shmkit_segment_open(segment_title, 0, &segment);

	if (result)
		return -result;
	tell_ready();
	for (;;)
		pause();
}

static void test_full_of_members_room_after_one_death(void **state)
{
	struct shmkit_segment_options options = { .struct_size = sizeof(options), .max_members = 2 };
	struct shmkit_segment *small, *another;
	char title[64];
	int status;

	(void)state;
	snprintf(title, sizeof(title), "%s", test_name("small"));
	assert_int_equal(shmkit_segment_create(title, MIB, &options, &small), 0);
	for (int round = 0; round < 10; round++) {
		atomic_store(&cell->ready, 0);
		holder = test_fork(open_and_wait, title);
		assert_true(wait_until_ready(holder, &status));
		assert_int_equal(shmkit_segment_open(title, 0, &another), -EUSERS);
		/* who only reads needs no id */
		assert_int_equal(shmkit_segment_open(title, SHMKIT_READ_ONLY, &another), 0);
		shmkit_segment_close(another);
		kill_holder();
		assert_int_equal(shmkit_segment_open(title, 0, &another), 0);
		shmkit_segment_close(another);
	}
	shmkit_segment_close(small);
	assert_int_equal(test_shm_leftovers(title), 0);
}

/* ---- a stopped holder of the table's lock ---- */

static int stand_still_with_table_lock(void *unused)
{
	struct shk_header_shm *header;
	uint64_t word, free;
	struct holding held;

	(void)unused;
	if (open_all(&held))
		return 1;
	/* as the library takes it */
	header = (struct shk_header_shm *)(uintptr_t)shmkit_segment_base(held.segment);
	word = (header->table_lock | 4095) + 1;
	free = word;
	word |= UINT64_C(1) << 10 | (unsigned)shmkit_segment_member_id(held.segment);
	__atomic_store_n(&header->table_lock, word, __ATOMIC_SEQ_CST);
	atomic_store(&cell->id, shmkit_segment_member_id(held.segment));
	tell_ready();
	wait_to_go();
	__atomic_store_n(&header->table_lock, free, __ATOMIC_SEQ_CST);
	close_all(&held);
	return 0;
}

static void test_stopped_with_the_table_lock_is_named(void **state)
{
	uint64_t start = test_now_ns(), element = 5;
	struct shmkit_queue *queue;
	char text[32];
	int status;

	(void)state;
	holder = test_fork(stand_still_with_table_lock, NULL);
	assert_true(wait_until_ready(holder, &status));
	kill(holder, SIGSTOP);
	assert_int_equal(shmkit_queue_create(ours.segment, "new", 8, 4, NULL, &queue), -EBUSY);
	assert_true(test_now_ns() - start < UINT64_C(10000000000));
	snprintf(text, sizeof(text), "process %d ", (int)holder);
	assert_non_null(strstr(shmkit_last_error(), text));
	/* what needs no lock goes on */
	assert_int_equal(shmkit_queue_enqueue(ours.queue, &element), 0);
	assert_int_equal(shmkit_segment_recover(ours.segment, NULL), 0);
	assert_int_equal(segment_info().recoveries, 0);
	atomic_store(&cell->go, 1);
	kill(holder, SIGCONT);
	assert_int_equal(test_wait_exit(holder, CHILD_MS), 0);
	holder = 0;
	assert_int_equal(shmkit_queue_create(ours.segment, "new", 8, 4, NULL, &queue), 0);
	shmkit_queue_close(queue);
}

/* ---- users ---- */

/* A member of one user dies; one of another user, who may not even signal it, goes on in time. */
static int take_over_as_another(void *unused)
{
	struct shmkit_recovery report = { .struct_size = sizeof(report) };
	struct holding held;

	(void)unused;
	if (setgid(ANOTHER) || setuid(ANOTHER))
		return CANNOT;
	if (open_all(&held))
		return 1;
	if (shmkit_segment_recover(held.segment, &report) || report.members)
		return 2;                   /* it lives */
	atomic_store(&cell->ready, 2);
	if (shmkit_queue_lease_wait(held.queue, &held.slot, 5000 * MS) || held.slot.deliveries != 2)
		return 3;
	if (shmkit_queue_nack(held.queue, &held.slot) || shmkit_pool_reclaim(held.pool) != 1)
		return 4;
	close_all(&held);
	return 0;
}

static void test_two_users_each_repairs_after_the_other(void **state)
{
	unsigned nobody = NOBODY;
	pid_t pid;

	(void)state;
	if (getuid() != 0) {
		print_message("left out: only root can become somebody else\n");
		skip();
	}
	start_holder(&nobody);
	expect_alive(0);
	pid = test_fork(take_over_as_another, NULL);
	while (atomic_load(&cell->ready) != 2)
		usleep(500);
	kill_holder();
	assert_int_equal(test_wait_exit(pid, CHILD_MS), 0);
	assert_int_equal(segment_info().members, 1);
	assert_int_equal(segment_info().recoveries, 1);
}

/* ---- those who only read ---- */

static void look_at_everything(struct shmkit_segment *reader)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_ring_reader *ring_reader;
	uint64_t element, lost, cursor = 0, object;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_pool *pool;
	uint32_t at = 0;

	assert_int_equal(shmkit_segment_get_info(reader, &info), 0);
	while (shmkit_segment_next_entry(reader, &at, &entry) == 1)
		;
	at = 0;
	while (shmkit_segment_next_member(reader, &at, &member) == 1)
		;
	assert_int_equal(shmkit_segment_check(reader), 0);
	assert_int_equal(shmkit_segment_recover(reader, NULL), -EROFS);
	assert_int_equal(shmkit_queue_open(reader, "queue", 8, &queue), 0);
	assert_int_equal(shmkit_ring_open(reader, "ring", 8, &ring), 0);
	assert_int_equal(shmkit_pool_open(reader, "pool", 8, &pool), 0);
	assert_int_equal(shmkit_queue_dequeue(queue, &element), -EROFS);
	assert_int_equal(shmkit_queue_get_stats(queue, &stats), 0);
	assert_int_equal(shmkit_ring_push(ring, &element), -EROFS);
	assert_int_equal(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_OLDEST, &ring_reader), 0);
	while (shmkit_ring_reader_read(ring_reader, &element, 1, &lost) == 1)
		;
	assert_int_equal(shmkit_ring_reader_wait(ring_reader, &element, 1, &lost, 20 * MS), -ETIMEDOUT);
	while (shmkit_pool_next(pool, &cursor, &object) == 1)
		assert_int_equal(shmkit_pool_read(pool, object, &element), 0);
	shmkit_ring_reader_close(ring_reader);
	shmkit_pool_close(pool);
	shmkit_ring_close(ring);
	shmkit_queue_close(queue);
}

static void test_read_only_leaves_no_trace(void **state)
{
	const void *base = shmkit_segment_base(ours.segment);
	struct shmkit_segment *reader;
	void *before = malloc(MIB);

	(void)state;
	start_holder(NULL);
	assert_non_null(before);
	memcpy(before, base, MIB);
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	look_at_everything(reader);
	assert_memory_equal(base, before, MIB);
	shmkit_segment_close(reader);
	assert_memory_equal(base, before, MIB);
	free(before);
	kill_holder();
}

static void test_read_only_sees_shutdown_and_removal(void **state)
{
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct shmkit_ring_reader *ring_reader;
	struct shmkit_segment *reader;
	uint64_t element = 4, lost;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;

	(void)state;
	assert_int_equal(shmkit_segment_open(name, SHMKIT_READ_ONLY, &reader), 0);
	assert_int_equal(shmkit_queue_open(reader, "queue", 8, &queue), 0);
	assert_int_equal(shmkit_ring_open(reader, "ring", 8, &ring), 0);
	assert_int_equal(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_OLDEST, &ring_reader), 0);
	assert_int_equal(shmkit_ring_push(ours.ring, &element), 0);
	assert_int_equal(shmkit_ring_shutdown(ours.ring), 0);
	assert_int_equal(shmkit_ring_reader_wait(ring_reader, &element, 1, &lost, 5000 * MS), 1);
	assert_int_equal(shmkit_ring_reader_wait(ring_reader, &element, 1, &lost, 5000 * MS), -ESHUTDOWN);
	assert_int_equal(shmkit_segment_remove(ours.segment, "ring"), 0);
	assert_int_equal(shmkit_ring_reader_read(ring_reader, &element, 1, &lost), -ESTALE);
	assert_int_equal(shmkit_segment_find(reader, "ring", NULL), -ENOENT);
	assert_int_equal(shmkit_segment_remove(ours.segment, "queue"), 0);
	assert_int_equal(shmkit_queue_get_info(queue, &entry), -ESTALE);
	shmkit_ring_reader_close(ring_reader);
	shmkit_ring_close(ring);
	shmkit_queue_close(queue);
	shmkit_segment_close(reader);
}

/* Read locks on all bytes there are, from a description that can only read. */
static int lock_bytes(short type, off_t start, off_t length)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length };
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/dev/shm/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/*
 * The byte of a living member cannot be locked; that of one who dies can, by one who tries all the
 * time. It must not look alive for that.
 */
static void test_read_lock_on_a_members_byte_hides_no_death(void **state)
{
	off_t byte;
	int fd = -1;

	(void)state;
	start_holder(NULL);
	byte = (off_t)(SHK_LOCK_MEMBER + (unsigned)cell->id);
	assert_int_equal(lock_bytes(F_RDLCK, byte, 1), -1);
	expect_alive(0);
	kill(holder, SIGKILL);
	while (fd < 0)
		fd = lock_bytes(F_RDLCK, byte, 1);
	assert_int_equal(test_wait_exit(holder, CHILD_MS), -SIGKILL);
	holder = 0;
	expect_dead(1);
	close(fd);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_id_used_again_is_not_its_former_holder),
		TEST(test_id_used_again_has_nothing_open),
		TEST(test_full_of_members_room_after_one_death),
		TEST(test_stopped_with_the_table_lock_is_named),
		cmocka_unit_test_setup_teardown(test_two_users_each_repairs_after_the_other, set_up_for_all,
						tear_down),
		TEST(test_read_only_leaves_no_trace),
		TEST(test_read_only_sees_shutdown_and_removal),
		TEST(test_read_lock_on_a_members_byte_hides_no_death),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
