/*
 * The name table and the space of a segment. States of an entry: layout.h.
 *
 *	create   under the table lock: name and extent into a FREE entry; FREE -> INIT(me)
 *	         memory, structure; INIT(me) -> LIVE commits
 *	open     copy; re-read the word; announce; re-read the word, else undo
 *	remove   LIVE -> DYING
 *	reap     DYING and nobody may touch it: -> REAP(me); memory back; -> FREE
 *
 * Free space is derived: what no entry that is not FREE covers. There is no allocator state.
 *
 * | dies                         | leaves         | outcome                                     |
 * |------------------------------|----------------|---------------------------------------------|
 * | holding the table lock       | a FREE entry   | nothing; the lock is taken over             |
 * | after FREE -> INIT           | INIT(dead)     | repaired to DYING, reaped                   |
 * | after INIT -> LIVE           | LIVE           | committed                                   |
 * | after LIVE -> DYING          | DYING          | reaped by whoever looks next                |
 * | after DYING -> REAP          | REAP(dead)     | repaired to DYING, reaped again             |
 */
#ifndef SHK_TABLE_H
#define SHK_TABLE_H

#include "repair.h"
#include "segment.h"

struct shk_shape;

/* A name that is looked for, with what tells it from most others at a glance. */
struct shk_name {
	const char *text;                   /* the caller's */
	uint32_t size;                      /* bytes, NUL included */
	uint32_t hash;
	uint64_t first;                     /* its first 8 bytes as they lie in memory, */
	uint64_t mask;                      /* and those of the 8 that it has */
};

/* An entry as it was at one moment. */
struct shk_entry_copy {
	uint64_t word;
	uint32_t index;
	const char *name;                   /* the text that was looked for, or copied; the caller's */
	struct shk_entry_shm fields;
};

/*
 * Copies entry index as it is at one moment; its state then. ret_name: NULL, or name_size bytes for
 * the name.
 */
unsigned shk_table_copy(struct shmkit_segment *segment, uint32_t index, char *ret_name,
			struct shk_entry_copy *ret_copy);

/* The entry that is LIVE (or, when making is true, INIT) under that name. true when found. */
bool shk_table_find(struct shmkit_segment *segment, const struct shk_name *name, bool making,
		    struct shk_entry_copy *ret_copy);

/* Hints come in groups of so many, a group for one value of a name's hash under the mask. */
#define SHK_HINT_WAYS 4u

uint32_t shk_table_hint_mask(uint32_t max_entries);

/* Text from the caller -> a name that may be looked for in that segment. 0, -EINVAL, -ENAMETOOLONG. */
int shk_table_check_name(const struct shmkit_segment *segment, const char *text,
			 struct shk_name *ret_name);

/*
 * Takes an entry and an extent: INIT(me), memory behind it, all bytes zero. -EEXIST: the name is
 * LIVE, or INIT by another (then ret_copy->word says so); -ENOSPC; -EBUSY.
 */
int shk_table_reserve(struct shmkit_segment *segment, const struct shk_name *name,
		      const struct shk_shape *shape, struct shk_entry_copy *ret_copy);

/* The word that commit will store. */
uint64_t shk_table_live_word(const struct shk_entry_copy *copy);

void shk_table_commit(struct shmkit_segment *segment, struct shk_entry_copy *copy);
void shk_table_abandon(struct shmkit_segment *segment, const struct shk_entry_copy *copy);

/* Sleeps until that entry is no longer INIT with that word. 0, -EBUSY. */
int shk_table_wait_made(struct shmkit_segment *segment, const struct shk_entry_copy *copy);

/* DYING entries that nobody can touch any more become FREE; segment->unreaped tells of others. */
void shk_table_reap(struct shmkit_segment *segment);

/* What a dead member was making or reaping in that entry. */
void shk_table_repair(const struct shk_dead *dead, uint32_t index);

#endif
