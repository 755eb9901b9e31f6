/*
 * What master and worker agree on: names, the shape of a task and of a result, and the work itself.
 */
#ifndef WORKERS_H
#define WORKERS_H

#include <stdbool.h>
#include <stdint.h>

struct shmkit_segment;

#define WORKERS_SEGMENT      "shmkit_workers"
#define WORKERS_TASK_QUEUE   "tasks"
#define WORKERS_RESULT_QUEUE "results"
#define WORKERS_READY        "workers_ready" /* the last name made: who sees it finds them all */
#define WORKERS_MASTER_LABEL "master"

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

enum {
	TASK_PRIMES = 0,	/* the first 256 primes from a given number on */
	TASK_MATRIX = 1,	/* the square of a 16 by 16 matrix */
	TASK_SORT   = 2,	/* 256 numbers drawn from 64 seeds, sorted */
	TASK_CRC    = 3,	/* the CRC-32 of every beginning of a text */
	TASK_TYPES  = 4,
};

struct task {
	uint64_t task_id;
	uint32_t type;
	uint32_t reserved;
	uint8_t  parameters[256];
};
#define TASK_SCHEMA "task_id:u64 type:u32 reserved:u32 parameters:u8[256]"

struct result {
	uint64_t task_id;
	uint32_t worker_id;
	uint32_t success;
	uint32_t output[256];	/* 1,024 bytes */
};
#define RESULT_SCHEMA "task_id:u64 worker_id:u32 success:u32 output:u32[256]"

_Static_assert(sizeof(struct task) == 272, "a task has no padding");
_Static_assert(sizeof(struct result) == 1040, "a result has no padding");

/* Fill in task number @task_id. */
void task_prepare(struct task *task, uint64_t task_id);

/* Do the work. @result gets the id, the output, and success 0 where the task makes no sense. */
void task_execute(const struct task *task, struct result *result);

/* Does a live process labelled WORKERS_MASTER_LABEL belong to this segment? */
bool workers_have_master(struct shmkit_segment *segment);

#endif
