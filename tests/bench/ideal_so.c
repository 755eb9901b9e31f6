/* The ideal structures as a shared library has them: sizes are not known to the compiler. */
#include "ideal.h"

/* What a library made for it would do: the usual sizes copied by a few instructions. */
#define BY_SIZE(call)                                                                                     \
	switch (size) {                                                                                   \
	case 8:                                                                                           \
		return call(8);                                                                           \
	case 64:                                                                                          \
		return call(64);                                                                          \
	default:                                                                                          \
		return call(size);                                                                        \
	}

size_t ideal_so_ring_push(struct ideal_side *side, const void *elements, size_t n, size_t size)
{
#define CALL(size) ideal_ring_push(side, elements, n, size)
	BY_SIZE(CALL)
#undef CALL
}

size_t ideal_so_ring_pop(struct ideal_side *side, void *elements, size_t n, size_t size)
{
#define CALL(size) ideal_ring_pop(side, elements, n, size)
	BY_SIZE(CALL)
#undef CALL
}

size_t ideal_so_vyukov_push(struct vyukov *queue, const void *element, size_t size)
{
#define CALL(size) vyukov_push(queue, element, size)
	BY_SIZE(CALL)
#undef CALL
}

size_t ideal_so_vyukov_pop(struct vyukov *queue, void *element, size_t size)
{
#define CALL(size) vyukov_pop(queue, element, size)
	BY_SIZE(CALL)
#undef CALL
}
