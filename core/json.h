// JSON files in and out: ordered objects, errors with file and line, duplicate keys refused, writes that are all or
// nothing. Whoever looks into a Json includes <nlohmann/json.hpp>.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

namespace qgrad {

using Json = nlohmann::ordered_json;

// Throws Error naming the file, and line and column of a syntax error or the key that stands twice.
Json read_json(const std::filesystem::path& file);
Json parse_json(std::string_view text, std::string_view file_for_messages);

// All of a file. `expected`: what it should be, "a JSON file", for the message where it is a folder.
std::string read_file(const std::filesystem::path& file, std::string_view expected);

// Written to a temporary name beside the file, flushed to disk, then renamed over it: a reader sees the old content or
// the new, never a part. Missing folders are made.
void write_file_atomically(const std::filesystem::path& file, std::string_view bytes);
void write_json(const std::filesystem::path& file, const Json& value);  // json_text()
// Indented by two, lists of plain values on one line, newline at the end.
std::string json_text(const Json& value);

std::string json_line(const Json& value);  // without line breaks

// The candidate with the smallest edit distance to `word`, or "" when none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);
// " (did you mean 'bits_weights'?)", or "".
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);
std::string joined(std::span<const std::string> words);  // "a, b, c"

}  // namespace qgrad
