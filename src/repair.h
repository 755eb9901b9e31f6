/*
 * Cleaning up after the dead. Every repair is
 *
 *	w = load(word); if owner(w) == s and registry[s] is still the word that is dead:
 *	CAS(word, w, repaired(w))
 *
 * with the registry read after the word. A word that names an owner occurs once, so that stopped
 * repairers, reused ids and repairers who die are all harmless: a later full pass finishes. Only
 * he who has finished a pass over everything frees the id.
 */
#ifndef SHK_REPAIR_H
#define SHK_REPAIR_H

#include "segment.h"

/* A member whose traces are being removed: a dead one, or oneself on the way out. */
struct shk_dead {
	struct shmkit_segment *segment;
	uint32_t id;
	uint64_t word;                      /* registry word that is dead */
	struct shmkit_recovery *report;     /* counters to add to */
};

/* repair:R acquire. Read after the word that is to be repaired. */
static inline bool shk_still_dead(const struct shk_dead *dead)
{
	return shk_load_acquire(&shk_member(dead->segment, dead->id)->word) == dead->word;
}

/* Repairs after every dead member now; how many. report may be NULL (its counts are added to). */
uint32_t shk_repair_dead(struct shmkit_segment *segment, struct shmkit_recovery *report);

/*
 * The same, at most once per 20 ms and handle: for calls that found nothing to do. True when it
 * repaired something, so that the caller tries again.
 */
bool shk_look(struct shmkit_segment *segment);

#endif
