/*
 * fetch_min and fetch_max of a family whose values have an order; after atomic_family.h.
 */

TYPE FN(fetch_min)(struct FAMILY *atomic, TYPE value)
{
	WORD seen;

	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_min))))
		return unchanged(atomic, FN_NAME(fetch_min));
	seen = shk_load_seq_cst(word_of(atomic));
	/* a NaN on either side is not less: nothing is written */
	while (value < value_of(seen))
		if (shk_swap_seq_cst(word_of(atomic), &seen, to_word(&value)))
			return written(atomic, seen);
	return value_of(seen);
}

TYPE FN(fetch_max)(struct FAMILY *atomic, TYPE value)
{
	WORD seen;

	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(fetch_max))))
		return unchanged(atomic, FN_NAME(fetch_max));
	seen = shk_load_seq_cst(word_of(atomic));
	while (value > value_of(seen))
		if (shk_swap_seq_cst(word_of(atomic), &seen, to_word(&value)))
			return written(atomic, seen);
	return value_of(seen);
}
