// A histogram with the levels that its numbers are put on, as a small drawing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace qgrad {

struct GridHistogram {
  struct Levels {
    double low, high, step;           // the mean distance where they are uneven
    std::vector<double> uneven = {};  // then all of them
  };
  std::string title, x_label, color;
  double low = 0, bin_width = 1;  // the first bin begins at `low`
  std::vector<int64_t> counts;
  std::optional<Levels> levels;
};

// 320 units wide. Heights are square roots of counts, so that the few numbers far from the middle can be seen. More
// levels than can be told apart are a band from the first to the last.
std::string svg(const GridHistogram& histogram);

}  // namespace qgrad
