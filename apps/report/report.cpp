// The page, and the lines of the terminal.
#include "apps/report/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/report/results.h"

namespace qgrad {
namespace {

constexpr const char* kPageStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; color: #1c2127; }
h1 { font-size: 1.5rem; margin-bottom: 0 } .about { color: #5b6570; margin-top: .2rem }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0 }
th, td { padding: .35rem .5rem; text-align: right; border-bottom: 1px solid #e3e7eb; font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; border-bottom: 2px solid #b9c1c9 } td:first-child { white-space: normal }
.legend { color: #5b6570 } .legend i { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem }
svg { display: block; width: 100%; max-width: 46rem; margin-top: 1rem } details { margin: 1.5rem 0 } pre { overflow-x: auto; background: #f5f7f9; padding: 1rem }
)";

std::string about(const Json& results) {
  const Json& data = results.at("dataset");
  const bool images = data.contains("test_images");
  return fmt::format("{} on {} ({} {}), seed {}", results.at("model").at("class").get<std::string>(),
                     data.at("class").get<std::string>(), data.at(images ? "test_images" : "test_users").get<int64_t>(),
                     images ? data.at("evaluated").get<std::string>() : "test users",
                     results.at("seed").get<uint64_t>());
}

}  // namespace

std::string results_table(const Json& results) {
  return fmt::format("{}: {}\n\n{}", results.at("name").get<std::string>(), about(results),
                     to_text(rows_table(results, single_rows(results))));
}

std::string results_html(const Json& results) {
  std::string legend;
  for (const RowKind& kind : kinds_of(results))
    legend += fmt::format("<i style=\"background:{}\"></i>{} ", kind.color, kind.label);
  std::string drawings;
  for (const Chart& chart : charts(results)) drawings += svg(chart);
  const std::string name = escape_html(results.at("name").get<std::string>());
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title><style>{1}</style></head><body>
<h1>{0}</h1>
<p class="about">{2}</p>
{3}<p class="legend">{4}<br>change: percentage points above (+) or below (-) the float row</p>
{5}<details><summary>results.json</summary><pre>{6}</pre></details>
</body></html>
)",
                     name, kPageStyle, escape_html(about(results)), to_html(rows_table(results, single_rows(results))),
                     legend, drawings, escape_html(json_text(results)));
}

}  // namespace qgrad
