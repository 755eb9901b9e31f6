/*
 * The last error of a thread, and the table of the library's error codes.
 */
#include "error.h"

#include <shmkit/library.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static _Thread_local const char *last_error;
static _Thread_local char text_buffer[512];

static const struct {
	int error;
	const char *text;
} error_texts[] = {
	{ 0, "success" },
	{ EINVAL, "an argument is not valid" },
	{ ENAMETOOLONG, "the name is too long" },
	{ ENOENT, "nothing has that name" },
	{ EEXIST, "the name is taken" },
	{ EACCES, "permission denied" },
	{ EPERM, "not permitted: it belongs to another process, user or group" },
	{ EPROTO, "not a shmkit segment, or damaged beyond use" },
	{ EPROTONOSUPPORT, "made by a newer library in a format this one does not know" },
	{ EPROTOTYPE, "the structure of that name is of another kind, element size, capacity, flags or schema" },
	{ EROFS, "the segment is open read-only, or this library may only read it" },
	{ EUSERS, "every member slot of the segment is taken" },
	{ ENOSPC, "no space left in the segment, its table or its file system" },
	{ ENOMEM, "not enough memory or address space in this process" },
	{ EFBIG, "larger than this process can map" },
	{ E2BIG, "an options structure has fields this library does not know" },
	{ EAGAIN, "nothing there, or no room, at this moment" },
	{ EBUSY, "a process that is alive holds what is needed" },
	{ ETIMEDOUT, "not possible within the time given" },
	{ EINTR, "a signal handler ran" },
	{ ECANCELED, "the wait was interrupted by shmkit_segment_interrupt()" },
	{ ESHUTDOWN, "shut down" },
	{ ESTALE, "gone: it was removed, released, or is held no longer" },
	{ EBADMSG, "the bytes in the segment are damaged" },
	{ ERANGE, "outside the structure" },
	{ ECHILD, "this forked child could not join the segment" },
	{ EMFILE, "this process has too many open descriptors" },
	{ ENFILE, "the system has too many open files" },
	{ ENOSYS, "the system lacks what is needed" },
	{ EIO, "the system refused in a way the library has no better word for" },
};

static const char *text_of(int error)
{
	for (size_t i = 0; i < sizeof(error_texts) / sizeof(error_texts[0]); i++)
		if (error == -error_texts[i].error)
			return error_texts[i].text;
	return NULL;
}

int shk_fail_formatted(int error, const char *format, ...)
{
	int saved = errno;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text_buffer, sizeof(text_buffer), format, arguments);
	va_end(arguments);
	last_error = text_buffer;
	errno = saved;
	/* the table is closed: what the system said stands in the sentence */
	return error < 0 && text_of(error) ? error : -EIO;
}

int shk_fail_with(int error, const char *text)
{
	last_error = text;
	return error;
}

const char *shmkit_last_error(void)
{
	return last_error ? last_error : "no call of this thread has failed yet";
}

const char *shmkit_strerror(int error)
{
	const char *text = text_of(error);

	if (text)
		return text;
	return error > 0 ? "success" : "an error the library has no text for";
}

uint32_t shmkit_version(void)
{
	return SHMKIT_VERSION;
}

const char *shmkit_version_string(void)
{
	return "1.0.0";
}
