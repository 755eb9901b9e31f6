#include "process.h"

#include "compiler.h"
#include "sys.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct shk_process before_start;
struct shk_process *shk_process = &before_start;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t last_epoch;                 /* copied by fork: a child's epoch is another than its parent's */

/*
 * The lock is three words of futex rather than a pthread mutex because it lies in the wiped page:
 * in a child it is free, whatever a thread of the parent was doing.
 */
static void lock(void)
{
	uint32_t seen = 0;

	if (__atomic_compare_exchange_n(&shk_process->lock, &seen, 1, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED))
		return;
	while (__atomic_exchange_n(&shk_process->lock, 2, __ATOMIC_ACQUIRE) != 0)
		syscall(SYS_futex, &shk_process->lock, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

static void unlock(void)
{
	if (__atomic_exchange_n(&shk_process->lock, 0, __ATOMIC_RELEASE) == 2) {
		syscall(SYS_futex, &shk_process->lock, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
		sched_yield();              /* a fork that waits is to have its turn */
	}
}

/* Only where the kernel cannot wipe the page. A raw clone() goes unseen there. */
static void wipe_in_child(void)
{
	*shk_process = (struct shk_process){ .epoch = 0 };
}

static void start(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED)
		shk_process = page;
	if (page == MAP_FAILED || madvise(page, 4096, MADV_WIPEONFORK) != 0)
		pthread_atfork(lock, unlock, wipe_in_child);
	else
		pthread_atfork(lock, unlock, NULL);
}

void shk_process_enter(sigset_t *ret_saved)
{
	sigset_t all;

	pthread_once(&once, start);
	sigfillset(&all);
	/* what the thread brings upon itself cannot wait; SIGBUS has its handler (guard.c) */
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGILL);
	sigdelset(&all, SIGFPE);
	sigdelset(&all, SIGTRAP);
	pthread_sigmask(SIG_SETMASK, &all, ret_saved);
	lock();
	if (shk_process->epoch == 0) {
		shk_process->fences = !shk_barrier_register();
		__atomic_store_n(&shk_process->epoch, ++last_epoch, __ATOMIC_RELEASE);
	}
}

void shk_process_leave(const sigset_t *saved)
{
	unlock();
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

uint32_t shk_process_epoch(void)
{
	uint32_t epoch = __atomic_load_n(&shk_process->epoch, __ATOMIC_ACQUIRE);
	sigset_t saved;

	if (epoch == 0) {
		shk_process_enter(&saved);
		epoch = shk_process->epoch;
		shk_process_leave(&saved);
	}
	return epoch;
}
