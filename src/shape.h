/*
 * Shapes: what a structure is, as its creator asks for it and as its entry claims.
 */
#ifndef SHK_SHAPE_H
#define SHK_SHAPE_H

#include "object.h"
#include "table.h"

/* As asked for. ret_schema: its schema in the stored form, or "". 0, -EINVAL, -ENOSPC, -E2BIG. */
int shk_shape_from_options(uint32_t kind_number, uint32_t element_size, uint64_t capacity,
			   const struct shmkit_object_options *given, struct shk_shape *ret_shape,
			   char ret_schema[SHK_SCHEMA_SIZE]);

/* As an entry claims, if it can be true. 0 or -EBADMSG (no last error). */
int shk_shape_from_entry(const struct shk_kind *kind, const struct shk_entry_shm *entry,
			 struct shk_shape *ret_shape);

/*
 * What an entry is against what is asked for now: 0, or -EPROTOTYPE with both in the sentence.
 * element_size 0: any.
 */
int shk_shape_check_kind(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			 uint32_t kind, uint32_t element_size);
int shk_shape_check_same(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			 const struct shk_shape *asked);
/* The schema lies in the extent: only for one who has announced the entry. */
int shk_shape_check_schema(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			   const struct shk_shape *asked, const char *schema);

#endif
