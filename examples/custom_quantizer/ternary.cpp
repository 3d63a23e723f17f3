// Ternary weights -a, 0, +a (Li, Zhang, Liu, "Ternary Weight Networks", 2016) as one more quantizer of the qgrad
// command.
#include <qgrad/apps/run_command.h>
#include <qgrad/core/tape.h>
#include <qgrad/quant/train/fake_quant.h>
#include <qgrad/quant/train/train_quantizer.h>
#include <cmath>

namespace {
using namespace qgrad;

struct TernaryConfig : QuantAwareTrainConfig {
  double threshold = 0.7;
};
void fields(Fields& v, TernaryConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("threshold", c.threshold, {.help = "weights below this part of their mean magnitude become 0", .min = 0, .max = 2});
}

// What stands between a parameter and the layer that uses it. Its gradient passes straight through.
class TernaryWeight final : public Quantization {
 public:
  explicit TernaryWeight(double threshold) : Quantization(/*own_bits=*/2), threshold_(threshold) {}
  std::string_view kind() const override { return "TernaryWeight"; }

  // So that it can be exported: the largest weight is a step, and stands for 1.
  std::optional<ChannelGrid> grid(const Tensor& quantized) const override {
    float largest = 0;
    for (const float q : quantized.data()) largest = std::max(largest, std::abs(q));
    return Grid{.scale = largest > 0 ? 1 / largest : 1, .qmin = -1, .qmax = 1};
  }

 protected:
  Tensor quantized(const Tensor& w) override {
    if (!bits()) return w;  // a schedule has taken them away for now
    Tensor q = Tensor::zeros(w.shape());
    double sum = 0, magnitude = 0, kept = 0;
    for (const float x : w.data()) sum += std::abs(x);
    const double limit = threshold_ * sum / static_cast<double>(w.numel());
    for (const float x : w.data())
      if (std::abs(x) > limit) magnitude += std::abs(x), ++kept;
    for (size_t i = 0; i < w.data().size(); ++i)
      if (const float x = w.data()[i]; std::abs(x) > limit)
        q.mutable_data()[i] = std::copysign(static_cast<float>(magnitude / kept), x);
    return record("ternary_weight", q, {w}, [](Tensor dy, Grads& dx) { dx.add(0, std::move(dy)); });
  }

 private:
  double threshold_;
};

class TernaryQuantizer final : public TrainQuantizer {
 public:
  explicit TernaryQuantizer(const TernaryConfig& config) : TrainQuantizer(config), threshold_(config.threshold) {
    quantize_activations(Rectifiers::behind);
  }

 protected:
  std::unique_ptr<Quantization> weight(const Site&, const Parameter& weight, int bits) override {
    check(bits == 2, "{}: ternary weights take 2 bits, got {}", weight.path(), bits);
    return std::make_unique<TernaryWeight>(threshold_);
  }
  std::unique_ptr<Quantization> activation(const Site&, const Activation&, int bits) override {
    return std::make_unique<FakeLinearQuantization>(
        FakeQuantConfig{.bits = bits, .mode = LinearQuantMode::asymmetric_unsigned});
  }

 private:
  double threshold_;
};
const Registered<Quantizer, TernaryQuantizer, TernaryConfig> registered{"TernaryQuantizer"};
}  // namespace

int main(int argc, char** argv) { return qgrad::run_command(argc, argv); }
