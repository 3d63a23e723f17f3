// Building modules from golden node lists.
#include "support/golden_net.h"

#include <deque>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/embedding.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"

namespace qgrad::golden {
namespace {

// A member that is a number for both dimensions or a list of two.
std::pair<int64_t, int64_t> pair_of(const Json& args, const char* key, int64_t absent) {
  if (!args.contains(key)) return {absent, absent};
  const Json& value = args.at(key);
  if (value.is_array()) return {value.at(0).get<int64_t>(), value.at(1).get<int64_t>()};
  return {value.get<int64_t>(), value.get<int64_t>()};
}

ModulePtr build_conv(const Json& args) {
  Conv2dConfig c{.in = args.at("in").get<int64_t>(), .out = args.at("out").get<int64_t>()};
  Conv2dOptions& o = c.options;
  std::tie(c.kernel_h, c.kernel_w) = pair_of(args, "kernel", 1);
  std::tie(o.stride_h, o.stride_w) = pair_of(args, "stride", 1);
  std::tie(o.padding_h, o.padding_w) = pair_of(args, "padding", 0);
  std::tie(o.dilation_h, o.dilation_w) = pair_of(args, "dilation", 1);
  o.groups = args.value("groups", int64_t{1});
  c.bias = args.value("bias", true);
  return std::make_unique<Conv2d>(c);
}

Pool2dOptions pool_options(const Json& args) {
  Pool2dOptions o;
  std::tie(o.kernel_h, o.kernel_w) = pair_of(args, "kernel", 2);
  std::tie(o.stride_h, o.stride_w) = args.contains("stride") ? pair_of(args, "stride", 1) : pair_of(args, "kernel", 2);
  std::tie(o.padding_h, o.padding_w) = pair_of(args, "padding", 0);
  return o;
}

std::optional<float> momentum_of(const Json& args) {
  if (!args.contains("momentum")) return 0.1f;
  return args["momentum"].is_null() ? std::nullopt : std::optional(args["momentum"].get<float>());
}

BatchNormConfig norm_config(const Json& args) {
  return {.features = args.at("features").get<int64_t>(),
          .eps = args.value("eps", 1e-5f),
          .momentum = momentum_of(args),
          .affine = args.value("affine", true)};
}

bool makes_images(const std::string& type) {
  static const std::set<std::string> kinds{"Conv2d", "BatchNorm2d", "MaxPool2d", "AvgPool2d", "GlobalAvgPool2d"};
  return kinds.contains(type);
}

// An argument that is not read would make another layer than the file's.
void check_arguments(const std::string& type, const Json& args) {
  static const std::map<std::string, std::set<std::string>> known{
      {"Conv2d", {"in", "out", "kernel", "stride", "padding", "dilation", "groups", "bias"}},
      {"Linear", {"in", "out", "bias"}},
      {"BatchNorm1d", {"features", "eps", "momentum", "affine"}},
      {"BatchNorm2d", {"features", "eps", "momentum", "affine"}},
      {"MaxPool2d", {"kernel", "stride", "padding"}},
      {"AvgPool2d", {"kernel", "stride", "padding"}},
      {"Embedding", {"num", "dim"}},
      {"Concat", {"dim"}}};
  const auto of_type = known.find(type);
  for (const auto& [name, value] : args.items())
    check(of_type != known.end() && of_type->second.contains(name), "golden net: {} has an unknown argument {} = {}",
          type, name, value.dump());
}

class GoldenNet final : public Module {
 public:
  explicit GoldenNet(const Json& nodes) {
    // A net input is an image where an image layer reads it; other nodes hand on what they get.
    std::set<std::string> images;
    for (const Json& node : nodes)
      if (makes_images(node.at("type"))) images.insert(node.at("inputs").at(0).get<std::string>());
    for (const Json& node : nodes) {
      const auto name = node.at("name").get<std::string>(), type = node.at("type").get<std::string>();
      bool on_images = false;
      Step step;
      for (const Json& input : node.at("inputs")) {
        step.inputs.push_back(input.get<std::string>());
        on_images |= images.contains(step.inputs.back());
      }
      if (makes_images(type) || (on_images && type != "Flatten")) images.insert(name);
      step.layer = &layers_.emplace_back(*this, name, build_layer(node, on_images));
      steps_.push_back(std::move(step));
    }
  }
  std::string_view kind() const override { return "GoldenNet"; }

 protected:
  Tensor forward(Inputs x) override {
    std::map<std::string, Tensor> values;
    for (size_t i = 0; i < x.size(); ++i) values["x" + std::to_string(i)] = x[i];
    Tensor last;
    for (const Step& step : steps_) {
      std::vector<Tensor> inputs;
      for (const std::string& name : step.inputs) inputs.push_back(values.at(name));
      values[step.layer->name()] = last = (*step.layer)->call(inputs);
    }
    return last;
  }

 private:
  struct Step {
    Child* layer = nullptr;
    std::vector<std::string> inputs;
  };
  std::deque<Child> layers_;
  std::vector<Step> steps_;
};

}  // namespace

ModulePtr build_layer(const Json& node, bool on_images) {
  const auto type = node.at("type").get<std::string>();
  const Json args = node.value("args", Json::object());
  check_arguments(type, args);
  if (type == "Conv2d") return build_conv(args);
  if (type == "Linear")
    return std::make_unique<Linear>(args.at("in").get<int64_t>(), args.at("out").get<int64_t>(),
                                    args.value("bias", true));
  if (type == "BatchNorm1d") return std::make_unique<BatchNorm1d>(norm_config(args));
  if (type == "BatchNorm2d") return std::make_unique<BatchNorm2d>(norm_config(args));
  if (type == "MaxPool2d") return std::make_unique<MaxPool2d>(pool_options(args));
  if (type == "AvgPool2d") return std::make_unique<AvgPool2d>(pool_options(args));
  if (type == "GlobalAvgPool2d") return std::make_unique<GlobalAvgPool2d>();
  if (type == "ReLU") return std::make_unique<ReLU>();
  if (type == "ReLU6") return std::make_unique<ReLU6>();
  if (type == "Sigmoid") return std::make_unique<Sigmoid>();
  if (type == "Tanh") return std::make_unique<Tanh>();
  if (type == "Softmax") return std::make_unique<Softmax>();
  if (type == "Identity") return std::make_unique<Identity>();
  if (type == "Flatten") return std::make_unique<Flatten>();
  if (type == "EltwiseAdd") return std::make_unique<EltwiseAdd>();
  if (type == "EltwiseMult") return std::make_unique<EltwiseMult>();
  if (type == "Matmul") return std::make_unique<Matmul>();
  if (type == "BatchMatmul") return std::make_unique<BatchMatmul>();
  if (type == "Embedding")
    return std::make_unique<Embedding>(args.at("num").get<int64_t>(), args.at("dim").get<int64_t>());
  if (type == "Concat") {
    constexpr int kFromNchw[] = {0, 3, 1, 2};
    const int dim = args.value("dim", 0);
    return std::make_unique<Concat>(on_images ? kFromNchw[dim < 0 ? dim + 4 : dim] : dim);
  }
  fail("golden net: unknown layer type {}", type);
}

ModulePtr build_net(const Json& net) {
  ModulePtr module = std::make_unique<GoldenNet>(net.at("nodes"));
  if (net.contains("params")) {
    load_params(*module, net.at("params"));
    for (Parameter* p : all_parameters(*module))
      check(net["params"].contains(p->path()), "golden net: {} is not given", p->path());
    for (Buffer* b : all_buffers(*module))
      check(net["params"].contains(b->path()), "golden net: {} is not given", b->path());
  }
  return module;
}

void load_params(Module& net, const Json& params) {
  std::map<std::string, Parameter*> parameters;
  std::map<std::string, Buffer*> buffers;
  visit_modules(net, [&](Module& m) {
    for (Parameter* p : m.parameters()) parameters[p->path()] = p;
    for (Buffer* b : m.buffers()) buffers[b->path()] = b;
  });
  for (const auto& [name, value] : params.items()) {
    const Tensor loaded = tensor(value);
    if (const auto p = parameters.find(name); p != parameters.end()) {
      const Tensor ours = from_file_layout(loaded, p->second->layout());
      check(!p->second->defined() || p->second->raw().shape() == ours.shape(),
            "golden net: {} has shape {}, net wants {}", name, loaded.shape(),
            file_shape(p->second->raw().shape(), p->second->layout()));
      p->second->set_raw(ours);
    } else {
      const auto b = buffers.find(name);
      check(b != buffers.end(), "golden net: no parameter {}", name);
      b->second->set(loaded);
    }
  }
}

std::string params_difference(Module& net, const Json& expected, Tolerance tolerance) {
  std::map<std::string, Tensor> ours;
  for (const Parameter* p : all_parameters(net)) ours[p->path()] = to_file_layout(p->raw(), p->layout());
  for (const Buffer* b : all_buffers(net)) ours[b->path()] = (*b)();
  for (const auto& [name, value] : expected.items()) {
    const auto found = ours.find(name);
    if (found == ours.end()) return name + ": the net has no such tensor";
    if (const std::string d = difference(found->second, tensor(value), tolerance); !d.empty()) return name + ": " + d;
  }
  return "";
}

std::vector<Tensor> net_inputs(const Json& inputs) {
  if (is_tensor(inputs)) return {activation(inputs)};
  std::vector<Tensor> tensors;
  for (const Json& input : inputs) tensors.push_back(activation(input));
  return tensors;
}

}  // namespace qgrad::golden
