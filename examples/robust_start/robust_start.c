/*
 * robust_start - any number of these start at once, in any order, and agree on one set-up.
 *
 * Each process does the same:
 *
 *  1. Open the segment or create it. The library lets exactly one process create it, and nobody
 *     ever sees one that is half made. What killed processes left behind under the name, sound or
 *     damaged, is replaced. A file that is no segment is left alone unless --replace-foreign says
 *     otherwise, and a segment of a newer format always.
 *  2. Fill in the contents exactly once. Creating a structure and filling it are two steps, and
 *     the process that does the second can be killed in between. So the right to fill it is an
 *     object in a pool: the pool knows its owner, the kernel knows whether the owner is alive, and
 *     if not, the object is taken back and another process begins again.
 *  3. Check in, wait until all have, compare notes, leave. The last one to leave removes the name.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <shmkit.h>

#define SEGMENT_NAME  "shmkit_robust_start"
#define SEGMENT_SIZE  (256 * 1024)
#define TABLE_ENTRIES 4096
#define MAX_COUNT     64
#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)
#define LOOK_NS       (50 * NSEC_PER_MSEC)	/* how often one who waits looks for the dead */

enum {
	EXIT_USAGE   = 2,
	EXIT_FOREIGN = 3,	/* the name belongs to something else */
	EXIT_NEWER   = 4,	/* a segment this program is too old for */
};

enum crash_point { CRASH_NEVER, CRASH_CREATED, CRASH_INITIALISING, CRASH_INITIALISED };

struct options {
	const char *segment;
	uint32_t count;
	int64_t timeout_ns;
	bool replace_foreign;
	enum crash_point crash_at;
};

/* What each process puts down when it checks in. */
struct check_in {
	int32_t  pid;
	uint32_t created;	/* it created the segment */
	uint32_t initialised;	/* it filled the table */
	uint32_t count;		/* it expects so many processes */
};
#define CHECK_IN_SCHEMA "pid:i32 created:u32 initialised:u32 count:u32"

struct process {
	const struct options *options;
	struct shmkit_segment *segment;
	struct shmkit_array *table;		/* what has to be filled in once: primes */
	struct shmkit_array *check_ins;
	struct shmkit_pool *right_to_fill;	/* of one object */
	struct shmkit_atomic_u32 *initialised;	/* times the table was filled to its end: 0 or 1 */
	struct shmkit_atomic_u32 *places;	/* places in check_ins handed out */
	struct shmkit_atomic_u32 *checked_in;	/* and written */
	struct check_in me;
	int64_t deadline_ns;			/* on the clock of now_ns() */
	bool took_over;
};

static _Noreturn void usage(FILE *stream, int status)
{
	fputs("Usage: robust_start [OPTION]...\n"
	      "Start together with others, agree on one segment, initialise it exactly once.\n"
	      "\n"
	      "  -s, --segment=NAME     shared memory (default " SEGMENT_NAME ")\n"
	      "  -n, --count=N          processes that belong together (default 4)\n"
	      "  -t, --timeout=SEC      wait so long for the others (default 30)\n"
	      "      --replace-foreign  replace a file of that name that is no segment\n"
	      "      --crash-at=POINT   to try it out: be killed when 'created', 'initialising'\n"
	      "                         or 'initialised', at the latest before it checks in\n"
	      "  -h, --help             show this help\n"
	      "\n"
	      "Exit status: 0 all agree, 1 failure, 2 wrong usage, 3 the name belongs to something\n"
	      "else, 4 it belongs to a newer version of the library.\n", stream);
	exit(status);
}

static uint32_t parse_number(const char *option, const char *text, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, 1, max, &problem);

	if (problem != NULL)
		errx(EXIT_USAGE, "--%s %s: %s (1 to %" PRIu32 ")", option, text, problem, max);
	return (uint32_t)value;
}

static enum crash_point parse_crash_point(const char *text)
{
	if (strcmp(text, "created") == 0)
		return CRASH_CREATED;
	if (strcmp(text, "initialising") == 0)
		return CRASH_INITIALISING;
	if (strcmp(text, "initialised") == 0)
		return CRASH_INITIALISED;
	errx(EXIT_USAGE, "--crash-at %s: not one of created, initialising, initialised", text);
}

static void parse_options(int argc, char **argv, struct options *options)
{
	static const struct option known[] = {
		{ "segment",         required_argument, NULL, 's' },
		{ "count",           required_argument, NULL, 'n' },
		{ "timeout",         required_argument, NULL, 't' },
		{ "replace-foreign", no_argument,       NULL, 'f' },
		{ "crash-at",        required_argument, NULL, 'c' },
		{ "help",            no_argument,       NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "s:n:t:h", known, NULL)) != -1) {
		switch (c) {
		case 's':
			options->segment = optarg;
			break;
		case 'n':
			options->count = parse_number("count", optarg, MAX_COUNT);
			break;
		case 't':
			options->timeout_ns = parse_number("timeout", optarg, 3600) * NSEC_PER_SEC;
			break;
		case 'f':
			options->replace_foreign = true;
			break;
		case 'c':
			options->crash_at = parse_crash_point(optarg);
			break;
		case 'h':
			usage(stdout, EXIT_SUCCESS);
		default:
			usage(stderr, EXIT_USAGE);
		}
	}
	if (optind < argc)
		errx(EXIT_USAGE, "unexpected argument '%s'; see --help", argv[optind]);
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NSEC_PER_SEC + now.tv_nsec;
}

static void maybe_crash(const struct process *process, enum crash_point point)
{
	if (process->options->crash_at == point) {
		printf("%d: now I am killed\n", process->me.pid);
		raise(SIGKILL);
	}
}

/* ---- 1. the segment ------------------------------------------------------------------------ */

/*
 * Remove the file that has the name now, if it is no segment. Others may be doing the same: without
 * care, the slower one would remove the segment that the faster one has just created. Hence the
 * lock on the file itself, the look whether it is a segment, and the look whether the name still
 * means that file. Nobody else changes what the name means, since a segment is never created over
 * a foreign file.
 */
static bool is_foreign(int fd)
{
	struct shmkit_segment *segment;
	int r = shmkit_segment_open_fd(fd, SHMKIT_READ_ONLY, &segment);

	if (r == 0)
		shmkit_segment_close(segment);
	return r == -EPROTO;
}

static void remove_foreign_file(const char *name)
{
	struct stat locked;
	struct stat named;
	int fd = shm_open(name, O_RDONLY | O_NOFOLLOW, 0);
	int fd_now;

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0)
		err(EXIT_FAILURE, "file '%s'", name);
	if (flock(fd, LOCK_EX) < 0 || fstat(fd, &locked) < 0)
		err(EXIT_FAILURE, "file '%s'", name);
	fd_now = shm_open(name, O_RDONLY | O_NOFOLLOW, 0);
	if (is_foreign(fd) && fd_now >= 0 && fstat(fd_now, &named) == 0 &&
	    named.st_dev == locked.st_dev && named.st_ino == locked.st_ino &&
	    shm_unlink(name) < 0)
		err(EXIT_FAILURE, "file '%s'", name);
	if (fd_now >= 0)
		close(fd_now);
	close(fd);
}

/*
 * What creating the segment would mean, as things are before we start. For the message alone: it
 * may be otherwise the next moment. A read-only opener is no member, so a look at a dead segment
 * does not make it a live one.
 */
static const char *describe_creation(const struct options *options)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment;
	int r = shmkit_segment_open(options->segment, SHMKIT_READ_ONLY, &segment);

	if (r == -EPROTO)
		return options->replace_foreign ? "replaced a foreign file or a damaged segment" :
						  "replaced a damaged segment";
	if (r < 0)
		return "created the segment";
	r = shmkit_segment_get_info(segment, &info);
	shmkit_segment_close(segment);
	return r == 0 && info.members == 0 ? "replaced a segment left over by dead processes" :
					     "created the segment";
}

static int open_or_create_segment(struct process *process)
{
	const struct shmkit_segment_options options = {
		.struct_size = sizeof(options),
		.flags = SHMKIT_SEGMENT_REPLACE_DEAD,
	};

	return shmkit_segment_open_or_create(process->options->segment, SEGMENT_SIZE, &options,
					     &process->segment);
}

static _Noreturn void refuse(int error)
{
	warnx("%s", shmkit_last_error());
	switch (error) {
	case -EPROTO:
		warnx("left alone; --replace-foreign would replace it");
		exit(EXIT_FOREIGN);
	case -EPROTONOSUPPORT:
		warnx("left alone; a newer program is to clear it away");
		exit(EXIT_NEWER);
	default:
		exit(EXIT_FAILURE);
	}
}

static void start_segment(struct process *process)
{
	const char *name = process->options->segment;
	const char *creation = describe_creation(process->options);
	int r = open_or_create_segment(process);

	while (r == -EPROTO && process->options->replace_foreign) {
		remove_foreign_file(name);
		r = open_or_create_segment(process);
	}
	if (r < 0)
		refuse(r);

	process->me.created = r == 1;
	printf("%d: %s\n", process->me.pid, r == 1 ? creation : "joined the segment");
	if (process->me.created)
		maybe_crash(process, CRASH_CREATED);
}

/* ---- 2. the contents ----------------------------------------------------------------------- */

/* open_or_create throughout: whoever comes first creates, whoever dies halfway is no trouble. */
static void open_structures(struct process *process)
{
	const struct shmkit_object_options table_options = {
		.struct_size = sizeof(table_options),
		.schema = "prime:u32",
	};
	const struct shmkit_object_options check_in_options = {
		.struct_size = sizeof(check_in_options),
		.schema = CHECK_IN_SCHEMA,
	};
	struct shmkit_segment *segment = process->segment;

	if (shmkit_array_open_or_create(segment, "table", sizeof(uint32_t), TABLE_ENTRIES,
					&table_options, &process->table) < 0 ||
	    shmkit_array_open_or_create(segment, "check_ins", sizeof(struct check_in), MAX_COUNT,
					&check_in_options, &process->check_ins) < 0 ||
	    shmkit_pool_open_or_create(segment, "right_to_fill", sizeof(uint64_t), 1, NULL,
				       &process->right_to_fill) < 0 ||
	    shmkit_atomic_u32_open_or_create(segment, "initialised", 0,
					     &process->initialised) < 0 ||
	    shmkit_atomic_u32_open_or_create(segment, "places", 0, &process->places) < 0 ||
	    shmkit_atomic_u32_open_or_create(segment, "checked_in", 0, &process->checked_in) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
}

static uint32_t next_prime(uint32_t n)
{
	uint32_t divisor;

	if (n < 3)
		return n == 2 ? 3 : 2;
	do {
		n += 2;
		for (divisor = 3; divisor <= n / divisor && n % divisor != 0; divisor += 2)
			;
	} while (divisor <= n / divisor);
	return n;
}

/* Begins at the beginning, whatever an earlier process has done of it. */
static void fill_table(struct process *process)
{
	uint32_t *table = shmkit_array_data(process->table);
	uint32_t prime = 0;

	process->took_over = table[0] != 0;
	for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
		table[i] = prime = next_prime(prime);
		if (i == TABLE_ENTRIES / 2)
			maybe_crash(process, CRASH_INITIALISING);
	}
}

/* Called by the owner of the right alone. */
static void initialise(struct process *process)
{
	if (shmkit_atomic_u32_load(process->initialised) != 0)
		return;				/* the one before us was faster */
	fill_table(process);
	shmkit_atomic_u32_fetch_add(process->initialised, 1);	/* also wakes those who wait */
	process->me.initialised = 1;
	printf("%d: %s\n", process->me.pid, process->took_over ?
	       "took over from one who died while initialising" : "initialised the contents");
	maybe_crash(process, CRASH_INITIALISED);
}

/* Wait a while for another to initialise; should it be dead, take the right back from it. */
static void wait_initialised(struct process *process)
{
	int r = shmkit_atomic_u32_wait(process->initialised, 0, LOOK_NS);

	if (r < 0 && r != -ETIMEDOUT)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	if (shmkit_pool_reclaim(process->right_to_fill) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	if (now_ns() > process->deadline_ns)
		errx(EXIT_FAILURE, "somebody is alive and does not finish the initialisation");
}

static void initialise_once(struct process *process)
{
	uint64_t right;
	int r;

	while (shmkit_atomic_u32_load(process->initialised) == 0) {
		r = shmkit_pool_acquire(process->right_to_fill, &right);
		if (r == 0) {
			initialise(process);
			shmkit_pool_release(process->right_to_fill, right);
		} else if (r == -EAGAIN) {
			wait_initialised(process);
		} else {
			errx(EXIT_FAILURE, "%s", shmkit_last_error());
		}
	}
}

/* ---- 3. all together ----------------------------------------------------------------------- */

static void check_in(struct process *process)
{
	uint32_t place;

	if (process->options->crash_at != CRASH_NEVER)
		raise(SIGKILL);			/* its point never came; it dies nevertheless */
	place = shmkit_atomic_u32_fetch_add(process->places, 1);
	process->me.count = process->options->count;
	if (shmkit_array_write(process->check_ins, place, 1, &process->me) < 0)
		errx(EXIT_FAILURE, "place %" PRIu32 " for checking in: %s", place,
		     shmkit_last_error());
	shmkit_atomic_u32_fetch_add(process->checked_in, 1);
}

static bool wait_for_all(struct process *process)
{
	uint32_t here;
	int r;

	while ((here = shmkit_atomic_u32_load(process->checked_in)) < process->options->count) {
		int64_t left_ns = process->deadline_ns - now_ns();

		r = shmkit_atomic_u32_wait(process->checked_in, here, left_ns > 0 ? left_ns : 0);
		if (r < 0) {
			warnx("%" PRIu32 " of %" PRIu32 " processes came: %s", here,
			      process->options->count, shmkit_last_error());
			return false;
		}
	}
	return true;
}

static bool table_is_right(struct process *process)
{
	const uint32_t *table = shmkit_array_view(process->table);
	uint32_t prime = 0;

	for (uint32_t i = 0; i < TABLE_ENTRIES; i++) {
		prime = next_prime(prime);
		if (table[i] != prime) {
			warnx("table[%" PRIu32 "] is %" PRIu32 ", not %" PRIu32, i, table[i], prime);
			return false;
		}
	}
	return true;
}

static bool has_checked_in(struct process *process, int32_t pid)
{
	const struct check_in *all = shmkit_array_view(process->check_ins);

	for (uint32_t i = 0; i < MAX_COUNT; i++) {
		if (all[i].pid == pid)
			return true;
	}
	return false;
}

/* Is there, or was there, a member that has not checked in: killed before, or still on its way? */
static bool is_somebody_missing(struct process *process)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	if (shmkit_segment_recover(process->segment, NULL) < 0 ||
	    shmkit_segment_get_info(process->segment, &info) < 0)
		errx(EXIT_FAILURE, "%s", shmkit_last_error());
	while (shmkit_segment_next_member(process->segment, &cursor, &member) == 1) {
		if (!has_checked_in(process, member.pid))
			return true;
	}
	return info.recoveries > 0;
}

static void count_check_ins(struct process *process, struct check_in *ret_sum)
{
	const struct check_in *all = shmkit_array_view(process->check_ins);

	memset(ret_sum, 0, sizeof(*ret_sum));
	for (uint32_t i = 0; i < MAX_COUNT; i++) {
		if (all[i].pid == 0)
			continue;
		if (all[i].count != process->options->count)
			errx(EXIT_FAILURE, "%d expects %" PRIu32 " processes, not %" PRIu32,
			     all[i].pid, all[i].count, process->options->count);
		ret_sum->created += all[i].created;
		ret_sum->initialised += all[i].initialised;
	}
}

/*
 * Exactly one process may have created the segment, and exactly one have filled the table. If that
 * one has not checked in, the sum is nought; but then somebody must be missing.
 */
static int verify(struct process *process)
{
	uint32_t fillings = shmkit_atomic_u32_load(process->initialised);
	uint32_t least = is_somebody_missing(process) ? 0 : 1;
	struct check_in sum;

	count_check_ins(process, &sum);
	if (sum.created > 1 || sum.created < least || sum.initialised > 1 ||
	    sum.initialised < least || fillings != 1) {
		warnx("no agreement: %" PRIu32 " created the segment, %" PRIu32
		      " initialised it, it was filled %" PRIu32 " times",
		      sum.created, sum.initialised, fillings);
		return EXIT_FAILURE;
	}
	if (!table_is_right(process))
		return EXIT_FAILURE;
	printf("%d: all %" PRIu32 " agree: %s, filled exactly once\n", process->me.pid,
	       process->options->count, sum.created == 1 ? "one creator" : "its creator is missing");
	return EXIT_SUCCESS;
}

static void close_structures(struct process *process)
{
	shmkit_atomic_u32_close(process->checked_in);
	shmkit_atomic_u32_close(process->places);
	shmkit_atomic_u32_close(process->initialised);
	shmkit_pool_close(process->right_to_fill);
	shmkit_array_close(process->check_ins);
	shmkit_array_close(process->table);
	shmkit_segment_close(process->segment);
}

int main(int argc, char **argv)
{
	struct options options = {
		.segment = SEGMENT_NAME,
		.count = 4,
		.timeout_ns = 30 * NSEC_PER_SEC,
	};
	struct process process = { .options = &options, .me.pid = getpid() };
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);	/* what was said before a crash is kept */
	parse_options(argc, argv, &options);
	process.deadline_ns = now_ns() + options.timeout_ns;

	start_segment(&process);
	open_structures(&process);
	initialise_once(&process);
	check_in(&process);
	status = wait_for_all(&process) ? verify(&process) : EXIT_FAILURE;
	close_structures(&process);
	return status;
}
