/*
 * How segments come to be and end, under exploration: one name, and several inodes over time.
 *
 *	one name      who is told that he has opened a segment has one that others find by its name,
 *	              unless it is removed explicitly; who is told that there is none was told so when
 *	              there was none
 *	one maker     the one whose file got the name
 *	no theft      a close takes away the name of its own segment alone, and only when nobody else
 *	              is in it; a replacement the name of one that nobody is in
 *	no rest       the last one out removes the name; who is killed may leave it, and the next
 *	              opener goes on with it or replaces it; no descriptor, mapping, lock, file or
 *	              block of memory is left
 *
 * The kernel tells of every change of a name (sim_on_name).
 */
#include "fixture.h"

#include "segment.h"

#include <errno.h>
#include <string.h>

#define SIZE 4096u
#define FILES_A_RUN 64u
#define FIRST_INODE 100u                    /* kernel.c */
#define HANDLES 2u                          /* of a process */

enum {
	OPEN, CLOSE, CREATE, OPEN_OR_CREATE, REPLACE, OPEN_OR_REPLACE, UNLINK, CREATE_PERSIST, CYCLE,
	OPEN_READ,
	REPAIR, CLOSE_AND_CREATE, OPEN_TWICE, PERSIST_CYCLE, OPERATIONS
};

static const char *const operation_names[] = {
	"open", "close", "create", "open-or-create", "replace", "open-or-replace", "unlink", "create-persist",
	"cycle", "open-read", "repair", "close-and-create", "open-twice", "persist-cycle",
};

enum {
	NONE, ONE, TWO, ANOTHER, LEFT, PERSIST, PERSIST_ONE, OLD_AND_NEW, UNLINKED, DAMAGED, DAMAGED_HELD,
	STATES
};

static const char *const state_names[] = {
	"no segment", "one member", "two members", "a member elsewhere", "left by a dead one",
	"persistent, nobody in it", "persistent, one member", "an old one and its successor",
	"without a name", "damaged, nobody in it", "damaged, and one member",
};

/* ---- what is known of a run ---- */

static struct file {                        /* by serial */
	bool persists, damaged;
	uint64_t unlinked;                  /* step, 0 never */
	bool explicitly;                    /* by an unlink */
} files[FILES_A_RUN], files_at[STATES][FILES_A_RUN];

static struct shmkit_segment *handles[FIXTURE_PROCESSES][HANDLES];
static struct shmkit_segment *handles_at[STATES][FIXTURE_PROCESSES][HANDLES];

static struct {
	uint32_t named;                     /* serial of what has the name, 0 none */
	uint64_t absent;                    /* step at which there last was none, at the latest */
	uint64_t present;                   /* and at which there last was one */
} name, name_at[STATES];

static struct {
	bool unlinks, replaces;             /* what the operation under way may do to the name */
	uint32_t closing;                   /* serial of the segment whose handle is being closed */
	uint32_t linked;                    /* serial of the file that the operation gave the name */
	bool persists;
} runs[SIM_THREADS];

static unsigned state_now;
static bool excused;                        /* something that may leave a name behind has happened */

#define RUN (runs[thread->id])

static uint32_t serial_of(const struct shmkit_segment *segment)
{
	return sim_world.files[segment->inode - FIRST_INODE].serial;
}

static bool is_named(uint32_t serial)
{
	return name.named == serial;
}

/* A living process that was told that it is in that segment, and is no mere reader. */
static unsigned holder_of(uint32_t serial)
{
	for (unsigned p = 1; p < FIXTURE_PROCESSES; p++)
		for (unsigned i = 0; i < HANDLES && sim_world.processes[p].alive; i++)
			if (handles[p][i] && !handles[p][i]->read_only && serial_of(handles[p][i]) == serial)
				return p;
	return 0;
}

/* ---- what happens to the name ---- */

static void lost_name(const struct sim_thread *thread, uint32_t serial)
{
	struct file *file = &files[serial];
	unsigned holder = holder_of(serial);

	file->unlinked = sim_step;
	file->explicitly = RUN.unlinks;
	if (RUN.unlinks)
		return;
	if (holder)
		sim_fail("file %u loses its name, and process %u is in it", serial, holder);
	if (file->persists && !file->damaged)
		sim_fail("file %u loses its name, and was meant to stay", serial);
	if (!RUN.replaces && RUN.closing != serial)
		sim_fail("a close of file %u takes the name of file %u", RUN.closing, serial);
}

static void on_name(const struct sim_file *file)
{
	const struct sim_thread *thread = sim_current;
	bool was_named = is_named(file->serial);

	if (!thread || file->serial >= FILES_A_RUN)
		return;
	if (strcmp(file->name, "s") != 0)
		return;
	if (!file->linked) {
		if (was_named) {
			lost_name(thread, file->serial);
			name.present = sim_step;
			name.named = 0;
		}
		return;
	}
	if (name.named)
		sim_fail("two files of one name");
	else if (!RUN.replaces)
		name.absent = sim_step;
	name.named = file->serial;
	RUN.linked = file->serial;
	files[file->serial].persists = RUN.persists;
}

static bool was_there(uint64_t start)
{
	return name.named && name.absent <= start;
}

static bool was_away(uint64_t start)
{
	return !name.named && name.present <= start;
}

/* ---- operations ---- */

static bool is_damaged(void)
{
	return state_now == DAMAGED || state_now == DAMAGED_HELD;
}

static void refused(const char *what, int result, uint64_t start, bool creates, bool replaces)
{
	if (result == -EBUSY && (sim_freezes || (replaces && state_now == DAMAGED_HELD)))
		return;
	if (result == -ENOENT && !was_there(start))
		return;
	if (result == -EEXIST && creates && !was_away(start))
		return;
	if (result == -EPROTO && is_damaged())
		return;
	sim_fail("%s: %d: %s", what, result, shmkit_last_error());
}

/* A handle that was returned: is it one that others find? */
static void check_opened(struct shmkit_segment *segment, uint64_t start)
{
	const struct file *file = &files[serial_of(segment)];

	if (is_named(serial_of(segment)))
		return;
	if (!file->unlinked || file->unlinked <= start)
		sim_fail("opened a segment that had no name");
	else if (!file->explicitly && !segment->read_only)
		sim_fail("opened a segment whose name was taken away meanwhile");
}

/* A handle is the process's from now on, unless it has one already: then it is closed. */
static void keep(struct sim_thread *thread, struct shmkit_segment *segment)
{
	for (unsigned i = 0; i < HANDLES; i++)
		if (!handles[thread->process][i]) {
			handles[thread->process][i] = segment;
			return;
		}
	RUN.closing = serial_of(segment);
	shmkit_segment_close(segment);
	RUN.closing = 0;
}

static void let_go(struct sim_thread *thread)
{
	struct shmkit_segment *segment = NULL;

	for (unsigned i = HANDLES; i-- > 0 && !segment;) {
		segment = handles[thread->process][i];
		handles[thread->process][i] = NULL;
	}
	if (!segment)
		return;
	RUN.closing = serial_of(segment);
	shmkit_segment_close(segment);
	RUN.closing = 0;
}

static struct shmkit_segment_options options_of(uint32_t flags)
{
	return (struct shmkit_segment_options){
		.struct_size = sizeof(struct shmkit_segment_options), .flags = flags,
		.table = SHMKIT_TABLE_CUSTOM, .max_entries = 1, .name_size = 8, .max_members = 12,
	};
}

static void open_it(struct sim_thread *thread, uint32_t flags)
{
	struct shmkit_segment *segment = NULL;
	uint64_t start = sim_step;
	int result = shmkit_segment_open("s", flags, &segment);

	if (result) {
		refused("open", result, start, false, false);
		return;
	}
	check_opened(segment, start);
	keep(thread, segment);
}

static void create(struct sim_thread *thread, uint32_t flags, bool opens)
{
	struct shmkit_segment_options options = options_of(flags);
	struct shmkit_segment *segment = NULL;
	uint64_t start = sim_step;
	bool replaces = flags & SHMKIT_SEGMENT_REPLACE_DEAD, made;
	int result;

	RUN.linked = 0;
	RUN.replaces = replaces;
	RUN.persists = flags & SHMKIT_SEGMENT_PERSIST;
	if (opens)
		result = shmkit_segment_open_or_create("s", SIZE, &options, &segment);
	else
		result = shmkit_segment_create("s", SIZE, &options, &segment);
	RUN.replaces = false;
	if (result < 0) {
		if (RUN.linked)
			sim_fail("a segment was made, and the answer is %d", result);
		if (opens && (result == -ENOENT || result == -EEXIST))
			sim_fail("open_or_create: %d", result);
		refused("create", result, start, !opens, replaces);
		return;
	}
	made = !opens || result == 1;
	if (made ? RUN.linked != serial_of(segment) : RUN.linked != 0)
		sim_fail("open_or_create or create: %d, and file %u got the name", result, RUN.linked);
	check_opened(segment, start);
	keep(thread, segment);
}

static void unlink_it(struct sim_thread *thread)
{
	uint64_t start = sim_step;
	int result;

	RUN.unlinks = true;
	result = shmkit_segment_unlink("s");
	RUN.unlinks = false;
	if (result)
		refused("unlink", result, start, false, false);
}

static void operate(struct sim_thread *thread, unsigned operation)
{
	switch (operation) {
	case OPEN:
	case OPEN_TWICE:
		open_it(thread, 0);
		if (operation == OPEN_TWICE)
			open_it(thread, 0);
		break;
	case CLOSE:
	case CLOSE_AND_CREATE:
		let_go(thread);
		if (operation == CLOSE_AND_CREATE)
			create(thread, 0, false);
		break;
	case CREATE:
	case CREATE_PERSIST:
		create(thread, operation == CREATE ? 0 : SHMKIT_SEGMENT_PERSIST, false);
		break;
	case OPEN_OR_CREATE:
		create(thread, 0, true);
		break;
	case REPLACE:
	case OPEN_OR_REPLACE:
		create(thread, SHMKIT_SEGMENT_REPLACE_DEAD, operation == OPEN_OR_REPLACE);
		break;
	case UNLINK:
		unlink_it(thread);
		break;
	case CYCLE:
	case PERSIST_CYCLE:
		create(thread, operation == CYCLE ? 0 : SHMKIT_SEGMENT_PERSIST, true);
		let_go(thread);
		break;
	case OPEN_READ:
		open_it(thread, SHMKIT_READ_ONLY);
		let_go(thread);
		break;
	default:
		/* who comes next after a death goes on with what is there, or replaces it */
		create(thread, sim_choose(SIM_CASE, 2) ? SHMKIT_SEGMENT_REPLACE_DEAD : 0, true);
		let_go(thread);
	}
}

/* ---- states ---- */

static void make(unsigned process, uint32_t flags)
{
	struct shmkit_segment_options options = options_of(flags);

	sim_act_as(process);
	fixture_must(shmkit_segment_create("s", SIZE, &options, &handles[process][0]));
	files[serial_of(handles[process][0])].persists = flags & SHMKIT_SEGMENT_PERSIST;
	name.named = serial_of(handles[process][0]);
}

static void join(unsigned process)
{
	sim_act_as(process);
	fixture_must(shmkit_segment_open("s", 0, &handles[process][0]));
}

static void leave(unsigned process)
{
	sim_act_as(process);
	shmkit_segment_close(handles[process][0]);
	handles[process][0] = NULL;
}

static void damage(unsigned process)
{
	struct shmkit_segment *segment = handles[process][0];

	shk_header(segment)->max_entries = 0;
	files[serial_of(segment)].damaged = true;
}

static void leave_dead(bool damages)
{
	unsigned process = sim_process_new();

	make(process, 0);
	if (damages)
		damage(process);
	sim_process_kill(process);
	handles[process][0] = NULL;
}

static void unlink_now(void)
{
	fixture_must(shmkit_segment_unlink("s"));
	files[name.named].unlinked = 1;
	files[name.named].explicitly = true;
	name.named = 0;
}

static void build(unsigned state)
{
	memset(handles, 0, sizeof(handles));
	memset(files, 0, sizeof(files));
	memset(&name, 0, sizeof(name));
	for (unsigned i = 1; i <= SCENARIO_ACTORS; i++)
		sim_process_new();
	switch (state) {
	case ONE:
	case TWO:
		make(1, 0);
		if (state == TWO)
			join(2);
		break;
	case ANOTHER:
		make(3, 0);
		break;
	case LEFT:
	case DAMAGED:
		leave_dead(state == DAMAGED);
		break;
	case PERSIST:
	case PERSIST_ONE:
		make(1, SHMKIT_SEGMENT_PERSIST);
		if (state == PERSIST)
			leave(1);
		break;
	case OLD_AND_NEW:
	case UNLINKED:
		make(1, 0);
		unlink_now();
		if (state == OLD_AND_NEW)
			make(2, 0);
		break;
	case DAMAGED_HELD:
		make(3, 0);
		damage(3);
		break;
	default:
		break;
	}
	sim_act_as(0);
	memcpy(handles_at[state], handles, sizeof(handles));
	memcpy(files_at[state], files, sizeof(files));
	name_at[state] = name;
}

static void begin(unsigned state)
{
	memcpy(handles, handles_at[state], sizeof(handles));
	memcpy(files, files_at[state], sizeof(files));
	memset(runs, 0, sizeof(runs));
	name = name_at[state];
	state_now = state;
	sim_on_name = on_name;
}

/* ---- the audit ---- */

static unsigned open_fds(const struct sim_process *process)
{
	unsigned count = 0;

	for (unsigned fd = 0; fd < SIM_FDS; fd++)
		count += process->fds[fd] >= 0;
	return count;
}

static unsigned mapped(const struct sim_process *process)
{
	unsigned count = 0;

	for (unsigned m = 0; m < SIM_MAPPINGS; m++)
		count += process->mappings[m].description >= 0;
	return count;
}

/* What each living process has: for each handle a descriptor, the segment, its lock's page. */
static void check_resources(void)
{
	for (unsigned p = 1; p < SIM_PROCESSES; p++) {
		const struct sim_process *process = &sim_world.processes[p];
		unsigned fds = 0, mappings = 0;

		for (unsigned i = 0; i < HANDLES && process->alive; i++)
			if (handles[p][i]) {
				fds++;
				mappings += handles[p][i]->read_only ? 1 : 2;
			}
		if (!process->alive)
			continue;
		if (open_fds(process) != fds || mapped(process) != mappings || sim_heap_blocks(p) != 2 * fds)
			sim_fail("process %u has %u handles, and %u descriptors, %u mappings, %u blocks", p,
				 fds, open_fds(process), mapped(process), sim_heap_blocks(p));
	}
}

static void check_name(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++) {
		struct sim_file *file = &sim_world.files[i];

		for (unsigned b = 0; b < file->byte_count; b++)
			if (file->bytes[b].byte == SHK_LOCK_LIFE && file->bytes[b].writer >= 0)
				sim_fail("the life of file %u is locked for ever", file->serial);
		if (!file->linked || strcmp(file->name, "s") == 0)
			continue;
		/* documented: a death before the rename */
		if (sim_deaths == 0)
			sim_fail("a file '%s' is left", file->name);
		file->linked = false;
	}
	excused = sim_deaths || sim_freezes || state_now == LEFT || state_now == DAMAGED;
	if (name.named && !holder_of(name.named) && !files[name.named].persists && !excused)
		sim_fail("nobody is in the segment, and its name is left");
}

static void close_all(void)
{
	bool held = name.named && holder_of(name.named);

	for (unsigned p = 1; p < SIM_PROCESSES; p++)
		for (unsigned i = 0; i < HANDLES && sim_world.processes[p].alive; i++) {
			sim_act_as(p);
			shmkit_segment_close(handles[p][i]);
			handles[p][i] = NULL;
		}
	sim_act_as(0);
	if (held && !files[name.named].persists)
		name.named = 0;
}

static bool has_name(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		if (sim_world.files[i].linked && strcmp(sim_world.files[i].name, "s") == 0)
			return true;
	return false;
}

/* The next one comes, and is the last to go. */
static void go_on(void)
{
	bool replaces = is_damaged() || (sim_step & 1);
	struct shmkit_segment_options options = options_of(replaces ? SHMKIT_SEGMENT_REPLACE_DEAD : 0);
	struct shmkit_segment *segment = NULL;
	const struct file *file = &files[name.named];
	bool persists = name.named && file->persists && !file->damaged;
	int result = shmkit_segment_open_or_create("s", SIZE, &options, &segment);

	if (result != (!name.named || (replaces && !persists))) {
		sim_fail("at the end, open_or_create: %d: %s", result, shmkit_last_error());
		return;
	}
	if (shmkit_segment_check(segment))
		sim_fail("check: %s", shmkit_last_error());
	shmkit_segment_close(segment);
	if (has_name() != persists)
		sim_fail("the last one has left, and the name is %s", persists ? "gone" : "there");
	if (persists && shmkit_segment_unlink("s"))
		sim_fail("unlink: %s", shmkit_last_error());
}

static void check_nothing_left(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		if (sim_world.files[i].linked || sim_world.files[i].references)
			sim_fail("file %u is left, with %u descriptions", sim_world.files[i].serial,
				 sim_world.files[i].references);
	check_resources();
}

static void audit(void)
{
	sim_on_name = NULL;
	check_resources();
	check_name();
	close_all();
	if (has_name() != (name.named != 0))
		sim_fail("all have left, and the name is %s", name.named ? "gone" : "there");
	go_on();
	check_nothing_left();
}

const struct scenario scenario = {
	.name = "life",
	.states = STATES,
	.state_names = state_names,
	.operations = REPAIR + 1,
	.operation_names = operation_names,
	.extra = OPERATIONS - REPAIR - 1,
	.repair = REPAIR,
	.build = build,
	.begin = begin,
	.operate = operate,
	.audit = audit,
};
