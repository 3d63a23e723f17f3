// Grids are read off what the quantizations give on an example, so that any quantizer with linear grids can be used.
#include "quant/export/from_trained.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "core/ops.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "nn/fold.h"
#include "nn/graph.h"
#include "nn/layers/activation.h"
#include "nn/layers/norm.h"
#include "quant/export/integer_form.h"
#include "quant/export/levels.h"
#include "quant/quantization.h"
#include "quant/simulation/float_layer.h"
#include "quant/simulation/param_layer.h"
#include "quant/train/simulated_folding.h"
#include "quant/wrappers.h"

namespace qgrad::deploy {
namespace {

// "relu1" for "relu1.fake_q", where the quantization of a wrapper stands.
std::string quantized_path(const std::string& path) {
  return path.ends_with(kBehind) ? path.substr(0, path.size() - kBehind.size()) : path;
}

// The grid of every module's output that has one, and ranges, by quantized_path, that cut off levels next to zero: a
// tracked range need not hold zero, while its grid does.
struct OutputGrids final : CallObserver {
  void leave(Module& module, Inputs, const Tensor& y) override {
    if (!y.grid()) return;
    Grid grid = *y.grid();
    grid.zero_point = std::nearbyint(grid.zero_point);
    of[module.path()] = grid;
  }
  std::map<std::string, Grid> of;
  std::map<std::string, ValueRange> cut;
};

// Settings whose range of integers is that of the grid.
QuantSettings settings_of(const Grid& grid) {
  const int bits = static_cast<int>(std::lround(std::log2(grid.qmax + 1)));
  QuantSettings settings{.bits = bits, .mode = LinearQuantMode::asymmetric_unsigned};
  if (grid.qmin == -grid.qmax)
    settings = {.bits = bits + 1, .mode = LinearQuantMode::symmetric_restricted};
  else if (grid.qmin != 0)
    settings = {.bits = bits + 1, .mode = LinearQuantMode::asymmetric_signed};
  const QuantizedRange range = quantized_range(settings.bits, settings.mode);
  check(range.qmin == grid.qmin && range.qmax == grid.qmax, "its integers {} to {} are those of no number of bits",
        grid.qmin, grid.qmax);
  return settings;
}

class Conversion {
 public:
  Conversion(Module& model, const Tensor& example) {
    const Tape::Paused paused;
    const Observing observing(grids_);
    model(example);
    for (const auto& [path, grid] : grids_.of)
      check(grid.lowest() <= 0 && grid.highest() >= 0, "{}: its levels, {} to {} steps, have none for zero", path,
            grid.lowest(), grid.highest());
    graph_ = Graph::trace(model, example);
    visit_modules<Quantization>(model, [this](const Quantization& quantization) {
      const auto range = quantization.narrower_range();
      if (range && grids_.of.contains(quantization.path()))
        grids_.cut.emplace(quantized_path(quantization.path()), *range);
      if (!quantization.levels().values.empty()) tabulate(quantization);
    });
    visit_modules<QuantizationWrapper>(model, [this](const QuantizationWrapper& wrapper) {
      if (!wrapper.of_input()) wrappers_.insert(wrapper.path());
    });
    for (const auto& [layer, batch_norm] : foldable_batch_norms(graph_)) {
      norms_.emplace(layer, channel_map_of(*graph_.find(batch_norm)->module->batch_norm()));
      folded_.insert(batch_norm);
      last_of_[layer] = batch_norm;
    }
    for (const GraphNode& node : graph_.nodes())
      if (node.effect.kind == Effect::Kind::sums && computes_on_integers(node)) fuse(node);
  }

  ModulePtr rewritten(const std::string& path, ModulePtr module) {
    if (const BatchNorm* norm = module->batch_norm()) {
      if (folded_.contains(path)) return std::make_unique<Identity>();
      return norm->of_images() ? as_convolution(*norm) : std::move(module);
    }
    if (module->weighted_sum()) return weighted(path, std::move(module));
    if (auto* wrapper = dynamic_cast<QuantizationWrapper*>(module.get())) {
      if (wrapper->of_input()) {
        const std::string read = path + std::string(kBefore);
        const bool quantizes_itself =
            wrapper->wrapped.as<PostTrainLayer>() != nullptr && !grids_.cut.contains(read) && !levels_.contains(read);
        return quantizes_itself ? wrapper->wrapped.take() : std::move(module);
      }
      const Grid* grid = grid_of_module(path);
      if (fused_.contains(path)) return std::make_unique<Identity>();
      return grid ? quantized(path, wrapper->wrapped.take(), *grid) : std::move(module);
    }
    // What stands in a wrapper shares its path or is its quantization; the wrapper comes next.
    if (wrappers_.contains(path) || path.ends_with(kBehind) || !module->children().empty()) return module;
    if (fused_.contains(path)) return std::make_unique<Identity>();
    const Grid* grid = grid_of_module(path);
    return grid ? quantized(path, std::make_unique<Identity>(), *grid) : std::move(module);
  }

 private:
  // Levels of an activation that are not evenly spaced: integers of a grid of some bits.
  void tabulate(const Quantization& quantization) {
    const std::string path = quantized_path(quantization.path());
    for (const std::string& at : {quantization.path(), path})
      if (const auto grid = grids_.of.find(at); grid != grids_.of.end()) grid->second = widened_to_bits(grid->second);
    levels_.emplace(path, Uneven{quantization.levels(), lookup_grid(quantization.levels())});
  }
  const Grid* grid_of_module(const std::string& path) const {
    const auto grid = grids_.of.find(path);
    return grid == grids_.of.end() ? nullptr : &grid->second;
  }
  // Of what a node gives, through layers that only choose or move numbers.
  const Grid* grid_of(const GraphNode& node) const {
    const bool keeps = node.effect.kind == Effect::Kind::picks || node.effect.kind == Effect::Kind::moves;
    return keeps ? grid_of(graph_[node.preds.at(0)]) : node.module ? grid_of_module(node.path()) : nullptr;
  }
  bool computes_on_integers(const GraphNode& node) const {
    return layer_parameters(*node.module).weight.transform() && node.preds.size() == 1 &&
           grid_of(graph_[node.preds[0]]);
  }

  // A quantized ReLU, called nowhere else, that alone consumes the layer or its batch norm. Max pooling may stand
  // before the quantization: the largest number has the largest integer.
  void fuse(const GraphNode& layer) {
    const auto norm = last_of_.find(layer.name);
    const GraphNode* next = graph_.only_successor(norm == last_of_.end() ? layer : *graph_.find(norm->second));
    if (!next) return;
    Fused fused;
    const GraphNode* relu = next->effect.is_rectifier() ? next : nullptr;
    if (relu) fused.cap = relu->effect.cap();
    if (relu) next = graph_.only_successor(*relu);
    while (next && next->effect.kind == Effect::Kind::picks) next = graph_.only_successor(*next);
    const Grid* grid = next && next->module ? grid_of_module(next->path()) : nullptr;
    if (!grid || !graph_.called_once(*next) || !next->module->children().empty() || (!relu && grid->lowest() != 0) ||
        grids_.cut.contains(quantized_path(next->path())))
      return;
    const std::string path = quantized_path(next->path());
    fused.grid = *grid;
    if (const auto levels = levels_.find(path); levels != levels_.end()) {
      levels->second.before = lookup_grid(levels->second.levels, *grid);
      fused.grid = levels->second.before.grid;
      fused.offset = levels->second.before.offset;
      fused.looked_up = true;
      if (fused.cap) levels->second.levels.stop_at(*std::exchange(fused.cap, std::nullopt));
    }
    if (relu && graph_.called_once(*relu)) fused_.insert(relu->path());
    fused_.insert(path);
    if (fused.looked_up) fused_.erase(path);  // there
    fused_into_.emplace(layer.name, fused);
  }

  // Within the range, where that cuts off levels.
  ModulePtr clamped(const std::string& path, ModulePtr layer) const {
    const auto cut = grids_.cut.find(path);
    if (cut == grids_.cut.end()) return layer;
    const auto [low, high] = cut->second;
    const Effect effect = layer->effect();
    check(effect.is_rectifier() || effect.kind == Effect::Kind::none,
          "{}: its range, {} to {}, has no zero, which is known behind ReLU only, not behind {}", path, low, high,
          layer->kind());
    return std::make_unique<Clamp>(low, std::min(high, effect.gives.high));
  }

  ModulePtr quantized(const std::string& path, ModulePtr layer, const Grid& grid) const {
    layer = clamped(path, std::move(layer));
    LayerQuantization quantization{.output = settings_of(grid), .arithmetic = Arithmetic::onnx};
    quantization.output_params = grid;
    const Grid* of_function = grid_of_module(path + std::string(kBefore));
    std::optional<Grid> input = of_function ? std::optional(*of_function) : std::nullopt;
    if (const auto levels = levels_.find(path); levels != levels_.end()) {
      const auto& [before, offset] = levels->second.before;
      if (!input) input = before;
      layer = std::make_unique<LevelLookup>(std::move(layer), offset, levels->second.levels);
    }
    if (input) quantization.inputs.push_back({.settings = settings_of(*input), .params = *input});
    return std::make_unique<RangeLinearFakeQuantWrapper>(std::move(layer), std::move(quantization),
                                                         FloatPrecision::single);
  }

  ModulePtr weighted(const std::string& path, ModulePtr module) {
    const auto [weight, bias] = layer_parameters(*module);
    const GraphNode* node = graph_.find(path);
    const bool integers = node && computes_on_integers(*node);
    check(!integers || !graph_.find(path + "#1"), "{}: it is called more than once", path);
    const auto channels = static_cast<size_t>(weight.raw().dim(-1));
    try {
      IntegerForm form{weight(), {1.0f}};
      if (weight.transform()) {
        IntegerForm on_grid = integer_form(weight);
        if (integers) form = std::move(on_grid);
      }
      if (bias.defined() && bias.transform()) {
        const Tensor quantized_bias = bias();
        bias.set_transform(nullptr);
        bias.set_raw(quantized_bias.clone());
      }
      form.integers = form.integers.clone();
      const auto norm = norms_.find(path);
      if (norm != norms_.end()) fold(form, bias, norm->second, channels, integers);
      const auto fused = fused_into_.find(path);
      if (fused != fused_into_.end() && fused->second.offset > 0) shift(bias, fused->second.offset, channels);
      weight.set_transform(nullptr);
      if (!integers) {
        weight.set_raw(form.integers);
        return module;
      }
      return on_integers(std::move(module), weight, bias, std::move(form), *node);
    } catch (const Error& e) {
      throw e.is_located() ? e : e.located(path);
    }
  }

  static void shift(Parameter& bias, float offset, size_t channels) {
    const Tensor offsets = Tensor::full({static_cast<int64_t>(channels)}, offset);
    bias.set_raw(bias.defined() ? qgrad::add(bias.raw(), offsets) : offsets);
  }

  // The largest magnitude, 1 at the least.
  static float check_31_bits(const IntegerForm& form) {
    float largest = 1;
    for (const float w : form.integers.data()) largest = std::max(largest, std::fabs(w));
    check(largest < 0x1p30f, "its weights are integers up to {:g}, which 31 bits do not hold: use fewer bits", largest);
    return largest;
  }

  ModulePtr on_integers(ModulePtr module, Parameter& weight, const Parameter& bias, IntegerForm form,
                        const GraphNode& node) {
    check_31_bits(form);  // before anything is taken off them
    const Grid& input = *grid_of(graph_[node.preds[0]]);
    const auto fused = fused_into_.find(node.name);
    if (fused != fused_into_.end()) {
      coarsen_faint_channels(form, bias, input, fused->second.grid);
      refine(form, bias, input, fused->second.grid);
    }
    const float largest = check_31_bits(form);
    QuantSettings settings{.bits = static_cast<int>(std::floor(std::log2(largest))) + 2,
                           .mode = LinearQuantMode::symmetric_restricted};
    settings.per_channel = form.scale.size() > 1;
    Tensor real = form.integers.clone();
    for (size_t i = 0; i < real.data().size(); ++i) real.mutable_data()[i] /= form.scale[i % form.scale.size()];
    weight.set_raw(real);
    const ChannelGrid of_weights{form.scale, std::vector<float>(form.scale.size(), 0.0f)};

    LayerQuantization quantization{.arithmetic = Arithmetic::onnx};
    quantization.inputs.push_back({.settings = settings_of(input), .params = input});
    quantization.real_sums = fused == fused_into_.end();
    if (fused != fused_into_.end()) {
      const Grid& grid = fused->second.grid;
      quantization.output = settings_of(grid);
      quantization.output_params = grid;
      quantization.relu = true;
      quantization.relu_cap = fused->second.cap;
    }
    return std::make_unique<RangeLinearQuantParamLayerWrapper>(std::move(module), std::move(quantization),
                                                               WeightQuantization{settings, false}, of_weights);
  }

  struct Fused {
    Grid grid;
    std::optional<float> cap;
    float offset = 0;  // of every bias
    bool looked_up = false;
  };

  OutputGrids grids_;
  Graph graph_;
  std::map<std::string, ChannelMap> norms_;          // by the layer they are folded into
  std::map<std::string, std::string> last_of_;       // layer -> its batch norm
  std::set<std::string> folded_, fused_, wrappers_;  // batch norms, quantized activations
  std::map<std::string, Fused> fused_into_;          // by the layer that computes them
  // Of activations, where they are not evenly spaced, by quantized_path; a layer before adds the offset to its bias.
  struct Uneven {
    Levels levels;
    LookupGrid before;
  };
  std::map<std::string, Uneven> levels_;
};

}  // namespace

void to_integer_layers(ModulePtr& model, const Tensor& example) {
  bool has_them = false;
  visit_modules<PostTrainLayer>(*model, [&](const PostTrainLayer&) { has_them = true; });
  if (has_them) return;
  check_numbers(*model, "the model");
  fold_simulated_batch_norms(model);
  model->set_training(false);
  Conversion conversion(*model, example);
  model = rewrite(std::move(model), [&](const std::string& path, ModulePtr module) {
    return conversion.rewritten(path, std::move(module));
  });
  model->set_training(false);
}

}  // namespace qgrad::deploy
