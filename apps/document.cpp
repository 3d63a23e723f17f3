// Rows into tables, and tables into the document.
#include "apps/document.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "apps/report.h"
#include "core/error.h"

namespace qgrad {
namespace {

constexpr std::string_view kResultsBegin = "<!-- results -->\n", kResultsEnd = "<!-- end of results -->\n";

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

// The rows of one quantizer's seeds, or a row by itself.
struct Group {
  std::string name;
  std::vector<const Json*> rows;

  // pointer: a JSON pointer into a row.
  std::vector<double> values(const char* pointer) const {
    std::vector<double> all;
    for (const Json* row : rows) all.push_back(row->at(Json::json_pointer(pointer)).get<double>());
    return all;
  }
  double mean(const char* pointer) const {
    double sum = 0;
    for (const double value : values(pointer)) sum += value;
    return sum / static_cast<double>(rows.size());
  }
  // Of the population that the seeds are a sample of.
  double deviation(const char* pointer) const {
    double sum = 0;
    for (const double value : values(pointer)) sum += (value - mean(pointer)) * (value - mean(pointer));
    return std::sqrt(sum / static_cast<double>(rows.size() - 1));
  }
};

std::vector<Group> groups_of(const Json& rows) {
  std::vector<Group> groups;
  for (const Json& row : rows) {
    if (row.contains("matrix")) continue;
    const std::string name = row.value("row", row.at("name").get<std::string>());
    if (groups.empty() || groups.back().name != name) groups.push_back({name, {}});
    groups.back().rows.push_back(&row);
  }
  return groups;
}

std::string rows_table(const Json& results) {
  std::string text =
      "\n| row | W/A | top-1 % | to float | loss | weights | engine top-1 % | engine images/s | program | minutes |\n"
      "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
  const std::vector<Group> groups = groups_of(results.at("rows"));
  const double reference = groups.at(0).mean("/top1");
  for (const Group& group : groups) {
    const Json& first = *group.rows[0];
    const bool is_float = first.at("kind") == "float";
    const std::string spread = group.rows.size() > 1 ? fmt::format(" ± {:.2f}", group.deviation("/top1")) : "";
    ProgramTexts program = program_texts(first);
    if (program.top1 != "-") program.top1 = fmt::format("{:.2f}", group.mean("/program/top1"));
    text += fmt::format("| {} | {} | {:.2f}{} | {} | {:.4f} | {} | {} | {} | {} | {:.1f} |\n", group.name,
                        bits_text(first), group.mean("/top1"), spread,
                        is_float ? "" : fmt::format("{:+.2f}", group.mean("/top1") - reference), group.mean("/loss"),
                        bytes_text(first.at("model_bytes").get<double>()), program.top1, program.speed, program.bytes,
                        group.mean("/seconds") / 60);
  }
  return text;
}

}  // namespace

void update_document(const std::filesystem::path& file, const Json& results) {
  std::string text = fmt::format(
      "{}\nAccuracy on the {} test images of {}, {}. Made by\n\n```\n{}\n```\n", kResultsBegin,
      results.at("dataset").at("test_images").get<int64_t>(), results.at("dataset").at("class").get<std::string>(),
      results.at("model").at("class").get<std::string>(), results.at("command").get<std::string>());
  text += rows_table(results);
  std::vector<std::string> titles;
  for (const Json& row : results.at("rows"))
    if (row.contains("matrix")) add_once(titles, row.at("matrix").get<std::string>());
  for (const std::string& title : titles) text += matrix_table(results.at("rows"), title);
  text += fmt::format("\n{}", kResultsEnd);

  if (std::ifstream old(file, std::ios::binary); old) {
    const std::string before{std::istreambuf_iterator<char>(old), {}};
    const size_t begin = before.find(kResultsBegin), end = before.find(kResultsEnd);
    check(begin != std::string::npos && end != std::string::npos && begin < end,
          "{}: expected the lines '{}' and '{}', between which the results go", file.string(),
          kResultsBegin.substr(0, kResultsBegin.size() - 1), kResultsEnd.substr(0, kResultsEnd.size() - 1));
    text = before.substr(0, begin) + text + before.substr(end + kResultsEnd.size());
  } else {
    text = fmt::format("# {}\n\n{}", results.at("name").get<std::string>(), text);
  }
  write_file_atomically(file, text);
}

}  // namespace qgrad
