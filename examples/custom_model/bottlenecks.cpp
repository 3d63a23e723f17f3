// Inverted bottlenecks (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018) as one more
// model of the qgrad command.
#include <qgrad/apps/run_command.h>
#include <qgrad/nn/layers/activation.h>
#include <qgrad/nn/layers/container.h>
#include <qgrad/nn/layers/conv.h>
#include <qgrad/nn/layers/eltwise.h>
#include <qgrad/nn/layers/linear.h>
#include <qgrad/nn/layers/norm.h>
#include <qgrad/nn/layers/pool.h>
#include <qgrad/nn/models/architecture.h>

namespace {
using namespace qgrad;

struct BottlenecksConfig {
  int64_t channels = 1, classes = 10, width = 16, expansion = 4;
};
void fields(Fields& v, BottlenecksConfig& c) {
  v("channels", c.channels, {.help = "of the images", .min = 1});
  v("classes", c.classes, {.help = "outputs of the last layer", .min = 1});
  v("width", c.width, {.help = "channels between blocks", .min = 1});
  v("expansion", c.expansion, {.help = "times as many within a block", .min = 1});
}

// Wide, one filter for each channel, narrow again without an activation; added to its input where it has that shape.
class Bottleneck final : public UnaryModule {
 public:
  Bottleneck(int64_t in, int64_t out, int64_t stride, int64_t wide)
      : expand_(child<Conv2d>("expand", square_conv(in, wide, 1, 1, 0, false))),
        expand_bn_(child<BatchNorm2d>("expand_bn", wide)),
        expand_relu_(child<ReLU6>("expand_relu")),
        depthwise_(child<Conv2d>("depthwise", depthwise(wide, stride))),
        depthwise_bn_(child<BatchNorm2d>("depthwise_bn", wide)),
        depthwise_relu_(child<ReLU6>("depthwise_relu")),
        project_(child<Conv2d>("project", square_conv(wide, out, 1, 1, 0, false))),
        project_bn_(child<BatchNorm2d>("project_bn", out)),
        add_(in == out && stride == 1 ? child<EltwiseAdd>("add") : child<Identity>("no_add")),
        adds_(in == out && stride == 1) {}
  std::string_view kind() const override { return "Bottleneck"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor wide = expand_relu_(expand_bn_(expand_(x)));
    const Tensor narrow = project_bn_(project_(depthwise_relu_(depthwise_bn_(depthwise_(wide)))));
    return adds_ ? add_(narrow, x) : narrow;
  }

 private:
  static Conv2dConfig depthwise(int64_t channels, int64_t stride) {
    Conv2dConfig config = conv3x3(channels, channels, stride);
    config.options.groups = channels;
    return config;
  }
  Child expand_, expand_bn_, expand_relu_, depthwise_, depthwise_bn_, depthwise_relu_, project_, project_bn_, add_;
  bool adds_;
};

// Of images of any size.
class Bottlenecks final : public Architecture {
 public:
  explicit Bottlenecks(const BottlenecksConfig& config) : config_(config) {}
  Shape image_shape() const override { return {8, 8, config_.channels}; }
  bool has_size() const override { return false; }
  bool takes(const Shape& image) const override { return image.rank() == 3 && image[2] == config_.channels; }
  ModulePtr make() const override {
    const auto [channels, classes, width, expansion] = config_;
    auto net = std::make_unique<Sequential>();
    net->add("stem", std::make_unique<Conv2d>(conv3x3(channels, width)));
    net->add("stem_bn", std::make_unique<BatchNorm2d>(width)).add("stem_relu", std::make_unique<ReLU6>());
    net->add("block1", std::make_unique<Bottleneck>(width, width, 1, expansion * width));
    net->add("block2", std::make_unique<Bottleneck>(width, 2 * width, 2, expansion * width));
    net->add("block3", std::make_unique<Bottleneck>(2 * width, 2 * width, 1, 2 * expansion * width));
    net->add("pool", std::make_unique<GlobalAvgPool2d>()).add("flat", std::make_unique<Flatten>());
    net->add("fc", std::make_unique<Linear>(2 * width, classes));
    return net;
  }

 private:
  BottlenecksConfig config_;
};
const Registered<Architecture, Bottlenecks, BottlenecksConfig> registered{"bottlenecks"};
}  // namespace

int main(int argc, char** argv) { return qgrad::run_command(argc, argv); }
