// Construction and printing of ConvTranspose2d.
#include "nn/layers/conv_transpose.h"

#include "nn/layers/padding.h"

namespace qgrad {
namespace {

const RegisteredLayer<ConvTranspose2d, ConvTranspose2dConfig> conv_transpose_class{"ConvTranspose2d"};

}  // namespace

void fields(Fields& v, ConvTranspose2dConfig& c) {
  ConvTranspose2dOptions& o = c.options;
  v("in", c.in, {.help = "channels of the input; 0: as many as it has", .min = 0});
  v("out", c.out, {.help = "channels of the output", .min = 1, .required = true});
  height_and_width(v, "kernel", c.kernel_h, c.kernel_w, {.help = "size of the window"});
  height_and_width(v, "stride", o.stride_h, o.stride_w, {.help = "steps of the window, on the output"});
  height_and_width(v, "padding", o.padding_h, o.padding_w, {.help = "what is cut off around the output"});
  height_and_width(
      v, "padding_end", o.padding_end_h, o.padding_end_w,
      {.help = "what is cut off below the output and to its right; null: as much as above and to its left"});
  height_and_width(v, "output_padding", o.output_padding_h, o.output_padding_w,
                   {.help = "rows and columns that the output has more at its end"});
  height_and_width(v, "dilation", o.dilation_h, o.dilation_w, {.help = "steps within the window"});
  v("groups", o.groups, {.help = "groups of channels, each convolved by itself", .min = 1});
  v("bias", c.bias, {.help = "whether a bias is added"});
}

void complete(ConvTranspose2dConfig& config, const LayerClass::InputShape& input) { complete_size(config.in, input); }

ConvTranspose2d::ConvTranspose2d(const ConvTranspose2dConfig& config)
    : WeightedSum(convolution_weight("ConvTranspose2d", config), config.bias, config.options,
                  Layout::transposed_conv(config.options.groups)),
      options_(config.options) {}

Tensor ConvTranspose2d::sums(const Tensor& x, const Tensor& w, const Tensor& b) const {
  return conv_transpose2d(x, w, b, options_);
}

std::string ConvTranspose2d::describe() const {
  const ConvTranspose2dOptions& o = options_;
  const Shape& w = weight.raw().shape();
  std::string text = fmt::format("{}, {}, kernel={}x{}, stride={}x{}{}", w[2] * o.groups, w[3], w[0], w[1], o.stride_h,
                                 o.stride_w, padding_described(o));
  if (o.output_padding_h || o.output_padding_w)
    text += fmt::format(", output_padding={}x{}", o.output_padding_h, o.output_padding_w);
  if (o.dilation_h != 1 || o.dilation_w != 1) text += fmt::format(", dilation={}x{}", o.dilation_h, o.dilation_w);
  if (o.groups != 1) text += fmt::format(", groups={}", o.groups);
  return text + bias_described();
}

}  // namespace qgrad
