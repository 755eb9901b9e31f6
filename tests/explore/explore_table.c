/*
 * The name table and the space of a segment under exploration.
 *
 *	names        made and removed in turns; an answer that a name is there, or is not, was true
 *	             at some moment of the call; what is made lives until it is removed, whoever dies
 *	handles      -ESTALE as soon as the structure is removed; what is read through a handle was
 *	             written through one on the same structure: no extent is used twice at once, for
 *	             members and for observers in read-only segments
 *	regained     at the end every byte and every entry can be had again
 *
 * Every writer writes the mark of the structure that its handle means (entry and generation), so
 * that one look at a word tells whose memory it is.
 */
#include "fixture.h"

#include "lock.h"
#include "member.h"
#include "object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS 6u
#define ENTRIES 4u
#define SIZE 8192u
#define MAX_SIZE 12288u
#define ROOM 512u                           /* bytes that the filler leaves */
#define WORDS 7u                            /* of a small array; the schema takes one more */
#define GENERATIONS (UINT64_C(1) << 51)

enum {
	CREATE, RECREATE, OPEN, OPEN_OR_CREATE, WRITE, CLOSE, REMOVE, OBSERVE, REPLACE, WALK, REPAIR, NEWCOMER,
	CREATE_ATOMIC, CREATE_LARGE, GROW, CHECK, INFO, OBSERVE_KEEP, OBSERVE_END, WAIT_FOR, CREATE_QUEUE,
	CREATE_POOL, REMOVE_X, LEAVE, ATTACH, OPERATIONS
};

static const char *const operation_names[] = {
	"create", "recreate", "open", "open-or-create", "write", "close", "remove", "observe", "replace", "walk",
	"repair", "newcomer", "create-atomic", "create-large", "grow", "check", "info", "observe-keep",
	"observe-end", "wait-for", "create-queue", "create-pool", "remove-x", "leave", "attach",
};

enum { EMPTY, ONE, OPENED, FULL, DYING, HOLE, LEFT_INIT, LEFT_REAP, LEFT_LOCK, WRAP, STATES };

static const char *const state_names[] = {
	"empty", "one array", "one array open in two", "full table", "one removed, and open in two",
	"a hole between two", "INIT of a dead one", "REAP of a dead one", "locked by a dead one",
	"near the wrap of the generations",
};

enum { A, B, C, X, Y, FILLER, NAMES };

static const char *const names[] = { "a", "b", "c", "x", "y", "fill" };

static const char schema[] = "v:u64";
static const struct shmkit_object_options with_schema = { .struct_size = sizeof(with_schema), .schema = schema };

static const struct what {
	uint32_t kind, element_size;
	uint64_t capacity;
	const struct shmkit_object_options *options;
} small = { SHMKIT_KIND_ARRAY, 8, WORDS, &with_schema }, value = { SHMKIT_KIND_ATOMIC_U64, 8, 1, NULL },
  large = { SHMKIT_KIND_ARRAY, 8, 56, NULL }, queue = { SHMKIT_KIND_QUEUE, 16, 4, NULL },
  pool = { SHMKIT_KIND_POOL, 8, 3, NULL };

/* ---- what is known of a run ---- */

/* The handles of a process: one on each name, one of its observer's. */
static struct hands {
	struct shk_object *held[NAMES];
	struct shmkit_segment *observer;
	struct shk_object *seen;
} hands[FIXTURE_PROCESSES], hands_at[STATES][FIXTURE_PROCESSES];

static struct shmkit_segment *segments_at[FIXTURE_PROCESSES];
static uint64_t filled_at[STATES], filled;  /* word of the array whose words all hold its mark */

static struct {
	bool live;
	uint32_t kind;                      /* while it is there */
	uint64_t changed;                   /* when it came or went */
	struct { uint64_t until; uint32_t kind; } before[4];   /* those that went last */
	unsigned gone;
} known[NAMES], known_at[STATES][NAMES];

static struct { unsigned name; uint32_t kind; } runs[SIM_THREADS];
static bool left_over;                      /* somebody died before the run */
static uint64_t claims;                     /* bytes taken at first and asked for since */
static unsigned entries_claimed;

#define RUN (runs[thread->id])
#define MINE (hands[thread->process])

static struct shmkit_segment *segment_of(const struct sim_thread *thread)
{
	return fixture_segments[thread->process];
}

static void expect(int64_t result, int64_t expected, const char *what)
{
	if (result != expected)
		sim_fail("%s: %lld instead of %lld: %s", what, (long long)result, (long long)expected,
			 shmkit_last_error());
}

/* ---- marks ---- */

static uint64_t mark_of(const struct shk_object *object)
{
	return (uint64_t)(object->entry + 1) << 56 | (shk_entry_generation(object->live_word) & 0xffffffffffff);
}

static void check_word(const struct shk_object *object, uint64_t word, const char *who)
{
	if (word == mark_of(object) || (word == 0 && (object->live_word != filled || object->entry != 1)))
		return;
	sim_fail("%s found 0x%llx in the structure of mark 0x%llx", who, (unsigned long long)word,
		 (unsigned long long)mark_of(object));
}

/* Is it what it was when the handle was made? */
static bool is_current(const struct shk_object *object)
{
	return *object->entry_word == object->live_word;
}

/* An answer through a handle: 0 only if it was current at first, -ESTALE only if it is not now. */
static bool answered(const struct shk_object *object, int64_t result, bool was_current, const char *what)
{
	if (result == -ESTALE && is_current(object))
		sim_fail("%s: -ESTALE on a structure that is there", what);
	else if (result != -ESTALE && result < 0)
		sim_fail("%s: %s", what, shmkit_last_error());
	else if (result >= 0 && !was_current && !sim_weak)
		sim_fail("%s: no -ESTALE on a structure that was removed", what);
	return result >= 0;
}

/* ---- through a handle ---- */

static void read_array(const struct sim_thread *thread, struct shk_object *object, const char *who)
{
	bool current = is_current(object);
	uint64_t words[WORDS];
	/* an array orders nothing: where that counts everybody looks at his own word */
	unsigned first = sim_weak ? thread->id : 0, count = sim_weak ? 1 : WORDS;

	if (!answered(object, shmkit_array_read((struct shmkit_array *)object, first, count, words), current, who))
		return;
	for (unsigned i = 0; i < count; i++)
		check_word(object, words[i], who);
}

static void write_array(struct sim_thread *thread, struct shk_object *object)
{
	struct shmkit_array *array = (struct shmkit_array *)object;
	bool current = is_current(object);
	uint64_t mark = mark_of(object), *place;

	answered(object, shmkit_array_write(array, thread->id, 1, &mark), current, "array_write");
	/* an address may be used as long as the handle is open, whatever has become of the structure */
	place = shmkit_array_at(array, thread->id);
	if (place)
		sim_memcpy(place, &mark, sizeof(mark));
}

static void use_queue(struct shk_object *object)
{
	uint64_t element[2] = { mark_of(object), ~mark_of(object) };
	bool current = is_current(object);
	int result = shmkit_queue_enqueue((struct shmkit_queue *)object, element);

	if (result != -EAGAIN)
		answered(object, result, current, "enqueue");
	current = is_current(object);
	result = shmkit_queue_dequeue((struct shmkit_queue *)object, element);
	if (result != -EAGAIN && answered(object, result, current, "dequeue") &&
	    (element[0] != mark_of(object) || element[1] != ~mark_of(object)))
		sim_fail("dequeued 0x%llx of another structure", (unsigned long long)element[0]);
}

static void use_pool(struct shk_object *object)
{
	struct shmkit_pool *own = (struct shmkit_pool *)object;
	bool current = is_current(object);
	uint64_t handle, mark = mark_of(object), found, *place;
	int result = shmkit_pool_acquire(own, &handle);

	if (result == -EAGAIN || !answered(object, result, current, "acquire"))
		return;
	place = shmkit_pool_get(own, handle);
	if (place) {
		sim_memcpy(place, &mark, sizeof(mark));
		sim_memcpy(&found, place, sizeof(found));
		check_word(object, found, "pool_get");
	}
	current = is_current(object);
	answered(object, shmkit_pool_release(own, handle), current, "release");
}

static void use(struct sim_thread *thread, struct shk_object *object)
{
	switch (object->shape.kind) {
	case SHMKIT_KIND_ARRAY:
		write_array(thread, object);
		read_array(thread, object, "array_read");
		break;
	case SHMKIT_KIND_QUEUE:
		use_queue(object);
		break;
	case SHMKIT_KIND_POOL:
		use_pool(object);
		break;
	default:
		check_word(object, shmkit_atomic_u64_exchange((struct shmkit_atomic_u64 *)object, mark_of(object)),
			   "exchange");
	}
}

/* ---- names ---- */

static bool shares_process(const struct sim_thread *thread)
{
	for (unsigned t = 1; t < SIM_THREADS; t++)
		if (&sim_threads[t] != thread && sim_threads[t].state != SIM_UNUSED &&
		    sim_threads[t].process == thread->process)
			return true;
	return false;
}

/* The handle that the process has on that name from now on; the one it had is closed. */
static void keep(struct sim_thread *thread, unsigned name, struct shk_object *object)
{
	struct shk_object *before = MINE.held[name];

	if (before && shares_process(thread)) {
		shk_object_close(object);
		return;
	}
	MINE.held[name] = object;
	shk_object_close(before);
}

static bool was_there(unsigned name, uint64_t start)
{
	return !sim_weak && known[name].live && known[name].changed <= start;
}

static bool was_away(unsigned name, uint64_t start)
{
	return !sim_weak && !known[name].live && known[name].changed <= start;
}

/* Was there one of another kind under that name in the call's time? */
static bool was_other(unsigned name, const struct what *what, uint64_t start)
{
	for (unsigned i = 0; i < 4; i++)
		if (known[name].before[i].until > start && known[name].before[i].kind != what->kind)
			return true;
	return known[name].live && known[name].kind != what->kind;
}

static void refused(unsigned name, const struct what *what, int result, uint64_t start)
{
	bool fits = claims <= SIZE && (what == &small || what == &value) && entries_claimed <= ENTRIES;

	if (result == -EBUSY && sim_freezes)
		return;
	if (result == -ENOSPC && !fits)
		return;
	if (result == -EEXIST && !was_away(name, start))
		return;
	if (result == -ENOENT && !was_there(name, start))
		return;
	if (result == -EPROTOTYPE && (sim_weak || was_other(name, what, start)))
		return;
	sim_fail("'%s' refused: %d: %s", names[name], result, shmkit_last_error());
}

static void check_wake(const struct sim_thread *thread)
{
	if (!left_over)
		fixture_check_wake(thread);
}

static void create(struct sim_thread *thread, unsigned name, const struct what *what, bool opens)
{
	struct shk_object *object = NULL;
	uint64_t start = sim_step, size;
	int result;

	RUN.name = name;
	RUN.kind = what->kind;
	expect(shmkit_object_footprint(what->kind, what->element_size, what->capacity, what->options, &size), 0,
	       "footprint");
	claims += size;
	entries_claimed++;
	result = (opens ? shk_object_open_or_create : shk_object_create)(
		segment_of(thread), names[name], what->kind, what->element_size, what->capacity,
		what->options, 0, &object);
	if (result < 0) {
		if (result == -EEXIST)
			check_wake(thread);
		refused(name, what, result, start);
		return;
	}
	if (result == 0 && opens && was_away(name, start))
		sim_fail("opened '%s', which was not there", names[name]);
	use(thread, object);
	keep(thread, name, object);
}

/* As an array or as an atomic, whatever it is. */
static int open_any(struct shmkit_segment *segment, unsigned name, struct shk_object **ret_object)
{
	int result = shk_object_open(segment, names[name], small.kind, small.element_size, ret_object);

	if (result == -EPROTOTYPE)
		result = shk_object_open(segment, names[name], value.kind, value.element_size, ret_object);
	return result;
}

static void open_and_write(struct sim_thread *thread, unsigned name)
{
	struct shk_object *object = NULL;
	uint64_t start = sim_step;
	int result = open_any(segment_of(thread), name, &object);

	if (result) {
		refused(name, &small, result, start);
		return;
	}
	if (was_away(name, start))
		sim_fail("opened '%s', which was not there", names[name]);
	use(thread, object);
	keep(thread, name, object);
}

static void look(struct sim_thread *thread, struct shk_object *object)
{
	if (object->shape.kind == SHMKIT_KIND_ARRAY)
		read_array(thread, object, "an observer");
	else
		check_word(object, shmkit_atomic_u64_load((struct shmkit_atomic_u64 *)object), "an observer");
}

static void observe(struct sim_thread *thread, bool keeps)
{
	struct shk_object *object = MINE.seen;
	uint64_t start = sim_step;
	int result;

	if (!MINE.observer || shares_process(thread))
		return;
	MINE.seen = NULL;
	if (!object) {
		result = open_any(MINE.observer, A, &object);
		if (result) {
			refused(A, &small, result, start);
			return;
		}
	}
	look(thread, object);
	if (keeps)
		MINE.seen = object;
	else
		shk_object_close(object);
}

static void remove_name(struct sim_thread *thread, unsigned name)
{
	uint64_t start = sim_step;
	int result;

	RUN.name = name;
	result = shmkit_segment_remove(segment_of(thread), names[name]);
	if (result)
		refused(name, &small, result, start);
}

/* What is told of a structure that goes meanwhile is true of it all the same, or empty. */
static void check_entry_info(const struct shmkit_entry_info *info)
{
	if (info->used > info->capacity)
		sim_fail("'%s' has %llu of %llu elements", info->name, (unsigned long long)info->used,
			 (unsigned long long)info->capacity);
	if (info->schema[0] && strcmp(info->schema, schema) != 0)
		sim_fail("'%s' has the schema '%s'", info->name, info->schema);
}

static void walk(struct sim_thread *thread)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	uint64_t start = sim_step;
	uint32_t cursor = 0;
	unsigned seen[NAMES] = { 0 };
	int result;

	while ((result = shmkit_segment_next_entry(segment_of(thread), &cursor, &info)) == 1) {
		for (unsigned i = 0; i < NAMES; i++)
			seen[i] += strcmp(info.name, names[i]) == 0;
		check_entry_info(&info);
	}
	expect(result, 0, "next_entry");
	for (unsigned i = 0; i < NAMES; i++) {
		if (was_there(i, start) ? seen[i] != 1 : was_away(i, start) && seen[i])
			sim_fail("a walk met '%s' %u times", names[i], seen[i]);
	}
}

static void inform(struct sim_thread *thread)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct shk_object *object = MINE.held[A];

	expect(shmkit_segment_get_info(segment_of(thread), &info), 0, "segment_get_info");
	if (info.entries > ENTRIES || info.overhead != segment_of(thread)->geometry.data_offset)
		sim_fail("info: %u entries, %llu bytes used", info.entries, (unsigned long long)info.used);
	if (object && !(sim_weak && shares_process(thread))) {
		bool current = is_current(object);

		if (answered(object, shk_object_get_info(object, &entry), current, "get_info") &&
		    (strcmp(entry.name, "a") != 0 || entry.offset != object->offset))
			sim_fail("get_info told of '%s' at %llu", entry.name, (unsigned long long)entry.offset);
		check_entry_info(&entry);
	}
}

static void wait_for(struct sim_thread *thread)
{
	uint64_t start = sim_step;
	int result = shmkit_segment_wait_for(segment_of(thread), "a", INT64_C(120000000));

	if (result == 0)
		check_wake(thread);
	else if (result != -ETIMEDOUT || was_there(A, start))
		sim_fail("wait_for: %d: %s", result, shmkit_last_error());
}

static void grow(struct sim_thread *thread)
{
	int result = shmkit_segment_grow(segment_of(thread), MAX_SIZE);

	claims = MAX_SIZE;                  /* what fits is not counted any more */
	if (result != -EBUSY || !sim_freezes)
		expect(result, 0, "grow");
}

static void close_all(unsigned process)
{
	struct hands *own = &hands[process];

	for (unsigned i = 0; i < NAMES; i++) {
		shk_object_close(own->held[i]);
		own->held[i] = NULL;
	}
	shk_object_close(own->seen);
	own->seen = NULL;
}

static void leave_and_open(struct sim_thread *thread)
{
	struct shmkit_segment *segment = segment_of(thread);
	int result;

	if (shares_process(thread))
		return;
	close_all(thread->process);
	fixture_segments[thread->process] = NULL;
	shmkit_segment_close(segment);
	result = shmkit_segment_open("s", 0, &fixture_segments[thread->process]);
	if (result)
		program_of(thread)->count = 0;
	/* newcomers may have taken its place; and one who stands still in a close */
	if (result != -EUSERS && (result != -EBUSY || !sim_freezes))
		expect(result, 0, "open");
}

static void attach(struct sim_thread *thread)
{
	if (shares_process(thread))
		return;
	for (unsigned i = 0; i < FIXTURE_PROCESSES; i++)
		if (!sim_world.processes[i].exists) {
			fixture_segments[i] = NULL;
			hands[i] = (struct hands){ .seen = NULL };
		}
	if (!fixture_attach(thread))
		program_of(thread)->count = 0;
}

static void operate_more(struct sim_thread *thread, unsigned operation)
{
	switch (operation) {
	case WALK:
		walk(thread);
		break;
	case REPAIR:
		expect(shmkit_segment_recover(segment_of(thread), NULL), 0, "recover");
		break;
	case GROW:
		grow(thread);
		break;
	case CHECK:
		expect(shmkit_segment_check(segment_of(thread)), 0, "check");
		break;
	case INFO:
		inform(thread);
		break;
	case WAIT_FOR:
		wait_for(thread);
		break;
	case CREATE_QUEUE:
		create(thread, C, &queue, false);
		break;
	case CREATE_POOL:
		create(thread, C, &pool, true);
		break;
	case REMOVE_X:
		remove_name(thread, X);
		break;
	case LEAVE:
		leave_and_open(thread);
		break;
	default:
		attach(thread);
	}
}

static void operate(struct sim_thread *thread, unsigned operation)
{
	thread->timed_out = false;
	switch (operation) {
	case CREATE:
	case CREATE_ATOMIC:
		create(thread, A, operation == CREATE ? &small : &value, false);
		break;
	case CREATE_LARGE:
		create(thread, B, &large, false);
		break;
	case OPEN:
		open_and_write(thread, A);
		break;
	case OPEN_OR_CREATE:
		create(thread, A, &small, true);
		break;
	case WRITE:
		/* a handle that another thread has made, and nothing tells this one of */
		for (unsigned i = 0; i < NAMES && !(sim_weak && shares_process(thread)); i++)
			if (MINE.held[i])
				use(thread, MINE.held[i]);
		break;
	case CLOSE:
		if (!shares_process(thread)) {
			struct shk_object *object = MINE.held[A];

			MINE.held[A] = NULL;
			shk_object_close(object);
		}
		break;
	case REMOVE:
		remove_name(thread, A);
		break;
	case OBSERVE:
	case OBSERVE_KEEP:
	case OBSERVE_END:
		if (operation != OBSERVE_END || MINE.seen)
			observe(thread, operation == OBSERVE_KEEP);
		break;
	case RECREATE:
		remove_name(thread, A);
		create(thread, A, &value, false);
		break;
	case NEWCOMER:
		/* perhaps under the id of a dead one */
		attach(thread);
		if (segment_of(thread) && !shares_process(thread))
			create(thread, A, &value, false);
		break;
	case REPLACE:
		/* what is made next comes where the first was, as soon as that may be */
		remove_name(thread, A);
		create(thread, C, &small, false);
		break;
	default:
		operate_more(thread, operation);
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

static void put(unsigned process, unsigned name, const struct what *what, uint64_t capacity)
{
	struct shk_object **object = &hands[process].held[name];

	must(shk_object_create(fixture_segments[process], names[name], what->kind, what->element_size, capacity,
			       name == FILLER ? NULL : what->options, 0, object));
}

/* As above, and closed again: it is there, and nobody has it open. */
static void put_alone(unsigned name, const struct what *what)
{
	put(0, name, what, what->capacity);
	if (what == &small) {
		uint64_t words[WORDS];

		for (unsigned i = 0; i < WORDS; i++)
			words[i] = mark_of(hands[0].held[name]);
		must(shmkit_array_write((struct shmkit_array *)hands[0].held[name], 0, WORDS, words));
		filled = hands[0].held[name]->live_word;
	}
	shk_object_close(hands[0].held[name]);
	hands[0].held[name] = NULL;
}

static void take(unsigned process, unsigned name)
{
	sim_act_as(process);
	must(open_any(fixture_segments[process], name, &hands[process].held[name]));
	sim_act_as(0);
}

static void see(unsigned process)
{
	sim_act_as(process);
	must(open_any(hands[process].observer, A, &hands[process].seen));
	sim_act_as(0);
}

/* A process that dies with the entry in its hands, or the lock. */
static void put_left_over(unsigned state)
{
	unsigned process = sim_process_new();
	struct shmkit_segment *segment;
	uint64_t word;

	sim_act_as(process);
	must(shmkit_segment_open("s", 0, &fixture_segments[process]));
	segment = fixture_segments[process];
	if (state == LEFT_LOCK) {
		must(shk_lock_word_acquire(segment, &shk_header(segment)->table_lock, 0, "", &word));
	} else {
		put(process, A, &small, WORDS);
		word = *hands[process].held[A]->entry_word;
		*hands[process].held[A]->entry_word =
			shk_entry_word(shk_entry_generation(word) + (state == LEFT_REAP),
				       state == LEFT_INIT ? SHK_ENTRY_INIT : SHK_ENTRY_REAP, segment->member_id);
	}
	sim_process_kill(process);
	sim_act_as(0);
	fixture_segments[process] = NULL;
	hands[process] = (struct hands){ .seen = NULL };
}

static void put_what_it_says(unsigned state)
{
	switch (state) {
	case ONE:
	case OPENED:
		put_alone(A, &small);
		break;
	case FULL:
		put_alone(A, &small);
		put_alone(X, &value);
		put_alone(Y, &value);
		break;
	case DYING:
		put_alone(A, &small);
		break;
	case HOLE:
		put_alone(A, &small);
		put_alone(X, &value);
		put_alone(Y, &value);
		must(shmkit_segment_remove(fixture_segments[0], "a"));
		break;
	case WRAP:
		for (uint32_t i = 1; i < ENTRIES; i++)
			shk_entry(fixture_segments[0], i)->word =
				shk_entry_word(GENERATIONS - 2, SHK_ENTRY_FREE, 0);
		put_alone(A, &small);
		break;
	case LEFT_INIT:
	case LEFT_REAP:
	case LEFT_LOCK:
		put_left_over(state);
		break;
	default:
		break;
	}
	if (state == OPENED || state == DYING) {
		take(1, A);
		take(2, A);
		see(1);
		see(3);
	}
	if (state == DYING)
		must(shmkit_segment_remove(fixture_segments[0], "a"));
}

static void build(unsigned state)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .table = SHMKIT_TABLE_CUSTOM, .max_entries = ENTRIES,
		.name_size = 8, .max_members = MEMBERS, .max_size = MAX_SIZE,
	};

	memset(hands, 0, sizeof(hands));
	memset(known, 0, sizeof(known));
	filled = 0;
	fixture_build_as(SIZE, &options, NULL);
	for (unsigned i = 1; i <= SCENARIO_ACTORS; i++) {
		sim_act_as(i);
		must(shmkit_segment_open("s", SHMKIT_READ_ONLY, &hands[i].observer));
	}
	sim_act_as(0);
	put(0, FILLER, &small, (SIZE - ROOM - fixture_segments[0]->geometry.data_offset) / 8);
	shk_object_close(hands[0].held[FILLER]);
	hands[0].held[FILLER] = NULL;
	put_what_it_says(state);
	for (unsigned i = 0; i < NAMES; i++) {
		known[i].live = shmkit_segment_find(fixture_segments[0], names[i], NULL) == 0;
		known[i].kind = i == A ? SHMKIT_KIND_ARRAY : SHMKIT_KIND_ATOMIC_U64;
	}
	memcpy(hands_at[state], hands, sizeof(hands));
	memcpy(known_at[state], known, sizeof(known));
	memcpy(segments_at, fixture_segments, sizeof(segments_at));
	filled_at[state] = filled;
}

static void on_point(const char *label)
{
	unsigned name = runs[sim_current->id].name;

	if (strcmp(label, "table.live") == 0) {
		if (known[name].live)
			sim_fail("'%s' was made while it was there", names[name]);
		known[name].live = true;
		known[name].kind = runs[sim_current->id].kind;
	} else if (strcmp(label, "table.dying") == 0) {
		if (!known[name].live)
			sim_fail("'%s' was removed while it was not there", names[name]);
		known[name].live = false;
		known[name].before[known[name].gone % 4].until = sim_step;
		known[name].before[known[name].gone++ % 4].kind = known[name].kind;
	} else {
		return;
	}
	known[name].changed = sim_step;
}

static void begin(unsigned state)
{
	const struct shmkit_segment *segment;

	memcpy(hands, hands_at[state], sizeof(hands));
	memcpy(known, known_at[state], sizeof(known));
	memcpy(fixture_segments, segments_at, sizeof(segments_at));
	memset(runs, 0, sizeof(runs));
	filled = filled_at[state];
	left_over = state == LEFT_INIT || state == LEFT_REAP || state == LEFT_LOCK;
	segment = fixture_segments[0];
	claims = segment->geometry.data_offset;
	entries_claimed = 0;
	for (uint32_t i = 0; i < ENTRIES; i++)
		if (shk_entry_state(shk_entry(segment, i)->word) != SHK_ENTRY_FREE) {
			claims += shk_entry(segment, i)->size;
			entries_claimed++;
		}
	sim_on_point = on_point;
}

/* ---- the audit ---- */

/* Each living process announces what it has open, no more and no less. */
static void check_announcements(void)
{
	for (unsigned p = 0; p < SIM_PROCESSES; p++) {
		const struct shmkit_segment *segment = fixture_segments[p];

		if (!sim_world.processes[p].alive || !segment)
			continue;
		for (uint32_t i = 0; i < ENTRIES; i++) {
			bool open = *shk_member_open_word(segment, segment->member_id, i) >> i & 1;

			if (open != (segment->open_counts[i] > 0))
				sim_fail("process %u has entry %u open %u times, and announces %d", p, i,
					 segment->open_counts[i], open);
		}
	}
}

static void check_table(bool closed)
{
	const struct shmkit_segment *segment = fixture_segments[0];
	uint64_t end[ENTRIES] = { 0 }, start[ENTRIES] = { 0 };
	unsigned count[NAMES] = { 0 };

	if (shk_lock_is_held(shk_header(segment)->table_lock))
		sim_fail("the table is locked by member %u", shk_lock_owner(shk_header(segment)->table_lock));
	for (uint32_t i = 0; i < ENTRIES; i++) {
		const struct shk_entry_shm *entry = shk_entry(segment, i);
		unsigned state = shk_entry_state(entry->word);

		if (state == SHK_ENTRY_INIT || state == SHK_ENTRY_REAP || (closed && state == SHK_ENTRY_DYING))
			sim_fail("entry %u is left in state %u", i, state);
		if (state == SHK_ENTRY_FREE)
			continue;
		start[i] = entry->offset;
		end[i] = entry->offset + entry->size;
		for (uint32_t k = 0; k < i; k++)
			if (start[i] < end[k] && start[k] < end[i])
				sim_fail("entries %u and %u overlap", k, i);
		for (unsigned n = 0; n < NAMES && state == SHK_ENTRY_LIVE; n++)
			count[n] += strcmp(shk_entry_name(segment, i), names[n]) == 0;
	}
	for (unsigned n = 0; n < NAMES; n++)
		if (count[n] != known[n].live)
			sim_fail("'%s' is there %u times, and should be %d", names[n], count[n], known[n].live);
}

/* Who still has a handle on what is there reads what was written there. */
static void check_contents(void)
{
	uint64_t words[WORDS];

	for (unsigned p = 1; p < SIM_PROCESSES; p++)
		for (unsigned n = 0; n < NAMES; n++) {
			struct shk_object *object = hands[p].held[n];

			if (!sim_world.processes[p].alive || !object || !is_current(object))
				continue;
			sim_act_as(p);
			if (object->shape.kind == SHMKIT_KIND_ARRAY)
				expect(shmkit_array_read((struct shmkit_array *)object, 0, WORDS, words), 0, "array_read");
			for (unsigned i = 0; i < WORDS && object->shape.kind == SHMKIT_KIND_ARRAY; i++)
				check_word(object, words[i], "the audit");
		}
	sim_act_as(0);
}

static void check_locks(void)
{
	const struct sim_file *file = &sim_world.files[0];

	for (unsigned i = 0; i < file->byte_count; i++)
		if (file->bytes[i].byte - SHK_LOCK_ENTRY < ENTRIES &&
		    (file->bytes[i].readers || file->bytes[i].writer >= 0))
			sim_fail("entry %u is still locked", (unsigned)(file->bytes[i].byte - SHK_LOCK_ENTRY));
}

static void close_everybody(void)
{
	for (unsigned p = 1; p < SIM_PROCESSES; p++) {
		unsigned blocks = hands[p].observer ? 4 : 2;

		if (!sim_world.processes[p].alive)
			continue;
		sim_act_as(p);
		close_all(p);
		if (fixture_segments[p] && sim_heap_blocks(p) != blocks)
			sim_fail("process %u has %u blocks of memory left, not %u", p, sim_heap_blocks(p), blocks);
	}
	sim_act_as(0);
	check_locks();
}

static uint64_t used(void)
{
	uint32_t entries;

	return fixture_used(&entries);
}

/* All names, then all bytes in one piece. */
static void fill_again(void)
{
	struct shmkit_segment *segment = fixture_segments[0];
	uint64_t overhead = segment->geometry.data_offset, size = shk_header(segment)->size;
	struct shk_object *object = NULL;
	const uint8_t *bytes;

	for (unsigned n = 0; n < NAMES; n++)
		if (known[n].live)
			expect(shmkit_segment_remove(segment, names[n]), 0, "remove at the end");
	if (used() != overhead)
		sim_fail("%llu bytes are lost", (unsigned long long)(used() - overhead));
	for (unsigned n = 0; n < NAMES; n++) {
		expect(shk_object_create(segment, names[n], small.kind, 8, WORDS, &with_schema, 0, &object),
		       n < ENTRIES ? 0 : -ENOSPC, "create at the end");
		if (n < ENTRIES)
			shk_object_close(object);
	}
	for (unsigned n = 0; n < ENTRIES; n++)
		expect(shmkit_segment_remove(segment, names[n]), 0, "remove at the end");
	expect(shk_object_create(segment, "all", small.kind, 8, (size - overhead) / 8, NULL, 0, &object), 0,
	       "create of all the room");
	if (sim_failed)
		return;
	bytes = object->base;
	if (bytes[0] || memcmp(bytes, bytes + 1, size - overhead - 1) != 0)
		sim_fail("a new structure is not zero");
	shk_object_close(object);
}

static void audit(void)
{
	sim_on_point = NULL;
	check_announcements();
	fixture_recover();
	check_table(false);
	check_contents();
	close_everybody();
	expect(shmkit_segment_recover(fixture_segments[0], NULL), 0, "recover");
	check_table(true);
	fill_again();
	expect(shmkit_segment_check(fixture_segments[0]), 0, "check");
}

const struct scenario scenario = {
	.name = "table",
	.states = STATES,
	.state_names = state_names,
	.operations = NEWCOMER + 1,
	.operation_names = operation_names,
	.extra = OPERATIONS - NEWCOMER - 1,
	.repair = REPAIR,
	.attach = ATTACH,
	.build = build,
	.begin = begin,
	.operate = operate,
	.audit = audit,
};
