/*
 * Where extents lie: derived from the table, nothing is stored.
 */
#ifndef SHK_SPACE_H
#define SHK_SPACE_H

#include "segment.h"

/*
 * The lowest place for size bytes, under the table lock: a gap left by a removed entry, or behind
 * the last one. -ENOSPC (last error set; name is what it is for).
 */
int shk_space_find(struct shmkit_segment *segment, uint64_t size, uint64_t alignment,
		   const char *name, uint64_t *ret_offset);

/* Bytes taken: header, members, table and every entry that is not FREE. */
uint64_t shk_space_used(struct shmkit_segment *segment);

/* Is that range between the table and the segment's end? */
bool shk_space_is_inside(struct shmkit_segment *segment, uint64_t offset, uint64_t size);

/* 0, or -EBADMSG when two entries overlap or one lies outside. */
int shk_space_check(struct shmkit_segment *segment);

#endif
