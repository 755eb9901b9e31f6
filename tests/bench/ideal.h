/*
 * What a ring and a queue cost that promise nothing: the ring of one producer and one consumer with
 * indices cached by the other side (Lamport's, in the form of FastFlow and folly), and Vyukov's
 * bounded queue (1024cores.net, "Bounded MPMC queue"). No names, no death, no checks.
 */
#ifndef BENCH_IDEAL_H
#define BENCH_IDEAL_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#error "of C"
#endif

struct ideal_ring {
	alignas(128) uint64_t write_index;
	alignas(128) uint64_t read_index;
	alignas(128) uint64_t mask;
	alignas(128) unsigned char elements[];
};

/* Private to each side. */
struct ideal_side {
	struct ideal_ring *ring;
	uint64_t mask, mine, other;
};

static inline void ideal_ring_init(void *memory, uint64_t capacity)
{
	struct ideal_ring *ring = memory;

	ring->mask = capacity - 1;
}

static inline void ideal_ring_attach(struct ideal_side *side, void *memory)
{
	struct ideal_ring *ring = memory;

	*side = (struct ideal_side){ .ring = ring, .mask = ring->mask };
}

static inline void ideal_copy_in(struct ideal_ring *ring, uint64_t mask, uint64_t index, const void *elements,
				 size_t n, size_t size)
{
	uint64_t first = index & mask, room = mask + 1 - first, fits = n < room ? n : room;

	memcpy(ring->elements + first * size, elements, fits * size);
	if (fits < n)
		memcpy(ring->elements, (const unsigned char *)elements + fits * size, (n - fits) * size);
}

static inline void ideal_copy_out(const struct ideal_ring *ring, uint64_t mask, uint64_t index, void *elements,
				  size_t n, size_t size)
{
	uint64_t first = index & mask, room = mask + 1 - first, fits = n < room ? n : room;

	memcpy(elements, ring->elements + first * size, fits * size);
	if (fits < n)
		memcpy((unsigned char *)elements + fits * size, ring->elements, (n - fits) * size);
}

static inline size_t ideal_ring_push(struct ideal_side *side, const void *elements, size_t n, size_t size)
{
	uint64_t at = side->mine;

	if (at + n - side->other > side->mask + 1) {
		side->other = __atomic_load_n(&side->ring->read_index, __ATOMIC_ACQUIRE);
		if (at - side->other > side->mask)
			return 0;
		if (at + n - side->other > side->mask + 1)
			n = (size_t)(side->mask + 1 - (at - side->other));
	}
	if (n == 1)
		memcpy(side->ring->elements + (at & side->mask) * size, elements, size);
	else
		ideal_copy_in(side->ring, side->mask, at, elements, n, size);
	side->mine = at + n;
	__atomic_store_n(&side->ring->write_index, at + n, __ATOMIC_RELEASE);
	return n;
}

static inline size_t ideal_ring_pop(struct ideal_side *side, void *elements, size_t n, size_t size)
{
	uint64_t at = side->mine;

	if (side->other - at < n) {
		side->other = __atomic_load_n(&side->ring->write_index, __ATOMIC_ACQUIRE);
		if (side->other == at)
			return 0;
		if (side->other - at < n)
			n = (size_t)(side->other - at);
	}
	if (n == 1)
		memcpy(elements, side->ring->elements + (at & side->mask) * size, size);
	else
		ideal_copy_out(side->ring, side->mask, at, elements, n, size);
	side->mine = at + n;
	__atomic_store_n(&side->ring->read_index, at + n, __ATOMIC_RELEASE);
	return n;
}

/* ---- Vyukov ---- */

struct vyukov {
	alignas(128) uint64_t tail;
	alignas(128) uint64_t head;
	alignas(128) uint64_t mask;
	uint64_t stride;
	alignas(128) unsigned char cells[];  /* a sequence word and the element each */
};

static inline uint64_t *vyukov_cell(struct vyukov *queue, uint64_t position)
{
	return (uint64_t *)(void *)(queue->cells + (position & queue->mask) * queue->stride);
}

static inline void vyukov_init(void *memory, uint64_t capacity, size_t size)
{
	struct vyukov *queue = memory;

	queue->mask = capacity - 1;
	queue->stride = sizeof(uint64_t) + (size + 7) / 8 * 8;
	for (uint64_t i = 0; i < capacity; i++)
		*vyukov_cell(queue, i) = i;
}

static inline size_t vyukov_push(struct vyukov *queue, const void *element, size_t size)
{
	uint64_t position = __atomic_load_n(&queue->tail, __ATOMIC_RELAXED);

	for (;;) {
		uint64_t *cell = vyukov_cell(queue, position);
		int64_t ahead = (int64_t)(__atomic_load_n(cell, __ATOMIC_ACQUIRE) - position);

		if (ahead < 0)
			return 0;
		if (ahead > 0) {
			position = __atomic_load_n(&queue->tail, __ATOMIC_RELAXED);
		} else if (__atomic_compare_exchange_n(&queue->tail, &position, position + 1, true,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			memcpy(cell + 1, element, size);
			__atomic_store_n(cell, position + 1, __ATOMIC_RELEASE);
			return 1;
		}
	}
}

static inline size_t vyukov_pop(struct vyukov *queue, void *element, size_t size)
{
	uint64_t position = __atomic_load_n(&queue->head, __ATOMIC_RELAXED);

	for (;;) {
		uint64_t *cell = vyukov_cell(queue, position);
		int64_t ahead = (int64_t)(__atomic_load_n(cell, __ATOMIC_ACQUIRE) - (position + 1));

		if (ahead < 0)
			return 0;
		if (ahead > 0) {
			position = __atomic_load_n(&queue->head, __ATOMIC_RELAXED);
		} else if (__atomic_compare_exchange_n(&queue->head, &position, position + 1, true,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			memcpy(element, cell + 1, size);
			__atomic_store_n(cell, position + queue->mask + 1, __ATOMIC_RELEASE);
			return 1;
		}
	}
}

/* ---- the same behind calls into a shared library: ideal_so.c ---- */

size_t ideal_so_ring_push(struct ideal_side *side, const void *elements, size_t n, size_t size);
size_t ideal_so_ring_pop(struct ideal_side *side, void *elements, size_t n, size_t size);
size_t ideal_so_vyukov_push(struct vyukov *queue, const void *element, size_t size);
size_t ideal_so_vyukov_pop(struct vyukov *queue, void *element, size_t size);

#endif
