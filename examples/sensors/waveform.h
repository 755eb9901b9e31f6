/*
 * The hardware, simulated: eight channels of a sine and noise. Only the collector includes this.
 */
#ifndef WAVEFORM_H
#define WAVEFORM_H

#include <stdint.h>

#include "sensors.h"

#define SINE_TABLE 4096

struct waveform {
	float sine[SINE_TABLE];
	uint32_t phase[CHANNELS];	/* 2^32 is one turn */
	uint32_t step[CHANNELS];	/* added for each reading */
	float amplitude[CHANNELS];
	float noise[CHANNELS];
	uint64_t random;
};

/* Choose the channels by @seed. @ret_channels tells the truth about them. */
void waveform_init(struct waveform *source, uint64_t seed,
		   struct channel ret_channels[CHANNELS]);

/* The values of one reading after another. */
void waveform_next(struct waveform *source, float ret_values[CHANNELS]);

#endif
