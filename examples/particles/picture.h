/*
 * A picture of particles: a camera, light that adds up, and a PNG file.
 */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "particles.h"

struct picture {
	uint32_t width, height;
	float *light;		/* red, green, blue of each pixel; no upper limit */
	uint8_t *pixels;	/* the same as it goes into the file */
};

void picture_init(struct picture *picture, uint32_t width, uint32_t height);
void picture_finish(struct picture *picture);

/* Draw the night and the water, then all the particles and their reflections. */
void picture_draw(struct picture *picture, const struct snapshot *snapshot);

/* Prints why where it fails. */
bool picture_write(struct picture *picture, const char *path);

#endif
