#include "space.h"

#include "table.h"

#include <errno.h>
#include <stdlib.h>

struct extent {
	uint64_t offset, end;
	uint64_t word;
	uint32_t entry;
};

static int by_offset(const void *a, const void *b)
{
	const struct extent *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

bool shk_space_is_inside(struct shmkit_segment *segment, uint64_t offset, uint64_t size)
{
	return offset >= segment->geometry.data_offset && offset % SHK_EXTENT_ALIGN == 0 && size > 0 &&
	       shk_at(segment, offset, size) != NULL;
}

/*
 * The extents of all entries that are not FREE, by offset; NULL when there is no memory for it.
 * *ret_bad: an entry whose extent is none, or UINT32_MAX.
 */
static struct extent *collect(struct shmkit_segment *segment, uint32_t *ret_count, uint32_t *ret_bad)
{
	struct extent *extents = reallocarray(NULL, segment->geometry.max_entries, sizeof(*extents));
	uint32_t count = 0;

	*ret_bad = UINT32_MAX;
	if (!extents)
		return NULL;
	for (uint32_t index = 0; index < segment->geometry.max_entries; index++) {
		struct shk_entry_copy copy;

		if (shk_table_copy(segment, index, NULL, &copy) == SHK_ENTRY_FREE)
			continue;
		if (!shk_space_is_inside(segment, copy.fields.offset, copy.fields.size)) {
			*ret_bad = index;
			continue;
		}
		extents[count++] = (struct extent){ copy.fields.offset,
						    copy.fields.offset + copy.fields.size, copy.word,
						    index };
	}
	qsort(extents, count, sizeof(*extents), by_offset);
	*ret_count = count;
	return extents;
}

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
	return (value + alignment - 1) & ~(alignment - 1);
}

int shk_space_find(struct shmkit_segment *segment, uint64_t size, uint64_t alignment,
		   const char *name, uint64_t *ret_offset)
{
	uint64_t place = align_up(segment->geometry.data_offset, alignment), largest = 0, limit;
	uint32_t count, bad;
	struct extent *extents = collect(segment, &count, &bad);

	if (!extents)
		return shk_fail(-ENOMEM, "no memory to look for space for '%s'", name);
	for (uint32_t i = 0; i < count; i++) {
		if (extents[i].offset >= place) {
			if (extents[i].offset - place >= size)
				break;
			if (extents[i].offset - place > largest)
				largest = extents[i].offset - place;
		}
		if (extents[i].end > place)
			place = align_up(extents[i].end, alignment);
	}
	free(extents);
	if (shk_at(segment, place, size)) {
		*ret_offset = place;
		return 0;
	}
	limit = segment->geometry.size;
	if (limit > place && limit - place > largest)
		largest = limit - place;
	return shk_fail(-ENOSPC, "'%s' needs %llu bytes in one piece, the largest free one in segment '%s' "
				 "of %llu has %llu; %s", name, (unsigned long long)size, segment->title,
			(unsigned long long)limit, (unsigned long long)largest,
			limit < segment->geometry.max_size ?
				"shmkit_segment_grow() makes more" :
				"create the segment larger, or remove something");
}

uint64_t shk_space_used(struct shmkit_segment *segment)
{
	uint64_t used = segment->geometry.data_offset;

	for (uint32_t index = 0; index < segment->geometry.max_entries; index++) {
		const struct shk_entry_shm *entry = shk_entry(segment, index);

		if (shk_entry_state(shk_load_acquire(&entry->word)) != SHK_ENTRY_FREE)
			used += shk_load_relaxed(&entry->size);   /* a figure */
	}
	return used;
}

static bool unchanged(struct shmkit_segment *segment, const struct extent *extent)
{
	return shk_load_acquire(&shk_entry(segment, extent->entry)->word) == extent->word;
}

int shk_space_check(struct shmkit_segment *segment)
{
	uint32_t count, bad;
	struct extent *extents = collect(segment, &count, &bad);
	int result = 0;

	if (!extents)
		return shk_fail(-ENOMEM, "no memory to check the space of segment '%s'", segment->title);
	if (bad != UINT32_MAX)
		result = shk_fail(-EBADMSG, "segment '%s': entry %u names an extent outside the segment",
				  segment->title, bad);
	for (uint32_t i = 1; i < count && !result; i++) {
		const struct extent *a = &extents[i - 1], *b = &extents[i];

		/* an entry removed while we looked may have given its place to another */
		if (b->offset < a->end && unchanged(segment, a) && unchanged(segment, b))
			result = shk_fail(-EBADMSG, "segment '%s': entries %u and %u overlap at byte %llu",
					  segment->title, a->entry, b->entry,
					  (unsigned long long)b->offset);
	}
	free(extents);
	return result;
}
