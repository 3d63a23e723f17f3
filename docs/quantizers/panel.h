// One set of axes in a small SVG picture, readable on light and dark pages.
#pragma once

#include <string>
#include <vector>

namespace qgrad {

struct PanelPoint {
  double x, y;
};

// How a line is drawn, and what it is.
enum class PanelLine { plain, result, gradient, second, limit };

struct PanelCurve {
  PanelLine line;
  std::string label;  // empty: none
  std::vector<PanelPoint> points;
};

// Fits its vertical axis to the curves; what lies beyond the ends of the horizontal one is not to be given.
struct Panel {
  std::string title;
  double left, right;
  std::vector<PanelCurve> curves;
};

// Two panels in a row.
std::string panels_svg(const std::string& label, const std::vector<Panel>& panels);

}  // namespace qgrad
