#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* In steps, so that a signal does not make a long allocation start again from the beginning. */
#define ALLOCATE_STEP (UINT64_C(16) << 20)

/*
 * Runs an expression that sets errno, gives its value or -errno, and leaves errno as it was.
 * __extension__: a statement expression, which ISO C does not have; gcc and clang do.
 */
#define KEEP_ERRNO(expression)                                       \
	__extension__({                                              \
		int saved_ = errno;                                  \
		int result_ = (int)(expression);                     \
		if (result_ < 0)                                     \
			result_ = -errno;                            \
		errno = saved_;                                      \
		result_;                                             \
	})

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t shk_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t shk_coarse_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t shk_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

static struct timespec to_timespec(int64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / 1000000000),
				  .tv_nsec = (long)(ns % 1000000000) };
}

void shk_sleep_ns(int64_t ns)
{
	/* Until a moment, not for a time: in a storm of signals what is left would never get less. */
	struct timespec until = to_timespec(clock_ns(CLOCK_MONOTONIC) + ns);

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

struct path {
	char text[sizeof(SHK_SHM_DIR) + 1 + 256];
};

static const char *path_of(struct path *path, const char *name)
{
	snprintf(path->text, sizeof(path->text), "%s/%s", SHK_SHM_DIR, name);
	return path->text;
}

int shk_open_name(const char *name, bool writable)
{
	struct path path;

	return KEEP_ERRNO(open(path_of(&path, name),
			       (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
}

int shk_open_unnamed(void)
{
	return KEEP_ERRNO(open(SHK_SHM_DIR, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
}

int shk_open_temporary(char name[64])
{
	struct path path;
	uint64_t random;

	arc4random_buf(&random, sizeof(random));
	snprintf(name, 64, ".shmkit-%016llx", (unsigned long long)random);
	return KEEP_ERRNO(open(path_of(&path, name), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
}

int shk_open_memfd(const char *label)
{
	int fd = KEEP_ERRNO(memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));

	if (fd == -EINVAL)          /* before Linux 6.3 */
		fd = KEEP_ERRNO(memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING));
	return fd;
}

int shk_reopen(int fd, const char *name, dev_t device, ino_t inode, bool writable)
{
	char path[40];
	struct stat there;
	int again = name[0] ? shk_open_name(name, writable) : -ENOENT;

	/* By name, if that names the same file: half the way, and /proc may be missing. */
	if (again >= 0) {
		if (shk_stat(again, &there) == 0 && there.st_ino == inode && there.st_dev == device)
			return again;
		shk_close(again);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return KEEP_ERRNO(open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK));
}

void shk_close(int fd)
{
	if (fd >= 0)
		(void)KEEP_ERRNO(close(fd));
}

int shk_link_unnamed(int fd, const char *name)
{
	struct path path;
	char from[40];
	int result = KEEP_ERRNO(linkat(fd, "", AT_FDCWD, path_of(&path, name), AT_EMPTY_PATH));

	/* since Linux 6.10 for one's own file; before, only with a capability */
	if (result != -ENOENT && result != -EPERM && result != -EINVAL)
		return result;
	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	return KEEP_ERRNO(linkat(AT_FDCWD, from, AT_FDCWD, path_of(&path, name), AT_SYMLINK_FOLLOW));
}

int shk_link(const char *from, const char *to)
{
	struct path from_path, to_path;

	return KEEP_ERRNO(link(path_of(&from_path, from), path_of(&to_path, to)));
}

int shk_rename(const char *from, const char *to)
{
	struct path from_path, to_path;

	return KEEP_ERRNO(rename(path_of(&from_path, from), path_of(&to_path, to)));
}

int shk_unlink(const char *name)
{
	struct path path;

	return KEEP_ERRNO(unlink(path_of(&path, name)));
}

int shk_stat_name(const char *name, struct stat *ret_stat)
{
	struct path path;

	return KEEP_ERRNO(lstat(path_of(&path, name), ret_stat));
}

int shk_stat(int fd, struct stat *ret_stat)
{
	return KEEP_ERRNO(fstat(fd, ret_stat));
}

int shk_resize(int fd, uint64_t size)
{
	int result;

	do
		result = KEEP_ERRNO(ftruncate(fd, (off_t)size));
	while (result == -EINTR);
	return result;
}

int shk_allocate(int fd, uint64_t offset, uint64_t size)
{
	while (size > 0) {
		uint64_t step = size < ALLOCATE_STEP ? size : ALLOCATE_STEP;
		int error = posix_fallocate(fd, (off_t)offset, (off_t)step);

		if (error == EINTR)
			continue;
		if (error)
			return -error;
		offset += step;
		size -= step;
	}
	return 0;
}

int shk_punch(int fd, uint64_t offset, uint64_t size)
{
	int result;

	do
		result = KEEP_ERRNO(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					      (off_t)offset, (off_t)size));
	while (result == -EINTR);
	return result;
}

int shk_available(int fd, uint64_t *ret_bytes)
{
	struct statvfs fs;
	int result = KEEP_ERRNO(fstatvfs(fd, &fs));

	if (result)
		return result;
	/* a tmpfs without a limit says 0 blocks */
	*ret_bytes = fs.f_blocks ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
	return 0;
}

int shk_set_mode(int fd, mode_t mode)
{
	return KEEP_ERRNO(fchmod(fd, mode));
}

int shk_set_group(int fd, gid_t group)
{
	return KEEP_ERRNO(fchown(fd, (uid_t)-1, group));
}

int shk_seal(int fd, bool growing)
{
	return KEEP_ERRNO(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL | (growing ? 0 : F_SEAL_GROW)));
}

int shk_map(int fd, uint64_t size, bool writable, void **ret_base)
{
	int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	int saved = errno, result = 0;
	void *base = mmap(NULL, (size_t)size, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (base == MAP_FAILED)
		result = -errno;
	else
		*ret_base = base;
	errno = saved;
	return result;
}

void shk_unmap(void *base, uint64_t size)
{
	(void)KEEP_ERRNO(munmap(base, (size_t)size));
}

int shk_pin(int fd, void **ret_page)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	int saved = errno, result = 0;
	void *page = mmap(NULL, size, PROT_NONE, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED) {
		result = -errno;
	} else {
		madvise(page, size, MADV_DONTFORK);
		*ret_page = page;
	}
	errno = saved;
	return result;
}

void shk_unpin(void *page)
{
	if (page)
		shk_unmap(page, (uint64_t)sysconf(_SC_PAGESIZE));
}

void shk_use_huge_pages(void *base, uint64_t size)
{
	(void)KEEP_ERRNO(madvise(base, (size_t)size, MADV_HUGEPAGE));
}

void shk_populate(void *base, uint64_t size, bool writable)
{
#ifdef MADV_POPULATE_READ
	int advice = writable ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
#else
	int advice = MADV_WILLNEED;

	(void)writable;
#endif
	(void)KEEP_ERRNO(madvise(base, (size_t)size, advice));
}

int32_t shk_pid(void)
{
	return (int32_t)getpid();
}

int shk_pread(int fd, void *to, size_t size, uint64_t offset)
{
	for (size_t done = 0; done < size;) {
		int got = KEEP_ERRNO(pread(fd, (char *)to + done, size - done, (off_t)(offset + done)));

		if (got == -EINTR)
			continue;
		if (got < 0)
			return got;
		if (got == 0)
			return -EPROTO;
		done += (size_t)got;
	}
	return 0;
}

static int lock_call(int fd, int command, int type, uint64_t byte, uint64_t count, int *ret_type)
{
	struct flock lock = { .l_type = (short)type, .l_whence = SEEK_SET,
			      .l_start = (off_t)byte, .l_len = (off_t)count };
	int result;

	do
		result = KEEP_ERRNO(fcntl(fd, command, &lock));
	while (result == -EINTR);
	if (ret_type)
		*ret_type = lock.l_type;
	return result == -EACCES ? -EAGAIN : result;
}

int shk_lock_write(int fd, uint64_t byte)
{
	return lock_call(fd, F_OFD_SETLK, F_WRLCK, byte, 1, NULL);
}

int shk_lock_read(int fd, uint64_t byte)
{
	return lock_call(fd, F_OFD_SETLK, F_RDLCK, byte, 1, NULL);
}

int shk_lock_drop(int fd, uint64_t byte)
{
	return lock_call(fd, F_OFD_SETLK, F_UNLCK, byte, 1, NULL);
}

static int probe(int fd, int type, uint64_t byte, uint64_t count)
{
	int found = F_UNLCK;
	int result = lock_call(fd, F_OFD_GETLK, type, byte, count, &found);

	return result < 0 ? result : found != F_UNLCK;
}

int shk_probe_write(int fd, uint64_t byte, uint64_t count)
{
	return probe(fd, F_RDLCK, byte, count);   /* conflicts with write locks alone */
}

int shk_probe_any(int fd, uint64_t byte, uint64_t count)
{
	return probe(fd, F_WRLCK, byte, count);
}

/* 32-bit programs built with a 64-bit time_t need the call that takes one. */
#if defined(SYS_futex_time64) && defined(_TIME_BITS) && _TIME_BITS == 64
#define FUTEX_CALL SYS_futex_time64
#else
#define FUTEX_CALL SYS_futex
#endif

int shk_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
	struct timespec timeout = to_timespec(timeout_ns);
	int result = KEEP_ERRNO(syscall(FUTEX_CALL, word, FUTEX_WAIT, expected, &timeout, NULL, 0));

	return result == -ETIMEDOUT || result == -EINTR ? result : 0;
}

void shk_futex_wake_all(uint32_t *word)
{
	(void)KEEP_ERRNO(syscall(FUTEX_CALL, word, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0));
}

bool shk_barrier_register(void)
{
	return KEEP_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0)) == 0;
}

bool shk_barrier_all(void)
{
	return KEEP_ERRNO(syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0)) == 0;
}
