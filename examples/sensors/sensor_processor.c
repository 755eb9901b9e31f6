/*
 * sensor_processor - finds the frequency of each channel from the readings.
 *
 * It takes readings out of the collector's ring in bulk and puts results into a ring of its own.
 * When it is too slow the collector overwrites what it has not taken. It sees that as gaps in the
 * sequence, and at the end they must be exactly what the ring says it dropped.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <shmkit.h>

#include "sensors.h"
#include "spectrum.h"

#define MAX_ERROR_HZ 25.0	/* of the mean of all results */
#define MAX_ERROR    0.05	/* of the amplitude, relative */

struct options {
	const char *segment;
	uint32_t slow_us;
	int64_t timeout_ns;
};

struct processor {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_ring *readings;
	struct shmkit_ring *processed;
	struct shmkit_array *channels;
	struct shmkit_atomic_u64 *popped;
	struct spectrum spectrum;
	struct processed window;	/* count: how full it is */
	uint32_t next_sequence;
	uint64_t before;		/* popped by another processor before */
	uint64_t taken, missing, gaps;
	uint64_t results;
	double frequency_sum[CHANNELS];
	double amplitude_sum[CHANNELS];
	struct reading batch[READ_BATCH];
};

static struct processor *processor_to_close;

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: sensor_processor [OPTION]...\n"
	      "Find the frequency of each channel that the collector reads.\n"
	      "\n"
	      "  -s, --segment=NAME         the collector's (default " SENSORS_SEGMENT ")\n"
	      "  -S, --slow-processor=USEC  pause after each batch: makes the ring overflow\n"
	      "  -t, --timeout=SEC          how long to wait for the collector (default 30)\n"
	      "  -h, --help                 show this help\n"
	      "\n"
	      "It ends when the collector does.\n"
	      "Exit status: 0 all is right and adds up, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",        required_argument, NULL, 's' },
		{ "slow-processor", required_argument, NULL, 'S' },
		{ "timeout",        required_argument, NULL, 't' },
		{ "help",           no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:S:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'S':
			options->slow_us = parse_number("slow-processor", optarg, 0, 10000000);
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 1, 3600) *
					      NSEC_PER_SEC;
			break;
		case 'h':
			usage(stdout, EXIT_SUCCESS);
		default:
			usage(stderr, 2);
		}
	}
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
}

static void join(struct processor *processor)
{
	processor->segment = sensors_join(processor->options->segment, 0,
					  processor->options->timeout_ns);
	if (shmkit_segment_set_label(processor->segment, PROCESSOR_LABEL) < 0)
		sensors_fail("cannot set the label");
	if (shmkit_ring_open(processor->segment, READINGS, sizeof(struct reading),
			     &processor->readings) < 0 ||
	    shmkit_array_open(processor->segment, "channels", sizeof(struct channel),
			      &processor->channels) < 0)
		sensors_fail("cannot join the collector");
}

/* There may have been another processor before: then its output is gone on with. */
static void create_output(struct processor *processor)
{
	struct shmkit_object_options options = {
		.struct_size = sizeof(options),
		.schema = PROCESSED_SCHEMA,
	};

	if (shmkit_atomic_u64_open_or_create(processor->segment, "popped", 0,
					     &processor->popped) < 0 ||
	    shmkit_ring_open_or_create(processor->segment, PROCESSED, sizeof(struct processed),
				       RESULT_CAPACITY, &options, &processor->processed) < 0)
		sensors_fail("cannot create the output");
	processor->before = shmkit_atomic_u64_load(processor->popped);
}

static void leave(void)
{
	struct processor *processor = processor_to_close;

	shmkit_ring_close(processor->readings);
	shmkit_ring_close(processor->processed);
	shmkit_array_close(processor->channels);
	shmkit_atomic_u64_close(processor->popped);
	shmkit_segment_close(processor->segment);
}

static void push_result(struct processor *processor)
{
	struct processed *window = &processor->window;

	spectrum_analyse(&processor->spectrum, window->frequency_hz, window->amplitude);
	if (shmkit_ring_push_overwrite(processor->processed, window, 1) < 0)
		sensors_fail("cannot push a result");
	for (int i = 0; i < CHANNELS; i++) {
		processor->frequency_sum[i] += window->frequency_hz[i];
		processor->amplitude_sum[i] += window->amplitude[i];
	}
	processor->results++;
}

/* A window is of consecutive readings: a gap begins a new one. */
static void take_reading(struct processor *processor, const struct reading *reading)
{
	struct processed *window = &processor->window;
	uint32_t gap = reading->sequence - processor->next_sequence;

	if (gap != 0) {
		processor->missing += gap;
		processor->gaps++;
		window->count = 0;
	}
	if (window->count == 0) {
		window->timestamp_ns = reading->timestamp_ns;
		window->sequence = reading->sequence;
	}
	spectrum_add(&processor->spectrum, window->count++, reading->values);
	processor->next_sequence = reading->sequence + 1;
	if (window->count == WINDOW) {
		push_result(processor);
		window->count = 0;
	}
}

static void process(struct processor *processor)
{
	for (;;) {
		int64_t count = shmkit_ring_pop_bulk_wait(processor->readings, processor->batch,
							  READ_BATCH, SLICE_NS);

		if (count == -ESHUTDOWN)
			return;
		if (count == -ETIMEDOUT) {
			if (!sensors_has_member(processor->segment, COLLECTOR_LABEL))
				errx(EXIT_FAILURE, "the collector died; %" PRIu64
				     " readings were taken", processor->taken);
			continue;
		}
		if (count == -EINTR)
			continue;
		if (count < 0)
			sensors_fail("cannot take readings");
		for (int64_t i = 0; i < count; i++)
			take_reading(processor, &processor->batch[i]);
		processor->taken += (uint64_t)count;
		shmkit_atomic_u64_fetch_add(processor->popped, (uint64_t)count);
		if (processor->options->slow_us != 0)
			sleep_until(now_ns() + processor->options->slow_us * NSEC_PER_USEC);
	}
}

static bool is_equal(const char *what, uint64_t found, uint64_t expected)
{
	if (found == expected)
		return true;
	warnx("%s: %" PRIu64 ", expected %" PRIu64, what, found, expected);
	return false;
}

/* The stream has ended and the ring is empty: every reading was taken or dropped. */
static bool is_accounted_for(const struct processor *processor)
{
	uint64_t pushed = shmkit_ring_total_pushed(processor->readings);
	uint64_t dropped = shmkit_ring_total_dropped(processor->readings);
	bool ok;

	ok = is_equal("readings left", shmkit_ring_size(processor->readings), 0);
	ok &= is_equal("taken and dropped", processor->before + processor->taken + dropped, pushed);
	/* The readings at the very end cannot be dropped: the gaps are all there are. */
	ok &= is_equal("missing in the sequence", processor->missing,
		       dropped + processor->before);
	return ok;
}

static bool is_right(const struct processor *processor)
{
	struct channel channels[CHANNELS];
	double results = (double)processor->results;
	bool ok = true;

	if (processor->results == 0) {
		warnx("no window of %d consecutive readings came", WINDOW);
		return false;
	}
	if (shmkit_array_read(processor->channels, 0, CHANNELS, channels) < 0)
		sensors_fail("cannot read the channels");
	puts("channel      found Hz       true Hz   error   amplitude    true");
	for (int i = 0; i < CHANNELS; i++) {
		double frequency = processor->frequency_sum[i] / results;
		double amplitude = processor->amplitude_sum[i] / results;
		double error = frequency - channels[i].frequency_hz;
		bool is_good = fabs(error) <= MAX_ERROR_HZ &&
			       fabs(amplitude / channels[i].amplitude - 1) <= MAX_ERROR;

		printf("%7d %13.1f %13.1f %7.1f %11.3f %7.3f%s\n", i, frequency,
		       channels[i].frequency_hz, error, amplitude, channels[i].amplitude,
		       is_good ? "" : "  WRONG");
		ok &= is_good;
	}
	return ok;
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = SENSORS_SEGMENT,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct processor processor;
	bool ok;

	parse_options(argc, argv, &options);
	processor.options = &options;
	spectrum_init(&processor.spectrum);
	processor_to_close = &processor;
	atexit(leave);	/* whatever ends us: the last to leave takes the name along */
	join(&processor);
	create_output(&processor);

	process(&processor);
	printf("sensor_processor: %" PRIu64 " readings taken, %" PRIu64 " missing in %" PRIu64
	       " gaps, %" PRIu64 " results\n", processor.taken, processor.missing, processor.gaps,
	       processor.results);
	ok = is_right(&processor);
	ok &= is_accounted_for(&processor);
	printf("sensor_processor: %s\n", ok ? "PASS" : "FAIL");
	spectrum_finish(&processor.spectrum);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
