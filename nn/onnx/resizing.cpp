// Resize, and Upsample of early opsets: of images and lines.
#include <algorithm>
#include <cmath>

#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

using Results = std::vector<Known>;

std::string coordinates_of(const std::string& mode) {
  for (const char* known : {"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"})
    if (mode == known) return mode;
  fail("the coordinate_transformation_mode '{}' is not supported", mode);
}

int64_t size_of(float size) {
  check(size >= 0 && size < 0x1p31f, "a size of {}", size);
  return static_cast<int64_t>(size);
}

// Scales or sizes for every dimension, those that are not named staying as they are; of images alone.
struct Resizing {
  std::vector<float> scales;  // of every dimension; none where sizes say it
  Dims sizes;
};

Resizing of_every_dimension(const Translation& node, const Resizing& given, const Dims& axes) {
  const Known& x = node.input(0);
  Resizing all;
  const size_t named = std::max(given.scales.size(), given.sizes.size());
  check(axes.empty() ? named == x.dims.size() : named == axes.size(), "{} sizes or scales for {} dimensions", named,
        axes.empty() ? x.dims.size() : axes.size());
  if (!given.scales.empty()) all.scales.assign(x.dims.size(), 1);
  if (!given.sizes.empty()) all.sizes = x.dims;
  for (size_t i = 0; i < named; ++i) {
    const auto at = axes.empty() ? i : static_cast<size_t>(node.axis(x, axes[i]));
    if (!given.scales.empty()) all.scales[at] = given.scales[i];
    if (!given.sizes.empty()) all.sizes[at] = given.sizes[i];
  }
  return all;
}

// Of images [N, C, H, W], or lines [N, C, L].
Known resized_by(const Translation& node, const Resizing& by, Json settings) {
  const Known& given = node.input(0);
  check(given.rank() == 4 || given.rank() == 3, "resizing of {} is not supported, only of images",
        dims_text(given.dims));
  for (size_t i = 0; i < 2; ++i)
    check(by.sizes.empty() ? by.scales[i] == 1 : by.sizes[i] == given.dims[i] || given.dims[i] >= kBatch,
          "resizing along axis {} is not supported", i);
  Dims size(2, 1);
  std::vector<float> scale(2, 1);
  const size_t space = given.dims.size() - 2;
  for (size_t i = 0; i < space; ++i) {
    const int64_t old = given.dims[2 + i];
    const size_t at = 2 - space + i;
    scale[at] = by.sizes.empty() ? by.scales[2 + i] : static_cast<float>(by.sizes[2 + i]) / static_cast<float>(old);
    size[at] = by.sizes.empty() ? size_of(std::floor(static_cast<float>(old) * scale[at])) : by.sizes[2 + i];
  }
  settings["size"] = size;
  if (by.sizes.empty()) settings["scale"] = scale;
  const Known x = space == 2 ? given : node.reshaped(given, {given.dims[0], given.dims[1], 1, given.dims[2]});
  const Known y = node.layer("Resize", {node.images(x)}, settings);
  return space == 2 ? y : node.reshaped(y, {y.dims[0], y.dims[1], y.dims[3]});
}

// Sizes as large as they can be, or as small as they have to be, with one scale for all.
void keep_aspect_ratio(const Translation& node, const std::string& policy, const Dims& axes, Resizing& by) {
  if (policy == "stretch" || by.sizes.empty()) return;
  const Known& x = node.input(0);
  const auto old = [&](size_t i) {
    return static_cast<float>(x.dims[axes.empty() ? i : static_cast<size_t>(node.axis(x, axes[i]))]);
  };
  check(by.sizes.size() == (axes.empty() ? x.dims.size() : axes.size()), "{} sizes for {} dimensions", by.sizes.size(),
        axes.empty() ? x.dims.size() : axes.size());
  float scale = static_cast<float>(by.sizes[0]) / old(0);
  for (size_t i = 1; i < by.sizes.size(); ++i) {
    const float own = static_cast<float>(by.sizes[i]) / old(i);
    scale = policy == "not_larger" ? std::min(scale, own) : std::max(scale, own);
  }
  for (size_t i = 0; i < by.sizes.size(); ++i) by.sizes[i] = size_of(std::round(old(i) * scale));
}

std::vector<float> scales_of(const Translation& node, size_t i) {
  if (!node.has(i)) return {};
  const Tensor given = node.floats(i);
  return {given.data().begin(), given.data().end()};
}

Results resized(const Translation& node) {
  const bool early = node.opset() < 11;
  Resizing by{.scales = scales_of(node, early ? 1 : 2), .sizes = !early && node.has(3) ? node.ints(3) : Dims()};
  if (!by.sizes.empty()) by.scales.clear();
  check(!by.scales.empty() || !by.sizes.empty(), "expected scales or sizes");
  check(node.number("antialias", 0) == 0, "antialiasing is not supported");
  check(node.number("exclude_outside", 0) == 0, "exclude_outside is not supported");
  const Dims axes = node.numbers("axes");
  keep_aspect_ratio(node, node.text("keep_aspect_ratio_policy", "stretch"), axes, by);
  const std::string mode = node.text("mode", "nearest");
  const std::string coordinates = node.text("coordinate_transformation_mode", early ? "asymmetric" : "half_pixel");
  Json settings{{"mode", mode}, {"coordinates", coordinates_of(coordinates)}};
  if (mode == "nearest") settings["rounding"] = node.text("nearest_mode", early ? "floor" : "round_prefer_floor");
  if (mode == "cubic") settings["cubic_coefficient"] = node.real("cubic_coeff_a", -0.75f);
  return {resized_by(node, of_every_dimension(node, by, axes), settings)};
}

Results upsampled(const Translation& node) {
  Resizing by{.scales = node.reals("scales"), .sizes = {}};
  if (by.scales.empty()) by.scales = scales_of(node, 1);
  Json settings{{"mode", node.text("mode", "nearest")}, {"coordinates", "asymmetric"}};
  if (settings["mode"] == "nearest") settings["rounding"] = "floor";
  return {resized_by(node, of_every_dimension(node, by, {}), settings)};
}

}  // namespace

Translations resizing_translations() { return {{"Resize", resized}, {"Upsample", upsampled}}; }

}  // namespace qgrad::onnx
