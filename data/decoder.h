// Pixels of PNG and JPEG files, by stb_image in bounded memory.
#pragma once

#include <string_view>

#include "data/image.h"

namespace qgrad {

// Bytes that check_image() let pass, with the channels that the file has (1 to 4, see PixelFormat), as its pixels lie.
// Throws Error, without the file's name, where they are damaged, or where all memory that is asked for on the way would
// be more than `most_bytes`.
Image decode_image(std::string_view bytes, size_t most_bytes);

}  // namespace qgrad
