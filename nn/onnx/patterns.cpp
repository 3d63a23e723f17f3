// Layers that exporters write in pieces.
#include <algorithm>
#include <cmath>

#include "core/ops.h"
#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

using Made = NetworkBuilder::Made;

bool is_near(float a, float b) { return std::fabs(a - b) <= 1e-5f * std::max(std::fabs(a), std::fabs(b)); }

// The only number of a constant, also where it has become a layer.
std::optional<float> number_of(const Translation& node, const Known& x) {
  Tensor value = x.floats;
  if (const Made* made = node.builder().maker(x); made && made->layer == "Constant")
    value = made->parameters.at("value");
  if (!value.defined() || value.numel() != 1) return std::nullopt;
  return value.data()[0];
}

bool is_number(const Translation& node, const Known& x, float wanted) {
  const std::optional<float> number = number_of(node, x);
  return number && is_near(*number, wanted);
}

const Made* made_by(const Translation& node, const Known& x, std::string_view layer) {
  const Made* made = node.builder().maker(x);
  return made && made->layer == layer ? made : nullptr;
}

// What a layer of two operands, one of them this number, does this to.
std::optional<Known> partner_of(const Translation& node, const Known& y, std::string_view layer, float number) {
  const Made* made = made_by(node, y, layer);
  if (!made || made->inputs.size() != 2 || !is_number(node, made->inputs[1], number)) return std::nullopt;
  return made->inputs[0];
}

bool is_same(const Known& a, const Known& b) { return !a.node.empty() && a.node == b.node && a.order == b.order; }

// min(max(x + 3, 0), 6)
std::optional<Known> behind_shifted_relu6(const Translation& node, const Known& y) {
  const Made* made = made_by(node, y, "ReLU6");
  return made ? partner_of(node, made->inputs[0], "EltwiseAdd", 3) : std::nullopt;
}

// x * f(x) for an f that this is known of.
std::optional<Known> gated(const Translation& node, const Known& x, const Known& gate) {
  const Made* made = node.builder().maker(gate);
  if (!made || made->inputs.empty() || !is_same(made->inputs[0], x)) return std::nullopt;
  if (made->layer == "Sigmoid") return node.layer("SiLU", {x});
  if (made->layer == "HardSigmoid" && is_near(made->settings.at("alpha"), 1.0f / 6) &&
      is_near(made->settings.at("beta"), 0.5f))
    return node.layer("HardSwish", {x});
  return std::nullopt;
}

// 1 + erf(x / sqrt(2))
std::optional<Known> behind_error_function(const Translation& node, const Known& y) {
  const std::optional<Known> erf = partner_of(node, y, "EltwiseAdd", 1);
  const Made* made = erf ? made_by(node, *erf, "Erf") : nullptr;
  return made ? partner_of(node, made->inputs[0], "EltwiseMult", std::sqrt(0.5f)) : std::nullopt;
}

// x (1 + erf(x / sqrt(2))) times a half, which stands at any of three places.
std::optional<Known> gaussian(const Translation& node, const Known& a, const Known& b) {
  if (is_number(node, b, 0.5f))
    if (const Made* made = made_by(node, a, "EltwiseMult"); made && made->inputs.size() == 2)
      for (const auto& [x, gate] : {std::pair(0, 1), std::pair(1, 0)}) {
        const Known& factor = made->inputs[static_cast<size_t>(x)];
        const auto behind = behind_error_function(node, made->inputs[static_cast<size_t>(gate)]);
        if (behind && is_same(*behind, factor)) return node.layer("GELU", {factor});
      }
  const auto x = partner_of(node, a, "EltwiseMult", 0.5f), behind = behind_error_function(node, b);
  if (x && behind && is_same(*x, *behind)) return node.layer("GELU", {*x});
  const auto half = partner_of(node, b, "EltwiseMult", 0.5f);
  const auto of_half = half ? behind_error_function(node, *half) : std::nullopt;
  if (of_half && is_same(a, *of_half)) return node.layer("GELU", {a});
  return std::nullopt;
}

// Numbers of the trailing dimensions of a layer norm.
bool is_of(const Made& norm, const Tensor& x) {
  const auto shape = norm.settings.at("shape").get<Dims>();
  return x.defined() && Dims(x.shape().dims().begin(), x.shape().dims().end()) == shape;
}

// Without the leading dimensions of one.
Tensor trimmed(const Known& constant) {
  Tensor x = constant.floats;
  if (!x.defined()) return x;
  std::span<const int64_t> dims = x.shape().dims();
  while (!dims.empty() && dims[0] == 1) dims = dims.subspan(1);
  return x.reshaped(Shape(dims));
}

// A layer norm with another factor or bias.
std::optional<Known> normalized(const Translation& node, const Known& y, const Known& constant, bool is_factor) {
  const Made* norm = made_by(node, y, "LayerNorm");
  const Tensor value = trimmed(constant);
  if (!norm || !is_of(*norm, value)) return std::nullopt;
  NetworkBuilder::Parameters parameters = norm->parameters;
  if (is_factor)
    for (const char* name : {"weight", "bias"}) parameters[name] = mul(parameters[name], value);
  else
    parameters["bias"] = add(parameters["bias"], value);
  return node.layer("LayerNorm", norm->inputs, norm->settings, y.order, std::move(parameters));
}

// Products of matrices get the bias that is added to them.
std::optional<Known> biased(const Translation& node, const Known& y, const Known& constant) {
  const Made* product = made_by(node, y, "Linear");
  const Tensor bias = trimmed(constant);
  if (!product || product->settings.at("bias").get<bool>() || !bias.defined() || bias.rank() != 1 ||
      bias.dim(0) != product->settings.at("out").get<int64_t>())
    return std::nullopt;
  Json settings = product->settings;
  settings["bias"] = true;
  NetworkBuilder::Parameters parameters = product->parameters;
  parameters["bias"] = bias;
  return node.layer("Linear", product->inputs, std::move(settings), y.order, std::move(parameters));
}

// The dimensions, from the end, over which a mean that keeps them is taken; none where they are not the last ones.
size_t trailing_means(const Made& mean, const Known& x) {
  const auto dims = mean.settings.at("dims").get<std::vector<int>>();
  const bool keeps = mean.settings.at("keep_dims").get<bool>();
  std::vector<int> last;
  for (int i = x.rank() - static_cast<int>(dims.size()); i < x.rank(); ++i) last.push_back(i);
  std::vector<int> sorted = dims;
  std::ranges::sort(sorted);
  return keeps && sorted == last ? dims.size() : 0;
}

}  // namespace

std::optional<Known> known_product(const Translation& node, const Known& a, const Known& b) {
  for (const auto& [x, y] : {std::pair(&a, &b), std::pair(&b, &a)})
    if (auto known = gated(node, *x, *y)) return known;
  for (const auto& [x, y] : {std::pair(&a, &b), std::pair(&b, &a)})
    if (auto known = gaussian(node, *x, *y)) return known;
  if (is_number(node, b, 1.0f / 6)) {
    if (const auto x = behind_shifted_relu6(node, a))
      return node.layer("HardSigmoid", {*x}, {{"alpha", 1.0f / 6}, {"beta", 0.5f}});
    if (const Made* made = made_by(node, a, "EltwiseMult"); made && made->inputs.size() == 2)
      for (const auto& [x, y] : {std::pair(0u, 1u), std::pair(1u, 0u)})
        if (const auto behind = behind_shifted_relu6(node, made->inputs[y]);
            behind && is_same(*behind, made->inputs[x]))
          return node.layer("HardSwish", {made->inputs[x]});
  }
  return normalized(node, a, b, /*is_factor=*/true);
}

std::optional<Known> known_sum(const Translation& node, const Known& a, const Known& b) {
  if (auto known = biased(node, a, b)) return known;
  return normalized(node, a, b, /*is_factor=*/false);
}

// (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)
std::optional<Known> known_quotient(const Translation& node, const Known& a, const Known& b) {
  const Made* difference = made_by(node, a, "EltwiseSub");
  const Made* root = made_by(node, b, "Sqrt");
  const Made* sum = root ? made_by(node, root->inputs[0], "EltwiseAdd") : nullptr;
  if (!difference || !sum || sum->inputs.size() != 2) return std::nullopt;
  const Known& x = difference->inputs[0];
  const std::optional<float> eps = number_of(node, sum->inputs[1]);
  const Made* variance = made_by(node, sum->inputs[0], "ReduceMean");
  const Made* mean = made_by(node, difference->inputs[1], "ReduceMean");
  const Made* square = variance ? made_by(node, variance->inputs[0], "Pow") : nullptr;
  if (!eps || !mean || !square || !is_same(mean->inputs[0], x) || !is_same(square->inputs[0], a) ||
      !is_near(square->settings.at("exponent"), 2) || mean->settings != variance->settings)
    return std::nullopt;
  const size_t count = trailing_means(*mean, x);
  if (count == 0) return std::nullopt;
  Dims shape;
  for (size_t i = x.order.size() - count; i < x.order.size(); ++i)
    shape.push_back(x.dims[static_cast<size_t>(x.order[i])]);
  const Shape of(shape);
  return node.layer("LayerNorm", {x}, {{"shape", shape}, {"eps", *eps}}, a.order,
                    {{"weight", Tensor::full(of, 1)}, {"bias", Tensor::zeros(of)}});
}

}  // namespace qgrad::onnx
