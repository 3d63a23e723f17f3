// VGG (Simonyan and Zisserman 2015, configurations A, B, D and E) for CIFAR-10: one linear layer instead of three,
// behind an average over what the last pooling leaves of larger images. Names as in Distiller's vgg_cifar.py.
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "nn/models/architecture.h"

namespace qgrad {
namespace {

// Convolutions before each of the five pooling layers, which come with 64, 128, 256, 512 and 512 channels.
using StageDepths = std::array<int, 5>;
constexpr std::array<int64_t, 5> kWidths{64, 128, 256, 512, 512};

ModulePtr features(const StageDepths& depths, bool batch_norm, int64_t widening) {
  auto layers = std::make_unique<Sequential>();
  int64_t in = 3;
  for (size_t stage = 0; stage < depths.size(); ++stage) {
    const int64_t width = kWidths[stage] * widening;
    for (int i = 0; i < depths[stage]; ++i) {
      layers->add<Conv2d>(square_conv(in, width, 3, /*stride=*/1, /*padding=*/1));
      if (batch_norm) layers->add<BatchNorm2d>(width);
      layers->add<ReLU>();
      in = width;
    }
    layers->add<MaxPool2d>(2);
  }
  return layers;
}

class VggCifar final : public UnaryModule {
 public:
  VggCifar(const StageDepths& depths, bool batch_norm, const ClassifierConfig& c)
      : features_(child("features", features(depths, batch_norm, c.widening))),
        avgpool_(child<GlobalAvgPool2d>("avgpool")),
        classifier_(child<Linear>("classifier", 512 * c.widening, c.classes)) {}
  std::string_view kind() const override { return "VggCifar"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor images = features_(x);
    const bool is_one_pixel = images.dim(1) * images.dim(2) == 1;  // of 32x32: Distiller's network, to the last bit
    return classifier_(flatten(is_one_pixel ? images : avgpool_(images)));
  }

 private:
  Child features_, avgpool_, classifier_;
};

template <StageDepths kDepths, bool kBatchNorm>
ModulePtr make_vgg(const ClassifierConfig& config) {
  return std::make_unique<VggCifar>(kDepths, kBatchNorm, config);
}
template <StageDepths kDepths, bool kBatchNorm>
using Vgg = Registered<Architecture, ClassifierArchitecture<make_vgg<kDepths, kBatchNorm>>, ClassifierConfig>;

constexpr StageDepths kA{1, 1, 2, 2, 2}, kB{2, 2, 2, 2, 2}, kD{2, 2, 3, 3, 3}, kE{2, 2, 4, 4, 4};

const Vgg<kA, false> vgg11{"vgg11", "VGG-11 for CIFAR"};
const Vgg<kB, false> vgg13{"vgg13", "VGG-13 for CIFAR"};
const Vgg<kD, false> vgg16{"vgg16", "VGG-16 for CIFAR"};
const Vgg<kE, false> vgg19{"vgg19", "VGG-19 for CIFAR"};
const Vgg<kA, true> vgg11_bn{"vgg11_bn", "VGG-11 for CIFAR with batch norms"};
const Vgg<kB, true> vgg13_bn{"vgg13_bn", "VGG-13 for CIFAR with batch norms"};
const Vgg<kD, true> vgg16_bn{"vgg16_bn", "VGG-16 for CIFAR with batch norms"};
const Vgg<kE, true> vgg19_bn{"vgg19_bn", "VGG-19 for CIFAR with batch norms"};

}  // namespace
}  // namespace qgrad
