// Convolution kernels for any processor: the specification of the others.
#include "core/kernels/conv/conv.h"

#include <algorithm>

namespace qgrad {
namespace conv_loops {
namespace {

bool inside(int64_t position, int64_t size) { return position >= 0 && position < size; }

void forward(const ConvGeometry& g, const ConvForward& a) {
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  const int64_t panels = (out_group + kPanel - 1) / kPanel;
  for (int64_t row = a.row_begin; row < a.row_end; ++row)
    for (int64_t column = 0; column < g.out_w; ++column)
      for (int64_t group = 0; group < g.groups; ++group)
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t lanes = std::min(kPanel, out_group - panel * kPanel);
          const int64_t channel = group * out_group + panel * kPanel;
          const float* weight = a.weight.data + (group * panels + panel) * a.weight.panel_step;
          float sum[kPanel] = {};
          for (int64_t lane = 0; a.bias && lane < lanes; ++lane) sum[lane] = a.bias[channel + lane];
          for (int64_t kh = 0; kh < g.kernel_h; ++kh)
            for (int64_t kw = 0; kw < g.kernel_w; ++kw) {
              const int64_t ih = row * g.stride_h - g.padding_h + kh * g.dilation_h;
              const int64_t iw = column * g.stride_w - g.padding_w + kw * g.dilation_w;
              if (!inside(ih, g.in_h) || !inside(iw, g.in_w)) continue;
              const float* x = a.x + (ih * g.in_w + iw) * g.in + group * in_group;
              const float* tap = weight + (kh * g.kernel_w + kw) * in_group * a.weight.row_step;
              for (int64_t i = 0; i < in_group; ++i, tap += a.weight.row_step)
                for (int64_t lane = 0; lane < lanes; ++lane) sum[lane] += x[i] * tap[lane];
            }
          std::copy_n(sum, lanes, a.y + row * g.row_pitch + column * g.pixel_pitch + channel);
        }
}

void weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  for (int64_t kh = 0; kh < g.kernel_h; ++kh)
    for (int64_t kw = 0; kw < g.kernel_w; ++kw)
      for (int64_t image = 0; image < a.images; ++image)
        for (int64_t row = a.row_begin; row < a.row_end; ++row)
          for (int64_t column = 0; column < g.out_w; ++column) {
            const int64_t ih = row * g.stride_h - g.padding_h + kh * g.dilation_h;
            const int64_t iw = column * g.stride_w - g.padding_w + kw * g.dilation_w;
            if (!inside(ih, g.in_h) || !inside(iw, g.in_w)) continue;
            const float* x = a.x + ((image * g.in_h + ih) * g.in_w + iw) * g.in;
            const float* dy = a.dy + ((image * g.out_h + row) * g.out_w + column) * g.out;
            float* dw = a.dw + (kh * g.kernel_w + kw) * in_group * g.out;
            for (int64_t group = 0; group < g.groups; ++group)
              for (int64_t i = 0; i < in_group; ++i)
                for (int64_t o = group * out_group; o < (group + 1) * out_group; ++o)
                  dw[i * g.out + o] += x[group * in_group + i] * dy[o];
          }
}

void depthwise_forward(const ConvGeometry& g, const ConvForward& a) {
  for (int64_t row = a.row_begin; row < a.row_end; ++row)
    for (int64_t column = 0; column < g.out_w; ++column) {
      float* y = a.y + row * g.row_pitch + column * g.pixel_pitch;
      for (int64_t c = 0; c < g.out; ++c) y[c] = a.bias ? a.bias[c] : 0.0f;
      for (int64_t kh = 0; kh < g.kernel_h; ++kh)
        for (int64_t kw = 0; kw < g.kernel_w; ++kw) {
          const int64_t ih = row * g.stride_h - g.padding_h + kh * g.dilation_h;
          const int64_t iw = column * g.stride_w - g.padding_w + kw * g.dilation_w;
          if (!inside(ih, g.in_h) || !inside(iw, g.in_w)) continue;
          const float* x = a.x + (ih * g.in_w + iw) * g.in;
          const float* weight = a.weight.data + (kh * g.kernel_w + kw) * g.out;
          for (int64_t c = 0; c < g.out; ++c) y[c] += x[c] * weight[c];
        }
    }
}

}  // namespace
}  // namespace conv_loops

// With one input and one output channel per group the general specification is already that of depthwise.
ConvKernels QGRAD_ROW(conv)() {
  using namespace conv_loops;
  return {forward, weight_gradient, depthwise_forward, weight_gradient};
}

}  // namespace qgrad
