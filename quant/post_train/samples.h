// Single samples out of batches that are kept in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace qgrad {

// Samples at chosen positions of all batches together. The batches must outlive it.
class Samples {
 public:
  // Throws, naming `what`, where the batches' samples are not of one size.
  Samples(std::span<const Tensor> batches, const char* what) : batches_(batches) {
    for (size_t b = 0; b < batches.size(); ++b) {
      check(batches[b].numel() * batches[0].dim(0) == batches[0].numel() * batches[b].dim(0),
            "{}: inputs of {} and of {}: a layer is learned from images of one size", what, batches[0].shape(),
            batches[b].shape());
      for (int64_t row = 0; row < batches[b].dim(0); ++row) at_.emplace_back(b, row);
    }
  }
  size_t size() const { return at_.size(); }
  Tensor gather(std::span<const uint32_t> positions) const {
    const Shape& one = batches_[0].shape();
    std::vector<int64_t> dims(one.dims().begin(), one.dims().end());
    dims[0] = static_cast<int64_t>(positions.size());
    Tensor gathered = Tensor::empty(Shape(std::span<const int64_t>(dims)));
    const size_t width = static_cast<size_t>(gathered.numel()) / positions.size();
    float* out = gathered.mutable_data().data();
    for (const uint32_t position : positions) {
      const auto [batch, row] = at_[position];
      const float* from = batches_[batch].data().data() + static_cast<size_t>(row) * width;
      out = std::copy(from, from + width, out);
    }
    return gathered;
  }

 private:
  std::span<const Tensor> batches_;
  std::vector<std::pair<size_t, int64_t>> at_;
};

}  // namespace qgrad
