// torchvision's RandomResizedCrop on our random numbers: the augmentation that ImageNet's networks are trained with.
#pragma once

#include <cstdint>

#include "core/config.h"
#include "data/dataset.h"
#include "data/geometry.h"

namespace qgrad {

struct Range {  // in a config [smallest, largest]
  double low = 0, high = 0;
};
void read_value(const Config& from, Range& value);
void write_value(const Range& value, Json& to);
void value_schema(const Range& value, Json& to);

struct RandomResizedCropConfig {
  Range scale{0.08, 1.0}, ratio{3.0 / 4.0, 4.0 / 3.0};
};
void fields(Fields& v, RandomResizedCropConfig& c);

struct CropWindow {
  int64_t top, left;
  ImageSize size;
};

// The window of torchvision's get_params: an area of `scale` of the image's, a width of `ratio` heights (evenly
// distributed in its logarithm), at any place; after ten that do not fit, the largest in the middle whose ratio is
// within. Try t of (epoch, sample) takes the four numbers of block(sample, 10 epoch + t) of stream (seed, "resized
// crop"): area, ratio, top, left.
CropWindow random_window(const RandomResizedCropConfig& config, const ImageSize& image, uint64_t seed, int64_t epoch,
                         int64_t sample);

// The images of a set, which must outlive it, cut out of the originals and resized at random, for every epoch anew.
ImageSet randomly_cropped(const ImageSet& set, const RandomResizedCropConfig& config, uint64_t seed);

}  // namespace qgrad
