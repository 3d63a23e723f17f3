// Phases, and which modules take part in them.
#include "quant/train/quant_schedule.h"

#include <algorithm>

#include "nn/layers/norm.h"
#include "quant/quantization.h"
#include "quant/wrappers.h"

namespace qgrad {
namespace {

constexpr const char* kWhere = "train.quantization";

// What quantizes and is no Quantization could not be told the bits, nor that it is frozen.
void check_takes_part(const Child& quantizes, const std::string& path) {
  check(!quantizes.get() || quantizes.as<Quantization>(),
        "{}: {} is quantized by a {}, which takes no part in schedules: its class has to derive from Quantization",
        kWhere, path, quantizes.get() ? quantizes->kind() : "");
}

void check_all_take_part(Module& model) {
  visit_modules(model, [](Module& module) {
    for (const Parameter* p : module.parameters()) check_takes_part(p->transform_slot(), p->path());
  });
  visit_modules<QuantizationWrapper>(model, [](QuantizationWrapper& wrapper) {
    if (!wrapper.quantization.as<QuantizationWrapper>()) check_takes_part(wrapper.quantization, wrapper.path());
  });
}

}  // namespace

QuantSchedule::QuantSchedule(const QuantScheduleConfig& config, Module& model, int total_epochs)
    : config_(config), model_(model) {
  bool quantized = false;
  visit_modules<Quantization>(model, [&](Quantization&) { quantized = true; });
  check(quantized, "{}: the model has nothing that is quantized", kWhere);
  if (config.quantize_from > 0 || config.freeze_ranges_from || !config.bits.empty()) check_all_take_part(model);

  const auto in_order = [&](const char* first, double a, const char* second, double b) {
    check(a <= b, "{}: {} is {}, which is after {}, {}", kWhere, first, a, second, b);
  };
  in_order("observe_from", config.observe_from, "quantize_from", config.quantize_from);
  if (config.freeze_ranges_from) {
    in_order("quantize_from", config.quantize_from, "freeze_ranges_from", *config.freeze_ranges_from);
    check(*config.freeze_ranges_from > config.observe_from,
          "{}: freeze_ranges_from is {}, but ranges are only followed from then on (observe_from)", kWhere,
          *config.freeze_ranges_from);
  }
  double last = config.quantize_from;
  for (size_t i = 0; i < config.bits.size(); ++i) {
    check(i == 0 || (config.bits[i].until > config.bits[i - 1].until &&
                     config.bits[i].at_least <= config.bits[i - 1].at_least),
          "{}: bits[{}]: 'until' must grow and 'at_least' must not", kWhere, i);
    last = std::max(last, config.bits[i].until);
    if (config.freeze_ranges_from)
      in_order(fmt::format("bits[{}].until", i).c_str(), last, "freeze_ranges_from", *config.freeze_ranges_from);
  }
  check(last <= total_epochs - 1,
        "{}: the final bits are reached at epoch {}, but training has {}; at least one whole epoch must follow", kWhere,
        last, total_epochs);
}

QuantSchedule::Phase QuantSchedule::phase(double epoch) const {
  const auto begun = [&](const std::optional<double>& time) { return time && epoch >= *time; };
  Phase phase{.quantize = epoch >= config_.quantize_from,
              .freeze_ranges = begun(config_.freeze_ranges_from),
              .freeze_batch_norm = begun(config_.freeze_batch_norm_from)};
  for (const BitsUntil& b : config_.bits)
    if (epoch < b.until) {
      phase.at_least = b.at_least;
      break;
    }
  return phase;
}

bool QuantSchedule::is_final(int64_t epoch) const {
  const Phase p = phase(static_cast<double>(epoch));
  return p.quantize && p.at_least == 0;
}

void QuantSchedule::apply(int64_t epoch, int64_t step, int64_t steps) {
  // The same expression for a step and for the one before it, so that no step is taken for both or neither.
  const auto time = [&](int64_t e, int64_t s) {
    return static_cast<double>(e) + static_cast<double>(s) / static_cast<double>(steps);
  };
  const double now = time(epoch, step), before = step > 0 ? time(epoch, step - 1) : time(epoch - 1, steps - 1);
  if (config_.observe_from > 0 && now >= config_.observe_from && before < config_.observe_from) forget_ranges();
  if (const Phase wanted = phase(now); now_ != wanted) enter(wanted);
}

void QuantSchedule::forget_ranges() {
  visit_modules<Quantization>(model_, [](Quantization& quantization) { quantization.forget_range(); });
}

void QuantSchedule::enter(const Phase& phase) {
  now_ = phase;
  visit_modules<Quantization>(model_, [&](Quantization& quantization) {
    const int bits = std::max(quantization.own_bits(), phase.at_least);
    quantization.set_bits(phase.quantize ? std::optional(bits) : std::nullopt);
    quantization.set_frozen(phase.freeze_ranges);
  });
  visit_modules<BatchNorm>(model_, [&](BatchNorm& norm) { norm.set_frozen(phase.freeze_batch_norm); });
}

}  // namespace qgrad
