#include "fixture.h"

#include "segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shmkit_segment *fixture_segments[FIXTURE_PROCESSES];

void fixture_must(int64_t result)
{
	if (result < 0) {
		fprintf(stderr, "set-up: %s\n", shmkit_last_error());
		abort();
	}
}

bool fixture_shares_process(const struct sim_thread *thread)
{
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (&sim_threads[t] != thread && sim_threads[t].state != SIM_UNUSED &&
		    sim_threads[t].process == thread->process)
			return true;
	return false;
}

void *fixture_copied(const void *from, size_t size)
{
	void *to = sim_calloc(1, size);

	memcpy(to, from, size);
	return to;
}

void fixture_build(void (*make)(unsigned process))
{
	struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .table = SHMKIT_TABLE_CUSTOM, .max_entries = FIXTURE_ENTRIES,
		.name_size = 8, .max_members = FIXTURE_MEMBERS,
	};

	fixture_build_as(FIXTURE_SIZE, &options, make);
}

void fixture_build_as(uint64_t size, const struct shmkit_segment_options *options,
		      void (*make)(unsigned process))
{
	fixture_must(shmkit_segment_create("s", size, options, &fixture_segments[0]));
	if (make)
		make(0);
	for (unsigned i = 1; i <= SCENARIO_ACTORS; i++) {
		sim_act_as(sim_process_new());
		fixture_must(shmkit_segment_open("s", 0, &fixture_segments[i]));
		if (make)
			make(i);
	}
	sim_act_as(0);
}

bool fixture_attach(struct sim_thread *thread)
{
	unsigned process = sim_process_new();
	int result;

	thread->process = process;
	shk_process = &sim_world.processes[process].page;
	result = shmkit_segment_open("s", 0, &fixture_segments[process]);
	if (result == -EUSERS || (result == -EBUSY && sim_freezes))
		return false;
	if (result)
		sim_fail("open: %s", shmkit_last_error());
	return result == 0;
}

void fixture_recover(void)
{
	struct shmkit_segment *segment = fixture_segments[0];
	uint64_t word;

	for (unsigned i = 0; i < 3; i++) {
		sim_tick(INT64_C(100000000));
		if (shmkit_segment_recover(segment, NULL))
			sim_fail("recover: %s", shmkit_last_error());
	}
	for (uint32_t id = 0; id < segment->geometry.max_members; id++) {
		const struct shk_member_shm *member = shk_member(segment, id);

		word = member->word;
		if ((word & SHK_MEMBER_LIVE) && !sim_world.processes[member->pid - 1000].alive)
			sim_fail("member %u is dead, and its id is not free", id);
	}
	if (shmkit_segment_check(segment))
		sim_fail("check: %s", shmkit_last_error());
}

uint64_t fixture_used(uint32_t *ret_entries)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	fixture_must(shmkit_segment_get_info(fixture_segments[0], &info));
	*ret_entries = info.entries;
	return info.used;
}

unsigned fixture_decode(const uint64_t element[2], unsigned limit)
{
	if (element[1] != ~element[0]) {
		sim_fail("a torn element: 0x%llx and 0x%llx", (unsigned long long)element[0],
			 (unsigned long long)element[1]);
		return 0;
	}
	if (element[0] == 0 || element[0] >= limit) {
		sim_fail("an element nobody made: %llu", (unsigned long long)element[0]);
		return 0;
	}
	return (unsigned)element[0];
}

void fixture_check_wake(const struct sim_thread *thread)
{
	if (thread->timed_out && sim_deaths == 0 && sim_freezes == 0)
		sim_fail("a wake-up was lost: it went on only when its slice was over");
}

void fixture_check_timeout(const struct sim_thread *thread, uint64_t since_step)
{
	if (!sim_weak && thread->timed_out && since_step < thread->timed_out_step && sim_deaths == 0 &&
	    sim_freezes == 0)
		sim_fail("it timed out at step %llu, and what it waited for was there since step %llu",
			 (unsigned long long)thread->timed_out_step, (unsigned long long)since_step);
}
