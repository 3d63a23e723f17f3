// Comparing a quantized net with a golden case.
#include "quant/post_train/post_train_golden.h"

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "nn/layout.h"
#include "quant/post_train/linear.h"
#include "quant/simulation/eltwise.h"
#include "quant/simulation/embedding.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"
#include "support/catch.h"
#include "support/golden.h"
#include "support/golden_net.h"

namespace qgrad::golden {
namespace {

constexpr Tolerance kScales{1e-5, 0};

Tensor flat(const Tensor& t) { return t.reshaped(Shape{t.numel()}); }
Tensor vector_of(const std::vector<float>& values) {
  return Tensor::from(Shape{static_cast<int64_t>(values.size())}, values);
}

// A number, or one per channel in whatever shape.
std::string vector_difference(const std::vector<float>& actual, const Json& expected, Tolerance tolerance) {
  return difference(vector_of(actual), flat(tensor(expected)), tolerance);
}

void check_range(const Grid& actual, const Json& expected) {
  CHECK(actual.qmin == number(expected[0]));
  CHECK(actual.qmax == number(expected[1]));
}

bool matches(const Grid& actual, const Json& expected) {
  return difference(actual.scale, number(expected.at("scale")), kScales).empty() &&
         actual.zero_point == number(expected.at("zero_point"));
}

// How many integers differ, and whether any differs by more than one step.
struct IntegerDifference {
  int64_t count = 0;
  std::string beyond_one;
};
IntegerDifference compare_integers(const Tensor& actual, const Tensor& expected) {
  IntegerDifference result{0, difference(actual, expected, {0, 1})};
  if (actual.shape() != expected.shape()) return result;
  for (size_t i = 0; i < actual.data().size(); ++i) result.count += actual.data()[i] != expected.data()[i];
  return result;
}

// The integers behind a quantized tensor.
Tensor integers_of(const Tensor& y) {
  const Grid& m = *y.grid();
  return linear_quantize(y, {{m.scale}, {m.zero_point}});
}

// What a layer gave in one call, and, of integer layers, on what scale it computed.
struct LayerCall {
  Tensor output;
  bool quantized = false;
  std::vector<float> accumulator_scale;
  Tensor bias_q;
};

// Of every module, the last call: a wrapper leaves after what it wraps.
class Calls final : public CallObserver {
 public:
  void leave(Module& module, Inputs x, const Tensor& y) override {
    LayerCall& call = calls_[module.path()];
    call = {};
    call.output = y;
    call.quantized = y.grid().has_value();
    if (const auto* layer = dynamic_cast<RangeLinearQuantParamLayerWrapper*>(&module);
        layer && layer->quantization().output) {
      const IntegerSums sums = layer->integer_sums(layer->input_grid(0, x[0]));
      call.accumulator_scale = sums.scale;
      call.bias_q = sums.bias;
    }
    if (const auto* layer = dynamic_cast<RangeLinearQuantProductWrapper*>(&module)) {
      std::vector<Grid> inputs;
      for (size_t i = 0; i < x.size(); ++i) inputs.push_back(layer->input_grid(i, x[i]));
      call.accumulator_scale = {layer->accumulator_scale(inputs)};
    }
  }
  const LayerCall& at(const std::string& path) const { return calls_.at(path); }

 private:
  std::map<std::string, LayerCall> calls_;
};

void check_weights(const RangeLinearQuantParamLayerWrapper& layer, const Json& expected) {
  const IntegerWeight& weight = layer.weight();
  const Layout layout = weight.q().rank() == 2 ? Layout::linear : Layout::conv;
  const ChannelGrid grid = weight.grid();
  CHECK(vector_difference(grid.scale, expected.at("w_scale"), kScales) == "");
  CHECK(vector_difference(grid.zero_point, expected.at("w_zero_point"), kExact) == "");
  if (expected.contains("weight_q"))
    CHECK(difference(to_file_layout(weight.q(), layout), tensor(expected.at("weight_q")), kExact) == "");
  if (expected.contains("w_q_range")) check_range(grid.channel(0), expected.at("w_q_range"));
  if (expected.contains("weight_dequantized"))
    CHECK(difference(to_file_layout(weight.dequantized(), layout), tensor(expected.at("weight_dequantized"))) == "");
  if (expected.contains("bias_dequantized"))
    CHECK(difference(layer.dequantized_bias(), tensor(expected.at("bias_dequantized"))) == "");
  if (expected.contains("base_b_q")) {
    CHECK(difference(layer.base_bias_q(), tensor(expected.at("base_b_q")), kScales) == "");
    CHECK(difference(layer.base_bias_grid().scale[0], number(expected.at("b_scale")), kScales) == "");
    CHECK(layer.base_bias_grid().zero_point[0] == number(expected.at("b_zero_point")));
  }
}

void check_inputs(const LayerQuantization& quantization, const Json& expected) {
  REQUIRE(quantization.inputs.size() == expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const InputQuantization& input = quantization.inputs[i];
    if (input.shared) continue;  // the file gives the layer's own settings, which no value sees
    INFO("input " << i << ": scale " << input.params->scale << ", zero point " << input.params->zero_point);
    CHECK(matches(*input.params, expected[i]));
    check_range(grid_of({}, input.settings), expected[i].at("q_range"));
  }
}

void check_module(Module& module, const Json& expected) {
  INFO("module " << module.path());
  CHECK(module.kind() == expected.at("class").get<std::string>());
  if (const auto* embedding = dynamic_cast<RangeLinearEmbeddingWrapper*>(&module)) {
    CHECK(difference(embedding->weight_grid().scale, number(expected.at("w_scale")), kScales) == "");
    CHECK(embedding->weight_grid().zero_point == number(expected.at("w_zero_point")));
    CHECK(difference(embedding->weight().q(), tensor(expected.at("weight_q")), kExact) == "");
  }
  const auto* wrapper = dynamic_cast<RangeLinearQuantWrapper*>(&module);
  if (!wrapper) return;
  if (const auto* layer = dynamic_cast<RangeLinearQuantParamLayerWrapper*>(&module)) check_weights(*layer, expected);
  const LayerQuantization& quantization = wrapper->quantization();
  REQUIRE(quantization.output.has_value() == !expected.at("bits_activations").is_null());
  if (!quantization.output) return;
  CHECK(quantization.output->bits == expected.at("bits_activations").get<int>());
  CHECK(quantization.output->half_range == expected.at("clip_half_range").get<bool>());
  check_range(grid_of({}, *quantization.output), expected.at("q_range"));
  REQUIRE(wrapper->output_grid().has_value() == expected.contains("output"));
  if (const auto output = wrapper->output_grid()) {
    CHECK(difference(output->scale, number(expected.at("output").at("scale")), kScales) == "");
    CHECK(output->zero_point == number(expected.at("output").at("zero_point")));
  }
  if (expected.contains("inputs_fallback")) check_inputs(quantization, expected.at("inputs_fallback"));
}

// Every layer of one forward pass. Where values lie near a rounding tie, that many may be one step off; what follows
// from them is only bounded.
void check_forward(const Calls& calls, const Tensor& output, const Json& expected, int64_t near_ties) {
  bool flipped = false;
  for (const auto& [name, layer] : expected.at("layers").items()) {
    INFO("layer " << name);
    const LayerCall& call = calls.at(name);
    REQUIRE(call.quantized == layer.contains("q"));
    if (!call.quantized) {
      if (!flipped) CHECK(difference(file_activation(call.output), tensor(layer.at("float"))) == "");
      continue;
    }
    const Grid& metadata = *call.output.grid();
    CHECK(difference(metadata.scale, number(layer.at("scale")), kScales) == "");
    CHECK(metadata.zero_point == number(layer.at("zero_point")));
    if (layer.contains("accum_scale"))
      CHECK(vector_difference(call.accumulator_scale, layer.at("accum_scale"), kScales) == "");
    if (layer.contains("bias_q")) {
      const IntegerDifference bias = compare_integers(call.bias_q, tensor(layer.at("bias_q")));
      CHECK(bias.beyond_one == "");
      CHECK(bias.count <= near_ties);
    }
    const IntegerDifference q = compare_integers(file_activation(integers_of(call.output)), tensor(layer.at("q")));
    CHECK(q.beyond_one == "");
    if (!flipped) CHECK(q.count <= near_ties);
    flipped = flipped || q.count > 0;
  }
  if (!flipped) CHECK(difference(file_activation(output), tensor(expected.at("output"))) == "");
}

struct Prepared {
  ModulePtr model;
  std::unique_ptr<PostTrainLinearQuantizer> quantizer;
};

const Json& net_of(const Json& file) {
  check(file.at("net").size() == 1, "golden 05: expected one net in a file, got {}", file.at("net").size());
  return file.at("net")[0];
}

Prepared prepare(const Json& file, const Json& case_inputs, const Json& from, bool half_range = false) {
  const Json& net = net_of(file);
  auto config = read_config<PostTrainLinearConfig>({from, "", "quantizer"});
  config.inputs_keep_half_range = half_range;
  Prepared p{build_net(net), std::make_unique<PostTrainLinearQuantizer>(config)};
  if (case_inputs.at("stats").get<bool>())
    p.quantizer->set_stats(stats_from_json(stats_object(file.at("calibration_stats")), "golden statistics"));
  p.quantizer->prepare(p.model, nullptr, net_inputs(net.at("test_inputs")[0]));
  p.model->set_training(false);
  return p;
}

// Overrides of a ReLU that is fused into its layer do nothing in Distiller; here they are errors, and left out then.
void leave_out_overrides_of_fused(const Json& file, const Json& case_inputs, Json& config) {
  const Json overrides = config.at("overrides");
  for (const auto& [path, settings] : overrides.items()) try {
      prepare(file, case_inputs, config);
      return;
    } catch (const Error& e) {
      if (std::string(e.what()).find(path + " is computed within") == std::string::npos) throw;
      config["overrides"].erase(path);
    }
}

// Changes clipping values as a case asks: {"conv1.output_clipping": [min, max], "conv1.weight_clipping": ..}.
void requantize(Module& model, const Json& changes) {
  for (const auto& [name, range] : changes.items()) {
    const NamedQuantParam param = named_quant_param(model, name);
    const std::vector<float> both{number(range[0]), number(range[1])};
    param.set(param.get().size() == 2 ? both : std::vector{std::max(std::fabs(both[0]), std::fabs(both[1]))});
  }
}

void check_tensor_stats(const TensorStats& actual, const Json& expected) {
  const std::pair<const char*, double> values[] = {{"min", actual.min},
                                                   {"max", actual.max},
                                                   {"avg_min", actual.avg_min},
                                                   {"avg_max", actual.avg_max},
                                                   {"mean", actual.mean},
                                                   {"std", actual.std},
                                                   {"b", actual.b}};
  for (const auto& [key, value] : values) CHECK(difference(value, real(expected.at(key)), {1e-6, 1e-6}) == "");
}

void check_stats(const QuantStats& actual, const Json& expected) {
  CHECK(actual.size() == expected.size());
  for (const auto& [path, entry] : expected.items()) {
    INFO("statistics of " << path);
    const ModuleStats* stats = actual.find(path);
    REQUIRE(stats != nullptr);
    check_tensor_stats(stats->output, entry.at("output"));
    REQUIRE(stats->inputs.size() == entry.at("inputs").size());
    for (size_t i = 0; i < stats->inputs.size(); ++i) check_tensor_stats(stats->inputs[i], entry.at("inputs")[i]);
  }
}

// Whether any input's parameters in the file are not those that we compute.
bool inputs_differ(Module& model, const Json& modules) {
  for (const auto& [name, expected] : modules.items()) {
    const auto* wrapper = dynamic_cast<RangeLinearQuantWrapper*>(find_module(model, name));
    if (!wrapper || !expected.contains("inputs_fallback")) continue;
    const std::vector<InputQuantization>& inputs = wrapper->quantization().inputs;
    const Json& fallback = expected.at("inputs_fallback");
    for (size_t i = 0; i < inputs.size() && i < fallback.size(); ++i)
      if (inputs[i].params && !inputs[i].shared && !matches(*inputs[i].params, fallback[i])) return true;
  }
  return false;
}

}  // namespace

Json post_train_config(const Json& case_inputs) {
  Json config = {{"rounding", "distiller"}};
  for (const auto& [key, value] : case_inputs.at("args").items())
    config[key == "bits_parameters" ? "bits_weights" : key] = value;
  config["overrides"] = Json::object();
  for (const Json& entry : case_inputs.at("overrides")) config["overrides"][entry[0].get<std::string>()] = entry[1];
  return config;
}

Json stats_object(const Json& calibration_stats) {
  Json all = calibration_stats;
  for (auto& [path, entry] : all.items()) {
    Json inputs = Json::object();
    for (size_t i = 0; i < entry.at("inputs").size(); ++i) inputs[std::to_string(i)] = entry["inputs"][i];
    entry["inputs"] = std::move(inputs);
  }
  return all;
}

void check_post_train_forward(Module& model, const Json& test_input, const Json& expected, int64_t near_ties) {
  Calls calls;
  Tensor output;
  {
    const Observing observing(calls);
    output = model.call(net_inputs(test_input));
  }
  check_forward(calls, output, expected, near_ties);
}

bool check_post_train_case(const Json& file, const Json& golden_case) {
  const Json& inputs = golden_case.at("inputs");
  const Json& expected = golden_case.at("expected");
  Json config = post_train_config(inputs);
  if (raises(expected)) {
    CHECK_THROWS(prepare(file, inputs, config));
    return false;
  }
  leave_out_overrides_of_fused(file, inputs, config);
  Prepared p = prepare(file, inputs, config);
  const bool half_range = inputs_differ(*p.model, expected.at("modules"));
  if (half_range) p = prepare(file, inputs, config, half_range);
  if (expected.contains("stats_after_prepare"))
    check_stats(*p.quantizer->stats_after_prepare(), expected.at("stats_after_prepare"));
  if (inputs.contains("requantize")) requantize(*p.model, inputs.at("requantize"));
  for (const auto& [name, module] : expected.at("modules").items()) check_module(*find_module(*p.model, name), module);

  const Json& test_inputs = net_of(file).at("test_inputs");
  const Json& forwards = expected.at("forwards");
  check(!forwards.empty() && forwards.size() <= test_inputs.size(), "golden 05: {} forward passes of {} inputs",
        forwards.size(), test_inputs.size());
  for (size_t i = 0; i < forwards.size(); ++i) {
    INFO("forward " << i);
    check_post_train_forward(*p.model, test_inputs[i], forwards[i],
                             expected.at("near_ties").at("forward").get<int64_t>());
  }
  return half_range;
}

}  // namespace qgrad::golden
