// Axes, lines and a legend.
#include "apps/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/svg.h"
#include "apps/report/table.h"

namespace qgrad {
namespace {

constexpr double kWidth = 640, kHeight = 320, kLeft = 56, kRight = 16, kTop = 34, kBottom = 44;

// From data to the drawing.
struct Axes {
  std::vector<double> x_ticks, y_ticks;
  bool descending_x;

  double x(double value) const {
    const double low = x_ticks.front(), high = x_ticks.back();
    const double pad = high > low ? 0.05 * (high - low) : 1;
    const double t = (value - low + pad) / (high - low + 2 * pad);
    return kLeft + (descending_x ? 1 - t : t) * (kWidth - kLeft - kRight);
  }
  double y(double value) const {
    const double low = y_ticks.front(), high = y_ticks.back();
    return kTop + (high - value) / (high - low) * (kHeight - kTop - kBottom);
  }
};

std::vector<double> fitted(const Chart& chart, double Series::Point::*coordinate) {
  double low = 1e300, high = -1e300;
  for (const Series& s : chart.series)
    for (const Series::Point& p : s.points) low = std::min(low, p.*coordinate), high = std::max(high, p.*coordinate);
  return low <= high ? ticks_around(low, high).all() : std::vector<double>{0, 1};
}

Axes fit(const Chart& chart) {
  return {chart.x_ticks.empty() ? fitted(chart, &Series::Point::x) : chart.x_ticks, fitted(chart, &Series::Point::y),
          chart.descending_x};
}

std::string draw_grid(const Chart& chart, const Axes& axes) {
  std::string out;
  for (const double y : axes.y_ticks) {
    out += fmt::format("<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", kLeft, kWidth - kRight,
                       axes.y(y), axes.y(y));
    out += svg_text(kLeft - 6, axes.y(y) + 4, Anchor::end, fmt::format("{:g}", y));
  }
  for (const double x : axes.x_ticks)
    out += svg_text(axes.x(x), kHeight - kBottom + 16, Anchor::middle, fmt::format("{:g}", x));
  out += svg_text((kLeft + kWidth - kRight) / 2, kHeight - 8, Anchor::middle, chart.x_label);
  return out + fmt::format("<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                           (kTop + kHeight - kBottom) / 2, escape_html(chart.y_label));
}

std::string hint_of(const Series& s, const Series::Point& p) {
  const std::string& name = p.name.empty() ? s.label : p.name;
  return fmt::format("{}{}{:.6g}", name, name.empty() ? "" : ": ", p.y);
}

std::string draw_series(const Series& s, const Axes& axes) {
  std::string path, marks;
  for (const Series::Point& p : s.points) {
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", axes.x(p.x), axes.y(p.y));
    marks += svg_mark(axes.x(p.x), axes.y(p.y), s.color, hint_of(s, p));
  }
  if (s.line == Series::Line::none) return marks;
  const bool dashed = s.line == Series::Line::dashed;
  return fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{} points=\"{}\"/>\n", s.color,
                     dashed ? " stroke-dasharray=\"5 4\"" : "", path) +
         (dashed ? "" : marks);
}

std::vector<LegendEntry> legend_of(const Chart& chart) {
  std::vector<LegendEntry> entries;
  for (const Series& s : chart.series)
    if (!s.label.empty()) entries.push_back({s.label, s.color});
  return entries;
}

}  // namespace

std::string svg(const Chart& chart) {
  const Axes axes = fit(chart);
  const Legend legend = svg_legend(legend_of(chart), kLeft, kWidth - kRight, kHeight);
  std::string content = svg_text(kLeft, 18, Anchor::start, chart.title, "title") + draw_grid(chart, axes);
  for (const Series& s : chart.series) content += draw_series(s, axes);
  return svg_drawing(kWidth, kHeight + legend.height, chart.title, content + legend.content);
}

}  // namespace qgrad
