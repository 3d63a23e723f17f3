// Running quantized layers beside the float model.
#include "quant/post_train/layer_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "core/tape.h"
#include "quant/simulation/wrapper.h"

namespace qgrad {
namespace {

struct Sums {
  double error = 0, reference = 0, output = 0, product = 0;
  int64_t saturated = 0, count = 0;

  void add(const Tensor& y, const Tensor& r, const std::optional<Grid>& grid) {
    const float low = grid ? (grid->qmin - 0.5f + grid->zero_point) / grid->scale : -INFINITY;
    const float high = grid ? (grid->qmax + 0.5f + grid->zero_point) / grid->scale : INFINITY;
    const std::span<const float> ys = y.data(), rs = r.data();
    for (size_t i = 0; i < ys.size(); ++i) {
      const double a = ys[i], b = rs[i];
      error += (a - b) * (a - b);
      reference += b * b;
      output += a * a;
      product += a * b;
      saturated += rs[i] < low || rs[i] > high;
    }
    count += y.numel();
  }
};

struct LayerPair {
  std::string path, kind;
  CalledLayer quantized;
  Sums sums;
};

class Comparison final : public CallObserver {
 public:
  Comparison(Module& reference, std::vector<LayerPair>& layers) {
    for (LayerPair& layer : layers) {
      Module* module = find_module(reference, layer.path);
      check(module != nullptr, "layer report: the float model has no layer '{}'", layer.path);
      layer.kind = module->kind();
      by_module_[module] = &layer;
    }
  }

  void leave(Module& module, Inputs x, const Tensor& y) override {
    const auto found = by_module_.find(&module);
    if (found == by_module_.end() || inside_) return;
    inside_ = true;  // the calls below are seen as well
    compare(module, *found->second, x, y);
    inside_ = false;
  }

 private:
  static void compare(Module& module, LayerPair& layer, Inputs x, const Tensor& y) {
    PostTrainLayer& quantized = *layer.quantized.layer;
    std::vector<Tensor> inputs(x.begin(), x.end());
    bool changed = false;
    for (size_t i = 0; i < inputs.size(); ++i)
      if (layer.quantized.carried[i]) {
        inputs[i] = quantized.on_own_grid(i, x[i]);
        changed = true;
      }
    const Tensor r = changed ? module.call(inputs) : y;
    const Tensor output = quantized.call(inputs);
    layer.sums.add(output, quantized.activated(r), output.grid());
  }

  std::unordered_map<const Module*, LayerPair*> by_module_;
  bool inside_ = false;
};

LayerError error_of(const LayerPair& layer) {
  const Sums& s = layer.sums;
  LayerError result{.path = layer.path, .kind = layer.kind};
  const auto count = static_cast<double>(std::max<int64_t>(s.count, 1));
  result.sqnr_db = s.error > 0 ? 10 * std::log10(s.reference / s.error) : INFINITY;
  result.mean_squared_error = s.error / count;
  result.saturation = static_cast<double>(s.saturated) / count;
  if (s.output > 0 && s.reference > 0) result.cosine = s.product / std::sqrt(s.output * s.reference);
  return result;
}

}  // namespace

std::vector<LayerError> layer_report(Module& quantized, Module& reference, std::span<const Tensor> batches) {
  check(!batches.empty(), "layer report: no images");
  const Tape::Paused paused;
  std::vector<LayerPair> layers;
  for (CalledLayer& called : called_layers(quantized, batches[0]))
    layers.push_back({called.layer->path(), "", std::move(called), {}});
  Comparison comparison(reference, layers);
  {
    const Observing observing(comparison);
    for (const Tensor& batch : batches) reference(batch);
  }
  std::vector<LayerError> report;
  for (const LayerPair& layer : layers) report.push_back(error_of(layer));
  std::ranges::stable_sort(report, {}, &LayerError::sqnr_db);
  return report;
}

Json to_json(const std::vector<LayerError>& layers) {
  Json list = Json::array();
  for (const LayerError& layer : layers)
    list.push_back({{"path", layer.path},
                    {"kind", layer.kind},
                    {"sqnr_db", std::isfinite(layer.sqnr_db) ? Json(layer.sqnr_db) : Json(nullptr)},
                    {"mean_squared_error", layer.mean_squared_error},
                    {"saturation", layer.saturation},
                    {"cosine", layer.cosine}});
  return list;
}

}  // namespace qgrad
