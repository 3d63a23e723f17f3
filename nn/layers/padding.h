// How the padding of a window is printed.
#pragma once

#include <fmt/core.h>

#include <string>

namespace qgrad {

// ", padding=1x1 to 0x0", or less where there is less to say. Options: Conv2dOptions or Pool2dOptions.
template <class Options>
std::string padding_described(const Options& o) {
  const int64_t end_h = o.padding_end_h.value_or(o.padding_h), end_w = o.padding_end_w.value_or(o.padding_w);
  if (!o.padding_h && !o.padding_w && !end_h && !end_w) return "";
  std::string text = fmt::format(", padding={}x{}", o.padding_h, o.padding_w);
  if (end_h != o.padding_h || end_w != o.padding_w) text += fmt::format(" to {}x{}", end_h, end_w);
  return text;
}

}  // namespace qgrad
