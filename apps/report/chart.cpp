// Axes, lines and a legend.
#include "apps/report/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/table.h"

namespace qgrad {
namespace {

constexpr double kWidth = 640, kHeight = 320, kLeft = 56, kRight = 16, kTop = 34, kBottom = 44;
constexpr double kLegendLine = 18, kLetter = 6.2;  // a letter of the legend is about this wide

constexpr const char* kSvgStyle =
    "text { font: 11px system-ui, sans-serif; fill: var(--quiet, #5b6570) } "
    ".page { fill: var(--page, #fff) } .title { font-weight: 600; font-size: 14px; fill: var(--text, #1c2127) } "
    ".legend { font-size: 12px; fill: var(--text, #1c2127) } .grid { stroke: var(--line, #e3e7eb) }";

// From data to the drawing.
struct Axes {
  double x_min, x_max, y_min, y_max, y_tick;
  bool descending_x;

  double x(double value) const {
    const double pad = x_max > x_min ? 0.05 * (x_max - x_min) : 1;
    const double t = (value - x_min + pad) / (x_max - x_min + 2 * pad);
    return kLeft + (descending_x ? 1 - t : t) * (kWidth - kLeft - kRight);
  }
  double y(double value) const { return kTop + (y_max - value) / (y_max - y_min) * (kHeight - kTop - kBottom); }
};

Axes fit(const Chart& chart) {
  const auto [x_min, x_max] = std::ranges::minmax(chart.x_ticks);
  double low = 1e30, high = -1e30;
  for (const Series& s : chart.series)
    for (const Series::Point& p : s.points) low = std::min(low, p.y), high = std::max(high, p.y);
  const double step = std::pow(10, std::floor(std::log10(std::max(high - low, 1e-3))));
  const double tick = (high - low) / step > 5 ? 2 * step : (high - low) / step > 2 ? step : step / 2;
  low = std::floor(low / tick) * tick;
  return {x_min, x_max, low, std::max(std::ceil(high / tick) * tick, low + tick), tick, chart.descending_x};
}

std::string draw_grid(const Chart& chart, const Axes& axes) {
  std::string out;
  for (double y = axes.y_min; y < axes.y_max + axes.y_tick / 2; y += axes.y_tick)
    out += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
        "<text text-anchor=\"end\" x=\"{}\" y=\"{:.1f}\">{:g}</text>\n",
        kLeft, kWidth - kRight, axes.y(y), axes.y(y), kLeft - 6, axes.y(y) + 4, y);
  for (const double x : chart.x_ticks)
    out += fmt::format("<text text-anchor=\"middle\" x=\"{:.1f}\" y=\"{}\">{:g}</text>\n", axes.x(x),
                       kHeight - kBottom + 16, x);
  out += fmt::format("<text text-anchor=\"middle\" x=\"{}\" y=\"{}\">{}</text>\n", (kLeft + kWidth - kRight) / 2,
                     kHeight - 8, escape_html(chart.x_label));
  return out + fmt::format("<text transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                           (kTop + kHeight - kBottom) / 2, escape_html(chart.y_label));
}

std::string draw_line(const Series& s, const Axes& axes) {
  std::string path;
  for (const Series::Point& p : s.points)
    path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", axes.x(p.x), axes.y(p.y));
  std::string out = fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{} points=\"{}\"/>\n", s.color,
                                s.dashed ? " stroke-dasharray=\"5 4\"" : "", path);
  if (s.dashed) return out;
  for (const Series::Point& p : s.points)
    out += fmt::format("<circle r=\"3\" fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\"><title>{}{}{:.2f}</title></circle>\n",
                       s.color, axes.x(p.x), axes.y(p.y), escape_html(s.label), s.label.empty() ? "" : ": ", p.y);
  return out;
}

struct Legend {
  std::string text;
  double height = 0;
};
Legend draw_legend(const Chart& chart) {
  Legend l;
  double x = kLeft, y = kHeight + kLegendLine / 2;
  for (const Series& s : chart.series) {
    if (s.label.empty()) continue;
    const double width = 26 + kLetter * static_cast<double>(s.label.size());
    if (x > kLeft && x + width > kWidth - kRight) x = kLeft, y += kLegendLine;
    l.text += fmt::format(
        "<circle r=\"4\" fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>"
        "<text class=\"legend\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        s.color, x + 4, y - 4, x + 12, y, escape_html(s.label));
    x += width;
    l.height = y + kLegendLine / 2 - kHeight;
  }
  return l;
}

}  // namespace

std::string svg(const Chart& chart) {
  const Axes axes = fit(chart);
  const Legend below = draw_legend(chart);
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n"
      "<style>{}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n"
      "<text class=\"title\" x=\"{}\" y=\"18\">{}</text>\n",
      kWidth, kHeight + below.height, escape_html(chart.title), kSvgStyle, kLeft, escape_html(chart.title));
  out += draw_grid(chart, axes);
  for (const Series& s : chart.series) out += draw_line(s, axes);
  return out + below.text + "</svg>\n";
}

}  // namespace qgrad
