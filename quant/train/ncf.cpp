// Quantization-aware training of neural collaborative filtering (Distiller's NCFQuantAwareTrainQuantizer).
#include "quant/train/range_linear.h"

namespace qgrad {
namespace {

// The model's inputs are numbers of users and items.
struct NCFConfig : QuantAwareTrainRangeLinearConfig {
  NCFConfig() { quantize_inputs = false; }
};

// QuantAwareTrainRangeLinearQuantizer that fake-quantizes the outputs of EltwiseMult, Concat and Linear too, or what
// layers read of them.
class NCFQuantAwareTrainQuantizer final : public QuantAwareTrainRangeLinearQuantizer {
 public:
  explicit NCFQuantAwareTrainQuantizer(const NCFConfig& config) : QuantAwareTrainRangeLinearQuantizer(config) {
    quantize_outputs_of({"EltwiseMult", "Concat", "Linear"}, Role::any_sign, activation_settings());
  }
};

const Registered<Quantizer, NCFQuantAwareTrainQuantizer, NCFConfig> ncf{
    "NCFQuantAwareTrainQuantizer", "in training: range-linear, for neural recommenders (Distiller's)"};

}  // namespace
}  // namespace qgrad
