// Image files through stb_image, and Pillow's 8-bit triangle-filter resize.
#include "data/image.h"

#include <stb/stb_image.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "core/error.h"
#include "core/json.h"

namespace qgrad {
namespace {

constexpr int64_t kMaxPixels = int64_t{1} << 26;

constexpr size_t kMaxBytes = size_t{1} << 30;

// What one output position takes from its line of input: fixed-point weights of inputs first, first + 1, ...
struct Taps {
  int64_t first;
  std::vector<int32_t> weights;
};

constexpr int kFractionBits = 32 - 8 - 2;  // an 8-bit value times weights that sum to one fits 32 bits, with room

// The triangle filter centred on each output position, its half width one pixel of the coarser of both grids.
std::vector<Taps> triangle_taps(int64_t in, int64_t out) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), half_width = std::max(scale, 1.0);
  std::vector<Taps> taps;
  taps.reserve(static_cast<size_t>(out));
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - half_width + 0.5), 0);
    const int64_t last = std::min<int64_t>(static_cast<int64_t>(centre + half_width + 0.5), in);
    std::vector<double> weights;
    double sum = 0;
    for (int64_t x = first; x < last; ++x) {
      const double distance = std::abs((static_cast<double>(x) - centre + 0.5) * (1.0 / half_width));
      weights.push_back(std::max(1.0 - distance, 0.0));
      sum += weights.back();
    }
    Taps tap{first, {}};
    for (const double weight : weights)
      tap.weights.push_back(static_cast<int32_t>(0.5 + weight / sum * (1 << kFractionBits)));
    taps.push_back(std::move(tap));
  }
  return taps;
}

// Resizes the middle dimension of [before, length, after] numbers.
std::vector<uint8_t> resize_dimension(const std::vector<uint8_t>& pixels, int64_t before, int64_t length, int64_t after,
                                      int64_t new_length) {
  const std::vector<Taps> taps = triangle_taps(length, new_length);
  std::vector<uint8_t> result(static_cast<size_t>(before * new_length * after));
  std::vector<int32_t> sums(static_cast<size_t>(after));
  uint8_t* out = result.data();
  for (int64_t b = 0; b < before; ++b) {
    for (const Taps& tap : taps) {
      const uint8_t* in = pixels.data() + (b * length + tap.first) * after;
      std::fill(sums.begin(), sums.end(), 1 << (kFractionBits - 1));
      for (const int32_t weight : tap.weights)
        for (int32_t& sum : sums) sum += weight * *in++;
      for (const int32_t sum : sums) *out++ = static_cast<uint8_t>(std::clamp(sum >> kFractionBits, 0, 255));
    }
  }
  return result;
}

}  // namespace

Image read_image(const std::filesystem::path& file, int64_t channels) {
  check(channels == 1 || channels == 3, "read_image: expected 1 or 3 channels, got {}", channels);
  const std::string content = read_file(file, "a PNG or JPEG image");
  check(content.size() <= kMaxBytes, "{}: {} bytes are more than {}", file.string(), content.size(), kMaxBytes);
  const auto* const bytes = reinterpret_cast<const stbi_uc*>(content.data());
  const auto size = static_cast<int>(content.size());
  int width = 0, height = 0, channels_in_file = 0;
  const bool known = stbi_info_from_memory(bytes, size, &width, &height, &channels_in_file) != 0;
  check(known, "{}: not a PNG or JPEG image ({})", file.string(), stbi_failure_reason());
  check(int64_t{width} * height <= kMaxPixels, "{}: {}x{} pixels are more than {}", file.string(), width, height,
        kMaxPixels);

  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes, size, &width, &height, &channels_in_file, static_cast<int>(channels)),
      stbi_image_free);
  check(pixels != nullptr, "{}: damaged image ({})", file.string(), stbi_failure_reason());
  const Shape shape{height, width, channels};
  return {shape, {pixels.get(), pixels.get() + shape.numel()}};
}

Image resize(const Image& image, int64_t height, int64_t width) {
  check(image.shape.rank() == 3 && image.shape.numel() > 0, "resize: expected an image [H,W,C], got {}", image.shape);
  check(height > 0 && width > 0, "resize: expected a positive size, got {}x{}", height, width);
  const int64_t old_height = image.shape[0], old_width = image.shape[1], channels = image.shape[2];
  Image result{Shape{height, width, channels}, image.pixels};
  if (width != old_width) result.pixels = resize_dimension(result.pixels, old_height, old_width, channels, width);
  if (height != old_height) result.pixels = resize_dimension(result.pixels, 1, old_height, width * channels, height);
  return result;
}

}  // namespace qgrad
