// Convolutions of a given image with kernels of 3 x 3, as many channels out as in.
#include <algorithm>
#include <vector>

#include "core/kernels/cases.h"
#include "core/kernels/conv/pack.h"

namespace qgrad {
namespace {

// The geometry, weights and scratch of one convolution.
struct Convolution {
  Convolution(const KernelNumbers& v, bool depthwise) {
    const auto h = static_cast<int64_t>(v.height), w = static_cast<int64_t>(v.width),
               c = static_cast<int64_t>(v.channels);
    geometry = {.in_h = h, .in_w = w, .in = c, .out_h = h, .out_w = w, .out = c};
    geometry.kernel_h = geometry.kernel_w = 3, geometry.padding_h = geometry.padding_w = 1;
    geometry.stride_h = geometry.stride_w = geometry.dilation_h = geometry.dilation_w = 1;
    geometry.groups = depthwise ? c : 1;
    geometry.row_pitch = w * c, geometry.pixel_pitch = c;
    weight.resize(9 * v.channels * (depthwise ? 1 : v.channels));
    for (size_t i = 0; i < weight.size(); ++i) weight[i] = v.positive[i % v.channels] - v.also[i % 7 % v.channels];
    const ConvWeightView view = forward_weight(geometry, weight.data());
    packed.resize(static_cast<size_t>(conv_packed_floats(geometry, view, h * w)));
    panels = conv_panels(geometry, view, packed);
    scratch.resize(static_cast<size_t>(conv_scratch_floats(geometry, 1, h)));
  }

  ConvGeometry geometry;
  std::vector<float> weight, packed, scratch;
  ConvPanels panels{};
};

}  // namespace

void add_cases(const ConvKernels& k, const KernelNumbers& v, KernelCases& to) {
  if (v.size() == 0) return;
  const auto forward = [&](const char* name, auto kernel, bool depthwise) {
    Convolution of(v, depthwise);
    if (is_depthwise(of.geometry) != depthwise) return;  // of one channel
    to.add<float>(name, v.size(), [&](float* y) {
      kernel(of.geometry, {.x = v.tame,
                           .weight = of.panels,
                           .bias = v.positive,
                           .y = y,
                           .row_end = of.geometry.out_h,
                           .scratch = of.scratch.data()});
    });
  };
  forward("forward", k.forward, false);
  forward("depthwise_forward", k.depthwise_forward, true);
}

void add_cases(const ConvGradientKernels& k, const KernelNumbers& v, KernelCases& to) {
  if (v.size() == 0) return;
  const auto gradient = [&](const char* name, auto kernel, bool depthwise) {
    Convolution of(v, depthwise);
    if (is_depthwise(of.geometry) != depthwise) return;
    to.add<float>(name, of.weight.size(), [&](float* dw) {
      std::fill_n(dw, of.weight.size(), 0.0f);
      kernel(of.geometry, {.x = v.tame,
                           .dy = v.tame,
                           .dw = dw,
                           .images = 1,
                           .row_begin = 0,
                           .row_end = of.geometry.out_h,
                           .scratch = of.scratch.data()});
    });
  };
  gradient("weight", k.weight, false);
  gradient("depthwise_weight", k.depthwise_weight, true);
}

}  // namespace qgrad
