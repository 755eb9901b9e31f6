/*
 * The ledger's verdict on every message of a round, once everything is drained.
 *
 *	committed     delivered once: a one-shot call returned it, or it was acked, or its consumer
 *	              died inside the call that took it or acked it
 *	refused       never seen
 *	undecided     at most once; and of the elements of one call the first ones, none beyond a gap:
 *	              a batch is one, and a call's batches go in one after the other
 *	reserved      never seen unless its producer had begun to commit
 *	out of order  only what came back
 */
#include "torture.h"

#define SEEN_BITS (GOT | ACKED | LEASED | ACKING | GRAVE)
#define DONE_BITS (GOT | ACKED | ACKING | GRAVE)

static bool is_seen(const struct message *message)
{
	return (message->state & SEEN_BITS) || message->position;
}

static bool is_undecided(const struct message *message)
{
	return !(message->state & (COMMITTED | REFUSED));
}

static void judge(struct self *self, uint32_t id)
{
	const struct message *message = message_of(id);
	uint32_t state = message->state;
	bool seen = is_seen(message), kept = message->flow != LATEST;

	if ((state & REFUSED) && seen)
		blame(self, id, "it was refused or cancelled, and seen all the same");
	if (kept && (state & COMMITTED) && !(state & DONE_BITS))
		blame(self, id, "lost: its producer was told that it is in, and it was never delivered%s",
		      state & LEASED ? " again after a lease" : "");
	if (kept && is_undecided(message) && seen && !(state & DONE_BITS))
		blame(self, id, "lost: it was leased, and neither acked nor delivered again");
	if (is_undecided(message) && seen && (state & RESERVED) && !(state & FILLED))
		blame(self, id, "seen, though its reservation was never committed");
	if (kept && is_undecided(message) && seen && id > message->first && !is_seen(message_of(id - 1)))
		blame(self, id, "seen, but not #%u before it in the same call: a batch in pieces", id - 1);
}

void sum_messages(struct self *self, struct flow_sums ret_sums[FLOWS])
{
	uint32_t end = board->next_id < MAX_MESSAGES ? board->next_id : MAX_MESSAGES;

	for (unsigned flow = 0; flow < FLOWS; flow++)
		ret_sums[flow] = (struct flow_sums){ 0 };
	for (uint32_t id = 1; id < end && !board->failed; id++) {
		const struct message *message = message_of(id);
		struct flow_sums *sums = &ret_sums[message->flow];
		uint32_t state = message->state;

		if (!(state & ABOUT))
			continue;           /* its producer died before it began */
		judge(self, id);
		sums->committed += !!(state & COMMITTED);
		sums->undecided += is_undecided(message);
		sums->absent += is_undecided(message) && !is_seen(message);
		sums->delivered += !!(state & (GOT | ACKED));
		sums->graves += !(state & (GOT | ACKED)) && (state & (GRAVE | ACKING));
		sums->inverted += (state & INVERTED) && !(state & (LEASED | NACKED | GRAVE));
		counted.inverted += !!(state & INVERTED);
	}
}
