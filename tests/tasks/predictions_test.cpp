// What networks take images for, counted.
#include "tasks/predictions.h"

#include <nlohmann/json.hpp>

#include "support/catch.h"

using namespace qgrad;

namespace {

struct Digits {
  ExperimentConfig config = read_config<ExperimentConfig>(Config::parse(
      R"({"name": "s", "data": {"dataset": {"class": "digits"}, "test_images": 50}, "model": {"class": "convnet", "width": 4}})",
      "test"));
  std::unique_ptr<Task> task = open_task(config, std::nullopt);
  const ImageTask& data = *task->on_images();

  std::vector<int32_t> right() const {
    std::vector<int32_t> labels;
    for (const int64_t place : data.evaluated_places())
      labels.push_back(data.evaluated_set().labels[static_cast<size_t>(place)]);
    return labels;
  }
};

}  // namespace

TEST_CASE("predictions are those that the metrics count") {
  const Digits digits;
  const ModulePtr model = build_model(digits.config.model, 1, std::nullopt);
  const Predictions by_batch = predictions(*model, digits.data, ""),
                    by_block = float_predictions(*model, digits.data, "");
  CHECK(by_batch.classes == by_block.classes);
  REQUIRE(by_batch.classes.size() == 50);
  const auto right = digits.right();
  int64_t hits = 0;
  for (size_t i = 0; i < right.size(); ++i) hits += by_batch.classes[i] == right[i];
  CHECK(hits == by_batch.metrics.top1_hits);
}

TEST_CASE("few classes are counted in every pair, and outputs without a class in those that are confused most") {
  const Digits digits;
  auto classes = digits.right();
  const auto first = classes[0];
  classes[0] = (first + 1) % 10;
  const Json all = confusion(digits.data, classes);
  CHECK(all.at("complete") == true);
  CHECK(all.at("classes").size() == 10);
  int64_t sum = 0, wrong = 0;
  for (const Json& pair : all.at("pairs")) {
    sum += pair.at("images").get<int64_t>();
    if (pair.at("right") != pair.at("taken_for")) wrong += pair.at("images").get<int64_t>();
  }
  CHECK(sum == 50);
  CHECK(wrong == 1);
  classes[1] = 25;
  const Json most = confusion(digits.data, classes);
  CHECK(most.at("complete") == false);
  CHECK(most.at("pairs").size() == 2);
  CHECK(most.at("classes").at(25) == "output 25");
}

TEST_CASE("images that the second network alone gets wrong are lost, and the first of them shown") {
  const Digits digits;
  const auto right = digits.right();
  auto wrong = right;
  for (int32_t& label : wrong) label = (label + 1) % 10;
  const Json lost = lost_images(digits.data, right, wrong);
  CHECK(lost.at("lost") == 50);
  CHECK(lost.at("won") == 0);
  REQUIRE(lost.at("shown").size() == 24);
  CHECK(lost.at("shown")[0].at("png").get<std::string>().starts_with("iVBORw0KGgo"));
  const Json won = lost_images(digits.data, wrong, right);
  CHECK(won.at("lost") == 0);
  CHECK(won.at("won") == 50);
  CHECK(lost_images(digits.data, wrong, wrong).at("won") == 0);
}
