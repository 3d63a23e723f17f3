// What is replaced, what is transformed, and the wrapper around the model.
#include "quant/quant_aware_train_linear.h"

#include <algorithm>

#include "quant/clip.h"
#include "quant/ste.h"

namespace qgrad {
namespace {

const Registered<Quantizer, QuantAwareTrainRangeLinearQuantizer, QuantAwareTrainRangeLinearConfig> registered{
    "QuantAwareTrainRangeLinearQuantizer"};

struct ActivationSettings {
  ModuleQuantMode mode;
  float ema_decay = 0;
};
template <class V>
void fields(V& v, ActivationSettings& s) {
  v("mode", s.mode);
  v("ema_decay", s.ema_decay, {.min = 0, .max = 0.999999});
}

struct WeightSettings {
  ModuleQuantMode mode;
  bool per_channel_wts = false;
};
template <class V>
void fields(V& v, WeightSettings& s) {
  v("mode", s.mode);
  v("per_channel_wts", s.per_channel_wts);
}

Tensor vector_of(const std::vector<float>& values) {
  return Tensor::from({static_cast<int64_t>(values.size())}, values);
}

}  // namespace

QuantAwareTrainRangeLinearQuantizer::QuantAwareTrainRangeLinearQuantizer(QuantAwareTrainRangeLinearConfig config)
    : Quantizer(config), config_(std::move(config)) {
  const auto fake_quantize = [this](const Site& site, ModulePtr module) -> ModulePtr {
    if (!site.bits.activations) return module;
    const auto settings = site.settings_onto(ActivationSettings{config_.mode, config_.ema_decay});
    FakeQuantConfig fake_quant = fake_quant_config(*site.bits.activations);
    fake_quant.mode = settings.mode.activations;
    fake_quant.ema_decay = settings.ema_decay;
    return std::make_unique<FakeQuantizationWrapper>(std::move(module), fake_quant);
  };
  for (const std::string_view kind : kQuantizedActivations)
    replacement_factory.emplace(kind, Replacement(fake_quantize, keys_of<ActivationSettings>()));
  weight_settings = keys_of<WeightSettings>();
}

FakeQuantConfig QuantAwareTrainRangeLinearQuantizer::fake_quant_config(int bits) const {
  return {.bits = bits,
          .mode = config_.mode.activations,
          .ema_decay = config_.ema_decay,
          .clamp_integers = config_.clamp_integers};
}

void QuantAwareTrainRangeLinearQuantizer::pre_process(ModulePtr&, const Graph& graph) {
  for (const GraphNode& node : graph.nodes())
    if (node.kind == "input")
      input_is_quantizable_.push_back(
          std::ranges::none_of(node.succs, [&](size_t s) { return graph[s].kind == "Embedding"; }));
}

ModulePtr QuantAwareTrainRangeLinearQuantizer::weight_transform(const Site& site, Parameter& parameter, int bits) {
  const auto settings = site.settings_onto(WeightSettings{config_.mode, config_.per_channel_wts});
  const LinearQuantizeParamConfig quantize{.bits = bits,
                                           .mode = settings.mode.weights,
                                           .per_channel = settings.per_channel_wts && has_output_channels(parameter),
                                           .clamp_integers = config_.clamp_integers};
  return std::make_unique<LinearQuantizeParam>(quantize, parameter.raw().shape());
}

void QuantAwareTrainRangeLinearQuantizer::post_process(ModulePtr& model) {
  const std::optional<int> bits = config_.num_bits_inputs ? config_.num_bits_inputs : config_.bits_activations;
  if (!config_.quantize_inputs || !bits) return;
  std::vector<std::optional<FakeQuantConfig>> inputs;
  for (const bool quantizable : input_is_quantizable_)
    inputs.push_back(quantizable ? std::optional(fake_quant_config(*bits)) : std::nullopt);
  if (std::ranges::none_of(inputs, [](const auto& input) { return input.has_value(); })) return;
  model = std::make_unique<InputsQuantWrapper>(std::move(model), inputs);
}

bool has_output_channels(const Parameter& parameter) {
  const int rank = parameter.raw().rank();
  return (rank == 2 || rank == 4) && parameter.owner().kind() != "Embedding";
}

LinearQuantizeParam::LinearQuantizeParam(const LinearQuantizeParamConfig& config, const Shape& parameter)
    : config_(config),
      scale(buffer("scale", Tensor::full({config.per_channel ? parameter[-1] : 1}, 1))),
      zero_point(buffer("zero_point", Tensor::zeros({config.per_channel ? parameter[-1] : 1}))) {}

std::string LinearQuantizeParam::describe() const {
  return fmt::format("bits={}, mode={}{}{}", config_.bits, enum_name(config_.mode),
                     config_.per_channel ? ", per channel" : "", config_.clamp_integers ? "" : ", unclamped");
}

Tensor LinearQuantizeParam::forward(const Tensor& parameter) {
  const QuantSettings settings{.bits = config_.bits, .mode = config_.mode, .per_channel = config_.per_channel};
  const LinearQuantParams params = params_from_tensor(parameter, settings, Slices::output_channels);
  scale.set(vector_of(params.scale));
  zero_point.set(vector_of(params.zero_point));
  SteOptions options;
  if (config_.clamp_integers) options.integers = quantized_range(config_.bits, config_.mode);
  return linear_quantize_ste(parameter, params, options);
}

InputsQuantWrapper::InputsQuantWrapper(ModulePtr model, const std::vector<std::optional<FakeQuantConfig>>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::string name = i == 0 ? "inputs_quant" : fmt::format("inputs_quant{}", i);
    inputs_quant_.push_back(
        inputs[i] ? std::make_unique<Child>(*this, name, std::make_unique<FakeLinearQuantization>(*inputs[i]))
                  : nullptr);
  }
  model_ = std::make_unique<Child>(*this, "", std::move(model));
}

Tensor InputsQuantWrapper::forward(Inputs x) {
  check(x.size() == inputs_quant_.size(), "the model was prepared for {} inputs, got {}", inputs_quant_.size(),
        x.size());
  std::vector<Tensor> quantized(x.begin(), x.end());
  for (size_t i = 0; i < quantized.size(); ++i)
    if (inputs_quant_[i]) quantized[i] = (*inputs_quant_[i])(x[i]);
  return (*model_)->call(quantized);
}

}  // namespace qgrad
