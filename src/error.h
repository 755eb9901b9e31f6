/*
 * Failure: a negative errno value, and one sentence for the thread that met it.
 */
#ifndef SHK_ERROR_H
#define SHK_ERROR_H

#include "compiler.h"

/* Says to the compiler, which does not see into the file where it was made, what an error is. */
static inline int shk_negative(int error)
{
	if (error >= 0)
		__builtin_unreachable();
	return error;
}

/*
 * Sets this thread's last error to the formatted sentence and returns error (negative), or -EIO
 * for one that the library's table does not hold. The sentence says what was asked, what was found
 * and what to do.
 */
#define shk_fail(...) shk_negative(shk_fail_formatted(__VA_ARGS__))

int shk_fail_formatted(int error, const char *format, ...) SHK_PRINTF(2, 3) SHK_COLD;

/* The same for results of polling: stores a pointer to a fixed text, formats nothing. */
#define shk_fail_fixed(error, text) shk_negative(shk_fail_with(error, text))

int shk_fail_with(int error, const char *text);

#endif
