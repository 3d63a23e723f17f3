// Sizes in configs, and one order of resizing and cropping.
#include "data/image_fit.h"

#include <nlohmann/json.hpp>

namespace qgrad {
namespace {

constexpr Field kSideLimits{.min = 1, .max = 4096};

ImageSize resized_size(const ImageFit& fit, const ImageSize& size) {
  if (fit.size) return fit.size->both();
  if (!fit.resize) return size;
  return fit.resize->second ? fit.resize->both() : size_with_shorter_side(size, fit.resize->first);
}

}  // namespace

void read_value(const Config& from, Sides& value) {
  if (!from.json().is_array()) return read_onto(value.first, from, kSideLimits);
  std::vector<int64_t> both;
  read_onto(both, from, kSideLimits);
  if (both.size() != 2)
    config_error(from.where(), "expected a number, or [height, width], got a list of {}", both.size());
  value = {both[0], both[1]};
}

void write_value(const Sides& value, Json& to) {
  to = value.second ? Json{value.first, *value.second} : Json(value.first);
}

void value_schema(const Sides&, Json& to) {
  const Json number{{"type", "integer"}, {"minimum", kSideLimits.min}, {"maximum", kSideLimits.max}};
  const Json both{{"type", "array"}, {"items", number}, {"minItems", 2}, {"maxItems", 2}};
  to = {{"anyOf", {number, both}}};
}

void fields(Fields& v, ImageFit& fit) {
  v("size", fit.size,
    {.help =
         "[height, width], or one number for both, that images are resized to, whatever their aspect ratio; null: as "
         "the network has it, else as all images have it"});
  v("resize", fit.resize,
    {.help =
         "in place of size: a number that the shorter side is resized to, the aspect ratio kept, or [height, width]"});
  v("center_crop", fit.center_crop,
    {.help = "[height, width], or one number for both, of the part in the middle that is used after resize; what is "
             "smaller gets a margin of zeros"});
}

void check_fit(const ImageFit& fit) {
  check(!fit.size || !(fit.resize || fit.center_crop),
        "size: says all by itself; beside resize or center_crop it has no effect: leave one out");
}

std::optional<ImageSize> fixed_size(const ImageFit& fit) {
  if (fit.center_crop) return fit.center_crop->both();
  if (fit.size || (fit.resize && fit.resize->second)) return resized_size(fit, {});
  return std::nullopt;
}

ImageSize fitted_size(const ImageFit& fit, const ImageSize& size) {
  return fit.center_crop ? fit.center_crop->both() : resized_size(fit, size);
}

Image fitted(Image image, const ImageFit& fit) {
  const ImageSize size = resized_size(fit, {image.shape[0], image.shape[1]});
  if (size != ImageSize{image.shape[0], image.shape[1]}) image = resize(image, size.height, size.width);
  return fit.center_crop ? center_crop(image, fit.center_crop->both()) : image;
}

}  // namespace qgrad
