// Corrections of a quantized model from calibration images, layer by layer in the order of execution: every layer is
// corrected on the inputs that the corrected layers before it give.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quant/post_train/learned_rounding.h"
#include "quant/post_train/reconstruction.h"

namespace qgrad {

struct Corrections {
  std::optional<LearnedRoundingConfig> learned_rounding;
  bool scale_correction = false, bias_correction = false;
  std::optional<ReconstructionConfig> reconstruction;
};

// Corrects every convolution and fully connected layer whose weights are quantized: learns its
// rounding, then corrects its scales, then its bias; afterwards, reconstructs the network's units. reference: the float
// model with batch norms folded as in the quantized one. Both in evaluation mode. `done` is told the path of every
// corrected layer or unit, and how many of how many steps that makes. Each finished unit is kept, where `kept` is not
// null. Returns what was left out, in sentences.
using CorrectionProgress = std::function<void(const std::string& path, size_t done, size_t all)>;
std::vector<std::string> correct_layers(Module& quantized, Module& reference, std::span<const Tensor> batches,
                                        const Corrections& corrections, const CorrectionProgress& done,
                                        KeptCorrections* kept);

}  // namespace qgrad
