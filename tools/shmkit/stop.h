/*
 * INT, TERM and HUP as a wish: what was taken is written before the end. Signals interrupt neither
 * reads nor writes; a wait of the library on the segment ends with -ECANCELED.
 */
#ifndef SHMKIT_STOP_H
#define SHMKIT_STOP_H

#include "cli.h"

void stop_on_signals(struct shmkit_segment *segment);
bool stop_wanted(void);

/* Before the segment is closed. */
void stop_no_more(void);

#endif
