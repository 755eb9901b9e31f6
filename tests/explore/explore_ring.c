/* A ring of one producer and one consumer under exploration. What is right: ring_oracle.h. */
#include "ring_oracle.h"

#define BEFORE_WRAP ((UINT64_C(1) << 36) + (UINT64_C(1) << 32) - 2)     /* of the read index, 32 bits */

const struct ring_state ring_states[] = {
	{ .name = "empty", .capacity = 3 },
	{ .name = "one element, full", .capacity = 1, .fill = 1 },
	{ .name = "half full, both have their role", .capacity = 4, .fill = 2, .warm = true },
	{ .name = "full", .capacity = 3, .fill = 3 },
	{ .name = "near the wrap of the read word", .capacity = 4, .fill = 2, .position = BEFORE_WRAP - 3,
	  .overwritten = 4, .warm = true },
	{ .name = "overwritten by a lap", .capacity = 2, .fill = 1, .overwritten = 5, .warm = true },
	{ .name = "where another was removed", .capacity = 3, .fill = 1, .reused = true },
	{ .name = "dropped_base lags", .capacity = 2, .fill = 2, .position = BEFORE_WRAP, .overwritten = 2,
	  .lagging = true },
	{ .name = "elements of 16 bytes 32 apart", .capacity = 3, .fill = 2, .alignment = 32, .warm = true },
	{ .name = "a producer has died in a push", .capacity = 3, .fill = 3, .dead = true },
	{ .name = "without membarrier", .capacity = 2, .fill = 1, .no_membarrier = true },
};
#define STATES (sizeof(ring_states) / sizeof(ring_states[0]))

static const char *state_names[STATES];

static void __attribute__((constructor)) name_states(void)
{
	for (unsigned i = 0; i < STATES; i++)
		state_names[i] = ring_states[i].name;
}

const struct scenario scenario = {
	.name = "ring",
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
