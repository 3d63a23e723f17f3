// What the words of reports mean, in one place.
#pragma once

#include <string>
#include <vector>

namespace qgrad {

// Of a heading of a table, in one sentence without its end; "" where it says itself what it means.
std::string explanation_of(const std::string& heading);

// Those of the headings that have one, to be opened: HTML. "" where none has.
std::string glossary(const std::vector<std::string>& headings);

}  // namespace qgrad
