// Names and integer ranges of the quantization modes.
#include "quant/settings.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"

namespace qgrad {
namespace {

struct ModePair {
  LinearQuantMode activations, weights;
};
void fields(Fields& v, ModePair& pair) {
  v("activations", pair.activations, {.help = "mode of activations"});
  v("weights", pair.weights, {.help = "mode of weights"});
}

}  // namespace

bool is_symmetric(LinearQuantMode mode) {
  return mode == LinearQuantMode::symmetric || mode == LinearQuantMode::symmetric_restricted ||
         mode == LinearQuantMode::symmetric_midrise;
}

std::vector<std::pair<std::string, LinearQuantMode>> enum_names(LinearQuantMode*) {
  return {{"SYMMETRIC", LinearQuantMode::symmetric},
          {"SYMMETRIC_RESTRICTED", LinearQuantMode::symmetric_restricted},
          {"ASYMMETRIC_UNSIGNED", LinearQuantMode::asymmetric_unsigned},
          {"ASYMMETRIC_SIGNED", LinearQuantMode::asymmetric_signed},
          {"SYMMETRIC_MIDRISE", LinearQuantMode::symmetric_midrise}};
}

std::vector<std::pair<std::string, Arithmetic>> enum_names(Arithmetic*) {
  return {{"distiller", Arithmetic::distiller}, {"onnx", Arithmetic::onnx}};
}

std::vector<std::pair<std::string, ClipMode>> enum_names(ClipMode*) {
  return {{"NONE", ClipMode::none},       {"AVG", ClipMode::avg},
          {"N_STD", ClipMode::n_std},     {"GAUSS", ClipMode::gauss},
          {"LAPLACE", ClipMode::laplace}, {"PERCENTILE", ClipMode::percentile},
          {"MSE", ClipMode::mse},         {"KL", ClipMode::kl}};
}

LinearQuantMode activation_mode(LinearQuantMode mode, const Config& place) {
  if (mode == LinearQuantMode::symmetric_midrise)
    config_error(place.where(),
                 "SYMMETRIC_MIDRISE has no level at zero, which activations need; it is for {{\"weights\": ..}}");
  return mode;
}

void read_value(const Config& from, ModuleQuantMode& mode) {
  if (from.json().is_object()) {
    if (from.json().empty())
      config_error(from.where(),
                   "expected a mode, or an object with 'activations', 'weights' or both; got an empty one");
    ModePair pair{mode.activations, mode.weights};
    read_onto(pair, from);
    mode = {pair.activations, pair.weights};
  } else {
    read_onto(mode.activations, from);
    mode.weights = mode.activations;
  }
  activation_mode(mode.activations, from);
}

void write_value(const ModuleQuantMode& mode, Json& to) {
  if (mode.activations == mode.weights)
    to = enum_name(mode.activations);
  else
    to = {{"activations", enum_name(mode.activations)}, {"weights", enum_name(mode.weights)}};
}

void value_schema(const ModuleQuantMode&, Json& to) {
  to = {{"oneOf", Json::array({schema_of<LinearQuantMode>(), schema_of<ModePair>()})}};
}

QuantizedRange quantized_range(int bits, LinearQuantMode mode) {
  check(bits >= 1 && bits <= 32, "quantized range: expected 1 to 32 bits, got {}", bits);
  if (mode == LinearQuantMode::asymmetric_unsigned) return {0, static_cast<float>(std::exp2(bits) - 1)};
  const double qmax = std::exp2(bits - 1) - 1;
  return {static_cast<float>(mode == LinearQuantMode::symmetric_restricted ? -qmax : -qmax - 1),
          static_cast<float>(qmax)};
}

}  // namespace qgrad
