#include "member.h"

#include "copy.h"
#include "repair.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

#define JOIN_ROUNDS 100                     /* of 1 ms, while ids are FREE but still locked */

bool shk_segment_fd_is_ours(struct shmkit_segment *segment)
{
	struct stat now;
	int fd = __atomic_load_n(&segment->fd, __ATOMIC_RELAXED);

	if (shk_stat(fd, &now) == 0 && now.st_ino == segment->inode && now.st_dev == segment->device)
		return true;
	/* Somebody closed it (closefrom, a daemon library). Its number may be another file's by now. */
	if (!segment->name[0])
		return false;
	fd = shk_open_name(segment->name, !segment->read_only);
	if (fd < 0)
		return false;
	if (shk_stat(fd, &now) == 0 && now.st_ino == segment->inode && now.st_dev == segment->device) {
		__atomic_store_n(&segment->fd, fd, __ATOMIC_RELAXED);
		return true;
	}
	shk_close(fd);
	return false;
}

bool shk_member_is_dead(struct shmkit_segment *segment, uint32_t id, uint64_t *ret_word)
{
	uint64_t word;
	int held;

	if (id >= segment->geometry.max_members)
		return false;
	word = shk_load_acquire(&shk_member(segment, id)->word);
	if (!(word & SHK_MEMBER_LIVE) || id == segment->member_id)
		return false;
	if (!shk_segment_fd_is_ours(segment))
		return false;
	held = shk_probe_write(segment->fd, SHK_LOCK_MEMBER + id, 1);
	if (held != 0 || !shk_segment_fd_is_ours(segment))
		return false;
	/*
	 * It was LIVE before the probe, so it had the lock by then; it has it no longer. If it is
	 * still LIVE with the same incarnation it did not leave: it died.
	 */
	*ret_word = word;
	return shk_load_acquire(&shk_member(segment, id)->word) == word;
}

uint32_t shk_member_count_others(struct shmkit_segment *segment)
{
	uint32_t count = 0;
	uint64_t word;

	for (uint32_t id = 0; id < segment->geometry.max_members; id++) {
		if (id == segment->member_id)
			continue;
		/* seq_cst: a closer's scan against a newcomer's LIVE, before it looks for a closer */
		if (!(shk_load_seq_cst(&shk_member(segment, id)->word) & SHK_MEMBER_LIVE))
			continue;
		if (!shk_member_is_dead(segment, id, &word))
			count++;
	}
	return count;
}

/* What the id's former holder announced means nothing to the next. */
static void write_announcement(struct shmkit_segment *segment, uint32_t id)
{
	struct shk_member_shm *member = shk_member(segment, id);
	char label[SHK_LABEL_SIZE] = { 0 };

	strlcpy(label, segment->label, sizeof(label));
	/* Release. Pairs with the fence of one who looks at members: FREE before what we announce. */
	shk_fence_release();
	for (uint32_t entry = 0; entry < segment->geometry.max_entries; entry += 64)
		shk_store_relaxed(shk_member_open_word(segment, id, entry), 0);   /* published by LIVE */
	shk_store_relaxed(&member->pid, shk_pid());
	shk_store_relaxed(&member->attached_ns, (uint64_t)shk_real_ns());
	shk_store_relaxed(&member->heartbeat_ns, 0);
	shk_store_relaxed(&member->heartbeat_mono_ns, 0);
	shk_copy_racing(member->label, label, sizeof(label));
}

/* 0: joined as id. -EAGAIN: not this id. */
static int take_id(struct shmkit_segment *segment, uint32_t id, int fd)
{
	struct shk_member_shm *member = shk_member(segment, id);
	uint64_t word = shk_load_acquire(&member->word);
	uint64_t live = ((word >> 1) + 1) << 1 | SHK_MEMBER_LIVE;
	void *page;
	int result;

	if (word & SHK_MEMBER_LIVE)
		return -EAGAIN;
	result = shk_lock_write(fd, SHK_LOCK_MEMBER + id);
	if (result)
		return result;
	/*
	 * We may have stood still since the word was read: then the id may be LIVE and its member
	 * dead, and what he announced is what tells where to repair. With the byte locked a FREE id
	 * stays FREE.
	 */
	if (shk_load_acquire(&member->word) != word) {
		shk_lock_drop(fd, SHK_LOCK_MEMBER + id);
		return -EAGAIN;
	}
	result = shk_pin(fd, &page);
	if (result)
		return result;
	SHK_POINT("member.locked");
	write_announcement(segment, id);
	/* member:J seq_cst. Lock first: LIVE and not locked means dead. Before the look for a closer. */
	if (!shk_cas_seq_cst(&member->word, word, live)) {
		shk_unpin(page);
		shk_lock_drop(fd, SHK_LOCK_MEMBER + id);
		return -EAGAIN;
	}
	/* Dies here: LIVE(dead). Peers: repair and free the id. */
	SHK_POINT("member.live");
	segment->lock_page = page;
	segment->member_id = id;
	segment->member_word = live;
	segment->incarnation = live >> 1;
	return 0;
}

/* 0; -EAGAIN when some id is FREE but locked; -EUSERS when all are LIVE; or why not. */
static int join_once(struct shmkit_segment *segment)
{
	int fd = shk_reopen(segment->fd, segment->name, segment->device, segment->inode, true);
	int result = -EUSERS;

	if (fd < 0)
		return fd;
	for (uint32_t id = 0; id < segment->geometry.max_members; id++) {
		int taken = take_id(segment, id, fd);

		if (taken == -EAGAIN &&
		    (shk_load_relaxed(&shk_member(segment, id)->word) & SHK_MEMBER_LIVE))
			continue;
		result = taken;
		if (taken != -EAGAIN)
			break;
	}
	shk_close(fd);   /* the page keeps the description, and with it the lock */
	return result;
}

/* Grows with every id that is taken or freed. */
static uint64_t registry_changes(struct shmkit_segment *segment)
{
	uint64_t sum = 0;

	for (uint32_t id = 0; id < segment->geometry.max_members; id++)
		sum += shk_load_acquire(&shk_member(segment, id)->word) ^ SHK_MEMBER_LIVE;
	return sum;
}

/* True when all ids were those of living members at one moment, not each at its own. */
static bool is_full(struct shmkit_segment *segment)
{
	uint64_t before = registry_changes(segment);

	return shk_member_count_others(segment) == segment->geometry.max_members &&
	       registry_changes(segment) == before;
}

int shk_member_join(struct shmkit_segment *segment)
{
	int result = -EUSERS;

	for (int round = 0; round < JOIN_ROUNDS; round++) {
		result = join_once(segment);
		if (result != -EUSERS && result != -EAGAIN)
			break;
		/*
		 * One who is no member yet may repair: a registry full of the dead mends itself, though
		 * somebody who stands still may have locked the one id that is FREE.
		 */
		if (shk_repair_dead(segment, NULL) > 0)
			continue;
		/* If others have repaired, and taken the ids, meanwhile: again. */
		if (result == -EAGAIN)
			shk_sleep_ns(1000000);
		else if (is_full(segment))
			break;
	}
	if (result == 0)
		return 0;
	if (result == -EUSERS || result == -EAGAIN)
		return shk_fail(-EUSERS, "segment '%s' has room for %u member%s, and all are alive; let one "
					 "go, or create it with a larger max_members", segment->title,
				segment->geometry.max_members,
				segment->geometry.max_members == 1 ? "" : "s");
	return shk_fail(result, "segment '%s' could not be joined: %s", segment->title,
			strerror(-result));
}

void shk_member_leave(struct shmkit_segment *segment)
{
	struct shk_member_shm *member = shk_member(segment, segment->member_id);

	/* member:L release. Everything given back before the id is. */
	shk_cas_seq_cst(&member->word, segment->member_word, segment->member_word & ~SHK_MEMBER_LIVE);
	/* Dies here: FREE; the kernel drops the lock. */
	SHK_POINT("member.free");
	shk_unpin(segment->lock_page);
	segment->lock_page = NULL;
}

void shk_member_announce(struct shmkit_segment *segment, uint32_t entry, bool open)
{
	shk_u64 *word = shk_member_open_word(segment, segment->member_id, entry);
	uint64_t bit = UINT64_C(1) << entry % 64;

	if (open)
		shk_or_seq_cst(word, bit);
	else
		shk_and_seq_cst(word, ~bit);
}

bool shk_member_any_open(struct shmkit_segment *segment, uint32_t entry)
{
	uint64_t bit = UINT64_C(1) << entry % 64;

	for (uint32_t id = 0; id < segment->geometry.max_members; id++)
		if ((shk_load_seq_cst(&shk_member(segment, id)->word) & SHK_MEMBER_LIVE) &&
		    (shk_load_seq_cst(shk_member_open_word(segment, id, entry)) & bit))
			return true;
	return false;
}
