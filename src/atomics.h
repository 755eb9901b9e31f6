/*
 * The memory operations on shared words. Every access to a word that another process may write
 * goes through one of these, so that a test build can replace them all in one place.
 *
 * The order is part of the name; a call site says what it pairs with. Words in shared memory are
 * plain fixed-width integers (shk_u64 is aligned to 8 on i386 too), never C11 _Atomic objects,
 * whose size and lock-freedom a compiler may choose.
 */
#ifndef SHK_ATOMICS_H
#define SHK_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t shk_u64 __attribute__((aligned(8)));

#define shk_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define shk_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define shk_load_seq_cst(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define shk_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define shk_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define shk_store_seq_cst(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define shk_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define shk_add_release(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELEASE)
#define shk_add_seq_cst(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define shk_or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define shk_or_seq_cst(p, v) __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define shk_and_seq_cst(p, v) __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)

static inline void shk_fence_acquire(void)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
}

static inline void shk_fence_release(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void shk_fence_seq_cst(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* Compare and exchange by value: true when *word was expected and is desired now. */
static inline bool shk_cas_acq_rel(shk_u64 *word, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static inline bool shk_cas_relaxed(shk_u64 *word, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_RELAXED,
					   __ATOMIC_RELAXED);
}

static inline bool shk_cas_release(shk_u64 *word, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

static inline bool shk_cas_seq_cst(shk_u64 *word, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static inline bool shk_cas_u32_seq_cst(uint32_t *word, uint32_t expected, uint32_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}

static inline bool shk_cas_u32_release(uint32_t *word, uint32_t expected, uint32_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_RELEASE,
					   __ATOMIC_RELAXED);
}

/* Tells the processor that this is a spin loop. */
static inline void shk_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

#endif
