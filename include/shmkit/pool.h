/*
 * libshmkit: pools, objects in place, named by handles that never lie.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h. Names, creating and
 * opening: shmkit/object.h.
 */
#ifndef SHMKIT_POOL_H
#define SHMKIT_POOL_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>
#include <shmkit/segment.h>
#include <shmkit/object.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Pools
 *
 * A pool holds objects of one size. acquire() gives one, named by a 64-bit object handle that means
 * the same in every process and may be stored in shared memory. Once the object is released its
 * handle is refused everywhere, though the slot is in use again.
 *
 * Who acquired an object is its owner. The object outlives its owner: it stays when the owner
 * closes the pool or dies, until somebody releases it, adopts it, or reclaims what has no living
 * owner. The library does not order or guard what processes read and write in an object, and an
 * owner killed in the middle of a write leaves what it had written.
 *
 * A pointer to an object is right until the object is released, by whomever. It has no error
 * channel: after that it shows what the next owner of the slot writes there.
 */

/**
 * struct shmkit_pool - A handle on a pool.
 *
 * Opaque.
 */
struct shmkit_pool;

/**
 * SHMKIT_POOL_INVALID - An object handle that never names an object.
 */
#define SHMKIT_POOL_INVALID ((uint64_t)0)

/**
 * shmkit_pool_create() - Create a pool that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an object, 1 to 2^30.
 * @capacity: Objects, 1 to 2^28 - 1.
 * @options: Alignment and schema; NULL for defaults.
 * @ret_pool: The new handle, to be closed with shmkit_pool_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole pool or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -E2BIG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_pool_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		       uint64_t capacity, const struct shmkit_object_options *options,
		       struct shmkit_pool **ret_pool);

/**
 * shmkit_pool_open() - Open a pool that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @element_size: Bytes of an object as the caller knows it; 0 accepts whatever is there.
 * @ret_pool: The new handle, to be closed with shmkit_pool_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind or element size;
 *         -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_pool_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		     struct shmkit_pool **ret_pool);

/**
 * shmkit_pool_open_or_create() - Open a pool, or create it where it does not exist.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an object, 1 to 2^30.
 * @capacity: Objects, 1 to 2^28 - 1.
 * @options: Alignment and schema; NULL for defaults.
 * @ret_pool: The handle, to be closed with shmkit_pool_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_pool_create() or shmkit_pool_open().
 * Crash: As shmkit_pool_create().
 * Return: 1 created; 0 opened; -EPROTOTYPE it is of another kind, element size, capacity or schema;
 *         -ENOSPC; -EROFS; -EBUSY; -EINVAL; -ENAMETOOLONG; -E2BIG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_pool_open_or_create(struct shmkit_segment *segment, const char *name,
			       uint32_t element_size, uint64_t capacity,
			       const struct shmkit_object_options *options,
			       struct shmkit_pool **ret_pool);

/**
 * shmkit_pool_close() - Give up a pool handle.
 * @pool: Handle, or NULL. No other thread may be using it; pointers obtained through it end.
 *
 * The pool stays in the segment, and so do the objects the caller owns.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_pool_close(struct shmkit_pool *pool);

/**
 * shmkit_pool_get_info() - Tell name, size, fill and schema of a pool.
 * @pool: Open handle, on a read-only segment too.
 * @ret_info: Where to write it; struct_size is set.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view.
 * Return: 0; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_pool_get_info(const struct shmkit_pool *pool, struct shmkit_entry_info *ret_info);

/**
 * shmkit_pool_capacity() - Tell how many objects a pool can hold.
 * @pool: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Objects, exactly as asked for at creation; 0 when pool is NULL.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_pool_capacity(const struct shmkit_pool *pool);

/**
 * shmkit_pool_size() - Tell how many live objects a pool holds.
 * @pool: Open handle, on a read-only segment too.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view.
 * Return: 0 to capacity; 0 when pool is NULL or the pool was removed.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_pool_size(const struct shmkit_pool *pool);

/**
 * shmkit_pool_element_size() - Tell how large an object is.
 * @pool: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Bytes; 0 when pool is NULL.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_pool_element_size(const struct shmkit_pool *pool);

/**
 * shmkit_pool_acquire() - Make an object.
 * @pool: Open handle.
 * @ret_handle: Names the new object in every process, until it is released.
 *
 * Its bytes are zero. The caller's member is its owner.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Acquire; pairs with the release that freed the slot.
 * Crash: The caller's death inside the call leaves no object, and peers free the slot, or an object
 *        whose owner is dead, and shmkit_pool_reclaim() releases it.
 * Return: 0; -EAGAIN full; -EROFS; -EINVAL; -ESTALE the pool was removed; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_pool_acquire(struct shmkit_pool *pool, uint64_t *ret_handle);

/**
 * shmkit_pool_release() - Release an object, whoever owns it.
 * @pool: Open handle.
 * @handle: Names the object; refused in every process from now on.
 *
 * Of any number of concurrent callers one releases it; the others get -ESTALE.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Release; pairs with the acquire that makes the next object there.
 * Crash: The caller's death leaves the object live or released.
 * Return: 0; -ESTALE it is released already, never was an object, or the pool was removed; -EROFS;
 *         -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_pool_release(struct shmkit_pool *pool, uint64_t handle);

/**
 * shmkit_pool_get() - Get the address of an object, to read and write.
 * @pool: Open handle.
 * @handle: Names the object.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the making of the object, not with later writes to it.
 * Return: The address, right until the object is released or the handle on the pool closed; NULL
 *         once the object is released, in every process, though the slot is in use again; NULL on a
 *         read-only segment, after the pool was removed, and in a forked child that could not join.
 * Since: 1.0
 */
SHMKIT_API void *shmkit_pool_get(struct shmkit_pool *pool, uint64_t handle);

/**
 * shmkit_pool_view() - Get the address of an object, to read.
 * @pool: Open handle, on a read-only segment too.
 * @handle: Names the object.
 *
 * Context: Any thread; does not wait.
 * Ordering: As shmkit_pool_get().
 * Return: The address, right until the object is released or the handle on the pool closed; NULL
 *         once the object is released, after the pool was removed, and in a forked child that could
 *         not join.
 * Since: 1.0
 */
SHMKIT_API const void *shmkit_pool_view(const struct shmkit_pool *pool, uint64_t handle);

/**
 * shmkit_pool_read() - Copy an object out.
 * @pool: Open handle, on a read-only segment too.
 * @handle: Names the object.
 * @ret_element: element_size bytes of the caller's; written also when the result is -ESTALE
 *	because the object was released during the copy.
 *
 * The bytes are those of this object and no other. What its holder writes meanwhile may be seen in
 * part.
 *
 * Context: Any thread; does not wait.
 * Ordering: As shmkit_pool_get().
 * Return: 0; -ESTALE it is released, also if that was during the copy, or the pool was removed;
 *         -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_pool_read(const struct shmkit_pool *pool, uint64_t handle, void *ret_element);

/**
 * shmkit_pool_index() - Tell which slot an object lies in.
 * @pool: Open handle, on a read-only segment too.
 * @handle: Names the object.
 *
 * To keep data beside the pool in arrays of the same capacity.
 *
 * Context: Any thread; does not wait.
 * Return: 0 to capacity - 1; -ESTALE it is released, or the pool was removed; -EINVAL; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_pool_index(const struct shmkit_pool *pool, uint64_t handle);

/**
 * shmkit_pool_at() - Tell which object lies in a slot.
 * @pool: Open handle, on a read-only segment too.
 * @index: 0 to capacity - 1.
 * @ret_handle: Names the live object there.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the making of the object.
 * Return: 0; -ENOENT none is there; -ERANGE index is past the end; -EINVAL; -ESTALE; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_pool_at(const struct shmkit_pool *pool, uint64_t index, uint64_t *ret_handle);

/**
 * shmkit_pool_next() - Walk the live objects of a pool.
 * @pool: Open handle, on a read-only segment too.
 * @cursor: Where the walk is; 0 to begin, otherwise as the last call left it.
 * @ret_handle: Names the next live object.
 *
 * In the order of their slots. What is made or released during the walk may be seen or not.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the making of the object.
 * Return: 1 one more; 0 the end; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_pool_next(struct shmkit_pool *pool, uint64_t *cursor, uint64_t *ret_handle);

/**
 * shmkit_pool_owner() - Tell who owns an object.
 * @pool: Open handle, on a read-only segment too.
 * @handle: Names the object.
 * @ret_pid: Process id of the owner as its own PID namespace names it; 0 once it has left the
 *	segment, or died and was cleaned up after.
 * @ret_alive: 1 the owner is attached and alive; 0 it is dead or has left.
 *
 * Context: Any thread; does not wait. Asks the kernel about the owner.
 * Ordering: None: a moment's view.
 * Return: 0; -ESTALE the object is released, or the pool was removed; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_pool_owner(struct shmkit_pool *pool, uint64_t handle, int32_t *ret_pid,
				 uint32_t *ret_alive);

/**
 * shmkit_pool_adopt() - Become the owner of an object, whoever it was.
 * @pool: Open handle.
 * @handle: Names the object; goes on naming it.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child.
 * Ordering: Acquire; pairs with the making of the object.
 * Crash: The caller's death leaves the old owner or the caller, which is dead then.
 * Return: 0; -ESTALE the object is released, or the pool was removed; -EROFS; -EINVAL; -EBADMSG;
 *         -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_pool_adopt(struct shmkit_pool *pool, uint64_t handle);

/**
 * shmkit_pool_reclaim() - Release every object whose owner is dead or has left the segment.
 * @pool: Open handle.
 *
 * Context: Any thread, any process; does not wait; usable in a forked child. Looks at every slot.
 * Ordering: Release; pairs with the acquires that use the slots next.
 * Crash: The caller's death leaves some of them released; another call releases the rest.
 * Return: How many this call has released, 0 or more; -EROFS; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int64_t shmkit_pool_reclaim(struct shmkit_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
