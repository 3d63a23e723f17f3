// Construction and printing of pooling layers.
#include "nn/layers/pool.h"

#include "nn/layers/padding.h"

namespace qgrad {
namespace {

std::string describe_pool(const Pool2dOptions& o) {
  std::string text =
      fmt::format("kernel={}x{}, stride={}x{}{}", o.kernel_h, o.kernel_w, o.stride_h, o.stride_w, padding_described(o));
  if (o.dilation_h != 1 || o.dilation_w != 1) text += fmt::format(", dilation={}x{}", o.dilation_h, o.dilation_w);
  if (o.ceil) text += ", ceil";
  if (!o.count_padding) text += ", count_padding=false";
  return text;
}

void pool_fields(Fields& v, Pool2dOptions& o) {
  height_and_width(v, "kernel", o.kernel_h, o.kernel_w, {.help = "size of the window", .required = true});
  height_and_width(v, "stride", o.stride_h, o.stride_w, {.help = "steps of the window; 0: its size"});
  height_and_width(v, "padding", o.padding_h, o.padding_w, {.help = "padding around the image"});
  height_and_width(v, "padding_end", o.padding_end_h, o.padding_end_w,
                   {.help = "padding below the image and to its right; null: as much as above and to its left"});
  v("ceil", o.ceil, {.help = "whether a last window may reach beyond the padding"});
}

Pool2dOptions with_strides(Pool2dOptions o) {
  if (o.stride_h == 0) o.stride_h = o.kernel_h;
  if (o.stride_w == 0) o.stride_w = o.kernel_w;
  return o;
}

const RegisteredLayer<MaxPool2d, MaxPool2dConfig> max_pool_class{"MaxPool2d"};
const RegisteredLayer<GlobalMaxPool2d> global_max_pool_class{"GlobalMaxPool2d"};
const RegisteredLayer<AvgPool2d, AvgPool2dConfig> avg_pool_class{"AvgPool2d"};
const RegisteredLayer<GlobalAvgPool2d> global_avg_pool_class{"GlobalAvgPool2d"};
const RegisteredLayer<PadChannels, PadChannelsConfig> pad_channels_class{"PadChannels"};

}  // namespace

void fields(Fields& v, MaxPool2dConfig& c) {
  pool_fields(v, c.options);
  height_and_width(v, "dilation", c.options.dilation_h, c.options.dilation_w, {.help = "steps within the window"});
}

void fields(Fields& v, AvgPool2dConfig& c) {
  pool_fields(v, c.options);
  v("count_padding", c.options.count_padding,
    {.help = "whether padding counts as zeros; false: an average is of what lies inside the image"});
}

void fields(Fields& v, PadChannelsConfig& c) {
  v("before", c.before, {.help = "channels of zeros before those of the input", .min = 0});
  v("after", c.after, {.help = "channels of zeros behind those of the input", .min = 0});
}

MaxPool2d::MaxPool2d(const MaxPool2dConfig& config) : MaxPool2d(with_strides(config.options)) {}
AvgPool2d::AvgPool2d(const AvgPool2dConfig& config) : AvgPool2d(with_strides(config.options)) {}

// Padding never is a maximum, so how much of it counts does not matter.
Pool2dOptions MaxPool2d::window(const Shape& images) const {
  Pool2dOptions uncounted = options_;
  uncounted.count_padding = false;
  Pool2dOptions simple = simplified(uncounted, images);
  simple.count_padding = true;
  return simple;
}

std::string MaxPool2d::describe() const { return describe_pool(options_); }
std::string AvgPool2d::describe() const { return describe_pool(options_); }

}  // namespace qgrad
