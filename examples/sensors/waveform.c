/*
 * The hardware, simulated. At a million readings a second of eight channels there is no time for
 * sinf(): a phase in 32 bits, of which the upper ones look up a table.
 */
#include "waveform.h"

#include <math.h>
#include <string.h>

#define PHASE_SHIFT 20			/* 32 bits of phase, 12 of table */
#define TURN        4294967296.0	/* 2^32 */
#define LOWEST_HZ   8000.0
#define BAND_HZ     55000.0		/* each channel has a band of its own ... */
#define USED_HZ     45000.0		/* ... and keeps away from its end */

static uint64_t next_random(uint64_t *state)	/* xorshift64* */
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static double unit_random(uint64_t *state)
{
	return (double)(next_random(state) >> 11) / (double)(UINT64_C(1) << 53);
}

void waveform_init(struct waveform *source, uint64_t seed,
		   struct channel ret_channels[CHANNELS])
{
	memset(source, 0, sizeof(*source));
	source->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;	/* not 0, for any seed */
	next_random(&source->random);

	for (int i = 0; i < SINE_TABLE; i++)
		source->sine[i] = (float)sin(2 * M_PI * i / SINE_TABLE);
	for (int i = 0; i < CHANNELS; i++) {
		double wanted = LOWEST_HZ + i * BAND_HZ + unit_random(&source->random) * USED_HZ;

		source->step[i] = (uint32_t)(wanted / SAMPLE_RATE * TURN);
		source->phase[i] = (uint32_t)next_random(&source->random);
		source->amplitude[i] = (float)(0.5 + 1.5 * unit_random(&source->random));
		source->noise[i] = source->amplitude[i] / 2;
		ret_channels[i].frequency_hz = source->step[i] / TURN * SAMPLE_RATE;
		ret_channels[i].amplitude = source->amplitude[i];
		ret_channels[i].noise = source->noise[i];
	}
}

/* Eight bits of noise a channel, from one random number. */
void waveform_next(struct waveform *source, float ret_values[CHANNELS])
{
	uint64_t random = next_random(&source->random);

	for (int i = 0; i < CHANNELS; i++) {
		float noise = (float)(random >> (8 * i) & 255) / 127.5f - 1;

		ret_values[i] = source->amplitude[i] *
				source->sine[source->phase[i] >> PHASE_SHIFT] +
				source->noise[i] * noise;
		source->phase[i] += source->step[i];
	}
}
