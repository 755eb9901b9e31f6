/*
 * Forced into the library's sources in the explorer's build: private memory comes from the
 * simulated process, and what the compiler would leave to libc is done access by access.
 */
#ifndef EXPLORE_REDIRECT_H
#define EXPLORE_REDIRECT_H

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void *sim_calloc(size_t count, size_t size);
void *sim_reallocarray(void *old, size_t count, size_t size);
void sim_free(void *block);
void *sim_memcpy(void *to, const void *from, size_t size);
void *sim_memset(void *to, int byte, size_t size);
int sim_strncmp(const char *a, const char *b, size_t size);
int sim_mutex_lock(pthread_mutex_t *mutex);
int sim_mutex_unlock(pthread_mutex_t *mutex);
int sim_mutex_init(pthread_mutex_t *mutex, const void *attributes);
int sim_mutex_destroy(pthread_mutex_t *mutex);

#define calloc sim_calloc
#define malloc(size) sim_reallocarray(NULL, 1, size)
#define reallocarray sim_reallocarray
#define free sim_free
#undef memcpy
#define memcpy sim_memcpy
#undef memset
#define memset sim_memset
#undef strncmp
#define strncmp sim_strncmp
#define pthread_mutex_lock sim_mutex_lock
#define pthread_mutex_unlock sim_mutex_unlock
#define pthread_mutex_init sim_mutex_init
#define pthread_mutex_destroy sim_mutex_destroy

#endif
