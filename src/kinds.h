/*
 * One descriptor for each kind of structure, each defined in the structure's own file.
 */
#ifndef SHK_KINDS_H
#define SHK_KINDS_H

#include "object.h"

extern const struct shk_kind shk_kind_array;
extern const struct shk_kind shk_kind_queue;
extern const struct shk_kind shk_kind_ring;
extern const struct shk_kind shk_kind_pool;
extern const struct shk_kind shk_kind_atomics[6];   /* by kind - SHMKIT_KIND_ATOMIC_U32 */

#endif
