// Counter-based random streams: number i of stream (seed, name) is a pure function, so results never depend on threads.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace qgrad {

// The generator itself: ten rounds of Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011).
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// A named stream of Philox numbers.
// The key is made of the seed and the name; draws are addressed by (index, lane) or taken one after another.
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view name);

  // Four independent 32-bit numbers for a position; `lane` separates several draws for one item.
  std::array<uint32_t, 4> block(uint64_t index, uint64_t lane = 0) const;

  uint32_t next();             // uniform over 32 bits
  uint32_t below(uint32_t n);  // uniform over 0 .. n-1, without modulo bias; n is 1 or more
  float uniform();             // [0, 1), 24 bits
  float normal();              // mean 0, standard deviation 1 (Box-Muller)

  uint64_t position() const { return position_; }  // how many next() were drawn; for checkpoints
  void seek(uint64_t position) { position_ = position; }

 private:
  std::array<uint32_t, 2> key_;
  uint64_t position_ = 0;
};

}  // namespace qgrad
