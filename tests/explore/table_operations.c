/* The operations of explore_table.c, and what their answers must be. */
#include "table_oracle.h"

#include <errno.h>
#include <string.h>

static const char schema[] = "v:u64";
static const struct shmkit_object_options with_schema = {
	.struct_size = sizeof(with_schema), .schema = schema,
};

const char *const table_names[NAMES] = { "a", "b", "c", "x", "y", "fill" };

const struct what table_small = { SHMKIT_KIND_ARRAY, 8, TABLE_WORDS, &with_schema };
const struct what table_value = { SHMKIT_KIND_ATOMIC_U64, 8, 1, NULL };
const struct what table_large = { SHMKIT_KIND_ARRAY, 8, 56, NULL };
const struct what table_queue = { SHMKIT_KIND_QUEUE, 16, 4, NULL };
const struct what table_pool = { SHMKIT_KIND_POOL, 8, 3, NULL };

struct hands hands[FIXTURE_PROCESSES];
struct known known[NAMES];
struct table_run table_runs[SIM_THREADS];
uint64_t filled, bytes_claimed;
unsigned entries_claimed;
bool left_over;

#define RUN (table_runs[thread->id])

struct shmkit_segment *segment_of(const struct sim_thread *thread)
{
	return fixture_segments[thread->process];
}

void expect(int64_t result, int64_t expected, const char *what)
{
	if (result != expected)
		sim_fail("%s: %lld instead of %lld: %s", what, (long long)result, (long long)expected,
			 shmkit_last_error());
}

/* ---- marks ---- */

uint64_t mark_of(const struct shk_object *object)
{
	return (uint64_t)(object->entry + 1) << 56 |
	       (shk_entry_generation(object->live_word) & 0xffffffffffff);
}

void check_word(const struct shk_object *object, uint64_t word, const char *who)
{
	if (word == mark_of(object) || (word == 0 && (object->live_word != filled || object->entry != 1)))
		return;
	sim_fail("%s found 0x%llx in the structure of mark 0x%llx", who, (unsigned long long)word,
		 (unsigned long long)mark_of(object));
}

/* Is it what it was when the handle was made? */
bool is_current(const struct shk_object *object)
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
	uint64_t words[TABLE_WORDS];
	/* an array orders nothing: where that counts everybody looks at his own word */
	unsigned first = sim_weak ? thread->id : 0, count = sim_weak ? 1 : TABLE_WORDS;

	if (!answered(object, shmkit_array_read((struct shmkit_array *)object, first, count, words), current,
		      who))
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

void use(struct sim_thread *thread, struct shk_object *object)
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
		check_word(object,
			   shmkit_atomic_u64_exchange((struct shmkit_atomic_u64 *)object, mark_of(object)),
			   "exchange");
	}
}

/* ---- names ---- */

/* The handle that the process has on that name from now on; the one it had is closed. */
static void keep(struct sim_thread *thread, unsigned name, struct shk_object *object)
{
	struct shk_object *before = MINE.held[name];

	if (before && fixture_shares_process(thread)) {
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

/*
 * What others claim, the dead left out who had not committed and were dead when the call began: whose
 * call is the only one under way has what they were making. Beside another's it may be just what that
 * one is giving back.
 */
static bool fits(const struct what *what, uint64_t start)
{
	uint64_t bytes = bytes_claimed;
	unsigned entries = entries_claimed;
	bool alone = true;

	for (unsigned t = 1; t < SIM_THREADS; t++) {
		const struct sim_thread *thread = &sim_threads[t];

		if (thread == sim_current || !RUN.claimed)
			alone &= thread == sim_current || thread->state == SIM_UNUSED ||
				 thread->state == SIM_DONE || thread->state == SIM_DEAD;
		else if (thread->state != SIM_DEAD)
			alone = false;
		else if (!known[RUN.name].live && thread->died_step <= start) {
			bytes -= RUN.claimed;
			entries--;
		}
	}
	if (!alone || sim_weak) {
		bytes = bytes_claimed;
		entries = entries_claimed;
	}
	return bytes <= TABLE_SIZE && entries <= TABLE_ENTRIES && (what == &table_small || what == &table_value);
}

static bool has_handle(unsigned process, uint32_t entry)
{
	for (unsigned n = 0; n < NAMES; n++)
		if (hands[process].held[n] && hands[process].held[n]->entry == entry)
			return true;
	return false;
}

/*
 * Has somebody who cleans up, or looks, a hand on what was removed, or is he giving it back? One who
 * lives, or did when the call began: then nobody else could have it in that time.
 */
static bool is_being_given_back(uint64_t start)
{
	for (unsigned t = 1; t < SIM_THREADS; t++) {
		const struct sim_thread *thread = &sim_threads[t];
		const struct shmkit_segment *segment = fixture_segments[thread->process];

		if (!segment || thread->state == SIM_UNUSED ||
		    (thread->state == SIM_DEAD && thread->died_step <= start))
			continue;
		for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
			uint64_t word = shk_entry(segment, i)->word;
			bool announced = *shk_member_open_word(segment, segment->member_id, i) >> i & 1;

			if (shk_entry_state(word) == SHK_ENTRY_DYING && announced &&
			    !has_handle(thread->process, i))
				return true;
			if (shk_entry_state(word) == SHK_ENTRY_REAP && shk_entry_owner(word) == segment->member_id)
				return true;
		}
	}
	return false;
}

static void refused(unsigned name, const struct what *what, int result, uint64_t start)
{
	if (result == -EBUSY && sim_freezes)
		return;
	if (result == -ENOSPC && (!fits(what, start) || is_being_given_back(start)))
		return;
	if (result == -EEXIST && !was_away(name, start))
		return;
	if (result == -ENOENT && !was_there(name, start))
		return;
	if (result == -EPROTOTYPE && (sim_weak || was_other(name, what, start)))
		return;
	sim_fail("'%s' refused: %d: %s", table_names[name], result, shmkit_last_error());
}

static void check_wake(const struct sim_thread *thread)
{
	if (!left_over)
		fixture_check_wake(thread);
}

void create(struct sim_thread *thread, unsigned name, const struct what *what, bool opens)
{
	struct shk_object *object = NULL;
	uint64_t start = sim_step, size;
	int result;

	RUN.name = name;
	RUN.kind = what->kind;
	expect(shmkit_object_footprint(what->kind, what->element_size, what->capacity, what->options, &size),
	       0,
	       "footprint");
	bytes_claimed += size;
	entries_claimed++;
	RUN.claimed = size;
	thread->timed_out = false;          /* it may have slept before, in joining */
	result = (opens ? shk_object_open_or_create : shk_object_create)(
		segment_of(thread), table_names[name], what->kind, what->element_size, what->capacity,
		what->options, 0, &object);
	RUN.claimed = 0;
	if (result < 0) {
		if (result == -EEXIST)
			check_wake(thread);
		refused(name, what, result, start);
		return;
	}
	if (result == 0 && opens && was_away(name, start))
		sim_fail("opened '%s', which was not there", table_names[name]);
	use(thread, object);
	keep(thread, name, object);
}

/* As an array or as an atomic, whatever it is. */
int open_any(struct shmkit_segment *segment, unsigned name, struct shk_object **ret_object)
{
	int result = shk_object_open(segment, table_names[name], table_small.kind, 0, ret_object);

	if (result == -EPROTOTYPE)
		result = shk_object_open(segment, table_names[name], table_value.kind, 0, ret_object);
	return result;
}

void open_and_write(struct sim_thread *thread, unsigned name)
{
	struct shk_object *object = NULL;
	uint64_t start = sim_step;
	int result = open_any(segment_of(thread), name, &object);

	if (result) {
		refused(name, &table_small, result, start);
		return;
	}
	if (was_away(name, start))
		sim_fail("opened '%s', which was not there", table_names[name]);
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

void observe(struct sim_thread *thread, bool keeps)
{
	struct shk_object *object = MINE.seen;
	uint64_t start = sim_step;
	int result;

	if (!MINE.observer || fixture_shares_process(thread))
		return;
	MINE.seen = NULL;
	if (!object) {
		result = open_any(MINE.observer, A, &object);
		if (result) {
			refused(A, &table_small, result, start);
			return;
		}
	}
	look(thread, object);
	if (keeps)
		MINE.seen = object;
	else
		shk_object_close(object);
}

void remove_name(struct sim_thread *thread, unsigned name)
{
	uint64_t start = sim_step;
	int result;

	RUN.name = name;
	result = shmkit_segment_remove(segment_of(thread), table_names[name]);
	if (result)
		refused(name, &table_small, result, start);
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

void walk(struct sim_thread *thread)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	uint64_t start = sim_step;
	uint32_t cursor = 0;
	unsigned seen[NAMES] = { 0 };
	int result;

	while ((result = shmkit_segment_next_entry(segment_of(thread), &cursor, &info)) == 1) {
		for (unsigned i = 0; i < NAMES; i++)
			seen[i] += strcmp(info.name, table_names[i]) == 0;
		check_entry_info(&info);
	}
	expect(result, 0, "next_entry");
	for (unsigned i = 0; i < NAMES; i++) {
		if (was_there(i, start) ? seen[i] != 1 : was_away(i, start) && seen[i])
			sim_fail("a walk met '%s' %u times", table_names[i], seen[i]);
	}
}

void inform(struct sim_thread *thread)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct shk_object *object = MINE.held[A];

	expect(shmkit_segment_get_info(segment_of(thread), &info), 0, "segment_get_info");
	if (info.entries > TABLE_ENTRIES || info.overhead != segment_of(thread)->geometry.data_offset)
		sim_fail("info: %u entries, %llu bytes used", info.entries, (unsigned long long)info.used);
	if (object && !(sim_weak && fixture_shares_process(thread))) {
		bool current = is_current(object);

		if (answered(object, shk_object_get_info(object, &entry), current, "get_info") &&
		    (strcmp(entry.name, "a") != 0 || entry.offset != object->offset))
			sim_fail("get_info told of '%s' at %llu", entry.name,
				 (unsigned long long)entry.offset);
		check_entry_info(&entry);
	}
}

void wait_for(struct sim_thread *thread)
{
	uint64_t start = sim_step;
	int result = shmkit_segment_wait_for(segment_of(thread), "a", INT64_C(120000000));

	if (result == 0)
		check_wake(thread);
	else if (result != -ETIMEDOUT || was_there(A, start))
		sim_fail("wait_for: %d: %s", result, shmkit_last_error());
}

void grow(struct sim_thread *thread)
{
	int result = shmkit_segment_grow(segment_of(thread), TABLE_MAX_SIZE);

	bytes_claimed = TABLE_MAX_SIZE;                  /* what fits is not counted any more */
	if (result != -EBUSY || !sim_freezes)
		expect(result, 0, "grow");
}

void close_all(unsigned process)
{
	struct hands *own = &hands[process];

	for (unsigned i = 0; i < NAMES; i++) {
		shk_object_close(own->held[i]);
		own->held[i] = NULL;
	}
	shk_object_close(own->seen);
	own->seen = NULL;
}

void leave_and_open(struct sim_thread *thread)
{
	struct shmkit_segment *segment = segment_of(thread);
	int result;

	if (fixture_shares_process(thread))
		return;
	close_all(thread->process);
	fixture_segments[thread->process] = NULL;
	shmkit_segment_close(segment);
	result = shmkit_segment_open("s", 0, &fixture_segments[thread->process]);
	if (result)
		program_of(thread)->given_up = true;
	/* newcomers may have taken its place; and one who stands still in a close */
	if (result != -EUSERS && (result != -EBUSY || !sim_freezes))
		expect(result, 0, "open");
}

void attach(struct sim_thread *thread)
{
	if (fixture_shares_process(thread))
		return;
	for (unsigned i = 0; i < FIXTURE_PROCESSES; i++)
		if (!sim_world.processes[i].exists) {
			fixture_segments[i] = NULL;
			hands[i] = (struct hands){ .seen = NULL };
		}
	if (!fixture_attach(thread))
		program_of(thread)->given_up = true;
}

