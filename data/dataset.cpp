// Opening a data set by its config.
#include "data/dataset.h"

namespace qgrad {

std::unique_ptr<Dataset> open_dataset(Config config, const std::optional<std::string>& folder) {
  if (folder) {
    const Json resolved = Registry<Dataset>::resolve(config);
    check(resolved.contains("dir"), "--data {}: the data set '{}' reads no folder", *folder,
          resolved.at("class").get<std::string>());
    config.value["dir"] = *folder;
  }
  return Registry<Dataset>::create(config);
}

}  // namespace qgrad
