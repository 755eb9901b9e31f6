/*
 * Ring: a stream in bulk, two cursors and no word per element, so that observers need write
 * nothing and a batch is one.
 *
 *	position p lies at slot p % capacity; positions count elements since creation, 64 bits
 *
 *	write_next    positions below may be being written; never falls
 *	write_index   positions below are committed
 *	read index    positions below it are popped or dropped
 *
 *	push        pushing = 1; not closed? write_next = max(write_next, w + k); release fence;
 *	            copy; write_index = w + k, which commits them all; pushing = 0
 *	overwrite   the same, having moved the read index over what it will overwrite, counting
 *	            it as dropped in the same word
 *	pop         copy; then as below, which fails when any of it was dropped
 *	observe     copy; acquire fence; was any of it overwritten, by write_next? The cursor is
 *	            the reader's own, and nothing is written
 *
 * Invariants
 *	1  read index <= write_index <= write_next <= read index + capacity. The 64-bit read index
 *	   follows from write_index, since they are less than 2^31 apart.
 *	2  Bytes of positions below write_next - capacity may be anything. A copy of positions
 *	   from p on is whole when, after it, write_next - capacity <= p.
 *	3  write_next, write_index and pushing are written by the holder of producer_role alone.
 *	   write_next never falls, not when the role passes from the dead either: what he had begun
 *	   to overwrite stays doubtful.
 *	4  popped + dropped + held == pushed, at every instruction: read index and dropped change
 *	   in one word, or nothing was dropped yet.
 *	5  Once closed is 2 every push that is still to commit can be seen in pushing, with its
 *	   holder alive in producer_role; without one write_index is final.
 *	6  dropped_base <= dropped < dropped_base + 2^32.
 *	7  sharing goes from 0 to 1 to (index, 2) and stays. Nothing is dropped, and nothing unread
 *	   overwritten, before it is (index, 2).
 *
 * Where the read index is:
 *
 *	alone     in read_index, which a single consumer stores when it has copied; nobody else
 *	          moves it as long as nothing is dropped
 *	shared    sharing's index + the read half of read_word, which consumers and an overwriting
 *	          producer change by CAS, together with what was dropped
 *
 *	share     the first drop: sharing = 1; barrier in all processes; sharing = (read_index, 2).
 *	          A consumer may do the last step itself, between two pops or at the end of one.
 *	alone     a pop stores read_index, then looks at sharing: 0, and whoever shares sees its store
 *	          behind the barrier. Else it is popped if sharing's index covers it, and not if not.
 *
 * With several consumers it is shared from the beginning, with sharing's index 0 and no word for it.
 *
 * The roles are lock words: kept from the first push (pop) on, or, with
 * SHMKIT_RING_MULTI_PRODUCER, taken for each push. With SHMKIT_RING_MULTI_CONSUMER there is no
 * consumer's role: the CAS of a pop decides.
 *
 * ABA bound: a consumer that stands still between its look at read_word and its CAS while exactly
 * 2^32 elements are popped by others and none dropped, or 2^32 dropped; a consumer with two handles,
 * between two pops of one, exactly 2^32 pops of the other.
 *
 * Progress: a single producer is wait-free but for the CAS that drops, which fails only when a
 * consumer popped; pops are lock-free; readers return what is whole. With several producers one
 * who stands still in a push makes the others -EBUSY after a slice.
 *
 * | dies                              | leaves                      | outcome                        |
 * |-----------------------------------|-----------------------------|--------------------------------|
 * | a producer, after pushing = 1     | pushing of the dead         | nobody waits for it; the next  |
 * |                                   |                             | holder of the role clears it   |
 * | after the drop                    | fewer unread elements       | counted as dropped, as they    |
 * |                                   |                             | are; last and readers see them |
 * | after write_next, while copying   | doubtful oldest positions   | nobody takes them for whole    |
 * | after write_index                 | committed                   | delivered; wake-up one slice   |
 * | between pieces of an overwrite    | whole pieces, committed     | delivered; the rest is absent  |
 * | a consumer before its commit      | nothing                     | another pops it                |
 * | after it (CAS, or store)          | popped                      | room seen one slice later      |
 * | in sharing, after 1               | pops go on as alone, or     | the next who drops, or pops,   |
 * |                                   | finish it                   | goes on                        |
 * | holding a role                    | the role of the dead        | taken over on contact, or by   |
 * |                                   |                             | repair                         |
 * | in shutdown, after closed = 1     | no push begins              | the first who meets it goes on |
 */
#ifndef SHK_RING_H
#define SHK_RING_H

#include "lock.h"
#include "object.h"
#include "wait.h"

#include <shmkit/ring.h>

#define SHK_MAX_RING_CAPACITY ((UINT64_C(1) << 31) - 1)

#define SHK_RING_ROUNDS 10000u              /* of looking at words that cannot be, or do not keep still */

/* ring_shm.closed */
enum {
	SHK_RING_OPEN = 0,
	SHK_RING_CLOSING = 1,               /* no new push begins */
	SHK_RING_CLOSED = 2,                /* and each that had begun can be seen in pushing */
};

/* ring_shm.sharing */
enum {
	SHK_RING_ALONE = 0,
	SHK_RING_SHARING = 1,
	SHK_RING_SHARED = 2,                /* | index << 2 */
};

/* The indices as of one moment. */
struct shk_ring_view {
	uint64_t sharing;                   /* as loaded, and read_word, where shared */
	uint64_t read_word;
	uint64_t read_index, write_index;
};

struct shmkit_ring {
	struct shk_object object;
	struct shk_ring_shm *shm;
	uint8_t *elements;
	uint64_t capacity;
	uint64_t mask;                      /* capacity - 1 where that is a power of two, else 0 */
	uint32_t stride;                    /* bytes from element to element */
	uint32_t element_size;
	uint32_t straight;                  /* copies are moves in line, slots are masked */
	uint64_t producer_held;             /* what a role has beside our id when it is ours to use; with */
	uint64_t consumer_held;             /* several of that sort, what no role ever has */
	uint32_t references;                /* the user's handle and its readers */
	uint32_t has_producer_role;         /* taken through this handle */
	uint32_t has_consumer_role;
	uint8_t pad0[64];
	shk_u64 known_read_index;           /* the producer's: at least this far */
	uint8_t pad1[64];
	shk_u64 known_write_index;          /* a single consumer's: at least this far */
	struct shk_ring_view last_view;     /* a single consumer's: as its last pop left it */
	uint64_t last_base;                 /* dropped_base, read before it */
};

static inline uint64_t shk_ring_read_word(uint32_t dropped, uint64_t read_index)
{
	return (uint64_t)dropped << 32 | (uint32_t)read_index;
}

static inline uint32_t shk_ring_dropped(uint64_t read_word)
{
	return (uint32_t)(read_word >> 32);
}

/* acquire: pairs with share:C, and with the reader's own look behind it */
static inline uint64_t shk_ring_sharing(const struct shmkit_ring *ring)
{
	if (ring->object.shape.flags & SHMKIT_RING_MULTI_CONSUMER)
		return SHK_RING_SHARED;
	return shk_load_acquire(&ring->shm->sharing);
}

static inline bool shk_ring_is_shared(uint64_t sharing)
{
	return (sharing & SHK_RING_SHARED) != 0;
}

static inline uint64_t shk_ring_slot(const struct shmkit_ring *ring, uint64_t position)
{
	return ring->mask ? position & ring->mask : position % ring->capacity;
}

/* The first position whose bytes are not doubtful. */
static inline uint64_t shk_ring_oldest(const struct shmkit_ring *ring, uint64_t write_next)
{
	return write_next > ring->capacity ? write_next - ring->capacity : 0;
}

/* 0, or -EBADMSG when the words stay impossible. */
int shk_ring_look(const struct shmkit_ring *ring, struct shk_ring_view *ret_view);

/* Copies out count (at most capacity) elements from position on; doubtful until checked. */
void shk_ring_copy_out(const struct shmkit_ring *ring, uint64_t position, uint64_t count,
		       void *ret_elements);

/* -ESHUTDOWN, with last error; finishes what one who died in a shutdown has begun. */
int shk_ring_shut_down(struct shmkit_ring *ring) SHK_COLD;

/* Takes a single producer's (consumer's) role, from the dead too. 0 or -EBUSY. */
int shk_ring_take_role(struct shmkit_ring *ring, shk_u64 *role, uint32_t *ret_has, const char *who,
		       const char *flag) SHK_COLD;

/* Does that role's word name this member? */
static inline bool shk_ring_is_mine(const struct shmkit_ring *ring, uint64_t role)
{
	return shk_lock_is_held(role) && shk_lock_owner(role) == ring->object.segment->member_id;
}

/* Is that role ours, and ours alone? For calls in a straight line. */
static inline bool shk_ring_has_role(const struct shmkit_ring *ring, const shk_u64 *role, uint64_t held)
{
	/* relaxed: if it is ours we put it there */
	return (shk_load_relaxed(role) & (SHK_LOCK_HELD | SHK_OWNER_MASK)) ==
	       (held | ring->object.segment->member_id);
}

/* The end of the stream, for one who has come to position? */
bool shk_ring_is_end(const struct shmkit_ring *ring, uint64_t position);

/* Every thread's stores are seen, or it sees ours, after this: for what is done once in a ring's life. */
void shk_ring_wait_for_stores(void);

/* Makes a ring shared, from where its single consumer is; whoever began. Nobody else's call waits. */
void shk_ring_share(struct shmkit_ring *ring);

/* From CLOSING to CLOSED, whoever began. */
void shk_ring_finish_shutdown(struct shk_ring_shm *shm);

/* Lets go of the handle: the user's, or a reader's. */
void shk_ring_put(struct shmkit_ring *ring);

int shk_ring_null(const char *what);

#endif
