// What a quantized network gets wrong, as HTML: classes that it confuses, and images that the float network is right
// on.
#pragma once

#include <string>

#include "core/json.h"

namespace qgrad {

// Of confusion() and of lost_images() (tasks/predictions.h): a matrix where every pair of classes is there, else a list
// of pairs; and a sheet of pictures.
std::string confused_classes(const Json& confusion);
std::string lost_images_sheet(const Json& images);

}  // namespace qgrad
