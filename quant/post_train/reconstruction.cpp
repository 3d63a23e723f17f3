// The loop over the units.
#include "quant/post_train/reconstruction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <numeric>
#include <set>
#include <unordered_map>

#include "core/error.h"
#include "core/ops.h"
#include "core/random.h"
#include "core/tape.h"
#include "nn/layers/activation.h"
#include "nn/optim/adam.h"
#include "quant/post_train/learning_layer.h"
#include "quant/post_train/reconstruction_units.h"
#include "quant/post_train/samples.h"

namespace qgrad {
namespace {

bool is_flattening(const GraphNode& node) { return !node.module && node.kind == "flatten"; }

// How many inputs the modules of a model get in a call: more than their nodes have, where some are constants.
struct InputCounts final : CallObserver {
  void leave(Module& module, Inputs x, const Tensor&) override { of[&module] = x.size(); }
  std::unordered_map<const Module*, size_t> of;
};

// While it lives, a layer gives its output as it is; null: none does.
class Opened {
 public:
  explicit Opened(LearningLayer* layer) : layer_(layer) { set(true); }
  ~Opened() { set(false); }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  void set(bool open) {
    if (layer_) layer_->set_open(open);
  }
  LearningLayer* layer_;
};

class Reconstruction {
 public:
  Reconstruction(Module& quantized, Module& reference, std::span<const Tensor> batches,
                 const ReconstructionConfig& config, const ReconstructionProgress& done, KeptCorrections* kept)
      : quantized_(quantized),
        reference_(reference),
        batches_(batches),
        config_(config),
        done_(done),
        kept_(kept),
        graph_(Graph::trace(reference, batches[0])) {
    find_modules();
    if (config_.iterations > 0) units_ = reconstruction_units(graph_, weighted_, attached_);
    const auto unrunnable = [this](const ReconstructionUnit& unit) {
      return !std::ranges::all_of(unit.nodes, [this](size_t i) { return runnable_[i]; });
    };
    const auto rest = std::ranges::find_if(units_, unrunnable);
    if (config_.network_iterations == 0) add_weighted(rest, units_.end());
    units_.erase(rest, units_.end());
    if (config_.unit == UnitSize::stage) units_ = joined_stages(std::move(units_), graph_);
    if (config_.fisher && !units_.empty()) draw_directions();
    size_t learned = 0;
    for (const ReconstructionUnit& unit : units_) learned += parts(unit).size();
    all_ = learned * static_cast<size_t>(config_.iterations) + static_cast<size_t>(config_.network_iterations);
  }

  void run() {
    std::vector<Tensor> floats(batches_.begin(), batches_.end()), arriving = floats;
    const size_t finished = restore();
    size_t learned = 0;
    for (const ReconstructionUnit& unit : units_) {
      for (const ReconstructionUnit& part : parts(unit)) {
        if (learned++ < finished) {
          steps_done_ += static_cast<size_t>(config_.iterations);
          continue;
        }
        learn(unit, part, arriving, floats);
        if (kept_) kept_->save(learned_so_far(learned));
      }
      const Opened open(carrier_before_end(unit.exit()));
      for (Tensor& x : arriving) x = values_in(unit, entering(unit.entry, x), quantized_modules_).at(unit.exit());
      for (Tensor& x : floats) x = values_in(unit, x, reference_modules_).at(unit.exit());
    }
    if (config_.network_iterations > 0) learn_network();
    quantized_(batches_[0]);  // grids are handed on as they are now
    for (auto& [path, layer] : layers_) layer->finish();
    layers_.clear();
  }

  const std::vector<std::string>& left() const { return left_; }

 private:
  template <class It>
  void add_weighted(It unit, It end) {
    for (; unit != end; ++unit)
      for (const size_t i : unit->nodes)
        if (weighted_[i]) left_.push_back(graph_[i].path());
  }

  void find_modules() {
    InputCounts counts;
    {
      const Observing observing(counts);
      reference_(batches_[0]);
    }
    for (const GraphNode& node : graph_.nodes()) {
      Module* module = node.module ? find_module(quantized_, node.path()) : nullptr;
      check(!node.module || module, "reconstruction: the quantized model has no layer '{}'", node.path());
      auto* wrapper = dynamic_cast<RangeLinearQuantWrapper*>(module);
      if (wrapper) {
        check(graph_.called_once(node), "reconstruction: {} is called more than once", node.path());
        layers_[node.path()] = std::make_unique<LearningLayer>(*wrapper, *node.module);
      }
      reference_modules_.push_back(node.module);
      quantized_modules_.push_back(module);
      weighted_.push_back(wrapper && wrapper->param_layer());
      attached_.push_back(node.module && dynamic_cast<Identity*>(module));
      runnable_.push_back(is_flattening(node) || (node.module && counts.of[node.module] == node.preds.size()));
    }
    check(std::ranges::find(weighted_, true) != weighted_.end(),
          "reconstruction: no layer of the model has quantized weights");
  }

  // "<path of a layer>.<parameter>", and how many parts were learned.
  static constexpr const char* kParts = "parts";
  NamedTensors learned_so_far(size_t parts) const {
    NamedTensors all{{kParts, Tensor::full({1}, static_cast<float>(parts))}};
    for (const auto& [path, layer] : layers_)
      for (const auto& [name, parameter] : layer->parameters())
        all.emplace_back(fmt::format("{}.{}", path, name), parameter->raw());
    return all;
  }
  // How many parts an earlier run had learned, whose numbers all layers have then.
  size_t restore() {
    const std::optional<NamedTensors> before = kept_ ? kept_->load() : std::nullopt;
    if (!before) return 0;
    std::map<std::string, Tensor> of(before->begin(), before->end());
    const auto taken = [&](const std::string& name, const Shape& shape) {
      const auto tensor = of.extract(name);
      check(!tensor.empty() && tensor.mapped().shape() == shape,
            "reconstruction: what an earlier run kept has no '{}' of shape {}", name, shape);
      return tensor.mapped();
    };
    const Tensor parts = taken(kParts, {1});
    for (const auto& [path, layer] : layers_)
      for (const auto& [name, parameter] : layer->parameters())
        parameter->set_raw(taken(fmt::format("{}.{}", path, name), parameter->raw().shape()));
    return static_cast<size_t>(parts.data()[0]);
  }

  // What learns at once.
  std::vector<ReconstructionUnit> parts(const ReconstructionUnit& unit) const {
    if (config_.unit != UnitSize::layer) return {unit};
    return layers_of(unit, graph_, weighted_, attached_);
  }

  // The layer that quantizes what a node gives; null where none does.
  LearningLayer* carrier(size_t node) const {
    while (attached_[node]) node = graph_[node].preds[0];
    const auto layer = layers_.find(graph_[node].path());
    return layer == layers_.end() ? nullptr : layer->second.get();
  }

  LearningLayer* carrier_before_end(size_t node) const { return node == graph_.output() ? nullptr : carrier(node); }

  Tensor entering(size_t node, const Tensor& x, const Tensor& dropped) const {
    LearningLayer* layer = carrier(node);
    return layer ? layer->output_quantized(x, dropped) : x;
  }
  Tensor entering(size_t node, const Tensor& x) const { return entering(node, x, x); }

  using Values = std::map<size_t, Tensor>;  // by node
  void run(Values& values, std::span<const size_t> nodes, const std::vector<Module*>& modules) const {
    for (const size_t i : nodes) {
      std::vector<Tensor> inputs;
      for (const size_t pred : graph_[i].preds) inputs.push_back(values.at(pred));
      values[i] = modules[i] ? modules[i]->call(inputs) : flatten(inputs[0]);
    }
  }
  Values values_in(const ReconstructionUnit& unit, const Tensor& x, const std::vector<Module*>& modules) const {
    Values values{{unit.entry, x}};
    run(values, unit.nodes, modules);
    return values;
  }
  // The nodes of a unit up to one of its own, or to its entry.
  static std::span<const size_t> nodes_up_to(const ReconstructionUnit& unit, size_t node) {
    return std::span(unit.nodes)
        .first(static_cast<size_t>(std::ranges::upper_bound(unit.nodes, node) - unit.nodes.begin()));
  }

  bool are_classes(const Tensor& y) const { return config_.outputs_are_classes && y.rank() == 2 && y.dim(1) > 1; }

  Tensor loss(const Tensor& y, const Tensor& target, bool is_output) const {
    if (!is_output || !are_classes(y))
      return mul_scalar(squared_distance(y, target), static_cast<float>(y.dim(-1)) / static_cast<float>(y.numel()));
    // The divergence, but for the entropy of the target, which is a constant.
    return mul_scalar(dot(softmax(target), log_softmax(y)), -1 / static_cast<float>(y.dim(0)));
  }

  // The gradients of the log likelihood with respect to the outputs, of one draw for each image.
  void draw_directions() {
    for (size_t i = units_[0].exit() + 1; i <= graph_.output(); ++i)
      check(runnable_[i], "reconstruction: fisher needs gradients, but {} is computed by no module", graph_[i].path());
    for (Parameter* p : all_parameters(reference_)) p->raw().set_requires_grad(false);
    RandomStream random(config_.seed, "reconstruction: classes");
    for (const Tensor& batch : batches_) {
      const Tensor y = reference_(batch);
      Tensor direction = are_classes(y) ? softmax(y) : Tensor::empty(y.shape());
      const std::span<float> values = direction.mutable_data();
      if (!are_classes(y)) {
        for (float& value : values) value = random.normal();
      } else {
        const auto classes = static_cast<size_t>(y.dim(1));
        for (size_t row = 0; row < values.size(); row += classes) {
          float left = random.uniform();
          size_t drawn = 0;
          while (drawn + 1 < classes && (left -= values[row + drawn]) >= 0) ++drawn;
          values[row + drawn] -= 1;
        }
      }
      directions_.push_back(std::move(direction));
    }
  }

  // |g| of each number that a part of the float network's unit gives, over the root mean square of the image's.
  std::vector<Tensor> information(const ReconstructionUnit& unit, const ReconstructionUnit& part,
                                  std::span<const Tensor> entering_unit) const {
    std::vector<size_t> rest(unit.nodes.begin() + std::ssize(nodes_up_to(unit, part.exit())), unit.nodes.end());
    for (size_t i = unit.exit() + 1; i <= graph_.output(); ++i) rest.push_back(i);
    std::vector<Tensor> all;
    for (size_t b = 0; b < entering_unit.size() && !rest.empty(); ++b) {
      Values values{{unit.entry, entering_unit[b]}};
      run(values, nodes_up_to(unit, part.exit()), reference_modules_);
      Tensor& x = values.at(part.exit()) = values.at(part.exit()).clone();
      x.set_requires_grad(true);
      Tape tape;
      {
        const Tape::Recording recording(tape);
        run(values, rest, reference_modules_);
        tape.backward(dot(values.at(graph_.output()), directions_[b]));
      }
      Tensor g = abs(x.grad());
      const size_t image = g.data().size() / static_cast<size_t>(g.dim(0));
      for (std::span<float> left = g.mutable_data(); !left.empty(); left = left.subspan(image)) {
        const std::span<float> values_of = left.first(image);
        const double squares = std::inner_product(values_of.begin(), values_of.end(), values_of.begin(), 0.0);
        const double scale = squares > 0 ? std::sqrt(static_cast<double>(image) / squares) : 0;
        for (float& value : values_of) value = static_cast<float>(scale * value);
      }
      all.push_back(std::move(g));
    }
    return all;
  }

  // Steps of Adam along a cosine that begins at `pace` times the learning rates. `loss_of`: of images at these
  // positions.
  template <class F>
  void optimize(const std::string& name, const LearningLayer::Parameters& learned, float pace, int iterations,
                F&& loss_of) {
    Adam optimizer(AdamConfig{.lr = pace});
    optimizer.add_param_group({.name = "weights", .parameters = learned.weights, .lr_factor = config_.lr_weights});
    optimizer.add_param_group({.name = "steps", .parameters = learned.steps, .lr_factor = config_.lr_steps});
    optimizer.add_param_group({.name = "others", .parameters = learned.others, .lr_factor = config_.lr_others});
    RandomStream random(config_.seed, "reconstruction of " + name);
    uint32_t images = 0;
    for (const Tensor& batch : batches_) images += static_cast<uint32_t>(batch.dim(0));
    std::vector<uint32_t> positions(static_cast<size_t>(config_.batch_size));
    Tape tape;
    for (int i = 0; i < iterations; ++i) {
      const float progress = static_cast<float>(i) / static_cast<float>(iterations);
      optimizer.set_lr(pace * 0.5f * (1 + std::cos(std::numbers::pi_v<float> * progress)));
      for (uint32_t& position : positions) position = random.below(images);
      {
        const Tape::Recording recording(tape);
        tape.backward(loss_of(positions));
      }
      optimizer.step();
      optimizer.zero_grad();
      done_(name, ++steps_done_, all_);
    }
  }

  // What enters a part of a unit, by batch, in one of the networks.
  std::vector<Tensor> at_entry(const ReconstructionUnit& unit, const ReconstructionUnit& part,
                               std::span<const Tensor> entering_unit, const std::vector<Module*>& modules) const {
    std::vector<Tensor> all(entering_unit.begin(), entering_unit.end());
    if (part.entry == unit.entry) return all;
    const Opened open(carrier(part.entry));
    for (Tensor& x : all) {
      Values values{{unit.entry, &modules == &quantized_modules_ ? entering(unit.entry, x) : x}};
      run(values, nodes_up_to(unit, part.entry), modules);
      x = values.at(part.entry);
    }
    return all;
  }

  void learn(const ReconstructionUnit& unit, const ReconstructionUnit& part, std::span<const Tensor> arriving,
             std::span<const Tensor> floats) {
    const std::vector<Tensor> quantized_entry = at_entry(unit, part, arriving, quantized_modules_);
    const std::vector<Tensor> entry = at_entry(unit, part, floats, reference_modules_);
    std::vector<Tensor> targets, weights;
    for (const Tensor& x : entry) targets.push_back(values_in(part, x, reference_modules_).at(part.exit()));
    if (config_.fisher) weights = information(unit, part, floats);
    const Samples x(quantized_entry, "reconstruction"), r(entry, "reconstruction"), t(targets, "reconstruction");
    const Samples weights_of(weights, "reconstruction");

    const std::string name = graph_[part.exit()].path();
    LearningLayer::Parameters learned;
    Dropping dropping(config_.drop, config_.seed, name);
    std::vector<LearningLayer*> quantizing;
    if (LearningLayer* layer = carrier(part.entry)) {
      quantizing.push_back(layer);
      if (Parameter* step = layer->output_step()) learned.steps.push_back(step);
    }
    for (const size_t i : part.nodes)
      if (const auto layer = layers_.find(graph_[i].path()); layer != layers_.end()) {
        quantizing.push_back(layer->second.get());
        layer->second->add_to(learned);
      }
    if (config_.drop > 0)
      for (LearningLayer* layer : quantizing) layer->set_dropping(&dropping);
    const Opened open(carrier_before_end(part.exit()));
    optimize(name, learned, 1, config_.iterations, [&](std::span<const uint32_t> positions) {
      const Tensor entered = entering(part.entry, x.gather(positions), r.gather(positions));
      const Tensor y = values_in(part, entered, quantized_modules_).at(part.exit()), target = t.gather(positions);
      if (weights.empty()) return loss(y, target, part.exit() == graph_.output());
      const Tensor weight = weights_of.gather(positions);
      return loss(mul(y, weight), mul(target, weight), false);
    });
    for (LearningLayer* layer : quantizing) layer->set_dropping(nullptr);
  }

  void learn_network() {
    std::vector<Tensor> targets;
    for (const Tensor& batch : batches_) targets.push_back(reference_(batch));
    const Samples x(batches_, "reconstruction"), t(targets, "reconstruction");
    LearningLayer::Parameters learned;
    std::set<std::string> in_units;
    for (const ReconstructionUnit& unit : units_)
      for (const size_t i : unit.nodes) in_units.insert(graph_[i].path());
    for (auto& [path, layer] : layers_)
      in_units.contains(path) ? layer->add_all_but_weights_to(learned) : layer->add_to(learned);
    optimize("network", learned, config_.network_lr, config_.network_iterations,
             [&](std::span<const uint32_t> positions) {
               return loss(quantized_(x.gather(positions)), t.gather(positions), true);
             });
  }

  Module &quantized_, &reference_;
  std::span<const Tensor> batches_;
  const ReconstructionConfig& config_;
  const ReconstructionProgress& done_;
  KeptCorrections* kept_;
  Graph graph_;
  // By node. Attached: a ReLU that is computed in the layer before it.
  std::vector<Module*> reference_modules_, quantized_modules_;
  std::vector<bool> weighted_, attached_, runnable_;
  std::map<std::string, std::unique_ptr<LearningLayer>> layers_;  // by path
  std::vector<ReconstructionUnit> units_;
  std::vector<std::string> left_;   // layers with weights in units that can not be run
  std::vector<Tensor> directions_;  // by batch, with `fisher`
  size_t steps_done_ = 0, all_ = 0;
};

}  // namespace

std::vector<std::pair<std::string, UnitSize>> enum_names(UnitSize*) {
  return {{"layer", UnitSize::layer}, {"block", UnitSize::block}, {"stage", UnitSize::stage}};
}

std::vector<std::string> reconstruct(Module& quantized, Module& reference, std::span<const Tensor> batches,
                                     const ReconstructionConfig& config, const ReconstructionProgress& done,
                                     KeptCorrections* kept) {
  check(!batches.empty(), "reconstruction needs calibration images");
  Reconstruction reconstruction(quantized, reference, batches, config, done, kept);
  reconstruction.run();
  return reconstruction.left();
}

}  // namespace qgrad
