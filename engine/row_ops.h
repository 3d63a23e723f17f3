// Operations whose loops are compiled once, row by row: resample and layer_norm.
#pragma once

#include "engine/program.h"

namespace qgrad::deploy {

// One row of the output, [width,channels]: what is rounded where the output is of bytes, a resample's in steps of its
// grid, a layer_norm's real values. x: the whole input. Exact where the input is of bytes.
void run_row(const Program& program, const Op& op, const void* x, int64_t row, float* y);

}  // namespace qgrad::deploy
