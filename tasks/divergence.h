// Numbers that blow up, found where they arise.
#pragma once

#include <string>

#include "core/error.h"
#include "nn/module.h"

namespace qgrad {

// A training whose numbers are not finite any more.
class Diverged : public Error {
 public:
  // `layer`: more for who reads it, of what may depend on the examples that were looked at.
  explicit Diverged(const std::string& text, const std::string& layer = "") : Error(text + layer), text_(text) {}
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// "conv1.weight", the first parameter whose gradient is not finite; "" where there is none.
std::string broken_gradient(Module& model);

// "layer1.0.conv1 (Conv2d)", the first module whose output is not finite when the model is called again; "the inputs"
// where they are not; "" where all are finite. The state of the model changes as by any call.
std::string broken_layer(Module& model, Inputs inputs);

}  // namespace qgrad
