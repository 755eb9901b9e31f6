/*
 * shmkit, the tool: what its commands share. Options, segments opened and found, text that comes
 * from a segment, what is said and how the program ends.
 *
 * Data goes to standard output, everything else to standard error. Whatever a segment holds is
 * input: it is escaped before a person sees it, and never trusted with a length.
 */
#ifndef SHMKIT_CLI_H
#define SHMKIT_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <shmkit.h>

enum exit_code {
	EXIT_YES = 0,                       /* done, or yes */
	EXIT_NO = 1,                        /* no, or there was nothing */
	EXIT_USAGE = 2,
	EXIT_OPEN = 3,                      /* a segment, a structure or a file cannot be opened */
	EXIT_FORMAT = 4,                    /* of a format that this version does not read */
	EXIT_DAMAGED = 5,
};

/* One word of the command line, and what it does. */
struct command {
	const char *name;
	const char *synopsis;               /* what follows the name */
	const char *summary;                /* one line */
	int (*run)(int argc, char **argv);  /* argv[0] is the name; returns an exit code */
};

/* Each ends with one without a name. main.c lists them all. */
extern const struct command commands_bench[];
extern const struct command commands_doctor[];
extern const struct command commands_export[];
extern const struct command commands_health[];
extern const struct command commands_info[];
extern const struct command commands_list[];
extern const struct command commands_make[];
extern const struct command commands_map[];
extern const struct command commands_pipe[];
extern const struct command commands_record[];
extern const struct command commands_stat[];
extern const struct command commands_top[];
extern const struct command commands_value[];
extern const struct command commands_view[];

/* ---- options ---- */

enum output { OUTPUT_COLUMNS, OUTPUT_RAW, OUTPUT_JSON };

/* What --json, --raw and --no-color have said. */
extern enum output cli_output;
extern bool cli_no_color;

/* Values of options without a letter begin here. */
#define OPTION_LONG 256

/**
 * cli_options() - Read the options of a command.
 * @command: Whose they are; --help prints its synopsis, its summary and where to read more.
 * @options: The command's own, all zero at the end, or NULL; --help and what prints in columns
 *	(--json, --raw, --no-color) is known without.
 * @letters: The short ones as getopt() has them, or "".
 * @handle: Called for each of the command's own with its letter or value, and its argument or
 *	NULL; false when it has refused it (and said why with cli_usage()). May be NULL.
 *
 * Return: The index of the first argument that is no option; -1 wrong usage, said; -2 --help was
 *         asked for and answered.
 */
int cli_options(int argc, char **argv, const struct command *command, const struct option *options,
		const char *letters, bool (*handle)(int option, char *argument));

/* cli_options(), and the command returns when there is nothing more for it to do. */
#define CLI_OPTIONS(first, argc, argv, command, options, letters, handle)                           \
	do {                                                                                        \
		(first) = cli_options(argc, argv, command, options, letters, handle);               \
		if ((first) < 0)                                                                    \
			return (first) == -2 ? EXIT_YES : EXIT_USAGE;                               \
	} while (0)

/* "shmkit CMD: what was wrong", on standard error; EXIT_USAGE. */
int cli_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same of anything else. */
void cli_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The name of the command that runs. */
extern const char *cli_command;

/* "64M" and "1.5G" too (powers of 1024). False: said. */
bool cli_parse_size(const char *text, const char *what, uint64_t *ret_size);
bool cli_parse_number(const char *text, const char *what, uint64_t least, uint64_t most, uint64_t *ret_number);

/* "0.5", "10", in seconds. */
bool cli_parse_seconds(const char *text, const char *what, int64_t *ret_ns);

/* ---- text ---- */

/* Room for any name of a segment or a structure, escaped. */
#define ESCAPED_SIZE 1032

/**
 * cli_escape() - Make bytes from a segment fit to be shown.
 * @bytes: Of @size bytes.
 * @to: Four times @size and one byte.
 *
 * As strvis() does with VIS_CSTYLE: \n, \t, \^[; a backslash is doubled, so that it can be read
 * back. UTF-8 that can be printed stays what it is.
 *
 * Return: @to.
 */
char *cli_escape(const char *bytes, size_t size, char *to);

/* Of a C string, up to 256 bytes; one of 8 static buffers, in turn. */
const char *cli_escaped(const char *text);

/* "1.5M"; static buffers, in turn. Of nanoseconds: "3.2 s", "12 min". */
const char *cli_human(uint64_t bytes);
const char *cli_duration(uint64_t ns);

/* CLOCK_MONOTONIC. */
uint64_t cli_now_ns(void);
void cli_sleep_until(uint64_t when_ns);

/* "queue", "atomic u64"; "kind 99" of what this version does not know. */
const char *cli_kind_name(uint32_t kind);

/* 0 there is no such kind. Atomics are "u64", "atomic-u64" and so on. */
uint32_t cli_kind(const char *name);

/* ---- segments ---- */

#define SHM_DIRECTORY "/dev/shm"

/* Says shmkit_last_error() of what failed with result, < 0; what that is as an exit code. */
int cli_failed(int64_t result);

/* Opens a segment; NULL: said, and *ret_exit is what to end with. */
struct shmkit_segment *cli_open(const char *name, uint32_t flags, int *ret_exit);

/**
 * cli_split() - Take SEGMENT/STRUCTURE apart.
 * @path: The segment's name may begin with a slash; what follows the next one is the structure's,
 *	and may hold any byte.
 * @ret_segment: Of 257 bytes.
 *
 * Return: The structure's name, in @path; NULL there is none, or a name is too long: said.
 */
const char *cli_split(const char *path, char ret_segment[257]);

/* A file that may be a segment. */
struct found_segment {
	char name[256];
	uint64_t file_size;                 /* bytes */
	uint64_t allocated;                 /* bytes of memory behind it */
	uint32_t mode, uid, gid;
	bool readable;
};

/**
 * cli_find_segments() - List what looks like a segment, by name.
 * @ret_found: An array to free().
 *
 * What begins as segments do, and what this user may not read (which could be one).
 *
 * Return: How many; -errno when there is no looking (said).
 */
int64_t cli_find_segments(struct found_segment **ret_found);

/* Its file's figures; false: it is not there (errno). */
bool cli_stat_segment(const char *name, struct found_segment *ret_found);

#endif
