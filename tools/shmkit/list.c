/* ls, ps: what there is, and who. */
#include "cli.h"
#include "sheet.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HUNG_NS INT64_C(5000000000)         /* a heart that has not beaten so long */

static const struct command *self(const char *name)
{
	const struct command *command = commands_list;

	while (strcmp(command->name, name) != 0)
		command++;
	return command;
}

/* ---- ls ---- */

enum { LS_NAME, LS_SIZE, LS_USED, LS_ENTRIES, LS_ALIVE, LS_DEAD, LS_OWNER, LS_MODE, LS_STATE, LS_FILE_SIZE, LS_ALLOCATED };

static const struct sheet_column ls_columns[] = {
	[LS_NAME] = { "NAME", "name", SHEET_WIDE },
	[LS_SIZE] = { "SIZE", "size", SHEET_RIGHT },
	[LS_USED] = { "USED", "used", SHEET_RIGHT },
	[LS_ENTRIES] = { "ENTRIES", "entries", SHEET_RIGHT },
	[LS_ALIVE] = { "ALIVE", "members_alive", SHEET_RIGHT },
	[LS_DEAD] = { "DEAD", "members_dead", SHEET_RIGHT },
	[LS_OWNER] = { "OWNER", "owner", 0 },
	[LS_MODE] = { "MODE", "mode", 0 },
	[LS_STATE] = { "STATE", "state", 0 },
	[LS_FILE_SIZE] = { "FILE-SIZE", "file_size", SHEET_HIDDEN },
	[LS_ALLOCATED] = { "ALLOCATED", "allocated", SHEET_HIDDEN },
};

static const char *owner_of(uint32_t uid)
{
	static char number[16];
	const struct passwd *user = getpwuid(uid);

	if (user)
		return user->pw_name;
	snprintf(number, sizeof(number), "%" PRIu32, uid);
	return number;
}

static const char *mode_of(uint32_t mode)
{
	static char text[12];

	snprintf(text, sizeof(text), "%04" PRIo32, mode);
	return text;
}

struct crowd {
	uint64_t alive, dead;
};

static int count_members(struct shmkit_segment *segment, struct crowd *ret_crowd)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;
	int result;

	*ret_crowd = (struct crowd){ 0, 0 };
	while ((result = shmkit_segment_next_member(segment, &cursor, &member)) == 1)
		*(member.alive ? &ret_crowd->alive : &ret_crowd->dead) += 1;
	return result;
}

/* Fills what can be known of it; the state says what cannot. */
static void ls_line(struct sheet *sheet, const struct found_segment *found)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_segment *segment = NULL;
	struct crowd crowd = { 0, 0 };
	const char *state = "", *color = NULL;
	int result = found->readable ? shmkit_segment_open(found->name, SHMKIT_READ_ONLY | SHMKIT_SEGMENT_GUARD, &segment) : -EACCES;

	if (result == -ENOENT)
		return;                     /* it has gone since */
	sheet_line(sheet);
	sheet_string(sheet, LS_NAME, found->name);
	sheet_string(sheet, LS_OWNER, owner_of(found->uid));
	sheet_string(sheet, LS_MODE, mode_of(found->mode));
	sheet_number(sheet, LS_FILE_SIZE, found->file_size);
	sheet_number(sheet, LS_ALLOCATED, found->allocated);
	if (result == 0) {
		result = shmkit_segment_get_info(segment, &info);
		if (result == 0) {
			sheet_bytes(sheet, LS_SIZE, info.size);
			sheet_bytes(sheet, LS_USED, info.used);
			sheet_number(sheet, LS_ENTRIES, info.entries);
			result = count_members(segment, &crowd);
		}
		if (result == 0) {
			sheet_number(sheet, LS_ALIVE, crowd.alive);
			sheet_number(sheet, LS_DEAD, crowd.dead);
		}
	}
	switch (-result) {
	case 0:
		state = crowd.alive ? "in use" : info.flags & SHMKIT_SEGMENT_PERSIST ? "kept" : "left over";
		color = crowd.alive ? "green" : info.flags & SHMKIT_SEGMENT_PERSIST ? NULL : "brown";
		if (crowd.dead)
			sheet_color(sheet, LS_DEAD, "red");
		break;
	case EACCES:
		state = "no access";
		color = "halfbright";
		break;
	case EPROTONOSUPPORT:
		state = "newer format";
		color = "brown";
		break;
	case EPROTO:
	case EBADMSG:
		state = "damaged";
		color = "red";
		break;
	default:
		state = strerror(-result);
		color = "red";
		break;
	}
	sheet_string(sheet, LS_STATE, state);
	if (color)
		sheet_color(sheet, LS_STATE, color);
	shmkit_segment_close(segment);
}

static bool names_only;

static bool ls_option(int option, char *argument)
{
	(void)option;
	(void)argument;
	names_only = true;
	return true;
}

static int print_names(void)
{
	struct found_segment *found;
	int64_t count = cli_find_segments(&found);

	for (int64_t i = 0; i < count; i++)
		puts(cli_escaped(found[i].name));
	if (count >= 0)
		free(found);
	return count < 0 ? EXIT_OPEN : count == 0 ? EXIT_NO : EXIT_YES;
}

static int run_ls(int argc, char **argv)
{
	static const struct option options[] = {
		{ "names", no_argument, NULL, OPTION_LONG },
		{ NULL, 0, NULL, 0 },
	};
	struct found_segment *found, one;
	struct sheet *sheet;
	int first, result = EXIT_YES;
	int64_t count;

	CLI_OPTIONS(first, argc, argv, self("ls"), options, "", ls_option);
	if (names_only)
		return first == argc ? print_names() : cli_usage("with --names it takes no SEGMENT");
	sheet = sheet_new("segments", ls_columns, sizeof(ls_columns) / sizeof(ls_columns[0]));
	for (int i = first; i < argc; i++) {
		if (cli_stat_segment(argv[i], &one)) {
			ls_line(sheet, &one);
		} else {
			cli_say("there is no segment '%s'", cli_escaped(argv[i]));
			result = EXIT_OPEN;
		}
	}
	if (first == argc) {
		count = cli_find_segments(&found);
		for (int64_t i = 0; i < count; i++)
			ls_line(sheet, &found[i]);
		if (count >= 0)
			free(found);
		result = count < 0 ? EXIT_OPEN : count == 0 ? EXIT_NO : EXIT_YES;
	}
	sheet_print(sheet);
	return result;
}

/* ---- ps ---- */

enum { PS_ID, PS_PID, PS_STATE, PS_HEARTBEAT, PS_ATTACHED, PS_LABEL, PS_ATTACHED_NS };

static const struct sheet_column ps_columns[] = {
	[PS_ID] = { "ID", "id", SHEET_RIGHT },
	[PS_PID] = { "PID", "pid", SHEET_RIGHT },
	[PS_STATE] = { "STATE", "state", 0 },
	[PS_HEARTBEAT] = { "HEARTBEAT", "heartbeat_age_ns", SHEET_RIGHT },
	[PS_ATTACHED] = { "ATTACHED", "attached_age_ns", SHEET_RIGHT },
	[PS_LABEL] = { "LABEL", "label", SHEET_WIDE },
	[PS_ATTACHED_NS] = { "SINCE", "attached_ns", SHEET_HIDDEN },
};

static int64_t hung_ns = HUNG_NS;

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void ps_line(struct sheet *sheet, const struct shmkit_member_info *member)
{
	bool beats = member->heartbeat_age_ns != UINT64_MAX;
	bool hung = beats && member->heartbeat_age_ns > (uint64_t)hung_ns;
	uint64_t now = wall_ns();

	sheet_line(sheet);
	sheet_number(sheet, PS_ID, member->id);
	sheet_signed(sheet, PS_PID, member->pid);
	sheet_string(sheet, PS_STATE, !member->alive ? "dead" : hung ? "hung" : "alive");
	sheet_color(sheet, PS_STATE, !member->alive ? "red" : hung ? "brown" : "green");
	if (beats)
		sheet_duration(sheet, PS_HEARTBEAT, member->heartbeat_age_ns);
	if (member->attached_ns && member->attached_ns <= now)
		sheet_duration(sheet, PS_ATTACHED, now - member->attached_ns);
	sheet_text(sheet, PS_LABEL, member->label, strnlen(member->label, sizeof(member->label)));
	sheet_number(sheet, PS_ATTACHED_NS, member->attached_ns);
}

static bool ps_option(int option, char *argument)
{
	(void)option;
	return cli_parse_seconds(argument, "--hung", &hung_ns);
}

static int run_ps(int argc, char **argv)
{
	static const struct option options[] = {
		{ "hung", required_argument, NULL, OPTION_LONG },
		{ NULL, 0, NULL, 0 },
	};
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	struct shmkit_segment *segment;
	struct sheet *sheet;
	uint32_t cursor = 0;
	int first, result = EXIT_NO, found;

	CLI_OPTIONS(first, argc, argv, self("ps"), options, "", ps_option);
	if (argc - first != 1)
		return cli_usage("it takes one SEGMENT, not %d", argc - first);
	segment = cli_open(argv[first], SHMKIT_READ_ONLY, &result);
	if (!segment)
		return result;
	sheet = sheet_new("members", ps_columns, sizeof(ps_columns) / sizeof(ps_columns[0]));
	while ((found = shmkit_segment_next_member(segment, &cursor, &member)) == 1) {
		ps_line(sheet, &member);
		result = EXIT_YES;
	}
	if (found < 0)
		result = cli_failed(found);
	sheet_print(sheet);
	shmkit_segment_close(segment);
	return result;
}

const struct command commands_list[] = {
	{ "ls", "[--names | SEGMENT...]", "List segments: size, use, members, owner", run_ls },
	{ "ps", "[--hung SECONDS] SEGMENT", "List the members of a segment: alive, hung or dead", run_ps },
	{ .name = NULL },
};
