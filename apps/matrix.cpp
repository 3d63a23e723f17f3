// All combinations of the axes' settings.
#include "apps/matrix.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "quant/quantizer.h"

namespace qgrad {

void read_value(const Config& from, AxisConfig& value) {
  from.expect_object(" of name -> settings");
  if (from.json().empty()) config_error(from.where(), "expected an object of name -> settings, got an empty one");
  for (const auto& [name, settings] : from.json().items()) from.at(name).expect_object();
  value = from;
}
void write_value(const AxisConfig& value, Json& to) { to = value.json(); }
void value_schema(const AxisConfig&, Json& to) {
  to = {{"type", "object"}, {"additionalProperties", {{"type", "object"}}}};
}

namespace {

// Objects member by member; what is none on one side takes the place of what was there.
void put_onto(Json& json, const Json& settings) {
  for (const auto& [key, value] : settings.items())
    if (value.is_object() && json.contains(key) && json[key].is_object())
      put_onto(json[key], value);
    else
      json[key] = value;
}

}  // namespace

std::vector<MatrixRow> matrix_rows(const MatrixConfig& matrix, const Config& place) {
  constexpr size_t kMostRows = 10000;
  matrix.quantizer.expect_object();
  if (matrix.axes.empty()) config_error(place.where("axes"), "expected at least one axis, got an empty list");
  std::vector<MatrixRow> rows{{{}, matrix.quantizer}};
  for (const AxisConfig& axis : matrix.axes) {
    if (rows.size() * axis.json().size() > kMostRows)
      config_error(axis.where(), "the matrix would have more than {} rows", kMostRows);
    std::vector<MatrixRow> longer;
    for (const MatrixRow& row : rows)
      for (const auto& [name, settings] : axis.json().items()) {
        longer.push_back(row);
        longer.back().coordinates.push_back(name);
        put_onto(longer.back().quantizer.json(), settings);
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
