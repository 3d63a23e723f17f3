// Random windows, and a set of what is seen through them.
#include "data/random_crop.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "core/random.h"

namespace qgrad {
namespace {

constexpr int kTries = 10;

// In [low, high), of 32 random bits.
double between(double low, double high, uint32_t random) { return low + (high - low) * (random * 0x1p-32); }
// 0 .. n-1
int64_t below(int64_t n, uint32_t random) {
  return static_cast<int64_t>((uint64_t{random} * static_cast<uint64_t>(n)) >> 32);
}
int64_t rounded(double x) { return static_cast<int64_t>(std::nearbyint(x)); }  // half to even, as Python

CropWindow central_window(const RandomResizedCropConfig& config, const ImageSize& image) {
  const double ratio = static_cast<double>(image.width) / static_cast<double>(image.height);
  ImageSize size = image;
  if (ratio < config.ratio.low) size.height = rounded(static_cast<double>(image.width) / config.ratio.low);
  if (ratio > config.ratio.high) size.width = rounded(static_cast<double>(image.height) * config.ratio.high);
  return {(image.height - size.height) / 2, (image.width - size.width) / 2, size};
}

}  // namespace

void read_value(const Config& from, Range& value) {
  std::vector<double> both;
  read_onto(both, from, {.min = 0, .above_min = true});
  if (both.size() != 2 || both[0] > both[1])
    config_error(from.where(), "expected [smallest, largest], got {}", json_line(from.json()));
  value = {both[0], both[1]};
}

void write_value(const Range& value, Json& to) { to = {value.low, value.high}; }

void value_schema(const Range&, Json& to) {
  const Json number{{"type", "number"}, {"exclusiveMinimum", 0}};
  to = {{"type", "array"}, {"items", number}, {"minItems", 2}, {"maxItems", 2}};
}

void fields(Fields& v, RandomResizedCropConfig& c) {
  v("scale", c.scale, {.help = "smallest and largest share of the image's area"});
  v("ratio", c.ratio, {.help = "smallest and largest width by height of what is cut out"});
}

CropWindow random_window(const RandomResizedCropConfig& config, const ImageSize& image, uint64_t seed, int64_t epoch,
                         int64_t sample) {
  const RandomStream random(seed, "resized crop");
  const auto area = static_cast<double>(image.height * image.width);
  for (int t = 0; t < kTries; ++t) {
    const auto [of_area, of_ratio, of_top, of_left] =
        random.block(static_cast<uint64_t>(sample), static_cast<uint64_t>(kTries * epoch + t));
    const double wanted = area * between(config.scale.low, config.scale.high, of_area);
    const double ratio = std::exp(between(std::log(config.ratio.low), std::log(config.ratio.high), of_ratio));
    const ImageSize size{rounded(std::sqrt(wanted / ratio)), rounded(std::sqrt(wanted * ratio))};
    if (size.height > 0 && size.height <= image.height && size.width > 0 && size.width <= image.width)
      return {below(image.height - size.height + 1, of_top), below(image.width - size.width + 1, of_left), size};
  }
  return central_window(config, image);
}

ImageSet randomly_cropped(const ImageSet& set, const RandomResizedCropConfig& config, uint64_t seed) {
  ImageSet cropped{set.image, {}, set.labels};
  cropped.read = [&set, config, seed](int64_t place, int64_t epoch) {
    const Image image = set.original_of(place);
    const CropWindow window = random_window(config, {image.shape[0], image.shape[1]}, seed, epoch, place);
    return resize(crop(image, window.top, window.left, window.size), set.image[0], set.image[1]).pixels;
  };
  return cropped;
}

}  // namespace qgrad
