// Pre-activation residual networks for CIFAR-10 (He et al. 2016, "Identity Mappings in Deep Residual Networks"). Names
// as in Distiller's preact_resnet_cifar.py; the addition is a module here, so that it can be quantized.
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

// How a block that changes the shape makes its shortcut.
enum class Shortcut {
  pooling,      // 2x2 average pooling and new channels of zeros, on the block's input as it is
  convolution,  // a strided 1x1 convolution on the pre-activated input
};

ModulePtr downsample(Shortcut shortcut, int64_t in, int64_t out, int64_t stride) {
  if (shortcut == Shortcut::convolution)
    return std::make_unique<Conv2d>(square_conv(in, out, 1, stride, /*padding=*/0, /*bias=*/false));
  auto layers = std::make_unique<Sequential>();
  layers->add<AvgPool2d>(stride).add<PadChannels>((out - in) / 2, (out - in) / 2);
  return layers;
}

class PreactBlock final : public UnaryModule {
 public:
  PreactBlock(int64_t in, int64_t out, int64_t stride, Shortcut shortcut)
      : pre_bn_(child<BatchNorm2d>("pre_bn", in)),
        pre_relu_(child<ReLU>("pre_relu")),
        conv1_(child<Conv2d>("conv1", conv3x3(in, out, stride))),
        bn_(child<BatchNorm2d>("bn", out)),
        relu_(child<ReLU>("relu")),
        conv2_(child<Conv2d>("conv2", conv3x3(out, out))),
        shortcut_(shortcut) {
    if (stride != 1 || in != out) downsample_.emplace(*this, "downsample", downsample(shortcut, in, out, stride));
    add_.emplace(*this, "residual_eltwiseadd", std::make_unique<EltwiseAdd>());
  }
  std::string_view kind() const override { return "PreactBlock"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor active = pre_relu_(pre_bn_(x));
    const Tensor branch = conv2_(relu_(bn_(conv1_(active))));
    if (!downsample_) return (*add_)(branch, x);
    return (*add_)(branch, (*downsample_)(shortcut_ == Shortcut::convolution ? active : x));
  }

 private:
  Child pre_bn_, pre_relu_, conv1_, bn_, relu_, conv2_;
  std::optional<Child> downsample_, add_;
  Shortcut shortcut_;
};

ModulePtr stage(int64_t blocks, int64_t in, int64_t out, int64_t stride, Shortcut shortcut) {
  auto layer = std::make_unique<Sequential>();
  layer->add<PreactBlock>(in, out, stride, shortcut);
  for (int64_t i = 1; i < blocks; ++i) layer->add<PreactBlock>(out, out, 1, shortcut);
  return layer;
}

// 6 * blocks + 2 layers.
class PreactResNetCifar final : public UnaryModule {
 public:
  PreactResNetCifar(int64_t blocks, Shortcut shortcut, const ClassifierConfig& c)
      : conv1_(child<Conv2d>("conv1", conv3x3(3, 16 * c.widening))),
        layer1_(child("layer1", stage(blocks, 16 * c.widening, 16 * c.widening, 1, shortcut))),
        layer2_(child("layer2", stage(blocks, 16 * c.widening, 32 * c.widening, 2, shortcut))),
        layer3_(child("layer3", stage(blocks, 32 * c.widening, 64 * c.widening, 2, shortcut))),
        final_bn_(child<BatchNorm2d>("final_bn", 64 * c.widening)),
        final_relu_(child<ReLU>("final_relu")),
        avgpool_(child<GlobalAvgPool2d>("avgpool")),
        fc_(child<Linear>("fc", 64 * c.widening, c.classes)) {}
  std::string_view kind() const override { return "PreactResNetCifar"; }

 protected:
  Tensor forward(const Tensor& x) override {
    return fc_(flatten(avgpool_(final_relu_(final_bn_(layer3_(layer2_(layer1_(conv1_(x)))))))));
  }

 private:
  Child conv1_, layer1_, layer2_, layer3_, final_bn_, final_relu_, avgpool_, fc_;
};

template <int kBlocks, Shortcut kShortcut>
ModulePtr make_preact_resnet(const ClassifierConfig& config) {
  return std::make_unique<PreactResNetCifar>(kBlocks, kShortcut, config);
}
template <int kBlocks, Shortcut kShortcut>
using PreactResNet =
    Registered<Architecture, ClassifierArchitecture<make_preact_resnet<kBlocks, kShortcut>>, ClassifierConfig>;

const PreactResNet<3, Shortcut::pooling> preact_resnet20{"preact_resnet20",
                                                         "ResNet-20 for CIFAR, activations before convolutions"};
const PreactResNet<5, Shortcut::pooling> preact_resnet32{"preact_resnet32",
                                                         "ResNet-32 for CIFAR, activations before convolutions"};
const PreactResNet<7, Shortcut::pooling> preact_resnet44{"preact_resnet44",
                                                         "ResNet-44 for CIFAR, activations before convolutions"};
const PreactResNet<9, Shortcut::pooling> preact_resnet56{"preact_resnet56",
                                                         "ResNet-56 for CIFAR, activations before convolutions"};
const PreactResNet<18, Shortcut::pooling> preact_resnet110{"preact_resnet110",
                                                           "ResNet-110 for CIFAR, activations before convolutions"};
const PreactResNet<3, Shortcut::convolution> preact_resnet20_conv_ds{
    "preact_resnet20_conv_ds", "the same with convolutions as shortcuts where sizes change"};
const PreactResNet<5, Shortcut::convolution> preact_resnet32_conv_ds{
    "preact_resnet32_conv_ds", "the same with convolutions as shortcuts where sizes change"};
const PreactResNet<7, Shortcut::convolution> preact_resnet44_conv_ds{
    "preact_resnet44_conv_ds", "the same with convolutions as shortcuts where sizes change"};
const PreactResNet<9, Shortcut::convolution> preact_resnet56_conv_ds{
    "preact_resnet56_conv_ds", "the same with convolutions as shortcuts where sizes change"};
const PreactResNet<18, Shortcut::convolution> preact_resnet110_conv_ds{
    "preact_resnet110_conv_ds", "the same with convolutions as shortcuts where sizes change"};

}  // namespace
}  // namespace qgrad
