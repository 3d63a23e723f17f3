// What `qgrad compare` is asked for: its config, and the rows that come of it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "apps/matrix.h"
#include "quant/quantizer.h"
#include "tasks/experiment.h"

namespace qgrad {

struct RowConfig {
  std::string name;
  ClassConfig<Quantizer> quantizer;
  Config train = Config::object("train");
  std::vector<uint64_t> seeds;
};
inline void fields(Fields& v, RowConfig& c) {
  v("name", c.name, {.help = "name of the row", .required = true});
  v("quantizer", c.quantizer, {.help = "the quantizer's class and settings", .required = true});
  v("train", c.train, {.help = "what this row's fine-tuning changes of quant_aware_train"});
  v("seeds", c.seeds, {.help = "a fine-tuning for each, with this train.seed; empty: one"});
}

struct CompareCommandConfig : ExperimentConfig {
  std::optional<Placed<TrainConfig>> train;
  std::optional<CalibrationConfig> calibration = CalibrationConfig{};
  Config quant_aware_train = Config::object("quant_aware_train");
  std::optional<int> max_epochs;
  std::vector<Placed<RowConfig>> rows;
  std::vector<Placed<MatrixConfig>> matrices;
  std::optional<std::string> document;
};
inline void fields(Fields& v, CompareCommandConfig& c) {
  fields(v, static_cast<ExperimentConfig&>(c));
  v("train", c.train, {.help = "float training; null: use the checkpoint"});
  v("calibration", c.calibration, {.help = "images that set the ranges; null: dynamic quantization"});
  v("quant_aware_train", c.quant_aware_train, {.help = "fine-tuning of the quantization-aware rows"});
  v("max_epochs", c.max_epochs, {.help = "no fine-tuning is longer than this; null: as the rows say", .min = 1});
  v("rows", c.rows, {.help = "the quantized rows, in order"});
  v("matrices", c.matrices, {.help = "further rows: all combinations of settings"});
  v("document", c.document, {.help = "a Markdown file that gets tables; charts and results go beside it"});
}
void check_config(const CompareCommandConfig& config, const Config& place);

// One row of the table: the float one, a RowConfig's, or that of one of its seeds, or a cell of a matrix.
struct PlannedRow {
  std::string name;
  Config quantizer;  // null: the float row
  Config train = Config::object("train");
  Config place;                  // in the config
  Json origin = Json::object();  // for the results: the row and seed, or the matrix and coordinates, that it is of

  bool is_float() const;
  bool is_post_training() const;
  bool has_corrections() const;
};

// Every quantized row by itself: those of the config, one for each seed, and those of the matrices.
std::vector<PlannedRow> planned_rows(const CompareCommandConfig& config);

// quant_aware_train with what the row changes.
TrainConfig fine_tuning(const CompareCommandConfig& config, const PlannedRow& row);
// How a row is trained, the float one too; null where it is not.
std::optional<TrainConfig> training_of(const CompareCommandConfig& config, const PlannedRow& row);

// Of the row's files: "post-training 4/4" -> "post-training_4-4"; no name gives "." or "..".
std::string folder_name(const std::string& row);

}  // namespace qgrad
