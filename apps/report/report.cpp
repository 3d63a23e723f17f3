// The page, and the lines of the terminal.
#include "apps/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/report/results.h"
#include "apps/report/table.h"

namespace qgrad {
namespace {

constexpr const char* kPageStyle = R"(
:root { color-scheme: light dark; --page: #fff; --text: #1c2127; --quiet: #5b6570; --line: #e3e7eb; --rule: #b9c1c9; --inset: #f5f7f9 }
@media (prefers-color-scheme: dark) { :root { --page: #14181c; --text: #e6e9ec; --quiet: #a3adb8; --line: #2c343c; --rule: #4a5560; --inset: #1d2329 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; color: var(--text); background: var(--page) }
h1 { font-size: 1.5rem; margin-bottom: 0 } .about { color: var(--quiet); margin: .2rem 0 } .about code { overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0 }
th, td { padding: .35rem .5rem; text-align: right; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; border-bottom: 2px solid var(--rule) } td:first-child { white-space: normal }
.legend { color: var(--quiet) } .legend i { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { font-weight: 600 } dd { margin: 0 }
svg { display: block; width: 100%; max-width: 46rem; margin-top: 1rem } details { margin: 1.5rem 0 }
pre { overflow-x: auto; background: var(--inset); padding: 1rem }
@media (max-width: 60rem) {
  table, tbody { display: block } th { display: none }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); border-bottom: 2px solid var(--rule); padding: .4rem 0 }
  td { text-align: left; border: 0; padding: .15rem .4rem } td:first-child { grid-column: 1 / -1; font-weight: 600 }
  td:empty { display: none } td:not(:first-child)::before { content: attr(data-label); display: block; color: var(--quiet); font-size: .75rem }
}
@media print { details { display: none } body { max-width: none; margin: 0 } }
)";

// What the columns say that do not say it themselves.
constexpr std::pair<const char*, const char*> kColumns[] = {
    {"W/A", "bits of the weights and of the activations; 32: float"},
    {"top-1 %", "how often the class with the largest output is the right one"},
    {"change", "percentage points above (+) or below (-) the float row"},
    {"top-5 %", "how often the right class is among the five largest outputs"},
    {"loss", "the mean cross entropy; less is better"},
    {"weights", "size of all weights and biases with their bits packed, and of the scales"},
    {"engine %", "top-1 of the integer program on the same images"},
    {"images/s", "that the integer program classifies on this machine"},
    {"simulated", "images/s of the network that was quantized, which computes in float"},
    {"program", "size of the program's file"},
    {"time", "to make the row, training and evaluation included"}};

std::string explained(const Table& table) {
  std::string list;
  for (const auto& [heading, text] : kColumns)
    if (std::ranges::count(table.columns, std::string(heading), &Table::Column::heading) > 0)
      list += fmt::format("<dt>{}</dt><dd>{}</dd>\n", heading, text);
  return "<details><summary>What the columns say</summary><dl>\n" + list + "</dl></details>\n";
}

// "made by qgrad compare ..: qgrad 0.1.0, commit ..", as far as the results say it.
std::string made_by(const Json& results) {
  std::string text = fmt::format("<code>{}</code>", escape_html(results.value("command", "")));
  if (!results.contains("run")) return text;
  const Json& run = results.at("run");
  for (const auto& [key, word] :
       {std::pair("version", "qgrad "), {"commit", "commit "}, {"compiler", ""}, {"instruction_set", "kernels "}})
    if (run.contains(key)) text += fmt::format(", {}{}", word, escape_html(run.at(key).get<std::string>()));
  return text;
}

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
  const Table table = rows_table(results, single_rows(results));
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title><style>{1}</style></head><body>
<h1>{0}</h1>
<p class="about">{2}</p>
<p class="about">{7}</p>
{3}<p class="legend">{4}</p>
{8}{5}<details><summary>results.json</summary><pre>{6}</pre></details>
</body></html>
)",
                     name, kPageStyle, escape_html(about(results)), to_html(table), legend, drawings,
                     escape_html(json_text(results)), made_by(results), explained(table));
}

}  // namespace qgrad
