/*
 * Handles of structures: made, opened, closed, refused.
 */
#include "object.h"

#include "member.h"
#include "shape.h"
#include "sys.h"
#include "table.h"
#include "wait.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- entries ---- */

/* Fills object from a copied entry. 0, -EBADMSG: then what is in it means nothing. */
static int bind(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
		const struct shk_kind *kind, struct shk_object *object)
{
	if (!kind || shk_shape_from_entry(kind, &copy->fields, &object->shape) ||
	    copy->fields.offset < segment->geometry.data_offset ||
	    copy->fields.offset % SHK_EXTENT_ALIGN)
		return -EBADMSG;
	object->base = shk_at(segment, copy->fields.offset, copy->fields.size);
	if (!object->base)
		return -EBADMSG;
	object->segment = segment;
	object->kind = kind;
	object->entry_word = &shk_entry(segment, copy->index)->word;
	object->live_word = copy->word;
	object->entry = copy->index;
	object->offset = copy->fields.offset;
	return 0;
}

int shk_object_borrow(struct shmkit_segment *segment, uint32_t entry, struct shk_object *ret_object)
{
	struct shk_entry_copy copy;

	if (shk_table_copy(segment, entry, NULL, &copy) != SHK_ENTRY_LIVE)
		return -ENOENT;
	/* object:O seq_cst, as in attach(): the open bit before this, DYING before the bits are read. */
	if (shk_load_seq_cst(&shk_entry(segment, entry)->word) != copy.word)
		return -ENOENT;
	return bind(segment, &copy, shk_kind_of(copy.fields.kind), ret_object);
}

/* ---- open bits and the locks of read-only openers ---- */

/* This process's first use of an entry tells the others. */
static int use_entry(struct shmkit_segment *segment, uint32_t entry)
{
	int result = 0;

	pthread_mutex_lock(&segment->mutex);
	if (segment->open_counts[entry]++ == 0) {
		if (!segment->read_only)
			shk_member_announce(segment, entry, true);
		else
			result = shk_lock_read(segment->fd, SHK_LOCK_ENTRY + entry);
		if (result)
			segment->open_counts[entry]--;
	}
	pthread_mutex_unlock(&segment->mutex);
	return result;
}

/*
 * After an open bit was cleared. object:C seq_cst. The bit before this, DYING before the remover
 * read the bits (remove:W): either this sees DYING, or he has seen no bit of ours and reaps. Where
 * several clear theirs, the one whose bit was cleared last sees none. What nobody could see off,
 * for a read-only opener was there, which tells nobody that it goes, is tried again by whoever has
 * met it: unreaped. That word is private, and a hint.
 */
static void reap_behind(struct shmkit_segment *segment, uint32_t entry)
{
	if (shk_entry_state(shk_load_seq_cst(&shk_entry(segment, entry)->word)) == SHK_ENTRY_DYING ||
	    __atomic_load_n(&segment->unreaped, __ATOMIC_RELAXED))
		shk_table_reap(segment);
}

/* What is left in this member's name. */
static void give_back(struct shk_object *object)
{
	struct shmkit_segment *segment = object->segment;
	struct shmkit_recovery unwanted = { 0 };
	struct shk_dead self = { .segment = segment, .id = segment->member_id,
				 .word = segment->member_word, .report = &unwanted };

	object->kind->repair(object, &self);
}

/*
 * After the last use: gives back what is left in this member's name, then says so. The mutex is
 * held. object may be NULL when the structure was removed.
 */
static void stop_using(struct shmkit_segment *segment, uint32_t entry, struct shk_object *object)
{
	if (--segment->open_counts[entry] != 0)
		return;
	if (segment->read_only) {
		shk_lock_drop(segment->fd, SHK_LOCK_ENTRY + entry);
		return;
	}
	/*
	 * Only while it still is what it was: an open that came too late has announced an entry whose
	 * extent may be another's by now. LIVE after the bit was set, the extent cannot go away.
	 */
	if (object && object->kind->repair && shk_load_seq_cst(object->entry_word) == object->live_word)
		give_back(object);
	SHK_POINT("object.given_back");
	shk_member_announce(segment, entry, false);
}

/*
 * The repairer keeps the extent from being used again under its hands: it may stand still between
 * two stores. Like an opener it announces itself before it looks whether the entry is LIVE; one
 * who is no member yet does it as read-only openers do. A structure that was removed needs no
 * repair.
 */
bool shk_object_repair(const struct shk_dead *dead, uint32_t entry)
{
	struct shmkit_segment *segment = dead->segment;
	bool visitor = segment->member_id == SHK_NO_MEMBER;
	struct shk_object object;
	bool found;

	if (visitor ? shk_lock_read(segment->fd, SHK_LOCK_ENTRY + entry) : use_entry(segment, entry))
		return false;
	SHK_POINT("object.repairer_announced");
	found = shk_object_borrow(segment, entry, &object) == 0;
	if (found && object.kind->repair)
		object.kind->repair(&object, dead);
	if (visitor) {
		shk_lock_drop(segment->fd, SHK_LOCK_ENTRY + entry);
		return true;
	}
	pthread_mutex_lock(&segment->mutex);
	stop_using(segment, entry, found ? &object : NULL);
	pthread_mutex_unlock(&segment->mutex);
	return true;
}

int shk_object_visit(struct shmkit_segment *segment, uint32_t entry, struct shk_object *ret_object)
{
	int result = 0;

	pthread_mutex_lock(&segment->mutex);
	if (segment->open_counts[entry] == 0) {
		if (segment->read_only)
			result = shk_lock_read(segment->fd, SHK_LOCK_ENTRY + entry);
		else
			shk_member_announce(segment, entry, true);
	}
	if (result) {
		pthread_mutex_unlock(&segment->mutex);
		return -EAGAIN;
	}
	result = shk_object_borrow(segment, entry, ret_object);
	if (result)
		shk_object_end_visit(segment, entry);
	return result;
}

void shk_object_end_visit(struct shmkit_segment *segment, uint32_t entry)
{
	if (segment->open_counts[entry] == 0) {
		if (segment->read_only)
			shk_lock_drop(segment->fd, SHK_LOCK_ENTRY + entry);
		else
			shk_member_announce(segment, entry, false);
	}
	pthread_mutex_unlock(&segment->mutex);
	/* Dies here: nothing announced, perhaps DYING. Whoever looks next reaps. */
	SHK_POINT("object.visited");
	reap_behind(segment, entry);
}

static void leave_entry(struct shk_object *object, bool joined)
{
	struct shmkit_segment *segment = object->segment;

	if (!joined) {
		/* a forked child, alone: a thread of its parent may have held the mutex */
		segment->open_counts[object->entry]--;
		return;
	}
	pthread_mutex_lock(&segment->mutex);
	stop_using(segment, object->entry, object);
	pthread_mutex_unlock(&segment->mutex);
	/* Dies here: nothing announced, perhaps DYING. Whoever looks next reaps. */
	SHK_POINT("object.left");
	reap_behind(segment, object->entry);
}

/* ---- life ---- */

/* A handle on a copied entry, announced. */
static int make_handle(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
		       struct shk_object **ret_object)
{
	const struct shk_kind *kind = shk_kind_of(copy->fields.kind);
	struct shk_object *object = kind ? malloc(kind->handle_size) : NULL;
	int result;

	if (kind && !object)
		return shk_fail(-ENOMEM, "no memory for a handle of '%s'", copy->name);
	if (bind(segment, copy, kind, object)) {
		free(object);
		return shk_fail(-EBADMSG, "segment '%s': the entry of '%s' is damaged (kind %u, element size %u, "
					  "offset %" PRIu64 ", size %" PRIu64 ")", segment->title, copy->name,
				copy->fields.kind, copy->fields.element_size, copy->fields.offset,
				copy->fields.size);
	}
	memset(object + 1, 0, kind->handle_size - sizeof(*object));
	result = use_entry(segment, copy->index);
	if (result) {
		free(object);
		return shk_fail(result, "'%s' in segment '%s' could not be locked for reading: %s",
				copy->name, segment->title, strerror(-result));
	}
	shk_segment_get(segment);
	*ret_object = object;
	return 0;
}

static void drop_handle(struct shk_object *object)
{
	struct shmkit_segment *segment = object->segment;

	leave_entry(object, true);
	free(object);
	shk_segment_put(segment);
}

/* A handle on a copied LIVE entry: announces, then makes sure that it still is what it was. */
static int attach(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
		  struct shk_object **ret_object)
{
	struct shk_object *object;
	int result = make_handle(segment, copy, &object);

	if (result)
		return result;
	SHK_POINT("object.announced");
	/* object:O seq_cst. The open bit before this, DYING before the reaper reads the bits. */
	if (shk_load_seq_cst(object->entry_word) != object->live_word)
		result = -ESTALE;
	else if (object->kind->open)
		result = object->kind->open(object);
	if (result) {
		drop_handle(object);
		return result;
	}
	*ret_object = object;
	return 0;
}

static int no_result(void)
{
	return shk_fail(-EINVAL, "the result pointer is NULL");
}

static int check_arguments(struct shmkit_segment *segment, const char *text, struct shk_name *ret_name)
{
	int result;

	if (!segment)
		return shk_fail(-EINVAL, "segment is NULL");
	result = shk_table_check_name(segment, text, ret_name);
	return result ? result : shk_segment_enter(segment);
}

/* The end of a call that made a handle: none on what is lost. */
static int leave(struct shmkit_segment *segment, int result, struct shk_object *object,
		 struct shk_object **ret_object)
{
	int left = shk_segment_leave(segment, result);

	if (left >= 0)
		*ret_object = object;
	else if (result >= 0)
		shk_object_close(object);
	return left;
}

static int open_existing(struct shmkit_segment *segment, const char *text, uint32_t kind,
			 uint32_t element_size, struct shk_object **ret_object)
{
	struct shk_entry_copy copy;
	struct shk_name name;
	int result = check_arguments(segment, text, &name);

	if (result)
		return result;
	do {
		if (!shk_table_find(segment, &name, false, &copy))
			return shk_fail(-ENOENT, "segment '%s' holds no '%s'; shmkit_segment_wait_for() waits "
						 "until it is made", segment->title, text);
		result = shk_shape_check_kind(segment, &copy, kind, element_size);
		if (!result)
			result = attach(segment, &copy, ret_object);
	} while (result == -ESTALE);
	return result;
}

/*
 * 0; -EEXIST with *ret_found telling who has the name. The handle is there before the name is: a
 * structure that is removed at once is stale to its maker, like to everybody, and not a failure.
 */
static int create(struct shmkit_segment *segment, const struct shk_name *name,
		  const struct shk_shape *shape, const char *schema, uint64_t initial,
		  struct shk_entry_copy *ret_found, struct shk_object **ret_object)
{
	struct shk_object *object;
	uint64_t room = (shape->schema_size + 7u) & ~7u;
	int result = shk_table_reserve(segment, name, shape, ret_found);

	if (result)
		return result;
	result = make_handle(segment, ret_found, &object);
	if (result) {
		shk_table_abandon(segment, ret_found);
		return result;
	}
	object->kind->init(object, initial);
	if (shape->schema_size)
		memcpy(object->base + shape->size - room, schema, shape->schema_size);
	object->live_word = shk_table_live_word(ret_found);
	result = object->kind->open ? object->kind->open(object) : 0;
	if (result) {
		drop_handle(object);
		shk_table_abandon(segment, ret_found);
		return result;
	}
	SHK_POINT("object.made");
	shk_table_commit(segment, ret_found);
	*ret_object = object;
	return 0;
}

static int enter_create(struct shmkit_segment *segment, const char *name)
{
	if (segment->read_only)
		return shk_fail(-EROFS, "'%s' cannot be created in segment '%s', which is open read-only; open "
					"it without SHMKIT_READ_ONLY to write", name, segment->title);
	return shk_segment_enter(segment);
}

static int create_new(struct shmkit_segment *segment, const char *text, uint32_t kind,
		      uint32_t element_size, uint64_t capacity,
		      const struct shmkit_object_options *options, uint64_t initial,
		      struct shk_object **ret_object)
{
	char schema[SHK_SCHEMA_SIZE];
	struct shk_entry_copy found;
	struct shk_shape shape;
	struct shk_name name;
	int result = check_arguments(segment, text, &name);

	if (!result)
		result = enter_create(segment, text);
	if (!result)
		result = shk_shape_from_options(kind, element_size, capacity, options, &shape, schema);
	if (result)
		return result;
	do {
		result = create(segment, &name, &shape, schema, initial, &found, ret_object);
		if (result != -EEXIST || shk_entry_state(found.word) == SHK_ENTRY_LIVE)
			return result;
		/* Somebody is making it: it exists once he is done, or he died and it does not. */
		result = shk_table_wait_made(segment, &found);
	} while (result == 0);
	return result;
}

static int open_or_create(struct shmkit_segment *segment, const char *text, uint32_t kind,
			  uint32_t element_size, uint64_t capacity,
			  const struct shmkit_object_options *options, uint64_t initial,
			  struct shk_object **ret_object)
{
	char schema[SHK_SCHEMA_SIZE];
	struct shk_entry_copy found;
	struct shk_shape shape;
	struct shk_name name;
	int result = check_arguments(segment, text, &name);

	if (!result)
		result = shk_shape_from_options(kind, element_size, capacity, options, &shape, schema);
	if (result)
		return result;
	for (;;) {
		if (shk_table_find(segment, &name, false, &found)) {
			result = shk_shape_check_same(segment, &found, &shape);
			if (!result)
				result = attach(segment, &found, ret_object);
			if (!result) {
				result = shk_shape_check_schema(segment, &found, &shape, schema);
				if (result)
					drop_handle(*ret_object);
			}
			if (result != -ESTALE)
				return result;
			continue;
		}
		result = enter_create(segment, text);
		if (result)
			return result;
		result = create(segment, &name, &shape, schema, initial, &found, ret_object);
		if (result == 0)
			return 1;
		if (result != -EEXIST)
			return result;
		if (shk_entry_state(found.word) == SHK_ENTRY_INIT) {
			result = shk_table_wait_made(segment, &found);
			if (result)
				return result;
		}
	}
}

int shk_object_open(struct shmkit_segment *segment, const char *name, uint32_t kind,
		    uint32_t element_size, struct shk_object **ret_object)
{
	struct shk_object *object = NULL;
	int result = ret_object ? open_existing(segment, name, kind, element_size, &object)
				: no_result();

	return leave(segment, result, object, ret_object);
}

int shk_object_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
		      uint32_t element_size, uint64_t capacity,
		      const struct shmkit_object_options *options, uint64_t initial,
		      struct shk_object **ret_object)
{
	struct shk_object *object = NULL;
	int result = ret_object ? create_new(segment, name, kind, element_size, capacity, options, initial,
					     &object)
				: no_result();

	return leave(segment, result, object, ret_object);
}

int shk_object_open_or_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
			      uint32_t element_size, uint64_t capacity,
			      const struct shmkit_object_options *options, uint64_t initial,
			      struct shk_object **ret_object)
{
	struct shk_object *object = NULL;
	int result = ret_object ? open_or_create(segment, name, kind, element_size, capacity, options,
						 initial, &object)
				: no_result();

	return leave(segment, result, object, ret_object);
}

void shk_object_close(struct shk_object *object)
{
	struct shmkit_segment *segment;
	bool joined;

	if (!object)
		return;
	segment = object->segment;
	/* A forked child that has not joined gives nothing back: it holds nothing. */
	joined = segment->epoch == shk_process_epoch();
	if (object->kind->close)
		object->kind->close(object, joined && !segment->read_only);
	leave_entry(object, joined);
	free(object);
	shk_segment_put(segment);
}

/* ---- the slow ends of every call ---- */

const char *shk_object_name(const struct shk_object *object)
{
	static _Thread_local char name[SHK_MAX_NAME_SIZE];
	uint32_t size = object->segment->geometry.name_size;

	memcpy(name, shk_entry_name(object->segment, object->entry), size);
	name[size - 1] = '\0';
	return name;
}

int shk_object_refresh(struct shk_object *object)
{
	int result = shk_segment_enter(object->segment);

	if (result)
		return result;
	if (shk_load_acquire(object->entry_word) != object->live_word)
		return shk_fail_fixed(-ESTALE, "the structure was removed from its segment; close this handle "
					       "and open the name again");
	return 0;
}

int shk_object_read_only(const struct shk_object *object)
{
	return shk_fail(-EROFS, "'%s' was opened in a read-only segment ('%s'); open the segment without "
				"SHMKIT_READ_ONLY to write", shk_object_name(object),
			object->segment->title);
}

int64_t shk_object_lost(const struct shk_object *object)
{
	return shk_segment_lost(object->segment);
}

int shk_object_say_damaged(const struct shk_object *object, const char *format, ...)
{
	char what[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof(what), format, arguments);
	va_end(arguments);
	return shk_fail(-EBADMSG, "%s '%s' in segment '%s' is damaged: %s", object->kind->name,
			shk_object_name(object), object->segment->title, what);
}
