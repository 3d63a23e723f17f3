// YAML files as JSON: what of YAML has such a form.
#pragma once

#include <filesystem>

#include "core/json.h"

namespace qgrad {

// One document. Plain scalars are null, booleans and numbers as in YAML 1.1, which PyYAML reads, but for numbers that
// begin with 0 and go on with a digit, x or o, or hold an underscore: those stay text. Keys are text, and may not stand
// twice. Throws Error naming the file and the line.
Json read_yaml(const std::filesystem::path& file);

}  // namespace qgrad
