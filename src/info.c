/*
 * Looking at a segment: figures, names, members, soundness.
 */
#include "copy.h"
#include "life.h"
#include "lock.h"
#include "member.h"
#include "object.h"
#include "space.h"
#include "structs.h"
#include "sys.h"
#include "table.h"
#include "wait.h"

#include <errno.h>
#include <string.h>

static int null_segment(const char *what)
{
	return shk_fail(-EINVAL, "%s: segment is NULL", what);
}

/* Of two arguments, the segment and a cursor. */
static int null_argument(const char *what, const struct shmkit_segment *segment)
{
	return shk_fail(-EINVAL, "%s: %s is NULL", what, segment ? "cursor" : "segment");
}

/* Members LIVE and not dead, this one included. */
static uint32_t count_members(struct shmkit_segment *segment)
{
	return shk_member_count_others(segment) + (segment->member_id != SHK_NO_MEMBER);
}

static int do_get_info(struct shmkit_segment *segment, struct shmkit_segment_info *ret_info)
{
	struct shmkit_segment_info info = { 0 };
	struct shk_header_shm *header;
	int result;

	if (!segment)
		return null_segment("shmkit_segment_get_info");
	result = shk_struct_check(ret_info, sizeof(info), "shmkit_segment_get_info");
	if (!result)
		result = shk_segment_enter(segment);
	if (result)
		return result;
	header = shk_header(segment);
	info.format_version = header->format_version;
	info.size = shk_load_acquire(&header->size);
	info.max_size = segment->geometry.max_size;
	info.used = shk_space_used(segment);
	info.overhead = segment->geometry.data_offset;
	for (uint32_t index = 0; index < segment->geometry.max_entries; index++)
		info.entries += shk_entry_state(shk_load_acquire(&shk_entry(segment, index)->word)) ==
				SHK_ENTRY_LIVE;
	info.max_entries = segment->geometry.max_entries;
	info.members = count_members(segment);
	info.max_members = segment->geometry.max_members;
	info.name_size = segment->geometry.name_size;
	info.flags = segment->geometry.flags &
		     (SHMKIT_SEGMENT_PERSIST | SHMKIT_SEGMENT_HUGE_PAGES | SHMKIT_SEGMENT_POPULATE);
	if (!segment->name[0] || !shk_name_is_segment(segment))
		info.flags |= SHMKIT_SEGMENT_UNLINKED;
	info.recoveries = (uint32_t)shk_load_relaxed(&header->recoveries);   /* a figure */
	shk_struct_out(ret_info, &info, sizeof(info));
	return 0;
}

/* ---- names ---- */

static bool is_unchanged(struct shmkit_segment *segment, const struct shk_entry_copy *copy)
{
	return shk_load_acquire(&shk_entry(segment, copy->index)->word) == copy->word;
}

static void read_schema(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			struct shmkit_entry_info *ret_info)
{
	uint64_t room = (copy->fields.schema_size + 7u) & ~7u;
	const char *schema = room && room < copy->fields.size
				     ? shk_at(segment, copy->fields.offset + copy->fields.size - room, room)
				     : NULL;

	if (!schema || room > sizeof(ret_info->schema))
		return;
	memcpy(ret_info->schema, schema, copy->fields.schema_size);
	ret_info->schema[copy->fields.schema_size - 1] = '\0';
}

/* False: it was removed meanwhile. */
static bool entry_info(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
		       struct shmkit_entry_info *ret_info)
{
	struct shk_object object;
	int result;

	*ret_info = (struct shmkit_entry_info){
		.kind = copy->fields.kind, .offset = copy->fields.offset, .size = copy->fields.size,
		.capacity = copy->fields.capacity, .element_size = copy->fields.element_size,
		.flags = copy->fields.flags,
	};
	strlcpy(ret_info->name, copy->name, sizeof(ret_info->name));
	result = shk_object_visit(segment, copy->index, &object);
	if (result)
		return result != -ENOENT && is_unchanged(segment, copy);   /* damaged: what can be told */
	if (object.live_word == copy->word) {
		ret_info->used = object.kind->used(&object);
		read_schema(segment, copy, ret_info);
	}
	shk_object_end_visit(segment, copy->index);
	return object.live_word == copy->word;
}

int shk_object_get_info(const struct shk_object *object, struct shmkit_entry_info *ret_info)
{
	struct shmkit_entry_info info;
	char name[SHK_MAX_NAME_SIZE];
	struct shk_entry_copy copy;
	int result;

	if (!object)
		return shk_fail(-EINVAL, "get_info: the handle is NULL");
	result = shk_struct_check(ret_info, sizeof(info), "get_info");
	if (!result)
		result = shk_object_enter(object);
	if (result)
		return result;
	if (shk_table_copy(object->segment, object->entry, name, &copy) != SHK_ENTRY_LIVE ||
	    copy.word != object->live_word || !entry_info(object->segment, &copy, &info))
		return shk_fail_fixed(-ESTALE, "the structure was removed from its segment");
	shk_struct_out(ret_info, &info, sizeof(info));
	return 0;
}

static int do_find(struct shmkit_segment *segment, const char *text,
			struct shmkit_entry_info *ret_entry)
{
	struct shmkit_entry_info info;
	struct shk_entry_copy copy;
	struct shk_name name;
	int result;

	if (!segment)
		return null_segment("shmkit_segment_find");
	result = shk_table_check_name(segment, text, &name);
	if (!result && ret_entry)
		result = shk_struct_check(ret_entry, sizeof(info), "shmkit_segment_find");
	if (!result)
		result = shk_segment_enter(segment);
	if (result)
		return result;
	do {
		if (!shk_table_find(segment, &name, false, &copy))
			return shk_fail(-ENOENT, "segment '%s' holds no '%s'", segment->title, text);
	} while (ret_entry && !entry_info(segment, &copy, &info));
	if (ret_entry)
		shk_struct_out(ret_entry, &info, sizeof(info));
	return 0;
}

static int do_next_entry(struct shmkit_segment *segment, uint32_t *cursor,
			      struct shmkit_entry_info *ret_entry)
{
	struct shmkit_entry_info info;
	char name[SHK_MAX_NAME_SIZE];
	struct shk_entry_copy copy;
	int result;

	if (!segment || !cursor)
		return null_argument("shmkit_segment_next_entry", segment);
	result = shk_struct_check(ret_entry, sizeof(info), "shmkit_segment_next_entry");
	if (!result)
		result = shk_segment_enter(segment);
	if (result)
		return result;
	while (*cursor < segment->geometry.max_entries) {
		if (shk_table_copy(segment, (*cursor)++, name, &copy) != SHK_ENTRY_LIVE ||
		    !entry_info(segment, &copy, &info))
			continue;
		shk_struct_out(ret_entry, &info, sizeof(info));
		return 1;
	}
	return 0;
}

struct name_wait {
	struct shmkit_segment *segment;
	struct shk_name name;
};

static int64_t try_find(void *context)
{
	struct name_wait *wait = context;
	struct shk_entry_copy copy;
	int result = shk_segment_enter(wait->segment);

	if (result)
		return result;
	return shk_table_find(wait->segment, &wait->name, false, &copy) ? 0 : -EAGAIN;
}

static int do_wait_for(struct shmkit_segment *segment, const char *name, int64_t timeout_ns)
{
	struct name_wait wait = { .segment = segment };
	int result;

	if (!segment)
		return null_segment("shmkit_segment_wait_for");
	result = shk_table_check_name(segment, name, &wait.name);
	if (result)
		return result;
	result = (int)shk_wait_until(segment, &shk_header(segment)->table_event, timeout_ns, try_find, &wait);
	if (result == -ETIMEDOUT)
		return shk_fail(-ETIMEDOUT, "nobody made '%s' in segment '%s' within the time given", name,
				segment->title);
	return result;
}

static int do_remove(struct shmkit_segment *segment, const char *text)
{
	struct shk_entry_copy copy;
	struct shk_name name;
	uint64_t dying;
	int result;

	if (!segment)
		return null_segment("shmkit_segment_remove");
	result = shk_table_check_name(segment, text, &name);
	if (!result)
		result = shk_segment_enter_write(segment, "shmkit_segment_remove");
	if (result)
		return result;
	do {
		if (!shk_table_find(segment, &name, false, &copy))
			return shk_fail(-ENOENT, "segment '%s' holds no '%s' to remove", segment->title, text);
		dying = shk_entry_word(shk_entry_generation(copy.word), SHK_ENTRY_DYING, 0);
		/* remove:W seq_cst. Before the open bits are read; openers set theirs before they re-read. */
	} while (!shk_cas_seq_cst(&shk_entry(segment, copy.index)->word, copy.word, dying));
	/* Dies here: DYING. Whoever looks next reaps. */
	SHK_POINT("table.dying");
	shk_event_signal(&shk_header(segment)->table_event);
	shk_table_reap(segment);
	return 0;
}

/* ---- members ---- */

static int do_next_member(struct shmkit_segment *segment, uint32_t *cursor,
			       struct shmkit_member_info *ret_member)
{
	int result;

	if (!segment || !cursor)
		return null_argument("shmkit_segment_next_member", segment);
	result = shk_struct_check(ret_member, sizeof(*ret_member), "shmkit_segment_next_member");
	if (!result)
		result = shk_segment_enter(segment);
	if (result)
		return result;
	while (*cursor < segment->geometry.max_members) {
		uint32_t id = (*cursor)++;
		const struct shk_member_shm *member = shk_member(segment, id);
		uint64_t word = shk_load_acquire(&member->word), dead_word, beat;
		struct shmkit_member_info info = { .id = id };

		if (!(word & SHK_MEMBER_LIVE))
			continue;
		info.pid = shk_load_relaxed(&member->pid);   /* ordered by the word, here and below */
		info.attached_ns = shk_load_relaxed(&member->attached_ns);
		info.heartbeat_ns = shk_load_relaxed(&member->heartbeat_ns);
		beat = shk_load_relaxed(&member->heartbeat_mono_ns);
		info.heartbeat_age_ns = beat ? (uint64_t)shk_now_ns() - beat : UINT64_MAX;
		if (beat && (int64_t)info.heartbeat_age_ns < 0)
			info.heartbeat_age_ns = 0;
		shk_copy_racing(info.label, member->label, sizeof(info.label));
		info.label[sizeof(info.label) - 1] = '\0';
		info.alive = !shk_member_is_dead(segment, id, &dead_word);
		/* Pairs with the fence of its successor: FREE before what that one announces. */
		shk_fence_acquire();
		if (shk_load_relaxed(&member->word) != word)
			continue;           /* it left meanwhile */
		shk_struct_out(ret_member, &info, sizeof(info));
		return 1;
	}
	return 0;
}

int shmkit_segment_member_id(const struct shmkit_segment *segment)
{
	int result;

	if (!segment)
		return null_segment("shmkit_segment_member_id");
	result = shk_segment_enter_write((struct shmkit_segment *)(uintptr_t)segment,
					 "shmkit_segment_member_id");
	return result ? result : (int)segment->member_id;
}

static int do_set_label(struct shmkit_segment *segment, const char *label)
{
	char text[SHK_LABEL_SIZE] = { 0 };
	int result;

	if (!segment || !label)
		return segment ? shk_fail(-EINVAL, "shmkit_segment_set_label: label is NULL")
			       : null_segment("shmkit_segment_set_label");
	if (strlen(label) >= sizeof(text))
		return shk_fail(-ENAMETOOLONG, "label '%.80s' has %zu bytes; at most %zu are possible", label,
				strlen(label), sizeof(text) - 1);
	result = shk_segment_enter_write(segment, "shmkit_segment_set_label");
	if (result)
		return result;
	strlcpy(text, label, sizeof(text));
	/* a forked child keeps it */
	memcpy(segment->label, text, sizeof(text));
	shk_copy_racing(shk_member(segment, segment->member_id)->label, text, sizeof(text));
	return 0;
}

static int do_heartbeat(struct shmkit_segment *segment)
{
	struct shk_member_shm *member;
	int result;

	if (!segment)
		return null_segment("shmkit_segment_heartbeat");
	result = shk_segment_enter_write(segment, "shmkit_segment_heartbeat");
	if (result)
		return result;
	member = shk_member(segment, segment->member_id);
	/* relaxed: two figures for people */
	shk_store_relaxed(&member->heartbeat_ns, (uint64_t)shk_real_ns());
	shk_store_relaxed(&member->heartbeat_mono_ns, (uint64_t)shk_now_ns());
	return 0;
}

/* ---- soundness ---- */

static int damaged_entry(struct shmkit_segment *segment, const struct shk_entry_copy *copy,
			 const char *what)
{
	return shk_fail(-EBADMSG, "segment '%s': entry %u ('%s') is damaged: %s", segment->title, copy->index,
			copy->name, what);
}

static int check_entry(struct shmkit_segment *segment, uint32_t index)
{
	char name[SHK_MAX_NAME_SIZE], other_name[SHK_MAX_NAME_SIZE];
	struct shk_entry_copy copy, other;
	struct shk_object object;
	uint64_t word = shk_load_acquire(&shk_entry(segment, index)->word);
	unsigned state = shk_table_copy(segment, index, name, &copy);
	int result;

	if (shk_entry_state(word) > SHK_ENTRY_REAP)
		return shk_fail(-EBADMSG, "segment '%s': entry %u is in a state (%u) that there is not",
				segment->title, index, shk_entry_state(word));
	if (state != SHK_ENTRY_LIVE)
		return 0;
	if (!memchr(shk_entry_name(segment, index), '\0', segment->geometry.name_size) || !name[0])
		return damaged_entry(segment, &copy, "its name has no end or no beginning");
	result = shk_object_visit(segment, index, &object);
	if (result == -ENOENT || result == -EAGAIN)
		return 0;                   /* removed meanwhile; or not to be looked at without a risk */
	if (result)
		return damaged_entry(segment, &copy, "its kind, sizes and extent do not fit together");
	result = object.kind->check ? object.kind->check(&object) : 0;
	shk_object_end_visit(segment, index);
	for (uint32_t i = 0; i < index && !result; i++)
		if (shk_table_copy(segment, i, other_name, &other) == SHK_ENTRY_LIVE &&
		    strcmp(other_name, name) == 0 &&
		    shk_load_acquire(&shk_entry(segment, index)->word) == copy.word &&
		    shk_load_acquire(&shk_entry(segment, i)->word) == other.word)
			return damaged_entry(segment, &copy, "its name is there twice");
	return result;
}

static int do_check(struct shmkit_segment *segment)
{
	struct shk_geometry geometry;
	uint64_t lock;
	int result;

	if (!segment)
		return null_segment("shmkit_segment_check");
	result = shk_segment_enter(segment);
	if (result)
		return result;
	result = shk_geometry_of(segment, &geometry);
	if (result)
		return result == -EPROTO || result == -EPROTONOSUPPORT ? -EBADMSG : result;
	if (geometry.max_size != segment->geometry.max_size ||
	    geometry.data_offset != segment->geometry.data_offset ||
	    geometry.max_entries != segment->geometry.max_entries)
		return shk_fail(-EBADMSG, "segment '%s': its header has changed since it was opened",
				segment->title);
	lock = shk_load_acquire(&shk_header(segment)->table_lock);
	if (shk_lock_owner(lock) >= segment->geometry.max_members)
		return shk_fail(-EBADMSG, "segment '%s': the lock of its table names member %u of %u",
				segment->title, shk_lock_owner(lock), segment->geometry.max_members);
	result = shk_space_check(segment);
	for (uint32_t index = 0; index < segment->geometry.max_entries && !result; index++)
		result = check_entry(segment, index);
	return result;
}

/* ---- the public calls: what they say is not to come from pages put in place of lost ones ---- */

int shmkit_segment_get_info(struct shmkit_segment *segment, struct shmkit_segment_info *ret_info)
{
	return shk_segment_leave(segment, do_get_info(segment, ret_info));
}

int shmkit_segment_find(struct shmkit_segment *segment, const char *name,
			struct shmkit_entry_info *ret_entry)
{
	return shk_segment_leave(segment, do_find(segment, name, ret_entry));
}

int shmkit_segment_next_entry(struct shmkit_segment *segment, uint32_t *cursor,
			      struct shmkit_entry_info *ret_entry)
{
	return shk_segment_leave(segment, do_next_entry(segment, cursor, ret_entry));
}

int shmkit_segment_wait_for(struct shmkit_segment *segment, const char *name, int64_t timeout_ns)
{
	return shk_segment_leave(segment, do_wait_for(segment, name, timeout_ns));
}

int shmkit_segment_remove(struct shmkit_segment *segment, const char *name)
{
	return shk_segment_leave(segment, do_remove(segment, name));
}

int shmkit_segment_next_member(struct shmkit_segment *segment, uint32_t *cursor,
			       struct shmkit_member_info *ret_member)
{
	return shk_segment_leave(segment, do_next_member(segment, cursor, ret_member));
}

int shmkit_segment_set_label(struct shmkit_segment *segment, const char *label)
{
	return shk_segment_leave(segment, do_set_label(segment, label));
}

int shmkit_segment_heartbeat(struct shmkit_segment *segment)
{
	return shk_segment_leave(segment, do_heartbeat(segment));
}

int shmkit_segment_check(struct shmkit_segment *segment)
{
	return shk_segment_leave(segment, do_check(segment));
}
