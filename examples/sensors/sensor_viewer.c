/*
 * sensor_viewer - looks into a running pipeline without being able to disturb it.
 *
 * The segment is opened read-only. The viewer takes nothing out of the rings: it reads the newest
 * elements, then follows the stream from a place of its own, and is told exactly what it missed.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <shmkit.h>

#include "sensors.h"

#define LAST_MAX 100

struct options {
	const char *segment;
	int64_t duration_ns;
	uint32_t last;
	uint32_t slow_us;
	int64_t timeout_ns;
};

struct viewer {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_ring *readings;
	uint64_t seen, lost, wrong;
	struct reading batch[READ_BATCH];
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: sensor_viewer [OPTION]...\n"
	      "Look into a sensor pipeline, read-only.\n"
	      "\n"
	      "  -s, --segment=NAME     the collector's (default " SENSORS_SEGMENT ")\n"
	      "  -n, --last=N           readings to print at first (default 5)\n"
	      "  -d, --seconds=SEC      how long to follow the stream, as 2 or 0.5 (default 1)\n"
	      "  -S, --slow-viewer=USEC pause after each batch: makes it miss readings\n"
	      "  -t, --timeout=SEC      how long to wait for the collector (default 30)\n"
	      "  -h, --help             show this help\n"
	      "\n"
	      "It ends earlier when the stream does.\n"
	      "Exit status: 0 what was not seen is known, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_option(int option, struct options *options)
{
	switch (option) {
	case 's':
		options->segment = optarg;
		break;
	case 'n':
		options->last = parse_number("last", optarg, 0, LAST_MAX);
		break;
	case 'd':
		options->duration_ns = parse_seconds("seconds", optarg, 86400);
		break;
	case 'S':
		options->slow_us = parse_number("slow-viewer", optarg, 0, 10000000);
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
		{ "segment",      required_argument, NULL, 's' },
		{ "last",         required_argument, NULL, 'n' },
		{ "seconds",     required_argument, NULL, 'd' },
		{ "slow-viewer",  required_argument, NULL, 'S' },
		{ "timeout",      required_argument, NULL, 't' },
		{ "help",         no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:n:d:S:t:h", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
}

static void join(struct viewer *viewer)
{
	viewer->segment = sensors_join(viewer->options->segment, SHMKIT_READ_ONLY,
				       viewer->options->timeout_ns);
	if (shmkit_ring_open(viewer->segment, READINGS, sizeof(struct reading),
			     &viewer->readings) < 0)
		sensors_fail("cannot open the readings");
}

static void print_last_readings(struct viewer *viewer)
{
	int64_t count = shmkit_ring_last(viewer->readings, viewer->batch, viewer->options->last);

	if (count < 0 && count != -EAGAIN)
		sensors_fail("cannot read the last readings");
	for (int64_t i = 0; i < count; i++) {
		const struct reading *reading = &viewer->batch[i];

		printf("reading %10" PRIu32 " at %.6f s:", reading->sequence,
		       (double)reading->timestamp_ns / NSEC_PER_SEC);
		for (int channel = 0; channel < CHANNELS; channel++)
			printf(" %6.3f", (double)reading->values[channel]);
		putchar('\n');
	}
	fflush(stdout);
}

static void print_last_result(const struct viewer *viewer)
{
	struct shmkit_ring *processed;
	struct processed result;

	if (shmkit_ring_open(viewer->segment, PROCESSED, sizeof(struct processed),
			     &processed) < 0) {
		puts("no processor has come");
		return;
	}
	if (shmkit_ring_last(processed, &result, 1) == 1) {
		printf("result  %10" PRIu32 ", kHz:         ", result.sequence);
		for (int channel = 0; channel < CHANNELS; channel++)
			printf(" %6.2f", (double)result.frequency_hz[channel] / 1e3);
		putchar('\n');
	}
	shmkit_ring_close(processed);
}

/* The collector numbers its readings: each must carry the number of its place in the stream. */
static void check_batch(struct viewer *viewer, int64_t count, uint64_t position)
{
	uint32_t first = (uint32_t)(position - (uint64_t)count);

	for (int64_t i = 0; i < count; i++) {
		if (viewer->batch[i].sequence == first + (uint32_t)i)
			continue;
		if (viewer->wrong++ == 0)
			warnx("reading %" PRIu32 " stands in the place of %" PRIu32,
			      viewer->batch[i].sequence, first + (uint32_t)i);
	}
}

/* False: the stream has ended. */
static bool read_batch(struct viewer *viewer, struct shmkit_ring_reader *reader)
{
	uint64_t lost = 0;
	int64_t count = shmkit_ring_reader_wait(reader, viewer->batch, READ_BATCH, &lost, SLICE_NS);

	if (count == -ESHUTDOWN || count == -ESTALE)
		return false;
	if (count == -ETIMEDOUT && !sensors_has_member(viewer->segment, COLLECTOR_LABEL))
		errx(EXIT_FAILURE, "the collector died");
	if (count == -ETIMEDOUT || count == -EINTR)
		return true;
	if (count < 0)
		sensors_fail("cannot follow the stream");
	viewer->seen += (uint64_t)count;
	viewer->lost += lost;
	check_batch(viewer, count, shmkit_ring_reader_position(reader));
	return true;
}

/* Everything from where we began to where we stopped was seen or reported lost. */
static bool follow(struct viewer *viewer)
{
	struct shmkit_ring_reader *reader;
	uint64_t deadline, begin, end;

	if (shmkit_ring_reader_open(viewer->readings, SHMKIT_READ_FROM_NEWEST, &reader) < 0)
		sensors_fail("cannot follow the stream");
	begin = shmkit_ring_reader_position(reader);
	deadline = now_ns() + (uint64_t)viewer->options->duration_ns;
	while (now_ns() < deadline && read_batch(viewer, reader)) {
		if (viewer->options->slow_us != 0)
			sleep_until(now_ns() + viewer->options->slow_us * NSEC_PER_USEC);
	}
	end = shmkit_ring_reader_position(reader);
	shmkit_ring_reader_close(reader);

	if (viewer->seen + viewer->lost == end - begin)
		return viewer->wrong == 0;
	warnx("%" PRIu64 " seen and %" PRIu64 " lost of %" PRIu64 " readings", viewer->seen,
	      viewer->lost, end - begin);
	return false;
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = SENSORS_SEGMENT,
		.duration_ns = NSEC_PER_SEC,
		.last = 5,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	static struct viewer viewer;
	bool ok;

	parse_options(argc, argv, &options);
	viewer.options = &options;
	join(&viewer);
	print_last_readings(&viewer);

	ok = follow(&viewer);
	print_last_readings(&viewer);
	print_last_result(&viewer);
	printf("sensor_viewer: %" PRIu64 " readings seen, %" PRIu64 " lost\n", viewer.seen,
	       viewer.lost);
	printf("sensor_viewer: %s\n", ok ? "PASS" : "FAIL");
	shmkit_ring_close(viewer.readings);
	shmkit_segment_close(viewer.segment);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
