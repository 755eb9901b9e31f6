/*
 * Copies of elements and entries. Two kinds: those that nobody else touches meanwhile, because the
 * copier has claimed what he copies; and racing ones, whose result is used only after a word that
 * is read behind them has shown that it is whole.
 */
#ifndef SHK_COPY_H
#define SHK_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
#define SHK_WATCHED_RACES 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SHK_WATCHED_RACES 1
#endif
#endif

/* Sizes of which a copy is a few moves in line: a call that copies nothing else can be a leaf. */
static inline bool shk_is_straight(size_t size)
{
	return size == 4 || size == 8 || size == 16 || size == 32 || size == 64;
}

/* Of such a size only. */
static inline void shk_copy_straight(void *to, const void *from, size_t size)
{
	if (size == 8) {                    /* asked first: the commonest of all */
		memcpy(to, from, 8);
		return;
	}
	switch (size) {
	case 4:
		memcpy(to, from, 4);
		break;
	case 16:
		memcpy(to, from, 16);
		break;
	case 32:
		memcpy(to, from, 32);
		break;
	case 64:
		memcpy(to, from, 64);
		break;
	default:
		__builtin_unreachable();
	}
}

static inline void shk_copy(void *to, const void *from, size_t size)
{
	if (shk_is_straight(size))
		shk_copy_straight(to, from, size);
	else
		memcpy(to, from, size);
}

#if defined(SHK_POINTS) || defined(SHK_WATCHED_RACES)
static inline bool shk_zero_racing_short(void *to, size_t size)
{
	(void)to;
	(void)size;
	return false;
}
#endif

#if defined(SHK_POINTS)
/* A test build orders them like relaxed accesses. */
void shk_copy_racing(void *to, const void *from, size_t size);
void shk_zero_racing(void *to, size_t size);
#define shk_copy_racing_straight shk_copy_racing
#elif defined(SHK_WATCHED_RACES)
#define shk_copy_racing_straight shk_copy_racing
/* A race by design: byte by byte, unwatched, for the sanitizer has its own memcpy(). */
__attribute__((no_sanitize("thread"), noinline, unused)) static void
shk_copy_racing(void *to, const void *from, size_t size)
{
	volatile uint8_t *out = to;
	const volatile uint8_t *in = from;

	for (size_t i = 0; i < size; i++)
		out[i] = in[i];
}

__attribute__((no_sanitize("thread"), noinline, unused)) static void
shk_zero_racing(void *to, size_t size)
{
	volatile uint8_t *out = to;

	for (size_t i = 0; i < size; i++)
		out[i] = 0;
}
#else
static inline void shk_copy_racing(void *to, const void *from, size_t size)
{
	shk_copy(to, from, size);
}

#define shk_copy_racing_straight shk_copy_straight

static inline void shk_zero_racing(void *to, size_t size)
{
	memset(to, 0, size);
}

/* The same for common sizes, without a call. False: it is another, and nothing was done. */
static inline bool shk_zero_racing_short(void *to, size_t size)
{
	switch (size) {
	case 8:
		memset(to, 0, 8);
		break;
	case 16:
		memset(to, 0, 16);
		break;
	case 32:
		memset(to, 0, 32);
		break;
	case 64:
		memset(to, 0, 64);
		break;
	case 128:
		memset(to, 0, 64);
		memset((uint8_t *)to + 64, 0, 64);
		break;
	default:
		return false;
	}
	return true;
}
#endif

#endif
