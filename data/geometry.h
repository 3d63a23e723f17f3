// Images turned, resized and cropped, as Pillow 13 and torchvision do it with 8-bit images, to the bit.
#pragma once

#include "data/image.h"

namespace qgrad {

// Pillow's BILINEAR: a triangle filter, widened when shrinking so that every input pixel counts. The aspect ratio is
// not kept. With alpha (2 or 4 channels) colours are weighted by it. Numbers are rounded after each dimension: Pillow
// begins with the height where that shrinks by much more than the width, before version 13 always with the width, so
// that those differ by one here and there.
Image resize(const Image& image, int64_t height, int64_t width);

struct ImageSize {
  int64_t height, width;
  bool operator==(const ImageSize&) const = default;
};
// Of torchvision's Resize(shorter): the shorter side is that, the longer one in proportion, rounded down.
ImageSize size_with_shorter_side(const ImageSize& size, int64_t shorter);

// torchvision's CenterCrop: where the margins are uneven, the left (upper) one is the even number; where the image is
// smaller, zeros are around it, the right (lower) margin being the wider one.
Image center_crop(const Image& image, const ImageSize& size);

// A part of an image, which it must be within.
Image crop(const Image& image, int64_t top, int64_t left, const ImageSize& size);

// As EXIF's orientation 1 to 8 says that an image lies: turned and mirrored so that it stands upright.
Image upright(Image image, int orientation);
ImageSize upright(const ImageSize& size, int orientation);

}  // namespace qgrad
