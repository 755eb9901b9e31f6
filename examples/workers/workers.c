/*
 * The part that both programs share: the four kinds of work, and who is the master.
 */
#include "workers.h"

#include <stdlib.h>
#include <string.h>

#include <shmkit.h>

#define MATRIX_SIDE 16

static uint64_t next_random(uint64_t *state)	/* splitmix64 */
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void prepare_text(uint8_t *text, size_t size, uint64_t *random)
{
	static const char letters[] = "etaoin shrdlu";

	for (size_t i = 0; i < size; i++)
		text[i] = (uint8_t)letters[next_random(random) % (sizeof(letters) - 1)];
}

void task_prepare(struct task *task, uint64_t task_id)
{
	uint64_t random = task_id;
	uint64_t from = 1000000 + task_id * 7919;

	memset(task, 0, sizeof(*task));
	task->task_id = task_id;
	task->type = (uint32_t)(task_id % TASK_TYPES);

	if (task->type == TASK_PRIMES) {
		memcpy(task->parameters, &from, sizeof(from));
	} else if (task->type == TASK_CRC) {
		prepare_text(task->parameters, sizeof(task->parameters), &random);
	} else {
		for (size_t i = 0; i < sizeof(task->parameters); i++)
			task->parameters[i] = (uint8_t)next_random(&random);
	}
}

static bool is_prime(uint32_t n)
{
	if (n < 4)
		return n > 1;
	if (n % 2 == 0)
		return false;
	for (uint32_t divisor = 3; divisor <= n / divisor; divisor += 2) {
		if (n % divisor == 0)
			return false;
	}
	return true;
}

static bool run_primes(const uint8_t *parameters, uint32_t output[256])
{
	uint64_t from;
	size_t count = 0;

	memcpy(&from, parameters, sizeof(from));
	if (from > UINT32_MAX / 2)	/* room for 256 more primes below 2^32 */
		return false;
	for (uint32_t n = (uint32_t)from; count < 256; n++) {
		if (is_prime(n))
			output[count++] = n;
	}
	return true;
}

static bool run_matrix(const uint8_t *m, uint32_t output[256])
{
	for (size_t row = 0; row < MATRIX_SIDE; row++) {
		for (size_t column = 0; column < MATRIX_SIDE; column++) {
			uint32_t sum = 0;

			for (size_t k = 0; k < MATRIX_SIDE; k++)
				sum += (uint32_t)m[row * MATRIX_SIDE + k] *
				       m[k * MATRIX_SIDE + column];
			output[row * MATRIX_SIDE + column] = sum;
		}
	}
	return true;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static bool run_sort(const uint8_t *parameters, uint32_t output[256])
{
	uint32_t seeds[64];

	memcpy(seeds, parameters, sizeof(seeds));
	for (size_t i = 0; i < 256; i++) {
		uint64_t random = seeds[i / 4] + i;

		output[i] = (uint32_t)next_random(&random);
	}
	qsort(output, 256, sizeof(output[0]), compare_u32);
	return true;
}

static bool run_crc(const uint8_t *text, uint32_t output[256])
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < 256; i++) {
		crc ^= text[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
		output[i] = ~crc;
	}
	return true;
}

void task_execute(const struct task *task, struct result *result)
{
	static bool (*const run[TASK_TYPES])(const uint8_t *, uint32_t *) = {
		[TASK_PRIMES] = run_primes,
		[TASK_MATRIX] = run_matrix,
		[TASK_SORT]   = run_sort,
		[TASK_CRC]    = run_crc,
	};

	memset(result, 0, sizeof(*result));
	result->task_id = task->task_id;
	if (task->type < TASK_TYPES)
		result->success = run[task->type](task->parameters, result->output);
}

bool workers_have_master(struct shmkit_segment *segment)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	while (shmkit_segment_next_member(segment, &cursor, &member) == 1) {
		if (member.alive != 0 && strcmp(member.label, WORKERS_MASTER_LABEL) == 0)
			return true;
	}
	return false;
}
