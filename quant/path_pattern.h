// Regular expressions for paths of modules and parameters.
#pragma once

#include <regex>
#include <string>

namespace qgrad {

// ECMAScript without references back. Throws, at `where` of a config, on what is none, or is longer than 1,000
// characters: std::regex takes a call inside another for every bracket.
std::regex path_pattern(const std::string& where, const std::string& pattern);

}  // namespace qgrad
