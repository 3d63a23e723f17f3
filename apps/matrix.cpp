// All combinations of the axes' settings.
#include "apps/matrix.h"

#include <algorithm>

namespace qgrad {

std::vector<MatrixRow> matrix_rows(const MatrixConfig& matrix, const std::string& file) {
  std::vector<MatrixRow> rows{{{}, matrix.quantizer}};
  for (const Json& axis : matrix.axes) {
    const auto is_object = [](const Json& value) { return value.is_object(); };
    if (!axis.is_object() || axis.empty() || !std::ranges::all_of(axis, is_object))
      config_error(file, "matrix '{}': every axis is an object of name -> settings, got {}", matrix.title, axis.dump());
    std::vector<MatrixRow> longer;
    for (const MatrixRow& row : rows)
      for (const auto& [name, settings] : axis.items()) {
        longer.push_back(row);
        longer.back().coordinates.push_back(name);
        longer.back().quantizer.value.update(settings);
      }
    rows = std::move(longer);
  }
  return rows;
}

}  // namespace qgrad
