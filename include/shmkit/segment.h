/*
 * libshmkit: segments, the name table, members, and recovery.
 *
 * Conventions (results, timeouts, read-only, fork, threads): shmkit.h.
 */
#ifndef SHMKIT_SEGMENT_H
#define SHMKIT_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#include <shmkit/library.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct shmkit_segment - A handle on a segment: one shared-memory object with named structures.
 *
 * Opaque. One handle is one member; a process that opens a segment twice is two members.
 */
struct shmkit_segment;

/**
 * DOC: Segment names and sizes
 *
 * A segment's name is "my_system" or "/my_system", which are the same: not empty, no other slash,
 * not "." or "..", at most 255 bytes without the leading slash. Sizes are in bytes and rounded up
 * to a multiple of 4096. A segment is sparse: the memory of a structure is allocated when the
 * structure is created, which is -ENOSPC where there is none, and never a SIGBUS later. A size the
 * file system could not hold now is refused when the segment is created.
 */

/**
 * DOC: Segment flags
 *
 * Of options.flags and info.flags; those marked "also to open" and SHMKIT_READ_ONLY of the flags
 * of the open functions. Any other bit is -EINVAL.
 *
 * @SHMKIT_SEGMENT_PERSIST: It stays when its last member leaves. Without it the last to leave
 *	unlinks it, with all that is in it. (The name of one whose last member was killed stays
 *	until the next open, or until it is replaced.)
 * @SHMKIT_SEGMENT_HUGE_PAGES: Ask for huge pages; falls back to ordinary ones. Also to open.
 * @SHMKIT_SEGMENT_POPULATE: Allocate and fault in every page now, so that first touch costs
 *	nothing later. Also to open, where it allocates as far as there is memory.
 * @SHMKIT_SEGMENT_GROUP: options.group is set.
 * @SHMKIT_SEGMENT_GUARD: The library may install a SIGBUS handler, in place of the default action
 *	or in front of another handler, so that truncation of the file by others ends in -EBADMSG
 *	instead of a signal. Without it the library installs none. Also to open. Up to 64 segments
 *	of a process can be guarded.
 * @SHMKIT_SEGMENT_REPLACE_DEAD: To create and open_or_create: a segment without a live member is
 *	replaced, atomically, when it is damaged, or left over because its last member was killed;
 *	one with SHMKIT_SEGMENT_PERSIST only when it is damaged. Nothing else of that name is.
 * @SHMKIT_SEGMENT_UNLINKED: In info.flags only: the name is gone or names another segment, or
 *	there never was one.
 * @SHMKIT_READ_ONLY: To open: map it without write access and be no member.
 */
enum {
	SHMKIT_SEGMENT_PERSIST      = 1 << 0,
	SHMKIT_SEGMENT_HUGE_PAGES   = 1 << 1,
	SHMKIT_SEGMENT_POPULATE     = 1 << 2,
	SHMKIT_SEGMENT_GROUP        = 1 << 3,
	SHMKIT_SEGMENT_GUARD        = 1 << 4,
	SHMKIT_SEGMENT_REPLACE_DEAD = 1 << 5,
	SHMKIT_SEGMENT_UNLINKED     = 1 << 6,
	SHMKIT_READ_ONLY            = 1 << 16,
};

/**
 * DOC: Table sizes
 *
 * Of options.table: how many structures a segment can hold, and how long their names can be.
 *
 * @SHMKIT_TABLE_DEFAULT: 64 entries, names of up to 31 bytes, 128 members unless max_members is
 *	set.
 * @SHMKIT_TABLE_SMALL: 16 entries, names of up to 15 bytes, 32 members unless max_members is set;
 *	header, members and table together then fit one page of 4 KiB.
 * @SHMKIT_TABLE_LARGE: 256 entries, names of up to 63 bytes, 128 members unless max_members is set.
 * @SHMKIT_TABLE_CUSTOM: options.max_entries and options.name_size, 128 members unless max_members
 *	is set.
 */
enum {
	SHMKIT_TABLE_DEFAULT = 0,
	SHMKIT_TABLE_SMALL   = 1,
	SHMKIT_TABLE_LARGE   = 2,
	SHMKIT_TABLE_CUSTOM  = 3,
};

/**
 * struct shmkit_segment_options - What a new segment is to be like; all zero is the default.
 * @struct_size: sizeof(struct shmkit_segment_options).
 * @flags: SHMKIT_SEGMENT_* bits.
 * @table: SHMKIT_TABLE_*.
 * @max_entries: With SHMKIT_TABLE_CUSTOM: structures it can hold, 1 to 4096. Otherwise 0.
 * @name_size: With SHMKIT_TABLE_CUSTOM: bytes of a structure's name, its NUL included, 2 to 256.
 *	Otherwise 0.
 * @max_members: Segment handles attached at once, at most 1024; a process that opens twice counts
 *	twice, read-only openers do not count. 0: 32 for SHMKIT_TABLE_SMALL, otherwise 128.
 * @mode: Permission bits of the object, at most 0777, not subject to the umask. 0: 0600.
 * @group: Owning group id, with SHMKIT_SEGMENT_GROUP.
 * @max_size: Bytes that shmkit_segment_grow() can reach, rounded up to 4096. Every process that
 *	opens the segment maps so much address space. 0: the size.
 */
struct shmkit_segment_options {
	uint32_t struct_size;
	uint32_t flags;
	uint32_t table;
	uint32_t max_entries;
	uint32_t name_size;
	uint32_t max_members;
	uint32_t mode;
	uint32_t group;
	uint64_t max_size;
};

/**
 * shmkit_segment_create() - Create a segment that must not exist yet.
 * @name: Its name.
 * @size: Bytes, header, members and table included (shmkit_segment_footprint()).
 * @options: What it is to be like; NULL for defaults.
 * @ret_segment: The new handle, to be closed with shmkit_segment_close().
 *
 * The name appears when the segment is complete: there is no half-made segment for others to see.
 *
 * Context: Any thread; makes system calls.
 * Ordering: All of the segment's making happens before any open of it.
 * Crash: Before the name is there the caller's death leaves nothing; after it, a segment whose
 *        only member is dead, which the next open repairs.
 * Return: 0; -EEXIST the name is taken; -ENOSPC the file system could not hold the size; -EINVAL a
 *         bad name, size or option, or a size that does not hold the segment's own overhead;
 *         -E2BIG options this library does not know; -ENAMETOOLONG; -EFBIG larger than this
 *         process can map; -EACCES; -EPERM the group may not be given; -ENOMEM; -EMFILE; -ENFILE;
 *         -ENOSYS. With SHMKIT_SEGMENT_REPLACE_DEAD also, about what has the name: -EEXIST it is
 *         alive, or sound and persistent; -EPROTO not a segment, and left alone; -EPROTONOSUPPORT
 *         a newer format, and left alone; -EBUSY it is damaged and a process that is alive has it
 *         open, or a stopped process is in the middle of closing it.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_segment_create(const char *name, uint64_t size,
			  const struct shmkit_segment_options *options,
			  struct shmkit_segment **ret_segment);

/**
 * shmkit_segment_open() - Open a segment that exists.
 * @name: Its name.
 * @flags: 0, or SHMKIT_READ_ONLY, SHMKIT_SEGMENT_HUGE_PAGES, SHMKIT_SEGMENT_POPULATE,
 *	SHMKIT_SEGMENT_GUARD.
 * @ret_segment: The new handle, to be closed with shmkit_segment_close().
 *
 * The caller becomes a member, unless it opens read-only. Size and geometry are those of the
 * creator.
 *
 * Context: Any thread; makes system calls.
 * Ordering: Sees all that happened before the segment was created.
 * Crash: The caller's death leaves at most a dead member, which peers clean up after.
 * Return: 0; -ENOENT nothing has that name; -EACCES; -EPROTO not a segment, or damaged;
 *         -EPROTONOSUPPORT a newer, incompatible format; -EROFS this library may open it with
 *         SHMKIT_READ_ONLY only; -EUSERS the members are full and all alive; -EFBIG larger than
 *         this process can map; -EBUSY a stopped process is in the middle of closing it; -EINVAL;
 *         -ENAMETOOLONG; -ENOMEM; -EMFILE; -ENFILE. A program that clears away what it cannot open
 *         does so on -EPROTO alone.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_segment_open(const char *name, uint32_t flags, struct shmkit_segment **ret_segment);

/**
 * shmkit_segment_open_wait() - Open a segment, waiting until it exists.
 * @name: Its name.
 * @flags: As for shmkit_segment_open().
 * @timeout_ns: How long to wait for the name.
 * @ret_segment: The new handle, to be closed with shmkit_segment_close().
 *
 * Only a missing name is waited for; every other failure is returned at once. There is no handle
 * yet, so that shmkit_segment_interrupt() cannot end this wait; a signal handler can.
 *
 * Context: Any thread; may wait.
 * Ordering: As shmkit_segment_open().
 * Crash: As shmkit_segment_open().
 * Return: 0; -ETIMEDOUT nothing had that name in time; -EINTR; otherwise as shmkit_segment_open(),
 *         but never -ENOENT.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_segment_open_wait(const char *name, uint32_t flags, int64_t timeout_ns,
			     struct shmkit_segment **ret_segment);

/**
 * shmkit_segment_open_or_create() - Open a segment, or create it where it does not exist.
 * @name: Its name.
 * @size: Bytes, should it be created.
 * @options: What it is to be like, should it be created; NULL for defaults.
 * @ret_segment: The new handle, to be closed with shmkit_segment_close().
 *
 * Of any number of concurrent callers one creates and the others open. When the segment exists,
 * size and options say nothing about it, but must be valid.
 *
 * Context: Any thread; makes system calls.
 * Ordering: As shmkit_segment_create() or shmkit_segment_open().
 * Crash: As shmkit_segment_create() or shmkit_segment_open().
 * Return: 1 created; 0 opened; otherwise as shmkit_segment_create() and shmkit_segment_open(),
 *         but neither -EEXIST nor -ENOENT.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_segment_open_or_create(const char *name, uint64_t size,
				  const struct shmkit_segment_options *options,
				  struct shmkit_segment **ret_segment);

/**
 * shmkit_segment_create_anonymous() - Create a segment without a name.
 * @label: Text that tells people what it is, at most 63 bytes; it names nothing.
 * @size: Bytes, header, members and table included.
 * @options: What it is to be like; NULL for defaults. SHMKIT_SEGMENT_PERSIST and
 *	SHMKIT_SEGMENT_REPLACE_DEAD make no difference: there is no name.
 * @ret_segment: The new handle, to be closed with shmkit_segment_close().
 *
 * A memfd, sealed against shrinking, so that nobody can truncate it. It is passed on by its
 * descriptor, shmkit_segment_fd(), and lives as long as somebody has it mapped or open.
 *
 * Context: Any thread; makes system calls.
 * Crash: The caller's death leaves nothing, unless the descriptor was passed on.
 * Return: 0; -ENOSPC; -EINVAL; -E2BIG; -ENAMETOOLONG the label; -EFBIG; -EPERM the group may not be
 *         given; -ENOMEM; -EMFILE; -ENFILE; -ENOSYS the system has no memfd.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_segment_create_anonymous(const char *label, uint64_t size,
				    const struct shmkit_segment_options *options,
				    struct shmkit_segment **ret_segment);

/**
 * shmkit_segment_open_fd() - Open the segment behind a descriptor.
 * @fd: A descriptor of a segment, received or inherited; stays the caller's, who may close it
 *	after the call.
 * @flags: As for shmkit_segment_open().
 * @ret_segment: The new handle, to be closed with shmkit_segment_close().
 *
 * The library keeps a descriptor of its own. Write access needs permission to open the object
 * anew: options.mode decides, for a segment without a name too.
 *
 * Context: Any thread; makes system calls.
 * Ordering: As shmkit_segment_open().
 * Crash: As shmkit_segment_open().
 * Return: 0; -EINVAL fd is not an open descriptor, or flags; -EACCES the object's mode does not
 *         allow it; otherwise as shmkit_segment_open(), but neither -ENOENT nor -ENAMETOOLONG.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_NODISCARD
int shmkit_segment_open_fd(int fd, uint32_t flags, struct shmkit_segment **ret_segment);

/**
 * shmkit_segment_fd() - Tell the descriptor of a segment, to pass it on.
 * @segment: Open handle.
 *
 * Borrowed: it is the library's, close-on-exec, and must not be closed, locked or resized.
 *
 * Context: Any thread; does not wait.
 * Return: The descriptor, 0 or more; -EINVAL segment is NULL.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_fd(const struct shmkit_segment *segment);

/**
 * shmkit_segment_base() - Tell where a segment is mapped in this process.
 * @segment: Open handle.
 *
 * To register the memory with a device; the first info.size bytes are usable. The address differs
 * from process to process, and stays while the segment is mapped. Kernel I/O in flight into a slot
 * or an object is outside what the library can undo when the process dies.
 *
 * Context: Any thread; does not wait.
 * Return: The address of the segment's first byte; NULL when segment is NULL.
 * Since: 1.0
 */
SHMKIT_API const void *shmkit_segment_base(const struct shmkit_segment *segment);

/**
 * shmkit_segment_close() - Give up a segment handle.
 * @segment: Handle, or NULL. No other thread may be using it.
 *
 * The segment stays mapped and joined until the last structure and reader opened from the handle
 * is closed too. Then the member leaves; the last to leave a segment without
 * SHMKIT_SEGMENT_PERSIST unlinks its name.
 *
 * Context: One thread; makes system calls. A forked child that has not joined unlinks nothing and
 *          gives nothing back.
 * Ordering: Everything the member did happens before its id is free to be taken again.
 * Crash: The caller's death in it is as any death: peers finish. Should nobody else be a member,
 *        the name stays until the next open.
 * Since: 1.0
 */
SHMKIT_API void shmkit_segment_close(struct shmkit_segment *segment);

/**
 * shmkit_segment_unlink() - Remove the name of a segment.
 * @name: Its name.
 *
 * Attached processes go on with what they have; its memory goes when the last of them has left. A
 * new segment of that name has nothing to do with it.
 *
 * Context: Any thread; makes system calls.
 * Crash: The caller's death leaves the name there or gone.
 * Return: 0; -ENOENT nothing has that name; -EPROTO not a segment, and left alone; -EACCES; -EPERM
 *         it belongs to another user; -EBUSY a stopped process is in the middle of closing or
 *         unlinking it; -EINVAL; -ENAMETOOLONG; -ENOMEM; -EMFILE; -ENFILE.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_unlink(const char *name);

/**
 * shmkit_segment_grow() - Make a segment larger.
 * @segment: Open handle.
 * @size: Bytes it is to have, rounded up to 4096: at least what it has, at most options.max_size.
 *
 * Attached peers see the new space without mapping anything anew; no pointer changes.
 *
 * Context: Any thread; may wait for another that is creating or growing.
 * Ordering: The new size is stored after the space is there.
 * Crash: The caller's death leaves the old size or the new one.
 * Return: 0, also when it had that size; -ENOSPC above max_size, or, with
 *         SHMKIT_SEGMENT_POPULATE, the file system could not hold it; -EINVAL NULL, or less than
 *         it has; -EROFS; -EBUSY a stopped process holds the table; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_grow(struct shmkit_segment *segment, uint64_t size);

/**
 * shmkit_segment_interrupt() - End every wait of this process on a segment.
 * @segment: Open handle, read-only or not.
 *
 * Every wait in progress through this handle, or a structure or reader opened from it, returns
 * -ECANCELED now. Waits that begin later are not affected, nor those of other processes.
 *
 * Context: Any thread; does not wait. Not in a signal handler.
 * Ordering: What the caller did before happens before the interrupted waits return.
 * Return: 0; -EINVAL segment is NULL.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_interrupt(struct shmkit_segment *segment);

/**
 * shmkit_segment_footprint() - Tell what a segment takes for itself.
 * @options: What it would be like; NULL for defaults.
 * @ret_size: Bytes of header, members and table. Add shmkit_object_footprint() of each structure.
 *
 * Context: Any thread; does not wait.
 * Return: 0; -EINVAL; -E2BIG.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_footprint(const struct shmkit_segment_options *options,
					uint64_t *ret_size);

/**
 * struct shmkit_segment_info - A segment as it is now.
 * @struct_size: sizeof(struct shmkit_segment_info), set before the call.
 * @format_version: Of the layout in memory; independent of SHMKIT_VERSION.
 * @size: Bytes it has now.
 * @max_size: Bytes it can grow to.
 * @used: Bytes given to structures, header and table included.
 * @overhead: Bytes of header, members and table.
 * @entries: Structures in it.
 * @max_entries: Structures it can hold.
 * @members: Members alive now, by the kernel's word.
 * @max_members: Members it can have.
 * @name_size: Bytes of a structure's name, its NUL included.
 * @flags: SHMKIT_SEGMENT_PERSIST, HUGE_PAGES and POPULATE as it was created, and
 *	SHMKIT_SEGMENT_UNLINKED, which a segment without a name always has.
 * @recoveries: Dead members cleaned up after, since creation.
 * @reserved: 0.
 */
struct shmkit_segment_info {
	uint32_t struct_size;
	uint32_t format_version;
	uint64_t size, max_size;
	uint64_t used;
	uint64_t overhead;
	uint32_t entries, max_entries;
	uint32_t members, max_members;
	uint32_t name_size, flags;
	uint32_t recoveries;
	uint32_t reserved;
};

/**
 * shmkit_segment_get_info() - Tell the state of a segment.
 * @segment: Open handle, read-only or not.
 * @ret_info: Where to write it; struct_size is set.
 *
 * Context: Any thread; does not wait. Asks the kernel about each member.
 * Ordering: None: each number is a moment's view.
 * Return: 0; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_segment_get_info(struct shmkit_segment *segment, struct shmkit_segment_info *ret_info);

/* ---- the name table ------------------------------------------------------------------------- */

/**
 * DOC: Kinds of structures
 *
 * Of entry_info.kind and shmkit_object_footprint().
 *
 * @SHMKIT_KIND_ARRAY: An array, shmkit/array.h.
 * @SHMKIT_KIND_QUEUE: A queue, shmkit/queue.h.
 * @SHMKIT_KIND_RING: A ring, shmkit/ring.h.
 * @SHMKIT_KIND_POOL: A pool, shmkit/pool.h.
 * @SHMKIT_KIND_ATOMIC_U32: An atomic uint32_t, shmkit/atomic.h.
 * @SHMKIT_KIND_ATOMIC_I32: An atomic int32_t.
 * @SHMKIT_KIND_ATOMIC_U64: An atomic uint64_t.
 * @SHMKIT_KIND_ATOMIC_I64: An atomic int64_t.
 * @SHMKIT_KIND_ATOMIC_BOOL: An atomic truth value, a uint8_t of 0 or 1.
 * @SHMKIT_KIND_ATOMIC_F64: An atomic double.
 */
enum {
	SHMKIT_KIND_ARRAY       = 1,
	SHMKIT_KIND_QUEUE       = 2,
	SHMKIT_KIND_RING        = 3,
	SHMKIT_KIND_POOL        = 4,
	SHMKIT_KIND_ATOMIC_U32  = 16,
	SHMKIT_KIND_ATOMIC_I32  = 17,
	SHMKIT_KIND_ATOMIC_U64  = 18,
	SHMKIT_KIND_ATOMIC_I64  = 19,
	SHMKIT_KIND_ATOMIC_BOOL = 20,
	SHMKIT_KIND_ATOMIC_F64  = 21,
};

/**
 * struct shmkit_entry_info - A structure as it is now.
 * @struct_size: sizeof(struct shmkit_entry_info), set before the call.
 * @kind: SHMKIT_KIND_*.
 * @offset: Where it lies in the segment, bytes from its start.
 * @size: Bytes it takes, padding included.
 * @capacity: Elements it holds; 1 for an atomic.
 * @used: Elements in it now; for an array or an atomic, capacity.
 * @element_size: Bytes of an element.
 * @flags: As created.
 * @name: Its name.
 * @schema: The fields of an element, or "" when none was given.
 */
struct shmkit_entry_info {
	uint32_t struct_size;
	uint32_t kind;
	uint64_t offset, size;
	uint64_t capacity;
	uint64_t used;
	uint32_t element_size;
	uint32_t flags;
	char     name[256];
	char     schema[1024];
};

/**
 * shmkit_segment_find() - Look a structure up by name.
 * @segment: Open handle, read-only or not.
 * @name: 1 to name_size - 1 bytes.
 * @ret_entry: What it is, struct_size set; may be NULL, to ask only whether it is there.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation of the structure.
 * Return: 0; -ENOENT nothing has that name; -ENAMETOOLONG; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(3)
int shmkit_segment_find(struct shmkit_segment *segment, const char *name,
			struct shmkit_entry_info *ret_entry);

/**
 * shmkit_segment_next_entry() - Walk the structures of a segment.
 * @segment: Open handle, read-only or not.
 * @cursor: Where the walk is; 0 to begin, otherwise as the last call left it.
 * @ret_entry: The next structure, struct_size set.
 *
 * In no particular order. What is created or removed during the walk may be seen or not; nothing
 * is seen twice.
 *
 * Context: Any thread; does not wait.
 * Ordering: Acquire; pairs with the creation of the structure.
 * Return: 1 one more; 0 the end; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2) SHMKIT_IN_OUT(3)
int shmkit_segment_next_entry(struct shmkit_segment *segment, uint32_t *cursor,
			      struct shmkit_entry_info *ret_entry);

/**
 * shmkit_segment_wait_for() - Wait until a structure of that name exists.
 * @segment: Open handle, read-only or not.
 * @name: 1 to name_size - 1 bytes.
 * @timeout_ns: How long to wait for the name.
 *
 * Context: Any thread; may wait.
 * Ordering: Acquire; pairs with the creation of the structure.
 * Crash: A creator that dies before it has finished leaves no name; the wait goes on.
 * Return: 0; -ETIMEDOUT; -EINTR; -ECANCELED; -ENAMETOOLONG; -EINVAL; -ESTALE read-only, and the
 *         last member has left; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_wait_for(struct shmkit_segment *segment, const char *name,
				       int64_t timeout_ns);

/**
 * shmkit_segment_remove() - Remove a structure from a segment.
 * @segment: Open handle.
 * @name: 1 to name_size - 1 bytes.
 *
 * The name is free at once. Handles still open on the structure, in every process, get -ESTALE;
 * waits on it end with -ESTALE within 50 ms. Its space is used again once nobody can still touch
 * it: not before the last of those handles is closed or its process is dead.
 *
 * Context: Any thread; does not wait.
 * Ordering: What the caller did before happens before a handle answers -ESTALE.
 * Crash: The caller's death leaves the structure there, or removed; peers take the space back.
 * Return: 0; -ENOENT nothing has that name; -EROFS; -ENAMETOOLONG; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_remove(struct shmkit_segment *segment, const char *name);

/* ---- members: the processes attached -------------------------------------------------------- */

/**
 * struct shmkit_member_info - A process attached to a segment.
 * @struct_size: sizeof(struct shmkit_member_info), set before the call.
 * @id: 0 to max_members - 1; used again by others when it has left.
 * @pid: Its process id as its own PID namespace names it.
 * @alive: 1 alive; 0 dead and not yet cleaned up after.
 * @attached_ns: When it joined, nanoseconds on CLOCK_REALTIME.
 * @heartbeat_ns: When it last called shmkit_segment_heartbeat(), nanoseconds on CLOCK_REALTIME;
 *	0 never.
 * @heartbeat_age_ns: Nanoseconds since then, by a clock that does not jump; UINT64_MAX never.
 * @label: The program's name, unless it has set another.
 *
 * All but id and alive is what the member says of itself.
 */
struct shmkit_member_info {
	uint32_t struct_size;
	uint32_t id;
	int32_t  pid;
	uint32_t alive;
	uint64_t attached_ns;
	uint64_t heartbeat_ns;
	uint64_t heartbeat_age_ns;
	char     label[32];
};

/**
 * shmkit_segment_next_member() - Walk the members of a segment.
 * @segment: Open handle, read-only or not.
 * @cursor: Where the walk is; 0 to begin, otherwise as the last call left it.
 * @ret_member: The next member, struct_size set.
 *
 * In the order of their ids, the caller included. Who joins or leaves during the walk may be seen
 * or not. Whether a member is alive is asked of the kernel at that moment.
 *
 * Context: Any thread; does not wait.
 * Ordering: None: a moment's view.
 * Return: 1 one more; 0 the end; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2) SHMKIT_IN_OUT(3)
int shmkit_segment_next_member(struct shmkit_segment *segment, uint32_t *cursor,
			       struct shmkit_member_info *ret_member);

/**
 * shmkit_segment_member_id() - Tell the caller's own member id.
 * @segment: Open handle.
 *
 * In a forked child: the child's own, which is another than its parent's.
 *
 * Context: Any thread; does not wait.
 * Return: 0 to max_members - 1; -EROFS a read-only opener is no member; -EINVAL; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_member_id(const struct shmkit_segment *segment);

/**
 * shmkit_segment_set_label() - Set the text by which others know this member.
 * @segment: Open handle.
 * @label: At most 31 bytes.
 *
 * A reader may meet it half written, but always terminated.
 *
 * Context: Any thread; does not wait.
 * Crash: The caller's death leaves the old label, the new one, or a mixture.
 * Return: 0; -ENAMETOOLONG; -EROFS; -EINVAL; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_set_label(struct shmkit_segment *segment, const char *label);

/**
 * shmkit_segment_heartbeat() - Record that this member is doing its work.
 * @segment: Open handle.
 *
 * For others to see in member_info. The library draws no conclusion from it: who is dead it knows
 * from the kernel.
 *
 * Context: Any thread; does not wait.
 * Ordering: None.
 * Return: 0; -EROFS; -EINVAL; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_heartbeat(struct shmkit_segment *segment);

/* ---- recovery ------------------------------------------------------------------------------- */

/**
 * DOC: Recovery
 *
 * Peers repair what a dead member left as they meet it: a call that is blocked looks for the dead
 * at least every 50 ms, a call that finds a structure empty or full looks now and then, and so do
 * attaching and closing. No program needs to call the functions below; they do it at once, or only
 * look.
 */

/**
 * struct shmkit_recovery - What one recovery has done.
 * @struct_size: sizeof(struct shmkit_recovery), set before the call.
 * @members: Dead members cleaned up after.
 * @discarded: Elements whose producer died before it had finished them.
 * @redelivered: Elements given back because their consumer died before it had acked them.
 * @rolled_back: Half-made table entries undone.
 */
struct shmkit_recovery {
	uint32_t struct_size;
	uint32_t members;
	uint64_t discarded;
	uint64_t redelivered;
	uint64_t rolled_back;
};

/**
 * shmkit_segment_recover() - Clean up after every dead member now.
 * @segment: Open handle.
 * @ret_report: What this call has done, struct_size set; may be NULL.
 *
 * What others repair meanwhile is in their count, not in this one.
 *
 * Context: Any thread; does not wait.
 * Ordering: All that a dead member had committed is visible after it.
 * Crash: The caller's death in the middle is harmless: another pass finishes.
 * Return: 0, also when nobody was dead; -EROFS; -EINVAL; -EBADMSG; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API SHMKIT_IN_OUT(2)
int shmkit_segment_recover(struct shmkit_segment *segment, struct shmkit_recovery *ret_report);

/**
 * shmkit_segment_check() - Look whether a segment is sound; change nothing.
 * @segment: Open handle, read-only or not.
 *
 * Examines header, table, members and every structure. Others may go on working meanwhile.
 *
 * Context: Any thread; does not wait. Reads all of the library's own bytes in the segment.
 * Return: 0 sound; -EBADMSG damaged, shmkit_last_error() says where; -ENOMEM; -EINVAL; -ECHILD.
 * Since: 1.0
 */
SHMKIT_API int shmkit_segment_check(struct shmkit_segment *segment);

#ifdef __cplusplus
}
#endif
#endif
