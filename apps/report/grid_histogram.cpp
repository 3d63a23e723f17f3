// Bars as one path, levels as lines in front of them or a band behind.
#include "apps/report/grid_histogram.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/colors.h"
#include "apps/report/svg.h"

namespace qgrad {
namespace {

constexpr double kHistogramWidth = 320, kHistogramHeight = 132, kSide = 10, kHead = 22, kFoot = 92;
constexpr double kClosestLevels = 4;  // units between two lines

struct HistogramAxis {
  double low, high;
  double x(double value) const { return kSide + (value - low) / (high - low) * (kHistogramWidth - 2 * kSide); }
};

HistogramAxis axis_of(const GridHistogram& h) {
  HistogramAxis axis{h.low, h.low + h.bin_width * static_cast<double>(h.counts.size())};
  if (h.levels) axis = {std::min(axis.low, h.levels->low), std::max(axis.high, h.levels->high)};
  return axis;
}

std::string draw_counts(const GridHistogram& h, const HistogramAxis& axis) {
  if (h.counts.empty()) return "";
  const double most = std::sqrt(static_cast<double>(std::max<int64_t>(1, std::ranges::max(h.counts))));
  std::string path = fmt::format("M{:.1f},{}", axis.x(h.low), kFoot);
  for (size_t i = 0; i < h.counts.size(); ++i) {
    const double height = std::sqrt(static_cast<double>(h.counts[i])) / most * (kFoot - kHead);
    path += fmt::format("V{:.1f}H{:.1f}", kFoot - height, axis.x(h.low + h.bin_width * static_cast<double>(i + 1)));
  }
  return fmt::format("<path fill=\"{}\" d=\"{}V{}Z\"/>\n", h.color, path, kFoot);
}

bool can_be_told_apart(const GridHistogram::Levels& levels, const HistogramAxis& axis) {
  return axis.x(levels.low + levels.step) - axis.x(levels.low) >= kClosestLevels;
}

std::string draw_band(const GridHistogram::Levels& levels, const HistogramAxis& axis) {
  return fmt::format(
      "<rect fill=\"{0}\" fill-opacity=\".18\" stroke=\"{0}\" x=\"{1:.1f}\" y=\"{2}\" width=\"{3:.1f}\" "
      "height=\"{4}\"/>\n",
      kLevelsColor, axis.x(levels.low), kHead, axis.x(levels.high) - axis.x(levels.low), kFoot - kHead);
}

std::string draw_lines(const GridHistogram::Levels& levels, const HistogramAxis& axis) {
  std::vector<double> all = levels.uneven;
  const auto count = all.empty() ? std::lround((levels.high - levels.low) / levels.step) + 1 : 0;
  for (long i = 0; i < count; ++i) all.push_back(levels.low + static_cast<double>(i) * levels.step);
  std::string path;
  for (const double level : all) path += fmt::format("M{:.1f},{}V{}", axis.x(level), kHead, kFoot + 4);
  return fmt::format("<path stroke=\"{}\" d=\"{}\"/>\n", kLevelsColor, path);
}

}  // namespace

std::string svg(const GridHistogram& histogram) {
  const HistogramAxis axis = axis_of(histogram);
  const bool lines = histogram.levels && can_be_told_apart(*histogram.levels, axis);
  std::string content = svg_text(kSide, 14, Anchor::start, histogram.title, "legend");
  if (histogram.levels && !lines) content += draw_band(*histogram.levels, axis);
  content += draw_counts(histogram, axis);
  if (lines) content += draw_lines(*histogram.levels, axis);
  content += svg_text(kSide, kFoot + 17, Anchor::start, fmt::format("{:.3g}", axis.low));
  content += svg_text(kHistogramWidth - kSide, kFoot + 17, Anchor::end, fmt::format("{:.3g}", axis.high));
  if (axis.low < 0 && axis.high > 0) content += svg_text(axis.x(0), kFoot + 17, Anchor::middle, "0");
  content += svg_text(kHistogramWidth / 2, kFoot + 34, Anchor::middle, histogram.x_label);
  return svg_drawing(kHistogramWidth, kHistogramHeight, histogram.title + ": " + histogram.x_label, content);
}

}  // namespace qgrad
