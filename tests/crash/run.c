#include "run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NOWHERE UINT32_MAX
#define SETTLE_ROUNDS 6u
#define VARIANTS 17u                        /* of audits, and one */
#define STEPPED_TOO_OFTEN 6u
#define RECORDED_MAX 20u

struct run {
	const struct run_options *options;
	struct run_place *place;
	struct run_tally *tally;
	struct trace trace, repair;
	uint64_t stepped;                   /* when it was traced last */
	unsigned recorded;                  /* how often it had to be traced anew */
	struct scene scene;
};

/* ---- one victim ---- */

static bool prepare_victim(void *context)
{
	struct scene *scene = context;
	const struct subject *subject = scene->subject;

	return subject->family->join(scene) && (!subject->ready || subject->ready(scene));
}

static void call_victim(void *context)
{
	struct scene *scene = context;

	scene->note->result = scene->subject->call(scene);
	scene->note->returned = 1;
}

static bool prepare_repairer(void *context)
{
	struct scene *scene = context;

	return shmkit_segment_member_id(scene->peer.segment) >= 0;
}

static void call_repairer(void *context)
{
	struct scene *scene = context;

	(void)shmkit_segment_recover(scene->peer.segment, NULL);
}

static void begin_scene(struct run *run, const struct subject *subject, unsigned state)
{
	struct scene *scene = &run->scene;
	struct note *note = scene->note;
	int64_t learned = scene->learned;
	uint32_t count = scene->learned_count;
	uint64_t out[OUT_MAX];

	memcpy(out, scene->learned_out, sizeof(out));
	memset(note, 0, sizeof(*note));
	*scene = (struct scene){ .subject = subject, .state = state, .note = note, .learned = learned,
				 .learned_count = count };
	memcpy(scene->learned_out, out, sizeof(out));
	snprintf(scene->name, sizeof(scene->name), NAME "-%d", (int)getpid());
	run->place->beat_ns = now_ns();
}

static void describe(struct run *run, uint32_t point, uint32_t then)
{
	static const char *const modes[] = { "", " --freeze", " --two" };
	const struct scene *scene = &run->scene;
	char where[256] = "the end of the call", second[256] = "", text[1400];

	if (point != NOWHERE)
		trace_describe(run->trace.points[point].rip, where, sizeof(where));
	if (then != NOWHERE)
		trace_describe(run->repair.points[then].rip, second, sizeof(second));
	snprintf(text, sizeof(text), "FAILED --function %s --state %s --at %lld%s: %s%s%s: %s\n",
		 scene->subject->name, scene->subject->family->states[scene->state],
		 point == NOWHERE ? -1ll : (long long)point, modes[run->options->mode], where,
		 then == NOWHERE ? "" : ", then the repairer at ", second,
		 scene->verdict[0] ? scene->verdict : "?");
	if (then != NOWHERE)
		snprintf(text + strlen(text) - 1, 40, " [--then %u]\n", then);
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		perror("crash");
}

/* A built scene with a victim at the beginning of its call. */
static bool start(struct run *run, const struct subject *subject, unsigned state)
{
	struct scene *scene = &run->scene;

	begin_scene(run, subject, state);
	if (!subject->family->build(scene))
		return wrong(scene, "the state could not be built");
	scene->victim = trace_start(prepare_victim, call_victim, scene);
	if (scene->victim < 0)
		return wrong(scene, "the victim could not prepare: %s %s", trace_fault(), scene->note->error);
	return true;
}

static void finish(struct run *run, uint32_t point, uint32_t then)
{
	struct scene *scene = &run->scene;
	struct run_tally *tally = run->tally;
	bool clean;

	if (scene->waiter > 0)
		trace_kill(scene->waiter);   /* it was not waited for: something went wrong before */
	scene->waiter = 0;
	scene->subject->family->finish(scene);
	clean = shm_is_clean(scene);
	if (scene->worst_ns > tally->worst_ns)
		tally->worst_ns = scene->worst_ns;
	tally->temporaries += scene->temporaries;
	tally->unnamed_busy += scene->unnamed_busy;
	if (scene->verdict[0]) {
		describe(run, point, then);
		tally->failures++;
		/* what a failed audit leaves open would be found at every point that follows */
		if (!clean)
			_exit(RUN_ANEW);
	}
}

static void kill_victim(struct scene *scene)
{
	trace_kill(scene->victim);
	scene->killed_ns = now_ns();
	scene->killed_delay_ns = delay_ns();
	scene->victim = 0;
}

/* A victim stopped at a point, by breakpoint or, if that is not met, by steps. */
static bool bring_to(struct run *run, const struct subject *subject, unsigned state, uint32_t point)
{
	struct scene *scene = &run->scene;
	enum trace_end end;

	if (!start(run, subject, state))
		return false;
	end = trace_run_to(scene->victim, &run->trace, point);
	if (end == TRACE_THERE)
		return true;
	trace_kill(scene->victim);
	scene->victim = 0;
	if (end == TRACE_FAULT)
		return wrong(scene, "on its way to the point the victim was lost: %s", trace_fault());
	subject->family->finish(scene);
	run->tally->stepped++;
	if (!start(run, subject, state))
		return false;
	end = trace_step_to(scene->victim, point);
	if (end == TRACE_THERE)
		return true;
	trace_kill(scene->victim);
	scene->victim = 0;
	if (end == TRACE_FAULT)
		return wrong(scene, "on its way to the point the victim was lost: %s", trace_fault());
	/* a shorter way: it has no such instruction this time */
	run->tally->lost++;
	return false;
}

static bool was_lost(const struct scene *scene)
{
	return !scene->verdict[0];
}

/* ---- modes ---- */

static void kill_at(struct run *run, const struct subject *subject, unsigned state, uint32_t point)
{
	struct scene *scene = &run->scene;
	const struct family *family = subject->family;
	bool there = bring_to(run, subject, state, point);
	bool blocked = there && family->block && run->options->blocked_every &&
		       (point + state) % run->options->blocked_every == 0;

	scene->variant = point;
	if (there) {
		if (blocked)
			blocked = family->block(scene);
		kill_victim(scene);
		run->tally->kills++;
		if (blocked && family->unblock(scene)) {
			run->tally->blocked++;
			if (scene->blocked_ns > run->tally->worst_blocked_ns)
				run->tally->worst_blocked_ns = scene->blocked_ns;
		}
		if (!scene->verdict[0])
			family->audit(scene);
	}
	if (there || !was_lost(scene))
		run->tally->points++;
	finish(run, point, NOWHERE);
}

static void freeze_at(struct run *run, const struct subject *subject, unsigned state, uint32_t point)
{
	struct scene *scene = &run->scene;
	pid_t victim;

	scene->variant = point;
	if (bring_to(run, subject, state, point)) {
		victim = scene->victim;
		scene->variant = point;
		if (!trace_freeze(victim)) {
			wrong(scene, "the victim could not be stopped");
			trace_kill(victim);
		} else {
			subject->family->peers(scene);
			trace_thaw(victim);
		}
		scene->victim = 0;
		scene->killed_ns = now_ns();
		scene->killed_delay_ns = delay_ns();
		scene->result_known = true;
		if (!scene->note->returned)
			wrong(scene, "the victim did not go on after SIGCONT");
		if (!scene->verdict[0])
			subject->family->audit(scene);
		run->tally->freezes++;
		run->tally->points++;
	}
	finish(run, point, NOWHERE);
}

/* The repairer runs to its point and is killed; to the end of its call where that is NOWHERE. */
static bool repairer_dies(struct run *run, uint32_t then)
{
	struct scene *scene = &run->scene;
	pid_t repairer = trace_start(prepare_repairer, call_repairer, scene);
	enum trace_end end;

	if (repairer < 0)
		return wrong(scene, "the repairer could not join");
	if (then == NOWHERE) {
		run->repair.ranges = 1;
		run->repair.from[0] = (uint64_t)(uintptr_t)shmkit_segment_base(scene->peer.segment);
		run->repair.to[0] = run->repair.from[0] + scene->note->size;
		end = trace_record(repairer, &run->repair);
	} else {
		end = trace_run_to(repairer, &run->repair, then);
	}
	trace_kill(repairer);
	scene->killed_ns = now_ns();
	scene->killed_delay_ns = delay_ns();
	if (end == TRACE_FAULT)
		return wrong(scene, "the repairer was lost: %s", trace_fault());
	/* killed at its end instead: another thing to survive, but not the point that was meant */
	run->tally->lost += end == TRACE_MISSED;
	return true;
}

static void pair(struct run *run, const struct subject *subject, unsigned state, uint32_t point,
		 uint32_t then)
{
	struct scene *scene = &run->scene;

	if (bring_to(run, subject, state, point)) {
		kill_victim(scene);
		scene->variant = point + then;
		if (repairer_dies(run, then))
			subject->family->audit(scene);
		run->tally->pairs++;
	}
	finish(run, point, then);
}

static void pairs_at(struct run *run, const struct subject *subject, unsigned state, uint32_t point)
{
	const struct run_options *options = run->options;
	uint32_t nth = 0;

	if (!run->trace.points[point].shares && options->at < 0)
		return;
	run->tally->points++;
	run->place->then = 0;
	pair(run, subject, state, point, NOWHERE);
	for (uint32_t then = 0; then < run->repair.count; then++) {
		run->place->then = then;
		if (options->then >= 0 ? then != (uint32_t)options->then : !run->repair.points[then].shares)
			continue;
		/* when sampled, another part of the second points for each of the first */
		if (options->then < 0 && (nth++ + point) % options->every)
			continue;
		pair(run, subject, state, point, then);
	}
}

/* ---- one state ---- */

/* An undisturbed call: what it returns is what the model of the others is made from. */
static bool learn(struct run *run, const struct subject *subject, unsigned state)
{
	struct scene *scene = &run->scene;
	bool good = start(run, subject, state);

	if (good) {
		good = trace_finish(scene->victim) == TRACE_THERE && scene->note->returned;
		if (!good)
			wrong(scene, "an undisturbed victim did not come to the end of its call: %s",
			      trace_fault());
		kill_victim(scene);
	}
	if (good) {
		scene->learned = scene->note->result;
		scene->learned_count = scene->note->out_count;
		memcpy(scene->learned_out, scene->note->out, sizeof(scene->learned_out));
		scene->result_known = true;
		good = subject->family->audit(scene);
	}
	finish(run, NOWHERE, NOWHERE);
	return !scene->verdict[0];
}

static bool record(struct run *run, const struct subject *subject, unsigned state)
{
	struct scene *scene = &run->scene;
	bool good = start(run, subject, state);

	if (good) {
		run->trace.ranges = run->options->mode == RUN_TWO;
		run->trace.from[0] = scene->note->base;
		run->trace.to[0] = scene->note->base + scene->note->size;
		good = trace_record(scene->victim, &run->trace) == TRACE_THERE;
		if (!good)
			wrong(scene, "the call could not be traced to its end: %s", trace_fault());
		trace_kill(scene->victim);
	}
	finish(run, NOWHERE, NOWHERE);
	return good;
}

/* Until it is the same twice. */
static bool record_settled(struct run *run, const struct subject *subject, unsigned state)
{
	uint32_t count;
	unsigned round = 0;

	if (!record(run, subject, state))
		return false;
	do {
		count = run->trace.count;
		if (!record(run, subject, state))
			return false;
	} while (run->trace.count != count && round++ < SETTLE_ROUNDS);
	return true;
}

/* When breakpoints are missed again and again the way has changed for good. */
static void record_again(struct run *run, const struct subject *subject, unsigned state)
{
	if (run->tally->stepped - run->stepped < STEPPED_TOO_OFTEN || run->recorded >= RECORDED_MAX)
		return;
	run->recorded++;
	(void)record_settled(run, subject, state);
	run->stepped = run->tally->stepped;
}

/*
 * Victims that die before their first instruction, with each way of the audit: the heap of the
 * worker, which victims inherit, is after them as it will be from then on.
 */
static void warm_up(struct run *run, const struct subject *subject, unsigned state)
{
	for (uint32_t variant = 0; variant < VARIANTS; variant++) {
		if (start(run, subject, state)) {
			kill_victim(&run->scene);
			run->scene.variant = variant;
			subject->family->audit(&run->scene);
		}
		finish(run, NOWHERE, NOWHERE);
	}
}

static void run_point(struct run *run, const struct subject *subject, unsigned state, uint32_t point)
{
	run->place->point = point;
	switch (run->options->mode) {
	case RUN_KILL:
		kill_at(run, subject, state, point);
		break;
	case RUN_FREEZE:
		freeze_at(run, subject, state, point);
		break;
	case RUN_TWO:
		pairs_at(run, subject, state, point);
		break;
	}
}

/*
 * To be traced takes two switches of context for each instruction, which among dozens of workers
 * that are ready to run would take for ever: as many as there are processors have their turn. The
 * kernel drops the lock of one who dies. Not watched meanwhile.
 */
static void take_turn(const struct run *run)
{
	struct flock turn = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
			      .l_start = run->options->job % run->options->processors, .l_len = 1 };

	run->place->beat_ns = 0;
	while (fcntl(run->options->turns_fd, F_SETLKW, &turn) != 0 && errno == EINTR)
		;
	run->place->beat_ns = now_ns();
}

static void end_turn(const struct run *run)
{
	struct flock turn = { .l_type = F_UNLCK, .l_whence = SEEK_SET };

	(void)fcntl(run->options->turns_fd, F_SETLK, &turn);
}

static struct run the_run;

static bool is_ready(struct run *run)
{
	if (run->scene.note)
		return true;
	run->scene.note = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return run->scene.note != MAP_FAILED && trace_init(&run->trace) && trace_init(&run->repair) &&
	       shm_is_clean(&run->scene);
}

/* What a process must not gather: descriptors, and mappings. */
static void count_own(int *ret_fd, unsigned *ret_maps)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned lines = 0;
	char line[512];

	while (maps && fgets(line, sizeof(line), maps))
		lines += strstr(line, "/dev/shm") || strstr(line, "memfd");
	if (maps)
		fclose(maps);
	*ret_maps = lines;
	*ret_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (*ret_fd >= 0)
		close(*ret_fd);
}

void run_subject(const struct run_options *options, const struct subject *subject, unsigned state,
		 uint32_t part, uint32_t from, struct run_place *place, struct run_tally *tally)
{
	struct run *run = &the_run;
	uint64_t began = now_ns();
	unsigned maps, maps_after;
	int fd, fd_after;
	bool recorded;

	run->options = options;
	run->place = place;
	run->tally = tally;
	place->point = NOWHERE;
	if (!is_ready(run)) {
		tally->failures++;
		return;
	}
	run->scene.learned_count = 0;
	run->stepped = tally->stepped;
	run->recorded = 0;
	take_turn(run);
	recorded = learn(run, subject, state);
	if (recorded)
		warm_up(run, subject, state);
	recorded = recorded && record_settled(run, subject, state);
	end_turn(run);
	if (!recorded)
		return;
	if (part == 0 && from == 0)
		tally->traced += run->trace.count;
	count_own(&fd, &maps);
	if (options->at >= 0) {
		if (options->at < run->trace.count)
			run_point(run, subject, state, (uint32_t)options->at);
	} else {
		for (uint32_t point = options->offset % options->every; point < run->trace.count;
		     point += options->every)
			if (point >= from && point / options->every % options->parts == part &&
			    (!options->hits || run->trace.points[point].hit < options->hits)) {
				run_point(run, subject, state, point);
				record_again(run, subject, state);
			}
	}
	count_own(&fd_after, &maps_after);
	if (fd_after != fd || maps_after != maps) {
		run->scene.verdict[0] = '\0';
		wrong(&run->scene, "the worker gathers descriptors (%d, then %d) or mappings (%u, then %u)",
		      fd,
		      fd_after, maps, maps_after);
		describe(run, NOWHERE, NOWHERE);
		tally->failures++;
	}
	tally->took_ns += now_ns() - began;
}
