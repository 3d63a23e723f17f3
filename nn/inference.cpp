// Sharing out a batch by images instead of by rows of a layer.
#include "nn/inference.h"

#include <algorithm>
#include <vector>

#include "core/divide_up.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {

Tensor forward_in_blocks(Module& model, const Tensor& images, int64_t block) {
  check(images.rank() == 4 && images.dim(0) >= 1 && block >= 1,
        "forward_in_blocks: expected images [N,H,W,C] and blocks of 1 or more, got {} and {}", images.shape(), block);
  const Shape& s = images.shape();
  const int64_t each = images.numel() / s[0];
  const std::span<const float> from = images.data();
  std::vector<Tensor> outputs(static_cast<size_t>(divide_up(s[0], block)));
  parallel_for(s[0], block, [&](int64_t begin, int64_t end) {
    const Tape::Paused paused;
    const auto first = static_cast<size_t>(begin * each), count = static_cast<size_t>((end - begin) * each);
    outputs[static_cast<size_t>(begin / block)] =
        model(Tensor::from({end - begin, s[1], s[2], s[3]}, from.subspan(first, count)));
  });
  std::vector<int64_t> dims(outputs[0].shape().dims().begin(), outputs[0].shape().dims().end());
  dims[0] = s[0];
  Tensor whole = Tensor::empty(Shape(dims));
  float* to = whole.mutable_data().data();
  for (const Tensor& output : outputs) to = std::ranges::copy(output.data(), to).out;
  return whole;
}

}  // namespace qgrad
