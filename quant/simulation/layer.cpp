// Names for scales, zero points and clipping values.
#include "quant/simulation/layer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config.h"
#include "core/error.h"

namespace qgrad {
namespace {

bool one_clipping_value(const QuantSettings& s) { return is_symmetric(s.mode) || s.half_range; }

void check_count(const std::string& name, size_t expected, size_t got) {
  check(got == expected, "{}: expected {} value{}, got {}", name, expected, expected == 1 ? "" : "s", got);
}

void set_scale(const std::string& name, const QuantParamSlot& slot, std::span<const float> values) {
  ChannelGrid grid = slot.get();
  check_count(name, grid.scale.size(), values.size());
  for (const float scale : values)
    check(scale > 0 && std::isfinite(scale), "{}: expected a positive scale, got {}", name, scale);
  grid.scale.assign(values.begin(), values.end());
  slot.set(grid);
}

void set_zero_point(const std::string& name, const QuantParamSlot& slot, std::span<const float> values) {
  ChannelGrid grid = slot.get();
  check_count(name, grid.zero_point.size(), values.size());
  const QuantizedRange range = grid.integers;
  const bool midrise = slot.settings.mode == LinearQuantMode::symmetric_midrise;
  for (const float zero_point : values) {
    check(!is_symmetric(slot.settings.mode) || zero_point == (midrise ? 0.5f : 0),
          "{}: {} quantization has zero point {}, got {}", name, enum_name(slot.settings.mode), midrise ? 0.5f : 0,
          zero_point);
    const bool is_level =
        std::nearbyint(zero_point) == zero_point && -zero_point >= range.qmin && -zero_point <= range.qmax;
    check(midrise || is_level, "{}: expected an integer from {} to {}, got {}", name, 0 - range.qmax, 0 - range.qmin,
          zero_point);
  }
  grid.zero_point.assign(values.begin(), values.end());
  slot.set(grid);
}

std::vector<float> clipping(const QuantParamSlot& slot) {
  const ChannelGrid grid = slot.get();
  std::vector<float> values;
  for (size_t i = 0; i < grid.scale.size(); ++i) {
    const ValueRange range = clipping_range(slot.settings.bits, slot.settings.mode, grid.channel(i));
    if (!one_clipping_value(slot.settings)) values.push_back(range.min);
    values.push_back(range.max);
  }
  return values;
}

void set_clipping(const std::string& name, const QuantParamSlot& slot, std::span<const float> values) {
  const size_t each = one_clipping_value(slot.settings) ? 1 : 2, count = slot.get().scale.size();
  check_count(name, each * count, values.size());
  std::vector<ValueRange> ranges;
  for (size_t i = 0; i < count; ++i) {
    const float max = values[each * i + each - 1], min = each == 2 ? values[2 * i] : 0;
    check(min <= max && std::isfinite(max - min), "{}: expected {}, got {} and {}", name,
          each == 2 ? "minimum and maximum" : "a positive value", min, max);
    ranges.push_back({min, max});
  }
  slot.set(grid_from_ranges(ranges, slot.settings));
}

}  // namespace

std::vector<NamedQuantParam> named_quant_params(Module& model) {
  std::vector<NamedQuantParam> all;
  using Kind = NamedQuantParam::Kind;
  visit_modules<PostTrainLayer>(model, [&](PostTrainLayer& layer) {
    const std::string prefix = layer.path().empty() ? "" : layer.path() + ".";
    for (const QuantParamSlot& slot : layer.quant_param_slots()) {
      const bool one_value = one_clipping_value(slot.settings);
      const auto add = [&](const std::string& name, Kind kind, bool free, auto get, auto set) {
        const std::string full = prefix + name;
        all.push_back({layer.path(), full, kind, kind == Kind::clipping && !one_value && slot.get().scale.size() == 1,
                       free, [slot, get] { return get(slot); },
                       [slot, set, full](std::span<const float> values) { set(full, slot, values); }});
      };
      const auto scale = [](const QuantParamSlot& s) { return s.get().scale; };
      const auto zero_point = [](const QuantParamSlot& s) { return s.get().zero_point; };
      add(slot.scale, Kind::scale, slot.free, scale, set_scale);
      add(slot.zero_point, Kind::zero_point, slot.free && !one_value, zero_point, set_zero_point);
      add(slot.clipping, Kind::clipping, slot.free, clipping, set_clipping);
    }
  });
  return all;
}

NamedQuantParam named_quant_param(Module& model, std::string_view name) {
  std::vector<std::string> names;
  for (NamedQuantParam& param : named_quant_params(model)) {
    if (param.name == name) return std::move(param);
    names.push_back(param.name);
  }
  fail("no quantization parameter '{}'{}", name, did_you_mean(name, names));
}

namespace {

struct Calls final : CallObserver {
  void leave(Module& module, Inputs x, const Tensor&) override {
    auto* layer = dynamic_cast<PostTrainLayer*>(&module);
    if (!layer) return;
    const auto known = std::ranges::find(layers, layer, &CalledLayer::layer);
    if (known != layers.end()) return void(++known->calls);
    layers.push_back({layer, 1, {}, false});
    for (size_t i = 0; i < x.size(); ++i) {
      layers.back().carried.push_back(x[i].grid().has_value());
      layers.back().quantizes_inputs |= layer->quantizes_input(i, x[i]);
    }
  }
  std::vector<CalledLayer> layers;
};

}  // namespace

std::vector<CalledLayer> called_layers(Module& model, const Tensor& example) {
  Calls calls;
  const Observing observing(calls);
  model(example);
  return std::move(calls.layers);
}

Json layer_quant_params(Module& model) {
  Json all = Json::object();
  visit_modules<PostTrainLayer>(model, [&](PostTrainLayer& layer) { all[layer.path()] = layer.quant_params(); });
  return all;
}

}  // namespace qgrad
