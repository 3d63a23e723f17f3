// Running imported models on values in the file's order of dimensions.
#pragma once

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "nn/onnx/import.h"

namespace qgrad::test {

// Every output, one after the other.
inline std::vector<Tensor> run_imported(const onnx::Imported& imported, const std::map<std::string, Tensor>& inputs) {
  std::vector<Tensor> x, results;
  for (const onnx::Port& port : imported.inputs) x.push_back(onnx::from_file(inputs.at(port.name), port));
  Json outputs = imported.model.json().value("outputs", Json::array({imported.model.json()["nodes"].back()["name"]}));
  for (size_t i = 0; i < outputs.size(); ++i) {
    onnx::Imported one = imported;
    one.model.json()["outputs"] = Json::array({outputs[i]});
    const ModulePtr network = one.build();
    network->set_training(false);
    results.push_back(onnx::to_file(network->call(x), imported.outputs[i]));
  }
  return results;
}

// "" where every number is within absolute + relative * |expected|, else what differs.
inline std::string difference(const Tensor& got, const Tensor& expected, double relative, double absolute) {
  if (got.shape() != expected.shape()) return fmt::format("shape {}, expected {}", got.shape(), expected.shape());
  for (size_t i = 0; i < got.data().size(); ++i) {
    const double a = got.data()[i], b = expected.data()[i];
    const bool same = a == b || (std::isnan(a) && std::isnan(b));
    if (!same && !(std::fabs(a - b) <= absolute + relative * std::fabs(b)))
      return fmt::format("number {}: {}, expected {}", i, a, b);
  }
  return "";
}

}  // namespace qgrad::test
