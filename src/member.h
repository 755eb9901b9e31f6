/*
 * Who is attached, and who is alive.
 *
 * A member holds a write lock on byte SHK_LOCK_MEMBER + id of the segment's own file, through an
 * open file description that nothing refers to but one PROT_NONE page mapped from it. The kernel
 * drops the lock when that page goes: at the end of the process, at exec, and not before; not when
 * descriptors are closed, not in a forked child (MADV_DONTFORK).
 *
 *	join    lock the byte of a FREE id; write what it announces; CAS FREE -> LIVE
 *	leave   CAS LIVE -> FREE; drop the lock
 *	dead    LIVE, and nobody holds the byte
 *
 * | dies                   | leaves               | outcome                                     |
 * |------------------------|----------------------|---------------------------------------------|
 * | before LIVE            | a FREE id, unlocked  | the next one takes it                       |
 * | after LIVE             | LIVE and unlocked    | dead: a peer repairs, then frees the id     |
 * | after FREE, in leave   | a FREE id, unlocked  | the next one takes it                       |
 */
#ifndef SHK_MEMBER_H
#define SHK_MEMBER_H

#include "segment.h"

/*
 * Becomes a member of the (mapped) segment; the process lock is held by the caller. Repairs the
 * dead when no id is free. 0; -EUSERS; -EMFILE, -EACCES, -ENOMEM: last error is set.
 */
int shk_member_join(struct shmkit_segment *segment);

/* Gives the id back. Everything it announced or held must have been given back before. */
void shk_member_leave(struct shmkit_segment *segment);

/*
 * True only when that id is LIVE and surely dead; *ret_word is the registry word that this is
 * true of. A doubt, such as a descriptor closed under us, is false.
 */
bool shk_member_is_dead(struct shmkit_segment *segment, uint32_t id, uint64_t *ret_word);

/* Members LIVE other than this one and not dead. */
uint32_t shk_member_count_others(struct shmkit_segment *segment);

/* True when the descriptor still is the segment's file; puts a new one in its place if it can. */
bool shk_segment_fd_is_ours(struct shmkit_segment *segment);

/*
 * Announces that this member may touch that entry's extent (or no longer). seq_cst: pairs with
 * the reaper's DYING, then read of all open bits.
 */
void shk_member_announce(struct shmkit_segment *segment, uint32_t entry, bool open);

/* May any member LIVE still touch that entry's extent? */
bool shk_member_any_open(struct shmkit_segment *segment, uint32_t entry);

#endif
