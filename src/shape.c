/*
 * Shapes: asked for, claimed by an entry, and the one held against the other.
 */
#include "shape.h"

#include "schema.h"
#include "structs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint32_t default_alignment(uint32_t element_size)
{
	uint32_t alignment = 16;

	while (element_size % alignment)
		alignment /= 2;
	return alignment;
}

/* "a queue", for sentences. */
static const char *a_kind(uint32_t kind, char text[32])
{
	const struct shk_kind *known = shk_kind_of(kind);
	const char *name = known ? known->name : "structure of an unknown kind";

	snprintf(text, 32, "%s %s", strchr("aeiou", name[0]) ? "an" : "a", name);
	return text;
}

/* The size with everything: schema, rounding. 0, -EINVAL, -ENOSPC. */
static int measure(const struct shk_kind *kind, struct shk_shape *shape)
{
	uint64_t align = shape->alignment > SHK_EXTENT_ALIGN ? shape->alignment : SHK_EXTENT_ALIGN;
	int result = kind->measure(shape);

	if (result)
		return result;
	if (__builtin_add_overflow(shape->size, (shape->schema_size + 7u) & ~7u, &shape->size) ||
	    shape->size > SHK_MAX_SIZE)
		return shk_fail(-ENOSPC, "%s of %" PRIu64 " elements of %u bytes is larger than any segment",
				kind->name, shape->requested, shape->element_size);
	shape->size = (shape->size + align - 1) & ~(align - 1);
	return 0;
}

int shk_shape_from_options(uint32_t kind_number, uint32_t element_size, uint64_t capacity,
			   const struct shmkit_object_options *given, struct shk_shape *ret_shape,
			   char ret_schema[SHK_SCHEMA_SIZE])
{
	const struct shk_kind *kind = shk_kind_of(kind_number);
	struct shmkit_object_options options;
	int result;

	if (!kind)
		return shk_fail(-EINVAL, "there is no kind %u of structure", kind_number);
	result = shk_struct_in(&options, sizeof(options), sizeof(options), given, "object options");
	if (result)
		return result;
	if (kind->fixed_element_size)
		element_size = element_size ? element_size : kind->fixed_element_size;
	if (kind->fixed_element_size && (element_size != kind->fixed_element_size || capacity > 1))
		return shk_fail(-EINVAL, "an %s is one element of %u bytes", kind->name,
				kind->fixed_element_size);
	if (element_size < 1 || element_size > SHK_MAX_ELEMENT_SIZE)
		return shk_fail(-EINVAL, "%s: an element size of %u was asked for; 1 to %u bytes are possible",
				kind->name, element_size, SHK_MAX_ELEMENT_SIZE);
	if (options.flags & ~kind->flags)
		return shk_fail(-EINVAL, "%s: options.flags has unknown bits 0x%x", kind->name,
				options.flags & ~kind->flags);
	if (options.reserved)
		return shk_fail(-EINVAL, "%s: options.reserved must be 0", kind->name);
	if (options.alignment & (options.alignment - 1) || options.alignment > SHK_MAX_ALIGNMENT)
		return shk_fail(-EINVAL, "%s: an alignment of %u was asked for; powers of two up to %u are "
					 "possible", kind->name, options.alignment, SHK_MAX_ALIGNMENT);
	*ret_shape = (struct shk_shape){
		.kind = kind_number, .element_size = element_size, .flags = options.flags,
		.alignment = options.alignment ? options.alignment : default_alignment(element_size),
		.requested = kind->fixed_element_size ? 1 : capacity,
	};
	ret_schema[0] = '\0';
	if (options.schema) {
		result = shk_schema_check(options.schema, element_size, ret_schema, SHK_SCHEMA_SIZE);
		if (result)
			return result;
		ret_shape->schema_size = (uint32_t)strlen(ret_schema) + 1;
	}
	return measure(kind, ret_shape);
}

int shmkit_object_footprint(uint32_t kind, uint32_t element_size, uint64_t capacity,
			    const struct shmkit_object_options *options, uint64_t *ret_size)
{
	char schema[SHK_SCHEMA_SIZE];
	struct shk_shape shape;
	int result;

	if (!ret_size)
		return shk_fail(-EINVAL, "shmkit_object_footprint: ret_size is NULL");
	result = shk_shape_from_options(kind, element_size, capacity, options, &shape, schema);
	if (result)
		return result;
	/* and what may be left empty in front of it */
	*ret_size = shape.size;
	if (shape.alignment > SHK_EXTENT_ALIGN)
		*ret_size += shape.alignment - SHK_EXTENT_ALIGN;
	return 0;
}

int shk_shape_from_entry(const struct shk_kind *kind, const struct shk_entry_shm *entry,
			 struct shk_shape *ret_shape)
{
	struct shk_shape shape = {
		.kind = entry->kind, .element_size = entry->element_size, .flags = entry->flags,
		.alignment = entry->alignment, .schema_size = entry->schema_size,
		.requested = entry->requested,
	};

	if (shape.element_size < 1 || shape.element_size > SHK_MAX_ELEMENT_SIZE ||
	    shape.alignment < 1 || shape.alignment > SHK_MAX_ALIGNMENT ||
	    (shape.alignment & (shape.alignment - 1)) || (shape.flags & ~kind->flags) ||
	    shape.schema_size > SHK_SCHEMA_SIZE || (entry->offset & (shape.alignment - 1)) ||
	    (kind->fixed_element_size && kind->fixed_element_size != shape.element_size) ||
	    measure(kind, &shape) || shape.size != entry->size || shape.capacity != entry->capacity)
		return -EBADMSG;
	*ret_shape = shape;
	return 0;
}

static int mismatch(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
		    const char *what)
{
	char text[32];

	return shk_fail(-EPROTOTYPE, "segment '%s' holds '%s' as %s of %" PRIu64 " element%s of %u bytes; %s",
			segment->title, copy->name, a_kind(copy->fields.kind, text), copy->fields.requested,
			copy->fields.requested == 1 ? "" : "s", copy->fields.element_size, what);
}

int shk_shape_check_kind(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			 uint32_t kind, uint32_t element_size)
{
	char what[120], text[32];

	if (copy->fields.kind == kind && (!element_size || copy->fields.element_size == element_size))
		return 0;
	if (element_size)
		snprintf(what, sizeof(what), "it was asked for as %s of %u-byte elements",
			 a_kind(kind, text), element_size);
	else
		snprintf(what, sizeof(what), "it was asked for as %s", a_kind(kind, text));
	return mismatch(segment, copy, what);
}

int shk_shape_check_same(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			 const struct shk_shape *asked)
{
	char what[160];
	int result = shk_shape_check_kind(segment, copy, asked->kind, asked->element_size);

	if (result)
		return result;
	if (copy->fields.requested != asked->requested) {
		snprintf(what, sizeof(what), "%" PRIu64 " elements were asked for", asked->requested);
		return mismatch(segment, copy, what);
	}
	if (copy->fields.flags != asked->flags) {
		snprintf(what, sizeof(what), "its flags are 0x%x, 0x%x were asked for", copy->fields.flags,
			 asked->flags);
		return mismatch(segment, copy, what);
	}
	return 0;
}

int shk_shape_check_schema(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			   const struct shk_shape *asked, const char *schema)
{
	char what[160];
	uint64_t room = (copy->fields.schema_size + 7u) & ~7u;
	const char *stored;

	if (!copy->fields.schema_size || !asked->schema_size)
		return 0;
	stored = copy->fields.size < room ? NULL
		 : shk_at(segment, copy->fields.offset + copy->fields.size - room, room);
	if (stored && strncmp(stored, schema, copy->fields.schema_size) == 0)
		return 0;
	snprintf(what, sizeof(what), "its schema is '%.*s', '%.60s' was asked for",
		 stored && copy->fields.schema_size <= 61 ? (int)copy->fields.schema_size - 1 : 60,
		 stored ? stored : "damaged", schema);
	return mismatch(segment, copy, what);
}
