// Images as the bytes of PNG files.
#pragma once

#include <string>

#include "data/image.h"

namespace qgrad {

// Of 1 to 4 channels. The same image gives the same bytes.
std::string png_of(const Image& image);

// Means of squares of pixels, so that no side is longer than `side`; an image that is small enough as it is.
Image shrunk(const Image& image, int64_t side);

}  // namespace qgrad
