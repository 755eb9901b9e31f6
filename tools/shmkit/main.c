/* shmkit: finds the command and runs it. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const struct command *commands;
	const char *title;                  /* NULL: goes on under the last one */
} families[] = {
	{ commands_list, "Looking" },
	{ commands_info, NULL },
	{ commands_map, NULL },
	{ commands_top, NULL },
	{ commands_stat, NULL },
	{ commands_make, "Making" },
	{ commands_pipe, "Elements" },
	{ commands_view, NULL },
	{ commands_value, NULL },
	{ commands_record, NULL },
	{ commands_health, "Health" },
	{ commands_doctor, NULL },
	{ commands_export, NULL },
	{ commands_bench, NULL },
};

#define FAMILIES (sizeof(families) / sizeof(families[0]))

static const struct command *find(const char *name)
{
	for (size_t f = 0; f < FAMILIES; f++)
		for (const struct command *command = families[f].commands; command->name; command++)
			if (strcmp(command->name, name) == 0)
				return command;
	return NULL;
}

static void print_help(FILE *to)
{
	fputs("Usage: shmkit COMMAND [ARGUMENT...]\n\n", to);
	for (size_t f = 0; f < FAMILIES; f++) {
		if (families[f].title)
			fprintf(to, "%s%s\n", f ? "\n" : "", families[f].title);
		for (const struct command *command = families[f].commands; command->name; command++)
			fprintf(to, "  %-10s %s\n", command->name, command->summary);
	}
	fputs("\nshmkit COMMAND --help tells what a command takes; shmkit(1) tells all.\n", to);
}

#define LONGEST 16u

/* How many letters are to be changed, put in, left out or swapped (optimal string alignment). */
static unsigned distance(const char *one, const char *other)
{
	unsigned cost[LONGEST + 1][LONGEST + 1];
	size_t rows = strlen(one), columns = strlen(other);

	if (rows > LONGEST || columns > LONGEST)
		return LONGEST;
	for (size_t i = 0; i <= rows; i++)
		for (size_t j = 0; j <= columns; j++) {
			unsigned best;

			if (i == 0 || j == 0) {
				cost[i][j] = (unsigned)(i + j);
				continue;
			}
			best = cost[i - 1][j - 1] + (one[i - 1] != other[j - 1]);
			best = cost[i - 1][j] + 1 < best ? cost[i - 1][j] + 1 : best;
			best = cost[i][j - 1] + 1 < best ? cost[i][j - 1] + 1 : best;
			if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] &&
			    cost[i - 2][j - 2] + 1 < best)
				best = cost[i - 2][j - 2] + 1;
			cost[i][j] = best;
		}
	return cost[rows][columns];
}

/* "did you mean"; NULL: nothing like it. */
static const char *similar(const char *name)
{
	const char *nearest = NULL;
	unsigned least = strlen(name) > 3 ? 3 : 2;

	for (size_t f = 0; f < FAMILIES; f++)
		for (const struct command *command = families[f].commands; command->name; command++) {
			unsigned its = distance(name, command->name);

			if (its < least) {
				least = its;
				nearest = command->name;
			}
		}
	return nearest;
}

/* What is opened must not become standard output: it would be written over. */
static void hold_standard_descriptors(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd)
			abort();
}

int main(int argc, char **argv)
{
	const struct command *command;
	int result;

	hold_standard_descriptors();
	setlocale(LC_ALL, "");
	setlocale(LC_NUMERIC, "C");         /* numbers are for programs too */
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
		print_help(stdout);
		return EXIT_YES;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("shmkit %s\n", shmkit_version_string());
		return EXIT_YES;
	}
	command = find(argv[1]);
	if (!command) {
		const char *instead = similar(argv[1]);

		fprintf(stderr, "shmkit: there is no command '%s'", argv[1]);
		fprintf(stderr, instead ? "; did you mean '%s'?\n" : "; shmkit --help lists them\n", instead);
		return EXIT_USAGE;
	}
	cli_command = command->name;
	result = command->run(argc - 1, argv + 1);
	/* a full disk, say: what was not written was not done */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		cli_say("standard output: %s", strerror(errno));
		return result == EXIT_YES ? EXIT_OPEN : result;
	}
	return result;
}
