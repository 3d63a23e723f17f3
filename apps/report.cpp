// Tables and charts of results.
#include "apps/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "apps/progress.h"

namespace qgrad {
namespace {

struct Kind {
  const char* id;
  const char* label;
  const char* color;
};
constexpr Kind kKinds[] = {{"float", "float", "#555f6b"},
                           {"post-train", "post-training", "#c2571a"},
                           {"quant-aware-train", "quantization-aware training", "#1d6fb8"}};

const Kind& kind_of(const Json& row) {
  for (const Kind& kind : kKinds)
    if (row.at("kind") == kind.id) return kind;
  return kKinds[0];
}

// The metrics of a row, in the order of their columns; the first is the score.
struct Metric {
  const char *key, *label;
  int digits;
};
std::vector<Metric> metrics_of(const Json& row) {
  if (row.contains("hit_rate_at_10")) return {{"hit_rate_at_10", "HR@10 %", 2}, {"ndcg_at_10", "NDCG@10 %", 2}};
  return {{"top1", "top-1 %", 2}, {"top5", "top-5 %", 2}, {"loss", "loss", 4}};
}
std::string metric_text(const Json& row, const Metric& metric) {
  return fmt::format("{:.{}f}", row.at(metric.key).get<double>(), metric.digits);
}
double score_of(const Json& row) { return row.at(metrics_of(row)[0].key).get<double>(); }

std::string escape(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '&')
      safe += "&amp;";
    else if (c == '"')
      safe += "&quot;";
    else
      safe += c;
  }
  return safe;
}

// The drop to the first float row, or NaN when there is none.
double drop_of(const Json& results, const Json& row) {
  for (const Json& r : results.at("rows"))
    if (r.at("kind") == "float") return score_of(row) - score_of(r);
  return std::nan("");
}

std::string drop_text(const Json& results, const Json& row) {
  const double drop = drop_of(results, row);
  return std::isnan(drop) || row.at("kind") == "float" ? "" : fmt::format("{:+.2f}", drop);
}

// --- SVG ---

struct Point {
  double x, y;
};
struct Series {
  std::string label, color;
  std::vector<Point> points;
  bool dashed = false;
};
struct Chart {
  std::string title, x_label, y_label;
  std::vector<double> x_ticks;
  std::vector<Series> series;
  bool descending_x = false;
};

// A line chart of 640 x 320 units with its y axis fitted to the data.
std::string svg(const Chart& chart) {
  constexpr double width = 640, height = 320, left = 56, right = 16, top = 34, bottom = 44;
  double x_min = chart.x_ticks.front(), x_max = x_min, y_min = 1e30, y_max = -1e30;
  for (const double t : chart.x_ticks) x_min = std::min(x_min, t), x_max = std::max(x_max, t);
  for (const Series& s : chart.series)
    for (const Point& p : s.points) y_min = std::min(y_min, p.y), y_max = std::max(y_max, p.y);
  const double step = std::pow(10, std::floor(std::log10(std::max(y_max - y_min, 1e-3))));
  const double tick = (y_max - y_min) / step > 5 ? 2 * step : (y_max - y_min) / step > 2 ? step : step / 2;
  y_min = std::floor(y_min / tick) * tick;
  y_max = std::max(std::ceil(y_max / tick) * tick, y_min + tick);
  const double x_pad = x_max > x_min ? 0.05 * (x_max - x_min) : 1;
  const auto px = [&](double x) {
    const double t = (x - x_min + x_pad) / (x_max - x_min + 2 * x_pad);
    return left + (chart.descending_x ? 1 - t : t) * (width - left - right);
  };
  const auto py = [&](double y) { return top + (y_max - y) / (y_max - y_min) * (height - top - bottom); };

  std::string out =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", width, height, escape(chart.title));
  out += fmt::format("<text class=\"title\" x=\"{}\" y=\"18\">{}</text>\n", left, escape(chart.title));
  for (double y = y_min; y < y_max + tick / 2; y += tick)
    out += fmt::format(
        "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text class=\"tick\" "
        "text-anchor=\"end\" x=\"{}\" y=\"{:.1f}\">{:g}</text>\n",
        left, width - right, py(y), py(y), left - 6, py(y) + 4, y);
  for (const double x : chart.x_ticks)
    out += fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{:.1f}\" y=\"{}\">{:g}</text>\n", px(x),
                       height - bottom + 16, x);
  out += fmt::format("<text class=\"tick\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">{}</text>\n",
                     (left + width - right) / 2, height - 8, escape(chart.x_label));
  out +=
      fmt::format("<text class=\"tick\" transform=\"translate(14 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                  (top + height - bottom) / 2, escape(chart.y_label));
  for (const Series& s : chart.series) {
    std::string path;
    for (const Point& p : s.points) path += fmt::format("{}{:.1f},{:.1f}", path.empty() ? "" : " ", px(p.x), py(p.y));
    out += fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{} points=\"{}\"/>\n", s.color,
                       s.dashed ? " stroke-dasharray=\"5 4\"" : "", path);
    if (!s.dashed)
      for (const Point& p : s.points)
        out += fmt::format(
            "<circle r=\"3.5\" fill=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\"><title>{}: {:.2f}</title></circle>\n", s.color,
            px(p.x), py(p.y), escape(s.label), p.y);
  }
  out += "</svg>\n<p class=\"legend\">";
  for (const Series& s : chart.series)
    out += fmt::format("<span style=\"color:{}\">&#9679; {}</span> ", s.color, escape(s.label));
  return out + "</p>\n";
}

// Accuracy over bits, for the rows of each kind that quantize weights and activations alike; the best row per width.
std::string accuracy_chart(const Json& results) {
  std::map<std::string, std::map<int, double>> best;
  std::map<int, bool> widths;
  const Json* float_row = nullptr;
  for (const Json& row : results.at("rows")) {
    if (row.at("kind") == "float") {
      float_row = &row;
      continue;
    }
    if (row.at("bits_weights").is_null() || row.at("bits_weights") != row.at("bits_activations")) continue;
    const int bits = row.at("bits_weights").get<int>();
    widths[bits] = true;
    auto& entry = best[row.at("kind").get<std::string>()].try_emplace(bits, -1.0).first->second;
    entry = std::max(entry, score_of(row));
  }
  if (widths.size() < 2) return "";
  const char* label = metrics_of(results.at("rows")[0])[0].label;
  Chart chart{fmt::format("{} by bits of weights and activations", label), "bits", label, {}, {}, true};
  for (const auto& [bits, seen] : widths) chart.x_ticks.push_back(bits);
  for (const Kind& kind : kKinds)
    if (const auto it = best.find(kind.id); it != best.end()) {
      Series series{kind.label, kind.color, {}};
      for (const auto& [bits, score] : it->second) series.points.push_back({static_cast<double>(bits), score});
      chart.series.push_back(std::move(series));
    }
  if (float_row) {
    const double y = score_of(*float_row);
    chart.series.push_back({"float", kKinds[0].color, {{chart.x_ticks.front(), y}, {chart.x_ticks.back(), y}}, true});
  }
  return svg(chart);
}

// The validation score by epoch of every row that was trained.
std::string training_chart(const Json& results) {
  constexpr const char* colors[] = {"#1d6fb8", "#c2571a", "#2e8b57", "#8a4fbf",
                                    "#b8860b", "#c03a6b", "#4d7c8a", "#7a5c3e"};
  const Metric score = metrics_of(results.at("rows")[0])[0];
  Chart chart{fmt::format("Training: validation {} by epoch", score.label), "epoch", score.label, {}, {}};
  size_t longest = 0;
  for (const Json& row : results.at("rows")) {
    if (!row.contains("epochs") || row.at("epochs").empty()) continue;
    const bool is_float = row.at("kind") == "float";
    Series series{row.at("name").get<std::string>(),
                  is_float ? kKinds[0].color : colors[chart.series.size() % std::size(colors)],
                  {}};
    for (const Json& e : row.at("epochs"))
      if (const Json validation = e.value("validation", Json()); !validation.is_null())
        series.points.push_back({e.at("epoch").get<double>(), score_of(validation)});
    if (series.points.empty()) continue;
    longest = std::max(longest, series.points.size());
    chart.series.push_back(std::move(series));
  }
  if (longest < 2) return "";
  const size_t step = std::max<size_t>(1, (longest + 9) / 10);
  for (size_t e = 1; e <= longest; e += step) chart.x_ticks.push_back(static_cast<double>(e));
  if (chart.x_ticks.back() < static_cast<double>(longest)) chart.x_ticks.push_back(static_cast<double>(longest));
  return svg(chart);
}

constexpr const char* kStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1c2127; }
h1 { font-size: 1.5rem; margin-bottom: 0 } .about { color: #5b6570; margin-top: .2rem }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0 }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid #e3e7eb; font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; border-bottom: 2px solid #b9c1c9 } th:first-child, td:first-child { text-align: left }
td.bar { min-width: 9rem; text-align: left } td.bar i { display: block; height: .8rem; border-radius: 2px }
svg { width: 100%; max-width: 46rem; margin-top: 1rem } .title { font-weight: 600; font-size: 14px } .tick { font-size: 11px; fill: #5b6570 }
.grid { stroke: #e3e7eb } .legend span { margin-right: 1rem } details { margin: 1.5rem 0 } pre { overflow-x: auto; background: #f5f7f9; padding: 1rem }
)";

std::string about(const Json& results) {
  const Json& data = results.at("dataset");
  const bool images = data.contains("test_images");
  return fmt::format("{} on {} ({} test {}), seed {}", results.at("model").at("class").get<std::string>(),
                     data.at("class").get<std::string>(), data.at(images ? "test_images" : "test_users").get<int64_t>(),
                     images ? "images" : "users", results.at("seed").get<uint64_t>());
}

}  // namespace

std::string bits_text(const Json& row) {
  const auto one = [&](const char* key) {
    return row.at(key).is_null() ? std::string("32") : std::to_string(row.at(key).get<int>());
  };
  return one("bits_weights") + "/" + one("bits_activations");
}

std::string bytes_text(double bytes) {
  if (bytes < 1000) return fmt::format("{:.0f} B", bytes);
  return bytes < 1e6 ? fmt::format("{:.1f} kB", bytes / 1e3) : fmt::format("{:.2f} MB", bytes / 1e6);
}

ProgramTexts program_texts(const Json& row) {
  if (!row.contains("program") || !row.at("program").contains("top1")) return {};
  const Json& program = row.at("program");
  const auto number = [&](const char* key, int digits) {
    return fmt::format("{:.{}f}", program.at(key).get<double>(), digits);
  };
  return {number("top1", 2), number("images_per_second", 0), number("simulated_images_per_second", 0),
          bytes_text(program.at("bytes").get<double>())};
}

std::string results_table(const Json& results) {
  size_t width = 4;
  for (const Json& row : results.at("rows")) width = std::max(width, row.at("name").get<std::string>().size());
  std::string out = fmt::format("{}: {}\n\n", results.at("name").get<std::string>(), about(results));
  const auto metrics = metrics_of(results.at("rows")[0]);
  const auto line = [&](const std::string& name, const std::string& bits, const auto& metric, const std::string& drop,
                        const std::string& bytes, const std::string& time, const ProgramTexts& program) {
    out += fmt::format("{:<{}}  {:>5}", name, width, bits);
    for (size_t i = 0; i < metrics.size(); ++i) {
      out += fmt::format("  {:>9}", metric(metrics[i]));
      if (i == 0) out += fmt::format("  {:>7}", drop);
    }
    out += fmt::format("  {:>9}  {:>12}  {:>8}  {:>8}  {:>9}  {:>9}\n", bytes, time, program.top1, program.speed,
                       program.simulated_speed, program.bytes);
  };
  line(
      "row", "W/A", [](const Metric& m) { return std::string(m.label); }, "drop", "weights", "time",
      ProgramTexts{"engine %", "images/s", "simulated", "program"});
  for (const Json& row : results.at("rows"))
    line(
        row.at("name").get<std::string>(), bits_text(row), [&](const Metric& m) { return metric_text(row, m); },
        drop_text(results, row), bytes_text(row.at("model_bytes").get<double>()),
        format_duration(row.at("seconds").get<double>()), program_texts(row));
  return out;
}

std::string results_html(const Json& results) {
  std::string rows;
  const auto metrics = metrics_of(results.at("rows")[0]);
  std::string headings;
  for (size_t i = 0; i < metrics.size(); ++i)
    headings += fmt::format("<th>{}</th>{}", metrics[i].label, i == 0 ? "<th></th><th>drop</th>" : "");
  for (const Json& row : results.at("rows")) {
    rows += fmt::format("<tr><td>{}</td><td>{}</td>", escape(row.at("name").get<std::string>()), bits_text(row));
    for (size_t i = 0; i < metrics.size(); ++i) {
      rows += fmt::format("<td>{}</td>", metric_text(row, metrics[i]));
      if (i == 0)
        rows += fmt::format("<td class=\"bar\"><i style=\"width:{:.1f}%;background:{}\"></i></td><td>{}</td>",
                            score_of(row), kind_of(row).color, drop_text(results, row));
    }
    const ProgramTexts program = program_texts(row);
    rows +=
        fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    bytes_text(row.at("model_bytes").get<double>()), format_duration(row.at("seconds").get<double>()),
                    program.top1, program.speed, program.simulated_speed, program.bytes);
  }
  const std::string name = escape(results.at("name").get<std::string>());
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title><style>{1}</style></head><body>
<h1>{0}</h1>
<p class="about">{2}</p>
<table><tr><th>row</th><th>W/A bits</th>{7}<th>weights</th><th>time</th><th>engine %</th><th>images/s</th><th>simulated</th><th>program</th></tr>
{3}</table>
{4}{5}<details><summary>results.json</summary><pre>{6}</pre></details>
</body></html>
)",
                     name, kStyle, escape(about(results)), rows, accuracy_chart(results), training_chart(results),
                     escape(results.dump(2)), headings);
}

}  // namespace qgrad
