// Float layers, one image at a time.
#include "engine/float_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/kernels/conv/pack.h"
#include "core/kernels/isa.h"
#include "core/kernels/pool/pool.h"
#include "core/memory.h"

namespace qgrad {

ConvKernels conv_scalar(), conv_scalar_fma(), conv_avx2(), conv_avx512();
PoolKernels pool_scalar(), pool_avx2(), pool_avx512();

}  // namespace qgrad

namespace qgrad::deploy {
namespace {

// A kernel table of its own, so that the engine's library links no others.
struct FloatKernels {
  const char* isa = nullptr;
  ConvKernels conv;
  PoolKernels pool;
};
const FloatKernels& kernels() {
  static const IsaTable<FloatKernels> table({
#ifndef QGRAD_X86_64
      [] { return FloatKernels{.conv = conv_scalar(), .pool = pool_scalar()}; },
#else
      [] {
        return FloatKernels{.conv = processor_has_fma() ? conv_scalar_fma() : conv_scalar(), .pool = pool_scalar()};
      },
      [] { return FloatKernels{.conv = conv_avx2(), .pool = pool_avx2()}; },
      [] { return FloatKernels{.conv = conv_avx2(), .pool = pool_avx2()}; },
      [] { return FloatKernels{.conv = conv_avx512(), .pool = pool_avx512()}; },
      [] { return FloatKernels{.conv = conv_avx512(), .pool = pool_avx512()}; },
#endif
  });
  static const FloatKernels& chosen = table.chosen();
  return chosen;
}

ConvGeometry dense_geometry(const Program& program, const Op& op) {
  ConvGeometry g = conv_geometry(program, op);
  g.row_pitch = g.out_w * g.out;
  g.pixel_pitch = g.out;
  return g;
}

void convolve(const ConvGeometry& g, const ConvPanels& weight, const float* bias, const float* x, float* y) {
  const auto kernel = is_depthwise(g) ? kernels().conv.depthwise_forward : kernels().conv.forward;
  const int64_t rows = conv_band_rows(g, 1);
  for (int64_t row = 0; row < g.out_h; row += rows) {
    const int64_t end = std::min(g.out_h, row + rows);
    Scratch scratch;
    kernel(g, {.x = x,
               .weight = weight,
               .bias = bias,
               .y = y,
               .row_begin = row,
               .row_end = end,
               .scratch = scratch.take<float>(static_cast<size_t>(conv_scratch_floats(g, 1, end - row)))});
  }
}

void real_conv(const Program& program, const Op& op, const ConvPanels& weight, const uint8_t* x, float* y) {
  const ConvGeometry g = dense_geometry(program, op);
  const TensorInfo& in = program.tensors[static_cast<size_t>(op.inputs[0])];
  Scratch scratch;
  float* integers = scratch.take<float>(static_cast<size_t>(in.count()));
  for (int64_t i = 0; i < in.count(); ++i) integers[i] = static_cast<float>(x[i] - in.origin());
  float* bias = scratch.take<float>(op.bias.size());
  std::ranges::copy(op.bias, bias);
  convolve(g, weight, bias, integers, y);
  for (int64_t position = 0; position < g.out_h * g.out_w; ++position, y += g.out)
    for (int64_t c = 0; c < g.out; ++c)
      y[c] = y[c] * op.rescale[static_cast<size_t>(c)] + op.real_bias[static_cast<size_t>(c)];
}

}  // namespace

FloatWeights::FloatWeights(const Program& program, const Op& op)
    : values(op.kind == OpKind::real_conv ? std::vector<float>(op.weight.begin(), op.weight.end()) : op.real_weight) {
  if (op.kind == OpKind::real_conv)
    for (float& weight : values) weight = std::ldexp(weight, op.sum_shift);
  const ConvGeometry g = dense_geometry(program, op);
  const ConvWeightView view = forward_weight(g, values.data());
  packed.resize(static_cast<size_t>(conv_packed_floats(g, view)));
  panels = conv_panels(g, view, packed.data());
}

void run_float_op(const Program& program, const Op& op, const FloatWeights& weights,
                  std::span<const void* const> inputs, float* y) {
  const TensorInfo& out = program.tensors[static_cast<size_t>(op.output)];
  const auto input = [&](size_t i) { return static_cast<const float*>(inputs[i]); };
  const float* x = input(0);
  switch (op.kind) {
    case OpKind::float_conv:
      return convolve(dense_geometry(program, op), weights.panels, op.real_bias.data(), x, y);
    case OpKind::real_conv:
      return real_conv(program, op, weights.panels, static_cast<const uint8_t*>(inputs[0]), y);
    case OpKind::clamp:
      for (int64_t i = 0; i < out.count(); ++i) y[i] = std::min(std::max(x[i], op.real_low), op.real_high);
      return;
    case OpKind::concat: {
      const int64_t positions = int64_t{out.height} * out.width;
      float* to = y;
      for (int64_t p = 0; p < positions; ++p)
        for (size_t i = 0; i < inputs.size(); ++i) {
          const int32_t channels = program.tensors[static_cast<size_t>(op.inputs[i])].channels;
          to = std::copy_n(input(i) + p * channels, channels, to);
        }
      return;
    }
    case OpKind::max_pool:
      return kernels().pool.max_forward(x, y, pool_geometry(program, op));
    case OpKind::average_pool:
      return kernels().pool.average_forward(x, y, pool_geometry(program, op));
    default:  // add or multiply, from left to right
      std::copy_n(x, out.count(), y);
      for (size_t k = 1; k < inputs.size(); ++k)
        for (int64_t i = 0; i < out.count(); ++i)
          y[i] = op.kind == OpKind::add ? y[i] + input(k)[i] : y[i] * input(k)[i];
  }
}

}  // namespace qgrad::deploy
