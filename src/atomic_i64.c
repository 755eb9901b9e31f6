/*
 * Atomics of type int64_t.
 */
#define FAMILY shmkit_atomic_i64
#define KIND SHMKIT_KIND_ATOMIC_I64
#define TYPE int64_t
#define WORD shk_u64
#include "atomic_integer.h"
