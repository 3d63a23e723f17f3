// The table and the page.
#include "apps/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/progress.h"
#include "apps/results.h"

namespace qgrad {
namespace {

constexpr const char* kPageStyle = R"(
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1c2127; }
h1 { font-size: 1.5rem; margin-bottom: 0 } .about { color: #5b6570; margin-top: .2rem }
table { border-collapse: collapse; width: 100%; margin: 1.5rem 0 }
th, td { padding: .35rem .5rem; text-align: right; border-bottom: 1px solid #e3e7eb; font-variant-numeric: tabular-nums; white-space: nowrap }
th { font-weight: 600; border-bottom: 2px solid #b9c1c9 } th:first-child, td:first-child { text-align: left }
td.bar { min-width: 8rem; text-align: left } td.bar i { display: block; height: .8rem; border-radius: 2px }
svg { display: block; width: 100%; max-width: 46rem; margin-top: 1rem } details { margin: 1.5rem 0 } pre { overflow-x: auto; background: #f5f7f9; padding: 1rem }
)";

std::string about(const Json& results) {
  const Json& data = results.at("dataset");
  const bool images = data.contains("test_images");
  return fmt::format("{} on {} ({} test {}), seed {}", results.at("model").at("class").get<std::string>(),
                     data.at("class").get<std::string>(), data.at(images ? "test_images" : "test_users").get<int64_t>(),
                     images ? "images" : "users", results.at("seed").get<uint64_t>());
}

}  // namespace

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
    rows += fmt::format("<tr><td>{}</td><td>{}</td>", escape_html(row.at("name").get<std::string>()), bits_text(row));
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
  std::string drawings;
  for (const Chart& chart : charts(results)) drawings += svg(chart);
  const std::string name = escape_html(results.at("name").get<std::string>());
  return fmt::format(R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{0}</title><style>{1}</style></head><body>
<h1>{0}</h1>
<p class="about">{2}</p>
<table><tr><th>row</th><th>W/A bits</th>{6}<th>weights</th><th>time</th><th>engine %</th><th>images/s</th><th>simulated</th><th>program</th></tr>
{3}</table>
{4}<details><summary>results.json</summary><pre>{5}</pre></details>
</body></html>
)",
                     name, kPageStyle, escape_html(about(results)), rows, drawings, escape_html(results.dump(2)), headings);
}

}  // namespace qgrad
