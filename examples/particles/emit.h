/*
 * Where particles come from: a fountain, embers around it, and fireworks.
 */
#ifndef EMIT_H
#define EMIT_H

#include <stdint.h>

#include "particles.h"

struct emitter {
	uint64_t random;
	void (*spawn)(void *context, const struct particle *particle);
	void *context;
};

/* The new particles of one frame. @scale: 1 fills a pool of DEFAULT_PARTICLES. */
void emit_frame(struct emitter *emitter, uint64_t frame, float scale);

/* What becomes of a shell at the top of its flight. */
void emit_burst(struct emitter *emitter, const struct particle *shell, float scale);

#endif
