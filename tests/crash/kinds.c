#include "kinds.h"

#define INITIAL 7

/* Arrays, queues, rings and pools take element size and capacity. */
#define STRUCTURE(kind, capacity)                                                                        \
	static int kind##_create(struct shmkit_segment *segment, const char *name, void **ret_handle)    \
	{                                                                                                \
		struct shmkit_##kind *handle;                                                            \
		int result = shmkit_##kind##_create(segment, name, ELEMENT, capacity, NULL, &handle);    \
		*ret_handle = result ? NULL : handle;                                                    \
		return result;                                                                           \
	}                                                                                                \
	static int kind##_open(struct shmkit_segment *segment, const char *name, void **ret_handle)      \
	{                                                                                                \
		struct shmkit_##kind *handle;                                                            \
		int result = shmkit_##kind##_open(segment, name, ELEMENT, &handle);                      \
		*ret_handle = result ? NULL : handle;                                                    \
		return result;                                                                           \
	}                                                                                                \
	static int kind##_either(struct shmkit_segment *segment, const char *name, void **ret_handle)    \
	{                                                                                                \
		struct shmkit_##kind *handle;                                                            \
		int result = shmkit_##kind##_open_or_create(segment, name, ELEMENT, capacity, NULL,      \
							    &handle);                                    \
		*ret_handle = result < 0 ? NULL : handle;                                                \
		return result;                                                                           \
	}                                                                                                \
	static void kind##_close(void *handle)                                                           \
	{                                                                                                \
		shmkit_##kind##_close(handle);                                                           \
	}

#define ATOMIC(type)                                                                                     \
	static int type##_create(struct shmkit_segment *segment, const char *name, void **ret_handle)    \
	{                                                                                                \
		struct shmkit_atomic_##type *handle;                                                     \
		int result = shmkit_atomic_##type##_create(segment, name, (unsigned char)INITIAL, &handle); \
		*ret_handle = result ? NULL : handle;                                                    \
		return result;                                                                           \
	}                                                                                                \
	static int type##_open(struct shmkit_segment *segment, const char *name, void **ret_handle)      \
	{                                                                                                \
		struct shmkit_atomic_##type *handle;                                                     \
		int result = shmkit_atomic_##type##_open(segment, name, &handle);                        \
		*ret_handle = result ? NULL : handle;                                                    \
		return result;                                                                           \
	}                                                                                                \
	static int type##_either(struct shmkit_segment *segment, const char *name, void **ret_handle)    \
	{                                                                                                \
		struct shmkit_atomic_##type *handle;                                                     \
		int result = shmkit_atomic_##type##_open_or_create(segment, name, (unsigned char)INITIAL, \
								   &handle);                             \
		*ret_handle = result < 0 ? NULL : handle;                                                \
		return result;                                                                           \
	}                                                                                                \
	static void type##_close(void *handle)                                                           \
	{                                                                                                \
		shmkit_atomic_##type##_close(handle);                                                    \
	}

STRUCTURE(array, 10)
STRUCTURE(queue, 4)
STRUCTURE(ring, 5)
STRUCTURE(pool, 5)
ATOMIC(u32)
ATOMIC(i32)
ATOMIC(u64)
ATOMIC(i64)
ATOMIC(bool)
ATOMIC(f64)

static bool array_is_new(void *handle)
{
	struct element element, zero = { 0 };

	for (uint64_t i = 0; i < shmkit_array_capacity(handle); i++)
		if (shmkit_array_read(handle, i, 1, &element) || memcmp(&element, &zero, sizeof(zero)) != 0)
			return false;
	return shmkit_array_capacity(handle) == 10 && shmkit_array_write(handle, 9, 1, &zero) == 0;
}

static bool queue_is_new(void *handle)
{
	struct element in, out;

	fill_element(&in, 5);
	return shmkit_queue_dequeue(handle, &out) == -EAGAIN && shmkit_queue_enqueue(handle, &in) == 0 &&
	       shmkit_queue_dequeue(handle, &out) == 0 && memcmp(&in, &out, sizeof(in)) == 0;
}

static bool ring_is_new(void *handle)
{
	struct element in, out;

	fill_element(&in, 5);
	return shmkit_ring_total_pushed(handle) == 0 && shmkit_ring_push(handle, &in) == 0 &&
	       shmkit_ring_pop(handle, &out) == 0 && memcmp(&in, &out, sizeof(in)) == 0;
}

static bool pool_is_new(void *handle)
{
	uint64_t object;

	return shmkit_pool_size(handle) == 0 && shmkit_pool_acquire(handle, &object) == 0 &&
	       shmkit_pool_release(handle, object) == 0;
}

#define NEW(type)                                                                \
	static bool type##_is_new(void *handle)                                  \
	{                                                                        \
		return (int)shmkit_atomic_##type##_load(handle) == INITIAL;      \
	}

NEW(u32)
NEW(i32)
NEW(u64)
NEW(i64)
NEW(f64)

static bool bool_is_new(void *handle)
{
	return shmkit_atomic_bool_load(handle) == 1;
}

#define KIND(name, stem) { name, stem##_create, stem##_open, stem##_either, stem##_close, stem##_is_new }

const struct kind kinds[KINDS] = {
	KIND("array", array), KIND("queue", queue), KIND("ring", ring), KIND("pool", pool),
	KIND("atomic_u32", u32), KIND("atomic_i32", i32), KIND("atomic_u64", u64), KIND("atomic_i64", i64),
	KIND("atomic_bool", bool), KIND("atomic_f64", f64),
};
