// Groups of rows, their means, and the charts that are made of them.
#include "apps/report/results.h"

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;

namespace {

Json trained_row(const std::string& name, int bits, double top1, const std::vector<double>& course) {
  Json epochs = Json::array();
  for (const double value : course)
    epochs.push_back({{"epoch", epochs.size() + 1}, {"validation", {{"top1", value}, {"top5", 99}, {"loss", 1}}}});
  return {{"name", name},
          {"kind", "quant-aware-train"},
          {"bits_weights", bits},
          {"bits_activations", bits},
          {"top1", top1},
          {"top5", 99},
          {"loss", 1},
          {"seconds", 60},
          {"model_bytes", 1e5},
          {"epochs", epochs}};
}

Json results_of(std::vector<Json> quantized) {
  Json rows = {{{"name", "float"},
                {"kind", "float"},
                {"bits_weights", nullptr},
                {"bits_activations", nullptr},
                {"top1", 92},
                {"top5", 99},
                {"loss", 1},
                {"seconds", 60},
                {"model_bytes", 1e5},
                {"epochs", Json::array()}}};
  for (Json& row : quantized) rows.push_back(std::move(row));
  return {{"rows", rows}};
}

Json with_seed(Json row, const std::string& group) {
  row["row"] = group;
  return row;
}

}  // namespace

TEST_CASE("rows of several seeds are one group, with the mean and the sample's deviation") {
  const Json results = results_of(
      {with_seed(trained_row("LSQ, seed 1", 4, 90, {}), "LSQ"), with_seed(trained_row("LSQ, seed 2", 4, 91, {}), "LSQ"),
       with_seed(trained_row("LSQ, seed 3", 4, 92, {}), "LSQ"), trained_row("PACT", 4, 80, {})});
  const auto groups = row_groups(results);
  REQUIRE(groups.size() == 3);
  CHECK(groups[1].name == "LSQ");
  CHECK(groups[1].mean("/top1") == Approx(91));
  CHECK(groups[1].deviation("/top1") == Approx(1));
  CHECK(groups[2].rows.size() == 1);
  const Table table = rows_table(results, groups);
  CHECK(table.rows[1][2] == "91.00 ± 1.00");
  CHECK(table.rows[2][3] == "-12.00");
  CHECK(table.rows[0][3] == "");
}

TEST_CASE("the accuracy chart shows the best of each width, seeds by their mean") {
  const Json results = results_of({with_seed(trained_row("LSQ, seed 1", 4, 90, {}), "LSQ"),
                                   with_seed(trained_row("LSQ, seed 2", 4, 92, {}), "LSQ"),
                                   trained_row("PACT", 4, 91.5, {}), trained_row("PACT 2", 2, 70, {})});
  const auto all = charts(results);
  REQUIRE(all.size() == 1);
  CHECK(all[0].x_ticks == std::vector<double>{2, 4});
  const Series& line = all[0].series.at(0);
  CHECK(line.points.at(0).y == 70);
  CHECK(line.points.at(1).y == 91.5);
  CHECK(all[0].series.back().line == Series::Line::dashed);
}

TEST_CASE("many trainings are drawn width by width, and seeds share a color and a name") {
  std::vector<Json> rows;
  for (int i = 0; i < 5; ++i) rows.push_back(trained_row("four " + std::to_string(i), 4, 90, {80, 90}));
  for (int i = 0; i < 4; ++i) rows.push_back(trained_row("two " + std::to_string(i), 2, 70, {60, 65, 70}));
  rows.push_back(with_seed(trained_row("two, seed 1", 2, 70, {60, 65, 70}), "two"));
  rows.push_back(with_seed(trained_row("two, seed 2", 2, 70, {60, 65, 71}), "two"));
  const auto all = charts(results_of(rows));
  REQUIRE(all.size() == 3);
  CHECK(all[1].name == "training_4-4");
  CHECK(all[1].series.size() == 5);
  CHECK(all[2].name == "training_2-2");
  REQUIRE(all[2].series.size() == 6);
  CHECK(all[2].x_ticks == std::vector<double>{1, 2, 3});
  CHECK(all[2].series[4].color == all[2].series[5].color);
  CHECK(all[2].series[4].label == "two");
  CHECK(all[2].series[5].label == "");
  rows.resize(6);
  CHECK(charts(results_of(rows))[1].name == "training");
}

TEST_CASE("results of another shape are refused with their place, before anything is read of them") {
  Json row = with_seed(trained_row("LSQ, seed 1", 4, 90, {80, 90}), "LSQ");
  row["program"] = {{"top1", 90}, {"images_per_second", 1}, {"simulated_images_per_second", 1}, {"bytes", 100}};
  for (Json& epoch : row["epochs"]) epoch["train_top1"] = 50;
  Json good = results_of({row, trained_row("PACT", 2, 70, {})});
  good["rows"][2].update({{"matrix", "t"}, {"coordinates", {"a", "b"}}});
  good["command"] = "qgrad compare";
  good["config"] = Json::object();
  CHECK_NOTHROW(check_results({good, "results.json", ""}));
  int refused = 0;
  std::function<void(const Json::json_pointer&)> visit = [&](const Json::json_pointer& at) {
    for (const Json& wrong : {Json("x"), Json(5), Json(nullptr), Json::array(), Json::object(), Json::array({5})}) {
      Json changed = good;
      changed[at] = wrong;
      CAPTURE(at.to_string(), wrong.dump());
      const std::string error = test::error_of([&] { check_results({changed, "results.json", ""}); });
      refused += error.starts_with("results.json: ");
      if (error != "no error") continue;
      CHECK_NOTHROW(charts(changed));
      CHECK_NOTHROW(cost_charts(changed));
      CHECK_NOTHROW(rows_table(changed, single_rows(changed)));
    }
    const Json& value = good.at(at);
    if (value.is_object())
      for (const auto& [key, member] : value.items()) visit(at / key);
    if (value.is_array())
      for (size_t i = 0; i < value.size(); ++i) visit(at / i);
  };
  visit(Json::json_pointer());
  CHECK(refused > 100);
}

TEST_CASE("a color of a chart means one kind of rows or one row alone") {
  std::vector<Json> rows;
  for (const int bits : {2, 4})
    for (int i = 0; i < 12; ++i)
      rows.push_back(trained_row(std::to_string(bits) + ", " + std::to_string(i), bits, 70, {60, 70}));
  std::map<std::string, std::set<std::string>> meanings;
  for (const Chart& chart : charts(results_of(rows)))
    for (const Series& series : chart.series) meanings[series.color].insert(series.label);
  CHECK(meanings.size() == 2 + 24);  // the accuracies of float and of what was trained, and every row
  for (const auto& [color, labels] : meanings) CHECK(labels.size() == 1);
}

TEST_CASE("where nothing is held out, the training chart shows the training images' score") {
  Json row = trained_row("LSQ", 4, 90, {80, 90});
  for (Json& epoch : row["epochs"]) {
    epoch["train_top1"] = epoch["validation"]["top1"].get<double>() - 10;
    epoch["validation"] = nullptr;
  }
  const auto all = charts(results_of({row}));
  REQUIRE(all.size() == 1);
  CHECK(all[0].title == "Training: top-1 % on the training images by epoch");
  CHECK(all[0].series.at(0).points.at(1).y == 80);
}

TEST_CASE("scores stand over sizes, and over speeds where two rows have a program that was measured") {
  Json fast = trained_row("LSQ", 4, 90, {});
  fast["program"] = {{"top1", 90}, {"images_per_second", 1000}, {"simulated_images_per_second", 1}, {"bytes", 100}};
  Json slow = fast, none = trained_row("PACT", 2, 70, {});
  slow["name"] = "LSQ 2", slow["program"]["images_per_second"] = 500;
  none["program"] = {{"refused", "it has none"}};
  CHECK(cost_charts(results_of({fast, none})).size() == 1);
  const auto both = cost_charts(results_of({fast, slow, none}));
  REQUIRE(both.size() == 2);
  CHECK(both[0].series.size() == 2);  // float, and what was trained
  CHECK(both[0].series[1].points.size() == 3);
  REQUIRE(both[1].series.size() == 1);
  REQUIRE(both[1].series[0].points.size() == 2);
  CHECK(both[1].series[0].points[1].x == 500);
  CHECK(both[1].series[0].points[1].name == "LSQ 2");
  CHECK(both[1].series[0].line == Series::Line::none);
}
