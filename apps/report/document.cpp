// Rows into tables, and tables and charts into the document.
#include "apps/report/document.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/command.h"
#include "apps/report/results.h"
#include "core/error.h"
#include "tasks/progress.h"

namespace qgrad {
namespace {

constexpr std::string_view kResultsBegin = "<!-- results -->", kResultsEnd = "<!-- end of results -->";

// What stands around the results.
struct Frame {
  std::string before, after;
};

Frame frame_of(const std::filesystem::path& file, const std::string& title) {
  if (!std::filesystem::exists(file)) return {fmt::format("# {}\n\n", title), "\n"};
  const std::string text = read_file(file, "a Markdown file");
  const size_t begin = text.find(kResultsBegin), end = text.find(kResultsEnd);
  check(begin != std::string::npos && end != std::string::npos && begin < end,
        "{}: expected the lines '{}' and '{}', between which the results go", file.string(), kResultsBegin,
        kResultsEnd);
  return {text.substr(0, begin), text.substr(end + kResultsEnd.size())};
}

// Values in the order of their first appearance.
void add_once(std::vector<std::string>& list, const std::string& value) {
  if (std::ranges::find(list, value) == list.end()) list.push_back(value);
}

std::string percent(const Json& row) { return fmt::format("{:.2f}", row.at("top1").get<double>()); }

std::string matrix_table(const Json& rows, const std::string& title) {
  std::vector<std::string> columns, lines;
  std::map<std::pair<std::string, std::string>, std::string> cells;
  for (const Json& row : rows) {
    if (row.value("matrix", "") != title) continue;
    const auto coordinates = row.at("coordinates").get<std::vector<std::string>>();
    const std::string line = fmt::format("{}", fmt::join(coordinates.begin() + 1, coordinates.end(), ", "));
    add_once(columns, coordinates.front());
    add_once(lines, line);
    cells[{line, coordinates.front()}] = percent(row);
  }
  std::string text = fmt::format("\n## {}\n\n| |", title), rule = "| --- |";
  for (const std::string& column : columns) {
    text += fmt::format(" {} |", column);
    rule += " ---: |";
  }
  text += "\n" + rule + "\n";
  for (const std::string& line : lines) {
    text += fmt::format("| {} |", line);
    for (const std::string& column : columns) text += fmt::format(" {} |", cells[{line, column}]);
    text += "\n";
  }
  return text;
}

std::string rows_table(const Json& results) {
  std::string text =
      "\n| row | W/A | top-1 % | change | loss | weights | engine top-1 % | engine images/s | program | epochs | "
      "minutes |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
  const double reference = score_of(*float_row(results));
  for (const RowGroup& group : row_groups(results)) {
    const Json& first = group.first();
    const bool is_float = first.at("kind") == "float";
    const std::string spread = group.rows.size() > 1 ? fmt::format(" ± {:.2f}", group.deviation("/top1")) : "";
    const std::string epochs = first.at("epochs").empty() ? "" : std::to_string(first.at("epochs").size());
    ProgramTexts program;
    if (std::ranges::all_of(group.rows,
                            [](const Json* row) { return program_texts(*row).top1 != ProgramTexts{}.top1; })) {
      program = program_texts(first);
      program.top1 = fmt::format("{:.2f}", group.mean("/program/top1"));
      program.speed = fmt::format("{:.0f}", group.mean("/program/images_per_second"));
    }
    text += fmt::format("| {} | {} | {:.2f}{} | {} | {:.4f} | {} | {} | {} | {} | {} | {:.1f} |\n", group.name,
                        bits_text(first), group.mean("/top1"), spread,
                        is_float ? "" : fmt::format("{:+.2f}", group.mean("/top1") - reference), group.mean("/loss"),
                        bytes_text(first.at("model_bytes").get<double>()), program.top1, program.speed, program.bytes,
                        epochs, group.mean("/seconds") / 60);
  }
  return text;
}

// Writes the charts beside the document.
std::string chart_links(const std::filesystem::path& file, const Json& results) {
  std::string text;
  for (const Chart& chart : charts(results)) {
    const std::string name = fmt::format("{}_{}.svg", file.stem().string(), chart.name);
    write_file_atomically(file.parent_path() / name, svg(chart));
    text += fmt::format("\n![{}]({})\n", chart.title, name);
  }
  return text;
}

}  // namespace

void check_document(const std::filesystem::path& file) {
  frame_of(file, "");
  check_can_write(file);
  check_can_write(std::filesystem::path(file).replace_extension(".json"));
}

void update_document(const std::filesystem::path& file, const Json& results) {
  const Frame frame = frame_of(file, results.at("name").get<std::string>());
  std::string text = fmt::format(
      "{}\n\nAccuracy on the {} test images of {}, {}. Made by\n\n```\n{}\n```\n", kResultsBegin,
      results.at("dataset").at("test_images").get<int64_t>(), results.at("dataset").at("class").get<std::string>(),
      results.at("model").at("class").get<std::string>(), results.at("command").get<std::string>());
  text += fmt::format("\nIt took {} on {} threads.\n", format_duration(results.at("seconds").get<double>()),
                      results.at("threads").get<int>());
  text += "\nchange: percentage points above (+) or below (-) the float row.\n";
  text += rows_table(results);
  std::vector<std::string> titles;
  for (const Json& row : results.at("rows"))
    if (row.contains("matrix")) add_once(titles, row.at("matrix").get<std::string>());
  for (const std::string& title : titles) text += matrix_table(results.at("rows"), title);
  text += chart_links(file, results);
  text += fmt::format("\n{}", kResultsEnd);
  write_json(std::filesystem::path(file).replace_extension(".json"), results);
  write_file_atomically(file, frame.before + text + frame.after);
}

}  // namespace qgrad
