/*
 * Atomics of type double. Compared as bytes; arithmetic by compare and exchange.
 */
#include "atomics.h"

#include <string.h>

#define FAMILY shmkit_atomic_f64
#define KIND SHMKIT_KIND_ATOMIC_F64
#define TYPE double
#define WORD shk_u64

_Static_assert(sizeof(TYPE) == sizeof(WORD), "a double has 8 bytes");

static inline WORD to_word(const TYPE *value)
{
	WORD word;

	memcpy(&word, value, sizeof(word));
	return word;
}

static inline void from_word(WORD word, TYPE *ret_value)
{
	memcpy(ret_value, &word, sizeof(word));
}

#include "atomic_family.h"
#include "atomic_limits.h"

static double add(struct shmkit_atomic_f64 *atomic, double value)
{
	/* relaxed: the CAS tells whether it was the value */
	WORD seen = shk_load_relaxed(word_of(atomic));
	double sum;

	do {
		sum = value_of(seen) + value;
	} while (!shk_swap_seq_cst(word_of(atomic), &seen, to_word(&sum)));
	return written(atomic, seen);
}

double shmkit_atomic_f64_fetch_add(struct shmkit_atomic_f64 *atomic, double value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_add))))
		return unchanged(atomic, FN_NAME(fetch_add));
	return add(atomic, value);
}

double shmkit_atomic_f64_fetch_sub(struct shmkit_atomic_f64 *atomic, double value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_sub))))
		return unchanged(atomic, FN_NAME(fetch_sub));
	return add(atomic, -value);
}
