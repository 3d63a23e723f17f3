// The weights of WRPN (Mishra et al., "WRPN: Wide Reduced-Precision Networks", 2017), which are clipped to [-1, 1].
#pragma once

#include "quant/quantization.h"

namespace qgrad {

// A weight is clamped to [-1, 1] and quantized with the symmetric parameters of that range, n = (2^bits - 1) / 2; the
// gradient is 1 within [-1, 1], ends included, else 0. (Distiller clipped_linear.WRPNQuantizer)
class WRPNQuantizeParam final : public Quantization {
 public:
  struct Config {
    int bits = 8;
    bool clamp_integers = true;  // false: as Distiller, see linear_quantize_ste
  };
  explicit WRPNQuantizeParam(const Config& config);
  std::string_view kind() const override { return "WRPNQuantizeParam"; }
  std::string describe() const override;

 protected:
  Tensor quantized(const Tensor& parameter) override;

 private:
  Config config_;
};

}  // namespace qgrad
