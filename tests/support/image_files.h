// Small image files for tests.
#pragma once

#include <filesystem>
#include <string>

#include "data/image.h"

namespace qgrad::test {

Image random_image(const Shape& shape, uint64_t seed);
Image pattern_image(const Shape& shape);              // number i: the lowest byte of (2654435761 i mod 2^32) >> 11
uint64_t hash_of(const std::vector<uint8_t>& bytes);  // FNV-1a
void write_png(const std::filesystem::path& file, const Image& image);
void write_jpeg(const std::filesystem::path& file, const Image& image);
// The bytes that one of these writes.
std::string bytes_of(void (*write)(const std::filesystem::path&, const Image&), const Image& image);
// EXIF with an orientation and nothing else, its numbers in the order "II" or "MM"; and a PNG or JPEG file with it.
std::string exif(int orientation, const std::string& byte_order);
std::string with_exif(std::string file, const std::string& exif);
std::string deflated(const std::string& bytes);  // as in PNG files

}  // namespace qgrad::test
