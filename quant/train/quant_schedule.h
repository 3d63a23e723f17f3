// What changes about quantization in the course of a training: when ranges are followed, when values are rounded and to
// how many bits, when batch norms stop.
#pragma once

#include <optional>
#include <vector>

#include "core/config.h"
#include "nn/module.h"

namespace qgrad {

// At least so many bits until an epoch.
struct BitsUntil {
  double until = 0;
  int at_least = 8;
};
inline void fields(Fields& v, BitsUntil& b) {
  v("until", b.until, {.help = "the epoch at which this ends", .min = 0, .above_min = true, .required = true});
  v("at_least", b.at_least, {.help = "bits of whatever has fewer in the end", .min = 1, .max = 32, .required = true});
}

// Times are epochs since the start, with fractions.
struct QuantScheduleConfig {
  double observe_from = 0;
  double quantize_from = 0;
  std::optional<double> freeze_ranges_from, freeze_batch_norm_from;
  std::vector<BitsUntil> bits;
};
inline void fields(Fields& v, QuantScheduleConfig& c) {
  v("observe_from", c.observe_from, {.help = "epoch from which activation ranges count what they see", .min = 0});
  v("quantize_from", c.quantize_from, {.help = "epoch from which values are rounded; before it, float", .min = 0});
  v("freeze_ranges_from", c.freeze_ranges_from,
    {.help = "epoch from which ranges and learned grids stay as they are; null: never", .min = 0});
  v("freeze_batch_norm_from", c.freeze_batch_norm_from,
    {.help = "epoch from which batch norms use their running statistics; null: never", .min = 0});
  v("bits", c.bits, {.help = "more bits at first: [{\"until\": epoch, \"at_least\": bits}, ..], in order"});
}

// Puts a model's modules into the state that the schedule wants at a step. A pure function of the step, so a training
// that is resumed goes on with the same; states are not saved. Ends with the bits of the quantizer's config.
class QuantSchedule {
 public:
  // The model is as Quantizer::prepare left it. Throws where times are out of order, something would not begin within
  // total_epochs, or the model has nothing that is quantized.
  QuantSchedule(const QuantScheduleConfig& config, Module& model, int total_epochs);

  // Before training step `step` (of `steps`) of epoch `epoch`, both counted from 0.
  void apply(int64_t epoch, int64_t step, int64_t steps);
  // Whether the model quantizes at the end of this epoch as it will in the end: such epochs can be the best one.
  bool is_final(int64_t epoch) const;

 private:
  struct Phase {
    bool quantize = true, freeze_ranges = false, freeze_batch_norm = false;
    int at_least = 0;
    bool operator==(const Phase&) const = default;
  };
  Phase phase(double epoch) const;
  void enter(const Phase& phase);
  void forget_ranges();

  QuantScheduleConfig config_;
  Module& model_;
  std::optional<Phase> now_;
};

}  // namespace qgrad
