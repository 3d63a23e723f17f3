// One self-contained HTML page: it reads nothing else, is light or dark as the reader has it, and fits phones and
// paper.
#pragma once

#include <string>

#include "apps/report/table.h"
#include "core/json.h"

namespace qgrad {

// The heading, what the results are of and what made them, then `body`, and the results themselves. `command`: what
// makes them again.
std::string html_page(const Json& results, const std::string& command, const std::string& body);

// Parts of the body. Text is escaped, content is HTML.
std::string section(const std::string& heading, const std::string& content);
std::string paragraph(const std::string& text);
std::string under_way(const std::string& training, const Json& epochs, int of_epochs);
std::string folded(const std::string& summary, const std::string& content);
std::string chart_figure(const std::string& drawing);  // which narrow pages move aside; "" where there is none
std::string explained_table(const Table& table);       // and what its columns mean

// "resnet20 on cifar10 (10000 test images), seed 1", as far as the results say it.
std::string about(const Json& results);

}  // namespace qgrad
