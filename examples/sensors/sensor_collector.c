/*
 * sensor_collector - a million readings a second into a ring that keeps the newest.
 *
 * Every millisecond by the clock a batch of 1,000 readings goes into the ring in one call. When
 * nobody takes them in time the oldest are overwritten, and counted: what was pushed is what was
 * popped, what was dropped and what is left, exactly.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmkit.h>

#include "sensors.h"
#include "waveform.h"

struct options {
	const char *segment;
	uint32_t capacity;
	int64_t duration_ns;
	uint32_t seed;
	bool waits;
	int64_t timeout_ns;
};

struct collector {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_ring *readings;
	struct shmkit_array *channels;
	struct shmkit_atomic_u64 *total;
	struct shmkit_atomic_u64 *dropped;
	struct waveform source;
	uint64_t start_ns;
	uint64_t pushed, overwritten;
	uint64_t late;		/* batches that began after their time was over */
	struct reading batch[BATCH];
};

static struct collector *collector_to_close;

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: sensor_collector [OPTION]...\n"
	      "Collect a million readings a second of eight channels (simulated).\n"
	      "\n"
	      "  -s, --segment=NAME  shared memory to create (default " SENSORS_SEGMENT ")\n"
	      "  -d, --seconds=SEC   how long to collect, as 2 or 0.5 (default 3)\n"
	      "  -c, --capacity=N    readings the ring holds (default 1000000)\n"
	      "  -w, --wait          begin when a processor has come\n"
	      "  -r, --seed=N        seed of the signals (default 1)\n"
	      "  -t, --timeout=SEC   how long to wait for the processor (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "Exit status: 0 everything adds up, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_option(int option, struct options *options)
{
	switch (option) {
	case 's':
		options->segment = optarg;
		break;
	case 'd':
		options->duration_ns = parse_seconds("seconds", optarg, 86400);
		break;
	case 'c':
		options->capacity = parse_number("capacity", optarg, 2 * READ_BATCH, 100000000);
		break;
	case 'w':
		options->waits = true;
		break;
	case 'r':
		options->seed = parse_number("seed", optarg, 0, UINT32_MAX);
		break;
	case 't':
		options->timeout_ns = parse_number("timeout", optarg, 1, 3600) * NSEC_PER_SEC;
		break;
	case 'h':
		usage(stdout, EXIT_SUCCESS);
	default:
		usage(stderr, 2);
	}
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",  required_argument, NULL, 's' },
		{ "seconds",  required_argument, NULL, 'd' },
		{ "capacity", required_argument, NULL, 'c' },
		{ "wait",     no_argument,       NULL, 'w' },
		{ "seed",     required_argument, NULL, 'r' },
		{ "timeout",  required_argument, NULL, 't' },
		{ "help",     no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:d:c:wr:t:h", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
}

/* The tutorial's 100 MiB, or more for a larger ring. Some is left for what the processor makes. */
static uint64_t segment_size(uint32_t capacity)
{
	uint64_t ring, spare = 1 << 20;

	if (shmkit_object_footprint(SHMKIT_KIND_RING, sizeof(struct reading), capacity, NULL,
				    &ring) < 0)
		sensors_fail("cannot tell the size of the ring");
	return ring + spare > SEGMENT_SIZE ? ring + spare : SEGMENT_SIZE;
}

/*
 * What a killed collector has left behind is replaced as soon as nobody uses it any more: its
 * processor notices within a second and leaves.
 */
static void create_segment(struct collector *collector)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,
	};
	const char *name = collector->options->segment;
	uint64_t size = segment_size(collector->options->capacity);
	int result = -EEXIST;

	for (int looks = 0; looks < 150; looks++) {
		result = shmkit_segment_create(name, size, &options, &collector->segment);
		if (result != -EEXIST || sensors_is_collector_there(name))
			break;
		pause_20_ms();
	}
	if (result < 0)
		sensors_fail("cannot create the segment");
	if (shmkit_segment_set_label(collector->segment, COLLECTOR_LABEL) < 0)
		sensors_fail("cannot set the label");
}

static void create_channels(struct collector *collector)
{
	struct shmkit_object_options options = {
		.struct_size = sizeof(options),
		.schema = CHANNEL_SCHEMA,
	};
	struct channel channels[CHANNELS];

	waveform_init(&collector->source, collector->options->seed, channels);
	if (shmkit_array_create(collector->segment, "channels", sizeof(channels[0]), CHANNELS,
				&options, &collector->channels) < 0 ||
	    shmkit_array_write(collector->channels, 0, CHANNELS, channels) < 0)
		sensors_fail("cannot describe the channels");
}

static void create_parts(struct collector *collector)
{
	struct shmkit_object_options options = {
		.struct_size = sizeof(options),
		.schema = READING_SCHEMA,
	};

	create_segment(collector);
	create_channels(collector);
	if (shmkit_atomic_u64_create(collector->segment, "total", 0, &collector->total) < 0 ||
	    shmkit_atomic_u64_create(collector->segment, "dropped", 0, &collector->dropped) < 0 ||
	    shmkit_ring_create(collector->segment, READINGS, sizeof(struct reading),
			       collector->options->capacity, &options, &collector->readings) < 0)
		sensors_fail("cannot set up the collector");
}

static void close_parts(void)
{
	struct collector *collector = collector_to_close;

	shmkit_array_close(collector->channels);
	shmkit_atomic_u64_close(collector->total);
	shmkit_atomic_u64_close(collector->dropped);
	shmkit_ring_close(collector->readings);
	shmkit_segment_close(collector->segment);
}

static void read_sensors(struct collector *collector)
{
	for (uint64_t i = 0; i < BATCH; i++) {
		struct reading *reading = &collector->batch[i];
		uint64_t number = collector->pushed + i;

		reading->timestamp_ns = collector->start_ns + number * NSEC_PER_SEC / SAMPLE_RATE;
		reading->sensor_id = 1;
		reading->sequence = (uint32_t)number;
		waveform_next(&collector->source, reading->values);
	}
}

static void push_batch(struct collector *collector)
{
	int64_t overwritten = shmkit_ring_push_overwrite(collector->readings, collector->batch,
							 BATCH);

	if (overwritten < 0)
		sensors_fail("cannot push readings");
	collector->pushed += BATCH;
	collector->overwritten += (uint64_t)overwritten;
	shmkit_atomic_u64_fetch_add(collector->total, BATCH);
	if (overwritten > 0)
		shmkit_atomic_u64_fetch_add(collector->dropped, (uint64_t)overwritten);
}

static void collect(struct collector *collector)
{
	uint64_t batches = (uint64_t)(collector->options->duration_ns / NSEC_PER_MSEC);

	collector->start_ns = now_ns();
	for (uint64_t i = 0; i < batches; i++) {
		uint64_t begin = collector->start_ns + i * NSEC_PER_MSEC;

		sleep_until(begin);	/* returns at once when we are late: nothing is left out */
		collector->late += now_ns() > begin + NSEC_PER_MSEC;
		read_sensors(collector);
		push_batch(collector);
	}
	if (shmkit_ring_shutdown(collector->readings) < 0)
		sensors_fail("cannot end the stream");
}

/* Let a processor that is alive take the rest; it counts what it takes in "popped". */
static void wait_until_drained(struct collector *collector)
{
	uint64_t deadline = now_ns() + (uint64_t)collector->options->timeout_ns;
	struct shmkit_atomic_u64 *popped;

	if (shmkit_atomic_u64_open(collector->segment, "popped", &popped) < 0)
		return;		/* no processor has come */
	for (;;) {
		uint64_t seen = shmkit_atomic_u64_load(popped);
		int result;

		if (seen + collector->overwritten == collector->pushed ||
		    !sensors_has_member(collector->segment, PROCESSOR_LABEL))
			break;
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "the processor has not taken the rest");
		result = shmkit_atomic_u64_wait(popped, seen, SLICE_NS);
		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			sensors_fail("cannot wait for the processor");
	}
	shmkit_atomic_u64_close(popped);
}

static bool is_equal(const char *what, uint64_t found, uint64_t expected)
{
	if (found == expected)
		return true;
	warnx("%s: %" PRIu64 ", expected %" PRIu64, what, found, expected);
	return false;
}

/* What we counted call by call against what the ring and the counters say. */
static bool is_sound(struct collector *collector)
{
	bool ok;

	ok = is_equal("pushed, by the ring", shmkit_ring_total_pushed(collector->readings),
		      collector->pushed);
	ok &= is_equal("dropped, by the ring", shmkit_ring_total_dropped(collector->readings),
		       collector->overwritten);
	ok &= is_equal("total", shmkit_atomic_u64_load(collector->total), collector->pushed);
	ok &= is_equal("dropped", shmkit_atomic_u64_load(collector->dropped),
		       collector->overwritten);
	return ok;
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = SENSORS_SEGMENT,
		.capacity = DEFAULT_CAPACITY,
		.duration_ns = 3 * NSEC_PER_SEC,
		.seed = 1,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct collector collector;
	uint64_t left;
	double seconds;
	bool ok;

	parse_options(argc, argv, &options);
	collector.options = &options;
	collector_to_close = &collector;
	atexit(close_parts);	/* whatever ends us: the last to leave takes the name along */
	create_parts(&collector);
	if (options.waits && shmkit_segment_wait_for(collector.segment, PROCESSED,
						     options.timeout_ns) < 0)
		sensors_fail("no processor came");

	collect(&collector);
	seconds = (double)(now_ns() - collector.start_ns) / NSEC_PER_SEC;
	wait_until_drained(&collector);
	ok = is_sound(&collector);
	left = shmkit_ring_size(collector.readings);
	printf("sensor_collector: %" PRIu64 " readings in %.3f s, %" PRIu64 " batches began late\n",
	       collector.pushed, seconds, collector.late);
	printf("sensor_collector: %" PRIu64 " processed, %" PRIu64 " dropped, %" PRIu64 " left\n",
	       collector.pushed - collector.overwritten - left, collector.overwritten, left);
	printf("sensor_collector: %s\n", ok ? "PASS" : "FAIL");
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
