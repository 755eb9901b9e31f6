#include "stop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

static sigset_t wishes;
static pthread_t waiter;
static struct shmkit_segment *interrupted;
static bool wanted, over;

static bool is_over(void)
{
	return __atomic_load_n(&over, __ATOMIC_ACQUIRE);
}

static void *wait_for_wish(void *argument)
{
	const struct timespec pause = { .tv_nsec = 10000000 };
	int signal;

	(void)argument;
	sigwait(&wishes, &signal);
	__atomic_store_n(&wanted, true, __ATOMIC_RELEASE);
	/* a wait that begins behind the look at stop_wanted() is met by the next one */
	while (!is_over()) {
		shmkit_segment_interrupt(interrupted);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

void stop_on_signals(struct shmkit_segment *segment)
{
	int result;

	interrupted = segment;
	sigemptyset(&wishes);
	sigaddset(&wishes, SIGINT);
	sigaddset(&wishes, SIGTERM);
	sigaddset(&wishes, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &wishes, NULL);
	result = pthread_create(&waiter, NULL, wait_for_wish, NULL);
	if (result) {
		cli_say("there is no thread to wait for signals");
		abort();
	}
}

bool stop_wanted(void)
{
	return __atomic_load_n(&wanted, __ATOMIC_ACQUIRE);
}

void stop_no_more(void)
{
	__atomic_store_n(&over, true, __ATOMIC_RELEASE);
	pthread_kill(waiter, SIGTERM);
	pthread_join(waiter, NULL);
}
