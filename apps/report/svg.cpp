// Tags and numbers of SVG.
#include "apps/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/report/table.h"

namespace qgrad {
namespace {

constexpr double kLegendLine = 18, kLetter = 6.4;  // a letter of the legend is about this wide

constexpr const char* kSvgStyle =
    "text { font: 11px system-ui, sans-serif; fill: var(--quiet, #5b6570) } "
    ".page { fill: var(--page, #fff) } .title { font-weight: 600; font-size: 14px; fill: var(--text, #1c2127) } "
    ".legend { font-size: 12px; fill: var(--text, #1c2127) } .grid { stroke: var(--line, #e3e7eb) }";

std::string hint_tag(const std::string& hint) {
  return hint.empty() ? "" : fmt::format("<title>{}</title>", escape_html(hint));
}

size_t letters_of(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string svg_drawing(double width, double height, const std::string& label, const std::string& content) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:g} {:g}\" role=\"img\" aria-label=\"{}\">\n"
      "<style>{}</style>\n<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n{}</svg>\n",
      width, height, escape_html(label), kSvgStyle, content);
}

std::string svg_text(double x, double y, Anchor anchor, const std::string& text, const char* style) {
  constexpr const char* kAnchors[] = {"start", "middle", "end"};
  const std::string of_style = *style ? fmt::format(" class=\"{}\"", style) : "";
  return fmt::format("<text{} text-anchor=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", of_style,
                     kAnchors[static_cast<int>(anchor)], x, y, escape_html(text));
}

std::string svg_box(const SvgBox& box, const std::string& color, const std::string& hint) {
  return fmt::format("<rect fill=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">{}</rect>\n",
                     color, box.x, box.y, box.width, box.height, hint_tag(hint));
}

std::string svg_mark(double x, double y, const std::string& color, const std::string& hint) {
  return fmt::format("<circle r=\"3\" fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\">{}</circle>\n", color, x, y,
                     hint_tag(hint));
}

Legend svg_legend(const std::vector<LegendEntry>& entries, double left, double right, double top) {
  Legend legend;
  double x = left, y = top + kLegendLine / 2;
  for (const LegendEntry& entry : entries) {
    const double width = 26 + kLetter * static_cast<double>(letters_of(entry.label));
    if (x > left && x + width > right) x = left, y += kLegendLine;
    legend.content +=
        fmt::format("<circle r=\"4\" fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\"/>", entry.color, x + 4, y - 4);
    legend.content += svg_text(x + 12, y, Anchor::start, entry.label, "legend");
    x += width;
    legend.height = y + kLegendLine / 2 - top;
  }
  return legend;
}

std::vector<double> Ticks::all() const {
  std::vector<double> values;
  const auto count = static_cast<int>(std::lround((last - first) / step));
  for (int i = 0; i <= count; ++i) values.push_back(std::abs(first + i * step) < step / 1e6 ? 0 : first + i * step);
  return values;
}

Ticks ticks_around(double low, double high) {
  double span = high - low;
  if (!(span > 1e-9 * std::max(std::abs(low), std::abs(high)))) {  // one number, which gets the middle
    span = high == 0 ? 1 : std::abs(high) / 10;
    low -= span / 2, high += span / 2;
  }
  const double power = std::pow(10, std::floor(std::log10(span)));
  const double step = span / power > 5 ? 2 * power : span / power > 2 ? power : power / 2;
  const double first = std::floor(low / step + 1e-9) * step;
  return {first, std::max(std::ceil(high / step - 1e-9) * step, first + step), step};
}

}  // namespace qgrad
