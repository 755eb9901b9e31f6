/*
 * What the parts of explore_table.c share: what there is to be made, what is known of a run, and
 * the operations.
 */
#ifndef EXPLORE_TABLE_ORACLE_H
#define EXPLORE_TABLE_ORACLE_H

#include "fixture.h"

#include "object.h"

#define TABLE_ENTRIES 4u
#define TABLE_SIZE 8192u
#define TABLE_MAX_SIZE 12288u
#define TABLE_WORDS 7u                      /* of a small array; the schema takes one more */

enum { A, B, C, X, Y, FILLER, NAMES };
extern const char *const table_names[NAMES];

struct what {
	uint32_t kind, element_size;
	uint64_t capacity;
	const struct shmkit_object_options *options;
};
extern const struct what table_small, table_value, table_large, table_queue, table_pool;

/* The handles of a process: one on each name, one of its observer's. */
struct hands {
	struct shk_object *held[NAMES];
	struct shmkit_segment *observer;
	struct shk_object *seen;
};
extern struct hands hands[FIXTURE_PROCESSES];

struct known {
	bool live;
	uint32_t kind;                      /* while it is there */
	uint64_t changed;                   /* when it came or went */
	struct { uint64_t until; uint32_t kind; } before[4];   /* those that went last */
	unsigned gone;
};
extern struct known known[NAMES];

/* What the thread is making or removing. */
struct table_run {
	unsigned name;
	uint32_t kind;
	uint64_t claimed;                   /* bytes of what it is making, 0 nothing */
};
extern struct table_run table_runs[SIM_THREADS];

extern uint64_t filled;                     /* word of the array whose words all hold its mark */
extern bool left_over;                      /* somebody died before the run */
extern uint64_t bytes_claimed;              /* taken at first and asked for since */
extern unsigned entries_claimed;

#define MINE (hands[thread->process])

/* ---- table_operations.c ---- */

void expect(int64_t result, int64_t expected, const char *what);
uint64_t mark_of(const struct shk_object *object);
void check_word(const struct shk_object *object, uint64_t word, const char *who);
bool is_current(const struct shk_object *object);
struct shmkit_segment *segment_of(const struct sim_thread *thread);
void use(struct sim_thread *thread, struct shk_object *object);
int open_any(struct shmkit_segment *segment, unsigned name, struct shk_object **ret_object);
void create(struct sim_thread *thread, unsigned name, const struct what *what, bool opens);
void open_and_write(struct sim_thread *thread, unsigned name);
void observe(struct sim_thread *thread, bool keeps);
void remove_name(struct sim_thread *thread, unsigned name);
void walk(struct sim_thread *thread);
void inform(struct sim_thread *thread);
void wait_for(struct sim_thread *thread);
void grow(struct sim_thread *thread);
void close_all(unsigned process);
void leave_and_open(struct sim_thread *thread);
void attach(struct sim_thread *thread);

/* ---- table_audit.c ---- */

void table_audit(void);

#endif
