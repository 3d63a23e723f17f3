// Bits for each layer under a budget: the multiple-choice knapsack, solved exactly.
#pragma once

#include <vector>

namespace qgrad {

// One way to settle what is decided together: a layer's weights, say, or what it gives and the weights that read it.
struct BitChoice {
  std::vector<int> bits;  // of each part
  double size = 0;        // of what the budget is of
  double cost = 0;        // what it hurts; costs add up
};
using BitChoices = std::vector<BitChoice>;

struct BitAllocation {
  std::vector<std::vector<int>> bits;  // of the choice made for each decision
  double size = 0, cost = 0;
  bool is_best = true;  // false: the search was ended after kMostNodes, and there may be a better one
};

inline constexpr int kMostNodes = 2'000'000;

// Of the choices, one for each decision, those with the least cost within the budget: branch and bound, the bound being
// that of the relaxation, in which the last choice may be a mixture of two (Sinha and Zoltners, "The Multiple-Choice
// Knapsack Problem", 1979). Throws where even the smallest choices are beyond the budget, and where there are none.
BitAllocation allocate_bits(const std::vector<BitChoices>& decisions, double budget);

// By size; none that costs as much as a smaller one.
BitChoices worth_trying(BitChoices all);

}  // namespace qgrad
