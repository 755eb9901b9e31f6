/*
 * libshmkit: arrays, queues, rings, pools and atomics in POSIX shared memory.
 *
 * This header includes all the others; each of them can be included alone.
 */
#ifndef SHMKIT_H
#define SHMKIT_H

/**
 * DOC: Conventions
 *
 * A segment is one shared-memory object. It holds structures that are found by name. There is no
 * daemon and no file beside it. Processes that have it open are its members; each of them may be
 * killed at any instruction. What a dead member left half done is undone, finished or given back
 * by its peers as they meet it: one that is blocked by it goes on within 250 ms of the kernel
 * having torn the dead process down. What follows holds for every function; the comments on each
 * say what it adds.
 *
 * Results. An int or int64_t result is 0, or a count, or 1 for yes and 0 for no, where stated;
 * failure is a negative errno value out of the table in shmkit/library.h. errno is not touched.
 * Parameters named ret_* are where results go: they come last, and are written on success only;
 * but a buffer for elements may be overwritten by a call that then fails.
 * shmkit_last_error() tells what went wrong in words. Functions that return a value or a pointer
 * have no error code: they return 0 or NULL where they could not do what was asked, and set the
 * text.
 *
 * Errors any function may return, though its own comment lists them by name only:
 *   -EINVAL   NULL where it is not said to be allowed, a flag bit not known, a number out of range
 *   -ESTALE   the structure the handle stands for was removed
 *   -EBADMSG  the bytes found in the segment are damaged, or the file was truncated
 *   -ECHILD   a forked child that could not join the segment
 *   -EROFS    a function that would write, on a segment opened with SHMKIT_READ_ONLY
 *
 * Time. A timeout_ns is in nanoseconds on CLOCK_MONOTONIC, counted from the call. Less than 0
 * waits for ever; 0 does not wait. What can be done at once is done, whatever the timeout. What
 * could not be done in time is -ETIMEDOUT, also for 0. A signal handler that runs during a wait
 * ends it with -EINTR; shmkit_segment_interrupt() ends it with -ECANCELED. Waiting needs no help:
 * a waiter looks for dead peers at least every 50 ms.
 *
 * Sizes. Elements are copied as bytes; element_size is in bytes. Names are NUL-terminated.
 * A size_t counts elements in a buffer of the caller.
 *
 * Structs of options and of results begin with struct_size, which the caller sets to sizeof of the
 * struct. One smaller than that of the first release is -EINVAL; options with non-zero fields the
 * library does not know are -E2BIG; results are written within struct_size only, and what the
 * library does not know becomes zero. A NULL options pointer means defaults. Reserved fields are
 * zero.
 *
 * Ownership. A handle belongs to the caller until it is closed; close() takes NULL. Buffers, names
 * and options are borrowed for the call. A segment stays mapped and joined until the last handle
 * and reader opened from it is closed: any order of closing is safe.
 *
 * Threads. A handle may be used by many threads at once, except while it is being closed, and
 * except where a single thread is stated: the ends of a ring, and ring readers. No function is
 * promised to be safe in a signal handler. A thread that ends leaves behind what it had reserved
 * or leased: that belongs to the process.
 *
 * Fork. A forked child may use the handles it inherited, and closes them as its parent does. At
 * its first call it joins the segment as a member of its own; where that is impossible the call is
 * -ECHILD. What the parent had reserved, leased or taken the role of stays the parent's; the child
 * gets -EPERM or -EBUSY. An exec ends membership like a death; so does an exit without closing the
 * segment: peers clean up, but after the last member the name stays, until the next open and close.
 *
 * Read-only. With SHMKIT_READ_ONLY every function that would write is -EROFS, and does nothing
 * where it has no error code. A read-only opener is no member: it is not listed and keeps no name
 * alive. Its waits may return up to 2 ms late. When the last member has left, what it sees stays
 * readable, and its waits are -ESTALE, since nobody will write again.
 *
 * Removal. After shmkit_segment_remove() every handle still open on the structure answers -ESTALE,
 * or 0 or NULL. The memory is used again only when nobody can touch it any more, so that a raw
 * pointer obtained before stays safe to read and write until the handle is closed.
 *
 * Limits. A stopped process (SIGSTOP, a frozen cgroup, a core being dumped) is alive, and can hold
 * up others at the place it is working on; where a lock is concerned they get -EBUSY after a
 * bounded time. A peer with write access can deny service; it cannot make another crash, loop
 * without end or touch memory outside the segment. One who may only read the object can, by locks
 * on the file, make opens fail with -EUSERS and delay the last close, which then leaves the name.
 *
 * No inline function, macro, callback or variadic call is needed to use any of it.
 */

#include <shmkit/library.h>
#include <shmkit/segment.h>
#include <shmkit/object.h>
#include <shmkit/array.h>
#include <shmkit/queue.h>
#include <shmkit/ring.h>
#include <shmkit/pool.h>
#include <shmkit/atomic.h>

#endif
