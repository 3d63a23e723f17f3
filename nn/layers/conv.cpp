// Construction and printing of Conv2d.
#include "nn/layers/conv.h"

#include "nn/layers/padding.h"

namespace qgrad {
namespace {

const RegisteredLayer<Conv2d, Conv2dConfig> conv2d_class{"Conv2d"};

}  // namespace

void fields(Fields& v, Conv2dConfig& c) {
  v("in", c.in, {.help = "channels of the input; 0: as many as it has", .min = 0});
  v("out", c.out, {.help = "channels of the output", .min = 1, .required = true});
  height_and_width(v, "kernel", c.kernel_h, c.kernel_w, {.help = "size of the window"});
  height_and_width(v, "stride", c.options.stride_h, c.options.stride_w, {.help = "steps of the window"});
  height_and_width(v, "padding", c.options.padding_h, c.options.padding_w, {.help = "zeros around the image"});
  height_and_width(v, "padding_end", c.options.padding_end_h, c.options.padding_end_w,
                   {.help = "zeros below the image and to its right; null: as many as above and to its left"});
  height_and_width(v, "dilation", c.options.dilation_h, c.options.dilation_w, {.help = "steps within the window"});
  v("groups", c.options.groups, {.help = "groups of channels, each convolved by itself", .min = 1});
  v("bias", c.bias, {.help = "whether a bias is added"});
}

void complete(Conv2dConfig& config, const LayerClass::InputShape& input) { complete_size(config.in, input); }

Conv2dConfig conv3x3(int64_t in, int64_t out, int64_t stride) {
  return square_conv(in, out, 3, stride, /*padding=*/1, /*bias=*/false);
}

Conv2dConfig square_conv(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding, bool bias) {
  return {.in = in,
          .out = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .options = {.stride_h = stride, .stride_w = stride, .padding_h = padding, .padding_w = padding},
          .bias = bias};
}

Conv2d::Conv2d(const Conv2dConfig& config)
    : WeightedSum(convolution_weight("Conv2d", config), config.bias, config.options) {}

std::string Conv2d::describe() const {
  const Conv2dOptions& o = options();
  const Shape& w = weight.raw().shape();
  std::string text =
      fmt::format("{}, {}, kernel={}x{}, stride={}x{}", w[2] * o.groups, w[3], w[0], w[1], o.stride_h, o.stride_w);
  text += padding_described(o);
  if (o.dilation_h != 1 || o.dilation_w != 1) text += fmt::format(", dilation={}x{}", o.dilation_h, o.dilation_w);
  if (o.groups != 1) text += fmt::format(", groups={}", o.groups);
  return text + bias_described();
}

}  // namespace qgrad
