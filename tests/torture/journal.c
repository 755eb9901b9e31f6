/*
 * The board: journals, ledger, and how a failure is told.
 */
#include "torture.h"

#include "support.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HISTORY_SIZE 400u

struct board *board;
char segment_name[64];

/*
 * Sizes that are copied in several ways, one that takes long, so that many die in the middle;
 * capacities that are and are not powers of two.
 */
const struct flow_shape flow_shapes[FLOWS] = {
	[WIDE] = { "wide", 1025, 16, false, 0 },
	[SLIM] = { "slim", 2, 8, false, 0 },
	[STREAM] = { "stream", 9, 50, true, SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER },
	[LATEST] = { "latest", 17, 40, true, 0 },
};

static const char *const event_texts[] = {
#define X(name, text) [EVENT_##name] = text,
	EVENTS(X)
#undef X
};

/* ---- making it ---- */

void make_board(uint64_t seed)
{
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (board == MAP_FAILED) {
		perror("the board");
		exit(2);
	}
	board->seed = seed;
	board->next_id = 1;
	for (uint32_t number = 0; number <= MAX_WORKERS; number++)
		board->workers[number].number = number;
}

/* For the next round: no message is left. Everybody has gone. */
void reset_board(void)
{
	uint32_t used = board->next_id < MAX_MESSAGES ? board->next_id : MAX_MESSAGES;

	memset(board->messages, 0, used * sizeof(board->messages[0]));
	memset((void *)board->at, 0, used * sizeof(board->at[0]));
	memset((void *)board->owners, 0, sizeof(board->owners));
	board->round++;
	board->next_id = 1;
	board->stop = 0;
	board->exhausted = 0;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t random_of(struct self *self)
{
	self->random += UINT64_C(0x9e3779b97f4a7c15);
	return mix(self->random);
}

struct self as_worker(uint32_t number)
{
	struct worker *worker = &board->workers[number];
	struct self self = { .worker = worker, .number = number, .incarnation = worker->incarnation };

	self.random = mix(board->seed ^ mix((uint64_t)number << 32 | worker->incarnation));
	return self;
}

/* ---- journals ---- */

void note(struct self *self, enum event event, uint32_t flow, uint32_t id, int64_t value)
{
	struct worker *worker = self->worker;
	uint32_t end = atomic_load_explicit(&worker->journal_end, memory_order_relaxed);

	worker->journal[end % JOURNAL_SIZE] = (struct entry){
		.ns = test_now_ns(), .incarnation = self->incarnation, .id = id,
		.value = (int32_t)value, .event = (uint16_t)event, .flow = (uint16_t)flow,
	};
	atomic_store_explicit(&worker->journal_end, end + 1, memory_order_release);
}

void blame(struct self *self, uint32_t id, const char *format, ...)
{
	uint32_t none = 0;
	va_list arguments;

	if (atomic_compare_exchange_strong(&board->failed, &none, 1)) {
		char what[400];

		va_start(arguments, format);
		vsnprintf(what, sizeof(what), format, arguments);
		va_end(arguments);
		snprintf(board->failure, sizeof(board->failure), "%s (last error of the library: %.80s)",
			 what, shmkit_last_error());
		board->failed_id = id;
		board->failed_worker = self->number;
		atomic_store(&board->failed, 2);
	}
	if (self->number != CONTROLLER)
		_exit(3);
}

static int by_time(const void *left, const void *right)
{
	const struct entry *const *a = left, *const *b = right;

	return ((*a)->ns > (*b)->ns) - ((*a)->ns < (*b)->ns);
}

/* Whose journal does it lie in? */
static uint32_t writer_of(const struct entry *entry)
{
	return (uint32_t)(((const char *)entry - (const char *)board->workers) /
			  (ptrdiff_t)sizeof(struct worker));
}

static void print_entry(const struct entry *entry, uint64_t start)
{
	uint32_t writer = writer_of(entry);

	printf("  %+12.3f ms  %-10s %2u.%-5u %s %d", ((double)entry->ns - (double)start) / 1e6,
	       writer == CONTROLLER ? "controller" : role_name(board->workers[writer].role), writer,
	       entry->incarnation, event_texts[entry->event % EVENT_COUNT], entry->value);
	if (entry->id)
		printf("  #%u in %s", entry->id, flow_shapes[entry->flow % FLOWS].name);
	printf("\n");
}

/* Is the entry about that message, or about some it is one of? */
static bool is_about(const struct entry *entry, uint32_t id)
{
	const struct message *message = &board->messages[id];

	return entry->id == id || (entry->event <= EVENT_PUT_RETURNED && entry->id &&
				   entry->id == message->first);
}

/* What all journals say of the message, or the end of one worker's. */
static void print_history(uint32_t id, uint32_t worker)
{
	static const struct entry *found[HISTORY_SIZE];
	unsigned count = 0;

	for (uint32_t number = 0; number <= MAX_WORKERS; number++) {
		const struct worker *one = &board->workers[number];
		uint32_t end = one->journal_end, begin = end > JOURNAL_SIZE ? end - JOURNAL_SIZE : 0;

		if (!id && number != worker)
			continue;
		if (!id && end - begin > 40)
			begin = end - 40;
		for (uint32_t i = begin; i < end && count < HISTORY_SIZE; i++) {
			const struct entry *entry = &one->journal[i % JOURNAL_SIZE];

			if (!id || is_about(entry, id))
				found[count++] = entry;
		}
	}
	if (count == 0)
		return;
	qsort(found, count, sizeof(found[0]), by_time);
	for (unsigned i = 0; i < count; i++)
		print_entry(found[i], found[count - 1]->ns);
}

void print_failure(void)
{
	uint32_t id = board->failed_id, worker = board->failed_worker;

	printf("torture: FAILED, seed 0x%llx, round %u\n  %s\n", (unsigned long long)board->seed,
	       board->round, board->failure);
	printf("  found by %s %u\n", worker == CONTROLLER ? "the controller" :
	       role_name(board->workers[worker].role), worker);
	if (id) {
		const struct message *message = &board->messages[id];

		printf("message #%u: %s, producer %u.%u, one of %u from #%u on, state 0x%x, leases noted %u, "
		       "deliveries seen %u\n", id, flow_shapes[message->flow % FLOWS].name,
		       message->producer, message->incarnation, message->count, message->first,
		       message->state, message->leases, message->deliveries);
		print_history(id, 0);
	}
	printf("the last of worker %u:\n", worker);
	print_history(0, worker);
	fflush(stdout);
}

/* ---- elements ---- */

void fill(enum flow flow, uint64_t *words, uint32_t id)
{
	words[0] = (uint64_t)(board->round + 1) << 32 | id;
	for (unsigned i = 1; i < flow_shapes[flow].words; i++)
		words[i] = mix(words[0] + i);
}

/* Every word belongs to the first, and that to this round. */
bool is_whole(enum flow flow, const uint64_t *words, uint32_t *ret_id)
{
	uint32_t id = (uint32_t)words[0];

	if (words[0] >> 32 != board->round + 1 || id == 0 || id >= MAX_MESSAGES ||
	    board->messages[id].flow != flow)
		return false;
	for (unsigned i = 1; i < flow_shapes[flow].words; i++)
		if (words[i] != mix(words[0] + i))
			return false;
	*ret_id = id;
	return true;
}

/* ---- the ledger: what is put ---- */

struct message *message_of(uint32_t id)
{
	return &board->messages[id];
}

uint32_t new_messages(struct self *self, enum flow flow, uint32_t count)
{
	uint32_t first = atomic_fetch_add(&board->next_id, count);

	if (first + count > MAX_MESSAGES) {
		atomic_fetch_sub(&board->next_id, count);
		board->exhausted = 1;
		usleep(1000);
		progress(self);
		return 0;
	}
	for (uint32_t id = first; id < first + count; id++) {
		struct message *message = message_of(id);

		message->first = first;
		message->count = (uint8_t)count;
		message->producer = (uint8_t)self->number;
		message->incarnation = self->incarnation;
		message->flow = (uint8_t)flow;
		atomic_store(&message->state, ABOUT);
	}
	return first;
}

void begin_call(struct self *self, enum call_kind kind, enum flow flow, uint32_t first, uint32_t count)
{
	struct call *call = &self->worker->call;

	call->flow = flow;
	call->first = first;
	call->count = count;
	call->noted = 0;
	atomic_store(&call->result, CALL_OPEN);
	if (kind == CALL_TAKE)
		for (unsigned i = 0; i < count; i++)
			self->worker->buffer[i * flow_shapes[flow].words] = 0;
	atomic_store(&call->kind, kind);
}

void end_call(struct self *self)
{
	atomic_store(&self->worker->call.kind, CALL_NONE);
	progress(self);
}

/* Of count messages the library has taken the first done. */
void note_put(uint32_t first, uint32_t count, int64_t done)
{
	for (uint32_t i = 0; i < count; i++)
		atomic_fetch_or(&message_of(first + i)->state, (int64_t)i < done ? COMMITTED : REFUSED);
}

/* ---- what is taken ---- */

static uint32_t require_whole(struct self *self, enum flow flow, const uint64_t *words)
{
	uint32_t id = 0;

	if (is_whole(flow, words, &id))
		return id;
	id = (uint32_t)words[0] < MAX_MESSAGES ? (uint32_t)words[0] : 0;
	blame(self, id, "torn, or no message of %s of round %u: it begins 0x%llx 0x%llx",
	      flow_shapes[flow].name, board->round, (unsigned long long)words[0],
	      (unsigned long long)words[1]);
	return 0;
}

/* Is it the youngest of its producer so far? In a ring it must be. */
static void look_at_order(struct self *self, enum flow flow, uint32_t id)
{
	struct message *message = message_of(id);
	uint32_t *last = &self->last[flow][message->producer];

	if (id > *last) {
		*last = id;
		return;
	}
	if (flow_shapes[flow].ring)
		blame(self, id, "comes after #%u of the same producer", *last);
	atomic_fetch_or(&message->state, INVERTED);
}

void note_got(struct self *self, enum flow flow, const uint64_t *words, int32_t nth)
{
	uint32_t id = require_whole(self, flow, words), before;

	if (!id)
		return;
	before = atomic_fetch_or(&message_of(id)->state, GOT);
	note(self, EVENT_NOTED, flow, id, nth);
	if (before & (GOT | ACKED))
		blame(self, id, "delivered again after it was %s", before & GOT ? "dequeued" : "acked");
	if (before & REFUSED)
		blame(self, id, "delivered though it was refused or cancelled");
	if (!(before & ABOUT))
		blame(self, id, "delivered though nobody had put it");
	look_at_order(self, flow, id);
	atomic_store(&self->worker->call.noted, (uint32_t)nth + 1);
}

uint32_t note_leased(struct self *self, enum flow flow, const uint64_t *words, uint32_t deliveries)
{
	uint32_t id = require_whole(self, flow, words), before, seen;
	struct message *message = message_of(id);

	if (!id)
		return 0;
	seen = atomic_exchange(&message->deliveries, deliveries);
	atomic_fetch_add(&message->leases, 1);
	/* it has come back: an ack that was under way has not happened, nor a burial */
	before = atomic_fetch_and(&message->state, ~(uint32_t)(ACKING | GRAVE));
	atomic_fetch_or(&message->state, LEASED);
	note(self, EVENT_LEASED_IT, flow, id, deliveries);
	if (before & (GOT | ACKED))
		blame(self, id, "leased after it was %s", before & GOT ? "dequeued" : "acked");
	if (before & REFUSED)
		blame(self, id, "leased though it was refused or cancelled");
	if (deliveries <= seen)
		blame(self, id, "its deliveries are %u; they were %u before", deliveries, seen);
	if (deliveries == 1)
		look_at_order(self, flow, id);
	return id;
}

void note_acked(struct self *self, uint32_t id)
{
	uint32_t before = atomic_fetch_or(&message_of(id)->state, ACKED);

	if (before & (GOT | ACKED))
		blame(self, id, "acked, though it was %s by another before",
		      before & GOT ? "dequeued" : "acked");
}

/* ---- after a death: what the victim could not write down any more ---- */

static void bury_take(struct self *self, struct worker *victim, int32_t result)
{
	const struct call *call = &victim->call;
	unsigned words = flow_shapes[call->flow].words;
	uint32_t noted = call->noted, count = result == CALL_OPEN ? call->count : (uint32_t)result, id;

	for (uint32_t i = noted; i < count; i++) {
		if (!is_whole(call->flow, &victim->buffer[i * words], &id)) {
			if (result != CALL_OPEN)
				blame(self, 0, "a call returned %d elements to worker %u, the %u-th is torn",
				      result, victim->number, i);
			continue;
		}
		note(self, EVENT_BURIED, call->flow, id, (int64_t)victim->number);
		/* returned, so it was taken; of the next to be noted it is not known whether it was */
		if (result != CALL_OPEN && i > noted)
			note_got(self, call->flow, &victim->buffer[i * words], (int32_t)i);
		else if (result != CALL_OPEN)
			atomic_fetch_or(&message_of(id)->state, GOT);
		else
			atomic_fetch_or(&message_of(id)->state, GRAVE);
	}
}

void bury(struct worker *victim)
{
	struct self self = as_worker(CONTROLLER);
	const struct call *call = &victim->call;
	int32_t result = call->result;
	uint32_t kind = call->kind;
	bool about_one = kind == CALL_PUT || kind == CALL_ACK;

	note(&self, EVENT_DIED, call->flow, about_one ? call->first : 0, kind);
	switch (kind) {
	case CALL_PUT:
		if (result == CALL_OPEN)
			break;
		note_put(call->first, call->count, result);
		break;
	case CALL_TAKE:
		if (result == CALL_OPEN || result > 0)
			bury_take(&self, victim, result);
		break;
	case CALL_ACK:
		/* perhaps it had written that down: the same once more */
		if (result == 0)
			atomic_fetch_or(&message_of(call->first)->state, ACKED);
		break;
	default:
		break;
	}
	victim->call.kind = CALL_NONE;
}
