// 2-D convolution. The kernels work on bands of rows; their boundaries depend on the shapes only.
#include <algorithm>
#include <span>
#include <utility>

#include "core/batch_sum.h"
#include "core/error.h"
#include "core/kernels/conv/pack.h"
#include "core/kernels/table.h"
#include "core/kernels/winograd/convolution.h"
#include "core/memory.h"
#include "core/ops.h"
#include "core/ops/bias.h"
#include "core/ops/conv_bands.h"
#include "core/ops/conv_winograd.h"
#include "core/parallel.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Of one image: rows, columns, channels.
struct ImageSize {
  int64_t height, width, channels;
};
// Options: Conv2dOptions or ConvTranspose2dOptions.
template <class Options>
ConvGeometry geometry(const ImageSize& in, const ImageSize& out, const Shape& weight, const Options& o) {
  return {.in_h = in.height,
          .in_w = in.width,
          .in = in.channels,
          .out_h = out.height,
          .out_w = out.width,
          .out = out.channels,
          .kernel_h = weight[0],
          .kernel_w = weight[1],
          .stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .padding_h = o.padding_h,
          .padding_w = o.padding_w,
          .dilation_h = o.dilation_h,
          .dilation_w = o.dilation_w,
          .groups = o.groups,
          .row_pitch = out.width * out.channels,
          .pixel_pitch = out.channels};
}

ConvGeometry forward_geometry(const Shape& x, const Shape& weight, const Conv2dOptions& o) {
  constexpr int64_t kMost = 1 << 20;  // so that no product with a dimension overflows
  const int64_t end_h = o.padding_end_h.value_or(o.padding_h), end_w = o.padding_end_w.value_or(o.padding_w);
  for (const int64_t option :
       {o.stride_h, o.stride_w, o.dilation_h, o.dilation_w, o.padding_h, o.padding_w, end_h, end_w, o.groups})
    check(option <= kMost, "conv2d: strides, dilations, padding and groups are at most {}, got {}", kMost, option);
  check(x.rank() == 4, "conv2d: expected images [N,H,W,C], got {}", x);
  check(weight.rank() == 4, "conv2d: expected a weight [kh,kw,in/groups,out], got {}", weight);
  check(o.stride_h >= 1 && o.stride_w >= 1, "conv2d: strides are at least 1, got {} and {}", o.stride_h, o.stride_w);
  check(o.dilation_h >= 1 && o.dilation_w >= 1, "conv2d: dilations are at least 1, got {} and {}", o.dilation_h,
        o.dilation_w);
  for (const auto& [height, width] : {std::pair(o.padding_h, o.padding_w), std::pair(end_h, end_w)})
    check(height >= 0 && width >= 0, "conv2d: padding can not be negative, got {} and {}", height, width);
  check(o.groups >= 1, "conv2d: groups is at least 1, got {}", o.groups);
  check(weight.numel() >= 1, "conv2d: weight {} is empty", weight);
  check(x[1] >= 1 && x[2] >= 1, "conv2d: images of shape {} have no pixels", x);
  const int64_t in = weight[2] * o.groups, out = weight[3];
  check(x[3] == in, "conv2d: weight {} wants {} input channels, input has {} ({})", weight, in, x[3], x);
  check(out % o.groups == 0, "conv2d: weight {} has {} output channels, not a multiple of {} groups", weight, out,
        o.groups);
  const int64_t extent_h = (weight[0] - 1) * o.dilation_h + 1, extent_w = (weight[1] - 1) * o.dilation_w + 1;
  const int64_t padded_h = x[1] + o.padding_h + end_h, padded_w = x[2] + o.padding_w + end_w;
  check(padded_h >= extent_h && padded_w >= extent_w,
        "conv2d: a window of {}x{} does not fit into input {} padded to {}x{}", extent_h, extent_w, x, padded_h,
        padded_w);
  const int64_t out_h = (padded_h - extent_h) / o.stride_h + 1, out_w = (padded_w - extent_w) / o.stride_w + 1;
  return geometry({x[1], x[2], x[3]}, {out_h, out_w, out}, weight, o);
}

// Whether sums may be rounded in other places than the direct kernels do.
enum class Rounding { as_direct, free };

// Runs convolutions of the same images, which together make up y: one forward, or all phases of an input gradient. All
// of them work on one band of rows of one image before the next, so that it is read and written once. y_image: floats
// from one image of y to the next.
void run_forward(std::span<const ConvPhase> phases, int64_t batch, const float* x, const float* bias, float* y,
                 int64_t y_image, Rounding rounding) {
  const ConvPhase& only = phases.front();
  const bool is_whole = phases.size() == 1 && only.geometry.out_h * only.geometry.row_pitch == y_image;
  if (rounding == Rounding::free && is_whole && winograd_suits(only.geometry))
    return winograd_forward(only, batch, x, bias, y);
  const auto floats = [&](const ConvPhase& p) {
    return static_cast<size_t>(conv_packed_floats(p.geometry, p.weight, batch * p.geometry.out_h * p.geometry.out_w));
  };
  size_t packed_floats = 0;
  for (const ConvPhase& p : phases) packed_floats += floats(p);
  Tensor packed = Tensor::empty({static_cast<int64_t>(packed_floats)});
  std::span<float> left = packed.mutable_data();
  Scratch panels_scratch;
  ConvPanels* panels = panels_scratch.take<ConvPanels>(phases.size());
  for (size_t i = 0; i < phases.size(); ++i) {
    const size_t of_phase = floats(phases[i]);
    panels[i] = conv_panels(phases[i].geometry, phases[i].weight, left.first(of_phase));
    left = left.subspan(of_phase);
  }
  const ConvGeometry& first = phases.front().geometry;  // no other has more rows
  const auto kernel = is_depthwise(first) ? kernels().conv.depthwise_forward : kernels().conv.forward;
  const bool gaps = std::ranges::any_of(phases, [](const ConvPhase& p) { return p.geometry.kernel_h == 0; });
  ConvGeometry largest = first;
  for (const ConvPhase& p : phases) {
    largest.kernel_h = std::max(largest.kernel_h, p.geometry.kernel_h);
    largest.kernel_w = std::max(largest.kernel_w, p.geometry.kernel_w);
  }
  ConvUnits units = conv_units(largest, batch);
  if (gaps) units.channels = first.out, units.parts = 1;
  const int64_t count = units.parts * batch * units.bands, grain = std::max<int64_t>(1, count / 64);
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t band = unit % units.bands, image = unit / units.bands % batch, part = unit / units.bands / batch;
      float* to = y + image * y_image;
      if (gaps)  // positions that no tap reaches are zeroed at once with their neighbours, which is a single sweep
        std::fill(to + band * units.rows * first.row_pitch,
                  to + std::min(y_image, (band + 1) * units.rows * first.row_pitch), 0.0f);
      for (size_t i = 0; i < phases.size(); ++i) {
        const ConvGeometry& g = phases[i].geometry;
        run_conv_unit(
            kernel, g,
            {.x = x + image * g.in_h * g.in_w * g.in, .weight = panels[i], .bias = bias, .y = to + phases[i].offset},
            units, part * units.bands + band);
      }
    }
  });
}

// Of a forward pass. A training's is free; one outside has the sums of programs with bytes and of exported networks.
Rounding forward_rounding() { return Tape::current() && !Tape::is_tracing() ? Rounding::free : Rounding::as_direct; }

Tensor input_gradient(const ConvGeometry& g, const Tensor& dy, const ConvWeightView& weight, const Shape& shape,
                      Rounding rounding) {
  Tensor dx = Tensor::empty(shape);
  const int64_t phases_h = std::min(g.stride_h, g.in_h), phases_w = std::min(g.stride_w, g.in_w);
  Scratch scratch;
  ConvPhase* phases = scratch.take<ConvPhase>(static_cast<size_t>(phases_h * phases_w));
  for (int64_t i = 0; i < phases_h * phases_w; ++i)
    phases[i] = input_gradient_phase(g, weight, i / phases_w, i % phases_w);
  run_forward({phases, static_cast<size_t>(phases_h * phases_w)}, shape[0], dy.data().data(), nullptr,
              dx.mutable_data().data(), g.in_h * g.in_w * g.in, rounding);
  return dx;
}

Tensor weight_gradient(const ConvGeometry& g, const Tensor& x, const Tensor& dy, const Shape& shape, bool part) {
  if (winograd_suits(g)) return winograd_weight_gradient(g, x, dy, shape, part);
  const auto kernel = is_depthwise(g) ? kernels().conv_gradient.depthwise_weight : kernels().conv_gradient.weight;
  const int64_t size = shape.numel();
  const ConvBands bands = weight_gradient_bands(g, x.dim(0), part);
  const int64_t chunks = bands.units.count();
  Tensor partial = Tensor::empty({chunks, size});
  float* sums = partial.mutable_data().data();
  // Asked for before work is split, for they may wait.
  const ConvWeightGradient whole{.x = x.data().data(), .dy = dy.data().data(), .dw = sums, .images = x.dim(0)};
  parallel_for(chunks * bands.parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t chunk = i / bands.parts;
      ConvWeightGradient of_chunk = whole;
      of_chunk.dw += chunk * size;
      run_gradient_part(kernel, gradient_part(g, of_chunk, bands, i % bands.parts), bands, chunk);
    }
  });
  return folded(part, std::move(partial), shape);
}

// --- the transpose ---
// Its convolution goes from y to x. Of that, groups of input channels are those of our output channels, and the other
// way round: our weight [kh,kw,in/groups,out] is read with the two exchanged.
ConvWeightView transposed_weight(const ConvGeometry& g, const float* weight) {
  const int64_t out = g.in, row = g.out / g.groups * out;  // of our weight
  return {weight, g.kernel_w * row, row, 1, out, out / g.groups};
}

// Of a weight as that convolution has it, [kh,kw,out/groups,in], as ours.
Tensor exchanged(const Tensor& weight, int64_t groups) {
  const Shape& s = weight.shape();
  const Tensor apart = weight.reshaped({s[0], s[1], s[2], groups, s[3] / groups});
  constexpr int kOrder[] = {0, 1, 4, 3, 2};
  const Tape::Paused paused;
  return transpose(apart, kOrder).reshaped({s[0], s[1], s[3] / groups, groups * s[2]});
}

ConvGeometry transposed_geometry(const Shape& x, const Shape& weight, const ConvTranspose2dOptions& o) {
  check(x.rank() == 4, "conv_transpose2d: expected images [N,H,W,C], got {}", x);
  check(weight.rank() == 4 && weight.numel() >= 1, "conv_transpose2d: expected a weight [kh,kw,in/groups,out], got {}",
        weight);
  const int64_t end_h = o.padding_end_h.value_or(o.padding_h), end_w = o.padding_end_w.value_or(o.padding_w);
  constexpr int64_t kMost = 1 << 20;  // so that no product with a dimension overflows
  for (const int64_t option : {o.stride_h, o.stride_w, o.dilation_h, o.dilation_w, o.groups})
    check(option >= 1 && option <= kMost,
          "conv_transpose2d: expected strides, dilations and groups from 1 to {}, got {}", kMost, option);
  for (const int64_t option : {o.padding_h, o.padding_w, end_h, end_w, o.output_padding_h, o.output_padding_w})
    check(option >= 0 && option <= kMost, "conv_transpose2d: expected padding from 0 to {}, got {}", kMost, option);
  check(x[1] >= 1 && x[2] >= 1, "conv_transpose2d: images of shape {} have no pixels", x);
  check(x[3] == weight[2] * o.groups && weight[3] % o.groups == 0,
        "conv_transpose2d: weight {} in {} groups wants {} input channels and as many groups of output channels, input "
        "is {}",
        weight, o.groups, weight[2] * o.groups, x);
  const int64_t height =
      (x[1] - 1) * o.stride_h - o.padding_h - end_h + (weight[0] - 1) * o.dilation_h + 1 + o.output_padding_h;
  const int64_t width =
      (x[2] - 1) * o.stride_w - o.padding_w - end_w + (weight[1] - 1) * o.dilation_w + 1 + o.output_padding_w;
  check(height >= 1 && width >= 1, "conv_transpose2d: padding leaves nothing of {}", x);
  return geometry({height, width, weight[3]}, {x[1], x[2], x[3]}, weight, o);
}

void add_bias(Tensor& y, const Tensor& bias) {
  const int64_t channels = bias.numel();
  float* to = y.mutable_data().data();
  const float* from = bias.data().data();
  parallel_for(y.numel() / channels, std::max<int64_t>(1, kElementwiseGrain / channels),
               [&](int64_t begin, int64_t end) {
                 kernels().elementwise.add.row_right(to + begin * channels, from, to + begin * channels,
                                                     static_cast<size_t>(end - begin), static_cast<size_t>(channels));
               });
}

}  // namespace

// y[n,r,c,o] = bias[o] + sum_{kh,kw,i} x[n, r*stride - padding + kh*dilation, .., i] * weight[kh,kw,i,o]
Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  const ConvGeometry g = forward_geometry(x.shape(), weight.shape(), options);
  check_bias("conv2d", bias, weight.shape());
  Tensor y = Tensor::empty({x.dim(0), g.out_h, g.out_w, g.out});
  const ConvPhase whole{g, forward_weight(g, weight.data().data()), 0};
  run_forward({&whole, 1}, x.dim(0), x.data().data(), bias.defined() ? bias.data().data() : nullptr,
              y.mutable_data().data(), g.out_h * g.out_w * g.out, forward_rounding());
  return record("conv2d", y, {x, weight, bias}, [g, x, weight](const Tensor& dy, Grads& dx) {
    // The sums first, which may go around ranks while the rest is computed.
    if (dx.needs(1)) dx.add(1, weight_gradient(g, x, dy, weight.shape(), dx.over_ranks(1)));
    if (dx.needs(2)) dx.add(2, bias_gradient(dy, dx.over_ranks(2)));
    if (dx.needs(0))
      dx.add(0, input_gradient(g, dy, forward_weight(g, weight.data().data()), x.shape(), Rounding::free));
  });
}

// y = the input gradient of a convolution for an output gradient of x; dx and dweight are its forward pass and its
// weight gradient, with dy in the place of its input.
Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  const ConvGeometry g = transposed_geometry(x.shape(), weight.shape(), options);
  check_bias("conv_transpose2d", bias, weight.shape());
  Tensor y = input_gradient(g, x, transposed_weight(g, weight.data().data()), {x.dim(0), g.in_h, g.in_w, g.in},
                            forward_rounding());
  if (bias.defined()) add_bias(y, bias);
  return record("conv_transpose2d", y, {x, weight, bias}, [g, x, weight](const Tensor& dy, Grads& dx) {
    if (dx.needs(0)) {
      Tensor to_x = Tensor::empty(x.shape());
      const ConvPhase whole{g, transposed_weight(g, weight.data().data()), 0};
      run_forward({&whole, 1}, x.dim(0), dy.data().data(), nullptr, to_x.mutable_data().data(), g.out_h * g.row_pitch,
                  Rounding::free);
      dx.add(0, to_x);
    }
    if (dx.needs(1)) {
      const Shape seen{g.kernel_h, g.kernel_w, g.in / g.groups, g.out};
      dx.add(1, exchanged(weight_gradient(g, dy, x, seen, dx.over_ranks(1)), g.groups));
    }
    if (dx.needs(2)) dx.add(2, bias_gradient(dy, dx.over_ranks(2)));
  });
}

}  // namespace qgrad
