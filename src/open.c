/*
 * Finding segments. The protocol: life.h.
 */
#include "life.h"
#include "lock.h"
#include "member.h"
#include "repair.h"
#include "sys.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define OPEN_FLAGS                                                                          \
	(SHMKIT_READ_ONLY | SHMKIT_SEGMENT_HUGE_PAGES | SHMKIT_SEGMENT_POPULATE |           \
	 SHMKIT_SEGMENT_GUARD)
#define LIFE_ROUNDS 1000                    /* of 1 ms */

/* Opened, examined (file), checked, mapped, joined. Takes fd over. */
static int attach(int fd, const struct stat *file, const char *name, const char *title, uint32_t flags,
		  struct shmkit_segment **ret_segment)
{
	bool read_only = flags & SHMKIT_READ_ONLY;
	struct shk_geometry geometry;
	struct shmkit_segment *segment;
	int result = shk_segment_new(fd, file, name, title, read_only, &segment);

	if (result)
		return result;
	result = shk_geometry_from_file(fd, (uint64_t)file->st_size, title, !read_only, &geometry);
	if (!result)
		result = shk_segment_map(segment, &geometry);
	if (!result)
		result = shk_segment_join(segment);
	if (result) {
		shk_segment_discard(segment);
		return result;
	}
	shk_segment_advise(segment, flags);
	*ret_segment = segment;
	return 0;
}

/* After joining: 0 it is here to stay; -EAGAIN it is going or gone; -EBUSY. */
static int is_staying(const struct shmkit_segment *segment)
{
	struct stat file;

	for (int round = 0; round < LIFE_ROUNDS; round++) {
		int held = shk_probe_write(segment->fd, SHK_LOCK_LIFE, 1);

		if (held == 1) {
			shk_sleep_ns(round < 100 ? 20000 : 1000000);
			continue;
		}
		return shk_stat(segment->fd, &file) == 0 && file.st_nlink > 0 ? 0 : -EAGAIN;
	}
	return shk_fail(-EBUSY, "segment '%s' has been about to be closed or removed for a second by a "
				"process that does not go on; continue or end it", segment->title);
}

int shk_open_segment_file(const char *name, bool writable, struct stat *ret_file)
{
	int fd = shk_open_name(name, writable);
	int result;

	if (fd == -ENOENT)
		return shk_fail(fd, "there is no segment '%s'; it is not created yet, or gone", name);
	if (fd == -ELOOP)
		return shk_fail(-EPROTO, "'%s' in " SHK_SHM_DIR " is a symbolic link, not a segment", name);
	if (fd == -EISDIR)
		return shk_fail(-EPROTO, "'%s' in " SHK_SHM_DIR " is a directory, not a segment", name);
	if (fd == -ENXIO)
		return shk_fail(-EPROTO, "'%s' in " SHK_SHM_DIR " is not a file, so not a segment", name);
	if (fd < 0)
		return shk_fail(fd, "segment '%s' could not be opened to %s: %s", name,
				writable ? "write" : "read", strerror(-fd));
	result = shk_stat(fd, ret_file);
	if (result == 0 && S_ISREG(ret_file->st_mode))
		return fd;
	shk_close(fd);
	return result ? shk_fail(result, "segment '%s' could not be examined: %s", name, strerror(-result))
		      : shk_fail(-EPROTO, "'%s' in " SHK_SHM_DIR " is not a regular file, so not a segment",
				 name);
}

/* With SHMKIT_SEGMENT_REPLACE_DEAD: one without a living member, that was not meant to stay. */
static bool is_left_over(int fd, const char *name)
{
	struct shk_geometry geometry;

	return shk_geometry_from_file(fd, 0, name, true, &geometry) == 0 &&
	       !(geometry.flags & SHMKIT_SEGMENT_PERSIST) &&
	       shk_probe_write(fd, SHK_LOCK_MEMBER, SHK_MAX_MEMBERS) == 0;
}

int shk_open_by_name(const char *name, uint32_t flags, struct shmkit_segment **ret_segment)
{
	for (;;) {
		struct shmkit_segment *segment;
		struct stat file;
		int fd = shk_open_segment_file(name, !(flags & SHMKIT_READ_ONLY), &file);
		int result;

		if (fd < 0)
			return fd;
		if ((flags & SHMKIT_SEGMENT_REPLACE_DEAD) && is_left_over(fd, name)) {
			shk_close(fd);
			return shk_fail(-EPROTO, "segment '%s' is left over: no member of it is alive", name);
		}
		result = attach(fd, &file, name, name, flags, &segment);
		if (result)
			return result;
		SHK_POINT("open.joined");
		result = is_staying(segment);
		if (result == 0) {
			shk_look(segment);
			*ret_segment = segment;
			return 0;
		}
		shk_segment_discard(segment);
		if (result != -EAGAIN)
			return result;
	}
}

static int check_flags(const char *what, uint32_t flags, struct shmkit_segment **ret_segment)
{
	if (!ret_segment)
		return shk_fail(-EINVAL, "%s: ret_segment is NULL", what);
	if (flags & ~(uint32_t)OPEN_FLAGS)
		return shk_fail(-EINVAL, "%s: flags has unknown bits 0x%x", what,
				flags & ~(uint32_t)OPEN_FLAGS);
	return 0;
}

int shmkit_segment_open(const char *name, uint32_t flags, struct shmkit_segment **ret_segment)
{
	const char *bare;
	int result = check_flags("shmkit_segment_open", flags, ret_segment);

	if (!result)
		result = shk_check_segment_name(name, &bare);
	return result ? result : shk_open_by_name(bare, flags, ret_segment);
}

/*
 * Until something may have changed in the directory, at most 50 ms: where a watch cannot be had
 * the time alone does. 0 or -EINTR.
 */
static int wait_for_directory(int watch, int64_t until_ns)
{
	char events[4096];
	struct pollfd poll_for = { .fd = watch, .events = POLLIN };
	int64_t left = until_ns - shk_now_ns();
	int timeout_ms = left > 50000000 ? 50 : (int)(left / 1000000) + 1;
	int saved = errno, result;

	result = poll(&poll_for, watch >= 0, timeout_ms) < 0 && errno == EINTR ? -EINTR : 0;
	if (result == 0 && watch >= 0)
		while (read(watch, events, sizeof(events)) > 0)
			;
	errno = saved;
	return result;
}

int shmkit_segment_open_wait(const char *name, uint32_t flags, int64_t timeout_ns,
			     struct shmkit_segment **ret_segment)
{
	int64_t now = shk_now_ns();
	int64_t deadline = timeout_ns < 0 || timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
	int watch, result, saved;

	result = shmkit_segment_open(name, flags, ret_segment);
	if (result != -ENOENT || timeout_ns == 0)
		goto done;
	saved = errno;
	watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch >= 0)
		inotify_add_watch(watch, SHK_SHM_DIR, IN_CREATE | IN_MOVED_TO);
	errno = saved;
	for (;;) {
		result = shmkit_segment_open(name, flags, ret_segment);
		if (result != -ENOENT || shk_now_ns() >= deadline)
			break;
		result = wait_for_directory(watch, deadline);
		if (result) {
			result = shk_fail_fixed(result, "a signal handler ran during the wait for a segment");
			break;
		}
	}
	shk_close(watch);
done:
	if (result == -ENOENT)
		return shk_fail(-ETIMEDOUT, "no segment '%s' came to be within the time given", name);
	return result;
}

/* "/dev/shm/game" -> "game": what /proc says a descriptor is; "" for one without such a name. */
static void name_of(int fd, char name[SHK_MAX_NAME_SIZE])
{
	char path[40], target[sizeof(SHK_SHM_DIR) + SHK_MAX_NAME_SIZE + 16];
	ssize_t length;

	name[0] = '\0';
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		return;
	target[length] = '\0';
	if (strncmp(target, SHK_SHM_DIR "/", sizeof(SHK_SHM_DIR)) == 0)
		strlcpy(name, target + sizeof(SHK_SHM_DIR), SHK_MAX_NAME_SIZE);
	if (!shk_name_is(name, fd))
		name[0] = '\0';
}

int shmkit_segment_open_fd(int fd, uint32_t flags, struct shmkit_segment **ret_segment)
{
	char name[SHK_MAX_NAME_SIZE], title[SHK_MAX_NAME_SIZE];
	struct stat file;
	int own, saved = errno;
	int result = check_flags("shmkit_segment_open_fd", flags, ret_segment);

	if (result)
		return result;
	result = shk_stat(fd, &file);
	if (result)
		return shk_fail(-EINVAL, "descriptor %d is not open", fd);
	snprintf(title, sizeof(title), "descriptor %d", fd);
	if (!S_ISREG(file.st_mode))
		return shk_fail(-EPROTO, "%s is not a file, so not a segment", title);
	name_of(fd, name);
	errno = saved;
	if (name[0])
		strlcpy(title, name, sizeof(title));
	/* A description of its own: locks through the one that was passed would be shared. */
	own = shk_reopen(fd, name, file.st_dev, file.st_ino, !(flags & SHMKIT_READ_ONLY));
	if (own < 0)
		return shk_fail(own, "%s cannot be opened anew to %s: %s", title,
				flags & SHMKIT_READ_ONLY ? "read" : "write", strerror(-own));
	result = attach(own, &file, name, title, flags, ret_segment);
	if (result == 0)
		shk_look(*ret_segment);
	return result;
}

/* 0; -EAGAIN: the name has come to name another file; or why not. */
static int unlink_file(int fd, const struct stat *file, const char *name)
{
	int life = -1;
	int result = shk_life_lock(fd, file->st_dev, file->st_ino, name, name, &life);

	if (result)
		return result;
	/* Only he who holds the lock of the inode that the name names may take the name away. */
	if (!shk_name_is(name, fd))
		result = -EAGAIN;
	else if ((result = shk_unlink(name)) != 0)
		result = shk_fail(result, "segment '%s' could not be unlinked: %s", name,
				  strerror(-result));
	shk_life_unlock(life);
	return result;
}

int shmkit_segment_unlink(const char *name)
{
	const char *bare;
	sigset_t saved;
	int result = shk_check_segment_name(name, &bare);

	if (result)
		return result;
	do {
		struct stat file;
		int fd = shk_open_segment_file(bare, true, &file);

		if (fd < 0)
			return fd;
		if (shk_is_segment(fd)) {
			shk_process_enter(&saved);
			result = unlink_file(fd, &file, bare);
			shk_process_leave(&saved);
		} else {
			result = shk_fail(-EPROTO, "'%s' is not a shmkit segment and is left alone", bare);
		}
		shk_close(fd);
	} while (result == -EAGAIN);
	return result;
}

int shmkit_segment_grow(struct shmkit_segment *segment, uint64_t size)
{
	shk_u64 *lock;
	struct stat file;
	uint64_t word, now, rounded = (size + SHK_PAGE - 1) / SHK_PAGE * SHK_PAGE;
	int result;

	if (!segment)
		return shk_fail(-EINVAL, "shmkit_segment_grow: segment is NULL");
	result = shk_segment_enter_write(segment, "shmkit_segment_grow");
	if (result)
		return result;
	if (!shk_segment_fd_is_ours(segment))
		return shk_fail(-ESTALE, "the descriptor of segment '%s' was closed by somebody in this "
					 "process; open the segment again", segment->title);
	if (size > segment->geometry.max_size)
		return shk_fail(-ENOSPC, "segment '%s' was created to grow to %llu bytes, %llu were asked for",
				segment->title, (unsigned long long)segment->geometry.max_size,
				(unsigned long long)size);
	lock = &shk_header(segment)->table_lock;
	result = shk_lock_word_acquire(segment, lock, 2000000000, "the name table", &word);
	if (result)
		return result;
	now = shk_load_acquire(&shk_header(segment)->size);
	if (rounded < now) {
		result = shk_fail(-EINVAL, "segment '%s' has %llu bytes already; it cannot shrink to %llu",
				  segment->title, (unsigned long long)now, (unsigned long long)size);
	} else if (rounded > now) {
		result = shk_stat(segment->fd, &file);
		if (!result && (uint64_t)file.st_size < rounded)
			result = shk_resize(segment->fd, rounded);
		if (!result && (segment->geometry.flags & SHMKIT_SEGMENT_POPULATE))
			result = shk_allocate(segment->fd, now, rounded - now);
		if (result)
			result = shk_fail(result, "segment '%s' could not grow to %llu bytes: %s",
					  segment->title, (unsigned long long)rounded,
					  strerror(-result));
		else    /* grow:W release. Pairs with shk_at(). The file before the size. */
			shk_store_release(&shk_header(segment)->size, rounded);
	}
	shk_lock_word_release(lock, word);
	return shk_segment_leave(segment, result);
}

int shmkit_segment_fd(const struct shmkit_segment *segment)
{
	return segment ? segment->fd : shk_fail(-EINVAL, "shmkit_segment_fd: segment is NULL");
}

const void *shmkit_segment_base(const struct shmkit_segment *segment)
{
	return segment ? segment->base : NULL;
}
