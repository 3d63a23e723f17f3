// The two clips, and which activations they fit.
#include "quant/clipped.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/parallel.h"
#include "core/tape.h"
#include "quant/fake_quant.h"
#include "quant/ste.h"

namespace qgrad {
namespace {

void check_clip(float clip) {
  check(clip > 0 && std::isfinite(clip), "clipped quantization: expected a positive clipping value, got {}", clip);
}

// clamp(x, 0, clip) on the unsigned grid that ends at clip; the gradient is that of the clamp, ends included.
Tensor clip_and_quantize(const Tensor& x, int bits, float clip, bool dequantize) {
  const ScaleAndZeroPoint grid = asymmetric_params(bits, 0, clip);
  return linear_quantize_ste(x, {{grid.scale}, {grid.zero_point}},
                             {.integers = quantized_range(bits, LinearQuantMode::asymmetric_unsigned),
                              .saturation = ValueRange{0, clip},
                              .dequantize = dequantize});
}

// The gradients of a learned clip over one block: dx, and the sum for the clip, in lanes that the compiler can put into
// one register.
float learned_clip_backward(const float* x, const float* dy, float* dx, int64_t n, float clip) {
  constexpr int64_t kLanes = 8;
  float sums[kLanes] = {};
  const auto one = [&](int64_t i, float& sum) {
    const float g = dy[i];
    sum += x[i] >= clip ? g : 0.0f;
    dx[i] = x[i] > 0 && x[i] < clip ? g : 0.0f;
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t lane = 0; lane < kLanes; ++lane) one(i + lane, sums[lane]);
  for (; i < n; ++i) one(i, sums[0]);
  return std::accumulate(std::begin(sums), std::end(sums), 0.0f);
}

struct ClipGradients {
  Tensor x, clip;
};
// Sums are taken in blocks, in an order that depends on the size only.
ClipGradients learned_clip_backward(const Tensor& x, const Tensor& dy, float clip) {
  constexpr int64_t kBlock = 8192;
  std::vector<float> sums(static_cast<size_t>((x.numel() + kBlock - 1) / kBlock));
  Tensor dx = Tensor::empty(x.shape());
  const float *px = x.data().data(), *pdy = dy.data().data();
  float* pdx = dx.mutable_data().data();
  parallel_for(static_cast<int64_t>(sums.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const int64_t begin = block * kBlock, n = std::min(kBlock, x.numel() - begin);
      sums[static_cast<size_t>(block)] = learned_clip_backward(px + begin, pdy + begin, pdx + begin, n, clip);
    }
  });
  return {dx, Tensor::full({1}, std::accumulate(sums.begin(), sums.end(), 0.0f))};
}

}  // namespace

ClippedLinearQuantization::ClippedLinearQuantization(const ClippedLinearConfig& config) : config_(config) {
  check_clip(config.clip_val);
  quantized_range(config.bits, LinearQuantMode::asymmetric_unsigned);  // checks the bits
}

std::string ClippedLinearQuantization::describe() const {
  return fmt::format("bits={}, clip_val={}", config_.bits, config_.clip_val);
}

Tensor ClippedLinearQuantization::forward(const Tensor& x) {
  return clip_and_quantize(x, config_.bits, config_.clip_val, config_.dequantize);
}

LearnedClippedLinearQuantization::LearnedClippedLinearQuantization(int bits, float initial_clip_val)
    : bits_(bits), clip_val(parameter("clip_val", Tensor::full({1}, initial_clip_val))) {
  check_clip(initial_clip_val);
  quantized_range(bits, LinearQuantMode::asymmetric_unsigned);  // checks the bits
}

std::string LearnedClippedLinearQuantization::describe() const {
  return fmt::format("bits={}, clip_val={}", bits_, clip_val.raw().item());
}

float LearnedClippedLinearQuantization::clip() const { return std::max(kSmallestClip, clip_val.raw().item()); }

Tensor LearnedClippedLinearQuantization::forward(const Tensor& x) {
  const float learned = clip_val.raw().item(), used = clip();
  check(std::isfinite(learned), "learned clip: the clipping value is {}; has training diverged?", learned);
  Tensor y;
  {
    const Tape::Paused paused;  // one pass, with a gradient of its own
    y = clip_and_quantize(x, bits_, used, /*dequantize=*/true);
  }
  return record("learned_clip", y, {x, clip_val()}, [x, used](const Tensor& dy, Grads& dx) {
    ClipGradients gradients = learned_clip_backward(x, dy, used);
    if (dx.needs(0)) dx.add(0, std::move(gradients.x));
    if (dx.needs(1)) dx.add(1, std::move(gradients.clip));
  });
}

std::map<std::string, Replacement, std::less<>> clipped_activations(const MakeClip& make,
                                                                    const std::vector<std::string>& settings) {
  const auto in_place = [make](float largest) {
    return [make, largest](const Site& site, ModulePtr module) -> ModulePtr {
      return site.bits.activations ? make(site, largest) : std::move(module);
    };
  };
  const auto behind = [make](const Site& site, ModulePtr module) -> ModulePtr {
    if (!site.bits.activations) return module;
    return std::make_unique<FakeQuantizationWrapper>(std::move(module), make(site, 1));
  };
  return {{"ReLU", Replacement(in_place(std::numeric_limits<float>::infinity()), settings)},
          {"ReLU6", Replacement(in_place(6), settings)},
          {"Sigmoid", Replacement(behind, settings)}};
}

}  // namespace qgrad
