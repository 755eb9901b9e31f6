#include "properties.h"
#include "sheet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void properties_begin(struct properties *to)
{
	to->object = json_object();
	if (!to->object)
		abort();
}

void property(struct properties *to, const char *key, const char *shown, json_t *value)
{
	if (cli_output == OUTPUT_COLUMNS)
		printf("%-15s %s\n", key, shown);
	else if (cli_output == OUTPUT_RAW)
		printf("%s %s\n", key, shown);
	json_object_set_new(to->object, key, value);
}

void property_text(struct properties *to, const char *key, const char *bytes, size_t size)
{
	char *escaped = malloc(4 * size + 1);

	if (!escaped)
		abort();
	property(to, key, cli_escape(bytes, size, escaped), sheet_json_string(bytes, size));
	free(escaped);
}

void property_string(struct properties *to, const char *key, const char *text)
{
	property_text(to, key, text, strlen(text));
}

void property_number(struct properties *to, const char *key, uint64_t number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number);
	property(to, key, text, number > INT64_MAX ? json_real((double)number) : json_integer((json_int_t)number));
}

void property_bytes(struct properties *to, const char *key, uint64_t bytes)
{
	char text[48];

	if (cli_output == OUTPUT_RAW || bytes < 1024) {
		property_number(to, key, bytes);
		return;
	}
	snprintf(text, sizeof(text), "%s (%" PRIu64 ")", cli_human(bytes), bytes);
	property(to, key, text, json_integer((json_int_t)bytes));
}

void property_time(struct properties *to, const char *key, uint64_t wall_ns)
{
	time_t seconds = (time_t)(wall_ns / UINT64_C(1000000000));
	struct tm fields;
	char text[40];

	if (!localtime_r(&seconds, &fields) || strftime(text, sizeof(text), "%F %T %z", &fields) == 0)
		snprintf(text, sizeof(text), "%" PRIu64 " ns", wall_ns);
	property(to, key, text, json_integer((json_int_t)wall_ns));
}
