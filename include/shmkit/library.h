/*
 * libshmkit: version, error codes and their texts, and the macros the other headers use.
 */
#ifndef SHMKIT_LIBRARY_H
#define SHMKIT_LIBRARY_H

#include <stddef.h>
#include <stdint.h>

/*
 * SHMKIT_API          a function of the library; visible outside it
 * SHMKIT_NODISCARD    to ignore the result is a bug: what it would have told is needed
 * SHMKIT_IN_OUT(n)    parameter n points to a value that must be set before the call, such as
 *                     struct_size or a cursor; gcc 10 and later warns when it is not
 *
 * They expand to attributes or to nothing, and change no calling convention.
 */
#if defined(__GNUC__)
#define SHMKIT_API __attribute__((visibility("default")))
#define SHMKIT_NODISCARD __attribute__((warn_unused_result))
#else
#define SHMKIT_API
#define SHMKIT_NODISCARD
#endif

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 10
#define SHMKIT_IN_OUT(n) __attribute__((access(read_write, n)))
#else
#define SHMKIT_IN_OUT(n)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Error codes
 *
 * A failure is one of these, negative. The table is closed: a program may switch over it.
 * shmkit_strerror() knows each; shmkit_last_error() says what it was this time.
 *
 * EINVAL           An argument is not valid: NULL where that is not allowed, an unknown flag bit,
 *                  a number outside its range, a struct_size that is too small.
 * E2BIG            An options structure has non-zero fields this library does not know.
 * ENAMETOOLONG     The name or label is too long.
 * ENOENT           Nothing has that name, or lies there.
 * EEXIST           The name is taken.
 * EACCES           The permissions of the shared memory do not allow it.
 * EPERM            It belongs to another: a slot to another process, a name to another user, a
 *                  group the caller is not in.
 * EPROTO           Not a shmkit segment, or damaged beyond use. The only code on which a program
 *                  that clears away what it cannot open should do so.
 * EPROTONOSUPPORT  A segment in a newer format this library does not know.
 * EPROTOTYPE       The structure of that name is of another kind, element size, capacity, flags
 *                  or schema.
 * EROFS            The segment is open read-only, or this library may open it read-only only.
 * EUSERS           Every member slot of the segment is taken by a living process.
 * ENOSPC           No space left: in the segment, in its table, or in the file system behind it.
 * ENOMEM           Not enough memory or address space in this process.
 * EFBIG            A size larger than this process can map.
 * EMFILE           This process has too many open descriptors.
 * ENFILE           The system has too many open files.
 * EAGAIN           Nothing there, or no room, at this moment; the call did not wait.
 * EBUSY            A process that is alive holds what is needed: the role of a ring's end, or,
 *                  stopped, a lock that others need; reported after a bounded time.
 * ETIMEDOUT        Not possible within the time given; also for a timeout of 0.
 * EINTR            A signal handler ran during the wait.
 * ECANCELED        shmkit_segment_interrupt() ended the wait.
 * ESHUTDOWN        The queue or ring is shut down and, to those who take from it, drained.
 * ESTALE           Gone: the structure was removed, the object released, the slot is held no
 *                  longer, or the last member left the segment a read-only opener waits on.
 * EBADMSG          The bytes in the segment are damaged. No access outside the segment was made.
 * ERANGE           An index or position outside the structure.
 * ECHILD           This is a forked child that could not join the segment as a member of its own.
 * ENOSYS           The system lacks what is needed.
 * EIO              The system refused in a way the library has no better word for; the sentence
 *                  of shmkit_last_error() has the system's.
 */

/**
 * SHMKIT_VERSION - The version of these headers.
 *
 * major << 16 | minor << 8 | patch. shmkit_version() is the version of the library that runs.
 */
#define SHMKIT_VERSION 0x010000u

/**
 * shmkit_version() - Tell the version of the library at run time.
 *
 * Context: Any thread; does not wait.
 * Return: major << 16 | minor << 8 | patch, to compare with SHMKIT_VERSION.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_version(void);

/**
 * shmkit_version_string() - Tell the version of the library at run time as text.
 *
 * Context: Any thread; does not wait.
 * Return: Static text such as "1.0.0"; never NULL.
 * Since: 1.0
 */
SHMKIT_API const char *shmkit_version_string(void);

/**
 * shmkit_strerror() - Describe an error code.
 * @error: The negative result of a call, such as -ENOENT; 0 or more is a success.
 *
 * The text is about the code alone. What went wrong in the call that failed, and what to do about
 * it, is told by shmkit_last_error().
 *
 * Context: Any thread; does not wait.
 * Return: Static text in the library's own meaning of the code, also for codes it never returns;
 *         never NULL.
 * Since: 1.0
 */
SHMKIT_API const char *shmkit_strerror(int error);

/**
 * shmkit_last_error() - Tell in one sentence why a call of this thread last failed.
 *
 * The sentence says what was asked, what was found and what to do. Results of polling, such as
 * -EAGAIN and -ETIMEDOUT, set it to a fixed text: polling formats nothing. A call that succeeds
 * leaves the text as it is. Functions that return no error code set it too when they could not do
 * what was asked.
 *
 * Context: Any thread; does not wait. Each thread has a text of its own.
 * Return: Text owned by the library, valid until the next call of this thread that fails, or the
 *         end of the thread; never NULL.
 * Since: 1.0
 */
SHMKIT_API const char *shmkit_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
