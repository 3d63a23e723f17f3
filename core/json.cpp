// Reading, writing and near misses.
#include "core/json.h"

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/file_kind.h"

namespace qgrad {
namespace {

constexpr int kDeepest = 100;  // brackets open at once

std::pair<size_t, size_t> line_and_column(std::string_view text, size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const size_t newline = before.rfind('\n');
  return {1 + static_cast<size_t>(std::ranges::count(before, '\n')),
          before.size() - (newline == std::string_view::npos ? 0 : newline + 1)};
}

// Brackets that are open at once are counted before anything is parsed, for what is made of them is freed, copied and
// printed with one call inside another. Those in strings and comments are not; a text that ends in one is no JSON.
void check_depth(std::string_view text, std::string_view file) {
  int depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      while (++at < text.size() && text[at] != '"') at += text[at] == '\\';
    } else if (c == '/' && text.substr(at, 2) == "//") {
      at = std::min(text.find_first_of("\r\n", at), text.size());
    } else if (c == '/') {
      at = std::min(text.find("*/", at + 2), text.size()) + 1;
    } else if (c == '[' || c == '{') {
      if (++depth <= kDeepest) continue;
      const auto [line, column] = line_and_column(text, at + 1);
      fail("{}:{}:{}: nested too deep: at most {} brackets may be open at once", file, line, column, kDeepest);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
}

// Where a parser stands, by what it says of its way.
class Way {
 public:
  void follow(Json::parse_event_t event, const Json& parsed);
  std::string path() const;  // of the value that is read: "rows[2].quantizer"
  bool key_is_new() { return levels_.back().keys.insert(levels_.back().key).second; }

 private:
  struct Level {
    bool is_list;
    std::string key = {};
    std::set<std::string> keys = {};
    size_t index = 0;
  };
  std::vector<Level> levels_;
};

void Way::follow(Json::parse_event_t event, const Json& parsed) {
  using Event = Json::parse_event_t;
  const bool begins = event == Event::object_start || event == Event::array_start;
  const bool ends = event == Event::object_end || event == Event::array_end;
  if (event == Event::key) levels_.back().key = parsed.get<std::string>();
  if (begins) levels_.push_back({.is_list = event == Event::array_start});
  if (ends) levels_.pop_back();
  if ((ends || event == Event::value) && !levels_.empty()) ++levels_.back().index;
}

std::string Way::path() const {
  std::string path;
  for (const Level& level : levels_)
    path += level.is_list ? fmt::format("[{}]", level.index) : (path.empty() ? "" : ".") + level.key;
  return path;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substitute = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

// A string that is not UTF-8 (a file's name, say) is written with replacement characters.
std::string json_line(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

namespace {

// Indented; a list of plain values stands on one line, so that thousands of numbers do not take thousands of lines.
void print(const Json& value, size_t indent, std::string& text) {
  const bool lists_plain_values =
      value.is_array() && std::ranges::none_of(value, [](const Json& element) { return element.is_structured(); });
  if (!value.is_structured() || value.empty() || lists_plain_values) {
    text += json_line(value);
    return;
  }
  text += value.is_object() ? "{" : "[";
  bool first = true;
  for (const auto& item : value.items()) {
    text += (first ? "\n" : ",\n") + std::string(indent + 2, ' ');
    if (value.is_object()) text += json_line(item.key()) + ": ";
    print(item.value(), indent + 2, text);
    first = false;
  }
  text += "\n" + std::string(indent, ' ') + (value.is_object() ? "}" : "]");
}

}  // namespace

Json parse_json(std::string_view text, std::string_view file) {
  check_depth(text, file);
  Way way;
  const auto refuse_duplicates = [&](int, Json::parse_event_t event, Json& parsed) {
    way.follow(event, parsed);
    if (event == Json::parse_event_t::key) check(way.key_is_new(), "{}: {}: the key stands twice", file, way.path());
    return true;
  };
  try {
    return Json::parse(text, refuse_duplicates, true, /*ignore_comments=*/true);
  } catch (const Json::parse_error& e) {
    const auto [line, column] = line_and_column(text, e.byte);
    const std::string_view what = e.what();
    const size_t colon = what.rfind("; ");
    fail("{}:{}:{}: not valid JSON: {}", file, line, column,
         colon == std::string_view::npos ? what : what.substr(colon + 2));
  } catch (const Json::out_of_range&) {
    const std::string path = way.path();
    fail("{}{}{}: the number is too large for a double", file, path.empty() ? "" : ": ", path);
  }
}

Json read_json(const std::filesystem::path& file) {
  const std::string text = read_file(file, "a JSON file"), kind = file_kind(text);
  check(kind.empty() || kind == "a JSON file" || kind == "a text file", "{}: expected a JSON file, got {}",
        file.string(), kind);
  return parse_json(text, file.string());
}

std::string json_text(const Json& value) {
  std::string text;
  print(value, 0, text);
  return text + "\n";
}

void write_json(const std::filesystem::path& file, const Json& value) { write_file_atomically(file, json_text(value)); }

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates)
    if (const size_t d = edit_distance(word, candidate); d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  return best;
}

std::string did_you_mean(std::string_view word, std::span<const std::string> candidates) {
  const std::string best = nearest(word, candidates);
  return best.empty() ? "" : fmt::format(" (did you mean '{}'?)", best);
}

std::string joined(std::span<const std::string> words) { return fmt::format("{}", fmt::join(words, ", ")); }

}  // namespace qgrad
