// Negatives, ranks and metrics of recommenders.
#include "tasks/recommendation.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "core/ops.h"
#include "support/catch.h"
#include "support/values.h"

using namespace qgrad;

namespace {

using Part = Task::Part;

RankingData small_data() {
  return {{{{"class", "synthetic_ratings"}, {"users", 40}, {"items", 250}, {"interactions", 800}}, "", "dataset"},
          /*seed=*/3,
          std::nullopt};
}

// Scores by a function of user and item.
class Scores final : public Module {
 public:
  explicit Scores(std::function<float(int64_t, int32_t)> of) : of_(std::move(of)) {}
  std::string_view kind() const override { return "Scores"; }

 protected:
  Tensor forward(Inputs x) override {
    Tensor y = Tensor::empty({x[0].numel(), 1});
    for (size_t i = 0; i < x[0].data().size(); ++i)
      y.mutable_data()[i] = of_(static_cast<int64_t>(x[0].data()[i]), static_cast<int32_t>(x[1].data()[i]));
    return y;
  }

 private:
  std::function<float(int64_t, int32_t)> of_;
};

}  // namespace

TEST_CASE("a hit is a rank among the first ten, and counts for more the higher it is") {
  RankingMetrics metrics;
  for (const int64_t rank : {0, 9, 10, 99}) metrics.add(rank, 0);
  CHECK(metrics.hit_rate() == Approx(50));
  CHECK(metrics.ndcg() == Approx(100 * (1 + 1 / std::log2(11.0)) / 4));
}

TEST_CASE("items of equal scores are taken in every order alike") {
  RankingMetrics metrics;
  metrics.add(8, 3);  // ranks 8 to 11
  CHECK(metrics.hit_rate() == Approx(50));
  CHECK(metrics.ndcg() == Approx(25 * (1 / std::log2(10.0) + 1 / std::log2(11.0))));
}

TEST_CASE("held-out items are ranked among distinct items that are new to the user, the same ones every time") {
  const RankingData data = small_data();
  for (const Part part : {Part::validation, Part::test})
    for (int64_t user = 0; user < 40; ++user) {
      const std::vector<int32_t> ranked = data.candidates(part, user);
      REQUIRE(ranked.size() == 100);
      CHECK(std::set<int32_t>(ranked.begin(), ranked.end()).size() == 100);
      CHECK(data.candidates(part, user) == ranked);
      const int32_t other = data.candidates(part == Part::test ? Part::validation : Part::test, user)[0];
      CHECK(std::ranges::count(ranked, other) == 0);
    }
}

TEST_CASE("who knows what is held out hits always, who says always the same hits like chance, broken scores never do") {
  const RankingData data = small_data();
  const auto hit_rate = [&](const std::function<float(int64_t, int32_t)>& score) {
    Scores model(score);
    return data.evaluate(model, Part::test, "").at("hit_rate_at_10").get<double>();
  };
  CHECK(hit_rate([&](int64_t user, int32_t item) { return data.candidates(Part::test, user)[0] == item ? 1.0f : 0; }) ==
        100);
  CHECK(hit_rate([](int64_t, int32_t) { return 1.0f; }) == Approx(10));
  CHECK(hit_rate([](int64_t, int32_t) { return std::numeric_limits<float>::quiet_NaN(); }) == 0);
}

TEST_CASE("an epoch has every training interaction once, with four items that the user has not trained on") {
  const RankingData data = small_data();
  const RankingData::Samples samples = data.epoch(2, 5);
  REQUIRE(std::ssize(samples.labels) == data.training_examples());
  std::set<std::pair<int32_t, int32_t>> known;
  std::map<int32_t, int> surplus;  // negatives less four times positives, by user
  for (size_t i = 0; i < samples.labels.size(); ++i) {
    if (samples.labels[i]) CHECK(known.emplace(samples.users[i], samples.items[i]).second);
    surplus[samples.users[i]] += samples.labels[i] ? -4 : 1;
  }
  for (size_t i = 0; i < samples.labels.size(); ++i)
    if (!samples.labels[i]) CHECK_FALSE(known.contains({samples.users[i], samples.items[i]}));
  for (const auto& [user, count] : surplus) CHECK(count == 0);
  for (int64_t user = 0; user < 40; ++user)
    for (const Part part : {Part::validation, Part::test})
      CHECK_FALSE(known.contains({static_cast<int32_t>(user), data.candidates(part, user)[0]}));
  CHECK(data.epoch(2, 5).items == samples.items);
  CHECK_FALSE(data.epoch(3, 5).items == samples.items);
  CHECK_FALSE(data.epoch(2, 6).items == samples.items);
}

TEST_CASE("an epoch goes on at any batch") {
  const RankingData data = small_data();
  const auto batches = data.training(64, std::nullopt);
  batches->start_epoch(1, 0);
  batches->next();
  const auto second = batches->next();
  batches->start_epoch(1, 1);
  const auto again = batches->next();
  CHECK(again->labels == second->labels);
  for (const size_t i : {0, 1}) CHECK(test::bits(again->inputs[i]) == test::bits(second->inputs[i]));
  batches->start_epoch(1, batches->count());
  CHECK_FALSE(batches->next().has_value());
}

TEST_CASE("batches are an epoch's samples in order, and the loss is that of a sigmoid") {
  const RankingData data = small_data();
  const auto batches = data.training(64, std::nullopt);
  batches->start_epoch(1, 0);
  const RankingData::Samples samples = data.epoch(1, 3);
  int64_t count = 0;
  while (const auto batch = batches->next()) {
    for (size_t i = 0; i < 64; ++i) {
      const size_t at = static_cast<size_t>(count) * 64 + i;
      CHECK(batch->inputs[0].data()[i] == static_cast<float>(samples.users[at]));
      CHECK(batch->inputs[1].data()[i] == static_cast<float>(samples.items[at]));
      CHECK(batch->labels[i] == samples.labels[at]);
    }
    ++count;
  }
  CHECK(count == batches->count());

  const Tensor z = Tensor::from({2, 1}, std::vector<float>{1.5f, -0.5f});
  const int32_t labels[] = {1, 0};
  const double expected = (std::log1p(std::exp(-1.5)) + std::log1p(std::exp(-0.5))) / 2;
  CHECK(softmax_cross_entropy(data.logits(z), labels).item() == Approx(expected));
}
