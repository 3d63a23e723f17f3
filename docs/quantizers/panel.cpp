// Axes, curves and their labels.
#include "docs/quantizers/panel.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace qgrad {
namespace {

constexpr double kPanelWidth = 300, kPanelHeight = 190;
constexpr double kPlotLeft = 34, kPlotWidth = 246, kPlotTop = 38, kPlotHeight = 130;

constexpr const char* kPanelStyle =
    "text{font:11px system-ui,sans-serif;fill:#59636e}.t{font-weight:600}path{fill:none;stroke:#8c959f}"
    ".r{stroke:#0969da;stroke-width:1.6}.g{stroke:#1a7f37;stroke-width:1.6}"
    ".s{stroke:#bc4c00;stroke-width:1.6;stroke-dasharray:5 3}.l{stroke:#cf222e;stroke-dasharray:2 2}"
    "text.r{fill:#0969da;stroke:none}text.g{fill:#1a7f37;stroke:none}text.s{fill:#bc4c00;stroke:none}"
    "text.l{fill:#cf222e;stroke:none}@media(prefers-color-scheme:dark){text{fill:#9198a1}"
    ".r{stroke:#58a6ff}.g{stroke:#3fb950}.s{stroke:#f0883e}.l{stroke:#ff7b72}"
    "text.r{fill:#58a6ff}text.g{fill:#3fb950}text.s{fill:#f0883e}text.l{fill:#ff7b72}}";

const char* style_of(PanelLine line) {
  switch (line) {
    case PanelLine::plain:
      return "p";
    case PanelLine::result:
      return "r";
    case PanelLine::gradient:
      return "g";
    case PanelLine::second:
      return "s";
    case PanelLine::limit:
      return "l";
  }
  return "p";
}

// In tenths of a unit, so that equal places are equal numbers.
struct Place {
  double x, y;
};

double distance_from_line(const Place& place, const Place& from, const Place& to) {
  const double along_x = to.x - from.x, along_y = to.y - from.y,
               length = std::sqrt(along_x * along_x + along_y * along_y);
  if (length == 0) return std::fabs(place.x - from.x) + std::fabs(place.y - from.y);
  return std::fabs(along_x * (place.y - from.y) - along_y * (place.x - from.x)) / length;
}

// Those that are needed, so that no place is farther than that from the line (Douglas and Peucker 1973); appends all
// but the first.
void append_simplified(std::span<const Place> places, double farthest, std::vector<Place>& out) {
  size_t split = 0;
  for (size_t i = 1; i + 1 < places.size(); ++i) {
    const double distance = distance_from_line(places[i], places.front(), places.back());
    if (distance > farthest &&
        (split == 0 || distance > distance_from_line(places[split], places.front(), places.back())))
      split = i;
  }
  if (split == 0) return out.push_back(places.back());
  append_simplified(places.first(split + 1), farthest, out);
  append_simplified(places.subspan(split), farthest, out);
}

class PanelDrawing {
 public:
  PanelDrawing(const Panel& panel, double x, double y) : panel_(panel), x_(x + kPlotLeft), y_(y + kPlotTop) {
    for (const PanelCurve& curve : panel.curves)
      for (const PanelPoint& point : curve.points) {
        low_ = std::min(low_, point.y);
        high_ = std::max(high_, point.y);
      }
  }

  std::string drawn() const {
    std::string out;
    if (!panel_.title.empty())
      out = fmt::format("<text class=\"t\" x=\"{}\" y=\"{}\">{}</text>", x_, y_ - 22, panel_.title);
    const double zero = std::clamp(0.0, panel_.left, panel_.right);
    out += path(PanelLine::plain, {{panel_.left, 0}, {panel_.right, 0}}) +
           path(PanelLine::plain, {{zero, low_}, {zero, high_}});
    for (const double end : {panel_.left, panel_.right})
      out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.3g}</text>", at_x(end) / 10.0,
                         y_ + kPlotHeight + 13, end);
    for (const double end : {low_, high_})
      out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.2g}</text>", x_ - 4, at_y(end) / 10.0 + 4,
                         end);
    double label_x = x_;
    for (const PanelCurve& curve : panel_.curves) {
      out += path(curve.line, curve.points);
      if (curve.label.empty()) continue;
      out += fmt::format("<text class=\"{}\" x=\"{:.0f}\" y=\"{}\">{}</text>", style_of(curve.line), label_x, y_ - 7,
                         curve.label);
      label_x += 10 + 6.8 * static_cast<double>(curve.label.size());
    }
    return out + "\n";
  }

 private:
  double at_x(double x) const {
    return std::round(10 * (x_ + (x - panel_.left) / (panel_.right - panel_.left) * kPlotWidth));
  }
  double at_y(double y) const { return std::round(10 * (y_ + (high_ - y) / (high_ - low_) * kPlotHeight)); }

  std::string path(PanelLine line, const std::vector<PanelPoint>& points) const {
    constexpr double kFarthest = 2;
    std::vector<Place> places, drawn;
    for (const PanelPoint& point : points) places.push_back({at_x(point.x), at_y(point.y)});
    if (places.empty()) return "";
    drawn.push_back(places.front());
    append_simplified(places, kFarthest, drawn);
    std::string out;
    for (const Place& place : drawn) out += fmt::format("{}{} {}", out.empty() ? "M" : "L", place.x / 10, place.y / 10);
    return fmt::format("<path class=\"{}\" d=\"{}\"/>", style_of(line), out);
  }

  const Panel& panel_;
  double x_, y_;
  double low_ = 0, high_ = 0.001;
};

}  // namespace

std::string panels_svg(const std::string& label, const std::vector<Panel>& panels) {
  const size_t columns = std::min<size_t>(2, panels.size()), rows = (panels.size() + 1) / 2;
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"img\" "
      "aria-label=\"{}\">\n<style>{}</style>\n",
      static_cast<double>(columns) * kPanelWidth, static_cast<double>(rows) * kPanelHeight, label, kPanelStyle);
  for (size_t i = 0; i < panels.size(); ++i)
    out += PanelDrawing(panels[i], static_cast<double>(i % 2) * kPanelWidth, static_cast<double>(i / 2) * kPanelHeight)
               .drawn();
  return out + "</svg>\n";
}

}  // namespace qgrad
