/* What members do, and whether what they are told is right: members_oracle.h. */
#include "members_oracle.h"

#include "lock.h"
#include "object.h"

#include <errno.h>
#include <string.h>

const char *const members_operation_names[] = {
	"join", "leave", "newcomer", "repair",   "lock",   "count",      "lease-ack", "lease-keep",
	"fork", "add",   "wait",     "add-wait", "attach", "lease-nack", "beat",      "join-twice",
};

/* ---- joining and leaving ---- */

static struct shmkit_segment *open_segment(void)
{
	struct shmkit_segment *segment = NULL;
	int result = shmkit_segment_open("s", 0, &segment);

	if (result == 0)
		return segment;
	if (!(result == -EUSERS && members_were_all_taken()) && !(result == -EBUSY && sim_freezes))
		sim_fail("open: %d: %s", result, shmkit_last_error());
	return NULL;
}

static void join(struct sim_thread *thread)
{
	struct shmkit_segment *segment = open_segment();

	if (!segment)
		return;
	if (MEMBERS_HERE->segment) {
		shmkit_segment_close(segment); /* a member of its own for a while */
		return;
	}
	MEMBERS_HERE->segment = segment;
	MEMBERS_HERE->joined = true;
}

/* What a process holds goes back to the others as soon as it begins to close. */
void members_close(unsigned process)
{
	struct members_place place = members_known.places[process];

	for (unsigned i = 1; i < MEMBERS_ELEMENTS; i++)
		if (members_known.elements[i].holder == process)
			members_known.elements[i].holder = 0;
	members_known.places[process] = (struct members_place){ .segment = NULL };
	shmkit_queue_close(place.queue);
	shmkit_atomic_u64_close(place.value);
	shmkit_segment_close(place.segment);
}

static bool become_another(struct sim_thread *thread)
{
	unsigned process;

	if (fixture_shares_process(thread) || members_known.newcomers == MEMBERS_NEWCOMERS)
		return false;
	members_known.newcomers++;
	process = sim_process_new();
	members_known.places[process] = (struct members_place){ .segment = NULL };
	thread->process = process;
	shk_process = &sim_world.processes[process].page;
	return true;
}

/* ---- what members do ---- */

/* A call that a child could not make because it found no id. */
static bool was_orphan(struct sim_thread *thread, int64_t result)
{
	if (result != -ECHILD) {
		MEMBERS_HERE->joined = true;
		MEMBERS_HERE->forked = false;
		return false;
	}
	if (!MEMBERS_HERE->forked || !members_were_all_taken())
		sim_fail("-ECHILD: %s", shmkit_last_error());
	return true;
}

static bool open_queue(struct sim_thread *thread)
{
	struct shmkit_queue *queue = NULL;
	int result;

	if (!MEMBERS_HERE->segment || MEMBERS_HERE->queue)
		return MEMBERS_HERE->segment != NULL;
	result = shmkit_queue_open(MEMBERS_HERE->segment, "q", FIXTURE_ELEMENT, &queue);
	if (was_orphan(thread, result))
		return false;
	members_expect(result, 0, "queue_open");
	if (MEMBERS_HERE->queue)
		shmkit_queue_close(queue);
	else
		MEMBERS_HERE->queue = queue;
	return true;
}

static bool open_value(struct sim_thread *thread)
{
	struct shmkit_atomic_u64 *value = NULL;
	int result;

	if (!MEMBERS_HERE->segment || MEMBERS_HERE->value)
		return MEMBERS_HERE->segment != NULL;
	result = shmkit_atomic_u64_open(MEMBERS_HERE->segment, "v", &value);
	if (was_orphan(thread, result))
		return false;
	members_expect(result, 0, "atomic_open");
	if (MEMBERS_HERE->value)
		shmkit_atomic_u64_close(value);
	else
		MEMBERS_HERE->value = value;
	return true;
}

static unsigned lease(struct sim_thread *thread)
{
	struct shmkit_slot slot;
	uint64_t payload[2];
	struct members_element *element;
	unsigned number;
	int result;

	if (!open_queue(thread))
		return 0;
	result = shmkit_queue_lease(MEMBERS_HERE->queue, &slot);
	if (was_orphan(thread, result) || result == -EAGAIN)
		return 0;
	members_expect(result, 0, "lease");
	if (result)
		return 0;
	sim_memcpy(payload, slot.data, sizeof(payload));
	number = fixture_decode(payload, MEMBERS_ELEMENTS);
	element = &members_known.elements[number];
	if (element->done)
		sim_fail("element %u was acked, and is delivered again", number);
	if (element->holder && members_is_alive(element->holder))
		sim_fail("element %u is with process %u, which is alive, and is delivered to %u",
			 number, element->holder, thread->process);
	element->holder = thread->process;
	element->slot = slot;
	return number;
}

static void ack(struct sim_thread *thread, unsigned number)
{
	struct shmkit_slot slot = members_known.elements[number].slot;

	MEMBERS_RUN.settled = false;
	MEMBERS_RUN.settling = number;
	members_known.elements[number].holder = 0; /* from now on the points tell */
	members_expect(shmkit_queue_ack(MEMBERS_HERE->queue, &slot), 0, "ack");
	members_known.elements[number].done = true;
	MEMBERS_RUN.settling = 0;
}

static void nack(struct sim_thread *thread, unsigned number)
{
	struct shmkit_slot slot = members_known.elements[number].slot;

	members_known.elements[number].holder = 0;
	members_expect(shmkit_queue_nack(MEMBERS_HERE->queue, &slot), 0, "nack");
}

static void check_wake(const struct sim_thread *thread)
{
	if (!members_known.left_over)
		fixture_check_wake(thread);
}

static void lock_table(struct sim_thread *thread)
{
	struct shmkit_segment *segment = MEMBERS_HERE->segment;
	shk_u64 *lock = &shk_header(segment)->table_lock;
	uint64_t word;
	int result = shmkit_segment_member_id(segment);

	if (was_orphan(thread, result))
		return;
	thread->timed_out = false; /* it may have slept before, in joining */
	result = shk_lock_word_acquire(segment, lock, INT64_C(100000000), "the lock", &word);
	if (result == -EBUSY && sim_freezes)
		return;
	members_expect(result, 0, "lock");
	if (result)
		return;
	check_wake(thread);
	if (members_known.lock_holder && sim_threads[members_known.lock_holder].state != SIM_DEAD)
		sim_fail("threads %u and %u hold one lock", members_known.lock_holder, thread->id);
	members_known.lock_holder = thread->id;
	for (unsigned i = 0; i < 3; i++)
		sim_yield();
	if ((*lock ^ word) & ~SHK_LOCK_WAITERS)
		sim_fail("a lock was taken from a living one");
	members_known.lock_holder = 0;
	shk_lock_word_release(lock, word);
}

/* ---- counting ---- */

/* Members for certain: those who were told so, and have not begun to leave. Which one each is, or 0. */
static void members_for_certain(uint64_t ret_certain[FIXTURE_PROCESSES])
{
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++) {
		const struct members_place *place = &members_known.places[p];

		ret_certain[p] =
			members_is_alive(p) && place->segment && place->joined
				? place->segment->member_word << 10 | place->segment->member_id
				: 0;
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
		if (!info.alive && members_is_alive(process))
			sim_fail("process %u is alive, and was shown dead", process);
	}
	members_expect(result, 0, "next_member");
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
		dead[p] = sim_world.processes[p].exists && !members_is_alive(p);
	members_for_certain(certain);
	result = shmkit_segment_get_info(segment, &info);
	if (segment == MEMBERS_HERE->segment && was_orphan(thread, result))
		return;
	members_expect(result, 0, "get_info");
	members_for_certain(still);
	for (unsigned p = 0; p < FIXTURE_PROCESSES; p++)
		least += certain[p] && still[p] == certain[p];
	if ((info.members < least && !sim_weak) || info.members > MEMBERS_IDS)
		sim_fail("%u members were counted, there are %u", info.members, least);
	check_members(segment, certain, dead);
}

/* As a member, or as an observer who is none. */
static void count(struct sim_thread *thread)
{
	struct shmkit_segment *own = NULL;
	int result;

	if (MEMBERS_HERE->segment) {
		count_through(MEMBERS_HERE->segment, thread);
		return;
	}
	result = shmkit_segment_open("s", SHMKIT_READ_ONLY, &own);
	if (result == -EBUSY && sim_freezes)
		return;
	members_expect(result, 0, "open read-only");
	if (own)
		count_through(own, thread);
	shmkit_segment_close(own);
}

/* ---- fork ---- */

/* As fork() leaves them in the child, whose memory has other addresses here. */
static void copy_handles(const struct members_place *from, struct members_place *to)
{
	size_t counts = from->segment->geometry.max_entries * sizeof(uint32_t);

	*to = *from;
	to->joined = false;
	to->forked = true;
	to->segment = fixture_copied(from->segment, sizeof(*from->segment));
	to->segment->open_counts = fixture_copied(from->segment->open_counts, counts);
	if (from->queue) {
		to->queue = fixture_copied(from->queue, sizeof(*from->queue));
		to->queue->object.segment = to->segment;
		if (from->queue->held)
			to->queue->held =
				fixture_copied(from->queue->held,
				       (from->queue->mask + 1) * sizeof(*from->queue->held));
	}
	if (from->value) {
		to->value = fixture_copied(from->value,
				   ((const struct shk_object *)from->value)->kind->handle_size);
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
	static const unsigned first[] = { MEMBERS_LEASE_KEEP, MEMBERS_LEASE_ACK, MEMBERS_LEAVE,
					  MEMBERS_LOCK, MEMBERS_COUNT };
	unsigned parent = thread->process, child, chosen;
	struct program *program;
	sigset_t saved;

	if (!MEMBERS_HERE->segment)
		return;
	open_queue(thread);
	shk_process_enter(&saved);
	if (members_known.forks == MEMBERS_FORKS ||
	    sim_threads[SIM_THREADS - 1].state != SIM_UNUSED) {
		shk_process_leave(&saved);
		return;
	}
	program = &members_known.children[members_known.forks++];
	child = sim_process_fork(parent);
	members_known.places[child] = (struct members_place){ .segment = NULL };
	thread->process = child; /* for a moment: whose memory it is */
	if (members_known.places[parent].segment)
		copy_handles(&members_known.places[parent], &members_known.places[child]);
	thread->process = parent;
	members_known.littered[child] = fixture_shares_process(thread);
	shk_process_leave(&saved);
	chosen = sim_choose(SIM_CASE, 5);
	*program = (struct program){ .actor = child,
				     .count = chosen == 1 ? 2 : 1,
				     .operations = { first[chosen], MEMBERS_LEAVE } };
	sim_thread_new(child, run_child, program);
}

/* ---- operations ---- */

static void add(struct sim_thread *thread)
{
	uint64_t begun;

	if (!open_value(thread))
		return;
	begun = sim_step;
	shmkit_atomic_u64_fetch_add(MEMBERS_HERE->value, 1);
	members_known.added_ns = sim_world.now_ns;
	members_known.added_step = begun;
}

static void wait(struct sim_thread *thread)
{
	uint64_t seen, start;
	int result;

	if (!open_value(thread))
		return;
	seen = shmkit_atomic_u64_load(MEMBERS_HERE->value);
	start = sim_step;
	thread->timed_out = false;
	result = shmkit_atomic_u64_wait(MEMBERS_HERE->value, seen, INT64_C(120000000));
	if (was_orphan(thread, result))
		return;
	if (result == 0)
		check_wake(thread);
	else
		members_expect(result, -ETIMEDOUT, "wait");
	if (result && members_known.added_step > start &&
	    sim_world.now_ns - members_known.added_ns > INT64_C(60000000))
		sim_fail("a wait ended long after the change, and did not tell of it");
}

static void operate_joined(struct sim_thread *thread, unsigned operation)
{
	unsigned number;

	switch (operation) {
	case MEMBERS_REPAIR:
		members_expect(
			was_orphan(thread, shmkit_segment_recover(MEMBERS_HERE->segment, NULL)), 0,
			"recover");
		break;
	case MEMBERS_LOCK: lock_table(thread); break;
	case MEMBERS_LEASE_ACK:
	case MEMBERS_LEASE_NACK:
	case MEMBERS_LEASE_KEEP:
		number = lease(thread);
		if (number && operation == MEMBERS_LEASE_ACK)
			ack(thread, number);
		else if (number && operation == MEMBERS_LEASE_NACK)
			nack(thread, number);
		break;
	case MEMBERS_FORK: fork_process(thread); break;
	case MEMBERS_ADD: add(thread); break;
	case MEMBERS_WAIT:
	case MEMBERS_ADD_WAIT:
		if (operation == MEMBERS_ADD_WAIT)
			add(thread);
		wait(thread);
		break;
	default:
		was_orphan(thread, shmkit_segment_heartbeat(MEMBERS_HERE->segment));
		if (MEMBERS_HERE->joined)
			members_expect(
				shmkit_segment_set_label(MEMBERS_HERE->segment, "another label"), 0,
				"set_label");
	}
}

void members_operate(struct sim_thread *thread, unsigned operation)
{
	/* what another thread of the process has opened: nothing tells this one of it */
	if (sim_weak && fixture_shares_process(thread))
		return;
	MEMBERS_RUN.occupied = 0;
	members_note_occupied();
	switch (operation) {
	case MEMBERS_JOIN:
	case MEMBERS_JOIN_TWICE:
		join(thread);
		if (operation == MEMBERS_JOIN_TWICE)
			join(thread);
		break;
	case MEMBERS_LEAVE:
		if (!fixture_shares_process(thread))
			members_close(thread->process);
		break;
	case MEMBERS_NEWCOMER:
	case MEMBERS_ATTACH:
		if (become_another(thread))
			join(thread);
		if (operation == MEMBERS_NEWCOMER)
			lease(thread);
		if (operation == MEMBERS_NEWCOMER && MEMBERS_HERE->segment)
			lock_table(thread);
		break;
	case MEMBERS_COUNT: count(thread); break;
	default:
		if (MEMBERS_HERE->segment)
			operate_joined(thread, operation);
	}
}
