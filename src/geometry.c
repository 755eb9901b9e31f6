/*
 * The numbers of a segment: from options, to a header, and back from a header that may be hostile.
 */
#include "segment.h"

#include "member.h"
#include "structs.h"
#include "sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_MEMBERS 128u
#define SMALL_MEMBERS 32u                   /* what fits the page beside 16 entries */

#define KNOWN_FLAGS                                                                          \
	(SHMKIT_SEGMENT_PERSIST | SHMKIT_SEGMENT_HUGE_PAGES | SHMKIT_SEGMENT_POPULATE |      \
	 SHMKIT_SEGMENT_GROUP | SHMKIT_SEGMENT_GUARD | SHMKIT_SEGMENT_REPLACE_DEAD)
/* What describes the segment rather than this call. */
#define STORED_FLAGS (SHMKIT_SEGMENT_PERSIST | SHMKIT_SEGMENT_HUGE_PAGES | SHMKIT_SEGMENT_POPULATE)

static const struct {
	uint32_t entries, name_size, members;
} tables[] = {
	[SHMKIT_TABLE_DEFAULT] = { 64, 32, DEFAULT_MEMBERS },
	[SHMKIT_TABLE_SMALL] = { 16, 16, SMALL_MEMBERS },
	[SHMKIT_TABLE_LARGE] = { 256, 64, DEFAULT_MEMBERS },
};

static uint64_t round_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

/* Everything that follows from max_entries, name_size and max_members. */
static void derive(struct shk_geometry *geometry)
{
	uint32_t open_words = (geometry->max_entries + 63) / 64;

	geometry->entry_stride = (uint32_t)(sizeof(struct shk_entry_shm) +
					    round_up(geometry->name_size, 8));
	geometry->member_stride = (uint32_t)(sizeof(struct shk_member_shm) + open_words * sizeof(shk_u64));
	geometry->table_offset = sizeof(struct shk_header_shm);
	geometry->members_offset = geometry->table_offset +
				   (uint64_t)geometry->max_entries * geometry->entry_stride;
	geometry->data_offset = round_up(geometry->members_offset +
						 (uint64_t)geometry->max_members * geometry->member_stride,
					 SHK_EXTENT_ALIGN);
}

static int check_counts(const struct shmkit_segment_options *options, struct shk_geometry *geometry)
{
	if (options->table == SHMKIT_TABLE_CUSTOM) {
		geometry->max_entries = options->max_entries;
		geometry->name_size = options->name_size;
		geometry->max_members = DEFAULT_MEMBERS;
		if (geometry->max_entries < 1 || geometry->max_entries > SHK_MAX_ENTRIES)
			return shk_fail(-EINVAL, "options.max_entries is %u; a custom table has 1 to %u entries",
					geometry->max_entries, SHK_MAX_ENTRIES);
		if (geometry->name_size < 2 || geometry->name_size > SHK_MAX_NAME_SIZE)
			return shk_fail(-EINVAL, "options.name_size is %u; a custom table's names take 2 to %u "
						 "bytes, NUL included", geometry->name_size,
					SHK_MAX_NAME_SIZE);
	} else if (options->table <= SHMKIT_TABLE_LARGE) {
		if (options->max_entries || options->name_size)
			return shk_fail(-EINVAL, "options.max_entries and name_size are for "
						 "SHMKIT_TABLE_CUSTOM; with table %u they must be 0",
					options->table);
		geometry->max_entries = tables[options->table].entries;
		geometry->name_size = tables[options->table].name_size;
		geometry->max_members = tables[options->table].members;
	} else {
		return shk_fail(-EINVAL, "options.table is %u; there are SHMKIT_TABLE_DEFAULT, SMALL, LARGE "
					 "and CUSTOM", options->table);
	}
	if (options->max_members > SHK_MAX_MEMBERS)
		return shk_fail(-EINVAL, "options.max_members is %u; a segment has at most %u",
				options->max_members, SHK_MAX_MEMBERS);
	if (options->max_members)
		geometry->max_members = options->max_members;
	return 0;
}

int shk_geometry_from_options(const struct shmkit_segment_options *options, uint64_t size,
			      struct shk_geometry *ret_geometry,
			      struct shmkit_segment_options *ret_options)
{
	struct shk_geometry geometry = { 0 };
	int result = shk_struct_in(ret_options, sizeof(*ret_options), sizeof(*ret_options), options,
				   "segment options");

	if (result)
		return result;
	options = ret_options;
	if (options->flags & ~(uint32_t)KNOWN_FLAGS)
		return shk_fail(-EINVAL, "options.flags has unknown bits 0x%x",
				options->flags & ~(uint32_t)KNOWN_FLAGS);
	if (options->mode & ~0777u)
		return shk_fail(-EINVAL, "options.mode is 0%o; only permission bits (0777) count",
				options->mode);
	result = check_counts(options, &geometry);
	if (result)
		return result;
	derive(&geometry);
	geometry.flags = options->flags & STORED_FLAGS;
	if (size > SHK_MAX_SIZE || options->max_size > SHK_MAX_SIZE)
		return shk_fail(-EINVAL, "a segment of %llu bytes was asked for; the limit is %llu",
				(unsigned long long)(size > SHK_MAX_SIZE ? size : options->max_size),
				(unsigned long long)SHK_MAX_SIZE);
	geometry.size = round_up(size, SHK_PAGE);
	geometry.max_size = options->max_size ? round_up(options->max_size, SHK_PAGE) : geometry.size;
	if (geometry.max_size < geometry.size)
		return shk_fail(-EINVAL, "options.max_size %llu is less than the size %llu",
				(unsigned long long)options->max_size, (unsigned long long)size);
	*ret_geometry = geometry;
	return 0;
}

int shmkit_segment_footprint(const struct shmkit_segment_options *options, uint64_t *ret_size)
{
	struct shmkit_segment_options asked, known;
	struct shk_geometry geometry;
	int result;

	if (!ret_size)
		return shk_fail(-EINVAL, "shmkit_segment_footprint: ret_size is NULL");
	result = shk_struct_in(&asked, sizeof(asked), sizeof(asked), options, "segment options");
	if (result)
		return result;
	asked.struct_size = sizeof(asked);
	asked.max_size = 0;                 /* the size does not matter here */
	result = shk_geometry_from_options(&asked, 0, &geometry, &known);
	if (!result)
		*ret_size = geometry.data_offset;
	return result;
}

void shk_header_write(struct shmkit_segment *segment, const struct shk_geometry *geometry,
		      const char *label)
{
	struct shk_header_shm *header = shk_header(segment);

	memcpy(header->magic, SHK_MAGIC_BYTES, sizeof(header->magic));
	header->byte_order = SHK_BYTE_ORDER;
	header->format_version = SHK_FORMAT_VERSION;
	header->features_incompat = SHK_FEATURES_INCOMPAT;
	header->features_ro_compat = SHK_FEATURES_RO_COMPAT;
	arc4random_buf(header->instance, sizeof(header->instance));
	header->header_size = sizeof(*header);
	header->flags = geometry->flags;
	header->max_size = geometry->max_size;
	header->table_offset = geometry->table_offset;
	header->members_offset = geometry->members_offset;
	header->data_offset = geometry->data_offset;
	header->max_entries = geometry->max_entries;
	header->name_size = geometry->name_size;
	header->entry_stride = geometry->entry_stride;
	header->member_stride = geometry->member_stride;
	header->max_members = geometry->max_members;
	header->created_ns = (uint64_t)shk_real_ns();
	header->size = geometry->size;
	if (label)
		strlcpy(header->label, label, sizeof(header->label));
}

int shk_is_segment(int fd)
{
	uint8_t magic[8];

	return shk_pread(fd, magic, sizeof(magic), 0) == 0 &&
	       memcmp(magic, SHK_MAGIC_BYTES, sizeof(magic)) == 0;
}

static int check_version(const struct shk_header_shm *header, const char *title, bool writable)
{
	uint64_t unknown;

	if (memcmp(header->magic, SHK_MAGIC_BYTES, sizeof(header->magic)) != 0)
		return shk_fail(-EPROTO, "'%s' is not a shmkit segment: it does not begin with the mark; "
					 "another program's, leave it alone or choose another name", title);
	if (header->byte_order != SHK_BYTE_ORDER)
		return shk_fail(-EPROTO, "segment '%s' is damaged or of another byte order: mark 0x%08x, "
					 "expected 0x%08x", title, header->byte_order, SHK_BYTE_ORDER);
	unknown = header->features_incompat & ~SHK_FEATURES_INCOMPAT;
	if (header->format_version != SHK_FORMAT_VERSION || unknown)
		return shk_fail(header->format_version < SHK_FORMAT_VERSION ? -EPROTO : -EPROTONOSUPPORT,
				"segment '%s' has format %u with features 0x%llx, this library (%s) knows "
				"format %u with 0x%llx; use a library at least as new as its maker's",
				title, header->format_version,
				(unsigned long long)header->features_incompat, shmkit_version_string(),
				SHK_FORMAT_VERSION, (unsigned long long)SHK_FEATURES_INCOMPAT);
	unknown = header->features_ro_compat & ~SHK_FEATURES_RO_COMPAT;
	if (unknown && writable)
		return shk_fail(-EROFS, "segment '%s' has features 0x%llx that this library may only read; "
					"open it with SHMKIT_READ_ONLY", title, (unsigned long long)unknown);
	return 0;
}

static int damaged(const char *title, const char *what, uint64_t value)
{
	return shk_fail(-EPROTO, "segment '%s' is damaged: its header says %s %llu, which cannot be; "
				 "remove it or replace it (SHMKIT_SEGMENT_REPLACE_DEAD)", title, what,
			(unsigned long long)value);
}

/* header: a private copy. file_size: bytes of the file, asked for after the header was copied. */
static int check_header(const struct shk_header_shm *header, uint64_t file_size, const char *title,
			bool writable, struct shk_geometry *ret_geometry)
{
	struct shk_geometry geometry, stored;
	int result = check_version(header, title, writable);

	if (result)
		return result;
	geometry = (struct shk_geometry){
		.size = header->size, .max_size = header->max_size, .flags = header->flags,
		.table_offset = header->table_offset, .members_offset = header->members_offset,
		.data_offset = header->data_offset, .max_entries = header->max_entries,
		.name_size = header->name_size, .entry_stride = header->entry_stride,
		.max_members = header->max_members, .member_stride = header->member_stride,
	};
	if (header->header_size != sizeof(*header))
		return damaged(title, "a header size of", header->header_size);
	if (geometry.max_entries < 1 || geometry.max_entries > SHK_MAX_ENTRIES)
		return damaged(title, "a number of entries of", geometry.max_entries);
	if (geometry.name_size < 2 || geometry.name_size > SHK_MAX_NAME_SIZE)
		return damaged(title, "a name size of", geometry.name_size);
	if (geometry.max_members < 1 || geometry.max_members > SHK_MAX_MEMBERS)
		return damaged(title, "a number of members of", geometry.max_members);
	stored = geometry;
	derive(&geometry);
	if (stored.table_offset != geometry.table_offset)
		return damaged(title, "a table offset of", stored.table_offset);
	if (stored.entry_stride != geometry.entry_stride)
		return damaged(title, "an entry stride of", stored.entry_stride);
	if (stored.members_offset != geometry.members_offset)
		return damaged(title, "a members offset of", stored.members_offset);
	if (stored.member_stride != geometry.member_stride)
		return damaged(title, "a member stride of", stored.member_stride);
	if (stored.data_offset != geometry.data_offset)
		return damaged(title, "a data offset of", stored.data_offset);
	if (geometry.max_size > SHK_MAX_SIZE || geometry.max_size % SHK_PAGE)
		return damaged(title, "a largest size of", geometry.max_size);
	if (geometry.size < geometry.data_offset || geometry.size > geometry.max_size ||
	    geometry.size % SHK_PAGE)
		return damaged(title, "a size of", geometry.size);
	if (file_size < geometry.size)
		return shk_fail(-EPROTO, "segment '%s' is damaged: its header says %llu bytes, the file has "
					 "%llu", title, (unsigned long long)geometry.size,
				(unsigned long long)file_size);
	*ret_geometry = geometry;
	return 0;
}

int shk_geometry_from_file(int fd, uint64_t length, const char *title, bool writable,
			   struct shk_geometry *ret_geometry)
{
	struct shk_header_shm header;
	struct stat file;
	int result = shk_pread(fd, &header, sizeof(header), 0);

	if (result == -EPROTO)
		return shk_fail(-EPROTO, "'%s' is not a shmkit segment: it is shorter than a header of %zu "
					 "bytes", title, sizeof(header));
	if (result)
		return shk_fail(result, "the header of '%s' could not be read: %s", title, strerror(-result));
	/* A file only grows: one that was long enough still is. */
	if (header.size <= length)
		return check_header(&header, length, title, writable, ret_geometry);
	/*
	 * The size was read first, the file's length now. The fence is for machines that would read them
	 * the other way round; neither call of the kernel's need order anything. Pairs with grow:W.
	 */
	shk_fence_acquire();
	result = shk_stat(fd, &file);
	if (result)
		return shk_fail(result, "'%s' could not be examined: %s", title, strerror(-result));
	return check_header(&header, (uint64_t)file.st_size, title, writable, ret_geometry);
}

int shk_geometry_of(struct shmkit_segment *segment, struct shk_geometry *ret_geometry)
{
	struct shk_header_shm header;

	if (shk_segment_fd_is_ours(segment))
		return shk_geometry_from_file(segment->fd, 0, segment->title, false, ret_geometry);
	/* Its descriptor was closed by somebody: what is mapped is all there is to look at. */
	memcpy(&header, shk_header(segment), sizeof(header));
	return check_header(&header, UINT64_MAX, segment->title, false, ret_geometry);
}
