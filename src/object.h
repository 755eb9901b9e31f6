/*
 * What every structure shares: making, opening and closing by name, and the check at the start
 * of each call that the handle still means something.
 *
 * A handle holds a private copy of the geometry, validated when it was opened. What is read from
 * the segment later is input: masked, bounded, checked.
 */
#ifndef SHK_OBJECT_H
#define SHK_OBJECT_H

#include "repair.h"
#include "segment.h"

/* What a structure is, as its creator said and its entry says. */
struct shk_shape {
	uint32_t kind;
	uint32_t element_size;              /* bytes */
	uint32_t alignment;                 /* bytes, of an element; resolved, never 0 */
	uint32_t flags;
	uint32_t schema_size;               /* bytes, NUL included; 0 none */
	uint64_t requested;                 /* elements asked for */
	uint64_t capacity;                  /* elements it holds */
	uint64_t size;                      /* bytes of the extent */
};

struct shk_object {
	struct shmkit_segment *segment;
	const struct shk_kind *kind;
	shk_u64 *entry_word;                /* LIVE with this value, or the handle is stale */
	uint64_t live_word;
	uint8_t *base;                      /* of the extent */
	uint32_t entry;
	struct shk_shape shape;
	uint64_t offset;
};

struct shk_kind {
	uint32_t kind;
	const char *name;                   /* "queue", as in "a queue of 64-byte elements" */
	uint32_t flags;                     /* object_options.flags it knows */
	uint32_t fixed_element_size;        /* 0: the caller chooses */
	size_t handle_size;                 /* bytes; begins with struct shk_object */
	/* From kind, element_size, alignment and requested: capacity, and size without the schema. */
	int (*measure)(struct shk_shape *shape);
	/* Extent of zero bytes -> a structure; nobody else sees it. initial: atomics. */
	void (*init)(struct shk_object *object, uint64_t initial);
	/* Private state of a new handle. 0 or -errno with last error set. NULL: none. */
	int (*open)(struct shk_object *object);
	/* Gives back what this handle holds; may be NULL. joined: it may write to the segment. */
	void (*close)(struct shk_object *object, bool joined);
	/* After the dead (or, when a process closes its last handle, after itself). NULL: nothing. */
	void (*repair)(struct shk_object *object, const struct shk_dead *dead);
	/* 0, or -EBADMSG with last error set. */
	int (*check)(struct shk_object *object);
	uint64_t (*used)(const struct shk_object *object);
};

/* By SHMKIT_KIND_*; NULL when there is no such kind. */
const struct shk_kind *shk_kind_of(uint32_t kind);

/* ---- life ---- */

int shk_object_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
		      uint32_t element_size, uint64_t capacity,
		      const struct shmkit_object_options *options, uint64_t initial,
		      struct shk_object **ret_object);
int shk_object_open(struct shmkit_segment *segment, const char *name, uint32_t kind,
		    uint32_t element_size, struct shk_object **ret_object);
int shk_object_open_or_create(struct shmkit_segment *segment, const char *name, uint32_t kind,
			      uint32_t element_size, uint64_t capacity,
			      const struct shmkit_object_options *options, uint64_t initial,
			      struct shk_object **ret_object);
void shk_object_close(struct shk_object *object);

int shk_object_get_info(const struct shk_object *object, struct shmkit_entry_info *ret_info);

/*
 * A temporary object on an entry as it is now, to repair or check or count: 0 when the entry is
 * LIVE and its numbers are sound, else -ENOENT, -EBADMSG. Only one who has announced that entry
 * may write through it.
 */
int shk_object_borrow(struct shmkit_segment *segment, uint32_t entry, struct shk_object *ret_object);

/*
 * The same for a look inside: until shk_object_end_visit() the extent stays what it is, for it is
 * announced as an opener does; the segment's mutex is held. 0; -ENOENT not LIVE; -EBADMSG the
 * entry cannot be true; -EAGAIN it could not be announced. Ended when it fails.
 */
int shk_object_visit(struct shmkit_segment *segment, uint32_t entry, struct shk_object *ret_object);
void shk_object_end_visit(struct shmkit_segment *segment, uint32_t entry);

/* False when it could not be announced, so that nothing was done: the id must not be freed. */
bool shk_object_repair(const struct shk_dead *dead, uint32_t entry);

/* ---- the start of every call ---- */

int shk_object_refresh(struct shk_object *object);

/* Does the handle mean what it meant? If not, shk_object_enter() may yet put that right. */
static inline bool shk_object_is_fresh(const struct shk_object *object)
{
	/* acquire: see shk_segment_enter(); and what a remover did before comes before. */
	return __atomic_load_n(&object->segment->epoch, __ATOMIC_ACQUIRE) ==
		       __atomic_load_n(&shk_process->epoch, __ATOMIC_RELAXED) &&
	       shk_load_acquire(object->entry_word) == object->live_word;
}

static inline int shk_object_enter(const struct shk_object *object)
{
	if (shk_likely(shk_object_is_fresh(object)))
		return 0;
	return shk_object_refresh((struct shk_object *)(uintptr_t)object);
}

int shk_object_read_only(const struct shk_object *object);

static inline int shk_object_enter_write(const struct shk_object *object)
{
	if (shk_unlikely(object->segment->read_only))
		return shk_object_read_only(object);
	return shk_object_enter(object);
}

/* Will shk_object_enter_write() say 0 at once? */
static inline bool shk_object_is_writable(const struct shk_object *object)
{
	return !object->segment->read_only && shk_object_is_fresh(object);
}

/* The end of a call that touched elements: bytes lost to a truncation make it -EBADMSG. */
int64_t shk_object_lost(const struct shk_object *object);

static inline bool shk_object_is_lost(const struct shk_object *object)
{
	return __atomic_load_n(&object->segment->damaged, __ATOMIC_RELAXED);
}

static inline int64_t shk_object_leave(const struct shk_object *object, int64_t result)
{
	if (shk_unlikely(shk_object_is_lost(object)))
		return shk_object_lost(object);
	return result;
}

/* -EBADMSG, with a sentence that names the structure and what is wrong with it. */
#define shk_object_damaged(...) shk_negative(shk_object_say_damaged(__VA_ARGS__))

int shk_object_say_damaged(const struct shk_object *object, const char *format, ...) SHK_PRINTF(2, 3);

/* The name of an object, for messages; up to SHK_MAX_NAME_SIZE bytes in a thread's buffer. */
const char *shk_object_name(const struct shk_object *object);

#endif
