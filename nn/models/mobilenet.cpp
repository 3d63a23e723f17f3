// MobileNetV2 (Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2), named as in
// torchvision, whose files it loads; for images of 32x32 the first convolution keeps their size.
#include "nn/layers/activation.h"
#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "nn/models/architecture.h"

namespace qgrad {
namespace {

// A convolution with its batch norm and ReLU6: "0", "1", "2".
ModulePtr conv_norm_relu(Conv2dConfig config) {
  config.bias = false;
  auto layers = std::make_unique<Sequential>();
  const int64_t out = config.out;
  layers->add<Conv2d>(config).add<BatchNorm2d>(out).add<ReLU6>();
  return layers;
}

Conv2dConfig depthwise(int64_t channels, int64_t stride) {
  Conv2dConfig config = conv3x3(channels, channels, stride);
  config.options.groups = channels;
  return config;
}

// Wider by a factor, one filter for each channel, and narrow again without an activation.
class InvertedResidual final : public UnaryModule {
 public:
  InvertedResidual(int64_t in, int64_t out, int64_t stride, int64_t factor)
      : conv_(child("conv", branch(in, out, stride, factor))) {
    if (stride == 1 && in == out) add_.emplace(*this, "residual_eltwiseadd", std::make_unique<EltwiseAdd>());
  }
  std::string_view kind() const override { return "InvertedResidual"; }

 protected:
  Tensor forward(const Tensor& x) override { return add_ ? (*add_)(x, conv_(x)) : conv_(x); }

 private:
  static ModulePtr branch(int64_t in, int64_t out, int64_t stride, int64_t factor) {
    auto layers = std::make_unique<Sequential>();
    if (factor != 1) layers->add(conv_norm_relu(square_conv(in, factor * in, 1)));
    layers->add(conv_norm_relu(depthwise(factor * in, stride)));
    layers->add<Conv2d>(square_conv(factor * in, out, 1, 1, 0, false)).add<BatchNorm2d>(out);
    return layers;
  }

  Child conv_;
  std::optional<Child> add_;
};

struct Stage {
  int64_t factor, channels, blocks, stride;
};
constexpr Stage kStages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                             {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

template <int kFirstStride>
ModulePtr make_mobilenet_v2(const ClassifierConfig& c) {
  auto features = std::make_unique<Sequential>();
  int64_t in = 32 * c.widening;
  features->add(conv_norm_relu(conv3x3(3, in, kFirstStride)));
  for (const auto& [factor, channels, blocks, stride] : kStages)
    for (int64_t i = 0; i < blocks; ++i) {
      features->add<InvertedResidual>(in, channels * c.widening, i == 0 ? stride : 1, factor);
      in = channels * c.widening;
    }
  const int64_t last = 1280 * c.widening;
  features->add(conv_norm_relu(square_conv(in, last, 1)));
  auto classifier = std::make_unique<Sequential>();
  classifier->add<Identity>().add<Linear>(last, c.classes);  // a dropout comes first in torchvision's
  auto net = std::make_unique<Sequential>();
  net->add("features", std::move(features)).add("pool", std::make_unique<GlobalAvgPool2d>());
  net->add("flatten", std::make_unique<Flatten>()).add("classifier", std::move(classifier));
  return net;
}

const Registered<Architecture, ClassifierArchitecture<make_mobilenet_v2<2>, ConvInit::kaiming_fan_out, 224>,
                 ImageNetConfig>
    mobilenet_v2{"mobilenet_v2", "MobileNetV2 for ImageNet, with torchvision's names"};
const Registered<Architecture, ClassifierArchitecture<make_mobilenet_v2<1>>, ClassifierConfig> mobilenet_v2_cifar{
    "mobilenet_v2_cifar", "MobileNetV2 for CIFAR-10: the first convolution keeps the image's size"};

}  // namespace
}  // namespace qgrad
