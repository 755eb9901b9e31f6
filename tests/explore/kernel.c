/*
 * The simulated kernel's files: what src/sys.h has of names, contents, mappings and locks, for the
 * processes of the explorer. Each call is atomic, and a place where others may run.
 */
#include "sim.h"

#include "layout.h"
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void (*sim_on_name)(const struct sim_file *file);
uint8_t sim_memory[SIM_FILES + 1][SIM_FILE_SIZE] __attribute__((aligned(4096)));

/* ---- descriptions and files ---- */

static unsigned channel(unsigned file, unsigned byte)
{
	return file * (SIM_BYTES + 1) + byte;
}

static unsigned file_channel(unsigned file)
{
	return channel(file, SIM_BYTES);
}

static unsigned index_of(const struct sim_file *file)
{
	return (unsigned)(file - sim_world.files);
}

/*
 * What Linux reads without a lock of its own: a file's size and the number of its names, in fstat(),
 * and whether anybody has locked a byte of it, in F_OFD_GETLK (posix_test_lock()). It is written
 * under a lock.
 */
enum word { SIZE, NAMES, LOCKS, WORDS };

static uint64_t *word_of(const struct sim_file *file, enum word word)
{
	return (uint64_t *)(void *)sim_memory[SIM_FILES] + index_of(file) * WORDS + word;
}

static uint64_t becomes(uint64_t old, uint64_t new)
{
	(void)old;
	return new;
}

static void write_word(const struct sim_file *file, enum word word, uint64_t value)
{
	uint64_t old;

	if (sim_weak)
		sim_model_swap(word_of(file, word), 8, NULL, becomes, value, __ATOMIC_RELAXED, __ATOMIC_RELAXED,
			       &old);
	else
		*word_of(file, word) = value;
}

static uint64_t read_word(const struct sim_file *file, enum word word)
{
	return sim_weak ? sim_model_load(word_of(file, word), 8, __ATOMIC_RELAXED) : *word_of(file, word);
}

void sim_kernel_begin(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++) {
		*word_of(&sim_world.files[i], SIZE) = sim_world.files[i].size;
		*word_of(&sim_world.files[i], NAMES) = sim_world.files[i].linked;
		*word_of(&sim_world.files[i], LOCKS) = sim_world.files[i].locks;
	}
}

static void set_size(struct sim_file *file, uint64_t size)
{
	file->size = size;
	write_word(file, SIZE, size);
}

static void count_locks(struct sim_file *file)
{
	unsigned locks = 0;

	for (unsigned i = 0; i < file->byte_count; i++)
		locks += (unsigned)__builtin_popcountll(file->bytes[i].readers) + (file->bytes[i].writer >= 0);
	if (locks == file->locks)
		return;
	file->locks = (uint16_t)locks;
	write_word(file, LOCKS, locks);
}

static int new_file(void)
{
	for (unsigned i = 0; i < SIM_FILES; i++) {
		struct sim_file *file = &sim_world.files[i];

		if (file->references || file->linked)
			continue;
		memset(sim_memory[i], 0, file->size);   /* what its predecessor left */
		if (sim_weak)
			sim_model_forget(sim_memory[i], file->size);
		*file = (struct sim_file){ .linked = false, .serial = ++sim_world.last_serial };
		write_word(file, SIZE, 0);
		write_word(file, NAMES, 0);
		return (int)i;
	}
	sim_fail("more than %d files", SIM_FILES);
	return -ENOSPC;
}

static int new_description(int file, bool writable)
{
	for (int i = 0; i < SIM_DESCRIPTIONS; i++) {
		if (sim_world.descriptions[i].references)
			continue;
		sim_world.descriptions[i].references = 1;
		sim_world.descriptions[i].file = (int8_t)file;
		sim_world.descriptions[i].writable = writable;
		sim_world.files[file].references++;
		return i;
	}
	sim_fail("more than %d open file descriptions", SIM_DESCRIPTIONS);
	return -ENFILE;
}

/* Who holds it no longer tells the next what he did: the caller, or all threads of the dead. */
static void tell(unsigned told, struct sim_process *dead)
{
	if (!sim_weak)
		return;
	if (!dead) {
		sim_model_release(told);
		return;
	}
	for (unsigned i = 1; i < SIM_THREADS; i++)
		if (sim_threads[i].state != SIM_UNUSED &&
		    &sim_world.processes[sim_threads[i].process] == dead)
			sim_model_dead(&sim_threads[i], told);
}

void sim_put_description(int number, struct sim_process *dead)
{
	struct sim_file *file = &sim_world.files[sim_world.descriptions[number].file];

	if (--sim_world.descriptions[number].references)
		return;
	for (unsigned i = 0; i < file->byte_count; i++) {
		if (file->bytes[i].writer != number && !(file->bytes[i].readers >> number & 1))
			continue;
		if (file->bytes[i].writer == number)
			file->bytes[i].writer = -1;
		file->bytes[i].readers &= ~(UINT64_C(1) << number);
		tell(channel(index_of(file), i), dead);
	}
	count_locks(file);
	file->references--;
}

static int new_fd(int description)
{
	struct sim_process *process = sim_process();

	if (description < 0)
		return description;
	for (int fd = 0; fd < SIM_FDS; fd++)
		if (process->fds[fd] < 0) {
			process->fds[fd] = (int8_t)description;
			return fd;
		}
	sim_put_description(description, NULL);
	return -EMFILE;
}

static int description_of(int fd)
{
	return fd < 0 || fd >= SIM_FDS ? -1 : sim_process()->fds[fd];
}

static struct sim_file *file_of(int fd)
{
	int description = description_of(fd);

	return description < 0 ? NULL : &sim_world.files[sim_world.descriptions[description].file];
}

static void set_linked(struct sim_file *file, bool linked)
{
	file->linked = linked;
	write_word(file, NAMES, linked);
	if (sim_on_name)
		sim_on_name(file);
}

static struct sim_file *named(const char *name)
{
	for (unsigned i = 0; i < SIM_FILES; i++)
		if (sim_world.files[i].linked && strcmp(sim_world.files[i].name, name) == 0)
			return &sim_world.files[i];
	return NULL;
}

/* ---- names ---- */

int shk_open_name(const char *name, bool writable)
{
	struct sim_file *file;

	sim_yield();
	file = named(name);
	if (!file)
		return -ENOENT;
	sim_model_acquire(file_channel(index_of(file)));
	return new_fd(new_description((int)index_of(file), writable));
}

int shk_open_unnamed(void)
{
	int file;

	sim_yield();
	file = new_file();
	return file < 0 ? file : new_fd(new_description(file, true));
}

int shk_open_temporary(char name[64])
{
	name[0] = '\0';
	return -ENOSYS;                     /* O_TMPFILE works here */
}

int shk_open_memfd(const char *label)
{
	(void)label;
	return shk_open_unnamed();
}

int shk_reopen(int fd, const char *name, dev_t device, ino_t inode, bool writable)
{
	struct sim_file *file;

	(void)name;
	(void)device;
	(void)inode;
	sim_yield();
	file = file_of(fd);
	if (!file)
		return -EBADF;
	return new_fd(new_description((int)index_of(file), writable));
}

void shk_close(int fd)
{
	if (description_of(fd) < 0)
		return;
	sim_yield();
	sim_put_description(sim_process()->fds[fd], NULL);
	sim_process()->fds[fd] = -1;
}

int shk_link_unnamed(int fd, const char *name)
{
	struct sim_file *file;

	sim_yield();
	file = file_of(fd);
	if (named(name))
		return -EEXIST;
	snprintf(file->name, sizeof(file->name), "%s", name);
	set_linked(file, true);
	sim_model_release(file_channel(index_of(file)));
	return 0;
}

int shk_link(const char *from, const char *to)
{
	(void)from;
	(void)to;
	return -ENOENT;                     /* for temporary names alone */
}

int shk_rename(const char *from, const char *to)
{
	struct sim_file *file, *replaced;

	sim_yield();
	file = named(from);
	replaced = named(to);
	if (!file)
		return -ENOENT;
	if (replaced)
		set_linked(replaced, false);
	snprintf(file->name, sizeof(file->name), "%s", to);
	set_linked(file, true);
	sim_model_release(file_channel(index_of(file)));
	return 0;
}

int shk_unlink(const char *name)
{
	struct sim_file *file;

	sim_yield();
	file = named(name);
	if (!file)
		return -ENOENT;
	set_linked(file, false);
	return 0;
}

static void fill_stat(const struct sim_file *file, struct stat *ret_stat)
{
	*ret_stat = (struct stat){ .st_dev = 1, .st_ino = 100 + index_of(file), .st_nlink = read_word(file, NAMES),
				   .st_size = (off_t)read_word(file, SIZE), .st_mode = S_IFREG | 0600 };
}

int shk_stat_name(const char *name, struct stat *ret_stat)
{
	struct sim_file *file;

	sim_yield();
	file = named(name);
	if (!file)
		return -ENOENT;
	fill_stat(file, ret_stat);
	return 0;
}

int shk_stat(int fd, struct stat *ret_stat)
{
	struct sim_file *file;

	sim_yield();
	file = file_of(fd);
	if (!file)
		return -EBADF;
	fill_stat(file, ret_stat);
	return 0;
}

/* ---- contents ---- */

int shk_resize(int fd, uint64_t size)
{
	struct sim_file *file;

	sim_yield();
	file = file_of(fd);
	if (size > SIM_FILE_SIZE)
		return -EFBIG;
	set_size(file, size);
	return 0;
}

int shk_allocate(int fd, uint64_t offset, uint64_t size)
{
	struct sim_file *file;

	sim_yield();
	file = file_of(fd);
	if (offset + size > file->size)
		set_size(file, offset + size);
	return 0;
}

int shk_punch(int fd, uint64_t offset, uint64_t size)
{
	uint8_t *from;

	sim_yield();
	from = &sim_memory[index_of(file_of(fd))][offset];
	if (sim_weak && sim_current)
		sim_model_punch(from, size);
	memset(from, 0, size);
	return 0;
}

int shk_available(int fd, uint64_t *ret_bytes)
{
	(void)fd;
	*ret_bytes = UINT64_MAX;
	return 0;
}

int shk_set_mode(int fd, mode_t mode)
{
	(void)mode;
	return file_of(fd) ? 0 : -EBADF;
}

int shk_set_group(int fd, gid_t group)
{
	(void)group;
	return file_of(fd) ? 0 : -EBADF;
}

int shk_seal(int fd, bool growing)
{
	(void)growing;
	return file_of(fd) ? 0 : -EBADF;
}

int shk_pread(int fd, void *to, size_t size, uint64_t offset)
{
	struct sim_file *file;

	sim_yield();
	file = file_of(fd);
	if (!file)
		return -EBADF;
	if (offset + size > file->size)
		return -EPROTO;
	memcpy(to, &sim_memory[index_of(file)][offset], size);
	if (sim_weak)
		sim_model_copy(to, &sim_memory[index_of(file)][offset], size);
	return 0;
}

/* ---- mappings ---- */

static int map(int fd, bool pin, void **ret_base)
{
	struct sim_process *process = sim_process();
	int description;

	sim_yield();
	description = description_of(fd);
	if (description < 0)
		return -EBADF;
	for (unsigned m = 0; m < SIM_MAPPINGS; m++) {
		if (process->mappings[m].description >= 0)
			continue;
		sim_world.descriptions[description].references++;
		process->mappings[m].description = (int8_t)description;
		process->mappings[m].pin = pin;
		process->mappings[m].base = pin ? (void *)&process->mappings[m]
						: sim_memory[sim_world.descriptions[description].file];
		*ret_base = process->mappings[m].base;
		return 0;
	}
	return -ENOMEM;
}

int shk_map(int fd, uint64_t size, bool writable, void **ret_base)
{
	(void)size;
	(void)writable;
	return map(fd, false, ret_base);
}

void shk_unmap(void *base, uint64_t size)
{
	struct sim_process *process = sim_process();

	(void)size;
	sim_yield();
	for (unsigned m = 0; m < SIM_MAPPINGS; m++) {
		if (process->mappings[m].description < 0 || process->mappings[m].base != base)
			continue;
		sim_put_description(process->mappings[m].description, NULL);
		process->mappings[m].description = -1;
		return;
	}
	sim_fail("unmapped what is not mapped");
}

int shk_pin(int fd, void **ret_page)
{
	return map(fd, true, ret_page);
}

void shk_unpin(void *page)
{
	if (page)
		shk_unmap(page, 0);
}

void shk_use_huge_pages(void *base, uint64_t size)
{
	(void)base;
	(void)size;
}

void shk_populate(void *base, uint64_t size, bool writable)
{
	(void)base;
	(void)size;
	(void)writable;
}

int32_t shk_pid(void)
{
	return sim_process()->pid;
}

/* ---- locks ---- */

static int byte_of(struct sim_file *file, uint64_t byte)
{
	for (unsigned i = 0; i < file->byte_count; i++)
		if (file->bytes[i].byte == byte)
			return (int)i;
	if (file->byte_count == SIM_BYTES) {
		sim_fail("more than %d bytes locked", SIM_BYTES);
		return 0;
	}
	file->bytes[file->byte_count].byte = byte;
	file->bytes[file->byte_count].readers = 0;
	file->bytes[file->byte_count].writer = -1;
	return file->byte_count++;
}

/* A spin lock of the kernel's orders all that look at a byte, whatever they find; see LOCKS. */
static void order_at_byte(const struct sim_file *file, unsigned at)
{
	sim_model_acquire(channel(index_of(file), at));
	sim_model_release(channel(index_of(file), at));
}

static int take_lock(int fd, uint64_t byte, bool writes)
{
	struct sim_file *file;
	int at, mine;

	sim_yield();
	file = file_of(fd);
	mine = description_of(fd);
	if (!file)
		return -EBADF;
	at = byte_of(file, byte);
	order_at_byte(file, (unsigned)at);
	if ((file->bytes[at].writer >= 0 && file->bytes[at].writer != mine) ||
	    (writes && (file->bytes[at].readers & ~(UINT64_C(1) << mine))))
		return -EAGAIN;
	file->bytes[at].readers &= ~(UINT64_C(1) << mine);
	file->bytes[at].writer = writes ? (int16_t)mine : -1;
	if (!writes)
		file->bytes[at].readers |= UINT64_C(1) << mine;
	count_locks(file);
	return 0;
}

int shk_lock_write(int fd, uint64_t byte)
{
	return take_lock(fd, byte, true);
}

int shk_lock_read(int fd, uint64_t byte)
{
	return take_lock(fd, byte, false);
}

int shk_lock_drop(int fd, uint64_t byte)
{
	struct sim_file *file;
	int at, mine;

	sim_yield();
	file = file_of(fd);
	mine = description_of(fd);
	if (!file)
		return -EBADF;
	at = byte_of(file, byte);
	if (file->bytes[at].writer == mine)
		file->bytes[at].writer = -1;
	file->bytes[at].readers &= ~(UINT64_C(1) << mine);
	count_locks(file);
	sim_model_release(channel(index_of(file), (unsigned)at));
	return 0;
}

static int probe(int fd, uint64_t byte, uint64_t count, bool any)
{
	struct sim_file *file;
	uint64_t mine;

	sim_yield();
	file = file_of(fd);
	if (!file)
		return -EBADF;
	mine = UINT64_C(1) << description_of(fd);
	if (read_word(file, LOCKS) == 0)
		return 0;
	for (unsigned i = 0; i < file->byte_count; i++) {
		if (file->bytes[i].byte - byte >= count)
			continue;
		order_at_byte(file, i);
		if ((file->bytes[i].writer >= 0 && file->bytes[i].writer != description_of(fd)) ||
		    (any && (file->bytes[i].readers & ~mine)))
			return 1;
	}
	return 0;
}

int shk_probe_write(int fd, uint64_t byte, uint64_t count)
{
	return probe(fd, byte, count, false);
}

int shk_probe_any(int fd, uint64_t byte, uint64_t count)
{
	return probe(fd, byte, count, true);
}
