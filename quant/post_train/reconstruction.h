// Block reconstruction: what the parts of a quantized network learn to give, part by part, of what the float network
// gives.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "nn/module.h"
#include "quant/kept_corrections.h"

namespace qgrad {

// What learns at once: a layer, the smallest part that one tensor enters and one leaves, or such parts one after
// another that give tensors of one shape.
enum class UnitSize { layer, block, stage };
std::vector<std::pair<std::string, UnitSize>> enum_names(UnitSize*);

struct ReconstructionConfig {
  UnitSize unit = UnitSize::block;
  int iterations = 500, network_iterations = 0;
  int batch_size = 32;
  float lr_weights = 0.01f, lr_steps = 0.004f, lr_others = 0.001f;
  float network_lr = 1;
  float drop = 0;
  bool fisher = false;
  bool outputs_are_classes = true;
  uint64_t seed = 1;
};
inline void fields(Fields& v, ReconstructionConfig& c) {
  v("unit", c.unit,
    {.help = "what learns at once: each \"layer\", \"block\" of a residual network, or \"stage\": all blocks that give "
             "tensors of one shape"});
  v("iterations", c.iterations, {.help = "steps for each unit", .min = 0});
  v("network_iterations", c.network_iterations, {.help = "steps for the whole network in the end", .min = 0});
  v("batch_size", c.batch_size, {.help = "calibration images per step", .min = 1});
  v("lr_weights", c.lr_weights, {.help = "Adam's learning rate for weights, in steps of their grids", .min = 0});
  v("lr_steps", c.lr_steps, {.help = "the same for the logarithms of the steps of activations", .min = 0});
  v("lr_others", c.lr_others, {.help = "the same for biases and the logarithms of the steps of weights", .min = 0});
  v("network_lr", c.network_lr, {.help = "factor of all learning rates for the whole network", .min = 0});
  v("drop", c.drop,
    {.help = "probability with which a number is left as it is where the network quantizes it, in the units' steps",
     .min = 0,
     .max = 1});
  v("fisher", c.fisher,
    {.help = "weigh the error of each number by the Fisher information of the float network about it"});
  v("outputs_are_classes", c.outputs_are_classes,
    {.help = "compare the network's outputs by the divergence of their softmax; false: by their squared error"});
  v("seed", c.seed, {.help = "seed of the choice of images, and of what is dropped"});
}

// Learns weights, biases and steps of a model that PostTrainLinearQuantizer made, unit by unit, so that each gives on
// quantized inputs what the float network's unit gives on float inputs:
//   minimise  mean over samples and places of sum over channels (unit'(Q(x')) - unit(x))^2
// and in the last unit the Kullback-Leibler divergence of softmax(unit'(Q(x'))) from softmax(unit(x)), by Adam along a
// cosine over, for every layer,
//   v       integers as continuous numbers, from qmin to qmax: W' = (round(v) + zero_point) * step_w, d round / dv = 1
//   step_w, step of its inputs and of its outputs, as logarithms; zero points stay
//   bias
// With `fisher` each difference counts g^2 times, g being the gradient of the float network's log likelihood of a class
// that is drawn from its softmax (of a normally distributed output around its own, where outputs are no classes): the
// diagonal of the Fisher information (BRECQ, section 3.2), but in parts of each image's mean, since the few images that
// a network is not sure of would have nearly all of it.
// A unit's output is compared before it is quantized; the quantization at its entry is learned with it. Where units
// are single layers, the steps of what only sums and concatenations read are not learned.
// Where numbers are quantized, each stays as it was with probability `drop`; at the entry it becomes the float
// network's. In the end the whole network learns to give the float network's outputs, with nothing dropped, but the
// integers of weights that learned in a unit stay: many end between two levels, where any step would turn them over.
// What is left is a quantized model like any other. The same bits on any number of threads.
// (Li et al., "BRECQ: pushing the limit of post-training quantization by block reconstruction", ICLR 2021; Wei et
// al., "QDrop: randomly dropping quantization for extremely low-bit post-training quantization", ICLR 2022; the
// weights' gradient is straight-through, as steps are few)
// reference: the float model with batch norms folded as in the quantized one; both in evaluation mode. With `fisher`
// its parameters want no gradients any more. Throws where quantization is dynamic, where a layer is called more than
// once, and with `fisher` where an operation that no module computes comes after the units. After each unit, what was
// learned so far is kept, where `kept` is not null; what it has in the beginning, of the same network, batches and
// config, is gone on from. Units that hold an operation which no module computes, but for flattening, are learned with
// the whole network alone, and so is what comes after them: returns the layers with weights that are not learned at
// all.
using ReconstructionProgress = std::function<void(const std::string& unit, size_t done, size_t all)>;
std::vector<std::string> reconstruct(Module& quantized, Module& reference, std::span<const Tensor> batches,
                                     const ReconstructionConfig& config, const ReconstructionProgress& done,
                                     KeptCorrections* kept = nullptr);

}  // namespace qgrad
