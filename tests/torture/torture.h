/*
 * Torture: what its parts share.
 *
 * The board is memory of the controller's own (MAP_SHARED, anonymous): nothing the library does can
 * hide what is written there, and a worker's death leaves it as it was. On it lie
 *
 *	the ledger     what is known of every message, of every object of the pool
 *	the workers    each with a journal (what it was about to do, and what came of it), with the
 *	               call it is in, and with the buffer that call copies into
 *
 * so that after a death the controller can say of each message whether it was committed (the call
 * had returned), refused, or is undecided (the victim died inside the call), and what a consumer
 * took to its grave: exactly what lies whole in its buffer.
 */
#ifndef TORTURE_H
#define TORTURE_H

#include <shmkit.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MAX_WORKERS 96u
#define CONTROLLER MAX_WORKERS              /* its number among the workers, when it drains */
#define MAX_MESSAGES (UINT32_C(1) << 22)    /* of a round */
#define JOURNAL_SIZE 1024u
#define BULK 24u                            /* elements of one call at most */
#define MAX_WORDS 1025u                     /* of an element */
#define POOL_CAPACITY 48u
#define POOL_WORDS 513u
#define KEYS 8u                             /* names that come and go */
#define MS INT64_C(1000000)
#define WAIT_NS (15000 * MS)                /* no wait may be in vain that long */

/* Through what messages go. */
enum flow { WIDE, SLIM, STREAM, LATEST, FLOWS };

struct flow_shape {
	const char *name;
	unsigned words;                     /* of 8 bytes, of an element */
	unsigned capacity;
	bool ring;
	uint32_t ring_flags;
};

extern const struct flow_shape flow_shapes[FLOWS];

/* message.state */
enum {
	ABOUT = 1 << 0,                     /* its producer is about to give it to the library */
	FILLED = 1 << 1,                    /* reserved, filled, about to be committed */
	RESERVED = 1 << 2,                  /* by way of a reservation */
	COMMITTED = 1 << 3,                 /* the call said so */
	REFUSED = 1 << 4,                   /* the call said so, or it was cancelled */
	LEASED = 1 << 5,                    /* was leased at least once */
	ACKING = 1 << 6,                    /* its lessee is about to ack it */
	ACKED = 1 << 7,                     /* the call said so */
	GOT = 1 << 8,                       /* a one-shot call returned it */
	GRAVE = 1 << 9,                     /* lay whole in the buffer of one who died in such a call */
	INVERTED = 1 << 10,                 /* came after a younger one of its producer */
	NACKED = 1 << 11,
};

struct message {
	_Atomic uint32_t state;
	uint32_t first;                     /* of the call it was given with */
	uint32_t incarnation;               /* of its producer */
	uint8_t producer, flow;
	uint8_t count;                      /* of the call */
	uint8_t spare;
	_Atomic uint32_t leases;            /* noted */
	_Atomic uint32_t deliveries;        /* the highest a lease has shown */
	_Atomic uint64_t position;          /* plus 1, in the ring of observers */
};

/* What a worker writes down. X(name, text) */
#define EVENTS(X)                                                                                    \
	X(STARTS, "starts")                                                                          \
	X(JOINED, "is member")                                                                       \
	X(PUTS, "about to put, so many")                                                             \
	X(PUT_RETURNED, "put returned")                                                              \
	X(RESERVES, "about to reserve")                                                              \
	X(RESERVE_RETURNED, "reserve returned")                                                      \
	X(COMMITS, "about to commit")                                                                \
	X(COMMIT_RETURNED, "commit returned")                                                        \
	X(CANCELS, "about to cancel")                                                                \
	X(TAKES, "about to take, up to")                                                             \
	X(TAKE_RETURNED, "take returned")                                                            \
	X(NOTED, "took it, as the n-th")                                                             \
	X(LEASED_IT, "leased it, deliveries")                                                        \
	X(ACKS, "about to ack")                                                                      \
	X(ACK_RETURNED, "ack returned")                                                              \
	X(NACKS, "about to nack")                                                                    \
	X(NACK_RETURNED, "nack returned")                                                            \
	X(CLOSES_HANDLE, "closes its handle, leases held")                                           \
	X(SEEN, "saw it in the stream, as the n-th")                                                 \
	X(ACQUIRED, "acquired object of slot")                                                       \
	X(HANDS_OVER, "hands over object of slot")                                                   \
	X(ADOPTED, "adopted object of slot")                                                         \
	X(RELEASES, "about to release object of slot")                                               \
	X(RECLAIMED, "reclaimed objects")                                                            \
	X(MADE, "created name")                                                                      \
	X(OPENED, "opened name")                                                                     \
	X(REMOVED, "removed name")                                                                   \
	X(DIED, "was killed in its call of kind")                                                    \
	X(BURIED, "had it whole in its buffer")                                                      \
	X(LEAVES, "leaves")

enum event {
#define X(name, text) EVENT_##name,
	EVENTS(X)
#undef X
	EVENT_COUNT
};

struct entry {
	uint64_t ns;
	uint32_t incarnation;
	uint32_t id;                        /* of a message, or the first of some; 0 none */
	int32_t value;
	uint16_t event;
	uint16_t flow;
};

/* What a worker is in the middle of. */
enum call_kind { CALL_NONE, CALL_PUT, CALL_RESERVE, CALL_TAKE, CALL_LEASE, CALL_ACK, CALL_KINDS };
#define CALL_OPEN INT32_MIN                 /* call.result: it has not returned */

struct call {
	_Atomic uint32_t kind;
	uint32_t flow;
	uint32_t first, count;              /* ids; or elements wanted */
	_Atomic int32_t result;
	_Atomic uint32_t noted;             /* of what it returned */
};

struct worker {
	_Alignas(64) _Atomic uint64_t progress;   /* calls that have returned */
	_Atomic uint32_t incarnation;
	_Atomic uint32_t gone;              /* incarnation that was sent its SIGKILL, or is leaving */
	uint32_t number, role;
	pid_t pid;
	bool veteran;                       /* not killed, but at the end of a round */
	struct call call;
	uint64_t buffer[BULK * MAX_WORDS];
	_Atomic uint32_t journal_end;       /* entries written so far */
	struct entry journal[JOURNAL_SIZE];
};

struct board {
	uint64_t seed;
	uint32_t round;
	_Atomic uint32_t stop;              /* workers leave */
	_Atomic uint32_t exhausted;         /* ids of this round */
	_Atomic uint32_t next_id;
	_Atomic uint32_t failed;
	uint32_t failed_id;                 /* the message it is about; 0 none */
	uint32_t failed_worker;
	char failure[512];
	/* counts of all rounds */
	_Atomic uint64_t objects, names, opens, full_of_members, reads, waits;
	/* the pool's ledger: who has the object of a slot, see work_pool.c */
	_Atomic uint64_t owners[POOL_CAPACITY];
	_Atomic uint32_t at[MAX_MESSAGES];  /* message at a position of LATEST */
	struct worker workers[MAX_WORKERS + 1];
	struct message messages[MAX_MESSAGES];
};

extern struct board *board;
extern char segment_name[64];

/* A worker's own, private to its process. */
struct self {
	struct worker *worker;
	uint32_t number, incarnation;
	uint64_t random;
	struct shmkit_segment *segment;
	uint32_t last[FLOWS][MAX_WORKERS];  /* youngest message seen of each producer */
	uint64_t next[FLOWS];               /* as an observer: position to come */
};

/* ---- journal.c ---- */

void make_board(uint64_t seed);
void reset_board(void);
struct self as_worker(uint32_t number);

uint64_t random_of(struct self *self);
static inline uint32_t below(struct self *self, uint32_t bound)
{
	return (uint32_t)(random_of(self) >> 33) % bound;
}

void note(struct self *self, enum event event, uint32_t flow, uint32_t id, int64_t value);
static inline void progress(struct self *self)
{
	atomic_fetch_add(&self->worker->progress, 1);
}

/* The first failure is kept. Ends a worker; comes back to the controller, who looks at board->failed. */
void blame(struct self *self, uint32_t id, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void print_failure(void);

/* The elements of a flow. */
void fill(enum flow flow, uint64_t *words, uint32_t id);
bool is_whole(enum flow flow, const uint64_t *words, uint32_t *ret_id);

/* New messages: the first id of count, or 0 when the round has had enough. */
uint32_t new_messages(struct self *self, enum flow flow, uint32_t count);
struct message *message_of(uint32_t id);

/* The ledger. */
void begin_call(struct self *self, enum call_kind kind, enum flow flow, uint32_t first, uint32_t count);
void end_call(struct self *self);
void note_put(uint32_t first, uint32_t count, int64_t done);
void note_got(struct self *self, enum flow flow, const uint64_t *words, int32_t nth);
uint32_t note_leased(struct self *self, enum flow flow, const uint64_t *words, uint32_t deliveries);
void note_acked(struct self *self, uint32_t id);
void bury(struct worker *victim);

/* ---- workers: each runs until board->stop, or the end of its stream ---- */

void join(struct self *self, uint32_t flags);
void leave(struct self *self);
void linger(struct self *self, uint32_t one_in, uint32_t us);
bool stopped(const struct self *self);

void produce(struct self *self, enum flow flow);
void consume(struct self *self, enum flow flow);
void lease(struct self *self, enum flow flow);

void push_stream(struct self *self);
void pop_stream(struct self *self);
void push_latest(struct self *self);
void pop_latest(struct self *self);
void observe(struct self *self);

void use_pool(struct self *self);

void use_names(struct self *self);
void come_and_go(struct self *self);
void repair(struct self *self);
void wait_for_things(struct self *self);

/* ---- kill.c ---- */

struct tally {
	uint64_t kills, bursts, measured, undecided;
	uint64_t may_invert[FLOWS];         /* this round: elements victims may have taken and not noted */
	double worst_recovery_ms, sum_recovery_ms, worst_stall_ms;
	uint32_t worst_worker;
};

extern struct tally tally;

void start_workers(uint32_t count);
/* Kills and replaces for the length of a round. */
void torture(struct self *self, uint32_t workers, uint64_t until_ns, uint64_t max_kills);
void end_gently(uint32_t workers);
void end_by_force(uint32_t workers);
const char *role_name(uint32_t role);

/* ---- audit.c ---- */

struct baseline {
	uint64_t used;
	uint32_t entries;
	int fds;
};

void make_structures(struct self *self);
void take_baseline(struct self *self, struct baseline *ret_baseline);
void shut_down_flows(struct self *self);
void audit(struct self *self, const struct baseline *baseline, bool gently);
void next_round(struct self *self);
void close_structures(void);

/* ---- ledger.c: every message, at the end of a round ---- */

struct flow_sums {
	uint64_t committed, undecided, absent; /* absent: undecided, and never seen */
	uint64_t delivered, graves;         /* graves: undecided whether they were delivered */
	uint64_t inverted;                  /* out of order, and nothing tells why */
};

void sum_messages(struct self *self, struct flow_sums ret_sums[FLOWS]);

struct counted {
	uint64_t messages, delivered, redelivered, discarded, lost_in_graves, inverted;
	uint32_t recoveries;
};

extern struct counted counted;

#endif
