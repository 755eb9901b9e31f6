#include "blocked.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define ASLEEP_MS 3u
#define GIVE_UP_MS 2000u

static struct blocked *shared;

bool blocked_start(struct scene *scene, int64_t (*body)(struct scene *scene, struct blocked *blocked))
{
	pid_t parent = getpid();

	if (!shared)
		shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return wrong(scene, "no memory for a peer");
	memset(shared, 0, sizeof(*shared));
	scene->waiter = fork();
	if (scene->waiter == 0) {
		struct hands none = { 0 };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		scene->own = none;
		shared->result = shmkit_segment_open(scene->name, 0, &scene->own.segment);
		shared->ready = 1;
		if (shared->result == 0)
			shared->result = body(scene, shared);
		shared->done_ns = now_ns();
		shared->delay_ns = delay_ns();
		if (shared->result < 0)
			snprintf(shared->error, sizeof(shared->error), "%s", shmkit_last_error());
		close_hands(&scene->own);
		_exit(0);
	}
	if (scene->waiter < 0)
		return wrong(scene, "no peer could be started");
	for (unsigned i = 0; i < GIVE_UP_MS && !__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE); i++)
		nap_ms(1);
	nap_ms(ASLEEP_MS);
	return true;
}

bool blocked_end(struct scene *scene, const struct blocked **ret_blocked)
{
	pid_t waiter = scene->waiter;
	int status = 0;

	scene->waiter = 0;
	for (unsigned i = 0; i < GIVE_UP_MS; i++) {
		if (waitpid(waiter, &status, WNOHANG) == waiter) {
			*ret_blocked = shared;
			if (!WIFEXITED(status))
				return wrong(scene, "a blocked peer died with status %d", status);
			if (shared->done_ns > scene->killed_ns + shared->delay_ns)
				scene->blocked_ns = shared->done_ns - scene->killed_ns - shared->delay_ns;
			if (shared->result < 0)
				return wrong(scene, "a blocked peer: %lld, %s", (long long)shared->result,
					     shared->error);
			if (scene->blocked_ns / NS_PER_MS > LIMIT_MS)
				return wrong(scene, "a blocked peer went on only after %llu ms",
					     (unsigned long long)(scene->blocked_ns / NS_PER_MS));
			return true;
		}
		nap_ms(1);
	}
	kill(waiter, SIGKILL);
	waitpid(waiter, &status, 0);
	return wrong(scene, "a blocked peer did not go on within 2 s");
}
