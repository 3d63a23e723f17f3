// Integer weights and their parameters.
#include "quant/simulation/weight.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"

namespace qgrad {
namespace {

Tensor vector_of(std::span<const float> values) {
  return Tensor::from(Shape{static_cast<int64_t>(values.size())}, values);
}

std::vector<float> numbers_of(const Tensor& t) { return {t.data().begin(), t.data().end()}; }

}  // namespace

IntegerWeight::IntegerWeight(Module& wrapper, Parameter& weight, const WeightQuantization& quantization,
                             const ChannelGrid& grid)
    : quantization_(quantization),
      weight_(weight),
      scale_(wrapper, "w_scale", Tensor()),
      zero_point_(wrapper, "w_zero_point", Tensor()) {
  const Tensor original = weight.raw();
  if (quantization.save_float) float_weight_.emplace(wrapper, kFloatWeight, original.clone(), weight.layout());
  quantize(original, grid);
  const QuantizedRange range = integers();
  weight.set_limits({.low = range.qmin, .high = range.qmax});  // of what a checkpoint may hold
}

void IntegerWeight::quantize(const Tensor& weight, const ChannelGrid& grid) {
  weight_.set_raw(linear_quantize(weight, {grid.scale, grid.zero_point, integers()}));
  scale_.set(vector_of(grid.scale));
  zero_point_.set(vector_of(grid.zero_point));
}

void IntegerWeight::set_q(Tensor q) {
  check(q.shape() == weight_.raw().shape(), "{}: expected integers of shape {}, got {}", weight_.path(),
        weight_.raw().shape(), q.shape());
  const QuantizedRange range = integers();
  for (const float value : q.data())
    check(value >= range.qmin && value <= range.qmax && value == std::nearbyint(value),
          "{}: expected integers from {} to {}, got {}", weight_.path(), range.qmin, range.qmax, value);
  weight_.set_raw(std::move(q));
}

void IntegerWeight::set_grid(const ChannelGrid& grid) {
  check(grid.scale.size() == static_cast<size_t>(scale_().numel()) && grid.zero_point.size() == grid.scale.size(),
        "{}: expected {} scales and zero points, got {} and {}", weight_.path(), scale_().numel(), grid.scale.size(),
        grid.zero_point.size());
  scale_.set(vector_of(grid.scale));
  zero_point_.set(vector_of(grid.zero_point));
}

ChannelGrid IntegerWeight::grid() const { return {numbers_of(scale_()), numbers_of(zero_point_()), integers()}; }

QuantParamSlot IntegerWeight::slot() {
  return {.scale = "w_scale",
          .zero_point = "w_zero_point",
          .clipping = "weight_clipping",
          .settings = settings(),
          .free = float_weight_.has_value(),
          .get = [this] { return grid(); },
          .set =
              [this](const ChannelGrid& grid) {
                check(float_weight_.has_value(), "{}: the weight can be quantized again only with save_fp_weights",
                      weight_.path());
                quantize(float_weight_->raw(), grid);
              }};
}

Json IntegerWeight::quant_params() const {
  const ChannelGrid all = grid();
  const bool one = !settings().per_channel;
  return {{"bits", settings().bits},
          {"mode", enum_name(settings().mode)},
          {"clip", enum_name(settings().clip)},
          {"per_channel", settings().per_channel},
          {"scale", one ? Json(all.scale[0]) : Json(all.scale)},
          {"zero_point", one ? Json(all.zero_point[0]) : Json(all.zero_point)}};
}

}  // namespace qgrad
