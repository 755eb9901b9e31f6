#include "sample.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *grow(void *list, size_t count, size_t size)
{
	/* to the next power of two */
	if ((count & (count - 1)) == 0) {
		list = reallocarray(list, count ? 2 * count : 1, size);
		if (!list)
			abort();
	}
	return list;
}

static void count_queue(struct shmkit_segment *segment, struct sample_entry *entry)
{
	struct shmkit_queue_stats stats = { .struct_size = sizeof(stats) };
	struct shmkit_queue *queue;

	if (shmkit_queue_open(segment, entry->info.name, 0, &queue) != 0)
		return;
	entry->counts = shmkit_queue_get_stats(queue, &stats) == 0;
	shmkit_queue_close(queue);
	entry->in = stats.enqueued;
	entry->out = stats.dequeued;
	entry->lost = stats.discarded;
	entry->redelivered = stats.redelivered;
}

static void count_ring(struct shmkit_segment *segment, struct sample_entry *entry)
{
	struct shmkit_ring *ring;
	uint64_t held;

	if (shmkit_ring_open(segment, entry->info.name, 0, &ring) != 0)
		return;
	/* in this order: what is popped is never more than it was */
	held = shmkit_ring_size(ring);
	entry->lost = shmkit_ring_total_dropped(ring);
	entry->in = shmkit_ring_total_pushed(ring);
	entry->out = entry->in > entry->lost + held ? entry->in - entry->lost - held : 0;
	entry->counts = true;
	shmkit_ring_close(ring);
}

static int by_name(const void *one, const void *other)
{
	return strcmp(((const struct sample_entry *)one)->info.name, ((const struct sample_entry *)other)->info.name);
}

static int take_entries(struct shmkit_segment *segment, struct sample *sample)
{
	struct shmkit_entry_info info = { .struct_size = sizeof(info) };
	uint32_t cursor = 0;
	int result;

	while ((result = shmkit_segment_next_entry(segment, &cursor, &info)) == 1) {
		struct sample_entry *entry;

		sample->entries = grow(sample->entries, sample->entry_count, sizeof(*sample->entries));
		entry = &sample->entries[sample->entry_count++];
		*entry = (struct sample_entry){ .info = info };
		if (info.kind == SHMKIT_KIND_QUEUE)
			count_queue(segment, entry);
		else if (info.kind == SHMKIT_KIND_RING)
			count_ring(segment, entry);
	}
	if (sample->entry_count)
		qsort(sample->entries, sample->entry_count, sizeof(*sample->entries), by_name);
	return result;
}

static int take_members(struct shmkit_segment *segment, struct sample *sample)
{
	struct shmkit_member_info member = { .struct_size = sizeof(member) };
	uint32_t cursor = 0;
	int result;

	while ((result = shmkit_segment_next_member(segment, &cursor, &member)) == 1) {
		sample->members = grow(sample->members, sample->member_count, sizeof(*sample->members));
		sample->members[sample->member_count++] = member;
		*(member.alive ? &sample->alive : &sample->dead) += 1;
	}
	return result;
}

struct sample *sample_take(const char *name)
{
	struct shmkit_segment_info info = { .struct_size = sizeof(info) };
	struct sample *sample = calloc(1, sizeof(*sample));
	struct shmkit_segment *segment;

	if (!sample)
		abort();
	snprintf(sample->name, sizeof(sample->name), "%s", name + (*name == '/'));
	sample->error = shmkit_segment_open(name, SHMKIT_READ_ONLY | SHMKIT_SEGMENT_GUARD, &segment);
	if (sample->error)
		return sample;
	sample->when_ns = cli_now_ns();
	sample->error = shmkit_segment_get_info(segment, &info);
	sample->info = info;
	if (sample->error == 0)
		sample->error = take_members(segment, sample);
	if (sample->error == 0)
		sample->error = take_entries(segment, sample);
	shmkit_segment_close(segment);
	return sample;
}

void sample_free(struct sample *sample)
{
	if (!sample)
		return;
	free(sample->entries);
	free(sample->members);
	free(sample);
}

const struct sample_entry *sample_find(const struct sample *earlier, const struct sample_entry *entry)
{
	const struct sample_entry *found;

	if (!earlier || !earlier->entry_count)
		return NULL;
	found = bsearch(entry, earlier->entries, earlier->entry_count, sizeof(*earlier->entries), by_name);
	return found && found->info.kind == entry->info.kind && found->info.offset == entry->info.offset ? found : NULL;
}

double sample_rate(const struct sample *now, const struct sample *earlier, uint64_t value, uint64_t before)
{
	if (!earlier || now->when_ns <= earlier->when_ns || value < before)
		return 0;
	return (double)(value - before) * 1e9 / (double)(now->when_ns - earlier->when_ns);
}

struct sample_rates sample_entry_rates(const struct sample *now, const struct sample *earlier,
				       const struct sample_entry *entry)
{
	const struct sample_entry *before = sample_find(earlier, entry);

	if (!entry->counts || !before)
		return (struct sample_rates){ 0, 0, 0, 0 };
	return (struct sample_rates){
		sample_rate(now, earlier, entry->in, before->in),
		sample_rate(now, earlier, entry->out, before->out),
		sample_rate(now, earlier, entry->lost, before->lost),
		sample_rate(now, earlier, entry->redelivered, before->redelivered),
	};
}

struct sample_rates sample_rates(const struct sample *now, const struct sample *earlier)
{
	struct sample_rates sum = { 0, 0, 0, 0 };

	for (size_t i = 0; i < now->entry_count; i++) {
		struct sample_rates one = sample_entry_rates(now, earlier, &now->entries[i]);

		sum.in += one.in;
		sum.out += one.out;
		sum.lost += one.lost;
		sum.redelivered += one.redelivered;
	}
	return sum;
}

const char *sample_state(const struct sample *sample)
{
	switch (-sample->error) {
	case 0:
		return sample->alive ? "in use" : sample->info.flags & SHMKIT_SEGMENT_PERSIST ? "kept" : "left over";
	case EACCES:
		return "no access";
	case EPROTONOSUPPORT:
		return "newer format";
	case EPROTO:
	case EBADMSG:
		return "damaged";
	case ENOENT:
		return "gone";
	default:
		return strerror(-sample->error);
	}
}
