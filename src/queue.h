/*
 * Queue: bounded FIFO, any number of producers and consumers, every claim recoverable.
 *
 *	slot word   turn:40 | aux:11 | phase:3 | owner:10
 *	index word  position:44 | run:8 | closed:1 | spare:1 | owner:10      (head, tail)
 *
 * Position p lies in slot p % capacity at turn p / capacity; all arithmetic is modulo 2^44, or
 * modulo 2^40 turns where the capacity is below 16.
 *
 *	FREE    at turn t: waits for position (t, slot) to be produced
 *	CLAIM   owner produces aux positions from here (aux 1 also: reserved)
 *	READY   committed
 *	TAKEN   owner consumes: aux = LEASE | attempts, one element; or aux positions from here
 *	DONE    owner has consumed aux positions from here, and is freeing them
 *	TOMB    nothing will come here; consumers step over it
 *	REDO    to be delivered again, aux attempts so far and this one
 *
 * Invariants
 *	1  A claim is never anonymous: the newest is named in the index word (its last run
 *	   positions, its owner); before the index moves on, it is recorded in its first slot
 *	   unless that slot shows that it is finished.
 *	2  A word that names an owner occurs once, up to the ABA bound.
 *	3  The first slot of a batch is published last: it is the commit of all of it.
 *	4  Positions below head are free for the next turn, or owned (TAKEN, DONE), or REDO, or in
 *	   the newest claim of head. Positions from head to tail are READY, CLAIM, TOMB, or in the
 *	   newest claim of tail.
 *	5  redo_done < redo_set whenever a REDO slot may be there that no scan has seen.
 *
 * ABA bound: a process that stands still between its load and its CAS while exactly 2^44 elements
 * (2^40 turns below 16 slots) pass. Attempts count 1 .. 1023 and then 512 .. 1023 again: a stolen
 * lease would take 512 redeliveries of one element while a repairer stands still.
 *
 * Progress: enqueue and dequeue are lock-free among those that run; a producer that stands still
 * between its claim and its commit holds up consumers at that position, a consumer holds up
 * producers there one lap later. Neither can be cancelled: it may still be copying.
 *
 * | dies after                            | leaves                     | outcome                      |
 * |---------------------------------------|----------------------------|------------------------------|
 * | the CAS of the index                  | its name in the index word | recorded by the next claimer |
 * |                                       | or in its slot             | or repair: TOMB, or REDO     |
 * | some payload or followers published   | first slot unfinished      | the batch is discarded       |
 * | first slot READY                      | committed                  | delivered; wake-up one slice |
 * | taken, or while copying               | TAKEN(dead)                | delivered again              |
 * | DONE, or some followers freed         | DONE(dead)                 | rolled forward               |
 * | REDO, before redo_set                 | a REDO no scan looks for   | its repair raises redo_set   |
 * | in the middle of a repair             | mixed                      | the next full pass finishes  |
 *
 * Source: the slot turns are D. Vyukov's bounded MPMC queue; naming the owner in the index word
 * and everything that follows from it is this project's.
 */
#ifndef SHK_QUEUE_H
#define SHK_QUEUE_H

#include "object.h"
#include "wait.h"

#include <shmkit/queue.h>

#include <string.h>

enum {
	SHK_FREE = 0,
	SHK_CLAIM = 1,
	SHK_READY = 2,
	SHK_TAKEN = 3,
	SHK_DONE = 4,
	SHK_TOMB = 5,
	SHK_REDO = 6,
};

#define SHK_QUEUE_BATCH 255u                /* a run field is 8 bits wide */
#define SHK_LEASE 1024u                     /* in aux: one element, held until ack */
#define SHK_ATTEMPTS_MASK 1023u
#define SHK_ATTEMPTS_WRAP 512u
#define SHK_INDEX_CLOSED (UINT64_C(1) << 11)
#define SHK_MAX_QUEUE_CAPACITY (UINT64_C(1) << 24)

struct shmkit_queue {
	struct shk_object object;
	struct shk_queue_shm *shm;
	uint8_t *slots;
	uint64_t mask;                      /* capacity - 1 */
	uint64_t position_mask;
	uint64_t turn_mask;
	uint32_t shift;                     /* log2(capacity) */
	uint32_t stride;                    /* bytes from slot to slot */
	uint32_t payload_offset;            /* bytes from a slot's word to its element */
	uint32_t element_size;
	uint32_t straight;                  /* shk_is_straight(element_size) */
	shk_u64 *held;                      /* per slot: the complement of the token last taken through */
	                                    /* this handle; 0 none */
	/* the last index words that this handle has finished: no need to look whether they are */
	uint8_t pad0[64];
	shk_u64 finished_tail;
	uint8_t pad1[64];
	shk_u64 finished_head;
};

/* ---- words ---- */

static inline uint64_t shk_slot_word(uint64_t turn, unsigned aux, unsigned phase, unsigned owner)
{
	return turn << 24 | (uint64_t)aux << 13 | (uint64_t)phase << 10 | owner;
}

static inline uint64_t shk_slot_turn(uint64_t word)
{
	return word >> 24;
}

static inline unsigned shk_slot_aux(uint64_t word)
{
	return (unsigned)(word >> 13 & 2047);
}

static inline unsigned shk_slot_phase(uint64_t word)
{
	return (unsigned)(word >> 10 & 7);
}

static inline unsigned shk_slot_owner(uint64_t word)
{
	return (unsigned)(word & SHK_OWNER_MASK);
}

static inline uint64_t shk_index_word(uint64_t position, unsigned run, unsigned owner)
{
	return position << 20 | (uint64_t)run << 12 | owner;
}

static inline unsigned shk_index_run(uint64_t word)
{
	return (unsigned)(word >> 12 & 255);
}

static inline uint64_t shk_index_position(const struct shmkit_queue *queue, uint64_t word)
{
	return word >> 20 & queue->position_mask;
}

/* ---- positions ---- */

static inline uint64_t shk_step(const struct shmkit_queue *queue, uint64_t position, uint64_t steps)
{
	return (position + steps) & queue->position_mask;
}

static inline uint64_t shk_distance(const struct shmkit_queue *queue, uint64_t from, uint64_t to)
{
	return (to - from) & queue->position_mask;
}

static inline uint64_t shk_turn(const struct shmkit_queue *queue, uint64_t position)
{
	return position >> queue->shift;
}

static inline uint64_t shk_next_turn(const struct shmkit_queue *queue, uint64_t position)
{
	return (shk_turn(queue, position) + 1) & queue->turn_mask;
}

/* Turns from want to have, as a signed number around 0. */
static inline int64_t shk_turn_ahead(const struct shmkit_queue *queue, uint64_t have, uint64_t want)
{
	uint64_t ahead = (have - want) & queue->turn_mask;

	return ahead > queue->turn_mask / 2 ? (int64_t)ahead - (int64_t)queue->turn_mask - 1
					    : (int64_t)ahead;
}

static inline shk_u64 *shk_slot(const struct shmkit_queue *queue, uint64_t position)
{
	return (shk_u64 *)(void *)(queue->slots + (position & queue->mask) * queue->stride);
}

static inline void *shk_payload(const struct shmkit_queue *queue, uint64_t position)
{
	return (uint8_t *)shk_slot(queue, position) + queue->payload_offset;
}

static inline uint64_t shk_free_word(const struct shmkit_queue *queue, uint64_t position)
{
	return shk_slot_word(shk_turn(queue, position), 0, SHK_FREE, 0);
}

static inline uint64_t shk_ready_word(const struct shmkit_queue *queue, uint64_t position)
{
	return shk_slot_word(shk_turn(queue, position), 0, SHK_READY, 0);
}

/* FREE for the lap after position's. */
static inline uint64_t shk_freed_word(const struct shmkit_queue *queue, uint64_t position)
{
	return shk_slot_word(shk_next_turn(queue, position), 0, SHK_FREE, 0);
}

/* The position whose turn a slot's word shows. */
static inline uint64_t shk_position_of(const struct shmkit_queue *queue, uint64_t slot, uint64_t word)
{
	return (shk_slot_turn(word) << queue->shift | slot) & queue->position_mask;
}

static inline unsigned shk_next_attempt(unsigned attempts)
{
	return attempts >= SHK_ATTEMPTS_MASK ? SHK_ATTEMPTS_WRAP : attempts + 1;
}

/* ---- between the queue's files ---- */

/*
 * An element that is to be delivered again: 1, its slot is TAKEN(me) with the word *ret_word; 0
 * there is none.
 */
int shk_queue_take_redo(struct shmkit_queue *queue, uint64_t *ret_position, uint64_t *ret_word);

static inline bool shk_queue_redo_pending(const struct shmkit_queue *queue)
{
	/* relaxed: whether to look at all; he who looks loads redo_set again */
	uint64_t done = shk_load_relaxed(&queue->shm->redo_done);

	return shk_unlikely(done < shk_load_relaxed(&queue->shm->redo_set));
}

/* One such, copied out and gone. 0 or -EAGAIN. */
int64_t shk_queue_redeliver(struct shmkit_queue *queue, void *ret_element) SHK_COLD;

/* Records the newest claim of an index word in its first slot, unless it is finished. */
void shk_queue_record_tail(struct shmkit_queue *queue, uint64_t index);
void shk_queue_record_head(struct shmkit_queue *queue, uint64_t index);

/* After slots were freed: does somebody wait for that? */
static inline bool shk_queue_space_is_awaited(struct shmkit_queue *queue)
{
	/* closing relaxed: a hint; consumers look again when their slice ends */
	return shk_event_is_awaited(&queue->shm->space_event) ||
	       shk_unlikely(shk_load_relaxed(&queue->shm->closing));
}

static inline void shk_queue_signal_space(struct shmkit_queue *queue)
{
	if (!shk_queue_space_is_awaited(queue))
		return;
	shk_event_signal(&queue->shm->space_event);
	shk_event_signal(&queue->shm->ready_event);
}

void shk_queue_repair(struct shk_object *object, const struct shk_dead *dead);
int shk_queue_check(struct shk_object *object);
uint64_t shk_queue_used(const struct shk_object *object);
void shk_queue_bind(struct shmkit_queue *queue, const struct shk_object *object);
void shk_queue_give_back(struct shk_object *object, bool joined);

int shk_queue_null(const char *what);

#endif
