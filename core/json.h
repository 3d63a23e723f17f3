// JSON files in and out: ordered objects, errors with file and line, duplicate keys refused. Whoever looks into a Json
// includes <nlohmann/json.hpp>.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

namespace qgrad {

using Json = nlohmann::ordered_json;

// Throws Error naming the file, and line and column of a syntax error, or the path of a key that stands twice or of a
// number that no double holds.
Json read_json(const std::filesystem::path& file);
Json parse_json(std::string_view text, std::string_view file_for_messages);

void write_json(const std::filesystem::path& file, const Json& value);  // json_text(), all or nothing (core/file.h)
// Indented by two, lists of plain values on one line, newline at the end.
std::string json_text(const Json& value);

std::string json_line(const Json& value);  // without line breaks

// The candidate with the smallest edit distance to `word`, or "" when none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);
// " (did you mean 'bits_weights'?)", or "".
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);
std::string joined(std::span<const std::string> words);  // "a, b, c"

}  // namespace qgrad
