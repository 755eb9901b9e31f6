/*
 * The kinds of atomics, and what their families share that is not hot.
 */
#include "atomic_value.h"

/* ---- kinds ---- */

static int measure(struct shk_shape *shape)
{
	shape->capacity = 1;
	shape->size = sizeof(struct shk_atomic_shm);
	return 0;
}

/* initial: the word, as wide as the kind has it. Published by the entry's LIVE. */
static void init(struct shk_object *object, uint64_t initial)
{
	void *word = object->base;

	/* relaxed: nobody else sees it yet */
	switch (object->shape.element_size) {
	case 1:
		shk_store_relaxed((uint8_t *)word, (uint8_t)initial);
		break;
	case 4:
		shk_store_relaxed((uint32_t *)word, (uint32_t)initial);
		break;
	default:
		shk_store_relaxed((shk_u64 *)word, initial);
	}
}

static uint64_t used(const struct shk_object *object)
{
	(void)object;
	return 1;
}

static int check_bool(struct shk_object *object)
{
	/* relaxed: one byte, on its own */
	uint8_t value = shk_load_relaxed((uint8_t *)object->base);

	if (value > 1)
		return shk_object_damaged(object, "its value is %u, neither 0 nor 1", value);
	return 0;
}

#define KIND(number, text, bytes, checker) { \
	.kind = (number), \
	.name = (text), \
	.fixed_element_size = (bytes), \
	.handle_size = sizeof(struct shk_atomic), \
	.measure = measure, \
	.init = init, \
	.check = (checker), \
	.used = used, \
}

const struct shk_kind shk_kind_atomics[6] = {
	KIND(SHMKIT_KIND_ATOMIC_U32, "atomic u32", 4, NULL),
	KIND(SHMKIT_KIND_ATOMIC_I32, "atomic i32", 4, NULL),
	KIND(SHMKIT_KIND_ATOMIC_U64, "atomic u64", 8, NULL),
	KIND(SHMKIT_KIND_ATOMIC_I64, "atomic i64", 8, NULL),
	KIND(SHMKIT_KIND_ATOMIC_BOOL, "atomic bool", 1, check_bool),
	KIND(SHMKIT_KIND_ATOMIC_F64, "atomic f64", 8, NULL),
};

/* ---- life ---- */

static uint32_t size_of_kind(uint32_t kind)
{
	return shk_kind_atomics[kind - SHMKIT_KIND_ATOMIC_U32].fixed_element_size;
}

int shk_atomic_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
		      uint64_t initial, void *ret_atomic)
{
	return shk_object_create(segment, name, kind, size_of_kind(kind), 1, NULL, initial,
				 ret_atomic);
}

int shk_atomic_open(struct shmkit_segment *segment, const char *name, uint32_t kind,
		    void *ret_atomic)
{
	return shk_object_open(segment, name, kind, size_of_kind(kind), ret_atomic);
}

int shk_atomic_open_or_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
			      uint64_t initial, void *ret_atomic)
{
	return shk_object_open_or_create(segment, name, kind, size_of_kind(kind), 1, NULL, initial,
					 ret_atomic);
}

/* ---- the slow ends ---- */

int shk_atomic_null(const char *function)
{
	return shk_fail(-EINVAL, "%s: the atomic, or the place of the expected value, is NULL; pass "
				 "an open atomic", function);
}

bool shk_atomic_may_look(const struct shk_atomic *atomic)
{
	return shk_load_acquire(atomic->object.entry_word) == atomic->object.live_word;
}

int shk_atomic_wait(const struct shk_atomic *atomic, const char *function, shk_try differs,
		    uint64_t old, int64_t timeout_ns)
{
	struct shk_atomic_wait wait = { .atomic = atomic, .old = old };
	struct shk_atomic_shm *shm;

	if (!atomic)
		return shk_atomic_null(function);
	shm = (struct shk_atomic_shm *)(void *)atomic->object.base;
	return (int)shk_object_leave(&atomic->object,
				     shk_wait_until(atomic->object.segment, &shm->event, timeout_ns,
						    differs, &wait));
}
