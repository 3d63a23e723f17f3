// Small image files for tests.
#pragma once

#include <filesystem>
#include <string>

#include "data/image.h"

namespace qgrad::test {

Image random_image(const Shape& shape, uint64_t seed);
void write_png(const std::filesystem::path& file, const Image& image);
void write_jpeg(const std::filesystem::path& file, const Image& image);
std::string deflated(const std::string& bytes);  // as in PNG files

}  // namespace qgrad::test
