// Convolutions, products of matrices, normalisations and pools.
#include <algorithm>
#include <limits>

#include "core/divide_up.h"
#include "core/ops.h"
#include "nn/layout.h"
#include "nn/onnx/translation.h"

namespace qgrad::onnx {
namespace {

using Parameters = NetworkBuilder::Parameters;
using Results = std::vector<Known>;

// --- windows ---
// Of one or two dimensions of space; the first of one is 1.
struct Spatial {
  int64_t height, width;
};

Spatial spatial(const std::vector<int64_t>& values, int64_t missing) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();  // products of two do not overflow
  for (const int64_t value : values)
    check(value >= -kMost && value <= kMost, "a window's {} is beyond {}", value, kMost);
  check(values.size() == 1 || values.size() == 2, "windows over {} dimensions are not supported, only over 1 and 2",
        values.size());
  return values.size() == 1 ? Spatial{missing, values[0]} : Spatial{values[0], values[1]};
}

Json setting(const Spatial& s) { return Json{s.height, s.width}; }

// An image of [N, C, L] gets a height of 1.
Known with_height(const Translation& node, const Known& x) {
  check(x.rank() == 3 || x.rank() == 4, "expected [N, C, L] or [N, C, H, W], got {}", dims_text(x.dims));
  return node.images(x.rank() == 4 ? x : node.reshaped(x, {x.dims[0], x.dims[1], 1, x.dims[2]}));
}
Known without_height(const Translation& node, const Known& y, int rank) {
  return rank == 4 ? y : node.reshaped(y, {y.dims[0], y.dims[1], y.dims[3]});
}

struct Window {
  Spatial kernel, stride, dilation, before, after;
};

// Zeros along one dimension that "SAME" asks for.
int64_t same_padding(int64_t in, int64_t kernel, int64_t stride, int64_t dilation) {
  const int64_t out = divide_up(in, stride);
  return std::max<int64_t>(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - in);
}

Window window_of(const Translation& node, const Known& x, const std::vector<int64_t>& kernel) {
  const std::vector<int64_t> ones(kernel.size(), 1);
  Window w{.kernel = spatial(kernel, 1),
           .stride = spatial(node.numbers("strides", ones), 1),
           .dilation = spatial(node.numbers("dilations", ones), 1),
           .before = {0, 0},
           .after = {0, 0}};
  for (const int64_t stride : {w.stride.height, w.stride.width}) check(stride > 0, "a stride of {}", stride);
  const std::string how = node.text("auto_pad", "NOTSET");
  if (how == "SAME_UPPER" || how == "SAME_LOWER") {
    const Spatial both{same_padding(x.dims[2], w.kernel.height, w.stride.height, w.dilation.height),
                       same_padding(x.dims[3], w.kernel.width, w.stride.width, w.dilation.width)};
    const Spatial less{both.height / 2, both.width / 2}, more{both.height - less.height, both.width - less.width};
    w.before = how == "SAME_UPPER" ? less : more;
    w.after = how == "SAME_UPPER" ? more : less;
    return w;
  }
  check(how == "NOTSET" || how == "VALID", "auto_pad: expected NOTSET, VALID, SAME_UPPER or SAME_LOWER, got '{}'", how);
  const std::vector<int64_t> pads = node.numbers("pads", std::vector<int64_t>(2 * kernel.size(), 0));
  check(pads.size() == 2 * kernel.size(), "{} pads for {} dimensions", pads.size(), kernel.size());
  const auto middle = pads.begin() + static_cast<std::ptrdiff_t>(kernel.size());
  w.before = spatial({pads.begin(), middle}, 0);
  w.after = spatial({middle, pads.end()}, 0);
  return w;
}

Json settings_of(const Window& w) {
  Json settings{{"kernel", setting(w.kernel)}, {"stride", setting(w.stride)}, {"padding", setting(w.before)}};
  if (setting(w.after) != setting(w.before)) settings["padding_end"] = setting(w.after);
  if (w.dilation.height != 1 || w.dilation.width != 1) settings["dilation"] = setting(w.dilation);
  return settings;
}

// What a layer before it pads with zeros, the window pads itself.
Known without_padding(const Translation& node, const Known& x, Window& w) {
  const NetworkBuilder::Made* pad = node.builder().maker(x);
  if (!pad || pad->layer != "Pad" || pad->settings.at("mode") != "constant" || pad->settings.contains("value"))
    return x;
  const auto before = pad->settings.at("before").get<Dims>(), after = pad->settings.at("after").get<Dims>();
  for (const Dims& pads : {before, after})
    if (pads.size() != 4 || pads[0] != 0 || pads[3] != 0 || pads[1] < 0 || pads[2] < 0) return x;
  w.before = {w.before.height + before[1], w.before.width + before[2]};
  w.after = {w.after.height + after[1], w.after.width + after[2]};
  return pad->inputs[0];
}

// --- convolutions ---
Tensor weight_of(const Translation& node, size_t i) {
  const Tensor weight = node.floats(i);
  check(weight.rank() == 3 || weight.rank() == 4, "a weight of shape {}, expected windows over 1 or 2 dimensions",
        weight.shape());
  return weight.rank() == 4 ? weight : weight.reshaped({weight.dim(0), weight.dim(1), 1, weight.dim(2)});
}

std::vector<int64_t> kernel_of(const Tensor& weight, int rank) {
  if (rank == 3) return {weight.dim(3)};
  return {weight.dim(2), weight.dim(3)};
}

Results convolution(const Translation& node) {
  const Known& given = node.input(0);
  const Known x = with_height(node, given);
  const Tensor weight = weight_of(node, 1);
  Window window = window_of(node, x, kernel_of(weight, given.rank()));
  const Known unpadded = without_padding(node, x, window);
  Json settings = settings_of(window);
  settings["in"] = x.dims[1];
  settings["out"] = weight.dim(0);
  settings["groups"] = node.positive("group", 1);
  settings["bias"] = node.has(2);
  Parameters parameters{{"weight", from_file_layout(weight, Layout::conv)}};
  if (node.has(2)) parameters["bias"] = node.floats(2);
  return {without_height(node, node.layer("Conv2d", {unpadded}, settings, std::move(parameters)), given.rank())};
}

// Of PyTorch's layout [in, out / groups, kh, kw].
Results transposed_convolution(const Translation& node) {
  const Known& given = node.input(0);
  const Known x = with_height(node, given);
  const Tensor weight = weight_of(node, 1);
  const int64_t groups = node.positive("group", 1);
  const std::vector<int64_t> kernel = kernel_of(weight, given.rank()), zeros(kernel.size(), 0);
  Window w = window_of(node, x, kernel);
  Spatial extra = spatial(node.numbers("output_padding", zeros), 0);
  const std::string how = node.text("auto_pad", "NOTSET");
  if (node.has("output_shape") || how.starts_with("SAME")) {
    // The padding follows from the size of the result; less than none is more of the output.
    const Dims same{x.dims[2] * w.stride.height, x.dims[3] * w.stride.width};
    const Spatial out = spatial(node.numbers("output_shape", same), 1);
    const auto share = [&](int64_t in, int64_t stride, int64_t& more, int64_t extent, int64_t size, int64_t& before,
                           int64_t& after) {
      const int64_t total = stride * (in - 1) + more + extent - size;
      more += std::max<int64_t>(0, -total);
      const int64_t both = std::max<int64_t>(0, total), less = both / 2;
      before = how == "SAME_UPPER" ? less : both - less;
      after = both - before;
    };
    share(x.dims[2], w.stride.height, extra.height, (w.kernel.height - 1) * w.dilation.height + 1, out.height,
          w.before.height, w.after.height);
    share(x.dims[3], w.stride.width, extra.width, (w.kernel.width - 1) * w.dilation.width + 1, out.width,
          w.before.width, w.after.width);
  }
  Json settings{{"in", x.dims[1]},
                {"out", weight.dim(1) * groups},
                {"kernel", setting(w.kernel)},
                {"stride", setting(w.stride)},
                {"padding", setting(w.before)},
                {"padding_end", setting(w.after)},
                {"output_padding", setting(extra)},
                {"dilation", setting(w.dilation)},
                {"groups", groups},
                {"bias", node.has(2)}};
  Parameters parameters{{"weight", from_file_layout(weight, {Layout::Order::transposed_conv, groups})}};
  if (node.has(2)) parameters["bias"] = node.floats(2);
  return {without_height(node, node.layer("ConvTranspose2d", {x}, settings, std::move(parameters)), given.rank())};
}

// --- products of matrices ---
Known linear_layer(const Translation& node, const Known& x, const Tensor& weight, const Tensor& bias) {
  check(x.dims.back() == weight.dim(0), "{} times a matrix {}", dims_text(x.dims), weight.shape());
  Parameters parameters{{"weight", weight}};
  if (bias.defined()) parameters["bias"] = bias;
  const Json settings{{"in", weight.dim(0)}, {"out", weight.dim(1)}, {"bias", bias.defined()}};
  const bool last = x.order.back() == x.rank() - 1;
  return node.layer("Linear", {last ? x : node.plain(x)}, settings, std::move(parameters));
}

Known product(const Translation& node, Known a, Known b) {
  const int rank_a = a.rank(), rank_b = b.rank();
  check(rank_a > 0 && rank_b > 0, "products of scalars are not matrix products");
  if (rank_a == 1) a = node.reshaped(a, {1, a.dims[0]});
  if (rank_b == 1) b = node.reshaped(b, {b.dims[0], 1});
  const bool two = a.rank() == 2 && b.rank() == 2;
  const size_t rank = static_cast<size_t>(std::max(a.rank(), b.rank()));
  const Known y =
      node.layer(two ? "Matmul" : "BatchMatmul", {node.plain(a), node.plain(b)}, Json::object(), in_order(rank));
  Dims dims = y.dims;
  if (rank_b == 1) dims.pop_back();
  if (rank_a == 1) dims.erase(dims.end() - (rank_b == 1 ? 1 : 2));
  return node.reshaped(y, dims);
}

// A third input, the bias, is there where an addition was put in.
Results matrix_product(const Translation& node) {
  const Known &a = node.input(0), &b = node.input(1);
  if (!a.is_constant() && b.is_constant() && b.rank() == 2 && a.rank() >= 2)
    return {linear_layer(node, a, node.floats(1), node.has(2) ? node.floats(2) : Tensor())};
  return {product(node, a, b)};
}

// A bias of [out], [1, out] or one number; an undefined tensor for what is none.
Tensor row_of(const Tensor& c, int64_t out) {
  if (c.numel() == 1) return Tensor::full({out}, c.data()[0]);
  const bool is_row = c.numel() == out && c.rank() > 0 && c.dim(-1) == out;
  return is_row ? c.reshaped({out}) : Tensor();
}

Results general_product(const Translation& node) {
  const auto matrix = [&](size_t i, const char* flag) {
    check(node.input(i).rank() == 2 && !node.input(i).ints, "expected matrices of floats, got {}",
          dims_text(node.input(i).dims));
    return node.number(flag, 0) ? node.transposed(node.input(i), {1, 0}) : node.input(i);
  };
  const float alpha = node.real("alpha", 1), beta = node.real("beta", 1);
  const Known a = matrix(0, "transA"), b = matrix(1, "transB");
  const bool adds = node.has(2) && beta != 0;
  if (b.is_constant() && !a.is_constant()) {
    const Known plain = node.plain(b);
    const Tensor weight = alpha == 1 ? plain.floats : mul_scalar(plain.floats, alpha);
    Tensor bias;
    if (adds && node.input(2).is_constant()) bias = row_of(node.floats(2), weight.dim(1));
    if (bias.defined() && beta != 1) bias = mul_scalar(bias, beta);
    if (!adds || bias.defined()) return {linear_layer(node, a, weight, bias)};
  }
  const auto scaled = [&](const Known& x, float by) {
    if (by == 1) return x;
    return node.layer("EltwiseMult", node.aligned({x, constant_of(Tensor::scalar(by))}));
  };
  const Known y = scaled(product(node, a, b), alpha);
  if (!adds) return {y};
  return {node.layer("EltwiseAdd", node.aligned({y, scaled(node.input(2), beta)}))};
}

// --- normalisations ---
Known channels_last(const Translation& node, const Known& x) {
  check(x.rank() >= 2, "expected [N, C, ..], got {}", dims_text(x.dims));
  Order order{0};
  for (int i = 2; i < x.rank(); ++i) order.push_back(i);
  order.push_back(1);
  return node.stored(x, order);
}

Results batch_normalization(const Translation& node) {
  check(node.number("training_mode", 0) == 0, "batch norms in training mode are not supported");
  const Known x = channels_last(node, node.input(0));
  const Json settings{{"features", x.dims[1]}, {"eps", node.real("epsilon", 1e-5f)}};
  return {node.layer(x.rank() == 4 ? "BatchNorm2d" : "BatchNorm1d", {x}, settings,
                     {{"weight", node.floats(1)},
                      {"bias", node.floats(2)},
                      {"running_mean", node.floats(3)},
                      {"running_var", node.floats(4)}})};
}

Tensor repeated(const Tensor& of_groups, int64_t groups, int64_t channels) {
  if (of_groups.numel() == channels) return of_groups;
  check(of_groups.numel() == groups, "{} numbers for {} groups of {} channels", of_groups.numel(), groups, channels);
  Tensor all = Tensor::empty({channels});
  const int64_t each = channels / groups;
  for (int64_t c = 0; c < channels; ++c)
    all.mutable_data()[static_cast<size_t>(c)] = of_groups.data()[static_cast<size_t>(c / each)];
  return all;
}

// Null groups: every channel is one.
Known normalized_groups(const Translation& node, std::optional<int64_t> given) {
  const Known x = channels_last(node, node.input(0));
  const int64_t channels = x.dims[1], groups = given.value_or(channels);
  check(groups > 0 && channels % groups == 0, "{} channels do not divide into {} groups", channels, groups);
  const Json settings{{"groups", groups}, {"features", channels}, {"eps", node.real("epsilon", 1e-5f)}};
  return node.layer(
      "GroupNorm", {x}, settings,
      {{"weight", repeated(node.floats(1), groups, channels)}, {"bias", repeated(node.floats(2), groups, channels)}});
}

Results group_normalization(const Translation& node) { return {normalized_groups(node, node.number("num_groups"))}; }
Results instance_normalization(const Translation& node) { return {normalized_groups(node, std::nullopt)}; }

Results layer_normalization(const Translation& node) {
  const Known& given = node.input(0);
  const int first = node.axis(given, node.number("axis", -1));
  Order tail = given.order;
  tail.erase(tail.begin(), tail.begin() + first);
  Order wanted;
  for (int i = first; i < given.rank(); ++i) wanted.push_back(i);
  const Known x = tail == wanted ? given : node.plain(given);
  const Dims shape(x.dims.begin() + first, x.dims.end());
  check(count(shape) < kBatch, "a layer norm over the batch is not supported");
  const auto parameter = [&](size_t i, float absent) {
    const Tensor one = Tensor::full(Shape(shape), absent);
    if (!node.has(i)) return one;
    return add(mul_scalar(one, 0), node.floats(i));
  };
  const Json settings{{"shape", shape}, {"eps", node.real("epsilon", 1e-5f)}};
  Results results{node.layer("LayerNorm", {x}, settings, {{"weight", parameter(1, 1)}, {"bias", parameter(2, 0)}})};
  if (node.outputs() == 1) return results;
  // The mean, and one through the deviation.
  std::vector<int> dims;
  for (int i = first; i < x.rank(); ++i) dims.push_back(i);
  const Json over{{"dims", dims}, {"keep_dims", true}};
  results.push_back(node.layer("ReduceMean", {x}, over));
  const Known squares = node.layer("Pow", {node.layer("EltwiseSub", {x, results[1]})}, {{"exponent", 2.0f}});
  const Known eps = constant_of(Tensor::scalar(node.real("epsilon", 1e-5f)));
  const Known variance = node.layer("EltwiseAdd", node.aligned({node.layer("ReduceMean", {squares}, over), eps}));
  results.push_back(node.layer("Pow", {variance}, {{"exponent", -0.5f}}));
  return results;
}

// --- pools ---
Results pool(const Translation& node, const char* name) {
  const Known& given = node.input(0);
  const Known x = with_height(node, given);
  Json settings = settings_of(window_of(node, x, node.numbers("kernel_shape")));
  if (node.number("ceil_mode", 0)) settings["ceil"] = true;
  if (name == std::string_view("AvgPool2d")) settings["count_padding"] = node.number("count_include_pad", 0) != 0;
  return {without_height(node, node.layer(name, {x}, settings), given.rank())};
}

Results global_pool(const Translation& node, const char* name) {
  const Known& given = node.input(0);
  return {without_height(node, node.layer(name, {with_height(node, given)}), given.rank())};
}

// --- softmax ---
// Over one axis; up to opset 12 over all from that axis on.
Results softmax_over(const Translation& node, const char* name) {
  const Known& x = node.input(0);
  if (node.opset() >= 13) {
    const int axis = node.axis(x, node.number("axis", -1));
    return {node.layer(name, {x}, {{"dim", x.stored(axis)}})};
  }
  const int axis = node.axis(x, node.number("axis", 1));
  if (axis == x.rank() - 1) return {node.layer(name, {x}, {{"dim", x.stored(axis)}})};
  Dims flat(x.dims.begin(), x.dims.begin() + axis);
  flat.push_back(count(Dims(x.dims.begin() + axis, x.dims.end())));
  const Known y = node.plain(node.reshaped(x, flat));
  return {node.reshaped(node.layer(name, {y}, {{"dim", -1}}), x.dims)};
}

}  // namespace

Translations layer_translations() {
  return {{"Conv", convolution},
          {"ConvTranspose", transposed_convolution},
          {"MatMul", matrix_product},
          {"Gemm", general_product},
          {"BatchNormalization", batch_normalization},
          {"GroupNormalization", group_normalization},
          {"InstanceNormalization", instance_normalization},
          {"LayerNormalization", layer_normalization},
          {"MaxPool", [](const Translation& node) { return pool(node, "MaxPool2d"); }},
          {"AveragePool", [](const Translation& node) { return pool(node, "AvgPool2d"); }},
          {"GlobalMaxPool", [](const Translation& node) { return global_pool(node, "GlobalMaxPool2d"); }},
          {"GlobalAveragePool", [](const Translation& node) { return global_pool(node, "GlobalAvgPool2d"); }},
          {"Softmax", [](const Translation& node) { return softmax_over(node, "Softmax"); }},
          {"LogSoftmax", [](const Translation& node) { return softmax_over(node, "LogSoftmax"); }}};
}

}  // namespace qgrad::onnx
