// Rows of `qgrad compare` that are all combinations of settings.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace qgrad {

struct MatrixConfig {
  std::string title;
  Config quantizer;
  std::vector<Config> axes;
};
inline void fields(Fields& v, MatrixConfig& c) {
  v("title", c.title, {.help = "title of the table", .required = true});
  v("quantizer", c.quantizer, {.help = "what all rows have in common", .required = true});
  v("axes", c.axes,
    {.help =
         "objects of name -> settings of the quantizer; a row for every choice of one name from each. The first axis "
         "becomes the table's columns",
     .required = true});
}

struct MatrixRow {
  std::vector<std::string> coordinates;  // a name from each axis
  Config quantizer;
};
// In order, the last axis changing fastest. `place`: of the matrix. Throws where an axis is no object of objects or
// empty, and where a combination is no quantizer's config.
std::vector<MatrixRow> matrix_rows(const MatrixConfig& matrix, const Config& place);

}  // namespace qgrad
