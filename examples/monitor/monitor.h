/*
 * What the monitor and the processes it watches agree on.
 *
 * Whether a process is alive, and when it last gave a sign of life, is the library's business (the
 * members of a segment). What it has done is written here, by the process itself.
 */
#ifndef MONITOR_H
#define MONITOR_H

#include <stdint.h>

#define MONITOR_SEGMENT      "shmkit_monitor"
#define MONITOR_STATS        "process_stats"
#define MONITOR_MESSAGES     "messages_total"
#define MONITOR_ERRORS       "errors_total"	/* the last name made: who sees it finds them all */
#define MONITOR_MAX_ID       31

#define NSEC_PER_SEC  INT64_C(1000000000)
#define NSEC_PER_MSEC INT64_C(1000000)

/*
 * One for each --id. A process that is started again under the same id goes on counting. All
 * fields are stored and loaded whole, with __atomic operations: the monitor looks at any moment.
 */
struct process_stats {
	uint64_t messages_processed;
	uint64_t errors;
	uint64_t queue_full;
	double   avg_latency_us;	/* over messages_processed */
	int32_t  pid;			/* of the latest run */
	uint32_t run;			/* its number, from 1 on */
	uint32_t finished_run;		/* == run: it has ended in order */
	uint32_t reserved;
};
#define PROCESS_STATS_SCHEMA "messages_processed:u64 errors:u64 queue_full:u64 " \
			     "avg_latency_us:f64 pid:i32 run:u32 finished_run:u32 reserved:u32"

_Static_assert(sizeof(struct process_stats) == 48, "no padding");

#endif
