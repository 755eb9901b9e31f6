/*
 * What is done to the pool under exploration.
 *
 * Objects that are written and read in place lie on a board, from which one takes them over before
 * he touches them, as programs do that pass handles on; the board orders what it passes, as a queue
 * would. One object is shared: everybody knows its handle, and releases, adopts and reads it when he
 * likes.
 */
#include "pool_oracle.h"

#include "copy.h"

#include <errno.h>

const char *const pool_operation_names[] = {
	"acquire", "acquire2", "release", "release-acquire", "release-shared", "renew-shared", "adopt-shared",
	"read", "read-new", "view", "walk", "reclaim", "repair", "adopt", "acquire-all", "release-found",
	"owner", "figures", "close", "leave", "attach", "check",
};

/* ---- the board ---- */

static unsigned board_channel(const struct pool_object *object)
{
	return SIM_CHANNELS - 1 - (unsigned)(object - pool_known.objects) % SIM_BYTES;
}

static void put_on_board(struct pool_object *object)
{
	sim_model_release(board_channel(object));
	object->on_board = true;
}

static struct pool_object *take_from_board(void)
{
	for (unsigned i = 0; i < pool_known.object_count; i++) {
		struct pool_object *object = &pool_known.objects[i];

		if (!object->on_board || object->released)
			continue;
		object->on_board = false;
		sim_model_acquire(board_channel(object));
		return object;
	}
	return NULL;
}

static struct shmkit_pool *handle(const struct sim_thread *thread)
{
	return pool_handles[thread->process];
}

/* -ESTALE is right when it was released, and for one nobody else may release when it was reclaimed. */
static bool is_stale(const char *what, int64_t result, const struct pool_object *object)
{
	if (result != -ESTALE)
		return false;
	if (!object->released)
		sim_fail("%s: -ESTALE, and the object is there", what);
	return true;
}

static void expect(const char *what, int64_t result, int64_t expected)
{
	if (result != expected)
		sim_fail("%s: %lld instead of %lld: %s", what, (long long)result, (long long)expected,
			 shmkit_last_error());
}

/* ---- operations ---- */

static void check_full(const struct sim_thread *thread)
{
	for (unsigned slot = 0; slot < pool_known.capacity && !sim_weak; slot++)
		if (pool_is_usable(pool_known.words[slot]) && pool_known.free_since[slot] <= POOL_RUN.begin)
			sim_fail("\"full\", and slot %u was free all the time", slot);
	if (POOL_RUN.slot != POOL_SLOTS)
		sim_fail("\"full\", and slot %u is being acquired", POOL_RUN.slot);
}

/* New, zero, and written in place; NULL: the pool is full, or somebody has found and released it. */
static struct pool_object *acquire(struct sim_thread *thread)
{
	unsigned value = pool_known.next_value++;
	struct pool_object *object;
	uint64_t name = 0, element[2];
	int result;
	void *at;

	pool_start(thread);
	result = shmkit_pool_acquire(handle(thread), &name);
	if (result == -EAGAIN) {
		check_full(thread);
		return NULL;
	}
	object = pool_object_of(name);
	if (result || !object || POOL_RUN.made != object - pool_known.objects + 1) {
		sim_fail("acquire: %d, 0x%llx: %s", result, (unsigned long long)name, shmkit_last_error());
		return NULL;
	}
	object->returned = true;
	if (object->doomed)
		return NULL;
	at = shmkit_pool_get(handle(thread), name);
	if (!at) {
		sim_fail("a new object is not there");
		return NULL;
	}
	sim_memcpy(element, at, sizeof(element));
	if (element[0] || element[1])
		sim_fail("a new object is not zero");
	object->writing = value;
	fixture_encode(element, value);
	/* racing: one who still copies the last object there finds out by its word */
	shk_copy_racing(at, element, sizeof(element));
	object->value = value;
	return object;
}

static void acquire_some(struct sim_thread *thread, unsigned count)
{
	struct pool_object *object;

	while (count-- && (object = acquire(thread)))
		put_on_board(object);
}

/* Reads it where it lies. False: it was reclaimed from a dead owner before that. */
static bool read_in_place(struct sim_thread *thread, const struct pool_object *object)
{
	const void *at = shmkit_pool_get(handle(thread), object->handle);
	uint64_t element[2];

	if (!at)
		return !is_stale("get", -ESTALE, object);
	/* another's may be reclaimed, when he dies, while it is read */
	if (object->owner != thread->process || object->leaving)
		return true;
	sim_memcpy(element, at, sizeof(element));
	if (object->value && fixture_decode(element, POOL_OBJECTS) != object->value)
		sim_fail("an object in place holds another's bytes");
	return true;
}

static void release(struct sim_thread *thread, struct pool_object *object)
{
	int result;

	POOL_RUN.freed = 0;
	POOL_RUN.releasing = object->handle;
	result = shmkit_pool_release(handle(thread), object->handle);
	if (!is_stale("release", result, object))
		expect("release", result, 0);
	expect("objects released", POOL_RUN.freed, result == 0);
	POOL_RUN.releasing = 0;
	expect("a second release", shmkit_pool_release(handle(thread), object->handle), -ESTALE);
	if (shmkit_pool_get(handle(thread), object->handle))
		sim_fail("a released object is there");
}

/* One from the board, or of its own making. */
static void release_one(struct sim_thread *thread)
{
	struct pool_object *object = take_from_board();

	if (!object)
		object = acquire(thread);
	if (object && read_in_place(thread, object))
		release(thread, object);
}

/* One that somebody has just made and does not know of yet. */
static void release_found(struct sim_thread *thread)
{
	struct pool_object *object;
	uint64_t cursor = 0, name;

	while (shmkit_pool_next(handle(thread), &cursor, &name) == 1) {
		object = pool_object_of(name);
		if (object && object >= &pool_known.objects[pool_known.built] && !object->returned) {
			object->doomed = true;
			release(thread, object);
			return;
		}
	}
}

static struct pool_object *shared(void)
{
	return pool_known.shared < POOL_OBJECTS ? &pool_known.objects[pool_known.shared] : NULL;
}

static void adopt(struct sim_thread *thread, struct pool_object *object)
{
	int result;

	POOL_RUN.adopting = object->handle;
	result = shmkit_pool_adopt(handle(thread), object->handle);
	POOL_RUN.adopting = 0;
	if (!is_stale("adopt", result, object))
		expect("adopt", result, 0);
	expect("objects adopted", POOL_RUN.adopted, result == 0);
}

static void adopt_one(struct sim_thread *thread)
{
	struct pool_object *object = take_from_board();

	if (!object)
		return;
	adopt(thread, object);
	if (read_in_place(thread, object) && !object->released)
		put_on_board(object);
}

/* Was it there, or gone, during the whole call? Then the answer must say so. */
static void judge_there(const struct sim_thread *thread, const char *what, bool there,
			const struct pool_object *object)
{
	if (!there)
		is_stale(what, -ESTALE, object);
	else if (!sim_weak && object->released && object->released <= POOL_RUN.begin)
		sim_fail("%s: there, and it was released before", what);
}

static void read_shared(struct sim_thread *thread, const struct pool_object *object)
{
	uint64_t element[2];
	int result = shmkit_pool_read(handle(thread), object->handle, element);

	judge_there(thread, "read", result != -ESTALE, object);
	if (result == -ESTALE)
		return;
	expect("read", result, 0);
	if (fixture_decode(element, POOL_OBJECTS) != object->value)
		sim_fail("read: another object's bytes");
}

/*
 * The newest object, by a handle that came by no way that orders anything: what is seen is zero, or
 * what its maker writes.
 */
static void read_new(struct sim_thread *thread)
{
	const struct pool_object *object = &pool_known.objects[pool_known.object_count - 1];
	uint64_t element[2];

	if (pool_known.object_count == pool_known.built ||
	    shmkit_pool_read(handle(thread), object->handle, element))
		return;
	if ((element[0] && element[0] != object->writing) ||
	    (element[1] && element[1] != ~(uint64_t)object->writing))
		sim_fail("read: another object's bytes in a new one");
}

static void view_shared(struct sim_thread *thread, const struct pool_object *object)
{
	uint64_t slot = shk_pool_slot(object->handle), name = 0;
	int64_t index = shmkit_pool_index(handle(thread), object->handle);
	int result;

	judge_there(thread, "index", index != -ESTALE, object);
	if (index != -ESTALE)
		expect("index", index, (int64_t)slot);
	judge_there(thread, "view", shmkit_pool_view(handle(thread), object->handle) != NULL, object);
	judge_there(thread, "get", shmkit_pool_get(handle(thread), object->handle) != NULL, object);
	result = shmkit_pool_at(handle(thread), slot, &name);
	if (result == 0 && !pool_object_of(name))
		sim_fail("at: nobody made 0x%llx", (unsigned long long)name);
	if (result != 0 && result != -ENOENT)
		expect("at", result, 0);
	judge_there(thread, "at", result == 0 && name == object->handle, object);
}

static void walk(struct sim_thread *thread)
{
	uint64_t cursor = 0, name, last = 0;
	bool seen[POOL_OBJECTS] = { false };
	int result;

	while ((result = shmkit_pool_next(handle(thread), &cursor, &name)) == 1) {
		struct pool_object *object = pool_object_of(name);

		if (!object || seen[object - pool_known.objects] || cursor <= last) {
			sim_fail("a walk comes to 0x%llx", (unsigned long long)name);
			return;
		}
		last = cursor;
		seen[object - pool_known.objects] = true;
		judge_there(thread, "next", true, object);
	}
	expect("next", result, 0);
	for (unsigned i = 0; i < pool_known.object_count && !sim_weak; i++) {
		const struct pool_object *object = &pool_known.objects[i];

		if (!seen[i] && !object->released && object->made <= POOL_RUN.begin)
			sim_fail("a walk misses 0x%llx", (unsigned long long)object->handle);
	}
}

static void reclaim(struct sim_thread *thread)
{
	int64_t result;

	POOL_RUN.reclaims = true;
	result = shmkit_pool_reclaim(handle(thread));
	POOL_RUN.reclaims = false;
	expect("reclaim", result, POOL_RUN.freed);
	for (unsigned i = 0; i < pool_known.object_count && !sim_weak; i++) {
		const struct pool_object *object = &pool_known.objects[i];

		if (!object->released && object->made <= POOL_RUN.begin &&
		    (POOL_RUN.buried >> object->owner & 1))
			sim_fail("object 0x%llx of the dead is there after a reclaim",
				 (unsigned long long)object->handle);
	}
}

static void look_at_owner(struct sim_thread *thread, const struct pool_object *object)
{
	bool gone = object->left || (POOL_RUN.buried >> object->owner & 1);
	unsigned owner = object->owner, adoptions = object->adoptions;
	uint32_t alive = 9;
	int32_t pid = 0;
	int result = shmkit_pool_owner(handle(thread), object->handle, &pid, &alive);

	judge_there(thread, "owner", result != -ESTALE, object);
	if (result == -ESTALE)
		return;
	expect("owner", result, 0);
	/* who has adopted it need not be known yet */
	if (object->adoptions != adoptions || (sim_weak && adoptions))
		return;
	if (alive > 1 || (!sim_weak && ((gone && alive) || (!pool_is_orphan(object) && !alive))))
		sim_fail("owner: alive is %u", alive);
	if (alive ? pid != sim_world.processes[owner].pid : pid && pid != sim_world.processes[owner].pid)
		sim_fail("owner: pid %d, process %u", pid, owner);
}

static void look_at_figures(struct sim_thread *thread)
{
	uint64_t size = shmkit_pool_size(handle(thread)), live = 0;

	for (unsigned i = 0; i < pool_known.object_count; i++)
		live += !pool_known.objects[i].released;
	if (size > pool_known.capacity ||
	    (!sim_weak && POOL_RUN.changes == pool_known.changes && size != live))
		sim_fail("size is %llu of %llu", (unsigned long long)size, (unsigned long long)live);
}

/* Its objects stay; when it leaves altogether nobody owns them. */
static void close_and_open(struct sim_thread *thread, bool leaves)
{
	unsigned process = thread->process;
	int result;

	shmkit_pool_close(pool_handles[process]);
	if (leaves) {
		for (unsigned i = 0; i < pool_known.object_count; i++)
			pool_known.objects[i].leaving |= pool_known.objects[i].owner == process;
		shmkit_segment_close(fixture_segments[process]);
		for (unsigned i = 0; i < pool_known.object_count; i++)
			pool_known.objects[i].left |= pool_known.objects[i].owner == process;
		result = shmkit_segment_open("s", 0, &fixture_segments[process]);
		if (result) {
			/* newcomers may have taken all ids, or one stands still on his way out */
			if (!(result == -EBUSY && sim_freezes))
				expect("open", result, -EUSERS);
			program_of(thread)->given_up = true;
			return;
		}
	}
	result = shmkit_pool_open(fixture_segments[process], "p", FIXTURE_ELEMENT, &pool_handles[process]);
	expect("open", result, 0);
}

/* A newcomer takes an id that may have been a dead one's, and does what the rest says. */
static void attach(struct sim_thread *thread)
{
	if (fixture_attach(thread))
		expect("open", shmkit_pool_open(fixture_segments[thread->process], "p", FIXTURE_ELEMENT,
						&pool_handles[thread->process]), 0);
	else
		program_of(thread)->given_up = true;
}

static void operate_on_shared(struct sim_thread *thread, unsigned operation, struct pool_object *object)
{
	if (!object)
		return;
	switch (operation) {
	case POOL_RELEASE_SHARED:
		release(thread, object);
		break;
	case POOL_RENEW_SHARED:
		release(thread, object);
		acquire_some(thread, 1);
		break;
	case POOL_ADOPT_SHARED:
		adopt(thread, object);
		break;
	case POOL_READ:
		read_shared(thread, object);
		break;
	case POOL_VIEW:
		view_shared(thread, object);
		break;
	default:
		look_at_owner(thread, object);
		break;
	}
}

void pool_operate(struct sim_thread *thread, unsigned operation)
{
	pool_start(thread);
	switch (operation) {
	case POOL_ACQUIRE:
	case POOL_ACQUIRE_2:
		acquire_some(thread, operation - POOL_ACQUIRE + 1);
		break;
	case POOL_ACQUIRE_ALL:
		acquire_some(thread, 4);
		break;
	case POOL_RELEASE:
	case POOL_RELEASE_ACQUIRE:
		release_one(thread);
		acquire_some(thread, operation - POOL_RELEASE);
		break;
	case POOL_ADOPT:
		adopt_one(thread);
		break;
	case POOL_READ_NEW:
		read_new(thread);
		break;
	case POOL_WALK:
		walk(thread);
		break;
	case POOL_RELEASE_FOUND:
		release_found(thread);
		break;
	case POOL_RECLAIM:
		reclaim(thread);
		break;
	case POOL_REPAIR:
		expect("recover", shmkit_segment_recover(fixture_segments[thread->process], NULL), 0);
		break;
	case POOL_FIGURES:
		look_at_figures(thread);
		break;
	case POOL_CHECK:
		expect("check", shmkit_segment_check(fixture_segments[thread->process]), 0);
		break;
	case POOL_CLOSE:
	case POOL_LEAVE:
		if (!fixture_shares_process(thread))
			close_and_open(thread, operation == POOL_LEAVE);
		break;
	case POOL_ATTACH:
		if (!fixture_shares_process(thread))
			attach(thread);
		break;
	default:
		operate_on_shared(thread, operation, shared());
	}
}
