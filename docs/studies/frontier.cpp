// Rows with as many bits for weights as for activations: the best of each kind, seeds of one row averaged.
#include "docs/studies/frontier.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "apps/report/chart.h"
#include "apps/report/colors.h"
#include "core/json.h"

namespace qgrad {
namespace {

constexpr int kFewestPlainBits = 4;  // of rows that nothing corrects: with fewer they would be most of the picture

// A row of a comparison, or several that differ in their seeds alone.
struct Row {
  std::string name;
  int bits = 0;  // of weights and of activations
  double top1 = 0;
};

std::vector<Row> rows_of(const std::filesystem::path& results, const std::string& kind) {
  struct Sum {
    int bits = 0, seeds = 0;
    double top1 = 0;
  };
  std::map<std::string, Sum> sums;
  const Json content = read_json(results);
  for (const Json& row : content.at("rows")) {
    if (row.at("kind") != kind || row.at("bits_weights") != row.at("bits_activations")) continue;
    Sum& sum = sums[row.value("row", row.at("name").get<std::string>())];
    sum.bits = row.at("bits_weights").get<int>();
    sum.top1 += row.at("top1").get<double>();
    ++sum.seeds;
  }
  std::vector<Row> rows;
  rows.reserve(sums.size());
  for (const auto& [name, sum] : sums) rows.push_back({name, sum.bits, sum.top1 / sum.seeds});
  return rows;
}

// The best of each width among the rows that are wanted.
template <class F>
std::vector<Series::Point> best_of(const std::vector<Row>& rows, F&& wanted) {
  std::map<int, Row> best;
  for (const Row& row : rows)
    if (wanted(row) && row.top1 > best[row.bits].top1) best[row.bits] = row;
  std::vector<Series::Point> points;
  for (const auto& [bits, row] : best)
    if (row.bits > 0) points.push_back({static_cast<double>(bits), row.top1, row.name});
  return points;
}

bool contains(const Row& row, std::string_view words) { return row.name.find(words) != row.name.npos; }

}  // namespace

std::string frontier_picture(const std::filesystem::path& studies) {
  const std::vector<Row> after = rows_of(studies / "results.json", "post-train"),
                         few = rows_of(studies / "few_bits.json", "post-train");
  std::vector<Row> trained = rows_of(studies / "results.json", "quant-aware-train");
  std::ranges::copy(rows_of(studies / "two_bits.json", "quant-aware-train"), std::back_inserter(trained));
  const auto plain = [](const Row& row) { return !contains(row, "corrected") && row.bits >= kFewestPlainBits; };
  const auto reconstructed = [](const char* sums) {
    return [=](const Row& row) { return contains(row, sums) && contains(row, "reconstruction"); };
  };
  const auto all_layers = [](const Row& row) { return !contains(row, "shortcuts"); };
  return svg(
      {.name = "frontier",
       .title = "ResNet-20 on CIFAR-10: what is left of 92.70 %",
       .x_label = "bits of weights and activations",
       .y_label = "top-1 %",
       .x_ticks = {2, 3, 4, 6, 8},
       .series = {{"trained with quantization", kQuantAwareColor, best_of(trained, all_layers)},
                  {"after training, reconstructed, sums of 8 bits", kActivationsColor,
                   best_of(few, reconstructed("sums of 8 bits"))},
                  {"after training, reconstructed", kPostTrainColor, best_of(few, reconstructed("every tensor"))},
                  {"after training, ranges alone", kFloatColor, best_of(after, plain)}},
       .descending_x = true});
}

}  // namespace qgrad
