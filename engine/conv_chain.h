// Convolutions that run as one, a few rows at a time: what lies between them stays in the second cache and is never
// whole. Large images of networks with depthwise convolutions are bound by memory otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "engine/float_ops.h"

namespace qgrad::deploy {

class ConvChain {
 public:
  // One convolution. Its output is the next one's input; the last alone may have something added. `rows` makes rows
  // [begin, end), where x and y are where row 0 of its input and output would be.
  struct Link {
    ConvGeometry geometry;
    int64_t number;  // bytes of one
    std::function<void(const std::byte* x, std::byte* y, int64_t begin, int64_t end, const std::byte* addend)> rows;
  };
  explicit ConvChain(std::vector<Link> links);

  // On one image: the bits of one after the other. share: over the pool's threads. addend: of the last one, or null.
  void run(const std::byte* x, std::byte* y, const std::byte* addend, bool share) const;

 private:
  // Rows [first, end) of what a link makes; of the last one all have their place.
  struct Rows {
    std::byte* data;
    int64_t first, end;
  };
  struct Image {
    const std::byte *x, *addend;
    Rows* rows;  // of each link
  };

  int64_t output_row(size_t link) const;
  int64_t bytes(int64_t rows);
  void make(const Image& image, size_t link, int64_t begin, int64_t end) const;

  std::vector<Link> links_;
  std::vector<int64_t> capacity_;  // rows of each link's output that are there at once
  int64_t rows_ = 1;               // of the last one that are made at a time
};

// The chains of a program, each the operations of its convolutions in order, all of bytes or all of floats: each reads
// nothing but what the one before stores, which is larger than a cache, and one of two neighbours is depthwise.
std::vector<std::vector<size_t>> conv_chains(const Program& program, const std::vector<FloatEnding>& endings);

}  // namespace qgrad::deploy
