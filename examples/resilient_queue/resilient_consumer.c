/*
 * resilient_consumer - processes messages into the ledger. Kill it whenever you like, with SIGKILL
 * too, and start it again, as many at once as you like: the ledger stays exact.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger.h"

enum crash_point { CRASH_TAKEN, CRASH_INTENDED, CRASH_APPLIED, CRASH_CONCLUDED };

struct options {
	const char *segment;
	int64_t timeout_ns;
	uint64_t crash_after;		/* messages; 0: never */
	enum crash_point crash_at;
};

struct consumer {
	const struct options *options;
	struct ledger ledger;
	uint64_t taken;
	uint64_t taken_again;		/* redelivered: its last consumer died */
	uint64_t duplicates;		/* had taken effect before */
	uint64_t completed;		/* intents of the dead carried out */
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: resilient_consumer [OPTION]...\n"
	      "Process messages into a ledger, until the producer says that there are no more.\n"
	      "\n"
	      "  -s, --segment=NAME   shared memory of the producer\n"
	      "                       (default " LEDGER_SEGMENT ")\n"
	      "  -t, --timeout=SEC    wait so long for a producer or a message (default 30)\n"
	      "      --crash-after=N  to try it out: be killed in the middle of the Nth message ...\n"
	      "      --crash-at=POINT ... when it is 'taken', 'intended', 'applied' or 'concluded'\n"
	      "                       (default applied)\n"
	      "  -h, --help           show this help\n"
	      "\n"
	      "Exit status: 0 all messages are processed, 1 failure, 2 wrong usage.\n", stream);
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

static enum crash_point parse_crash_point(const char *text)
{
	static const char *const names[] = {
		[CRASH_TAKEN]     = "taken",
		[CRASH_INTENDED]  = "intended",
		[CRASH_APPLIED]   = "applied",
		[CRASH_CONCLUDED] = "concluded",
	};

	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0)
			return (enum crash_point)i;
	}
	errx(2, "--crash-at %s: not one of taken, intended, applied, concluded", text);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",     required_argument, NULL, 's' },
		{ "timeout",     required_argument, NULL, 't' },
		{ "crash-after", required_argument, NULL, 'c' },
		{ "crash-at",    required_argument, NULL, 'p' },
		{ "help",        no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 3600) * NSEC_PER_SEC;
			break;
		case 'c':
			options->crash_after = parse_number("crash-after", optarg, UINT32_MAX);
			break;
		case 'p':
			options->crash_at = parse_crash_point(optarg);
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

static void maybe_crash(const struct consumer *consumer, enum crash_point point)
{
	const struct options *options = consumer->options;

	if (consumer->taken == options->crash_after && point == options->crash_at)
		raise(SIGKILL);
}

static void enter(struct consumer *consumer, const struct message *message, int64_t amount)
{
	struct ledger *ledger = &consumer->ledger;
	struct shmkit_slot right;

	if (ledger_lock(ledger, consumer->options->timeout_ns, &right))
		consumer->completed++;
	if (ledger_has(ledger, message->id)) {
		consumer->duplicates++;
		shmkit_atomic_u64_fetch_add(ledger->duplicates, 1);
	} else {
		ledger_intend(ledger, right.data, message, amount);
		maybe_crash(consumer, CRASH_INTENDED);
		ledger_carry_out(ledger, right.data);
		maybe_crash(consumer, CRASH_APPLIED);
		ledger_conclude(right.data);
	}
	ledger_unlock(ledger, &right);
}

static void process(struct consumer *consumer, const struct shmkit_slot *slot)
{
	const struct message *message = slot->data;

	consumer->taken++;
	if (slot->deliveries > 1)
		consumer->taken_again++;
	maybe_crash(consumer, CRASH_TAKEN);
	if (message->id >= LEDGER_MAX_MESSAGES || message->account >= LEDGER_ACCOUNTS)
		errx(EXIT_FAILURE, "message %" PRIu64 " makes no sense", message->id);

	/* The work itself needs no lock, and may be done in vain. */
	enter(consumer, message, message_amount(message));
	maybe_crash(consumer, CRASH_CONCLUDED);

	if (shmkit_queue_ack(consumer->ledger.messages, slot) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = LEDGER_SEGMENT,
		.timeout_ns = 30 * NSEC_PER_SEC,
		.crash_at = CRASH_APPLIED,
	};
	struct consumer consumer = { .options = &options };
	struct shmkit_slot slot;
	int r;

	parse_options(argc, argv, &options);
	ledger_wait(&consumer.ledger, options.segment, options.timeout_ns);

	while ((r = shmkit_queue_lease_wait(consumer.ledger.messages, &slot,
					    options.timeout_ns)) == 0)
		process(&consumer, &slot);
	if (r != -ESHUTDOWN)
		errx(EXIT_FAILURE, "waiting for a message: %s", shmkit_last_error());

	printf("%" PRIu64 " messages taken, %" PRIu64 " of them again; %" PRIu64
	       " had taken effect before, %" PRIu64 " intents of the dead carried out\n",
	       consumer.taken, consumer.taken_again, consumer.duplicates, consumer.completed);
	ledger_close(&consumer.ledger);
	return EXIT_SUCCESS;
}
