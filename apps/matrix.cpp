// All combinations of the axes' settings.
#include "apps/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "quant/quantizer.h"

namespace qgrad {

std::vector<MatrixRow> matrix_rows(const MatrixConfig& matrix, const Config& place) {
  const auto check_object = [](const Config& config, const char* of) {
    if (!config.json().is_object() || (config.json().empty() && *of))
      config_error(
          config.where(), "expected an object{}, got {}", of,
          config.json().empty() && config.json().is_object() ? "an empty one" : detail::describe(config.json()));
  };
  constexpr size_t kMostRows = 10000;
  check_object(matrix.quantizer, "");
  if (matrix.axes.empty()) config_error(place.where("axes"), "expected at least one axis, got an empty list");
  std::vector<MatrixRow> rows{{{}, matrix.quantizer}};
  for (const Config& axis : matrix.axes) {
    check_object(axis, " of name -> settings");
    if (rows.size() * axis.json().size() > kMostRows)
      config_error(axis.where(), "the matrix would have more than {} rows", kMostRows);
    std::vector<MatrixRow> longer;
    for (const MatrixRow& row : rows)
      for (const auto& [name, settings] : axis.json().items()) {
        check_object(axis.at(name), "");
        longer.push_back(row);
        longer.back().coordinates.push_back(name);
        longer.back().quantizer.json().update(settings);
      }
    rows = std::move(longer);
  }
  for (MatrixRow& row : rows) {
    row.quantizer.path = fmt::format("{} ({})", place.path, fmt::join(row.coordinates, ", "));
    Registry<Quantizer>::resolve(row.quantizer);
  }
  return rows;
}

}  // namespace qgrad
