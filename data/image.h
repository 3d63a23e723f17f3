// Single images: reading PNG and JPEG files, and resizing.
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

// Reads a PNG or JPEG file as 1 (grey) or 3 (RGB) channels: grey becomes three equal channels, RGB becomes luminance,
// transparency is dropped, 16 bits become 8. Rotation marks in EXIF are ignored. Throws, naming the file, where it can
// not be read, has more than 2^28 bytes or 2^26 pixels, or takes more than 512 MiB to decode.
Image read_image(const std::filesystem::path& file, int64_t channels);

// Triangle filter, widened when shrinking so that every input pixel counts: the same bits as Pillow's (and so
// torchvision's) BILINEAR resize of an 8-bit image. The aspect ratio is not kept.
Image resize(const Image& image, int64_t height, int64_t width);

}  // namespace qgrad
