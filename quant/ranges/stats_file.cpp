// Calibration statistics as JSON.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "quant/ranges/stats.h"

namespace qgrad {

void fields(Fields& v, Histogram& h) {
  constexpr double kFarthest = 0x1p40;
  v("bin_width", h.bin_width, {.min = 0, .above_min = true, .required = true});
  v("first_bin", h.first_bin, {.min = -kFarthest, .max = kFarthest, .required = true});
  v("counts", h.counts, {.max = kFarthest, .required = true});  // which all of them together do not overflow
}

void fields(Fields& v, TensorStats& s) {
  constexpr double kLargest = std::numeric_limits<float>::max();  // ranges are floats
  const Field number{.min = -kLargest, .max = kLargest, .required = true};
  const Field magnitude{.min = 0, .max = kLargest, .required = true};
  v("min", s.min, number);
  v("max", s.max, number);
  v("avg_min", s.avg_min, number);
  v("avg_max", s.avg_max, number);
  v("mean", s.mean, number);
  v("std", s.std, magnitude);
  v("b", s.b, magnitude);
  v("shape", s.shape);
  v("total_numel", s.total_numel, {.min = 0});
  v("histogram", s.histogram);
}

namespace {

TensorStats read_tensor(const Config& config) {
  auto stats = read_config<TensorStats>(config);
  if (stats.min > stats.max) config_error(config.where(), "min {} is above max {}", stats.min, stats.max);
  if (stats.avg_min > stats.avg_max)
    config_error(config.where(), "avg_min {} is above avg_max {}", stats.avg_min, stats.avg_max);
  if (const auto& h = stats.histogram;
      h && (h->counts.size() > Histogram::kBins || h->total() <= 0 || std::ranges::min(h->counts) < 0))
    config_error(config.at("histogram").where("counts"), "expected 1 to {} counts, none negative and not all zero",
                 Histogram::kBins);
  return stats;
}

Json write_tensor(const TensorStats& stats) {
  Json json = write_config(stats);
  if (!stats.histogram) json.erase("histogram");
  return json;
}

// {"0": .., "1": ..} in any order, or a list.
std::vector<TensorStats> read_inputs(const Config& config) {
  if (!config.json().is_object() && !config.json().is_array())
    config_error(config.where(), "expected an object {{\"0\": ..}} or a list, got {}", detail::describe(config.json()));
  std::vector<TensorStats> inputs;
  for (size_t i = 0; i < config.json().size(); ++i) {
    const std::string key = std::to_string(i);
    inputs.push_back(read_tensor(
        config.json().is_object() ? config.at(key) : Config{config.json()[i], config.file, config.path + "." + key}));
  }
  return inputs;
}

}  // namespace

Json stats_to_json(const QuantStats& stats) {
  Json json = Json::object();
  if (!stats.network.empty()) json[QuantStats::kNetwork] = stats.network;
  for (const auto& [path, module] : stats) {
    Json inputs = Json::object();
    for (size_t i = 0; i < module.inputs.size(); ++i) inputs[std::to_string(i)] = write_tensor(module.inputs[i]);
    json[path] = {{"inputs", std::move(inputs)}, {"output", write_tensor(module.output)}};
  }
  return json;
}

QuantStats stats_from_json(const Json& json, std::string_view file) {
  const Config all{json, std::string(file), ""};
  if (!json.is_object()) config_error(all.where(), "expected an object of modules, got {}", detail::describe(json));
  QuantStats stats;
  for (const auto& item : json.items()) {
    const Config module = all.at(item.key());
    if (item.key() == QuantStats::kNetwork) {
      stats.network = item.value().is_string() ? item.value().get<std::string>() : "";
      if (stats.network.size() != 8 || stats.network.find_first_not_of("0123456789abcdef") != std::string::npos)
        config_error(module.where(), "expected a checksum of eight digits, 0 to 9 and a to f");
      continue;
    }
    ModuleStats& entry = stats.add(item.key());
    entry.inputs = read_inputs(module.at("inputs"));
    entry.output = read_tensor(module.at("output"));
    for (const auto& member : module.json().items())
      if (member.key() != "inputs" && member.key() != "output") config_error(module.where(member.key()), "unknown key");
  }
  return stats;
}

void write_stats(const std::filesystem::path& file, const QuantStats& stats) { write_json(file, stats_to_json(stats)); }

QuantStats read_stats(const std::filesystem::path& file) { return stats_from_json(read_json(file), file.string()); }

std::optional<NamedStats> stats_from_config(const Config& config) {
  if (config.json().is_null()) return std::nullopt;
  if (config.json().is_object()) return NamedStats{stats_from_json(config.json(), config.where()), config.where()};
  if (!config.json().is_string())
    config_error(config.where(), "expected the name of a file with statistics, its content, or null; got {}",
                 detail::describe(config.json()));
  const auto file = config.json().get<std::string>();
  return NamedStats{read_stats(file), file};
}

}  // namespace qgrad
