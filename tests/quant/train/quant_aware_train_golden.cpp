// One case of the training files: state by state, and as one run.
#include "quant/train/quant_aware_train_golden.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/optim/sgd.h"
#include "quant/train/range_linear.h"
#include "support/catch.h"
#include "support/golden_net.h"

namespace qgrad::golden {
namespace {

constexpr Tolerance kTraining{1e-4, 1e-5};

// A golden case's args and overrides as the config of the quantizer, with Distiller's clips where it starts with none.
Json config_of(const Json& inputs) {
  Json config = inputs.at("args");
  config["class"] = inputs.at("quantizer");
  for (const auto& [clipping, key, value] : {std::tuple("PACTQuantizer", "act_clip_init_val", 8),
                                             {"DorefaQuantizer", "act_clip_val", 1},
                                             {"WRPNQuantizer", "act_clip_val", 1}})
    if (config["class"] == clipping && !config.contains(key)) config[key] = value;
  config["overrides"] = Json::object();
  for (const Json& entry : inputs.at("overrides")) config["overrides"][entry.at(0).get<std::string>()] = entry.at(1);
  return config;
}

void leave_unclamped(Module& model) {
  for (Parameter* p : all_parameters(model))
    if (const auto* weight = p->transform_slot().as<Quantization>(); weight && weight->kind() == "WRPNQuantizeParam")
      p->set_transform(std::make_unique<UnclampedWRPN>(weight->own_bits()));
}

struct Prepared {
  ModulePtr model;
  std::unique_ptr<Quantizer> quantizer;
};
Prepared prepared_net(const Json& net, const Json& config, Optimizer* optimizer) {
  Prepared p{build_net(net), distiller_quantizer_of(config)};
  if (optimizer) optimizer->add_param_group({.name = "default", .parameters = all_parameters(*p.model)});
  const std::vector<Tensor> example = net_inputs(net.at("batches").at(0).at("x"));
  p.quantizer->prepare(p.model, optimizer, example);
  leave_unclamped(*p.model);
  return p;
}

std::vector<int32_t> labels_of(const Json& batch) { return batch.at("labels").get<std::vector<int32_t>>(); }

// Counts inputs of clipping activations that are zero but for rounding. Sums of products of two grids often are exactly
// zero; which side of the clip's end such a sum lies on, and so its gradient, depends on the order of summation.
struct NearZeros final : CallObserver {
  int64_t count = 0;
  void leave(Module& module, Inputs x, const Tensor&) override {
    if (module.kind().ends_with("ClippedLinearQuantization"))
      count += std::ranges::count_if(x[0].data(), [](float v) { return std::fabs(v) < 1e-6f; });
  }
};

struct StepResult {
  Tensor logits;
  float loss = 0;
  int64_t near_zeros = 0;
};
StepResult forward_backward(Module& model, const Json& batch) {
  Tape tape;
  const Tape::Recording recording(tape);
  for (Parameter* p : all_parameters(model)) p->raw().set_grad({});
  NearZeros near;
  const Observing observing(near);
  const Tensor logits = model.call(net_inputs(batch.at("x")));
  const Tensor loss = softmax_cross_entropy(logits, labels_of(batch));
  tape.backward(loss);
  return {logits, loss.item(), near.count};
}

void check_quantized_params(Module& model, const Json& expected, const Json* buffers) {
  for (const auto& [path, value] : expected.items()) {
    INFO(path);
    const Parameter& parameter = parameter_at(model, path);
    REQUIRE(parameter.transform());
    CHECK(difference(to_file_layout(parameter(), parameter.layout()), tensor(value)) == "");
    if (buffers) CHECK(buffers_difference(*parameter.transform(), buffers->at(path), {}) == "");
  }
}

// Of activations; clipped ones have none.
const Json& tracked_ranges(const Json& step) {
  static const Json none = Json::object();
  return step.contains("activations") ? step.at("activations") : none;
}

// The state at the end of a golden step: float parameters, batch norms, tracked ranges.
void load_step(Module& model, const Json& step) {
  load_params(model, step.at("params"));
  Json buffers = Json::object();
  if (step.contains("batch_norm"))
    for (const auto& [name, norm] : step.at("batch_norm").items())
      for (const auto& [key, value] : norm.items())
        if (is_tensor(value)) buffers[name + "." + key] = value;
  load_params(model, buffers);
  for (const auto& [name, tracked] : tracked_ranges(step).items())
    for (Buffer* buffer : fake_quant_at(model, name).buffers())
      if (tracked.contains(buffer->name())) buffer->set(Tensor::full({1}, number(tracked.at(buffer->name()))));
}

// One forward and backward from the state of the step before. A near tie in the forward pass may round the other way in
// another order of summation, which moves the outputs by a whole step: then only what is not downstream of it is
// compared closely.
void check_step(Module& model, const Json& batch, const Json& step) {
  const StepResult result = forward_backward(model, batch);
  const bool may_flip = step.at("near_ties").at("forward").get<int>() > 0;
  const Tolerance flipped{0.1, 0.05}, tolerance = may_flip ? flipped : kTraining;
  CHECK(difference(result.loss, number(step.at("loss")), tolerance) == "");
  CHECK(difference(result.logits, tensor(step.at("logits")), tolerance) == "");
  for (const auto& [path, grad] : step.at("grads").items()) {
    INFO("gradient of " << path);
    const Parameter& parameter = parameter_at(model, path);
    CHECK(difference(to_file_layout(parameter.raw().grad(), parameter.layout()), tensor(grad),
                     result.near_zeros > 0 ? flipped : tolerance) == "");
  }
  for (const auto& [name, tracked] : tracked_ranges(step).items())
    CHECK(buffers_difference(fake_quant_at(model, name), tracked, tolerance) == "");
}

bool has_near_ties(const Json& steps) {
  return std::ranges::any_of(steps, [](const Json& step) {
    return step.at("near_ties").at("forward").get<int>() > 0 || step.at("near_ties").at("params").get<int>() > 0;
  });
}

}  // namespace

std::unique_ptr<Quantizer> quantizer_of(const Json& config) {
  return Registry<Quantizer>::create(Config{config, "test.json", "quantizer"});
}

std::unique_ptr<Quantizer> distiller_quantizer_of(Json config) {
  if (config.at("class") != "QuantAwareTrainRangeLinearQuantizer") return quantizer_of(config);
  config.erase("class");
  auto linear = read_config<QuantAwareTrainRangeLinearConfig>({config, "test.json", "quantizer"});
  linear.clamp_integers = false;
  return std::make_unique<QuantAwareTrainRangeLinearQuantizer>(linear);
}

Parameter& parameter_at(Module& model, std::string_view path) {
  for (Parameter* p : all_parameters(model))
    if (p->path() == path) return *p;
  fail("no parameter {}", path);
}

FakeLinearQuantization& fake_quant_at(Module& model, std::string_view name) {
  FakeLinearQuantization* found = nullptr;
  visit_modules(model, [&](Module& m) {
    const std::string path = m.path();
    if (m.kind() == "FakeLinearQuantization" && (path == name || path == std::string(name) + ".fake_q"))
      found = dynamic_cast<FakeLinearQuantization*>(&m);
  });
  check(found, "no fake quantization {}", name);
  return *found;
}

// "" when the buffers of the module have the expected values (a number, a list per channel in any shape).
std::string buffers_difference(const Module& module, const Json& expected, Tolerance tolerance) {
  for (const Buffer* buffer : module.buffers()) {
    if (!expected.contains(buffer->name())) continue;
    const Tensor ours = (*buffer)(), theirs = tensor(expected.at(buffer->name()));
    if (ours.numel() != theirs.numel()) return fmt::format("{}: {} values", buffer->path(), ours.numel());
    const std::string d = difference(ours, theirs.reshaped(ours.shape()), tolerance);
    if (!d.empty()) return buffer->path() + ": " + d;
  }
  return "";
}

Outcome check_quant_aware_train_case(const Json& file, const Json& c) {
  const Json &in = c.at("inputs"), &expected = c.at("expected"), &steps = expected.at("steps");
  const Json& net = file.at("batches").at(in.at("net").get<std::string>());
  const Json config = config_of(in);

  {  // every step from the expected state of the step before
    const Prepared p = prepared_net(net, config, nullptr);
    check_quantized_params(*p.model, expected.at("initial_quantized_params"), nullptr);
    for (size_t k = 0; k < steps.size(); ++k) {
      INFO("step " << k);
      check_step(*p.model, net.at("batches").at(k), steps[k]);
      load_step(*p.model, steps[k]);
      check_quantized_params(*p.model, steps[k].at("quantized_params"),
                             steps[k].contains("param_quantization") ? &steps[k].at("param_quantization") : nullptr);
    }
    if (!expected.contains("eval_output")) return kCompared;
    p.model->set_training(false);
    const bool may_flip = steps.back().at("near_ties").at("forward").get<int>() > 0;
    CHECK(difference(p.model->call(net_inputs(net.at("eval_x"))), tensor(expected.at("eval_output")),
                     may_flip ? Tolerance{0.1, 0.05} : kTraining) == "");
  }
  if (!has_near_ties(steps)) {  // and all steps in a row with the optimizer
    const Json& sgd = in.at("sgd");
    Sgd optimizer({.lr = number(sgd.at("lr")),
                   .momentum = number(sgd.at("momentum")),
                   .weight_decay = number(sgd.at("weight_decay"))});
    const Prepared p = prepared_net(net, config, &optimizer);
    for (size_t k = 0; k < steps.size(); ++k) {
      INFO("step " << k << " of the whole run");
      forward_backward(*p.model, net.at("batches").at(k));
      optimizer.step();
      CHECK(params_difference(*p.model, steps[k].at("params"), kTraining) == "");
    }
  }
  return kCompared;
}

}  // namespace qgrad::golden
