/* stat: a segment's rates, a line each interval, as vmstat has them. */
#include "sample.h"
#include "sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define HEAD_EVERY 20u

static int64_t interval_ns = 1000000000;
static uint64_t wanted;                     /* lines; 0: for ever */

static bool stat_option(int option, char *argument)
{
	if (option == 'n')
		return cli_parse_number(argument, "-n", 1, INT64_MAX, &wanted);
	if (!cli_parse_seconds(argument, "-i", &interval_ns))
		return false;
	if (interval_ns >= 10000000)
		return true;
	cli_usage("-i: %s is less than 0.01 seconds", argument);
	return false;
}

static void print_head(void)
{
	puts("--members-- --structures-- ----------elements/s---------- ------------loss/s-----------\n"
	     "alive  dead  count    used         in        out  unread     lost redelivered  recoveries");
}

static uint64_t unread(const struct sample *sample)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < sample->entry_count; i++)
		if (sample->entries[i].counts)
			sum += sample->entries[i].info.used;
	return sum;
}

static void print_line(const struct sample *now, const struct sample *earlier)
{
	struct sample_rates rates = sample_rates(now, earlier);
	uint32_t recovered = earlier ? now->info.recoveries - earlier->info.recoveries : 0;
	json_t *line;

	if (cli_output != OUTPUT_JSON) {
		printf("%5" PRIu32 " %5" PRIu32 " %6" PRIu32 " %7s %10.0f %10.0f %7" PRIu64 " %8.0f %11.0f %11" PRIu32 "\n",
		       now->alive, now->dead, now->info.entries, cli_human(now->info.used), rates.in, rates.out, unread(now),
		       rates.lost, rates.redelivered, recovered);
		return;
	}
	line = sheet_document();
	json_object_set_new(line, "members_alive", json_integer(now->alive));
	json_object_set_new(line, "members_dead", json_integer(now->dead));
	json_object_set_new(line, "entries", json_integer(now->info.entries));
	json_object_set_new(line, "used", json_integer((json_int_t)now->info.used));
	json_object_set_new(line, "in_per_second", json_real(rates.in));
	json_object_set_new(line, "out_per_second", json_real(rates.out));
	json_object_set_new(line, "unread", json_integer((json_int_t)unread(now)));
	json_object_set_new(line, "lost_per_second", json_real(rates.lost));
	json_object_set_new(line, "redelivered_per_second", json_real(rates.redelivered));
	json_object_set_new(line, "recoveries", json_integer(recovered));
	json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(line);
}

static int run_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'n' },
		{ NULL, 0, NULL, 0 },
	};
	struct sample *earlier = NULL, *now;
	struct shmkit_segment *segment;
	uint64_t next;
	int first, result;

	CLI_OPTIONS(first, argc, argv, commands_stat, options, "i:n:", stat_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT, not %d", argc - first);
	segment = cli_open(argv[first], SHMKIT_READ_ONLY, &result);   /* says why not */
	if (!segment)
		return result;
	shmkit_segment_close(segment);
	now = sample_take(argv[first]);
	next = now->when_ns;
	for (uint64_t lines = 0; now->error == 0; lines++) {
		if (lines % HEAD_EVERY == 0 && cli_output == OUTPUT_COLUMNS)
			print_head();
		print_line(now, earlier);
		fflush(stdout);
		if (ferror(stdout) || lines + 1 == wanted)
			break;
		sample_free(earlier);
		earlier = now;
		next += (uint64_t)interval_ns;
		cli_sleep_until(next);
		now = sample_take(argv[first]);
	}
	result = EXIT_YES;
	if (now->error) {
		cli_say("'%s': %s", cli_escaped(argv[first]), sample_state(now));
		result = now->error == -ENOENT ? EXIT_NO : EXIT_DAMAGED;
	}
	sample_free(earlier);
	sample_free(now);
	return result;
}

const struct command commands_stat[] = {
	{ "stat", "[-i SECONDS] [-n LINES] SEGMENT", "Show a segment's rates, a line each interval", run_stat },
	{ .name = NULL },
};
