// Writes the pictures of docs/quantizers: draw_quantizers docs/quantizers
#include <fmt/format.h>

#include <exception>
#include <filesystem>

#include "core/file.h"
#include "docs/quantizers/pictures.h"

int main(int argc, char** argv) try {
  if (argc != 2) {
    fmt::print(stderr, "usage: draw_quantizers FOLDER\n");
    return 2;
  }
  for (const auto& [file, svg] : qgrad::quantizer_pictures())
    qgrad::write_file_atomically(std::filesystem::path(argv[1]) / file, svg);
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "draw_quantizers: {}\n", e.what());
  return 1;
}
