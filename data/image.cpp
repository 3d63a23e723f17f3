// Reading image files, and what becomes of their channels.
#include "data/image.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/file.h"
#include "data/decoder.h"
#include "data/geometry.h"
#include "data/image_check.h"

namespace qgrad {
namespace {

constexpr uintmax_t kMostBytes = uintmax_t{1} << 28;

// All that decoding asks for: a few copies of the pixels in blocks of up to 32x32, as many as 16 bits of interlaced
// RGBA take, and of the file.
size_t memory_for(const ImageHeader& image, size_t file_bytes) {
  constexpr size_t kMost = size_t{512} << 20, kFixed = size_t{1} << 20;
  const auto pixels = static_cast<size_t>((image.width + 32) * (image.height + 32));
  return std::min(kMost, 64 * pixels + 4 * file_bytes + kFixed);
}

// round((a * alpha + b * (255 - alpha)) / 255)
uint8_t blended(int a, int b, int alpha) {
  const int sum = a * alpha + b * (255 - alpha) + 128;
  return static_cast<uint8_t>((sum + (sum >> 8)) >> 8);
}

uint8_t luminance(const std::array<uint8_t, 3>& rgb) {
  return static_cast<uint8_t>((rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16);
}

}  // namespace

Image read_image(const std::filesystem::path& file, const PixelFormat& format) {
  std::error_code ignored;  // whatever is wrong shows when the file is read
  const uintmax_t length = std::filesystem::file_size(file, ignored);
  check(ignored || length <= kMostBytes, "{}: {} bytes are more than {}", file.string(), length, kMostBytes);
  const std::string bytes = read_file(file, "a PNG or JPEG image");
  try {
    const ImageHeader header = check_image(bytes);
    return upright(converted(decode_image(bytes, memory_for(header, bytes.size())), format), header.orientation);
  } catch (const Error& e) {
    fail("{}: {}", file.string(), e.what());
  }
}

Image converted(const Image& image, const PixelFormat& format) {
  const auto from = static_cast<size_t>(image.shape[2]), to = static_cast<size_t>(format.channels);
  check(from >= 1 && from <= 4 && to >= 1 && to <= 4, "image: expected 1 to 4 channels, got {} to be made {}", from,
        to);
  if (from == to) return image;
  const bool has_alpha = from % 2 == 0, keeps_alpha = to % 2 == 0;
  Image result{Shape{image.shape[0], image.shape[1], format.channels}, {}};
  result.pixels.reserve(static_cast<size_t>(result.shape.numel()));
  for (auto in = image.pixels.begin(); in != image.pixels.end(); in += static_cast<std::ptrdiff_t>(from)) {
    std::array<uint8_t, 3> rgb{in[0], in[0], in[0]};
    if (from >= 3) rgb = {in[0], in[1], in[2]};
    const uint8_t alpha = has_alpha ? in[static_cast<std::ptrdiff_t>(from) - 1] : uint8_t{255};
    if (!keeps_alpha)
      for (uint8_t& c : rgb) c = blended(c, format.background, alpha);
    if (to >= 3)
      result.pixels.insert(result.pixels.end(), rgb.begin(), rgb.end());
    else
      result.pixels.push_back(luminance(rgb));
    if (keeps_alpha) result.pixels.push_back(alpha);
  }
  return result;
}

}  // namespace qgrad
