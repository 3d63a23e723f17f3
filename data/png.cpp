// The one place of the library where stb_image_write is compiled.
#include "data/png.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

#include <algorithm>

#include "core/divide_up.h"
#include "core/error.h"

namespace qgrad {
namespace {

void append(void* to, void* bytes, int size) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), static_cast<size_t>(size));
}

}  // namespace

std::string png_of(const Image& image) {
  const auto height = static_cast<int>(image.shape[0]), width = static_cast<int>(image.shape[1]);
  const auto channels = static_cast<int>(image.shape[2]);
  check(channels >= 1 && channels <= 4 && static_cast<int64_t>(image.pixels.size()) == image.shape.numel(),
        "png: expected 1 to 4 channels of bytes, got {} with {} bytes", image.shape, image.pixels.size());
  std::string bytes;
  check(stbi_write_png_to_func(append, &bytes, width, height, channels, image.pixels.data(), width * channels) != 0,
        "png: can not encode an image of {}", image.shape);
  return bytes;
}

Image shrunk(const Image& image, int64_t side) {
  const int64_t height = image.shape[0], width = image.shape[1], channels = image.shape[2];
  const int64_t factor = divide_up(std::max(height, width), side);
  if (factor <= 1) return image;
  Image small{Shape{std::max<int64_t>(height / factor, 1), std::max<int64_t>(width / factor, 1), channels}, {}};
  for (int64_t y = 0; y < small.shape[0]; ++y)
    for (int64_t x = 0; x < small.shape[1]; ++x)
      for (int64_t c = 0; c < channels; ++c) {
        int64_t sum = 0, count = 0;
        for (int64_t i = y * factor; i < std::min(height, (y + 1) * factor); ++i)
          for (int64_t j = x * factor; j < std::min(width, (x + 1) * factor); ++j, ++count)
            sum += image.pixels[static_cast<size_t>((i * width + j) * channels + c)];
        small.pixels.push_back(static_cast<uint8_t>((sum + count / 2) / count));
      }
  return small;
}

}  // namespace qgrad
