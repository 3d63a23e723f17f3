// The operator new of the tests.
#include "support/allocations.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>

#ifndef QGRAD_ADDRESS_SANITIZER  // which has its own

static std::atomic<int64_t> g_allocations{0}, g_bytes{0}, g_most_bytes{0};

namespace qgrad::test {
int64_t allocations() { return g_allocations; }
void forget_most_bytes() { g_most_bytes = g_bytes.load(); }
int64_t most_bytes() { return g_most_bytes; }
int64_t bytes_held() { return g_bytes; }
}  // namespace qgrad::test

static void release(void* memory) {
  if (memory) g_bytes -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

[[gnu::noinline]] void* operator new(size_t bytes) {
  ++g_allocations;
  void* memory = std::malloc(bytes > 0 ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  const int64_t held = g_bytes += static_cast<int64_t>(malloc_usable_size(memory));
  for (int64_t most = g_most_bytes; held > most && !g_most_bytes.compare_exchange_weak(most, held);) {
  }
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { release(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { release(memory); }

#else
namespace qgrad::test {
int64_t allocations() { return 0; }
void forget_most_bytes() {}
int64_t most_bytes() { return 0; }
int64_t bytes_held() { return 0; }
}  // namespace qgrad::test
#endif
