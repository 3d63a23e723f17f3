// Writes image files through stb_image_write.
#include "support/image_files.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#include <cstdlib>
#include <memory>

#include "core/error.h"
#include "core/random.h"

namespace qgrad::test {

Image random_image(const Shape& shape, uint64_t seed) {
  RandomStream random(seed, "test image");
  Image image{shape, {}};
  for (int64_t i = 0; i < shape.numel(); ++i) image.pixels.push_back(static_cast<uint8_t>(random.next()));
  return image;
}

void write_png(const std::filesystem::path& file, const Image& image) {
  const int height = static_cast<int>(image.shape[0]), width = static_cast<int>(image.shape[1]);
  const int channels = static_cast<int>(image.shape[2]);
  check(stbi_write_png(file.c_str(), width, height, channels, image.pixels.data(), 0) != 0, "{}", file.string());
}

void write_jpeg(const std::filesystem::path& file, const Image& image) {
  const int height = static_cast<int>(image.shape[0]), width = static_cast<int>(image.shape[1]);
  const int channels = static_cast<int>(image.shape[2]);
  check(stbi_write_jpg(file.c_str(), width, height, channels, image.pixels.data(), 95) != 0, "{}", file.string());
}

std::string deflated(const std::string& bytes) {
  int size = 0;
  auto* content = reinterpret_cast<unsigned char*>(const_cast<char*>(bytes.data()));  // which is only read
  const std::unique_ptr<unsigned char, void (*)(void*)> result(
      stbi_zlib_compress(content, static_cast<int>(bytes.size()), &size, 8), std::free);
  return {reinterpret_cast<const char*>(result.get()), static_cast<size_t>(size)};
}

}  // namespace qgrad::test
