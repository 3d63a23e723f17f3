// parallel_for: the only threading API. Chunk boundaries depend on the problem alone, never on the number of threads.
#pragma once

#include <cstdint>
#include <type_traits>

namespace qgrad {

int num_threads();
void set_num_threads(int n);  // 1 or more; takes effect at the next parallel_for

bool inside_parallel_for();  // on this thread

namespace detail {
using ChunkBody = void (*)(void* context, int64_t begin, int64_t end);
void parallel_for(int64_t n, int64_t grain, void* context, ChunkBody body);
}  // namespace detail

// Calls fn(begin, end) for [0,grain), [grain,2*grain), .. up to n, on any of the pool's threads in any order; returns
// when all are done. begin / grain is the number of the chunk: write partial results there and combine them in chunk
// order, and they are the same for any number of threads. A nested call runs on the calling thread. The first exception
// is rethrown here.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& fn) {
  using Fn = std::remove_reference_t<F>;
  detail::parallel_for(n, grain, const_cast<void*>(static_cast<const void*>(&fn)),
                       [](void* context, int64_t begin, int64_t end) { (*static_cast<Fn*>(context))(begin, end); });
}

}  // namespace qgrad
