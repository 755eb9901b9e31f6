/* What is not a queue: objects, arrays, names, segments, large elements. A unit is one of it. */
#include "bench.h"

#include <shmkit.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define OBJECTS 8u                          /* acquired before they are released again */

struct own {
	struct shmkit_segment *segment;
	struct shmkit_pool *pool;
	struct shmkit_array *array;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	unsigned char *bytes, *more;
	bench_name *names;
	struct bench_crowd *crowd;
};

static struct own *own(struct bench_link *link)
{
	return (struct own *)(void *)link->own;
}

static void must(int64_t result)
{
	if (result >= 0)
		return;
	fprintf(stderr, "bench: %s\n", shmkit_last_error());
	abort();
}

static void detach(struct bench_link *link)
{
	shmkit_pool_close(own(link)->pool);
	shmkit_array_close(own(link)->array);
	shmkit_queue_close(own(link)->queue);
	shmkit_ring_close(own(link)->ring);
	shmkit_segment_close(own(link)->segment);
	bench_leave_crowd(own(link)->crowd);
	*own(link) = (struct own){ .segment = NULL };
}

static void finish(struct bench_link *link)
{
	must(shmkit_segment_unlink(link->name));
}

/* ---- pool ---- */

static bool prepare_pool(struct bench_link *link)
{
	const struct bench_case *what = link->what;

	own(link)->segment = bench_make_segment(link, (UINT64_C(4) << 20) + what->capacity *
						(what->element_size + 40u), 0, 0);
	must(shmkit_pool_create(own(link)->segment, "it", what->element_size, what->capacity, NULL,
				&own(link)->pool));
	detach(link);
	return true;
}

static bool attach_pool(struct bench_link *link)
{
	own(link)->crowd = bench_join_crowd(link);
	own(link)->segment = bench_open_segment(link, 0);
	must(shmkit_pool_open(own(link)->segment, "it", link->what->element_size, &own(link)->pool));
	return true;
}

/* All but one in a thousand are taken, and stay so. */
static bool attach_full_pool(struct bench_link *link)
{
	uint64_t handle, live;

	attach_pool(link);
	live = link->what->capacity - link->what->capacity / 1000;
	for (uint64_t i = 0; i < live; i++)
		must(shmkit_pool_acquire(own(link)->pool, &handle));
	return true;
}

static void use_pool(struct bench_link *links, uint64_t count)
{
	struct shmkit_pool *pool = own(links)->pool;
	uint64_t handles[OBJECTS];

	for (uint64_t done = 0; done < count; done += OBJECTS) {
		for (unsigned i = 0; i < OBJECTS; i++)
			must(shmkit_pool_acquire(pool, &handles[i]));
		for (unsigned i = 0; i < OBJECTS; i++)
			must(shmkit_pool_release(pool, handles[i]));
	}
}

static bench_loop pool_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "pool", 4) == 0 ? use_pool : NULL;
}

static void use_malloc(struct bench_link *links, uint64_t count)
{
	size_t size = links->what->element_size;
	void *objects[OBJECTS];

	for (uint64_t done = 0; done < count; done += OBJECTS) {
		for (unsigned i = 0; i < OBJECTS; i++) {
			objects[i] = malloc(size);
			bench_keep(objects[i]);
		}
		for (unsigned i = 0; i < OBJECTS; i++)
			free(objects[i]);
	}
}

static bench_loop malloc_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "pool", 4) == 0 ? use_malloc : NULL;
}

/* ---- array ---- */

static bool prepare_array_with(struct bench_link *link, uint32_t flags)
{
	own(link)->segment = bench_make_segment(link, HUGE_PAGE + link->what->capacity * sizeof(uint64_t), 0, flags);
	must(shmkit_array_create(own(link)->segment, "it", sizeof(uint64_t), link->what->capacity, NULL,
				 &own(link)->array));
	detach(link);
	return true;
}

static bool prepare_array(struct bench_link *link)
{
	return prepare_array_with(link, 0);
}

static bool prepare_huge_array(struct bench_link *link)
{
	return prepare_array_with(link, SHMKIT_SEGMENT_HUGE_PAGES);
}

static bool attach_array_with(struct bench_link *link, uint32_t flags)
{
	own(link)->segment = bench_open_segment(link, flags);
	must(shmkit_array_open(own(link)->segment, "it", sizeof(uint64_t), &own(link)->array));
	own(link)->bytes = shmkit_array_data(own(link)->array);
	if (own(link)->bytes)
		memset(own(link)->bytes, 0, link->what->capacity * sizeof(uint64_t));
	return own(link)->bytes != NULL;
}

static bool attach_array(struct bench_link *link)
{
	return attach_array_with(link, 0);
}

static bool attach_huge_array(struct bench_link *link)
{
	return attach_array_with(link, SHMKIT_SEGMENT_HUGE_PAGES);
}

static bool attach_heap_with(struct bench_link *link, int advice)
{
	size_t size = (link->what->capacity * sizeof(uint64_t) + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);

	own(link)->bytes = aligned_alloc(HUGE_PAGE, size);
	if (!own(link)->bytes)
		return false;
	if (madvise(own(link)->bytes, size, advice) != 0)
		perror("bench: madvise");
	memset(own(link)->bytes, 0, size);
	return true;
}

static bool attach_heap(struct bench_link *link)
{
	return attach_heap_with(link, MADV_NOHUGEPAGE);
}

static bool attach_huge_heap(struct bench_link *link)
{
	return attach_heap_with(link, MADV_HUGEPAGE);
}

static void detach_heap(struct bench_link *link)
{
	free(own(link)->bytes);
}

/* Reads and writes every element in turn. */
static void use_words(struct bench_link *links, uint64_t count)
{
	uint64_t *words = (uint64_t *)(void *)own(links)->bytes, size = links->what->capacity, sum = 0;

	for (uint64_t done = 0, at = 0; done < count; done++) {
		sum += words[at];
		words[at] = sum ^ done;
		at = at + 1 == size ? 0 : at + 1;
	}
	bench_keep(&sum);
}

/* One word after another that has nothing to do with it: what the translation of addresses costs. */
static void use_words_anywhere(struct bench_link *links, uint64_t count)
{
	const uint64_t *words = (const uint64_t *)(const void *)own(links)->bytes;
	uint64_t mask = links->what->capacity - 1, at = 1;

	for (uint64_t done = 0; done < count; done++)
		at = at * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407) + words[(at >> 20) & mask];
	bench_keep(&at);
}

static bench_loop array_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "array", 5) == 0 ? use_words
	       : strncmp(what->id, "anywhere", 8) == 0 ? use_words_anywhere : NULL;
}

/* ---- names ---- */

static bool makes_names(const struct bench_case *what)
{
	return strncmp(what->id, "name", 4) == 0;
}

/* Who makes one has room for it. */
static uint64_t prepared_names(const struct bench_link *link)
{
	return link->what->capacity - makes_names(link->what);
}

static bool prepare_names(struct bench_link *link)
{
	struct shmkit_atomic_u64 *atomic;
	bench_name *names = bench_names(link->what->capacity);

	own(link)->segment = bench_make_segment(link, UINT64_C(8) << 20, (uint32_t)link->what->capacity, 0);
	for (uint64_t i = 0; i < prepared_names(link); i++) {
		must(shmkit_atomic_u64_create(own(link)->segment, names[i], 0, &atomic));
		shmkit_atomic_u64_close(atomic);
	}
	free(names);
	detach(link);
	return true;
}

static bool attach_names(struct bench_link *link)
{
	own(link)->crowd = bench_join_crowd(link);
	own(link)->segment = bench_open_segment(link, 0);
	own(link)->names = bench_names(link->what->capacity);
	return true;
}

static void detach_names(struct bench_link *link)
{
	free(own(link)->names);
	detach(link);
}

static void open_names(struct bench_link *links, uint64_t count)
{
	uint64_t names = links->what->capacity;
	struct shmkit_atomic_u64 *atomic;

	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_atomic_u64_open(own(links)->segment, own(links)->names[done * 37 % names], &atomic));
		shmkit_atomic_u64_close(atomic);
	}
}

static void make_names(struct bench_link *links, uint64_t count)
{
	struct shmkit_segment *segment = own(links)->segment;
	struct shmkit_atomic_u64 *atomic;

	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_atomic_u64_create(segment, "made and removed", 0, &atomic));
		shmkit_atomic_u64_close(atomic);
		must(shmkit_segment_remove(segment, "made and removed"));
	}
}

static bench_loop names_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "open", 4) == 0 ? open_names : makes_names(what) ? make_names : NULL;
}

/* ---- segments ---- */

static bool prepare_segment(struct bench_link *link)
{
	own(link)->segment = bench_make_segment(link, UINT64_C(4) << 20, 0, 0);
	detach(link);
	return true;
}

static bool attach_crowd(struct bench_link *link)
{
	own(link)->crowd = bench_join_crowd(link);
	return true;
}

static void attach_again(struct bench_link *links, uint64_t count)
{
	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_segment_open(links->name, 0, &own(links)->segment));
		shmkit_segment_close(own(links)->segment);
		own(links)->segment = NULL;
	}
}

static bench_loop attach_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "attach", 6) == 0 ? attach_again : NULL;
}

static void make_again(struct bench_link *links, uint64_t count)
{
	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_segment_create(links->name, links->what->capacity, NULL, &own(links)->segment));
		shmkit_segment_close(own(links)->segment);
		own(links)->segment = NULL;
	}
}

static bench_loop create_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "create", 6) == 0 ? make_again : NULL;
}

/* The system calls without which there is no attaching: open, examine, map, lock, and undo it. */
static bool prepare_bare(struct bench_link *link)
{
	int fd = shm_open(link->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	uint64_t size = link->what->segment_size ? link->what->segment_size : UINT64_C(4) << 20;
	bool good = fd >= 0 && ftruncate(fd, (off_t)size) == 0;

	close(fd);
	return good;
}

static void finish_bare(struct bench_link *link)
{
	shm_unlink(link->name);
}

static void expect(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void attach_bare(struct bench_link *links, uint64_t count)
{
	for (uint64_t done = 0; done < count; done++) {
		struct flock lock = { .l_type = F_WRLCK, .l_start = INT64_C(1) << 61, .l_len = 1 };
		int fd = shm_open(links->name, O_RDWR | O_CLOEXEC, 0600);
		struct stat file;
		unsigned char *bytes;

		expect(fd >= 0 && fstat(fd, &file) == 0, "bench: shm_open");
		bytes = mmap(NULL, (size_t)file.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		expect(bytes != MAP_FAILED && fcntl(fd, F_OFD_SETLK, &lock) == 0, "bench: mmap");
		bytes[0]++;
		munmap(bytes, (size_t)file.st_size);
		close(fd);
	}
}

static bench_loop bare_attach_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "attach", 6) == 0 ? attach_bare : NULL;
}

static void make_bare(struct bench_link *links, uint64_t count)
{
	size_t size = (size_t)links->what->capacity;

	for (uint64_t done = 0; done < count; done++) {
		struct flock lock = { .l_type = F_WRLCK, .l_start = INT64_C(1) << 61, .l_len = 1 };
		int fd = shm_open(links->name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
		unsigned char *bytes;

		expect(fd >= 0 && ftruncate(fd, (off_t)size) == 0, "bench: shm_open");
		bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		expect(bytes != MAP_FAILED && fcntl(fd, F_OFD_SETLK, &lock) == 0, "bench: mmap");
		bytes[0]++;
		shm_unlink(links->name);
		munmap(bytes, size);
		close(fd);
	}
}

static bench_loop bare_create_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "create", 6) == 0 ? make_bare : NULL;
}

/* ---- large elements ---- */

static bool prepare_large(struct bench_link *link)
{
	const struct bench_case *what = link->what;

	own(link)->segment = bench_make_segment(link, (UINT64_C(1) << 20) + 4 * what->capacity *
						(what->element_size + 64u), 0, 0);
	must(shmkit_queue_create(own(link)->segment, "it", what->element_size, what->capacity, NULL,
				 &own(link)->queue));
	must(shmkit_ring_create(own(link)->segment, "ring", what->element_size, what->capacity, NULL,
				&own(link)->ring));
	detach(link);
	return true;
}

static bool attach_large(struct bench_link *link)
{
	own(link)->crowd = bench_join_crowd(link);
	own(link)->segment = bench_open_segment(link, 0);
	must(shmkit_queue_open(own(link)->segment, "it", link->what->element_size, &own(link)->queue));
	must(shmkit_ring_open(own(link)->segment, "ring", link->what->element_size, &own(link)->ring));
	own(link)->bytes = calloc(1, link->what->element_size);
	return own(link)->bytes != NULL;
}

static void detach_large(struct bench_link *link)
{
	free(own(link)->bytes);
	detach(link);
}

static void copy_through(struct bench_link *links, uint64_t count)
{
	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_queue_enqueue(own(links)->queue, own(links)->bytes));
		must(shmkit_queue_dequeue(own(links)->queue, own(links)->bytes));
		bench_keep(own(links)->bytes);
	}
}

static void copy_through_ring(struct bench_link *links, uint64_t count)
{
	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_ring_push(own(links)->ring, own(links)->bytes));
		must(shmkit_ring_pop(own(links)->ring, own(links)->bytes));
		bench_keep(own(links)->bytes);
	}
}

/* Nothing is copied: the first word of each element is written and read where it lies. */
static void lease_through(struct bench_link *links, uint64_t count)
{
	struct shmkit_slot slot;

	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_queue_reserve(own(links)->queue, &slot));
		memcpy(slot.data, &done, links->what->element_size < sizeof(done) ? 1 : sizeof(done));
		must(shmkit_queue_commit(own(links)->queue, &slot));
		must(shmkit_queue_lease(own(links)->queue, &slot));
		bench_keep(slot.data);
		must(shmkit_queue_ack(own(links)->queue, &slot));
	}
}

static bench_loop copy_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "copy", 4) == 0 ? copy_through : NULL;
}

static bench_loop ring_copy_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "copy", 4) == 0 ? copy_through_ring : NULL;
}

static bench_loop lease_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "lease", 5) == 0 ? lease_through : NULL;
}

/* Into as many places as the queue has, in turn, and out of them. */
static bool attach_memcpy(struct bench_link *link)
{
	own(link)->bytes = calloc(1, link->what->element_size);
	own(link)->more = link->memory;
	return own(link)->bytes != NULL;
}

static void detach_memcpy(struct bench_link *link)
{
	free(own(link)->bytes);
}

static void copy_bare(struct bench_link *links, uint64_t count)
{
	size_t size = links->what->element_size;

	for (uint64_t done = 0; done < count; done++) {
		unsigned char *place = own(links)->more + done % links->what->capacity * size;

		memcpy(place, own(links)->bytes, size);
		bench_keep(place);
		memcpy(own(links)->bytes, place, size);
		bench_keep(own(links)->bytes);
	}
}

static bench_loop memcpy_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "copy", 4) == 0 ? copy_bare : NULL;
}

/* ---- a waiter whom nobody wakes: processor time, in turns of so long ---- */

#define IDLE_NS INT64_C(500000000)
#define SLICE_NS 50000000L                  /* after which a sleeper looks */

static uint64_t used_ns(void)
{
	struct timespec used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	return (uint64_t)used.tv_sec * UINT64_C(1000000000) + (uint64_t)used.tv_nsec;
}

/* One unit: half a second on an empty queue. What counts is what it used. */
static void wait_in_vain(struct bench_link *links, uint64_t count)
{
	uint64_t began = bench_now_ns(), used = used_ns();

	for (uint64_t done = 0; done < count; done++)
		if (shmkit_queue_dequeue_wait(own(links)->queue, own(links)->bytes, IDLE_NS) != -ETIMEDOUT)
			abort();
	links->spared_ns += bench_now_ns() - began - (used_ns() - used);
}

static bench_loop idle_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "idle", 4) == 0 ? wait_in_vain : NULL;
}

/* The least that does the same: sleeps a slice, and looks whether there is something. */
static void look_in_vain(struct bench_link *links, uint64_t count)
{
	uint64_t began = bench_now_ns(), used = used_ns();
	const struct timespec slice = { .tv_nsec = SLICE_NS };
	uint32_t *word = links->memory;

	for (uint64_t done = 0; done < count * (uint64_t)IDLE_NS / SLICE_NS; done++) {
		if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != 0)
			abort();
		syscall(SYS_futex, word, FUTEX_WAIT, 0, &slice, NULL, 0);
	}
	links->spared_ns += bench_now_ns() - began - (used_ns() - used);
}

static bench_loop bare_idle_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "idle", 4) == 0 ? look_in_vain : NULL;
}

const struct bench_subject bench_subjects_calls[] = {
	{ "shmkit_pool", prepare_pool, attach_pool, detach, finish, pool_loop },
	{ "shmkit_pool_live", prepare_pool, attach_full_pool, detach, finish, pool_loop },
	{ "malloc", NULL, NULL, NULL, NULL, malloc_loop },
	{ "shmkit_array", prepare_array, attach_array, detach, finish, array_loop },
	{ "shmkit_array_huge", prepare_huge_array, attach_huge_array, detach, finish, array_loop },
	{ "heap", NULL, attach_heap, detach_heap, NULL, array_loop },
	{ "heap_huge", NULL, attach_huge_heap, detach_heap, NULL, array_loop },
	{ "shmkit_open", prepare_names, attach_names, detach_names, finish, names_loop },
	{ "shmkit_attach", prepare_segment, attach_crowd, detach, finish, attach_loop },
	{ "bare_attach", prepare_bare, NULL, NULL, finish_bare, bare_attach_loop },
	{ "shmkit_create", NULL, NULL, NULL, NULL, create_loop },
	{ "bare_create", NULL, NULL, NULL, NULL, bare_create_loop },
	{ "shmkit_copy", prepare_large, attach_large, detach_large, finish, copy_loop },
	{ "shmkit_ring_copy", prepare_large, attach_large, detach_large, finish, ring_copy_loop },
	{ "memcpy", NULL, attach_memcpy, detach_memcpy, NULL, memcpy_loop },
	{ "shmkit_lease", prepare_large, attach_large, detach_large, finish, lease_loop },
	{ "shmkit_idle", prepare_large, attach_large, detach_large, finish, idle_loop },
	{ "futex_idle", NULL, NULL, NULL, NULL, bare_idle_loop },
	{ .name = NULL },
};
