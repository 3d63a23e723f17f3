// What ONNX forms of operations are written with: the names of tensors, constants that several nodes share, and the way
// between bytes and real values. Tensors without spatial dimensions are images of 1x1 here, too.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/narrow.h"
#include "engine/program.h"
#include "quant/export/onnx.h"
#include "quant/export/onnx_model.h"

namespace qgrad::deploy {

// In the order of the program's tensors.
std::vector<std::string> onnx_names(const Program& program);

class OnnxWriter {
 public:
  using Names = std::vector<std::string>;
  OnnxWriter(const Program& given, const OnnxOptions& chosen)
      : program(given), options(chosen), names_(onnx_names(given)) {}

  const Program& program;
  const OnnxOptions& options;
  OnnxModel model;

  const TensorInfo& tensor(int32_t i) const { return program.tensors[static_cast<size_t>(i)]; }
  const std::string& name(int32_t i) const { return names_[static_cast<size_t>(i)]; }
  // Whether runtimes may have an integer form of it in its place.
  bool fuses(const Op& op) const;

  // Constants, by their names.
  std::string step(int32_t i) { return shared(name(i) + "/step", tensor(i).grid.step()); }
  std::string zero_point(int32_t i) {
    return shared(name(i) + "/zero_point", narrow<uint8_t>(tensor(i).origin(), "zero point"));
  }
  std::string byte(uint8_t value) { return shared(fmt::format("/byte{}", value), value); }
  std::string limit(float value) { return shared(fmt::format("/limit{}", value), value); }
  std::string one() { return shared("/one", 1.0f); }
  std::string vector_shape();  // of a Reshape: a row of channels
  std::string row_shape();     // the same in two dimensions

  // Tensor i in real values.
  std::string real(int32_t i);
  Names real_inputs(const Op& op);
  // From real values to the bytes of the operation's output, within its limits.
  void quantized(const Op& op, const std::string& values);
  // The same from steps of the output's grid.
  void requantized(const Op& op, const std::string& steps);
  // What make(name) makes as tensor i, and Clip where that can leave the limits.
  void clipped(uint8_t low, uint8_t high, int32_t i, const std::function<void(const std::string& name)>& make);

  std::vector<OnnxModel::Attribute> window_attributes(const Op& op) const;

 private:
  template <class T>
  std::string shared(const std::string& constant, T value) {
    if (made_.insert(constant).second) model.scalar<T>(constant, value);
    return constant;
  }

  std::vector<std::string> names_;
  std::set<std::string> made_;  // of what is made once
};

}  // namespace qgrad::deploy
