// Counting pairs and comparing lists.
#include "tasks/predictions.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/base64.h"
#include "data/png.h"
#include "nn/inference.h"

namespace qgrad {
namespace {

constexpr size_t kMostClasses = 20, kMostPairs = 20, kMostShown = 24;
constexpr int64_t kShownSide = 96;

void append_largest(const Tensor& logits, std::vector<int32_t>& classes) {
  const auto width = static_cast<size_t>(logits.dim(-1));
  for (size_t i = 0; i < logits.data().size(); i += width) {
    const auto row = logits.data().subspan(i, width);
    classes.push_back(static_cast<int32_t>(std::ranges::max_element(row) - row.begin()));
  }
}

Predictions predictions_by(Module& model, const std::function<Tensor(const Tensor& images)>& forward,
                           const ImageTask& data, const std::string& label) {
  const EvaluationMode evaluating(model);
  Loader loader = data.test();
  Predictions result;
  result.metrics = evaluate(
      [&](const Tensor& images) {
        Tensor logits = forward(images);
        append_largest(logits, result.classes);
        return logits;
      },
      loader, label);
  return result;
}

int32_t label_of(const ImageTask& data, size_t i) {
  return data.evaluated_set().labels[static_cast<size_t>(data.evaluated_places()[i])];
}

// Outputs beyond the classes of the data have no names.
std::string name_of(const ImageTask& data, int32_t label) {
  const auto& names = data.dataset().class_names();
  return static_cast<size_t>(label) < names.size() ? names[static_cast<size_t>(label)]
                                                   : fmt::format("output {}", label);
}

// As the network sees it.
Image image_at(const ImageSet& set, int64_t place) {
  if (set.read) return {set.image, set.read(place, 0)};
  const auto begin = set.pixels.begin() + place * set.image.numel();
  return {set.image, {begin, begin + set.image.numel()}};
}

struct Pair {
  int32_t right, taken_for;
  int64_t images;
};

}  // namespace

Predictions predictions(Module& model, const ImageTask& data, const std::string& label) {
  return predictions_by(
      model, [&](const Tensor& images) { return model(images); }, data, label);
}

Predictions float_predictions(Module& model, const ImageTask& data, const std::string& label) {
  return predictions_by(
      model, [&](const Tensor& images) { return forward_in_blocks(model, images, kInferenceBlock); }, data, label);
}

Json confusion(const ImageTask& data, const std::vector<int32_t>& classes) {
  std::map<std::pair<int32_t, int32_t>, int64_t> counts;
  int32_t last = static_cast<int32_t>(data.dataset().class_names().size()) - 1;
  for (size_t i = 0; i < classes.size(); ++i) {
    ++counts[{label_of(data, i), classes[i]}];
    last = std::max(last, classes[i]);
  }
  const bool complete = static_cast<size_t>(last) < kMostClasses;
  std::vector<Pair> pairs;
  for (const auto& [pair, images] : counts)
    if (complete || pair.first != pair.second) pairs.push_back({pair.first, pair.second, images});
  if (!complete) {
    std::ranges::stable_sort(pairs, std::greater(), &Pair::images);
    pairs.resize(std::min(pairs.size(), kMostPairs));
  }
  Json json = {{"classes", Json::array()}, {"complete", complete}, {"pairs", Json::array()}};
  for (int32_t i = 0; i <= last; ++i) json["classes"].push_back(name_of(data, i));
  for (const Pair& pair : pairs)
    json["pairs"].push_back({{"right", pair.right}, {"taken_for", pair.taken_for}, {"images", pair.images}});
  return json;
}

Json lost_images(const ImageTask& data, const std::vector<int32_t>& before, const std::vector<int32_t>& after) {
  int64_t lost = 0, won = 0;
  Json shown = Json::array();
  for (size_t i = 0; i < before.size(); ++i) {
    const int32_t right = label_of(data, i);
    won += before[i] != right && after[i] == right;
    if (before[i] != right || after[i] == right) continue;
    ++lost;
    if (shown.size() == kMostShown) continue;
    const int64_t place = data.evaluated_places()[i];
    const Image image = shrunk(image_at(data.evaluated_set(), place), kShownSide);
    shown.push_back({{"image", place},
                     {"right", name_of(data, right)},
                     {"taken_for", name_of(data, after[i])},
                     {"png", base64(png_of(image))}});
  }
  return {{"lost", lost}, {"won", won}, {"shown", shown}};
}

}  // namespace qgrad
