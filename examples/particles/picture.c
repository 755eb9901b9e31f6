/*
 * A picture of particles.
 *
 * Each particle is a small bright core and a wide faint glow, added to what is there already, so
 * that many on one spot shine white. Fast ones are drawn as a short streak. The ground is a lake:
 * everything is drawn once more, upside down and dim.
 */
#include "picture.h"

#include <err.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#define CAMERA_HEIGHT   4.0f	/* metres above the lake */
#define CAMERA_DISTANCE 27.0f
#define CAMERA_TILT     0.15f	/* radians, upwards */
#define FIELD_OF_VIEW   0.86f	/* radians, from bottom to top */
#define NEAREST         1.0f	/* what is closer than this is not drawn */
#define STREAK_SECONDS  0.035f
#define STREAK_STEPS    4
#define REFLECTION      0.22f
#define STARS           160

struct look {
	float red, green, blue;
	float size;		/* metres */
	float brightness;
	float fade;		/* seconds before its end it begins to fade */
};

static const struct look looks[PARTICLE_TYPES] = {
	[PARTICLE_WATER] = { 0.16f, 0.42f, 1.00f, 0.045f, 0.55f, 0.5f },
	[PARTICLE_EMBER] = { 1.00f, 0.34f, 0.06f, 0.050f, 0.90f, 0.4f },
	[PARTICLE_SHELL] = { 1.00f, 0.85f, 0.55f, 0.080f, 3.00f, 0.1f },
	[PARTICLE_SPARK] = { 1.00f, 1.00f, 1.00f, 0.055f, 1.50f, 0.8f },
};

struct screen_point {
	float x, y;
	float scale;	/* pixels a metre at that distance */
};

void picture_init(struct picture *picture, uint32_t width, uint32_t height)
{
	size_t samples = (size_t)width * height * 3;

	picture->width = width;
	picture->height = height;
	picture->light = calloc(samples, sizeof(picture->light[0]));
	picture->pixels = calloc(samples, sizeof(picture->pixels[0]));
	if (picture->light == NULL || picture->pixels == NULL)
		err(EXIT_FAILURE, "no memory for a picture of %u x %u", width, height);
}

void picture_finish(struct picture *picture)
{
	free(picture->light);
	free(picture->pixels);
}

/* Perspective: the camera stands on the z axis and looks at the fountain, slightly upwards. */
static bool project(const struct picture *picture, const float position[3],
		    struct screen_point *point)
{
	const float sine = sinf(CAMERA_TILT), cosine = cosf(CAMERA_TILT);
	float focal = (float)picture->height / (2 * tanf(FIELD_OF_VIEW / 2));
	float height = position[1] - CAMERA_HEIGHT;
	float distance = CAMERA_DISTANCE - position[2];
	float depth = distance * cosine + height * sine;
	float up = height * cosine - distance * sine;

	if (depth < NEAREST)
		return false;
	point->scale = focal / depth;
	point->x = (float)picture->width / 2 + position[0] * point->scale;
	point->y = (float)picture->height / 2 - up * point->scale;
	return true;
}

static int clamp(float value, int low, int high)
{
	return value < (float)low ? low : value > (float)high ? high : (int)value;
}

/* Add a round spot of light with a soft edge. */
static void add_spot(struct picture *picture, const struct screen_point *point, float radius,
		     const float colour[3])
{
	int left = clamp(point->x - 3 * radius, 0, (int)picture->width);
	int right = clamp(point->x + 3 * radius + 1, 0, (int)picture->width);
	int top = clamp(point->y - 3 * radius, 0, (int)picture->height);
	int bottom = clamp(point->y + 3 * radius + 1, 0, (int)picture->height);
	float falloff = 1 / (2 * radius * radius);
	float edge = expf(-4.5f);	/* what would be left at 3 radii: there it is to be 0 */

	for (int y = top; y < bottom; y++) {
		float *pixel = picture->light + ((size_t)y * picture->width + (size_t)left) * 3;

		for (int x = left; x < right; x++, pixel += 3) {
			float dx = (float)x + 0.5f - point->x;
			float dy = (float)y + 0.5f - point->y;
			float weight = expf(-(dx * dx + dy * dy) * falloff) - edge;

			for (int i = 0; weight > 0 && i < 3; i++)
				pixel[i] += weight * colour[i];
		}
	}
}

/* A pure colour of the wheel, 0 to 255, mixed with some white. */
static void hue_colour(uint32_t hue, float colour[3])
{
	for (int i = 0; i < 3; i++) {
		float phase = (float)(hue & 255) / 256 + (float)i / 3;
		float wave = 0.5f + 0.5f * cosf(6.2831853f * phase);

		colour[i] = 0.12f + 0.88f * wave * wave;
	}
}

static const struct look *look_of(const struct particle *particle)
{
	return &looks[particle->type < PARTICLE_TYPES ? particle->type : PARTICLE_WATER];
}

static void colour_of(const struct particle *particle, float colour[3])
{
	const struct look *look = look_of(particle);
	float age = particle->lifetime < look->fade ? particle->lifetime / look->fade : 1;

	if (particle->type == PARTICLE_SPARK) {
		hue_colour(particle->flags, colour);
	} else {
		colour[0] = look->red;
		colour[1] = look->green;
		colour[2] = look->blue;
	}
	for (int i = 0; i < 3; i++)
		colour[i] *= look->brightness * age;
}

/* A spot smaller than a pixel gets dimmer instead: no particle flickers from pixel to pixel. */
static void draw_point(struct picture *picture, const float position[3], float size,
		       const float colour[3])
{
	struct screen_point point;
	float core[3], glow[3];
	float radius, dim;

	if (!project(picture, position, &point))
		return;
	radius = size * point.scale;
	dim = radius < 0.6f ? radius * radius / (0.6f * 0.6f) : 1;
	radius = radius < 0.6f ? 0.6f : radius;
	for (int i = 0; i < 3; i++) {
		core[i] = colour[i] * dim;
		glow[i] = colour[i] * dim * 0.035f;
	}
	add_spot(picture, &point, radius, core);
	add_spot(picture, &point, radius * 5, glow);
}

/* From where it is back to where it was: a streak that fades towards its tail. */
static void draw_particle(struct picture *picture, const struct particle *particle, bool mirrored)
{
	float colour[3], faded[3], position[3];

	colour_of(particle, colour);
	for (int step = 0; step < STREAK_STEPS; step++) {
		float back = STREAK_SECONDS * (float)step / STREAK_STEPS;
		float strength = (1 - (float)step / STREAK_STEPS) * 0.5f;

		for (int i = 0; i < 3; i++) {
			position[i] = particle->position[i] - particle->velocity[i] * back;
			faded[i] = colour[i] * strength * (mirrored ? REFLECTION : 1);
		}
		if (position[1] < 0)
			continue;
		if (mirrored)
			position[1] = -position[1];
		draw_point(picture, position, look_of(particle)->size, faded);
	}
}

/* A dark sky that brightens towards the horizon, and the lake below it. */
static void draw_background(struct picture *picture)
{
	float horizon = (float)picture->height / 2 *
			(1 + tanf(CAMERA_TILT) / tanf(FIELD_OF_VIEW / 2));

	for (uint32_t y = 0; y < picture->height; y++) {
		float *pixel = picture->light + (size_t)y * picture->width * 3;
		float from_horizon = ((float)y - horizon) / (float)picture->height;
		float glow = expf(-fabsf(from_horizon) * (from_horizon < 0 ? 5.0f : 9.0f));
		float dim = from_horizon < 0 ? 1 : 0.45f;

		for (uint32_t x = 0; x < picture->width; x++, pixel += 3) {
			pixel[0] = dim * (0.0010f + 0.010f * glow);
			pixel[1] = dim * (0.0015f + 0.011f * glow);
			pixel[2] = dim * (0.0050f + 0.032f * glow);
		}
	}
}

/* The same sky in every frame. */
static void draw_stars(struct picture *picture)
{
	uint32_t random = 12345;

	for (int i = 0; i < STARS; i++) {
		struct screen_point point;
		float white[3];

		random = random * 1664525 + 1013904223;
		point.x = (float)(random >> 16) / 65536 * (float)picture->width;
		random = random * 1664525 + 1013904223;
		point.y = (float)(random >> 16) / 65536 * (float)picture->height * 0.6f;
		white[0] = white[1] = white[2] = 0.02f + (float)(random >> 8 & 255) / 1500;
		add_spot(picture, &point, 0.7f, white);
	}
}

void picture_draw(struct picture *picture, const struct snapshot *snapshot)
{
	draw_background(picture);
	draw_stars(picture);
	for (uint32_t i = 0; i < snapshot->count; i++) {
		draw_particle(picture, &snapshot->particles[i], true);
		draw_particle(picture, &snapshot->particles[i], false);
	}
}

/* From light without a limit to a byte: bright spots run into white, as on film. */
static uint8_t expose(float light)
{
	float value = powf(1 - expf(-1.6f * light), 1 / 2.2f);

	return (uint8_t)(255 * value + 0.5f);
}

bool picture_write(struct picture *picture, const char *path)
{
	size_t samples = (size_t)picture->width * picture->height * 3;
	png_image image = {
		.version = PNG_IMAGE_VERSION,
		.width = picture->width,
		.height = picture->height,
		.format = PNG_FORMAT_RGB,
	};

	char part[4096 + 8];

	for (size_t i = 0; i < samples; i++)
		picture->pixels[i] = expose(picture->light[i]);
	/* Under its own name only once it is whole. */
	snprintf(part, sizeof(part), "%s.part", path);
	if (png_image_write_to_file(&image, part, 0, picture->pixels, 0, NULL) == 0) {
		warnx("%s: %s", part, image.message);
		return false;
	}
	if (rename(part, path) < 0) {
		warn("%s", path);
		return false;
	}
	return true;
}
