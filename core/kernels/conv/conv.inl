// Convolution kernels for any processor: the specification of the others.
#include "core/kernels/conv/conv.h"

#include "core/kernels/functions.h"

namespace qgrad {
namespace conv_loops {
namespace {

bool inside(int64_t position, int64_t size) { return position >= 0 && position < size; }
int64_t lanes_of_panel(int64_t channels) { return channels < kPanel ? channels : kPanel; }

// What is stored at y[position] for a sum.
float finished(float sum, const ConvEnding& ending, int64_t position) {
  if (ending.addend) sum += ending.addend[position];
  if (!ending.clamps) return sum;
  const float above = sum < ending.low ? ending.low : sum;
  return ending.high < above ? ending.high : above;
}

void forward(const ConvGeometry& g, const ConvForward& a) {
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  const int64_t panels = (out_group + kPanel - 1) / kPanel;
  for (int64_t row = a.row_begin; row < a.row_end; ++row)
    for (int64_t column = 0; column < g.out_w; ++column)
      for (int64_t group = 0; group < g.groups; ++group)
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t lanes = lanes_of_panel(out_group - panel * kPanel);
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
                for (int64_t lane = 0; lane < lanes; ++lane) sum[lane] = fused_multiply_add(x[i], tap[lane], sum[lane]);
            }
          const int64_t position = row * g.row_pitch + column * g.pixel_pitch + channel;
          for (int64_t lane = 0; lane < lanes; ++lane)
            a.y[position + lane] = finished(sum[lane], a.ending, position + lane);
        }
}

// Up to a panel's sums of x dy, for one weight of the input channels and as many output channels.
void weight_sums(const ConvGeometry& g, const ConvWeightGradient& a, int64_t kh, int64_t kw, int64_t in, int64_t out,
                 int64_t lanes, float* sum) {
  for (int64_t image = 0; image < a.images; ++image)
    for (int64_t row = a.row_begin; row < a.row_end; ++row)
      for (int64_t column = 0; column < g.out_w; ++column) {
        const int64_t ih = row * g.stride_h - g.padding_h + kh * g.dilation_h;
        const int64_t iw = column * g.stride_w - g.padding_w + kw * g.dilation_w;
        if (!inside(ih, g.in_h) || !inside(iw, g.in_w)) continue;
        const float x = a.x[((image * g.in_h + ih) * g.in_w + iw) * g.in + in];
        const float* dy = a.dy + (image * g.out_h + row) * g.row_pitch + column * g.pixel_pitch + out;
        for (int64_t lane = 0; lane < lanes; ++lane) sum[lane] = fused_multiply_add(x, dy[lane], sum[lane]);
      }
}

void weight_gradient(const ConvGeometry& g, const ConvWeightGradient& a) {
  const int64_t in_group = g.in / g.groups, out_group = g.out / g.groups;
  for (int64_t tap = 0; tap < g.kernel_h * g.kernel_w; ++tap)
    for (int64_t group = 0; group < g.groups; ++group)
      for (int64_t i = 0; i < in_group; ++i)
        for (int64_t first = 0; first < out_group; first += kPanel) {
          const int64_t lanes = lanes_of_panel(out_group - first), out = group * out_group + first;
          float sum[kPanel] = {};
          weight_sums(g, a, tap / g.kernel_w, tap % g.kernel_w, group * in_group + i, out, lanes, sum);
          float* dw = a.dw + (tap * in_group + i) * g.pixel_pitch + out;
          for (int64_t lane = 0; lane < lanes; ++lane) dw[lane] += sum[lane];
        }
}

void depthwise_forward(const ConvGeometry& g, const ConvForward& a) {
  for (int64_t row = a.row_begin; row < a.row_end; ++row)
    for (int64_t column = 0; column < g.out_w; ++column) {
      const int64_t position = row * g.row_pitch + column * g.pixel_pitch;
      float* y = a.y + position;
      for (int64_t c = 0; c < g.out; ++c) y[c] = a.bias ? a.bias[c] : 0.0f;
      for (int64_t kh = 0; kh < g.kernel_h; ++kh)
        for (int64_t kw = 0; kw < g.kernel_w; ++kw) {
          const int64_t ih = row * g.stride_h - g.padding_h + kh * g.dilation_h;
          const int64_t iw = column * g.stride_w - g.padding_w + kw * g.dilation_w;
          if (!inside(ih, g.in_h) || !inside(iw, g.in_w)) continue;
          const float* x = a.x + (ih * g.in_w + iw) * g.in;
          const float* weight = a.weight.data + (kh * g.kernel_w + kw) * g.out;
          for (int64_t c = 0; c < g.out; ++c) y[c] = fused_multiply_add(x[c], weight[c], y[c]);
        }
      for (int64_t c = 0; c < g.out; ++c) y[c] = finished(y[c], a.ending, position + c);
    }
}

}  // namespace
}  // namespace conv_loops

ConvKernels QGRAD_ROW(conv)() {
  using namespace conv_loops;
  return {forward, depthwise_forward};
}

// With one input and one output channel per group the general specification is already that of depthwise.
ConvGradientKernels QGRAD_ROW(conv_gradient)() {
  using namespace conv_loops;
  return {weight_gradient, weight_gradient};
}

}  // namespace qgrad
