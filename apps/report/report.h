// How results look: the table on a terminal and the self-contained HTML page, both made from results.json.
#pragma once

#include <string>

#include "core/json.h"

namespace qgrad {

std::string results_table(const Json& results);
std::string results_html(const Json& results);

}  // namespace qgrad
