/*
 * A forked child and the removal of what it was given, under exploration: an array that its parent
 * has open is closed by the parent and removed by others, who make another of the memory. As soon as
 * the child uses it, it is a member that has it open: it writes to it, or is told that it is gone;
 * never into what came after.
 */
#include "fixture.h"

#include "object.h"

#include <errno.h>
#include <string.h>

#define WORDS 8u
#define OF_THE_CHILD 0xau
#define OF_THE_OTHER 0xcu

enum { FORK_AND_CLOSE, REPLACE, REMOVE, REPAIR, OPERATIONS };

static const char *const operation_names[] = { "fork-and-close", "replace", "remove", "repair" };

enum { OPEN, ANOTHER_HAS_IT, REUSED, STATES };

static const char *const state_names[] = {
	"open in one process", "open in two", "where another was removed",
};

static struct shmkit_array *arrays[FIXTURE_PROCESSES], *arrays_at[STATES][FIXTURE_PROCESSES];
static struct shmkit_segment *segments_at[STATES][FIXTURE_PROCESSES];
static struct shmkit_array *made;           /* of the same memory, perhaps */
static unsigned maker;
static struct program child_program;
static bool has_forked, child_is_member;
static unsigned state_built;

/* ---- states ---- */

static void make(unsigned process)
{
	struct shmkit_segment *segment = fixture_segments[process];

	if (process == 0) {
		if (state_built == REUSED) {
			fixture_must(shmkit_array_create(segment, "old", sizeof(uint64_t), WORDS, NULL, &arrays[0]));
			fixture_must(shmkit_segment_remove(segment, "old"));
			shmkit_array_close(arrays[0]);
		}
		fixture_must(shmkit_array_create(segment, "a", sizeof(uint64_t), WORDS, NULL, &arrays[0]));
		shmkit_array_close(arrays[0]);
		arrays[0] = NULL;
	} else if (process == 1 || (process == 2 && state_built == ANOTHER_HAS_IT)) {
		fixture_must(shmkit_array_open(segment, "a", sizeof(uint64_t), &arrays[process]));
	}
}

static void build(unsigned state)
{
	state_built = state;
	memset(arrays, 0, sizeof(arrays));
	fixture_build(make);
	memcpy(arrays_at[state], arrays, sizeof(arrays));
	memcpy(segments_at[state], fixture_segments, sizeof(fixture_segments));
}

static void on_point(const char *label)
{
	if (strcmp(label, "member.live") == 0)
		child_is_member = true;     /* nobody else joins */
}

static void begin(unsigned state)
{
	memcpy(arrays, arrays_at[state], sizeof(arrays));
	memcpy(fixture_segments, segments_at[state], sizeof(fixture_segments));
	made = NULL;
	has_forked = child_is_member = false;
	sim_on_point = on_point;
}

/* ---- operations ---- */

/* Its first call: it joins by itself. */
static void run_child(struct sim_thread *thread)
{
	uint64_t word = OF_THE_CHILD;
	int result = shmkit_array_write(arrays[thread->process], 3, 1, &word);

	if (result && result != -ESTALE && result != -ECHILD)
		sim_fail("write by a child: %d: %s", result, shmkit_last_error());
	child_program.ended = true;
}

static void copy_handles(unsigned parent, unsigned child)
{
	const struct shmkit_segment *segment = fixture_segments[parent];
	const struct shk_object *object = (const struct shk_object *)(void *)arrays[parent];
	struct shk_object *copy;

	fixture_segments[child] = fixture_copied(segment, sizeof(*segment));
	fixture_segments[child]->open_counts =
		fixture_copied(segment->open_counts, segment->geometry.max_entries * sizeof(uint32_t));
	copy = fixture_copied(object, object->kind->handle_size);
	copy->segment = fixture_segments[child];
	arrays[child] = (struct shmkit_array *)(void *)copy;
}

/* By who has it open, and is alone in its process. */
static void fork_and_close(struct sim_thread *thread)
{
	unsigned parent = thread->process, child;
	sigset_t saved;

	if (!arrays[parent] || has_forked || fixture_shares_process(thread))
		return;
	has_forked = true;
	shk_process_enter(&saved);
	child = sim_process_fork(parent);
	thread->process = child;            /* for a moment: whose memory it is */
	copy_handles(parent, child);
	thread->process = parent;
	shk_process_leave(&saved);
	child_program = (struct program){ .actor = child, .count = 1, .operations = { FORK_AND_CLOSE } };
	shmkit_array_close(arrays[parent]);
	arrays[parent] = NULL;
	sim_thread_new(child, run_child, &child_program);
}

/* Until the child is a member nothing keeps what it was given; the removal is to meet it then. */
static void replace(struct sim_thread *thread)
{
	struct shmkit_segment *segment = fixture_segments[thread->process];
	uint64_t words[WORDS];
	struct shmkit_array *array;

	if (!child_is_member)
		return;
	(void)shmkit_segment_remove(segment, "a");
	if (made || shmkit_array_create(segment, "c", sizeof(uint64_t), WORDS, NULL, &array))
		return;
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = OF_THE_OTHER;
	if (shmkit_array_write(array, 0, WORDS, words))
		sim_fail("write: %s", shmkit_last_error());
	made = array;
	maker = thread->process;
}

static void operate(struct sim_thread *thread, unsigned operation)
{
	int result = 0;

	switch (operation) {
	case FORK_AND_CLOSE:
		fork_and_close(thread);
		break;
	case REPLACE:
		replace(thread);
		break;
	case REMOVE:
		result = child_is_member ? shmkit_segment_remove(fixture_segments[thread->process], "a") : 0;
		if (result && result != -ENOENT && result != -EBUSY)
			sim_fail("remove: %d: %s", result, shmkit_last_error());
		break;
	case REPAIR:
		if (shmkit_segment_recover(fixture_segments[thread->process], NULL))
			sim_fail("recover: %s", shmkit_last_error());
		break;
	}
}

static void audit(void)
{
	uint64_t words[WORDS] = { 0 };

	sim_on_point = NULL;
	if (made && sim_world.processes[maker].alive) {
		sim_act_as(maker);
		if (shmkit_array_read(made, 0, WORDS, words))
			sim_fail("read: %s", shmkit_last_error());
		sim_act_as(0);
	}
	for (unsigned i = 0; i < WORDS; i++)
		if (words[i] == OF_THE_CHILD)
			sim_fail("word %u of what came after was written by the child", i);
	fixture_recover();
}

const struct scenario scenario = {
	.name = "fork",
	.states = STATES,
	.state_names = state_names,
	.operations = OPERATIONS,
	.operation_names = operation_names,
	.repair = REPAIR,
	.build = build,
	.begin = begin,
	.operate = operate,
	.audit = audit,
};
