/*
 * libshmkit: arrays, a fixed run of elements.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h. Names, creating and
 * opening: shmkit/object.h.
 */
#ifndef SHMKIT_ARRAY_H
#define SHMKIT_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>
#include <shmkit/segment.h>
#include <shmkit/object.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Arrays
 *
 * An array is plain memory under a name. The library does not order or guard what processes read
 * and write in it: elements that change while others read them need a protocol of the
 * application's, such as an atomic beside them, or one writer per element. What a process killed in
 * the middle of a write leaves is a mixture of old and new bytes, which nobody repairs.
 */

/**
 * struct shmkit_array - A handle on an array.
 *
 * Opaque.
 */
struct shmkit_array;

/**
 * shmkit_array_create() - Create an array that must not exist yet.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element, 1 to 2^30.
 * @capacity: Elements, at least 1.
 * @options: Alignment and schema; NULL for defaults.
 * @ret_array: The new handle, to be closed with shmkit_array_close().
 *
 * All elements are zero bytes.
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: Release; pairs with the open that finds it.
 * Crash: The caller's death leaves the whole array or nothing; peers take back its space.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the segment or its table is full, or no memory
 *         behind it; -EROFS; -EBUSY a stopped process holds the table; -EINVAL; -ENAMETOOLONG;
 *         -E2BIG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_array_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
			uint64_t capacity, const struct shmkit_object_options *options,
			struct shmkit_array **ret_array);

/**
 * shmkit_array_open() - Open an array that exists.
 * @segment: Open handle, read-only or not.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element as the caller knows it; 0 accepts whatever is there.
 * @ret_array: The new handle, to be closed with shmkit_array_close().
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation.
 * Return: 0; -ENOENT nothing has that name; -EPROTOTYPE it is of another kind or element size;
 *         -EINVAL; -ENAMETOOLONG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_array_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		      struct shmkit_array **ret_array);

/**
 * shmkit_array_open_or_create() - Open an array, or create it where it does not exist.
 * @segment: Open handle.
 * @name: Its name in the segment.
 * @element_size: Bytes of an element, 1 to 2^30.
 * @capacity: Elements, at least 1.
 * @options: Alignment and schema; NULL for defaults.
 * @ret_array: The handle, to be closed with shmkit_array_close().
 *
 * Context: Any thread; may wait for another that is creating something in the segment.
 * Ordering: As shmkit_array_create() or shmkit_array_open().
 * Crash: As shmkit_array_create().
 * Return: 1 created; 0 opened, which does not mean that the creator has filled it; -EPROTOTYPE it
 *         is of another kind, element size, capacity or schema; -ENOSPC; -EROFS; -EBUSY; -EINVAL;
 *         -ENAMETOOLONG; -E2BIG; -ENOMEM; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_array_open_or_create(struct shmkit_segment *segment, const char *name,
				uint32_t element_size, uint64_t capacity,
				const struct shmkit_object_options *options,
				struct shmkit_array **ret_array);

/**
 * shmkit_array_close() - Give up an array handle.
 * @array: Handle, or NULL. No other thread may be using it; pointers obtained through it end.
 *
 * The array stays in the segment.
 *
 * Context: One thread; does not wait.
 * Since: 1.0
 */
SHMKIT_API void shmkit_array_close(struct shmkit_array *array);

/**
 * shmkit_array_get_info() - Tell name, size and schema of an array.
 * @array: Open handle.
 * @ret_info: Where to write it; struct_size is set.
 *
 * Context: Any thread; does not wait.
 * Return: 0; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_array_get_info(const struct shmkit_array *array, struct shmkit_entry_info *ret_info);

/**
 * shmkit_array_capacity() - Tell how many elements an array has.
 * @array: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Elements; 0 when array is NULL.
 * Since: 1.0
 */
SHMKIT_API uint64_t shmkit_array_capacity(const struct shmkit_array *array);

/**
 * shmkit_array_element_size() - Tell how large an element is.
 * @array: Open handle.
 *
 * Context: Any thread; does not wait.
 * Return: Bytes; 0 when array is NULL.
 * Since: 1.0
 */
SHMKIT_API uint32_t shmkit_array_element_size(const struct shmkit_array *array);

/**
 * shmkit_array_data() - Get the address of element 0, to read and write.
 * @array: Open handle.
 *
 * Elements lie element_size apart, capacity of them. A raw pointer has no error channel: after the
 * array is removed it reads and writes memory that nobody else will see.
 *
 * Context: Any thread; does not wait.
 * Ordering: None; see the top of this header.
 * Return: The address, valid until the handle is closed; NULL on a read-only segment, after the
 *         array was removed, in a forked child that could not join, and when array is NULL.
 * Since: 1.0
 */
SHMKIT_API void *shmkit_array_data(struct shmkit_array *array);

/**
 * shmkit_array_view() - Get the address of element 0, to read.
 * @array: Open handle, on a read-only segment too.
 *
 * Context: Any thread; does not wait.
 * Ordering: None; see the top of this header.
 * Return: The address, valid until the handle is closed; NULL after the array was removed, in a
 *         forked child that could not join, and when array is NULL.
 * Since: 1.0
 */
SHMKIT_API const void *shmkit_array_view(const struct shmkit_array *array);

/**
 * shmkit_array_at() - Get the address of one element, to read and write.
 * @array: Open handle.
 * @index: 0 to capacity - 1.
 *
 * Context: Any thread; does not wait.
 * Ordering: None; see the top of this header.
 * Return: The address, valid until the handle is closed; NULL past the end, and where
 *         shmkit_array_data() is NULL.
 * Since: 1.0
 */
SHMKIT_API void *shmkit_array_at(struct shmkit_array *array, uint64_t index);

/**
 * shmkit_array_read() - Copy elements out of an array.
 * @array: Open handle, on a read-only segment too.
 * @first: Index of the first one.
 * @count: Elements.
 * @ret_elements: count * element_size bytes of the caller's; may be NULL when count is 0.
 *
 * Not a snapshot: what others write meanwhile may be seen in part.
 *
 * Context: Any thread; does not wait.
 * Ordering: None; see the top of this header.
 * Return: 0; -ERANGE some of them lie past the end; -EINVAL; -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_array_read(const struct shmkit_array *array, uint64_t first, uint64_t count,
				 void *ret_elements);

/**
 * shmkit_array_write() - Copy elements into an array.
 * @array: Open handle.
 * @first: Index of the first one.
 * @count: Elements.
 * @elements: count * element_size bytes, borrowed for the call; may be NULL when count is 0.
 *
 * Context: Any thread; does not wait.
 * Ordering: None; see the top of this header.
 * Crash: The caller's death leaves a mixture of old and new bytes; nobody repairs it.
 * Return: 0; -ERANGE some of them lie past the end, and nothing was written; -EROFS; -EINVAL;
 *         -ESTALE; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_array_write(struct shmkit_array *array, uint64_t first, uint64_t count,
				  const void *elements);

#ifdef __cplusplus
}
#endif
#endif
