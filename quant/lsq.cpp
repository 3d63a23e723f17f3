// Learned steps and offsets.
#include "quant/lsq.h"

#include <algorithm>
#include <cmath>

#include "core/ops.h"
#include "core/tape.h"
#include "quant/reductions.h"
#include "quant/ste.h"

namespace qgrad {
namespace {

const Registered<Quantizer, LSQQuantizer, LSQConfig> registered_lsq{"LSQQuantizer"};
const Registered<Quantizer, LSQQuantizer, LSQPlusConfig> registered_lsq_plus{"LSQPlusQuantizer"};

Tensor on_grid(const Tensor& x, float step, float offset, const QuantizedRange& range) {
  const Tape::Paused paused;
  return linear_quantize_ste(x, {{1 / step}, {offset / step}}, {.integers = range});
}

void set(Parameter& parameter, float value) { parameter.raw().mutable_data()[0] = value; }

}  // namespace

std::vector<std::pair<std::string, LSQStart>> enum_names(LSQStart*) {
  return {{"LSQ", LSQStart::lsq}, {"LSQ+", LSQStart::lsq_plus}, {"MSE", LSQStart::mse}};
}

LSQQuantizer::LSQQuantizer(const LSQConfig& config)
    : LearnedQuantizer(config, config.learn_offset ? ReluPlace::behind : ReluPlace::fused,
                       [start = config.start, learn_offset = config.learn_offset](int bits, GridSite site) {
                         return std::make_unique<LSQQuantization>(bits, site, start, learn_offset);
                       }) {}

LSQQuantization::LSQQuantization(int bits, GridSite site, LSQStart start, bool learn_offset)
    : LearnedQuantization(bits, site),
      step(parameter("step", Tensor::full({1}, 1))),
      offset(parameter("offset", learn_offset && site != GridSite::weights ? Tensor::zeros({1}) : Tensor())),
      start_(start) {}

void LSQQuantization::start(const Tensor& x, int bits) {
  const QuantizedRange q = range(bits);
  if (start_ == LSQStart::lsq) {
    set(step, 2 * mean(abs(x)).item() / std::sqrt(q.qmax));
  } else if (start_ == LSQStart::lsq_plus && site() == GridSite::weights) {
    const double center = mean(x).item(), n = static_cast<double>(x.numel());
    const double deviation = std::sqrt(deviations_from(center, x.data()).square / n);
    set(step, static_cast<float>((std::fabs(center) + 3 * deviation) / (q.qmax + 1)));
  } else {
    // The whole range, or a share of it: from min to max where an offset can follow, else around or above zero.
    const ValueRange all = min_max(x.data());
    const float largest = all.max_abs();
    const float width = offset.defined() ? (all.max - all.min) / (q.qmax - q.qmin) : largest / q.qmax;
    const auto offset_of = [&](float share) {
      return offset.defined() ? share * all.min - q.qmin * share * width : 0.0f;
    };
    const float clip = nearest_clip(x, 0.85f, [&](float c) {
      const float share = c / largest;
      return on_grid(x, std::max(share * width, kSmallestStep), offset_of(share), q);
    });
    const float share = largest > 0 ? clip / largest : 1;
    set(step, share * width);
    if (offset.defined()) set(offset, offset_of(share));
  }
  // Numbers that are all equal say nothing about their width: the grid then spans [-1, 1] or [0, 1].
  if (step.raw().item() == 0) set(step, 1 / q.qmax);
}

void LSQQuantization::restrain() {
  restrain_to(step, kSmallestStep, kLargestStep);
  if (offset.defined()) restrain_to(offset, -kLargestStep, kLargestStep);
}

Tensor LSQQuantization::quantize(const Tensor& x, int bits) {
  const QuantizedRange q = range(bits);
  const float s = step.raw().item(), o = offset.defined() ? offset.raw().item() : 0, g = gradient_scale(x, q.qmax);
  std::vector<GridParameter> parameters{{learned(step), [=](const GridSums& sums) {
                                           return static_cast<float>(
                                               g * (sums.inside / s + q.qmin * sums.below + q.qmax * sums.above));
                                         }}};
  if (offset.defined())
    parameters.push_back(
        {learned(offset), [=](const GridSums& sums) { return static_cast<float>(g * (sums.below + sums.above)); }});
  return record_on_grid("lsq", x, on_grid(x, s, o, q), {q.qmin * s + o, q.qmax * s + o}, parameters);
}

}  // namespace qgrad
