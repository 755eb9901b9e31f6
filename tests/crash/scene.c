#include "scene.h"

#include "segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEGMENT_SIZE (64u << 10)

/* ---- sentences ---- */

bool wrong(struct scene *scene, const char *format, ...)
{
	va_list arguments;

	if (scene->verdict[0])
		return false;
	va_start(arguments, format);
	vsnprintf(scene->verdict, sizeof(scene->verdict), format, arguments);
	va_end(arguments);
	return false;
}

bool fine(struct scene *scene, const char *what, int64_t result)
{
	return result >= 0 || wrong(scene, "%s: %lld, %s", what, (long long)result, shmkit_last_error());
}

bool is(struct scene *scene, const char *what, int64_t result, int64_t wanted)
{
	return result == wanted || wrong(scene, "%s: %lld where %lld is right%s%s", what, (long long)result,
					 (long long)wanted, result < 0 ? "; " : "",
					 result < 0 ? shmkit_last_error() : "");
}

/* ---- time ---- */

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

void nap_ms(unsigned milliseconds)
{
	struct timespec time = { .tv_sec = milliseconds / 1000,
				 .tv_nsec = (long)(milliseconds % 1000) * 1000000 };

	while (nanosleep(&time, &time) != 0 && errno == EINTR)
		;
}

static uint64_t read_delay(int file)
{
	char text[96], *end;
	ssize_t length = pread(file, text, sizeof(text) - 1, 0);

	if (length <= 0)
		return 0;
	text[length] = '\0';
	(void)strtoull(text, &end, 10);     /* time on a processor */
	return strtoull(end, NULL, 10);
}

uint64_t delay_ns(void)
{
	static pid_t whose;
	static int file = -1;

	/* a child's is another file */
	if (whose != getpid()) {
		if (file >= 0)
			close(file);
		file = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
		whose = getpid();
	}
	return read_delay(file);
}

uint64_t since_death_ns(const struct scene *scene)
{
	uint64_t took = now_ns() - scene->killed_ns, delayed = delay_ns() - scene->killed_delay_ns;

	return took > delayed ? took - delayed : 0;
}

void note_worst(struct scene *scene)
{
	uint64_t took = scene->killed_ns ? since_death_ns(scene) : 0;

	if (took > scene->worst_ns)
		scene->worst_ns = took;
	if (took > LIMIT_MS * NS_PER_MS)
		wrong(scene, "the peers' next calls took %llu ms", (unsigned long long)(took / NS_PER_MS));
}

static bool judge_call(struct scene *scene, const char *what, int64_t result, const char *error,
		       uint64_t took_ns, unsigned bound_ms)
{
	char pid[24];

	if (took_ns / NS_PER_MS > bound_ms + bound_ms / 4 + 100)
		return wrong(scene, "frozen: %s took %llu ms; %u are allowed", what,
			     (unsigned long long)(took_ns / NS_PER_MS), bound_ms);
	if (result == -EBUSY && scene->victim) {
		snprintf(pid, sizeof(pid), "process %d", (int)scene->victim);
		if (strstr(error, "another process has been") || strstr(error, "for a second by a"))
			scene->unnamed_busy++;
		else if (!strstr(error, pid))
			return wrong(scene, "frozen: %s is -EBUSY and does not name %s: %s", what, pid, error);
	}
	if (result == -EBADMSG || result == -EINVAL || result == -ECHILD || result == -EPROTO ||
	    result == -EIO || result == -ENOMEM)
		return wrong(scene, "frozen: %s: %lld, %s", what, (long long)result, error);
	return true;
}

static uint64_t began_ns, began_delay_ns;

void call_begins(void)
{
	began_delay_ns = delay_ns();
	began_ns = now_ns();
}

bool call_ends(struct scene *scene, const char *what, int64_t result, unsigned bound_ms)
{
	uint64_t took = now_ns() - began_ns, delayed = delay_ns() - began_delay_ns;

	return judge_call(scene, what, result, shmkit_last_error(), took > delayed ? took - delayed : 0, bound_ms);
}

/* ---- a call of another thread ---- */

static uint64_t thread_delay_ns(void)
{
	int file = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
	uint64_t delay = file < 0 ? 0 : read_delay(file);

	if (file >= 0)
		close(file);
	return delay;
}

static void *make_call(void *context)
{
	struct beside *beside = context;
	uint64_t began = now_ns(), delay = thread_delay_ns();

	beside->result = beside->call(beside->segment);
	beside->took_ns = now_ns() - began;
	delay = thread_delay_ns() - delay;
	beside->took_ns = beside->took_ns > delay ? beside->took_ns - delay : 0;
	snprintf(beside->error, sizeof(beside->error), "%s", shmkit_last_error());
	return NULL;
}

bool beside_begins(struct scene *scene, struct beside *beside)
{
	return pthread_create(&beside->thread, NULL, make_call, beside) == 0 ||
	       wrong(scene, "no thread can be had");
}

bool beside_ends(struct scene *scene, struct beside *beside)
{
	pthread_join(beside->thread, NULL);
	return judge_call(scene, beside->what, beside->result, beside->error, beside->took_ns, beside->bound_ms);
}

/* ---- parts of scenes ---- */

bool scene_segment(struct scene *scene, uint32_t flags)
{
	struct shmkit_segment_options options = {
		.struct_size = sizeof(options), .flags = flags, .table = SHMKIT_TABLE_CUSTOM,
		.max_entries = 4, .name_size = 16, .max_members = 6, .max_size = 2 * SEGMENT_SIZE,
	};

	return fine(scene, "segment_create", shmkit_segment_create(scene->name, SEGMENT_SIZE, &options,
								    &scene->peer.segment));
}

void look(struct shmkit_segment *segment, bool due)
{
	/* white box: the time of the next look is the handle's own */
	segment->next_look_ns = due ? 0 : UINT64_MAX;
}

bool own_segment(struct scene *scene)
{
	int result = shmkit_segment_open(scene->name, 0, &scene->own.segment);
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	if (result || shmkit_segment_get_info(scene->own.segment, &info)) {
		snprintf(scene->note->error, sizeof(scene->note->error), "%s", shmkit_last_error());
		return false;
	}
	look(scene->own.segment, false);
	scene->note->base = (uint64_t)(uintptr_t)shmkit_segment_base(scene->own.segment);
	scene->note->size = info.max_size;
	return true;
}

bool leave_dead(struct scene *scene, int64_t (*what)(struct scene *scene))
{
	pid_t parent = getpid(), pid = fork();
	int status;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(getppid() != parent || what(scene) < 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		snprintf(scene->note->error, sizeof(scene->note->error), "the earlier victim failed");
		return false;
	}
	return true;
}

bool fresh_segment(struct scene *scene)
{
	return fine(scene, "segment_open by a fresh process",
		    shmkit_segment_open(scene->name, 0, &scene->fresh.segment));
}

uint64_t space_used(struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	return shmkit_segment_get_info(segment, &info) ? UINT64_MAX : info.used;
}

bool audit_segment(struct scene *scene, struct shmkit_segment *segment, uint32_t members)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };

	if (!is(scene, "segment_recover", shmkit_segment_recover(segment, NULL), 0) ||
	    !is(scene, "segment_check", shmkit_segment_check(segment), 0) ||
	    !is(scene, "segment_get_info", shmkit_segment_get_info(segment, &info), 0))
		return false;
	if (info.members != members)
		return wrong(scene, "%u members where %u are", info.members, members);
	if (scene->used && info.used != scene->used)
		return wrong(scene, "%llu bytes are used where %llu were", (unsigned long long)info.used,
			     (unsigned long long)scene->used);
	if (info.entries != scene->entries)
		return wrong(scene, "%u entries where %u are right", info.entries, scene->entries);
	return true;
}

void close_hands(struct hands *hands)
{
	shmkit_queue_close(hands->queue);
	shmkit_ring_reader_close(hands->reader);
	shmkit_ring_close(hands->ring);
	shmkit_pool_close(hands->pool);
	shmkit_segment_close(hands->segment);
	memset(hands, 0, sizeof(*hands));
}

/* ---- the file system ---- */

static bool remove_temporaries(struct scene *scene)
{
	DIR *directory = opendir("/dev/shm");
	struct dirent *entry;
	bool clean = true;

	if (!directory)
		return wrong(scene, "/dev/shm cannot be read");
	while ((entry = readdir(directory))) {
		if (strncmp(entry->d_name, ".shmkit-", 8) == 0)
			scene->temporaries++;
		else if (entry->d_name[0] != '.')
			clean = wrong(scene, "/dev/shm/%s is left over", entry->d_name);
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(directory), entry->d_name, 0);
	}
	closedir(directory);
	return clean;
}

bool shm_is_clean(struct scene *scene)
{
	static struct statvfs before;
	struct statvfs now;

	if (statvfs("/dev/shm", &now) != 0)
		return wrong(scene, "/dev/shm cannot be examined");
	if (!before.f_files) {
		before = now;
		return true;
	}
	if (now.f_ffree == before.f_ffree && now.f_bfree == before.f_bfree)
		return true;
	if (!remove_temporaries(scene))
		return false;
	if (statvfs("/dev/shm", &now) != 0 || now.f_ffree != before.f_ffree || now.f_bfree != before.f_bfree)
		return wrong(scene, "%lld files and %lld blocks without a name are left over",
			     (long long)before.f_ffree - (long long)now.f_ffree,
			     (long long)before.f_bfree - (long long)now.f_bfree);
	return true;
}

/* ---- peers ---- */

bool peers_table(struct scene *scene, struct shmkit_segment *segment)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	struct shmkit_entry_info entry = { .struct_size = sizeof(entry) };
	struct shmkit_segment *other = NULL;
	struct shmkit_array *array = NULL;
	uint32_t cursor = 0;
	bool good = TIMED(scene, 50, shmkit_segment_get_info(segment, &info)) &&
		    TIMED(scene, 50, shmkit_segment_check(segment)) &&
		    TIMED(scene, 50, shmkit_segment_recover(segment, NULL)) &&
		    TIMED(scene, 50, shmkit_segment_next_member(segment, &cursor, &member)) &&
		    TIMED(scene, 50, (cursor = 0, shmkit_segment_next_entry(segment, &cursor, &entry))) &&
		    TIMED(scene, 50, shmkit_segment_find(segment, "peers", NULL)) &&
		    TIMED(scene, 50, shmkit_segment_wait_for(segment, "peers", 1000000)) &&
		    TIMED(scene, 2050, shmkit_segment_open(scene->name, 0, &other)) &&
		    TIMED(scene, 4100, shmkit_array_create(segment, "peers", 8, 8, NULL, &array));

	if (array)
		good = TIMED(scene, 50, shmkit_array_write(array, 0, 1, "12345678")) &&
		       TIMED(scene, 50, shmkit_segment_remove(segment, "peers")) && good;
	shmkit_array_close(array);
	call_begins();
	shmkit_segment_close(other);
	return call_ends(scene, "shmkit_segment_close", 0, 1100) && good;
}

/* ---- elements ---- */

void fill_element(struct element *element, uint64_t id)
{
	element->id = id;
	element->mixed[0] = (id + 1) * UINT64_C(0x9e3779b97f4a7c15);
	element->mixed[1] = ~element->mixed[0] ^ id << 7;
}

bool element_is_whole(const struct element *element)
{
	struct element expected;

	fill_element(&expected, element->id);
	return memcmp(&expected, element, sizeof(expected)) == 0;
}

void note_out(struct scene *scene, uint64_t value)
{
	if (scene->note->out_count < OUT_MAX)
		scene->note->out[scene->note->out_count++] = value;
}
