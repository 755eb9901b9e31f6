/*
 * Atomics of type int32_t.
 */
#define FAMILY shmkit_atomic_i32
#define KIND SHMKIT_KIND_ATOMIC_I32
#define TYPE int32_t
#define WORD uint32_t
#include "atomic_integer.h"
