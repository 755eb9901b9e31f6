/*
 * What a subject under test works with. A scene is one segment, made anew for every victim, so that
 * each victim finds the same bytes; the worker, which made it and stays a member, is its peer.
 *
 *	build    the worker makes the segment in the state wanted, and notes the model
 *	join     the victim, unwatched: opens its own handles, leaves dead behind it, takes leases
 *	call     the victim: the call under test
 *	audit    the worker, when the victim is dead or has returned: nothing but what the model allows
 *	peers    the worker, while the victim is stopped: every call returns in time
 *	finish   the worker closes everything; nothing may be left in the file system
 */
#ifndef CRASH_SCENE_H
#define CRASH_SCENE_H

#include "trace.h"

#include <shmkit.h>

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define ELEMENT 24u
#define LIMIT_MS 250                        /* from the victim's teardown until peers go on */
#define NS_PER_MS UINT64_C(1000000)
#define OUT_MAX 16u
#define NAME "c-scene"                      /* the worker's name for its segment is this and its pid */

/* The handles of one process. */
struct hands {
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_ring_reader *reader;
	struct shmkit_pool *pool;
	void *other;                        /* of whatever kind the subject has */
	struct shmkit_slot slot, slot2;
};

/* In memory shared with the victim. */
struct note {
	int64_t result;                     /* of the call */
	uint32_t returned;
	uint32_t out_count;
	uint32_t unseen;                    /* 1: only how many is known */
	uint64_t out[OUT_MAX];              /* what it got: ids, handles */
	uint64_t base;                      /* where the victim has the segment mapped */
	uint64_t size;
	char error[256];                    /* why it could not prepare */
};

struct subject;

struct scene {
	const struct subject *subject;
	unsigned state;
	uint32_t variant;                   /* differs from point to point: the audit takes another way */
	char name[40];
	struct hands peer, own, fresh;
	struct note *note;
	pid_t victim;                       /* 0: a victim is not there */
	uint64_t killed_ns;                 /* its teardown; 0: it was not killed */
	uint64_t killed_delay_ns;
	bool result_known;                  /* it has returned: note->result is what happened */
	int64_t learned;                    /* result of an undisturbed call in this state */
	uint32_t learned_count;
	uint64_t learned_out[OUT_MAX];
	/* the model; meaning as the family has it */
	uint64_t present, leased, touched, added, ids, expected[8];
	uint32_t entries;
	uint64_t used;                      /* before the call */
	uint64_t worst_ns;                  /* the longest a peer took after a teardown */
	pid_t waiter;                       /* a peer that was blocked */
	uint64_t blocked_ns;                /* how long it took after the teardown */
	uint64_t temporaries;               /* documented leftovers of a replacement that was cut short */
	uint64_t unnamed_busy;              /* -EBUSY of a lock whose holder the kernel does not name */
	char verdict[512];                  /* "" or the first thing that is wrong */
};

struct family {
	const char *name;
	const char *const *states;          /* NULL at the end */
	bool (*build)(struct scene *scene);
	bool (*join)(struct scene *scene);
	bool (*audit)(struct scene *scene);
	bool (*peers)(struct scene *scene);
	void (*finish)(struct scene *scene);
	/* the victim is stopped: peers of their own processes block; it was killed: they went on? */
	bool (*block)(struct scene *scene);     /* may be NULL; false: nobody blocks in this state */
	bool (*unblock)(struct scene *scene);
};

struct subject {
	const struct family *family;
	const char *name;                   /* the function without shmkit_, and its variant */
	int64_t (*call)(struct scene *scene);
	bool (*ready)(struct scene *scene); /* after join; may be NULL */
	int effect;                         /* meaning as the family has it */
	uint32_t states;                    /* bits; 0 all */
	bool two;                           /* of the pairs of deaths */
};

extern const struct subject *const queue_subjects, *const ring_subjects, *const pool_subjects,
	*const table_subjects, *const atomic_subjects, *const segment_subjects;

/* ---- sentences ---- */

/* Notes what is wrong, once. Always false. */
bool wrong(struct scene *scene, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 0 and more is right; otherwise says which call failed, and with what. */
bool fine(struct scene *scene, const char *what, int64_t result);

/* result must be wanted. */
bool is(struct scene *scene, const char *what, int64_t result, int64_t wanted);

/* ---- time ---- */

uint64_t now_ns(void);

/*
 * How long this process has been ready to run and was not let, since it began: what other work on
 * the machine takes, and not the library. 0 where the kernel does not tell.
 */
uint64_t delay_ns(void);

/* Since the victim's teardown, without such delays. */
uint64_t since_death_ns(const struct scene *scene);
void note_worst(struct scene *scene);       /* the audit has come as far as a peer's next calls */
void nap_ms(unsigned milliseconds);

/*
 * Starts, and ends, the time of a peer's call while the victim is stopped. bound_ms is how long it
 * may take. A result that says that somebody is in the way must name the victim.
 */
void call_begins(void);
bool call_ends(struct scene *scene, const char *what, int64_t result, unsigned bound_ms);

#define TIMED(scene, bound_ms, call) (call_begins(), call_ends(scene, #call, (int64_t)(call), bound_ms))

/* The same in a thread of its own: what two calls wait for is waited for once. */
struct beside {
	const char *what;
	int64_t (*call)(struct shmkit_segment *segment);
	struct shmkit_segment *segment;
	unsigned bound_ms;
	/* of it */
	pthread_t thread;
	int64_t result;
	uint64_t took_ns;
	char error[512];
};

bool beside_begins(struct scene *scene, struct beside *beside);
bool beside_ends(struct scene *scene, struct beside *beside);

/* ---- parts of scenes ---- */

/* A small segment with the worker as its member. flags: SHMKIT_SEGMENT_*. */
bool scene_segment(struct scene *scene, uint32_t flags);

/*
 * A handle looks for the dead at most every 20 ms. For the same way every time the time is set:
 * it is due at the next occasion, or never.
 */
void look(struct shmkit_segment *segment, bool due);

/* The victim opens it, and will not look for the dead on its way. */
bool own_segment(struct scene *scene);

/* In the victim: a child that does this and dies without closing anything. */
bool leave_dead(struct scene *scene, int64_t (*what)(struct scene *scene));

/* One more process's view: opened after the death, which looks for the dead. */
bool fresh_segment(struct scene *scene);

/* No more members, entries and bytes than there should be; check() is 0. */
bool audit_segment(struct scene *scene, struct shmkit_segment *segment, uint32_t members);

/* Bytes used now; UINT64_MAX when it cannot be told. */
uint64_t space_used(struct shmkit_segment *segment);

void close_hands(struct hands *hands);

/* /dev/shm: as empty as it was? Temporary files of a replacement are counted, and removed. */
bool shm_is_clean(struct scene *scene);

/* Calls of a peer on names and members; used by every family while the victim is stopped. */
bool peers_table(struct scene *scene, struct shmkit_segment *segment);

/* ---- elements ---- */

struct element {
	uint64_t id, mixed[2];
};

void fill_element(struct element *element, uint64_t id);
bool element_is_whole(const struct element *element);

/* The victim tells what it got. */
void note_out(struct scene *scene, uint64_t value);

#endif
