// The safetensors file format: named float32 tensors and a string-to-string map.
//
// 8 bytes little-endian header length; a JSON header {"__metadata__": {..}, name: {"dtype", "shape", "data_offsets"}};
// the numbers, little-endian, without gaps. The metadata that are written here have "qgrad_crc32c": an object, as text,
// with the CRC-32C of each tensor's bytes in hexadecimal digits, and that of the other metadata, keys and values one
// after another in the order of the keys, under "__metadata__".
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/tensor.h"

namespace qgrad {

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

struct TensorFile {
  std::map<std::string, std::string> metadata;
  NamedTensors tensors;  // in the order of their data
};

// Every length, offset and shape is checked before it is trusted, and every checksum, where there are some; errors name
// the file and the tensor. Only F32 is read. PyTorch's batch norms also save "num_batches_tracked" counters (I64),
// which nothing here uses: they are skipped.
TensorFile read_safetensors(const std::filesystem::path& file);

// The same tensors in the same order give the same bytes. All or nothing (write_file_atomically). Names must be unique.
void write_safetensors(const std::filesystem::path& file, const TensorFile& content);

}  // namespace qgrad
