// The tensor pool and the scratch arena.
#include "core/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "core/random.h"
#include "core/tensor.h"
#include "support/catch.h"

using namespace qgrad;

TEST_CASE("a freed block is handed out again to a request of its size") {
  pool::trim();
  void* block = pool::allocate(100000);
  const auto before = pool::stats();
  pool::release(block, 100000);
  CHECK(pool::allocate(99990) == block);
  const auto after = pool::stats();
  CHECK(after.hits == before.hits + 1);
  CHECK(after.misses == before.misses);
  CHECK(after.bytes_in_use == before.bytes_in_use);
  pool::release(block, 99990);
}

TEST_CASE("the pool counts what it hands out and gives free memory back on trim") {
  pool::trim();
  const auto start = pool::stats();
  {
    const Tensor big = Tensor::empty({1 << 20});
    const auto during = pool::stats();
    CHECK(during.bytes_in_use >= start.bytes_in_use + (size_t{4} << 20));
    CHECK(during.bytes_in_use <= start.bytes_in_use + (size_t{4} << 20) + 1024);
    CHECK(during.peak_bytes_in_use >= during.bytes_in_use);
  }
  CHECK(pool::stats().bytes_in_use == start.bytes_in_use);
  CHECK(pool::stats().bytes_reserved > start.bytes_reserved);
  pool::trim();
  CHECK(pool::stats().bytes_reserved == start.bytes_reserved);
}

TEST_CASE("blocks that touch and are free are one, for a request of any size") {
  pool::trim();
  constexpr size_t kSize = size_t{1} << 20;
  constexpr size_t kAll = 8 * (kSize + kAlignment);
  void* all = pool::allocate(kAll);  // so that they touch, and nothing is left beside them
  const uint64_t misses = pool::stats().misses;
  pool::release(all, kAll);
  std::vector<void*> blocks;
  for (int i = 0; i < 8; ++i) blocks.push_back(pool::allocate(kSize));
  for (void* block : blocks) pool::release(block, kSize);
  void* twice = pool::allocate(4 * kSize);
  void* rest = pool::allocate(3 * kSize);
  CHECK(pool::stats().misses == misses);
  pool::release(twice, 4 * kSize);
  pool::release(rest, 3 * kSize);
}

TEST_CASE("blocks are apart, whatever is taken and given back in whatever order") {
  struct Block {
    unsigned char* at;
    size_t bytes;
    unsigned char mark;
  };
  const size_t in_use = pool::stats().bytes_in_use;
  RandomStream random(1, "blocks");
  std::vector<Block> blocks;
  const auto give_back = [&](size_t i) {
    const Block block = blocks[i];
    REQUIRE(std::all_of(block.at, block.at + block.bytes, [&](unsigned char byte) { return byte == block.mark; }));
    pool::release(block.at, block.bytes);
    blocks.erase(blocks.begin() + static_cast<int64_t>(i));
  };
  for (int i = 0; i < 5000; ++i) {
    if (blocks.size() == 40 || (!blocks.empty() && random.uniform() < 0.5f)) {
      give_back(random.below(static_cast<uint32_t>(blocks.size())));
    } else {
      const size_t bytes = random.below(1u << random.below(19));
      auto* at = static_cast<unsigned char*>(pool::allocate(bytes));
      REQUIRE(reinterpret_cast<uintptr_t>(at) % kAlignment == 0);
      blocks.push_back({at, bytes, static_cast<unsigned char>(i)});
      std::fill_n(at, bytes, blocks.back().mark);
    }
    if (i % 1000 == 999) pool::trim();
  }
  while (!blocks.empty()) give_back(0);
  CHECK(pool::stats().bytes_in_use == in_use);
}

TEST_CASE("more memory than there is is an error that says how much") {
  for (const size_t bytes : {size_t{1} << 60, SIZE_MAX, SIZE_MAX - 100})
    CHECK_THROWS_WITH(pool::allocate(bytes), Contains(fmt::format("the system has no {} bytes left", bytes)));
}

TEST_CASE("a loop that allocates the same sizes asks the system only the first time") {
  const auto step = [] {
    const Tensor a = Tensor::empty({1000}), b = Tensor::empty({70000});
    const Tensor c = Tensor::empty({3});
  };
  step();
  const auto before = pool::stats();
  for (int i = 0; i < 10; ++i) step();
  CHECK(pool::stats().misses == before.misses);
  CHECK(pool::stats().hits == before.hits + 30);
}

TEST_CASE("what a thread may take from the pool can be limited, and what it gives back counts") {
  const Tensor outside = Tensor::empty({1000});
  {
    const MemoryLimit limit(size_t{1} << 20);
    for (int i = 0; i < 10; ++i) Tensor::empty({200'000});
    const Tensor held = Tensor::empty({200'000});
    CHECK_THROWS_WITH(Tensor::empty({200'000}), Contains("800000 bytes more are beyond the 1048576"));
    CHECK_THROWS_AS(Tensor::empty({int64_t{1} << 58}), Error);
    const MemoryLimit wider(size_t{4} << 20);
    Tensor::empty({200'000});
  }
  Tensor::empty({1'000'000});
}

TEST_CASE("scratch memory is aligned, distinct while held, and used again afterwards") {
  float* first = nullptr;
  {
    Scratch scratch;
    first = scratch.take<float>(3);
    auto* second = scratch.take<double>(1000);
    auto* third = scratch.take<char>(3 << 20);  // larger than a block
    auto* fourth = scratch.take<float>(5);
    for (const void* p :
         {static_cast<void*>(first), static_cast<void*>(second), static_cast<void*>(third), static_cast<void*>(fourth)})
      CHECK(reinterpret_cast<uintptr_t>(p) % kAlignment == 0);
    std::fill_n(first, 3, 1.0f);
    std::fill_n(second, 1000, 2.0);
    std::memset(third, 3, 3 << 20);
    std::fill_n(fourth, 5, 4.0f);
    CHECK((first[2] == 1.0f && second[999] == 2.0 && third[0] == 3 && third[(3 << 20) - 1] == 3 && fourth[4] == 4.0f));
    {
      Scratch inner;
      inner.take<float>(5)[0] = 9;
    }
    CHECK(fourth[0] == 4.0f);
    Scratch inner;
    CHECK(inner.take<float>(1) != fourth);
  }
  Scratch again;
  CHECK(again.take<float>(3) == first);
}

TEST_CASE("every thread has its own scratch") {
  parallel_for(64, 1, [](int64_t begin, int64_t) {
    Scratch scratch;
    auto* numbers = scratch.take<int64_t>(1000);
    std::fill_n(numbers, 1000, begin);
    for (int i = 0; i < 1000; ++i)
      if (numbers[i] != begin) throw std::runtime_error("scratch is shared");
  });
}
