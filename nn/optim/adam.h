// Adam and AdamW.
#pragma once

#include "nn/optim/optimizer.h"

namespace qgrad {

struct AdamConfig {
  float lr = 1e-3f;
  double beta1 = 0.9, beta2 = 0.999;
  float eps = 1e-8f;
  float weight_decay = 0;
};
inline void fields(Fields& v, AdamConfig& c) {
  v("lr", c.lr, {.help = "learning rate", .min = 0});
  v("beta1", c.beta1, {.help = "decay of the mean gradient", .min = 0, .max = 1});
  v("beta2", c.beta2, {.help = "decay of the mean squared gradient", .min = 0, .max = 1});
  v("eps", c.eps, {.help = "added to the root of the mean squared gradient", .min = 0});
  v("weight_decay", c.weight_decay, {.min = 0});
}
struct AdamWConfig : AdamConfig {
  AdamWConfig() { weight_decay = 1e-2f; }
};

// Adam (Kingma and Ba 2015) as PyTorch computes it:  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// Weight decay is added to the gradient in Adam; in AdamW (Loshchilov and Hutter 2019) p *= 1 - lr * weight_decay
// first.
class Adam final : public Optimizer {
 public:
  explicit Adam(const AdamConfig& config) : Adam(config, /*decoupled=*/false) {}
  explicit Adam(const AdamWConfig& config) : Adam(config, /*decoupled=*/true) {}

 protected:
  void update(Parameter& parameter, std::span<Tensor> buffers, bool is_first, float lr, float weight_decay) override;

 private:
  Adam(const AdamConfig& config, bool decoupled);

  AdamConfig config_;
  bool decoupled_;
};

}  // namespace qgrad
