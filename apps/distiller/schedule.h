// A compression schedule of Intel's Distiller as a config of qgrad.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"

namespace qgrad {

// What stands on the command line of Distiller's compress_classifier.py, with its defaults.
struct DistillerCommandLine {
  std::optional<std::string> arch;
  int epochs = 90, batch_size = 256;
  double lr = 0.1, momentum = 0.9, weight_decay = 1e-4, validation_split = 0.1;
};

struct ConvertedSchedule {
  Json config;                     // of `qgrad train`, or of `qgrad quantize`
  std::vector<std::string> notes;  // what is left out, or means another thing: the place in the file, and why
};

// The quantizer and the learning rates of a schedule, with all else that a config needs of the command line. With an
// architecture that qgrad has, the quantizer is tried on it. Throws what has no counterpart and can not be left out,
// naming the file and the place in it.
ConvertedSchedule convert_schedule(const Config& schedule, const std::string& name, const DistillerCommandLine& line);

}  // namespace qgrad
