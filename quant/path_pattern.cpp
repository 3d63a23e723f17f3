// Making regular expressions.
#include "quant/path_pattern.h"

#include "core/config.h"

namespace qgrad {

std::regex path_pattern(const std::string& where, const std::string& pattern) {
  constexpr size_t kLongest = 1000;
  if (pattern.size() > kLongest)
    config_error(where, "a regular expression of {} characters, at most {} are allowed", pattern.size(), kLongest);
  try {
    return std::regex(pattern);
  } catch (const std::regex_error& e) {
    config_error(where, "not a regular expression: {}", e.what());
  }
}

}  // namespace qgrad
