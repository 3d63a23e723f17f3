// PNG and JPEG files checked before a decoder sees them.
#pragma once

#include <cstdint>
#include <string_view>

namespace qgrad {

struct ImageSize {
  int64_t width, height;
};

inline constexpr int64_t kMostPixels = int64_t{1} << 26;

// Walks through all chunks of a PNG file, or all markers of a JPEG file. Throws Error, without the file's name, where
// it is neither; where a length leads out of it; where the size is beyond kMostPixels, or beyond what so many bytes can
// hold; where a scan of a JPEG refers to a table that was not defined before, a table of Huffman codes has more than
// 256 of them or lengths that do not fit, a component has no scan, or there are more than 100 scans.
ImageSize check_image(std::string_view bytes);

}  // namespace qgrad
