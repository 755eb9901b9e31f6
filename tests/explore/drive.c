/*
 * Which executions are explored. As a test: a share of each pass that a few seconds allow. By
 * option: all of a pass, one run again, or one memory order weakened.
 *
 *	pairs          two operations, every schedule with up to 2 preemptions
 *	pairs-death    the same with 1 preemption, one of the two killed at any access
 *	pairs-freeze   one of the two stands still at any access until the other has ended
 *	victims        one killed at any access, then a repairer, killed at any access too
 *	chains         one killed at any access, another who meets what he left, also killed at any,
 *	               then a repairer
 *	random         up to 3 threads of up to 3 operations and 2 repairers, any of them killed or
 *	               stopped anywhere
 *	weak-pairs     two operations, 1 preemption, up to 2 stale loads or early stores
 *	weak-chains    as chains, with 1 death and up to 3 stale loads or early stores
 *	weak-after     one killed at any access, then a repairer, then another, with up to 3 stale
 *	               loads or early stores
 *	weak-random    as random, with C11's semantics
 */
#include "choice.h"
#include "scenario.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>

#include <cmocka.h>

enum pass_kind { PAIRS, VICTIMS, CHAINS, AFTER, RANDOM };

static const struct pass {
	const char *name;
	enum pass_kind kind;
	bool weak;
	struct bounds bounds;
	double seconds;                     /* as a test */
} passes[] = {
	{ "pairs", PAIRS, false, { .preemptions = 2 }, 2 },
	{ "pairs-death", PAIRS, false, { .preemptions = 1, .deaths = 1 }, 1 },
	{ "pairs-freeze", PAIRS, false, { .preemptions = 1, .freezes = 1 }, 1 },
	{ "victims", VICTIMS, false, { .deaths = 2 }, 1 },
	{ "chains", CHAINS, false, { .deaths = 2 }, 1 },
	{ "random", RANDOM, false, { .preemptions = 1000, .deaths = 5, .freezes = 1 }, 3 },
	{ "weak-pairs", PAIRS, true, { .preemptions = 1, .stale = 2 }, 1 },
	{ "weak-chains", CHAINS, true, { .deaths = 1, .stale = 3 }, 1 },
	{ "weak-after", AFTER, true, { .deaths = 1, .stale = 3 }, 1 },
	{ "weak-random", RANDOM, true, { .preemptions = 1000, .deaths = 5, .freezes = 1, .stale = 8 }, 3 },
};
#define PASSES (sizeof(passes) / sizeof(passes[0]))

static struct {
	const char *pass, *labels, *summary, *replay, *programs;
	uint64_t runs, seed;
	double seconds;
	int state;                          /* -1: all */
	bool all, hunt;
} options = { .state = -1, .seed = 1 };

/* ---- one run ---- */

bool sim_failed;

static uint64_t runs, failures, total_steps;
static unsigned combinations_done, combinations_total;
static char description[4096];
static bool quiet;

static struct program programs[SIM_THREADS];
static unsigned program_count;
static unsigned current_state;
static const struct pass *current_pass;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* What leads there again. */
static void describe(void)
{
	size_t used = 0;

	used += (size_t)snprintf(description, sizeof(description), "--replay '%s %u", current_pass->name,
				 current_state);
	for (unsigned i = 0; i < program_count; i++) {
		used += (size_t)snprintf(description + used, sizeof(description) - used, " %u",
					 programs[i].actor);
		for (unsigned k = 0; k < programs[i].count; k++)
			used += (size_t)snprintf(description + used, sizeof(description) - used, "%c%s",
						 k ? '+' : '=',
						 scenario.operation_names[programs[i].operations[k]]);
	}
	used += (size_t)snprintf(description + used, sizeof(description) - used, " / ");
	choice_print(description + used, sizeof(description) - used - 2);
	strcat(description, "'");
}

void sim_fail(const char *format, ...)
{
	va_list arguments;

	if (sim_failed)
		return;
	sim_failed = true;
	if (sim_model_void)
		return;
	failures++;
	if (quiet || failures > 5)
		return;
	va_start(arguments, format);
	printf("    ");
	vprintf(format, arguments);
	va_end(arguments);
	describe();
	printf("\n      %s\n", description);
	if (choice_mode == CHOICE_CHANCE)
		printf("      --pass %s --seed %llu --runs 1\n", current_pass->name,
		       (unsigned long long)(options.seed + runs));
}

static void run_program(struct sim_thread *thread)
{
	struct program *program = program_of(thread);

	for (program->at = 0; program->at < program->count && !program->given_up; program->at++) {
		program->ended = false;
		thread->timed_out = false;
		sim_tick(INT64_C(30000000));
		scenario.operate(thread, program->operations[program->at]);
	}
	program->ended = true;
}

static void check_ended(void)
{
	for (unsigned i = 1; i < SIM_THREADS; i++) {
		const struct sim_thread *thread = &sim_threads[i];
		const struct program *program = thread->arg;

		if (thread->state == SIM_READY || thread->state == SIM_BLOCKED)
			sim_fail("%s never returns", scenario.operation_names[program->operations[program->at]]);
	}
}

static void run_once(void)
{
	sim_world_load(current_state);
	sim_failed = false;
	sim_weak = current_pass->weak;
	sim_model_reset();
	choice_start();
	scenario.begin(current_state);
	for (unsigned i = 0; i < program_count; i++) {
		struct sim_thread *thread = sim_thread_new(programs[i].actor, run_program, &programs[i]);

		programs[i].at = 0;
		programs[i].ended = false;
		programs[i].given_up = false;
		if (i > 0 && current_pass->kind != PAIRS && current_pass->kind != RANDOM)
			thread->after = thread->id - 1;
	}
	sim_run();
	check_ended();
	if (!sim_failed)
		scenario.audit();
	sim_weak = false;
	total_steps += sim_step;
	runs++;
}

/* ---- passes ---- */

static double deadline;
static uint64_t runs_limit;

static bool is_over(void)
{
	static unsigned asked;

	if (runs >= runs_limit || (options.hunt && failures))
		return true;
	return asked++ % 64 == 0 && now() > deadline;
}

static void set_pair(unsigned a, unsigned b)
{
	program_count = 2;
	programs[0] = (struct program){ .actor = 1, .count = 1, .operations = { a } };
	programs[1] = (struct program){ .actor = 2, .count = 1, .operations = { b } };
}

/* All runs of the programs as they are set, within the bounds. False: time is over. */
static bool all_runs(void)
{
	choice_forget();
	do {
		run_once();
		if (sim_model_void)
			choice_forget(), run_once();
		if (is_over())
			return false;
	} while (choice_next());
	return true;
}

static unsigned chosen_states(void)
{
	return options.state < 0 ? scenario.states : 1;
}

/* Every combination, in an order that begins elsewhere each time and skips about. */
static void plan(unsigned combinations, void (*set)(unsigned combination))
{
	unsigned total = combinations * chosen_states(), done = 0, at, step = 7919;

	while (total % step == 0 || step % total == 0)
		step++;
	at = (unsigned)(options.seed * 104729 % total);
	for (unsigned i = 0; i < total; i++, at = (at + step) % total) {
		current_state = options.state < 0 ? at % scenario.states : (unsigned)options.state;
		set(at / chosen_states());
		if (!all_runs())
			break;
		done++;
	}
	combinations_done = done;
	combinations_total = total;
}

static void set_pair_of(unsigned combination)
{
	set_pair(combination / scenario.operations, combination % scenario.operations);
}

static void set_victim(unsigned combination)
{
	set_pair(combination, scenario.repair);
}

static void set_chain(unsigned combination)
{
	set_pair_of(combination);
	programs[program_count++] = (struct program){ .actor = 4, .count = 1,
						      .operations = { scenario.repair } };
}

static void set_after(unsigned combination)
{
	set_pair_of(combination);
	programs[2] = programs[1];
	programs[1] = (struct program){ .actor = 4, .count = 1, .operations = { scenario.repair } };
	program_count = 3;
}

static unsigned operation_named(const char *name, size_t length)
{
	for (unsigned i = 0; i < scenario.operations + scenario.extra; i++)
		if (strlen(scenario.operation_names[i]) == length &&
		    strncmp(scenario.operation_names[i], name, length) == 0)
			return i;
	fprintf(stderr, "no operation '%.*s'\n", (int)length, name);
	exit(2);
}

/* ACTOR=OPERATION[+OPERATION...] ..., up to the end or a slash, which is what it returns. */
static const char *read_programs(const char *from)
{
	char word[256];
	int length;

	program_count = 0;
	while (sscanf(from, " %255s%n", word, &length) == 1 && word[0] != '/') {
		struct program *program = &programs[program_count];
		char *next = strchr(word, '=');

		if (!next || ++program_count == SIM_THREADS) {
			fprintf(stderr, "no program '%s'\n", word);
			exit(2);
		}
		*program = (struct program){ .actor = (unsigned)atoi(word) };
		while (next && program->count < SCENARIO_PROGRAM) {
			size_t size = strcspn(++next, "+");

			program->operations[program->count++] = operation_named(next, size);
			next = next[size] ? next + size : NULL;
		}
		from += length;
	}
	return from + strcspn(from, "/");
}

static void set_random(void)
{
	unsigned count = 2 + (unsigned)choice_random(2);

	current_state = options.state < 0 ? (unsigned)choice_random(scenario.states)
					  : (unsigned)options.state;
	if (options.programs) {
		(void)read_programs(options.programs);
		return;
	}
	program_count = 0;
	for (unsigned i = 0; i < count; i++) {
		struct program *program = &programs[program_count++];

		*program = (struct program){ .actor = i + 1, .count = 1 + (unsigned)choice_random(3) };
		/* a thread of another's process, and its handles */
		if (i > 0 && choice_random(8) == 0)
			program->actor = i;
		for (unsigned k = 0; k < program->count; k++)
			program->operations[k] =
				(unsigned)choice_random(scenario.operations + scenario.extra);
	}
	/* one who comes when others have died and were cleaned up after, perhaps under an id of theirs */
	if (scenario.attach && choice_random(4) == 0) {
		unsigned last = (unsigned)choice_random(scenario.operations + scenario.extra);

		programs[count - 1] = (struct program){ .actor = count, .count = 3,
							.operations = { scenario.repair, scenario.attach, last } };
	}
	for (unsigned i = (unsigned)choice_random(3); i > 0; i--)
		programs[program_count++] = (struct program){ .actor = 4, .count = 1,
							      .operations = { scenario.repair } };
}

static void by_chance(void)
{
	while (!is_over()) {
		choice_seed(options.seed + runs);
		set_random();
		run_once();
	}
}

static void run_pass(const struct pass *pass)
{
	current_pass = pass;
	choice_bounds = pass->bounds;
	runs = failures = total_steps = 0;
	combinations_done = combinations_total = 0;
	choice_mode = pass->kind == RANDOM ? CHOICE_CHANCE : CHOICE_PLAN;
	if (pass->kind == RANDOM)
		by_chance();
	else if (pass->kind == VICTIMS)
		plan(scenario.operations, set_victim);
	else
		plan(scenario.operations * scenario.operations,
		     pass->kind == CHAINS ? set_chain : pass->kind == AFTER ? set_after : set_pair_of);
}

static void build_states(void)
{
	for (unsigned state = 0; state < scenario.states; state++) {
		sim_world_reset();
		scenario.build(state);
		sim_world_save(state);
	}
}

static void report(const struct pass *pass, double seconds)
{
	FILE *file;

	printf("%s %s: %llu runs, %llu accesses, %llu failures, %.1f s", scenario.name, pass->name,
	       (unsigned long long)runs, (unsigned long long)total_steps, (unsigned long long)failures,
	       seconds);
	if (combinations_total)
		printf("; %u of %u combinations of state and operations", combinations_done, combinations_total);
	printf("\n");
	if (!options.summary)
		return;
	file = fopen(options.summary, "a");
	if (!file) {
		perror(options.summary);
		exit(2);
	}
	fprintf(file, "explore\t%s\t%s\t%llu\t%llu\t%llu\t%u\t%u\t%.1f\n", scenario.name, pass->name,
		(unsigned long long)runs, (unsigned long long)total_steps, (unsigned long long)failures,
		combinations_done, combinations_total, seconds);
	fclose(file);
}

/* As a test of cmocka: a share of the pass. */
static void test_pass(void **state)
{
	const struct pass *pass = *state;
	double start = now();

	runs_limit = options.runs ? options.runs : UINT64_MAX;
	deadline = start + (options.seconds > 0 ? options.seconds : options.all ? 1e9 : pass->seconds);
	run_pass(pass);
	report(pass, now() - start);
	assert_int_equal(failures, 0);
	assert_true(runs > 0);
}

static int as_tests(void)
{
	struct CMUnitTest tests[PASSES];
	size_t count = 0;

	for (size_t i = 0; i < PASSES; i++) {
		if (options.pass && strcmp(passes[i].name, options.pass) != 0)
			continue;
		tests[count++] = (struct CMUnitTest){ passes[i].name, test_pass, NULL, NULL,
						      (void *)(uintptr_t)&passes[i] };
	}
	if (count == 0) {
		printf("there is no pass %s\n", options.pass);
		return 2;
	}
	return _cmocka_run_group_tests(scenario.name, tests, count, NULL, NULL);
}

/* ---- one run again ---- */

static const struct pass *pass_named(const char *name)
{
	for (size_t i = 0; i < PASSES; i++)
		if (strcmp(passes[i].name, name) == 0)
			return &passes[i];
	fprintf(stderr, "no pass '%s'\n", name);
	exit(2);
}

/* PASS STATE ACTOR=OPERATION[+OPERATION...]... / CHOICES */
static int replay(const char *from)
{
	char name[32];
	int length;

	if (sscanf(from, "%31s %u%n", name, &current_state, &length) != 2)
		return 2;
	current_pass = pass_named(name);
	from = read_programs(from + length);
	choice_bounds = current_pass->bounds;
	choice_mode = CHOICE_REPLAY;
	choice_read(*from ? from + 2 : "");
	run_once();
	printf("%s\n", sim_failed ? "it fails again" : "it is right");
	return sim_failed;
}

/* ---- weakened orders ---- */

extern char __executable_start;             /* of the linker */

static const char *order_name(int order)
{
	static const char *const names[] = { "relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst" };

	return names[order];
}

/* Where the orders are: offset in the program, the strongest order, how often. */
static int list_sites(void)
{
	deadline = now() + (options.seconds > 0 ? options.seconds : 5);
	runs_limit = UINT64_MAX;
	run_pass(pass_named("weak-random"));
	run_pass(pass_named("weak-pairs"));
	for (unsigned i = 0; i < sim_site_count; i++)
		printf("0x%llx\t%s\t%llu\n", (unsigned long long)(sim_sites[i].address - (uintptr_t)&__executable_start),
		       order_name(sim_sites[i].order), (unsigned long long)sim_sites[i].count);
	return failures > 0;
}

static int order_named(const char *name)
{
	for (int order = __ATOMIC_RELAXED; order <= __ATOMIC_SEQ_CST; order++)
		if (strcmp(order_name(order), name) == 0)
			return order;
	fprintf(stderr, "no order '%s'\n", name);
	exit(2);
}

/* Looks for a failure, a share of the time in each pass; exit status 0: there is one. */
static int hunt(bool weak_alone)
{
	static const char *const order[] = { "random", "weak-random", "pairs", "chains", "weak-pairs", "weak-chains",
					     "weak-after", "victims", "pairs-death", "pairs-freeze", "random", "weak-random" };
	double seconds = options.seconds > 0 ? options.seconds : 10, start = now();
	unsigned tried = 0;

	options.hunt = true;
	quiet = true;
	runs_limit = UINT64_MAX;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		const struct pass *pass = pass_named(order[i]);

		if (options.pass ? pass != pass_named(options.pass) : weak_alone && !pass->weak)
			continue;
		tried++;
		deadline = now() + seconds / (options.pass ? 2 : weak_alone ? 6 : 12);
		options.seed += 1000000;
		run_pass(pass);
		if (failures) {
			printf("%s, after %llu runs, %.1f s\n", pass->name, (unsigned long long)runs, now() - start);
			return 0;
		}
	}
	printf("not found in %u passes, %.1f s\n", tried, now() - start);
	return 1;
}

/* OFFSET[,OFFSET...]=ORDER: does an exploration find what goes wrong? */
static int weaken(const char *what)
{
	char *rest;

	do {
		uintptr_t offset = (uintptr_t)strtoull(what, &rest, 0);

		sim_weaken(offset + (uintptr_t)&__executable_start);
		what = rest + 1;
	} while (*rest == ',');
	sim_weak_order = order_named(what);
	return hunt(true);
}

/* ---- options ---- */

static void write_label(const char *label, void *arg)
{
	fprintf(arg, "%s\n", label);
}

static void write_labels(void)
{
	FILE *file = fopen(options.labels, "a");

	if (!file) {
		perror(options.labels);
		exit(2);
	}
	sim_labels_each(write_label, file);
	fclose(file);
}

static int usage(void)
{
	printf("usage: explore_%s [--pass NAME] [--all] [--runs N] [--seconds S] [--seed N] [--state N] [--trace]\n"
	       "       [--programs 'ACTOR=OPERATION[+OPERATION...] ...'] [--labels FILE] [--summary FILE]\n"
	       "       | --replay RUN | --hunt | --sites | --weaken SITES=ORDER\n"
	       "passes:", scenario.name);
	for (size_t i = 0; i < PASSES; i++)
		printf(" %s", passes[i].name);
	printf("\nstates:");
	for (unsigned i = 0; i < scenario.states; i++)
		printf(" %u %s;", i, scenario.state_names[i]);
	printf("\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "pass", required_argument, NULL, 'p' },	{ "runs", required_argument, NULL, 'n' },
		{ "seconds", required_argument, NULL, 's' },	{ "seed", required_argument, NULL, 'e' },
		{ "state", required_argument, NULL, 't' },	{ "labels", required_argument, NULL, 'l' },
		{ "programs", required_argument, NULL, 'g' },
		{ "summary", required_argument, NULL, 'u' },	{ "replay", required_argument, NULL, 'r' },
		{ "all", no_argument, NULL, 'a' },		{ "weaken", required_argument, NULL, 'w' },
		{ "sites", no_argument, NULL, 'i' },
		{ "trace", no_argument, NULL, 't' + 256 },
		{ "hunt", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *weakened = NULL;
	bool sites = false, hunts = false;
	int result, letter;

	while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (letter) {
		case 'p':
			options.pass = optarg;
			break;
		case 'n':
			options.runs = strtoull(optarg, NULL, 0);
			options.all = true;
			break;
		case 's':
			options.seconds = strtod(optarg, NULL);
			break;
		case 'e':
			options.seed = strtoull(optarg, NULL, 0);
			break;
		case 't':
			options.state = atoi(optarg);
			break;
		case 'l':
			options.labels = optarg;
			break;
		case 'g':
			options.programs = optarg;
			break;
		case 'u':
			options.summary = optarg;
			break;
		case 'r':
			options.replay = optarg;
			break;
		case 'a':
			options.all = true;
			break;
		case 'w':
			weakened = optarg;
			break;
		case 't' + 256:
			sim_trace = true;
			break;
		case 'i':
			sites = true;
			break;
		case 'h':
			hunts = true;
			break;
		default:
			return usage();
		}
	}
	if (optind < argc)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	build_states();
	if (options.replay)
		result = replay(options.replay);
	else if (weakened)
		result = weaken(weakened);
	else if (hunts)
		result = hunt(false);
	else
		result = sites ? list_sites() : as_tests();
	if (options.labels)
		write_labels();
	return result;
}
