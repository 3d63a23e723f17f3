// Writes the pictures of the documents: draw_pictures docs
#include <fmt/format.h>

#include <exception>
#include <filesystem>

#include "core/file.h"
#include "docs/quantizers/pictures.h"
#include "docs/studies/frontier.h"

int main(int argc, char** argv) try {
  if (argc != 2) {
    fmt::print(stderr, "usage: draw_pictures FOLDER\n");
    return 2;
  }
  const std::filesystem::path docs = argv[1];
  for (const auto& [file, svg] : qgrad::quantizer_pictures())
    qgrad::write_file_atomically(docs / "quantizers" / file, svg);
  qgrad::write_file_atomically(docs / "studies/frontier.svg", qgrad::frontier_picture(docs / "studies"));
  return 0;
} catch (const std::exception& e) {
  fmt::print(stderr, "draw_pictures: {}\n", e.what());
  return 1;
}
