// Calibration: what values flow into and out of every layer, over a set of example inputs.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "nn/graph.h"
#include "nn/module.h"
#include "quant/ranges/histogram.h"

namespace qgrad {

// Of one tensor of one layer, over all calibration samples (Distiller collector.py:QuantCalibrationStatsCollector).
struct TensorStats {
  double min = 0, max = 0;
  double avg_min = 0, avg_max = 0;  // means over samples of each sample's minimum and maximum
  double mean = 0;
  double std = 0;     // of the population, about the mean
  double b = 0;       // mean absolute deviation from the mean
  std::string shape;  // of the first batch, images in PyTorch's order: "(128, 3, 32, 32)"
  int64_t total_numel = 0;
  std::optional<Histogram> histogram;  // of all values; absent in statistics of Distiller
};

struct ModuleStats {
  std::vector<TensorStats> inputs;
  TensorStats output;
};

// By module path, in the order of the model. A module that is called more than once has the statistics of all its calls
// together.
class QuantStats {
 public:
  const ModuleStats* find(std::string_view path) const;  // null when there is none
  ModuleStats* find(std::string_view path);
  // Throws where there is none, naming the nearest path and these statistics as `name`.
  const ModuleStats& at(std::string_view path, std::string_view name = "statistics") const;
  ModuleStats& add(std::string path);  // a new entry, or the existing one
  bool erase(std::string_view path);
  void drop_histograms();
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  auto begin() const { return entries_.begin(); }
  auto end() const { return entries_.end(); }

  // What files call it; a value that is a text, so no module.
  static constexpr const char* kNetwork = "(network)";
  std::string network;  // its state_checksum; empty: not known

 private:
  std::vector<std::pair<std::string, ModuleStats>> entries_;
};

// A shape as statistics write it.
std::string stats_shape(const Shape& shape);

// The modules that have statistics: those without children (but not Identity), and wrappers of such modules as one with
// what they wrap.
std::vector<Module*> measured_modules(Module& model);

// Runs the model over the calibration data twice, in evaluation mode: once for min, max, averages and mean, once for
// the deviations from that mean and the histogram over that range. `feed` calls the model on every batch, the same ones
// in the same order both times:
//   collect_quant_stats(model, [&] { for (const Batch& b : batches) model(b.images); });
// The first dimension of every tensor counts as samples; where a sample is a single number, a batch counts as one
// sample. Results do not depend on the number of threads, memory not on the number of batches. Throws when feed calls
// no module, when it gives other data the second time, and when a tensor holds NaN or infinity.
QuantStats collect_quant_stats(Module& model, const std::function<void()>& feed);

// Throws where statistics are known to be of another network than this one, as its file has it.
void check_stats_are_of(const QuantStats& stats, Module& model, const std::string& name);
// Throws where a layer that has statistics is none of the model's, or its outputs have another shape but for the size
// of the batch: the statistics, called `name` in the message, belong to another model. (That every layer has statistics
// which needs them, shows when it is quantized.)
void check_stats_describe(const QuantStats& stats, Module& model, const Graph& graph, const std::string& name);

// {"(network)": "1f2e3d4c", "layer1.0.conv1": {"inputs": {"0": {"min": .., .., "shape": "(..)", "total_numel": ..}},
// "output": {..}}, ..}: Distiller's field names, and "histogram": {"bin_width": .., "first_bin": .., "counts": [..]},
// in a file that can be edited by hand. "inputs" may also be a list; "(network)", "shape", "total_numel" and
// "histogram" may be absent. What is read is checked: a missing or unknown field, min > max, or a negative deviation
// are errors that name the file and the module.
Json stats_to_json(const QuantStats& stats);
QuantStats stats_from_json(const Json& json, std::string_view file_for_messages);
void write_stats(const std::filesystem::path& file, const QuantStats& stats);
QuantStats read_stats(const std::filesystem::path& file);

// Statistics as a config gives them: the name of a file, its content, or null for none.
struct NamedStats {
  QuantStats stats;
  std::string name;  // for messages
};
std::optional<NamedStats> stats_from_config(const Config& config);

}  // namespace qgrad
