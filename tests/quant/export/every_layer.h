// A small net of everything that has an integer form, quantized as asked.
#pragma once

#include <nlohmann/json.hpp>

#include "nn/layers/activation.h"
#include "nn/layers/conv.h"
#include "nn/layers/eltwise.h"
#include "nn/layers/linear.h"
#include "nn/layers/pool.h"
#include "quant/post_train/linear.h"
#include "support/values.h"

namespace qgrad::test {

inline Tensor images(int64_t count, uint64_t seed) { return normal_tensor({count, 8, 8, 3}, seed); }

// Everything that has an integer form: convolutions plain, strided, depthwise and grouped, a product, one with an
// average over the image, a concatenation,
// pools, a part of the channels and more of them, activations of their own and fused ones, a tensor that two layers
// use.
struct EveryLayer final : UnaryModule {
  explicit EveryLayer(int64_t size) : fc(child<Linear>("fc", 20 * (size / 4 + 1) * (size / 4 + 1), 5)) {}
  std::string_view kind() const override { return "EveryLayer"; }
  Child stem = child<Conv2d>("stem", square_conv(3, 8, 3, 1, 1)), relu = child<ReLU>("relu");
  Child depthwise = child<Conv2d>("depthwise", grouped(8, 8, 8)), relu6 = child<ReLU6>("relu6");
  Child grouped_conv = child<Conv2d>("grouped_conv", grouped(8, 12, 2)), sigmoid = child<Sigmoid>("sigmoid");
  Child narrow = child<Conv2d>("narrow", square_conv(8, 12, 1)), mult = child<EltwiseMult>("mult");
  Child concat = child<Concat>("concat", 3), max_pool = child<MaxPool2d>("max_pool", 2);
  Child tanh = child<Tanh>("tanh"), add = child<EltwiseAdd>("add"), add_relu = child<ReLU>("add_relu");
  Child strided = child<Conv2d>("strided", square_conv(20, 20, 3, 2, 1)), shortcut = child<MaxPool2d>("shortcut", 2);
  Child squeeze = child<GlobalAvgPool2d>("squeeze"), excite = child<EltwiseMult>("excite");
  Child part = child<Split>("part", 3, 2, 1), pad = child<PadChannels>("pad", 4, 6);
  Child average = child<AvgPool2d>("average", Pool2dOptions{2, 2, 1, 1, 1, 1}), fc;

 protected:
  static Conv2dConfig grouped(int64_t in, int64_t out, int64_t groups) {
    Conv2dConfig config = square_conv(in, out, 3, 1, 1);
    config.options.groups = groups;
    return config;
  }
  Tensor forward(const Tensor& x) override {
    const Tensor a = relu(stem(x));
    const Tensor b = relu6(excite(depthwise(a), squeeze(a)));
    const Tensor c = mult(sigmoid(grouped_conv(b)), narrow(a));
    const Tensor d = max_pool(concat(b, c));
    const Tensor e = add_relu(add(strided(d), pad(part(shortcut(tanh(d))))));
    return fc(flatten(average(e)));
  }
};

// For square images of this size, a multiple of 4.
inline ModulePtr every_layer(int64_t size = 8) {
  auto net = std::make_unique<EveryLayer>(size);
  uint64_t seed = 30;
  for (Parameter* p : all_parameters(*net)) p->set_raw(normal_tensor(p->raw().shape(), seed++, 0.4f));
  net->set_training(false);
  return net;
}

inline ModulePtr quantized(ModulePtr net, const Json& config, const Tensor& calibration) {
  PostTrainLinearQuantizer quantizer(read_config<PostTrainLinearConfig>({config, "", "quantizer"}));
  quantizer.set_stats(collect_quant_stats(*net, [&] { (*net)(calibration); }));
  Shape one = calibration.shape();
  quantizer.prepare(net, nullptr, Tensor::zeros({1, one[1], one[2], one[3]}));
  net->set_training(false);
  return net;
}

}  // namespace qgrad::test
