/*
 * The ledger: see ledger.h for the idea.
 */
#include "ledger.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT_SIZE     (1024 * 1024)	/* the set of processed ids takes 128 KiB of it */
#define MESSAGE_CAPACITY 256
#define LAST_NAME        "duplicates"	/* made last: who sees it finds everything */

static _Noreturn void fail(void)
{
	errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

static void open_queues(struct ledger *ledger)
{
	const struct shmkit_object_options message_options = {
		.struct_size = sizeof(message_options),
		.schema = MESSAGE_SCHEMA,
	};
	const struct shmkit_object_options journal_options = {
		.struct_size = sizeof(journal_options),
		.schema = JOURNAL_SCHEMA,
	};

	if (shmkit_queue_open_or_create(ledger->segment, "messages", sizeof(struct message),
					MESSAGE_CAPACITY, &message_options,
					&ledger->messages) < 0 ||
	    shmkit_queue_open_or_create(ledger->segment, "journal", sizeof(struct journal), 1,
					&journal_options, &ledger->journal) < 0)
		fail();
}

/*
 * There must be one journal, though a producer may be killed before or after it enqueues it. As
 * long as LAST_NAME is not there, no consumer is let in and the queue's figures stand still.
 */
static void make_journal(struct ledger *ledger)
{
	const struct journal idle = { .state = JOURNAL_IDLE };
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };

	if (shmkit_segment_find(ledger->segment, LAST_NAME, NULL) == 0)
		return;
	if (shmkit_queue_get_stats(ledger->journal, &stats) < 0)
		fail();
	if (stats.enqueued == 0 && shmkit_queue_enqueue(ledger->journal, &idle) < 0)
		fail();
}

static void open_arrays_and_atomics(struct ledger *ledger)
{
	struct shmkit_segment *segment = ledger->segment;

	if (shmkit_array_open_or_create(segment, "balances", sizeof(int64_t), LEDGER_ACCOUNTS,
					NULL, &ledger->balances) < 0 ||
	    shmkit_array_open_or_create(segment, "processed", sizeof(uint64_t),
					LEDGER_MAX_MESSAGES / 64, NULL, &ledger->processed) < 0 ||
	    shmkit_atomic_u64_open_or_create(segment, "count", 0, &ledger->count) < 0 ||
	    shmkit_atomic_u64_open_or_create(segment, "last_processed_id", 0,
					     &ledger->last_processed_id) < 0 ||
	    shmkit_atomic_u64_open_or_create(segment, "next_id", 0, &ledger->next_id) < 0 ||
	    shmkit_atomic_u64_open_or_create(segment, LAST_NAME, 0, &ledger->duplicates) < 0)
		fail();
}

/*
 * No SHMKIT_SEGMENT_REPLACE_DEAD: what killed processes have left behind is what we want to go on
 * with. A damaged segment is an error here, for a person to look at.
 */
void ledger_create(struct ledger *ledger, const char *name)
{
	if (shmkit_segment_open_or_create(name, SEGMENT_SIZE, NULL, &ledger->segment) < 0)
		fail();
	open_queues(ledger);
	make_journal(ledger);
	open_arrays_and_atomics(ledger);
}

void ledger_wait(struct ledger *ledger, const char *name, int64_t timeout_ns)
{
	if (shmkit_segment_open_wait(name, 0, timeout_ns, &ledger->segment) < 0 ||
	    shmkit_segment_wait_for(ledger->segment, LAST_NAME, timeout_ns) < 0)
		errx(EXIT_FAILURE, "no producer came: %s", shmkit_last_error());
	open_queues(ledger);		/* creates nothing: everything is there */
	open_arrays_and_atomics(ledger);
}

void ledger_close(struct ledger *ledger)
{
	shmkit_atomic_u64_close(ledger->duplicates);
	shmkit_atomic_u64_close(ledger->next_id);
	shmkit_atomic_u64_close(ledger->last_processed_id);
	shmkit_atomic_u64_close(ledger->count);
	shmkit_array_close(ledger->processed);
	shmkit_array_close(ledger->balances);
	shmkit_queue_close(ledger->journal);
	shmkit_queue_close(ledger->messages);
	shmkit_segment_close(ledger->segment);
}

bool ledger_has(const struct ledger *ledger, uint64_t message_id)
{
	const uint64_t *words = shmkit_array_view(ledger->processed);

	return (words[message_id / 64] >> (message_id % 64) & 1) != 0;
}

bool ledger_lock(struct ledger *ledger, int64_t timeout_ns, struct shmkit_slot *ret_slot)
{
	struct journal *journal;

	if (shmkit_queue_lease_wait(ledger->journal, ret_slot, timeout_ns) < 0)
		errx(EXIT_FAILURE, "journal: %s", shmkit_last_error());
	journal = ret_slot->data;
	if (journal->state != JOURNAL_INTENT)
		return false;
	ledger_carry_out(ledger, journal);
	ledger_conclude(journal);
	return true;
}

/* Not acked but given back: the journal stays in its queue for ever. */
void ledger_unlock(struct ledger *ledger, const struct shmkit_slot *slot)
{
	if (shmkit_queue_nack(ledger->journal, slot) < 0)
		fail();
}

void ledger_intend(struct ledger *ledger, struct journal *journal, const struct message *message,
		   int64_t amount)
{
	const int64_t *balances = shmkit_array_view(ledger->balances);

	journal->message_id = message->id;
	journal->account = message->account;
	journal->new_balance = balances[message->account] + amount;
	journal->new_count = shmkit_atomic_u64_load(ledger->count) + 1;
	/* Release: whoever finds the intent finds it whole, though its author is killed right here. */
	__atomic_store_n(&journal->state, JOURNAL_INTENT, __ATOMIC_RELEASE);
}

/* May be done twice, by two processes, and be cut short anywhere in the first. */
void ledger_carry_out(struct ledger *ledger, const struct journal *journal)
{
	int64_t *balances = shmkit_array_data(ledger->balances);
	uint64_t *words = shmkit_array_data(ledger->processed);
	uint64_t id = journal->message_id;

	balances[journal->account] = journal->new_balance;
	words[id / 64] |= UINT64_C(1) << (id % 64);
	shmkit_atomic_u64_fetch_max(ledger->last_processed_id, id);
	shmkit_atomic_u64_store(ledger->count, journal->new_count);
}

/* Release: the intent is withdrawn after its effect is complete, in everybody's eyes. */
void ledger_conclude(struct journal *journal)
{
	__atomic_store_n(&journal->state, JOURNAL_IDLE, __ATOMIC_RELEASE);
}

void message_prepare(struct message *message, uint64_t id, uint32_t rounds)
{
	uint64_t random = (id + 1) * 0x9e3779b97f4a7c15u;

	message->id = id;
	message->rounds = rounds;
	message->account = (uint32_t)(random >> 60);	/* of 16 */
	for (size_t i = 0; i < sizeof(message->payload); i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		message->payload[i] = (uint8_t)random;
	}
}

int64_t message_amount(const struct message *message)
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a, again and again */

	for (uint32_t round = 0; round < message->rounds; round++) {
		for (size_t i = 0; i < sizeof(message->payload); i++)
			hash = (hash ^ message->payload[i]) * 0x100000001b3u;
	}
	return (int64_t)(hash % 20001) - 10000;
}
