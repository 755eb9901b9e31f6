/*
 * Goal: on a file system of 1 MiB everything that does not fit is -ENOSPC, and no signal comes,
 * not when it is made and not later when it is used.
 *
 * Method: a child in a mount namespace of its own mounts a tmpfs of 1 MiB over /dev/shm (as root,
 * or as the root of a user namespace), fills it, writes to every byte it was given, frees, and
 * fills it again.
 */
#include "support.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define CANNOT 77

/* Children check by hand: an assertion there would end the wrong process's test. */
#define CHECK(condition)                                                                     \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			fprintf(stderr, "line %d: %s; %s\n", __LINE__, #condition,           \
				shmkit_last_error());                                        \
			return 1;                                                            \
		}                                                                            \
	} while (0)

static int enter_small_shm(void)
{
	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
		perror("unshare");
		return CANNOT;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m") != 0) {
		perror("mount");
		return CANNOT;
	}
	return 0;
}

/* Arrays of 20 kB until there is no more; each byte written. How many. */
static int fill(struct shmkit_segment *segment)
{
	struct shmkit_array *array;
	char name[32];
	int made = 0, result;

	for (;; made++) {
		snprintf(name, sizeof(name), "array %d", made);
		result = shmkit_array_create(segment, name, 1000, 20, NULL, &array);
		if (result != 0)
			break;
		memset(shmkit_array_data(array), made, 20000);
		shmkit_array_close(array);
	}
	return result == -ENOSPC ? made : -1;
}

static int empty(struct shmkit_segment *segment, int made)
{
	char name[32];

	for (int i = 0; i < made; i++) {
		snprintf(name, sizeof(name), "array %d", i);
		CHECK(shmkit_segment_remove(segment, name) == 0);
	}
	return 0;
}

static int use_small_shm(void *argument)
{
	struct shmkit_segment_options grows = { .struct_size = sizeof(grows), .max_size = 1 << 30 };
	struct shmkit_segment_options all = { .struct_size = sizeof(all),
					      .flags = SHMKIT_SEGMENT_POPULATE };
	struct shmkit_segment *segment, *other;
	struct shmkit_queue *queue;
	struct shmkit_pool *pool;
	struct shmkit_ring *ring;
	int made, again;

	(void)argument;
	made = enter_small_shm();
	if (made)
		return made;
	CHECK(shmkit_segment_create("big", 4 << 20, NULL, &other) == -ENOSPC);
	CHECK(strstr(shmkit_last_error(), "does not fit"));
	CHECK(shmkit_segment_create("all", 2 << 20, &all, &other) == -ENOSPC);
	CHECK(test_shm_leftovers("") == 0);
	CHECK(shmkit_segment_create("fits", 100 << 10, &grows, &segment) == 0);
	CHECK(shmkit_segment_grow(segment, 512 << 20) == 0);
	made = fill(segment);
	CHECK(made > 40 && made < 52);
	CHECK(strstr(shmkit_last_error(), "No space left"));
	CHECK(shmkit_queue_create(segment, "q", 1000, 128, NULL, &queue) == -ENOSPC);
	CHECK(shmkit_ring_create(segment, "r", 1000, 128, NULL, &ring) == -ENOSPC);
	CHECK(shmkit_pool_create(segment, "p", 1000, 128, NULL, &pool) == -ENOSPC);
	CHECK(shmkit_segment_create("more", 64 << 10, NULL, &other) == -ENOSPC);
	CHECK(shmkit_segment_create("more", 64 << 10, &all, &other) == -ENOSPC);
	CHECK(shmkit_segment_check(segment) == 0);
	CHECK(empty(segment, made) == 0);
	again = fill(segment);
	CHECK(again == made);
	CHECK(empty(segment, again) == 0);
	shmkit_segment_close(segment);
	CHECK(shmkit_segment_create("all", 900 << 10, &all, &segment) == 0);
	made = fill(segment);
	CHECK(made > 40);
	shmkit_segment_close(segment);
	CHECK(test_shm_leftovers("") == 0);
	return 0;
}

static void test_create_on_a_small_file_system_is_enospc(void **state)
{
	int status = test_wait_exit(test_fork(use_small_shm, NULL), 60000);

	(void)state;
	if (status == CANNOT && getuid() != 0) {
		print_message("left out: neither root nor a user namespace to mount a file system in\n");
		skip();
	}
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_on_a_small_file_system_is_enospc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
