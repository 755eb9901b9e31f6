/*
 * Private memory of the simulated processes, and the states from which runs start.
 */
#include "sim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 64

uint8_t sim_heap[SIM_HEAP_SIZE] __attribute__((aligned(64)));

/* ---- private memory ---- */

struct block {
	uint32_t size;                      /* bytes behind this header */
	int32_t owner;                      /* process, -1: free */
	uint64_t pad[7];                    /* what is behind it begins on a line */
};

void *sim_reallocarray(void *old, size_t count, size_t size);
void sim_free(void *memory);
int sim_mutex_lock(pthread_mutex_t *mutex);
int sim_mutex_unlock(pthread_mutex_t *mutex);
int sim_mutex_init(pthread_mutex_t *mutex, const void *attributes);
int sim_mutex_destroy(pthread_mutex_t *mutex);

static int32_t caller(void)
{
	return (int32_t)(sim_process() - sim_world.processes);
}

/* The dead need nothing: their blocks are free. */
static bool is_free(const struct block *block)
{
	return block->owner < 0 || !sim_world.processes[block->owner].alive;
}

static struct block *after(struct block *block)
{
	return (struct block *)(void *)((uint8_t *)(block + 1) + block->size);
}

void *sim_calloc(size_t count, size_t size)
{
	uint32_t wanted = (uint32_t)((count * size + 63) & ~(size_t)63);
	struct block *block = (struct block *)(void *)sim_heap, *end;

	end = (struct block *)(void *)(sim_heap + sim_world.heap_used);
	while (block < end && !(is_free(block) && block->size == wanted))
		block = after(block);
	if (block == end) {
		sim_world.heap_used += (uint32_t)sizeof(*block) + wanted;
		if (sim_world.heap_used > SIM_HEAP_SIZE)
			__builtin_trap();
		block->size = wanted;
	}
	block->owner = caller();
	memset(block + 1, 0, wanted);
	return block + 1;
}

void *sim_reallocarray(void *old, size_t count, size_t size)
{
	if (old)
		__builtin_trap();           /* the library only makes new ones */
	return sim_calloc(count, size);
}

void sim_free(void *memory)
{
	struct block *block = (struct block *)memory - 1;

	if (!memory)
		return;
	if (block->owner != caller())
		sim_fail("a block of process %d freed by process %d", block->owner, caller());
	block->owner = -1;
}

uint32_t sim_heap_blocks(unsigned process)
{
	struct block *block = (struct block *)(void *)sim_heap;
	uint32_t count = 0;

	while ((uint8_t *)block < sim_heap + sim_world.heap_used) {
		count += block->owner == (int32_t)process;
		block = after(block);
	}
	return count;
}

/* ---- mutexes of a process ---- */

int sim_mutex_lock(pthread_mutex_t *mutex)
{
	int *word = (int *)(void *)mutex;

	while (*word)
		sim_block(word, INT64_MAX);
	*word = 1;
	return 0;
}

int sim_mutex_unlock(pthread_mutex_t *mutex)
{
	*(int *)(void *)mutex = 0;
	sim_wake(mutex);
	return 0;
}

int sim_mutex_init(pthread_mutex_t *mutex, const void *attributes)
{
	(void)attributes;
	*(int *)(void *)mutex = 0;
	return 0;
}

int sim_mutex_destroy(pthread_mutex_t *mutex)
{
	return *(int *)(void *)mutex;
}

/* ---- worlds ---- */

static struct saved {
	struct sim_world world;
	uint8_t *heap;
	uint8_t *memory[SIM_FILES];
} saved[SLOTS];

void sim_world_reset(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		memset(sim_memory[i], 0, SIM_FILE_SIZE);
	sim_world = (struct sim_world){ .now_ns = INT64_C(1000000000) };
	for (unsigned i = 0; i < SIM_THREADS; i++)
		sim_threads[i].state = SIM_UNUSED;
	sim_current = NULL;
	sim_deaths = sim_freezes = 0;
	sim_process_new();
	sim_act_as(0);
}

void sim_world_save(unsigned slot)
{
	struct saved *to = &saved[slot];

	to->world = sim_world;
	free(to->heap);
	to->heap = malloc(sim_world.heap_used + 1);
	if (!to->heap)
		abort();
	memcpy(to->heap, sim_heap, sim_world.heap_used);
	for (unsigned i = 0; i < SIM_FILES; i++) {
		free(to->memory[i]);
		to->memory[i] = malloc(sim_world.files[i].size + 1);
		if (!to->memory[i])
			abort();
		memcpy(to->memory[i], sim_memory[i], sim_world.files[i].size);
	}
}

void sim_world_load(unsigned slot)
{
	const struct saved *from = &saved[slot];

	for (unsigned i = 0; i < SIM_FILES; i++) {
		uint64_t size = from->world.files[i].size;

		if (sim_world.files[i].size > size)
			memset(sim_memory[i] + size, 0, sim_world.files[i].size - size);
		memcpy(sim_memory[i], from->memory[i], size);
	}
	sim_world = from->world;
	sim_kernel_begin();
	memcpy(sim_heap, from->heap, from->world.heap_used);
	for (unsigned i = 1; i < SIM_THREADS; i++)
		sim_threads[i].state = SIM_UNUSED;
	sim_current = NULL;
	sim_deaths = sim_freezes = 0;
	sim_step = 0;
	sim_act_as(0);
}
