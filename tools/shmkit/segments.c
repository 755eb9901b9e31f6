/* Segments: opened, and found. */
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What every segment begins with, of whatever version: doc/format.md. */
static const char magic[8] = { 'S', 'H', 'M', 'K', 'I', 'T', '\r', '\n' };

int cli_failed(int64_t result)
{
	const char *why = shmkit_last_error();
	char text[4 * 1024 + 1];

	/* it has names and schemas out of the segment */
	cli_say("%s", cli_escape(why, strnlen(why, 1024), text));
	switch (-result) {
	case EPROTO:
	case EBADMSG:
		return EXIT_DAMAGED;
	case EPROTONOSUPPORT:
	case EPROTOTYPE:
		return EXIT_FORMAT;
	case EINVAL:
	case E2BIG:
	case ENAMETOOLONG:
		return EXIT_USAGE;
	case EAGAIN:
	case EEXIST:
	case ENOSPC:
	case ETIMEDOUT:
	case ESHUTDOWN:
		return EXIT_NO;
	default:
		return EXIT_OPEN;
	}
}

static struct shmkit_segment *open_as(const char *name, uint32_t flags, int *ret_exit)
{
	struct shmkit_segment *segment;
	int result = shmkit_segment_open(name, flags | SHMKIT_SEGMENT_GUARD, &segment);

	if (result == 0)
		return segment;
	*ret_exit = cli_failed(result);
	return NULL;
}

/* Would the caller be the last member of one that goes with its last member? */
static bool would_take_away(const char *name)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment;
	bool would = false;

	if (shmkit_segment_open(name, SHMKIT_READ_ONLY | SHMKIT_SEGMENT_GUARD, &segment) != 0)
		return false;
	if (shmkit_segment_get_info(segment, &info) == 0)
		would = info.members == 0 && !(info.flags & SHMKIT_SEGMENT_PERSIST);
	shmkit_segment_close(segment);
	return would;
}

struct shmkit_segment *cli_open(const char *name, uint32_t flags, int *ret_exit)
{
	if (!(flags & SHMKIT_READ_ONLY) && would_take_away(name)) {
		cli_say("'%s' is left over, its members were killed: it would go with this command, the last member; "
			"info, dump and tail look at it, rm and gc remove it", cli_escaped(name));
		*ret_exit = EXIT_NO;
		return NULL;
	}
	return open_as(name, flags, ret_exit);
}

const char *cli_split(const char *path, char ret_segment[257])
{
	const char *slash = strchr(path + (*path == '/'), '/');

	if (!slash || !slash[1]) {
		cli_usage("'%s' names no structure; it is written SEGMENT/STRUCTURE", path);
		return NULL;
	}
	if (slash - path > 256) {
		cli_usage("the name of a segment has at most 255 bytes; '%s' has more", path);
		return NULL;
	}
	memcpy(ret_segment, path, (size_t)(slash - path));
	ret_segment[slash - path] = 0;
	return slash + 1;
}

/* ---- looking for them ---- */

static bool begins_as_segment(int directory, const char *name, bool *ret_readable)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char bytes[sizeof(magic)];
	bool good;

	*ret_readable = fd >= 0;
	if (fd < 0)
		return errno == EACCES;
	good = pread(fd, bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) && memcmp(bytes, magic, sizeof(magic)) == 0;
	close(fd);
	return good;
}

static void describe(struct found_segment *found, const char *name, const struct stat *file)
{
	snprintf(found->name, sizeof(found->name), "%s", name);
	found->file_size = (uint64_t)file->st_size;
	found->allocated = (uint64_t)file->st_blocks * 512;
	found->mode = file->st_mode & 07777;
	found->uid = file->st_uid;
	found->gid = file->st_gid;
}

bool cli_stat_segment(const char *name, struct found_segment *ret_found)
{
	char path[300];
	struct stat file;

	snprintf(path, sizeof(path), "%s/%s", SHM_DIRECTORY, name + (*name == '/'));
	if (stat(path, &file) != 0)
		return false;
	describe(ret_found, name + (*name == '/'), &file);
	ret_found->readable = access(path, R_OK) == 0;
	return true;
}

static int by_name(const void *one, const void *other)
{
	return strcmp(((const struct found_segment *)one)->name, ((const struct found_segment *)other)->name);
}

int64_t cli_find_segments(struct found_segment **ret_found)
{
	DIR *directory = opendir(SHM_DIRECTORY);
	struct found_segment *found = NULL;
	size_t count = 0, room = 0;
	struct dirent *entry;

	if (!directory) {
		int error = errno;

		cli_say("%s: %s", SHM_DIRECTORY, strerror(error));
		return -error;
	}
	while ((entry = readdir(directory)) != NULL) {
		struct stat file;
		bool readable;

		/* a name with a dot in front is of a segment that is being made */
		if (entry->d_name[0] == '.' || (entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN))
			continue;
		if (fstatat(dirfd(directory), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(file.st_mode) ||
		    !begins_as_segment(dirfd(directory), entry->d_name, &readable))
			continue;
		if (count == room) {
			room = room ? 2 * room : 64;
			found = reallocarray(found, room, sizeof(*found));
			if (!found)
				abort();
		}
		describe(&found[count], entry->d_name, &file);
		found[count++].readable = readable;
	}
	closedir(directory);
	if (count)
		qsort(found, count, sizeof(*found), by_name);
	*ret_found = found;
	return (int64_t)count;
}
