// What a file is by its first bytes, so that a file of another kind than expected is called by its name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace qgrad {

// "a PNG image", "an ONNX model"; "" for what is not known.
std::string file_kind(std::string_view bytes);
std::string kind_of_file(const std::filesystem::path& file);  // "" also where it can not be read

// The same for a message about what can not be read as a checkpoint; with what makes a safetensors file of it, where
// that is known.
std::string file_kind_to_convert(std::string_view bytes, std::string_view file);

}  // namespace qgrad
