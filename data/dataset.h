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
  Shape image;                         // [H, W, C]
  std::vector<uint8_t> pixels;         // size() * image.numel()
  std::vector<int32_t> labels;         // 0 .. classes - 1
  std::vector<std::string> remarks{};  // sentences on what was left out of it, or is missing
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

class Dataset {
 public:
  static constexpr const char* kRole = "data set";
  virtual ~Dataset() = default;
  virtual std::string name() const = 0;
  virtual Shape image_shape() const = 0;
  virtual std::string folder() const { return {}; }                // that it is read from; empty where there is none
  virtual bool order_follows_from_names() const { return false; }  // of the classes: other names, another order

  const std::vector<std::string>& class_names() const { return class_names_; }  // in the order of the labels
  // Labels are places in `names` from now on. Throws unless they are class_names() in some order.
  void order_classes(const std::vector<std::string>& names);

  // Both are read at the first call and kept. Every length and label is checked; errors name the file.
  const ImageSet& train() { return train_ ? *train_ : train_.emplace(labelled(read_train())); }
  const ImageSet& test() { return test_ ? *test_ : test_.emplace(labelled(read_test())); }

 protected:
  explicit Dataset(std::vector<std::string> class_names)
      : names_as_read_(class_names), class_names_(std::move(class_names)) {}
  const std::vector<std::string>& names_as_read() const { return names_as_read_; }  // labels that are read are in it

 private:
  virtual ImageSet read_train() const = 0;
  virtual ImageSet read_test() const = 0;
  ImageSet labelled(ImageSet set) const;

  const std::vector<std::string> names_as_read_;
  std::vector<std::string> class_names_;
  std::optional<ImageSet> train_, test_;
};

// Creates the data set a config names. A folder given on the command line (--data) goes before the config's "dir".
// Throws where the class takes none.
std::unique_ptr<Dataset> open_dataset(Config config, const std::optional<std::string>& folder);

}  // namespace qgrad
