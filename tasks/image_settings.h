// What the configs of data sets and of models leave to each other: the size of images, their channels, the classes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/config.h"
#include "data/image_fit.h"
#include "tasks/data_description.h"

namespace qgrad {

// Height, width and channels of the images as the settings of a data set say, if they do: where the images need not be
// here. Empty where that shows in the images alone.
std::vector<int64_t> configured_image(const Config& dataset);

// How a data set's settings bring images to their size; null where its class has no such settings.
std::optional<ImageFit> configured_fit(const Config& dataset);

// A data set's settings, in which what is open is as in `image` (height, width, channels), 0 being nothing known;
// empty: nothing at all.
Config with_image(Config dataset, std::span<const int64_t> image);

// What a model's config says of its images, 0 what it leaves open.
std::vector<int64_t> image_of_model(const Config& model);

// A model's config, in which what is open ("classes"; for some "image_size", "channels") is as the data have it.
Config with_data(Config model, const DataDescription& data);

}  // namespace qgrad
