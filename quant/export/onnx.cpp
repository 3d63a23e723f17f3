// One operation of the program after the other.
#include "quant/export/onnx.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/narrow.h"
#include "quant/export/onnx_check.h"
#include "quant/export/onnx_conv.h"
#include "quant/export/onnx_moves.h"
#include "quant/export/onnx_pieces.h"
#include "quant/export/onnx_writer.h"
#include "quant/export/runtime_form.h"

namespace qgrad::deploy {
namespace {

// Of the real inputs.
std::string product(OnnxWriter& to, const Op& op) {
  const OnnxWriter::Names factors = to.real_inputs(op);
  std::string all = factors[0];
  for (size_t i = 1; i < factors.size(); ++i)
    all = to.model.node("Mul", {all, factors[i]}, fmt::format("{}/product{}", to.name(op.output), i));
  return all;
}

void resample(OnnxWriter& to, const Op& op) {
  const int32_t in = op.inputs[0];
  std::string x = to.name(in);
  if (to.tensor(in).type == Type::byte)
    x = to.model.node("DequantizeLinear", {x, to.one(), to.zero_point(in)}, to.name(op.output) + "/integers");
  if (to.tensor(op.output).type == Type::float32)
    add_resample(to.model, to.program, op, x, to.name(op.output));
  else
    to.requantized(op, add_resample(to.model, to.program, op, x, to.name(op.output) + "/rescaled"));
}

void layer_norm(OnnxWriter& to, const Op& op) {
  to.quantized(op, add_layer_norm(to.model, to.program, op, to.name(op.inputs[0]), to.name(op.output) + "/values"));
}

void softmax(OnnxWriter& to, const Op& op) {
  to.quantized(op, add_softmax(to.model, op, to.name(op.inputs[0]), to.name(op.output) + "/values"));
}

// Matrices are the last two dimensions of what is multiplied.
void matmul(OnnxWriter& to, const Op& op) {
  const std::string& out = to.name(op.output);
  OnnxWriter::Names inputs;
  for (const int32_t input : op.inputs)
    inputs.push_back(to.model.node("Transpose", {to.name(input)}, fmt::format("{}/matrix{}", out, inputs.size()),
                                   {{"perm", std::vector<int64_t>{0, 2, 3, 1}}}));
  for (const int32_t input : op.inputs) inputs.push_back(to.zero_point(input));
  const std::string sums = to.model.node("Cast", {to.model.node("MatMulInteger", inputs, out + "/sums")},
                                         out + "/sums/float", {{"to", static_cast<int64_t>(OnnxType::float32)}});
  const int64_t dims[] = {1};
  const std::string steps =
      to.model.node("Mul", {sums, to.model.constant<float>(out + "/rescale", dims, op.rescale)}, out + "/rescaled");
  to.requantized(op,
                 to.model.node("Transpose", {steps}, out + "/planes", {{"perm", std::vector<int64_t>{0, 3, 1, 2}}}));
}

// Whether table i is what DequantizeLinear and QuantizeLinear give.
bool regrids(const OnnxWriter& to, const Op& op, size_t i) {
  const TensorInfo &from = to.tensor(op.inputs[i]), &target = to.tensor(op.output);
  for (int32_t b = 0; b <= from.highest_byte(); ++b) {
    const float x = static_cast<float>(b - from.origin()) * from.grid.step();
    const float q = std::nearbyint(x / target.grid.step()) + static_cast<float>(target.origin());
    const float byte = std::clamp(q, 0.0f, static_cast<float>(target.highest_byte()));
    if (op.tables[i][static_cast<size_t>(b)] != narrow<uint8_t>(byte, "regridded byte")) return false;
  }
  return true;
}

// The bytes of a table are gathered, but where it only brings bytes to another grid before a concatenation.
void lookup(OnnxWriter& to, const Op& op) {
  const bool is_concat = op.inputs.size() > 1;
  const std::string& out = to.name(op.output);
  bool is_regridding = is_concat;
  for (size_t i = 0; i < op.inputs.size(); ++i) is_regridding = is_regridding && regrids(to, op, i);
  if (is_regridding) {
    const auto top = narrow<uint8_t>(to.tensor(op.output).grid.qmax - to.tensor(op.output).grid.qmin, "largest byte");
    const std::string all = to.model.node("Concat", to.real_inputs(op), out + "/concat", {{"axis", int64_t{1}}});
    return to.clipped(0, top, op.output, [&](const std::string& result) {
      to.model.node("QuantizeLinear", {all, to.step(op.output), to.zero_point(op.output)}, result);
    });
  }
  OnnxWriter::Names parts;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    const std::string part = is_concat ? fmt::format("{}/part{}", out, i) : out;
    const int64_t dims[] = {256};
    const std::string index = to.model.node("Cast", {to.name(op.inputs[i])}, part + "/index",
                                            {{"to", static_cast<int64_t>(OnnxType::int32)}});
    parts.push_back(
        to.model.node("Gather", {to.model.constant<uint8_t>(part + "/table", dims, op.tables[i]), index}, part));
  }
  if (is_concat) to.model.node("Concat", parts, out, {{"axis", int64_t{1}}});
}

const char* kind_name(OpKind kind) {
  constexpr const char* kNames[] = {"quantize", "dequantize",   "conv",           "add",        "multiply",   "lookup",
                                    "max_pool", "average_pool", "channels_first", "real_conv",  "float_conv", "clamp",
                                    "concat",   "select",       "resample",       "layer_norm", "gather",     "matmul",
                                    "softmax"};
  return kNames[static_cast<size_t>(kind)];
}

void add(OnnxWriter& to, const Op& op) {
  const std::string& out = to.name(op.output);
  switch (op.kind) {
    case OpKind::quantize:
      return to.quantized(op, to.name(op.inputs[0]));
    case OpKind::dequantize:
      to.model.node("DequantizeLinear", {to.name(op.inputs[0]), to.step(op.inputs[0]), to.zero_point(op.inputs[0])},
                    out);
      return;
    case OpKind::conv:
      return add_conv(to, op);
    case OpKind::add:
      if (to.tensor(op.output).type == Type::float32) {
        to.model.node("Sum", to.real_inputs(op), out);
        return;
      }
      // Add where runtimes may put an integer form of it in its place, else Sum, of which they have none.
      return to.quantized(op, to.model.node(to.fuses(op) ? "Add" : "Sum", to.real_inputs(op), out + "/sum"));
    case OpKind::multiply:
      if (to.tensor(op.output).type == Type::float32) {
        to.model.node("Sum", {product(to, op)}, out);
        return;
      }
      if (to.fuses(op)) return to.quantized(op, product(to, op));
      // Sum of one tensor: Mul alone would become an integer form.
      return to.quantized(op, to.model.node("Sum", {product(to, op)}, out + "/sum"));
    case OpKind::lookup:
      return lookup(to, op);
    case OpKind::max_pool:
      to.model.node("MaxPool", {to.name(op.inputs[0])}, out, to.window_attributes(op));
      return;
    case OpKind::average_pool: {
      auto attributes = to.window_attributes(op);
      attributes.emplace_back("count_include_pad", int64_t{1});
      to.model.node("AveragePool", {to.name(op.inputs[0])}, out, attributes);
      return;
    }
    case OpKind::real_conv:
      return add_conv_by_integers(to, op);
    case OpKind::float_conv:
      return add_float_conv(to, op);
    case OpKind::clamp:
      if (op.real_low == 0 && std::isinf(op.real_high))
        to.model.node("Relu", {to.name(op.inputs[0])}, out);
      else
        to.model.node("Clip", {to.name(op.inputs[0]), to.limit(op.real_low), to.limit(op.real_high)}, out);
      return;
    case OpKind::concat:
      to.model.node("Concat", to.real_inputs(op), out, {{"axis", int64_t{1}}});
      return;
    case OpKind::channels_first:
      to.model.node("Reshape", {to.name(op.inputs[0]), to.vector_shape()}, out);
      return;
    case OpKind::select:
      return add_select(to, op);
    case OpKind::resample:
      return resample(to, op);
    case OpKind::layer_norm:
      return layer_norm(to, op);
    case OpKind::gather:
      return add_gather(to, op);
    case OpKind::matmul:
      return matmul(to, op);
    case OpKind::softmax:
      return softmax(to, op);
  }
  fail("no ONNX form is known");
}

std::string model_of(OnnxWriter to) {
  const TensorInfo& input = to.tensor(to.program.input);
  to.model.input("input", OnnxType::float32, std::vector<int64_t>{input.channels, input.height, input.width});
  for (const Op& op : to.program.ops) {
    try {
      add(to, op);
    } catch (const Error& e) {
      fail("{}: {} can not be exported: {}", to.name(op.output), kind_name(op.kind), e.what());
    }
  }
  to.model.node("Flatten", {to.name(to.program.output)}, "output", {{"axis", int64_t{1}}});
  to.model.output("output", OnnxType::float32, std::vector<int64_t>{to.tensor(to.program.output).count()});
  if (to.options.all_tensors)
    for (const OnnxTensor& quantized : onnx_quantized_tensors(to.program)) {
      const TensorInfo& t = to.tensor(quantized.tensor);
      to.model.output(quantized.name, OnnxType::uint8, std::vector<int64_t>{t.channels, t.height, t.width});
    }
  return to.model.bytes(to.options.name);
}

}  // namespace

std::vector<OnnxTensor> onnx_quantized_tensors(const Program& program) {
  const std::vector<std::string> names = onnx_names(program);
  std::vector<OnnxTensor> tensors;
  for (const Op& op : program.ops)
    if (program.tensors[static_cast<size_t>(op.output)].type == Type::byte)
      tensors.push_back({op.output, names[static_cast<size_t>(op.output)]});
  return tensors;
}

std::vector<OnnxDifference> onnx_differences(const Program& program) {
  const std::vector<std::string> names = onnx_names(program);
  std::vector<OnnxDifference> differences;
  for (const Op& op : program.ops)
    if (const auto form = runtime_form(program, op); form && form->differing > 0)
      differences.push_back({names[static_cast<size_t>(op.output)], *form});
  return differences;
}

std::string onnx_model(const Program& program, const OnnxOptions& options) {
  validate(program);
  std::string bytes = model_of(OnnxWriter(program, options));
  check_onnx(bytes);
  return bytes;
}

}  // namespace qgrad::deploy
