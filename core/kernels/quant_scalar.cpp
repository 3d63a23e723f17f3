// Quantization kernels for any processor.
#include "core/kernels/quant_kernels.h"

#include "core/kernels/quant.inl"

namespace qgrad {

QuantKernels quant_scalar() {
  return {.quantize = quantize,
          .quantize_channels = quantize_channels,
          .dequantize = dequantize,
          .dequantize_channels = dequantize_channels,
          .fake_quant = fake_quant,
          .fake_quant_streaming = fake_quant,
          .fake_quant_channels = fake_quant_channels,
          .mask_outside = mask_outside,
          .mask_outside_channels = mask_outside_channels,
          .to_levels = to_levels,
          .learned_backward = learned_backward,
          .min_max = min_max,
          .min_max_channels = min_max_channels};
}

}  // namespace qgrad
