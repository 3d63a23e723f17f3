// A LeNet for CIFAR-10. Names as in Distiller's simplenet_cifar.py.
#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/pool.h"
#include "nn/models/architecture.h"

namespace qgrad {
namespace {

class SimpleNetCifar final : public UnaryModule {
 public:
  explicit SimpleNetCifar(const ClassifierConfig& c)
      : conv1_(child<Conv2d>("conv1", square_conv(3, 6 * c.widening, 5))),
        relu_conv1_(child<ReLU>("relu_conv1")),
        pool1_(child<MaxPool2d>("pool1", 2)),
        conv2_(child<Conv2d>("conv2", square_conv(6 * c.widening, 16 * c.widening, 5))),
        relu_conv2_(child<ReLU>("relu_conv2")),
        pool2_(child<MaxPool2d>("pool2", 2)),
        fc1_(child<Linear>("fc1", 16 * 5 * 5 * c.widening, 120 * c.widening)),
        relu_fc1_(child<ReLU>("relu_fc1")),
        fc2_(child<Linear>("fc2", 120 * c.widening, 84 * c.widening)),
        relu_fc2_(child<ReLU>("relu_fc2")),
        fc3_(child<Linear>("fc3", 84 * c.widening, c.classes)) {}
  std::string_view kind() const override { return "SimpleNetCifar"; }

 protected:
  Tensor forward(const Tensor& x) override {
    const Tensor images = pool2_(relu_conv2_(conv2_(pool1_(relu_conv1_(conv1_(x))))));
    return fc3_(relu_fc2_(fc2_(relu_fc1_(fc1_(flatten(images))))));
  }

 private:
  Child conv1_, relu_conv1_, pool1_, conv2_, relu_conv2_, pool2_, fc1_, relu_fc1_, fc2_, relu_fc2_, fc3_;
};

ModulePtr make(const ClassifierConfig& config) { return std::make_unique<SimpleNetCifar>(config); }

const Registered<Architecture, ClassifierArchitecture<make, ConvInit::uniform_fan_in>, ClassifierConfig> simplenet{
    "simplenet", "Distiller's simplenet_cifar: two convolutions, three linear layers"};

}  // namespace
}  // namespace qgrad
