// A parameter that enters a network by itself: position embeddings, the scale of a layer.
#pragma once

#include <vector>

#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

struct ConstantConfig {
  std::vector<int64_t> shape;
};
void fields(Fields& v, ConstantConfig& c);

// Takes no input and gives its value, which is trained. A traced graph does not show it, as it shows no weight.
class Constant final : public Module {
 public:
  explicit Constant(const ConstantConfig& config);
  std::string_view kind() const override { return "Constant"; }
  Effect effect() const override { return {.kind = Effect::Kind::none}; }
  std::string describe() const override { return to_string(value.raw().shape()); }

  Parameter value;

 protected:
  Tensor forward(Inputs x) override;
};

}  // namespace qgrad
