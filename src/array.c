/*
 * Array: a fixed run of elements, element_size apart, and nothing else. What processes write in it
 * is between them; see shmkit/array.h.
 */
#include "object.h"

#include <shmkit/array.h>

#include <errno.h>
#include <string.h>

struct shmkit_array {
	struct shk_object object;
};

/* ---- life ---- */

static int measure(struct shk_shape *shape)
{
	if (shape->requested < 1)
		return shk_fail(-EINVAL, "an array of 0 elements was asked for; give it 1 or more");
	if (shape->element_size % shape->alignment)
		return shk_fail(-EINVAL, "an array of %u-byte elements aligned to %u was asked for; "
					 "they lie element_size apart, so the alignment must divide "
					 "element_size",
				shape->element_size, shape->alignment);
	shape->capacity = shape->requested;
	if (__builtin_mul_overflow(shape->capacity, (uint64_t)shape->element_size, &shape->size) ||
	    shape->size > SHK_MAX_SIZE)
		shape->size = SHK_MAX_SIZE + 1;     /* refused by who adds the schema to it */
	return 0;
}

/* All zero is what was promised. */
static void init(struct shk_object *object, uint64_t initial)
{
	(void)object;
	(void)initial;
}

static uint64_t used(const struct shk_object *object)
{
	return object->shape.capacity;
}

const struct shk_kind shk_kind_array = {
	.kind = SHMKIT_KIND_ARRAY,
	.name = "array",
	.handle_size = sizeof(struct shmkit_array),
	.measure = measure,
	.init = init,
	.used = used,
};

int shmkit_array_create(struct shmkit_segment *segment, const char *name, uint32_t element_size,
			uint64_t capacity, const struct shmkit_object_options *options,
			struct shmkit_array **ret_array)
{
	return shk_object_create(segment, name, SHMKIT_KIND_ARRAY, element_size, capacity, options,
				 0, (struct shk_object **)ret_array);
}

int shmkit_array_open(struct shmkit_segment *segment, const char *name, uint32_t element_size,
		      struct shmkit_array **ret_array)
{
	return shk_object_open(segment, name, SHMKIT_KIND_ARRAY, element_size,
			       (struct shk_object **)ret_array);
}

int shmkit_array_open_or_create(struct shmkit_segment *segment, const char *name,
				uint32_t element_size, uint64_t capacity,
				const struct shmkit_object_options *options,
				struct shmkit_array **ret_array)
{
	return shk_object_open_or_create(segment, name, SHMKIT_KIND_ARRAY, element_size, capacity,
					 options, 0, (struct shk_object **)ret_array);
}

void shmkit_array_close(struct shmkit_array *array)
{
	shk_object_close((struct shk_object *)array);
}

int shmkit_array_get_info(const struct shmkit_array *array, struct shmkit_entry_info *ret_info)
{
	return shk_object_get_info((const struct shk_object *)array, ret_info);
}

uint64_t shmkit_array_capacity(const struct shmkit_array *array)
{
	return array ? array->object.shape.capacity : 0;
}

uint32_t shmkit_array_element_size(const struct shmkit_array *array)
{
	return array ? array->object.shape.element_size : 0;
}

/* ---- elements ---- */

static int null_array(const char *function)
{
	return shk_fail(-EINVAL, "%s: the array or the place of its elements is NULL; pass an open "
				 "array and a buffer", function);
}

static int out_of_range(const struct shmkit_array *array, uint64_t first, uint64_t count)
{
	return shk_fail(-ERANGE, "%llu elements from %llu on were asked for; array '%s' has %llu",
			(unsigned long long)count, (unsigned long long)first,
			shk_object_name(&array->object),
			(unsigned long long)array->object.shape.capacity);
}

void *shmkit_array_data(struct shmkit_array *array)
{
	if (shk_unlikely(!array)) {
		null_array("shmkit_array_data");
		return NULL;
	}
	return shk_object_enter_write(&array->object) ? NULL : array->object.base;
}

const void *shmkit_array_view(const struct shmkit_array *array)
{
	if (shk_unlikely(!array)) {
		null_array("shmkit_array_view");
		return NULL;
	}
	return shk_object_enter(&array->object) ? NULL : array->object.base;
}

void *shmkit_array_at(struct shmkit_array *array, uint64_t index)
{
	if (shk_unlikely(!array)) {
		null_array("shmkit_array_at");
		return NULL;
	}
	if (shk_unlikely(shk_object_enter_write(&array->object)))
		return NULL;
	if (shk_unlikely(index >= array->object.shape.capacity)) {
		out_of_range(array, index, 1);
		return NULL;
	}
	return array->object.base + index * array->object.shape.element_size;
}

/* Where count elements from first on lie. *ret_size: bytes they have. 0, -ERANGE. */
static int locate(const struct shmkit_array *array, uint64_t first, uint64_t count,
		  uint8_t **ret_elements, size_t *ret_size)
{
	const struct shk_shape *shape = &array->object.shape;

	if (first > shape->capacity || count > shape->capacity - first)
		return out_of_range(array, first, count);
	/* the extent is mapped whole: these fit */
	*ret_elements = array->object.base + first * shape->element_size;
	*ret_size = (size_t)(count * shape->element_size);
	return 0;
}

int shmkit_array_read(const struct shmkit_array *array, uint64_t first, uint64_t count,
		      void *ret_elements)
{
	uint8_t *from;
	size_t size;
	int result;

	if (shk_unlikely(!array || (!ret_elements && count)))
		return null_array("shmkit_array_read");
	result = shk_object_enter(&array->object);
	if (!result)
		result = locate(array, first, count, &from, &size);
	if (result)
		return result;
	if (count)
		memcpy(ret_elements, from, size);
	return (int)shk_object_leave(&array->object, 0);
}

int shmkit_array_write(struct shmkit_array *array, uint64_t first, uint64_t count,
		       const void *elements)
{
	uint8_t *to;
	size_t size;
	int result;

	if (shk_unlikely(!array || (!elements && count)))
		return null_array("shmkit_array_write");
	result = shk_object_enter_write(&array->object);
	if (!result)
		result = locate(array, first, count, &to, &size);
	if (result)
		return result;
	if (count)
		memcpy(to, elements, size);
	return (int)shk_object_leave(&array->object, 0);
}
