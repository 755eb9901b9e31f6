/*
 * Atomics of type uint32_t.
 */
#define FAMILY shmkit_atomic_u32
#define KIND SHMKIT_KIND_ATOMIC_U32
#define TYPE uint32_t
#define WORD uint32_t
#include "atomic_integer.h"
