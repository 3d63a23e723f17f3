// Reading results.json of `qgrad compare`: what the terminal's table, the HTML page and the document show of it.
//
// {"name", "command", "seed", "threads", "seconds", "dataset", "model", "rows": [{"name", "kind", "bits_weights",
// "bits_activations", "top1", "top5", "loss", "model_bytes", "program", "seconds", "epochs": [..]}]}; accuracies in
// percent. Rows of recommenders have "hit_rate_at_10" and "ndcg_at_10" instead of "top1", "top5" and "loss". Rows that
// differ in their seed alone have their common name in "row"; those of a matrix have "matrix" and "coordinates".
#pragma once

#include <string>
#include <vector>

#include "apps/report/chart.h"
#include "core/config.h"

namespace qgrad {

// Throws where something that is read of them is not there or has another type.
void check_results(const Config& results);

struct RowKind {
  const char *id, *label, *color;
};
const RowKind& kind_of(const Json& row);

// The metrics of a row, in the order of their columns; the first is the score.
struct Metric {
  const char *key, *label;
  int digits;
};
std::vector<Metric> metrics_of(const Json& row);
std::string metric_text(const Json& row, const Metric& metric);
double score_of(const Json& row);

const Json* float_row(const Json& results);  // the first, or null
// "-0.72": so many points lower than the float row; empty for that itself.
std::string change_text(const Json& results, const Json& row);
std::string bits_text(const Json& row);  // "4/8": weights, activations; 32 where they are float
std::string bytes_text(double bytes);    // "138.6 kB"

// Of a row's integer program; "-" where there is none.
struct ProgramTexts {
  std::string top1 = "-", speed = "-", simulated_speed = "-", bytes = "-";
};
ProgramTexts program_texts(const Json& row);

// The rows of one quantizer's seeds, or a row by itself.
struct RowGroup {
  std::string name;
  std::vector<const Json*> rows;

  const Json& first() const { return *rows.front(); }
  double mean(const std::string& pointer) const;       // a JSON pointer into a row
  double deviation(const std::string& pointer) const;  // of the population that the seeds are a sample of
};
std::vector<RowGroup> row_groups(const Json& results);  // without those of matrices

// The score over bits of the rows that quantize weights and activations alike: the best of each kind; rows that differ
// in their seed count with their mean. And the validation score by epoch of every row that was trained: one chart, or
// where lines would be too many, one for each width.
std::vector<Chart> charts(const Json& results);

}  // namespace qgrad
