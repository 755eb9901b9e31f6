/*
 * libshmkit: what arrays, queues, rings and pools share.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h.
 */
#ifndef SHMKIT_OBJECT_H
#define SHMKIT_OBJECT_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>
#include <shmkit/segment.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * DOC: Creating and opening structures
 *
 * A structure has a name of 1 to name_size - 1 bytes, any but NUL, unique in its segment whatever
 * its kind. Its memory is allocated when it is created and is all zero bytes: new elements are
 * zero. An element has 1 to 2^30 bytes. Array, ring and pool hold exactly the capacity asked for; a
 * queue rounds it up to a power of two, which its capacity() tells.
 *
 * create() makes one that must not exist yet. It appears complete, or, when its creator dies, not
 * at all; two creators of one name wait for each other.
 *   -EEXIST      the name is taken
 *   -ENOSPC      the segment or its table is full, or there is no memory behind it
 *   -EROFS       the segment is open read-only
 *   -EBUSY       a stopped process holds the table or is in the middle of making that name
 *   -EINVAL      a NULL pointer, an empty name, a number out of range, an unknown flag, an
 *                alignment or schema that does not fit the element size
 *   -ENAMETOOLONG, -E2BIG, -ENOMEM, -EBADMSG, -ECHILD
 *
 * open() finds one; its capacity is that of its creator. An element_size of 0 accepts whatever is
 * there.
 *   -ENOENT      nothing has that name
 *   -EPROTOTYPE  it is of another kind or element size
 *   -EINVAL, -ENAMETOOLONG, -ENOMEM, -EBADMSG, -ECHILD
 *
 * open_or_create() does the one or the other: 1 it was created, 0 it was opened. 0 does not mean
 * that the creator has filled it. Another capacity (as asked, not as rounded), element size, kind,
 * flags or schema (where both are given) is -EPROTOTYPE; otherwise its errors are those of the
 * other two, without -EEXIST and -ENOENT. On a read-only segment it opens, and is -EROFS where it
 * would have to create.
 */

/**
 * struct shmkit_object_options - What a new structure is to be like; all zero is the default.
 * @struct_size: sizeof(struct shmkit_object_options).
 * @flags: Bits of the kind: SHMKIT_RING_* for a ring, 0 for the others.
 * @alignment: Bytes, of each element: a power of two, at most 4096. 0: the largest up to 16 that
 *	divides element_size. An array's must divide element_size, since its elements lie
 *	element_size apart.
 * @reserved: 0.
 * @schema: The fields of an element, such as "timestamp:u64 producer:i32 values:f32[8]", at most
 *	1023 bytes; NULL for none. Types: u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 bool char, each with
 *	an optional [count], each at its natural alignment (on i386 too); the whole must have
 *	element_size bytes. Borrowed for the call.
 */
struct shmkit_object_options {
	uint32_t    struct_size;
	uint32_t    flags;
	uint32_t    alignment;
	uint32_t    reserved;
	const char *schema;
};

/**
 * shmkit_object_footprint() - Tell what a structure takes of a segment.
 * @kind: SHMKIT_KIND_*.
 * @element_size: Bytes of an element; for an atomic, the size of its type.
 * @capacity: Elements as they would be asked for; for an atomic, 1.
 * @options: As for the create function of the kind; NULL for defaults.
 * @ret_size: Bytes, padding included.
 *
 * A segment that is to hold some structures is large enough with shmkit_segment_footprint() and
 * the sum of theirs.
 *
 * Context: Any thread; does not wait.
 * Return: 0; -ENOSPC larger than any segment can be; -EINVAL as the create function; -E2BIG options
 *         this library does not know.
 * Since: 1.0
 */
SHMKIT_API int shmkit_object_footprint(uint32_t kind, uint32_t element_size, uint64_t capacity,
				       const struct shmkit_object_options *options,
				       uint64_t *ret_size);

#ifdef __cplusplus
}
#endif
#endif
