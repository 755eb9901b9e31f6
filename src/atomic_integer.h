/*
 * A family of integers: everything. Its file defines FAMILY, KIND, TYPE, WORD as atomic_family.h
 * says. Arithmetic is that of WORD, which is unsigned: it wraps.
 */
#include <stdint.h>

#include "atomics.h"

static inline WORD to_word(const TYPE *value)
{
	return (WORD)*value;
}

static inline void from_word(WORD word, TYPE *ret_value)
{
	*ret_value = (TYPE)word;
}

#include "atomic_family.h"
#include "atomic_limits.h"

TYPE FN(fetch_add)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_add))))
		return unchanged(atomic, FN_NAME(fetch_add));
	return written(atomic, shk_add_seq_cst(word_of(atomic), to_word(&value)));
}

TYPE FN(fetch_sub)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_sub))))
		return unchanged(atomic, FN_NAME(fetch_sub));
	return written(atomic, shk_add_seq_cst(word_of(atomic), (WORD)0 - to_word(&value)));
}

TYPE FN(fetch_and)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_and))))
		return unchanged(atomic, FN_NAME(fetch_and));
	return written(atomic, shk_and_seq_cst(word_of(atomic), to_word(&value)));
}

TYPE FN(fetch_or)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_or))))
		return unchanged(atomic, FN_NAME(fetch_or));
	return written(atomic, shk_or_seq_cst(word_of(atomic), to_word(&value)));
}

TYPE FN(fetch_xor)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_xor))))
		return unchanged(atomic, FN_NAME(fetch_xor));
	return written(atomic, shk_xor_seq_cst(word_of(atomic), to_word(&value)));
}
