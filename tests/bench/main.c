/*
 * bench [OPTION...] [CASE...]: measures, and prints a line for each turn:
 *
 *	case,subject,round,nanoseconds per unit,calibration before,after
 *
 * With --scale the cases are those of curves, CURVE@VALUE.
 *
 * tools/bench makes the table of it.
 */
#include "bench.h"

#include <argp.h>
#include <fnmatch.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const struct bench_subject *const families[] = {
	bench_subjects_shmkit,
	bench_subjects_calls,
	bench_subjects_plain,
	bench_subjects_kernel,
#ifdef HAVE_RTE
	bench_subjects_rte,
#endif
#ifdef HAVE_CK
	bench_subjects_ck,
#endif
#ifdef HAVE_BOOST
	bench_subjects_boost,
	bench_subjects_interprocess,
#endif
#ifdef HAVE_QB
	bench_subjects_qb,
#endif
#ifdef HAVE_ZMQ
	bench_subjects_zmq,
#endif
};

struct arguments {
	struct bench_options options;
	const char *only;                   /* subjects */
	bool list, scale;
	uint64_t units;                     /* to do without measuring; 0: measure */
	char **cases;
	unsigned count;
};

static const struct bench_subject *find(const char *name, size_t length)
{
	for (size_t f = 0; f < sizeof(families) / sizeof(families[0]); f++)
		for (const struct bench_subject *subject = families[f]; subject->name; subject++)
			if (strlen(subject->name) == length && strncmp(subject->name, name, length) == 0)
				return subject;
	return NULL;
}

static bool is_named(const char *names, const char *name, size_t length)
{
	for (const char *at = names; *at;) {
		size_t one = strcspn(at, " ,");

		if (one == length && strncmp(at, name, length) == 0)
			return true;
		at += one;
		at += strspn(at, " ,");
	}
	return false;
}

static bool run_case(const struct bench_case *what, const struct arguments *arguments)
{
	const struct bench_subject *subjects[BENCH_SUBJECTS];
	unsigned count = 0;

	for (const char *at = what->subjects; *at && count < BENCH_SUBJECTS;) {
		size_t length = strcspn(at, " ");

		if (!arguments->only || is_named(arguments->only, at, length)) {
			subjects[count] = find(at, length);
			if (subjects[count])
				count++;
			else
				fprintf(stderr, "bench: %s: no peer %.*s in this build\n", what->id, (int)length, at);
		}
		at += length;
		at += strspn(at, " ");
	}
	for (unsigned i = 0; i < count && arguments->units; i++)
		if (!bench_count(what, subjects[i], arguments->units))
			return false;
	return count == 0 || arguments->units || bench_run(what, subjects, count, &arguments->options);
}

static bool is_wanted(const struct bench_case *what, const struct arguments *arguments)
{
	for (unsigned i = 0; i < arguments->count; i++)
		if (fnmatch(arguments->cases[i], what->id, 0) == 0)
			return true;
	return arguments->count == 0;
}

/* The first two that this process may use. */
static void choose_processors(struct bench_options *options)
{
	cpu_set_t allowed;
	unsigned found = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
		if (CPU_ISSET((size_t)cpu, &allowed))
			options->processors[found++] = cpu;
	if (found == 1)
		options->processors[1] = options->processors[0];
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	char *end = argument;
	unsigned long number = argument && strchr("rtu", key) ? strtoul(argument, &end, 10) : 0;

	switch (key) {
	case 'r':
	case 't':
	case 'u':
		if (end == argument || *end || number < 1 || number > 1000000)
			argp_error(state, "'%s' is no number from 1 to 1000000", argument);
		if (key == 'u')
			arguments->units = number;
		else
			*(key == 'r' ? &arguments->options.rounds : &arguments->options.slice_us) = (unsigned)number;
		return 0;
	case 'p':
		if (sscanf(argument, "%d,%d", &arguments->options.processors[0],
			   &arguments->options.processors[1]) != 2)
			argp_error(state, "'%s' is not a pair of processors, as 0,1", argument);
		return 0;
	case 's':
		arguments->only = argument;
		return 0;
	case 'c':
		arguments->scale = true;
		return 0;
	case 'l':
		arguments->list = true;
		return 0;
	case ARGP_KEY_ARGS:
		arguments->cases = state->argv + state->next;
		arguments->count = (unsigned)(state->argc - state->next);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option argp_options[] = {
	{ "rounds", 'r', "N", 0, "Turns of each subject (200)", 0 },
	{ "turn", 't', "US", 0, "Microseconds of a turn (1000)", 0 },
	{ "processors", 'p', "A,B", 0, "Where the processes stay (the first two)", 0 },
	{ "subjects", 's', "NAME,...", 0, "Only these", 0 },
	{ "units", 'u', "N", 0, "Do so many units of a case that is one process's, and measure nothing", 0 },
	{ "scale", 'c', NULL, 0, "Curves: the cost over the processes, members, entries, sizes", 0 },
	{ "list", 'l', NULL, 0, "The cases and their subjects; measures nothing", 0 },
	{ 0 },
};

static const struct argp argp = {
	argp_options, parse, "[CASE...]", "Measures libshmkit beside its peers. A CASE may be a pattern, as 'ring_*'.",
	NULL, NULL, NULL,
};

/* A curve that is named, or one of its cases. */
static bool run_curve(const struct bench_curve *curve, const struct arguments *arguments, bool *found)
{
	bool whole = is_wanted(&curve->base, arguments), good = true;
	char id[64];

	if (whole && arguments->list) {
		*found = true;
		printf("%s\t%s\t%s\t%s\n", curve->base.id, curve->base.subjects, curve->base.what, curve->axis);
		return true;
	}
	for (uint64_t value = curve->begin; value <= curve->end; value *= curve->factor) {
		struct bench_case what = bench_case_at(curve, value, id);

		if (!whole && !is_wanted(&what, arguments))
			continue;
		*found = true;
		good &= run_case(&what, arguments);
		fflush(stdout);
	}
	return good;
}

static bool run_cases(const struct arguments *arguments, bool *found)
{
	bool good = true;

	for (const struct bench_case *what = bench_cases; what->id; what++) {
		if (!is_wanted(what, arguments))
			continue;
		*found = true;
		if (arguments->list)
			printf("%s\t%s\t%s\n", what->id, what->subjects, what->what);
		else
			good &= run_case(what, arguments);
		fflush(stdout);
	}
	return good;
}

/* A thousand members of one process have two descriptors each. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	struct arguments arguments = { .options = { .rounds = 200, .slice_us = 1000 } };
	bool good = true, found = false;

	choose_processors(&arguments.options);
	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	if (!arguments.list && !arguments.units)
		puts("case,subject,round,ns,before,after");
	if (arguments.scale) {
		allow_descriptors();
		for (const struct bench_curve *curve = bench_curves; curve->axis; curve++)
			good &= run_curve(curve, &arguments, &found);
	} else {
		good = run_cases(&arguments, &found);
	}
	if (!found)
		fprintf(stderr, "bench: no case has such a name; --list shows them\n");
	return good && found ? 0 : 1;
}
