/* A segment that process 0 makes and the actors' processes, 1 to SCENARIO_ACTORS, have open. */
#ifndef EXPLORE_FIXTURE_H
#define EXPLORE_FIXTURE_H

#include "scenario.h"

#include <shmkit.h>

#define FIXTURE_MEMBERS 7
#define FIXTURE_ENTRIES 3
#define FIXTURE_SIZE (24u << 10)
#define FIXTURE_PROCESSES SIM_PROCESSES

extern struct shmkit_segment *fixture_segments[FIXTURE_PROCESSES];

/* In set-up: an error is the end. */
void fixture_must(int64_t result);

/* Another thread is of the same process, and may use its handles. */
bool fixture_shares_process(const struct sim_thread *thread);

/* As a forked child has it, whose memory has other addresses here; in the caller's heap. */
void *fixture_copied(const void *from, size_t size);

/* Creates "s" and opens it in the actors. make(process) is then called as each, 0 first. */
void fixture_build(void (*make)(unsigned process));

/* The same with a segment of another shape; make may be NULL. */
void fixture_build_as(uint64_t size, const struct shmkit_segment_options *options,
		      void (*make)(unsigned process));

/* A newcomer: the thread goes on as a new process that opens the segment. False: no id was free. */
bool fixture_attach(struct sim_thread *thread);

/* As process 0, at the end: the dead are repaired, their ids free, the segment is sound. */
void fixture_recover(void);

/* Bytes that are used, and entries. */
uint64_t fixture_used(uint32_t *ret_entries);

/* Payload: a value and its complement, so that a torn one is seen. */
#define FIXTURE_ELEMENT 16

static inline void fixture_encode(uint64_t element[2], unsigned value)
{
	element[0] = value;
	element[1] = ~(uint64_t)value;
}

/* 0: torn, or no value below limit (the run has failed). */
unsigned fixture_decode(const uint64_t element[2], unsigned limit);

/* The caller's last sleep ended by the clock though nobody died or stood still: was it lost? */
void fixture_check_wake(const struct sim_thread *thread);

/* It gave up: when its time was over, what it waited for must not have been there since a step. */
void fixture_check_timeout(const struct sim_thread *thread, uint64_t since_step);

#endif
