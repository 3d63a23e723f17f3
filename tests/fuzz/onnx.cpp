// An ONNX file, and the network that is made of it: once as it says, and once with ones for all inputs but the first,
// as many operators take only constants there.
#include "core/error.h"
#include "nn/onnx/import.h"
#include "tests/fuzz/fuzz.h"

namespace qgrad::fuzz {
namespace {

onnx::Constant ones(const onnx::Value& input) {
  onnx::Constant constant{.name = input.name, .type = input.type, .dims = input.dims};
  int64_t count = 1;
  for (const int64_t dim : input.dims) {
    check(dim >= 0 && dim < 1000 && count < 1000, "too large to be varied");
    count *= dim;
  }
  for (; count > 0; --count) {
    const float real = 1;
    const int64_t whole = 1;
    const size_t bytes = onnx::bytes_of(input.type);
    if (input.type == onnx::Type::float32)
      constant.values.append(reinterpret_cast<const char*>(&real), sizeof real);
    else
      constant.values.append(reinterpret_cast<const char*>(&whole), bytes);
  }
  return constant;
}

}  // namespace

void one_input(std::string_view bytes) {
  const onnx::Model model = onnx::parse(bytes);
  try {
    onnx::import_model(model, {}).build();
  } catch (const Error&) {
  }
  onnx::ImportOptions options;
  for (size_t i = 1; i < model.inputs.size(); ++i) options.known[model.inputs[i].name] = ones(model.inputs[i]);
  if (!options.known.empty()) onnx::import_model(model, options).build();
}

}  // namespace qgrad::fuzz
