/*
 * The system calls the library makes on segments, with results as 0 / -errno and errno untouched.
 * A test build replaces this file to play time, files and liveness (tests/explore/kernel.c).
 */
#ifndef SHK_SYS_H
#define SHK_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define SHK_SHM_DIR "/dev/shm"

int64_t shk_now_ns(void);                   /* CLOCK_MONOTONIC */
int64_t shk_coarse_ns(void);                /* the same, a few ms behind, much cheaper */
int64_t shk_real_ns(void);                  /* CLOCK_REALTIME */
void shk_sleep_ns(int64_t ns);

/* All return a descriptor (close-on-exec) or -errno; names are bare ("game"). */
int shk_open_name(const char *name, bool writable);
int shk_open_unnamed(void);                 /* O_TMPFILE in the shm directory */
int shk_open_temporary(char name[64]);      /* where O_TMPFILE is missing: a name of its own, told */
int shk_open_memfd(const char *label);
/* A new description of the file that fd refers to: inode, of device; perhaps found by its name, or "". */
int shk_reopen(int fd, const char *name, dev_t device, ino_t inode, bool writable);
void shk_close(int fd);

int shk_link_unnamed(int fd, const char *name);            /* -EEXIST */
int shk_link(const char *from, const char *to);
int shk_rename(const char *from, const char *to);
int shk_unlink(const char *name);
int shk_stat_name(const char *name, struct stat *ret_stat);
int shk_stat(int fd, struct stat *ret_stat);

int shk_resize(int fd, uint64_t size);
int shk_allocate(int fd, uint64_t offset, uint64_t size);  /* memory behind that range, or -ENOSPC */
int shk_punch(int fd, uint64_t offset, uint64_t size);     /* the range reads as zero; memory goes back */
int shk_available(int fd, uint64_t *ret_bytes);            /* what its file system could still hold */

int shk_set_mode(int fd, mode_t mode);
int shk_set_group(int fd, gid_t group);
int shk_seal(int fd, bool growing);                        /* a memfd: no shrinking; growing: may it grow? */

/* Mappings. -errno. */
int shk_map(int fd, uint64_t size, bool writable, void **ret_base);
void shk_unmap(void *base, uint64_t size);
int shk_pin(int fd, void **ret_page);                      /* keeps the description, not in a forked child */
void shk_unpin(void *page);                                /* takes NULL */
void shk_use_huge_pages(void *base, uint64_t size);        /* advice, as is the next */
void shk_populate(void *base, uint64_t size, bool writable);

int32_t shk_pid(void);

int shk_pread(int fd, void *to, size_t size, uint64_t offset);   /* all of it, or -EPROTO */

/* Open file description locks on one byte (or a range, to probe). */
int shk_lock_write(int fd, uint64_t byte);                 /* -EAGAIN: held by another */
int shk_lock_read(int fd, uint64_t byte);
int shk_lock_drop(int fd, uint64_t byte);
int shk_probe_write(int fd, uint64_t byte, uint64_t count);   /* 1: somebody holds a write lock, 0, -errno */
int shk_probe_any(int fd, uint64_t byte, uint64_t count);     /* 1: somebody holds any lock, 0, -errno */

/* 0 woken or the word has changed; -ETIMEDOUT; -EINTR. */
int shk_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns);
void shk_futex_wake_all(uint32_t *word);

/*
 * Asymmetric barrier. After shk_barrier_register() has returned true once in a process, another
 * process's shk_barrier_all() acts as a full barrier on every thread of it.
 */
bool shk_barrier_register(void);
bool shk_barrier_all(void);                 /* false: the system has none */

#endif
