// The table and the page.
#include "apps/report/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "apps/report/results.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

constexpr const char* kPageStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; color: #1c2127; }
h1 { font-size: 1.5rem; margin-bottom: 0 } .about { color: #5b6570; margin-top: .2rem }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0 }
th, td { padding: .35rem .5rem; text-align: right; border-bottom: 1px solid #e3e7eb; font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; border-bottom: 2px solid #b9c1c9 } th:first-child, td:first-child { text-align: left; white-space: normal }
td.bar { min-width: 4rem; text-align: left } td.bar i { display: block; height: .8rem; border-radius: 2px }
.legend { color: #5b6570 } .legend i { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem }
svg { display: block; width: 100%; max-width: 46rem; margin-top: 1rem } details { margin: 1.5rem 0 } pre { overflow-x: auto; background: #f5f7f9; padding: 1rem }
)";

std::string about(const Json& results) {
  const Json& data = results.at("dataset");
  const bool images = data.contains("test_images");
  return fmt::format("{} on {} ({} test {}), seed {}", results.at("model").at("class").get<std::string>(),
                     data.at("class").get<std::string>(), data.at(images ? "test_images" : "test_users").get<int64_t>(),
                     images ? "images" : "users", results.at("seed").get<uint64_t>());
}

struct Column {
  std::string heading;
  std::function<std::string(const Json& row)> text;
};

constexpr size_t kScoreColumn = 2;

std::vector<Column> columns_of(const Json& results) {
  std::vector<Column> columns{{"row", [](const Json& row) { return row.at("name").get<std::string>(); }},
                              {"W/A", bits_text}};
  for (const Metric& metric : metrics_of(results.at("rows")[0])) {
    columns.push_back({metric.label, [metric](const Json& row) { return metric_text(row, metric); }});
    if (columns.size() == kScoreColumn + 1)
      columns.push_back({"change", [&results](const Json& row) { return change_text(results, row); }});
  }
  columns.push_back({"weights", [](const Json& row) { return bytes_text(row.at("model_bytes").get<double>()); }});
  columns.push_back({"time", [](const Json& row) { return format_duration(row.at("seconds").get<double>()); }});
  columns.push_back({"engine %", [](const Json& row) { return program_texts(row).top1; }});
  columns.push_back({"images/s", [](const Json& row) { return program_texts(row).speed; }});
  columns.push_back({"simulated", [](const Json& row) { return program_texts(row).simulated_speed; }});
  columns.push_back({"program", [](const Json& row) { return program_texts(row).bytes; }});
  return columns;
}

}  // namespace

std::string results_table(const Json& results) {
  const std::vector<Column> columns = columns_of(results);
  std::vector<std::string> lines(results.at("rows").size() + 1);
  for (size_t c = 0; c < columns.size(); ++c) {
    std::vector<std::string> cells{columns[c].heading};
    for (const Json& row : results.at("rows")) cells.push_back(columns[c].text(row));
    size_t width = 0;
    for (const std::string& cell : cells) width = std::max(width, cell.size());
    for (size_t i = 0; i < cells.size(); ++i)
      lines[i] += c == 0 ? fmt::format("{:<{}}", cells[i], width) : fmt::format("  {:>{}}", cells[i], width);
  }
  return fmt::format("{}: {}\n\n{}\n", results.at("name").get<std::string>(), about(results), fmt::join(lines, "\n"));
}

std::string results_html(const Json& results) {
  const std::vector<Column> columns = columns_of(results);
  std::string table = "<tr>";
  for (size_t c = 0; c < columns.size(); ++c)
    table += fmt::format("<th>{}</th>{}", columns[c].heading, c == kScoreColumn ? "<th></th>" : "");
  for (const Json& row : results.at("rows")) {
    table += "</tr>\n<tr>";
    for (size_t c = 0; c < columns.size(); ++c) {
      table += fmt::format("<td>{}</td>", escape_html(columns[c].text(row)));
      if (c == kScoreColumn)
        table += fmt::format("<td class=\"bar\"><i style=\"width:{:.1f}%;background:{}\"></i></td>", score_of(row),
                             kind_of(row).color);
    }
  }
  std::string legend;
  for (const Json& row : results.at("rows")) {
    const RowKind& kind = kind_of(row);
    if (legend.find(kind.color) == std::string::npos)
      legend += fmt::format("<i style=\"background:{}\"></i>{} ", kind.color, kind.label);
  }
  std::string drawings;
  for (const Chart& chart : charts(results)) drawings += svg(chart);
  const std::string name = escape_html(results.at("name").get<std::string>());
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title><style>{1}</style></head><body>
<h1>{0}</h1>
<p class="about">{2}</p>
<table>{3}</tr></table>
<p class="legend">{4}<br>change: percentage points above (+) or below (-) the float row</p>
{5}<details><summary>results.json</summary><pre>{6}</pre></details>
</body></html>
)",
                     name, kPageStyle, escape_html(about(results)), table, legend, drawings,
                     escape_html(json_text(results)));
}

}  // namespace qgrad
