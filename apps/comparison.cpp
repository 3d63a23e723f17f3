// Rows by their seeds and matrices, and what is wrong with them.
#include "apps/comparison.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "tasks/quantization.h"

namespace qgrad {
namespace {

void check_row(const PlannedRow& row, const CompareCommandConfig& config) {
  constexpr size_t kLongest = 200;
  if (row.name.empty() || row.name.size() > kLongest)
    config_error(row.place.where("name"), "expected a name of 1 to {} bytes, got {}", kLongest,
                 detail::describe(row.name));
  for (const char* file :
       {"config.json", "results.json", "report.html", "report.md", "report.csv", "training.safetensors"})
    if (folder_name(row.name) == file)
      config_error(row.place.where("name"), "a row has a folder of its name, and {} is a file: rename it", file);
  if (!row.is_post_training()) fine_tuning(config, row);
}

}  // namespace

void check_config(const CompareCommandConfig& config, const Config& place) {
  check_config(static_cast<const ExperimentConfig&>(config), place);
  if (config.rows.empty() && config.matrices.empty())
    config_error(place.where(), "neither 'rows' nor 'matrices': there is nothing to compare with");
  if (config.train.has_value() == config.checkpoint.has_value())
    config_error(place.where(), "exactly one of 'train' and 'checkpoint' must be given");
  if (config.document && !config.document->ends_with(".md"))
    config_error(place.where("document"), "expected the name of a Markdown file, \"results.md\" say, got {}",
                 detail::describe(*config.document));
  read_config<TrainConfig>(config.quant_aware_train);  // also where no row needs it
  std::vector<std::string> names{"float"};
  for (const PlannedRow& row : planned_rows(config)) {
    check_row(row, config);
    for (const std::string& other : names)
      if (folder_name(row.name) == folder_name(other))
        config_error(row.place.where(), "the rows '{}' and '{}' would share the folder '{}': rename one", other,
                     row.name, folder_name(other));
    names.push_back(row.name);
  }
}

std::vector<PlannedRow> planned_rows(const CompareCommandConfig& config) {
  std::vector<PlannedRow> rows;
  for (const Placed<RowConfig>& row : config.rows) {
    const auto refuse = [&](const std::string& why) { config_error(row.place.where(), "row '{}': {}", row.name, why); };
    if (std::ranges::count(config.rows, row.name, &RowConfig::name) > 1) refuse("another one has its name");
    row.train.expect_object();
    if (is_post_training(row.quantizer) && !(row.train.json().empty() && row.seeds.empty()))
      refuse("it is not trained, so that train and seeds have no effect");
    if (row.seeds.empty())
      rows.push_back({.name = row.name, .quantizer = row.quantizer, .train = row.train, .place = row.place});
    for (const uint64_t seed : row.seeds) {
      rows.push_back({.name = fmt::format("{}, seed {}", row.name, seed),
                      .quantizer = row.quantizer,
                      .train = row.train,
                      .place = row.place,
                      .origin = {{"row", row.name}, {"seed", seed}}});
      rows.back().train.json()["seed"] = seed;
    }
  }
  for (const Placed<MatrixConfig>& matrix : config.matrices)
    for (MatrixRow& row : matrix_rows(matrix, matrix.place))
      rows.push_back({.name = fmt::format("{}: {}", matrix.title, fmt::join(row.coordinates, ", ")),
                      .quantizer = std::move(row.quantizer),
                      .place = matrix.place,
                      .origin = {{"matrix", matrix.title}, {"coordinates", row.coordinates}}});
  return rows;
}

// What quant_aware_train says was read before: what is wrong now is the row's.
TrainConfig fine_tuning(const CompareCommandConfig& config, const PlannedRow& row) {
  Config merged = config.quant_aware_train;
  if (!row.train.json().empty()) merged = {merged.json(), row.train.file, row.train.path};
  merge_over(merged.json(), row.train);
  auto tuning = read_config<TrainConfig>(merged);
  tuning.epochs = std::min(tuning.epochs, config.max_epochs.value_or(tuning.epochs));
  return tuning;
}

std::optional<TrainConfig> training_of(const CompareCommandConfig& config, const PlannedRow& row) {
  if (row.is_post_training()) return std::nullopt;
  if (!row.is_float()) return fine_tuning(config, row);
  return config.train ? std::optional<TrainConfig>(*config.train) : std::nullopt;
}

bool PlannedRow::is_float() const { return quantizer.json().is_null(); }
bool PlannedRow::is_post_training() const { return !is_float() && qgrad::is_post_training(quantizer); }
bool PlannedRow::has_corrections() const { return !is_float() && qgrad::has_corrections(quantizer); }

std::string folder_name(const std::string& row) {
  std::string name;
  for (const char c : row) {
    const bool kept = std::isalnum(static_cast<unsigned char>(c)) || c == '-' || (c == '.' && !name.empty());
    name += kept ? c : c == '/' ? '-' : '_';
  }
  return name;
}

}  // namespace qgrad
