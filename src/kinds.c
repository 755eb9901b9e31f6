/*
 * The kinds of structures there are. The only file that knows them all.
 */
#include "kinds.h"

#include <stddef.h>

const struct shk_kind *shk_kind_of(uint32_t kind)
{
	switch (kind) {
	case SHMKIT_KIND_ARRAY:
		return &shk_kind_array;
	case SHMKIT_KIND_QUEUE:
		return &shk_kind_queue;
	case SHMKIT_KIND_RING:
		return &shk_kind_ring;
	case SHMKIT_KIND_POOL:
		return &shk_kind_pool;
	case SHMKIT_KIND_ATOMIC_U32:
	case SHMKIT_KIND_ATOMIC_I32:
	case SHMKIT_KIND_ATOMIC_U64:
	case SHMKIT_KIND_ATOMIC_I64:
	case SHMKIT_KIND_ATOMIC_BOOL:
	case SHMKIT_KIND_ATOMIC_F64:
		return &shk_kind_atomics[kind - SHMKIT_KIND_ATOMIC_U32];
	default:
		return NULL;
	}
}
