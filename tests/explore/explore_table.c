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
#include "table_oracle.h"

#include "lock.h"

#include <string.h>

#define MEMBERS 6u
#define ROOM 512u                           /* bytes that the filler leaves */
#define GENERATIONS (UINT64_C(1) << 51)

enum {
	CREATE, RECREATE, OPEN, OPEN_OR_CREATE, WRITE, CLOSE, REMOVE, OBSERVE, REPLACE, WALK, REPAIR,
	NEWCOMER,
	CREATE_ATOMIC, CREATE_LARGE, GROW, CHECK, INFO, OBSERVE_KEEP, OBSERVE_END, WAIT_FOR, CREATE_QUEUE,
	CREATE_POOL, REMOVE_X, LEAVE, ATTACH, OPERATIONS
};

static const char *const operation_names[] = {
	"create", "recreate", "open", "open-or-create", "write", "close", "remove", "observe", "replace",
	"walk",
	"repair", "newcomer", "create-atomic", "create-large", "grow", "check", "info", "observe-keep",
	"observe-end", "wait-for", "create-queue", "create-pool", "remove-x", "leave", "attach",
};

enum { EMPTY, ONE, OPENED, FULL, DYING, HOLE, LEFT_INIT, LEFT_REAP, LEFT_LOCK, WRAP, STATES };

static const char *const state_names[] = {
	"empty", "one array", "one array open in two", "full table", "one removed, and open in two",
	"a hole between two", "INIT of a dead one", "REAP of a dead one", "locked by a dead one",
	"near the wrap of the generations",
};

/* As they were when the states had been made. */
static struct hands hands_at[STATES][FIXTURE_PROCESSES];
static struct known known_at[STATES][NAMES];
static struct shmkit_segment *segments_at[FIXTURE_PROCESSES];
static uint64_t filled_at[STATES];

/* ---- operations ---- */

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
		create(thread, C, &table_queue, false);
		break;
	case CREATE_POOL:
		create(thread, C, &table_pool, true);
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
		create(thread, A, operation == CREATE ? &table_small : &table_value, false);
		break;
	case CREATE_LARGE:
		create(thread, B, &table_large, false);
		break;
	case OPEN:
		open_and_write(thread, A);
		break;
	case OPEN_OR_CREATE:
		create(thread, A, &table_small, true);
		break;
	case WRITE:
		/* a handle that another thread has made, and nothing tells this one of */
		for (unsigned i = 0; i < NAMES && !(sim_weak && fixture_shares_process(thread)); i++)
			if (MINE.held[i])
				use(thread, MINE.held[i]);
		break;
	case CLOSE:
		if (!fixture_shares_process(thread)) {
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
		create(thread, A, &table_value, false);
		break;
	case NEWCOMER:
		/* perhaps under the id of a dead one */
		attach(thread);
		if (segment_of(thread) && !fixture_shares_process(thread))
			create(thread, A, &table_value, false);
		break;
	case REPLACE:
		/* what is made next comes where the first was, as soon as that may be */
		remove_name(thread, A);
		create(thread, C, &table_small, false);
		break;
	default:
		operate_more(thread, operation);
	}
}

/* ---- states ---- */

static void put(unsigned process, unsigned name, const struct what *what, uint64_t capacity)
{
	struct shk_object **object = &hands[process].held[name];

	fixture_must(shk_object_create(fixture_segments[process], table_names[name], what->kind, what->element_size,
			       capacity, name == FILLER ? NULL : what->options, 0, object));
}

/* As above, and closed again: it is there, and nobody has it open. */
static void put_alone(unsigned name, const struct what *what)
{
	put(0, name, what, what->capacity);
	if (what == &table_small) {
		uint64_t words[TABLE_WORDS];

		for (unsigned i = 0; i < TABLE_WORDS; i++)
			words[i] = mark_of(hands[0].held[name]);
		fixture_must(shmkit_array_write((struct shmkit_array *)hands[0].held[name], 0, TABLE_WORDS, words));
		filled = hands[0].held[name]->live_word;
	}
	shk_object_close(hands[0].held[name]);
	hands[0].held[name] = NULL;
}

static void take(unsigned process, unsigned name)
{
	sim_act_as(process);
	fixture_must(open_any(fixture_segments[process], name, &hands[process].held[name]));
	sim_act_as(0);
}

static void see(unsigned process)
{
	sim_act_as(process);
	fixture_must(open_any(hands[process].observer, A, &hands[process].seen));
	sim_act_as(0);
}

/* A process that dies with the entry in its hands, or the lock. */
static void put_left_over(unsigned state)
{
	unsigned process = sim_process_new();
	struct shmkit_segment *segment;
	uint64_t word;

	sim_act_as(process);
	fixture_must(shmkit_segment_open("s", 0, &fixture_segments[process]));
	segment = fixture_segments[process];
	if (state == LEFT_LOCK) {
		fixture_must(shk_lock_word_acquire(segment, &shk_header(segment)->table_lock, 0, "", &word));
	} else {
		put(process, A, &table_small, TABLE_WORDS);
		word = *hands[process].held[A]->entry_word;
		*hands[process].held[A]->entry_word =
			shk_entry_word(shk_entry_generation(word) + (state == LEFT_REAP),
				       state == LEFT_INIT ? SHK_ENTRY_INIT : SHK_ENTRY_REAP,
				       segment->member_id);
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
		put_alone(A, &table_small);
		break;
	case FULL:
		put_alone(A, &table_small);
		put_alone(X, &table_value);
		put_alone(Y, &table_value);
		break;
	case DYING:
		put_alone(A, &table_small);
		break;
	case HOLE:
		put_alone(A, &table_small);
		put_alone(X, &table_value);
		put_alone(Y, &table_value);
		fixture_must(shmkit_segment_remove(fixture_segments[0], "a"));
		break;
	case WRAP:
		for (uint32_t i = 1; i < TABLE_ENTRIES; i++)
			shk_entry(fixture_segments[0], i)->word =
				shk_entry_word(GENERATIONS - 2, SHK_ENTRY_FREE, 0);
		put_alone(A, &table_small);
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
		fixture_must(shmkit_segment_remove(fixture_segments[0], "a"));
}

static void build(unsigned state)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .table = SHMKIT_TABLE_CUSTOM, .max_entries = TABLE_ENTRIES,
		.name_size = 8, .max_members = MEMBERS, .max_size = TABLE_MAX_SIZE,
	};

	memset(hands, 0, sizeof(hands));
	memset(known, 0, sizeof(known));
	filled = 0;
	fixture_build_as(TABLE_SIZE, &options, NULL);
	for (unsigned i = 1; i <= SCENARIO_ACTORS; i++) {
		sim_act_as(i);
		fixture_must(shmkit_segment_open("s", SHMKIT_READ_ONLY, &hands[i].observer));
	}
	sim_act_as(0);
	put(0, FILLER, &table_small, (TABLE_SIZE - ROOM - fixture_segments[0]->geometry.data_offset) / 8);
	shk_object_close(hands[0].held[FILLER]);
	hands[0].held[FILLER] = NULL;
	put_what_it_says(state);
	for (unsigned i = 0; i < NAMES; i++) {
		known[i].live = shmkit_segment_find(fixture_segments[0], table_names[i], NULL) == 0;
		known[i].kind = i == A ? SHMKIT_KIND_ARRAY : SHMKIT_KIND_ATOMIC_U64;
	}
	memcpy(hands_at[state], hands, sizeof(hands));
	memcpy(known_at[state], known, sizeof(known));
	memcpy(segments_at, fixture_segments, sizeof(segments_at));
	filled_at[state] = filled;
}

static void on_point(const char *label)
{
	unsigned name = table_runs[sim_current->id].name;

	if (strcmp(label, "table.live") == 0) {
		if (known[name].live)
			sim_fail("'%s' was made while it was there", table_names[name]);
		known[name].live = true;
		known[name].kind = table_runs[sim_current->id].kind;
	} else if (strcmp(label, "table.dying") == 0) {
		if (!known[name].live)
			sim_fail("'%s' was removed while it was not there", table_names[name]);
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
	memset(table_runs, 0, sizeof(table_runs));
	filled = filled_at[state];
	left_over = state == LEFT_INIT || state == LEFT_REAP || state == LEFT_LOCK;
	segment = fixture_segments[0];
	bytes_claimed = segment->geometry.data_offset;
	entries_claimed = 0;
	for (uint32_t i = 0; i < TABLE_ENTRIES; i++)
		if (shk_entry_state(shk_entry(segment, i)->word) != SHK_ENTRY_FREE) {
			bytes_claimed += shk_entry(segment, i)->size;
			entries_claimed++;
		}
	sim_on_point = on_point;
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
	.audit = table_audit,
};
