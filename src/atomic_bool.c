/*
 * Atomics that are 0 or 1. Whatever is not 0 counts as 1, also in shared memory.
 */
#include <stdint.h>

#define FAMILY shmkit_atomic_bool
#define KIND SHMKIT_KIND_ATOMIC_BOOL
#define TYPE uint8_t
#define WORD uint8_t

static inline WORD to_word(const TYPE *value)
{
	return *value != 0;
}

static inline void from_word(WORD word, TYPE *ret_value)
{
	*ret_value = word != 0;
}

#include "atomic_family.h"
