// The page of `qgrad compare`, and its table on a terminal.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/page.h"
#include "apps/report/report.h"
#include "apps/report/results.h"

namespace qgrad {
namespace {

std::string kinds_legend(const Json& results) {
  std::string legend;
  for (const RowKind& kind : kinds_of(results))
    legend += fmt::format("<i style=\"background:{}\"></i>{} ", kind.color, kind.label);
  return fmt::format("<p class=\"legend\">{}</p>\n", legend);
}

}  // namespace

std::string results_table(const Json& results) {
  return fmt::format("{}: {}\n\n{}", results.at("name").get<std::string>(), about(results),
                     to_text(rows_table(results, single_rows(results))));
}

Report comparison_report(const Json& results) {
  const Table table = rows_table(results, single_rows(results));
  std::string drawings;
  for (const Chart& chart : charts(results)) drawings += chart_figure(svg(chart));
  for (const Chart& chart : cost_charts(results)) drawings += chart_figure(svg(chart));
  std::string body;
  if (results.contains("running")) {
    const Json& row = results.at("running");
    body += under_way(row.at("name").get<std::string>(), row.at("epochs"), row.at("of_epochs").get<int>());
  }
  if (!table.rows.empty()) body += explained_table(table) + kinds_legend(results);
  return {table,
          html_page(results, results.value("command", ""), body + "<div class=\"charts\">\n" + drawings + "</div>\n")};
}

}  // namespace qgrad
