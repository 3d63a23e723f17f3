// One pass forward, at most one backward.
#include "quant/train/ste.h"

#include <cmath>

#include "core/error.h"
#include "core/ops/fused.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Results this large are not read again before they have left the caches.
constexpr int64_t kStreamingNumbers = 1 << 23;

// dx = dy where x is within the range, else 0; in dy's memory when nobody else looks at it.
Tensor mask_outside(const Tensor& x, const Tensor& dy, const ValueRange& range) {
  Tensor dx = dy.is_unique() ? dy : Tensor::empty(dy.shape());
  const float *px = x.data().data(), *pdy = dy.data().data();
  float* pdx = dx.mutable_data().data();
  parallel_for(x.numel(), kElementwiseGrain, [&](int64_t begin, int64_t end) {
    kernels().quantize.mask_outside(px + begin, pdy + begin, pdx + begin, static_cast<size_t>(end - begin), range.min,
                                    range.max);
  });
  return dx;
}

QuantGrid whole_grid(const ChannelGrid& grid, const SteOptions& options) {
  QuantGrid whole{
      .scale = grid.scale[0], .zero_point = grid.zero_point[0], .qmin = grid.integers.qmin, .qmax = grid.integers.qmax};
  if (options.saturation) {
    whole.low = options.saturation->min;
    whole.high = options.saturation->max;
  }
  return whole;
}

Tensor quantize_whole(const Tensor& x, const QuantGrid& grid, bool dequantize) {
  const bool beyond_caches = x.numel() >= kStreamingNumbers;
  const auto kernel = !dequantize     ? kernels().quantize.quantize
                      : beyond_caches ? kernels().quantize.fake_quant_streaming
                                      : kernels().quantize.fake_quant;
  return map(x, [&](const float* in, float* out, size_t n) { kernel(in, out, n, grid); });
}

Tensor quantize_channels(const Tensor& x, const ChannelGrid& grid, const SteOptions& options) {
  const auto channels = static_cast<int64_t>(grid.scale.size());
  check(x.rank() > 0 && x.dim(-1) == channels, "linear_quantize_ste: {} scales do not fit the last dimension of {}",
        channels, x.shape());
  check(!options.saturation, "linear_quantize_ste: a saturation range is for one scale, got {}", channels);
  const ChannelQuantGrid each{.scale = grid.scale.data(),
                              .zero_point = grid.zero_point.data(),
                              .qmin = grid.integers.qmin,
                              .qmax = grid.integers.qmax};
  const auto kernel =
      options.dequantize ? kernels().quantize.fake_quant_channels : kernels().quantize.quantize_channels;
  return map_rows(x, channels,
                  [&](const float* in, float* out, size_t rows) { kernel(in, out, rows, grid.scale.size(), each); });
}

Tensor record_straight_through(const Tensor& x, const Tensor& y, const SteOptions& options) {
  if (!options.saturation)
    return record("linear_quantize_ste", y, {x}, [](Tensor dy, Grads& dx) { dx.add(0, std::move(dy)); });
  return record("linear_quantize_ste", y, {x}, [x, range = *options.saturation](const Tensor& dy, Grads& dx) {
    if (dx.needs(0)) dx.add(0, mask_outside(x, dy, range));
  });
}

}  // namespace

Tensor linear_quantize_ste(const Tensor& x, const ChannelGrid& grid, const SteOptions& options) {
  check(!grid.scale.empty() && grid.scale.size() == grid.zero_point.size(),
        "linear_quantize_ste: {} scales and {} zero points", grid.scale.size(), grid.zero_point.size());
  if (grid.per_channel()) return record_straight_through(x, quantize_channels(x, grid, options), options);
  const QuantGrid whole = whole_grid(grid, options);
  Tensor y;
  if (auto* waiting = waiting_as<PendingNormalized>(x); waiting && options.dequantize && options.saturation) {
    auto inside = std::make_shared<BitMask>();
    y = record("linear_quantize_ste", waiting->fake_quant(whole, *inside), {x},
               [inside](Tensor dy, Grads& dx) { dx.add(0, masked(std::move(dy), inside)); });
  } else {
    y = record_straight_through(x, quantize_whole(x, whole, options.dequantize), options);
  }
  if (std::isfinite(whole.qmax) && options.dequantize) y.set_grid(grid.channel(0));
  return y;
}

}  // namespace qgrad
