// boost::lockfree, its structures laid into shared memory with all their elements.
#include "loops.h"

#include <boost/lockfree/queue.hpp>
#include <boost/lockfree/spsc_queue.hpp>

#include <new>

namespace {

template <std::size_t Size> struct element {
	std::uint64_t words[Size / 8];
};

constexpr std::size_t capacity = 1024;

template <std::size_t Size>
using ring = boost::lockfree::spsc_queue<element<Size>, boost::lockfree::capacity<capacity>>;
template <std::size_t Size>
using queue = boost::lockfree::queue<element<Size>, boost::lockfree::fixed_sized<true>,
				     boost::lockfree::capacity<capacity>>;

template <template <std::size_t> class Of> bool prepare(struct bench_link *link)
{
	if (link->what->capacity != capacity)
		return false;
	if (link->what->element_size == 8)
		new (link->memory) Of<8>();
	else
		new (link->memory) Of<64>();
	return true;
}

inline std::size_t ring_push(struct bench_link *link, const void *elements, std::size_t n, std::size_t size)
{
	if (size == 8)
		return static_cast<ring<8> *>(link->memory)->push(static_cast<const element<8> *>(elements), n);
	return static_cast<ring<64> *>(link->memory)->push(static_cast<const element<64> *>(elements), n);
}

inline std::size_t ring_pop(struct bench_link *link, void *elements, std::size_t n, std::size_t size)
{
	if (size == 8)
		return static_cast<ring<8> *>(link->memory)->pop(static_cast<element<8> *>(elements), n);
	return static_cast<ring<64> *>(link->memory)->pop(static_cast<element<64> *>(elements), n);
}

template <std::size_t Size>
inline std::size_t queue_push_of(void *memory, const element<Size> *elements, std::size_t n)
{
	std::size_t done = 0;

	while (done < n && static_cast<queue<Size> *>(memory)->bounded_push(elements[done]))
		done++;
	return done;
}

template <std::size_t Size> inline std::size_t queue_pop_of(void *memory, element<Size> *elements, std::size_t n)
{
	std::size_t done = 0;

	while (done < n && static_cast<queue<Size> *>(memory)->pop(elements[done]))
		done++;
	return done;
}

inline std::size_t queue_push(struct bench_link *link, const void *elements, std::size_t n, std::size_t size)
{
	return size == 8 ? queue_push_of(link->memory, static_cast<const element<8> *>(elements), n)
			 : queue_push_of(link->memory, static_cast<const element<64> *>(elements), n);
}

inline std::size_t queue_pop(struct bench_link *link, void *elements, std::size_t n, std::size_t size)
{
	return size == 8 ? queue_pop_of(link->memory, static_cast<element<8> *>(elements), n)
			 : queue_pop_of(link->memory, static_cast<element<64> *>(elements), n);
}

#define push ring_push
#define pop ring_pop
BENCH_LOOPS(ring_loop)
#undef push
#undef pop
#define push queue_push
#define pop queue_pop
BENCH_LOOPS(queue_loop)
#undef push
#undef pop

bench_loop ring_if_single(const struct bench_case *what, enum bench_role role)
{
	return bench_is_single(what) ? ring_loop(what, role) : nullptr;
}

} // namespace

extern "C" const struct bench_subject bench_subjects_boost[] = {
	{"boost_spsc", prepare<ring>, nullptr, nullptr, nullptr, ring_if_single},
	{"boost_queue", prepare<queue>, nullptr, nullptr, nullptr, queue_loop},
	{nullptr, nullptr, nullptr, nullptr, nullptr, nullptr},
};
