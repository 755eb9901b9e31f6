/*
 * The ring as it must be. The points behind its three commits (of a push, a pop, a drop) are passed
 * before anybody else runs, and memory holds the newest value then: so the fate of every position
 * is known exactly, also when he who committed it dies there.
 *
 *	a commit   moves the write index by what was pushed, whole; never past read + capacity, never
 *	           once somebody was told the end
 *	a pop      moves the read index alone, by what was wanted at most; one that stored it while
 *	           the ring was being shared may find that it did not move after all
 *	a drop     moves the read index and the count of the dropped by the same, and as little as
 *	           makes the room that is needed
 */
#include "ring_oracle.h"

#include "segment.h"

#include <errno.h>
#include <string.h>

struct ring_known ring_known;
struct ring_run ring_runs[SIM_THREADS];
struct shmkit_ring *ring_handles[FIXTURE_PROCESSES];

#define CAPACITY (ring_known.state->capacity)

/* ---- as points are passed ---- */

static void note_held(const struct sim_thread *by, bool takes)
{
	unsigned held = (unsigned)(ring_known.pushed - ring_known.read);

	ring_known.changed_step = sim_step;
	for (unsigned t = 1; t < SIM_THREADS; t++) {
		struct ring_run *run = &ring_runs[t];

		if (by && by->id == t)
			continue;
		run->others += takes;
		if (run->commits || run->popped)
			continue;
		run->least = held < run->least ? held : run->least;
		run->most = held > run->most ? held : run->most;
	}
}

static void on_commit(struct sim_thread *thread)
{
	uint64_t index = ring_shm()->write_index, piece = index - ring_known.pushed;
	unsigned held = (unsigned)(index - ring_known.read);

	if (!RING_RUN.pushes || piece == 0 || piece > RING_RUN.count - RING_RUN.committed) {
		sim_fail("a push of %u moved the write index from %llu to %llu", RING_RUN.count,
			 (unsigned long long)ring_known.pushed, (unsigned long long)index);
		return;
	}
	if (held > CAPACITY)
		sim_fail("%u elements in a ring of %u", held, CAPACITY);
	if (RING_RUN.room < piece || (RING_RUN.room <= CAPACITY && RING_RUN.room > piece))
		sim_fail("room for %u was made, for a piece of %llu", RING_RUN.room,
			 (unsigned long long)piece);
	if (ring_known.ended)
		sim_fail("a push was committed after somebody was told the end");
	for (uint64_t i = 0; i < piece; i++)
		ring_known.log[(ring_known.pushed + i) % RING_VALUES] =
			(uint16_t)(RING_RUN.first + RING_RUN.committed + i);
	ring_known.dropped_at[index % RING_VALUES] = ring_known.dropped;
	ring_known.pushed = index;
	RING_RUN.committed += (unsigned)piece;
	RING_RUN.piece = (unsigned)piece;
	RING_RUN.commits++;
	RING_RUN.room = CAPACITY + 1;
	note_held(thread, false);
}

static uint32_t read_moved(void)
{
	return ring_read_index() - (uint32_t)ring_known.read;
}

static uint32_t dropped_moved(void)
{
	return shk_ring_dropped(ring_shm()->read_word) - (uint32_t)ring_known.dropped;
}

static void on_pop(struct sim_thread *thread)
{
	uint32_t count = read_moved();

	if (count == 0 || count > RING_RUN.count || RING_RUN.pushes || RING_RUN.popped ||
	    count > ring_known.pushed - ring_known.read || dropped_moved() != 0) {
		sim_fail("a pop of %u moved the read index by %u, and dropped %u", RING_RUN.count, count,
			 dropped_moved());
		return;
	}
	RING_RUN.popped = count;
	RING_RUN.popped_from = ring_known.read;
	ring_known.read += count;
	note_held(thread, true);
}

/* A store that comes when the ring is shared already moves nothing. */
static void on_store(struct sim_thread *thread)
{
	uint64_t sharing = ring_shm()->sharing;

	if (ring_has(SHMKIT_RING_MULTI_CONSUMER))
		sim_fail("one of several consumers stored a read index");
	if (shk_ring_is_shared(sharing))
		return;
	on_pop(thread);
	/* or it is not seen yet by one who shares */
	ring_known.storing = sim_weak || sharing == SHK_RING_SHARING ? thread : NULL;
}

/* Who shared it had read the index before it was stored: that pop was none. */
static void on_share(void)
{
	struct sim_thread *thread = ring_known.storing;

	ring_known.storing = NULL;
	if (read_moved() == 0)
		return;
	if (!thread || read_moved() + RING_RUN.popped != 0) {
		sim_fail("sharing moved the read index by %d", (int)read_moved());
		return;
	}
	ring_known.read -= RING_RUN.popped;
	RING_RUN.popped = 0;
	note_held(NULL, false);
}

static void on_drop(struct sim_thread *thread)
{
	uint32_t count = read_moved();
	uint64_t base = ring_shm()->dropped_base;

	if (count == 0 || !RING_RUN.over || count > ring_known.pushed - ring_known.read ||
	    dropped_moved() != count) {
		sim_fail("a drop moved the read index by %u, and the count by %u", count, dropped_moved());
		return;
	}
	ring_known.read += count;
	ring_known.dropped += count;
	RING_RUN.dropped += count;
	RING_RUN.room = CAPACITY - (unsigned)(ring_known.pushed - ring_known.read);
	/* never ahead; carried along before it is 2^30 behind, and this drop */
	if (base > ring_known.dropped || ring_known.dropped - base > (UINT64_C(1) << 30) + CAPACITY)
		sim_fail("%llu were dropped, and their base is %llu", (unsigned long long)ring_known.dropped,
			 (unsigned long long)base);
	note_held(thread, true);
}

static void on_lock(const struct sim_thread *thread)
{
	const shk_u64 *words[2] = { &ring_shm()->producer_role, &ring_shm()->consumer_role };
	const struct shmkit_ring *ring = ring_handles[thread->process];

	for (unsigned role = 0; role < 2; role++)
		if (ring && shk_ring_is_mine(ring, *words[role]))
			ring_known.held_until[role][thread->process] = UINT64_MAX;
}

void ring_on_point(const char *label)
{
	struct sim_thread *thread = sim_current;

	if (strcmp(label, "ring.push.committed") == 0)
		on_commit(thread);
	else if (strcmp(label, "ring.pop.taken") == 0)
		on_pop(thread);
	else if (strcmp(label, "ring.pop.stored") == 0)
		on_store(thread);
	else if (strcmp(label, "ring.share.done") == 0)
		on_share();
	else if (strcmp(label, "ring.drop.counted") == 0)
		on_drop(thread);
	else if (strcmp(label, "lock.taken") == 0)
		on_lock(thread);
}

/* ---- for the judges ---- */

static bool is_alive(const struct sim_thread *thread)
{
	return thread->state == SIM_READY || thread->state == SIM_BLOCKED;
}

void ring_start(struct sim_thread *thread)
{
	struct ring_run *run = &RING_RUN;

	*run = (struct ring_run){
		.active = true, .begin = sim_step, .begin_ns = sim_world.now_ns,
		.at = { ring_known.pushed, ring_known.read, ring_known.dropped,
			ring_shm()->write_next, ring_shm()->producer_role },
		.least = (unsigned)(ring_known.pushed - ring_known.read), .room = CAPACITY + 1,
	};
	run->most = run->least;
	for (unsigned t = 1; t < SIM_THREADS; t++)
		run->beside_push |= ring_runs[t].active && ring_runs[t].pushes && is_alive(&sim_threads[t]);
	for (unsigned i = 0; i < SIM_PROCESSES; i++)
		if (sim_world.processes[i].exists && !sim_world.processes[i].alive)
			run->buried |= UINT32_C(1) << i;
}

void ring_role_left(unsigned process, enum ring_role role)
{
	if (ring_known.held_until[role][process] == UINT64_MAX)
		ring_known.held_until[role][process] = sim_step;
}

unsigned ring_value(uint64_t position)
{
	if (position < ring_known.first || position >= ring_known.pushed)
		return 0;
	return ring_known.log[position % RING_VALUES];
}

void ring_compare(const char *what, const uint64_t *elements, uint64_t position, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		unsigned value = fixture_decode(elements + 2 * i, RING_VALUES);

		if (value && value != ring_value(position + i)) {
			sim_fail("%s: at position %llu %u instead of %u", what,
				 (unsigned long long)(position + i), value, ring_value(position + i));
			return;
		}
	}
}

/* ---- the audit ---- */

static void expect(int64_t result, int64_t expected, const char *what)
{
	if (result != expected)
		sim_fail("at the end, %s: %lld instead of %lld: %s", what, (long long)result,
			 (long long)expected, shmkit_last_error());
}

static bool has_living_holder(enum ring_role role)
{
	for (unsigned i = 1; i < SIM_PROCESSES; i++)
		if (sim_world.processes[i].alive && ring_known.held_until[role][i] == UINT64_MAX)
			return true;
	return false;
}

/* Whoever has a role and lives keeps others out; then all others are dead, and nobody does. */
static void check_roles(void)
{
	uint64_t element[2];

	fixture_encode(element, 1);
	if (!ring_has(SHMKIT_RING_MULTI_PRODUCER) && has_living_holder(RING_PRODUCER))
		expect(shmkit_ring_push(ring_handles[0], element), ring_shm()->closed ? -ESHUTDOWN : -EBUSY,
		       "push beside a living producer");
	if (!ring_has(SHMKIT_RING_MULTI_CONSUMER) && has_living_holder(RING_CONSUMER))
		expect(shmkit_ring_pop(ring_handles[0], element), -EBUSY, "pop beside a living consumer");
	for (unsigned i = 1; i < SIM_PROCESSES; i++)
		if (sim_world.processes[i].exists)
			sim_process_kill(i);
	fixture_recover();
}

static void check_words(void)
{
	const struct shk_ring_shm *shm = ring_shm();

	if (shm->write_index != ring_known.pushed || read_moved() || dropped_moved())
		sim_fail("at the end, the indices are not where the commits left them");
	expect((int64_t)shmkit_ring_total_pushed(ring_handles[0]), (int64_t)ring_known.pushed, "pushed");
	expect((int64_t)shmkit_ring_total_dropped(ring_handles[0]), (int64_t)ring_known.dropped, "dropped");
	expect((int64_t)shmkit_ring_size(ring_handles[0]), (int64_t)(ring_known.pushed - ring_known.read),
	       "size");
	if (shm->closed == SHK_RING_CLOSING)
		sim_fail("at the end, its shutdown is not finished");
	if (ring_known.shut_step != UINT64_MAX && shm->closed == SHK_RING_OPEN)
		sim_fail("at the end, it is open, though it was shut down");
}

/* What an observer sees who comes now: all that a dead producer has not begun to overwrite. */
static void check_observers(void)
{
	uint64_t oldest = shk_ring_oldest(ring_handles[0], ring_shm()->write_next);
	uint64_t expected = ring_known.pushed - (oldest < ring_known.pushed ? oldest : ring_known.pushed);
	uint64_t elements[2 * RING_ELEMENTS], lost = 99;
	struct shmkit_ring_reader *reader;

	expect(shmkit_ring_last(ring_handles[0], elements, CAPACITY), (int64_t)expected, "last");
	ring_compare("at the end, last", elements, ring_known.pushed - expected, expected);
	expect(shmkit_ring_reader_open(ring_handles[0], SHMKIT_READ_FROM_OLDEST, &reader), 0, "reader_open");
	if (expected) {
		expect(shmkit_ring_reader_read(reader, elements, CAPACITY, &lost), (int64_t)expected, "read");
		expect((int64_t)lost, 0, "lost");
		ring_compare("at the end, read", elements, ring_known.pushed - expected, expected);
	}
	expect(shmkit_ring_reader_read(reader, elements, CAPACITY, &lost),
	       ring_shm()->closed ? -ESHUTDOWN : 0, "read of nothing");
	shmkit_ring_reader_close(reader);
}

static void drain(void)
{
	uint64_t element[2];

	while (ring_known.read < ring_known.pushed && !sim_failed) {
		expect(shmkit_ring_pop(ring_handles[0], element), 0, "pop");
		ring_compare("at the end, pop", element, ring_known.read++, 1);
	}
	expect(shmkit_ring_pop(ring_handles[0], element), ring_shm()->closed ? -ESHUTDOWN : -EAGAIN,
	       "pop of nothing");
}

static void check_capacity(void)
{
	uint64_t elements[2 * RING_ELEMENTS], back[2 * RING_ELEMENTS];

	for (unsigned i = 0; i <= CAPACITY; i++)
		fixture_encode(elements + 2 * (size_t)i, i + 1);
	if (ring_shm()->closed) {
		expect(shmkit_ring_push(ring_handles[0], elements), -ESHUTDOWN, "push after the end");
		return;
	}
	expect(shmkit_ring_push_bulk(ring_handles[0], elements, CAPACITY + 1), CAPACITY, "push_bulk");
	expect(shmkit_ring_push(ring_handles[0], elements), -EAGAIN, "one more than fit");
	expect(shmkit_ring_pop_bulk(ring_handles[0], back, CAPACITY + 1), CAPACITY, "pop_bulk");
	if (memcmp(back, elements, CAPACITY * FIXTURE_ELEMENT) != 0)
		sim_fail("at the end, the last elements are not those that went in");
	expect(shmkit_ring_push_overwrite(ring_handles[0], elements, CAPACITY + 1), 1, "push_overwrite");
	expect(shmkit_ring_last(ring_handles[0], back, CAPACITY), CAPACITY, "last of the last");
	if (memcmp(back, elements + 2, CAPACITY * FIXTURE_ELEMENT) != 0)
		sim_fail("at the end, last is not what was put over");
}

void ring_audit(void)
{
	sim_on_point = NULL;
	fixture_recover();
	check_words();
	check_observers();
	/* the end is told also while producers live that are in no push */
	if (!has_living_holder(RING_CONSUMER))
		drain();
	check_roles();
	check_words();
	drain();
	check_capacity();
	expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}
