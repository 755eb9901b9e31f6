/*
 * What the compiler calls at each access of the library (-fsanitize=thread), and the library at
 * its racing copies. Private memory is passed through; an access to shared memory is a place where
 * others may run, and goes to the model when C11's orders are explored.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

struct sim_site sim_sites[512];
unsigned sim_site_count;
int sim_weak_order;
bool sim_trace;

extern char __executable_start;             /* of the linker */

void sim_say(const char *what, const volatile void *address, uint64_t value, uintptr_t site)
{
	if (sim_trace && sim_current)
		printf("      %llu: thread %u %s %llu: 0x%llx (0x%llx)\n", (unsigned long long)sim_step,
		       sim_current->id, what, (unsigned long long)((uintptr_t)address - (uintptr_t)sim_memory),
		       (unsigned long long)value,
		       (unsigned long long)(site ? site - 1 - (uintptr_t)&__executable_start : 0));
}
bool sim_weak;

/* The site's number, by the address of the access in the code. order -1: it is to be weakened. */
static int site_of(uintptr_t address, int order)
{
	static int16_t table[4096];         /* number + 1, open addressing */
	unsigned slot = (unsigned)((address * UINT64_C(0x9e3779b97f4a7c15)) >> 52);
	struct sim_site *site;

	while (table[slot] && sim_sites[table[slot] - 1].address != address)
		slot = (slot + 1) % 4096;
	if (!table[slot]) {
		if (sim_site_count == 512)
			__builtin_trap();
		sim_sites[sim_site_count].address = address;
		table[slot] = (int16_t)++sim_site_count;
	}
	site = &sim_sites[table[slot] - 1];
	site->count += order >= 0;
	if (order < 0)
		site->weakened = true;
	if (order > site->order)
		site->order = order;
	return table[slot] - 1;
}

void sim_weaken(uintptr_t address)
{
	site_of(address, -1);
}

/* The order an access is to have: as written, or weakened. */
static int order_at(uintptr_t address, int order)
{
	int site = site_of(address, order);

	return sim_sites[site].weakened && order > sim_weak_order ? sim_weak_order : order;
}

static void plain(const volatile void *address, size_t size, bool writes)
{
	if (!sim_is_shared(address) || !sim_current)
		return;
	sim_yield();
	if (sim_weak)
		sim_model_plain(address, size, writes);
}

/* ---- values of any width ---- */

static uint64_t get(const volatile void *address, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, (const void *)(uintptr_t)address, size);
	return value;
}

static void put(volatile void *address, unsigned size, uint64_t value)
{
	memcpy((void *)(uintptr_t)address, &value, size);
}

static bool modelled(const volatile void *address)
{
	if (!sim_current || !sim_is_shared(address))
		return false;
	sim_yield();
	return sim_weak;
}

static uint64_t load(const volatile void *address, unsigned size, int order, uintptr_t site)
{
	uint64_t value;

	order = modelled(address) ? order_at(site, order) : order;
	if (!sim_current || !sim_is_shared(address))
		return get(address, size);
	value = sim_weak ? sim_model_load(address, size, order) : get(address, size);
	sim_say("loads", address, value, site);
	return value;
}

static void store(volatile void *address, unsigned size, uint64_t value, int order, uintptr_t site)
{
	if (modelled(address))
		sim_model_store(address, size, value, order_at(site, order));
	else
		put(address, size, value);
	if (sim_is_shared(address))
		sim_say("stores", address, value, site);
}

typedef uint64_t (*update_function)(uint64_t, uint64_t);

static uint64_t mask_of(unsigned size)
{
	return size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1;
}

static uint64_t update(volatile void *address, unsigned size, update_function change, uint64_t operand,
		       int order, uintptr_t site)
{
	uint64_t old;

	if (modelled(address)) {
		sim_model_swap(address, size, NULL, change, operand, order_at(site, order), 0, &old);
		sim_say("updates", address, old, site);
		return old;
	}
	old = get(address, size);
	put(address, size, change(old, operand) & mask_of(size));
	return old;
}

static uint64_t second(uint64_t old, uint64_t operand)
{
	(void)old;
	return operand;
}

static uint64_t sum(uint64_t old, uint64_t operand)
{
	return old + operand;
}

static uint64_t difference(uint64_t old, uint64_t operand)
{
	return old - operand;
}

static uint64_t both(uint64_t old, uint64_t operand)
{
	return old & operand;
}

static uint64_t either(uint64_t old, uint64_t operand)
{
	return old | operand;
}

static uint64_t one_of(uint64_t old, uint64_t operand)
{
	return old ^ operand;
}

static bool swap(volatile void *address, unsigned size, uint64_t *expected, uint64_t desired, int order,
		 int fail_order, uintptr_t site)
{
	uint64_t old;
	bool done;

	if (modelled(address)) {
		int weakened = order_at(site, order);

		if (weakened != order && fail_order > weakened)
			fail_order = weakened == __ATOMIC_RELEASE ? __ATOMIC_RELAXED : weakened;
		if (weakened != order && weakened == __ATOMIC_RELEASE)
			fail_order = __ATOMIC_RELAXED;
		done = sim_model_swap(address, size, expected, second, desired, weakened, fail_order, &old);
	} else {
		old = get(address, size);
		done = old == *expected;
		if (done)
			put(address, size, desired);
	}
	if (sim_is_shared(address))
		sim_say(done ? "swaps to" : "fails to swap", address, done ? desired : old, site);
	if (!done)
		*expected = old;
	return done;
}

/* ---- the names the compiler knows ---- */

#define SITE ((uintptr_t)__builtin_return_address(0))

/* Called by instrumented code alone: no header declares them. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wmissing-declarations"

void __tsan_init(void) { }
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void) { }

#define PLAIN(n)                                                                          \
	void __tsan_read##n(void *a) { plain(a, n, false); }                              \
	void __tsan_write##n(void *a) { plain(a, n, true); }                              \
	void __tsan_unaligned_read##n(void *a) { plain(a, n, false); }                    \
	void __tsan_unaligned_write##n(void *a) { plain(a, n, true); }                    \
	void __tsan_volatile_read##n(void *a) { plain(a, n, false); }                     \
	void __tsan_volatile_write##n(void *a) { plain(a, n, true); }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)
void __tsan_read_range(void *a, unsigned long n) { plain(a, n, false); }
void __tsan_write_range(void *a, unsigned long n) { plain(a, n, true); }

#define ATOMIC(bits, type)                                                                        \
	type __tsan_atomic##bits##_load(const volatile type *a, int o)                            \
	{                                                                                         \
		return (type)load(a, bits / 8, o, SITE);                                          \
	}                                                                                         \
	void __tsan_atomic##bits##_store(volatile type *a, type v, int o)                         \
	{                                                                                         \
		store(a, bits / 8, (uint64_t)v, o, SITE);                                         \
	}                                                                                         \
	type __tsan_atomic##bits##_exchange(volatile type *a, type v, int o)                      \
	{                                                                                         \
		return (type)update(a, bits / 8, second, (uint64_t)v, o, SITE);                   \
	}                                                                                         \
	type __tsan_atomic##bits##_fetch_add(volatile type *a, type v, int o)                     \
	{                                                                                         \
		return (type)update(a, bits / 8, sum, (uint64_t)v, o, SITE);                      \
	}                                                                                         \
	type __tsan_atomic##bits##_fetch_sub(volatile type *a, type v, int o)                     \
	{                                                                                         \
		return (type)update(a, bits / 8, difference, (uint64_t)v, o, SITE);               \
	}                                                                                         \
	type __tsan_atomic##bits##_fetch_and(volatile type *a, type v, int o)                     \
	{                                                                                         \
		return (type)update(a, bits / 8, both, (uint64_t)v, o, SITE);                     \
	}                                                                                         \
	type __tsan_atomic##bits##_fetch_or(volatile type *a, type v, int o)                      \
	{                                                                                         \
		return (type)update(a, bits / 8, either, (uint64_t)v, o, SITE);                   \
	}                                                                                         \
	type __tsan_atomic##bits##_fetch_xor(volatile type *a, type v, int o)                     \
	{                                                                                         \
		return (type)update(a, bits / 8, one_of, (uint64_t)v, o, SITE);                   \
	}                                                                                         \
	int __tsan_atomic##bits##_compare_exchange_strong(volatile type *a, type *e, type v, int o, \
							  int f)                                  \
	{                                                                                         \
		uint64_t expected = (uint64_t)*e;                                                 \
		bool done = swap(a, bits / 8, &expected, (uint64_t)v, o, f, SITE);                \
                                                                                                  \
		*e = (type)expected;                                                              \
		return done;                                                                      \
	}                                                                                         \
	int __tsan_atomic##bits##_compare_exchange_weak(volatile type *a, type *e, type v, int o, \
							int f)                                    \
	{                                                                                         \
		uint64_t expected = (uint64_t)*e;                                                 \
		bool done = swap(a, bits / 8, &expected, (uint64_t)v, o, f, SITE);                \
                                                                                                  \
		*e = (type)expected;                                                              \
		return done;                                                                      \
	}                                                                                         \
	type __tsan_atomic##bits##_compare_exchange_val(volatile type *a, type e, type v, int o, int f) \
	{                                                                                         \
		uint64_t expected = (uint64_t)e;                                                  \
                                                                                                  \
		swap(a, bits / 8, &expected, (uint64_t)v, o, f, SITE);                            \
		return (type)expected;                                                            \
	}
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)

void __tsan_atomic_thread_fence(int order)
{
	if (!sim_current)
		return;
	sim_yield();
	if (sim_weak)
		sim_model_fence(order_at(SITE, order));
}

void __tsan_atomic_signal_fence(int order) { (void)order; }

/* ---- what redirect.h puts in libc's place ---- */

void *sim_memset(void *to, int byte, size_t size);
int sim_strncmp(const char *a, const char *b, size_t size);
void shk_copy_racing(void *to, const void *from, size_t size);
void shk_zero_racing(void *to, size_t size);

/* Bytes up to the next multiple of 8 of either, at most size: a copy is torn there. */
static size_t piece(const void *address, size_t size)
{
	size_t room = 8 - (uintptr_t)address % 8;

	return size < room ? size : room;
}

void *sim_memcpy(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	while (size) {
		size_t n = piece(sim_is_shared(out) ? out : in, size);

		plain(in, n, false);
		plain(out, n, true);
		memcpy(out, in, n);
		out += n;
		in += n;
		size -= n;
	}
	return to;
}

void *sim_memset(void *to, int byte, size_t size)
{
	uint8_t *out = to;

	while (size) {
		size_t n = piece(out, size);

		plain(out, n, true);
		memset(out, byte, n);
		out += n;
		size -= n;
	}
	return to;
}

int sim_strncmp(const char *a, const char *b, size_t size)
{
	/* of bytes that nobody writes as long as they are announced: no race here */
	if (sim_is_shared(a) || sim_is_shared(b))
		sim_yield();
	return strncmp(a, b, size);
}

void shk_copy_racing(void *to, const void *from, size_t size)
{
	uint8_t *out = to;
	const uint8_t *in = from;

	while (size) {
		size_t n = piece(sim_is_shared(out) ? out : in, size);
		uint64_t value = load(in, (unsigned)n, __ATOMIC_RELAXED, SITE);

		store(out, (unsigned)n, value, __ATOMIC_RELAXED, SITE);
		out += n;
		in += n;
		size -= n;
	}
}

void shk_zero_racing(void *to, size_t size)
{
	uint8_t *out = to;

	while (size) {
		size_t n = piece(out, size);

		store(out, (unsigned)n, 0, __ATOMIC_RELAXED, SITE);
		out += n;
		size -= n;
	}
}
#pragma GCC diagnostic pop
