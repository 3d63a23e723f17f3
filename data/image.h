// Single images: reading PNG and JPEG files, and their channels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "core/shape.h"

namespace qgrad {

struct Image {
  Shape shape;                  // [H, W, C]
  std::vector<uint8_t> pixels;  // NHWC order
};

// 1: grey; 2: grey and alpha; 3: RGB; 4: RGBA.
struct PixelFormat {
  int64_t channels = 3;
  // The grey that is seen through transparent pixels where there is no channel for alpha. White, for what has
  // transparent parts was mostly drawn for pages: black lines would vanish on black.
  uint8_t background = 255;
};

// Reads a PNG or JPEG file and turns it upright, as its EXIF orientation says; 16 bits become 8. Throws, naming the
// file, where it can not be read, has more than 2^28 bytes or 2^26 pixels, or takes more than 512 MiB to decode.
Image read_image(const std::filesystem::path& file, const PixelFormat& format);

// The same bits as Pillow's: RGB becomes luminance as convert("L") has it, grey three equal channels, alpha that the
// image does not have 255; alpha that is not wanted is composed over the background as paste() with a mask does it.
Image converted(const Image& image, const PixelFormat& format);

}  // namespace qgrad
