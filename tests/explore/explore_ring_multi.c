/* A ring of several producers, or consumers, or both, under exploration. What is right: ring_oracle.h. */
#include "ring_oracle.h"

#define BOTH (SHMKIT_RING_MULTI_PRODUCER | SHMKIT_RING_MULTI_CONSUMER)
#define BEFORE_WRAP ((UINT64_C(1) << 36) + (UINT64_C(1) << 32) - 2)     /* of the read index, 32 bits */

const struct ring_state ring_states[] = {
	{ .name = "empty", .capacity = 2, .flags = BOTH },
	{ .name = "one element, full", .capacity = 1, .fill = 1, .flags = BOTH },
	{ .name = "half full, near the wrap", .capacity = 4, .fill = 2, .position = BEFORE_WRAP - 2,
	  .overwritten = 4, .flags = BOTH },
	{ .name = "full", .capacity = 3, .fill = 3, .flags = BOTH },
	{ .name = "overwritten by a lap", .capacity = 2, .fill = 2, .overwritten = 5, .flags = BOTH },
	{ .name = "one consumer", .capacity = 3, .fill = 2, .warm = true,
	  .flags = SHMKIT_RING_MULTI_PRODUCER },
	{ .name = "one producer", .capacity = 3, .fill = 2, .warm = true,
	  .flags = SHMKIT_RING_MULTI_CONSUMER },
	{ .name = "a producer has died in a push", .capacity = 3, .fill = 2, .dead = true, .flags = BOTH },
	{ .name = "without membarrier", .capacity = 2, .fill = 1, .flags = BOTH, .no_membarrier = true },
	{ .name = "dropped_base lags", .capacity = 2, .fill = 2, .position = BEFORE_WRAP, .overwritten = 2,
	  .lagging = true, .flags = BOTH },
};
#define STATES (sizeof(ring_states) / sizeof(ring_states[0]))

static const char *state_names[STATES];

static void __attribute__((constructor)) name_states(void)
{
	for (unsigned i = 0; i < STATES; i++)
		state_names[i] = ring_states[i].name;
}

const struct scenario scenario = {
	.name = "ring_multi",
	.states = STATES,
	.state_names = state_names,
	.operations = RING_SHUTDOWN + 1,
	.operation_names = ring_operation_names,
	.extra = RING_OPERATIONS - RING_SHUTDOWN - 1,
	.repair = RING_REPAIR,
	.attach = RING_ATTACH,
	.build = ring_build,
	.begin = ring_begin,
	.operate = ring_operate,
	.audit = ring_audit,
};
