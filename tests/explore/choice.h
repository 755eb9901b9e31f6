/* Where the choices of a run come from. */
#ifndef EXPLORE_CHOICE_H
#define EXPLORE_CHOICE_H

#include "sim.h"

enum choice_mode { CHOICE_PLAN, CHOICE_REPLAY, CHOICE_CHANCE };

/* How often in one run something other than 0 may be chosen. */
struct bounds {
	unsigned preemptions, deaths, freezes, stale;
};

extern enum choice_mode choice_mode;
extern struct bounds choice_bounds;

void choice_start(void);                    /* of a run */
bool choice_next(void);                     /* by plan: another run is to be made */
void choice_forget(void);                   /* the plan begins anew */
void choice_seed(uint64_t seed);            /* by chance */
uint64_t choice_random(uint64_t below);
void choice_print(char *to, size_t size);
void choice_read(const char *from);

#endif
