#define LIBBSD_NETBSD_VIS                   /* says which strnvis() one means; vis() is the same in both */

#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <libutil.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vis.h>
#include <wchar.h>
#include <wctype.h>

enum output cli_output;
bool cli_no_color;
const char *cli_command = "";

/* ---- what is said ---- */

static void say(const char *format, va_list arguments)
{
	fflush(stdout);
	fprintf(stderr, "shmkit %s: ", cli_command);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
}

void cli_say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
}

int cli_usage(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	say(format, arguments);
	va_end(arguments);
	return EXIT_USAGE;
}

/* ---- options ---- */

enum { OPTION_HELP = 1000, OPTION_JSON, OPTION_RAW, OPTION_NO_COLOR };

#define MAX_OPTIONS 40

static const struct option common[] = {
	{ "help", no_argument, NULL, OPTION_HELP },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "raw", no_argument, NULL, OPTION_RAW },
	{ "no-color", no_argument, NULL, OPTION_NO_COLOR },
	{ NULL, 0, NULL, 0 },
};

static void print_help(const struct command *command)
{
	printf("Usage: shmkit %s %s\n\n%s. See shmkit(1).\n", command->name, command->synopsis, command->summary);
}

static void refuse(int option, char **argv, int index)
{
	const char *word = argv[index > 1 ? index - 1 : 1];

	if (option == ':')
		cli_usage("option '%s' needs an argument", word);
	else
		cli_usage("there is no option '%s'; --help tells which there are", word);
}

int cli_options(int argc, char **argv, const struct command *command, const struct option *options,
		const char *letters, bool (*handle)(int option, char *argument))
{
	struct option all[MAX_OPTIONS];
	char short_ones[80];
	size_t count = 0;
	int option;

	for (const struct option *more = options; more && more->name && count < MAX_OPTIONS - 5; more++)
		all[count++] = *more;
	memcpy(&all[count], common, sizeof(common));
	snprintf(short_ones, sizeof(short_ones), ":h%s", letters);
	if (getenv("NO_COLOR") && *getenv("NO_COLOR"))
		cli_no_color = true;
	optind = 1;
	opterr = 0;
	while ((option = getopt_long(argc, argv, short_ones, all, NULL)) != -1) {
		switch (option) {
		case 'h':
		case OPTION_HELP:
			print_help(command);
			return -2;
		case OPTION_JSON:
			cli_output = OUTPUT_JSON;
			break;
		case OPTION_RAW:
			cli_output = OUTPUT_RAW;
			break;
		case OPTION_NO_COLOR:
			cli_no_color = true;
			break;
		case ':':
		case '?':
			refuse(option, argv, optind);
			return -1;
		default:
			if (!handle || !handle(option, optarg))
				return -1;
		}
	}
	return optind;
}

bool cli_parse_number(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *ret_number)
{
	char *end;
	unsigned long long number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (end == text || *end || strchr(text, '-') || errno || number < least || number > most) {
		cli_usage("%s: '%s' is no number from %" PRIu64 " to %" PRIu64, what, text, least, most);
		return false;
	}
	*ret_number = number;
	return true;
}

bool cli_parse_size(const char *text, const char *what, uint64_t *ret_size)
{
	uint64_t size;
	char *end;
	double real;

	if (*text != '-' && expand_number(text, &size) == 0) {
		*ret_size = size;
		return true;
	}
	/* 1.5G */
	real = strtod(text, &end);
	if (end != text && real >= 0 && real < 1e9 && *end && !end[1] && strchr("kKmMgGtT", *end)) {
		const char *at = strchr("kmgt", *end | 0x20);

		*ret_size = (uint64_t)(real * (double)(UINT64_C(1) << (10 * (at - "kmgt" + 1))));
		return true;
	}
	cli_usage("%s: '%s' is no size, as 65536, 64K or 1.5G", what, text);
	return false;
}

bool cli_parse_seconds(const char *text, const char *what, int64_t *ret_ns)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds >= 0 && seconds <= 1e9)) {
		cli_usage("%s: '%s' is no number of seconds, as 1 or 0.2", what, text);
		return false;
	}
	*ret_ns = (int64_t)(seconds * 1e9);
	return true;
}

/* ---- text ---- */

static const int vis_flags = VIS_CSTYLE | VIS_NL | VIS_TAB;

/* A character of several bytes that can be shown: its bytes. Otherwise 0. */
static size_t printable(const char *bytes, size_t size)
{
	mbstate_t state = { 0 };
	wchar_t character;
	size_t length = mbrtowc(&character, bytes, size, &state);

	if (length == (size_t)-1 || length == (size_t)-2 || length < 2)
		return 0;
	/* U+0080 to U+009F control terminals as well */
	return iswprint((wint_t)character) ? length : 0;
}

char *cli_escape(const char *bytes, size_t size, char *to)
{
	char *at = to;

	for (size_t i = 0; i < size;) {
		size_t whole = printable(bytes + i, size - i);

		if (whole) {
			memcpy(at, bytes + i, whole);
			at += whole;
			i += whole;
		} else if ((unsigned char)bytes[i] >= 0x80) {
			at += snprintf(at, 5, "\\%03o", (unsigned char)bytes[i++]);   /* unvis() reads it */
		} else {
			at = vis(at, bytes[i], vis_flags, i + 1 < size ? bytes[i + 1] : 0);
			i++;
		}
	}
	*at = 0;
	return to;
}

const char *cli_escaped(const char *text)
{
	static char buffers[8][ESCAPED_SIZE];
	static unsigned next;
	char *buffer = buffers[next++ % 8];

	return cli_escape(text, strnlen(text, 256), buffer);
}

const char *cli_human(uint64_t bytes)
{
	static char buffers[8][16];
	static unsigned next;
	char *buffer = buffers[next++ % 8];

	if (humanize_number(buffer, 5, bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, "", HN_AUTOSCALE,
			    HN_NOSPACE | HN_DECIMAL) < 0)
		snprintf(buffer, sizeof(buffers[0]), "?");
	return buffer;
}

const char *cli_duration(uint64_t ns)
{
	static const struct { double ns; const char *unit; } units[] = {
		{ 1, "ns" }, { 1e3, "us" }, { 1e6, "ms" }, { 1e9, "s" }, { 60e9, "min" }, { 3600e9, "h" },
		{ 86400e9, "d" },
	};
	static char buffers[8][24];
	static unsigned next;
	char *buffer = buffers[next++ % 8];
	size_t unit = 0;

	while (unit + 1 < sizeof(units) / sizeof(units[0]) && (double)ns >= units[unit + 1].ns)
		unit++;
	snprintf(buffer, sizeof(buffers[0]), (double)ns / units[unit].ns < 10 && unit ? "%.1f %s" : "%.0f %s",
		 (double)ns / units[unit].ns, units[unit].unit);
	return buffer;
}

uint64_t cli_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void cli_sleep_until(uint64_t when_ns)
{
	struct timespec until = {
		.tv_sec = (time_t)(when_ns / UINT64_C(1000000000)), .tv_nsec = (long)(when_ns % UINT64_C(1000000000)),
	};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

static const struct { uint32_t kind; const char *name, *word; } kinds[] = {
	{ SHMKIT_KIND_ARRAY, "array", "array" },
	{ SHMKIT_KIND_QUEUE, "queue", "queue" },
	{ SHMKIT_KIND_RING, "ring", "ring" },
	{ SHMKIT_KIND_POOL, "pool", "pool" },
	{ SHMKIT_KIND_ATOMIC_U32, "atomic u32", "u32" },
	{ SHMKIT_KIND_ATOMIC_I32, "atomic i32", "i32" },
	{ SHMKIT_KIND_ATOMIC_U64, "atomic u64", "u64" },
	{ SHMKIT_KIND_ATOMIC_I64, "atomic i64", "i64" },
	{ SHMKIT_KIND_ATOMIC_BOOL, "atomic bool", "bool" },
	{ SHMKIT_KIND_ATOMIC_F64, "atomic f64", "f64" },
};

const char *cli_kind_name(uint32_t kind)
{
	static char unknown[4][24];
	static unsigned next;
	char *buffer;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	buffer = unknown[next++ % 4];
	snprintf(buffer, sizeof(unknown[0]), "kind %" PRIu32, kind);
	return buffer;
}

uint32_t cli_kind(const char *name)
{
	if (strncmp(name, "atomic-", 7) == 0)
		name += 7;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].word, name) == 0)
			return kinds[i].kind;
	return 0;
}
