// Runs integer programs. Uses the errors, memory, threads and kernels of core, and nothing else.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "engine/float_ops.h"
#include "engine/kernels/byte_plan.h"
#include "engine/program.h"

namespace qgrad::deploy {

class Engine {
 public:
  // Validates the program, packs its weights and plans its memory. Throws Error.
  explicit Engine(Program program);

  const Program& program() const { return program_; }
  int64_t input_count() const { return tensor(program_.input).count(); }    // numbers of one image
  int64_t output_count() const { return tensor(program_.output).count(); }  // numbers of its result
  int64_t arena_bytes() const { return arena_bytes_; }  // for each image that is worked on at a time

  // Sees every tensor of every image as it is made: float or uint8_t, see TensorInfo. Called from several threads.
  using Tap = std::function<void(int64_t image, const TensorInfo& tensor, const void* values)>;

  // images: NHWC, normalised as in training; output: output_count() for each. The same bits for any number of threads
  // and any batch. Throws where the sizes do not fit.
  void run(std::span<const float> images, std::span<float> output, const Tap& tap = {}) const;
  // Of images as bytes, which are normalised as the program says. Throws where it does not say.
  void run_bytes(std::span<const uint8_t> images, std::span<float> output) const;

 private:
  const TensorInfo& tensor(int32_t i) const { return program_.tensors[static_cast<size_t>(i)]; }
  void plan_operations();
  void plan_memory();
  // Adding it to integers leaves what is rounded: 0, or under Rounding::onnx, where zero points are added after
  // rounding, the grid's own.
  int32_t shift(const Grid& grid) const { return program_.rounding == Rounding::onnx ? grid.zero_point : 0; }
  ByteOutput output_of(const Op& op) const;
  ByteIntegers integers_of(const Op& op) const;
  std::vector<int32_t> terms_of(const Op& op) const;
  void run_image(const float* image, float* output, bool share_rows,
                 const std::function<void(int32_t, const void*)>& made) const;
  void run_op(size_t index, std::byte* arena, bool share_rows) const;
  void run_conv(const Op& op, const ByteConvLayer& layer, std::byte* arena, bool share_rows) const;

  Program program_;
  std::vector<std::optional<ByteConvPlan>> plans_;  // of every op; empty but for convolutions
  std::vector<FloatWeights> float_weights_;         // of every op; empty but for convolutions in float
  std::vector<std::vector<int32_t>>
      terms_;                     // of every op, [inputs][256]; empty but for sums and products in fixed point
  std::vector<int64_t> offsets_;  // of every tensor in an image's arena
  int64_t arena_bytes_ = 0;
};

}  // namespace qgrad::deploy
