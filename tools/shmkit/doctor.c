/* doctor: does this machine give what the library rests on, and what might surprise. */
#include "cli.h"
#include "sheet.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

enum verdict { GOOD, NOTE, BAD };

static const struct sheet_column columns[] = {
	{ "CHECK", "check", 0 },
	{ "STATE", "state", 0 },
	{ "FOUND", "found", 0 },
	{ "ADVICE", "advice", 0 },
};

static enum verdict worst;

static void say(struct sheet *sheet, enum verdict verdict, const char *check, const char *found, const char *advice)
{
	static const char *const words[] = { "ok", "note", "bad" };
	static const char *const colors[] = { "green", "brown", "red" };

	sheet_line(sheet);
	sheet_string(sheet, 0, check);
	sheet_string(sheet, 1, words[verdict]);
	sheet_color(sheet, 1, colors[verdict]);
	sheet_string(sheet, 2, found);
	if (verdict != GOOD)
		sheet_string(sheet, 3, advice);
	if (verdict > worst)
		worst = verdict;
}

/* The first line of a file, or "". */
static const char *line_of(const char *path)
{
	static char line[512];
	FILE *file = fopen(path, "re");

	line[0] = 0;
	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = 0;
		fclose(file);
	}
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* ---- /dev/shm ---- */

static void check_mount(struct sheet *sheet)
{
	struct statfs system;
	struct stat file;
	char found[80];

	if (statfs(SHM_DIRECTORY, &system) != 0 || stat(SHM_DIRECTORY, &file) != 0) {
		say(sheet, BAD, "/dev/shm", strerror(errno), "mount a tmpfs there: mount -t tmpfs -o mode=1777 tmpfs /dev/shm");
		return;
	}
	say(sheet, system.f_type == TMPFS_MAGIC ? GOOD : BAD, "/dev/shm", system.f_type == TMPFS_MAGIC ? "tmpfs" : "no tmpfs",
	    "segments would lie on a disk; mount a tmpfs there");
	snprintf(found, sizeof(found), "%04o", file.st_mode & 07777);
	say(sheet, (file.st_mode & 01777) == 01777 ? GOOD : NOTE, "/dev/shm mode", found,
	    "1777 lets every user create segments and nobody remove another's");
}

static void check_room(struct sheet *sheet)
{
	struct statvfs room;
	char found[120];
	double used;

	if (statvfs(SHM_DIRECTORY, &room) != 0 || room.f_blocks == 0)
		return;
	used = 100.0 * (double)(room.f_blocks - room.f_bfree) / (double)room.f_blocks;
	snprintf(found, sizeof(found), "%s, %s free, %.0f %% used", cli_human(room.f_blocks * room.f_frsize),
		 cli_human(room.f_bavail * room.f_frsize), used);
	say(sheet, used >= 90 ? BAD : used >= 75 ? NOTE : GOOD, "/dev/shm room", found,
	    "shmkit gc lists what nobody uses; or: mount -o remount,size=SIZE /dev/shm");
	if (room.f_files) {
		snprintf(found, sizeof(found), "%" PRIu64 " of %" PRIu64 " free", (uint64_t)room.f_ffree,
			 (uint64_t)room.f_files);
		say(sheet, room.f_ffree < room.f_files / 10 ? NOTE : GOOD, "/dev/shm files", found,
		    "names are running out; shmkit gc lists what nobody uses");
	}
}

static void check_left_over(struct sheet *sheet)
{
	struct found_segment *found;
	int64_t count = cli_find_segments(&found);
	unsigned left = 0, damaged = 0;
	char text[80];

	for (int64_t i = 0; i < count; i++) {
		struct shmkit_segment_info info = { .struct_size = sizeof(info) };
		struct shmkit_segment *segment;
		int result = found[i].readable ? shmkit_segment_open(found[i].name, SHMKIT_READ_ONLY, &segment) : -EACCES;

		damaged += result == -EPROTO;
		if (result)
			continue;
		if (shmkit_segment_get_info(segment, &info) == 0)
			left += info.members == 0 && !(info.flags & SHMKIT_SEGMENT_PERSIST);
		shmkit_segment_close(segment);
	}
	if (count >= 0)
		free(found);
	snprintf(text, sizeof(text), "%" PRId64 ", %u left over, %u damaged", count < 0 ? 0 : count, left, damaged);
	say(sheet, left || damaged ? NOTE : GOOD, "segments", text, "shmkit gc lists them, and removes them with --yes");
}

/* ---- the kernel ---- */

static void check_barrier(struct sheet *sheet)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
	bool there = commands >= 0 && (commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED);

	say(sheet, there ? GOOD : NOTE, "membarrier", there ? "global expedited" : "none",
	    "waits and shutdowns take some milliseconds longer; a sandbox may be in the way");
}

static void check_locks(struct sheet *sheet)
{
	struct flock lock = { .l_type = F_WRLCK, .l_len = 1 };
	int fd = open(SHM_DIRECTORY, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	bool good = fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0;

	say(sheet, good ? GOOD : BAD, "file locks", good ? "open file description locks" : strerror(errno),
	    "the library rests on them and on O_TMPFILE; Linux 3.15 or newer, and no sandbox that forbids them");
	if (fd >= 0)
		close(fd);
}

static void check_memfd(struct sheet *sheet)
{
	int fd = memfd_create("shmkit-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	say(sheet, fd >= 0 ? GOOD : NOTE, "memfd", fd >= 0 ? "there" : strerror(errno),
	    "segments without a name cannot be created");
	if (fd >= 0)
		close(fd);
}

/* "always within_size advise [never] deny force": what is in brackets */
static void check_huge_pages(struct sheet *sheet)
{
	const char *line = line_of("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	const char *open = strchr(line, '[');
	char found[32] = "unknown";
	bool given;

	if (open)
		snprintf(found, sizeof(found), "%.*s", (int)strcspn(open + 1, "]"), open + 1);
	given = strcmp(found, "advise") == 0 || strcmp(found, "always") == 0 || strcmp(found, "within_size") == 0 ||
		strcmp(found, "force") == 0;
	say(sheet, given ? GOOD : NOTE, "huge pages", found,
	    "to have them where they are asked for: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled");
}

/* ---- limits and surroundings ---- */

static void check_limits(struct sheet *sheet)
{
	struct rlimit limit;
	char found[80];

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		snprintf(found, sizeof(found), "%" PRIu64, (uint64_t)limit.rlim_cur);
		say(sheet, limit.rlim_cur < 256 ? NOTE : GOOD, "descriptors", found,
		    "an open segment takes one, and one more for an instant; ulimit -n raises it");
	}
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		say(sheet, NOTE, "address space", cli_human(limit.rlim_cur),
		    "a segment is mapped to its max_size, which must fit; ulimit -v");
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		say(sheet, NOTE, "file size", cli_human(limit.rlim_cur), "a segment cannot be larger; ulimit -f");
}

static void check_memory_group(struct sheet *sheet)
{
	const char *limit = line_of("/sys/fs/cgroup/memory.max");

	if (!*limit || strcmp(limit, "max") == 0)
		return;
	say(sheet, NOTE, "memory limit", cli_human(strtoull(limit, NULL, 10)),
	    "segments count towards this control group's memory, of whoever touches a page first");
}

static void check_namespaces(struct sheet *sheet)
{
	char own[64] = "", first[64] = "";

	if (readlink("/proc/self/ns/pid", own, sizeof(own) - 1) < 0 || readlink("/proc/1/ns/pid", first, sizeof(first) - 1) < 0)
		return;
	say(sheet, strcmp(own, first) == 0 ? GOOD : NOTE, "pid namespace", own,
	    "pids are shown as their own namespace has them; who is dead is known all the same");
}

/* RemoveIPC=yes, the default, takes /dev/shm files of a user who has logged out. */
static void check_logind(struct sheet *sheet)
{
	FILE *file = fopen("/etc/systemd/logind.conf", "re");
	bool removes = access("/run/systemd/system", F_OK) == 0;
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		const char *at = line + strspn(line, " \t");

		if (strncmp(at, "RemoveIPC=", 10) == 0)
			removes = strncmp(at + 10, "no", 2) != 0 && strncmp(at + 10, "false", 5) != 0 && at[10] != '0';
	}
	if (file)
		fclose(file);
	if (access("/run/systemd/system", F_OK) != 0)
		return;
	say(sheet, removes && getuid() >= 1000 ? NOTE : GOOD, "logind", removes ? "RemoveIPC=yes" : "RemoveIPC=no",
	    "a user's segments go when he logs out of his last session: RemoveIPC=no in /etc/systemd/logind.conf, or a system user");
}

static int run_doctor(int argc, char **argv)
{
	struct sheet *sheet;
	int first;

	CLI_OPTIONS(first, argc, argv, commands_doctor, NULL, "", NULL);
	if (first != argc)
		return cli_usage("it takes no arguments");
	sheet = sheet_new("checks", columns, sizeof(columns) / sizeof(columns[0]));
	check_mount(sheet);
	check_room(sheet);
	check_left_over(sheet);
	check_locks(sheet);
	check_barrier(sheet);
	check_memfd(sheet);
	check_huge_pages(sheet);
	check_limits(sheet);
	check_memory_group(sheet);
	check_namespaces(sheet);
	check_logind(sheet);
	sheet_print(sheet);
	return worst == BAD ? EXIT_NO : EXIT_YES;
}

const struct command commands_doctor[] = {
	{ "doctor", "", "Look at what this machine gives, with advice", run_doctor },
	{ .name = NULL },
};
