/*
 * In place: reserve and commit, lease and ack. The element stays in its slot; the slot's word says
 * who has it. Protocol and death table: queue.h.
 *
 *	token   position:44 | attempts:10 | owner:10
 *
 * Each of commit, cancel, ack and nack is one CAS of exactly the word that reserve or lease
 * stored: a second one finds another word.
 */
#include "queue_claim.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t make_token(uint64_t position, unsigned attempts, unsigned owner)
{
	return position << 20 | (uint64_t)attempts << 10 | owner;
}

static unsigned token_attempts(uint64_t token)
{
	return (unsigned)(token >> 10 & SHK_ATTEMPTS_MASK);
}

/* ---- what this handle holds, so that closing it can give it back ---- */

/*
 * The complement of the last token taken through this handle, per slot; 0 none. Never cleared: the
 * word a token stands for occurs once, so that one that was settled (through whichever handle), or
 * is a parent's, fits nothing any more.
 */
static int need_held(struct shmkit_queue *queue)
{
	shk_u64 *none = NULL, *fresh;

	if (__atomic_load_n(&queue->held, __ATOMIC_ACQUIRE))
		return 0;
	fresh = calloc((size_t)queue->mask + 1, sizeof(*fresh));
	if (!fresh)
		return shk_fail(-ENOMEM, "no memory to keep account of reserved and leased slots");
	if (!__atomic_compare_exchange_n(&queue->held, &none, fresh, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		free(fresh);                /* another thread was first */
	return 0;
}

static void hold(struct shmkit_queue *queue, uint64_t position, uint64_t token)
{
	shk_u64 *held = __atomic_load_n(&queue->held, __ATOMIC_ACQUIRE);

	__atomic_store_n(&held[position & queue->mask], ~token, __ATOMIC_RELAXED);
}

static void fill_slot(struct shmkit_queue *queue, uint64_t position, unsigned attempts,
		      unsigned deliveries, struct shmkit_slot *ret_slot)
{
	uint64_t token = make_token(position, attempts, queue->object.segment->member_id);

	hold(queue, position, token);
	*ret_slot = (struct shmkit_slot){
		.data = shk_payload(queue, position),
		.token = token,
		.deliveries = deliveries,
		.element_size = queue->element_size,
	};
}

static unsigned visible_deliveries(unsigned attempts)
{
	return attempts < SHK_ATTEMPTS_WRAP ? attempts : SHK_ATTEMPTS_WRAP;
}

/* ---- taking ---- */

static int64_t reserve(struct shmkit_queue *queue, struct shmkit_slot *ret_slot)
{
	struct shk_claim claim;
	int64_t claimed = shk_claim_tail(queue, 1, &claim);

	if (claimed < 0)
		return claimed;
	/* reserve:W release. Recorded at once: a reservation may last, peers must not. */
	shk_store_release(claim.slot, claim.word | 1u << 13 | SHK_CLAIM << 10 |
				      queue->object.segment->member_id);
	/* Dies here: CLAIM(dead). Repair: TOMB. */
	SHK_POINT("queue.reserve.recorded");
	shk_store_relaxed(&queue->finished_tail, claim.index);
	fill_slot(queue, claim.position, 0, 0, ret_slot);
	return 0;
}

static int64_t lease(struct shmkit_queue *queue, struct shmkit_slot *ret_slot)
{
	unsigned owner = queue->object.segment->member_id;
	uint64_t position, word;
	struct shk_claim claim;
	int64_t claimed;

	do {
		if (shk_queue_redo_pending(queue) && shk_queue_take_redo(queue, &position, &word)) {
			unsigned attempts = shk_slot_aux(word) & SHK_ATTEMPTS_MASK;

			fill_slot(queue, position, attempts, visible_deliveries(attempts), ret_slot);
			return 0;
		}
		claimed = shk_claim_head(queue, 1, &claim);
	} while (claimed == 0);
	if (claimed < 0)
		return claimed;
	/* lease:W release. The attempt in it makes the word one of a kind. */
	shk_store_release(claim.slot, claim.word | (SHK_LEASE | 1u) << 13 | SHK_TAKEN << 10 | owner);
	/* Dies here: TAKEN(dead). Repair: REDO. */
	SHK_POINT("queue.lease.recorded");
	shk_store_relaxed(&queue->finished_head, claim.index);
	fill_slot(queue, claim.position, 1, 1, ret_slot);
	return 0;
}

static int enter_taking(struct shmkit_queue *queue, const void *ret_slot, const char *what)
{
	int result;

	if (!queue || !ret_slot)
		return shk_queue_null(what);
	result = shk_object_enter_write(&queue->object);
	return result ? result : need_held(queue);
}

int shmkit_queue_reserve(struct shmkit_queue *queue, struct shmkit_slot *ret_slot)
{
	int result = enter_taking(queue, ret_slot, "shmkit_queue_reserve");

	return result ? result : (int)shk_object_leave(&queue->object, reserve(queue, ret_slot));
}

int shmkit_queue_lease(struct shmkit_queue *queue, struct shmkit_slot *ret_slot)
{
	int result = enter_taking(queue, ret_slot, "shmkit_queue_lease");

	return result ? result : (int)shk_object_leave(&queue->object, lease(queue, ret_slot));
}

struct taking {
	struct shmkit_queue *queue;
	struct shmkit_slot *ret_slot;
};

static int64_t try_reserve(void *context)
{
	struct taking *taking = context;

	return shmkit_queue_reserve(taking->queue, taking->ret_slot);
}

static int64_t try_lease(void *context)
{
	struct taking *taking = context;

	return shmkit_queue_lease(taking->queue, taking->ret_slot);
}

int shmkit_queue_reserve_wait(struct shmkit_queue *queue, struct shmkit_slot *ret_slot,
			      int64_t timeout_ns)
{
	struct taking taking = { queue, ret_slot };

	if (!queue || !ret_slot)
		return shk_queue_null("shmkit_queue_reserve_wait");
	return (int)shk_wait_until(queue->object.segment, &queue->shm->space_event, timeout_ns, try_reserve,
				   &taking);
}

int shmkit_queue_lease_wait(struct shmkit_queue *queue, struct shmkit_slot *ret_slot,
			    int64_t timeout_ns)
{
	struct taking taking = { queue, ret_slot };

	if (!queue || !ret_slot)
		return shk_queue_null("shmkit_queue_lease_wait");
	return (int)shk_wait_until(queue->object.segment, &queue->shm->ready_event, timeout_ns, try_lease,
				   &taking);
}

/* ---- giving back ---- */

enum outcome { COMMIT, CANCEL, ACK, NACK };

/* The word that the taker stored, from its token. */
static uint64_t held_word(const struct shmkit_queue *queue, uint64_t position, unsigned attempts,
			  unsigned owner, enum outcome outcome)
{
	if (outcome == COMMIT || outcome == CANCEL)
		return shk_slot_word(shk_turn(queue, position), 1, SHK_CLAIM, owner);
	return shk_slot_word(shk_turn(queue, position), SHK_LEASE | attempts, SHK_TAKEN, owner);
}

static uint64_t outcome_word(const struct shmkit_queue *queue, uint64_t position, unsigned attempts,
			     enum outcome outcome)
{
	switch (outcome) {
	case COMMIT:
		return shk_ready_word(queue, position);
	case CANCEL:
		return shk_slot_word(shk_turn(queue, position), 0, SHK_TOMB, 0);
	case NACK:
		return shk_slot_word(shk_turn(queue, position), shk_next_attempt(attempts), SHK_REDO, 0);
	default:
		return shk_freed_word(queue, position);
	}
}

/* What follows the CAS. */
static void tell(struct shmkit_queue *queue, enum outcome outcome)
{
	switch (outcome) {
	case NACK:
		/* queue:M release. Pairs with queue:E: a scan that sees the count sees the REDO. */
		shk_add_release(&queue->shm->redo_set, 1);
		/* Dies here: nobody woken; consumers look when their slice ends. */
		SHK_POINT("queue.nack.counted");
		shk_add_relaxed(&queue->shm->redelivered, 1);   /* a statistic */
		shk_event_signal(&queue->shm->ready_event);
		break;
	case CANCEL:
		shk_add_relaxed(&queue->shm->cancelled, 1);     /* a statistic */
		/* what lies behind can be taken now, and a full queue can step over it */
		shk_event_signal(&queue->shm->ready_event);
		shk_event_signal(&queue->shm->space_event);
		break;
	case COMMIT:
		shk_event_signal(&queue->shm->ready_event);
		break;
	default:
		shk_queue_signal_space(queue);
	}
}

static int settle(struct shmkit_queue *queue, const struct shmkit_slot *slot, enum outcome outcome,
		  const char *what)
{
	uint64_t position, mine;
	unsigned attempts, owner;
	int result;

	if (!queue || !slot)
		return shk_queue_null(what);
	result = shk_object_enter_write(&queue->object);
	if (result)
		return result;
	owner = (unsigned)(slot->token & SHK_OWNER_MASK);
	if (owner != queue->object.segment->member_id)
		return shk_fail(-EPERM, "%s: the slot was taken by member %u, this process is member %u; only "
					"the process that took a slot may give it back", what, owner,
				queue->object.segment->member_id);
	position = slot->token >> 20 & queue->position_mask;
	attempts = token_attempts(slot->token);
	mine = held_word(queue, position, attempts, owner, outcome);
	/* settle:W release. Pairs with claim:A: the element's bytes (or our last look) before it. */
	if (!shk_cas_release(shk_slot(queue, position), mine,
			     outcome_word(queue, position, attempts, outcome)))
		return shk_fail(-ESTALE, "%s: the slot is held no longer: it was committed, cancelled, acked or "
					 "nacked before, or is of the other sort", what);
	/* Dies here: settled. After a nack its repair raises redo_set. */
	SHK_POINT("queue.settled");
	tell(queue, outcome);
	return (int)shk_object_leave(&queue->object, 0);
}

int shmkit_queue_commit(struct shmkit_queue *queue, const struct shmkit_slot *slot)
{
	return settle(queue, slot, COMMIT, "shmkit_queue_commit");
}

int shmkit_queue_cancel(struct shmkit_queue *queue, const struct shmkit_slot *slot)
{
	return settle(queue, slot, CANCEL, "shmkit_queue_cancel");
}

int shmkit_queue_ack(struct shmkit_queue *queue, const struct shmkit_slot *slot)
{
	return settle(queue, slot, ACK, "shmkit_queue_ack");
}

int shmkit_queue_nack(struct shmkit_queue *queue, const struct shmkit_slot *slot)
{
	return settle(queue, slot, NACK, "shmkit_queue_nack");
}

/* One slot this handle may still hold. */
static void give_back_slot(struct shmkit_queue *queue, uint64_t token)
{
	uint64_t position = token >> 20 & queue->position_mask;
	unsigned attempts = token_attempts(token), owner = (unsigned)(token & SHK_OWNER_MASK);
	enum outcome outcome = attempts == 0 ? CANCEL : NACK;

	if (owner == queue->object.segment->member_id &&
	    shk_cas_release(shk_slot(queue, position), held_word(queue, position, attempts, owner, outcome),
			    outcome_word(queue, position, attempts, outcome)))
		tell(queue, outcome);
}

void shk_queue_give_back(struct shk_object *object, bool joined)
{
	struct shmkit_queue *queue = (struct shmkit_queue *)object;

	if (queue->held && joined)
		for (uint64_t slot = 0; slot <= queue->mask; slot++)
			if (queue->held[slot])
				give_back_slot(queue, ~queue->held[slot]);
	free(queue->held);
}
