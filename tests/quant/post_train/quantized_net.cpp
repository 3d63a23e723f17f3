// Parameters, statistics, preparing.
#include "quant/post_train/quantized_net.h"

#include "nn/layers/container.h"
#include "nn/layers/conv.h"
#include "nn/layers/linear.h"
#include "nn/layers/norm.h"
#include "support/values.h"

namespace qgrad::test::post_train {

Tensor images(uint64_t seed, float scale) {
  return Tensor::from({2, 6, 6, 3}, normal_values(2 * 6 * 6 * 3, seed, scale));
}

ModulePtr make_net(ModulePtr activation) {
  auto net = std::make_unique<Sequential>();
  net->add("conv1", std::make_unique<Conv2d>(square_conv(3, 4, 3, 1, 1)))
      .add("bn1", std::make_unique<BatchNorm2d>(4))
      .add("relu1", std::move(activation))
      .add("conv2", std::make_unique<Conv2d>(square_conv(4, 5, 3, 2, 1)))
      .add("flat", std::make_unique<Flatten>())
      .add("fc", std::make_unique<Linear>(45, 3));
  uint64_t seed = 10;
  for (Parameter* p : all_parameters(*net))
    p->set_raw(Tensor::from(p->raw().shape(), normal_values(static_cast<size_t>(p->raw().numel()), seed++, 0.3f)));
  net->set_training(false);
  return net;
}

QuantStats stats_of(Module& net) {
  return collect_quant_stats(net, [&] {
    net(images(1));
    net(images(2));
  });
}

std::unique_ptr<PostTrainLinearQuantizer> quantizer(const Json& settings) {
  Json config = {{"rounding", "distiller"}};
  config.update(settings);
  return std::make_unique<PostTrainLinearQuantizer>(read_config<PostTrainLinearConfig>({config, "", "quantizer"}));
}

ModulePtr quantized(const Json& config, ModulePtr net) {
  const auto q = quantizer(config);
  q->set_stats(stats_of(*net));
  q->prepare(net, nullptr, images(1));
  return net;
}

ModulePtr quantized_dynamically(const Json& config, ModulePtr net) {
  quantizer(config)->prepare(net, nullptr, images(1));
  return net;
}

std::string kind_at(Module& model, const char* path) { return std::string(find_module(model, path)->kind()); }

}  // namespace qgrad::test::post_train
