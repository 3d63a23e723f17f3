// Horizontal bars, names at their left.
#include "apps/report/bars.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace qgrad {
namespace {

constexpr double kBarsWidth = 640, kNames = 196, kMargin = 48, kTitle = 34, kBar = 12, kGap = 8, kScale = 40;
constexpr size_t kLongestName = 31;

std::string shortened(const std::string& name) {
  return name.size() <= kLongestName ? name : "..." + name.substr(name.size() - kLongestName + 3);
}

Ticks scale_of(const BarChart& chart) {
  double low = 0, high = 0;
  for (const BarChart::Group& group : chart.groups)
    for (const auto& value : group.values)
      if (value) low = std::min(low, *value), high = std::max(high, *value);
  return ticks_around(low, high);
}

struct BarAxis {
  Ticks ticks;
  double x(double value) const {
    return kNames + (value - ticks.first) / (ticks.last - ticks.first) * (kBarsWidth - kNames - kMargin);
  }
};

std::string draw_bar(const BarAxis& axis, double y, double value, const std::string& color, const std::string& hint) {
  const double zero = axis.x(0), end = axis.x(value);
  return svg_box({std::min(zero, end), y, std::max(std::abs(end - zero), 0.5), kBar - 1}, color,
                 fmt::format("{}: {:.4g}", hint, value)) +
         svg_text(std::max(zero, end) + 4, y + kBar - 2, Anchor::start, fmt::format("{:.3g}", value));
}

double height_of(const BarChart& chart) { return kGap + kBar * static_cast<double>(chart.series.size()); }

std::string draw_group(const BarChart& chart, const BarChart::Group& group, const BarAxis& axis, double top) {
  std::string out = svg_text(kNames - 8, top + (height_of(chart) - kGap) / 2 + 4, Anchor::end, shortened(group.name));
  for (size_t i = 0; i < group.values.size(); ++i)
    if (group.values[i])
      out += draw_bar(axis, top + kBar * static_cast<double>(i), *group.values[i], chart.series[i].color,
                      group.name + (chart.series[i].label.empty() ? "" : ", " + chart.series[i].label));
  return out;
}

std::string draw_scale(const BarChart& chart, const BarAxis& axis, double bottom) {
  std::string out;
  for (const double value : axis.ticks.all()) {
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>", axis.x(value),
                       kTitle - 6, bottom);
    out += svg_text(axis.x(value), bottom + 14, Anchor::middle, fmt::format("{:g}", value));
  }
  return out + svg_text((kNames + kBarsWidth - kMargin) / 2, bottom + 32, Anchor::middle, chart.value_label);
}

}  // namespace

std::string svg(const BarChart& chart) {
  const BarAxis axis{scale_of(chart)};
  const double bottom = kTitle + height_of(chart) * static_cast<double>(chart.groups.size());
  std::string content = svg_text(8, 18, Anchor::start, chart.title, "title") + draw_scale(chart, axis, bottom);
  double top = kTitle;
  for (const BarChart::Group& group : chart.groups) {
    content += draw_group(chart, group, axis, top);
    top += height_of(chart);
  }
  std::vector<LegendEntry> named = chart.series;
  std::erase_if(named, [](const LegendEntry& entry) { return entry.label.empty(); });
  const Legend legend = svg_legend(named, kNames, kBarsWidth - kMargin, bottom + kScale);
  return svg_drawing(kBarsWidth, bottom + kScale + legend.height, chart.title, content + legend.content);
}

}  // namespace qgrad
