/*
 * The little that all three programs share.
 */
#include "sensors.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void sensors_fail(const char *what)
{
	errx(EXIT_FAILURE, "%s: %s", what, shmkit_last_error());
}

uint32_t parse_number(const char *option, const char *text, uint32_t min, uint32_t max)
{
	const char *problem;
	long long value = strtonum(text, min, max, &problem);

	if (problem != NULL)
		errx(2, "--%s %s: %s (%" PRIu32 " to %" PRIu32 ")", option, text, problem, min,
		     max);
	return (uint32_t)value;
}

int64_t parse_seconds(const char *option, const char *text, uint32_t max)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end != '\0')
		errx(2, "--%s %s: not a number", option, text);
	if (!(seconds >= 0.001 && seconds <= max))
		errx(2, "--%s %s: out of range (0.001 to %" PRIu32 ")", option, text, max);
	return (int64_t)(seconds * NSEC_PER_SEC);
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

void sleep_until(uint64_t deadline_ns)
{
	struct timespec deadline = {
		.tv_sec = (time_t)(deadline_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(deadline_ns % NSEC_PER_SEC),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, NULL) == EINTR)
		;
}

void pause_20_ms(void)
{
	sleep_until(now_ns() + 20 * NSEC_PER_MSEC);
}

/* Look read-only: a reader is no member and does not keep alive what it looks at. */
bool sensors_is_collector_there(const char *name)
{
	struct shmkit_segment *segment;
	bool is_there;

	if (shmkit_segment_open(name, SHMKIT_READ_ONLY, &segment) < 0)
		return false;
	is_there = sensors_has_member(segment, COLLECTOR_LABEL);
	shmkit_segment_close(segment);
	return is_there;
}

/* A segment without a collector is what a dead one has left: the next one will replace it. */
struct shmkit_segment *sensors_join(const char *name, uint32_t flags, int64_t timeout_ns)
{
	uint64_t deadline = now_ns() + (uint64_t)timeout_ns;
	struct shmkit_segment *segment;

	for (;;) {
		if (shmkit_segment_open_wait(name, flags, timeout_ns, &segment) < 0)
			sensors_fail("cannot find the collector");
		if (sensors_has_member(segment, COLLECTOR_LABEL))
			break;
		shmkit_segment_close(segment);
		if (now_ns() > deadline)
			errx(EXIT_FAILURE, "segment '%s' is left over from a collector that died",
			     name);
		pause_20_ms();
	}
	if (shmkit_segment_wait_for(segment, READINGS, timeout_ns) < 0)
		sensors_fail("the collector is not complete");
	return segment;
}

bool sensors_has_member(struct shmkit_segment *segment, const char *label)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;

	while (shmkit_segment_next_member(segment, &cursor, &member) == 1) {
		if (member.alive != 0 && strcmp(member.label, label) == 0)
			return true;
	}
	return false;
}
