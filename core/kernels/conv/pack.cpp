// Weight panels, gradient phases and row bands of convolutions.
#include "core/kernels/conv/pack.h"

#include <algorithm>
#include <numeric>

#include "core/divide_up.h"
#include "core/kernels/table.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace qgrad {
namespace {

constexpr int64_t kPartChannels = 64;  // what the widest tile takes

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

// The rows of one panel, from its first channel's weights on.
void pack_panel(const ConvGeometry& g, const ConvWeightView& w, const float* first, int64_t lanes, float* to) {
  for (int64_t kh = 0; kh < g.kernel_h; ++kh)
    for (int64_t kw = 0; kw < g.kernel_w; ++kw)
      for (int64_t i = 0; i < g.in / g.groups; ++i, to += kPanel) {
        const float* from = first + kh * w.tap_h + kw * w.tap_w + i * w.in;
        if (w.out == 1)
          std::copy_n(from, lanes, to);
        else
          for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = from[lane * w.out];
        std::fill(to + lanes, to + kPanel, 0.0f);
      }
}

}  // namespace

int64_t conv_scratch_floats(const ConvGeometry& g, int64_t images, int64_t rows) {
  return images * extent(rows, g.stride_h, g.kernel_h, g.dilation_h) *
         extent(g.out_w, g.stride_w, g.kernel_w, g.dilation_w) * g.in;
}

bool is_depthwise(const ConvGeometry& g) { return g.groups == g.in && g.groups == g.out; }

int64_t conv_packed_floats(const ConvGeometry& g, const ConvWeightView& w, int64_t positions) {
  constexpr int64_t kManyChannels = 256, kManyPositions = 256;
  const bool far_apart = !is_depthwise(g) && w.in >= kManyChannels && positions >= kManyPositions;
  if (is_in_order(g, w) && !far_apart) return 0;
  if (is_depthwise(g)) return g.kernel_h * g.kernel_w * g.out;
  return g.groups * divide_up(g.out / g.groups, kPanel) * g.kernel_h * g.kernel_w * (g.in / g.groups) * kPanel;
}

ConvPanels conv_panels(const ConvGeometry& g, const ConvWeightView& w, std::span<float> packed) {
  if (packed.empty()) return {w.data, kPanel, w.in};
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups, of_group = divide_up(out_group, kPanel);
  const ConvPanels panels{packed.data(), g.kernel_h * g.kernel_w * in_group * kPanel, kPanel};
  float* to = packed.data();
  if (is_depthwise(g)) {
    for (int64_t kh = 0; kh < g.kernel_h; ++kh)
      for (int64_t kw = 0; kw < g.kernel_w; ++kw)
        for (int64_t c = 0; c < g.out; ++c) *to++ = w.data[kh * w.tap_h + kw * w.tap_w + c * w.group];
    return panels;
  }
  parallel_for(g.groups * of_group, std::max<int64_t>(1, kElementwiseGrain / panels.panel_step),
               [&](int64_t begin, int64_t end) {
                 for (int64_t panel = begin; panel < end; ++panel) {
                   const int64_t first = panel % of_group * kPanel;
                   pack_panel(g, w, w.data + panel / of_group * w.group + first * w.out,
                              std::min(kPanel, out_group - first), to + panel * panels.panel_step);
                 }
               });
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

ConvUnits conv_units(const ConvGeometry& g, int64_t batch) {
  // Floats under a band: 48 KiB, 24 to 192 are as fast; more where the weights, which a band reads all, are many.
  constexpr int64_t kBand = 12288, kLargeBand = 65536, kManyWeights = 65536;
  constexpr int64_t kUnits = 8;  // at least, where there is so much to share out
  const int64_t in_group = g.groups > 0 ? g.in / g.groups : 0, weights = g.kernel_h * g.kernel_w * in_group * g.out;
  const bool large = weights > kManyWeights;
  batch = std::max<int64_t>(batch, 1);
  ConvUnits u{.rows = std::max<int64_t>(g.out_h, 1), .channels = g.out, .parts = 1};
  while (u.rows > 1 && conv_scratch_floats(g, 1, u.rows) > (large ? kLargeBand : kBand)) --u.rows;
  const int64_t bands = divide_up(g.out_h, u.rows), wanted = divide_up(kUnits, batch);
  if (large && g.groups == 1) {
    u.parts = std::clamp<int64_t>(divide_up(wanted, std::max<int64_t>(bands, 1)), 1, divide_up(g.out, kPartChannels));
    u.channels = divide_up(divide_up(g.out, kPartChannels), u.parts) * kPartChannels;
    u.parts = divide_up(g.out, u.channels);
  }
  u.bands = std::max(bands, std::min(g.out_h, divide_up(wanted, u.parts)));
  u.rows = std::max<int64_t>(1, divide_up(g.out_h, std::max<int64_t>(u.bands, 1)));
  u.bands = divide_up(g.out_h, u.rows);
  return u;
}

void run_conv_unit(ConvForwardKernel kernel, const ConvGeometry& geometry, const ConvForward& forward,
                   const ConvUnits& units, int64_t unit) {
  ConvGeometry g = geometry;
  ConvForward f = forward;
  f.row_begin = unit % units.bands * units.rows;
  f.row_end = std::min(g.out_h, f.row_begin + units.rows);
  if (f.row_begin >= f.row_end || g.kernel_h == 0) return;
  if (units.parts > 1) {
    const int64_t first = unit / units.bands * units.channels;
    g.out = std::min(units.channels, g.out - first);
    f.weight.data += first / kPanel * f.weight.panel_step;
    f.y += first;
    if (f.bias) f.bias += first;
    if (f.ending.addend) f.ending.addend += first;
  }
  Scratch scratch;
  f.scratch = scratch.take<float>(static_cast<size_t>(conv_scratch_floats(g, 1, f.row_end - f.row_begin)));
  kernel(g, f);
}

}  // namespace qgrad
