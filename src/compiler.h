/*
 * Small things every file needs: branch hints, visibility, and SHK_POINT().
 */
#ifndef SHK_COMPILER_H
#define SHK_COMPILER_H

#define shk_likely(x) __builtin_expect(!!(x), 1)
#define shk_unlikely(x) __builtin_expect(!!(x), 0)
#define SHK_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define SHK_ALWAYS_INLINE inline __attribute__((always_inline))   /* made anew for each constant argument */
#define SHK_NOINLINE __attribute__((noinline))
#define SHK_COLD __attribute__((cold, noinline))

/*
 * A place where another process can see what has been done so far, and where the caller may die.
 * In a release build it only keeps the compiler from merging what stands before and after it; a
 * test build (-DSHK_POINTS) calls out, to yield, to kill or to count which points were reached.
 */
#ifdef SHK_POINTS
void shk_point(const char *label);
#define SHK_POINT(label) shk_point(label)
#elif defined(SHK_NO_POINTS)
#define SHK_POINT(label) ((void)0)          /* to measure that they cost nothing: tools/compare-points */
#else
#define SHK_POINT(label) __asm__ __volatile__("" ::: "memory")
#endif

#endif
