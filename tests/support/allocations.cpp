// The operator new of the tests.
#include "support/allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

#ifndef QGRAD_ADDRESS_SANITIZER  // which has its own

static std::atomic<int64_t> g_allocations{0};
int64_t qgrad::test::allocations() { return g_allocations; }

[[gnu::noinline]] void* operator new(size_t bytes) {
  ++g_allocations;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

#else
int64_t qgrad::test::allocations() { return 0; }
#endif
