// Making regular expressions.
#include "quant/path_pattern.h"

#include "core/config.h"

namespace qgrad {
namespace {

// Matched in a time that grows with the path and the pattern alone, where the library can: by trying every way through
// nested repetitions, ten characters would take a minute.
#ifdef __GLIBCXX__
constexpr auto kSyntax = std::regex::ECMAScript | std::regex_constants::__polynomial;
#else
constexpr auto kSyntax = std::regex::ECMAScript;
#endif

}  // namespace

std::regex path_pattern(const std::string& where, const std::string& pattern) {
  constexpr size_t kLongest = 1000;
  if (pattern.size() > kLongest)
    config_error(where, "a regular expression of {} characters, at most {} are allowed", pattern.size(), kLongest);
  try {
    return std::regex(pattern, kSyntax);
  } catch (const std::regex_error& e) {
    config_error(where, "not a regular expression: {}", e.what());
  }
}

}  // namespace qgrad
