// The caching pool and the scratch arena.
#include "core/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/divide_up.h"
#include "core/error.h"
#ifdef QGRAD_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace qgrad {
namespace {

#ifdef QGRAD_ADDRESS_SANITIZER
void forbid(const char* at, size_t bytes) { __asan_poison_memory_region(at, bytes); }
void allow(const char* at, size_t bytes) { __asan_unpoison_memory_region(at, bytes); }
#else
void forbid(const char*, size_t) {}
void allow(const char*, size_t) {}
#endif

constexpr const char* kNoneLeft = "out of memory: the system has no {} bytes left";
constexpr size_t kAskedAtOnce = size_t{256} << 10;  // of the system, a multiple of its pages
constexpr size_t kBetweenBlocks = kAlignment;

size_t block_size(size_t bytes) { return round_up(std::max<size_t>(bytes, 1) + kBetweenBlocks, kAlignment); }

struct Stretch {
  char* at;
  size_t bytes;
  char* end() const { return at + bytes; }
};

// Stretches of free memory by address, none of which touches another.
class FreeMemory {
 public:
  void add(Stretch added) {
    forbid(added.at, added.bytes);
    auto after = std::ranges::lower_bound(stretches_, added.at, {}, &Stretch::at);
    const bool joins_next = after != stretches_.end() && added.end() == after->at;
    if (after != stretches_.begin() && std::prev(after)->end() == added.at) {
      std::prev(after)->bytes += added.bytes + (joins_next ? after->bytes : 0);
      if (joins_next) stretches_.erase(after);
    } else if (joins_next) {
      *after = {added.at, added.bytes + after->bytes};
    } else {
      stretches_.insert(after, added);
    }
  }

  // From the beginning of the smallest stretch that has so many bytes, the first of equals; null: none has.
  char* take(size_t bytes) {
    Stretch* smallest = nullptr;
    for (Stretch& s : stretches_)
      if (s.bytes >= bytes && (!smallest || s.bytes < smallest->bytes)) smallest = &s;
    if (!smallest) return nullptr;
    char* at = smallest->at;
    *smallest = {at + bytes, smallest->bytes - bytes};
    if (smallest->bytes == 0) stretches_.erase(stretches_.begin() + (smallest - stretches_.data()));
    return at;
  }

  // The bytes of the stretch that begins there; 0: none does.
  size_t size_at(char* at) const {
    const auto found = std::ranges::lower_bound(stretches_, at, {}, &Stretch::at);
    return found != stretches_.end() && found->at == at ? found->bytes : 0;
  }

  std::vector<Stretch> take_all() { return std::exchange(stretches_, {}); }

 private:
  std::vector<Stretch> stretches_;
};

// Blocks of one size that were given back and wait for a request of this size, since caches may have them: about what
// the second level of a core's caches holds, and of larger ones as many as a layer has at a time.
class Latest {
 public:
  explicit Latest(size_t size) : most_(std::clamp<size_t>((size_t{1} << 20) / size, 4, 32)) {}
  // The one that waits no longer; null: all do.
  char* add(char* block) {
    blocks_.push_back(block);
    if (blocks_.size() <= most_) return nullptr;
    char* oldest = blocks_.front();
    blocks_.erase(blocks_.begin());
    return oldest;
  }
  char* take() {  // the last one; null: there is none
    if (blocks_.empty()) return nullptr;
    char* block = blocks_.back();
    blocks_.pop_back();
    return block;
  }

 private:
  size_t most_;
  std::vector<char*> blocks_;
};

struct Pool {
  std::mutex mutex;
  FreeMemory free;
  std::map<size_t, Latest> latest;  // by size
  char* lowest = nullptr;           // of what the system gave last, below which it may have more
  pool::Stats stats;

  char* take(size_t size);  // null: nothing is large enough
  void give_back(char* block, size_t size);
  void trim();
  bool grow(size_t bytes);

 private:
  void free_latest();
  bool ask(size_t bytes, bool only_below);
};

char* Pool::take(size_t size) {
  if (const auto same = latest.find(size); same != latest.end())
    if (char* block = same->second.take()) return block;
  if (char* block = free.take(size)) return block;
  free_latest();
  return free.take(size);
}

void Pool::give_back(char* block, size_t size) {
  forbid(block, size);
  if (char* oldest = latest.try_emplace(size, size).first->second.add(block)) free.add({oldest, size});
}

void Pool::free_latest() {
  for (auto& [size, blocks] : latest)
    while (char* block = blocks.take()) free.add({block, size});
  latest.clear();
}

// Whole pages; what is left of them stays.
void Pool::trim() {
  free_latest();
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  for (const auto& [at, bytes] : free.take_all()) {
    const auto begin = reinterpret_cast<uintptr_t>(at);
    const size_t before = round_up(begin, page) - begin, whole = bytes > before ? (bytes - before) / page * page : 0;
    allow(at, bytes);
    if (whole == 0 || munmap(at + before, whole) != 0) {
      free.add({at, bytes});
      continue;
    }
    stats.bytes_reserved -= whole;
    if (before > 0) free.add({at, before});
    if (before + whole < bytes) free.add({at + before + whole, bytes - before - whole});
  }
}

// So that a block of so many bytes is free. The system mostly gives memory below what it gave before, which then joins
// what is free there. False: it has none left.
bool Pool::grow(size_t bytes) {
  const size_t there = free.size_at(lowest);
  if (there > 0 && ask(bytes - there, true)) return true;
  if (ask(bytes, false)) return true;
  trim();
  return ask(bytes, false);
}

bool Pool::ask(size_t bytes, bool only_below) {
  const size_t size = round_up(bytes, kAskedAtOnce);
  char* const below = reinterpret_cast<uintptr_t>(lowest) > size ? lowest - size : nullptr;
  void* given = mmap(below, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (given == MAP_FAILED) return false;
  if (only_below && given != below) {
    munmap(given, size);
    return false;
  }
  lowest = static_cast<char*>(given);
  stats.bytes_reserved += size;
  free.add({lowest, size});
  return true;
}

// Never destroyed: tensors with static lifetime may release after main.
Pool& the_pool() {
  static Pool* instance = new Pool;
  return *instance;
}

void* system_allocate(size_t bytes) {
  void* block = std::aligned_alloc(kAlignment, bytes);
  if (!block) {
    pool::trim();  // what is free there may make room
    block = std::aligned_alloc(kAlignment, bytes);
  }
  check(block != nullptr, kNoneLeft, bytes);
  return block;
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
  check(bytes <= PTRDIFF_MAX, kNoneLeft, bytes);
  const size_t size = block_size(bytes);
  const int64_t held = held_bytes + static_cast<int64_t>(size);
  check(held < 0 || static_cast<size_t>(held) <= most_bytes, "{} bytes more are beyond the {} that may be used here",
        bytes, most_bytes);
  Pool& p = the_pool();
  const std::lock_guard lock(p.mutex);
  char* block = p.take(size);
  if (block) {
    ++p.stats.hits;
  } else {
    check(p.grow(size), kNoneLeft, bytes);
    ++p.stats.misses;
    block = p.free.take(size);
  }
  allow(block, bytes);
  held_bytes = held;
  p.stats.bytes_in_use += size;
  p.stats.peak_bytes_in_use = std::max(p.stats.peak_bytes_in_use, p.stats.bytes_in_use);
  return block;
}

void release(void* block, size_t bytes) {
  const size_t size = block_size(bytes);
  Pool& p = the_pool();
  const std::lock_guard lock(p.mutex);
  held_bytes -= static_cast<int64_t>(size);
  p.stats.bytes_in_use -= size;
  p.give_back(static_cast<char*>(block), size);
}

void trim() {
  Pool& p = the_pool();
  const std::lock_guard lock(p.mutex);
  p.trim();
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
  bytes = round_up(bytes, kAlignment);
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
