/*
 * The explorer: the library's own source, compiled so that every access it makes to shared memory
 * is a place where the process may be preempted, stopped or killed, run by coroutines that play
 * processes on a simulated kernel.
 *
 *	thread.c   coroutines; who runs next; deaths
 *	memory.c   every access of the library: sequentially consistent, or as C11 allows
 *	model.c    the C11 model: modification orders, views, races
 *	kernel.c   files, descriptors, locks, mappings, futexes, time: in place of src/sys.c
 *	world.c    private memory of the processes, and the state from which a run starts
 *	drive.c    which executions: all within bounds, or random ones; options, reports, replay
 *
 * The library is compiled with -fsanitize=thread, and memory.c provides what the compiler then
 * calls at each access: no access can be forgotten, and a weakened order needs no other build.
 */
#ifndef EXPLORE_SIM_H
#define EXPLORE_SIM_H

#include "process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_THREADS 8                       /* of all processes together; 0 is the one that audits */
#define SIM_PROCESSES 16
#define SIM_FILES 8
#define SIM_FILE_SIZE (64u << 10)           /* bytes a file can have */
#define SIM_FDS 12                          /* of a process */
#define SIM_MAPPINGS 12
#define SIM_DESCRIPTIONS 60                 /* a bit each in a lock of many readers */
#define SIM_BYTES 24                        /* of a file that are ever locked */
#define SIM_HEAP_SIZE (256u << 10)
#define SIM_STACK_SIZE (128u << 10)

/* ---- what a run changes, and is put back before the next ---- */

struct sim_file {
	bool linked;
	uint32_t serial;                    /* another for each file that was ever made in a run */
	uint16_t references;                /* descriptions */
	uint16_t byte_count;
	uint16_t locks;                     /* on its bytes, all of them */
	uint64_t size;
	char name[64];
	struct {
		uint64_t byte;
		uint64_t readers;           /* descriptions, a bit each */
		int16_t writer;             /* description, or -1 */
	} bytes[SIM_BYTES];
};

struct sim_process {
	bool exists, alive;
	int32_t pid;
	struct shk_process page;            /* what shk_process points to while it runs */
	int8_t fds[SIM_FDS];                /* description, or -1 */
	struct sim_mapping {
		int8_t description;         /* -1: none */
		bool pin;
		void *base;
	} mappings[SIM_MAPPINGS];
};

struct sim_world {
	int64_t now_ns;
	uint32_t last_epoch;
	uint32_t last_serial;
	uint32_t heap_used;
	bool no_membarrier;
	struct sim_process processes[SIM_PROCESSES];
	struct sim_file files[SIM_FILES];
	struct {
		int16_t references;
		int8_t file;
		bool writable;
	} descriptions[SIM_DESCRIPTIONS];
};

extern struct sim_world sim_world;
extern uint8_t sim_memory[SIM_FILES + 1][SIM_FILE_SIZE];   /* of the files; the kernel's own words */
extern uint8_t sim_heap[SIM_HEAP_SIZE];

/* Everything as it was when the process started; a process for the audit is there. */
void sim_world_reset(void);

/* Remembers the world, and goes back to it: every run starts from there. Slots: one per state. */
void sim_world_save(unsigned slot);
void sim_world_load(unsigned slot);

/* ---- processes and threads ---- */

enum sim_state { SIM_UNUSED, SIM_READY, SIM_BLOCKED, SIM_DONE, SIM_DEAD };

struct sim_thread {
	unsigned id;
	enum sim_state state;
	unsigned process;
	bool frozen;                        /* not chosen until all others have ended */
	bool mortal;                        /* may be killed and frozen */
	unsigned after;                     /* thread that must have ended first; 0 none */
	bool timed_out;                     /* its sleep was ended by the clock */
	uint64_t timed_out_step;            /* when that was last */
	uint64_t died_step;                 /* of a dead one */
	const void *sleeps_on;              /* futex word, or NULL */
	int64_t wake_ns;
	uint32_t steps;
	void (*run)(struct sim_thread *thread);
	void *arg;
	void *stack, *stack_pointer;
};

extern struct sim_thread sim_threads[SIM_THREADS];
extern struct sim_thread *sim_current;      /* NULL: the explorer itself, as process 0, undisturbed */
extern unsigned sim_deaths, sim_freezes;    /* in this run so far */
extern uint64_t sim_step;                   /* accesses of all threads in this run so far */

/* A process with no thread yet; its number. */
unsigned sim_process_new(void);

/* A copy of a process at this moment, as fork() makes it; its number. The caller copies handles. */
unsigned sim_process_fork(unsigned parent);

/* One reference less to an open file; of the last, its locks go, and who takes them next is told. */
void sim_put_description(int number, struct sim_process *dead);

/* Its words as its files are: at the beginning of a run. */
void sim_kernel_begin(void);

/* SIGKILL: threads end where they are, the kernel takes back what it had. */
void sim_process_kill(unsigned process);

struct sim_thread *sim_thread_new(unsigned process, void (*run)(struct sim_thread *), void *arg);

/* The process that calls: of the thread that runs, or whom the explorer acts as. */
struct sim_process *sim_process(void);

/* As if this process called: for set-up and audit, undisturbed. */
void sim_act_as(unsigned process);

/* Runs all threads to their end, as choices say. */
void sim_run(void);

/* A place where others may run, or the caller may die. */
void sim_yield(void);

/* Sleeps until woken or until the clock says so; false: the clock. */
bool sim_block(const void *word, int64_t until_ns);
void sim_wake(const void *word);

/* May be called by a scenario before an operation of a thread: the clock goes on. */
void sim_tick(int64_t ns);

/* ---- choices and failures ---- */

enum sim_choice {
	SIM_NEXT,                           /* who runs next, when the last one cannot */
	SIM_PREEMPT,                        /* 0: go on */
	SIM_DIE,                            /* 0: live */
	SIM_FREEZE,                         /* 0: go on */
	SIM_STALE,                          /* 0: the newest value, or a store at the end */
	SIM_CASE,                           /* of a scenario */
};

/* A number below count: by plan, or by chance. Where nothing is left to choose it is 0. */
unsigned sim_choose(enum sim_choice kind, unsigned count);

/* The run is wrong. Says so with what leads there again; returns, and the run goes on. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern bool sim_failed;                     /* this run */

/* ---- memory ---- */

static inline bool sim_is_shared(const volatile void *address)
{
	return (uintptr_t)address - (uintptr_t)sim_memory < sizeof(sim_memory);
}

extern bool sim_weak;                       /* C11's semantics instead of sequential consistency */

void sim_model_reset(void);
extern bool sim_model_void;                 /* this run counts for nothing: it goes again */
uint64_t sim_model_load(const volatile void *address, unsigned size, int order);
void sim_model_store(volatile void *address, unsigned size, uint64_t value, int order);
/* Read, then write update(old) right behind it. expected != NULL: only if it was that. */
bool sim_model_swap(volatile void *address, unsigned size, const uint64_t *expected,
		    uint64_t (*update)(uint64_t old, uint64_t operand), uint64_t operand, int order,
		    int fail_order, uint64_t *ret_old);
void sim_model_fence(int order);
void sim_model_plain(const volatile void *address, size_t size, bool writes);
void sim_model_punch(volatile void *address, size_t size);
/* Another file's from now on: nobody has touched it. */
void sim_model_forget(const volatile void *address, size_t size);
/* The kernel reads for somebody. to already has what memory holds; words of which there are older values may differ. */
void sim_model_copy(void *to, const volatile void *address, size_t size);
void sim_model_barrier_all(void);
void sim_model_start(struct sim_thread *thread);     /* knows what its creator knows */
void sim_model_join(void);                            /* the explorer knows all */
/* What the kernel orders: who releases it tells, who finds it so knows. */
void sim_model_release(unsigned channel);
void sim_model_acquire(unsigned channel);
#define SIM_CHANNELS (SIM_FILES * (SIM_BYTES + 1))
void sim_model_dead(struct sim_thread *thread, unsigned channel);

/* Where the library states an order: an address in the code (memory.c). */
struct sim_site {
	uintptr_t address;
	int order;                          /* strongest seen */
	uint64_t count;
	bool weakened;
};
extern struct sim_site sim_sites[512];
extern unsigned sim_site_count;
extern int sim_weak_order;                  /* what stronger orders become at weakened sites */
void sim_weaken(uintptr_t address);

/* Prints every access, with its place in the code as addr2line takes it. */
extern bool sim_trace;
void sim_say(const char *what, const volatile void *address, uint64_t value, uintptr_t site);

/* ---- labels ---- */

void sim_labels_each(void (*visit)(const char *label, void *arg), void *arg);
extern void (*sim_on_point)(const char *label);      /* of a scenario; may be NULL */

/* Of a scenario: that file has got its name, or has it no longer. May be NULL. */
extern void (*sim_on_name)(const struct sim_file *file);

/* ---- private memory of a process (world.c) ---- */

uint32_t sim_heap_blocks(unsigned process);
void *sim_calloc(size_t count, size_t size);         /* of the process that calls */

/* As the library's own copies: each piece of 8 bytes is a plain access. */
void *sim_memcpy(void *to, const void *from, size_t size);

#endif
