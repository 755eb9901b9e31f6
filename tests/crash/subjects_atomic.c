/*
 * Atomics of each type: whatever the point, the value is the one before or the one after.
 *
 *	expected  [0] the value before, [1] the one after, as the bytes that lie in memory
 */
#include "kinds.h"

#include <stdio.h>

#define WAIT_NS INT64_C(2000000)

enum { ZERO, ONE, MAX, MIXED, ANNOUNCED, REMOVED };

static const char *const states[] = {
	[ZERO] = "zero", [ONE] = "one", [MAX] = "max", [MIXED] = "mixed", [ANNOUNCED] = "announced",
	[REMOVED] = "removed", NULL,
};

/* The functions of a type. apply() is what op number n makes of a value. */
struct type {
	unsigned kind;                      /* in kinds.h */
	uint64_t (*load)(void *handle);
	void (*store)(void *handle, uint64_t bits);
	int (*wait)(void *handle, uint64_t bits, int64_t timeout_ns);
	uint64_t (*apply)(unsigned op, uint64_t bits);
	int64_t (*call)(void *handle, unsigned op, uint64_t before);
};

enum { STORE, EXCHANGE, COMPARE_EXCHANGE, ADD, SUB, AND, OR, XOR, MIN, MAXIMUM, WAIT, WAIT_CHANGED, CLOSE };

#define BITS(type, ctype)                                                                \
	static uint64_t type##_bits(ctype value)                                         \
	{                                                                                \
		uint64_t bits = 0;                                                       \
		memcpy(&bits, &value, sizeof(value));                                    \
		return bits;                                                             \
	}                                                                                \
	static ctype type##_value(uint64_t bits)                                         \
	{                                                                                \
		ctype value;                                                             \
		memcpy(&value, &bits, sizeof(value));                                    \
		return value;                                                            \
	}                                                                                \
	static uint64_t type##_load(void *handle)                                        \
	{                                                                                \
		return type##_bits(shmkit_atomic_##type##_load(handle));                 \
	}                                                                                \
	static void type##_store(void *handle, uint64_t bits)                            \
	{                                                                                \
		shmkit_atomic_##type##_store(handle, type##_value(bits));                \
	}                                                                                \
	static int type##_wait(void *handle, uint64_t bits, int64_t timeout_ns)          \
	{                                                                                \
		return shmkit_atomic_##type##_wait(handle, type##_value(bits), timeout_ns); \
	}

#define CALL_COMMON(type, other)                                                         \
	case STORE: shmkit_atomic_##type##_store(handle, other); return 0;               \
	case EXCHANGE: (void)shmkit_atomic_##type##_exchange(handle, other); return 0;   \
	case COMPARE_EXCHANGE:                                                           \
		return shmkit_atomic_##type##_compare_exchange(handle, &value, other);   \
	case WAIT: return shmkit_atomic_##type##_wait(handle, value, WAIT_NS);           \
	case WAIT_CHANGED: return shmkit_atomic_##type##_wait(handle, other, WAIT_NS);   \
	case CLOSE: shmkit_atomic_##type##_close(handle); return 0

#define INTEGER(type, ctype, utype)                                                      \
	BITS(type, ctype)                                                                \
	static uint64_t type##_apply(unsigned op, uint64_t bits)                         \
	{                                                                                \
		ctype value = type##_value(bits);                                        \
		switch (op) {                                                            \
		case STORE: case EXCHANGE: case COMPARE_EXCHANGE: return type##_bits(77); \
		case ADD: return type##_bits((ctype)((utype)value + 5));                 \
		case SUB: return type##_bits((ctype)((utype)value - 5));                 \
		case AND: return type##_bits((ctype)(value & 0x55));                     \
		case OR: return type##_bits((ctype)(value | 0x55));                      \
		case XOR: return type##_bits((ctype)(value ^ 0x55));                     \
		case MIN: return type##_bits(value < 9 ? value : 9);                     \
		case MAXIMUM: return type##_bits(value > 9 ? value : 9);                 \
		default: return bits;                                                    \
		}                                                                        \
	}                                                                                \
	static int64_t type##_call(void *handle, unsigned op, uint64_t before)           \
	{                                                                                \
		ctype value = type##_value(before);                                      \
		switch (op) {                                                            \
		CALL_COMMON(type, 77);                                                   \
		case ADD: (void)shmkit_atomic_##type##_fetch_add(handle, 5); return 0;   \
		case SUB: (void)shmkit_atomic_##type##_fetch_sub(handle, 5); return 0;   \
		case AND: (void)shmkit_atomic_##type##_fetch_and(handle, 0x55); return 0; \
		case OR: (void)shmkit_atomic_##type##_fetch_or(handle, 0x55); return 0;  \
		case XOR: (void)shmkit_atomic_##type##_fetch_xor(handle, 0x55); return 0; \
		case MIN: (void)shmkit_atomic_##type##_fetch_min(handle, 9); return 0;   \
		default: (void)shmkit_atomic_##type##_fetch_max(handle, 9); return 0;    \
		}                                                                        \
	}

INTEGER(u32, uint32_t, uint32_t)
INTEGER(i32, int32_t, uint32_t)
INTEGER(u64, uint64_t, uint64_t)
INTEGER(i64, int64_t, uint64_t)
BITS(bool, uint8_t)
BITS(f64, double)

static uint64_t bool_apply(unsigned op, uint64_t bits)
{
	return op <= COMPARE_EXCHANGE ? !bits : bits;
}

static int64_t bool_call(void *handle, unsigned op, uint64_t before)
{
	uint8_t value = (uint8_t)before, other = !value;

	switch (op) {
	CALL_COMMON(bool, other);
	default: return 0;
	}
}

static uint64_t f64_apply(unsigned op, uint64_t bits)
{
	double value = f64_value(bits);

	switch (op) {
	case STORE: case EXCHANGE: case COMPARE_EXCHANGE: return f64_bits(77.5);
	case ADD: return f64_bits(value + 5);
	case SUB: return f64_bits(value - 5);
	case MIN: return f64_bits(value < 9 ? value : 9);
	case MAXIMUM: return f64_bits(value > 9 ? value : 9);
	default: return bits;
	}
}

static int64_t f64_call(void *handle, unsigned op, uint64_t before)
{
	double value = f64_value(before);

	switch (op) {
	CALL_COMMON(f64, 77.5);
	case ADD: (void)shmkit_atomic_f64_fetch_add(handle, 5); return 0;
	case SUB: (void)shmkit_atomic_f64_fetch_sub(handle, 5); return 0;
	case MIN: (void)shmkit_atomic_f64_fetch_min(handle, 9); return 0;
	default: (void)shmkit_atomic_f64_fetch_max(handle, 9); return 0;
	}
}

#define TYPE(number, type) { number, type##_load, type##_store, type##_wait, type##_apply, type##_call }

static const struct type types[] = {
	TYPE(4, u32), TYPE(5, i32), TYPE(6, u64), TYPE(7, i64), TYPE(8, bool), TYPE(9, f64),
};

static const struct type *type_of(const struct scene *scene)
{
	return &types[scene->subject->effect / 16];
}

static unsigned op_of(const struct scene *scene)
{
	return (unsigned)scene->subject->effect % 16;
}

static const struct kind *kind(const struct scene *scene)
{
	return &kinds[type_of(scene)->kind];
}

/* ---- scenes ---- */

static uint64_t initial(const struct scene *scene)
{
	bool is_bool = type_of(scene)->kind == 8, is_f64 = type_of(scene)->kind == 9;
	double mixed = 8.25, one = 1, max = 1.5e300;
	uint64_t bits = 0;

	switch (scene->state) {
	case ONE:
	case REMOVED:
		bits = 1;
		if (is_f64)
			memcpy(&bits, &one, sizeof(bits));
		break;
	case MAX:
		bits = type_of(scene)->kind <= 5 ? UINT64_C(0x7fffffff) : UINT64_C(0x7fffffffffffffff);
		if (is_bool)
			bits = 1;
		if (is_f64)
			memcpy(&bits, &max, sizeof(bits));
		break;
	case MIXED:
	case ANNOUNCED:
		bits = is_bool ? scene->state == MIXED : UINT64_C(0x2a);
		if (is_f64)
			memcpy(&bits, &mixed, sizeof(bits));
		break;
	default:
		break;
	}
	return bits;
}

static bool build(struct scene *scene)
{
	if (!scene_segment(scene, 0) ||
	    !is(scene, "atomic_create", kind(scene)->create(scene->peer.segment, "v", &scene->peer.other), 0))
		return false;
	scene->expected[0] = initial(scene);
	scene->expected[1] = type_of(scene)->apply(op_of(scene), scene->expected[0]);
	type_of(scene)->store(scene->peer.other, scene->expected[0]);
	scene->entries = 1;
	scene->used = space_used(scene->peer.segment);
	return true;
}

static int64_t die_waiting(struct scene *scene)
{
	int result = type_of(scene)->wait(scene->own.other, scene->expected[0], 1000000);

	return result == -ETIMEDOUT ? 0 : -1;
}

static bool join(struct scene *scene)
{
	if (!own_segment(scene) || kind(scene)->open(scene->own.segment, "v", &scene->own.other) != 0)
		return false;
	if (scene->state == ANNOUNCED)
		return leave_dead(scene, die_waiting);
	return scene->state != REMOVED || shmkit_segment_remove(scene->own.segment, "v") == 0;
}

static int64_t call(struct scene *scene)
{
	return type_of(scene)->call(scene->own.other, op_of(scene), scene->expected[0]);
}

static bool audit_value(struct scene *scene, void *handle)
{
	const struct type *type = type_of(scene);
	uint64_t value = type->load(handle);

	if (value != scene->expected[1] && (value != scene->expected[0] || scene->result_known))
		return wrong(scene, "the value is 0x%llx; 0x%llx before, 0x%llx after are right",
			     (unsigned long long)value, (unsigned long long)scene->expected[0],
			     (unsigned long long)scene->expected[1]);
	type->store(handle, scene->expected[0] ^ 1);
	return is(scene, "after a store: value", (int64_t)type->load(handle),
		  (int64_t)(scene->expected[0] ^ 1)) &&
	       is(scene, "a wait for another value", type->wait(handle, scene->expected[0], 0), 0) &&
	       is(scene, "a wait for the same value", type->wait(handle, scene->expected[0] ^ 1, 0),
		  -ETIMEDOUT);
}

static bool audit(struct scene *scene)
{
	look(scene->peer.segment, false);
	if (!fresh_segment(scene))
		return false;
	if (scene->state == REMOVED) {
		if (kind(scene)->open(scene->fresh.segment, "v", &scene->fresh.other) != -ENOENT)
			return wrong(scene, "the name is there");
		kind(scene)->close(scene->peer.other);
		scene->peer.other = NULL;
		scene->entries = 0;
		scene->used = 0;
		return audit_segment(scene, scene->fresh.segment, 2);
	}
	if (!is(scene, "atomic_open", kind(scene)->open(scene->fresh.segment, "v", &scene->fresh.other), 0))
		return false;
	if (!audit_value(scene, scene->variant % 2 ? scene->peer.other : scene->fresh.other))
		return false;
	note_worst(scene);
	return audit_segment(scene, scene->fresh.segment, 2);
}

static bool peers(struct scene *scene)
{
	const struct type *type = type_of(scene);
	struct shmkit_segment *segment = scene->peer.segment;
	void *second = NULL;

	/* nothing is written: the victim's call is to find what it would have found */
	if (!TIMED(scene, 50, type->wait(scene->peer.other, scene->expected[0], 1000000)) ||
	    !TIMED(scene, 50, type->load(scene->peer.other) * 0) ||
	    !TIMED(scene, 50, kind(scene)->open(segment, "v", &second)))
		return false;
	if (second)
		kind(scene)->close(second);
	return peers_table(scene, segment);
}

static void finish(struct scene *scene)
{
	if (scene->peer.other)
		kind(scene)->close(scene->peer.other);
	if (scene->fresh.other)
		kind(scene)->close(scene->fresh.other);
	scene->peer.other = scene->fresh.other = NULL;
	close_hands(&scene->fresh);
	close_hands(&scene->peer);
}

static const struct family family = {
	.name = "atomic", .states = states, .build = build, .join = join, .audit = audit, .peers = peers,
	.finish = finish,
};

#define OP(number, type, name, op) \
	{ &family, "atomic_" type "_" name, call, NULL, (number) * 16 + (op), 0, false }
#define COMMON(number, type)                                                                             \
	OP(number, type, "store", STORE), OP(number, type, "exchange", EXCHANGE),                        \
	OP(number, type, "compare_exchange", COMPARE_EXCHANGE), OP(number, type, "wait", WAIT),          \
	OP(number, type, "wait_changed", WAIT_CHANGED)
#define ARITHMETIC(number, type)                                                                         \
	OP(number, type, "fetch_add", ADD), OP(number, type, "fetch_sub", SUB),                          \
	OP(number, type, "fetch_min", MIN), OP(number, type, "fetch_max", MAXIMUM)
#define LOGIC(number, type)                                                                              \
	OP(number, type, "fetch_and", AND), OP(number, type, "fetch_or", OR),                            \
	OP(number, type, "fetch_xor", XOR)

static const struct subject subjects[] = {
	COMMON(0, "u32"), ARITHMETIC(0, "u32"), LOGIC(0, "u32"), COMMON(1, "i32"), ARITHMETIC(1, "i32"),
	LOGIC(1, "i32"), COMMON(2, "u64"), ARITHMETIC(2, "u64"), LOGIC(2, "u64"), COMMON(3, "i64"),
	ARITHMETIC(3, "i64"), LOGIC(3, "i64"), COMMON(4, "bool"), COMMON(5, "f64"), ARITHMETIC(5, "f64"),
	{ 0 },
};

const struct subject *const atomic_subjects = subjects;
