// Style, script and frame of the page.
#include "apps/report/page.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "apps/report/terms.h"

namespace qgrad {
namespace {

constexpr const char* kPageStyle = R"(
:root { color-scheme: light dark; --page: #fff; --text: #1c2127; --quiet: #5b6570; --line: #e3e7eb; --rule: #b9c1c9; --inset: #f5f7f9; --focus: #2f7fd0 }
@media (prefers-color-scheme: dark) { :root { --page: #14181c; --text: #e6e9ec; --quiet: #a3adb8; --line: #2c343c; --rule: #4a5560; --inset: #1d2329 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 84rem; margin: 2rem auto; padding: 0 1rem; color: var(--text); background: var(--page) }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem }
.about { color: var(--quiet); margin: .2rem 0 } .about code { overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }
caption { text-align: left; color: var(--quiet); padding-bottom: .3rem }
th, td { padding: .35rem .5rem; text-align: right; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; white-space: nowrap }
thead th { font-weight: 600; border-bottom: 2px solid var(--rule) } tbody th { font-weight: 400; white-space: normal } .left { text-align: left }
abbr { text-decoration: none; border-bottom: 1px dotted var(--quiet); cursor: help }
th button { all: unset; cursor: pointer } th[aria-sort=ascending] button::after { content: " \25B2" } th[aria-sort=descending] button::after { content: " \25BC" }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px }
.legend { color: var(--quiet) } p.legend i { display: inline-block; width: .8rem; height: .8rem; margin: 0 .3rem 0 1rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem } dt { font-weight: 600 } dd { margin: 0 }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(28rem, 100%), 1fr)); gap: 1rem; align-items: start }
svg { display: block; width: 100%; max-width: 46rem; margin-top: 1rem } .chart { overflow-x: auto } details { margin: .6rem 0 } summary { cursor: pointer }
.pair { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 0 1rem; max-width: 52rem }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; padding: 0; list-style: none }
.sheet img { width: 96px; height: 96px; object-fit: contain; image-rendering: pixelated; background: var(--inset); display: block }
.sheet span { display: block; font-size: .85rem; overflow-wrap: anywhere } .wide { overflow-x: auto }
.matrix td, .matrix th { text-align: center; padding: .25rem .4rem } .matrix { width: auto }
pre { overflow-x: auto; background: var(--inset); padding: 1rem }
@media screen and (max-width: 60rem) {
  table:not(.matrix), table:not(.matrix) tbody { display: block } table:not(.matrix) thead { display: none } table:not(.matrix) caption { display: block }
  table:not(.matrix) tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); border-bottom: 2px solid var(--rule); padding: .4rem 0 }
  table:not(.matrix) td, table:not(.matrix) tbody th { text-align: left; border: 0; padding: .15rem .4rem; white-space: normal }
  table:not(.matrix) tbody th { grid-column: 1 / -1; font-weight: 600 }
  table:not(.matrix) td:empty { display: none } table:not(.matrix) td::before { content: attr(data-label); display: block; color: var(--quiet); font-size: .75rem }
  tbody th[data-label]::before { content: attr(data-label) " " } .chart svg { min-width: 32rem } dl { grid-template-columns: 1fr } dd { margin-bottom: .4rem }
}
@media print {
  .raw, .glossary { display: none } body { max-width: none; margin: 0; font-size: 8pt } h1 { font-size: 14pt } h2 { font-size: 10pt }
  th, td { padding: .15rem .25rem } .charts { grid-template-columns: 1fr 1fr } svg, tr, li, .chart { break-inside: avoid } h2, caption { break-after: avoid }
}
)";

// Headings become buttons that sort. Numbers with units are compared in the smallest: "1.2 MB", "3 min 05 s".
constexpr const char* kPageScript = R"(
const units = { kB: 1e3, MB: 1e6, GB: 1e9, min: 60, h: 3600 };
function key(cell) {
  const text = cell.textContent.trim();
  const parts = [...text.matchAll(/([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s*(kB|MB|GB|min|h)?/g)];
  if (!/^[-+]?\d/.test(text)) return text.toLowerCase();
  return parts.some(part => part[2]) ? parts.reduce((sum, part) => sum + part[1] * (units[part[2]] || 1), 0) : +parts[0][1];
}
function order(a, b) {
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1;
  return typeof a === 'number' ? a - b : a.localeCompare(b, 'en', { numeric: true });
}
for (const heading of document.querySelectorAll('table:not(.matrix) thead th')) {
  if (!heading.textContent.trim()) continue;
  const button = document.createElement('button');
  button.type = 'button';
  button.append(...heading.childNodes);
  heading.append(button);
  button.addEventListener('click', () => {
    const falling = heading.getAttribute('aria-sort') === 'ascending';
    for (const other of heading.parentNode.children) other.removeAttribute('aria-sort');
    heading.setAttribute('aria-sort', falling ? 'descending' : 'ascending');
    const body = heading.closest('table').tBodies[0];
    const rows = [...body.rows].map(row => [key(row.cells[heading.cellIndex]), row]);
    rows.sort((a, b) => falling ? order(b[0], a[0]) : order(a[0], b[0]));
    body.append(...rows.map(row => row[1]));
  });
}
)";

// "made by qgrad compare ..: qgrad 0.1.0, commit ..", as far as the results say it.
std::string made_by(const Json& results, const std::string& command) {
  std::string text = fmt::format("<code>{}</code>", escape_html(command));
  if (!results.contains("run")) return text;
  const Json& run = results.at("run");
  for (const auto& [key, word] :
       {std::pair("version", "qgrad "), {"commit", "commit "}, {"compiler", ""}, {"instruction_set", "kernels "}})
    if (run.contains(key)) text += fmt::format(", {}{}", word, escape_html(run.at(key).get<std::string>()));
  return text;
}

}  // namespace

std::string about(const Json& results) {
  const Json& data = results.at("dataset");
  const bool images = data.contains("test_images");
  return fmt::format("{} on {} ({} {}), seed {}", results.at("model").at("class").get<std::string>(),
                     data.at("class").get<std::string>(), data.at(images ? "test_images" : "test_users").get<int64_t>(),
                     images ? data.at("evaluated").get<std::string>() : "test users",
                     results.at("seed").get<uint64_t>());
}

std::string html_page(const Json& results, const std::string& command, const std::string& body) {
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>{0}</title><style>{1}</style></head><body>
<main><h1>{0}</h1>
<p class="about">{2}</p>
<p class="about">{3}</p>
{4}<details class="raw"><summary>results.json</summary><pre tabindex="0">{5}</pre></details>
</main><script>{6}</script></body></html>
)",
                     escape_html(results.at("name").get<std::string>()), kPageStyle, escape_html(about(results)),
                     made_by(results, command), body, escape_html(json_text(results)), kPageScript);
}

std::string section(const std::string& heading, const std::string& content) {
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", escape_html(heading), content);
}

std::string paragraph(const std::string& text) { return fmt::format("<p>{}</p>\n", escape_html(text)); }

std::string under_way(const std::string& training, const Json& epochs, int of_epochs) {
  return paragraph(fmt::format("{} is under way: {} of {} epochs so far. Load this page again to see how it goes on.",
                               training, epochs.size(), of_epochs));
}

std::string folded(const std::string& summary, const std::string& content) {
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n", escape_html(summary), content);
}

std::string chart_figure(const std::string& drawing) {
  return drawing.empty() ? "" : "<div class=\"chart\">\n" + drawing + "</div>\n";
}

std::string explained_table(const Table& table) {
  std::vector<std::string> headings;
  for (const Table::Column& column : table.columns) headings.push_back(column.heading);
  return to_html(table) + glossary(headings);
}

}  // namespace qgrad
