/*
 * The queue after a death, its check, and its figures. Protocol and death table: queue.h.
 */
#include "queue.h"

#include "structs.h"

#include <errno.h>

/* ---- repair ---- */

/* Followers of a batch whose first slot is claimed by the dead: from -> to, the last first. */
static void repair_followers(struct shmkit_queue *queue, const struct shk_dead *dead,
			     uint64_t first, unsigned run, unsigned phase)
{
	for (unsigned i = run; i-- > 1;) {
		uint64_t at = shk_step(queue, first, i);
		uint64_t turn = shk_turn(queue, at);
		uint64_t word = shk_load_acquire(shk_slot(queue, at));
		uint64_t repaired;

		switch (phase) {
		case SHK_CLAIM:
			if (word != shk_free_word(queue, at) && word != shk_ready_word(queue, at))
				continue;
			repaired = shk_slot_word(turn, 0, SHK_TOMB, 0);
			break;
		case SHK_TAKEN:
			if (word != shk_ready_word(queue, at))
				continue;
			repaired = shk_slot_word(turn, 1, SHK_REDO, 0);
			break;
		default:
			if (word != shk_ready_word(queue, at))
				continue;
			repaired = shk_freed_word(queue, at);
		}
		if (!shk_still_dead(dead) || !shk_cas_release(shk_slot(queue, at), word, repaired))
			continue;
		if (phase == SHK_TAKEN) {
			shk_add_relaxed(&queue->shm->redelivered, 1);   /* a statistic */
			dead->report->redelivered++;
		}
		/* Dies here: followers repaired, the first not. The next pass goes on. */
		SHK_POINT("queue.repair.follower");
	}
}

static void repair_slot(struct shmkit_queue *queue, const struct shk_dead *dead, uint64_t slot)
{
	uint64_t word = shk_load_acquire(shk_slot(queue, slot));
	uint64_t position = shk_position_of(queue, slot, word), turn = shk_slot_turn(word), repaired;
	unsigned aux = shk_slot_aux(word), phase = shk_slot_phase(word);
	bool leased = phase == SHK_TAKEN && (aux & SHK_LEASE);

	if (shk_slot_owner(word) != dead->id ||
	    (phase != SHK_CLAIM && phase != SHK_TAKEN && phase != SHK_DONE) || !shk_still_dead(dead))
		return;
	if (!leased) {
		if (aux < 1 || aux > SHK_QUEUE_BATCH || aux > queue->mask + 1)
			return;             /* no batch has this length: damaged, left for the check to tell */
		repair_followers(queue, dead, position, aux, phase);
	}
	if (phase == SHK_CLAIM)
		repaired = shk_slot_word(turn, 0, SHK_TOMB, 0);
	else if (phase == SHK_DONE)
		repaired = shk_freed_word(queue, position);
	else
		repaired = shk_slot_word(turn, leased ? shk_next_attempt(aux & SHK_ATTEMPTS_MASK) : 1,
					 SHK_REDO, 0);
	/* repair:W release. The word names the dead, and so occurs once: whoever is first has done it. */
	if (!shk_cas_release(shk_slot(queue, slot), word, repaired))
		return;
	SHK_POINT("queue.repair.slot");
	if (phase == SHK_CLAIM) {
		shk_add_relaxed(&queue->shm->discarded, aux);           /* a statistic */
		dead->report->discarded += aux;
	} else if (phase == SHK_TAKEN) {
		shk_add_relaxed(&queue->shm->redelivered, 1);           /* a statistic */
		dead->report->redelivered++;
	}
}

void shk_queue_repair(struct shk_object *object, const struct shk_dead *dead)
{
	struct shmkit_queue queue = { 0 };
	uint64_t index;

	shk_queue_bind(&queue, object);
	/* The newest claims first: what the index words name is put where the pass below finds it. */
	index = shk_load_acquire(&queue.shm->tail);
	if ((index & SHK_OWNER_MASK) == dead->id && shk_still_dead(dead))
		shk_queue_record_tail(&queue, index);
	index = shk_load_acquire(&queue.shm->head);
	if ((index & SHK_OWNER_MASK) == dead->id && shk_still_dead(dead))
		shk_queue_record_head(&queue, index);
	SHK_POINT("queue.repair.recorded");
	for (uint64_t slot = 0; slot <= queue.mask; slot++)
		repair_slot(&queue, dead, slot);
	/*
	 * Always: the dead may have made a REDO, as a repairer too, and not counted it.
	 * queue:M release, as in nack.
	 */
	shk_add_release(&queue.shm->redo_set, 1);
	SHK_POINT("queue.repair.counted");
	shk_event_signal(&queue.shm->ready_event);
	shk_event_signal(&queue.shm->space_event);
}

/* ---- figures ---- */

struct census {
	uint64_t head, tail;                /* positions */
	uint64_t ready, tombs;              /* between head and tail */
	uint64_t out;                       /* below head and not gone: taken, or to be delivered again */
	uint64_t redo;
};

static void take_census(const struct shmkit_queue *queue, struct census *ret_census)
{
	struct census census = { 0 };
	uint64_t held;

	census.head = shk_index_position(queue, shk_load_acquire(&queue->shm->head));
	census.tail = shk_index_position(queue, shk_load_acquire(&queue->shm->tail));
	held = shk_distance(queue, census.head, census.tail);
	/* a TOMB that was freed, and head not moved over it */
	census.tombs += held > 0 &&
			shk_turn_ahead(queue,
				       shk_slot_turn(shk_load_acquire(shk_slot(queue, census.head))),
				       shk_turn(queue, census.head)) == 1;
	for (uint64_t slot = 0; slot <= queue->mask; slot++) {
		uint64_t word = shk_load_acquire(shk_slot(queue, slot));
		unsigned phase = shk_slot_phase(word);
		bool ahead = shk_distance(queue, census.head, shk_position_of(queue, slot, word)) < held;

		census.ready += ahead && phase == SHK_READY;
		census.tombs += ahead && phase == SHK_TOMB;
		census.out += phase == SHK_TAKEN || phase == SHK_REDO || (!ahead && phase == SHK_READY);
		census.redo += phase == SHK_REDO;
	}
	*ret_census = census;
}

uint64_t shk_queue_used(const struct shk_object *object)
{
	struct shmkit_queue queue = { 0 };
	uint64_t head, used;
	struct census census;

	shk_queue_bind(&queue, object);
	/* head first: it never passes the tail that is read later */
	head = shk_index_position(&queue, shk_load_acquire(&queue.shm->head));
	used = shk_distance(&queue, head,
			    shk_index_position(&queue, shk_load_acquire(&queue.shm->tail)));
	if (shk_queue_redo_pending(&queue)) {
		take_census(&queue, &census);
		used += census.redo;
	}
	return used > queue.mask + 1 ? queue.mask + 1 : used;
}

int shmkit_queue_get_stats(struct shmkit_queue *queue, struct shmkit_queue_stats *ret_stats)
{
	struct shmkit_queue_stats stats = { 0 };
	struct census census;
	uint64_t passed, tombs;
	int result;

	if (!queue)
		return shk_queue_null("shmkit_queue_get_stats");
	result = shk_struct_check(ret_stats, sizeof(stats), "shmkit_queue_get_stats");
	if (!result)
		result = shk_object_enter(&queue->object);
	if (result)
		return result;
	take_census(queue, &census);
	stats.discarded = shk_load_relaxed(&queue->shm->discarded);      /* figures, in no order */
	stats.redelivered = shk_load_relaxed(&queue->shm->redelivered);
	/* Positions below head were committed, but for those that were given up. */
	tombs = stats.discarded + shk_load_relaxed(&queue->shm->cancelled);
	tombs = tombs > census.tombs ? tombs - census.tombs : 0;
	passed = shk_distance(queue, shk_load_relaxed(&queue->shm->base), census.head);
	passed = passed > tombs ? passed - tombs : 0;
	stats.enqueued = passed + census.ready;
	stats.dequeued = passed > census.out ? passed - census.out : 0;
	shk_struct_out(ret_stats, &stats, sizeof(stats));
	return (int)shk_object_leave(&queue->object, 0);
}

/* ---- check ---- */

/* Can that word stand in that slot while the indices are where they are? */
static bool is_possible(const struct shmkit_queue *queue, uint64_t slot, uint64_t word, uint64_t head,
			uint64_t tail)
{
	uint64_t held = shk_distance(queue, head, tail);
	uint64_t at = shk_step(queue, head, (slot - head) & queue->mask);   /* at or after head */
	bool between = shk_distance(queue, head, at) < held;
	int64_t ahead = shk_turn_ahead(queue, shk_slot_turn(word), shk_turn(queue, at));
	unsigned phase = shk_slot_phase(word), aux = shk_slot_aux(word);

	if (phase > SHK_REDO || shk_slot_owner(word) >= queue->object.segment->geometry.max_members)
		return false;
	if ((phase == SHK_CLAIM || phase == SHK_DONE || (phase == SHK_TAKEN && !(aux & SHK_LEASE))) &&
	    (aux < 1 || aux > SHK_QUEUE_BATCH))
		return false;
	/* the head's own slot: a TOMB freed before head moved over it, and perhaps claimed again */
	if (at == head && ahead == 1)
		return held > 0 && (phase == SHK_FREE ||
				    (held > queue->mask + 1 && phase != SHK_TAKEN && phase != SHK_DONE &&
				     phase != SHK_REDO));
	if (between)
		return ahead == 0 && phase != SHK_TAKEN && phase != SHK_DONE && phase != SHK_REDO;
	/* free for the next, or not free yet since the lap before */
	return (ahead == 0 && phase == SHK_FREE) ||
	       (ahead == -1 && (phase == SHK_READY || phase == SHK_TAKEN || phase == SHK_DONE ||
				phase == SHK_REDO));
}

int shk_queue_check(struct shk_object *object)
{
	struct shmkit_queue queue = { 0 };
	uint64_t head, tail, word = 0;

	shk_queue_bind(&queue, object);
	for (uint64_t slot = 0, tries = 0, still = 0; slot <= queue.mask;) {
		head = shk_load_acquire(&queue.shm->head);
		tail = shk_load_acquire(&queue.shm->tail);
		word = shk_load_acquire(shk_slot(&queue, slot));
		if (shk_distance(&queue, shk_index_position(&queue, head),
				 shk_index_position(&queue, tail)) <= queue.mask + 2 &&
		    is_possible(&queue, slot, word, shk_index_position(&queue, head),
				shk_index_position(&queue, tail))) {
			slot++;
			tries = still = 0;
			continue;
		}
		/* a peer that does nothing but change this one */
		if (tries++ > 100000) {
			slot++;
			tries = still = 0;
			continue;
		}
		/* A queue in use moves between these loads; what stays wrong while nothing moves is. */
		if (shk_load_acquire(&queue.shm->head) == head &&
		    shk_load_acquire(&queue.shm->tail) == tail &&
		    shk_load_acquire(shk_slot(&queue, slot)) == word && still++ > 10)
			return shk_object_damaged(object, "slot %llu holds 0x%016llx with head at %llu and "
						  "tail at %llu, which cannot be", (unsigned long long)slot,
						  (unsigned long long)word,
						  (unsigned long long)shk_index_position(&queue, head),
						  (unsigned long long)shk_index_position(&queue, tail));
	}
	return 0;
}
