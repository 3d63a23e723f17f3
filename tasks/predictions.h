// What networks take labelled images for, image by image: classes that are confused, and images that quantization
// loses.
#pragma once

#include <vector>

#include "tasks/experiment.h"
#include "tasks/metrics.h"

namespace qgrad {

struct Predictions {
  Metrics metrics;
  std::vector<int32_t> classes;  // with the largest output, the first of equals; in the order of the evaluated images
};
// Of the images that results are of. Shows progress under `label`.
Predictions predictions(Module& model, const ImageTask& data, const std::string& label);
// The same of a float model, which computes every image by itself: faster.
Predictions float_predictions(Module& model, const ImageTask& data, const std::string& label);

// {"classes": names, "complete", "pairs": [{"right", "taken_for", "images"}]}, by places of the names: every pair that
// occurs, where there are no more than twenty classes; else the twenty of unequal ones that are most frequent.
Json confusion(const ImageTask& data, const std::vector<int32_t>& classes);

// {"lost", "won": how many images one of the networks alone is right on, "shown": [{"image", "right", "taken_for",
// "png"}]}: the first 24 that the second one lost, small, in base64.
Json lost_images(const ImageTask& data, const std::vector<int32_t>& before, const std::vector<int32_t>& after);

}  // namespace qgrad
