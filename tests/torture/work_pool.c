/*
 * Pool users: acquire, write, look again, release, or hand over through a queue to another, who
 * adopts; and reclaim after the dead.
 *
 * The ledger has a word per slot of the pool: who has the object there,
 *
 *	generation:32 | adopting:1 | incarnation:23 | worker:8          0: nobody
 *
 * written after the library has given an object and before it is given back. Who acquires a slot
 * finds 0 there, or the name of one who has gone (or died in an adoption): anything else is an
 * object that lives twice.
 */
#include "torture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ADOPTING (UINT64_C(1) << 31)

struct hands {
	struct shmkit_pool *pool;
	struct shmkit_queue *over;
};

struct parcel {
	uint64_t handle;
	uint64_t from;                      /* incarnation << 32 | worker */
	uint64_t check;
};

static uint64_t word_of(uint64_t handle, unsigned i)
{
	return (handle + i) * UINT64_C(0x9e3779b97f4a7c15) ^ board->round;
}

static uint64_t mine(const struct self *self, uint64_t handle)
{
	return (handle >> 28 & UINT32_MAX) << 32 | (uint64_t)(self->incarnation & 0x7fffff) << 8 |
	       self->number;
}

/* May what that ledger word names be taken for gone? */
static bool may_be_gone(uint64_t word)
{
	uint32_t number = word & 255, incarnation = word >> 8 & 0x7fffff;

	return word == 0 || (word & ADOPTING) || number >= MAX_WORKERS ||
	       (atomic_load(&board->workers[number].gone) & 0x7fffff) >= incarnation;
}

static void check_words(struct self *self, const uint64_t *words, uint64_t handle, bool fresh,
			const char *when)
{
	for (unsigned i = 0; i < POOL_WORDS; i++)
		if (words[i] != (fresh ? 0 : word_of(handle, i)))
			blame(self, 0, "word %u of object 0x%llx is 0x%llx %s", i, (unsigned long long)handle,
			      (unsigned long long)words[i], when);
}

static uint64_t *address(struct self *self, struct hands *hands, uint64_t handle)
{
	uint64_t *words = shmkit_pool_get(hands->pool, handle);

	if (!words)
		blame(self, 0, "object 0x%llx is refused to its owner", (unsigned long long)handle);
	return words;
}

/* 0: none to be had. */
static uint64_t acquire(struct self *self, struct hands *hands)
{
	uint64_t handle = 0, before, slot;
	int result = shmkit_pool_acquire(hands->pool, &handle);
	uint64_t *words;

	progress(self);
	if (result == -EAGAIN)
		return 0;
	if (result)
		blame(self, 0, "acquire: %d", result);
	slot = handle & ((UINT64_C(1) << 28) - 1);
	if (slot >= POOL_CAPACITY)
		blame(self, 0, "acquired object 0x%llx", (unsigned long long)handle);
	before = atomic_exchange(&board->owners[slot], mine(self, handle));
	note(self, EVENT_ACQUIRED, 0, 0, (int64_t)slot);
	if (!may_be_gone(before))
		blame(self, 0, "slot %llu was acquired (0x%llx), but worker %llu.%llu has an object there",
		      (unsigned long long)slot, (unsigned long long)handle,
		      (unsigned long long)(before & 255),
		      (unsigned long long)(before >> 8 & 0x7fffff));
	atomic_fetch_add(&board->objects, 1);
	words = address(self, hands, handle);
	check_words(self, words, handle, true, "in a new object");
	for (unsigned i = 0; i < POOL_WORDS; i++)
		words[i] = word_of(handle, i);
	return handle;
}

static void give_back(struct self *self, struct hands *hands, uint64_t handle)
{
	uint64_t words[POOL_WORDS], slot = handle & ((UINT64_C(1) << 28) - 1);
	int result;

	check_words(self, address(self, hands, handle), handle, false, "before its release");
	note(self, EVENT_RELEASES, 0, 0, (int64_t)slot);
	atomic_store(&board->owners[slot], 0);
	result = shmkit_pool_release(hands->pool, handle);
	progress(self);
	if (result)
		blame(self, 0, "release of object 0x%llx: %d", (unsigned long long)handle, result);
	/* refused from now on, whatever lies there */
	if (shmkit_pool_get(hands->pool, handle) || shmkit_pool_view(hands->pool, handle) ||
	    shmkit_pool_read(hands->pool, handle, words) != -ESTALE ||
	    shmkit_pool_release(hands->pool, handle) != -ESTALE)
		blame(self, 0, "object 0x%llx is released, and its handle not refused",
		      (unsigned long long)handle);
}

static bool hand_over(struct self *self, struct hands *hands, uint64_t handle)
{
	struct parcel parcel = { .handle = handle, .from = (uint64_t)self->incarnation << 32 | self->number };
	int result;

	parcel.check = parcel.handle ^ parcel.from * 3;
	note(self, EVENT_HANDS_OVER, 0, 0, (int64_t)(handle & ((UINT64_C(1) << 28) - 1)));
	result = shmkit_queue_enqueue(hands->over, &parcel);
	progress(self);
	if (result && result != -EAGAIN)
		blame(self, 0, "handing over: %d", result);
	return result == 0;
}

/* True when the object is ours now. */
static bool adopt(struct self *self, struct hands *hands, const struct parcel *parcel, uint32_t deliveries)
{
	uint64_t slot = parcel->handle & ((UINT64_C(1) << 28) - 1), ours = mine(self, parcel->handle);
	uint64_t there = atomic_load(&board->owners[slot]);
	uint32_t number = (uint32_t)parcel->from, incarnation = (uint32_t)(parcel->from >> 32);
	bool told = there >> 32 == ours >> 32 &&
		    atomic_compare_exchange_strong(&board->owners[slot], &there, ours | ADOPTING);
	int result = shmkit_pool_adopt(hands->pool, parcel->handle);
	uint64_t adopting = ours | ADOPTING;

	progress(self);
	if (result == 0) {
		/* one who had it before, and died between his last word and the release, wrote 0 */
		if (told && !atomic_compare_exchange_strong(&board->owners[slot], &adopting, ours))
			blame(self, 0, "object 0x%llx was adopted, and another took its slot: 0x%llx",
			      (unsigned long long)parcel->handle, (unsigned long long)adopting);
		if (!told && deliveries > 1)
			there = atomic_exchange(&board->owners[slot], ours);
		if (!told && (deliveries == 1 || !may_be_gone(there)))
			blame(self, 0, "object 0x%llx was adopted, though the ledger has 0x%llx in its slot",
			      (unsigned long long)parcel->handle, (unsigned long long)there);
		note(self, EVENT_ADOPTED, 0, 0, (int64_t)slot);
		return true;
	}
	if (told)
		atomic_compare_exchange_strong(&board->owners[slot], &adopting, 0);
	/* the first to be given the parcel may have had it; so may who reclaims what was the dead's */
	if (result != -ESTALE || (deliveries == 1 && board->workers[number].gone < incarnation))
		blame(self, 0, "object 0x%llx of worker %u.%u, which lives, cannot be adopted: %d",
		      (unsigned long long)parcel->handle, number, incarnation, result);
	return false;
}

static void receive(struct self *self, struct hands *hands)
{
	struct shmkit_slot slot;
	struct parcel parcel;
	int result = shmkit_queue_lease(hands->over, &slot);
	bool adopted;

	progress(self);
	if (result == -EAGAIN)
		return;
	if (result)
		blame(self, 0, "receiving: %d", result);
	memcpy(&parcel, slot.data, sizeof(parcel));
	if (parcel.check != (parcel.handle ^ parcel.from * 3) || (uint32_t)parcel.from >= MAX_WORKERS)
		blame(self, 0, "a torn parcel: 0x%llx from 0x%llx", (unsigned long long)parcel.handle,
		      (unsigned long long)parcel.from);
	adopted = adopt(self, hands, &parcel, slot.deliveries);
	result = shmkit_queue_ack(hands->over, &slot);
	if (result)
		blame(self, 0, "ack of a parcel: %d", result);
	if (!adopted)
		return;
	linger(self, 16, 300);
	give_back(self, hands, parcel.handle);
}

static void reclaim(struct self *self, struct hands *hands)
{
	int64_t count = shmkit_pool_reclaim(hands->pool);

	progress(self);
	if (count < 0)
		blame(self, 0, "reclaim: %lld", (long long)count);
	if (count > 0)
		note(self, EVENT_RECLAIMED, 0, 0, count);
}

void use_pool(struct self *self)
{
	struct hands hands = { 0 };

	if (shmkit_pool_open(self->segment, "pool", POOL_WORDS * 8, &hands.pool) ||
	    shmkit_queue_open(self->segment, "over", sizeof(struct parcel), &hands.over))
		blame(self, 0, "open of the pool");
	while (!stopped(self)) {
		uint64_t held[6];
		unsigned count = 0, wanted = 1 + below(self, 6);

		while (count < wanted && (held[count] = acquire(self, &hands)))
			count++;
		if (count < wanted || below(self, 16) == 0)
			reclaim(self, &hands);
		linger(self, 8, 500);
		while (count-- > 0)
			if (below(self, 2) || !hand_over(self, &hands, held[count]))
				give_back(self, &hands, held[count]);
		for (uint32_t left = below(self, 8); left > 0; left--)
			receive(self, &hands);
	}
	shmkit_queue_close(hands.over);
	shmkit_pool_close(hands.pool);
}
