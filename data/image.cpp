// Reading image files, and Pillow's 8-bit triangle-filter resize.
#include "data/image.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "data/decoder.h"
#include "data/image_check.h"

namespace qgrad {
namespace {

constexpr uintmax_t kMostBytes = uintmax_t{1} << 28;

// All that decoding asks for: a few copies of the pixels in blocks of up to 32x32, as many as 16 bits of interlaced
// RGBA take, and of the file.
size_t memory_for(const ImageSize& image, size_t file_bytes) {
  constexpr size_t kMost = size_t{512} << 20, kFixed = size_t{1} << 20;
  const auto pixels = static_cast<size_t>((image.width + 32) * (image.height + 32));
  return std::min(kMost, 64 * pixels + 4 * file_bytes + kFixed);
}

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
  std::error_code ignored;  // whatever is wrong shows when the file is read
  const uintmax_t length = std::filesystem::file_size(file, ignored);
  check(ignored || length <= kMostBytes, "{}: {} bytes are more than {}", file.string(), length, kMostBytes);
  const std::string bytes = read_file(file, "a PNG or JPEG image");
  try {
    return decode_image(bytes, channels, memory_for(check_image(bytes), bytes.size()));
  } catch (const Error& e) {
    fail("{}: {}", file.string(), e.what());
  }
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
