// Bars side by side as SVG text: one group for each name, one bar in it for each series.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/report/svg.h"

namespace qgrad {

struct BarChart {
  struct Group {
    std::string name;
    std::vector<std::optional<double>> values;  // in the order of the series; null: no bar
  };
  std::string title, value_label;
  std::vector<LegendEntry> series;
  std::vector<Group> groups;
};

// 640 units wide and as high as the groups need; values may be below zero.
std::string svg(const BarChart& chart);

}  // namespace qgrad
