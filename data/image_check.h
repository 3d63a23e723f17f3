// PNG and JPEG files checked before a decoder sees them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace qgrad {

// As the pixels lie in the file, and by EXIF's orientation, 1 to 8, how they are to be turned; 1 where it says none.
struct ImageHeader {
  int64_t width, height;
  int orientation = 1;
};

inline constexpr int64_t kMostPixels = int64_t{1} << 26;

// Walks through all chunks of a PNG file, or all markers of a JPEG file. An orientation is read where EXIF is sound.
// Throws Error, without the file's name, where it is neither; where a length leads out of it; where the size is beyond
// kMostPixels, or beyond what so many bytes can hold; where a scan of a JPEG refers to a table that was not defined
// before, a table of Huffman codes has more than 256 of them or lengths that do not fit, a component has no scan, or
// there are more than 100 scans.
ImageHeader check_image(std::string_view bytes);

// What the beginning of a file says: null where that takes more of it. Throws where it is neither PNG nor JPEG, and for
// what is wrong with the header.
std::optional<ImageHeader> image_header(std::string_view beginning);

}  // namespace qgrad
