// Bits for each layer under a budget: the multiple-choice knapsack, solved exactly.
#pragma once

#include <vector>

namespace qgrad {

struct BitChoice {
  int bits = 0;
  double size = 0;  // of what the budget is of
  double cost = 0;  // what it hurts; costs of layers add up
};

struct BitAllocation {
  std::vector<int> bits;  // of each layer
  double size = 0, cost = 0;
  bool is_best = true;  // false: the search was ended after kMostNodes, and there may be a better one
};

inline constexpr int kMostNodes = 2'000'000;

// Of the choices, one for each layer, those with the least cost within the budget: branch and bound, the bound being
// that of the relaxation, in which the last choice may be a mixture of two (Sinha and Zoltners, "The Multiple-Choice
// Knapsack Problem", 1979). Throws where even the smallest choices are beyond the budget, and where a layer has none.
BitAllocation allocate_bits(const std::vector<std::vector<BitChoice>>& layers, double budget);

}  // namespace qgrad
