// Sums of bytes are exact, in floats up to 2^24 as in integers.
#include "engine/row_ops.h"

#include <algorithm>
#include <cmath>

#include "core/divide_up.h"
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

// The numbers of one position.
void softmax(const Op& op, const TensorInfo& in, const uint8_t* x, float* y) {
  const uint8_t largest = *std::max_element(x, x + in.channels);
  const auto exponential = [&](int64_t c) { return op.exponentials[static_cast<size_t>(largest - x[c])]; };
  int64_t sum = 0;
  for (int64_t c = 0; c < in.channels; ++c) sum += exponential(c);
  for (int64_t c = 0; c < in.channels; ++c)
    y[c] = static_cast<float>(static_cast<double>(exponential(c)) / static_cast<double>(sum));
}

// Bytes [k,n] less their zero, as a ByteProduct has its factors.
void pair_up(const uint8_t* from, const TensorInfo& b, int64_t panels, int16_t* to) {
  const int64_t columns = panels * kBytePanel;
  std::fill_n(to, (b.width + 1) / 2 * columns * 2, int16_t{0});
  for (int64_t k = 0; k < b.width; ++k)
    for (int64_t c = 0; c < b.channels; ++c)
      to[(k / 2 * columns + c) * 2 + k % 2] = static_cast<int16_t>(from[k * b.channels + c] - b.origin());
}

// One matrix, [m,k] times [k,n], some rows at a time.
void matmul(const TensorInfo& a, const TensorInfo& b, const uint8_t* x, const uint8_t* factors, float rescale,
            float* y) {
  constexpr int64_t kRows = 24;
  const int64_t depth = b.width, columns = b.channels;
  const int64_t pairs = (depth + 1) / 2, panels = divide_up(columns, kBytePanel);
  Scratch scratch;
  auto* numbers = scratch.take<int16_t>(static_cast<size_t>(kRows * pairs * 2));
  auto* paired = scratch.take<int16_t>(static_cast<size_t>(pairs * panels * kBytePanel * 2));
  auto* sums = scratch.take<int32_t>(static_cast<size_t>(kRows * panels * kBytePanel));
  pair_up(factors, b, panels, paired);
  std::fill_n(numbers, kRows * pairs * 2, int16_t{0});
  for (int64_t row = 0; row < a.width; row += kRows) {
    const int64_t rows = std::min(kRows, a.width - row);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < depth; ++k)
        numbers[r * pairs * 2 + k] = static_cast<int16_t>(x[(row + r) * depth + k] - a.origin());
    byte_kernels().product(
        {.x = numbers, .factors = paired, .y = sums, .rows = rows, .pairs = pairs, .panels = panels});
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < columns; ++c)
        y[(row + r) * columns + c] = static_cast<float>(sums[r * panels * kBytePanel + c]) * rescale;
  }
}

}  // namespace

void run_row(const Program& program, const Op& op, std::span<const void* const> inputs, int64_t row, float* y) {
  const auto info = [&](size_t i) -> const TensorInfo& { return program.tensors[static_cast<size_t>(op.inputs[i])]; };
  const auto bytes = [&](size_t i) {
    return static_cast<const uint8_t*>(inputs[i]) + row * info(i).width * info(i).channels;
  };
  const TensorInfo& in = info(0);
  if (op.kind == OpKind::resample) return resample(op, in, inputs[0], static_cast<size_t>(row), y);
  if (op.kind == OpKind::matmul) return matmul(in, info(1), bytes(0), bytes(1), op.rescale[0], y);
  for (int64_t i = 0; i < int64_t{in.width} * in.channels; i += in.channels)
    (op.kind == OpKind::softmax ? softmax : layer_norm)(op, in, bytes(0) + i, y + i);
}

}  // namespace qgrad::deploy
