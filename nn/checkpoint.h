// Checkpoints: a model's parameters and buffers in a safetensors file that PyTorch users can open, with their names and
// layouts (OIHW convolutions, [out, in] linear weights), and the resolved config in the metadata.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/json.h"
#include "nn/module.h"
#include "nn/onnx/import.h"
#include "nn/safetensors.h"

namespace qgrad {

struct Checkpoint {
  std::filesystem::path file;                   // for messages
  NamedTensors tensors;                         // in the file's layout
  Json config;                                  // what save_checkpoint was given; null in files of others
  std::map<std::string, std::string> metadata;  // the other strings of the file
};

// Parameters (as the optimizer sees them) and buffers by path, in the file's layout, in the order of the model; as they
// are now, whatever the model does next.
NamedTensors model_state(Module& model);
// Of their paths, shapes and bytes: eight hexadecimal digits, in which other networks hardly agree.
std::string state_checksum(Module& model);

// Throws where a number is not finite, or beyond its parameter's or buffer's limits; the error begins with `source`.
void check_numbers(Module& model, std::string_view source);

void save_checkpoint(const std::filesystem::path& file, Module& model, const Json& config);  // of such numbers only
void write_checkpoint(const std::filesystem::path& file, const Checkpoint& checkpoint);      // as it is
// An ONNX model is imported: its config then says "name", "model", a network, and the size of the images "trained_on".
Checkpoint read_checkpoint(const std::filesystem::path& file);
Checkpoint import_checkpoint(const std::filesystem::path& onnx_file, const onnx::ImportOptions& options);

// Replaces every parameter and buffer of the model. Throws, and changes nothing, unless `state` has exactly the model's
// tensors, of numbers within their limits; the error names `source` and the first missing, unknown and mis-shaped ones.
// Buffers that are undefined in the model may be there or not.
void load_state(Module& model, const NamedTensors& state, std::string_view source);
inline void load_state(Module& model, const Checkpoint& checkpoint) {
  load_state(model, checkpoint.tensors, checkpoint.file.string());
}

// The config of the registered architecture whose tensors have exactly the checkpoint's names and shapes, with the
// number of classes taken from the checkpoint; nothing where there is none. For files that were made elsewhere.
std::optional<Json> guess_architecture(const Checkpoint& checkpoint);

}  // namespace qgrad
