// The further kinds of modules whose outputs are quantized.
#include "quant/train/ncf.h"

namespace qgrad {
namespace {

const Registered<Quantizer, NCFQuantAwareTrainQuantizer, NCFConfig> registered{"NCFQuantAwareTrainQuantizer"};

}  // namespace

NCFQuantAwareTrainQuantizer::NCFQuantAwareTrainQuantizer(const NCFConfig& config)
    : QuantAwareTrainRangeLinearQuantizer(config) {
  const Replacement as_activations = replacement_factory.at("ReLU");
  for (const char* kind : {"EltwiseMult", "Concat", "Linear"}) replacement_factory[kind] = as_activations;
}

}  // namespace qgrad
