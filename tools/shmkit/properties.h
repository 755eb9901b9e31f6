/*
 * Figures of one thing, a line each: "size           1.0M (1048576)"; with --json the members of
 * an object, with --raw the numbers alone.
 */
#ifndef SHMKIT_PROPERTIES_H
#define SHMKIT_PROPERTIES_H

#include "cli.h"

#include <jansson.h>

struct properties {
	json_t *object;
};

void properties_begin(struct properties *to);
void property(struct properties *to, const char *key, const char *shown, json_t *value);   /* steals value */
void property_text(struct properties *to, const char *key, const char *bytes, size_t size);
void property_string(struct properties *to, const char *key, const char *text);
void property_number(struct properties *to, const char *key, uint64_t number);
void property_bytes(struct properties *to, const char *key, uint64_t bytes);
void property_time(struct properties *to, const char *key, uint64_t wall_ns);

#endif
