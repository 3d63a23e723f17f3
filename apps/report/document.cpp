// Tables and charts into the document.
#include "apps/report/document.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "apps/command.h"
#include "apps/report/results.h"
#include "core/error.h"
#include "core/file.h"
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
      "{}\n\nAccuracy on the {} {} of {}, {}. Made by\n\n```\n{}\n```\n", kResultsBegin,
      results.at("dataset").at("test_images").get<int64_t>(), results.at("dataset").at("evaluated").get<std::string>(),
      results.at("dataset").at("class").get<std::string>(), results.at("model").at("class").get<std::string>(),
      results.at("command").get<std::string>());
  const int threads = results.at("threads").get<int>();
  text += fmt::format("\nIt took {} on {} {}.\n", format_duration(results.at("seconds").get<double>()), threads,
                      threads == 1 ? "thread" : "threads");
  text += "\nchange: percentage points above (+) or below (-) the float row.\n";
  text += "\n" + to_markdown(rows_table(results, row_groups(results)));
  for (const std::string& title : matrices_of(results))
    text += fmt::format("\n## {}\n\n{}", title, to_markdown(matrix_table(results, title)));
  text += chart_links(file, results);
  text += fmt::format("\n{}", kResultsEnd);
  write_json(std::filesystem::path(file).replace_extension(".json"), results);
  write_file_atomically(file, frame.before + text + frame.after);
}

}  // namespace qgrad
