/*
 * record, replay: a ring's stream in a file, and back.
 *
 * The file is a line of JSON that says what it is, and then batches: three 64-bit numbers in the
 * byte order the line names (nanoseconds since the recording began, elements overwritten before
 * they were read, elements that follow) and the elements.
 */
#include "sheet.h"
#include "stop.h"
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define RECORDING_VERSION 1
#define HEADER_SIZE 8192u
#define PROGRESS_NS UINT64_C(200000000)

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OWN_ORDER "little"
#else
#define OWN_ORDER "big"
#endif

struct batch {
	uint64_t time_ns, lost, count;
};

/* Where it has come to, on a terminal; to: 0 unknown. */
static void progress(const char *what, uint64_t done, uint64_t bytes, uint64_t total, bool last)
{
	static uint64_t shown;
	uint64_t now = cli_now_ns();

	if (!isatty(STDERR_FILENO) || (!last && now - shown < PROGRESS_NS))
		return;
	shown = now;
	if (total)
		fprintf(stderr, "\r%s %" PRIu64 " elements, %s of %s, %.0f %% ", what, done, cli_human(bytes), cli_human(total),
			100.0 * (double)bytes / (double)total);
	else
		fprintf(stderr, "\r%s %" PRIu64 " elements, %s ", what, done, cli_human(bytes));
	if (last)
		fputc('\n', stderr);
}

/* ---- record ---- */

static struct {
	struct target_options target;
	uint64_t count;
	int64_t timeout_ns;
	bool oldest;
} recording = { .timeout_ns = -1 };

enum { OPTION_OLDEST = OPTION_LONG, OPTION_SPEED, OPTION_FAST };

static bool record_option(int option, char *argument)
{
	if (option == 'n')
		return cli_parse_number(argument, "-n", 1, INT64_MAX, &recording.count);
	if (option == 't')
		return cli_parse_seconds(argument, "--timeout", &recording.timeout_ns);
	recording.oldest = true;
	return true;
}

static void write_header(const struct target *target, const char *path, FILE *file)
{
	json_t *header = json_object();

	json_object_set_new(header, "shmkit_recording", json_integer(RECORDING_VERSION));
	json_object_set_new(header, "byte_order", json_string(OWN_ORDER));
	json_object_set_new(header, "element_size", json_integer(target->entry.element_size));
	json_object_set_new(header, "capacity", json_integer((json_int_t)target->entry.capacity));
	json_object_set_new(header, "schema", sheet_json_string(target->entry.schema, strlen(target->entry.schema)));
	json_object_set_new(header, "ring", sheet_json_string(path, strlen(path)));
	json_dumpf(header, file, JSON_COMPACT);
	fputc('\n', file);
	json_decref(header);
}

/* How many; -errno. */
static int64_t record_all(const struct target *target, struct shmkit_ring_reader *reader, FILE *file)
{
	size_t size = target->entry.element_size;
	unsigned char *elements = reallocarray(NULL, target_batch(target), size);
	uint64_t began = cli_now_ns(), done = 0, lost, all_lost = 0;
	int64_t got = 0;

	if (!elements)
		abort();
	while (!stop_wanted() && !ferror(file) && (!recording.count || done < recording.count)) {
		uint64_t wanted = recording.count && recording.count - done < target_batch(target) ? recording.count - done : target_batch(target);
		struct batch batch;

		lost = 0;
		got = shmkit_ring_reader_wait(reader, elements, wanted, &lost, recording.timeout_ns);
		if (got == -EINTR || got == -ECANCELED)
			continue;
		if (got <= 0) {
			all_lost += lost;
			break;
		}
		batch = (struct batch){ cli_now_ns() - began, lost, (uint64_t)got };
		fwrite(&batch, sizeof(batch), 1, file);
		fwrite(elements, size, (size_t)got, file);
		done += (uint64_t)got;
		all_lost += lost;
		progress("recorded", done, done * size, 0, false);
	}
	progress("recorded", done, done * size, 0, true);
	if (all_lost)
		cli_say("%" PRIu64 " elements were overwritten before they were read; the file says where", all_lost);
	free(elements);
	return got < 0 && got != -ECANCELED && got != -EINTR && got != -ESHUTDOWN && got != -ETIMEDOUT ? got : (int64_t)done;
}

static int record_to(const struct target *target, const char *ring, const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	struct shmkit_ring_reader *reader = NULL;
	int64_t done;
	bool good;

	if (!file) {
		cli_say("%s: %s", path, strerror(errno));
		return EXIT_OPEN;
	}
	stop_on_signals(target->segment);
	write_header(target, ring, file);
	done = shmkit_ring_reader_open(target->ring, recording.oldest ? SHMKIT_READ_FROM_OLDEST : SHMKIT_READ_FROM_NEWEST,
				       &reader);
	if (done == 0)
		done = record_all(target, reader, file);
	stop_no_more();
	shmkit_ring_reader_close(reader);
	good = fflush(file) == 0 && !ferror(file);
	if (file != stdout)
		good &= fclose(file) == 0;
	if (!good) {
		cli_say("%s: %s", path, strerror(errno));
		return EXIT_OPEN;
	}
	return done < 0 ? cli_failed(done) : done == 0 ? EXIT_NO : EXIT_YES;
}

static int run_record(int argc, char **argv)
{
	static const struct option options[] = {
		{ "count", required_argument, NULL, 'n' },
		{ "timeout", required_argument, NULL, 't' },
		{ "from-oldest", no_argument, NULL, OPTION_OLDEST },
		{ NULL, 0, NULL, 0 },
	};
	struct target target;
	int first, result;

	CLI_OPTIONS(first, argc, argv, commands_record, options, "n:t:", record_option);
	if (argc - first != 2)
		return cli_usage("it takes a SEGMENT/RING and a FILE, not %d arguments", argc - first);
	result = target_open(argv[first], SHMKIT_READ_ONLY, &recording.target, UINT64_C(1) << SHMKIT_KIND_RING, &target);
	if (result == EXIT_YES)
		result = record_to(&target, argv[first], argv[first + 1]);
	target_close(&target);
	return result;
}

/* ---- replay ---- */

static struct {
	struct target_options target;
	double speed;                       /* 0: as fast as it goes */
	bool overwrite;
	char schema[1024];
} replay = { .speed = 1 };

static bool replay_option(int option, char *argument)
{
	char *end;

	switch (option) {
	case OPTION_FAST:
		replay.speed = 0;
		return true;
	case OPTION_CREATE:
		replay.target.create.wanted = true;
		return true;
	case 'o':
		replay.overwrite = true;
		return true;
	default:
		replay.speed = strtod(argument, &end);
		if (end != argument && !*end && replay.speed > 0 && replay.speed <= 1e6)
			return true;
		cli_usage("--speed: '%s' is no number above 0, as 1, 0.5 or 10", argument);
		return false;
	}
}

/* What the first line says. 0: an element's size. */
static uint64_t read_header(FILE *file, const char *path)
{
	static char line[HEADER_SIZE];
	json_t *header = fgets(line, sizeof(line), file) ? json_loads(line, 0, NULL) : NULL;
	json_int_t version = json_integer_value(json_object_get(header, "shmkit_recording"));
	json_int_t size = json_integer_value(json_object_get(header, "element_size"));
	json_int_t capacity = json_integer_value(json_object_get(header, "capacity"));
	const char *order = json_string_value(json_object_get(header, "byte_order"));
	const char *schema = json_string_value(json_object_get(header, "schema"));

	if (!header || version < 1 || size < 1 || size > INT64_C(1) << 30) {
		cli_say("%s is no recording of a ring", path);
		size = 0;
	} else if (version > RECORDING_VERSION || !order || strcmp(order, OWN_ORDER) != 0) {
		cli_say("%s is a recording of version %" JSON_INTEGER_FORMAT ", %s-endian; this reads version %d, %s-endian",
			path, version, order ? cli_escaped(order) : "of no order", RECORDING_VERSION, OWN_ORDER);
		size = 0;
	} else {
		snprintf(replay.schema, sizeof(replay.schema), "%s", schema ? schema : "");
		replay.target.create.kind = SHMKIT_KIND_RING;
		replay.target.create.element_size = (uint64_t)size;
		replay.target.create.capacity = capacity > 0 ? (uint64_t)capacity : 1024;
		replay.target.format = FORMAT_ELEMENTS;
	}
	json_decref(header);
	return (uint64_t)size;
}

/* All of it; what was pushed, or -errno. */
static int64_t push_all(struct target *target, const unsigned char *elements, uint64_t count)
{
	uint64_t done = 0;

	if (replay.overwrite) {
		int64_t result = shmkit_ring_push_overwrite(target->ring, elements, count);

		return result < 0 ? result : (int64_t)count;
	}
	while (done < count) {
		int64_t some = shmkit_ring_push_bulk_wait(target->ring, elements + done * target->entry.element_size,
							  count - done, -1);

		if (some < 0 && some != -EINTR)
			return some;
		done += some > 0 ? (uint64_t)some : 0;
	}
	return (int64_t)done;
}

static int replay_all(struct target *target, FILE *file, const char *path)
{
	size_t size = target->entry.element_size;
	uint64_t began = cli_now_ns(), done = 0, room = 0, bytes = 0;
	struct stat whole = { .st_size = 0 };
	unsigned char *elements = NULL;
	int result = EXIT_YES;
	struct batch batch;
	size_t got;

	if (fstat(fileno(file), &whole) != 0)
		whole.st_size = 0;
	while (result == EXIT_YES && (got = fread(&batch, 1, sizeof(batch), file)) != 0) {
		int64_t pushed;

		if (got != sizeof(batch)) {
			cli_say("%s ends within a batch, behind element %" PRIu64, path, done);
			result = EXIT_DAMAGED;
			break;
		}
		if (batch.count < 1 || batch.count > UINT32_MAX || batch.count > (uint64_t)(INT64_MAX) / size) {
			cli_say("%s is damaged behind element %" PRIu64, path, done);
			result = EXIT_DAMAGED;
			break;
		}
		if (batch.count > room) {
			unsigned char *larger = reallocarray(elements, batch.count, size);

			if (!larger) {
				cli_say("there is no memory for %" PRIu64 " elements at once", batch.count);
				result = EXIT_DAMAGED;
				break;
			}
			elements = larger;
			room = batch.count;
		}
		if (fread(elements, size, batch.count, file) != batch.count) {
			cli_say("%s ends within a batch, behind element %" PRIu64, path, done);
			result = EXIT_DAMAGED;
			break;
		}
		if (replay.speed > 0)
			cli_sleep_until(began + (uint64_t)((double)batch.time_ns / replay.speed));
		pushed = push_all(target, elements, batch.count);
		if (pushed < 0)
			result = cli_failed(pushed);
		else
			done += (uint64_t)pushed;
		bytes += sizeof(batch) + batch.count * size;
		progress("replayed", done, bytes, (uint64_t)whole.st_size, false);
	}
	progress("replayed", done, bytes, (uint64_t)whole.st_size, true);
	if (ferror(file)) {
		cli_say("%s: %s", path, strerror(errno));
		result = EXIT_OPEN;
	}
	free(elements);
	return result == EXIT_YES && done == 0 ? EXIT_NO : result;
}

static int run_replay(int argc, char **argv)
{
	static const struct option options[] = {
		{ "speed", required_argument, NULL, OPTION_SPEED },
		{ "fast", no_argument, NULL, OPTION_FAST },
		{ "create", no_argument, NULL, OPTION_CREATE },
		{ "overwrite", no_argument, NULL, 'o' },
		{ NULL, 0, NULL, 0 },
	};
	struct target target;
	uint64_t size;
	int first, result;
	FILE *file;

	CLI_OPTIONS(first, argc, argv, &commands_record[1], options, "", replay_option);
	if (argc - first != 2)
		return cli_usage("it takes a FILE and a SEGMENT/RING, not %d arguments", argc - first);
	file = strcmp(argv[first], "-") == 0 ? stdin : fopen(argv[first], "re");
	if (!file) {
		cli_say("%s: %s", argv[first], strerror(errno));
		return EXIT_OPEN;
	}
	size = read_header(file, argv[first]);
	if (!size) {
		fclose(file);
		return EXIT_FORMAT;
	}
	if (replay.schema[0] && replay.target.create.wanted)
		replay.target.schema = replay.schema;
	result = target_open(argv[first + 1], 0, &replay.target, UINT64_C(1) << SHMKIT_KIND_RING, &target);
	if (result == EXIT_YES && target.entry.element_size != size) {
		cli_say("%s has elements of %" PRIu64 " bytes, '%s' of %" PRIu32, argv[first], size, cli_escaped(argv[first + 1]),
			target.entry.element_size);
		result = EXIT_FORMAT;
	}
	if (result == EXIT_YES) {
		result = replay_all(&target, file, argv[first]);
	}
	target_close(&target);
	fclose(file);
	return result;
}

const struct command commands_record[] = {
	{ "record", "[-n N] [-t SECONDS] [--from-oldest] SEGMENT/RING FILE", "Write what comes through a ring to a file",
	  run_record },
	{ "replay", "[--speed FACTOR|--fast] [--create] [--overwrite] FILE SEGMENT/RING",
	  "Push a recording into a ring, as it came", run_replay },
	{ .name = NULL },
};
