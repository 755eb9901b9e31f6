/*
 * The simulated kernel's processes: src/process.h, and what src/sys.h has of time, sleeping and
 * barriers. What dies gives its descriptors, mappings and locks back at once.
 */
#include "sim.h"

#include "sys.h"

#include <errno.h>
#include <string.h>

struct sim_world sim_world;

/* ---- processes ---- */

unsigned sim_process_new(void)
{
	for (unsigned i = 0; i < SIM_PROCESSES; i++) {
		struct sim_process *process = &sim_world.processes[i];

		if (process->exists)
			continue;
		*process = (struct sim_process){ .exists = true, .alive = true, .pid = 1000 + (int32_t)i };
		memset(process->fds, -1, sizeof(process->fds));
		for (unsigned m = 0; m < SIM_MAPPINGS; m++)
			process->mappings[m].description = -1;
		return i;
	}
	__builtin_trap();                   /* a scenario with too many */
}

unsigned sim_process_fork(unsigned parent)
{
	unsigned number = sim_process_new();
	struct sim_process *child = &sim_world.processes[number], *from = &sim_world.processes[parent];

	for (unsigned fd = 0; fd < SIM_FDS; fd++) {
		child->fds[fd] = from->fds[fd];
		if (child->fds[fd] >= 0)
			sim_world.descriptions[child->fds[fd]].references++;
	}
	for (unsigned m = 0; m < SIM_MAPPINGS; m++) {
		if (from->mappings[m].description < 0 || from->mappings[m].pin)
			continue;
		child->mappings[m] = from->mappings[m];
		sim_world.descriptions[child->mappings[m].description].references++;
	}
	return number;                      /* its page is wiped: epoch 0 */
}

static void take_back(struct sim_process *process)
{
	process->alive = false;
	for (unsigned fd = 0; fd < SIM_FDS; fd++)
		if (process->fds[fd] >= 0)
			sim_put_description(process->fds[fd], process);
	for (unsigned m = 0; m < SIM_MAPPINGS; m++)
		if (process->mappings[m].description >= 0)
			sim_put_description(process->mappings[m].description, process);
	memset(process->fds, -1, sizeof(process->fds));
	for (unsigned m = 0; m < SIM_MAPPINGS; m++)
		process->mappings[m].description = -1;
}

void sim_process_kill(unsigned number)
{
	if (!sim_world.processes[number].alive)
		return;
	sim_deaths++;
	for (unsigned i = 1; i < SIM_THREADS; i++)
		if (sim_threads[i].process == number &&
		    (sim_threads[i].state == SIM_READY || sim_threads[i].state == SIM_BLOCKED)) {
			sim_threads[i].state = SIM_DEAD;
			sim_threads[i].died_step = sim_step;
		}
	take_back(&sim_world.processes[number]);
}

/* ---- src/process.h ---- */

struct shk_process *shk_process = &sim_world.processes[0].page;

void shk_process_enter(sigset_t *ret_saved)
{
	struct shk_process *page = &sim_process()->page;

	sigemptyset(ret_saved);
	while (page->lock)
		sim_block(&page->lock, INT64_MAX);
	page->lock = 1;
	if (page->epoch == 0) {
		page->fences = !shk_barrier_register();
		page->epoch = ++sim_world.last_epoch;
	}
}

void shk_process_leave(const sigset_t *saved)
{
	struct shk_process *page = &sim_process()->page;

	(void)saved;
	page->lock = 0;
	sim_wake(&page->lock);
}

uint32_t shk_process_epoch(void)
{
	sigset_t saved;

	if (sim_process()->page.epoch == 0) {
		shk_process_enter(&saved);
		shk_process_leave(&saved);
	}
	return sim_process()->page.epoch;
}

/* ---- src/sys.h: time ---- */

int64_t shk_now_ns(void)
{
	return sim_world.now_ns;
}

int64_t shk_coarse_ns(void)
{
	return sim_world.now_ns;
}

int64_t shk_real_ns(void)
{
	return sim_world.now_ns;
}

void shk_sleep_ns(int64_t ns)
{
	sim_block(NULL, sim_world.now_ns + ns);
}

/* ---- futexes and barriers ---- */

int shk_futex_wait(const uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
	sim_yield();
	if (*word != expected)
		return 0;
	return sim_block(word, sim_world.now_ns + timeout_ns) ? 0 : -ETIMEDOUT;
}

void shk_futex_wake_all(uint32_t *word)
{
	sim_yield();
	sim_wake(word);
}

bool shk_barrier_register(void)
{
	if (sim_weak)
		sim_model_fence(__ATOMIC_SEQ_CST);   /* the kernel's own, in every case */
	return !sim_world.no_membarrier;
}

bool shk_barrier_all(void)
{
	if (sim_world.no_membarrier)
		return false;
	sim_yield();
	if (sim_weak)
		sim_model_barrier_all();
	return true;
}
