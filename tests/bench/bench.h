/*
 * The benchmark: the same work done by the library and by its peers, in turns of about a
 * millisecond, by the same processes on the same processors.
 *
 * A case says what work; a subject is who does it. Subjects of one case take turns in rounds, and
 * what counts is the ratio of two subjects within one round: the machine is as fast or as slow for
 * both. Before and after each round the two processors pass a cache line to and fro, which tells
 * how near they are to each other (virtual ones move).
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_WORKERS 32u
#define BENCH_SUBJECTS 16u                  /* of a case */
#define BENCH_MEMORY (UINT64_C(1) << 30)    /* bytes that the workers share, per link; what is not touched costs nothing */

enum bench_kind {
	BENCH_PAIR,                         /* one process puts in and takes out */
	BENCH_FLOW,                         /* some put in, others take out */
	BENCH_TRIP,                         /* there and back, by polling */
	BENCH_TRIP_WAIT,                    /* there and back, waiting in the call, both sides busy */
	BENCH_TRIP_ASLEEP,                  /* the same, both sides asleep when it comes */
	BENCH_CALLS,                        /* whatever the subject does; unit: one of it */
};

enum bench_role { BENCH_BOTH, BENCH_PRODUCER, BENCH_CONSUMER, BENCH_PING, BENCH_PONG };

struct bench_case {
	const char *id;
	enum bench_kind kind;
	uint32_t element_size;              /* bytes */
	uint32_t batch;                     /* elements per call */
	uint64_t capacity;                  /* elements */
	unsigned producers, consumers;      /* processes; a pair is 1 and 0 */
	const char *subjects;               /* names between spaces, the library's first */
	const char *what;                   /* for people */
	/* 0 where it makes no difference */
	uint32_t members;                   /* of the segment, at least: others that are there and idle */
	uint64_t segment_size;              /* bytes, at least */
	uint64_t warm;                      /* units of work before anything counts: once around */
	uint64_t first;                     /* units of the shortest turn that is tried */
	unsigned rounds;                    /* at most */
	unsigned slice_us;                  /* of a turn, in place of the usual millisecond */
};

/* A case for each of the values of one parameter. */
enum bench_parameter {
	BENCH_PROCESSES,                    /* half of them producers */
	BENCH_ALL_PROCESSES,                /* all of one kind */
	BENCH_MEMBERS,
	BENCH_ELEMENT_SIZE,
	BENCH_CAPACITY,                     /* or entries, or whatever the case counts with it */
	BENCH_SEGMENT_SIZE,
};

struct bench_curve {
	struct bench_case base;
	enum bench_parameter parameter;
	const char *axis;                   /* for people */
	uint64_t begin, factor, end;        /* the values */
};

/* One structure between processes, as one of them has it. */
struct bench_link {
	const struct bench_case *what;
	void *memory;                       /* BENCH_MEMORY bytes, shared, zero when prepare() is called */
	char name[64];                      /* of its own, for what needs one */
	unsigned index;                     /* 0 there, 1 back */
	unsigned worker;                    /* 0 is the one that prepared */
	uint64_t spared_ns;                 /* of the turn: what the loop of worker 0 slept on purpose */
	/* the subject's own, private to the process; a new one for each attach() */
	alignas(64) unsigned char own[512];
};

/* Does count units of work (elements, round trips, calls). links[1] is there for trips only. */
typedef void (*bench_loop)(struct bench_link *links, uint64_t count);

struct bench_subject {
	const char *name;
	/* Before there are other processes. False: not here (said on stderr). May be NULL. */
	bool (*prepare)(struct bench_link *link);
	/* In each process, the first included. May be NULL. */
	bool (*attach)(struct bench_link *link);
	void (*detach)(struct bench_link *link);
	/* In the process that prepared, when the others have gone. May be NULL. */
	void (*finish)(struct bench_link *link);
	/* NULL: it cannot do that. */
	bench_loop (*loop)(const struct bench_case *what, enum bench_role role);
};

/* Ends with one without a name. */
extern const struct bench_subject bench_subjects_shmkit[];
extern const struct bench_subject bench_subjects_calls[];
extern const struct bench_subject bench_subjects_plain[];
extern const struct bench_subject bench_subjects_kernel[];
extern const struct bench_subject bench_subjects_rte[];
extern const struct bench_subject bench_subjects_ck[];
extern const struct bench_subject bench_subjects_boost[];
extern const struct bench_subject bench_subjects_interprocess[];
extern const struct bench_subject bench_subjects_qb[];
extern const struct bench_subject bench_subjects_zmq[];

/* Each ends with one without an id. */
extern const struct bench_case bench_cases[];
extern const struct bench_curve bench_curves[];

/* The curve's case for a value of its parameter; id is where its name goes. */
struct bench_case bench_case_at(const struct bench_curve *curve, uint64_t value, char id[64]);

/* ---- shmkit.c ---- */

struct shmkit_segment;

/* The segment of link->name, made or opened; it ends the program where it cannot. */
struct shmkit_segment *bench_make_segment(const struct bench_link *link, uint64_t size, uint32_t entries,
					  uint32_t flags);
struct shmkit_segment *bench_open_segment(const struct bench_link *link, uint32_t flags);

/* The idle members that the case asks for, beside the caller, who is worker 0. NULL: none. */
struct bench_crowd;
struct bench_crowd *bench_join_crowd(const struct bench_link *link);
void bench_leave_crowd(struct bench_crowd *crowd);

/* ---- turns.c ---- */

struct bench_options {
	unsigned rounds;
	unsigned slice_us;
	int processors[2];
};

/* Runs one case and prints a line for each turn. False when something went wrong (on stderr). */
bool bench_run(const struct bench_case *what, const struct bench_subject *const *subjects, unsigned count,
	       const struct bench_options *options);

uint64_t bench_now_ns(void);

/* So long that the other side has fallen asleep; the time does not count. Worker 0 only. */
void bench_let_sleep(struct bench_link *link);

/* "structure_0" and so on; to be freed. */
typedef char bench_name[32];
bench_name *bench_names(uint64_t count);

/* One process does count units of a pair or of calls, for who counts instructions. */
bool bench_count(const struct bench_case *what, const struct bench_subject *subject, uint64_t count);

static inline void bench_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

/* For subjects that know one process at each end. */
static inline bool bench_is_single(const struct bench_case *what)
{
	return what->producers <= 1 && what->consumers <= 1;
}

/* The optimizer is not to see through it. */
static inline void bench_keep(const void *bytes)
{
	__asm__ __volatile__("" : : "r"(bytes) : "memory");
}

#ifdef __cplusplus
}
#endif

#endif
