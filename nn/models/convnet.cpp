// A small residual net for small grey images, such as the embedded 8x8 digits: trained in seconds on a laptop, and with
// few enough weights that low bit widths hurt.
#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "nn/layers/pool.h"
#include "nn/models/architecture.h"

namespace qgrad {
namespace {

struct ConvNetConfig {
  int64_t classes = 10;
  int64_t image_size = 8;
  int64_t channels = 1;
  int64_t width = 16;
};
void fields(Fields& v, ConvNetConfig& c) {
  v("classes", c.classes, {.help = "outputs of the last layer", .min = 1});
  v("image_size", c.image_size, {.help = "height and width of the images, a multiple of 4", .min = 4});
  v("channels", c.channels, {.help = "of the images", .min = 1});
  v("width", c.width, {.help = "channels of the convolutions", .min = 1});
}

class ConvNet final : public UnaryModule {
 public:
  explicit ConvNet(const ConvNetConfig& c)
      : conv1_(child<Conv2d>("conv1", conv3x3(c.channels, c.width))),
        bn1_(child<BatchNorm2d>("bn1", c.width)),
        relu1_(child<ReLU>("relu1")),
        pool1_(child<MaxPool2d>("pool1", 2)),
        conv2_(child<Conv2d>("conv2", conv3x3(c.width, c.width))),
        bn2_(child<BatchNorm2d>("bn2", c.width)),
        relu2_(child<ReLU>("relu2")),
        conv3_(child<Conv2d>("conv3", conv3x3(c.width, c.width))),
        bn3_(child<BatchNorm2d>("bn3", c.width)),
        add_(child<EltwiseAdd>("residual_eltwiseadd")),
        relu3_(child<ReLU>("relu3")),
        avgpool_(child<AvgPool2d>("avgpool", 2)),
        fc_(child<Linear>("fc", c.width * (c.image_size / 4) * (c.image_size / 4), c.classes)) {}
  std::string_view kind() const override { return "ConvNet"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor stem = pool1_(relu1_(bn1_(conv1_(x))));
    const Tensor branch = bn3_(conv3_(relu2_(bn2_(conv2_(stem)))));
    return fc_(flatten(avgpool_(relu3_(add_(stem, branch)))));
  }

 private:
  Child conv1_, bn1_, relu1_, pool1_, conv2_, bn2_, relu2_, conv3_, bn3_, add_, relu3_, avgpool_, fc_;
};

class ConvNetArchitecture final : public Architecture {
 public:
  explicit ConvNetArchitecture(const ConvNetConfig& config) : config_(config) {
    check(config.image_size % 4 == 0, "convnet: image_size must be a multiple of 4, got {}", config.image_size);
  }
  Shape image_shape() const override { return {config_.image_size, config_.image_size, config_.channels}; }
  ModulePtr make() const override { return std::make_unique<ConvNet>(config_); }

 private:
  ConvNetConfig config_;
};

const Registered<Architecture, ConvNetArchitecture, ConvNetConfig> convnet{
    "convnet", "a small convolutional network: for digits, and for trying things"};

}  // namespace
}  // namespace qgrad
