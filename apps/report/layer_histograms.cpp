// From JSON to drawings.
#include "apps/report/layer_histograms.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <tuple>

#include "apps/report/colors.h"
#include "apps/report/grid_histogram.h"
#include "apps/report/page.h"

namespace qgrad {
namespace {

std::string bits_in_words(const Json& tensor) {
  return tensor.at("bits").is_null() ? "float" : fmt::format("{} bits", tensor.at("bits").get<int>());
}

GridHistogram histogram_of(const Json& tensor, const char* what, const char* color) {
  const Json& counts = tensor.at("histogram");
  GridHistogram histogram{.title = fmt::format("{}, {}", what, bits_in_words(tensor)),
                          .x_label = tensor.at("in_steps").get<bool>() ? "in steps" : "value",
                          .color = color,
                          .low = counts.at("low").get<double>(),
                          .bin_width = counts.at("bin_width").get<double>(),
                          .counts = counts.at("counts").get<std::vector<int64_t>>(),
                          .levels = std::nullopt};
  if (tensor.contains("levels")) {
    const Json& levels = tensor.at("levels");
    const double low = levels.at("low").get<double>(), high = levels.at("high").get<double>();
    const auto uneven = levels.value("uneven", std::vector<double>());
    const double step =
        uneven.empty() ? levels.at("step").get<double>() : (high - low) / static_cast<double>(uneven.size() - 1);
    histogram.levels = {low, high, step, uneven};
  }
  return histogram;
}

}  // namespace

std::string layer_histograms(const Json& layers) {
  std::string all = paragraph(
      "Heights are square roots of counts, so that the few numbers far from the middle can be seen. Lines are levels; "
      "where they are too many to be told apart, a band shows their range. What is in steps is divided by the distance "
      "of two levels, which may be another for each channel.");
  for (const Json& layer : layers) {
    std::string summary = layer.at("path").get<std::string>(), drawings;
    for (const auto& [key, what, color] : {std::tuple("weights", "weights", kWeightsColor),
                                           {"input", "inputs", kActivationsColor},
                                           {"output", "outputs", kActivationsColor}}) {
      if (!layer.contains(key)) continue;
      summary += fmt::format(", {} {}", what, bits_in_words(layer.at(key)));
      drawings += svg(histogram_of(layer.at(key), what, color));
    }
    all += folded(summary, "<div class=\"pair\">\n" + drawings + "</div>\n");
  }
  return all;
}

}  // namespace qgrad
