// How images of any size become those that a network takes.
#pragma once

#include <optional>

#include "core/config.h"
#include "data/geometry.h"

namespace qgrad {

// In a config a number, or [height, width].
struct Sides {
  int64_t first = 0;  // of both sides, or of the shorter one
  std::optional<int64_t> second;
  ImageSize both() const { return {first, second.value_or(first)}; }
};
void read_value(const Config& from, Sides& value);
void write_value(const Sides& value, Json& to);
void value_schema(const Sides& value, Json& to);

// torchvision's Resize and then its CenterCrop; or `size`, a Resize to [height, width], which goes with neither.
struct ImageFit {
  std::optional<Sides> size, resize, center_crop;
};
void fields(Fields& v, ImageFit& fit);

void check_fit(const ImageFit& fit);  // throws where `size` is beside the others

// The size that all images get, if it is one; that which an image of some size gets; and the image.
std::optional<ImageSize> fixed_size(const ImageFit& fit);
ImageSize fitted_size(const ImageFit& fit, const ImageSize& size);
Image fitted(Image image, const ImageFit& fit);

}  // namespace qgrad
