// Reading results.json of `qgrad compare`: what the terminal's table, the HTML page and the document show of it.
//
// {"name", "command", "seed", "threads", "seconds", "dataset", "model", "rows": [{"name", "kind", "bits_weights",
// "bits_activations", "top1", "top5", "loss", "model_bytes", "program", "seconds", "epochs": [..]}]}; accuracies in
// percent. A row that another program or machine made before the comparison went on has that in "run". Rows of
// recommenders have "hit_rate_at_10" and "ndcg_at_10" instead of "top1", "top5" and "loss". Rows that differ in their
// seed alone have their common name in "row"; those of a matrix have "matrix" and "coordinates".
#pragma once

#include <string>
#include <vector>

#include "apps/report/chart.h"
#include "apps/report/table.h"
#include "core/config.h"

namespace qgrad {

// Throws where something that is read of them is not there or has another type.
void check_results(const Config& results);

// The metrics of a row, in the order of their columns; the first is the score.
struct Metric {
  const char *key, *label;
  int digits;
};
std::vector<Metric> metrics_of(const Json& row);
double score_of(const Json& row);

// The rows of one quantizer's seeds, or a row by itself.
struct RowGroup {
  std::string name;
  std::vector<const Json*> rows;

  const Json& first() const { return *rows.front(); }
  double mean(const std::string& pointer) const;       // a JSON pointer into a row
  double deviation(const std::string& pointer) const;  // of the population that the seeds are a sample of
};
std::vector<RowGroup> row_groups(const Json& results);   // without those of matrices
std::vector<RowGroup> single_rows(const Json& results);  // every row by itself

// What is known of the rows: means, of the score also the deviation, and the change against the float row in points.
// The score's bars have the colors of kinds_of.
Table rows_table(const Json& results, const std::vector<RowGroup>& groups);
// The scores of a matrix: its first axis across, the others down.
Table matrix_table(const Json& results, const std::string& title);
std::vector<std::string> matrices_of(const Json& results);  // their titles

// The kinds of rows that there are, each with its color in tables and charts.
struct RowKind {
  const char *id, *label, *color;
};
std::vector<RowKind> kinds_of(const Json& results);

// The score over bits of the rows that quantize weights and activations alike: the best of each kind; rows that differ
// in their seed count with their mean. And the validation score by epoch of every row that was trained: one chart, or
// where lines would be too many, one for each width.
std::vector<Chart> charts(const Json& results);
// The score over the size of the weights, and over the measured speed of the program, where rows have some.
std::vector<Chart> cost_charts(const Json& results);

std::vector<double> epoch_ticks(double last);  // whole, from 1 on, about ten
std::string bytes_text(double bytes);          // "138.6 kB"

}  // namespace qgrad
