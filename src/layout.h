/*
 * Everything that lies in shared memory, and nothing else: format version 1.
 *
 * Fixed-width fields in the byte order of the machine (the header says which), explicit reserved
 * bytes that are written as zero, no pointer, no bool, no enum, no errno value, no pthread object.
 * doc/format.md is the same in prose; tests/unit/test_format.c holds both to the same numbers.
 *
 * A segment:
 *
 *	0                  struct shk_header_shm
 *	table_offset       max_entries * entry_stride: struct shk_entry_shm, its name behind it
 *	members_offset     max_members * member_stride: struct shk_member_shm, its open bits behind it
 *	data_offset        extents of the structures, each aligned to 64 bytes or more
 *	size               end of what may be used now; the file may reach to max_size
 */
#ifndef SHK_LAYOUT_H
#define SHK_LAYOUT_H

#include "atomics.h"

#include <stddef.h>

#define SHK_FORMAT_VERSION 1u
#define SHK_MAGIC_BYTES "SHMKIT\r\n"       /* CR LF: a transfer in text mode is seen */
#define SHK_BYTE_ORDER 0x01020304u
#define SHK_EXTENT_ALIGN 64u
#define SHK_PAGE 4096u                      /* sizes are rounded to it, whatever the machine's page is */

#define SHK_MAX_MEMBERS 1024u               /* an owner field is 10 bits wide */
#define SHK_MAX_ENTRIES 4096u
#define SHK_MAX_NAME_SIZE 256u
#define SHK_MAX_ALIGNMENT 4096u
#define SHK_MAX_ELEMENT_SIZE (1u << 30)
#define SHK_MAX_SIZE (UINT64_C(1) << 56)
#define SHK_LABEL_SIZE 32u
#define SHK_SCHEMA_SIZE 1024u

/* Feature bits. Unknown incompat: refuse; unknown ro_compat: read only; compat: ignore. */
#define SHK_FEATURES_INCOMPAT UINT64_C(0)
#define SHK_FEATURES_RO_COMPAT UINT64_C(0)

/* header.flags: the public SHMKIT_SEGMENT_PERSIST, HUGE_PAGES, POPULATE, and: */
#define SHK_HEADER_ANONYMOUS (1u << 24)     /* a memfd: has no name to unlink */

/*
 * Bytes of the file (far behind its end) on which members and others hold locks. Only the kernel
 * knows who holds one, and it forgets none when a process dies.
 */
#define SHK_LOCK_LIFE (UINT64_C(1) << 60)    /* write: the holder may unlink or replace the name */
#define SHK_LOCK_ENTRY (UINT64_C(1) << 61)   /* + entry, read: a read-only opener uses that entry */
#define SHK_LOCK_MEMBER (UINT64_C(1) << 62)  /* + id, write: that member is alive */

struct shk_header_shm {
	/* written once, before the segment can be found */
	uint8_t  magic[8];
	uint32_t byte_order;
	uint32_t format_version;
	shk_u64  features_incompat;
	shk_u64  features_ro_compat;
	shk_u64  features_compat;
	uint8_t  instance[16];              /* random: tells two segments of one name apart */
	uint32_t header_size;               /* bytes of this struct */
	uint32_t flags;
	shk_u64  max_size;                  /* bytes */
	shk_u64  table_offset;              /* bytes from the start of the segment, here and below */
	shk_u64  members_offset;
	shk_u64  data_offset;
	uint32_t max_entries;
	uint32_t name_size;                 /* bytes of a name, its NUL included */
	uint32_t entry_stride;              /* bytes */
	uint32_t member_stride;             /* bytes */
	uint32_t max_members;
	uint32_t reserved0;
	shk_u64  created_ns;                /* CLOCK_REALTIME */
	/* written by members */
	shk_u64  size;                      /* bytes; grows only, under table_lock */
	shk_u64  table_lock;                /* lock word (lock.h) */
	uint32_t table_event;               /* event word (wait.h): a name came or went */
	uint32_t reserved1;
	shk_u64  recoveries;                /* dead members cleaned up after */
	uint8_t  reserved2[32];
	char     label[64];                 /* of an anonymous segment; "" otherwise */
};

/*
 * entry.word: generation:51 | state:3 | owner:10
 *
 *	FREE   nothing; what the other fields hold means nothing
 *	INIT   owner is making it; extent and name are taken, nobody else looks inside
 *	LIVE   can be found; owner is 0
 *	DYING  removed, or its maker died; the extent is still taken, the name is not
 *	REAP   owner gives the memory back to the system; then FREE
 */
enum {
	SHK_ENTRY_FREE = 0,
	SHK_ENTRY_INIT = 1,
	SHK_ENTRY_LIVE = 2,
	SHK_ENTRY_DYING = 3,
	SHK_ENTRY_REAP = 4,
};

struct shk_entry_shm {
	shk_u64  word;
	shk_u64  offset;                    /* of the extent, bytes from the start of the segment */
	shk_u64  size;                      /* bytes of the extent */
	shk_u64  capacity;                  /* elements it holds */
	shk_u64  requested;                 /* elements asked for at creation */
	uint32_t element_size;              /* bytes */
	uint32_t kind;                      /* SHMKIT_KIND_* */
	uint32_t flags;                     /* object_options.flags */
	uint32_t alignment;                 /* bytes, of an element */
	uint32_t schema_size;               /* bytes of schema text, NUL included, at the extent's end; 0 none */
	uint32_t reserved;
	/* char name[name_size], padded to 8 bytes */
};

/*
 * member.word: incarnation:63 | live:1. LIVE and its lock byte not held: dead.
 * The rest is written by the member itself alone, and means nothing unless it is LIVE.
 */
#define SHK_MEMBER_LIVE UINT64_C(1)

struct shk_member_shm {
	shk_u64  word;
	int32_t  pid;                       /* in its own PID namespace */
	uint32_t reserved;
	shk_u64  attached_ns;               /* CLOCK_REALTIME */
	shk_u64  heartbeat_ns;              /* CLOCK_REALTIME, 0 never */
	shk_u64  heartbeat_mono_ns;         /* CLOCK_MONOTONIC */
	char     label[SHK_LABEL_SIZE];
	/* shk_u64 open[(max_entries + 63) / 64]: bit e set: it may touch entry e's extent */
};

/* ---- extents ---------------------------------------------------------------------------------- */

/* An array's extent is its elements, nothing else. */

struct shk_atomic_shm {
	shk_u64  value;                     /* the first 1, 4 or 8 bytes, by kind */
	uint32_t event;                     /* event word */
	uint32_t reserved0;
	uint8_t  reserved1[48];             /* a line of its own */
};

/*
 * Queue: slots lie slot_stride apart from slots_offset; a slot is its word, then the element at
 * payload_offset (max(8, alignment)).
 *
 *	slot word   turn:40 | aux:11 | phase:3 | owner:10
 *	index word  position:44 | run:8 | closed:1 | spare:1 | owner:10
 */
struct shk_queue_shm {
	shk_u64  base;                      /* the position at creation */
	shk_u64  discarded;                 /* elements whose producer died before it had finished them */
	shk_u64  cancelled;                 /* reservations given up */
	shk_u64  redelivered;
	uint8_t  reserved0[32];
	/* a line that is read by every call and seldom written */
	uint32_t ready_event;               /* event word: something to take, or shut down */
	uint32_t space_event;               /* event word: room, or shut down */
	shk_u64  redo_set;                  /* counts REDO slots ever made */
	shk_u64  redo_done;                 /* redo_set up to which no REDO slot is left */
	uint32_t closing;                   /* 1: was shut down once; who frees a slot wakes consumers */
	uint8_t  reserved1[36];
	shk_u64  tail;                      /* index word of the producers */
	uint8_t  reserved2[120];
	shk_u64  head;                      /* index word of the consumers */
	uint8_t  reserved3[120];
};

/*
 * Ring: elements lie stride apart from data_offset, position p at slot p % capacity.
 */
struct shk_ring_shm {
	uint32_t closed;                    /* 0 open, 1 no push begins, 2 shut down */
	uint32_t data_event;                /* event word: something to take, or shut down */
	uint32_t space_event;               /* event word: room, or shut down */
	uint32_t reserved0;
	shk_u64  dropped_base;              /* total dropped, at most 2^31 behind */
	uint8_t  reserved1[104];
	/* the producer's line, and the one that consumers look at meanwhile */
	shk_u64  producer_role;             /* lock word (lock.h) */
	shk_u64  write_next;                /* positions below may be being written; never falls */
	uint32_t pushing;                   /* 1 while the holder of the producer's role pushes */
	uint8_t  reserved2[44];
	shk_u64  write_index;               /* positions below are committed */
	uint8_t  reserved3[56];
	/* consumer's line */
	shk_u64  consumer_role;             /* lock word */
	shk_u64  read_word;                 /* dropped:32 | read:32, counted from sharing's index */
	shk_u64  read_index;                /* of a single consumer, until it is shared */
	shk_u64  sharing;                   /* 0, 1: read_index counts; index:62 | 2: read_word */
	uint8_t  reserved4[96];
};

/*
 * Pool: words[capacity], then three levels of hint bitmaps, then the elements.
 *
 *	word   generation:36 | state:2 | incarnation:16 | owner:10
 */
struct shk_pool_shm {
	shk_u64  rescan_set;                /* counts repairs after which a hint may be missing */
	shk_u64  rescan_done;               /* rescan_set up to which all hints are there */
	uint8_t  reserved[48];
};

#define SHK_ASSERT_AT(type, field, at) \
	_Static_assert(offsetof(struct type, field) == (at), #type "." #field)
#define SHK_ASSERT_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)

SHK_ASSERT_SIZE(shk_header_shm, 256);
SHK_ASSERT_AT(shk_header_shm, features_incompat, 16);
SHK_ASSERT_AT(shk_header_shm, instance, 40);
SHK_ASSERT_AT(shk_header_shm, max_size, 64);
SHK_ASSERT_AT(shk_header_shm, max_entries, 96);
SHK_ASSERT_AT(shk_header_shm, created_ns, 120);
SHK_ASSERT_AT(shk_header_shm, size, 128);
SHK_ASSERT_AT(shk_header_shm, table_lock, 136);
SHK_ASSERT_AT(shk_header_shm, table_event, 144);
SHK_ASSERT_AT(shk_header_shm, recoveries, 152);
SHK_ASSERT_AT(shk_header_shm, label, 192);
SHK_ASSERT_SIZE(shk_entry_shm, 64);
SHK_ASSERT_AT(shk_entry_shm, element_size, 40);
SHK_ASSERT_AT(shk_entry_shm, schema_size, 56);
SHK_ASSERT_SIZE(shk_member_shm, 72);
SHK_ASSERT_AT(shk_member_shm, label, 40);
SHK_ASSERT_SIZE(shk_atomic_shm, 64);
SHK_ASSERT_AT(shk_atomic_shm, event, 8);
SHK_ASSERT_SIZE(shk_queue_shm, 384);
SHK_ASSERT_AT(shk_queue_shm, ready_event, 64);
SHK_ASSERT_AT(shk_queue_shm, tail, 128);
SHK_ASSERT_AT(shk_queue_shm, head, 256);
SHK_ASSERT_SIZE(shk_ring_shm, 384);
SHK_ASSERT_AT(shk_ring_shm, producer_role, 128);
SHK_ASSERT_AT(shk_ring_shm, pushing, 144);
SHK_ASSERT_AT(shk_ring_shm, write_index, 192);
SHK_ASSERT_AT(shk_ring_shm, consumer_role, 256);
SHK_ASSERT_AT(shk_ring_shm, read_word, 264);
SHK_ASSERT_AT(shk_ring_shm, sharing, 280);
SHK_ASSERT_SIZE(shk_pool_shm, 64);

/* ---- words with fields ------------------------------------------------------------------------ */

#define SHK_OWNER_MASK UINT64_C(1023)

static inline uint64_t shk_entry_word(uint64_t generation, unsigned state, unsigned owner)
{
	return generation << 13 | (uint64_t)state << 10 | owner;
}

static inline unsigned shk_entry_state(uint64_t word)
{
	return (unsigned)(word >> 10 & 7);
}

static inline unsigned shk_entry_owner(uint64_t word)
{
	return (unsigned)(word & SHK_OWNER_MASK);
}

static inline uint64_t shk_entry_generation(uint64_t word)
{
	return word >> 13;
}

#endif
