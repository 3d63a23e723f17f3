// Sums of bytes are exact, in floats up to 2^24 as in integers.
#include "engine/row_ops.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "engine/kernels/byte_table.h"

namespace qgrad::deploy {
namespace {

void add_times(const float* x, float weight, int64_t count, float* sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += weight * x[i];
}

// Numbers less their zero.
const float* as_floats(const TensorInfo& in, const void* x, int64_t first, int64_t count, float* scratch) {
  if (in.type == Type::float32) return static_cast<const float*>(x) + first;
  byte_kernels().dequantize(
      {.x = static_cast<const uint8_t*>(x) + first, .origin = static_cast<float>(in.origin()), .step = 1}, scratch,
      static_cast<size_t>(count));
  return scratch;
}

void resample(const Op& op, const TensorInfo& in, const void* x, size_t row, float* y) {
  const size_t high = op.row_weights.size() / op.rows.size(), wide = op.column_weights.size() / op.columns.size();
  const int64_t width = int64_t{in.width} * in.channels;
  Scratch scratch;
  float *numbers = scratch.take<float>(static_cast<size_t>(width)),
        *sums = scratch.take<float>(static_cast<size_t>(width));
  std::fill_n(sums, width, 0.0f);
  for (size_t i = 0; i < high; ++i)
    add_times(as_floats(in, x, (op.rows[row] + static_cast<int64_t>(i)) * width, width, numbers),
              op.row_weights[row * high + i], width, sums);
  for (size_t column = 0; column < op.columns.size(); ++column, y += in.channels) {
    std::fill_n(y, in.channels, 0.0f);
    for (size_t i = 0; i < wide; ++i)
      add_times(sums + (op.columns[column] + static_cast<int64_t>(i)) * in.channels,
                op.column_weights[column * wide + i], in.channels, y);
    for (int64_t c = 0; c < in.channels; ++c) y[c] *= op.rescale[0];
  }
}

// The numbers of one position.
void layer_norm(const Op& op, const TensorInfo& in, const uint8_t* x, float* y) {
  const int64_t channels = in.channels, origin = in.origin();
  int64_t sum = 0, squares = 0;
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t integer = x[c] - origin;
    sum += integer;
    squares += integer * integer;
  }
  const double deviation =
      std::sqrt(static_cast<double>(channels * squares - sum * sum) + integer_epsilon(op.epsilon, in));
  for (int64_t c = 0; c < channels; ++c) {
    const auto centred = static_cast<double>(channels * (x[c] - origin) - sum);
    const auto at = static_cast<size_t>(c);
    y[c] = static_cast<float>(centred / deviation) * op.real_weight[at] + op.real_bias[at];
  }
}

}  // namespace

void run_row(const Program& program, const Op& op, const void* x, int64_t row, float* y) {
  const TensorInfo& in = program.tensors[static_cast<size_t>(op.inputs[0])];
  if (op.kind == OpKind::resample) return resample(op, in, x, static_cast<size_t>(row), y);
  const int64_t width = int64_t{in.width} * in.channels;
  const uint8_t* bytes = static_cast<const uint8_t*>(x) + row * width;
  for (int64_t i = 0; i < width; i += in.channels) layer_norm(op, in, bytes + i, y + i);
}

}  // namespace qgrad::deploy
