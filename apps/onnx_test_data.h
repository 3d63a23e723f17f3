// The engine's results in the layout that ONNX runtimes' own test data has, for tests/onnx.
#pragma once

#include <filesystem>

#include "core/tensor.h"
#include "engine/engine.h"

namespace qgrad {

// Runs images [N,H,W,C] and writes folder/input_0.pb, output_0.pb and, with all_tensors, output_<i>.pb for every
// quantized tensor, in the order of the outputs that onnx_model() gives.
void write_onnx_test_set(const std::filesystem::path& folder, const deploy::Engine& engine, const Tensor& images,
                         bool all_tensors);

}  // namespace qgrad
