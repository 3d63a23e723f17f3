// The two passes of calibration.
#include "quant/ranges/stats.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "core/error.h"
#include "core/parallel.h"
#include "core/tape.h"
#include "nn/checkpoint.h"
#include "quant/ranges/reductions.h"

namespace qgrad {
namespace {

// What a pass adds up for one tensor.
struct Running {
  TensorStats stats;
  double sum = 0, square = 0, absolute = 0;  // of values; of deviations from the mean
  double sum_of_minima = 0, sum_of_maxima = 0;
  int64_t samples = 0;
  int64_t seen_again = 0;  // values of the second pass
};

struct RunningModule {
  std::string path;
  std::vector<Running> inputs;
  Running output;
  bool called = false;
};

// A wrapper hands its path on to what it wraps; with what it wraps it is one layer. A wrapper around a whole model is
// not: the model's layers are.
bool is_unit(const Module& module) {
  if (module.children().empty()) return true;
  return std::ranges::any_of(module.children(),
                             [](const Child* c) { return c->name().empty() && c->get() && is_unit(**c); });
}

void find_units(Module& module, std::vector<Module*>& units) {
  if (is_unit(module)) {
    if (module.effect().kind != Effect::Kind::none) units.push_back(&module);
    return;
  }
  for (const Child* c : module.children()) find_units(**c, units);
}

void add_values(Running& running, const Tensor& x) {
  TensorStats& stats = running.stats;
  const bool whole_batch = x.rank() == 0 || x.numel() == x.dim(0);
  const auto samples = static_cast<size_t>(whole_batch ? 1 : x.dim(0));
  const size_t size = static_cast<size_t>(x.numel()) / samples;
  struct Sample {
    ValueRange range;
    double sum;
  };
  std::vector<Sample> partial(samples);
  parallel_for(static_cast<int64_t>(samples), std::max<int64_t>(1, 65536 / static_cast<int64_t>(size)),
               [&](int64_t begin, int64_t end) {
                 for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
                   const auto values = x.data().subspan(i * size, size);
                   partial[i] = {min_max(values), sum_of(values)};
                 }
               });
  if (stats.total_numel == 0) {
    stats.shape = stats_shape(x.shape());
    stats.min = partial[0].range.min;
    stats.max = partial[0].range.max;
  }
  for (const Sample& sample : partial) {
    check(std::isfinite(sample.sum), "calibration: a tensor of shape {} holds NaN or infinity", x.shape());
    stats.min = std::min<double>(stats.min, sample.range.min);
    stats.max = std::max<double>(stats.max, sample.range.max);
    running.sum_of_minima += sample.range.min;
    running.sum_of_maxima += sample.range.max;
    running.sum += sample.sum;
  }
  running.samples += static_cast<int64_t>(samples);
  stats.total_numel += x.numel();
}

void finish_values(Running& running) {
  TensorStats& stats = running.stats;
  if (running.samples == 0) return;  // only empty tensors
  const auto samples = static_cast<double>(running.samples);
  stats.avg_min = running.sum_of_minima / samples;
  stats.avg_max = running.sum_of_maxima / samples;
  stats.mean = running.sum / static_cast<double>(stats.total_numel);
  stats.histogram = Histogram::over({static_cast<float>(stats.min), static_cast<float>(stats.max)});
}

void add_deviations(Running& running, const Tensor& x) {
  const Deviations deviations = deviations_from(running.stats.mean, x.data());
  running.square += deviations.square;
  running.absolute += deviations.absolute;
  running.seen_again += x.numel();
  running.stats.histogram->add(x.data());
}

void finish_deviations(Running& running) {
  TensorStats& stats = running.stats;
  if (running.samples == 0) return;
  check(running.seen_again == stats.total_numel, "calibration: {} values in the first pass, but {} in the second",
        stats.total_numel, running.seen_again);
  const auto numel = static_cast<double>(stats.total_numel);
  stats.std = std::sqrt(running.square / numel);
  stats.b = running.absolute / numel;
}

// Shows every input and output of every unit to a function of a pass.
class Collector final : public CallObserver {
 public:
  using Add = void (*)(Running&, const Tensor&);
  explicit Collector(Module& model) {
    const std::vector<Module*> units = measured_modules(model);
    modules_.reserve(units.size());
    for (Module* unit : units) {
      index_[unit] = modules_.size();
      modules_.push_back({unit->path(), {}, {}});
    }
  }

  void leave(Module& module, Inputs x, const Tensor& y) override {
    const auto found = index_.find(&module);
    if (found == index_.end()) return;
    RunningModule& running = modules_[found->second];
    running.called = true;
    if (running.inputs.size() < x.size()) running.inputs.resize(x.size());
    try {
      for (size_t i = 0; i < x.size(); ++i)
        if (x[i].numel() > 0) add_(running.inputs[i], x[i]);
      if (y.numel() > 0) add_(running.output, y);
    } catch (const Error& e) {
      throw e.located(running.path);
    }
  }

  void pass(Add add, void (*finish)(Running&), const std::function<void()>& feed) {
    add_ = add;
    {
      const Observing observing(*this);
      feed();
    }
    for (RunningModule& module : modules_) {
      if (!module.called) continue;
      for (Running& input : module.inputs) finish(input);
      finish(module.output);
    }
  }

  QuantStats take() const {
    QuantStats stats;
    for (const RunningModule& module : modules_) {
      if (!module.called) continue;
      ModuleStats& entry = stats.add(module.path);
      for (const Running& input : module.inputs) entry.inputs.push_back(input.stats);
      entry.output = module.output.stats;
    }
    check(!stats.empty(), "calibration: no layer of the model was called; is there no calibration data?");
    return stats;
  }

 private:
  std::vector<RunningModule> modules_;
  std::unordered_map<const Module*, size_t> index_;
  Add add_ = nullptr;
};

}  // namespace

const ModuleStats* QuantStats::find(std::string_view path) const {
  const auto found =
      std::ranges::find(entries_, path, [](const auto& entry) -> std::string_view { return entry.first; });
  return found == entries_.end() ? nullptr : &found->second;
}

ModuleStats* QuantStats::find(std::string_view path) {
  return const_cast<ModuleStats*>(std::as_const(*this).find(path));
}

const ModuleStats& QuantStats::at(std::string_view path, std::string_view name) const {
  const ModuleStats* found = find(path);
  if (found) return *found;
  std::vector<std::string> paths;
  for (const auto& entry : entries_) paths.push_back(entry.first);
  fail("{}: no statistics for layer '{}'{}; they belong to another model or another set of layers", name, path,
       did_you_mean(path, paths));
}

ModuleStats& QuantStats::add(std::string path) {
  if (ModuleStats* found = find(path)) return *found;
  return entries_.emplace_back(std::move(path), ModuleStats{}).second;
}

bool QuantStats::erase(std::string_view path) {
  return std::erase_if(entries_, [path](const auto& entry) { return entry.first == path; }) > 0;
}

void QuantStats::drop_histograms() {
  for (auto& [path, module] : entries_) {
    for (TensorStats& input : module.inputs) input.histogram.reset();
    module.output.histogram.reset();
  }
}

std::string stats_shape(const Shape& shape) {
  std::vector<int64_t> dims(shape.dims().begin(), shape.dims().end());
  if (dims.size() == 4) dims = {dims[0], dims[3], dims[1], dims[2]};
  return fmt::format("({})", fmt::join(dims, ", "));
}

std::vector<Module*> measured_modules(Module& model) {
  std::vector<Module*> units;
  find_units(model, units);
  return units;
}

QuantStats collect_quant_stats(Module& model, const std::function<void()>& feed) {
  const EvaluationMode evaluating(model);
  const Tape::Paused paused;
  Collector collector(model);
  collector.pass(add_values, finish_values, feed);
  collector.pass(add_deviations, finish_deviations, feed);
  return collector.take();
}

namespace {

// The numbers of a shape as a text; none where it is not one.
std::vector<int64_t> dims_of(const std::string& text) {
  std::vector<int64_t> dims;
  for (size_t at = text.find_first_of("0123456789"); at != std::string::npos;) {
    const size_t end = text.find_first_not_of("0123456789", at);
    dims.push_back(std::strtoll(text.c_str() + at, nullptr, 10));
    at = text.find_first_of("0123456789", end);
  }
  return dims;
}

// The sizes of two batches.
struct Batches {
  int64_t of_stats = 1, of_model = 1;
};

// Whether two shapes are those of one tensor with these batches, which attention moves to another place than the first.
bool differ_in_batch(const std::vector<int64_t>& stats, const std::vector<int64_t>& model, const Batches& batches) {
  if (stats.size() != model.size()) return false;
  size_t differing = 0;
  for (size_t i = 0; i < stats.size(); ++i) {
    if (stats[i] == model[i]) continue;
    ++differing;
    if (i > 0 && stats[i] * batches.of_model != model[i] * batches.of_stats) return false;
  }
  return differing <= 1;
}

// By the first layer that both know.
Batches batches_of(const QuantStats& stats, const Graph& graph) {
  for (const GraphNode& node : graph.nodes()) {
    const ModuleStats* entry = stats.find(node.path());
    const std::vector<int64_t> dims = entry ? dims_of(entry->output.shape) : std::vector<int64_t>();
    if (!dims.empty() && node.output_shape.rank() > 0) return {dims[0], node.output_shape[0]};
  }
  return {};
}

}  // namespace

void check_stats_are_of(const QuantStats& stats, Module& model, const std::string& name) {
  if (stats.network.empty()) return;
  const std::string checksum = state_checksum(model);
  check(checksum == stats.network,
        "{}: statistics of a network whose numbers have the checksum {}, expected {}, as this one's: calibrate it, "
        "too, or take \"{}\" out of the file",
        name, stats.network, checksum, QuantStats::kNetwork);
}

void check_stats_describe(const QuantStats& stats, Module& model, const Graph& graph, const std::string& name) {
  std::vector<std::string> known;
  visit_modules(model, [&](Module& module) { known.push_back(module.path()); });
  const Batches batches = batches_of(stats, graph);
  for (const auto& [path, entry] : stats) {
    check(std::ranges::find(known, path) != known.end(),
          "{}: statistics for '{}', which the model does not have{}: they belong to another model", name, path,
          did_you_mean(path, known));
    const GraphNode* node = graph.find(path);
    if (!node || node->output_shape.rank() == 0) continue;
    const std::string expected = stats_shape(node->output_shape), &found = entry.output.shape;
    if (found.empty()) continue;
    check(differ_in_batch(dims_of(found), dims_of(expected), batches),
          "{}: statistics for '{}' are of outputs {}, but the model's are {}: they belong to another model", name, path,
          found, expected);
  }
}

}  // namespace qgrad
