/*
 * The states of a ring from which runs start, and the operations of its explorer.
 */
#include "ring_oracle.h"

#include "segment.h"

#include <errno.h>
#include <string.h>

#define STATES 16u
#define TIMEOUT_NS INT64_C(120000000)
#define DROPPED_BEFORE ((UINT64_C(1) << 34) - 1)        /* of a state whose base lags */

const char *const ring_operation_names[] = {
	"push", "push2", "push-all", "over", "over-all", "over-more", "pop", "pop2", "skip", "last", "read",
	"observe", "figures", "end", "repair", "shutdown", "over-twice", "pop-wait", "pop-bulk-wait",
	"push-wait", "read-wait", "observe-wait", "seek", "close", "attach", "shutdown-watch",
};

/* Of a process: in its own segment handle, and in a read-only one. */
struct observer {
	struct shmkit_ring_reader *reader;
	struct shmkit_ring *ring;
	uint64_t position;                  /* up to which it was told everything */
};

static struct observer readers[FIXTURE_PROCESSES], observers[FIXTURE_PROCESSES];

static struct built {
	struct ring_known known;
	struct shmkit_ring *handles[FIXTURE_PROCESSES];
	struct observer readers[FIXTURE_PROCESSES], observers[FIXTURE_PROCESSES];
} builts[STATES];

#define CAPACITY (ring_known.state->capacity)

/* ---- states ---- */

static void remove_another(void)
{
	struct shmkit_ring *before;
	uint64_t element[2];

	fixture_must(shmkit_ring_create(fixture_segments[0], "old", FIXTURE_ELEMENT, CAPACITY, NULL, &before));
	for (unsigned i = 0; i < CAPACITY; i++) {
		fixture_encode(element, RING_VALUES - 1);
		fixture_must(shmkit_ring_push(before, element));
	}
	fixture_must(shmkit_segment_remove(fixture_segments[0], "old"));
	shmkit_ring_close(before);
}

static void create(void)
{
	const struct ring_state *state = ring_known.state;
	struct shmkit_object_options options = {
		.struct_size = sizeof(options), .flags = state->flags, .alignment = state->alignment,
	};
	struct shk_ring_shm *shm;

	if (state->reused)
		remove_another();
	fixture_must(shmkit_ring_create(fixture_segments[0], "r", FIXTURE_ELEMENT, state->capacity, &options,
				&ring_handles[0]));
	shm = ring_shm();
	shm->write_index = shm->write_next = state->position;
	if (state->lagging)
		ring_known.dropped = DROPPED_BEFORE;
	if (state->lagging)
		shm->dropped_base = DROPPED_BEFORE - (UINT64_C(1) << 30);   /* carried by the second drop */
	if (state->lagging && !ring_has(SHMKIT_RING_MULTI_CONSUMER))
		shm->sharing = SHK_RING_SHARED;
	if (state->lagging || ring_has(SHMKIT_RING_MULTI_CONSUMER))
		shm->read_word = shk_ring_read_word((uint32_t)ring_known.dropped, state->position);
	else
		shm->read_index = state->position;
}

static void observe(struct observer *observer, struct shmkit_ring *ring)
{
	observer->ring = ring;
	fixture_must(shmkit_ring_reader_open(ring, SHMKIT_READ_FROM_NEWEST, &observer->reader));
	observer->position = shmkit_ring_reader_position(observer->reader);
}

static void open_all(unsigned process)
{
	struct shmkit_segment *segment;
	struct shmkit_ring *ring;

	if (process == 0) {
		create();
		return;
	}
	fixture_must(shmkit_ring_open(fixture_segments[process], "r", FIXTURE_ELEMENT, &ring_handles[process]));
	observe(&readers[process], ring_handles[process]);
	fixture_must(shmkit_segment_open("s", SHMKIT_READ_ONLY, &segment));
	fixture_must(shmkit_ring_open(segment, "r", FIXTURE_ELEMENT, &ring));
	observe(&observers[process], ring);
}

static void put(unsigned process, bool over)
{
	unsigned value = ring_known.next_value++;
	uint64_t element[2];

	sim_act_as(process);
	fixture_encode(element, value);
	fixture_must(over ? shmkit_ring_push_overwrite(ring_handles[process], element, 1)
		  : shmkit_ring_push(ring_handles[process], element));
	ring_known.log[ring_known.pushed++ % RING_VALUES] = (uint16_t)value;
}

static void take(unsigned process)
{
	uint64_t element[2];

	sim_act_as(process);
	fixture_must(shmkit_ring_pop(ring_handles[process], element));
}

/* The roles are given back by who closes. */
static void let_go(unsigned process)
{
	sim_act_as(process);
	shmkit_ring_close(ring_handles[process]);
	fixture_must(shmkit_ring_open(fixture_segments[process], "r", FIXTURE_ELEMENT, &ring_handles[process]));
}

static unsigned held(void)
{
	return (uint32_t)ring_known.pushed - ring_read_index();
}

static unsigned newcomer(void)
{
	unsigned process = sim_process_new();

	sim_act_as(process);
	fixture_must(shmkit_segment_open("s", 0, &fixture_segments[process]));
	fixture_must(shmkit_ring_open(fixture_segments[process], "r", FIXTURE_ELEMENT, &ring_handles[process]));
	return process;
}

static void fill(void)
{
	const struct ring_state *state = ring_known.state;
	unsigned producer = state->warm ? 1 : state->dead ? newcomer() : 0, consumer = state->warm ? 2 : 0;

	for (unsigned i = 0; i < state->overwritten; i++)
		put(producer, true);
	if (state->warm) {
		put(producer, true);
		take(consumer);
	}
	while (held() > state->fill)
		take(consumer);
	while (held() < state->fill)
		put(producer, false);
	if (state->dead) {
		ring_shm()->write_next = ring_known.pushed + 2;
		ring_shm()->pushing = 1;
		sim_process_kill(producer);
	}
	let_go(0);
	sim_act_as(0);
}

void ring_build(unsigned number)
{
	struct built *built = &builts[number];

	memset(readers, 0, sizeof(readers));
	memset(observers, 0, sizeof(observers));
	memset(ring_handles, 0, sizeof(ring_handles));
	memset(&ring_known, 0, sizeof(ring_known));
	ring_known.state = &ring_states[number];
	ring_known.first = ring_known.pushed = ring_known.state->position;
	ring_known.next_value = 1;
	ring_known.shut_step = UINT64_MAX;
	sim_world.no_membarrier = ring_known.state->no_membarrier;
	fixture_build(open_all);
	fill();
	ring_known.dropped = shmkit_ring_total_dropped(ring_handles[0]);
	ring_known.read = ring_known.pushed - shmkit_ring_size(ring_handles[0]);
	ring_known.dropped_at[ring_known.pushed % RING_VALUES] = ring_known.dropped;
	if (ring_known.state->warm) {
		ring_known.held_until[RING_PRODUCER][1] =
			ring_has(SHMKIT_RING_MULTI_PRODUCER) ? 0 : UINT64_MAX;
		ring_known.held_until[RING_CONSUMER][2] =
			ring_has(SHMKIT_RING_MULTI_CONSUMER) ? 0 : UINT64_MAX;
	}
	built->known = ring_known;
	memcpy(built->handles, ring_handles, sizeof(ring_handles));
	memcpy(built->readers, readers, sizeof(readers));
	memcpy(built->observers, observers, sizeof(observers));
}

void ring_begin(unsigned number)
{
	const struct built *built = &builts[number];

	ring_known = built->known;
	memcpy(ring_handles, built->handles, sizeof(ring_handles));
	memcpy(readers, built->readers, sizeof(readers));
	memcpy(observers, built->observers, sizeof(observers));
	memset(ring_runs, 0, sizeof(ring_runs));
	/* the time that stands in for the barrier is not modelled */
	if (sim_weak)
		sim_world.no_membarrier = false;
	sim_on_point = ring_on_point;
}

/* ---- operations ---- */

/* Threads that share a process: the lowest pushes and reads, the highest pops, where one may. */
static bool is_first(const struct sim_thread *thread)
{
	for (unsigned t = 1; t < thread->id; t++)
		if (sim_threads[t].process == thread->process)
			return false;
	return true;
}

static bool is_last(const struct sim_thread *thread)
{
	for (unsigned t = thread->id + 1; t < SIM_THREADS; t++)
		if (sim_threads[t].state != SIM_UNUSED && sim_threads[t].process == thread->process)
			return false;
	return true;
}

static bool may_push(const struct sim_thread *thread)
{
	return ring_has(SHMKIT_RING_MULTI_PRODUCER) || is_first(thread);
}

static bool may_pop(const struct sim_thread *thread)
{
	return ring_has(SHMKIT_RING_MULTI_CONSUMER) || is_last(thread);
}

static void push(struct sim_thread *thread, unsigned count, bool over, bool waits)
{
	struct shmkit_ring *ring = ring_handles[thread->process];
	uint64_t elements[2 * RING_ELEMENTS];
	int64_t result;

	if (!may_push(thread))
		return;
	RING_RUN.pushes = true;
	RING_RUN.over = over;
	RING_RUN.count = count;
	RING_RUN.first = ring_known.next_value;
	ring_known.next_value += count;
	for (unsigned i = 0; i < count; i++)
		fixture_encode(elements + 2 * (size_t)i, RING_RUN.first + i);
	if (over)
		result = shmkit_ring_push_overwrite(ring, elements, count);
	else if (waits)
		result = shmkit_ring_push_bulk_wait(ring, elements, count, TIMEOUT_NS);
	else if (count > 1)
		result = shmkit_ring_push_bulk(ring, elements, count);
	else
		result = shmkit_ring_push(ring, elements);
	if (!over && !waits && count == 1 && result == 0)
		result = 1;
	RING_RUN.active = false;
	if (ring_has(SHMKIT_RING_MULTI_PRODUCER) && is_first(thread) && is_last(thread))
		ring_role_left(thread->process, RING_PRODUCER);
	if (over)
		ring_judge_over(thread, result);
	else
		ring_judge_push(thread, result, waits);
}

static void pop(struct sim_thread *thread, unsigned count, bool skips, bool waits)
{
	struct shmkit_ring *ring = ring_handles[thread->process];
	uint64_t elements[2 * RING_ELEMENTS] = { 0 };
	int64_t result;

	if (!may_pop(thread))
		return;
	RING_RUN.count = count;
	if (count == 1)
		result = waits ? shmkit_ring_pop_wait(ring, elements, TIMEOUT_NS)
			       : shmkit_ring_pop(ring, elements);
	else if (waits)
		result = shmkit_ring_pop_bulk_wait(ring, elements, count, TIMEOUT_NS);
	else
		result = shmkit_ring_pop_bulk(ring, skips ? NULL : elements, count);
	if (count == 1 && result == 0)
		result = 1;
	ring_judge_pop(thread, result, skips ? NULL : elements, waits);
}

static void look_at_last(struct sim_thread *thread)
{
	struct shmkit_ring *through = observers[thread->process].ring;
	struct shmkit_ring *ring = thread->id % 2 && through ? through : ring_handles[thread->process];
	uint64_t elements[2 * RING_ELEMENTS] = { 0 };

	RING_RUN.count = CAPACITY;
	ring_judge_last(thread, shmkit_ring_last(ring, elements, CAPACITY), elements);
}

static void read_next(struct sim_thread *thread, struct observer *observer, unsigned count,
		      int64_t timeout_ns)
{
	uint64_t elements[2 * RING_ELEMENTS] = { 0 }, lost = 0;
	int64_t result;

	if (!observer->reader || !is_first(thread))
		return;
	RING_RUN.count = count;
	if (timeout_ns)
		result = shmkit_ring_reader_wait(observer->reader, elements, count, &lost, timeout_ns);
	else
		result = shmkit_ring_reader_read(observer->reader, elements, count, &lost);
	/* an observer of a read-only segment is not woken: he looks again and again */
	if (timeout_ns == TIMEOUT_NS)
		ring_judge_wake(thread, result);
	ring_judge_read(thread, observer->reader, result, elements, lost, &observer->position,
			timeout_ns != 0);
}

static void seek(struct sim_thread *thread)
{
	struct observer *observer = &readers[thread->process];
	uint64_t to = sim_choose(SIM_CASE, 2) && !sim_weak ? RING_RUN.at.pushed : ring_known.first;

	if (!observer->reader || !is_first(thread))
		return;
	if (shmkit_ring_reader_seek(observer->reader, to))
		sim_fail("seek: %s", shmkit_last_error());
	if (shmkit_ring_reader_seek(observer->reader, ring_known.pushed + RING_VALUES) != -ERANGE)
		sim_fail("seek past the end");
	observer->position = to;
}

static void look_at_figures(struct sim_thread *thread)
{
	struct shmkit_ring *ring = ring_handles[thread->process];
	uint64_t pushed = shmkit_ring_total_pushed(ring), dropped = shmkit_ring_total_dropped(ring);

	ring_judge_figures(thread, pushed, dropped, shmkit_ring_size(ring));
}

static void shut_down(struct sim_thread *thread)
{
	ring_known.shut_begun = true;
	if (shmkit_ring_shutdown(ring_handles[thread->process]))
		sim_fail("shutdown: %s", shmkit_last_error());
	if (sim_step < ring_known.shut_step)
		ring_known.shut_step = sim_step;
}

/* Shuts it down, pops what there is, and asks for more. */
static void come_to_the_end(struct sim_thread *thread)
{
	shut_down(thread);
	ring_start(thread);
	pop(thread, CAPACITY + 1, false, false);
	ring_start(thread);
	pop(thread, 1, false, false);
}

/* Closed by who has pushed and popped: the roles go back. Its readers stay. */
static void close_and_open(struct sim_thread *thread)
{
	unsigned process = thread->process;

	if (!is_first(thread) || !is_last(thread))
		return;
	shmkit_ring_close(ring_handles[process]);
	ring_role_left(process, RING_PRODUCER);
	ring_role_left(process, RING_CONSUMER);
	if (shmkit_ring_open(fixture_segments[process], "r", FIXTURE_ELEMENT, &ring_handles[process]))
		sim_fail("open: %s", shmkit_last_error());
}

/* A newcomer takes an id that may have been a dead one's, and does what the rest says. */
static void attach(struct sim_thread *thread)
{
	if (!is_first(thread) || !is_last(thread))
		return;
	if (!fixture_attach(thread)) {
		program_of(thread)->given_up = true;
		return;
	}
	if (shmkit_ring_open(fixture_segments[thread->process], "r", FIXTURE_ELEMENT,
			     &ring_handles[thread->process]))
		sim_fail("open: %s", shmkit_last_error());
}

static void operate_more(struct sim_thread *thread, unsigned operation)
{
	switch (operation) {
	case RING_POP_WAIT:
	case RING_POP_BULK_WAIT:
		pop(thread, operation == RING_POP_WAIT ? 1 : 2, false, true);
		break;
	case RING_PUSH_WAIT:
		push(thread, 2, false, true);
		break;
	case RING_READ_WAIT:
		read_next(thread, &readers[thread->process], 2, TIMEOUT_NS);
		break;
	case RING_OBSERVE_WAIT:
		read_next(thread, &observers[thread->process], 2, INT64_C(3000000));
		break;
	case RING_SEEK:
		seek(thread);
		break;
	case RING_CLOSE:
		close_and_open(thread);
		break;
	case RING_ATTACH:
		attach(thread);
		break;
	case RING_SHUTDOWN_WATCH:
		shut_down(thread);
		for (unsigned i = 0; i < 3; i++) {
			ring_start(thread);
			read_next(thread, &observers[thread->process], CAPACITY, 0);
		}
		break;
	default:
		break;
	}
}

void ring_operate(struct sim_thread *thread, unsigned operation)
{
	ring_start(thread);
	switch (operation) {
	case RING_PUSH:
	case RING_PUSH_2:
		push(thread, operation - RING_PUSH + 1, false, false);
		break;
	case RING_PUSH_ALL:
		push(thread, CAPACITY > 1 ? CAPACITY : 2, false, false);
		break;
	case RING_OVER:
		push(thread, 1, true, false);
		break;
	case RING_OVER_ALL:
	case RING_OVER_MORE:
		push(thread, CAPACITY + operation - RING_OVER_ALL, true, false);
		break;
	case RING_OVER_TWICE:
		push(thread, 2 * CAPACITY + 1, true, false);
		break;
	case RING_POP:
	case RING_POP_2:
		pop(thread, operation - RING_POP + 1, false, false);
		break;
	case RING_SKIP:
		pop(thread, 2, true, false);
		break;
	case RING_LAST:
		look_at_last(thread);
		break;
	case RING_READ:
		read_next(thread, &readers[thread->process], 2, 0);
		break;
	case RING_OBSERVE:
		read_next(thread, &observers[thread->process], CAPACITY, 0);
		break;
	case RING_FIGURES:
		look_at_figures(thread);
		break;
	case RING_END:
		come_to_the_end(thread);
		break;
	case RING_REPAIR:
		if (shmkit_segment_recover(fixture_segments[thread->process], NULL))
			sim_fail("recover: %s", shmkit_last_error());
		break;
	case RING_SHUTDOWN:
		shut_down(thread);
		break;
	default:
		operate_more(thread, operation);
	}
	RING_RUN.active = false;
}
