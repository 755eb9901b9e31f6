/*
 * Making segments. The protocol: life.h.
 */
#include "life.h"
#include "member.h"
#include "structs.h"
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OWN_MODE 0600u                      /* until it is built */

/* What one call to create works with. */
struct creation {
	struct shk_geometry geometry;
	struct shmkit_segment_options options;
	const char *name;                   /* bare; "" for a memfd */
	const char *title;
	const char *label;                  /* for the header of a memfd */
	char temporary[64];                 /* "" with O_TMPFILE */
};

static int check_size(const struct creation *creation, uint64_t size)
{
	if (size < creation->geometry.data_offset)
		return shk_fail(-EINVAL, "segment '%s': %llu bytes were asked for, its header, members and "
					 "table alone take %llu (shmkit_segment_footprint())",
				creation->title, (unsigned long long)size,
				(unsigned long long)creation->geometry.data_offset);
	return 0;
}

/* The file's length, and memory behind the header, members and table, or behind all of it. */
static int size_file(const struct creation *creation, int fd)
{
	const struct shk_geometry *geometry = &creation->geometry;
	bool all = geometry->flags & SHMKIT_SEGMENT_POPULATE;
	uint64_t available;
	int result = shk_resize(fd, geometry->size);

	if (result)
		return shk_fail(result == -EINVAL ? -EFBIG : result,
				"segment '%s' could not be given %llu bytes: %s", creation->title,
				(unsigned long long)geometry->size, strerror(-result));
	/* Structures bring their own memory; a segment that never could is refused now, not later. */
	result = shk_available(fd, &available);
	if (!result && available < geometry->size)
		return shk_fail(-ENOSPC, "segment '%s' of %llu bytes does not fit: the file system in "
					 SHK_SHM_DIR " has %llu left; free some, ask for less (and let it "
					 "grow: max_size), or mount it larger", creation->title,
				(unsigned long long)geometry->size, (unsigned long long)available);
	result = shk_allocate(fd, 0, all ? geometry->size : geometry->data_offset);
	if (result)
		return shk_fail(result, "no memory for segment '%s' of %llu bytes in " SHK_SHM_DIR ": %s",
				creation->title, (unsigned long long)geometry->size, strerror(-result));
	return 0;
}

static int set_access(const struct creation *creation, int fd)
{
	const struct shmkit_segment_options *options = &creation->options;
	mode_t mode = options->mode ? options->mode : OWN_MODE;
	int result = 0;

	if (options->flags & SHMKIT_SEGMENT_GROUP)
		result = shk_set_group(fd, options->group);
	if (result)
		return shk_fail(result, "segment '%s' could not be given to group %u: %s", creation->title,
				options->group, strerror(-result));
	result = mode == OWN_MODE ? 0 : shk_set_mode(fd, mode);
	if (result)
		return shk_fail(result, "segment '%s' could not be given mode 0%o: %s", creation->title,
				(unsigned)mode, strerror(-result));
	return 0;
}

/* A joined segment in a file without its name. Takes fd over. */
static int build(const struct creation *creation, int fd, struct shmkit_segment **ret_segment)
{
	struct shmkit_segment *segment;
	struct stat file;
	int result = shk_stat(fd, &file);

	if (result) {
		shk_close(fd);
		return shk_fail(result, "segment '%s' could not be examined: %s", creation->title,
				strerror(-result));
	}
	/* of a file without a name nobody can find another one by that name */
	result = shk_segment_new(fd, &file, creation->temporary, creation->title, false, &segment);
	if (result)
		return result;
	/* The umask may have taken our own permission to open it again, for the member's lock. */
	if ((file.st_mode & 07777) != OWN_MODE)
		result = shk_set_mode(fd, OWN_MODE);
	if (result)
		shk_fail(result, "segment '%s' could not be given mode 0600: %s", creation->title,
			 strerror(-result));
	if (!result)
		result = size_file(creation, fd);
	if (!result)
		result = shk_segment_map(segment, &creation->geometry);
	if (!result) {
		shk_header_write(segment, &creation->geometry, creation->label);
		result = shk_segment_join(segment);
	}
	if (!result) {
		shk_segment_advise(segment, creation->options.flags);
		result = set_access(creation, fd);
	}
	if (result) {
		shk_segment_discard(segment);
		return result;
	}
	strlcpy(segment->name, creation->name, sizeof(segment->name));
	*ret_segment = segment;
	return 0;
}

/* Why a segment is not replaced: -EEXIST it is sound; -EBUSY it is damaged, but somebody has it. */
static int in_use(const struct creation *creation, int old)
{
	struct shk_geometry found;

	if (shk_geometry_from_file(old, 0, creation->title, true, &found) == -EPROTO)
		return shk_fail(-EBUSY, "segment '%s' is damaged, and a process that is alive still has it "
					"open; end that process, or unlink the segment", creation->title);
	return shk_fail(-EEXIST, "segment '%s' exists already, and is in use or persistent; open it, or "
				 "choose another name", creation->title);
}

/*
 * A left-over or damaged segment of that name goes, unless somebody alive is in it, and ours takes
 * its place. 0; -EEXIST: it is alive, or meant to stay; -EAGAIN: the name has changed, start again.
 */
static int replace(const struct creation *creation, struct shmkit_segment *segment)
{
	struct shk_geometry found;
	char temporary[64];
	struct stat file;
	int old = shk_open_segment_file(creation->name, true, &file);
	int life = -1, result;
	sigset_t saved;

	if (old < 0)
		return old == -ENOENT ? -EAGAIN : old;
	shk_process_enter(&saved);
	result = shk_life_lock(old, file.st_dev, file.st_ino, creation->name, creation->title, &life);
	if (result)
		goto out;
	result = -EAGAIN;
	if (!shk_name_is(creation->name, old))
		goto out;
	if (!shk_is_segment(old)) {
		result = shk_fail(-EPROTO, "'%s' is not a shmkit segment and is left alone; remove it "
					   "yourself or choose another name", creation->title);
		goto out;
	}
	result = shk_probe_write(old, SHK_LOCK_MEMBER, SHK_MAX_MEMBERS);
	if (result == 0) {
		int health = shk_geometry_from_file(old, 0, creation->title, true, &found);

		/* a newer library's, or one that was meant to stay: not ours to throw away */
		if (health == 0 && (found.flags & SHMKIT_SEGMENT_PERSIST))
			result = 1;
		else if (health != -EPROTO)
			result = health;
	}
	if (result == 1)
		result = in_use(creation, old);
	if (result)
		goto out;
	snprintf(temporary, sizeof(temporary), ".shmkit-%llx-%llx",
		 (unsigned long long)segment->inode, (unsigned long long)shk_now_ns());
	result = creation->temporary[0] ? shk_link(creation->temporary, temporary)
					: shk_link_unnamed(segment->fd, temporary);
	if (result == 0)
		result = shk_rename(temporary, creation->name);
	if (result)
		result = shk_fail(result, "segment '%s' could not be replaced: %s", creation->title,
				  strerror(-result));
out:
	shk_life_unlock(life);
	shk_close(old);
	shk_process_leave(&saved);
	return result;
}

/* Gives the finished segment its name. */
static int publish(const struct creation *creation, struct shmkit_segment *segment)
{
	for (;;) {
		int result = creation->temporary[0] ? shk_link(creation->temporary, creation->name)
						    : shk_link_unnamed(segment->fd, creation->name);

		if (result == 0)
			return 0;
		if (result != -EEXIST)
			return shk_fail(result, "segment '%s' could not be given its name in " SHK_SHM_DIR
						": %s", creation->title, strerror(-result));
		if (!(creation->options.flags & SHMKIT_SEGMENT_REPLACE_DEAD))
			return shk_fail(-EEXIST, "segment '%s' exists already; open it, or choose another "
						 "name", creation->title);
		result = replace(creation, segment);
		if (result != -EAGAIN)
			return result;
	}
}

/*
 * A descriptor got before the name was linked does not know it. One who is passed ours and finds
 * himself the last is to unlink the name, and asks the kernel for it.
 */
static void reopen_by_name(struct shmkit_segment *segment)
{
	int fd = shk_open_name(segment->name, true);
	struct stat file;

	if (fd >= 0 && shk_stat(fd, &file) == 0 && file.st_ino == segment->inode &&
	    file.st_dev == segment->device) {
		int old = segment->fd;

		segment->fd = fd;
		fd = old;
	}
	shk_close(fd);
}

/* In that file, without its name yet, the whole segment; then the name. Takes fd over. */
static int make_named(struct creation *creation, int fd, struct shmkit_segment **ret_segment)
{
	struct shmkit_segment *segment;
	int result = build(creation, fd, &segment);

	if (result)
		return result;
	SHK_POINT("create.built");
	result = publish(creation, segment);
	if (result) {
		shk_segment_discard(segment);
		return result;
	}
	reopen_by_name(segment);
	*ret_segment = segment;
	return 0;
}

static int create_named(struct creation *creation, struct shmkit_segment **ret_segment)
{
	int fd = shk_open_unnamed(), result = fd;

	if (fd >= 0)
		result = make_named(creation, fd, ret_segment);
	/* no O_TMPFILE in that file system; or (-ENOENT) no /proc to open such a file through */
	if (result == -ENOENT || (fd < 0 && (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EINVAL ||
					     fd == -ENOSYS))) {
		fd = shk_open_temporary(creation->temporary);
		if (fd >= 0) {
			result = make_named(creation, fd, ret_segment);
			shk_unlink(creation->temporary);
		}
	}
	if (fd < 0)
		return shk_fail(fd, "segment '%s' cannot be made in " SHK_SHM_DIR ": %s", creation->title,
				strerror(-fd));
	return result;
}

static int prepare(struct creation *creation, const char *name, uint64_t size,
		   const struct shmkit_segment_options *options)
{
	int result = shk_check_segment_name(name, &creation->name);

	creation->title = creation->name;
	if (!result)
		result = shk_geometry_from_options(options, size, &creation->geometry,
						   &creation->options);
	return result ? result : check_size(creation, size);
}

int shmkit_segment_create(const char *name, uint64_t size,
			  const struct shmkit_segment_options *options,
			  struct shmkit_segment **ret_segment)
{
	struct creation creation = { .label = NULL };
	int result;

	if (!ret_segment)
		return shk_fail(-EINVAL, "shmkit_segment_create: ret_segment is NULL");
	result = prepare(&creation, name, size, options);
	return result ? result : create_named(&creation, ret_segment);
}

int shmkit_segment_open_or_create(const char *name, uint64_t size,
				  const struct shmkit_segment_options *options,
				  struct shmkit_segment **ret_segment)
{
	struct creation creation = { .label = NULL };
	uint32_t flags;
	int result;

	if (!ret_segment)
		return shk_fail(-EINVAL, "shmkit_segment_open_or_create: ret_segment is NULL");
	result = prepare(&creation, name, size, options);
	if (result)
		return result;
	flags = creation.options.flags & (SHMKIT_SEGMENT_HUGE_PAGES | SHMKIT_SEGMENT_POPULATE |
					  SHMKIT_SEGMENT_GUARD | SHMKIT_SEGMENT_REPLACE_DEAD);
	for (;;) {
		result = shk_open_by_name(creation.name, flags, ret_segment);
		if (result == 0)
			return 0;
		if (result != -ENOENT && !(result == -EPROTO && (flags & SHMKIT_SEGMENT_REPLACE_DEAD)))
			return result;
		creation.temporary[0] = '\0';
		result = create_named(&creation, ret_segment);
		if (result == 0)
			return 1;
		if (result != -EEXIST)
			return result;
	}
}

/* ---- without a name ---- */

int shmkit_segment_create_anonymous(const char *label, uint64_t size,
				    const struct shmkit_segment_options *options,
				    struct shmkit_segment **ret_segment)
{
	struct creation creation = { .name = "", .title = label, .label = label };
	int fd, result;

	if (!ret_segment || !label)
		return shk_fail(-EINVAL, "shmkit_segment_create_anonymous: %s is NULL",
				label ? "ret_segment" : "label");
	if (strlen(label) > 63)
		return shk_fail(-ENAMETOOLONG, "the label has %zu bytes; at most 63 are possible",
				strlen(label));
	result = shk_geometry_from_options(options, size, &creation.geometry, &creation.options);
	if (!result)
		result = check_size(&creation, size);
	if (result)
		return result;
	creation.geometry.flags |= SHK_HEADER_ANONYMOUS;
	fd = shk_open_memfd(label);
	if (fd < 0)
		return shk_fail(fd, "anonymous segment '%s' cannot be made: %s", label, strerror(-fd));
	result = build(&creation, fd, ret_segment);
	if (result)
		return result;
	result = shk_seal(fd, creation.geometry.max_size != creation.geometry.size);
	if (result) {
		shmkit_segment_close(*ret_segment);
		*ret_segment = NULL;
		return shk_fail(result, "anonymous segment '%s' could not be sealed: %s", label,
				strerror(-result));
	}
	return 0;
}
