// Filling in what is open.
#include "tasks/image_settings.h"

#include <nlohmann/json.hpp>

#include "data/dataset.h"
#include "nn/models/architecture.h"
#include "tasks/recommendation.h"

namespace qgrad {
namespace {

constexpr int64_t kChannels = 3;  // of a data set whose settings, and whose network, say nothing

// Of the data sets that have such settings.
std::optional<ImageFit> fit_of(const Json& settings) {
  ImageFit fit;
  for (const auto& [key, sides] :
       {std::pair("size", &fit.size), std::pair("resize", &fit.resize), std::pair("center_crop", &fit.center_crop)}) {
    if (!settings.contains(key)) return std::nullopt;
    read_onto(*sides, Config(settings.at(key)));
  }
  return fit;
}

}  // namespace

std::optional<ImageFit> configured_fit(const Config& dataset) {
  return is_recommendation(dataset) ? std::nullopt : fit_of(Registry<Dataset>::resolve(dataset));
}

std::vector<int64_t> configured_image(const Config& dataset) {
  if (is_recommendation(dataset)) return {};
  const Json settings = Registry<Dataset>::resolve(dataset);
  const auto fit = fit_of(settings);
  const auto size = fit ? fixed_size(*fit) : std::nullopt;
  if (!size) return {};
  const Json& channels = settings.at("channels");
  return {size->height, size->width, channels.is_null() ? kChannels : channels.get<int64_t>()};
}

Config with_image(Config dataset, std::span<const int64_t> image) {
  if (image.size() != 3 || is_recommendation(dataset)) return dataset;
  const Json settings = Registry<Dataset>::resolve(dataset);
  const auto fit = fit_of(settings);
  if (!fit) return dataset;
  if (!fixed_size(*fit) && image[0] > 0) dataset.json()[fit->resize ? "center_crop" : "size"] = {image[0], image[1]};
  if (settings.at("channels").is_null() && image[2] > 0) dataset.json()["channels"] = image[2];
  return dataset;
}

std::vector<int64_t> image_of_model(const Config& model) {
  const Json settings = Registry<Architecture>::resolve(model);
  const auto architecture = Registry<Architecture>::create(model);
  const Shape image = architecture->image_shape();
  if (image.rank() != 3) return {};
  const auto is_open = [&](const char* key) { return settings.contains(key) && !model.has(key); };
  const bool has_size = architecture->has_size() && !is_open("image_size");
  return {has_size ? image[0] : 0, has_size ? image[1] : 0, is_open("channels") ? 0 : image[2]};
}

Config with_data(Config model, const DataDescription& data) {
  const Json settings = Registry<Architecture>::resolve(model);
  const auto fill_in = [&](const char* key, int64_t value) {
    if (settings.contains(key) && !model.has(key)) model.json()[key] = value;
  };
  if (!data.classes.empty()) fill_in("classes", std::ssize(data.classes));
  if (data.image.size() != 3) return model;
  if (data.image[0] == data.image[1]) fill_in("image_size", data.image[0]);
  fill_in("channels", data.image[2]);
  return model;
}

}  // namespace qgrad
