// Float layers with quantized outputs, and float layers in half precision.
#include "quant/simulation/float_layer.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/tape.h"
#include "nn/layers/activation.h"
#include "nn/layers/pool.h"
#include "nn/layers/separable.h"
#include "quant/simulation/integer_norm.h"
#include "quant/simulation/integer_softmax.h"

namespace qgrad {
namespace {

void round_parameters(Module& layer, FloatPrecision precision) {
  if (precision == FloatPrecision::half)
    for (Parameter* p : all_parameters(layer)) p->set_raw(rounded(p->raw(), precision));
}

// The convolution with ones that sums windows of this many channels.
Conv2dOptions summing(const Pool2dOptions& o, int64_t channels) {
  return {.stride_h = o.stride_h,
          .stride_w = o.stride_w,
          .padding_h = o.padding_h,
          .padding_w = o.padding_w,
          .groups = channels,
          .padding_end_h = o.padding_end_h,
          .padding_end_w = o.padding_end_w};
}

Tensor run(Module& layer, std::span<const Tensor> x, FloatPrecision precision) {
  std::vector<Tensor> inputs;
  for (const Tensor& input : x) inputs.push_back(rounded(input, precision));
  return rounded(layer.call(inputs), precision);
}

}  // namespace

float round_to_half(float x) {
  if (!std::isfinite(x)) return x;
  constexpr float kLargest = 65504, kSmallestNormal = 0x1p-14f;
  const float magnitude = std::fabs(x);
  // Half has 11 significant bits; below its smallest normal number the steps stay 2^-24.
  const float step = magnitude < kSmallestNormal ? 0x1p-24f : std::ldexp(1.0f, std::ilogb(magnitude) - 10);
  const float nearest = std::nearbyint(magnitude / step) * step;  // exact but for the rounding to an integer
  return std::copysign(nearest > kLargest ? std::numeric_limits<float>::infinity() : nearest, x);
}

Tensor rounded(const Tensor& x, FloatPrecision precision) {
  if (precision == FloatPrecision::single) return x;
  Tensor y = Tensor::empty(x.shape());
  const std::span<const float> in = x.data();
  const std::span<float> out = y.mutable_data();
  for (size_t i = 0; i < in.size(); ++i) out[i] = round_to_half(in[i]);
  return record("round_to_half", y, {x}, [](const Tensor&, Grads&) {
    fail("round_to_half: a model that was quantized after training has no gradients");
  });
}

RangeLinearFakeQuantWrapper::RangeLinearFakeQuantWrapper(ModulePtr layer, LayerQuantization q, FloatPrecision precision)
    : RangeLinearQuantWrapper(std::move(layer), std::move(q)), precision_(precision) {
  round_parameters(wrapped(), precision);
}

Accumulator RangeLinearFakeQuantWrapper::accumulate(Inputs x) {
  if (const auto window = summed_window(x[0].shape())) {
    const Grid grid = input_grid(0, x[0]);
    const int64_t channels = x[0].dim(-1);
    const Tensor ones = Tensor::full({window->kernel_h, window->kernel_w, 1, channels}, 1);
    Tensor sums = conv2d(to_integers(x[0], grid, arithmetic()), ones, Tensor(), summing(*window, channels));
    const float step = grid.step() * window_step(*window);
    return {std::move(sums), {1 / step}, {step}};
  }
  if (const auto maps = summed_maps(x[0].shape())) {
    const Grid grid = input_grid(0, x[0]);
    const float step = grid.step() * maps->step;
    return {mapped("resample", to_integers(x[0], grid, arithmetic()), maps->weights), {1 / step}, {step}};
  }
  if (const LayerNorm* norm = integer_norm()) {
    const Grid grid = input_grid(0, x[0]);
    return {integer_layer_norm(to_integers(x[0], grid, arithmetic()), grid.step(), *norm), {1.0f}, {}, true};
  }
  if (multiplies_integers()) {
    const Grid a = input_grid(0, x[0]), b = input_grid(1, x[1]);
    const float step = a.step() * b.step();
    return {wrapped()(to_integers(x[0], a, arithmetic()), to_integers(x[1], b, arithmetic())), {1 / step}, {step}};
  }
  if (takes_integers() && is_integer_softmax(x[0].rank(), input_grid(0, x[0]))) {
    const Grid grid = input_grid(0, x[0]);
    return {integer_softmax(to_integers(x[0], grid, arithmetic()), grid), {1.0f}, {}, true};
  }
  std::vector<Tensor> inputs(x.begin(), x.end());
  if (!quantization().inputs.empty())
    for (size_t i = 0; i < inputs.size(); ++i) {
      const Grid grid = input_grid(i, x[i]);
      if (!x[i].grid()) inputs[i] = fake_quantized(x[i], grid, arithmetic());
    }
  return {run(wrapped(), inputs, precision_), {1.0f}, {}, true};
}

bool RangeLinearFakeQuantWrapper::takes_integers() const {
  return arithmetic() == Arithmetic::onnx && !quantization().inputs.empty() && precision_ == FloatPrecision::single;
}

std::optional<Pool2dOptions> RangeLinearFakeQuantWrapper::summed_window(const Shape& image) const {
  if (!takes_integers()) return std::nullopt;
  const auto* pool = wrapped_as<AvgPool2d>();
  if (!pool) return std::nullopt;
  const Pool2dOptions window = pool->window(image);
  // Else the sums of some windows are divided by less than those of others.
  return window.count_padding && !window.ceil ? std::optional(window) : std::nullopt;
}

std::optional<IntegerMaps> RangeLinearFakeQuantWrapper::summed_maps(const Shape& image) const {
  if (!takes_integers() || wrapped().effect().kind != Effect::Kind::averages || image.rank() != 4) return std::nullopt;
  const Separable* layer = wrapped().separable();
  return layer ? std::optional(integer_maps(layer->maps(image))) : std::nullopt;
}

const LayerNorm* RangeLinearFakeQuantWrapper::integer_norm() const {
  const auto* norm = takes_integers() ? wrapped_as<LayerNorm>() : nullptr;
  return norm && norm->shape().rank() == 1 ? norm : nullptr;
}

bool RangeLinearFakeQuantWrapper::is_integer_softmax(int rank, const Grid& grid) const {
  const auto* softmax = takes_integers() ? wrapped_as<Softmax>() : nullptr;
  return softmax && (softmax->dim() == -1 || softmax->dim() == rank - 1) && grid.qmax - grid.qmin < kMostDistances;
}

bool RangeLinearFakeQuantWrapper::multiplies_integers() const {
  return takes_integers() && wrapped().effect().kind == Effect::Kind::multiplies_matrices;
}

float RangeLinearFakeQuantWrapper::window_step(const Pool2dOptions& window) {
  return 1.0f / static_cast<float>(window.kernel_h * window.kernel_w);
}

Rescale RangeLinearFakeQuantWrapper::rescale(float output_scale, const Accumulator& accumulator) const {
  if (arithmetic() == Arithmetic::onnx || !accumulator.real)
    return RangeLinearQuantWrapper::rescale(output_scale, accumulator);
  return {{output_scale}};
}

QuantizedRange RangeLinearFakeQuantWrapper::accumulator_range() const {
  return {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity()};
}

FPWrapper::FPWrapper(ModulePtr layer, FloatPrecision precision)
    : precision_(precision), layer_(*this, "", std::move(layer)) {
  round_parameters(*layer_, precision);
}

std::string FPWrapper::describe() const { return fmt::format("{} bits float", static_cast<int>(precision_)); }

Json FPWrapper::quant_params() const {
  return {{"class", kind()}, {"layer", layer_->kind()}, {"float_bits", static_cast<int>(precision_)}};
}

Tensor FPWrapper::forward(Inputs x) { return run(*layer_, x, precision_); }

}  // namespace qgrad
