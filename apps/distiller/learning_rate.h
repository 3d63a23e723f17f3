// The learning-rate schedulers of torch and Distiller as schedules of qgrad.
#pragma once

#include "core/config.h"

namespace qgrad {

// {"class": "MultiStepLR", ..} as {"class": "multi_step", ..}. Throws, at the scheduler's place, what has no
// counterpart: another class, or one that does not fall to the end of training. base_lr: what eta_min is a part of.
Json converted_learning_rate(const Config& scheduler, int epochs, double base_lr);

}  // namespace qgrad
