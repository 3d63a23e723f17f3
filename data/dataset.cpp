// Opening a data set by its config, and the order of its classes.
#include "data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace qgrad {

Image ImageSet::original_of(int64_t place) const {
  if (original) return original(place);
  const auto begin = pixels.begin() + place * image.numel();
  return {image, {begin, begin + image.numel()}};
}

void Dataset::order_classes(const std::vector<std::string>& names) {
  check(std::ranges::is_permutation(names, names_as_read_), "{}: the classes are {}, which {} is no order of", name(),
        joined(names_as_read_), joined(names));
  class_names_ = names;
  train_.reset();
  test_.reset();
}

ImageSet Dataset::labelled(ImageSet set) const {
  if (class_names_ == names_as_read_) return set;
  for (int32_t& label : set.labels)
    label = static_cast<int32_t>(std::ranges::find(class_names_, names_as_read_[static_cast<size_t>(label)]) -
                                 class_names_.begin());
  return set;
}

std::unique_ptr<Dataset> open_dataset(Config config, const std::optional<std::string>& folder) {
  if (folder) {
    const Json resolved = Registry<Dataset>::resolve(config);
    check(resolved.contains("dir"), "--data {}: the data set '{}' reads no folder", *folder,
          resolved.at("class").get<std::string>());
    config.json()["dir"] = *folder;
  }
  return Registry<Dataset>::create(config);
}

}  // namespace qgrad
