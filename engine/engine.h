// Runs integer programs. Uses the errors, memory, threads and kernels of core, and nothing else.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/float_ops.h"
#include "engine/kernels/byte_kernels.h"
#include "engine/program.h"

namespace qgrad {
class ByteConvPlan;
}

namespace qgrad::deploy {

struct ByteRange;

class Engine {
 public:
  // Validates the program, plans its memory and prepares its operations, so that running one allocates nothing. Throws
  // Error.
  explicit Engine(Program program);

  const Program& program() const { return *program_; }
  int64_t input_count() const { return tensor(program_->input).count(); }    // numbers of one image
  int64_t output_count() const { return tensor(program_->output).count(); }  // numbers of its result
  int64_t arena_bytes() const { return arena_bytes_; }  // for each image that is worked on at a time

  // Sees every tensor of every image as it is made: float or uint8_t, see TensorInfo. Called from several threads.
  using Tap = std::function<void(int64_t image, const TensorInfo& tensor, const void* values)>;

  // images: NHWC, normalised as in training; output: output_count() for each. The same bits for any number of threads
  // and any batch. Throws where the sizes do not fit.
  void run(std::span<const float> images, std::span<float> output, const Tap& tap = {}) const;
  // Of images as bytes, which are normalised as the program says. Throws where it does not say.
  void run_bytes(std::span<const uint8_t> images, std::span<float> output) const;

 private:
  struct Mode {
    bool share_rows;    // of a convolution, over the pool's threads
    bool every_tensor;  // is made; else some convolutions do what follows them, and store the result alone
  };
  // An operation, ready to run: everything but the image's arena is known.
  using Step = std::function<void(std::byte* arena, Mode mode)>;

  const TensorInfo& tensor(int32_t i) const { return program_->tensors[static_cast<size_t>(i)]; }
  int64_t offset(int32_t i) const { return offsets_[static_cast<size_t>(i)]; }
  void plan_memory();
  Step prepared(size_t op) const;
  Step prepared_gather(const Op& op) const;
  Step prepared_rows(const Op& op) const;
  std::shared_ptr<const ByteConvPlan> byte_plan(const Op& op, const ByteRange& input) const;
  Step prepared_conv(size_t op) const;
  Step prepared_float(const Op& op) const;
  Step prepared_float_conv(size_t op) const;
  Step prepared_chain(const std::vector<size_t>& chain) const;
  Step prepared_lookup(const Op& op) const;
  ConvEnding clamp_of(const FloatEnding& ending) const;
  ByteOutput output_of(const Op& op) const;
  void run_image(const float* image, float* output, Mode mode,
                 const std::function<void(int32_t, const void*)>& made) const;

  std::shared_ptr<const Program> program_;  // where steps find their operations, wherever the engine is moved
  std::vector<int64_t> offsets_;            // of every tensor in an image's arena
  int64_t arena_bytes_ = 0;
  std::vector<FloatEnding> endings_;
  std::vector<std::vector<size_t>> chains_;
  std::vector<bool> within_;  // operations that are the ending of another, or in a chain that another begins
  // Of convolutions, alone or in a chain.
  std::vector<std::shared_ptr<const FloatWeights>> float_weights_;
  std::vector<std::shared_ptr<const ByteConvPlan>> byte_plans_;
  std::vector<Step> steps_;
};

}  // namespace qgrad::deploy
