/*
 * What every family of atomics has. A family's file defines, then includes this once:
 *
 *	FAMILY       shmkit_atomic_u64, as in shmkit_atomic_u64_load()
 *	KIND         SHMKIT_KIND_ATOMIC_*
 *	TYPE         of the value, as callers see it
 *	WORD         the unsigned integer that lies in shared memory; shk_u64 for 8 bytes
 *	to_word()    static WORD to_word(const TYPE *value)
 *	from_word()  static void from_word(WORD word, TYPE *ret_value)
 *
 * The last two go through memory, so that no register of an FPU changes the bytes of a NaN.
 */
#include "atomic_value.h"

#define PASTE(family, verb) family##_##verb
#define EXPAND(family, verb) PASTE(family, verb)
#define QUOTE(name) #name
#define EXPAND_QUOTE(name) QUOTE(name)

#define FN(verb) EXPAND(FAMILY, verb)
#define FN_NAME(verb) EXPAND_QUOTE(FN(verb))

struct FAMILY {
	struct shk_atomic atomic;
};

/* ---- life ---- */

int FN(create)(struct shmkit_segment *segment, const char *name, TYPE initial,
	       struct FAMILY **ret_atomic)
{
	return shk_atomic_create(segment, name, KIND, to_word(&initial), ret_atomic);
}

int FN(open)(struct shmkit_segment *segment, const char *name, struct FAMILY **ret_atomic)
{
	return shk_atomic_open(segment, name, KIND, ret_atomic);
}

int FN(open_or_create)(struct shmkit_segment *segment, const char *name, TYPE initial,
		       struct FAMILY **ret_atomic)
{
	return shk_atomic_open_or_create(segment, name, KIND, to_word(&initial), ret_atomic);
}

void FN(close)(struct FAMILY *atomic)
{
	shk_object_close((struct shk_object *)atomic);
}

/* ---- the value ---- */

static inline const struct shk_atomic *base_of(const struct FAMILY *atomic)
{
	return (const struct shk_atomic *)atomic;
}

static inline WORD *word_of(const struct FAMILY *atomic)
{
	return shk_atomic_word(&atomic->atomic);
}

static inline TYPE value_of(WORD word)
{
	TYPE value;

	from_word(word, &value);
	return value;
}

/* Words of the same value, as one. */
static inline WORD normal(WORD word)
{
	TYPE value;

	from_word(word, &value);
	return to_word(&value);
}

/* The value as it is; zero where there is none. */
static void look(const struct FAMILY *atomic, const char *function, TYPE *ret_value)
{
	WORD word = 0;

	if (shk_likely(shk_atomic_may_read(base_of(atomic), function)))
		word = shk_load_seq_cst(word_of(atomic));
	from_word(word, ret_value);
}

/* What a function returns that may not write. */
static inline TYPE unchanged(const struct FAMILY *atomic, const char *function)
{
	TYPE value;

	look(atomic, function, &value);
	return value;
}

/* What a function returns that has written: wakes. */
static inline TYPE written(const struct FAMILY *atomic, WORD before)
{
	shk_atomic_wake(base_of(atomic));
	return value_of(before);
}

TYPE FN(load)(const struct FAMILY *atomic)
{
	return unchanged(atomic, FN_NAME(load));
}

TYPE FN(exchange)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(exchange))))
		return unchanged(atomic, FN_NAME(exchange));
	return written(atomic, shk_exchange_seq_cst(word_of(atomic), to_word(&value)));
}

void FN(store)(struct FAMILY *atomic, TYPE value)
{
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(store))))
		return;
	/* an exchange: a plain store would need a fence before the waiters are looked for */
	shk_exchange_seq_cst(word_of(atomic), to_word(&value));
	shk_atomic_wake(base_of(atomic));
}

int FN(compare_exchange)(struct FAMILY *atomic, TYPE *expected, TYPE desired)
{
	WORD wanted, seen;

	if (shk_unlikely(!expected)) {
		shk_atomic_null(FN_NAME(compare_exchange));
		return 0;
	}
	if (shk_unlikely(!shk_atomic_may_write(base_of(atomic), FN_NAME(compare_exchange)))) {
		if (atomic)
			look(atomic, FN_NAME(compare_exchange), expected);
		return 0;
	}
	wanted = to_word(expected);
	seen = wanted;
	while (!shk_swap_seq_cst(word_of(atomic), &seen, to_word(&desired))) {
		/* again only for a word that no function here writes, and that means the same */
		if (normal(seen) != wanted) {
			from_word(seen, expected);
			return 0;
		}
	}
	shk_atomic_wake(base_of(atomic));
	return 1;
}

/* ---- waiting ---- */

static int64_t differs(void *context)
{
	const struct shk_atomic_wait *wait = context;
	int result = shk_object_enter(&wait->atomic->object);
	WORD *word = shk_atomic_word(wait->atomic);

	if (shk_unlikely(result))
		return result;
	return normal(shk_load_seq_cst(word)) != (WORD)wait->old ? 0 : -EAGAIN;
}

int FN(wait)(const struct FAMILY *atomic, TYPE old, int64_t timeout_ns)
{
	return shk_atomic_wait(base_of(atomic), FN_NAME(wait), differs, to_word(&old), timeout_ns);
}
