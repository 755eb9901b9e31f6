/*
 * Kills, or stops, a process at every instruction of every call, and looks what its peers make of
 * it. See trace.h, scene.h, run.h.
 */
#include "run.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void usage(FILE *file)
{
	fputs("usage: crash [OPTIONS]\n"
	      "  --function F   only this function; F may end in *\n"
	      "  --family F     queue, ring, pool, table, atomic, segment\n"
	      "  --state S      only this state\n"
	      "  --freeze       stop the victim instead of killing it, let peers work, let it go on\n"
	      "  --two          kill the victim, then whoever repairs, at the accesses to the segment\n"
	      "  --every N      only every N-th point, from --offset K (or --seed K) on\n"
	      "  --hits N       only the first N executions of an address, for long loops\n"
	      "  --at I         only this point; with --then J only this one of the repairer\n"
	      "  --blocked N    every N-th kill with peers that are blocked (200)\n"
	      "  --jobs J       workers (2); with --freeze they mostly wait, and hundreds are in place\n"
	      "  --parts P      cut the points of a state into P tasks (1), each traced anew\n"
	      "  --summary F    write the sums to this file, key=value\n"
	      "  --list         the functions and states\n", file);
}

static void list(const struct subject *subject, unsigned state, void *context)
{
	(void)context;
	printf("%-8s %-28s %s\n", subject->family->name, subject->name, subject->family->states[state]);
}

static void write_summary(FILE *file, const struct run_tally *tally, uint64_t took_ns)
{
	fprintf(file, "traced=%llu\npoints=%llu\nkills=%llu\nfreezes=%llu\npairs=%llu\nfailures=%llu\n",
		(unsigned long long)tally->traced, (unsigned long long)tally->points,
		(unsigned long long)tally->kills, (unsigned long long)tally->freezes,
		(unsigned long long)tally->pairs, (unsigned long long)tally->failures);
	fprintf(file, "stepped=%llu\nlost=%llu\ntemporary_files=%llu\nbusy_unnamed=%llu\nblocked=%llu\n",
		(unsigned long long)tally->stepped, (unsigned long long)tally->lost,
		(unsigned long long)tally->temporaries, (unsigned long long)tally->unnamed_busy,
		(unsigned long long)tally->blocked);
	fprintf(file, "worst_recovery_ms=%.3f\nworst_blocked_ms=%.3f\nseconds=%.1f\n",
		(double)tally->worst_ns / 1e6, (double)tally->worst_blocked_ns / 1e6, (double)took_ns / 1e9);
}

static void parse(int argc, char *argv[], struct run_options *options, const char **ret_summary,
		  bool *ret_list)
{
	static const struct option longs[] = {
		{ "function", 1, NULL, 'f' }, { "family", 1, NULL, 'F' }, { "state", 1, NULL, 's' },
		{ "freeze", 0, NULL, 'z' }, { "two", 0, NULL, '2' }, { "every", 1, NULL, 'e' },
		{ "offset", 1, NULL, 'o' }, { "seed", 1, NULL, 'o' }, { "at", 1, NULL, 'a' },
		{ "then", 1, NULL, 't' }, { "blocked", 1, NULL, 'b' }, { "jobs", 1, NULL, 'j' },
		{ "parts", 1, NULL, 'p' }, { "hits", 1, NULL, 'H' }, { "summary", 1, NULL, 'S' },
		{ "list", 0, NULL, 'l' }, { "help", 0, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		unsigned long number = optarg ? strtoul(optarg, NULL, 0) : 0;

		switch (option) {
		case 'f': options->function = optarg; break;
		case 'F': options->family = optarg; break;
		case 's': options->state = optarg; break;
		case 'z': options->mode = RUN_FREEZE; break;
		case '2': options->mode = RUN_TWO; break;
		case 'e': options->every = number ? (uint32_t)number : 1; break;
		case 'o': options->offset = (uint32_t)number; break;
		case 'a': options->at = (int64_t)number; break;
		case 't': options->then = (int64_t)number; break;
		case 'b': options->blocked_every = (uint32_t)number; break;
		case 'j': options->jobs = number ? (unsigned)number : 1; break;
		case 'p': options->parts = number ? (uint32_t)number : 1; break;
		case 'H': options->hits = (uint32_t)number; break;
		case 'S': *ret_summary = optarg; break;
		case 'l': *ret_list = true; break;
		default:
			usage(option == 'h' ? stdout : stderr);
			exit(option == 'h' ? 0 : 2);
		}
	}
}

int main(int argc, char *argv[])
{
	struct run_options options = { .every = 1, .at = -1, .then = -1, .blocked_every = 200, .jobs = 2,
				       .parts = 1 };
	const char *summary = NULL, *refused;
	struct run_tally tally;
	bool listing = false;
	uint64_t began;

	run_bind_now(argv);
	parse(argc, argv, &options, &summary, &listing);
	if (listing) {
		run_each(&options, list, NULL);
		return 0;
	}
	refused = trace_refused();
	if (refused) {
		printf("skipped: %s\n", refused);
		return 77;
	}
	began = now_ns();
	if (!run_all(&options, &tally)) {
		puts("skipped: nothing to run, or no /dev/shm of its own can be had");
		return 77;
	}
	write_summary(stdout, &tally, now_ns() - began);
	if (summary) {
		FILE *file = fopen(summary, "we");

		if (!file) {
			perror(summary);
			return 1;
		}
		write_summary(file, &tally, now_ns() - began);
		fclose(file);
	}
	return tally.failures > 0;
}
