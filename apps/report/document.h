// Results of `qgrad compare` as tables in a Markdown document.
#pragma once

#include <filesystem>

#include "core/json.h"

namespace qgrad {

// Throws what update_document would throw for the file as it is.
void check_document(const std::filesystem::path& file);

// Writes a table for each matrix, and one for the other rows; rows that differ in their seed alone become one, with the
// mean and the standard deviation of their accuracies. Charts become SVG files beside the document, and the results
// themselves a JSON file of its name. In a file that is there already, the tables take the place of what stands between
// the lines "<!-- results -->" and "<!-- end of results -->"; throws where it has no such lines.
void update_document(const std::filesystem::path& file, const Json& results);

}  // namespace qgrad
