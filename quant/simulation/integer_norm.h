// Layer norms of integers.
#pragma once

#include "nn/layers/norm.h"

namespace qgrad {

// Real values of the norm of each run of n = dim(-1) integers u, held in floats, that stand for u * step:
// (n u - sum u) / sqrt(n sum u^2 - (sum u)^2 + epsilon n^2 / step^2), integers up to the root and doubles from there,
// rounded to float, times the weight, plus the bias.
Tensor integer_layer_norm(const Tensor& integers, float step, const LayerNorm& norm);

}  // namespace qgrad
