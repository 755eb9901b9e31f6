/*
 * Every kind of structure behind the same four calls, for what is done to names.
 */
#ifndef CRASH_KINDS_H
#define CRASH_KINDS_H

#include "scene.h"

struct kind {
	const char *name;                   /* of its functions: "array", "atomic_u32" */
	int (*create)(struct shmkit_segment *segment, const char *name, void **ret_handle);
	int (*open)(struct shmkit_segment *segment, const char *name, void **ret_handle);
	int (*open_or_create)(struct shmkit_segment *segment, const char *name, void **ret_handle);
	void (*close)(void *handle);
	bool (*is_new)(void *handle);       /* usable, and as its creator left it */
};

#define KINDS 10u
extern const struct kind kinds[KINDS];

#endif
