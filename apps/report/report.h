// What commands leave for people to read, made from what they write as JSON.
#pragma once

#include <filesystem>
#include <string>

#include "apps/report/table.h"
#include "core/json.h"
#include "tasks/output_folder.h"

namespace qgrad {

struct Report {
  Table table;  // the page's main one
  std::string html;
};
// While a training is under way, results have it as "running", and no scores of it: {"of_epochs"}, and of a comparison
// its "name", "kind", "bits_weights", "bits_activations", and the "epochs" so far.
Report comparison_report(const Json& results);
// `facts`, of report.json: {"layers": of tasks/layer_facts.h, and after training, where there are labels, "confusion"
// and "images": of tasks/predictions.h}.
Report training_report(const Json& results, const Json& facts);
Report quantization_report(const Json& results, const Json& facts);
Report sensitivity_report(const Json& results);
Report search_report(const Json& results);

// report.html, whose path is returned, and its table as report.md and report.csv.
std::filesystem::path write_report(OutputFolder& folder, const Report& report);

// The comparison for a terminal.
std::string results_table(const Json& results);

}  // namespace qgrad
