// The smallest network that has both.
#include "docs/quantizers/one_layer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <span>

#include "core/config.h"
#include "nn/layers/container.h"
#include "nn/layers/linear.h"
#include "quant/quantizer.h"
#include "quant/wrappers.h"

namespace qgrad {

OneLayer::OneLayer(const Json& quantizer, ModulePtr function) {
  auto linear = std::make_unique<Linear>(2, 2);
  Parameter& weight = linear->weighted_sum()->weight;
  weight.set_raw(Tensor::from({2, 2}, std::array{-1.0f, -0.3f, 0.6f, 1.0f}));
  auto layers = std::make_unique<Sequential>();
  layers->add(std::move(linear)).add(std::move(function));
  model_ = std::move(layers);
  Registry<Quantizer>::create(Config{quantizer, "", "quantizer"})->prepare(model_, nullptr, Tensor::zeros({1, 2}));
  weights_ = weight.transform_slot().as<Quantization>();
  visit_modules<Quantization>(*model_, [this](Quantization& found) {
    if (found.path() == "1" || found.path() == "1" + std::string(kBehind)) activations_ = &found;
  });
  check(weights_ && activations_, "the quantizer leaves the weights or the activations as they are");
}

Parameter& parameter_of(Module& module, std::string_view name) {
  const std::span<Parameter* const> all = module.parameters();
  const auto found = std::ranges::find(all, name, [](const Parameter* p) -> std::string_view { return p->name(); });
  check(found != all.end(), "{} has no parameter '{}'", module.kind(), name);
  return **found;
}

}  // namespace qgrad
