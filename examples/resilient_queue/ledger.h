/*
 * A ledger in shared memory that is exact although any process may be killed at any instruction.
 *
 * The queue delivers each message at least once: a consumer leases it, and acks it when its effect
 * is in the ledger. One that is killed in between leaves the message to another, who cannot know
 * how far the first one came. So the effect is made idempotent:
 *
 *  - One process at a time changes the ledger: the one that has leased the journal, the only
 *    element of its queue. Should it die, the lease goes to the next, like any other.
 *  - It first writes its intent into the journal: which message, and what the balance and the
 *    count will be afterwards (not what to add). Whoever finds an intent carries it out, once
 *    more if need be: storing the same values twice changes nothing.
 *  - Carrying it out also marks the message in the set of processed ones. A message found there
 *    is a duplicate, whatever the reason: its effect is complete, only the ack is missing.
 *
 *	dies with              leaves                        who comes next
 *	no intent written      the message leased            does it from the beginning
 *	the intent written     intent, half of the effect    carries the intent out
 *	the intent withdrawn   the message leased            finds it processed, acks it
 */
#ifndef LEDGER_H
#define LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include <shmkit.h>

#define LEDGER_SEGMENT      "shmkit_resilient_queue"
#define LEDGER_MAX_MESSAGES (UINT64_C(1) << 20)
#define LEDGER_ACCOUNTS     16

#define NSEC_PER_SEC INT64_C(1000000000)

struct message {
	uint64_t id;		/* 0, 1, 2 ... */
	uint32_t account;
	uint32_t rounds;	/* how much work it is */
	uint8_t  payload[48];
};
#define MESSAGE_SCHEMA "id:u64 account:u32 rounds:u32 payload:u8[48]"

enum { JOURNAL_IDLE = 0, JOURNAL_INTENT = 1 };

struct journal {
	uint64_t state;
	uint64_t message_id;
	int64_t  new_balance;	/* of the account */
	uint64_t new_count;	/* of processed messages */
	uint64_t account;
};
#define JOURNAL_SCHEMA "state:u64 message_id:u64 new_balance:i64 new_count:u64 account:u64"

struct ledger {
	struct shmkit_segment *segment;
	struct shmkit_queue *messages;
	struct shmkit_queue *journal;
	struct shmkit_array *balances;		/* i64, by account */
	struct shmkit_array *processed;		/* u64 words, a bit for each message id */
	struct shmkit_atomic_u64 *count;		/* of bits set there */
	struct shmkit_atomic_u64 *last_processed_id;	/* the highest */
	struct shmkit_atomic_u64 *next_id;	/* the producer goes on here after a restart */
	struct shmkit_atomic_u64 *duplicates;
};

/* The producer makes what is missing; a consumer waits for it. Both exit with a message if not. */
void ledger_create(struct ledger *ledger, const char *name);
void ledger_wait(struct ledger *ledger, const char *name, int64_t timeout_ns);
void ledger_close(struct ledger *ledger);

bool ledger_has(const struct ledger *ledger, uint64_t message_id);

/*
 * Take the right to change the ledger, having completed what a dead predecessor had begun, and give
 * it back. ledger_lock() returns true when there was something to complete.
 */
bool ledger_lock(struct ledger *ledger, int64_t timeout_ns, struct shmkit_slot *ret_slot);
void ledger_unlock(struct ledger *ledger, const struct shmkit_slot *slot);

/* With the right in hand: say what is to be done; do it; say that it is done. */
void ledger_intend(struct ledger *ledger, struct journal *journal, const struct message *message,
		   int64_t amount);
void ledger_carry_out(struct ledger *ledger, const struct journal *journal);
void ledger_conclude(struct journal *journal);

/* Message number @id, and what it is worth. The second is the consumer's work. */
void message_prepare(struct message *message, uint64_t id, uint32_t rounds);
int64_t message_amount(const struct message *message);

#endif
