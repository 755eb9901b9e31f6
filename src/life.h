/*
 * How segments come to be, are joined, and end. Shared by create.c, open.c and segment.c.
 *
 * Create: everything is made in a file without a name, and the name is linked to it last: nobody
 * ever finds half a segment, and a death before the link leaves nothing.
 *
 * The end: he who holds the write lock SHK_LOCK_LIFE of an inode, and only he, unlinks or replaces
 * its name; the kernel drops it when its holder dies. The last member takes it, sees that no other
 * is alive, unlinks, frees its id, lets go. An opener joins first (LIVE), then looks whether
 * somebody holds it, then whether the file still has a name: either the closer sees the newcomer
 * LIVE, or the newcomer sees the lock or the missing name and starts again.
 *
 * | dies                         | leaves                       | outcome                          |
 * |------------------------------|------------------------------|----------------------------------|
 * | creating, before the link    | nothing                      |                                  |
 * | opening                      | perhaps a dead member        | repaired                         |
 * | closing, before the unlink   | a segment without a member   | the next opener goes on with it  |
 * | closing, after the unlink    | an inode without a name      | gone with its last mapping       |
 * | replacing, before the rename | a file .shmkit-*             | removed by hand                  |
 */
#ifndef SHK_LIFE_H
#define SHK_LIFE_H

#include "segment.h"

#include <sys/stat.h>

/* "/game" or "game" -> "game". 0, -EINVAL, -ENAMETOOLONG. */
int shk_check_segment_name(const char *name, const char **ret_bare);

/*
 * A handle without a mapping yet; takes fd over, also on failure. file: what fstat() says of it.
 * name may be "" (title stands for it in messages).
 */
int shk_segment_new(int fd, const struct stat *file, const char *name, const char *title, bool read_only,
		    struct shmkit_segment **ret_segment);

/* Maps geometry.max_size bytes. 0, -ENOMEM, -EFBIG. */
int shk_segment_map(struct shmkit_segment *segment, const struct shk_geometry *geometry);

/* Joins under the process lock. */
int shk_segment_join(struct shmkit_segment *segment);

/* Huge pages, populate, guard: as the flags of this call ask. */
void shk_segment_advise(struct shmkit_segment *segment, uint32_t flags);

/* Undoes new and map (and leaves, when joined) without unlinking anything. */
void shk_segment_discard(struct shmkit_segment *segment);

/*
 * Takes SHK_LOCK_LIFE of the file that fd refers to (inode, of device) through a description of its
 * own, told in *ret_fd. Under the process lock: a child forked meanwhile would share the
 * description. 0; -EBUSY when a living process has held it for long (last error set); or why not.
 */
int shk_life_lock(int fd, dev_t device, ino_t inode, const char *name, const char *title, int *ret_fd);
void shk_life_unlock(int life_fd);          /* takes -1 */

/* Opens what has that name if it is a regular file; last error tells why not. ret_file: fstat(). */
int shk_open_segment_file(const char *name, bool writable, struct stat *ret_file);

/* Does name name the file that fd refers to? */
bool shk_name_is(const char *name, int fd);

/* The same for a segment, though its descriptor may have been closed by somebody. */
bool shk_name_is_segment(const struct shmkit_segment *segment);

/* Opens the segment of that bare name. */
int shk_open_by_name(const char *name, uint32_t flags, struct shmkit_segment **ret_segment);

#endif
