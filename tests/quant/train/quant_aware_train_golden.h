// Running quantization-aware training on the golden nets, and finding what it made in a model.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/json.h"
#include "nn/module.h"
#include "quant/quantizer.h"
#include "quant/train/fake_quant.h"
#include "quant/train/ste.h"
#include "support/golden.h"

namespace qgrad::golden {

std::unique_ptr<Quantizer> quantizer_of(const Json& config);  // errors name "test.json: quantizer"
// The same without the clamp that Distiller misses, where a C++ config has a switch for that.
std::unique_ptr<Quantizer> distiller_quantizer_of(Json config);
// Weights of WRPN without the clamp that Distiller misses.
class UnclampedWRPN final : public Quantization {
 public:
  explicit UnclampedWRPN(int bits) : Quantization(bits) {}
  std::string_view kind() const override { return "UnclampedWRPN"; }

 protected:
  Tensor quantized(const Tensor& w) override {
    const Grid grid = symmetric_grid(own_bits(), 1, /*restricted=*/false);
    return linear_quantize_ste(w, {{grid.scale}, {grid.zero_point}}, {.saturation = ValueRange{-1, 1}});
  }
};
Parameter& parameter_at(Module& model, std::string_view path);
FakeLinearQuantization& fake_quant_at(Module& model, std::string_view name);
// "" when the buffers of the module have the expected values (a number, a list per channel in any shape).
std::string buffers_difference(const Module& module, const Json& expected, Tolerance tolerance);

// Trains the case's net step by step, each from the state that the file gives for the step before, and where no
// rounding is close to a tie also in a row with the optimizer. Failures are reported through CHECK.
Outcome check_quant_aware_train_case(const Json& file, const Json& golden_case);

}  // namespace qgrad::golden
