// "digits": 1,797 real 8x8 images of handwritten digits, embedded in the library. See data/digits/README.md.
#pragma once

#include <span>

#include "data/dataset.h"

namespace qgrad {

// Every image of a digits.bin file, in file order, image [8,8,1], pixels 0..16 scaled to 0..255.
// Throws, with `name` first, on a wrong length, and on a label or pixel out of range.
ImageSet parse_digits(std::span<const uint8_t> file, const std::string& name);

// The embedded file.
std::span<const uint8_t> digits_file();

}  // namespace qgrad
