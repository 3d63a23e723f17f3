// Training with the weights that a layer has once its batch norm is folded into it.
#pragma once

#include <span>

#include "nn/fold.h"
#include "nn/layers/norm.h"

namespace qgrad {

// A Conv2d or Linear and the batch norm behind it as one module. What is quantized, by the transforms of the layer's
// weight and bias, is what will be folded. With sigma = sqrt(variance + eps):
//   training:    y = layer(x, Q(w gamma / sigma_running)) * sigma_running / sigma_batch
//                    + Q(beta - gamma mean_batch / sigma_batch)
//   evaluation:  y = layer(x, Q(w gamma / sigma_running)) + Q(beta - gamma (mean_running - b) / sigma_running)
// Batch statistics are those of layer(x, w) with float weights, differentiated through; running ones are moved before
// they are used, and are constants. Frozen (BatchNorm::set_frozen, between steps), training computes what evaluation
// does and stays differentiable in w, b, gamma and beta. The layer's bias has no gradient before.
// (Distiller sim_bn_fold.SimulatedFoldedBatchNorm; Krishnamoorthi, "Quantizing deep convolutional networks for
// efficient inference", 2018, section 3.2.2)
class SimulatedFoldedBatchNorm final : public UnaryModule {
 public:
  // A layer and a batch norm that belong together, of as many features as the layer has outputs; throws otherwise.
  SimulatedFoldedBatchNorm(ModulePtr layer, ModulePtr batch_norm);
  std::string_view kind() const override { return "SimulatedFoldedBatchNorm"; }
  BatchNorm& norm() const { return *batch_norm->batch_norm(); }
  // The layer with the batch norm folded into it, which computes the same as this does in evaluation mode, to the last
  // bit. This is of no use afterwards.
  ModulePtr take_folded();

  Child layer;       // shares this module's path
  Child batch_norm;  // "bn"

 protected:
  Tensor forward(const Tensor& x) override;

 private:
  void follow(const Tensor& mean, const Tensor& variance, int64_t count);  // moves the running statistics
};

// Puts a SimulatedFoldedBatchNorm in each of these layers' places, and Identity in their batch norms'. Parameters stay
// the same objects, so an optimizer that has them goes on.
void simulate_folded_batch_norms(ModulePtr& model, std::span<const FoldedBatchNorm> pairs);

// After training: folds all of them for good.
void fold_simulated_batch_norms(ModulePtr& model);

}  // namespace qgrad
