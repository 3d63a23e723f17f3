// LAPQ: scales or clipping values of a quantized model, found by searching for the lowest loss.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/config.h"
#include "nn/module.h"

namespace qgrad {

// Where the search begins: with the ranges of a clip mode, or with the ranges that minimise the mean of
// |y - y_q|^p, p = 1, 2, 3, of each layer by itself, given the float model's input.
enum class LapqInit { none, avg, laplace, gauss, l1, l2, l3 };
std::vector<std::pair<std::string, LapqInit>> enum_names(LapqInit*);

struct LapqConfig {
  LapqInit init = LapqInit::l2;
  bool search_clipping = false;
  int max_iterations = 2;
  int max_evaluations = 1000;
  int evaluations_per_line = 8;
  int init_evaluations = 60;
};
inline void fields(Fields& v, LapqConfig& c) {
  v("init", c.init, {.help = "where the search begins: the ranges of a clip mode, or each layer's best by itself"});
  v("search_clipping", c.search_clipping,
    {.help = "search clipping values; false: scales, which is for symmetric modes and layers with a ReLU"});
  v("max_iterations", c.max_iterations, {.help = "passes over all parameters", .min = 1});
  v("max_evaluations", c.max_evaluations, {.help = "evaluations of the model, roughly, at the most", .min = 1});
  v("evaluations_per_line", c.evaluations_per_line, {.help = "for one parameter in one pass, at the most", .min = 3});
  v("init_evaluations", c.init_evaluations, {.help = "of each layer by itself, for L1, L2 and L3", .min = 1});
}

struct LapqResult {
  double first_loss = 0, loss = 0;  // where the search began, and of the result
  int evaluations = 0;
  Json quant_params = Json::object();  // every searched parameter: name -> value or values, for the quantizer's config
};

// Minimises loss(quantized) over all free parameters (quant/simulation/layer.h) by line searches, along one variable
// after another. One variable for each scale or clipping value; per channel one factor for all channels of a layer. The
// model is left with the best parameters. It must have been prepared with save_fp_weights, and with the clip mode of
// `init`; reference is the float model with batch norms folded, `images` what both are called with for L1, L2 and L3.
// `progress` is told the loss so far and the evaluations.
// (Nahshan et al., "Loss aware post-training quantization", Machine Learning 110, 2021; Distiller
// ptq_coordinate_search.py, without Powell's further directions, with the weights quantized again for every trial, and
// the best parameters applied)
// Throws where nothing is free, and when scales are searched although zero points are free too.
LapqResult lapq_search(Module& quantized, Module& reference, const Tensor& images,
                       const std::function<double(Module&)>& loss, const LapqConfig& config,
                       const std::function<void(double loss, int evaluations)>& progress);

}  // namespace qgrad
