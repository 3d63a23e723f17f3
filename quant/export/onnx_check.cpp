// Types and shapes, inferred node by node as the operators' definitions say.
#include "quant/export/onnx_check.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "quant/export/onnx_model.h"

namespace qgrad::deploy {
namespace {

using Dims = std::vector<int64_t>;

constexpr size_t kMostBytes = size_t{1} << 31;  // of a protobuf message

struct Known {
  OnnxType type{};
  Dims dims;
  const onnx::Constant* constant = nullptr;
};

int64_t count(const Dims& dims) { return std::accumulate(dims.begin(), dims.end(), int64_t{1}, std::multiplies<>()); }

template <class T>
std::vector<T> numbers(const onnx::Constant& constant) {
  std::vector<T> values(constant.values.size() / sizeof(T));
  std::memcpy(values.data(), constant.values.data(), values.size() * sizeof(T));
  return values;
}

void check_constant(const onnx::Constant& c) {
  check(std::ranges::all_of(c.dims, [](int64_t d) { return d > 0; }), "{}: dimensions [{}]", c.name,
        fmt::join(c.dims, ", "));
  if (c.type != OnnxType::float32) return;
  for (const float value : numbers<float>(c)) check(std::isfinite(value), "{}: holds {}", c.name, value);
}

// One node, whose inputs are known.
class NodeCheck {
 public:
  NodeCheck(const onnx::Node& node, std::vector<Known> inputs) : node_(node), in_(std::move(inputs)) {}

  Known run() const {
    const std::string& op = node_.op;
    if (op == "QuantizeLinear") return quantize();
    if (op == "DequantizeLinear") return dequantize();
    if (op == "Conv") return convolution();
    if (op == "ConvInteger") return integer_convolution();
    if (op == "GlobalAveragePool") return mean();
    if (op == "MaxPool" || op == "AveragePool") return pool();
    if (op == "Add" || op == "Sub" || op == "Mul" || op == "Div") return broadcast(2, 2);
    if (op == "MatMul") return product();
    if (op == "Sum") return broadcast(1, 64);
    if (op == "MatMulInteger") return integer_product();
    if (op == "ReduceSum") return sum_along_axis();
    if (op == "ReduceMax") return largest_along_axis();
    if (op == "Transpose") return transposed();
    if (op == "Where") return choice();
    if (op == "Sqrt") return arity(1, 1), types({OnnxType::float64}), in_[0];
    if (op == "Relu") return arity(1, 1), types({OnnxType::float32}), in_[0];
    if (op == "Clip") return clip();
    if (op == "Cast") return arity(1, 1), Known{static_cast<OnnxType>(attribute("to")), in_[0].dims};
    if (op == "Gather") return gather();
    if (op == "Pad") return pad();
    if (op == "Concat") return concat();
    if (op == "Reshape") return reshape();
    if (op == "Flatten") return arity(1, 1), Known{in_[0].type, {in_[0].dims[0], count(in_[0].dims) / in_[0].dims[0]}};
    fail("unknown operator");
  }

 private:
  void arity(size_t least, size_t most) const {
    check(in_.size() >= least && in_.size() <= most, "expected {} to {} inputs, got {}", least, most, in_.size());
  }
  void types(const std::vector<OnnxType>& expected) const {
    for (size_t i = 0; i < expected.size() && i < in_.size(); ++i)
      check(in_[i].type == expected[i], "input {} has type {}, expected {}", i, static_cast<int64_t>(in_[i].type),
            static_cast<int64_t>(expected[i]));
  }
  const Dims& attributes(const char* name) const {
    const auto found = node_.attributes.find(name);
    check(found != node_.attributes.end(), "lacks the attribute {}", name);
    return found->second.ints;
  }
  int64_t attribute(const char* name) const {
    const Dims& values = attributes(name);
    check(values.size() == 1, "expected one number for {}, got {}", name, values.size());
    return values[0];
  }
  void same_dims(size_t a, size_t b) const {
    check(in_[a].dims == in_[b].dims, "inputs {} and {} have dimensions [{}] and [{}]", a, b,
          fmt::join(in_[a].dims, ", "), fmt::join(in_[b].dims, ", "));
  }
  void scalar(size_t i) const {
    check(in_[i].dims.empty(), "input {} has dimensions [{}], expected a scalar", i, fmt::join(in_[i].dims, ", "));
  }
  void steps() const {
    arity(3, 3);
    check(in_[1].type == OnnxType::float32 && in_[1].constant, "its step is no constant float");
    for (const float step : numbers<float>(*in_[1].constant)) check(step > 0, "its step is {}", step);
    same_dims(1, 2);
  }

  Known quantize() const {
    steps(), types({OnnxType::float32, OnnxType::float32, OnnxType::uint8}), scalar(1);
    return {OnnxType::uint8, in_[0].dims};
  }
  Known dequantize() const {
    steps();
    check(in_[0].type == in_[2].type && in_[0].type != OnnxType::float32, "its zero point has type {}, its input {}",
          static_cast<int64_t>(in_[2].type), static_cast<int64_t>(in_[0].type));
    if (!in_[1].dims.empty()) {
      const auto axis = static_cast<size_t>(attribute("axis"));
      check(in_[1].dims.size() == 1 && axis < in_[0].dims.size() && in_[1].dims[0] == in_[0].dims[axis],
            "[{}] steps for dimensions [{}]", fmt::join(in_[1].dims, ", "), fmt::join(in_[0].dims, ", "));
    }
    return {OnnxType::float32, in_[0].dims};
  }

  // The dimensions of images of `channels` behind the window.
  Dims behind_window(int64_t channels, const Dims& dilations) const {
    const Dims &x = in_[0].dims, &kernel = attributes("kernel_shape"), &strides = attributes("strides"),
               &pads = attributes("pads");
    check(x.size() == 4 && kernel.size() == 2 && strides.size() == 2 && pads.size() == 4 && dilations.size() == 2,
          "expected images and a window of two dimensions, got [{}]", fmt::join(x, ", "));
    Dims y{x[0], channels};
    for (size_t i = 0; i < 2; ++i) {
      const int64_t room = x[2 + i] + pads[i] + pads[2 + i] - (kernel[i] - 1) * dilations[i] - 1;
      check(strides[i] > 0 && room >= 0, "its window does not fit [{}]", fmt::join(x, ", "));
      y.push_back(room / strides[i] + 1);
    }
    return y;
  }
  Dims behind_convolution() const {
    const Dims& w = in_[1].dims;
    const int64_t groups = attribute("group");
    const Dims& kernel = attributes("kernel_shape");
    check(in_[0].dims.size() == 4 && w.size() == 4 && groups > 0 && w[0] % groups == 0 &&
              w[1] * groups == in_[0].dims[1] && kernel == Dims({w[2], w[3]}),
          "weights [{}] in {} groups do not fit [{}]", fmt::join(w, ", "), groups, fmt::join(in_[0].dims, ", "));
    return behind_window(w[0], attributes("dilations"));
  }
  Known convolution() const {
    arity(2, 3), types({OnnxType::float32, OnnxType::float32, OnnxType::float32});
    const Dims y = behind_convolution();
    check(in_.size() == 2 || in_[2].dims == Dims{y[1]}, "expected {} biases", y[1]);
    return {OnnxType::float32, y};
  }
  Known integer_convolution() const {
    arity(4, 4), types(std::vector(4, OnnxType::uint8)), scalar(2), scalar(3);
    return {OnnxType::int32, behind_convolution()};
  }
  Known pool() const {
    arity(1, 1);
    check(in_[0].type == OnnxType::float32 || node_.op == "MaxPool", "averages of integers");
    return {in_[0].type, behind_window(in_[0].dims.at(1), {1, 1})};
  }
  Known mean() const {
    arity(1, 1), types({OnnxType::float32});
    check(in_[0].dims.size() == 4, "expected images, got [{}]", fmt::join(in_[0].dims, ", "));
    return {OnnxType::float32, {in_[0].dims[0], in_[0].dims[1], 1, 1}};
  }
  Known broadcast(size_t least, size_t most) const {
    arity(least, most), types(std::vector(in_.size(), in_[0].type));
    using enum onnx::Type;
    const std::vector<OnnxType> known =
        node_.op == "Sum" ? std::vector{float32} : std::vector{float32, float64, int32, int64};
    check(std::ranges::count(known, in_[0].type) == 1, "input 0 has type {}", static_cast<int64_t>(in_[0].type));
    Dims y;
    for (const Known& x : in_) {
      const size_t rank = std::max(y.size(), x.dims.size());
      Dims wide(rank - x.dims.size(), 1), so_far(rank - y.size(), 1);
      wide.insert(wide.end(), x.dims.begin(), x.dims.end());
      so_far.insert(so_far.end(), y.begin(), y.end());
      for (size_t d = 0; d < rank; ++d) {
        check(wide[d] == so_far[d] || wide[d] == 1 || so_far[d] == 1, "[{}] and [{}] can not be broadcast",
              fmt::join(x.dims, ", "), fmt::join(y, ", "));
        so_far[d] = std::max(so_far[d], wide[d]);
      }
      y = so_far;
    }
    return {in_[0].type, y};
  }
  Known sum_along_axis() const {
    arity(2, 2), types({OnnxType::int64, OnnxType::int64});
    check(in_[1].constant && in_[1].dims == Dims{1}, "its axis is no constant");
    Dims y = in_[0].dims;
    y.at(static_cast<size_t>(numbers<int64_t>(*in_[1].constant)[0])) = 1;
    return {in_[0].type, y};
  }
  Known largest_along_axis() const {
    arity(1, 1), types({OnnxType::int32});
    Dims y = in_[0].dims;
    y.at(static_cast<size_t>(attribute("axes"))) = 1;
    return {in_[0].type, y};
  }
  Known transposed() const {
    arity(1, 1);
    const Dims &order = attributes("perm"), &x = in_[0].dims;
    check(order.size() == x.size(), "an order of {} dimensions for [{}]", order.size(), fmt::join(x, ", "));
    Dims sorted = order, all(x.size()), y;
    std::ranges::sort(sorted);
    std::iota(all.begin(), all.end(), 0);
    check(sorted == all, "[{}] is no order of dimensions", fmt::join(order, ", "));
    for (const int64_t d : order) y.push_back(x[static_cast<size_t>(d)]);
    return {in_[0].type, y};
  }
  Known choice() const {
    arity(3, 3), types({OnnxType::boolean, in_[1].type, in_[1].type}), same_dims(0, 1), same_dims(1, 2);
    return {in_[1].type, in_[1].dims};
  }
  Known integer_product() const {
    arity(4, 4), types(std::vector(4, OnnxType::uint8)), scalar(2), scalar(3);
    const Dims &a = in_[0].dims, &b = in_[1].dims;
    check(a.size() == 4 && b.size() == 4 && a[0] == b[0] && a[1] == b[1] && a[3] == b[2],
          "[{}] and [{}] have no product", fmt::join(a, ", "), fmt::join(b, ", "));
    return {OnnxType::int32, {a[0], a[1], a[2], b[3]}};
  }
  // One of the two is a matrix.
  Known product() const {
    arity(2, 2), types(std::vector(2, OnnxType::float32));
    const Dims &a = in_[0].dims, &b = in_[1].dims;
    check(a.size() >= 2 && b.size() >= 2 && std::min(a.size(), b.size()) == 2 && a[a.size() - 1] == b[b.size() - 2],
          "[{}] and [{}] have no product", fmt::join(a, ", "), fmt::join(b, ", "));
    Dims y = a.size() > b.size() ? a : b;
    y[y.size() - 2] = a[a.size() - 2];
    y[y.size() - 1] = b[b.size() - 1];
    return {OnnxType::float32, y};
  }
  Known clip() const {
    arity(3, 3), types(std::vector(3, in_[0].type)), scalar(1), scalar(2);
    return {in_[0].type, in_[0].dims};
  }
  Known gather() const {
    arity(2, 2);
    check(in_[1].type == OnnxType::int32, "expected 32-bit indices");
    if (in_[0].dims.size() == 1) return {in_[0].type, in_[1].dims};  // a table
    const auto axis = static_cast<size_t>(attribute("axis"));
    check(in_[1].constant && in_[1].dims.size() == 1 && axis < in_[0].dims.size(), "its places are no constant row");
    for (const int32_t place : numbers<int32_t>(*in_[1].constant))
      check(place >= 0 && place < in_[0].dims[axis], "there is no place {} among {}", place, in_[0].dims[axis]);
    Dims y = in_[0].dims;
    y[axis] = in_[1].dims[0];
    return {in_[0].type, y};
  }
  Known pad() const {
    arity(3, 3), types({in_[0].type, OnnxType::int64, in_[0].type}), scalar(2);
    Dims y = in_[0].dims;
    check(in_[1].constant && in_[1].dims == Dims{2 * std::ssize(y)}, "expected two constant pads for each dimension");
    const std::vector<int64_t> pads = numbers<int64_t>(*in_[1].constant);
    for (size_t d = 0; d < y.size(); ++d) y[d] += pads[d] + pads[d + y.size()];
    return {in_[0].type, y};
  }
  Known concat() const {
    arity(1, 64), types(std::vector(in_.size(), in_[0].type));
    const auto axis = static_cast<size_t>(attribute("axis"));
    Dims y = in_[0].dims;
    y.at(axis) = 0;
    for (size_t i = 0; i < in_.size(); ++i) {
      Dims x = in_[i].dims;
      check(x.size() == y.size(), "input {} has {} dimensions, the first {}", i, x.size(), y.size());
      const int64_t channels = std::exchange(x[axis], y[axis]);
      check(x == y, "input {} has dimensions [{}]", i, fmt::join(in_[i].dims, ", "));
      y[axis] += channels;
    }
    return {in_[0].type, y};
  }
  Known reshape() const {
    arity(2, 2);
    check(in_[1].constant && in_[1].type == OnnxType::int64, "its shape is no constant");
    Dims y = numbers<int64_t>(*in_[1].constant);
    for (size_t d = 0; d < y.size(); ++d)
      if (y[d] == 0) y[d] = in_[0].dims.at(d);
    if (const auto open = std::ranges::find(y, -1); open != y.end()) *open = -count(in_[0].dims) / count(y);
    check(count(y) == count(in_[0].dims), "[{}] can not become [{}]", fmt::join(in_[0].dims, ", "), fmt::join(y, ", "));
    return {in_[0].type, y};
  }

  const onnx::Node& node_;
  std::vector<Known> in_;
};

class GraphCheck {
 public:
  explicit GraphCheck(const onnx::Model& graph) : graph_(graph) {}

  void run() {
    check(graph_.opset == OnnxModel::kOpset && !graph_.nodes.empty() && !graph_.outputs.empty(),
          "a graph of opset {} with {} nodes and {} outputs", graph_.opset, graph_.nodes.size(), graph_.outputs.size());
    for (const onnx::Constant& constant : graph_.constants) {
      check_constant(constant);
      make(constant.name, {constant.type, constant.dims, &constant});
    }
    for (const onnx::Value& input : graph_.inputs) make(input.name, {input.type, of_one(input.dims)});
    for (const onnx::Node& node : graph_.nodes) {
      check(node.outputs.size() == 1, "{}: a node with {} outputs", node.op, node.outputs.size());
      const std::string where = fmt::format("{} ({})", node.outputs[0], node.op);
      std::vector<Known> inputs;
      for (const std::string& name : node.inputs) inputs.push_back(known(name, where));
      try {
        make(node.outputs[0], NodeCheck(node, std::move(inputs)).run());
      } catch (const Error& e) {
        fail("{}: {}", where, e.what());
      }
    }
    for (const onnx::Value& output : graph_.outputs) {
      const Known& made = known(output.name, "the graph's outputs");
      check(made.type == output.type && made.dims == of_one(output.dims),
            "output {}: declared with type {} and dimensions [{}], made with {} and [{}]", output.name,
            static_cast<int64_t>(output.type), fmt::join(output.dims, ", "), static_cast<int64_t>(made.type),
            fmt::join(made.dims, ", "));
    }
  }

 private:
  static Dims of_one(Dims dims) {
    std::ranges::replace(dims, onnx::Value::kUnknown, 1);
    return dims;
  }
  void make(const std::string& name, Known what) {
    check(!name.empty() && known_.emplace(name, std::move(what)).second, "'{}' is made twice", name);
  }
  const Known& known(const std::string& name, const std::string& by) const {
    const auto found = known_.find(name);
    check(found != known_.end(), "'{}', which {} asks for, was not made before", name, by);
    return found->second;
  }

  const onnx::Model& graph_;
  std::map<std::string, Known> known_;
};

}  // namespace

void check_onnx(std::string_view bytes) {
  check(bytes.size() < kMostBytes, "the ONNX file would have {} bytes, and can have {}", bytes.size(), kMostBytes);
  const onnx::Model graph = onnx::parse(bytes);
  try {
    GraphCheck(graph).run();
  } catch (const Error& e) {
    fail("the ONNX file would not be valid: {}", e.what());
  }
}

}  // namespace qgrad::deploy
