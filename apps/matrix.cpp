// Combining axes, and turning rows back into tables.
#include "apps/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>

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

}  // namespace

std::vector<MatrixRow> matrix_rows(const MatrixConfig& matrix) {
  std::vector<MatrixRow> rows{{{}, matrix.quantizer}};
  for (const Json& axis : matrix.axes) {
    const auto is_object = [](const Json& value) { return value.is_object(); };
    if (!axis.is_object() || axis.empty() || !std::ranges::all_of(axis, is_object))
      config_error(matrix.title, "every axis is an object of name -> settings, got {}", axis.dump());
    std::vector<MatrixRow> longer;
    for (const MatrixRow& row : rows)
      for (const auto& [name, settings] : axis.items()) {
        longer.push_back(row);
        longer.back().coordinates.push_back(name);
        longer.back().quantizer.value.update(settings);
      }
    rows = std::move(longer);
  }
  return rows;
}

void update_document(const std::filesystem::path& file, const Json& results) {
  std::string text = fmt::format(
      "{}\nTop-1 accuracy in percent on the {} test images of {}, {}. Made by\n\n```\n{}\n```\n", kResultsBegin,
      results.at("dataset").at("test_images").get<int64_t>(), results.at("dataset").at("class").get<std::string>(),
      results.at("model").at("class").get<std::string>(), results.at("command").get<std::string>());
  std::vector<std::string> titles;
  std::string plain;
  for (const Json& row : results.at("rows")) {
    if (row.contains("matrix"))
      add_once(titles, row.at("matrix").get<std::string>());
    else
      plain += fmt::format("| {} | {} |\n", row.at("name").get<std::string>(), percent(row));
  }
  text += "\n| | top-1 |\n| --- | ---: |\n" + plain;
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
