// The caching pool and the scratch arena.
#include "core/memory.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/error.h"

namespace qgrad {
namespace {

// Eight sizes per power of two: 64, 72, .., 128, 144, .. rounded to the alignment.
size_t size_class(size_t bytes) {
  bytes = std::max(bytes, kAlignment);
  const size_t step = std::max(std::bit_floor(bytes) / 8, kAlignment);
  return (bytes + step - 1) / step * step;
}

void* system_allocate(size_t bytes) {
  void* block = std::aligned_alloc(kAlignment, bytes);
  if (!block) {
    pool::trim();  // cached blocks of other sizes may make room
    block = std::aligned_alloc(kAlignment, bytes);
  }
  check(block != nullptr, "out of memory: the system has no {} bytes left", bytes);
  return block;
}

struct Pool {
  std::mutex mutex;
  std::map<size_t, std::vector<void*>> free_lists;
  pool::Stats stats;
};

// Never destroyed: tensors with static lifetime may release after main.
Pool& the_pool() {
  static Pool* instance = new Pool;
  return *instance;
}

// Of the innermost MemoryLimit: what is held may be negative, where others' blocks were given back.
thread_local size_t most_bytes = SIZE_MAX;
thread_local int64_t held_bytes = 0;

}  // namespace

MemoryLimit::MemoryLimit(size_t bytes) : most_(std::exchange(most_bytes, bytes)), held_(std::exchange(held_bytes, 0)) {}

MemoryLimit::~MemoryLimit() {
  most_bytes = most_;
  held_bytes += held_;
}

namespace pool {

void* allocate(size_t bytes) {
  const size_t size = size_class(bytes);
  const int64_t held = held_bytes + static_cast<int64_t>(size);
  check(held < 0 || static_cast<size_t>(held) <= most_bytes, "{} bytes more are beyond the {} that may be used here",
        bytes, most_bytes);
  Pool& p = the_pool();
  std::unique_lock lock(p.mutex);
  void* block = nullptr;
  if (auto& list = p.free_lists[size]; !list.empty()) {
    block = list.back();
    list.pop_back();
    ++p.stats.hits;
  } else {
    lock.unlock();
    block = system_allocate(size);
    lock.lock();
    ++p.stats.misses;
    p.stats.bytes_reserved += size;
  }
  held_bytes = held;
  p.stats.bytes_in_use += size;
  p.stats.peak_bytes_in_use = std::max(p.stats.peak_bytes_in_use, p.stats.bytes_in_use);
  return block;
}

void release(void* block, size_t bytes) {
  const size_t size = size_class(bytes);
  Pool& p = the_pool();
  std::lock_guard lock(p.mutex);
  held_bytes -= static_cast<int64_t>(size);
  p.stats.bytes_in_use -= size;
  p.free_lists[size].push_back(block);
}

void trim() {
  Pool& p = the_pool();
  std::lock_guard lock(p.mutex);
  for (auto& [size, list] : p.free_lists) {
    for (void* block : list) std::free(block);
    p.stats.bytes_reserved -= size * list.size();
    list.clear();
  }
}

Stats stats() {
  Pool& p = the_pool();
  std::lock_guard lock(p.mutex);
  return p.stats;
}

}  // namespace pool

namespace {

// A list of blocks, of which those before `block` are full, `block` is used up to `used`, and the rest are free.
struct Arena {
  struct Block {
    char* data;
    size_t size;
  };
  std::vector<Block> blocks;
  size_t block = 0, used = 0;
  ~Arena() {
    for (const Block& b : blocks) std::free(b.data);
  }
};

Arena& arena() {
  thread_local Arena instance;
  return instance;
}

}  // namespace

Scratch::Scratch() : block_(arena().block), used_(arena().used) {}

Scratch::~Scratch() {
  arena().block = block_;
  arena().used = used_;
}

void reserve_scratch() {
  try {
    Scratch().take<char>(1);
  } catch (const std::exception&) {  // whoever takes some will say so
  }
}

void* Scratch::take_bytes(size_t bytes) {
  Arena& a = arena();
  bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  while (a.block < a.blocks.size() && a.blocks[a.block].size - a.used < bytes) {
    ++a.block;
    a.used = 0;
  }
  if (a.block == a.blocks.size()) {
    const size_t size = std::max<size_t>(bytes, size_t{1} << 20);
    a.blocks.push_back({static_cast<char*>(system_allocate(size)), size});
  }
  void* taken = a.blocks[a.block].data + a.used;
  a.used += bytes;
  return taken;
}

}  // namespace qgrad
