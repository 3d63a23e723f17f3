// Ternary weights -a, 0, +a (Li, Zhang, Liu, "Ternary Weight Networks", 2016) as one more quantizer of the qgrad
// command.
#include <qgrad/apps/run_command.h>
#include <qgrad/core/tape.h>
#include <qgrad/quant/quantizer.h>
#include <qgrad/quant/train/fake_quant.h>

namespace {
using namespace qgrad;

struct TernaryConfig : QuantAwareTrainConfig {
  double threshold = 0.7;
};
template <class V>
void fields(V& v, TernaryConfig& c) {
  fields(v, static_cast<QuantAwareTrainConfig&>(c));
  v("threshold", c.threshold, {.help = "weights below this part of their mean magnitude become 0", .min = 0, .max = 2});
}

// What stands between a parameter and the layer that uses it. Its gradient passes straight through.
class TernaryWeight final : public UnaryModule {
 public:
  explicit TernaryWeight(double threshold) : threshold_(threshold) {}
  std::string_view kind() const override { return "TernaryWeight"; }

 protected:
  Tensor forward(const Tensor& w) override {
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
  double threshold_;
};

struct TernaryQuantizer final : Quantizer {
  explicit TernaryQuantizer(const TernaryConfig& config) : Quantizer(config), threshold(config.threshold) {
    replacement_factory["ReLU"] = [](const Site& site, ModulePtr relu) -> ModulePtr {
      const FakeQuantConfig activations{.bits = *site.bits.activations, .mode = LinearQuantMode::asymmetric_unsigned};
      return std::make_unique<FakeQuantizationWrapper>(std::move(relu), activations);
    };
  }
  ModulePtr weight_transform(const Site&, Parameter& weight, int bits) override {
    check(bits == 2, "{}: ternary weights take 2 bits, got {}", weight.path(), bits);
    return std::make_unique<TernaryWeight>(threshold);
  }
  double threshold;
};
const Registered<Quantizer, TernaryQuantizer, TernaryConfig> registered{"TernaryQuantizer"};
}  // namespace

int main(int argc, char** argv) { return qgrad::run_command(argc, argv); }
