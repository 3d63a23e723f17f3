// The pages of commands, made from their results.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/report.h"
#include "core/json.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

size_t drawings_in(const std::string& html) {
  size_t count = 0;
  for (size_t at = html.find("<svg "); at != html.npos; at = html.find("<svg ", at + 1)) ++count;
  return count;
}

// Nothing is read from elsewhere, and everything that is drawn has a text.
void check_page(const std::string& html) {
  CHECK(html.starts_with("<!doctype html>"));
  for (const char* link : {"src=\"http", "href=\"http", "url(", "@import"}) CHECK(html.find(link) == html.npos);
  size_t named = 0;
  for (size_t at = html.find("role=\"img\" aria-label=\""); at != html.npos; at = html.find("role=\"img\"", at + 1))
    ++named;
  CHECK(named == drawings_in(html));
}

Json results_of_any(const std::string& more) {
  return parse_json(R"({"name": "a <name>", "seed": 1, "model": {"class": "convnet"},
      "dataset": {"class": "digits", "test_images": 10, "evaluated": "test images"},
      "run": {"version": "0.1.0", "commit": "abc"}, )" +
                        more + "}",
                    "test");
}

const char* const kTrained = R"("quantizer": {"class": "LSQQuantizer"}, "best_epoch": 2, "seconds": 65,
    "test": {"images": 10, "top1": 90, "top5": 99, "loss": 0.5},
    "layers": [{"path": "conv1", "kind": "Conv2d", "bits_weights": 4, "bits_activations": null, "bits_bias": null,
                "settings": {}, "pattern": "conv.*"}],
    "epochs": [{"epoch": 1, "lr": 0.1, "train_loss": 2, "train_top1": 30, "validation": {"images": 5, "top1": 40, "top5": 80, "loss": 1}, "seconds": 1},
               {"epoch": 2, "lr": 0.01, "train_loss": 1, "train_top1": 50, "validation": {"images": 5, "top1": 60, "top5": 90, "loss": 0.9}, "seconds": 1}])";

Json layer_errors() {
  return parse_json(
      R"([{"path": "fc", "kind": "Linear", "sqnr_db": 10, "mean_squared_error": 1, "saturation": 0.25, "cosine": 0.9},
                        {"path": "conv1", "kind": "Conv2d", "sqnr_db": null, "mean_squared_error": 0, "saturation": 0, "cosine": 1}])",
      "test");
}

Json facts() {
  return parse_json(R"({"layers": [{"path": "fc", "kind": "Linear",
      "weights": {"bits": 4, "in_steps": true, "least_step": 0.125, "largest_step": 0.5, "levels": {"low": -8, "high": 7, "step": 1},
                  "histogram": {"low": -8, "bin_width": 1, "counts": [1, 2, 3]}},
      "output": {"bits": null, "in_steps": false, "histogram": {"low": 0, "bin_width": 1, "counts": [5]}}}],
    "confusion": {"classes": ["a", "b"], "complete": true,
                  "pairs": [{"right": 0, "taken_for": 0, "images": 7}, {"right": 0, "taken_for": 1, "images": 3}]},
    "images": {"lost": 2, "won": 1, "shown": [{"image": 4, "right": "a", "taken_for": "b", "png": "AAAA"}]}})",
                    "test");
}

Json quantized() {
  Json results = results_of_any(R"("float": {"images": 10, "top1": 90, "top5": 99, "loss": 0.5},
      "quantized": {"images": 10, "top1": 89.87, "top5": 99, "loss": null},
      "program": {"images": 10, "top1": 89.87, "top5": 99, "loss": 0.6, "images_per_second": 1000,
                  "simulated_images_per_second": 100, "bytes": 2500}, "model_bytes": 1500)");
  results["layers"] = layer_errors();
  return results;
}

}  // namespace

TEST_CASE("the report of a training has its scores, its course and what was quantized") {
  const Report report = training_report(results_of_any(kTrained), facts());
  check_page(report.html);
  CHECK(drawings_in(report.html) == 5);  // score, loss, learning rate, and two histograms
  CHECK(report.table.rows ==
        std::vector<std::vector<std::string>>{{"1", "0.1", "2.0000", "30.00", "40.00", "80.00", "1.0000"},
                                              {"2", "0.01", "1.0000", "50.00", "60.00", "90.00", "0.9000"}});
  CHECK_THAT(report.html, Contains("Epoch 2 of 2, 1 min 05 s in all"));
  CHECK_THAT(report.html, Contains("<h1>a &lt;name&gt;</h1>"));
  CHECK_THAT(report.html, Contains("convnet on digits (10 test images), seed 1"));
  CHECK_THAT(report.html, Contains("<td class=\"left\" data-label=\"by override\">conv.*</td>"));
}

TEST_CASE("the report of a float training without a validation part has no more than there is") {
  Json results = results_of_any(kTrained);
  results.erase("layers");
  results["quantizer"] = nullptr;
  for (Json& epoch : results["epochs"]) epoch["validation"] = nullptr;
  const Report report = training_report(results, nullptr);
  check_page(report.html);
  CHECK(drawings_in(report.html) == 3);
  CHECK(report.table.columns.size() == 4);
  CHECK(report.html.find("What was quantized") == std::string::npos);
}

TEST_CASE("while a training runs, its report has the course so far") {
  Json results = results_of_any(kTrained);
  results.erase("test");
  results["running"] = {{"of_epochs", 5}};
  const Report report = training_report(results, nullptr);
  check_page(report.html);
  CHECK(drawings_in(report.html) == 3);
  CHECK(report.table.rows.size() == 2);
  CHECK_THAT(report.html, Contains("The training is under way: 2 of 5 epochs so far"));
  CHECK_THAT(report.html, Contains("What was quantized"));
}

TEST_CASE("while a row of a comparison is trained, its curve stands beside those of finished rows, or alone") {
  Json row = parse_json(fmt::format(R"({{"name": "LSQ", "kind": "quant-aware-train", "bits_weights": 4,
      "bits_activations": 4, "top1": 90, "top5": 99, "loss": 0.5, "model_bytes": 100, "seconds": 1, {}}})",
                                    std::string(kTrained).substr(std::string(kTrained).find("\"epochs\""))),
                        "test");
  Json results = results_of_any(R"("rows": [])");
  results["rows"].push_back(row);
  for (const char* metric : {"top1", "top5", "loss", "model_bytes", "seconds"}) row.erase(metric);
  row.update({{"name", "PACT"}, {"of_epochs", 9}});
  results["running"] = row;
  const Report both = comparison_report(results);
  check_page(both.html);
  CHECK(both.table.rows.size() == 1);
  CHECK_THAT(both.html, Contains("PACT is under way: 2 of 9 epochs so far"));
  CHECK_THAT(both.html, Contains("<title>LSQ: 60</title>") && Contains("<title>PACT: 60</title>"));
  results["rows"] = Json::array();
  const Report alone = comparison_report(results);
  check_page(alone.html);
  CHECK(drawings_in(alone.html) == 1);
  CHECK(alone.html.find("<table>") == std::string::npos);
}

TEST_CASE("the report of a quantization signs the change, and joins what was gathered of each layer") {
  const Report report = quantization_report(quantized(), facts());
  check_page(report.html);
  CHECK(drawings_in(report.html) == 3);  // the layers' noise, and two histograms
  CHECK_THAT(report.html, Contains(">-0.13 points</td>"));
  CHECK(report.table.rows[0] ==
        std::vector<std::string>{"fc", "Linear", "4", "", "10.00", "25.000 %", "0.90000", "0.125 to 0.5", ""});
  CHECK(report.table.rows[1][4] == "-");
  CHECK_THAT(report.html, Contains("src=\"data:image/png;base64,AAAA\" alt=\"image 4\""));
  CHECK_THAT(report.html, Contains("right on 2 images that the quantized one gets wrong; the other way round it is 1"));
}

TEST_CASE("many classes have a list of those that are confused, in place of a matrix") {
  Json of = facts();
  CHECK_THAT(quantization_report(quantized(), of).html, Contains("<table class=\"matrix\">"));
  of["confusion"]["complete"] = false;
  const std::string html = quantization_report(quantized(), of).html;
  CHECK(html.find("<table class=\"matrix\">") == html.npos);
  CHECK_THAT(html, Contains("confuses most often"));
}

TEST_CASE("where images have no labels, the report says how networks agree") {
  Json results = quantized();
  for (const char* key : {"float", "quantized", "program"}) results.erase(key);
  results["agreement"] = {
      {{"output", nullptr}, {"images", 10}, {"top1_agreement", 98.5}, {"sqnr_db", 20}, {"cosine", 0.99}}};
  Json of = facts();
  of.erase("confusion"), of.erase("images");
  const std::string html = quantization_report(results, of).html;
  check_page(html);
  CHECK_THAT(html, Contains(">98.50</td>"));
}

TEST_CASE("the report of a sensitivity analysis has what was lost, by layers and bits") {
  const Report report = sensitivity_report(
      results_of_any(R"("rank_correlation": [{"bits": 4, "sqnr": 0.9, "divergence": 0.8, "loss": 0.25}],
      "probes": [{"what": "nothing", "top1": 90, "loss": 1, "agreement": 100, "divergence": 0.125, "sqnr_db": null},
                 {"what": "everything", "top1": 80, "loss": 1, "agreement": 85, "divergence": 0.125, "sqnr_db": 10},
                 {"what": "weights", "layer": "conv1", "bits": 8, "top1": 90.5, "loss": 1, "agreement": 99, "divergence": 0.125, "sqnr_db": 40, "estimate": 0.001},
                 {"what": "weights", "layer": "conv1", "bits": 4, "top1": 87.5, "loss": 1, "agreement": 95, "divergence": 0.125, "sqnr_db": 20, "estimate": 0.1},
                 {"what": "activations", "layer": "fc", "bits": 4, "top1": 89, "loss": 1, "agreement": 95, "divergence": 0.125, "sqnr_db": 20}])"));
  check_page(report.html);
  CHECK(drawings_in(report.html) == 3);
  CHECK(report.table.rows ==
        std::vector<std::vector<std::string>>{{"conv1", "-0.50", "2.50", "", ""}, {"fc", "", "", "", "1.00"}});
  CHECK_THAT(report.html, Contains("With all quantized as the config says: 10.00"));
  CHECK_THAT(report.html, Contains("data-label=\"rank by SQNR\">0.90</td>"));
  CHECK_THAT(report.html, Contains("data-label=\"rank by loss\">0.25</td>"));
}

TEST_CASE("the report of a search for bits has the front and the bits of layers; of others their numbers") {
  const Report bits = search_report(
      results_of_any(R"("bits": [{"layer": "conv1", "weights": 3}, {"layer": "fc", "weights": 8, "activations": 4}],
      "cost": "noise",
      "weights": {"mean_bits": 4, "expected_cost": 0.01, "front": [{"budget": 3, "cost": 0.1}, {"budget": 4, "cost": 0.01}]},
      "activations": {"mean_bits": 8},
      "bit_operations": {"share": 0.25, "expected_cost": 0.1, "front": [{"budget": 0.2, "cost": 0.2}, {"budget": 0.25, "cost": 0.1}]},
      "trials": [{"mean_bits": 3, "lost": 2}, {"mean_bits": 4, "lost": 0.5}],
      "chosen": {"top1": 89, "agreement": 97, "divergence": 0.02, "sqnr_db": 20},
      "as_configured": {"top1": null, "agreement": 90, "divergence": 0.1, "sqnr_db": 15})"));
  check_page(bits.html);
  CHECK(drawings_in(bits.html) == 4);
  CHECK(bits.table.rows == std::vector<std::vector<std::string>>{{"conv1", "3", ""}, {"fc", "8", "4"}});
  CHECK_THAT(bits.html, Contains("<title>chosen for weights: 20</title>"));
  CHECK_THAT(bits.html, Contains("<title>chosen for weights and what layers give: 10</title>"));
  const Report lapq = search_report(results_of_any(R"("first_loss": 0.5, "loss": 0.25, "evaluations": 20)"));
  check_page(lapq.html);
  CHECK(lapq.table.rows.size() == 3);
}
