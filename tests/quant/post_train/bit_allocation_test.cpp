// The knapsack against trying everything.
#include "quant/post_train/bit_allocation.h"

#include <cmath>
#include <limits>

#include "core/random.h"
#include "support/catch.h"
#include "support/errors.h"

using namespace qgrad;

namespace {

double least_cost(const std::vector<BitChoices>& layers, double budget, size_t layer = 0) {
  if (layer == layers.size()) return 0;
  double least = std::numeric_limits<double>::infinity();
  for (const BitChoice& c : layers[layer])
    if (c.size <= budget) least = std::min(least, c.cost + least_cost(layers, budget - c.size, layer + 1));
  return least;
}

std::vector<BitChoices> random_layers(uint64_t seed, size_t count) {
  RandomStream random(seed, "bits");
  std::vector<BitChoices> layers(count);
  for (auto& choices : layers) {
    const double weights = 1 + random.below(1000), harm = std::exp(4 * random.normal());
    for (const int bits : {2, 3, 4, 6, 8})
      choices.push_back({{bits}, weights * bits, harm * std::exp2(-2.0 * bits) * (0.5 + random.uniform())});
  }
  return layers;
}

double smallest(const std::vector<BitChoices>& layers, int bits) {
  double size = 0;
  for (const auto& choices : layers) size += choices[0].size / 2 * bits;
  return size;
}

}  // namespace

TEST_CASE("bits under a budget cost no more than any other choice") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const auto layers = random_layers(seed, 6);
    for (const double mean : {2.0, 2.5, 3.7, 4.0, 6.1, 8.0}) {
      const double budget = smallest(layers, 1) * mean;
      const BitAllocation found = allocate_bits(layers, budget);
      CAPTURE(seed, mean);
      CHECK(found.is_best);
      CHECK(found.size <= budget);
      CHECK(found.cost == Approx(least_cost(layers, budget)));
      CHECK(found.bits.size() == layers.size());
    }
  }
}

TEST_CASE("choices that cost as much as a smaller one are not tried") {
  const BitChoices kept = worth_trying({{{8}, 40, 1}, {{2}, 10, 3}, {{4}, 20, 1}, {{3}, 20, 2}});
  REQUIRE(kept.size() == 2);
  CHECK(kept[0].bits == std::vector<int>{2});
  CHECK(kept[1].bits == std::vector<int>{4});
}

TEST_CASE("bits of a hundred layers are found, and cost no more than as many everywhere") {
  const auto layers = random_layers(5, 100);
  const double budget = smallest(layers, 4);
  const BitAllocation found = allocate_bits(layers, budget);
  double uniform = 0;
  for (const auto& choices : layers) uniform += choices[2].cost;
  CHECK(found.size <= budget);
  CHECK(found.cost < uniform);
}

TEST_CASE("a budget below the smallest choices is refused with both figures") {
  const std::vector<BitChoices> layers{{{{2}, 20, 1}, {{4}, 40, 0.5}}, {{{2}, 10, 1}}};
  CHECK(allocate_bits(layers, 30).bits == std::vector<std::vector<int>>{{2}, {2}});
  CHECK_THAT(test::error_of([&] { allocate_bits(layers, 29); }), Contains("take 30") && Contains("is 29"));
  CHECK_THAT(test::error_of([] { allocate_bits({BitChoices{}}, 1); }), Contains("no choices"));
}
