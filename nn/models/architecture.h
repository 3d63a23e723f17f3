// Model architectures that configs name: {"class": "resnet20", "classes": 10}.
#pragma once

#include <cstdint>
#include <vector>

#include "core/registry.h"
#include "nn/init.h"
#include "nn/module.h"

namespace qgrad {

class Architecture {
 public:
  static constexpr const char* kRole = "model";
  virtual ~Architecture() = default;

  virtual Shape image_shape() const = 0;  // [H, W, C] of one input image
  // Whether images are to be of that size where nobody says another; false: it is an example, and any size is as good.
  virtual bool has_size() const { return true; }
  // Whether it may be for such images; its layers may still refuse their size.
  virtual bool takes(const Shape& image) const { return image == image_shape(); }
  virtual std::vector<Tensor> example() const;  // inputs for traces where no data is at hand: zeros, one example

  // A new model whose parameters are drawn from the seed's named streams (nn/init.h).
  virtual ModulePtr build(uint64_t seed) const;
  // A new model whose parameters are as constructors leave them, to be loaded from a checkpoint.
  virtual ModulePtr make() const = 0;

 protected:
  virtual ConvInit conv_init() const { return ConvInit::kaiming_fan_out; }
};

// The config of most classifiers.
struct ClassifierConfig {
  int64_t classes = 10;
  int64_t widening = 1;
};
inline void fields(Fields& v, ClassifierConfig& c) {
  v("classes", c.classes, {.help = "outputs of the last layer", .min = 1});
  v("widening", c.widening,
    {.help = "factor of every inner layer's channels; WRPN makes up for few bits with 2 or 3", .min = 1, .max = 64});
}

// 1,000 classes unless said otherwise, as those of ImageNet.
struct ImageNetConfig : ClassifierConfig {
  ImageNetConfig() { classes = 1000; }
};

// An architecture for colour images that is nothing but a function of this config. kSize: their usual height and width.
template <ModulePtr (*kMake)(const ClassifierConfig&), ConvInit kConvInit = ConvInit::kaiming_fan_out, int kSize = 32>
class ClassifierArchitecture final : public Architecture {
 public:
  explicit ClassifierArchitecture(const ClassifierConfig& config) : config_(config) {}
  Shape image_shape() const override { return {kSize, kSize, 3}; }
  bool has_size() const override { return false; }
  bool takes(const Shape& image) const override { return image.rank() == 3 && image[2] == 3; }
  ModulePtr make() const override { return kMake(config_); }

 protected:
  ConvInit conv_init() const override { return kConvInit; }

 private:
  ClassifierConfig config_;
};

}  // namespace qgrad
