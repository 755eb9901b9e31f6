/*
 * What frequency is in a channel. Only the processor includes this.
 */
#ifndef SPECTRUM_H
#define SPECTRUM_H

#include <stdint.h>

#include <fftw3.h>

#include "sensors.h"

#define WINDOW 1024	/* readings a transform */

struct spectrum {
	double *input;			/* CHANNELS times WINDOW */
	fftw_complex *output;		/* CHANNELS times WINDOW / 2 + 1 */
	fftw_plan plan;
	double hann[WINDOW];
};

void spectrum_init(struct spectrum *spectrum);
void spectrum_finish(struct spectrum *spectrum);

/* Put one reading into place @index of the window. */
void spectrum_add(struct spectrum *spectrum, uint32_t index, const float values[CHANNELS]);

/* The window is full: find the strongest frequency of each channel. */
void spectrum_analyse(struct spectrum *spectrum, float ret_frequency_hz[CHANNELS],
		      float ret_amplitude[CHANNELS]);

#endif
