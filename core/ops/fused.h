// Passes over memory that wait for the next op, so that several become one. A model never sees them: each op is
// recorded as usual, and whoever asks for the numbers gets the same bits as without.
//
//   forward    batch_norm leaves "normalise" waiting; add and relu extend it; a convolution that asks for the numbers
//              gets them in one pass, and fake-quantization takes their range and their steps without storing them.
//   backward   relu and fake-quantization leave "dy where a mask is set" waiting; batch_norm reads it as it is.
//
// Masks are one bit per number, and all that these ops keep for their gradients.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "core/kernels/norm/norm.h"
#include "core/kernels/quantize/quantize.h"
#include "core/pending.h"

namespace qgrad {

class BitMask {
 public:
  BitMask() = default;  // no bits yet
  explicit BitMask(int64_t numel) : bytes_(Tensor::empty({(numel + 31) / 32})) {}
  bool defined() const { return bytes_.defined(); }
  uint8_t* data() { return reinterpret_cast<uint8_t*>(bytes_.mutable_data().data()); }
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(bytes_.data().data()); }

 private:
  Tensor bytes_;
};

// (x - mean) * scale + shift + addend, cut to 0 .. limit, without the parts that are absent; channels are a multiple of
// eight.
struct PendingNormalized final : Pending {
  Tensor x, mean, scale, shift;    // [..,C], [C]
  Tensor addend;                   // of x's shape, or undefined
  std::shared_ptr<BitMask> uncut;  // null: no relu; gets the mask of results between the limits when they are computed
  float limit = std::numeric_limits<float>::infinity();

  PendingNormalized(Tensor from, Tensor mean_, Tensor scale_, Tensor shift_)
      : x(std::move(from)), mean(std::move(mean_)), scale(std::move(scale_)), shift(std::move(shift_)) {}
  static constexpr int64_t kChannelMultiple = 8;
  std::vector<Tensor> reads() const override;

  Tensor compute() override;
  std::pair<float, float> range();  // the smallest and the largest number, none of them stored
  // fake_quant of the numbers; `inside` gets the mask of low <= number <= high.
  Tensor fake_quant(const QuantGrid& grid, BitMask& inside);

 private:
  // Computes all numbers piece by piece, each small enough to stay in the first-level cache: use(first number, count,
  // numbers), which lie in `to`, or in scratch where that is null. Pieces depend on the shape only.
  void for_each_piece(float* to, const std::function<void(int64_t, size_t, float*)>& use);
};

// dy where the mask is set, else 0.
struct PendingMasked final : Pending {
  Tensor dy;
  std::shared_ptr<const BitMask> mask;
  std::vector<Tensor> reads() const override { return {dy}; }
  Tensor compute() override;
};

// t as something that waits, or null.
template <class P>
P* waiting_as(const Tensor& t) {
  return dynamic_cast<P*>(t.pending());
}

// add and relu of numbers that wait, not recorded; undefined where there are none that could be extended.
Tensor fused_add(const Tensor& a, const Tensor& b);
Tensor fused_relu(const Tensor& x, float limit = std::numeric_limits<float>::infinity());

// dy where the mask is set, waiting.
Tensor masked(Tensor dy, std::shared_ptr<const BitMask> mask);
// What waits in dy if that is a mask, else dy and null. Moves out of dy where nobody else holds it.
std::pair<Tensor, std::shared_ptr<const BitMask>> unmasked(Tensor dy);

}  // namespace qgrad
