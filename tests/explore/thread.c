/*
 * Coroutines that play threads of simulated processes, and who runs next.
 */
#include "sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEPS_LIMIT 60000u                  /* of one thread in one run: it does not end */

struct sim_thread sim_threads[SIM_THREADS];
struct sim_thread *sim_current;
unsigned sim_deaths, sim_freezes;
uint64_t sim_step;
void (*sim_on_point)(const char *label);

static void *main_stack_pointer;
static struct sim_thread *next;             /* chosen by the one that was preempted */
static unsigned acting;                     /* process the explorer acts as */

/*
 * sim_switch(save, to): keeps what a call must keep on the stack, stores the stack pointer, goes on
 * where to left off.
 */
#if defined(__x86_64__)
void sim_switch(void **save, void *to);
__asm__(".text\n"
	".globl sim_switch\n"
	".type sim_switch, @function\n"
	"sim_switch:\n"
	"	push %rbp\n	push %rbx\n	push %r12\n	push %r13\n	push %r14\n	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n	pop %r14\n	pop %r13\n	pop %r12\n	pop %rbx\n	pop %rbp\n"
	"	ret\n");
#define SAVED_REGISTERS 6
#else
#error "the explorer's coroutines are written for x86-64"
#endif

static void leave(struct sim_thread *thread)
{
	sim_switch(&thread->stack_pointer, main_stack_pointer);
}

static void first(void)
{
	struct sim_thread *thread = sim_current;

	thread->run(thread);
	thread->state = SIM_DONE;
	leave(thread);
	__builtin_trap();                   /* a thread that has ended is not chosen */
}

struct sim_thread *sim_thread_new(unsigned process, void (*run)(struct sim_thread *), void *arg)
{
	struct sim_thread *thread = NULL;
	void **top, *stack;

	for (unsigned i = 1; i < SIM_THREADS && !thread; i++)
		if (sim_threads[i].state == SIM_UNUSED)
			thread = &sim_threads[i];
	if (!thread)
		abort();
	stack = thread->stack;
	if (!stack) {
		stack = mmap(NULL, SIM_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (stack == MAP_FAILED)
			abort();
	}
	*thread = (struct sim_thread){ .id = (unsigned)(thread - sim_threads), .state = SIM_READY,
				       .process = process, .run = run, .arg = arg, .stack = stack,
				       .mortal = true };
	top = (void **)(void *)((uint8_t *)stack + SIM_STACK_SIZE - 64);
	*--top = NULL;
	*--top = (void *)(uintptr_t)first;
	for (int i = 0; i < SAVED_REGISTERS; i++)
		*--top = NULL;
	thread->stack_pointer = top;
	sim_model_start(thread);
	return thread;
}

void sim_act_as(unsigned process)
{
	acting = process;
	shk_process = &sim_world.processes[process].page;
}

struct sim_process *sim_process(void)
{
	return &sim_world.processes[sim_current ? sim_current->process : acting];
}

static void set_current(struct sim_thread *thread)
{
	sim_current = thread;
	shk_process = &sim_world.processes[thread ? thread->process : acting].page;
}

/* ---- who runs ---- */

static bool can_run(const struct sim_thread *thread)
{
	enum sim_state before = sim_threads[thread->after].state;

	return thread->state == SIM_READY && !thread->frozen &&
	       (thread->after == 0 || before == SIM_DONE || before == SIM_DEAD);
}

static unsigned others(struct sim_thread *but, struct sim_thread **ret_list)
{
	unsigned count = 0;

	for (unsigned i = 1; i < SIM_THREADS; i++)
		if (&sim_threads[i] != but && can_run(&sim_threads[i]))
			ret_list[count++] = &sim_threads[i];
	return count;
}

static void end_here(struct sim_thread *thread)
{
	sim_process_kill(thread->process);
	leave(thread);
}

void sim_yield(void)
{
	struct sim_thread *thread = sim_current, *list[SIM_THREADS];
	unsigned count, choice;

	if (!thread)
		return;
	sim_step++;
	if (++thread->steps > STEPS_LIMIT) {
		sim_fail("thread %u does not come to an end", thread->id);
		thread->state = SIM_DEAD;
		leave(thread);
	}
	if (thread->mortal && sim_choose(SIM_DIE, 2)) {
		end_here(thread);
		return;
	}
	count = others(thread, list);
	if (count == 0)
		return;
	if (thread->mortal && sim_choose(SIM_FREEZE, 2)) {
		sim_freezes++;
		for (unsigned i = 1; i < SIM_THREADS; i++)
			sim_threads[i].frozen |= sim_threads[i].process == thread->process;
		leave(thread);
		return;
	}
	choice = sim_choose(SIM_PREEMPT, count + 1);
	if (choice == 0)
		return;
	next = list[choice - 1];
	leave(thread);
}

bool sim_block(const void *word, int64_t until_ns)
{
	struct sim_thread *thread = sim_current;

	if (!thread) {                      /* the explorer is alone: only the clock can help */
		if (until_ns > sim_world.now_ns)
			sim_world.now_ns = until_ns;
		return false;
	}
	thread->state = SIM_BLOCKED;
	thread->sleeps_on = word;
	thread->wake_ns = until_ns;
	thread->timed_out = false;
	leave(thread);
	return !thread->timed_out;
}

void sim_wake(const void *word)
{
	for (unsigned i = 1; i < SIM_THREADS; i++) {
		struct sim_thread *thread = &sim_threads[i];

		if (thread->state == SIM_BLOCKED && thread->sleeps_on == word && word)
			thread->state = SIM_READY;
	}
}

void sim_tick(int64_t ns)
{
	sim_world.now_ns += ns;
}

/* Nobody can run: the first sleeper's time is over. False: nobody sleeps. */
static bool let_time_pass(void)
{
	struct sim_thread *earliest = NULL;

	for (unsigned i = 1; i < SIM_THREADS; i++) {
		struct sim_thread *thread = &sim_threads[i];

		if (thread->state == SIM_BLOCKED && !thread->frozen && thread->wake_ns != INT64_MAX &&
		    (!earliest || thread->wake_ns < earliest->wake_ns))
			earliest = thread;
	}
	if (!earliest)
		return false;
	if (earliest->wake_ns > sim_world.now_ns)
		sim_world.now_ns = earliest->wake_ns;
	earliest->timed_out = true;
	earliest->timed_out_step = sim_step;
	earliest->state = SIM_READY;
	return true;
}

/* All others have ended: those that stood still go on. False: there are none. */
static bool thaw(void)
{
	bool any = false;

	for (unsigned i = 1; i < SIM_THREADS; i++)
		if (sim_threads[i].frozen &&
		    (sim_threads[i].state == SIM_READY || sim_threads[i].state == SIM_BLOCKED)) {
			sim_threads[i].frozen = false;
			any = true;
		}
	return any;
}

void sim_run(void)
{
	struct sim_thread *list[SIM_THREADS];

	for (;;) {
		struct sim_thread *thread = next;

		next = NULL;
		if (!thread) {
			unsigned count = others(NULL, list);

			if (count == 0) {
				if (let_time_pass() || thaw())
					continue;
				break;
			}
			thread = list[count > 1 ? sim_choose(SIM_NEXT, count) : 0];
		}
		set_current(thread);
		sim_switch(&main_stack_pointer, thread->stack_pointer);
		set_current(NULL);
	}
	sim_model_join();
}

/* ---- labels ---- */

#define LABELS 256

static const char *labels[LABELS];

void shk_point(const char *label);

void shk_point(const char *label)
{
	unsigned slot = (unsigned)(((uintptr_t)label * UINT64_C(0x9e3779b97f4a7c15)) >> 56);

	/* a label is one string in the library, and again in each file that uses it */
	while (labels[slot] && labels[slot] != label)
		slot = (slot + 1) % LABELS;
	labels[slot] = label;
	if (!sim_current)
		return;
	if (sim_trace)
		printf("      %llu: thread %u is at %s\n", (unsigned long long)sim_step, sim_current->id, label);
	if (sim_on_point)
		sim_on_point(label);
	sim_yield();
}

void sim_labels_each(void (*visit)(const char *label, void *arg), void *arg)
{
	for (unsigned i = 0; i < LABELS; i++)
		if (labels[i])
			visit(labels[i], arg);
}
