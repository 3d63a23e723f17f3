// How results look: the table on a terminal and the self-contained HTML page, both made from results.json.
#pragma once

#include <string>

#include "core/json.h"

namespace qgrad {

std::string bits_text(const Json& row);  // "4/8": weights, activations; 32 where they are float
std::string bytes_text(double bytes);    // "138.6 kB"
// Of a row's integer program; "-" where there is none.
struct ProgramTexts {
  std::string top1 = "-", speed = "-", simulated_speed = "-", bytes = "-";
};
ProgramTexts program_texts(const Json& row);

// `results` as written by `qgrad compare`: {"name", "dataset", "model", "rows": [{"name", "kind", "bits_weights",
// "bits_activations", "top1", "top5", "loss", "model_bytes", "seconds", "epochs": [..]}]}; accuracies in percent.
// Rows of recommenders have "hit_rate_at_10" and "ndcg_at_10" instead of "top1", "top5" and "loss".
std::string results_table(const Json& results);
std::string results_html(const Json& results);

}  // namespace qgrad
