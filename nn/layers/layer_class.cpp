// Settings that layers have in common.
#include "nn/layers/layer_class.h"

#include <nlohmann/json.hpp>

namespace qgrad {
namespace {

constexpr Field kSize{.min = 0, .max = 1 << 20};

struct HeightAndWidth {
  int64_t height = 0, width = 0;
};
void read_value(const Config& from, HeightAndWidth& value) {
  if (!from.json().is_array()) {
    read_onto(value.height, from, kSize);
    value.width = value.height;
    return;
  }
  std::vector<int64_t> both;
  read_onto(both, from, kSize);
  if (both.size() != 2)
    config_error(from.where(), "expected a number, or [height, width], got a list of {}", both.size());
  value = {both[0], both[1]};
}
void write_value(const HeightAndWidth& value, Json& to) {
  to = value.height == value.width ? Json(value.height) : Json{value.height, value.width};
}
void value_schema(const HeightAndWidth&, Json& to) {
  const Json number{{"type", "integer"}, {"minimum", kSize.min}, {"maximum", kSize.max}};
  const Json both{{"type", "array"}, {"items", number}, {"minItems", 2}, {"maxItems", 2}};
  to = {{"anyOf", {number, both}}};
}

}  // namespace

void height_and_width(Fields& v, const char* key, int64_t& height, int64_t& width, const Field& field) {
  HeightAndWidth both{height, width};
  v(key, both, field);
  height = both.height;
  width = both.width;
}

void height_and_width(Fields& v, const char* key, std::optional<int64_t>& height, std::optional<int64_t>& width,
                      const Field& field) {
  std::optional<HeightAndWidth> both;
  if (height && width) both = {*height, *width};
  v(key, both, field);
  height = both ? std::optional(both->height) : std::nullopt;
  width = both ? std::optional(both->width) : std::nullopt;
}

void complete_size(int64_t& size, const LayerClass::InputShape& input) {
  if (size == 0) size = input()[-1];
}

}  // namespace qgrad
