/*
 * The private side of a segment handle, shared by the files of the segment layer.
 */
#ifndef SHK_SEGMENT_H
#define SHK_SEGMENT_H

#include "atomics.h"
#include "compiler.h"
#include "error.h"
#include "layout.h"
#include "process.h"

#include <shmkit/object.h>
#include <shmkit/segment.h>

#include <pthread.h>
#include <sys/queue.h>
#include <sys/types.h>

/* The numbers that describe a segment, checked once and then used from the handle alone. */
struct shk_geometry {
	shk_u64 size;                       /* at that time; then atomic, see shk_at() */
	uint64_t max_size;
	uint64_t table_offset, members_offset, data_offset;
	uint32_t max_entries, name_size, entry_stride;
	uint32_t max_members, member_stride;
	uint32_t flags;
};

struct shk_wait;

struct shmkit_segment {
	uint32_t epoch;                     /* process epoch it is joined in; SHK_EPOCH_DAMAGED */
	uint32_t joined_epoch;              /* the process epoch it joined in, damaged or not */
	uint32_t member_id;                 /* its own, or SHK_NO_MEMBER */
	uint8_t *base;
	struct shk_geometry geometry;       /* size: as far as known, see shk_at() */
	uint64_t member_word;               /* {incarnation, LIVE} it joined with; 0 before */
	uint64_t incarnation;
	shk_u64 next_look_ns;               /* CLOCK_MONOTONIC_COARSE */
	uint32_t read_only;
	int32_t fd;
	uint32_t references;                /* the user's handle, structures, readers */
	uint32_t damaged;                   /* lost bytes to a truncation (guard.c) */
	uint32_t guarded;
	uint32_t interrupts;                /* calls of shmkit_segment_interrupt() so far */
	void *lock_page;                    /* pins the member lock */
	uint32_t *open_counts;              /* [max_entries]: handles of this process on that entry */
	uint32_t *hints;                    /* where names were found (table.c); behind open_counts */
	uint32_t hint_mask, hint_turn;
	uint32_t unreaped;                  /* the last reaping here left an entry DYING */
	pthread_mutex_t mutex;              /* open_counts, waits; private to the process */
	LIST_HEAD(, shk_wait) waits;
	dev_t device;
	ino_t inode;
	char name[SHK_MAX_NAME_SIZE];       /* "" without one */
	char title[SHK_MAX_NAME_SIZE];      /* for messages: the name, or what stands for it */
	char label[SHK_LABEL_SIZE];
	LIST_ENTRY(shmkit_segment) guard_link;
};

#define SHK_NO_MEMBER UINT32_MAX
#define SHK_EPOCH_DAMAGED UINT32_MAX

static inline struct shk_header_shm *shk_header(const struct shmkit_segment *segment)
{
	return (struct shk_header_shm *)(void *)segment->base;
}

static inline struct shk_entry_shm *shk_entry(const struct shmkit_segment *segment, uint32_t index)
{
	return (struct shk_entry_shm *)(void *)(segment->base + segment->geometry.table_offset +
					       (uint64_t)index * segment->geometry.entry_stride);
}

static inline char *shk_entry_name(const struct shmkit_segment *segment, uint32_t index)
{
	return (char *)(shk_entry(segment, index) + 1);
}

static inline struct shk_member_shm *shk_member(const struct shmkit_segment *segment, uint32_t id)
{
	return (struct shk_member_shm *)(void *)(segment->base + segment->geometry.members_offset +
						(uint64_t)id * segment->geometry.member_stride);
}

static inline shk_u64 *shk_member_open_word(const struct shmkit_segment *segment, uint32_t id,
					    uint32_t entry)
{
	return (shk_u64 *)(void *)(shk_member(segment, id) + 1) + entry / 64;
}

/*
 * The one door from an offset to a pointer: the address of size bytes at offset, or NULL when
 * they do not lie inside the segment as it is now. A peer may have grown it: an offset past the
 * size known here asks the header and the kernel again.
 */
void *shk_at(struct shmkit_segment *segment, uint64_t offset, uint64_t size);

/*
 * May this process go on using the segment? Joins first in a forked child. 0, -EBADMSG, -ECHILD.
 */
int shk_segment_refresh(struct shmkit_segment *segment);

static inline int shk_segment_enter(struct shmkit_segment *segment)
{
	/* acquire: of a child's threads one joins again, and the others then see what as */
	if (shk_likely(__atomic_load_n(&segment->epoch, __ATOMIC_ACQUIRE) ==
		       __atomic_load_n(&shk_process->epoch, __ATOMIC_RELAXED)))
		return 0;
	return shk_segment_refresh(segment);
}

/* -EBADMSG, with last error: the segment's file was cut short. */
int shk_segment_lost(const struct shmkit_segment *segment);

/* The end of a call: what it found may not have been there. Takes NULL. */
static inline int shk_segment_leave(const struct shmkit_segment *segment, int result)
{
	if (segment && shk_unlikely(__atomic_load_n(&segment->damaged, __ATOMIC_ACQUIRE)))
		return shk_segment_lost(segment);
	return result;
}

/* The same as shk_segment_enter() for calls that write. */
int shk_segment_enter_write(struct shmkit_segment *segment, const char *what);

void shk_segment_get(struct shmkit_segment *segment);
void shk_segment_put(struct shmkit_segment *segment);

/* ---- geometry.c ---- */

/* Fills geometry from the options; all sums checked. 0, -EINVAL, -E2BIG. */
int shk_geometry_from_options(const struct shmkit_segment_options *options, uint64_t size,
			      struct shk_geometry *ret_geometry,
			      struct shmkit_segment_options *ret_options);

/*
 * Reads and checks the header of an open file; title names it in messages. length: bytes it is known
 * to have, 0 when nobody has asked.
 */
int shk_geometry_from_file(int fd, uint64_t length, const char *title, bool writable,
			   struct shk_geometry *ret_geometry);

/* The same for an open segment, as it is now. */
int shk_geometry_of(struct shmkit_segment *segment, struct shk_geometry *ret_geometry);

/* 1 when the file begins as a segment of any version or state of health does. */
int shk_is_segment(int fd);

void shk_header_write(struct shmkit_segment *segment, const struct shk_geometry *geometry,
		      const char *label);

/* ---- guard.c: SIGBUS when somebody truncates the file under us ---- */

void shk_guard_add(struct shmkit_segment *segment);
void shk_guard_remove(struct shmkit_segment *segment);

#endif
