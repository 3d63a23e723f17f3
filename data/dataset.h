// Labelled images, in memory or in files, and the classes of data sets that configs name.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/registry.h"
#include "core/shape.h"
#include "data/image.h"

namespace qgrad {

// Images of one size, bytes in NHWC order: decoded in memory, or read one by one as they are needed.
struct ImageSet {
  Shape image;                         // [H, W, C]
  std::vector<uint8_t> pixels;         // size() * image.numel(); none where `read` gives them
  std::vector<int32_t> labels;         // 0 .. classes - 1, or kNoLabel
  std::vector<std::string> remarks{};  // sentences on what was left out of it, or is missing
  // The bytes of one image, where they are not in memory, a function of its place and the epoch alone. This and the
  // next are called from several threads at once, and throw, naming the file.
  std::function<std::vector<uint8_t>(int64_t place, int64_t epoch)> read{};
  std::function<uint32_t(int64_t place)> checksum{};  // of the file that `read` reads; null where none is read
  std::function<Image(int64_t place)> original{};     // of any size; null: the image is as it was found

  static constexpr int32_t kNoLabel = -1;
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
  Image original_of(int64_t place) const;
};

class Dataset {
 public:
  static constexpr const char* kRole = "data set";
  virtual ~Dataset() = default;
  virtual std::string name() const = 0;
  virtual Shape image_shape() const = 0;
  virtual std::string folder() const { return {}; }                // that it is read from; empty where there is none
  virtual bool order_follows_from_names() const { return false; }  // of the classes: other names, another order

  // In the order of the labels; none where images have no labels.
  const std::vector<std::string>& class_names() const { return class_names_; }
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
