// Pieces of SVG text that charts are made of.
#pragma once

#include <string>
#include <vector>

namespace qgrad {

// A drawing that stands alone, in a page or as a file, in light and dark. `label`: what is read aloud in its place.
std::string svg_drawing(double width, double height, const std::string& label, const std::string& content);

enum class Anchor { start, middle, end };
// `style`: a class of the drawing's own: "title", "legend", or "" for small and quiet text.
std::string svg_text(double x, double y, Anchor anchor, const std::string& text, const char* style = "");

struct SvgBox {
  double x, y, width, height;
};
// `hint`: what shows where the pointer rests; may be empty.
std::string svg_box(const SvgBox& box, const std::string& color, const std::string& hint);
std::string svg_mark(double x, double y, const std::string& color, const std::string& hint);

// Names of colors in lines between left and right, the first one centered at `top`.
struct LegendEntry {
  std::string label, color;
};
struct Legend {
  std::string content;
  double height = 0;
};
Legend svg_legend(const std::vector<LegendEntry>& entries, double left, double right, double top);

// Numbers at equal distances that people read easily, which enclose a range: steps are 1, 2 or 5 times a power of ten.
struct Ticks {
  double first, last, step;
  std::vector<double> all() const;
};
Ticks ticks_around(double low, double high);

}  // namespace qgrad
