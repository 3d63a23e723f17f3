// Weights that are powers of two, or zero, put on a trained network (the levels of Zhou et al., "Incremental Network
// Quantization", 2017, without their training), as one more quantizer of the qgrad command.
#include <qgrad/apps/run_command.h>
#include <qgrad/quant/quantizer.h>
#include <qgrad/quant/ranges/stats.h>
#include <qgrad/quant/train/fake_quant.h>
#include <qgrad/quant/wrappers.h>
#include <cmath>

namespace {
using namespace qgrad;

// b bits: a sign and 2^(b-1) - 1 exponents, the largest of which is the nearest to the largest weight, and zero.
class PowerOfTwoWeight final : public Quantization {
 public:
  explicit PowerOfTwoWeight(int bits) : Quantization(bits) {
    check(bits >= 2 && bits <= 4, "powers of two: expected 2 to 4 bits, whose levels are integers of a byte, got {}",
          bits);
  }
  std::string_view kind() const override { return "PowerOfTwoWeight"; }

  // So that it can be exported: the smallest power is a step.
  std::optional<ChannelGrid> grid(const Tensor& quantized) const override {
    const int largest = largest_of(quantized);
    const float steps = static_cast<float>(1 << ((1 << (own_bits() - 1)) - 2));  // in the largest power
    return Grid{.scale = largest > kNone ? std::exp2(-static_cast<float>(smallest(largest))) : 1,
                .qmin = -steps,
                .qmax = steps};
  }
  std::vector<float> steps_per_unit(const Tensor&) const override { return {}; }  // its levels are not evenly spaced

 protected:
  Tensor quantized(const Tensor& w) override {
    Tensor q = w.clone();
    const int largest = largest_of(w);
    for (float& x : q.mutable_data()) {
      const int power = nearest_power(std::abs(x));
      x = power < smallest(largest) ? 0 : std::copysign(std::exp2(static_cast<float>(std::min(power, largest))), x);
    }
    return q;
  }

 private:
  static constexpr int kNone = -1000;  // of zero
  // Between 2^n and 2^(n+1) the middle is 1.5 * 2^n.
  static int nearest_power(float magnitude) {
    return magnitude > 0 ? static_cast<int>(std::floor(std::log2(magnitude * 4 / 3))) : kNone;
  }
  static int largest_of(const Tensor& w) {
    float largest = 0;
    for (const float x : w.data()) largest = std::max(largest, std::abs(x));
    return nearest_power(largest);
  }
  int smallest(int largest) const { return largest + 2 - (1 << (own_bits() - 1)); }
};

class PowersQuantizer final : public Quantizer {
 public:
  explicit PowersQuantizer(const QuantizerConfig& config) : Quantizer(config) {
    check(!config.bits_bias, "bits_bias: biases stay in float");
    behind_rectifiers_.make = [this](const Site& site, ModulePtr module) -> ModulePtr {
      if (!site.bits.activations) return module;
      auto range = std::make_unique<FakeLinearQuantization>(
          FakeQuantConfig{.bits = *site.bits.activations, .mode = LinearQuantMode::asymmetric_unsigned});
      if (stats_) range->start_from(stats_->at(site.path).output);  // else a checkpoint says the range
      return std::make_unique<QuantizationWrapper>(QuantizationWrapper::Of::output, std::move(module),
                                                   std::move(range));
    };
  }

  // The procedure: no training, but statistics of what the float network computes.
  bool trains() const override { return false; }
  bool wants_stats() const override { return true; }
  void set_stats(const QuantStats& stats, std::string) override { stats_ = stats; }

 protected:
  const Replacement* replacement_for(const Effect& effect) const override {
    return effect.is_rectifier() ? &behind_rectifiers_ : nullptr;
  }
  ModulePtr weight_transform(const Site& site, Parameter& parameter, int bits) override {
    check(!is_bias(parameter), "{}: bits_bias: biases stay in float", site.path);
    return std::make_unique<PowerOfTwoWeight>(bits);
  }

 private:
  Replacement behind_rectifiers_;
  std::optional<QuantStats> stats_;
};
const Registered<Quantizer, PowersQuantizer, QuantizerConfig> registered{"PowersQuantizer"};
}  // namespace

int main(int argc, char** argv) { return qgrad::run_command(argc, argv); }
