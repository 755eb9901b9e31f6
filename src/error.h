/*
 * Failure: a negative errno value, and one sentence for the thread that met it.
 */
#ifndef SHK_ERROR_H
#define SHK_ERROR_H

#include "compiler.h"

/*
 * Sets this thread's last error to the formatted sentence and returns error (negative), or -EIO
 * for one that the library's table does not hold. The sentence says what was asked, what was found
 * and what to do.
 */
int shk_fail(int error, const char *format, ...) SHK_PRINTF(2, 3) SHK_COLD;

/* The same for results of polling: stores a pointer to a fixed text, formats nothing. */
int shk_fail_fixed(int error, const char *text);

#endif
