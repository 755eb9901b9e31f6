/*
 * Choices: by plan (all within bounds, one after the other), from a list (replay), or by chance.
 */
#include "choice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 8192

struct bounds choice_bounds;
enum choice_mode choice_mode;

static struct bounds left;
static struct { uint8_t taken, count, kind; } path[DEPTH];
static unsigned depth, known;               /* path[0 .. known) is to be taken again */

static uint64_t state;                      /* of the generator */
static unsigned switchiness, deadliness, staleness;   /* one in so many */
static unsigned until_death, until_switch;  /* choices of their kind before one is taken; 0 never */

/* How often threads are switched: often and anywhere; never; a few times, at points chosen evenly. */
static enum { OFTEN, NEVER, SELDOM } style;

uint64_t choice_random(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

void choice_seed(uint64_t seed)
{
	static const unsigned in_so_many[] = { 2, 4, 8, 32 };

	state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
	state ^= state >> 29;
	for (int i = 0; i < 4; i++)
		choice_random(2);
	switchiness = in_so_many[choice_random(4)];
	deadliness = 8u << choice_random(5);
	staleness = 2 + (unsigned)choice_random(6);
	style = (unsigned)choice_random(3);
	until_death = (unsigned)choice_random(80);
	until_switch = (unsigned)choice_random(200);
}

void choice_start(void)
{
	left = choice_bounds;
	depth = 0;
	if (choice_mode != CHOICE_PLAN)
		known = choice_mode == CHOICE_REPLAY ? known : 0;
}

bool choice_next(void)
{
	while (depth > 0) {
		if (path[depth - 1].taken + 1 < path[depth - 1].count) {
			path[depth - 1].taken++;
			known = depth;
			return true;
		}
		depth--;
	}
	known = 0;
	return false;
}

void choice_forget(void)
{
	depth = known = 0;
}

static unsigned *budget(enum sim_choice kind)
{
	switch (kind) {
	case SIM_PREEMPT:
		return &left.preemptions;
	case SIM_DIE:
		return &left.deaths;
	case SIM_FREEZE:
		return &left.freezes;
	case SIM_STALE:
		return &left.stale;
	case SIM_NEXT:
	case SIM_CASE:
		break;
	}
	return NULL;
}

/*
 * Evenly, so that late points have their share: one after the other, each dying somewhere on its
 * way; or with few switches (after Burckhardt et al., A Randomized Scheduler with Probabilistic
 * Guarantees of Finding Bugs, 2010).
 */
static bool counted_down(unsigned *until, unsigned again)
{
	if (*until == 0 || --*until > 0)
		return false;
	*until = (unsigned)choice_random(again);
	return true;
}

static unsigned evenly(enum sim_choice kind, unsigned count)
{
	if (kind == SIM_DIE)
		return counted_down(&until_death, 200);
	if (kind == SIM_PREEMPT && style == SELDOM)
		return counted_down(&until_switch, 300) ? 1 + (unsigned)choice_random(count - 1) : 0;
	if (kind == SIM_NEXT && style == SELDOM)
		return (unsigned)choice_random(count);
	return 0;
}

static unsigned by_chance(enum sim_choice kind, unsigned count)
{
	unsigned in_so_many = 1;

	if (style != OFTEN && kind != SIM_STALE && kind != SIM_CASE)
		return evenly(kind, count);
	if (kind == SIM_PREEMPT)
		in_so_many = switchiness;
	else if (kind == SIM_DIE)
		in_so_many = deadliness;
	else if (kind == SIM_FREEZE)
		in_so_many = deadliness * 4;
	else if (kind == SIM_STALE)
		in_so_many = staleness;
	else
		return (unsigned)choice_random(count);
	return choice_random(in_so_many) ? 0 : 1 + (unsigned)choice_random(count - 1);
}

unsigned sim_choose(enum sim_choice kind, unsigned count)
{
	unsigned *rest = budget(kind), taken = 0;

	if (count < 2 || (rest && *rest == 0))
		return 0;
	if (choice_mode == CHOICE_CHANCE) {
		taken = by_chance(kind, count);
	} else {
		if (depth == DEPTH) {
			sim_fail("a run with more than %d choices", DEPTH);
			return 0;
		}
		if (depth < known) {
			taken = path[depth].taken;
			if (taken >= count || (choice_mode == CHOICE_PLAN && path[depth].kind != kind)) {
				fprintf(stderr, "the run cannot be repeated: choice %u\n", depth);
				abort();
			}
		}
		path[depth].taken = (uint8_t)taken;
		path[depth].count = (uint8_t)count;
		path[depth].kind = (uint8_t)kind;
		depth++;
	}
	if (taken && rest)
		--*rest;
	return taken;
}

void choice_print(char *to, size_t size)
{
	size_t used = 0;
	unsigned zeros = 0;

	to[0] = '\0';
	for (unsigned i = 0; i < depth && used + 24 < size; i++) {
		if (path[i].taken == 0) {
			zeros++;
			continue;
		}
		used += (size_t)snprintf(to + used, size - used, "%u:%u,", zeros, path[i].taken);
		zeros = 0;
	}
	if (used)
		to[used - 1] = '\0';
}

/* As choice_print() wrote it: pairs of zeros before, and what was chosen. */
void choice_read(const char *from)
{
	unsigned zeros, taken;
	int length;

	/* kinds are not written down: they follow from the run; see sim_choose() */
	known = depth = 0;
	while (sscanf(from, "%u:%u%n", &zeros, &taken, &length) == 2) {
		known += zeros;
		if (known >= DEPTH)
			break;
		path[known++].taken = (uint8_t)taken;
		from += length + (from[length] == ',');
	}
}
