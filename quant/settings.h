// What a quantized tensor's settings are: bits, mode, clipping. The vocabulary of every quantizer's config.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/grid.h"
#include "core/json.h"
#include "quant/arithmetic.h"

namespace qgrad {

struct Config;

// Which integers stand for a range (Distiller q_utils.LinearQuantMode, but for the last).
enum class LinearQuantMode {
  symmetric,             // +-max|x|, zero point 0, n = (2^b - 1) / 2 levels per side
  symmetric_restricted,  // the same with n = 2^(b-1) - 1, so that qmin = -qmax
  asymmetric_unsigned,   // [min, max] to 0 .. 2^b - 1
  asymmetric_signed,     // the same, shifted by 2^(b-1)
  // Of weights alone: +-max|x|, zero point 1/2, so that as many levels lie above zero as below, and none on it.
  symmetric_midrise,
};
bool is_symmetric(LinearQuantMode mode);
std::vector<std::pair<std::string, LinearQuantMode>> enum_names(LinearQuantMode*);  // Distiller's spelling, upper case

// How a range is cut before it is quantized (Distiller range_linear.ClipMode; the last three are not Distiller's, see
// ranges/from_histogram.h).
enum class ClipMode { none, avg, n_std, gauss, laplace, percentile, mse, kl };
std::vector<std::pair<std::string, ClipMode>> enum_names(ClipMode*);  // "NONE", "AVG", ..

// A mode for activations and one for weights. In JSON a mode's name for both, or {"activations": .., "weights": ..}.
struct ModuleQuantMode {
  LinearQuantMode activations = LinearQuantMode::symmetric;
  LinearQuantMode weights = LinearQuantMode::symmetric;
  bool operator==(const ModuleQuantMode&) const = default;
};
// Refuses modes without a level at zero for activations: padding and ReLU make zeros.
LinearQuantMode activation_mode(LinearQuantMode mode, const Config& place);
void read_value(const Config& from, ModuleQuantMode& mode);  // an object without one of the two keeps that one
void write_value(const ModuleQuantMode& mode, Json& to);
void value_schema(const ModuleQuantMode& mode, Json& to);

// Bit widths of one module; nullopt: not quantized.
struct Bits {
  std::optional<int> activations, weights, bias;
  bool operator==(const Bits&) const = default;
};

// Of what a layer with weights reads.
struct InputBits {
  int bits = 0;
  std::string of;  // the module whose bits_activations these are; empty: none, as where input_overrides give them
};

// unsigned [0, 2^b - 1]; signed [-2^(b-1), 2^(b-1) - 1], restricted [-(2^(b-1) - 1), 2^(b-1) - 1].
// Bits 1 to 32; the ends of ranges beyond 2^24 are rounded to float.
QuantizedRange quantized_range(int bits, LinearQuantMode mode);

}  // namespace qgrad
