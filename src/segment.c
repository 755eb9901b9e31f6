/*
 * A segment handle: made, joined, refreshed in a forked child, let go.
 */
#include "segment.h"

#include "life.h"
#include "member.h"
#include "object.h"
#include "repair.h"
#include "sys.h"
#include "table.h"

#include <errno.h>
#include <string.h>
#include <stdlib.h>

#define LIFE_ROUNDS 1000                    /* of 1 ms */

int shk_check_segment_name(const char *name, const char **ret_bare)
{
	const char *bare = name;

	if (!name)
		return shk_fail(-EINVAL, "the segment's name is NULL");
	if (bare[0] == '/')
		bare++;
	if (!bare[0] || strchr(bare, '/') || strcmp(bare, ".") == 0 || strcmp(bare, "..") == 0)
		return shk_fail(-EINVAL, "'%.100s' is no name for a segment: one word without a slash (one in "
					 "front is allowed), not empty, not '.' or '..'", name);
	if (strlen(bare) > 255)
		return shk_fail(-ENAMETOOLONG, "the segment's name has %zu bytes; at most 255 are possible",
				strlen(bare));
	*ret_bare = bare;
	return 0;
}

int shk_segment_new(int fd, const struct stat *file, const char *name, const char *title, bool read_only,
		    struct shmkit_segment **ret_segment)
{
	struct shmkit_segment *segment = calloc(1, sizeof(*segment));

	if (!segment) {
		shk_close(fd);
		return shk_fail(-ENOMEM, "no memory for a handle of segment '%s'", title);
	}
	segment->fd = fd;
	segment->member_id = SHK_NO_MEMBER;
	segment->read_only = read_only;
	segment->references = 1;
	LIST_INIT(&segment->waits);
	pthread_mutex_init(&segment->mutex, NULL);
	strlcpy(segment->name, name, sizeof(segment->name));
	strlcpy(segment->title, title, sizeof(segment->title));
	strlcpy(segment->label, getprogname() ? getprogname() : "", sizeof(segment->label));
	segment->device = file->st_dev;
	segment->inode = file->st_ino;
	*ret_segment = segment;
	return 0;
}

int shk_segment_map(struct shmkit_segment *segment, const struct shk_geometry *geometry)
{
	void *base;
	int result;

	if (geometry->max_size > SIZE_MAX / 2)
		return shk_fail(-EFBIG, "segment '%s' may grow to %llu bytes, more than this process can map",
				segment->title, (unsigned long long)geometry->max_size);
	result = shk_map(segment->fd, geometry->max_size, !segment->read_only, &base);
	if (result)
		return shk_fail(result, "segment '%s' could not be mapped (%llu bytes): %s", segment->title,
				(unsigned long long)geometry->max_size, strerror(-result));
	segment->base = base;
	segment->geometry = *geometry;
	segment->hint_mask = shk_table_hint_mask(geometry->max_entries);
	segment->open_counts = calloc(geometry->max_entries + (segment->hint_mask + 1) * SHK_HINT_WAYS,
				      sizeof(uint32_t));
	if (!segment->open_counts)
		return shk_fail(-ENOMEM, "no memory for a handle of segment '%s'", segment->title);
	segment->hints = segment->open_counts + geometry->max_entries;
	return 0;
}

int shk_segment_join(struct shmkit_segment *segment)
{
	sigset_t saved;
	int result = 0;

	shk_process_enter(&saved);
	if (!segment->read_only)
		result = shk_member_join(segment);
	if (!result) {
		segment->joined_epoch = shk_process->epoch;
		__atomic_store_n(&segment->epoch, shk_process->epoch, __ATOMIC_RELEASE);
	}
	shk_process_leave(&saved);
	return result;
}

void shk_segment_advise(struct shmkit_segment *segment, uint32_t flags)
{
	flags |= segment->geometry.flags & SHMKIT_SEGMENT_HUGE_PAGES;
	/* Advice: where it cannot be followed ordinary pages do. */
	if (flags & SHMKIT_SEGMENT_HUGE_PAGES)
		shk_use_huge_pages(segment->base, segment->geometry.max_size);
	if (flags & SHMKIT_SEGMENT_POPULATE)
		shk_populate(segment->base, segment->geometry.size, !segment->read_only);
	if (flags & SHMKIT_SEGMENT_GUARD)
		shk_guard_add(segment);
}

void shk_segment_discard(struct shmkit_segment *segment)
{
	if (segment->member_word)
		shk_member_leave(segment);
	if (segment->guarded)
		shk_guard_remove(segment);
	if (segment->base)
		shk_unmap(segment->base, segment->geometry.max_size);
	/* closed under us, its number may be another file's by now */
	if (shk_segment_fd_is_ours(segment))
		shk_close(segment->fd);
	free(segment->open_counts);
	pthread_mutex_destroy(&segment->mutex);
	free(segment);
}

void *shk_at(struct shmkit_segment *segment, uint64_t offset, uint64_t size)
{
	uint64_t known = __atomic_load_n(&segment->geometry.size, __ATOMIC_RELAXED);

	if (offset > segment->geometry.max_size || size > segment->geometry.max_size - offset)
		return NULL;
	if (offset + size > known) {
		struct stat file;

		/* acquire: the file was extended before this size was stored */
		known = shk_load_acquire(&shk_header(segment)->size);
		if (known > segment->geometry.max_size || offset + size > known ||
		    !shk_segment_fd_is_ours(segment) || shk_stat(segment->fd, &file) != 0 ||
		    (uint64_t)file.st_size < known)
			return NULL;
		__atomic_store_n(&segment->geometry.size, known, __ATOMIC_RELAXED);
	}
	return segment->base + offset;
}

/* ---- a forked child ---- */

/* The handle's state that was the parent's alone. */
static void forget_parent(struct shmkit_segment *segment)
{
	segment->member_id = SHK_NO_MEMBER;
	segment->member_word = 0;
	segment->lock_page = NULL;          /* not mapped here (MADV_DONTFORK) */
	LIST_INIT(&segment->waits);
	pthread_mutex_init(&segment->mutex, NULL);
}

/* A description of its own: locks through the parent's would be the parent's. */
static int own_description(struct shmkit_segment *segment)
{
	int fd = shk_reopen(segment->fd, segment->name, segment->device, segment->inode,
			    !segment->read_only);

	if (fd < 0)
		return fd;
	shk_close(segment->fd);
	segment->fd = fd;
	return 0;
}

static int join_again(struct shmkit_segment *segment)
{
	int result = own_description(segment);

	if (result)
		return result;
	if (!segment->read_only) {
		result = shk_member_join(segment);
		if (result)
			return result;
	}
	for (uint32_t entry = 0; entry < segment->geometry.max_entries; entry++) {
		if (!segment->open_counts[entry])
			continue;
		if (segment->read_only)
			shk_lock_read(segment->fd, SHK_LOCK_ENTRY + entry);
		else
			shk_member_announce(segment, entry, true);
	}
	/*
	 * join:F seq_cst. All are announced before the next look at an entry, which is that of any call;
	 * pairs with the remover's CAS and its look at the announcements. As object:O of an open.
	 */
	shk_fence_seq_cst();
	return 0;
}

int shk_segment_refresh(struct shmkit_segment *segment)
{
	sigset_t saved;
	int result = 0;

	if (__atomic_load_n(&segment->damaged, __ATOMIC_ACQUIRE))
		return shk_segment_lost(segment);
	shk_process_enter(&saved);
	if (segment->epoch != shk_process->epoch) {
		forget_parent(segment);
		result = join_again(segment);
		if (result)
			result = shk_fail(-ECHILD, "this forked child could not join segment '%s': %s",
					  segment->title, strerror(-result));
		else
			segment->joined_epoch = shk_process->epoch;
		if (!result && !segment->damaged)
			__atomic_store_n(&segment->epoch, shk_process->epoch, __ATOMIC_RELEASE);
	}
	shk_process_leave(&saved);
	return shk_segment_leave(segment, result);
}

int shk_segment_lost(const struct shmkit_segment *segment)
{
	return shk_fail(-EBADMSG, "segment '%s' was cut short by another process while this one used it; "
				  "what was in it is lost", segment->title);
}

int shk_segment_enter_write(struct shmkit_segment *segment, const char *what)
{
	if (segment->read_only)
		return shk_fail(-EROFS, "%s: segment '%s' is open read-only; open it without "
					"SHMKIT_READ_ONLY to write", what, segment->title);
	return shk_segment_enter(segment);
}

/* ---- the end ---- */

int shk_life_lock(int fd, dev_t device, ino_t inode, const char *name, const char *title, int *ret_fd)
{
	int own = shk_reopen(fd, name, device, inode, true);
	int result = own < 0 ? own : -EAGAIN;

	for (int round = 0; result == -EAGAIN && round < LIFE_ROUNDS; round++) {
		if (round)
			shk_sleep_ns(1000000);
		result = shk_lock_write(own, SHK_LOCK_LIFE);
	}
	if (result == 0) {
		*ret_fd = own;
		return 0;
	}
	shk_close(own);
	if (result == -EAGAIN)
		return shk_fail(-EBUSY, "another process has been opening, closing or removing segment '%s' "
					"for a second and does not go on; continue or end it", title);
	return shk_fail(result, "segment '%s' could not be locked: %s", title, strerror(-result));
}

void shk_life_unlock(int life_fd)
{
	if (life_fd < 0)
		return;
	shk_lock_drop(life_fd, SHK_LOCK_LIFE);
	shk_close(life_fd);
}

bool shk_name_is(const char *name, int fd)
{
	struct stat there, here;

	return shk_stat_name(name, &there) == 0 && shk_stat(fd, &here) == 0 &&
	       there.st_ino == here.st_ino && there.st_dev == here.st_dev;
}

bool shk_name_is_segment(const struct shmkit_segment *segment)
{
	struct stat there;

	return shk_stat_name(segment->name, &there) == 0 && there.st_ino == segment->inode &&
	       there.st_dev == segment->device;
}

static void leave_and_unlink_if_last(struct shmkit_segment *segment)
{
	/* a segment that was cut short no longer tells who else is in it */
	bool unlinks = segment->name[0] && !segment->damaged &&
		       !(segment->geometry.flags & (SHMKIT_SEGMENT_PERSIST | SHK_HEADER_ANONYMOUS)) &&
		       shk_segment_fd_is_ours(segment);
	int life = -1;

	/* Where it cannot be had in time the name stays until somebody else closes or removes it. */
	if (unlinks && shk_life_lock(segment->fd, segment->device, segment->inode, segment->name,
				     segment->title, &life) == 0) {
		SHK_POINT("close.locked");
		/* damaged is looked at last: the count itself may have met the loss */
		if (shk_member_count_others(segment) == 0 &&
		    !__atomic_load_n(&segment->damaged, __ATOMIC_ACQUIRE) &&
		    shk_name_is_segment(segment))
			shk_unlink(segment->name);
		/* Dies here: no name; the inode goes with its last mapping. */
		SHK_POINT("close.unlinked");
	}
	/* The id is given back before the lock: the next closer must not count us. */
	shk_member_leave(segment);
	segment->member_word = 0;
	shk_life_unlock(life);
}

void shk_segment_get(struct shmkit_segment *segment)
{
	__atomic_fetch_add(&segment->references, 1, __ATOMIC_RELAXED);
}

void shk_segment_put(struct shmkit_segment *segment)
{
	sigset_t saved;

	if (__atomic_sub_fetch(&segment->references, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	shk_process_enter(&saved);
	if (segment->joined_epoch != shk_process->epoch) {
		/* A child that has not joined: gives nothing back, unlinks nothing. */
		segment->member_word = 0;
		segment->lock_page = NULL;
	} else if (segment->member_word) {
		if (!segment->damaged)
			shk_look(segment);
		leave_and_unlink_if_last(segment);
	}
	shk_segment_discard(segment);
	shk_process_leave(&saved);
}

void shmkit_segment_close(struct shmkit_segment *segment)
{
	if (segment)
		shk_segment_put(segment);
}
