// Charts with axes, bars, and histograms with levels, as SVG.
#include <cmath>
#include <string>

#include "apps/report/bars.h"
#include "apps/report/chart.h"
#include "apps/report/grid_histogram.h"
#include "apps/report/svg.h"
#include "support/catch.h"

using namespace qgrad;

namespace {

size_t times(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

GridHistogram histogram_with(double step) {
  return {.title = "weights",
          .x_label = "value",
          .color = "#123456",
          .low = -2,
          .bin_width = 0.5,
          .counts = {0, 4, 16, 1},
          .levels = GridHistogram::Levels{-1, 1, step}};
}

}  // namespace

TEST_CASE("a chart is SVG that stands alone, whatever its labels hold") {
  const std::string text = svg(Chart{.name = "a",
                                     .title = "A < B & \"C\"",
                                     .x_label = "epoch",
                                     .y_label = "top-1 %",
                                     .x_ticks = {1, 2},
                                     .series = {{.label = "x<y", .color = "#123456", .points = {{1, 10}, {2, 20}}}}});
  CHECK_THAT(text, Contains("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  CHECK_THAT(text, Contains("role=\"img\" aria-label=\"A &lt; B &amp; &quot;C&quot;\""));
  CHECK_THAT(text, Contains(">x&lt;y</text>"));
  CHECK_THAT(text, Contains("stroke=\"#123456\""));
  CHECK(text.find("A < B") == std::string::npos);
}

TEST_CASE("a series without a line has marks alone, with the points' names, and a dashed one has a line alone") {
  Chart chart{.title = "t", .series = {{.label = "s", .color = "#123456", .points = {{1, 10, "first"}, {2, 20}}}}};
  chart.series[0].line = Series::Line::none;
  const std::string marks = svg(chart);
  CHECK(marks.find("<polyline") == std::string::npos);
  CHECK_THAT(marks, Contains("<title>first: 10</title>"));
  CHECK_THAT(marks, Contains("<title>s: 20</title>"));
  chart.series[0].line = Series::Line::dashed;
  const std::string line = svg(chart);
  CHECK_THAT(line, Contains("stroke-dasharray"));
  CHECK(line.find("<title>") == std::string::npos);
}

TEST_CASE("ticks are easy numbers around the data, for a range of nothing too") {
  CHECK(ticks_around(0, 4).all() == std::vector<double>{0, 1, 2, 3, 4});
  CHECK(ticks_around(-0.1, 0.3).all().front() == Approx(-0.1));
  CHECK(ticks_around(91.2, 99).all() == std::vector<double>{90, 92, 94, 96, 98, 100});
  for (const double same : {0.0, 5.0, -3e-5, 1e9}) {
    const std::vector<double> all = ticks_around(same, same).all();
    CHECK(all.size() >= 2);
    CHECK(all.size() < 20);
    const double rounding = 1e-9 * std::abs(same);
    CHECK(all.front() <= same + rounding);
    CHECK(all.back() >= same - rounding);
    CHECK(all.front() + all.back() == Approx(2 * same).margin(1e-6));  // in the middle
  }
}

TEST_CASE("bars begin at zero, to the left for what is below it, and a missing value has none") {
  const std::string text = svg(BarChart{.title = "lost",
                                        .value_label = "points",
                                        .series = {{"8 bits", "#111111"}, {"4 bits", "#222222"}},
                                        .groups = {{"conv1", {1, 4}}, {"fc", {std::nullopt, -1}}}});
  CHECK(times(text, "<rect fill=\"#111111\"") == 1);
  CHECK(times(text, "<rect fill=\"#222222\"") == 2);
  CHECK_THAT(text, Contains("<title>fc, 4 bits: -1</title>"));
  const auto place = [&](const std::string& of) {
    const size_t at = text.rfind("x=\"", text.find(of));
    return std::stod(text.substr(at + 3));
  };
  CHECK(place("<title>fc, 4 bits") < place("<title>conv1, 4 bits"));
}

TEST_CASE("levels that can be told apart are lines, others a band") {
  const std::string lines = svg(histogram_with(0.5)), band = svg(histogram_with(0.01));
  CHECK(times(lines.substr(lines.find("<path stroke=")), "M") == 5);
  CHECK(lines.find("fill-opacity") == std::string::npos);
  CHECK(band.find("<path stroke=") == std::string::npos);
  CHECK_THAT(band, Contains("fill-opacity"));
}

TEST_CASE("a histogram's axis holds its levels, and the heights are square roots of counts") {
  GridHistogram histogram = histogram_with(1);
  histogram.levels = GridHistogram::Levels{-4, 4, 2};
  const std::string text = svg(histogram);
  CHECK_THAT(text, Contains(">-4</text>"));
  CHECK_THAT(text, Contains(">4</text>"));
  const std::string path = text.substr(text.find("<path fill=\"#123456\""));
  CHECK_THAT(path, Contains("V92.0H"));  // nothing
  CHECK_THAT(path, Contains("V57.0H"));  // 4, half as high as 16
  CHECK_THAT(path, Contains("V22.0H"));  // 16
}
