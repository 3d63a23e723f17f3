// How well a quantized network agrees with the float one, output by output: for images without labels, and for networks
// that are no classifiers.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/json.h"
#include "data/loader.h"
#include "nn/module.h"

namespace qgrad {

struct OutputAgreement {
  std::string name;       // of a network with several outputs; else ""
  int64_t examples = 0;   // images
  int64_t same_top1 = 0;  // of them, those of which the largest number is at the same place
  double sqnr_db = 0;     // 10 log10(sum y^2 / sum (y - quantized y)^2); infinite where they are the same
  double cosine = 0;      // between all float and all quantized numbers

  double agreement() const { return 100.0 * static_cast<double>(same_top1) / static_cast<double>(examples); }
  Json to_json() const;
};

// `quantized` may be anything that gives outputs for images: a program, say.
using Forward = std::function<Tensor(const Tensor& images)>;
std::vector<OutputAgreement> agreement(Module& reference, const Forward& quantized, Loader loader,
                                       const std::string& label);

std::string agreement_text(const std::vector<OutputAgreement>& outputs);

}  // namespace qgrad
