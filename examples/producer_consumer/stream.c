/*
 * The part that both programs share: opening a stream from either side, and what a message holds.
 */
#include "stream.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VALUE_STEP 3.14

static struct stream *stream_to_close;

_Noreturn void stream_fail(const char *what)
{
	errx(EXIT_FAILURE, "%s: %s", what, shmkit_last_error());
}

uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
	const char *problem;
	long long value = strtonum(text, (long long)min, (long long)max, &problem);

	if (problem != NULL)
		errx(2, "--%s %s: %s (%" PRIu64 " to %" PRIu64 ")", option, text, problem, min,
		     max);
	return (uint64_t)value;
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

double message_value(uint64_t index)
{
	return (double)index * VALUE_STEP;
}

int64_t message_index(double value)
{
	double index = round(value / VALUE_STEP);
	double expected;

	if (!(index >= 0 && index < 1e15))
		return -1;
	expected = message_value((uint64_t)index);
	return memcmp(&expected, &value, sizeof(value)) == 0 ? (int64_t)index : -1;
}

uint64_t message_checksum(const struct message *message)
{
	uint64_t bits;

	memcpy(&bits, &message->value, sizeof(bits));
	bits ^= (uint64_t)(uint32_t)message->producer_id * 0x9e3779b97f4a7c15u;
	bits ^= message->timestamp;
	bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
	bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
	return bits ^ (bits >> 31);
}

static uint64_t object_size(uint32_t kind, uint32_t element_size, uint64_t capacity)
{
	uint64_t size;

	if (shmkit_object_footprint(kind, element_size, capacity, NULL, &size) < 0)
		stream_fail("cannot tell the size of the segment");
	return size;
}

/* Enough for the queue; the tutorial's 1 MiB unless the queue is a large one. */
static uint64_t segment_size(uint64_t capacity)
{
	uint64_t size;

	if (shmkit_segment_footprint(NULL, &size) < 0)
		stream_fail("cannot tell the size of the segment");
	size += object_size(SHMKIT_KIND_QUEUE, sizeof(struct message), capacity);
	size += 3 * object_size(SHMKIT_KIND_ATOMIC_U32, sizeof(uint32_t), 1);
	size += 4 * object_size(SHMKIT_KIND_ATOMIC_U64, sizeof(uint64_t), 1);
	return size > STREAM_SEGMENT_SIZE ? size : STREAM_SEGMENT_SIZE;
}

static void open_segment(struct stream *stream, const struct stream_options *options)
{
	/* What a crash of all its members left behind must not be taken for a running stream. */
	struct shmkit_segment_options segment_options = {
		.struct_size = sizeof(segment_options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,
	};
	uint64_t capacity = options->capacity != 0 ? options->capacity : STREAM_CAPACITY;

	if (shmkit_segment_open_or_create(options->segment, segment_size(capacity),
					  &segment_options, &stream->segment) < 0)
		stream_fail("cannot open the segment");
}

/* Who asks for a capacity insists on it; who does not takes what the other side has made. */
static void open_queue(struct stream *stream, const struct stream_options *options)
{
	struct shmkit_object_options queue_options = {
		.struct_size = sizeof(queue_options),
		.schema = MESSAGE_SCHEMA,
	};
	uint64_t capacity = options->capacity != 0 ? options->capacity : STREAM_CAPACITY;
	int result;

	result = shmkit_queue_open_or_create(stream->segment, STREAM_QUEUE, sizeof(struct message),
					     capacity, &queue_options, &stream->messages);
	if (result == -EPROTOTYPE && options->capacity == 0)
		result = shmkit_queue_open(stream->segment, STREAM_QUEUE, sizeof(struct message),
					   &stream->messages);
	if (result < 0)
		stream_fail("cannot open the queue");
}

static void open_atomics(struct stream *stream, const struct stream_options *options)
{
	const struct {
		const char *name;
		uint32_t initial;
		struct shmkit_atomic_u32 **atomic;
	} counters[] = {
		{ "producers_expected", options->producers, &stream->producers_expected },
		{ "producers_started",  0,                  &stream->producers_started },
		{ "producers_done",     0,                  &stream->producers_done },
	};
	const struct {
		const char *name;
		struct shmkit_atomic_u64 **atomic;
	} sums[] = {
		{ "sent_checksum",     &stream->sent_checksum },
		{ "sent",              &stream->sent },
		{ "received_checksum", &stream->received_checksum },
		{ "received",          &stream->received },
	};

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		if (shmkit_atomic_u32_open_or_create(stream->segment, counters[i].name,
						     counters[i].initial, counters[i].atomic) < 0)
			stream_fail("cannot open a counter");
	}
	for (size_t i = 0; i < sizeof(sums) / sizeof(sums[0]); i++) {
		if (shmkit_atomic_u64_open_or_create(stream->segment, sums[i].name, 0,
						     sums[i].atomic) < 0)
			stream_fail("cannot open a counter");
	}
}

static void close_stream(void)
{
	struct stream *stream = stream_to_close;

	shmkit_queue_close(stream->messages);
	shmkit_atomic_u32_close(stream->producers_expected);
	shmkit_atomic_u32_close(stream->producers_started);
	shmkit_atomic_u32_close(stream->producers_done);
	shmkit_atomic_u64_close(stream->sent_checksum);
	shmkit_atomic_u64_close(stream->sent);
	shmkit_atomic_u64_close(stream->received_checksum);
	shmkit_atomic_u64_close(stream->received);
	shmkit_segment_close(stream->segment);
}

void stream_open(struct stream *stream, const struct stream_options *options, const char *label)
{
	uint32_t expected;

	stream_to_close = stream;
	atexit(close_stream);
	open_segment(stream, options);
	if (shmkit_segment_set_label(stream->segment, label) < 0)
		stream_fail("cannot set the label");
	open_queue(stream, options);
	open_atomics(stream, options);

	expected = shmkit_atomic_u32_load(stream->producers_expected);
	if (expected != options->producers)
		errx(EXIT_FAILURE, "segment '%s' was set up for %" PRIu32
		     " producer(s), here it is --producers %" PRIu32
		     ": say the same number everywhere",
		     options->segment, expected, options->producers);
}

uint32_t stream_count_members(const struct stream *stream, const char *label)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;
	uint32_t count = 0;

	while (shmkit_segment_next_member(stream->segment, &cursor, &member) == 1)
		count += member.alive != 0 && strcmp(member.label, label) == 0;
	return count;
}

/*
 * "received" is the last word to change in a stream: consumers add to it once the queue has been
 * shut down, and that is after the last producer has added to "sent".
 */
bool stream_wait_received(const struct stream *stream, int64_t timeout_ns)
{
	uint32_t expected = shmkit_atomic_u32_load(stream->producers_expected);
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;

	for (;;) {
		uint64_t received = shmkit_atomic_u64_load(stream->received);
		uint64_t now = now_ns();
		int result;

		if (shmkit_atomic_u32_load(stream->producers_done) == expected &&
		    received == shmkit_atomic_u64_load(stream->sent))
			return true;
		if (now >= deadline)
			return false;
		result = shmkit_atomic_u64_wait(stream->received, received,
						(int64_t)(deadline - now));
		if (result < 0 && result != -ETIMEDOUT && result != -EINTR)
			stream_fail("cannot wait for the other side");
	}
}
