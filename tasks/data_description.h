// What a network was trained on, as far as its use depends on it, and the one comparison of two such descriptions:
// wherever data, models, checkpoints, teachers and programs meet.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/shape.h"

namespace qgrad {

// Checkpoints record it under "trained_on". What nobody said is empty.
struct DataDescription {
  std::vector<int64_t> image;        // height, width, channels
  std::vector<float> mean, std;      // for each channel: (byte / 255 - mean) / std is the input
  std::vector<std::string> classes;  // in the order of the outputs
  std::optional<int64_t> users, items;
};
inline void fields(Fields& v, DataDescription& c) {
  v("image", c.image, {.help = "height, width and channels", .min = 1});
  v("mean", c.mean, {.help = "for each channel, of byte/255"});
  v("std", c.std, {.help = "for each channel, of byte/255", .min = 0, .above_min = true});
  v("classes", c.classes, {.help = "their names, in the order of the outputs"});
  v("users", c.users, {.help = "of ratings", .min = 1});
  v("items", c.items, {.help = "of ratings", .min = 1});
}

// A description, and whose it is, for messages.
struct Described {
  std::string whose;
  DataDescription data;
};

// Throws, naming both sides, where they say different things. What one side does not say is no difference.
void check_agree(const Described& a, const Described& b);

std::string image_text(std::span<const int64_t> image);  // "48x32x3"

}  // namespace qgrad
