#include "table.h"

#include "copy.h"
#include "lock.h"
#include "member.h"
#include "object.h"
#include "repair.h"
#include "space.h"
#include "sys.h"
#include "wait.h"

#include <errno.h>
#include <string.h>

#define COPY_ROUNDS 10000u                  /* an entry does not change that often in a copy's time */
#define LOCK_TIMEOUT_NS INT64_C(2000000000)
#define MAKING_TIMEOUT_NS INT64_C(30000000000)

static const char lock_name[] = "the name table";

/* ---- names ---- */

#define SPREAD UINT64_C(0x9e3779b97f4a7c15)

static uint64_t mix(uint64_t hash, uint64_t bytes)
{
	hash = (hash ^ bytes) * SPREAD;
	return hash ^ hash >> 32;           /* the last bytes of a word reach the upper bits alone */
}

/* Where 8 bytes of a longer name are taken for those from at: the last overlap those before. */
static size_t word_at(size_t at, size_t size)
{
	return at + 8 <= size ? at : size - 8;
}

int shk_table_check_name(const struct shmkit_segment *segment, const char *text,
			 struct shk_name *ret_name)
{
	static const uint8_t masks[15] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	size_t limit = segment->geometry.name_size - 1, size;
	uint64_t hash, bytes, first = 0;

	if (!text || !text[0])
		return shk_fail(-EINVAL, "a structure needs a name of 1 to %zu bytes; none was given",
				limit);
	size = strlen(text) + 1;
	if (size > limit + 1)
		return shk_fail(-ENAMETOOLONG, "name '%.60s%s' has %zu bytes; names in segment '%s' have up "
					       "to %zu", text, size > 61 ? "..." : "", size - 1,
				segment->title, limit);
	if (size >= 8)
		memcpy(&first, text, 8);
	else
		memcpy(&first, text, size);
	hash = mix(0, first);
	for (size_t at = 8; at < size; at += 8) {
		memcpy(&bytes, text + word_at(at, size), 8);
		hash = mix(hash, bytes);
	}
	ret_name->text = text;
	ret_name->size = (uint32_t)size;
	ret_name->hash = (uint32_t)(hash * SPREAD >> 32);
	ret_name->first = first;
	memcpy(&ret_name->mask, masks + (size < 8 ? 8 - size : 0), 8);
	return 0;
}

/* Races with one who fills the entry: what it says holds when the word has not changed meanwhile. */
static bool has_name(const struct shmkit_segment *segment, uint32_t index, const struct shk_name *name)
{
	const char *text = shk_entry_name(segment, index);
	/* relaxed: as a copy; and names are padded to 8 bytes */
	uint64_t there = shk_load_relaxed((const shk_u64 *)(const void *)text), here;

	if ((there ^ name->first) & name->mask)
		return false;
	for (size_t at = 8; at < name->size; at += 8) {
		shk_copy_racing(&there, text + word_at(at, name->size), 8);
		memcpy(&here, name->text + word_at(at, name->size), 8);
		if (there != here)
			return false;
	}
	return true;
}

/*
 * With wanted the name is not copied but held against it, and another is SHK_ENTRY_FREE; else it
 * goes to ret_name, if that is not NULL.
 */
static unsigned copy_entry(struct shmkit_segment *segment, uint32_t index, const struct shk_name *wanted,
			   char *ret_name, struct shk_entry_copy *ret_copy)
{
	struct shk_entry_shm *entry = shk_entry(segment, index);
	uint32_t name_size = segment->geometry.name_size;

	ret_copy->index = index;
	ret_copy->name = wanted ? wanted->text : ret_name;
	for (unsigned round = 0; round < COPY_ROUNDS; round++) {
		bool same = true;

		/* table:R acquire. Pairs with table:W: fields before the word. */
		ret_copy->word = shk_load_acquire(&entry->word);
		if (shk_entry_state(ret_copy->word) == SHK_ENTRY_FREE)
			return SHK_ENTRY_FREE;
		shk_copy_racing(&ret_copy->fields, entry, sizeof(ret_copy->fields));
		if (wanted) {
			same = has_name(segment, index, wanted);
		} else if (ret_name) {
			shk_copy_racing(ret_name, shk_entry_name(segment, index), name_size);
			ret_name[name_size - 1] = '\0';
		}
		shk_fence_acquire();
		/* relaxed: the fence orders the copy before it */
		if (shk_load_relaxed(&entry->word) == ret_copy->word)
			return same ? shk_entry_state(ret_copy->word) : SHK_ENTRY_FREE;
		/* again: INIT that has become LIVE is not FREE */
	}
	return SHK_ENTRY_FREE;              /* a peer that does nothing but change it */
}

unsigned shk_table_copy(struct shmkit_segment *segment, uint32_t index, char *ret_name,
			struct shk_entry_copy *ret_copy)
{
	return copy_entry(segment, index, NULL, ret_name, ret_copy);
}

static bool is_taken(unsigned state, bool making)
{
	return state == SHK_ENTRY_LIVE || (making && state == SHK_ENTRY_INIT);
}

/*
 * A hint is {upper half of the name's hash, entry + 1}: where a name was found last, by any thread
 * of this process. Nothing rests on it: the entry itself tells whether it has that name, and where
 * it has not all are looked through. So the accesses are relaxed, and one that is lost is lost.
 */
#define HINT_TAG UINT32_C(0xffff0000)

_Static_assert(SHK_MAX_ENTRIES < 0xffff, "an entry fits a hint");

uint32_t shk_table_hint_mask(uint32_t max_entries)
{
	uint32_t groups = 1;

	/* a full table fills an eighth of it: hardly a name finds its group taken by others */
	while (groups < 2 * max_entries)
		groups *= 2;
	return groups - 1;
}

static uint32_t *hints_of(const struct shmkit_segment *segment, const struct shk_name *name)
{
	return segment->hints + (name->hash & segment->hint_mask) * SHK_HINT_WAYS;
}

static bool is_hint_for(uint32_t hint, const struct shk_name *name)
{
	return ((hint ^ name->hash) & HINT_TAG) == 0 && hint & ~HINT_TAG;
}

static void keep_hint(struct shmkit_segment *segment, const struct shk_name *name, uint32_t index)
{
	uint32_t *hints = hints_of(segment, name);
	uint32_t way;

	for (way = 0; way < SHK_HINT_WAYS; way++) {
		uint32_t hint = __atomic_load_n(&hints[way], __ATOMIC_RELAXED);

		if (hint == 0 || is_hint_for(hint, name))
			break;
	}
	/* all are others', which may be gone by now: each makes room in turn */
	if (way == SHK_HINT_WAYS)
		way = __atomic_fetch_add(&segment->hint_turn, 1, __ATOMIC_RELAXED) % SHK_HINT_WAYS;
	__atomic_store_n(&hints[way], (name->hash & HINT_TAG) | (index + 1), __ATOMIC_RELAXED);
}

static bool find_by_hint(struct shmkit_segment *segment, const struct shk_name *name, bool making,
			 struct shk_entry_copy *ret_copy)
{
	const uint32_t *hints = hints_of(segment, name);

	for (uint32_t way = 0; way < SHK_HINT_WAYS; way++) {
		uint32_t hint = __atomic_load_n(&hints[way], __ATOMIC_RELAXED);

		if (is_hint_for(hint, name) &&
		    is_taken(copy_entry(segment, (hint & ~HINT_TAG) - 1, name, NULL, ret_copy), making))
			return true;
	}
	return false;
}

bool shk_table_find(struct shmkit_segment *segment, const struct shk_name *name, bool making,
		    struct shk_entry_copy *ret_copy)
{
	if (find_by_hint(segment, name, making, ret_copy))
		return true;
	for (uint32_t index = 0; index < segment->geometry.max_entries; index++) {
		unsigned state = shk_entry_state(shk_load_acquire(&shk_entry(segment, index)->word));

		if (!is_taken(state, making) || !has_name(segment, index, name))
			continue;
		if (is_taken(copy_entry(segment, index, name, NULL, ret_copy), making)) {
			keep_hint(segment, name, index);
			return true;
		}
	}
	return false;
}

/* ---- making ---- */

/* Under the table lock. */
static int take_entry(struct shmkit_segment *segment, const struct shk_name *name,
		      const struct shk_shape *shape, struct shk_entry_copy *ret_copy)
{
	struct shk_entry_shm *entry = NULL, fields;
	char text[SHK_MAX_NAME_SIZE] = { 0 };
	uint64_t offset, word = 0;
	uint32_t index;
	int result;

	if (shk_table_find(segment, name, true, ret_copy))
		return shk_fail(-EEXIST, "segment '%s' already holds '%s'", segment->title,
				name->text);
	for (index = 0; index < segment->geometry.max_entries; index++) {
		entry = shk_entry(segment, index);
		word = shk_load_acquire(&entry->word);
		if (shk_entry_state(word) == SHK_ENTRY_FREE)
			break;
	}
	if (index == segment->geometry.max_entries)
		return shk_fail(-ENOSPC, "the table of segment '%s' is full: all %u entries are taken; "
					 "remove one, or create the segment with a larger table",
				segment->title, segment->geometry.max_entries);
	result = shk_space_find(segment, shape->size,
				shape->alignment > SHK_EXTENT_ALIGN ? shape->alignment : SHK_EXTENT_ALIGN,
				name->text, &offset);
	if (result)
		return result;
	fields = (struct shk_entry_shm){
		.word = word, .offset = offset, .size = shape->size, .capacity = shape->capacity,
		.requested = shape->requested, .element_size = shape->element_size, .kind = shape->kind,
		.flags = shape->flags, .alignment = shape->alignment, .schema_size = shape->schema_size,
	};
	memcpy(text, name->text, name->size);
	/* table:F release. Pairs with the fence of table:R: FREE before what is filled in. */
	shk_fence_release();
	shk_copy_racing(&entry->offset, &fields.offset, sizeof(fields) - sizeof(fields.word));
	shk_copy_racing(shk_entry_name(segment, index), text, segment->geometry.name_size);
	/* Dies here: a FREE entry. */
	SHK_POINT("table.filled");
	ret_copy->word = shk_entry_word(shk_entry_generation(word) + 1, SHK_ENTRY_INIT,
					segment->member_id);
	ret_copy->index = index;
	ret_copy->name = name->text;
	ret_copy->fields = fields;
	/* table:W release. Pairs with table:R. */
	shk_store_release(&entry->word, ret_copy->word);
	/* Dies here: INIT(dead). Repair: DYING, then reaped. */
	SHK_POINT("table.init");
	return 0;
}

/* Memory behind the extent, all of it zero: a predecessor may have left bytes. */
static int give_memory(struct shmkit_segment *segment, uint64_t offset, uint64_t size)
{
	uint64_t available;
	int result;

	if (segment->geometry.flags & SHMKIT_SEGMENT_POPULATE) {
		memset(segment->base + offset, 0, (size_t)size);   /* all there, and to stay */
		return 0;
	}
	if (!shk_segment_fd_is_ours(segment))
		return -ESTALE;             /* closed by somebody in this process */
	/* What cannot fit is refused before it has filled the machine's memory in trying. */
	if (shk_available(segment->fd, &available) == 0 && available < size)
		return -ENOSPC;
	result = shk_punch(segment->fd, offset, size);
	return result ? result : shk_allocate(segment->fd, offset, size);
}

static void take_memory(struct shmkit_segment *segment, uint64_t offset, uint64_t size)
{
	if (!(segment->geometry.flags & SHMKIT_SEGMENT_POPULATE) &&
	    shk_space_is_inside(segment, offset, size) && shk_segment_fd_is_ours(segment))
		shk_punch(segment->fd, offset, size);
}

static int reserve(struct shmkit_segment *segment, const struct shk_name *name,
		   const struct shk_shape *shape, struct shk_entry_copy *ret_copy)
{
	shk_u64 *lock = &shk_header(segment)->table_lock;
	uint64_t word;
	int result;

	shk_table_reap(segment);
	result = shk_lock_word_acquire(segment, lock, LOCK_TIMEOUT_NS, lock_name, &word);
	if (result)
		return result;
	result = take_entry(segment, name, shape, ret_copy);
	shk_lock_word_release(lock, word);
	if (result)
		return result;
	/* The owner of INIT alone touches the extent. */
	result = give_memory(segment, ret_copy->fields.offset, shape->size);
	if (!result)
		return 0;
	shk_table_abandon(segment, ret_copy);
	return shk_fail(result, "'%s' needs %llu bytes of memory in segment '%s', and the file system in "
				SHK_SHM_DIR " could not give them: %s", name->text,
			(unsigned long long)shape->size, segment->title, strerror(-result));
}

int shk_table_reserve(struct shmkit_segment *segment, const struct shk_name *name,
		      const struct shk_shape *shape, struct shk_entry_copy *ret_copy)
{
	int result = reserve(segment, name, shape, ret_copy);

	if (result != -ENOSPC)
		return result;
	/* What the dead were making, removing or giving back is room too. */
	shk_repair_dead(segment, NULL);
	return reserve(segment, name, shape, ret_copy);
}

uint64_t shk_table_live_word(const struct shk_entry_copy *copy)
{
	return shk_entry_word(shk_entry_generation(copy->word), SHK_ENTRY_LIVE, 0);
}

void shk_table_commit(struct shmkit_segment *segment, struct shk_entry_copy *copy)
{
	shk_u64 *entry_word = &shk_entry(segment, copy->index)->word;
	uint64_t live = shk_table_live_word(copy);

	/* table:C release. Pairs with table:R of openers: the whole structure before its name. */
	shk_cas_seq_cst(entry_word, copy->word, live);
	/* Dies here: committed; those who wait for the name look when their slice ends. */
	SHK_POINT("table.live");
	copy->word = live;
	shk_event_signal(&shk_header(segment)->table_event);
}

void shk_table_abandon(struct shmkit_segment *segment, const struct shk_entry_copy *copy)
{
	/* What was allocated goes back while the extent is still ours. */
	take_memory(segment, copy->fields.offset, copy->fields.size);
	shk_cas_seq_cst(&shk_entry(segment, copy->index)->word, copy->word,
			shk_entry_word(shk_entry_generation(copy->word), SHK_ENTRY_FREE, 0));
	shk_event_signal(&shk_header(segment)->table_event);
}

struct made {
	struct shmkit_segment *segment;
	const struct shk_entry_copy *copy;
};

static int64_t try_made(void *context)
{
	const struct made *made = context;
	struct shmkit_segment *segment = made->segment;
	const shk_u64 *word = &shk_entry(segment, made->copy->index)->word;
	unsigned owner = shk_entry_owner(made->copy->word);
	bool live;

	if (shk_load_acquire(word) != made->copy->word)
		return 0;
	/* An id is given back only after its INIT was undone: seen without a member, the word must be gone. */
	live = owner < segment->geometry.max_members &&
	       (shk_load_acquire(&shk_member(segment, owner)->word) & SHK_MEMBER_LIVE);
	if (live || shk_load_acquire(word) != made->copy->word)
		return -EAGAIN;
	return shk_fail(-EBADMSG, "segment '%s' is damaged: '%s' is being made by member %u, which there is "
				  "not", segment->title, made->copy->name, owner);
}

int shk_table_wait_made(struct shmkit_segment *segment, const struct shk_entry_copy *copy)
{
	struct made made = { segment, copy };
	unsigned owner = shk_entry_owner(copy->word);
	int64_t result;

	do
		result = shk_wait_until(segment, &shk_header(segment)->table_event, MAKING_TIMEOUT_NS,
					try_made, &made);
	while (result == -EINTR || result == -ECANCELED);
	if (result == -ETIMEDOUT)
		return shk_fail(-EBUSY, "'%s' in segment '%s' is being made by process %d, which is alive "
					"but does not go on", copy->name, segment->title,
				owner < segment->geometry.max_members ?
					(int)shk_load_relaxed(&shk_member(segment, owner)->pid) : 0);
	return (int)result;
}

static bool may_be_touched(struct shmkit_segment *segment, uint32_t index)
{
	/* seq_cst: DYING before the bits are read; openers set their bit before they read the word */
	return shk_member_any_open(segment, index) || !shk_segment_fd_is_ours(segment) ||
	       shk_probe_any(segment->fd, SHK_LOCK_ENTRY + index, 1) != 0;
}

static void reap(struct shmkit_segment *segment, uint32_t index, uint64_t word)
{
	struct shk_entry_shm *entry = shk_entry(segment, index);
	uint64_t generation = shk_entry_generation(word) + 1;
	uint64_t mine = shk_entry_word(generation, SHK_ENTRY_REAP, segment->member_id);

	if (!shk_cas_seq_cst(&entry->word, word, mine))
		return;
	/* Dies here: REAP(dead). Repair: DYING, then reaped again. */
	SHK_POINT("table.reap");
	/* read only now, when nobody else may fill it in */
	take_memory(segment, entry->offset, entry->size);
	shk_cas_seq_cst(&entry->word, mine, shk_entry_word(generation, SHK_ENTRY_FREE, 0));
	SHK_POINT("table.free");
}

void shk_table_reap(struct shmkit_segment *segment)
{
	if (segment->read_only || !segment->member_word)
		return;                     /* a visitor has no id to reap with */
	/* relaxed, before the look: a thread that meets one says so after any that had met none before */
	__atomic_store_n(&segment->unreaped, 0, __ATOMIC_RELAXED);
	for (uint32_t index = 0; index < segment->geometry.max_entries; index++) {
		uint64_t word = shk_load_seq_cst(&shk_entry(segment, index)->word);

		if (shk_entry_state(word) != SHK_ENTRY_DYING)
			continue;
		if (may_be_touched(segment, index))
			__atomic_store_n(&segment->unreaped, 1, __ATOMIC_RELAXED);
		else
			reap(segment, index, word);
	}
}

void shk_table_repair(const struct shk_dead *dead, uint32_t index)
{
	shk_u64 *entry_word = &shk_entry(dead->segment, index)->word;
	uint64_t word = shk_load_acquire(entry_word);
	unsigned state = shk_entry_state(word);

	if ((state != SHK_ENTRY_INIT && state != SHK_ENTRY_REAP) ||
	    shk_entry_owner(word) != dead->id || !shk_still_dead(dead))
		return;
	if (!shk_cas_seq_cst(entry_word, word,
			     shk_entry_word(shk_entry_generation(word), SHK_ENTRY_DYING, 0)))
		return;
	SHK_POINT("table.undone");
	if (state == SHK_ENTRY_INIT)
		dead->report->rolled_back++;
	shk_event_signal(&shk_header(dead->segment)->table_event);
}
