// Comparing integers layer by layer.
#include "quant/export/simulation.h"

#include <cmath>
#include <map>
#include <mutex>
#include <set>

#include "quant/simulation/wrapper.h"
#include "support/values.h"

namespace qgrad::test {
namespace {

// The integers of every quantized layer's output, by path, in the order of the calls.
struct IntegerOutputs final : CallObserver {
  void leave(Module& module, Inputs, const Tensor& y) override {
    if (!dynamic_cast<RangeLinearQuantWrapper*>(&module) || !y.grid()) return;
    const Grid grid = *y.grid();
    const auto kind = static_cast<RangeLinearQuantWrapper&>(module).wrapped().effect().kind;
    if (kind == Effect::Kind::moves || kind == Effect::Kind::splits) moving.insert(module.path());
    std::vector<int32_t>& integers = of[module.path()];
    for (const float x : y.data())
      integers.push_back(static_cast<int32_t>(std::nearbyint(grid.scale * x - grid.zero_point)));
  }
  std::map<std::string, std::vector<int32_t>> of;
  std::set<std::string> moving;  // layers that only move numbers, which programs may do together with others
};

}  // namespace

Agreement compare_with_simulation(Module& model, const deploy::Engine& engine, const Tensor& images) {
  IntegerOutputs simulated;
  Tensor logits;
  {
    const Observing observing(simulated);
    logits = model(images);
  }
  std::map<std::string, std::vector<int32_t>> computed;
  std::mutex mutex;
  std::vector<float> output(static_cast<size_t>(images.dim(0) * engine.output_count()));
  engine.run(images.data(), output, [&](int64_t image, const deploy::TensorInfo& tensor, const void* values) {
    if (!simulated.of.contains(tensor.name)) return;
    const std::lock_guard lock(mutex);
    std::vector<int32_t>& integers = computed[tensor.name];
    integers.resize(static_cast<size_t>(images.dim(0) * tensor.count()));
    const auto* bytes = static_cast<const uint8_t*>(values);
    for (int64_t i = 0; i < tensor.count(); ++i)
      integers[static_cast<size_t>(image * tensor.count() + i)] = bytes[i] + tensor.grid.qmin;
  });
  Agreement result{.layers = static_cast<int64_t>(computed.size())};
  for (const auto& [path, integers] : simulated.of) {
    const std::vector<int32_t>& ours = computed[path];
    if (ours.empty() && simulated.moving.contains(path)) continue;
    const int64_t before = result.differing;
    result.integers += static_cast<int64_t>(integers.size());
    if (ours.size() != integers.size()) result.differing += static_cast<int64_t>(integers.size());
    for (size_t i = 0; i < std::min(ours.size(), integers.size()); ++i) result.differing += ours[i] != integers[i];
    if (result.differing > before && before == 0) result.first = path;
  }
  const std::span<const float> expected = logits.data();
  for (size_t i = 0; i < expected.size(); ++i)
    result.logits_differing += i >= output.size() || bits({&expected[i], 1}) != bits({&output[i], 1});
  return result;
}

}  // namespace qgrad::test
