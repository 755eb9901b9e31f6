/*
 * What frequency is in a channel, by a Fourier transform of 1,024 readings.
 *
 * The bins of the transform are 977 Hz apart. A Hann window makes the two strongest neighbours tell
 * where between them a sine lies: for a ratio r of their magnitudes it is (2 r - 1) / (r + 1) bins
 * from the stronger one.
 */
#include "spectrum.h"

#include <err.h>
#include <math.h>
#include <stdlib.h>

#define BINS (WINDOW / 2 + 1)

void spectrum_init(struct spectrum *spectrum)
{
	const int size = WINDOW;

	spectrum->input = fftw_alloc_real(CHANNELS * WINDOW);
	spectrum->output = fftw_alloc_complex(CHANNELS * BINS);
	if (spectrum->input == NULL || spectrum->output == NULL)
		err(EXIT_FAILURE, "no memory for the transform");
	spectrum->plan = fftw_plan_many_dft_r2c(1, &size, CHANNELS,
						spectrum->input, NULL, 1, WINDOW,
						spectrum->output, NULL, 1, BINS, FFTW_ESTIMATE);
	if (spectrum->plan == NULL)
		errx(EXIT_FAILURE, "the transform cannot be planned");
	for (int i = 0; i < WINDOW; i++)
		spectrum->hann[i] = 0.5 - 0.5 * cos(2 * M_PI * i / WINDOW);
}

void spectrum_finish(struct spectrum *spectrum)
{
	fftw_destroy_plan(spectrum->plan);
	fftw_free(spectrum->input);
	fftw_free(spectrum->output);
	fftw_cleanup();
}

void spectrum_add(struct spectrum *spectrum, uint32_t index, const float values[CHANNELS])
{
	for (uint32_t channel = 0; channel < CHANNELS; channel++)
		spectrum->input[channel * WINDOW + index] =
			(double)values[channel] * spectrum->hann[index];
}

static double magnitude(fftw_complex *bins, int bin)
{
	return hypot(bins[bin][0], bins[bin][1]);
}

/* Not the first and the last bin: each candidate has two neighbours. */
static int strongest_bin(fftw_complex *bins)
{
	double best = 0;
	int strongest = 1;

	for (int bin = 1; bin < BINS - 1; bin++) {
		double power = bins[bin][0] * bins[bin][0] + bins[bin][1] * bins[bin][1];

		if (power > best) {
			best = power;
			strongest = bin;
		}
	}
	return strongest;
}

/* What a Hann window leaves of a sine that lies @offset bins beside a bin. */
static double hann_gain(double offset)
{
	double x = M_PI * offset;
	double sinc = fabs(x) < 1e-9 ? 1 : sin(x) / x;

	return sinc / (1 - offset * offset);
}

static void find_peak(fftw_complex *bins, float *ret_frequency_hz, float *ret_amplitude)
{
	int bin = strongest_bin(bins);
	double centre = magnitude(bins, bin);
	double below = magnitude(bins, bin - 1);
	double above = magnitude(bins, bin + 1);
	double ratio = centre > 0 ? fmax(below, above) / centre : 0;
	double offset = (2 * ratio - 1) / (ratio + 1);

	*ret_amplitude = (float)(centre / hann_gain(offset) * 4 / WINDOW);
	if (below > above)
		offset = -offset;
	*ret_frequency_hz = (float)((bin + offset) * SAMPLE_RATE / WINDOW);
}

void spectrum_analyse(struct spectrum *spectrum, float ret_frequency_hz[CHANNELS],
		      float ret_amplitude[CHANNELS])
{
	fftw_execute(spectrum->plan);
	for (int channel = 0; channel < CHANNELS; channel++)
		find_peak(spectrum->output + channel * BINS, &ret_frequency_hz[channel],
			  &ret_amplitude[channel]);
}
