// Printing of pooling layers.
#include "nn/layers/pool.h"

namespace qgrad {
namespace {

std::string describe_pool(const Pool2dOptions& o) {
  std::string text = fmt::format("kernel={}x{}, stride={}x{}", o.kernel_h, o.kernel_w, o.stride_h, o.stride_w);
  if (o.padding_h || o.padding_w) text += fmt::format(", padding={}x{}", o.padding_h, o.padding_w);
  return text;
}

}  // namespace

std::string MaxPool2d::describe() const { return describe_pool(options_); }
std::string AvgPool2d::describe() const { return describe_pool(options_); }

}  // namespace qgrad
