// Functions of every number, and sums, products and the like of several.
#include <algorithm>
#include <limits>

#include "core/ops.h"
#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

using Results = std::vector<Known>;

// A layer with settings that are known beforehand.
Translate function(const char* layer, Json settings = Json::object()) {
  return [=](const Translation& node) { return Results{node.layer(layer, {node.input(0)}, settings)}; };
}

// --- clamping ---
// The upper bound counts last.
Known clamped(const Translation& node, const Known& x, float low, float high) {
  low = std::min(low, high);
  constexpr float kMost = std::numeric_limits<float>::max();
  if (low == 0 && high >= kMost) return node.layer("ReLU", {x});
  if (low == 0 && high == 6) return node.layer("ReLU6", {x});
  return node.layer("Clamp", {x}, {{"low", std::max(low, -kMost)}, {"high", std::min(high, kMost)}});
}

Results clip(const Translation& node) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto bound = [&](const char* attribute, size_t i, float absent) {
    if (!node.has(i)) return node.real(attribute, absent);
    const Tensor value = node.floats(i);
    check(value.numel() == 1, "expected one number for {}, got {}", attribute, value.numel());
    return value.data()[0];
  };
  return {clamped(node, node.input(0), bound("min", 1, -kInfinity), bound("max", 2, kInfinity))};
}

// --- several operands ---
// Constants last: quantizers count the operands that layers compute.
std::vector<Known> operands(const Translation& node, size_t least) {
  std::vector<Known> all = node.aligned(node.all(least));
  std::stable_partition(all.begin(), all.end(), [](const Known& x) { return !x.is_constant(); });
  return all;
}

Results combined(const Translation& node, const char* layer) {
  std::vector<Known> all = operands(node, 1);
  if (all.size() == 1) return {all[0]};
  return {node.layer(layer, std::move(all))};
}

Known sum(const Translation& node, const Known& a, const Known& b) {
  if (auto known = known_sum(node, a, b)) return *known;
  return node.layer("EltwiseAdd", {a, b});
}

Results addition(const Translation& node) {
  const std::vector<Known> all = operands(node, 1);
  if (all.size() != 2) return combined(node, "EltwiseAdd");
  return {sum(node, all[0], all[1])};
}

Known negative(const Translation& node, const Known& x) { return node.layer("Neg", {x}); }

// Of a constant it is a sum.
Results subtraction(const Translation& node) {
  const std::vector<Known> all = node.aligned(node.all(2));
  const Known &a = all[0], &b = all[1];
  if (b.is_constant()) return {sum(node, a, negative(node, b))};
  if (a.is_constant()) return {sum(node, negative(node, b), a)};
  return {node.layer("EltwiseSub", all)};
}

// Whether a constant has a number for each channel of images, which are stored last.
bool scales_channels(const Known& x, const Known& constant) {
  if (x.is_constant() || !constant.is_constant() || x.rank() != 4 || x.order[0] != 0 || x.dims[0] < kBatch)
    return false;
  const int64_t channels = x.dims[static_cast<size_t>(x.order.back())];
  return channels > 1 && constant.floats.shape() == Shape{1, 1, 1, channels};
}

// As a layer of weights, which quantizers and programs know, where it is one.
Known multiplied(const Translation& node, const Known& a, const Known& b) {
  if (auto known = known_product(node, a, b)) return *known;
  if (!scales_channels(a, b)) return node.layer("EltwiseMult", {a, b});
  const int64_t channels = b.floats.dim(-1);
  const Json settings{{"in", channels}, {"out", channels}, {"groups", channels}, {"kernel", 1}, {"bias", false}};
  return node.layer("Conv2d", {a}, settings, {{"weight", b.floats}});
}

Results multiplication(const Translation& node) {
  const std::vector<Known> all = operands(node, 2);
  return {multiplied(node, all[0], all[1])};
}

// By a constant it is a product.
Results division(const Translation& node) {
  const std::vector<Known> all = node.aligned(node.all(2));
  const Known &a = all[0], &b = all[1];
  if (!a.is_constant() && b.is_constant()) {
    Known inverse = b;
    inverse.floats = div(Tensor::scalar(1), b.floats);
    return {multiplied(node, a, inverse)};
  }
  if (auto known = known_quotient(node, a, b)) return {*known};
  return {node.layer("EltwiseDiv", all)};
}

Results power(const Translation& node) {
  const Known& x = node.input(0);
  if (!node.input(1).is_constant() || node.floats(1).numel() != 1)
    return {node.layer("EltwisePow", node.aligned(node.all(2)))};
  return {node.layer("Pow", {x}, {{"exponent", node.floats(1).data()[0]}})};
}

// With one number as the other operand it clamps.
Results extreme(const Translation& node, const char* layer, bool largest) {
  const bool clamps =
      node.inputs() == 2 && !node.input(0).is_constant() && node.input(1).is_constant() && node.floats(1).numel() == 1;
  if (!clamps) return combined(node, layer);
  const float bound = node.floats(1).data()[0], most = std::numeric_limits<float>::infinity();
  return {clamped(node, node.input(0), largest ? bound : -most, largest ? most : bound)};
}

Results parametric_relu(const Translation& node) {
  const std::vector<Known> all = node.aligned(node.all(2));
  const Known &x = all[0], &slope = all[1];
  const int64_t channels = x.dims.empty() ? 1 : x.dims[static_cast<size_t>(x.order.back())];
  const bool per_channel =
      slope.is_constant() && slope.rank() > 0 && slope.floats.numel() == channels && slope.floats.dim(-1) == channels;
  if (!slope.is_constant() || (!per_channel && slope.floats.numel() != 1)) {
    // max(x, 0) + slope * min(x, 0)
    const Known below = node.layer("Clamp", {x}, {{"high", 0.0f}});
    return {node.layer("EltwiseAdd", {node.layer("ReLU", {x}), node.layer("EltwiseMult", {below, slope})})};
  }
  const int64_t features = slope.floats.numel();
  return {node.layer("PReLU", {x}, {{"features", features}}, {{"weight", slope.floats.reshaped({features})}})};
}

Results swish(const Translation& node) {
  const Known& x = node.input(0);
  const float alpha = node.real("alpha", 1);
  if (alpha == 1) return {node.layer("SiLU", {x})};
  const Known scaled = node.layer("EltwiseMult", node.aligned({x, constant_of(Tensor::scalar(alpha))}));
  return {node.layer("EltwiseMult", {x, node.layer("Sigmoid", {scaled})})};
}

Results handed_on(const Translation& node) { return {node.input(0)}; }

Results dropout(const Translation& node) {
  const bool trains = node.has(2) && node.whole(2) != 0;
  const bool drops = !node.has(1) || node.floats(1).item() > 0;
  check(!trains || !drops, "dropout in training mode is not supported");
  return {node.input(0)};
}

// Numbers of the network are float32.
Results cast(const Translation& node) {
  const auto to = static_cast<Type>(node.number("to"));
  check(to == Type::float32 || to == Type::float64, "the network's numbers can not become {}", type_name(to));
  return {node.input(0)};
}

}  // namespace

Translations elementwise_translations() {
  return {
      {"Abs", function("Abs")},
      {"Erf", function("Erf")},
      {"Exp", function("Exp")},
      {"HardSwish", function("HardSwish")},
      {"Log", function("Log")},
      {"Neg", function("Neg")},
      {"Reciprocal", function("Pow", {{"exponent", -1.0f}})},
      {"Relu", function("ReLU")},
      {"Sigmoid", function("Sigmoid")},
      {"Softplus", function("Softplus")},
      {"Sqrt", function("Sqrt")},
      {"Tanh", function("Tanh")},
      {"Elu",
       [](const Translation& n) {
         return Results{n.layer("ELU", {n.input(0)}, {{"alpha", n.real("alpha", 1)}})};
       }},
      {"Gelu",
       [](const Translation& n) {
         return Results{n.layer("GELU", {n.input(0)}, {{"approximate", n.text("approximate", "none")}})};
       }},
      {"HardSigmoid",
       [](const Translation& n) {
         const Json settings{{"alpha", n.real("alpha", 0.2f)}, {"beta", n.real("beta", 0.5f)}};
         return Results{n.layer("HardSigmoid", {n.input(0)}, settings)};
       }},
      {"LeakyRelu",
       [](const Translation& n) {
         return Results{n.layer("LeakyReLU", {n.input(0)}, {{"slope", n.real("alpha", 0.01f)}})};
       }},
      {"Add", addition},
      {"Sum", addition},
      {"Sub", subtraction},
      {"Mul", multiplication},
      {"Div", division},
      {"Pow", power},
      {"Max", [](const Translation& node) { return extreme(node, "EltwiseMax", true); }},
      {"Min", [](const Translation& node) { return extreme(node, "EltwiseMin", false); }},
      {"Clip", clip},
      {"PRelu", parametric_relu},
      {"Swish", swish},
      {"Cast", cast},
      {"Dropout", dropout},
      {"Identity", handed_on},
  };
}

}  // namespace qgrad::onnx
