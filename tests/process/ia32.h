/*
 * What the two sides of test_ia32 have agreed on.
 */
#ifndef IA32_H
#define IA32_H

#include <shmkit.h>

#define MESSAGES UINT64_C(20000)
#define ARRAY_SIZE UINT64_C(100)
#define POOL_OBJECTS 10
#define COUNTER_START UINT64_C(0xfffffffffffffff0)
#define TIMEOUT_NS INT64_C(20000000000)

/* Has the same layout on both: no field at an offset that i386 would choose otherwise. */
struct message {
	uint32_t number;
	uint32_t check;
	uint8_t bytes[24];
};

static inline struct message make_message(uint64_t number)
{
	struct message message = { .number = (uint32_t)number, .check = ~(uint32_t)number };

	for (unsigned i = 0; i < sizeof(message.bytes); i++)
		message.bytes[i] = (uint8_t)(number * 7 + i);
	return message;
}

static inline int is_message(const struct message *message, uint64_t number)
{
	struct message expected = make_message(number);

	for (unsigned i = 0; i < sizeof(expected.bytes); i++)
		if (message->bytes[i] != expected.bytes[i])
			return 0;
	return message->number == expected.number && message->check == expected.check;
}

#endif
