// Float layers, one image at a time.
#include "engine/float_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/conv/pack.h"
#include "core/kernels/isa.h"
#include "core/kernels/pool/pool.h"
#include "core/kernels/winograd/convolution.h"
#include "core/memory.h"
#include "core/parallel.h"
#include "engine/kernels/byte_table.h"

namespace qgrad {

ConvKernels conv_scalar(), conv_scalar_fma(), conv_avx2(), conv_avx512();
GemmKernels gemm_scalar(), gemm_scalar_fma(), gemm_avx2(), gemm_avx512();
PoolKernels pool_scalar(), pool_avx2(), pool_avx512();
WinogradKernels winograd_scalar(), winograd_avx2(), winograd_avx512();

}  // namespace qgrad

namespace qgrad::deploy {
namespace {

// A kernel table of its own, so that the engine's library links no others.
struct FloatKernels {
  const char* isa = nullptr;
  ConvKernels conv;
  GemmKernels gemm;
  PoolKernels pool;
  WinogradKernels winograd;
};

FloatKernels scalar_row() {
  FloatKernels row{.conv = conv_scalar(), .gemm = gemm_scalar(), .pool = pool_scalar(), .winograd = winograd_scalar()};
#ifdef QGRAD_X86_64
  if (processor_has_fma()) row.conv = conv_scalar_fma(), row.gemm = gemm_scalar_fma();
#endif
  return row;
}
#ifdef QGRAD_X86_64
FloatKernels avx2_row() {
  return {.conv = conv_avx2(), .gemm = gemm_avx2(), .pool = pool_avx2(), .winograd = winograd_avx2()};
}
FloatKernels avx512_row() {
  return {.conv = conv_avx512(), .gemm = gemm_avx512(), .pool = pool_avx512(), .winograd = winograd_avx512()};
}
#endif

const FloatKernels& kernels() {
  static const IsaTable<FloatKernels> table({
      scalar_row,
#ifdef QGRAD_X86_64
      avx2_row,
      avx2_row,
      avx512_row,
      avx512_row,
#endif
  });
  static const FloatKernels& chosen = table.chosen();
  return chosen;
}

ConvForwardKernel kernel_of(const ConvGeometry& g) {
  return is_depthwise(g) ? kernels().conv.depthwise_forward : kernels().conv.forward;
}

constexpr int64_t kManyImages = 128;  // so many that each stays on one thread

AlignedFloats aligned_floats(size_t count) {
  const size_t bytes = count * sizeof(float);
  return {static_cast<float*>(pool::allocate(bytes)), {bytes}};
}

}  // namespace

ConvGeometry dense_geometry(const Program& program, const Op& op) {
  ConvGeometry g = conv_geometry(program, op);
  g.row_pitch = g.out_w * g.out;
  g.pixel_pitch = g.out;
  return g;
}

FloatWeights::FloatWeights(const Program& program, const Op& op, bool with_winograd) {
  values = aligned_floats(op.real_weight.size());
  std::ranges::copy(op.real_weight, values.get());
  const ConvGeometry g = dense_geometry(program, op);
  const ConvWeightView view = forward_weight(g, values.get());
  const auto floats = static_cast<size_t>(conv_packed_floats(g, view, std::numeric_limits<int64_t>::max()));
  AlignedFloats packed = aligned_floats(floats);
  panels = conv_panels(g, view, {packed.get(), floats});
  if (floats > 0) values = std::move(packed);
  winograd = with_winograd && winograd_suits(g);
  if (!winograd) return;
  AlignedFloats at_points = aligned_floats(static_cast<size_t>(winograd_weight_floats(g)));
  winograd_weights(kernels().winograd, g, panels, at_points.get());
  values = std::move(at_points);
  panels.data = values.get();
}

std::vector<int32_t> only_readers(const Program& program) {
  constexpr int32_t kMany = -2;
  std::vector<int32_t> readers(program.tensors.size(), FloatEnding::kNone);
  readers[static_cast<size_t>(program.output)] = kMany;
  for (int32_t i = 0; i < std::ssize(program.ops); ++i)
    for (const int32_t input : program.ops[static_cast<size_t>(i)].inputs) {
      int32_t& reader = readers[static_cast<size_t>(input)];
      reader = reader == FloatEnding::kNone ? i : kMany;
    }
  return readers;
}

std::vector<FloatEnding> float_endings(const Program& program) {
  const std::vector<int32_t> readers = only_readers(program);
  const auto op_at = [&](int32_t i) -> const Op& { return program.ops[static_cast<size_t>(i)]; };
  const auto reads = [&](int32_t tensor, OpKind kind) {
    const int32_t reader = readers[static_cast<size_t>(tensor)];
    return reader >= 0 && op_at(reader).kind == kind ? reader : FloatEnding::kNone;
  };
  std::vector<FloatEnding> endings;
  std::vector<bool> made(program.tensors.size());
  made[static_cast<size_t>(program.input)] = true;
  for (const Op& op : program.ops) {
    FloatEnding ending{.output = op.output};
    made[static_cast<size_t>(op.output)] = true;
    if (op.kind == OpKind::float_conv) {
      const int32_t add = reads(ending.output, OpKind::add);
      if (add != FloatEnding::kNone && op_at(add).inputs.size() == 2) {
        const auto& inputs = op_at(add).inputs;
        const int32_t other = inputs[inputs[0] == op.output];
        if (made[static_cast<size_t>(other)]) ending = {.add = add, .addend = other, .output = op_at(add).output};
      }
      ending.clamp = reads(ending.output, OpKind::clamp);
      if (ending.clamp != FloatEnding::kNone) ending.output = op_at(ending.clamp).output;
    }
    endings.push_back(ending);
  }
  return endings;
}

void run_float_rows(const ConvGeometry& g, ConvForward conv) {
  Scratch scratch;
  conv.scratch = scratch.take<float>(static_cast<size_t>(conv_scratch_floats(g, 1, conv.row_end - conv.row_begin)));
  kernel_of(g)(g, conv);
}

void run_float_conv(const ConvGeometry& g, const FloatWeights& weights, ConvForward conv, bool share) {
  conv.weight = weights.panels;
  if (weights.winograd) {
    const WinogradUnits units = winograd_units(g, 1, share ? num_threads() : 1);
    return parallel_for(units.count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t unit = begin; unit < end; ++unit)
        run_winograd_unit(kernels().winograd, kernels().gemm, g, conv, units, unit);
    });
  }
  const auto kernel = kernel_of(g);
  const ConvUnits units = conv_units(g, share && num_threads() > 1 ? 1 : kManyImages);
  parallel_for(units.bands * units.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) run_conv_unit(kernel, g, conv, units, unit);
  });
}

void run_float_op(const Program& program, const Op& op, std::span<const float* const> inputs, float* y) {
  const TensorInfo& out = program.tensors[static_cast<size_t>(op.output)];
  const float* x = inputs[0];
  switch (op.kind) {
    case OpKind::clamp:
      return byte_kernels().clamp_floats(x, y, static_cast<size_t>(out.count()), op.real_low, op.real_high);
    case OpKind::concat: {
      const int64_t positions = int64_t{out.height} * out.width;
      float* to = y;
      for (int64_t p = 0; p < positions; ++p)
        for (size_t i = 0; i < inputs.size(); ++i) {
          const int32_t channels = program.tensors[static_cast<size_t>(op.inputs[i])].channels;
          to = std::copy_n(inputs[i] + p * channels, channels, to);
        }
      return;
    }
    case OpKind::max_pool:
      return kernels().pool.max_forward(x, y, pool_geometry(program, op));
    case OpKind::average_pool:
      return kernels().pool.average_forward(x, y, pool_geometry(program, op));
    default: {  // add or multiply, from left to right
      const auto count = static_cast<size_t>(out.count());
      const auto kernel = op.kind == OpKind::add ? byte_kernels().add_floats : byte_kernels().multiply_floats;
      if (inputs.size() == 1) std::copy_n(x, count, y);
      for (size_t k = 1; k < inputs.size(); ++k) kernel(k == 1 ? x : y, inputs[k], y, count);
    }
  }
}

}  // namespace qgrad::deploy
