/*
 * bench: what the calls cost on this machine, in short. The project's tests/bench measures the same
 * beside other libraries.
 */
#include "sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURNS 9u                            /* of each; the median counts */
#define TURN_NS UINT64_C(20000000)
#define CAPACITY 1024u
#define BATCH 32u

struct bench {
	struct shmkit_segment *segment;
	struct shmkit_queue *queue;
	struct shmkit_ring *ring;
	struct shmkit_pool *pool;
	struct shmkit_atomic_u64 *atomic;
	struct shmkit_queue *back;
};

struct work {
	const char *what;
	uint64_t unit;                      /* elements of one call of once() */
	void (*once)(struct bench *bench);
	void (*peer)(struct bench *bench);  /* another process does this until it is killed; may be NULL */
};

static _Noreturn void fail(int64_t result)
{
	exit(cli_failed(result));
}

static void must(int64_t result)
{
	if (result < 0)
		fail(result);
}

/* ---- the work ---- */

static void queue_pair(struct bench *bench)
{
	uint64_t element = 1;

	must(shmkit_queue_enqueue(bench->queue, &element));
	must(shmkit_queue_dequeue(bench->queue, &element));
}

static void queue_batch(struct bench *bench)
{
	uint64_t elements[BATCH] = { 1 };

	must(shmkit_queue_enqueue_bulk(bench->queue, elements, BATCH));
	must(shmkit_queue_dequeue_bulk(bench->queue, elements, BATCH));
}

static void ring_pair(struct bench *bench)
{
	uint64_t element = 1;

	must(shmkit_ring_push(bench->ring, &element));
	must(shmkit_ring_pop(bench->ring, &element));
}

static void ring_batch(struct bench *bench)
{
	uint64_t elements[BATCH] = { 1 };

	must(shmkit_ring_push_bulk(bench->ring, elements, BATCH));
	must(shmkit_ring_pop_bulk(bench->ring, elements, BATCH));
}

static void pool_pair(struct bench *bench)
{
	uint64_t handle;

	must(shmkit_pool_acquire(bench->pool, &handle));
	must(shmkit_pool_release(bench->pool, handle));
}

static void atomic_add(struct bench *bench)
{
	shmkit_atomic_u64_fetch_add(bench->atomic, 1);
}

static void open_close(struct bench *bench)
{
	struct shmkit_atomic_u64 *atomic;

	must(shmkit_atomic_u64_open(bench->segment, "atomic", &atomic));
	shmkit_atomic_u64_close(atomic);
}

static void queue_in(struct bench *bench)
{
	uint64_t element = 1;
	int result;

	while ((result = shmkit_queue_enqueue(bench->queue, &element)) == -EAGAIN)
		;
	must(result);
}

static void queue_out(struct bench *bench)
{
	uint64_t element;
	int result;

	while ((result = shmkit_queue_dequeue(bench->queue, &element)) == -EAGAIN)
		;
	must(result);
}

static void ring_in(struct bench *bench)
{
	uint64_t element = 1;
	int result;

	while ((result = shmkit_ring_push(bench->ring, &element)) == -EAGAIN)
		;
	must(result);
}

static void ring_out(struct bench *bench)
{
	uint64_t element;
	int result;

	while ((result = shmkit_ring_pop(bench->ring, &element)) == -EAGAIN)
		;
	must(result);
}

static void there_and_back(struct bench *bench)
{
	uint64_t element = 1;

	must(shmkit_queue_enqueue_wait(bench->queue, &element, -1));
	must(shmkit_queue_dequeue_wait(bench->back, &element, -1));
}

static void send_back(struct bench *bench)
{
	uint64_t element;

	must(shmkit_queue_dequeue_wait(bench->queue, &element, -1));
	must(shmkit_queue_enqueue_wait(bench->back, &element, -1));
}

static const struct work works[] = {
	{ "queue: in and out", 1, queue_pair, NULL },
	{ "queue: in and out, 32 at once", BATCH, queue_batch, NULL },
	{ "queue: from process to process", 1, queue_in, queue_out },
	{ "ring: in and out", 1, ring_pair, NULL },
	{ "ring: in and out, 32 at once", BATCH, ring_batch, NULL },
	{ "ring: from process to process", 1, ring_in, ring_out },
	{ "there and back, waiting", 1, there_and_back, send_back },
	{ "pool: acquire and release", 1, pool_pair, NULL },
	{ "atomic: fetch_add", 1, atomic_add, NULL },
	{ "open by name, and close", 1, open_close, NULL },
};

#define WORKS (sizeof(works) / sizeof(works[0]))

/* ---- measuring ---- */

static void open_all(struct bench *bench, const char *name)
{
	must(shmkit_segment_open(name, 0, &bench->segment));
	must(shmkit_queue_open_or_create(bench->segment, "queue", 8, CAPACITY, NULL, &bench->queue));
	must(shmkit_queue_open_or_create(bench->segment, "back", 8, CAPACITY, NULL, &bench->back));
	must(shmkit_ring_open_or_create(bench->segment, "ring", 8, CAPACITY, NULL, &bench->ring));
	must(shmkit_pool_open_or_create(bench->segment, "pool", 64, CAPACITY, NULL, &bench->pool));
	must(shmkit_atomic_u64_open_or_create(bench->segment, "atomic", 0, &bench->atomic));
}

static void close_all(struct bench *bench)
{
	shmkit_queue_close(bench->queue);
	shmkit_queue_close(bench->back);
	shmkit_ring_close(bench->ring);
	shmkit_pool_close(bench->pool);
	shmkit_atomic_u64_close(bench->atomic);
	shmkit_segment_close(bench->segment);
}

static pid_t start_peer(const struct work *work, const char *name)
{
	struct bench bench;
	pid_t pid = work->peer ? fork() : -1;

	if (work->peer && pid < 0) {
		cli_say("there is no process for the other side: %s", strerror(errno));
		exit(EXIT_OPEN);
	}
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	open_all(&bench, name);
	for (;;)
		work->peer(&bench);
}

static int by_value(const void *one, const void *other)
{
	double a = *(const double *)one, b = *(const double *)other;

	return a < b ? -1 : a > b;
}

static uint64_t run_count(const struct work *work, struct bench *bench, uint64_t count)
{
	uint64_t began = cli_now_ns();

	for (uint64_t i = 0; i < count; i++)
		work->once(bench);
	return cli_now_ns() - began;
}

/* Nanoseconds for one element, sorted. */
static void measure(const struct work *work, const char *name, double ret_ns[TURNS])
{
	struct bench bench;
	uint64_t count = 64, took;
	pid_t peer = start_peer(work, name);

	open_all(&bench, name);
	while ((took = run_count(work, &bench, count)) < TURN_NS / 4)
		count *= 2;
	count = (uint64_t)((double)count * (double)TURN_NS / (double)took) + 1;
	for (unsigned turn = 0; turn < TURNS; turn++)
		ret_ns[turn] = (double)run_count(work, &bench, count) / (double)(count * work->unit);
	qsort(ret_ns, TURNS, sizeof(ret_ns[0]), by_value);
	if (peer > 0) {
		kill(peer, SIGKILL);
		waitpid(peer, NULL, 0);
		must(shmkit_segment_recover(bench.segment, NULL));
	}
	/* the next begins with what is empty */
	for (uint64_t element; shmkit_queue_dequeue(bench.queue, &element) == 0 ||
	     shmkit_queue_dequeue(bench.back, &element) == 0 || shmkit_ring_pop(bench.ring, &element) == 0;)
		;
	close_all(&bench);
}

/* ---- showing ---- */

static const struct sheet_column columns[] = {
	{ "WHAT", "what", 0 },
	{ "NANOSECONDS", "ns_median", SHEET_RIGHT },
	{ "QUARTILES", "ns_quartiles", SHEET_RIGHT },
	{ "MILLIONS/S", "millions_per_second", SHEET_RIGHT },
};

static void add_line(struct sheet *sheet, const struct work *work, const double ns[TURNS])
{
	double low = ns[TURNS / 4], middle = ns[TURNS / 2], high = ns[TURNS - 1 - TURNS / 4];
	json_t *quartiles = json_array();
	char text[40];

	json_array_append_new(quartiles, json_real(low));
	json_array_append_new(quartiles, json_real(high));
	snprintf(text, sizeof(text), "%.1f to %.1f", low, high);
	sheet_line(sheet);
	sheet_string(sheet, 0, work->what);
	sheet_real(sheet, 1, middle, 1);
	sheet_json(sheet, 2, text, quartiles);
	sheet_real(sheet, 3, 1000 / middle, 2);
}

static int write_svg(const char *path, double (*ns)[TURNS])
{
	FILE *to = fopen(path, "we");
	double most = 1;

	if (!to) {
		cli_say("%s: %s", path, strerror(errno));
		return EXIT_OPEN;
	}
	for (size_t i = 0; i < WORKS; i++)
		most = ns[i][TURNS / 2] > most ? ns[i][TURNS / 2] : most;
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"860\" height=\"%zu\" font-family=\"sans-serif\" "
		    "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		    "<text x=\"20\" y=\"24\" font-size=\"15\">shmkit %s: nanoseconds for one element or call, median of %u</text>\n",
		60 + WORKS * 28, shmkit_version_string(), TURNS);
	for (size_t i = 0; i < WORKS; i++) {
		double middle = ns[i][TURNS / 2];

		fprintf(to, "<text x=\"250\" y=\"%zu\" text-anchor=\"end\">%s</text>\n<rect x=\"260\" y=\"%zu\" width=\"%.1f\" "
			    "height=\"18\" fill=\"#2060a0\"/>\n<text x=\"%.1f\" y=\"%zu\">%.1f</text>\n", 58 + i * 28,
			works[i].what, 45 + i * 28, middle / most * 520, 266 + middle / most * 520, 58 + i * 28, middle);
	}
	fputs("</svg>\n", to);
	if (fclose(to) != 0) {
		cli_say("%s: %s", path, strerror(errno));
		return EXIT_OPEN;
	}
	return EXIT_YES;
}

/* ---- the command ---- */

static const char *svg_path;

static bool bench_option(int option, char *argument)
{
	(void)option;
	svg_path = argument;
	return true;
}

static int run_bench(int argc, char **argv)
{
	static const struct option options[] = {
		{ "svg", required_argument, NULL, OPTION_LONG },
		{ NULL, 0, NULL, 0 },
	};
	double ns[WORKS][TURNS];
	struct shmkit_segment *segment;
	struct sheet *sheet;
	char name[64];
	int first;

	CLI_OPTIONS(first, argc, argv, commands_bench, options, "", bench_option);
	if (first != argc)
		return cli_usage("it takes no arguments");
	snprintf(name, sizeof(name), "shmkit-bench-%d", (int)getpid());
	must(shmkit_segment_create(name, UINT64_C(1) << 20, NULL, &segment));   /* it goes when we end */
	for (size_t i = 0; i < WORKS; i++) {
		if (isatty(STDERR_FILENO))
			fprintf(stderr, "\r%-40s", works[i].what);
		measure(&works[i], name, ns[i]);
	}
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%-40s\r", "");
	shmkit_segment_close(segment);
	sheet = sheet_new("measured", columns, sizeof(columns) / sizeof(columns[0]));
	for (size_t i = 0; i < WORKS; i++)
		add_line(sheet, &works[i], ns[i]);
	sheet_print(sheet);
	return svg_path ? write_svg(svg_path, ns) : EXIT_YES;
}

const struct command commands_bench[] = {
	{ "bench", "[--svg FILE]", "Measure what the calls cost on this machine", run_bench },
	{ .name = NULL },
};
