/*
 * resilient_producer - sends numbered messages, waits until all are in the ledger, and audits it.
 *
 * It may be killed as well: started again, it goes on where it was. The message it was about to
 * count when it died is sent twice then, and the consumers recognise it.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ledger.h"

struct options {
	const char *segment;
	uint64_t count;
	uint32_t rounds;
	int64_t timeout_ns;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: resilient_producer [OPTION]...\n"
	      "Send messages to consumers that may be killed at any time; check their ledger.\n"
	      "\n"
	      "  -s, --segment=NAME  shared memory (default " LEDGER_SEGMENT ")\n"
	      "  -n, --count=N       messages to send (default 20000, at most 1048576)\n"
	      "  -r, --rounds=N      work for each message (default 20)\n"
	      "  -t, --timeout=SEC   give up when nothing is processed for so long (default 30)\n"
	      "  -h, --help          show this help\n"
	      "\n"
	      "Start any number of: resilient_consumer [--segment=NAME]\n"
	      "Exit status: 0 the ledger is exact, 1 failure, 2 wrong usage.\n", stream);
	exit(status);
}

static uint32_t parse_number(const char *option, const char *text, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, 1, max, &problem);

	if (problem != NULL)
		errx(2, "--%s %s: %s (1 to %" PRIu32 ")", option, text, problem, max);
	return (uint32_t)value;
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment", required_argument, NULL, 's' },
		{ "count",   required_argument, NULL, 'n' },
		{ "rounds",  required_argument, NULL, 'r' },
		{ "timeout", required_argument, NULL, 't' },
		{ "help",    no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:n:r:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'n':
			options->count = parse_number("count", optarg, LEDGER_MAX_MESSAGES);
			break;
		case 'r':
			options->rounds = parse_number("rounds", optarg, 1000000);
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 3600) * NSEC_PER_SEC;
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

static void send_messages(struct ledger *ledger, const struct options *options)
{
	uint64_t first = shmkit_atomic_u64_load(ledger->next_id);
	struct message message;

	if (first > options->count)
		errx(EXIT_FAILURE, "an earlier run has sent %" PRIu64 " messages already", first);
	if (first > 0)
		printf("going on with message %" PRIu64 "\n", first);
	for (uint64_t id = first; id < options->count; id++) {
		message_prepare(&message, id, options->rounds);
		if (shmkit_queue_enqueue_wait(ledger->messages, &message, options->timeout_ns) < 0)
			errx(EXIT_FAILURE, "message %" PRIu64 ": %s", id, shmkit_last_error());
		shmkit_atomic_u64_store(ledger->next_id, id + 1);
	}
}

static void wait_until_processed(struct ledger *ledger, const struct options *options)
{
	uint64_t count;

	while ((count = shmkit_atomic_u64_load(ledger->count)) < options->count) {
		if (shmkit_atomic_u64_wait(ledger->count, count, options->timeout_ns) < 0)
			errx(EXIT_FAILURE, "%" PRIu64 " of %" PRIu64 " messages processed, no more: %s",
			     count, options->count, shmkit_last_error());
	}
}

/*
 * End the queue, and stay until nobody holds a message any more. What comes back now has been
 * processed, by a consumer that died before its ack.
 */
static void finish_queue(struct ledger *ledger, const struct options *options)
{
	struct shmkit_slot slot;
	int r;

	if (shmkit_queue_shutdown(ledger->messages) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	while ((r = shmkit_queue_lease_wait(ledger->messages, &slot, options->timeout_ns)) == 0) {
		const struct message *message = slot.data;

		if (!ledger_has(ledger, message->id))
			errx(EXIT_FAILURE, "message %" PRIu64 " was counted, not processed",
			     message->id);
		shmkit_atomic_u64_fetch_add(ledger->duplicates, 1);
		if (shmkit_queue_ack(ledger->messages, &slot) < 0)
			errx(EXIT_FAILURE, "%s", shmkit_last_error());
	}
	if (r != -ESHUTDOWN)
		errx(EXIT_FAILURE, "a message is not given back: %s", shmkit_last_error());
}

/* Add up what the messages are worth, here, and compare account by account. */
static bool balances_are_right(struct ledger *ledger, const struct options *options)
{
	const int64_t *balances = shmkit_array_view(ledger->balances);
	int64_t expected[LEDGER_ACCOUNTS] = { 0 };
	struct message message;
	bool is_right = true;

	for (uint64_t id = 0; id < options->count; id++) {
		message_prepare(&message, id, options->rounds);
		expected[message.account] += message_amount(&message);
	}
	for (size_t i = 0; i < LEDGER_ACCOUNTS; i++) {
		if (balances[i] != expected[i]) {
			warnx("account %zu holds %" PRId64 ", not %" PRId64, i, balances[i],
			      expected[i]);
			is_right = false;
		}
	}
	return is_right;
}

static bool all_are_processed(struct ledger *ledger, const struct options *options)
{
	uint64_t last = shmkit_atomic_u64_load(ledger->last_processed_id);

	for (uint64_t id = 0; id < options->count; id++) {
		if (!ledger_has(ledger, id)) {
			warnx("message %" PRIu64 " is not marked as processed", id);
			return false;
		}
	}
	if (last != options->count - 1) {
		warnx("the last message is %" PRIu64 ", not %" PRIu64, last, options->count - 1);
		return false;
	}
	return true;
}

static int audit(struct ledger *ledger, const struct options *options)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	uint64_t duplicates = shmkit_atomic_u64_load(ledger->duplicates);
	uint64_t twice;

	if (shmkit_queue_get_stats(ledger->messages, &stats) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	twice = stats.enqueued - options->count;
	printf("%" PRIu64 " messages, %" PRIu64 " of them sent twice by a restarted producer\n",
	       options->count, twice);
	printf("%" PRIu64 " redelivered after a consumer's death, %" PRIu64
	       " recognised as processed before\n", stats.redelivered, duplicates);

	if (!all_are_processed(ledger, options) || !balances_are_right(ledger, options))
		return EXIT_FAILURE;
	if (stats.enqueued < options->count || duplicates > stats.redelivered + twice) {
		warnx("the figures do not fit: %" PRIu64 " enqueued, %" PRIu64 " duplicates",
		      stats.enqueued, duplicates);
		return EXIT_FAILURE;
	}
	printf("the ledger is exact: each message took effect once\n");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = LEDGER_SEGMENT,
		.count = 20000,
		.rounds = 20,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	struct ledger ledger = { 0 };
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	parse_options(argc, argv, &options);
	ledger_create(&ledger, options.segment);

	send_messages(&ledger, &options);
	wait_until_processed(&ledger, &options);
	finish_queue(&ledger, &options);

	status = audit(&ledger, &options);
	ledger_close(&ledger);
	return status;
}
