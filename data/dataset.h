// Labelled images in memory, and the classes of data sets that configs name.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.h"
#include "core/shape.h"

namespace qgrad {

// Decoded images, bytes in NHWC order.
struct ImageSet {
  Shape image;                  // [H, W, C]
  std::vector<uint8_t> pixels;  // size() * image.numel()
  std::vector<int32_t> labels;  // 0 .. classes - 1
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

class Dataset {
 public:
  static constexpr const char* kRole = "data set";
  virtual ~Dataset() = default;
  virtual std::string name() const = 0;
  virtual const std::vector<std::string>& class_names() const = 0;
  virtual Shape image_shape() const = 0;
  // Both are read at the first call and kept. Every length and label is checked; errors name the file.
  virtual const ImageSet& train() = 0;
  virtual const ImageSet& test() = 0;
};

// Creates the data set a config names. A folder given on the command line (--data) goes before the config's "dir".
// Throws where the class takes none.
std::unique_ptr<Dataset> open_dataset(Config config, const std::optional<std::string>& folder);

}  // namespace qgrad
