// What corrections have learned so far, so that a run that was stopped goes on.
#pragma once

#include <optional>

#include "nn/safetensors.h"

namespace qgrad {

class KeptCorrections {
 public:
  virtual ~KeptCorrections() = default;
  virtual std::optional<NamedTensors> load() = 0;      // what an earlier run saved last
  virtual void save(const NamedTensors& learned) = 0;  // in the place of that
};

}  // namespace qgrad
