// A parameter that every example of a batch gets: a class token, say.
#pragma once

#include <vector>

#include "nn/layers/layer_class.h"
#include "nn/module.h"

namespace qgrad {

struct PerExampleConfig {
  std::vector<int64_t> shape;
};
inline void fields(Fields& v, PerExampleConfig& c) {
  v("shape", c.shape, {.help = "of what one example gets", .min = 0, .required = true});
}

// Its input, of any shape, says how many examples there are: [N, ..] -> [N, shape..].
class PerExample final : public UnaryModule {
 public:
  explicit PerExample(const PerExampleConfig& config);
  std::string_view kind() const override { return "PerExample"; }
  std::string describe() const override { return to_string(value.raw().shape()); }

  Parameter value;  // [1, shape..]

 protected:
  Tensor forward(const Tensor& x) override;
};

}  // namespace qgrad
