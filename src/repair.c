#include "repair.h"

#include "lock.h"
#include "member.h"
#include "object.h"
#include "structs.h"
#include "sys.h"
#include "table.h"

#include <errno.h>

#define LOOK_INTERVAL_NS UINT64_C(20000000)

/* A lock the dead held is freed; what it protects is sound at every instruction. */
static void repair_lock(const struct shk_dead *dead, shk_u64 *lock)
{
	uint64_t seen = shk_load_acquire(lock);

	if (shk_lock_is_held(seen) && shk_lock_owner(seen) == dead->id && shk_still_dead(dead))
		shk_lock_word_release(lock, seen);
}

static void repair_member(const struct shk_dead *dead)
{
	struct shmkit_segment *segment = dead->segment;
	bool whole = true;

	repair_lock(dead, &shk_header(segment)->table_lock);
	for (uint32_t entry = 0; entry < segment->geometry.max_entries; entry++) {
		shk_u64 *open = shk_member_open_word(segment, dead->id, entry);

		shk_table_repair(dead, entry);
		/* The bit is set before the first touch and cleared after the last. */
		if (shk_load_acquire(open) >> entry % 64 & 1)
			whole &= shk_object_repair(dead, entry);
	}
	/* Not finished: left for another, or for the next time. */
	if (!whole)
		return;
	SHK_POINT("repair.pass");
	if (shk_cas_acq_rel(&shk_member(segment, dead->id)->word, dead->word,
			    dead->word & ~SHK_MEMBER_LIVE)) {
		/* Dies here: the count stays one behind. */
		SHK_POINT("repair.freed");
		shk_add_relaxed(&shk_header(segment)->recoveries, 1);   /* a statistic */
		dead->report->members++;
	}
}

uint32_t shk_repair_dead(struct shmkit_segment *segment, struct shmkit_recovery *report)
{
	struct shmkit_recovery unwanted = { 0 };
	struct shk_dead dead = { .segment = segment, .report = report ? report : &unwanted };
	uint32_t count = 0;

	for (uint32_t id = 0; id < segment->geometry.max_members; id++) {
		dead.id = id;
		if (!shk_member_is_dead(segment, id, &dead.word))
			continue;
		repair_member(&dead);
		count++;
	}
	shk_table_reap(segment);
	return count;
}

bool shk_look(struct shmkit_segment *segment)
{
	uint64_t now = (uint64_t)shk_coarse_ns();
	uint64_t next = __atomic_load_n(&segment->next_look_ns, __ATOMIC_RELAXED);

	if (segment->read_only || now < next)
		return false;
	/* One thread of many looks. */
	if (!__atomic_compare_exchange_n(&segment->next_look_ns, &next, now + LOOK_INTERVAL_NS, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return false;
	return shk_repair_dead(segment, NULL) > 0;
}

int shmkit_segment_recover(struct shmkit_segment *segment, struct shmkit_recovery *ret_report)
{
	struct shmkit_recovery report = { 0 };
	int result;

	if (!segment)
		return shk_fail(-EINVAL, "shmkit_segment_recover: segment is NULL");
	result = ret_report ? shk_struct_check(ret_report, sizeof(report), "shmkit_segment_recover") : 0;
	if (!result)
		result = shk_segment_enter_write(segment, "shmkit_segment_recover");
	if (result)
		return result;
	shk_repair_dead(segment, &report);
	if (ret_report)
		shk_struct_out(ret_report, &report, sizeof(report));
	return shk_segment_leave(segment, 0);
}
