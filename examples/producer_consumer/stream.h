/*
 * What producer and consumer agree on: the names, the shape of a message, and how a stream ends.
 *
 * Either program may come first; whoever does creates what is missing. A stream has a fixed number
 * of producers. Each takes the next producer id, sends its messages, and reports how many they were
 * and their checksum; the last to finish shuts the queue down. Consumers drain it, report the same
 * two numbers, and everybody compares.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include <shmkit.h>

#define STREAM_SEGMENT      "producer_consumer"
#define STREAM_QUEUE        "messages"
#define STREAM_CAPACITY     100
#define STREAM_SEGMENT_SIZE (1024 * 1024)
#define STREAM_PRODUCERS    64	/* at most */
#define STREAM_BATCH_MAX    4096

#define PRODUCER_LABEL "producer"
#define CONSUMER_LABEL "consumer"

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_USEC INT64_C(1000)

struct message {
	uint64_t timestamp;	/* CLOCK_MONOTONIC, nanoseconds */
	int32_t  producer_id;	/* 1, 2, ... */
	uint32_t reserved;
	double   value;		/* message_value() of the message's index */
};
#define MESSAGE_SCHEMA "timestamp:u64 producer_id:i32 reserved:u32 value:f64"

_Static_assert(sizeof(struct message) == 24, "a message has no hidden padding");

struct stream_options {
	const char *segment;
	uint32_t producers;
	uint64_t capacity;	/* 0: whatever is there, or STREAM_CAPACITY */
};

struct stream {
	struct shmkit_segment *segment;
	struct shmkit_queue *messages;
	struct shmkit_atomic_u32 *producers_expected;
	struct shmkit_atomic_u32 *producers_started;
	struct shmkit_atomic_u32 *producers_done;
	struct shmkit_atomic_u64 *sent_checksum;
	struct shmkit_atomic_u64 *sent;			/* written after sent_checksum */
	struct shmkit_atomic_u64 *received_checksum;
	struct shmkit_atomic_u64 *received;		/* written after received_checksum */
};

/*
 * Open the stream, creating what is missing. Where that is impossible, exit with 1 and say why.
 * @stream is closed by exit(), also by one for an error: the last to leave takes the name along.
 */
void stream_open(struct stream *stream, const struct stream_options *options, const char *label);

/* How many live processes with this label are attached. */
uint32_t stream_count_members(const struct stream *stream, const char *label);

/* Wait until every message sent has been accounted for by the consumers. False: not in time. */
bool stream_wait_received(const struct stream *stream, int64_t timeout_ns);

/* Print "@what: why it failed" and exit with 1. */
_Noreturn void stream_fail(const char *what);

/* The number in @text, or exit with 2. */
uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max);

uint64_t now_ns(void);

/* What message number @index carries, and back. message_index() is -1 for what no index gives. */
double message_value(uint64_t index);
int64_t message_index(double value);

/* One message's share of the checksum: summed, so the order of arrival does not matter. */
uint64_t message_checksum(const struct message *message);

#endif
