// Residual networks (He et al. 2016, "Deep Residual Learning"): for CIFAR-10 (section 4.2) with 1x1 convolutions as
// shortcuts, and the same without shortcuts ("plain"), named as in Distiller's resnet_cifar.py and plain_cifar.py; for
// ImageNet (table 1), named as in torchvision, whose files they load.
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

// The shortcut of a block that changes the shape: a strided 1x1 convolution and a batch norm.
ModulePtr projection(int64_t in, int64_t out, int64_t stride) {
  auto layers = std::make_unique<Sequential>();
  layers->add<Conv2d>(square_conv(in, out, 1, stride, /*padding=*/0, /*bias=*/false)).add<BatchNorm2d>(out);
  return layers;
}

class ResidualBlock final : public UnaryModule {
 public:
  ResidualBlock(int64_t in, int64_t out, int64_t stride)
      : conv1_(child<Conv2d>("conv1", conv3x3(in, out, stride))),
        bn1_(child<BatchNorm2d>("bn1", out)),
        relu1_(child<ReLU>("relu1")),
        conv2_(child<Conv2d>("conv2", conv3x3(out, out))),
        bn2_(child<BatchNorm2d>("bn2", out)),
        relu2_(child<ReLU>("relu2")) {
    if (stride != 1 || in != out) downsample_.emplace(*this, "downsample", projection(in, out, stride));
    add_.emplace(*this, "residual_eltwiseadd", std::make_unique<EltwiseAdd>());
  }
  std::string_view kind() const override { return "ResidualBlock"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor branch = bn2_(conv2_(relu1_(bn1_(conv1_(x)))));
    return relu2_((*add_)(downsample_ ? (*downsample_)(x) : x, branch));
  }

 private:
  Child conv1_, bn1_, relu1_, conv2_, bn2_, relu2_;
  std::optional<Child> downsample_, add_;  // registered in Distiller's order: the addition comes last
};

// Narrow, 3x3, and four times as wide again. The stride is the second convolution's, as in torchvision.
class BottleneckBlock final : public UnaryModule {
 public:
  static constexpr int64_t kWiden = 4;
  BottleneckBlock(int64_t in, int64_t out, int64_t stride)
      : conv1_(child<Conv2d>("conv1", square_conv(in, out / kWiden, 1, 1, 0, false))),
        bn1_(child<BatchNorm2d>("bn1", out / kWiden)),
        relu1_(child<ReLU>("relu1")),
        conv2_(child<Conv2d>("conv2", conv3x3(out / kWiden, out / kWiden, stride))),
        bn2_(child<BatchNorm2d>("bn2", out / kWiden)),
        relu2_(child<ReLU>("relu2")),
        conv3_(child<Conv2d>("conv3", square_conv(out / kWiden, out, 1, 1, 0, false))),
        bn3_(child<BatchNorm2d>("bn3", out)),
        relu3_(child<ReLU>("relu3")) {
    if (stride != 1 || in != out) downsample_.emplace(*this, "downsample", projection(in, out, stride));
    add_.emplace(*this, "residual_eltwiseadd", std::make_unique<EltwiseAdd>());
  }
  std::string_view kind() const override { return "BottleneckBlock"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor branch = bn3_(conv3_(relu2_(bn2_(conv2_(relu1_(bn1_(conv1_(x))))))));
    return relu3_((*add_)(downsample_ ? (*downsample_)(x) : x, branch));
  }

 private:
  Child conv1_, bn1_, relu1_, conv2_, bn2_, relu2_, conv3_, bn3_, relu3_;
  std::optional<Child> downsample_, add_;
};

ModulePtr batch_norm_or_identity(int64_t features, bool batch_norm) {
  if (batch_norm) return std::make_unique<BatchNorm2d>(features);
  return std::make_unique<Identity>();
}

class PlainBlock final : public UnaryModule {
 public:
  PlainBlock(int64_t in, int64_t out, int64_t stride, bool batch_norm)
      : conv1_(child<Conv2d>("conv1", conv3x3(in, out, stride))),
        bn1_(child("bn1", batch_norm_or_identity(out, batch_norm))),
        relu1_(child<ReLU>("relu1")),
        conv2_(child<Conv2d>("conv2", conv3x3(out, out))),
        bn2_(child("bn2", batch_norm_or_identity(out, batch_norm))),
        relu2_(child<ReLU>("relu2")) {}
  std::string_view kind() const override { return "PlainBlock"; }

 protected:
  Tensor forward(const Tensor& x) override { return relu2_(bn2_(conv2_(relu1_(bn1_(conv1_(x)))))); }

 private:
  Child conv1_, bn1_, relu1_, conv2_, bn2_, relu2_;
};

enum class Variant { residual, plain, plain_without_batch_norm };

ModulePtr stage(Variant variant, int64_t blocks, int64_t in, int64_t out, int64_t stride) {
  auto layer = std::make_unique<Sequential>();
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t block_in = i == 0 ? in : out, block_stride = i == 0 ? stride : 1;
    if (variant == Variant::residual)
      layer->add<ResidualBlock>(block_in, out, block_stride);
    else
      layer->add<PlainBlock>(block_in, out, block_stride, variant == Variant::plain);
  }
  return layer;
}

// 6 * blocks + 2 layers.
class ResNetCifar final : public UnaryModule {
 public:
  ResNetCifar(Variant variant, int64_t blocks, const ClassifierConfig& c)
      : conv1_(child<Conv2d>("conv1", conv3x3(3, 16 * c.widening))),
        bn1_(child("bn1", batch_norm_or_identity(16 * c.widening, variant != Variant::plain_without_batch_norm))),
        relu_(child<ReLU>("relu")),
        layer1_(child("layer1", stage(variant, blocks, 16 * c.widening, 16 * c.widening, 1))),
        layer2_(child("layer2", stage(variant, blocks, 16 * c.widening, 32 * c.widening, 2))),
        layer3_(child("layer3", stage(variant, blocks, 32 * c.widening, 64 * c.widening, 2))),
        avgpool_(child<GlobalAvgPool2d>("avgpool")),
        fc_(child<Linear>("fc", 64 * c.widening, c.classes)) {}
  std::string_view kind() const override { return "ResNetCifar"; }

 protected:
  Tensor forward(const Tensor& x) override {
    return fc_(flatten(avgpool_(layer3_(layer2_(layer1_(relu_(bn1_(conv1_(x)))))))));
  }

 private:
  Child conv1_, bn1_, relu_, layer1_, layer2_, layer3_, avgpool_, fc_;
};

template <Variant kVariant, int kBlocks>
ModulePtr make_resnet(const ClassifierConfig& config) {
  return std::make_unique<ResNetCifar>(kVariant, kBlocks, config);
}
template <Variant kVariant, int kBlocks>
using ResNet = Registered<Architecture, ClassifierArchitecture<make_resnet<kVariant, kBlocks>>, ClassifierConfig>;

// Depths: blocks of each stage.
struct Depths {
  int64_t blocks[4];
};
template <class Block>
ModulePtr imagenet_resnet(const Depths& depths, int64_t first, const ClassifierConfig& c) {
  auto net = std::make_unique<Sequential>();
  const int64_t width = 64 * c.widening;
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, width, 7, 2, 3, false)));
  net->add("bn1", std::make_unique<BatchNorm2d>(width)).add("relu", std::make_unique<ReLU>());
  net->add("maxpool", std::make_unique<MaxPool2d>(Pool2dOptions{3, 3, 2, 2, 1, 1}));
  int64_t in = width, out = first * c.widening;
  for (int stage = 0; stage < 4; ++stage, out *= 2) {
    auto layer = std::make_unique<Sequential>();
    for (int64_t i = 0; i < depths.blocks[stage]; ++i, in = out)
      layer->add<Block>(in, out, i == 0 && stage > 0 ? 2 : 1);
    net->add(fmt::format("layer{}", stage + 1), std::move(layer));
  }
  net->add("avgpool", std::make_unique<GlobalAvgPool2d>()).add("flatten", std::make_unique<Flatten>());
  net->add("fc", std::make_unique<Linear>(in, c.classes));
  return net;
}
template <Depths kDepths>
ModulePtr make_basic(const ClassifierConfig& config) {
  return imagenet_resnet<ResidualBlock>(kDepths, 64, config);
}
template <Depths kDepths>
ModulePtr make_bottleneck(const ClassifierConfig& config) {
  return imagenet_resnet<BottleneckBlock>(kDepths, 64 * BottleneckBlock::kWiden, config);
}
template <ModulePtr (*kMake)(const ClassifierConfig&)>
using ImageNetResNet =
    Registered<Architecture, ClassifierArchitecture<kMake, ConvInit::kaiming_fan_out, 224>, ImageNetConfig>;

const ImageNetResNet<make_basic<Depths{2, 2, 2, 2}>> resnet18{"resnet18",
                                                              "ResNet-18 for ImageNet, with torchvision's names"};
const ImageNetResNet<make_basic<Depths{3, 4, 6, 3}>> resnet34{"resnet34",
                                                              "ResNet-34 for ImageNet, with torchvision's names"};
const ImageNetResNet<make_bottleneck<Depths{3, 4, 6, 3}>> resnet50{"resnet50",
                                                                   "ResNet-50 for ImageNet, with torchvision's names"};

const ResNet<Variant::residual, 3> resnet20{"resnet20", "ResNet-20 for CIFAR (He et al. 2016)"};
const ResNet<Variant::residual, 5> resnet32{"resnet32", "ResNet-32 for CIFAR (He et al. 2016)"};
const ResNet<Variant::residual, 7> resnet44{"resnet44", "ResNet-44 for CIFAR (He et al. 2016)"};
const ResNet<Variant::residual, 9> resnet56{"resnet56", "ResNet-56 for CIFAR (He et al. 2016)"};
const ResNet<Variant::plain, 3> plain20{"plain20", "ResNet-20 for CIFAR without its shortcuts"};
const ResNet<Variant::plain_without_batch_norm, 3> plain20_nobn{"plain20_nobn", "the same without batch norms"};

}  // namespace
}  // namespace qgrad
