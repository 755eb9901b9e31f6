/*
 * consumer - takes messages from a queue in shared memory and checks every one.
 *
 * Start it before or after the producers, as many as wanted: they share the messages. The stream
 * ends when the last producer has shut the queue down and it is empty.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <shmkit.h>

#include "stream.h"

#define SLICE_NS (NSEC_PER_SEC / 4)	/* how often one that waits looks whether producers live */

struct options {
	struct stream_options stream;
	uint64_t batch;
	int64_t timeout_ns;
	bool is_verbose;
};

struct consumer {
	struct options options;
	struct stream stream;
	int64_t next_index[STREAM_PRODUCERS + 1];	/* by producer id: no message before it */
	uint64_t count_of[STREAM_PRODUCERS + 1];	/* by producer id */
	uint64_t received;
	uint64_t checksum;
	uint64_t wrong;
	uint64_t skipped;	/* indexes that did not come here */
	uint64_t latency_sum_ns;
	uint64_t first_ns, last_ns;
	struct message batch[STREAM_BATCH_MAX];
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: consumer [OPTION]...\n"
	      "Take messages from the producers through shared memory and check them.\n"
	      "\n"
	      "  -s, --segment=NAME   shared memory to meet in (default " STREAM_SEGMENT ")\n"
	      "  -p, --producers=N    how many producers the stream has (default 1)\n"
	      "  -b, --batch=N        messages a call, at most (default 64)\n"
	      "  -c, --capacity=N     messages in the queue (default 100, or what is there)\n"
	      "  -t, --timeout=SEC    give up when nothing comes for so long (default 30)\n"
	      "  -v, --verbose        print every message\n"
	      "  -h, --help           show this help\n"
	      "\n"
	      "Exit status: 0 everything came and agrees, 1 failure, 2 wrong usage.\n", stream);
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
	case 'b':
		options->batch = parse_number("batch", optarg, 1, STREAM_BATCH_MAX);
		break;
	case 'c':
		options->stream.capacity = parse_number("capacity", optarg, 1, 1 << 24);
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
		{ "batch",     required_argument, NULL, 'b' },
		{ "capacity",  required_argument, NULL, 'c' },
		{ "timeout",   required_argument, NULL, 't' },
		{ "verbose",   no_argument,       NULL, 'v' },
		{ "help",      no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:p:b:c:t:vh", known, NULL)) != -1)
		parse_option(c, options);
	if (optind < argc)
		errx(2, "unexpected argument '%s'; see --help", argv[optind]);
}

/*
 * A queue keeps the order of each producer. Where several consumers share the stream each sees some
 * of the indexes, still in ascending order; one alone must have skipped none (see is_complete()).
 */
static bool is_in_order(struct consumer *consumer, const struct message *message)
{
	int64_t index = message_index(message->value);
	int64_t *next;

	if (message->producer_id < 1 ||
	    (uint32_t)message->producer_id > consumer->options.stream.producers) {
		warnx("a message from producer %" PRId32 ", whom nobody knows",
		      message->producer_id);
		return false;
	}
	if (index < 0) {
		warnx("producer %" PRId32 " sends no value like %.17g", message->producer_id,
		      message->value);
		return false;
	}
	next = &consumer->next_index[message->producer_id];
	if (index < *next) {
		warnx("message %" PRId64 " of producer %" PRId32 " came after message %" PRId64,
		      index, message->producer_id, *next - 1);
		return false;
	}
	consumer->skipped += (uint64_t)(index - *next);
	*next = index + 1;
	consumer->count_of[message->producer_id]++;
	return true;
}

static void take_message(struct consumer *consumer, const struct message *message)
{
	if (!is_in_order(consumer, message))
		consumer->wrong++;
	consumer->checksum += message_checksum(message);
	if (message->timestamp < consumer->last_ns)
		consumer->latency_sum_ns += consumer->last_ns - message->timestamp;
	if (consumer->options.is_verbose)
		printf("Consumed message from producer %" PRId32 " with value %g\n",
		       message->producer_id, message->value);
}

/*
 * Nothing comes. Will there ever be more? A producer that has finished stays until all have and
 * everything was received: one that is gone before died, and the stream will not end.
 */
static void check_producers(const struct consumer *consumer, uint64_t idle_since)
{
	const struct stream *stream = &consumer->stream;
	uint32_t alive = stream_count_members(stream, PRODUCER_LABEL);
	uint32_t started = shmkit_atomic_u32_load(stream->producers_started);
	uint32_t done = shmkit_atomic_u32_load(stream->producers_done);

	if (started == consumer->options.stream.producers && done < started && alive < started &&
	    shmkit_queue_size(stream->messages) == 0)
		errx(EXIT_FAILURE, "%" PRIu32 " of %" PRIu32 " producers died before they had "
		     "finished; %" PRIu64 " messages had come", started - alive, started,
		     consumer->received);
	if (now_ns() - idle_since > (uint64_t)consumer->options.timeout_ns)
		errx(EXIT_FAILURE, "no message for %" PRId64 " s; %" PRIu32 " of %" PRIu32
		     " producers have come, %" PRIu32 " have finished",
		     consumer->options.timeout_ns / NSEC_PER_SEC, started,
		     consumer->options.stream.producers, done);
}

static void consume(struct consumer *consumer)
{
	uint64_t idle_since = now_ns();

	for (;;) {
		int64_t n = shmkit_queue_dequeue_bulk_wait(consumer->stream.messages,
							   consumer->batch,
							   consumer->options.batch, SLICE_NS);

		if (n == -ESHUTDOWN)
			return;
		if (n == -EINTR)
			continue;
		if (n == -ETIMEDOUT) {
			check_producers(consumer, idle_since);
			continue;
		}
		if (n < 0)
			stream_fail("cannot receive");

		idle_since = consumer->last_ns = now_ns();
		if (consumer->received == 0)
			consumer->first_ns = consumer->last_ns;
		for (int64_t i = 0; i < n; i++)
			take_message(consumer, &consumer->batch[i]);
		consumer->received += (uint64_t)n;
	}
}

static void report(const struct consumer *consumer)
{
	double seconds = (double)(consumer->last_ns - consumer->first_ns) / NSEC_PER_SEC;

	if (consumer->received == 0) {
		puts("consumer: others took all the messages");
		return;
	}
	printf("consumer: received %" PRIu64 " messages", consumer->received);
	if (seconds > 0)
		printf(", %.0f messages/s", (double)consumer->received / seconds);
	printf(", on the way for %.1f us in the mean\n",
	       (double)consumer->latency_sum_ns / 1e3 / (double)consumer->received);
	for (uint32_t id = 1; id <= consumer->options.stream.producers; id++) {
		if (consumer->count_of[id] == 0)
			continue;
		printf("  from producer %" PRIu32 ": %" PRIu64 ", the last has value %g\n", id,
		       consumer->count_of[id],
		       message_value((uint64_t)consumer->next_index[id] - 1));
	}
}

/* Tell the others what was received here, and check that together it is all that was sent. */
static bool is_complete(const struct consumer *consumer)
{
	const struct stream *stream = &consumer->stream;
	uint64_t sent, received;

	shmkit_atomic_u64_fetch_add(stream->received_checksum, consumer->checksum);
	shmkit_atomic_u64_fetch_add(stream->received, consumer->received);

	if (!stream_wait_received(stream, consumer->options.timeout_ns)) {
		sent = shmkit_atomic_u64_load(stream->sent);
		received = shmkit_atomic_u64_load(stream->received);
		warnx("%" PRIu64 " messages were sent, %" PRIu64 " were received", sent, received);
		return false;
	}
	if (shmkit_atomic_u64_load(stream->received_checksum) !=
	    shmkit_atomic_u64_load(stream->sent_checksum)) {
		warnx("the checksums of what was sent and what was received differ");
		return false;
	}
	if (consumer->wrong != 0) {
		warnx("%" PRIu64 " messages were wrong", consumer->wrong);
		return false;
	}
	if (consumer->received == shmkit_atomic_u64_load(stream->sent) && consumer->skipped != 0) {
		warnx("%" PRIu64 " messages never came", consumer->skipped);
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	static struct consumer consumer = {
		.options = {
			.stream = { .segment = STREAM_SEGMENT, .producers = 1 },
			.batch = 64,
			.timeout_ns = 30 * NSEC_PER_SEC,
		},
	};
	bool ok;

	parse_options(argc, argv, &consumer.options);
	stream_open(&consumer.stream, &consumer.options.stream, CONSUMER_LABEL);

	consume(&consumer);
	report(&consumer);
	ok = is_complete(&consumer);
	if (ok)
		printf("consumer: PASS, all %" PRIu64 " messages of %" PRIu32
		       " producer(s) arrived, in order, checksum %016" PRIx64 "\n",
		       shmkit_atomic_u64_load(consumer.stream.received),
		       consumer.options.stream.producers,
		       shmkit_atomic_u64_load(consumer.stream.received_checksum));
	else
		puts("consumer: FAIL");
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
