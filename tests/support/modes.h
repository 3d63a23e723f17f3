// Reading the quantization settings of golden cases.
#pragma once

#include <nlohmann/json.hpp>

#include "core/config.h"
#include "quant/settings.h"

namespace qgrad::test {

template <class E>
E enum_named(const Json& name) {
  E value{};
  read_onto(value, Config{name, "", "enum"});
  return value;
}
inline LinearQuantMode mode_named(const Json& name) { return enum_named<LinearQuantMode>(name); }
inline ClipMode clip_named(const Json& name) { return enum_named<ClipMode>(name); }

}  // namespace qgrad::test
