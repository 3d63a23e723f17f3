// Memory for tensors (a caching pool) and for kernels (a per-thread scratch arena).
#pragma once

#include <cstddef>
#include <cstdint>

namespace qgrad {

// Every block is aligned to this many bytes.
inline constexpr size_t kAlignment = 64;

// The tensor pool. Freed blocks are kept in per-size free lists and handed out again, so that a training loop stops
// asking the system for memory after its first step. Thread-safe. Blocks are rounded up to one of eight sizes per
// power of two (and to 64 bytes), so that little of a large block is unused.
namespace pool {

void* allocate(size_t bytes);             // throws Error when the system has no memory left
void release(void* block, size_t bytes);  // bytes: what was asked for
void trim();                              // gives cached blocks back to the system

struct Stats {
  uint64_t hits = 0;          // requests answered from a free list
  uint64_t misses = 0;        // requests that asked the system
  size_t bytes_in_use = 0;    // handed out now
  size_t bytes_reserved = 0;  // handed out + cached
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
