// Writing a checkpoint for other runtimes, as `qgrad export` does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "apps/command.h"

namespace qgrad {

struct ExportOptions {
  std::string checkpoint;
  std::optional<std::string> onnx, program, config;
  bool all_tensors = false, fused = false;
  int64_t test_images = 0;
};

// Writes the files, once the program was run beside the model that it was made of, and returns what is to be said of
// them. Throws, and writes nothing, for what has no form in a program.
struct Exported {
  Json results;
  std::string text;
};
Exported export_checkpoint(const ExportOptions& chosen, const CommonOptions& options);

}  // namespace qgrad
