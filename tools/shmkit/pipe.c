/* push, pop: a queue or a ring at the end of a pipe. */
#include "stop.h"
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INPUT_BYTES (1u << 20)              /* more for a line that is longer */
#define KINDS (UINT64_C(1) << SHMKIT_KIND_QUEUE | UINT64_C(1) << SHMKIT_KIND_RING)

/* ---- push ---- */

struct push {
	struct target_options options;
	bool truncate, overwrite, shutdown;
	int64_t timeout_ns;
};

static struct push push;

enum { OPTION_TRUNCATE = OPTION_LONG, OPTION_OVERWRITE, OPTION_NO_WAIT, OPTION_SHUTDOWN, OPTION_ACK };

static bool push_option(int option, char *argument)
{
	bool known;

	if (!target_option(&push.options, option, argument, &known))
		return false;
	switch (option) {
	case OPTION_TRUNCATE:
		push.truncate = true;
		break;
	case OPTION_OVERWRITE:
		push.overwrite = true;
		break;
	case OPTION_NO_WAIT:
		push.timeout_ns = 0;
		break;
	case OPTION_SHUTDOWN:
		push.shutdown = true;
		break;
	case 't':
		return cli_parse_seconds(argument, "--timeout", &push.timeout_ns);
	default:
		break;
	}
	return true;
}

/* Elements on their way in. */
struct filler {
	struct target *target;
	unsigned char *elements;
	uint64_t count, room;               /* of elements */
	uint64_t pushed;
	uint64_t line;                      /* of the input, from 1 on */
	int result;                         /* an exit code */
};

static int64_t push_some(const struct target *target, const unsigned char *elements, uint64_t count)
{
	int64_t result;

	if (target->entry.kind == SHMKIT_KIND_QUEUE)
		return shmkit_queue_enqueue_bulk_wait(target->queue, elements, count, push.timeout_ns);
	if (!push.overwrite)
		return shmkit_ring_push_bulk_wait(target->ring, elements, count, push.timeout_ns);
	result = shmkit_ring_push_overwrite(target->ring, elements, count);
	return result < 0 ? result : (int64_t)count;
}

static bool flush_elements(struct filler *filler)
{
	uint64_t done = 0;

	while (done < filler->count) {
		int64_t some = push_some(filler->target, filler->elements + done * filler->target->entry.element_size,
					 filler->count - done);

		if (some < 0 && some != -EINTR) {
			filler->result = cli_failed(some);
			break;
		}
		done += some > 0 ? (uint64_t)some : 0;
	}
	filler->pushed += done;
	filler->count = 0;
	return filler->result == EXIT_YES;
}

static bool add_text(struct filler *filler, const char *line, size_t length, unsigned char *element)
{
	size_t room = filler->target->entry.element_size;

	if (memchr(line, 0, length)) {
		cli_say("line %" PRIu64 " holds a byte 0, at which a line of text ends; --elements takes bytes as they are",
			filler->line);
		return false;
	}
	if (length > room && !push.truncate) {
		cli_say("line %" PRIu64 " has %zu bytes; an element of '%s' has room for %zu (--truncate cuts)", filler->line,
			length, cli_escaped(filler->target->entry.name), room);
		return false;
	}
	if (length > room)
		length = room;
	memcpy(element, line, length);
	memset(element + length, 0, room - length);
	return true;
}

static bool add_json(struct filler *filler, const char *line, size_t length, unsigned char *element)
{
	json_error_t error;
	json_t *object = json_loadb(line, length, 0, &error);
	const char *wrong;

	if (!object) {
		cli_say("line %" PRIu64 ": %s", filler->line, error.text);
		return false;
	}
	wrong = element_from_json(&filler->target->schema, object, element);
	if (wrong)
		cli_say("line %" PRIu64 ": %s", filler->line, wrong);
	json_decref(object);
	return !wrong;
}

static bool is_blank(const char *line, size_t length)
{
	size_t i = 0;

	while (i < length && (line[i] == ' ' || line[i] == '\t'))
		i++;
	return i == length;
}

/* A line without its end; false when there is no going on. */
static bool add_line(struct filler *filler, const char *line, size_t length)
{
	unsigned char *element = filler->elements + filler->count * filler->target->entry.element_size;
	bool good;

	filler->line++;
	if (filler->target->format == FORMAT_JSON && is_blank(line, length))
		return true;
	good = filler->target->format == FORMAT_JSON ? add_json(filler, line, length, element)
						     : add_text(filler, line, length, element);
	if (!good) {
		flush_elements(filler);     /* those before it go in */
		filler->result = EXIT_NO;
		return false;
	}
	return ++filler->count < filler->room || flush_elements(filler);
}

static bool take_lines(struct filler *filler, const char *bytes, size_t size, size_t *ret_used)
{
	size_t used = 0;
	const char *end;

	while ((end = memchr(bytes + used, '\n', size - used)) != NULL) {
		if (!add_line(filler, bytes + used, (size_t)(end - bytes) - used))
			return false;
		used = (size_t)(end - bytes) + 1;
	}
	*ret_used = used;
	return true;
}

static bool take_elements(struct filler *filler, const char *bytes, size_t size, size_t *ret_used)
{
	size_t element_size = filler->target->entry.element_size, used = 0;

	for (; size - used >= element_size; used += element_size) {
		memcpy(filler->elements + filler->count * element_size, bytes + used, element_size);
		if (++filler->count == filler->room && !flush_elements(filler))
			return false;
	}
	*ret_used = used;
	return true;
}

/* The input has ended in the middle of something. */
static bool take_rest(struct filler *filler, const char *bytes, size_t size)
{
	if (size == 0)
		return true;
	if (filler->target->format != FORMAT_ELEMENTS)
		return add_line(filler, bytes, size);
	cli_say("the input ends %zu bytes into an element of %" PRIu32, size, filler->target->entry.element_size);
	flush_elements(filler);
	filler->result = EXIT_NO;
	return false;
}

static void push_input(struct filler *filler, int fd)
{
	size_t room = INPUT_BYTES, held = 0, used;
	char *buffer = malloc(room);

	while (buffer) {
		ssize_t got;
		bool good;

		if (held == room) {
			char *larger = realloc(buffer, 2 * room);

			if (!larger) {
				cli_say("line %" PRIu64 " is too long", filler->line + 1);
				filler->result = EXIT_OPEN;
				break;
			}
			buffer = larger;
			room *= 2;
		}
		got = read(fd, buffer + held, room - held);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			cli_say("the input: %s", strerror(errno));
			filler->result = EXIT_OPEN;
		}
		if (got <= 0) {
			if (filler->result == EXIT_YES && take_rest(filler, buffer, held))
				flush_elements(filler);
			break;
		}
		held += (size_t)got;
		good = filler->target->format == FORMAT_ELEMENTS ? take_elements(filler, buffer, held, &used)
								 : take_lines(filler, buffer, held, &used);
		/* what has come goes in before more is waited for */
		if (!good || !flush_elements(filler))
			break;
		memmove(buffer, buffer + used, held - used);
		held -= used;
	}
	if (!buffer)
		filler->result = EXIT_OPEN;
	free(buffer);
}

static int end_stream(struct target *target)
{
	int result = target->entry.kind == SHMKIT_KIND_QUEUE ? shmkit_queue_shutdown(target->queue)
							     : shmkit_ring_shutdown(target->ring);

	return result ? cli_failed(result) : EXIT_YES;
}

static int run_push(int argc, char **argv)
{
	static const struct option options[] = {
		TARGET_FORMAT_OPTIONS, TARGET_CREATE_OPTIONS,
		{ "truncate", no_argument, NULL, OPTION_TRUNCATE },
		{ "overwrite", no_argument, NULL, OPTION_OVERWRITE },
		{ "no-wait", no_argument, NULL, OPTION_NO_WAIT },
		{ "timeout", required_argument, NULL, 't' },
		{ "shutdown", no_argument, NULL, OPTION_SHUTDOWN },
		{ NULL, 0, NULL, 0 },
	};
	struct target target;
	struct filler filler = { .target = &target, .result = EXIT_YES };
	int first;

	push.timeout_ns = -1;
	CLI_OPTIONS(first, argc, argv, commands_pipe, options, TARGET_CREATE_LETTERS "t:", push_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT/STRUCTURE, not %d arguments", argc - first);
	filler.result = target_open(argv[first], 0, &push.options, KINDS, &target);
	if (filler.result == EXIT_YES && push.overwrite && target.entry.kind != SHMKIT_KIND_RING)
		filler.result = cli_usage("--overwrite is for rings; '%s' is a queue", cli_escaped(target.entry.name));
	if (filler.result == EXIT_YES) {
		filler.room = target_batch(&target);
		filler.elements = reallocarray(NULL, filler.room, target.entry.element_size);
		if (!filler.elements)
			abort();
		push_input(&filler, STDIN_FILENO);
		if (filler.result != EXIT_YES)
			cli_say("%" PRIu64 " element%s pushed", filler.pushed, filler.pushed == 1 ? " was" : "s were");
		else if (push.shutdown)
			filler.result = end_stream(&target);
		free(filler.elements);
	}
	target_close(&target);
	return filler.result;
}

/* ---- pop ---- */

struct pop {
	struct target_options options;
	bool follow, ack;
	uint64_t count;                     /* 0: all */
	int64_t timeout_ns;
};

static struct pop pop;

static bool pop_option(int option, char *argument)
{
	bool known;

	if (!target_option(&pop.options, option, argument, &known))
		return false;
	switch (option) {
	case 'f':
		pop.follow = true;
		break;
	case 'n':
		return cli_parse_number(argument, "-n", 1, INT64_MAX, &pop.count);
	case 't':
		pop.follow = true;
		return cli_parse_seconds(argument, "--timeout", &pop.timeout_ns);
	case OPTION_ACK:
		pop.ack = true;
		break;
	default:
		break;
	}
	return true;
}

static int64_t pop_some(const struct target *target, void *elements, uint64_t count)
{
	if (target->entry.kind == SHMKIT_KIND_RING)
		return pop.follow ? shmkit_ring_pop_bulk_wait(target->ring, elements, count, pop.timeout_ns)
				  : shmkit_ring_pop_bulk(target->ring, elements, count);
	return pop.follow ? shmkit_queue_dequeue_bulk_wait(target->queue, elements, count, pop.timeout_ns)
			  : shmkit_queue_dequeue_bulk(target->queue, elements, count);
}

/* One that is given back if we die, or cannot write it. */
static int64_t lease_one(const struct target *target)
{
	struct shmkit_slot slot;
	int result = pop.follow ? shmkit_queue_lease_wait(target->queue, &slot, pop.timeout_ns)
				: shmkit_queue_lease(target->queue, &slot);

	if (result)
		return result;
	target_print(target, slot.data);
	if (fflush(stdout) != 0) {
		shmkit_queue_nack(target->queue, &slot);
		return 0;
	}
	result = shmkit_queue_ack(target->queue, &slot);
	return result ? result : 1;
}

static int pop_all(struct target *target)
{
	uint64_t room = target_batch(target), done = 0;
	unsigned char *elements = reallocarray(NULL, room, target->entry.element_size);
	int result = EXIT_YES;

	if (!elements)
		abort();
	while (!stop_wanted() && (pop.count == 0 || done < pop.count)) {
		uint64_t wanted = pop.count && pop.count - done < room ? pop.count - done : room;
		int64_t got = pop.ack ? lease_one(target) : pop_some(target, elements, wanted);

		if (got == -EINTR || got == -ECANCELED)
			continue;
		if (got == -EAGAIN || got == -ESHUTDOWN || got == -ETIMEDOUT || (got == 0 && !ferror(stdout)))
			break;              /* there is no more */
		if (got < 0) {
			result = cli_failed(got);
			break;
		}
		for (int64_t i = 0; i < got && !pop.ack; i++)
			target_print(target, elements + (uint64_t)i * target->entry.element_size);
		done += (uint64_t)got;
		/* whoever reads this waits for no more than is there */
		if (pop.follow || (uint64_t)got < wanted)
			fflush(stdout);
		if (ferror(stdout)) {
			result = EXIT_OPEN;
			break;
		}
	}
	free(elements);
	return result == EXIT_YES && done == 0 ? EXIT_NO : result;
}

static int run_pop(int argc, char **argv)
{
	static const struct option options[] = {
		TARGET_FORMAT_OPTIONS, TARGET_CREATE_OPTIONS,
		{ "follow", no_argument, NULL, 'f' },
		{ "count", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ "ack", no_argument, NULL, OPTION_ACK },
		{ NULL, 0, NULL, 0 },
	};
	struct target target;
	int first, result;

	pop.timeout_ns = -1;
	CLI_OPTIONS(first, argc, argv, &commands_pipe[1], options, TARGET_CREATE_LETTERS "fn:t:", pop_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT/STRUCTURE, not %d arguments", argc - first);
	result = target_open(argv[first], 0, &pop.options, KINDS, &target);
	if (result == EXIT_YES && pop.ack && target.entry.kind != SHMKIT_KIND_QUEUE)
		result = cli_usage("--ack is for queues; '%s' is a ring", cli_escaped(target.entry.name));
	if (result == EXIT_YES) {
		stop_on_signals(target.segment);
		result = pop_all(&target);
		stop_no_more();
	}
	target_close(&target);
	return result;
}

const struct command commands_pipe[] = {
	{ "push", "[--create [-k KIND] [-e SIZE] [-c N]] [--text|--json|--elements] [--schema S] [--truncate]\n"
	  "                   [--overwrite] [--no-wait|-t SECONDS] [--shutdown] SEGMENT/STRUCTURE",
	  "Put lines, JSON or bytes from standard input into a queue or ring", run_push },
	{ "pop", "[-f] [-n N] [-t SECONDS] [--ack] [--create ...] [--text|--json|--elements] [--schema S]\n"
	  "                  SEGMENT/STRUCTURE",
	  "Take elements out of a queue or ring, to standard output", run_pop },
	{ .name = NULL },
};
