// A small net that PostTrainLinearQuantizer has quantized.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "nn/layers/activation.h"
#include "quant/post_train/linear.h"

namespace qgrad::test::post_train {

Tensor images(uint64_t seed, float scale = 1.0f);  // two, [2,6,6,3]

// conv1, bn1, an activation, conv2 and a last layer; parameters from fixed streams.
ModulePtr make_net(ModulePtr activation = std::make_unique<ReLU>());
QuantStats stats_of(Module& net);

// Under Distiller's arithmetic, unless told otherwise.
std::unique_ptr<PostTrainLinearQuantizer> quantizer(const Json& settings);
ModulePtr quantized(const Json& config, ModulePtr net = make_net());
ModulePtr quantized_dynamically(const Json& config, ModulePtr net = make_net());

std::string kind_at(Module& model, const char* path);

}  // namespace qgrad::test::post_train
