// What the corrections of a run have learned so far, in a file of its folder.
#pragma once

#include <string>

#include "core/json.h"
#include "quant/kept_corrections.h"
#include "tasks/output_folder.h"

namespace qgrad {

class CorrectionsFile final : public KeptCorrections {
 public:
  static constexpr const char* kName = "corrections.safetensors";

  // `of`: all that the numbers depend on. What was kept of anything else does not count.
  CorrectionsFile(OutputFolder& folder, const Json& of);
  std::optional<NamedTensors> load() override;
  void save(const NamedTensors& learned) override;

 private:
  OutputFolder& folder_;
  std::string of_;
};

}  // namespace qgrad
