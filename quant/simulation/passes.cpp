// Splitting the integer layers' kernels over threads.
#include "quant/simulation/passes.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {
namespace {

template <class F>
Tensor mapped(const char* op, const Tensor& x, F&& kernel) {
  return without_gradient(op, map(x, kernel), x);
}

float lower_limit(const AccumulatorLimits& limits) {
  return limits.relu ? std::max(limits.range.qmin, 0.0f) : limits.range.qmin;
}

// Of a channel whose accumulator has this scale.
float upper_limit(const AccumulatorLimits& limits, float scale) {
  return limits.relu_cap ? std::min(limits.range.qmax, *limits.relu_cap * scale) : limits.range.qmax;
}

std::vector<float> upper_limits(const Accumulator& accumulator, const AccumulatorLimits& limits, size_t count) {
  std::vector<float> high(count);
  for (size_t c = 0; c < count; ++c)
    high[c] = upper_limit(limits, accumulator.scale[accumulator.scale.size() == 1 ? 0 : c]);
  return high;
}

}  // namespace

Tensor without_gradient(const char* op, Tensor y, const Tensor& x) {
  return record(op, std::move(y), {x},
                [op](Tensor, Grads&) { fail("{}: a model that was quantized after training has no gradients", op); });
}

IntegerGrid integer_grid(const Grid& m, Arithmetic arithmetic) {
  if (arithmetic == Arithmetic::distiller)
    return {.scale = m.scale, .zero_point = m.zero_point, .qmin = m.qmin, .qmax = m.qmax};
  return {.divisor = m.step(), .qmin = m.lowest(), .qmax = m.highest()};
}

Tensor to_integers(const Tensor& x, const Grid& given, Arithmetic arithmetic) {
  const IntegerGrid grid = integer_grid(given, arithmetic);
  return mapped("to_integers", x,
                [&](const float* in, float* out, size_t n) { kernels().integer.to_integers(in, out, n, grid); });
}

Tensor to_integers_rescaled(const Tensor& x, const Grid& given, float rescale, const QuantizedRange& range) {
  const IntegerGrid grid = integer_grid(given, Arithmetic::distiller);
  return mapped("to_integers_rescaled", x, [&](const float* in, float* out, size_t n) {
    kernels().integer.to_integers_rescaled(in, out, n, grid, rescale, range.qmin, range.qmax);
  });
}

Tensor fake_quantized(const Tensor& x, const Grid& given, Arithmetic arithmetic) {
  const IntegerGrid grid = integer_grid(given, arithmetic);
  return mapped("fake_quantized", x,
                [&](const float* in, float* out, size_t n) { kernels().integer.fake_quant(in, out, n, grid); });
}

Tensor to_real(const Accumulator& accumulator, const AccumulatorLimits& limits, const Tensor& bias) {
  const size_t channels = accumulator.scale.size();
  const float low = lower_limit(limits);
  const std::vector<float> high = upper_limits(accumulator, limits, channels);
  Tensor y = Tensor::empty(accumulator.values.shape());
  const std::span<const float> in = accumulator.values.data();
  const std::span<const float> added = bias.defined() ? bias.data() : std::span<const float>();
  const std::span<float> out = y.mutable_data();
  for (size_t i = 0; i < in.size(); ++i) {
    const size_t c = channels == 1 ? 0 : i % channels;
    const float limited = std::min(std::max(in[i], low), high[c]);
    out[i] = accumulator.step.empty() ? limited / accumulator.scale[c] : limited * accumulator.step[c];
    if (!added.empty()) out[i] += added[i % added.size()];
  }
  return without_gradient("to_real", std::move(y), accumulator.values);
}

Tensor requantized(Accumulator accumulator, const AccumulatorLimits& given_limits, const Rescale& rescale,
                   const Grid& output, Arithmetic arithmetic) {
  AccumulatorLimits limits = given_limits;
  Requantization to{.low = lower_limit(limits), .divisor = rescale.divisor, .grid = integer_grid(output, arithmetic)};
  if (arithmetic == Arithmetic::onnx && limits.relu_cap) {
    to.grid.qmax = std::min(to.grid.qmax, std::nearbyint(*limits.relu_cap / to.grid.divisor));
    limits.relu_cap.reset();
  }
  const size_t channels = std::max(rescale.factor.size(), accumulator.scale.size());
  check(
      channels == 1 || (accumulator.values.rank() > 0 && accumulator.values.dim(-1) == static_cast<int64_t>(channels)),
      "requantize: {} channels for an accumulator of shape {}", channels, accumulator.values.shape());
  const Tensor& values = accumulator.values;
  // A second handle on the same numbers: the result is another tensor to tapes, and has another grid.
  Tensor y = values.is_unique() ? values.reshaped(values.shape()) : Tensor::empty(values.shape());
  const float* in = values.data().data();
  float* out = y.mutable_data().data();
  const std::vector<float> high = upper_limits(accumulator, limits, channels);
  if (channels == 1) {
    parallel_for(values.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
      kernels().integer.requantize(in + begin, out + begin, static_cast<size_t>(end - begin), rescale.factor[0],
                                   high[0], to);
    });
  } else {
    const std::vector<float> factors =
        rescale.factor.size() == 1 ? std::vector<float>(channels, rescale.factor[0]) : rescale.factor;
    const auto width = static_cast<int64_t>(channels);
    parallel_for(values.numel() / width, std::max<int64_t>(1, kElementwiseGrain / width),
                 [&](int64_t begin, int64_t end) {
                   kernels().integer.requantize_channels(in + begin * width, out + begin * width,
                                                         static_cast<size_t>(end - begin), channels, factors.data(),
                                                         high.data(), to);
                 });
  }
  y = without_gradient("requantize", std::move(y), values);
  y.set_grid(output);
  return y;
}

}  // namespace qgrad
