/*
 * The C11 memory model, operationally: each location has its modification order, each thread a
 * view of what it must have seen, each message the view its reader gains. Loads may return any
 * message not older than the view; stores may be put before newer messages they do not know;
 * read-modify-writes stay next to what they read. Plain accesses must be ordered: a race is a
 * failure. Not modelled: load buffering (a load that returns a store which comes later).
 *
 * Release and acquire fences, release sequences (of read-modify-writes), sequentially consistent
 * accesses and fences as in RC11 (Lahav et al., Repairing Sequential Consistency in C/C++11, 2017),
 * with the order of execution for the total order; views after Kaiser et al., Strong Logic for
 * Weak Memory (2017).
 *
 * Shared memory itself always holds the end of each modification order.
 */
#include "sim.h"

#include <string.h>

#define LOCATIONS 1000
#define MESSAGES 6000
#define UNITS (sizeof(sim_memory) / 8)
#define STALE_CHOICES 6u
#define GAP (1u << 16)                      /* between times of messages, for what comes between */

struct view {
	unsigned count;                     /* locations it speaks of; of those beyond it knows nothing */
	uint32_t clock[SIM_THREADS];
	uint32_t at[LOCATIONS];             /* time of the newest message known */
};

struct message {
	uint64_t value;
	uint32_t time;
	uint16_t next, previous;            /* in modification order; 0 none */
	bool glued;                         /* a read-modify-write: nothing may come before it */
	bool plain;
	bool late;                          /* its value is what memory holds: a plain store under way */
	struct view view;
};

static struct location {
	uint32_t offset;                    /* bytes in shared memory */
	uint8_t size;
	uint16_t last;                      /* message */
	uint32_t read_clock[SIM_THREADS];
	uint32_t plain_clock[SIM_THREADS];  /* of plain loads and stores */
} locations[LOCATIONS];
static unsigned location_count;

static struct message messages[MESSAGES];
static unsigned message_count;

static struct { struct view now, acquirable, released; } threads[SIM_THREADS];
static struct view consistent;              /* of sequentially consistent accesses and fences */
static struct view channels[SIM_CHANNELS];

/* Which location a unit of 8 bytes is, or its halves; of this run when the stamp says so. */
static struct { uint32_t run; uint16_t whole, half[2]; } units[UNITS];
static bool split[UNITS];                   /* known to be two words of 4 bytes */
static uint32_t run;

bool sim_model_void;                        /* a unit was found to be split: this run counts for nothing */

/* ---- views ---- */

static uint32_t known(const struct view *view, unsigned location)
{
	return location < view->count ? view->at[location] : 0;
}

static void learn(struct view *view, unsigned location, uint32_t time)
{
	while (view->count <= location)
		view->at[view->count++] = 0;
	if (time > view->at[location])
		view->at[location] = time;
}

static void join(struct view *to, const struct view *from)
{
	while (to->count < from->count)
		to->at[to->count++] = 0;
	for (unsigned i = 0; i < from->count; i++)
		to->at[i] = from->at[i] > to->at[i] ? from->at[i] : to->at[i];
	for (unsigned i = 0; i < SIM_THREADS; i++)
		to->clock[i] = from->clock[i] > to->clock[i] ? from->clock[i] : to->clock[i];
}

static void copy(struct view *to, const struct view *from)
{
	memcpy(to, from, offsetof(struct view, at) + sizeof(from->at[0]) * from->count);
}

static void clear(struct view *view)
{
	view->count = 0;
	memset(view->clock, 0, sizeof(view->clock));
}

void sim_model_reset(void)
{
	run++;
	location_count = 0;
	message_count = 0;
	sim_model_void = false;
	for (unsigned i = 0; i < SIM_THREADS; i++) {
		clear(&threads[i].now);
		clear(&threads[i].acquirable);
		clear(&threads[i].released);
	}
	for (unsigned i = 0; i < SIM_CHANNELS; i++)
		clear(&channels[i]);
	clear(&consistent);
}

static unsigned me(void)
{
	return sim_current ? sim_current->id : 0;
}

#define NOW (threads[me()].now)

/* ---- locations and their messages ---- */

static uint16_t new_message(void)
{
	if (message_count + 1 >= MESSAGES) {
		sim_fail("more than %d stores in one run", MESSAGES);
		sim_model_void = true;
		message_count = MESSAGES / 2;
	}
	message_count++;
	memset(&messages[message_count], 0, offsetof(struct message, view));
	clear(&messages[message_count].view);
	return (uint16_t)message_count;
}

static uint64_t in_memory(const struct location *location)
{
	uint64_t value = 0;

	memcpy(&value, (const uint8_t *)sim_memory + location->offset, location->size);
	return value;
}

static uint16_t new_location(uint32_t offset, uint8_t size)
{
	struct location *location = &locations[location_count];

	if (location_count == LOCATIONS)
		__builtin_trap();           /* a scenario that touches too much */
	*location = (struct location){ .offset = offset, .size = size };
	location_count++;
	location->last = new_message();
	messages[location->last].value = in_memory(location);
	messages[location->last].time = GAP;
	return (uint16_t)location_count;    /* number + 1 */
}

/* The location that holds that byte. size: of the access. */
static struct location *location_at(uint32_t offset, size_t size)
{
	unsigned unit = offset / 8, half = offset / 4 % 2;
	uint16_t *number;

	if (units[unit].run != run) {
		units[unit].run = run;
		units[unit].whole = units[unit].half[0] = units[unit].half[1] = 0;
	}
	if (size == 4 && !split[unit]) {
		split[unit] = true;
		if (units[unit].whole)
			sim_model_void = true;
	}
	number = split[unit] ? &units[unit].half[half] : &units[unit].whole;
	if (!*number)
		*number = new_location(split[unit] ? offset & ~3u : offset & ~7u, split[unit] ? 4 : 8);
	return &locations[*number - 1];
}

static unsigned index_of(const struct location *location)
{
	return (unsigned)(location - locations);
}

/* The newest message; a plain store that was under way has been done by now. */
static struct message *newest(struct location *location)
{
	struct message *message = &messages[location->last];

	if (message->late) {
		message->value = in_memory(location);
		message->late = false;
	}
	return message;
}

/* Puts a message behind that one. */
static struct message *insert(struct location *location, struct message *behind, uint64_t value)
{
	uint16_t number = new_message(), before = (uint16_t)(behind - messages);
	struct message *message = &messages[number];

	message->value = value;
	message->previous = before;
	message->next = behind->next;
	message->time = behind->next ? behind->time + (messages[behind->next].time - behind->time) / 2
				     : behind->time + GAP;
	if (behind->next)
		messages[behind->next].previous = number;
	else
		location->last = number;
	behind->next = number;
	return message;
}

static void write_memory(const struct location *location, uint64_t value)
{
	memcpy((uint8_t *)sim_memory + location->offset, &value, location->size);
}

/* ---- orders ---- */

static bool acquires(int order)
{
	return order == __ATOMIC_ACQUIRE || order == __ATOMIC_CONSUME || order == __ATOMIC_ACQ_REL ||
	       order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
	return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static void tick(void)
{
	NOW.clock[me()]++;
}

static uint32_t oldest_allowed(const struct location *location, int order)
{
	uint32_t time = known(&NOW, index_of(location));

	if (order == __ATOMIC_SEQ_CST && known(&consistent, index_of(location)) > time)
		time = known(&consistent, index_of(location));
	return time ? time : GAP;
}

static void saw(const struct location *location, const struct message *message, int order)
{
	unsigned at = index_of(location);

	learn(&NOW, at, message->time);
	if (acquires(order))
		join(&NOW, &message->view);
	else
		join(&threads[me()].acquirable, &message->view);
	if (order == __ATOMIC_SEQ_CST)
		learn(&consistent, at, message->time);
	locations[at].read_clock[me()] = NOW.clock[me()];
}

static void wrote(const struct location *location, struct message *message, int order)
{
	unsigned at = index_of(location);

	learn(&NOW, at, message->time);
	copy(&message->view, releases(order) ? &NOW : &threads[me()].released);
	learn(&message->view, at, message->time);
	if (message->previous && message->glued)
		join(&message->view, &messages[message->previous].view);
	if (order == __ATOMIC_SEQ_CST)
		learn(&consistent, at, message->time);
}

/* How many messages back one may look: 0 means the newest alone. */
static unsigned reach(struct location *location, uint32_t oldest)
{
	struct message *message = newest(location);
	unsigned back = 0;

	while (back < STALE_CHOICES && message->previous && messages[message->previous].time >= oldest) {
		message = &messages[message->previous];
		back++;
	}
	return back;
}

static struct message *back_from(struct location *location, unsigned back)
{
	struct message *message = newest(location);

	while (back--)
		message = &messages[message->previous];
	return message;
}

/* Plain stores that this thread does not know of race with its atomic access. */
static void check_plain(struct location *location)
{
	const struct message *message = newest(location);

	while (message->time > known(&NOW, index_of(location))) {
		if (message->plain) {
			sim_fail("race: thread %u reads offset %u, which a plain store is not ordered before",
				 me(), location->offset);
			return;
		}
		if (!message->previous)
			return;
		message = &messages[message->previous];
	}
}

/* ---- accesses ---- */

static uint32_t offset_of(const volatile void *address)
{
	return (uint32_t)((uintptr_t)address - (uintptr_t)sim_memory);
}

static uint64_t load_location(struct location *location, int order)
{
	const struct message *message;

	tick();
	check_plain(location);
	message = back_from(location,
			    sim_choose(SIM_STALE, reach(location, oldest_allowed(location, order)) + 1));
	saw(location, message, order);
	return message->value;
}

uint64_t sim_model_load(const volatile void *address, unsigned size, int order)
{
	uint32_t offset = offset_of(address);
	struct location *location = location_at(offset, size);
	uint64_t value = load_location(location, order);

	if (size > 4 && location->size == 4)
		return value | load_location(location_at(offset + 4, 4), order) << 32;
	value >>= (offset - location->offset) * 8;
	return size == 8 ? value : value & ((UINT64_C(1) << size * 8) - 1);
}

static void store_location(struct location *location, uint64_t value, int order)
{
	uint32_t oldest = oldest_allowed(location, order);
	struct message *behind;
	unsigned back;

	tick();
	back = sim_choose(SIM_STALE, reach(location, oldest) + 1);
	behind = back_from(location, back);
	/* not between a read-modify-write and what it read, and not where there is no time left */
	while (behind->next && (messages[behind->next].glued ||
				messages[behind->next].time - behind->time < 2))
		behind = &messages[behind->next];
	behind = insert(location, behind, value);
	wrote(location, behind, order);
	if (!behind->next)
		write_memory(location, value);
}

/* The location's value with size bytes at offset replaced. */
static uint64_t merge(struct location *location, uint32_t offset, unsigned size, uint64_t value)
{
	unsigned shift = (offset - location->offset) * 8;
	uint64_t mask = (size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1) << shift;

	return (newest(location)->value & ~mask) | (value << shift & mask);
}

void sim_model_store(volatile void *address, unsigned size, uint64_t value, int order)
{
	uint32_t offset = offset_of(address);
	struct location *location = location_at(offset, size);

	if (size > 4 && location->size == 4) {
		store_location(location, value & UINT32_MAX, order);
		store_location(location_at(offset + 4, 4), value >> 32, order);
		return;
	}
	store_location(location, merge(location, offset, size, value), order);
}

bool sim_model_swap(volatile void *address, unsigned size, const uint64_t *expected,
		    uint64_t (*update)(uint64_t, uint64_t), uint64_t operand, int order, int fail_order,
		    uint64_t *ret_old)
{
	uint32_t offset = offset_of(address);
	struct location *location = location_at(offset, size);
	unsigned shift = (offset - location->offset) * 8;
	uint64_t mask = size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1, merged;
	struct message *message, *mine;

	tick();
	check_plain(location);
	/* one that cannot fail reads the newest; a compare may read an older one, and fail */
	message = newest(location);
	if (expected) {
		message = back_from(location, sim_choose(SIM_STALE,
							 reach(location, oldest_allowed(location, order)) + 1));
		/* an older one that fits, with room behind it, is possible too; else the newest is read */
		if ((message->value >> shift & mask) == *expected && message->next &&
		    (messages[message->next].glued || messages[message->next].time - message->time < 2))
			message = newest(location);
	}
	*ret_old = message->value >> shift & mask;
	if (expected && *ret_old != *expected) {
		saw(location, message, fail_order);
		return false;
	}
	saw(location, message, order);
	merged = (message->value & ~(mask << shift)) | (update(*ret_old, operand) & mask) << shift;
	mine = insert(location, message, merged);
	mine->glued = true;
	wrote(location, mine, order);
	if (!mine->next)
		write_memory(location, merged);
	return true;
}

static void fence_of(unsigned thread, int order)
{
	if (acquires(order))
		join(&threads[thread].now, &threads[thread].acquirable);
	if (order == __ATOMIC_SEQ_CST) {
		join(&threads[thread].now, &consistent);
		copy(&consistent, &threads[thread].now);
	}
	if (releases(order))
		copy(&threads[thread].released, &threads[thread].now);
}

void sim_model_fence(int order)
{
	tick();
	fence_of(me(), order);
}

void sim_model_barrier_all(void)
{
	sim_model_fence(__ATOMIC_SEQ_CST);
	/* what those that have ended stored too; not who could not register, and fences himself */
	for (unsigned i = 1; i < SIM_THREADS; i++)
		if (sim_threads[i].state != SIM_UNUSED &&
		    !sim_world.processes[sim_threads[i].process].page.fences)
			fence_of(i, __ATOMIC_SEQ_CST);
	sim_model_fence(__ATOMIC_SEQ_CST);
}

void sim_model_plain(const volatile void *address, size_t size, bool writes)
{
	uint32_t offset = offset_of(address), end = offset + (uint32_t)size;

	tick();
	while (offset < end) {
		struct location *location = location_at(offset, 1);
		struct message *last = newest(location), *mine;
		unsigned at = index_of(location);

		if (last->time > GAP && known(&NOW, at) < last->time)
			sim_fail("race: thread %u %s offset %u, and a store to it is not ordered before", me(),
				 writes ? "stores plainly to" : "reads plainly at", offset);
		for (unsigned t = 0; t < SIM_THREADS && writes; t++)
			if (t != me() && location->read_clock[t] > NOW.clock[t]) {
				sim_fail("race: thread %u stores plainly to offset %u, and a read of thread %u "
					 "is not ordered before", me(), offset, t);
				break;
			}
		location->read_clock[me()] = location->plain_clock[me()] = NOW.clock[me()];
		if (writes) {
			mine = insert(location, last, 0);
			mine->late = mine->plain = true;
			wrote(location, mine, __ATOMIC_RELAXED);
		}
		offset = location->offset + location->size;
	}
}

/*
 * The kernel puts zeros there. Who reads by atomic accesses meanwhile finds the one or the other;
 * who uses it plainly must have ended before.
 */
void sim_model_punch(volatile void *address, size_t size)
{
	uint32_t offset = offset_of(address), end = offset + (uint32_t)size;

	tick();
	while (offset < end) {
		struct location *location = location_at(offset, 1);

		for (unsigned t = 0; t < SIM_THREADS; t++)
			if (t != me() && location->plain_clock[t] > NOW.clock[t]) {
				sim_fail("race: thread %u gives back the memory at offset %u, and what thread %u "
					 "does there is not ordered before", me(), offset, t);
				break;
			}
		wrote(location, insert(location, newest(location), 0), __ATOMIC_RELEASE);
		write_memory(location, 0);
		offset = location->offset + location->size;
	}
}

void sim_model_copy(void *to, const volatile void *address, size_t size)
{
	uint32_t begin = (offset_of(address) + 7) & ~7u, end = (offset_of(address) + (uint32_t)size) & ~7u;

	for (uint32_t offset = begin; offset < end; offset += 8) {
		uint64_t value;

		if (units[offset / 8].run != run)
			continue;           /* nobody has touched it */
		value = sim_model_load((const uint8_t *)sim_memory + offset, 8, __ATOMIC_RELAXED);
		memcpy((uint8_t *)to + (offset - offset_of(address)), &value, 8);
	}
}

void sim_model_forget(const volatile void *address, size_t size)
{
	for (uint32_t unit = offset_of(address) / 8; unit < (offset_of(address) + size) / 8; unit++)
		units[unit].run = 0;
}

/* ---- what others order ---- */

void sim_model_start(struct sim_thread *thread)
{
	copy(&threads[thread->id].now, &NOW);
	clear(&threads[thread->id].acquirable);
	clear(&threads[thread->id].released);
}

void sim_model_join(void)
{
	for (unsigned i = 1; i < SIM_THREADS; i++)
		if (sim_threads[i].state != SIM_UNUSED)
			join(&threads[0].now, &threads[i].now);
}

void sim_model_release(unsigned channel)
{
	if (sim_weak)
		join(&channels[channel], &NOW);
}

void sim_model_acquire(unsigned channel)
{
	if (sim_weak)
		join(&NOW, &channels[channel]);
}

void sim_model_dead(struct sim_thread *thread, unsigned channel)
{
	join(&channels[channel], &threads[thread->id].now);
}
