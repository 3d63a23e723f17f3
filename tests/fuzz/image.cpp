// A PNG or JPEG file, as grey and as RGBA.
#include "data/image.h"

#include <cstdlib>
#include "data/image_check.h"

#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {

void one_input(std::string_view bytes) {
  const std::filesystem::path file = file_of(bytes);
  const Image image = read_image(file, {.channels = 4});
  if (image.shape.numel() > kMostPixels || std::ssize(image.pixels) != image.shape.numel()) std::abort();
  if (read_image(file, {.channels = 4}).pixels != image.pixels) std::abort();  // reads nothing that it did not write
}

}  // namespace qgrad::fuzz
