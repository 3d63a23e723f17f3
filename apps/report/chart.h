// Charts with two axes as SVG text that stands alone: in a page, or as a file that a document shows.
#pragma once

#include <string>
#include <vector>

namespace qgrad {

struct Series {
  struct Point {
    double x, y;
    std::string name = "";  // for who points at it; empty: the series'
  };
  enum class Line { solid, dashed, none };  // a dashed one has no marks, and without a line there are only marks
  std::string label;                        // empty: not in the legend
  std::string color;
  std::vector<Point> points;
  Line line = Line::solid;
};

struct Chart {
  std::string name;  // of its file, without an ending
  std::string title, x_label, y_label;
  std::vector<double> x_ticks;  // empty: fitted to the data
  std::vector<Series> series;
  bool descending_x = false;
};

// 640 units wide, with its y axis fitted to the data and a legend below.
std::string svg(const Chart& chart);

}  // namespace qgrad
