// Memory for tensors (a caching pool) and for kernels (a per-thread scratch arena).
#pragma once

#include <cstddef>
#include <cstdint>

namespace qgrad {

// Every block is aligned to this many bytes.
inline constexpr size_t kAlignment = 64;

// The tensor pool. A request gets a block of its size that was given back of late, or else the smallest free stretch
// that is large enough; free blocks that touch are one stretch. So a training loop hardly asks the system for memory
// after its first step, and holds little more than it has in use at a time, whatever sizes it wants one after the
// other. Thread-safe. With AddressSanitizer, what is free and what lies between blocks may not be touched.
namespace pool {

void* allocate(size_t bytes);             // throws Error when the system has no memory left
void release(void* block, size_t bytes);  // bytes: what was asked for
void trim();                              // gives free memory back to the system, in whole pages

struct Stats {
  uint64_t hits = 0;          // requests answered with what was free
  uint64_t misses = 0;        // requests that asked the system
  size_t bytes_in_use = 0;    // handed out now
  size_t bytes_reserved = 0;  // handed out + free
  size_t peak_bytes_in_use = 0;
};
Stats stats();

}  // namespace pool

// While one lives, what this thread takes from the pool and does not give back is at most so many bytes, and more is an
// Error before the system is asked: for what files of strangers describe. One within another has its own limit alone.
class MemoryLimit {
 public:
  explicit MemoryLimit(size_t bytes);
  ~MemoryLimit();
  MemoryLimit(const MemoryLimit&) = delete;
  MemoryLimit& operator=(const MemoryLimit&) = delete;

 private:
  size_t most_;
  int64_t held_;  // of the one outside
};

// A stretch of this thread's scratch arena: everything taken through it is given back when it is destroyed.
//   Scratch scratch; float* packed = scratch.take<float>(n);
// The memory is uninitialised and 64-byte aligned.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  template <class T>
  T* take(size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }

 private:
  void* take_bytes(size_t bytes);
  size_t block_, used_;  // where the arena stood at construction
};

// Gives this thread's arena its first MiB, where there is memory for it, so that taking less never asks the system.
void reserve_scratch();

}  // namespace qgrad
