/* What is not a queue: objects, arrays, names, segments, large elements. A unit is one of it. */
#include "bench.h"

#include <shmkit.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OBJECTS 8u                          /* acquired before they are released again */

struct own {
	struct shmkit_segment *segment;
	struct shmkit_pool *pool;
	struct shmkit_array *array;
	struct shmkit_queue *queue;
	unsigned char *bytes, *more;
	bench_name *names;
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

static void make_segment(struct bench_link *link, uint64_t size, uint32_t table)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .flags = SHMKIT_SEGMENT_PERSIST, .table = table,
	};

	must(shmkit_segment_create(link->name, size, &options, &own(link)->segment));
}

static void detach(struct bench_link *link)
{
	shmkit_pool_close(own(link)->pool);
	shmkit_array_close(own(link)->array);
	shmkit_queue_close(own(link)->queue);
	shmkit_segment_close(own(link)->segment);
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

	make_segment(link, (UINT64_C(4) << 20) + what->capacity * (what->element_size + 40u), 0);
	must(shmkit_pool_create(own(link)->segment, "it", what->element_size, what->capacity, NULL,
				&own(link)->pool));
	detach(link);
	return true;
}

static bool attach_pool(struct bench_link *link)
{
	must(shmkit_segment_open(link->name, 0, &own(link)->segment));
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

static bool prepare_array(struct bench_link *link)
{
	make_segment(link, (UINT64_C(1) << 20) + link->what->capacity * sizeof(uint64_t), 0);
	must(shmkit_array_create(own(link)->segment, "it", sizeof(uint64_t), link->what->capacity, NULL,
				 &own(link)->array));
	detach(link);
	return true;
}

static bool attach_array(struct bench_link *link)
{
	must(shmkit_segment_open(link->name, 0, &own(link)->segment));
	must(shmkit_array_open(own(link)->segment, "it", sizeof(uint64_t), &own(link)->array));
	own(link)->bytes = shmkit_array_data(own(link)->array);
	return own(link)->bytes != NULL;
}

static bool attach_heap(struct bench_link *link)
{
	own(link)->bytes = calloc(link->what->capacity, sizeof(uint64_t));
	return own(link)->bytes != NULL;
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

static bench_loop array_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "array", 5) == 0 ? use_words : NULL;
}

/* ---- names ---- */

static bool prepare_names(struct bench_link *link)
{
	struct shmkit_atomic_u64 *atomic;
	bench_name *names = bench_names(link->what->capacity);

	make_segment(link, UINT64_C(4) << 20, SHMKIT_TABLE_LARGE);
	for (uint64_t i = 0; i < link->what->capacity; i++) {
		must(shmkit_atomic_u64_create(own(link)->segment, names[i], 0, &atomic));
		shmkit_atomic_u64_close(atomic);
	}
	free(names);
	detach(link);
	return true;
}

static bool attach_names(struct bench_link *link)
{
	must(shmkit_segment_open(link->name, 0, &own(link)->segment));
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

static bench_loop names_loop(const struct bench_case *what, enum bench_role role)
{
	(void)role;
	return strncmp(what->id, "open", 4) == 0 ? open_names : NULL;
}

/* ---- segments ---- */

static bool prepare_segment(struct bench_link *link)
{
	make_segment(link, UINT64_C(4) << 20, 0);
	detach(link);
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
	bool good = fd >= 0 && ftruncate(fd, 4 << 20) == 0;

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

	make_segment(link, (UINT64_C(1) << 20) + 2 * what->capacity * (what->element_size + 64u), 0);
	must(shmkit_queue_create(own(link)->segment, "it", what->element_size, what->capacity, NULL,
				 &own(link)->queue));
	detach(link);
	return true;
}

static bool attach_large(struct bench_link *link)
{
	must(shmkit_segment_open(link->name, 0, &own(link)->segment));
	must(shmkit_queue_open(own(link)->segment, "it", link->what->element_size, &own(link)->queue));
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

/* Nothing is copied: the first word of each element is written and read where it lies. */
static void lease_through(struct bench_link *links, uint64_t count)
{
	struct shmkit_slot slot;

	for (uint64_t done = 0; done < count; done++) {
		must(shmkit_queue_reserve(own(links)->queue, &slot));
		memcpy(slot.data, &done, sizeof(done));
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

const struct bench_subject bench_subjects_calls[] = {
	{ "shmkit_pool", prepare_pool, attach_pool, detach, finish, pool_loop },
	{ "shmkit_pool_live", prepare_pool, attach_full_pool, detach, finish, pool_loop },
	{ "malloc", NULL, NULL, NULL, NULL, malloc_loop },
	{ "shmkit_array", prepare_array, attach_array, detach, finish, array_loop },
	{ "heap", NULL, attach_heap, detach_heap, NULL, array_loop },
	{ "shmkit_open", prepare_names, attach_names, detach_names, finish, names_loop },
	{ "shmkit_attach", prepare_segment, NULL, detach, finish, attach_loop },
	{ "bare_attach", prepare_bare, NULL, NULL, finish_bare, bare_attach_loop },
	{ "shmkit_create", NULL, NULL, NULL, NULL, create_loop },
	{ "bare_create", NULL, NULL, NULL, NULL, bare_create_loop },
	{ "shmkit_copy", prepare_large, attach_large, detach_large, finish, copy_loop },
	{ "memcpy", NULL, attach_memcpy, detach_memcpy, NULL, memcpy_loop },
	{ "shmkit_lease", prepare_large, attach_large, detach_large, finish, lease_loop },
	{ .name = NULL },
};
