// Learned rounding: for every weight of a quantized layer, whether it is rounded up or down (AdaRound).
#pragma once

#include <cstdint>

#include "core/config.h"
#include "core/tensor.h"
#include "quant/simulation/param_layer.h"

namespace qgrad {

struct LearnedRoundingConfig {
  int iterations = 2000;
  int batch_size = 32;
  float lr = 0.01f;
  float regularization = 0.01f;
  float beta_start = 20, beta_end = 2;
  float warm_up = 0.2f;
  uint64_t seed = 1;
};
inline void fields(Fields& v, LearnedRoundingConfig& c) {
  v("iterations", c.iterations, {.help = "steps per layer", .min = 1});
  v("batch_size", c.batch_size, {.help = "calibration images per step", .min = 1});
  v("lr", c.lr, {.help = "Adam's learning rate", .min = 0, .above_min = true});
  v("regularization", c.regularization, {.help = "weight of the term that drives every rounding to 0 or 1", .min = 0});
  v("beta_start", c.beta_start, {.help = "its exponent at first", .min = 1});
  v("beta_end", c.beta_end, {.help = "its exponent at the end", .min = 1});
  v("warm_up", c.warm_up, {.help = "share of the steps before it sets in", .min = 0, .max = 1});
  v("seed", c.seed, {.help = "seed of the choice of images"});
}

// What a layer gets in the quantized model, and what it should give, batch by batch.
struct LayerSamples {
  std::vector<Tensor> inputs;   // of the quantized layer, with the quantization they carry
  std::vector<Tensor> outputs;  // of the float layer in the float model, before an activation function
};

// Chooses floor(scale w - zero_point) or one more for every weight w, so that the layer's output on quantized inputs is
// close to the float layer's on float inputs, after the ReLU if the layer computes one:
//   minimise  mean over samples and positions of sum over channels (f(W' x') - f(W x))^2
//             + regularization * sum over weights (1 - |2 h(V) - 1|^beta)
//   W' = (clamp(floor(scale W - zero_point) + h(V), qmin, qmax) + zero_point) / scale
//   h(V) = clamp(1.2 sigmoid(V) - 0.1, 0, 1), which starts where W' = W
// over V by Adam, beta going down linearly after the warm-up. In the end h is rounded to 0 or 1 and the layer gets
// these integers, on the scales it had. The same bits on any number of threads.
// (Nagel et al., "Up or down? Adaptive rounding for post-training quantization", ICML 2020, equations 21 to 25)
// Throws where the layer's weights would not be finite, or there are no samples.
void learn_rounding(RangeLinearQuantParamLayerWrapper& layer, const Tensor& float_weight, const LayerSamples& samples,
                    const LearnedRoundingConfig& config);

// --- the two operations of the objective ---
// W' of the formula above; differentiable in v.
struct SoftRounding {
  Tensor floors;  // floor(scale W - zero_point)
  ChannelGrid grid;
};
Tensor softly_rounded(const Tensor& v, const SoftRounding& rounding);
// sum(1 - |2 h(v) - 1|^beta), a scalar; differentiable in v.
Tensor rounding_penalty(const Tensor& v, float beta);

}  // namespace qgrad
