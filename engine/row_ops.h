// Operations whose loops are compiled once, row by row: resample, layer_norm, matmul and softmax.
#pragma once

#include <span>

#include "engine/program.h"

namespace qgrad::deploy {

// One row of the output, [width,channels]: what is rounded where the output is of bytes, in steps of its grid for
// operations with a factor, resample and matmul, real values for the others. inputs: whole ones. Exact where they are
// of bytes.
void run_row(const Program& program, const Op& op, std::span<const void* const> inputs, int64_t row, float* y);

}  // namespace qgrad::deploy
