// What is drawn of which quantizer.
#include "docs/quantizers/pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/ops.h"
#include "core/random.h"
#include "core/tape.h"
#include "docs/quantizers/one_layer.h"
#include "docs/quantizers/panel.h"
#include "nn/layers/activation.h"
#include "quant/ranges/from_histogram.h"
#include "quant/ranges/stats.h"
#include "quant/train/fake_quant.h"
#include "quant/train/range_linear.h"

namespace qgrad {
namespace {

constexpr int kSamples = 601;
constexpr int kBits = 3;

Tensor samples_between(double left, double right) {
  Tensor x = Tensor::empty({kSamples});
  for (int i = 0; i < kSamples; ++i)
    x.mutable_data()[static_cast<size_t>(i)] = static_cast<float>(left + (right - left) * i / (kSamples - 1));
  return x;
}

std::vector<PanelPoint> points_of(const Tensor& x, const Tensor& y) {
  std::vector<PanelPoint> points;
  for (size_t i = 0; i < x.data().size(); ++i) points.push_back({x.data()[i], y.data()[i]});
  return points;
}

// y = q(x), and the gradients of the sum of y.
Tensor with_gradients(Module& q, const Tensor& x) {
  Tape tape;
  Tensor y, total;
  {
    const Tape::Recording recording(tape);
    y = q(x);
    total = sum(y);
  }
  tape.backward(total);
  return y;
}

// The derivative of q(x) with respect to a parameter, number by number.
std::vector<PanelPoint> gradient_of(Module& q, Parameter& parameter, const Tensor& x) {
  std::vector<PanelPoint> points;
  for (const float number : x.data()) {
    parameter.raw().set_grad(Tensor());
    with_gradients(q, Tensor::full({1}, number));
    points.push_back({number, parameter.raw().grad().item()});
  }
  return points;
}

struct Drawn {
  const char* title;
  Module& quantization;
  double left, right;
  Parameter* parameter = nullptr;  // whose gradient is drawn, too
  const char* parameter_label = "";
};

// Its numbers, and below them the gradients.
std::pair<Panel, Panel> numbers_and_gradients(const Drawn& drawn) {
  Tensor x = samples_between(drawn.left, drawn.right);
  x.set_requires_grad(true);
  const Tensor y = with_gradients(drawn.quantization, x);
  const std::vector<PanelPoint> same{{drawn.left, drawn.left}, {drawn.right, drawn.right}};
  Panel numbers{drawn.title,
                drawn.left,
                drawn.right,
                {{PanelLine::plain, "", same}, {PanelLine::result, "y(x)", points_of(x, y)}}};
  Panel gradients{"", drawn.left, drawn.right, {{PanelLine::gradient, "dy/dx", points_of(x, x.grad())}}};
  if (drawn.parameter)
    gradients.curves.push_back(
        {PanelLine::second, drawn.parameter_label, gradient_of(drawn.quantization, *drawn.parameter, x)});
  return {numbers, gradients};
}

std::string picture_of(const std::string& name, const Drawn& weights, const Drawn& activations) {
  const auto [of_weights, weight_gradients] = numbers_and_gradients(weights);
  const auto [of_activations, activation_gradients] = numbers_and_gradients(activations);
  return panels_svg(name + ": what it gives, and its gradients",
                    {of_weights, of_activations, weight_gradients, activation_gradients});
}

// The same of a quantizer with these bits, as it makes them of a layer and a ReLU6, whose parameters get these values.
// The gradient of the last one is drawn, too.
struct Learned {
  std::vector<std::pair<const char*, std::vector<float>>> values;
  const char* label = "";
};
std::string picture_of(const std::string& name, Json quantizer, int bits, const std::string& of_weights,
                       const Learned& weights, const std::string& of_activations, const Learned& activations,
                       std::pair<double, double> drawn = {-0.5, 1.5}) {
  quantizer.update({{"bits_weights", bits}, {"bits_activations", bits}});
  OneLayer layer(quantizer, std::make_unique<ReLU6>());
  const auto drawn_of = [](const std::string& title, Quantization& q, std::pair<double, double> range,
                           const Learned& learned) {
    q(samples_between(-1, 1));  // learned grids begin with numbers
    Drawn what{title.c_str(), q, range.first, range.second};
    for (const auto& [parameter, values] : learned.values) {
      what.parameter = &parameter_of(q, parameter);
      what.parameter->set_raw(Tensor::from(what.parameter->raw().shape(), values));
      what.parameter_label = learned.label;
    }
    return what;
  };
  return picture_of(name, drawn_of(of_weights, layer.weights(), {-1.5, 1.5}, weights),
                    drawn_of(of_activations, layer.activations(), drawn, activations));
}

std::string dorefa_picture() {
  return picture_of("DoReFa", {{"class", "DorefaQuantizer"}, {"act_clip_val", 1}}, kBits, "weights, 3 bits", {},
                    "activations, 3 bits", {});
}

std::string wrpn_picture() {
  return picture_of("WRPN", {{"class", "WRPNQuantizer"}, {"act_clip_val", 1}}, kBits, "weights, 3 bits", {},
                    "activations, 3 bits", {});
}

std::string pact_picture() {
  return picture_of("PACT", {{"class", "PACTQuantizer"}, {"act_clip_init_val", 1}}, kBits, "weights, 3 bits", {},
                    "activations, 3 bits, clip 1", {{{"clip_val", {1}}}, "dy/dclip"});
}

std::string range_linear_picture(const std::string& name, const ValueRange& tracked) {
  LinearQuantizeParam weights({.bits = kBits}, {kSamples});
  FakeLinearQuantization activations({.bits = kBits, .mode = LinearQuantMode::asymmetric_unsigned});
  activations.set_range(tracked);
  activations.set_training(false);
  return picture_of(name, {"weights, 3 bits, SYMMETRIC", weights, -1.5, 1.5},
                    {"activations, ASYMMETRIC_UNSIGNED", activations, tracked.min - 0.5, tracked.max + 0.5});
}

std::string lsq_picture() {
  return picture_of("LSQ", {{"class", "LSQQuantizer"}}, kBits, "weights, 3 bits, step 0.3",
                    {{{"step", {0.3f}}}, "dy/dstep"}, "activations, 3 bits, step 0.15",
                    {{{"step", {0.15f}}}, "dy/dstep"});
}

std::string lsq_plus_picture() {
  return picture_of("LSQ+", {{"class", "LSQPlusQuantizer"}, {"midrise_wts", true}}, kBits,
                    "weights, 3 bits, step 0.3, midrise_wts", {{{"step", {0.3f}}}, "dy/dstep"},
                    "activations, step 0.2, offset -0.4", {{{"step", {0.2f}}, {"offset", {-0.4f}}}, "dy/doffset"},
                    {-0.8, 1.4});
}

std::string tqt_picture() {
  return picture_of("TQT", {{"class", "TQTQuantizer"}, {"normalize_gradients", false}}, kBits,
                    "weights, 3 bits, log2 t -0.2", {{{"log2_threshold", {-0.2f}}}, "dy/dlog2 t"},
                    "activations, log2 t 0", {{{"log2_threshold", {0}}}, "dy/dlog2 t"});
}

std::string apot_picture() {
  return picture_of("APoT", {{"class", "APoTQuantizer"}, {"normalize_weights", false}}, 4, "weights, 4 bits, clip 1",
                    {{{"alpha", {1}}}, "dy/dclip"}, "activations, 4 bits, clip 1", {{{"alpha", {1}}}, "dy/dclip"});
}

std::string n2uq_picture() {
  return picture_of("N2UQ", {{"class", "N2UQQuantizer"}}, 2, "weights, 2 bits, step 0.5",
                    {{{"step", {0.5f}}}, "dy/dstep"}, "activations, 2 bits, intervals 0.2, 0.3, 0.5",
                    {{{"step", {0.3f}}, {"intervals", {0.2f, 0.3f, 0.5f}}, {"offset", {0}}}, "dy/doffset"});
}

Tensor on_grid_of(LinearQuantMode mode, const ValueRange& range, const Tensor& x) {
  const Grid grid = grid_from_range(kBits, mode, range.min, range.max);
  return linear_dequantize(linear_quantize(x, grid), grid);
}

std::string post_train_picture() {
  const ValueRange weights{-1, 1}, activations{-0.4f, 1};
  const Tensor x = samples_between(-1.2, 1.2);
  const Tensor symmetric = on_grid_of(LinearQuantMode::symmetric, weights, x),
               restricted = on_grid_of(LinearQuantMode::symmetric_restricted, weights, x),
               asymmetric = on_grid_of(LinearQuantMode::asymmetric_unsigned, activations, x);
  const std::vector<PanelPoint> same{{-1.2, -1.2}, {1.2, 1.2}};
  return panels_svg(
      "After training: modes, and their errors",
      {{"3 bits, range -1 to 1",
        -1.2,
        1.2,
        {{PanelLine::plain, "", same},
         {PanelLine::result, "SYMMETRIC", points_of(x, symmetric)},
         {PanelLine::second, "SYMMETRIC_RESTRICTED", points_of(x, restricted)}}},
       {"3 bits, range -0.4 to 1",
        -1.2,
        1.2,
        {{PanelLine::plain, "", same}, {PanelLine::result, "ASYMMETRIC, both", points_of(x, asymmetric)}}},
       {"",
        -1.2,
        1.2,
        {{PanelLine::result, "y - x", points_of(x, sub(symmetric, x))},
         {PanelLine::second, "restricted", points_of(x, sub(restricted, x))}}},
       {"", -1.2, 1.2, {{PanelLine::result, "y - x", points_of(x, sub(asymmetric, x))}}}});
}

// --- clip modes ---

// What a layer might give: most numbers small, a few far out, in images of different contrast. Without logarithms or
// powers, whose last digits differ between machines.
Tensor heavy_tailed_images() {
  constexpr int64_t kImages = 32, kNumbers = 512;
  RandomStream random(1, "pictures of clip modes");
  Tensor x = Tensor::empty({kImages, kNumbers});
  const std::span<float> numbers = x.mutable_data();
  for (int64_t i = 0; i < kImages * kNumbers; ++i) {
    const float bell = random.uniform() + random.uniform() + random.uniform() + random.uniform() - 2;
    const int64_t image = i / kNumbers;
    const float contrast = 0.6f + 0.8f * static_cast<float>(image) / kImages;
    numbers[static_cast<size_t>(i)] = contrast * bell / (0.12f + random.uniform());
  }
  return x;
}

TensorStats stats_of_images(const Tensor& images) {
  ReLU relu;
  return collect_quant_stats(relu, [&] { relu(images); }).begin()->second.inputs.at(0);
}

// The height is the fourth root of the count, so that single numbers are seen.
std::vector<PanelPoint> outline_of(const Histogram& histogram) {
  constexpr size_t kBinsOfColumn = 16;
  std::vector<PanelPoint> points;
  for (size_t begin = 0; begin < histogram.counts.size(); begin += kBinsOfColumn) {
    const size_t end = std::min(begin + kBinsOfColumn, histogram.counts.size());
    double count = 0;
    for (size_t i = begin; i < end; ++i) count += static_cast<double>(histogram.counts[i]);
    const double height = std::sqrt(std::sqrt(count));
    points.push_back({histogram.edge(begin), height});
    points.push_back({histogram.edge(end), height});
  }
  return points;
}

std::string clip_picture(const std::string& mode, const TensorStats& stats, const QuantSettings& settings) {
  const Grid grid = grid_from_stats(stats, settings);
  const ValueRange range = representable_range(grid);
  const std::vector<PanelPoint> outline = outline_of(*stats.histogram);
  double highest = 0;
  for (const PanelPoint& point : outline) highest = std::max(highest, point.y);
  Panel panel{"", 1.02 * outline.front().x, 1.02 * outline.back().x, {{PanelLine::plain, "", outline}}};
  std::vector<PanelPoint> levels;
  for (int q = 0; q < 1 << settings.bits; ++q) {
    const double level =
        (static_cast<double>(q) + static_cast<double>(grid.zero_point)) / static_cast<double>(grid.scale);
    if (level < panel.left || level > panel.right) continue;
    for (const double y : {0.0, 0.12 * highest, 0.0}) levels.push_back({level, y});
  }
  panel.curves.push_back({PanelLine::result, "levels, 4 bits", levels});
  for (const double end : {double{range.min}, double{range.max}})
    if (end >= panel.left && end <= panel.right)
      panel.curves.push_back({PanelLine::limit, "", {{end, 0}, {end, highest}}});
  const double power = stats.std * stats.std + stats.mean * stats.mean;
  const double error = mean_square_error(*stats.histogram, range_from_stats(stats, settings), settings);
  panel.title =
      fmt::format("{}: {:.1f} to {:.1f}, SQNR {:.1f} dB", mode, range.min, range.max, 10 * std::log10(power / error));
  return panels_svg(panel.title, {panel});
}

void add_clip_pictures(std::map<std::string, std::string>& pictures) {
  const TensorStats stats = stats_of_images(heavy_tailed_images());
  for (const auto& [name, clip] : enum_names(static_cast<ClipMode*>(nullptr))) {
    QuantSettings settings{.bits = 4, .mode = LinearQuantMode::asymmetric_unsigned, .clip = clip};
    if (clip == ClipMode::n_std) settings.n_stds = 3.0f;
    if (clip == ClipMode::percentile) settings.percentile = 99.9f;
    std::string file = "clip_" + name + ".svg";
    std::ranges::transform(file, file.begin(), [](unsigned char c) { return std::tolower(c); });
    pictures[file] = clip_picture(name, stats, settings);
  }
}

}  // namespace

std::map<std::string, std::string> quantizer_pictures() {
  std::map<std::string, std::string> pictures{
      {"post_train_linear.svg", post_train_picture()},
      {"range_linear.svg", range_linear_picture("Range-linear", {0, 1})},
      {"ncf.svg", range_linear_picture("NCF", {-0.6f, 1})},
      {"pact.svg", pact_picture()},
      {"dorefa.svg", dorefa_picture()},
      {"wrpn.svg", wrpn_picture()},
      {"lsq.svg", lsq_picture()},
      {"lsq_plus.svg", lsq_plus_picture()},
      {"tqt.svg", tqt_picture()},
      {"apot.svg", apot_picture()},
      {"n2uq.svg", n2uq_picture()},
  };
  add_clip_pictures(pictures);
  return pictures;
}

}  // namespace qgrad
