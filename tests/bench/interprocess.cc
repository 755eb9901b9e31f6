// Boost.Interprocess: its message_queue, which has names and a mutex; and its names in shared memory.
#include "loops.h"

#include <boost/interprocess/ipc/message_queue.hpp>

#include <boost/interprocess/managed_shared_memory.hpp>

#include <cstdlib>
#include <exception>
#include <iostream>
#include <new>

namespace {

using boost::interprocess::message_queue;

message_queue *&own(struct bench_link *link)
{
	return *reinterpret_cast<message_queue **>(link->own);
}

bool prepare(struct bench_link *link)
{
	try {
		message_queue made(boost::interprocess::create_only, link->name, link->what->capacity,
				   link->what->element_size);
	} catch (const std::exception &error) {
		std::cerr << "bench: message_queue: " << error.what() << '\n';
		return false;
	}
	return true;
}

bool attach(struct bench_link *link)
{
	own(link) = new message_queue(boost::interprocess::open_only, link->name);
	return true;
}

void detach(struct bench_link *link)
{
	delete own(link);
}

void finish(struct bench_link *link)
{
	message_queue::remove(link->name);
}

inline std::size_t mq_push(struct bench_link *link, const void *elements, std::size_t n, std::size_t size)
{
	std::size_t done = 0;

	while (done < n &&
	       own(link)->try_send(static_cast<const unsigned char *>(elements) + done * size, size, 0))
		done++;
	return done;
}

inline std::size_t mq_pop(struct bench_link *link, void *elements, std::size_t n, std::size_t size)
{
	message_queue::size_type got;
	unsigned priority;
	std::size_t done = 0;

	while (done < n && own(link)->try_receive(static_cast<unsigned char *>(elements) + done * size, size, got,
						  priority))
		done++;
	return done;
}

#define push mq_push
#define pop mq_pop
BENCH_LOOPS(mq_loop)
#undef push
#undef pop

// ---- names ----

using boost::interprocess::managed_shared_memory;

struct directory {
	managed_shared_memory *memory;
	bench_name *names;
};

directory &names(struct bench_link *link)
{
	return *reinterpret_cast<directory *>(link->own);
}

bool prepare_names(struct bench_link *link)
{
	bench_name *all = bench_names(link->what->capacity);

	try {
		managed_shared_memory made(boost::interprocess::create_only, link->name, 4 << 20);

		for (std::uint64_t i = 0; i < link->what->capacity; i++)
			made.construct<std::uint64_t>(all[i])(i);
	} catch (const std::exception &error) {
		std::cerr << "bench: managed_shared_memory: " << error.what() << '\n';
		std::free(all);
		return false;
	}
	std::free(all);
	return true;
}

bool attach_names(struct bench_link *link)
{
	names(link) = directory{new managed_shared_memory(boost::interprocess::open_only, link->name),
				bench_names(link->what->capacity)};
	return true;
}

void detach_names(struct bench_link *link)
{
	delete names(link).memory;
	std::free(names(link).names);
}

void finish_names(struct bench_link *link)
{
	boost::interprocess::shared_memory_object::remove(link->name);
}

void find_names(struct bench_link *links, std::uint64_t count)
{
	std::uint64_t size = links->what->capacity;
	directory own = names(links);

	for (std::uint64_t done = 0; done < count; done++) {
		auto found = own.memory->find<std::uint64_t>(own.names[done * 37 % size]);

		bench_keep(found.first);
	}
}

bench_loop find_loop(const struct bench_case *what, enum bench_role)
{
	return std::strncmp(what->id, "open", 4) == 0 ? find_names : nullptr;
}

} // namespace

extern "C" const struct bench_subject bench_subjects_interprocess[] = {
	{"boost_mq", prepare, attach, detach, finish, mq_loop},
	{"boost_find", prepare_names, attach_names, detach_names, finish_names, find_loop},
	{nullptr, nullptr, nullptr, nullptr, nullptr, nullptr},
};
