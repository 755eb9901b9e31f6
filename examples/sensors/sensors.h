/*
 * What collector, processor and viewer agree on. Each stage makes its own output by name and waits
 * for the name of its input; nobody starts anybody.
 *
 *	collector: "channels", "total", "dropped", "readings"  ->  processor: "popped", "processed"
 */
#ifndef SENSORS_H
#define SENSORS_H

#include <stdbool.h>
#include <stdint.h>

#include <shmkit.h>

#define SENSORS_SEGMENT  "sensor_pipeline"
#define READINGS         "readings"	/* made last by the collector */
#define PROCESSED        "processed"	/* made last by the processor */
#define COLLECTOR_LABEL  "sensor_collector"
#define PROCESSOR_LABEL  "sensor_processor"

#define SEGMENT_SIZE     (UINT64_C(100) << 20)
#define CHANNELS         8
#define SAMPLE_RATE      1000000	/* readings a second */
#define BATCH            1000		/* readings a millisecond */
#define READ_BATCH       4096
#define DEFAULT_CAPACITY 1000000
#define RESULT_CAPACITY  1024

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define NSEC_PER_USEC INT64_C(1000)
#define SLICE_NS      (NSEC_PER_SEC / 4)	/* how often one that waits looks who is alive */

struct reading {
	uint64_t timestamp_ns;	/* CLOCK_MONOTONIC */
	float    values[CHANNELS];
	uint16_t status;	/* 0: good */
	uint16_t sensor_id;
	uint32_t sequence;	/* without a gap where it is written; wraps */
};
#define READING_SCHEMA "timestamp_ns:u64 values:f32[8] status:u16 sensor_id:u16 sequence:u32"

/* What the collector puts into a channel. The processor must find the frequency from readings. */
struct channel {
	double frequency_hz;
	double amplitude;
	double noise;		/* evenly spread up to this, both ways */
};
#define CHANNEL_SCHEMA "frequency_hz:f64 amplitude:f64 noise:f64"

struct processed {
	uint64_t timestamp_ns;	/* of the first reading */
	uint32_t sequence;	/* of the first reading */
	uint32_t count;		/* readings that went into it */
	float    frequency_hz[CHANNELS];
	float    amplitude[CHANNELS];
};
#define PROCESSED_SCHEMA "timestamp_ns:u64 sequence:u32 count:u32 frequency_hz:f32[8] " \
			 "amplitude:f32[8]"

_Static_assert(sizeof(struct reading) == 48, "no hidden padding");
_Static_assert(sizeof(struct processed) == 80, "no hidden padding");

/* Print "@what: why it failed" and exit with 1. */
_Noreturn void sensors_fail(const char *what);

/* The number in @text, or exit with 2. */
uint32_t parse_number(const char *option, const char *text, uint32_t min, uint32_t max);

/* "2" or "0.5" in nanoseconds: more than 0 and at most @max seconds; or exit with 2. */
int64_t parse_seconds(const char *option, const char *text, uint32_t max);

uint64_t now_ns(void);
void sleep_until(uint64_t deadline_ns);

/*
 * Wait until there is a segment with a live collector, and its readings, and open it. Exits with 1
 * when none comes in time.
 */
struct shmkit_segment *sensors_join(const char *name, uint32_t flags, int64_t timeout_ns);

/* Is a live collector attached to the segment of that name? */
bool sensors_is_collector_there(const char *name);

void pause_20_ms(void);

/* Is a live process with this label attached? */
bool sensors_has_member(struct shmkit_segment *segment, const char *label);

#endif
