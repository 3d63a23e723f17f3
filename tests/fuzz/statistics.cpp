// A file of calibration statistics, and the ranges that quantizers take from it.
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "quant/ranges/ranges.h"
#include "quant/ranges/stats.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {
namespace {

void use(const TensorStats& stats) {
  for (const auto& [name, clip] : enum_names(static_cast<ClipMode*>(nullptr)))
    for (const LinearQuantMode mode : {LinearQuantMode::symmetric, LinearQuantMode::asymmetric_unsigned}) try {
        const QuantSettings settings{.mode = mode, .clip = clip, .n_stds = 2, .percentile = 99};
        const Grid grid = grid_from_stats(stats, settings);
        if (!std::isfinite(grid.scale) || !std::isfinite(grid.zero_point)) std::abort();
      } catch (const Error&) {
      }
}

}  // namespace

void one_input(std::string_view bytes) {
  const QuantStats stats = stats_from_json(parse_json(bytes, "stats.json"), "stats.json");
  for (const auto& [path, module] : stats) {
    for (const TensorStats& input : module.inputs) use(input);
    use(module.output);
  }
  const std::string text = json_text(stats_to_json(stats));
  if (json_text(stats_to_json(stats_from_json(parse_json(text, "again"), "again"))) != text) std::abort();
}

}  // namespace qgrad::fuzz
