// Weights at the points once, then units of images and channels.
#include "core/ops/conv_winograd.h"

#include <algorithm>
#include <utility>

#include "core/batch_sum.h"
#include "core/kernels/table.h"
#include "core/kernels/winograd/convolution.h"
#include "core/kernels/winograd/gradient.h"
#include "core/memory.h"
#include "core/ops/conv_bands.h"
#include "core/parallel.h"

namespace qgrad {

void winograd_forward(const ConvPhase& phase, int64_t batch, const float* x, const float* bias, float* y) {
  const ConvGeometry& g = phase.geometry;
  Tensor packed = Tensor::empty({conv_packed_floats(g, phase.weight, batch * g.out_h * g.out_w)});
  Tensor at_points = Tensor::empty({winograd_weight_floats(g)});
  float* weight = at_points.mutable_data().data();
  winograd_weights(kernels().winograd, g, conv_panels(g, phase.weight, packed.mutable_data()), weight);
  const WinogradUnits units = winograd_units(g, batch, num_threads());
  ConvForward forward{.x = x, .weight = {weight, 0, 0}, .bias = bias};
  forward.y = y + phase.offset;
  parallel_for(units.count(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit)
      run_winograd_unit(kernels().winograd, kernels().gemm, g, forward, units, unit);
  });
}

Tensor winograd_weight_gradient(const ConvGeometry& g, const Tensor& x, const Tensor& dy, const Shape& shape,
                                bool part) {
  const WinogradGradient row{kernels().winograd, kernels().winograd_gradient, kernels().gemm_gradient};
  const ConvBands bands = winograd_gradient_bands(g, x.dim(0), part);
  const int64_t chunks = bands.units.count();
  Tensor partial = Tensor::empty({chunks, shape.numel()});
  // Asked for before work is split, for they may wait.
  const ConvWeightGradient whole{
      .x = x.data().data(), .dy = dy.data().data(), .dw = partial.mutable_data().data(), .images = x.dim(0)};
  parallel_for(chunks * bands.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t chunk = i / bands.parts;
      ConvWeightGradient of_chunk = whole;
      of_chunk.dw += chunk * shape.numel();
      const ConvGradientPart p = gradient_part(g, of_chunk, bands, i % bands.parts);
      Scratch scratch;
      const int64_t floats = winograd_sum_floats(p.geometry);
      auto* sums = scratch.take<float>(static_cast<size_t>(floats));
      std::fill_n(sums, floats, 0.0f);
      for_each_unit(p, bands, chunk,
                    [&](const ConvWeightGradient& unit) { add_winograd_products(row, p.geometry, unit, sums); });
      winograd_tap_gradient(row, p.geometry, sums, p.gradient.dw);
    }
  });
  return folded(part, std::move(partial), shape);
}

}  // namespace qgrad
