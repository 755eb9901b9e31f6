/*
 * A segment's figures at one moment, and how they changed since another: for stat, top and export.
 * Looks only: read-only, as whoever may read the segment can.
 */
#ifndef SHMKIT_SAMPLE_H
#define SHMKIT_SAMPLE_H

#include "cli.h"

struct sample_entry {
	struct shmkit_entry_info info;      /* without its schema */
	uint64_t in, out;                   /* elements ever put in, and taken out; of queues and rings */
	uint64_t lost;                      /* discarded, or overwritten */
	uint64_t redelivered;
	bool counts;                        /* the four above are known */
};

struct sample {
	char name[256];
	uint64_t when_ns;                   /* CLOCK_MONOTONIC */
	int error;                          /* 0, or -errno of what could not be looked at */
	struct shmkit_segment_info info;
	struct sample_entry *entries;       /* by name */
	size_t entry_count;
	struct shmkit_member_info *members;
	size_t member_count;
	uint32_t alive, dead;
};

/* Of the segment of that name; to be given back with sample_free(). */
struct sample *sample_take(const char *name);
void sample_free(struct sample *sample);

/* The entry of that name in an earlier sample of the same segment; NULL: it is new. */
const struct sample_entry *sample_find(const struct sample *earlier, const struct sample_entry *entry);

/* How much a counter of an entry grew a second; 0 without an earlier one. */
double sample_rate(const struct sample *now, const struct sample *earlier, uint64_t value, uint64_t before);

struct sample_rates {
	double in, out, lost, redelivered;  /* a second */
};

struct sample_rates sample_entry_rates(const struct sample *now, const struct sample *earlier,
				       const struct sample_entry *entry);

/* Of all entries. */
struct sample_rates sample_rates(const struct sample *now, const struct sample *earlier);

/* What the segment's state is, in words, as ls says it. */
const char *sample_state(const struct sample *sample);

#endif
