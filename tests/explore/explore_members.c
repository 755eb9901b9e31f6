/*
 * Members under exploration: who joins, leaves, dies, is repaired after, forks, and is counted.
 *
 *	alive        nothing of a living member is repaired away, whatever its id was before, and
 *	             whoever stands still in the middle of a repair: what it leases stays its own, what
 *	             it locks stays locked, and it is never shown dead
 *	dead         what the dead had comes back, and their ids; -EUSERS only while all are alive
 *	fork         a child is a member of its own as soon as it uses what it was given; as long as it
 *	             has not it gives nothing back
 *	waits        nobody sleeps through what he waits for
 *
 * The witnesses are leases of a queue that nobody fills: each element is with one member at a time.
 */
#include "fixture.h"

#include "lock.h"
#include "object.h"
#include "queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS 4u
#define SIZE 8192u
#define ELEMENTS 4u                         /* 1 to ELEMENTS - 1 */
#define NEWCOMERS 4u                        /* of a run */
#define FORKS 2u

enum {
	JOIN, LEAVE, NEWCOMER, REPAIR, LOCK, COUNT, LEASE_ACK, LEASE_KEEP, FORK, ADD, WAIT, ADD_WAIT, ATTACH,
	LEASE_NACK, BEAT, JOIN_TWICE, OPERATIONS
};

static const char *const operation_names[] = {
	"join", "leave", "newcomer", "repair", "lock", "count", "lease-ack", "lease-keep", "fork", "add",
	"wait", "add-wait", "attach", "lease-nack", "beat", "join-twice",
};

enum { ALONE, JOINED, FULL, ONE_DEAD, DEAD_LEASE, DEAD_LOCK, DEAD_TWO, ALL_DEAD, STATES };

static const char *const state_names[] = {
	"nobody but one elsewhere", "two members, one free id", "all ids alive", "one dead, no free id",
	"one dead with a lease", "one dead with the lock of the table", "two dead", "all dead but one",
};

/* ---- what is known of a run ---- */

static struct place {                       /* of a process */
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_atomic_u64 *value;
	bool joined;                        /* it is a member as far as it knows */
	bool forked;                        /* and was not told yet whether it is one */
} places[FIXTURE_PROCESSES], places_at[STATES][FIXTURE_PROCESSES];

static bool littered[FIXTURE_PROCESSES];    /* forked from under another thread's hands: what that one
					       was about to open is left */

static struct element {
	unsigned holder;                    /* process, 0 none */
	bool done;
	struct shmkit_slot slot;
} elements[ELEMENTS];

static struct {
	unsigned settling;                  /* element that is being acked, 0 none */
	bool settled;
	unsigned occupied;                  /* ids at most, since its operation has begun */
} runs[SIM_THREADS];

static unsigned lock_holder;                /* thread, 0 none */
static unsigned newcomers, forks;
static int64_t added_ns;                    /* when the value had last been changed */
static uint64_t added_step;                 /* and when that had begun */
static bool left_over;
static struct program children[FORKS];

#define RUN (runs[thread->id])
#define HERE (&places[thread->process])

static bool is_alive(unsigned process)
{
	return sim_world.processes[process].alive;
}

static void expect(int64_t result, int64_t expected, const char *what)
{
	if (result != expected)
		sim_fail("%s: %lld instead of %lld: %s", what, (long long)result, (long long)expected,
			 shmkit_last_error());
}

static bool shares_process(const struct sim_thread *thread)
{
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (&sim_threads[t] != thread && sim_threads[t].state != SIM_UNUSED &&
		    sim_threads[t].process == thread->process)
			return true;
	return false;
}

/* ---- ids ---- */

/* Ids whose lock somebody alive holds. */
static unsigned occupied(void)
{
	const struct sim_file *file = &sim_world.files[0];
	unsigned count = 0;

	for (unsigned i = 0; i < file->byte_count; i++)
		count += file->bytes[i].byte - SHK_LOCK_MEMBER < MEMBERS && file->bytes[i].writer >= 0;
	return count;
}

static void note_occupied(void)
{
	unsigned now = occupied();

	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (now > runs[t].occupied)
			runs[t].occupied = now;
}

/* -EUSERS, or -ECHILD of a child that finds no id: true when all may have been taken. */
static bool were_all_taken(void)
{
	note_occupied();
	return sim_weak || runs[sim_current->id].occupied == MEMBERS;
}

static void on_point(const char *label)
{
	struct sim_thread *thread = sim_current;

	if (strcmp(label, "member.locked") == 0)
		note_occupied();
	if (strcmp(label, "queue.settled") == 0)
		RUN.settled = true;
}

/* ---- joining and leaving ---- */

static struct shmkit_segment *open_segment(void)
{
	struct shmkit_segment *segment = NULL;
	int result = shmkit_segment_open("s", 0, &segment);

	if (result == 0)
		return segment;
	if (!(result == -EUSERS && were_all_taken()) && !(result == -EBUSY && sim_freezes))
		sim_fail("open: %d: %s", result, shmkit_last_error());
	return NULL;
}

static void join(struct sim_thread *thread)
{
	struct shmkit_segment *segment = open_segment();

	if (!segment)
		return;
	if (HERE->segment) {
		shmkit_segment_close(segment);   /* a member of its own for a while */
		return;
	}
	HERE->segment = segment;
	HERE->joined = true;
}

/* What a process holds goes back to the others as soon as it begins to close. */
static void close_place(unsigned process)
{
	struct place place = places[process];

	for (unsigned i = 1; i < ELEMENTS; i++)
		if (elements[i].holder == process)
			elements[i].holder = 0;
	places[process] = (struct place){ .segment = NULL };
	shmkit_queue_close(place.queue);
	shmkit_atomic_u64_close(place.value);
	shmkit_segment_close(place.segment);
}

static bool become_another(struct sim_thread *thread)
{
	unsigned process;

	if (shares_process(thread) || newcomers == NEWCOMERS)
		return false;
	newcomers++;
	process = sim_process_new();
	places[process] = (struct place){ .segment = NULL };
	thread->process = process;
	shk_process = &sim_world.processes[process].page;
	return true;
}

/* ---- what members do ---- */

/* A call that a child could not make because it found no id. */
static bool was_orphan(struct sim_thread *thread, int64_t result)
{
	if (result != -ECHILD) {
		HERE->joined = true;
		HERE->forked = false;
		return false;
	}
	if (!HERE->forked || !were_all_taken())
		sim_fail("-ECHILD: %s", shmkit_last_error());
	return true;
}

static bool open_queue(struct sim_thread *thread)
{
	struct shmkit_queue *queue = NULL;
	int result;

	if (!HERE->segment || HERE->queue)
		return HERE->segment != NULL;
	result = shmkit_queue_open(HERE->segment, "q", FIXTURE_ELEMENT, &queue);
	if (was_orphan(thread, result))
		return false;
	expect(result, 0, "queue_open");
	if (HERE->queue)
		shmkit_queue_close(queue);
	else
		HERE->queue = queue;
	return true;
}

static bool open_value(struct sim_thread *thread)
{
	struct shmkit_atomic_u64 *value = NULL;
	int result;

	if (!HERE->segment || HERE->value)
		return HERE->segment != NULL;
	result = shmkit_atomic_u64_open(HERE->segment, "v", &value);
	if (was_orphan(thread, result))
		return false;
	expect(result, 0, "atomic_open");
	if (HERE->value)
		shmkit_atomic_u64_close(value);
	else
		HERE->value = value;
	return true;
}

static unsigned lease(struct sim_thread *thread)
{
	struct shmkit_slot slot;
	uint64_t payload[2];
	struct element *element;
	unsigned number;
	int result;

	if (!open_queue(thread))
		return 0;
	result = shmkit_queue_lease(HERE->queue, &slot);
	if (was_orphan(thread, result) || result == -EAGAIN)
		return 0;
	expect(result, 0, "lease");
	if (result)
		return 0;
	sim_memcpy(payload, slot.data, sizeof(payload));
	number = fixture_decode(payload, ELEMENTS);
	element = &elements[number];
	if (element->done)
		sim_fail("element %u was acked, and is delivered again", number);
	if (element->holder && is_alive(element->holder))
		sim_fail("element %u is with process %u, which is alive, and is delivered to %u", number,
			 element->holder, thread->process);
	element->holder = thread->process;
	element->slot = slot;
	return number;
}

static void ack(struct sim_thread *thread, unsigned number)
{
	struct shmkit_slot slot = elements[number].slot;

	RUN.settled = false;
	RUN.settling = number;
	elements[number].holder = 0;        /* from now on the points tell */
	expect(shmkit_queue_ack(HERE->queue, &slot), 0, "ack");
	elements[number].done = true;
	RUN.settling = 0;
}

static void nack(struct sim_thread *thread, unsigned number)
{
	struct shmkit_slot slot = elements[number].slot;

	elements[number].holder = 0;
	expect(shmkit_queue_nack(HERE->queue, &slot), 0, "nack");
}

static void check_wake(const struct sim_thread *thread)
{
	if (!left_over)
		fixture_check_wake(thread);
}

static void lock_table(struct sim_thread *thread)
{
	struct shmkit_segment *segment = HERE->segment;
	shk_u64 *lock = &shk_header(segment)->table_lock;
	uint64_t word;
	int result = shmkit_segment_member_id(segment);

	if (was_orphan(thread, result))
		return;
	thread->timed_out = false;          /* it may have slept before, in joining */
	result = shk_lock_word_acquire(segment, lock, INT64_C(100000000), "the lock", &word);
	if (result == -EBUSY && sim_freezes)
		return;
	expect(result, 0, "lock");
	if (result)
		return;
	check_wake(thread);
	if (lock_holder && sim_threads[lock_holder].state != SIM_DEAD)
		sim_fail("threads %u and %u hold one lock", lock_holder, thread->id);
	lock_holder = thread->id;
	for (unsigned i = 0; i < 3; i++)
		sim_yield();
	if ((*lock ^ word) & ~SHK_LOCK_WAITERS)
		sim_fail("a lock was taken from a living one");
	lock_holder = 0;
	shk_lock_word_release(lock, word);
}

/* ---- counting ---- */

/* Members for certain: those who were told so, and have not begun to leave. Which one each is, or 0. */
static void members_for_certain(uint64_t ret_certain[FIXTURE_PROCESSES])
{
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++) {
		const struct place *place = &places[p];

		ret_certain[p] = is_alive(p) && place->segment && place->joined
					 ? place->segment->member_word << 10 | place->segment->member_id : 0;
	}
}

static bool is_alone(void)
{
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (&sim_threads[t] != sim_current &&
		    (sim_threads[t].state == SIM_READY || sim_threads[t].state == SIM_BLOCKED))
			return false;
	return true;
}

static void check_members(struct shmkit_segment *segment, const uint64_t certain[FIXTURE_PROCESSES],
			  const bool dead[FIXTURE_PROCESSES])
{
	struct shmkit_member_info info = { .struct_size = sizeof(info) };
	bool seen[FIXTURE_PROCESSES] = { false };
	uint64_t still[FIXTURE_PROCESSES];
	uint32_t cursor = 0;
	int result;

	while ((result = shmkit_segment_next_member(segment, &cursor, &info)) == 1) {
		unsigned process = (unsigned)(info.pid - 1000);

		if (process >= FIXTURE_PROCESSES) {
			sim_fail("member %u has the pid %d", info.id, info.pid);
			return;
		}
		seen[process] = true;
		/* a newcomer may have its lock for a moment, before it sees that the id is not FREE */
		if (info.alive && dead[process] && is_alone())
			sim_fail("process %u is dead, and was shown alive", process);
		if (!info.alive && is_alive(process))
			sim_fail("process %u is alive, and was shown dead", process);
	}
	expect(result, 0, "next_member");
	members_for_certain(still);
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		if (certain[p] && still[p] == certain[p] && !seen[p] && !sim_weak)
			sim_fail("process %u is a member, and was not shown", p);
}

static void count_through(struct shmkit_segment *segment, struct sim_thread *thread)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	uint64_t certain[FIXTURE_PROCESSES], still[FIXTURE_PROCESSES];
	bool dead[FIXTURE_PROCESSES];
	unsigned least = 0;
	int result;

	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		dead[p] = sim_world.processes[p].exists && !is_alive(p);
	members_for_certain(certain);
	result = shmkit_segment_get_info(segment, &info);
	if (segment == HERE->segment && was_orphan(thread, result))
		return;
	expect(result, 0, "get_info");
	members_for_certain(still);
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		least += certain[p] && still[p] == certain[p];
	if ((info.members < least && !sim_weak) || info.members > MEMBERS)
		sim_fail("%u members were counted, there are %u", info.members, least);
	check_members(segment, certain, dead);
}

/* As a member, or as an observer who is none. */
static void count(struct sim_thread *thread)
{
	struct shmkit_segment *own = NULL;
	int result;

	if (HERE->segment) {
		count_through(HERE->segment, thread);
		return;
	}
	result = shmkit_segment_open("s", SHMKIT_READ_ONLY, &own);
	if (result == -EBUSY && sim_freezes)
		return;
	expect(result, 0, "open read-only");
	if (own)
		count_through(own, thread);
	shmkit_segment_close(own);
}

/* ---- fork ---- */

static void *copied(const void *from, size_t size)
{
	void *to = sim_calloc(1, size);

	memcpy(to, from, size);
	return to;
}

/* As fork() leaves them in the child, whose memory has other addresses here. */
static void copy_handles(const struct place *from, struct place *to)
{
	size_t counts = from->segment->geometry.max_entries * sizeof(uint32_t);

	*to = *from;
	to->joined = false;
	to->forked = true;
	to->segment = copied(from->segment, sizeof(*from->segment));
	to->segment->open_counts = copied(from->segment->open_counts, counts);
	if (from->queue) {
		to->queue = copied(from->queue, sizeof(*from->queue));
		to->queue->object.segment = to->segment;
		if (from->queue->held)
			to->queue->held = copied(from->queue->held,
						 (from->queue->mask + 1) * sizeof(*from->queue->held));
	}
	if (from->value) {
		to->value = copied(from->value, ((const struct shk_object *)from->value)->kind->handle_size);
		((struct shk_object *)to->value)->segment = to->segment;
	}
}

static void run_child(struct sim_thread *thread)
{
	struct program *program = program_of(thread);

	for (program->at = 0; program->at < program->count; program->at++)
		scenario.operate(thread, program->operations[program->at]);
	program->ended = true;
}

static void fork_process(struct sim_thread *thread)
{
	/* it uses what it has and keeps it, or leaves, or leaves without having used anything */
	static const unsigned first[] = { LEASE_KEEP, LEASE_ACK, LEAVE, LOCK, COUNT };
	unsigned parent = thread->process, child, chosen;
	struct program *program;
	sigset_t saved;

	if (!HERE->segment)
		return;
	open_queue(thread);
	shk_process_enter(&saved);
	if (forks == FORKS || sim_threads[SIM_THREADS - 1].state != SIM_UNUSED) {
		shk_process_leave(&saved);
		return;
	}
	program = &children[forks++];
	child = sim_process_fork(parent);
	places[child] = (struct place){ .segment = NULL };
	thread->process = child;            /* for a moment: whose memory it is */
	if (places[parent].segment)
		copy_handles(&places[parent], &places[child]);
	thread->process = parent;
	littered[child] = shares_process(thread);
	shk_process_leave(&saved);
	chosen = sim_choose(SIM_CASE, 5);
	*program = (struct program){ .actor = child, .count = chosen == 1 ? 2 : 1,
				     .operations = { first[chosen], LEAVE } };
	sim_thread_new(child, run_child, program);
}

/* ---- operations ---- */

static void add(struct sim_thread *thread)
{
	uint64_t begun;

	if (!open_value(thread))
		return;
	begun = sim_step;
	shmkit_atomic_u64_fetch_add(HERE->value, 1);
	added_ns = sim_world.now_ns;
	added_step = begun;
}

static void wait(struct sim_thread *thread)
{
	uint64_t seen, start;
	int result;

	if (!open_value(thread))
		return;
	seen = shmkit_atomic_u64_load(HERE->value);
	start = sim_step;
	thread->timed_out = false;
	result = shmkit_atomic_u64_wait(HERE->value, seen, INT64_C(120000000));
	if (was_orphan(thread, result))
		return;
	if (result == 0)
		check_wake(thread);
	else
		expect(result, -ETIMEDOUT, "wait");
	if (result && added_step > start && sim_world.now_ns - added_ns > INT64_C(60000000))
		sim_fail("a wait ended long after the change, and did not tell of it");
}

static void operate_joined(struct sim_thread *thread, unsigned operation)
{
	unsigned number;

	switch (operation) {
	case REPAIR:
		expect(was_orphan(thread, shmkit_segment_recover(HERE->segment, NULL)), 0, "recover");
		break;
	case LOCK:
		lock_table(thread);
		break;
	case LEASE_ACK:
	case LEASE_NACK:
	case LEASE_KEEP:
		number = lease(thread);
		if (number && operation == LEASE_ACK)
			ack(thread, number);
		else if (number && operation == LEASE_NACK)
			nack(thread, number);
		break;
	case FORK:
		fork_process(thread);
		break;
	case ADD:
		add(thread);
		break;
	case WAIT:
	case ADD_WAIT:
		if (operation == ADD_WAIT)
			add(thread);
		wait(thread);
		break;
	default:
		was_orphan(thread, shmkit_segment_heartbeat(HERE->segment));
		if (HERE->joined)
			expect(shmkit_segment_set_label(HERE->segment, "another label"), 0, "set_label");
	}
}

static void operate(struct sim_thread *thread, unsigned operation)
{
	/* what another thread of the process has opened: nothing tells this one of it */
	if (sim_weak && shares_process(thread))
		return;
	RUN.occupied = 0;
	note_occupied();
	switch (operation) {
	case JOIN:
	case JOIN_TWICE:
		join(thread);
		if (operation == JOIN_TWICE)
			join(thread);
		break;
	case LEAVE:
		if (!shares_process(thread))
			close_place(thread->process);
		break;
	case NEWCOMER:
	case ATTACH:
		if (become_another(thread))
			join(thread);
		if (operation == NEWCOMER)
			lease(thread);
		if (operation == NEWCOMER && HERE->segment)
			lock_table(thread);
		break;
	case COUNT:
		count(thread);
		break;
	default:
		if (HERE->segment)
			operate_joined(thread, operation);
	}
}

/* ---- states ---- */

static void must(int64_t result)
{
	if (result < 0) {
		fprintf(stderr, "set-up: %s\n", shmkit_last_error());
		abort();
	}
}

static void join_now(unsigned process)
{
	sim_act_as(process);
	must(shmkit_segment_open("s", 0, &places[process].segment));
	places[process].joined = true;
}

static void put_dead(bool leases, bool locks)
{
	unsigned process = sim_process_new();
	struct shmkit_slot slot;
	uint64_t word;

	join_now(process);
	must(shmkit_queue_open(places[process].segment, "q", FIXTURE_ELEMENT, &places[process].queue));
	if (leases)
		must(shmkit_queue_lease(places[process].queue, &slot));
	if (locks)
		must(shk_lock_word_acquire(places[process].segment,
					   &shk_header(places[process].segment)->table_lock, 0, "", &word));
	sim_process_kill(process);
	places[process] = (struct place){ .segment = NULL };
}

static void make(void)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .table = SHMKIT_TABLE_CUSTOM, .max_entries = 2,
		.name_size = 8, .max_members = MEMBERS,
	};
	uint64_t payload[2];

	must(shmkit_segment_create("s", SIZE, &options, &fixture_segments[0]));
	places[0] = (struct place){ .segment = fixture_segments[0], .joined = true };
	must(shmkit_queue_create(fixture_segments[0], "q", FIXTURE_ELEMENT, ELEMENTS, NULL,
				 &places[0].queue));
	must(shmkit_atomic_u64_create(fixture_segments[0], "v", 7, &places[0].value));
	for (unsigned i = 1; i < ELEMENTS; i++) {
		fixture_encode(payload, i);
		must(shmkit_queue_enqueue(places[0].queue, payload));
	}
	for (unsigned i = 1; i <= SCENARIO_ACTORS; i++)
		sim_process_new();
}

static void build(unsigned state)
{
	unsigned dead = state == DEAD_TWO ? 2 : state == ALL_DEAD ? 3 : state >= ONE_DEAD;

	memset(places, 0, sizeof(places));
	make();
	if (state != ALONE && state != ALL_DEAD)
		join_now(1);
	if (state != ALONE && state != ALL_DEAD && state != DEAD_TWO)
		join_now(2);
	if (state == FULL)
		join_now(3);
	for (unsigned i = 0; i < dead; i++)
		put_dead(state == DEAD_LEASE || state == ALL_DEAD, state == DEAD_LOCK);
	sim_act_as(0);
	memcpy(places_at[state], places, sizeof(places));
}

static void begin(unsigned state)
{
	memcpy(places, places_at[state], sizeof(places));
	memset(elements, 0, sizeof(elements));
	memset(runs, 0, sizeof(runs));
	memset(littered, 0, sizeof(littered));
	fixture_segments[0] = places[0].segment;
	lock_holder = newcomers = forks = 0;
	added_step = 0;
	left_over = state >= ONE_DEAD;
	sim_on_point = on_point;
}

/* ---- the audit ---- */

static void settle_dead(void)
{
	/* a child that has left, but for what another thread of its parent was about to open */
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		if (littered[p] && !places[p].segment)
			sim_process_kill(p);
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (sim_threads[t].state == SIM_DEAD && runs[t].settling && runs[t].settled)
			elements[runs[t].settling].done = true;
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		if (!is_alive(p))
			places[p] = (struct place){ .segment = NULL };
}

/* Each living member has its id, and its lock; no id has two. */
static void check_registry(void)
{
	unsigned live = 0, members = 0;

	for (uint32_t id = 0; id < MEMBERS; id++)
		live += (shk_member(fixture_segments[0], id)->word & SHK_MEMBER_LIVE) != 0;
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++) {
		const struct shmkit_segment *segment = places[p].segment;

		if (!segment || segment->joined_epoch != sim_world.processes[p].page.epoch)
			continue;
		members++;
		if (shk_member(segment, segment->member_id)->word != segment->member_word)
			sim_fail("process %u has lost its id %u", p, segment->member_id);
		for (unsigned q = 0; q < p; q++)
			if (places[q].segment && places[q].segment->member_id == segment->member_id)
				sim_fail("processes %u and %u have one id", q, p);
	}
	if (live != members || occupied() != members)
		sim_fail("%u members, %u ids, %u locks", members, live, occupied());
}

/* What the living hold is theirs to the end. */
static void settle_living(void)
{
	for (unsigned i = 1; i < ELEMENTS; i++) {
		struct element *element = &elements[i];

		if (!element->holder || !is_alive(element->holder))
			continue;
		sim_act_as(element->holder);
		expect(shmkit_queue_ack(places[element->holder].queue, &element->slot), 0, "ack at the end");
		element->done = true;
	}
	sim_act_as(0);
}

static void close_everybody(void)
{
	for (unsigned p = 1; p < FIXTURE_PROCESSES; p++) {
		unsigned left = 0;

		if (!is_alive(p))
			continue;
		sim_act_as(p);
		close_place(p);
		if (littered[p]) {
			sim_process_kill(p);
			continue;
		}
		for (unsigned m = 0; m < SIM_MAPPINGS; m++)
			left += sim_world.processes[p].mappings[m].description >= 0;
		for (unsigned fd = 0; fd < SIM_FDS; fd++)
			left += sim_world.processes[p].fds[fd] >= 0;
		if (left || sim_heap_blocks(p))
			sim_fail("process %u has left, and has %u descriptors and mappings, %u blocks", p,
				 left, sim_heap_blocks(p));
	}
	sim_act_as(0);
	if (!sim_world.files[0].linked)
		sim_fail("the name was taken away while there is a member");
}

static void drain(void)
{
	unsigned got[ELEMENTS] = { 0 };
	uint64_t payload[2];

	sim_tick(INT64_C(30000000));
	while (shmkit_queue_dequeue(places[0].queue, payload) == 0)
		got[fixture_decode(payload, ELEMENTS)]++;
	for (unsigned i = 1; i < ELEMENTS; i++)
		if (got[i] != !elements[i].done)
			sim_fail("element %u came %u times at the end", i, got[i]);
}

static void take_all_ids(void)
{
	struct shmkit_segment *taken[MEMBERS] = { NULL };

	for (unsigned i = 0; i < MEMBERS; i++)
		expect(shmkit_segment_open("s", 0, &taken[i]), i + 1 < MEMBERS ? 0 : -EUSERS,
		       "open at the end");
	for (unsigned i = 0; i < MEMBERS; i++)
		shmkit_segment_close(taken[i]);
}

static void audit(void)
{
	sim_on_point = NULL;
	settle_dead();
	fixture_recover();
	check_registry();
	if (shk_lock_is_held(shk_header(fixture_segments[0])->table_lock))
		sim_fail("the lock is held by nobody");
	settle_living();
	close_everybody();
	fixture_recover();
	check_registry();
	drain();
	take_all_ids();
	expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}

const struct scenario scenario = {
	.name = "members",
	.states = STATES,
	.state_names = state_names,
	.operations = ADD_WAIT + 1,
	.operation_names = operation_names,
	.extra = OPERATIONS - ADD_WAIT - 1,
	.repair = REPAIR,
	.attach = ATTACH,
	.build = build,
	.begin = begin,
	.operate = operate,
	.audit = audit,
};
