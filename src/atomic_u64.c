/*
 * Atomics of type uint64_t.
 */
#define FAMILY shmkit_atomic_u64
#define KIND SHMKIT_KIND_ATOMIC_U64
#define TYPE uint64_t
#define WORD shk_u64
#include "atomic_integer.h"
