/*
 * SIGBUS, when another process truncates the file of a segment that is in use here.
 *
 * Only with SHMKIT_SEGMENT_GUARD, and only where nobody else handles the signal: an existing
 * handler is called for addresses that are not ours. Ours puts anonymous pages in place of what is
 * lost, so that the access that failed goes on and ends, and marks the handle; the call that was
 * under way and every later one answer -EBADMSG.
 */
#include "segment.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_GUARDED 64

/* Read by the signal handler: each slot is either 0 or a segment that is mapped. */
static struct shmkit_segment *guarded[MAX_GUARDED];
static struct sigaction before;
static bool installed;

static bool save_range(struct shmkit_segment *segment, uintptr_t address)
{
	uintptr_t base = (uintptr_t)segment->base;
	uintptr_t end = base + (uintptr_t)segment->geometry.max_size;
	uintptr_t page = address & ~(uintptr_t)(SHK_PAGE - 1);
	int protection = segment->read_only ? PROT_READ : PROT_READ | PROT_WRITE;

	if (address < base || address >= end)
		return false;
	__atomic_store_n(&segment->damaged, 1, __ATOMIC_RELEASE);
	__atomic_store_n(&segment->epoch, SHK_EPOCH_DAMAGED, __ATOMIC_RELEASE);
	return mmap((void *)page, end - page, protection,
		    MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	for (int i = 0; i < MAX_GUARDED; i++) {
		struct shmkit_segment *segment = __atomic_load_n(&guarded[i], __ATOMIC_ACQUIRE);

		if (segment && save_range(segment, (uintptr_t)info->si_addr))
			return;
	}
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(number);
	} else {
		/* not ours: as if we were not here; the access repeats and ends the process */
		signal(number, SIG_DFL);
	}
}

void shk_guard_add(struct shmkit_segment *segment)
{
	struct sigaction action = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigset_t saved;

	shk_process_enter(&saved);
	for (int i = 0; i < MAX_GUARDED && !segment->guarded; i++) {
		if (guarded[i])
			continue;
		__atomic_store_n(&guarded[i], segment, __ATOMIC_RELEASE);
		segment->guarded = 1;
	}
	if (!installed && segment->guarded) {
		sigemptyset(&action.sa_mask);
		installed = sigaction(SIGBUS, &action, &before) == 0;
	}
	shk_process_leave(&saved);
}

/* Under the process lock, or by the only one who knows the segment. */
void shk_guard_remove(struct shmkit_segment *segment)
{
	for (int i = 0; i < MAX_GUARDED; i++)
		if (guarded[i] == segment)
			__atomic_store_n(&guarded[i], NULL, __ATOMIC_RELEASE);
	segment->guarded = 0;
}
