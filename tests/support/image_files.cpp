// Writes image files through stb_image_write.
#include "support/image_files.h"

#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

#include <cstdlib>
#include <memory>

#include "core/error.h"
#include "core/file.h"
#include "core/random.h"
#include "support/temporary_folder.h"

namespace qgrad::test {

Image random_image(const Shape& shape, uint64_t seed) {
  RandomStream random(seed, "test image");
  Image image{shape, {}};
  for (int64_t i = 0; i < shape.numel(); ++i) image.pixels.push_back(static_cast<uint8_t>(random.next()));
  return image;
}

Image pattern_image(const Shape& shape) {
  Image image{shape, {}};
  for (uint32_t i = 0; i < static_cast<uint32_t>(shape.numel()); ++i)
    image.pixels.push_back(static_cast<uint8_t>(i * 2654435761u >> 11));
  return image;
}

uint64_t hash_of(const std::vector<uint8_t>& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3u;
  return hash;
}

std::string bytes_of(void (*write)(const std::filesystem::path&, const Image&), const Image& image) {
  const TemporaryFolder folder;
  write(folder.path() / "image", image);
  return read_file(folder.path() / "image", "an image");
}

std::string exif(int orientation, const std::string& byte_order) {
  std::string tiff = byte_order;
  const auto add = [&](int value, int bytes) {
    for (int i = 0; i < bytes; ++i)
      tiff += static_cast<char>(value >> 8 * (byte_order == "II" ? i : bytes - 1 - i) & 255);
  };
  add(42, 2), add(8, 4);                                                           // where the directory begins
  add(1, 2), add(0x112, 2), add(3, 2), add(1, 4), add(orientation, 2), add(0, 2);  // of one entry
  add(0, 4);                                                                       // and no other directory
  return tiff;
}

std::string with_exif(std::string file, const std::string& exif) {
  const auto big_endian = [](size_t value, int bytes) {
    std::string text;
    for (int shift = 8 * bytes - 8; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 255);
    return text;
  };
  if (file.starts_with("\x89PNG")) {
    constexpr size_t kAfterHeader = 8 + 12 + 13;
    return file.insert(kAfterHeader, big_endian(exif.size(), 4) + "eXIf" + exif + "sum.");
  }
  return file.insert(2, "\xff\xe1" + big_endian(exif.size() + 8, 2) + std::string("Exif\0\0", 6) + exif);
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
