// Branch and bound over the layers.
#include "quant/post_train/bit_allocation.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace qgrad {
namespace {

// The step from one choice of a layer to a larger one, of those that mixtures can not do better than.
struct Step {
  size_t layer;
  double size, gain;
  double rate() const { return gain / size; }
};

std::vector<Step> steps_of(const BitChoices& choices, size_t layer) {
  BitChoices hull;
  const auto rate = [](const BitChoice& from, const BitChoice& to) {
    return (from.cost - to.cost) / (to.size - from.size);
  };
  for (const BitChoice& c : choices) {
    while (hull.size() > 1 && rate(hull[hull.size() - 2], hull.back()) <= rate(hull.back(), c)) hull.pop_back();
    hull.push_back(c);
  }
  std::vector<Step> steps;
  for (size_t i = 1; i < hull.size(); ++i)
    steps.push_back({layer, hull[i].size - hull[i - 1].size, hull[i - 1].cost - hull[i].cost});
  return steps;
}

class Search {
 public:
  Search(std::vector<BitChoices> layers, double budget) : layers_(std::move(layers)), chosen_(layers_.size()) {
    smallest_.assign(layers_.size() + 1, {});
    for (size_t i = layers_.size(); i-- > 0;) {
      smallest_[i] = {{}, smallest_[i + 1].size + layers_[i][0].size, smallest_[i + 1].cost + layers_[i][0].cost};
      const std::vector<Step> steps = steps_of(layers_[i], i);
      steps_.insert(steps_.end(), steps.begin(), steps.end());
    }
    std::ranges::stable_sort(steps_, std::greater(), &Step::rate);
    check(smallest_[0].size <= budget, "bits under a budget: the smallest choices take {:g}, the budget is {:g}",
          smallest_[0].size, budget);
    best_.cost = std::numeric_limits<double>::infinity();
    visit(0, 0, 0, budget);
  }
  BitAllocation best() && { return std::move(best_); }

 private:
  // The least that the layers from `first` on can cost within `left`, mixtures allowed.
  double bound(size_t first, double left) const {
    double cost = smallest_[first].cost;
    left -= smallest_[first].size;
    for (const Step& step : steps_) {
      if (step.layer < first) continue;
      const double part = std::min(1.0, left / step.size);
      if (part <= 0) break;
      cost -= part * step.gain;
      left -= part * step.size;
    }
    return cost;
  }

  void visit(size_t layer, double size, double cost, double budget) {
    if (layer == layers_.size()) {
      if (cost < best_.cost) best_ = {chosen_, size, cost, best_.is_best};
      return;
    }
    if (++nodes_ > kMostNodes) {
      best_.is_best = false;
      return;
    }
    // The choices by what they leave possible, the most promising first.
    std::vector<std::pair<double, const BitChoice*>> order;
    for (const BitChoice& c : layers_[layer])
      if (size + c.size + smallest_[layer + 1].size <= budget)
        order.emplace_back(cost + c.cost + bound(layer + 1, budget - size - c.size), &c);
    std::ranges::stable_sort(order, {}, [](const auto& entry) { return entry.first; });
    for (const auto& [least, c] : order) {
      if (least >= best_.cost) break;
      chosen_[layer] = c->bits;
      visit(layer + 1, size + c->size, cost + c->cost, budget);
    }
  }

  std::vector<BitChoices> layers_;
  std::vector<BitChoice> smallest_;  // of all layers from one on: their sums
  std::vector<Step> steps_;
  std::vector<std::vector<int>> chosen_;
  BitAllocation best_;
  int nodes_ = 0;
};

}  // namespace

BitChoices worth_trying(BitChoices all) {
  std::ranges::stable_sort(
      all, [](const BitChoice& a, const BitChoice& b) { return a.size != b.size ? a.size < b.size : a.cost < b.cost; });
  BitChoices kept;
  for (BitChoice& c : all)
    if (kept.empty() || c.cost < kept.back().cost) kept.push_back(std::move(c));
  return kept;
}

BitAllocation allocate_bits(const std::vector<BitChoices>& decisions, double budget) {
  std::vector<BitChoices> sorted;
  for (const BitChoices& choices : decisions) {
    check(!choices.empty(), "bits under a budget: a layer has no choices");
    sorted.push_back(worth_trying(choices));
  }
  return Search(std::move(sorted), budget).best();
}

}  // namespace qgrad
