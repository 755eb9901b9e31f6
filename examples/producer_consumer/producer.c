/*
 * producer - sends numbered messages through a queue in shared memory.
 *
 * Start it before or after the consumer, as many as --producers says. It waits while the queue is
 * full, and at the end until the consumers have taken everything: what is in a segment goes with
 * the last process that has it open.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <shmkit.h>

#include "stream.h"

#define BULK_COUNT 10000	/* from this many messages on they are sent in batches ... */
#define BULK_BATCH 64		/* ... of this many */

struct options {
	struct stream_options stream;
	uint64_t count;
	uint64_t batch;		/* 0: by count */
	uint64_t delay_us;
	int64_t timeout_ns;
	bool is_verbose;
};

struct producer {
	struct options options;
	struct stream stream;
	int32_t id;
	uint64_t checksum;
	struct message batch[STREAM_BATCH_MAX];
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: producer [OPTION]...\n"
	      "Send messages to the consumer through shared memory.\n"
	      "\n"
	      "  -s, --segment=NAME   shared memory to meet in (default " STREAM_SEGMENT ")\n"
	      "  -p, --producers=N    how many producers the stream has (default 1)\n"
	      "  -n, --count=N        messages to send (default 1000)\n"
	      "  -b, --batch=N        messages a call (default 1; 64 when there are many)\n"
	      "  -c, --capacity=N     messages in the queue (default 100, or what is there)\n"
	      "  -d, --delay-us=USEC  pause between two messages (default 0)\n"
	      "  -t, --timeout=SEC    give up when nothing is taken so long (default 30)\n"
	      "  -v, --verbose        print every message\n"
	      "  -h, --help           show this help\n"
	      "\n"
	      "Exit status: 0 all was received, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static void parse_option(int option, struct options *options)
{
	switch (option) {
	case 's':
		options->stream.segment = optarg;
		break;
	case 'p':
		options->stream.producers =
			(uint32_t)parse_number("producers", optarg, 1, STREAM_PRODUCERS);
		break;
	case 'n':
		options->count = parse_number("count", optarg, 1, 1000000000000);
		break;
	case 'b':
		options->batch = parse_number("batch", optarg, 1, STREAM_BATCH_MAX);
		break;
	case 'c':
		options->stream.capacity = parse_number("capacity", optarg, 1, 1 << 24);
		break;
	case 'd':
		options->delay_us = parse_number("delay-us", optarg, 0, 60000000);
		break;
	case 't':
		options->timeout_ns = (int64_t)parse_number("timeout", optarg, 1, 3600) *
				      NSEC_PER_SEC;
		break;
	case 'v':
		options->is_verbose = true;
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
		{ "segment",   required_argument, NULL, 's' },
		{ "producers", required_argument, NULL, 'p' },
		{ "count",     required_argument, NULL, 'n' },
		{ "batch",     required_argument, NULL, 'b' },
		{ "capacity",  required_argument, NULL, 'c' },
		{ "delay-us",  required_argument, NULL, 'd' },
		{ "timeout",   required_argument, NULL, 't' },
		{ "verbose",   no_argument,       NULL, 'v' },
		{ "help",      no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:p:n:b:c:d:t:vh", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
	if (options->delay_us != 0 && options->batch > 1)
		errx(2, "--delay-us is a pause between messages: it goes with --batch 1 only");
	if (options->batch == 0)
		options->batch = options->count >= BULK_COUNT && options->delay_us == 0 ?
				 BULK_BATCH : 1;
}

static void join(struct producer *producer)
{
	const struct options *options = &producer->options;
	uint32_t started;

	stream_open(&producer->stream, &options->stream, PRODUCER_LABEL);
	started = shmkit_atomic_u32_fetch_add(producer->stream.producers_started, 1);
	producer->id = (int32_t)started + 1;
	if (started >= options->stream.producers)
		errx(EXIT_FAILURE, "the stream in segment '%s' already has its %" PRIu32
		     " producer(s): another run is under way, or wants --producers",
		     options->stream.segment, options->stream.producers);
}

static void fill_batch(struct producer *producer, uint64_t first, size_t count)
{
	uint64_t now = now_ns();

	for (size_t i = 0; i < count; i++) {
		struct message *message = &producer->batch[i];

		message->timestamp = now;
		message->producer_id = producer->id;
		message->value = message_value(first + i);
		producer->checksum += message_checksum(message);
	}
}

static void send_batch(struct producer *producer, size_t count)
{
	size_t sent = 0;

	while (sent < count) {
		int64_t n = shmkit_queue_enqueue_bulk_wait(producer->stream.messages,
							   producer->batch + sent, count - sent,
							   producer->options.timeout_ns);

		if (n == -EINTR)
			continue;
		if (n == -ETIMEDOUT)
			errx(EXIT_FAILURE,
			     "the queue stayed full for %" PRId64 " s: is a consumer running?",
			     producer->options.timeout_ns / NSEC_PER_SEC);
		if (n < 0)
			stream_fail("cannot send");
		sent += (size_t)n;
	}
}

static void print_batch(const struct producer *producer, uint64_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("Produced message %" PRIu64 " with value %g\n", first + i,
		       producer->batch[i].value);
}

static void pause_us(uint64_t delay_us)
{
	struct timespec delay = {
		.tv_sec = (time_t)(delay_us / 1000000),
		.tv_nsec = (long)(delay_us % 1000000) * NSEC_PER_USEC,
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, &delay) == EINTR)
		;
}

static void produce(struct producer *producer)
{
	const struct options *options = &producer->options;

	for (uint64_t first = 0; first < options->count;) {
		uint64_t left = options->count - first;
		size_t count = (size_t)(left < options->batch ? left : options->batch);

		fill_batch(producer, first, count);
		send_batch(producer, count);
		if (options->is_verbose)
			print_batch(producer, first, count);
		if (options->delay_us != 0)
			pause_us(options->delay_us);
		first += count;
	}
}

/* Report what was sent. The last producer ends the stream; consumers still get what is in it. */
static void finish(struct producer *producer)
{
	struct stream *stream = &producer->stream;
	uint32_t done;

	shmkit_atomic_u64_fetch_add(stream->sent_checksum, producer->checksum);
	shmkit_atomic_u64_fetch_add(stream->sent, producer->options.count);
	done = shmkit_atomic_u32_fetch_add(stream->producers_done, 1) + 1;
	if (done == producer->options.stream.producers &&
	    shmkit_queue_shutdown(stream->messages) < 0)
		stream_fail("cannot end the stream");
}

static bool is_received(const struct producer *producer)
{
	const struct stream *stream = &producer->stream;

	if (!stream_wait_received(stream, producer->options.timeout_ns)) {
		warnx("consumers have reported %" PRIu64 " messages, %" PRIu64
		      " were sent by %" PRIu32 " of %" PRIu32 " producers",
		      shmkit_atomic_u64_load(stream->received),
		      shmkit_atomic_u64_load(stream->sent),
		      shmkit_atomic_u32_load(stream->producers_done),
		      shmkit_atomic_u32_load(stream->producers_expected));
		return false;
	}
	if (shmkit_atomic_u64_load(stream->received_checksum) !=
	    shmkit_atomic_u64_load(stream->sent_checksum)) {
		warnx("the checksums of what was sent and what was received differ");
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct producer producer = {
		.options = {
			.stream = { .segment = STREAM_SEGMENT, .producers = 1 },
			.count = 1000,
			.timeout_ns = 30 * NSEC_PER_SEC,
		},
	};
	uint64_t begin, end;
	bool ok;

	parse_options(argc, argv, &producer.options);
	join(&producer);

	begin = now_ns();
	produce(&producer);
	end = now_ns();
	finish(&producer);
	printf("producer %d: sent %" PRIu64 " messages, %.0f messages/s\n", producer.id,
	       producer.options.count,
	       (double)producer.options.count * NSEC_PER_SEC / (double)(end - begin));
	fflush(stdout);

	ok = is_received(&producer);
	printf("producer %d: %s\n", producer.id,
	       ok ? "PASS, all of it was received" : "FAIL");
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
