// Matrices of resamples, layer norms and softmax node by node.
#include "quant/export/onnx_pieces.h"

#include <algorithm>

namespace qgrad::deploy {
namespace {

// [outputs, size], of the weights for neighbours from `first` on.
std::vector<float> matrix(const std::vector<int32_t>& first, const std::vector<float>& weights, int32_t size) {
  std::vector<float> values(first.size() * static_cast<size_t>(size), 0.0f);
  const auto taps = std::ssize(weights) / std::ssize(first);
  for (int64_t row = 0; row < std::ssize(first); ++row)
    std::copy_n(&weights[static_cast<size_t>(row * taps)], taps,
                &values[static_cast<size_t>(row * size + first[static_cast<size_t>(row)])]);
  return values;
}

std::vector<float> transposed(const std::vector<float>& values, int32_t columns) {
  std::vector<float> result;
  result.reserve(values.size());
  for (size_t column = 0; column < static_cast<size_t>(columns); ++column)
    for (size_t at = column; at < values.size(); at += static_cast<size_t>(columns)) result.push_back(values[at]);
  return result;
}

// Nodes of one operation, whose names begin alike.
class Pieces {
 public:
  Pieces(OnnxModel& model, std::string prefix) : model_(model), prefix_(std::move(prefix)) {}

  std::string node(const char* kind, const std::vector<std::string>& inputs, const char* name) {
    return model_.node(kind, inputs, prefix_ + name);
  }
  std::string cast(const std::string& x, OnnxType type, const char* name) {
    return model_.node("Cast", {x}, prefix_ + name, {{"to", static_cast<int64_t>(type)}});
  }
  template <class T>
  std::string constant(const char* name, std::vector<int64_t> dims, const std::vector<T>& values) {
    return model_.constant<T>(prefix_ + name, dims, values);
  }

 private:
  OnnxModel& model_;
  std::string prefix_;
};

}  // namespace

std::string add_resample(OnnxModel& model, const Program& program, const Op& op, const std::string& x,
                         const std::string& result) {
  const TensorInfo &in = program.tensors[static_cast<size_t>(op.inputs[0])],
                   &to = program.tensors[static_cast<size_t>(op.output)];
  Pieces pieces(model, result);
  const std::string columns = pieces.constant("/columns", {in.width, to.width},
                                              transposed(matrix(op.columns, op.column_weights, in.width), in.width));
  const std::string rows = pieces.constant("/rows", {to.height, in.height}, matrix(op.rows, op.row_weights, in.height));
  const std::string sums = pieces.node("MatMul", {rows, pieces.node("MatMul", {x, columns}, "/wide")}, "/sums");
  // No scalar, which runtimes would take into the product before it.
  return model.node("Mul", {sums, pieces.constant("/factor", {1, 1, 1, 1}, op.rescale)}, result);
}

std::string add_layer_norm(OnnxModel& model, const Program& program, const Op& op, const std::string& x,
                           const std::string& result) {
  const TensorInfo& in = program.tensors[static_cast<size_t>(op.inputs[0])];
  Pieces pieces(model, result);
  const auto number = [&](const char* name, int64_t value) { return pieces.constant<int64_t>(name, {}, {value}); };
  const std::string count = number("/count", in.channels), axis = pieces.constant<int64_t>("/axis", {1}, {1});
  const std::string u =
      pieces.node("Sub", {pieces.cast(x, OnnxType::int64, "/wide"), number("/origin", in.origin())}, "/integers");
  const std::string sum = pieces.node("ReduceSum", {u, axis}, "/sum");
  const std::string squares = pieces.node("ReduceSum", {pieces.node("Mul", {u, u}, "/squared"), axis}, "/squares");
  const std::string variance = pieces.node(
      "Sub", {pieces.node("Mul", {squares, count}, "/scaled_squares"), pieces.node("Mul", {sum, sum}, "/squared_sum")},
      "/variance");
  const std::string epsilon = pieces.constant<double>("/epsilon", {}, {integer_epsilon(op.epsilon, in)});
  const std::string positive =
      pieces.node("Add", {pieces.cast(variance, OnnxType::float64, "/real_variance"), epsilon}, "/positive");
  const std::string centred = pieces.node("Sub", {pieces.node("Mul", {u, count}, "/scaled"), sum}, "/centred");
  const std::string quotient = pieces.node(
      "Div", {pieces.cast(centred, OnnxType::float64, "/real_centred"), pieces.node("Sqrt", {positive}, "/deviation")},
      "/quotient");
  const std::string weighted = pieces.node("Mul",
                                           {pieces.cast(quotient, OnnxType::float32, "/normalized"),
                                            pieces.constant("/weight", {1, in.channels, 1, 1}, op.real_weight)},
                                           "/weighted");
  return model.node("Add", {weighted, pieces.constant("/bias", {1, in.channels, 1, 1}, op.real_bias)}, result);
}

std::string add_softmax(OnnxModel& model, const Op& op, const std::string& x, const std::string& result) {
  Pieces pieces(model, result);
  const std::string bytes = pieces.cast(x, OnnxType::int32, "/wide");
  const std::string largest =
      model.node("ReduceMax", {bytes}, result + "/largest", {{"axes", std::vector<int64_t>{1}}});
  const std::string distances = pieces.node("Sub", {largest, bytes}, "/distances");
  const std::vector<int64_t> table(op.exponentials.begin(), op.exponentials.end());
  const std::string exponentials =
      pieces.node("Gather", {pieces.constant("/table", {std::ssize(table)}, table), distances}, "/exponentials");
  const std::string sum = pieces.node("ReduceSum", {exponentials, pieces.constant<int64_t>("/axis", {1}, {1})}, "/sum");
  const std::string quotient = pieces.node("Div",
                                           {pieces.cast(exponentials, OnnxType::float64, "/real_exponentials"),
                                            pieces.cast(sum, OnnxType::float64, "/real_sum")},
                                           "/quotient");
  return model.node("Cast", {quotient}, result, {{"to", static_cast<int64_t>(OnnxType::float32)}});
}

}  // namespace qgrad::deploy
