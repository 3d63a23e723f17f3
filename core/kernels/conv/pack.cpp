// Weight panels, gradient phases and row bands of convolutions.
#include "core/kernels/conv/pack.h"

#include <algorithm>
#include <numeric>

namespace qgrad {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Input positions under `count` output positions.
int64_t extent(int64_t count, int64_t stride, int64_t kernel, int64_t dilation) {
  return kernel == 0 || count == 0 ? 0 : (count - 1) * stride + (kernel - 1) * dilation + 1;
}

// One dimension of a phase: input position phase + stride * t is reached from output position first + t - dilation * m
// through tap first_tap + tap_step * m, 0 <= m < taps.
struct PhaseTaps {
  int64_t taps, first_tap, tap_step, dilation, first;
};

PhaseTaps phase_taps(int64_t phase, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t common = std::gcd(stride, dilation);
  PhaseTaps p{0, 0, stride / common, dilation / common, 0};
  for (int64_t k = 0; k < std::min(kernel, p.tap_step); ++k)
    if ((phase + padding - k * dilation) % stride == 0) {
      p.first_tap = k;
      p.taps = divide_up(kernel - k, p.tap_step);
      p.first = (phase + padding - k * dilation) / stride;
    }
  return p;
}

// HWIO weights, in whole panels that stand side by side.
bool is_in_order(const ConvGeometry& g, const ConvWeightView& w) {
  if (is_depthwise(g)) return w.group == 1 && w.tap_w == g.out && w.tap_h == g.kernel_w * g.out;
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  return out_group % kPanel == 0 && w.out == 1 && w.group == out_group && w.tap_w == in_group * w.in &&
         w.tap_h == g.kernel_w * w.tap_w;
}

}  // namespace

int64_t conv_scratch_floats(const ConvGeometry& g, int64_t images, int64_t rows) {
  return images * extent(rows, g.stride_h, g.kernel_h, g.dilation_h) *
         extent(g.out_w, g.stride_w, g.kernel_w, g.dilation_w) * g.in;
}

bool is_depthwise(const ConvGeometry& g) { return g.groups == g.in && g.groups == g.out; }

int64_t conv_packed_floats(const ConvGeometry& g, const ConvWeightView& w) {
  if (is_in_order(g, w)) return 0;
  if (is_depthwise(g)) return g.kernel_h * g.kernel_w * g.out;
  return g.groups * divide_up(g.out / g.groups, kPanel) * g.kernel_h * g.kernel_w * (g.in / g.groups) * kPanel;
}

ConvPanels conv_panels(const ConvGeometry& g, const ConvWeightView& w, float* packed) {
  if (is_in_order(g, w)) return {w.data, kPanel, w.in};
  const ConvPanels panels{packed, g.kernel_h * g.kernel_w * (g.in / g.groups) * kPanel, kPanel};
  if (is_depthwise(g)) {
    for (int64_t kh = 0; kh < g.kernel_h; ++kh)
      for (int64_t kw = 0; kw < g.kernel_w; ++kw)
        for (int64_t c = 0; c < g.out; ++c) *packed++ = w.data[kh * w.tap_h + kw * w.tap_w + c * w.group];
    return panels;
  }
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  for (int64_t group = 0; group < g.groups; ++group)
    for (int64_t first = 0; first < out_group; first += kPanel) {
      const int64_t lanes = std::min(kPanel, out_group - first);
      for (int64_t kh = 0; kh < g.kernel_h; ++kh)
        for (int64_t kw = 0; kw < g.kernel_w; ++kw)
          for (int64_t i = 0; i < in_group; ++i, packed += kPanel) {
            const float* from = w.data + group * w.group + kh * w.tap_h + kw * w.tap_w + i * w.in + first * w.out;
            if (w.out == 1)
              std::copy_n(from, lanes, packed);
            else
              for (int64_t lane = 0; lane < lanes; ++lane) packed[lane] = from[lane * w.out];
            std::fill(packed + lanes, packed + kPanel, 0.0f);
          }
    }
  return panels;
}

ConvWeightView forward_weight(const ConvGeometry& g, const float* weight) {
  const int64_t tap = g.in / g.groups * g.out;
  return {weight, g.kernel_w * tap, tap, g.out, 1, g.out / g.groups};
}

ConvPhase input_gradient_phase(const ConvGeometry& f, const ConvWeightView& forward, int64_t phase_h, int64_t phase_w) {
  const PhaseTaps h = phase_taps(phase_h, f.kernel_h, f.stride_h, f.padding_h, f.dilation_h);
  const PhaseTaps w = phase_taps(phase_w, f.kernel_w, f.stride_w, f.padding_w, f.dilation_w);
  // The smallest output position comes first, so the largest tap does.
  const int64_t last_h = h.first_tap + (h.taps - 1) * h.tap_step, last_w = w.first_tap + (w.taps - 1) * w.tap_step;
  ConvPhase p{};
  p.geometry = {.in_h = f.out_h,
                .in_w = f.out_w,
                .in = f.out,
                .out_h = divide_up(f.in_h - phase_h, f.stride_h),
                .out_w = divide_up(f.in_w - phase_w, f.stride_w),
                .out = f.in,
                .kernel_h = h.taps,
                .kernel_w = w.taps,
                .stride_h = 1,
                .stride_w = 1,
                .padding_h = (h.taps - 1) * h.dilation - h.first,
                .padding_w = (w.taps - 1) * w.dilation - w.first,
                .dilation_h = h.dilation,
                .dilation_w = w.dilation,
                .groups = f.groups,
                .row_pitch = f.stride_h * f.in_w * f.in,
                .pixel_pitch = f.stride_w * f.in};
  p.weight = {forward.data, -h.tap_step * forward.tap_h, -w.tap_step * forward.tap_w, forward.out, forward.in,
              forward.group};
  if (h.taps > 0 && w.taps > 0) {
    p.weight.data += last_h * forward.tap_h + last_w * forward.tap_w;
  } else {
    p.geometry.kernel_h = p.geometry.kernel_w = 0;
  }
  p.offset = (phase_h * f.in_w + phase_w) * f.in;
  return p;
}

int64_t conv_band_rows(const ConvGeometry& g, int64_t batch) {
  constexpr int64_t kCacheFloats = 12288, kChunks = 8;  // 48 KiB; 24 to 192 are as fast
  int64_t rows = std::max<int64_t>(g.out_h, 1);
  while (rows > 1 && conv_scratch_floats(g, 1, rows) > kCacheFloats) --rows;
  const int64_t bands =
      std::max(divide_up(g.out_h, rows), std::min(g.out_h, divide_up(kChunks, std::max<int64_t>(batch, 1))));
  return std::max<int64_t>(1, divide_up(g.out_h, std::max<int64_t>(bands, 1)));
}

ConvBands weight_gradient_bands(const ConvGeometry& g, int64_t batch) {
  // Enough positions per unit to pay for loading and storing the sums; few enough to stay in the first-level cache.
  constexpr int64_t kPositions = 128, kChunks = 16;
  ConvBands b{};
  b.rows = std::clamp<int64_t>(divide_up(kPositions, std::max<int64_t>(g.out_w, 1)), 1, std::max<int64_t>(g.out_h, 1));
  b.per_image = divide_up(g.out_h, b.rows);
  b.images =
      std::max<int64_t>(1, std::min(kPositions / std::max<int64_t>(1, g.out_h * g.out_w), divide_up(batch, kChunks)));
  b.units = divide_up(batch, b.images) * b.per_image;
  b.units_per_chunk = std::max<int64_t>(1, divide_up(b.units, kChunks));
  b.chunks = std::max<int64_t>(1, divide_up(b.units, b.units_per_chunk));
  return b;
}

}  // namespace qgrad
