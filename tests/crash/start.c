/*
 * Before the first victim: a process in which nothing but the library decides what is executed, and
 * with a /dev/shm of its own.
 */
#include "run.h"

#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

void run_bind_now(char *argv[])
{
	/* nor is what the heap of the worker, which victims inherit, has to give back to the system */
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	if (getenv("LD_BIND_NOW"))
		return;
	setenv("LD_BIND_NOW", "1", 1);
	execv("/proc/self/exe", argv);
	perror("crash: /proc/self/exe");
}

bool run_private_shm(void)
{
	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
		perror("crash: unshare");
		return false;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("crash", "/dev/shm", "tmpfs", 0, "size=16m") != 0) {
		perror("crash: mount");
		return false;
	}
	return true;
}
