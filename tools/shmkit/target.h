/*
 * A structure that a command works on: the segment, what kind of thing it is, its handle, and how
 * its elements are to be written and read.
 */
#ifndef SHMKIT_TARGET_H
#define SHMKIT_TARGET_H

#include "cli.h"
#include "element.h"

enum format {
	FORMAT_CHOOSE,                      /* text where the schema is one of characters, or none; else JSON */
	FORMAT_TEXT,                        /* a line each, up to the first NUL */
	FORMAT_JSON,                        /* an object in a line each */
	FORMAT_ELEMENTS,                    /* bytes as they are */
};

/* What --create makes of what is not there. */
struct creation {
	bool wanted;
	uint32_t kind;                      /* queue unless said otherwise */
	uint64_t element_size;              /* 0: of the schema */
	uint64_t capacity;
};

struct target {
	struct shmkit_segment *segment;
	struct shmkit_entry_info entry;
	union {
		struct shmkit_array *array;
		struct shmkit_queue *queue;
		struct shmkit_ring *ring;
		struct shmkit_pool *pool;
		void *any;
	};
	struct schema schema;
	enum format format;
};

/* The options that say how elements look and what to create; others are the command's own. */
enum {
	OPTION_TEXT = OPTION_LONG + 500, OPTION_ELEMENTS, OPTION_SCHEMA, OPTION_CREATE,
};

#define TARGET_FORMAT_OPTIONS                                                                       \
	{ "text", no_argument, NULL, OPTION_TEXT },                                                 \
	{ "elements", no_argument, NULL, OPTION_ELEMENTS },                                         \
	{ "schema", required_argument, NULL, OPTION_SCHEMA }

#define TARGET_CREATE_OPTIONS                                                                       \
	{ "create", no_argument, NULL, OPTION_CREATE },                                             \
	{ "kind", required_argument, NULL, 'k' },                                                   \
	{ "element-size", required_argument, NULL, 'e' },                                           \
	{ "capacity", required_argument, NULL, 'c' }

#define TARGET_CREATE_LETTERS "k:e:c:"

struct target_options {
	enum format format;
	const char *schema;                 /* in place of the structure's own */
	struct creation create;
};

/* One of the above? False when it was, and wrong (said). */
bool target_option(struct target_options *options, int option, char *argument, bool *ret_known);

/**
 * target_open() - Open a structure for a command.
 * @path: SEGMENT/STRUCTURE.
 * @flags: Of shmkit_segment_open().
 * @options: How its elements look, and what to do when it is not there.
 * @kinds: A bit for each kind that will do, 1 << kind; another is refused.
 * @ret_target: To be given back with target_close(), also after a failure.
 *
 * Return: EXIT_YES, or an exit code; said.
 */
int target_open(const char *path, uint32_t flags, const struct target_options *options, uint64_t kinds,
		struct target *ret_target);
void target_close(struct target *target);

/* Elements for one call: 64 KiB of them, or one. */
uint64_t target_batch(const struct target *target);

/* Prints one element in the target's format, not FORMAT_CHOOSE, to standard output. */
void target_print(const struct target *target, const void *element);

#endif
