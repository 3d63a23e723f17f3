// Rows of `qgrad compare` that are all combinations of settings.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace qgrad {

// An object of names -> settings, one at least.
struct AxisConfig : Config {
  using Config::Config;
  AxisConfig(Config config = {}) : Config(std::move(config)) {}
};
void read_value(const Config& from, AxisConfig& value);
void write_value(const AxisConfig& value, Json& to);
void value_schema(const AxisConfig& value, Json& to);

struct MatrixConfig {
  std::string title;
  Config quantizer;
  std::vector<AxisConfig> axes;
};
inline void fields(Fields& v, MatrixConfig& c) {
  v("title", c.title, {.help = "title of the table", .required = true});
  v("quantizer", c.quantizer, {.help = "what all rows have in common", .required = true});
  v("axes", c.axes,
    {.help = "objects of name -> settings of the quantizer; a row for every choice of one name from each, whose "
             "settings are "
             "put together, and objects among them member by member. The first axis becomes the table's columns",
     .required = true});
}

struct MatrixRow {
  std::vector<std::string> coordinates;  // a name from each axis
  Config quantizer;
};
// In order, the last axis changing fastest. `place`: of the matrix. Throws where there is no axis, and where a
// combination is no quantizer's config.
std::vector<MatrixRow> matrix_rows(const MatrixConfig& matrix, const Config& place);

}  // namespace qgrad
