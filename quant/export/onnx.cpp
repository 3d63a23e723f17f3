// One operation of the program after the other. Tensors without spatial dimensions are images of 1x1 here, too.
#include "quant/export/onnx.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>

#include "core/error.h"
#include "core/narrow.h"
#include "quant/export/onnx_check.h"
#include "quant/export/onnx_model.h"
#include "quant/export/onnx_pieces.h"
#include "quant/export/runtime_form.h"

namespace qgrad::deploy {
namespace {

using Names = std::vector<std::string>;

// Paths of modules have no slash: what has one in front is none of them.
std::vector<std::string> names_of(const Program& program) {
  std::vector<std::string> names;
  std::set<std::string> taken{"input", "output"};
  for (size_t i = 0; i < program.tensors.size(); ++i) {
    const std::string& name = program.tensors[i].name;
    const bool is_end = static_cast<int32_t>(i) == program.input || static_cast<int32_t>(i) == program.output;
    names.push_back(is_end || name.empty() || !taken.insert(name).second ? fmt::format("/tensor{}", i) : name);
  }
  names[static_cast<size_t>(program.input)] = "input";
  return names;
}

class Exporter {
 public:
  Exporter(const Program& program, const OnnxOptions& options)
      : program_(program), options_(options), names_(names_of(program)) {}

  std::string run() {
    const TensorInfo& input = tensor(program_.input);
    model_.input("input", OnnxType::float32, std::vector<int64_t>{input.channels, input.height, input.width});
    for (const Op& op : program_.ops) {
      try {
        add(op);
      } catch (const Error& e) {
        fail("{}: {} can not be exported: {}", name(op.output), kind_name(op.kind), e.what());
      }
    }
    model_.node("Flatten", {name(program_.output)}, "output", {{"axis", int64_t{1}}});
    model_.output("output", OnnxType::float32, std::vector<int64_t>{tensor(program_.output).count()});
    if (options_.all_tensors)
      for (const OnnxTensor& quantized : onnx_quantized_tensors(program_)) {
        const TensorInfo& t = tensor(quantized.tensor);
        model_.output(quantized.name, OnnxType::uint8, std::vector<int64_t>{t.channels, t.height, t.width});
      }
    return model_.bytes(options_.name);
  }

 private:
  static const char* kind_name(OpKind kind) {
    constexpr const char* kNames[] = {"quantize", "dequantize",   "conv",           "add",       "multiply",   "lookup",
                                      "max_pool", "average_pool", "channels_first", "real_conv", "float_conv", "clamp",
                                      "concat",   "select",       "resample",       "layer_norm"};
    return kNames[static_cast<size_t>(kind)];
  }

  void add(const Op& op) {
    const std::string& out = name(op.output);
    switch (op.kind) {
      case OpKind::quantize:
        return quantized(op, name(op.inputs[0]), op.output);
      case OpKind::dequantize:
        model_.node("DequantizeLinear", {name(op.inputs[0]), step(op.inputs[0]), zero_point(op.inputs[0])}, out);
        return;
      case OpKind::conv:
        return conv(op);
      case OpKind::add:
        if (tensor(op.output).type == Type::float32) {
          model_.node("Sum", real_inputs(op), out);
          return;
        }
        // Add where runtimes may put an integer form of it in its place, else Sum, of which they have none.
        return quantized(op, model_.node(fuses(op) ? "Add" : "Sum", real_inputs(op), out + "/sum"), op.output);
      case OpKind::multiply:
        if (tensor(op.output).type == Type::float32) {
          model_.node("Sum", {product(real_inputs(op), out)}, out);
          return;
        }
        if (fuses(op)) return quantized(op, product(real_inputs(op), out), op.output);
        // Sum of one tensor: Mul alone would become an integer form.
        return quantized(op, model_.node("Sum", {product(real_inputs(op), out)}, out + "/sum"), op.output);
      case OpKind::lookup:
        return lookup(op);
      case OpKind::max_pool:
        model_.node("MaxPool", {name(op.inputs[0])}, out, window_attributes(op));
        return;
      case OpKind::average_pool: {
        auto attributes = window_attributes(op);
        attributes.emplace_back("count_include_pad", int64_t{1});
        model_.node("AveragePool", {name(op.inputs[0])}, out, attributes);
        return;
      }
      case OpKind::real_conv:
        return conv_by_integers(op);
      case OpKind::float_conv:
        return float_conv(op);
      case OpKind::clamp:
        if (op.real_low == 0 && std::isinf(op.real_high))
          model_.node("Relu", {name(op.inputs[0])}, out);
        else
          model_.node("Clip", {name(op.inputs[0]), limit(op.real_low), limit(op.real_high)}, out);
        return;
      case OpKind::concat:
        model_.node("Concat", real_inputs(op), out, {{"axis", int64_t{1}}});
        return;
      case OpKind::channels_first:
        model_.node("Reshape", {name(op.inputs[0]), vector_shape()}, out);
        return;
      case OpKind::select:
        return select(op);
      case OpKind::resample:
        return resample(op);
      case OpKind::layer_norm:
        return layer_norm(op);
    }
    fail("no ONNX form is known");
  }

  bool fuses(const Op& op) const {
    const std::optional<RuntimeForm> form = runtime_form(program_, op);
    return form && (form->differing == 0 || options_.fused);
  }

  const TensorInfo& tensor(int32_t i) const { return program_.tensors[static_cast<size_t>(i)]; }
  const std::string& name(int32_t i) const { return names_[static_cast<size_t>(i)]; }

  // --- constants that several nodes share ---
  template <class T>
  std::string shared(const std::string& constant, T value) {
    if (constants_.insert(constant).second) model_.scalar<T>(constant, value);
    return constant;
  }
  std::string step(int32_t i) { return shared(name(i) + "/step", tensor(i).grid.step()); }
  std::string zero_point(int32_t i) {
    return shared(name(i) + "/zero_point", narrow<uint8_t>(tensor(i).origin(), "zero point"));
  }
  std::string byte(uint8_t value) { return shared(fmt::format("/byte{}", value), value); }
  std::string limit(float value) { return shared(fmt::format("/limit{}", value), value); }
  std::string vector_shape() {
    const int64_t dims[] = {4}, shape[] = {0, -1, 1, 1};
    if (constants_.insert("/vector").second) model_.constant<int64_t>("/vector", dims, shape);
    return "/vector";
  }

  // --- between bytes and real values ---
  std::string real(int32_t i) {
    if (tensor(i).type == Type::float32) return name(i);
    const std::string value = name(i) + "/real";
    if (constants_.insert(value).second) model_.node("DequantizeLinear", {name(i), step(i), zero_point(i)}, value);
    return value;
  }
  Names real_inputs(const Op& op) {
    Names inputs;
    for (const int32_t input : op.inputs) inputs.push_back(real(input));
    return inputs;
  }
  std::string product(const Names& factors, const std::string& out) {
    std::string all = factors[0];
    for (size_t i = 1; i < factors.size(); ++i)
      all = model_.node("Mul", {all, factors[i]}, fmt::format("{}/product{}", out, i));
    return all;
  }

  // From real values to the bytes of tensor i, within the operation's limits.
  void quantized(const Op& op, const std::string& value, int32_t i) {
    const auto [low, high] = limits(op);
    clipped(low, high, i, [&](const std::string& to) {
      model_.node("QuantizeLinear", {value, step(i), zero_point(i)}, to);
    });
  }
  // What make(name) makes, and Clip where it can leave the limits.
  template <class Make>
  void clipped(uint8_t low, uint8_t high, int32_t i, const Make& make) {
    if (low == 0 && high == 255) return make(name(i));
    make(name(i) + "/unclipped");
    model_.node("Clip", {name(i) + "/unclipped", byte(low), byte(high)}, name(i));
  }
  static std::pair<uint8_t, uint8_t> limits(const Op& op) {
    const auto all = [](const std::vector<uint8_t>& values) {
      check(std::ranges::all_of(values, [&](uint8_t v) { return v == values[0]; }),
            "bits_accum cut its channels at different values, and ONNX has one limit for all: use more bits_accum");
      return values[0];
    };
    return {all(op.low), all(op.high)};
  }

  // --- moving ---
  // One axis after the other.
  void select(const Op& op) {
    const TensorInfo& in = tensor(op.inputs[0]);
    std::vector<std::tuple<int64_t, const std::vector<int32_t>*, int32_t>> axes;
    for (const auto& [axis, places, size] :
         {std::tuple(int64_t{1}, &op.channels, in.channels), std::tuple(int64_t{2}, &op.rows, in.height),
          std::tuple(int64_t{3}, &op.columns, in.width)}) {
      std::vector<int32_t> all(static_cast<size_t>(size));
      std::iota(all.begin(), all.end(), 0);
      if (*places != all) axes.emplace_back(axis, places, size);
    }
    if (axes.empty()) axes.emplace_back(1, &op.channels, in.channels);  // it moves nothing
    std::string x = name(op.inputs[0]);
    for (size_t i = 0; i < axes.size(); ++i) {
      const auto [axis, places, size] = axes[i];
      const std::string to = i + 1 < axes.size() ? fmt::format("{}/axis{}", name(op.output), axis) : name(op.output);
      x = select_along(op, axis, *places, size, x, to);
    }
  }
  // Zeros stand at the end of the axis before places are taken.
  std::string select_along(const Op& op, int64_t axis, std::vector<int32_t> places, int32_t size, std::string x,
                           const std::string& to) {
    if (std::ranges::count(places, Op::kZeros) > 0) {
      std::vector<int64_t> pads(8, 0);
      pads[static_cast<size_t>(4 + axis)] = 1;
      const int64_t dims[] = {8};
      const std::string zero = tensor(op.output).type == Type::byte ? zero_point(op.output) : limit(0);
      x = model_.node("Pad", {x, model_.constant<int64_t>(to + "/pads", dims, pads), zero}, to + "/padded");
      std::ranges::replace(places, Op::kZeros, size);
    }
    const int64_t dims[] = {std::ssize(places)};
    return model_.node("Gather", {x, model_.constant<int32_t>(to + "/places", dims, places)}, to, {{"axis", axis}});
  }

  // --- what is written in pieces ---
  void resample(const Op& op) {
    const int32_t in = op.inputs[0];
    std::string x = name(in);
    if (tensor(in).type == Type::byte)
      x = model_.node("DequantizeLinear", {x, shared("/one", 1.0f), zero_point(in)}, name(op.output) + "/integers");
    if (tensor(op.output).type == Type::float32)
      add_resample(model_, program_, op, x, name(op.output));
    else
      requantized(op, add_resample(model_, program_, op, x, name(op.output) + "/rescaled"));
  }
  void layer_norm(const Op& op) {
    quantized(op, add_layer_norm(model_, program_, op, name(op.inputs[0]), name(op.output) + "/values"), op.output);
  }

  // --- layers ---
  std::vector<OnnxModel::Attribute> window_attributes(const Op& op) const {
    const Window& w = op.window;
    const auto [below, right] = end_padding(program_, op);
    return {{"kernel_shape", std::vector<int64_t>{w.kernel_h, w.kernel_w}},
            {"strides", std::vector<int64_t>{w.stride_h, w.stride_w}},
            {"pads", std::vector<int64_t>{w.padding_h, w.padding_w, below, right}}};
  }
  std::vector<OnnxModel::Attribute> conv_attributes(const Op& op) const {
    const Window& w = op.window;
    auto attributes = window_attributes(op);
    attributes.emplace_back("dilations", std::vector<int64_t>{w.dilation_h, w.dilation_w});
    attributes.emplace_back("group", int64_t{w.groups});
    return attributes;
  }

  // [kh,kw,in/groups,out] as [out,in/groups,kh,kw].
  template <class T, class From>
  static std::vector<T> output_channels_first(const std::vector<From>& weight, const Window& w, size_t out) {
    const size_t taps = static_cast<size_t>(w.kernel_h) * static_cast<size_t>(w.kernel_w);
    const size_t in = weight.size() / out / taps;
    std::vector<T> result;
    result.reserve(weight.size());
    for (size_t o = 0; o < out; ++o)
      for (size_t i = 0; i < in; ++i)
        for (size_t tap = 0; tap < taps; ++tap) result.push_back(narrow<T>(weight[(tap * in + i) * out + o], "weight"));
    return result;
  }
  static std::vector<int64_t> weight_dims(const Op& op, size_t out) {
    const Window& w = op.window;
    const size_t count = std::max(op.weight.size(), op.real_weight.size());
    return {static_cast<int64_t>(out), static_cast<int64_t>(count / out) / (w.kernel_h * w.kernel_w), w.kernel_h,
            w.kernel_w};
  }

  void float_conv(const Op& op) {
    const std::string& out = name(op.output);
    const size_t channels = op.real_bias.size();
    const int64_t dims[] = {static_cast<int64_t>(channels)};
    model_.node("Conv",
                {name(op.inputs[0]),
                 model_.constant<float>(out + "/weight", weight_dims(op, channels),
                                        output_channels_first<float>(op.real_weight, op.window, channels)),
                 model_.constant<float>(out + "/bias", dims, op.real_bias)},
                out, conv_attributes(op));
  }

  void conv(const Op& op) {
    if (fuses(op))
      return quantized(op, model_.node("GlobalAveragePool", {real(op.inputs[0])}, name(op.output) + "/mean"),
                       op.output);
    check(!op.weight_step.empty(), "the steps of its weights are not known; export a model, not a program file");
    std::vector<int32_t> weight(op.weight.begin(), op.weight.end());
    for (int32_t& w : weight) w *= 1 << op.sum_shift;
    const auto [smallest, largest] = std::ranges::minmax(weight);
    if (smallest >= -128 && largest <= 127) return conv_of<int8_t>(op, weight, 0);
    const int32_t origin = std::min(smallest, 0);  // zero is one of the bytes
    if (op.weight_step.size() == 1 && std::max(largest, 0) - origin <= 255) return conv_of<uint8_t>(op, weight, origin);
    conv_by_integers(op);
  }

  // In QDQ form, with the weights, times 2^sum_shift, less `origin` in a container of 8 bits.
  template <class T>
  void conv_of(const Op& op, std::vector<int32_t> weight, int32_t origin) {
    const std::string& out = name(op.output);
    const size_t channels = op.bias.size();
    const std::vector<int64_t> dims = weight_dims(op, channels);
    for (int32_t& w : weight) w -= origin;
    Names inputs{real(op.inputs[0]),
                 per_channel(out + "/weight",
                             model_.constant<T>(out + "/weight/bytes", dims,
                                                output_channels_first<T>(weight, op.window, channels)),
                             op.weight_step, narrow<T>(-origin, "zero point of weights"))};
    if (std::ranges::any_of(op.bias, [](int32_t b) { return b != 0; })) {
      const int64_t bias_dims[] = {static_cast<int64_t>(channels)};
      std::vector<float> steps = op.weight_step;
      for (float& s : steps) s = tensor(op.inputs[0]).grid.step() * s;
      inputs.push_back(per_channel(out + "/bias", model_.constant<int32_t>(out + "/bias/integers", bias_dims, op.bias),
                                   steps, int32_t{0}));
    }
    quantized(op, model_.node("Conv", inputs, out + "/sums", conv_attributes(op)), op.output);
  }
  // Real weights or biases: one step, or one for each of the channels, which come first.
  template <class T>
  std::string per_channel(const std::string& result, const std::string& integers, const std::vector<float>& steps,
                          T zero_point) {
    const auto count = static_cast<int64_t>(steps.size());
    const std::vector<int64_t> dims = count == 1 ? std::vector<int64_t>{} : std::vector<int64_t>{count};
    const std::vector<T> zero_points(steps.size(), zero_point);
    return model_.node("DequantizeLinear",
                       {integers, model_.constant<float>(result + "/step", dims, steps),
                        model_.constant<T>(result + "/zero_point", dims, zero_points)},
                       result, {{"axis", int64_t{0}}});
  }

  // ConvInteger, whose sums are exact, and what follows in float as written: for real sums, which a Conv in QDQ form
  // would round on the way, for weights beyond 8 bits, which are the sum of two that are not, and for biases of finer
  // steps than the sums have.
  void conv_by_integers(const Op& op) {
    const std::string& out = name(op.output);
    const size_t channels = op.bias.size();
    std::string sums;
    std::vector<int32_t> rest(op.weight.begin(), op.weight.end());
    // Together the two hold -255 to 255.
    for (const auto& [part, zero] : {std::pair("/first", uint8_t{128}), std::pair("/second", uint8_t{127})}) {
      std::vector<int32_t> bytes;
      for (int32_t& w : rest) {
        bytes.push_back(std::clamp(w + zero, 0, 255));
        w -= bytes.back() - zero;
      }
      const std::string weight = model_.constant<uint8_t>(out + part + "/weight", weight_dims(op, channels),
                                                          output_channels_first<uint8_t>(bytes, op.window, channels));
      const std::string product =
          model_.node("ConvInteger", {name(op.inputs[0]), weight, zero_point(op.inputs[0]), byte(zero)},
                      out + part + "/sums", conv_attributes(op));
      sums = sums.empty() ? product : model_.node("Add", {sums, product}, out + "/sums");
      if (std::ranges::all_of(rest, [](int32_t w) { return w == 0; })) break;
    }
    for (size_t i = 0; i < rest.size(); ++i) check(rest[i] == 0, "its weight {} is beyond -255 to 255", op.weight[i]);
    if (op.sum_shift > 0) {
      const int64_t scalar[] = {1};
      const std::vector<int32_t> factor{1 << op.sum_shift};
      sums = model_.node("Mul", {sums, model_.constant<int32_t>(out + "/sums/factor", scalar, factor)},
                         out + "/sums/fine");
    }
    const int64_t dims[] = {1, static_cast<int64_t>(channels), 1, 1};
    if (std::ranges::any_of(op.bias, [](int32_t b) { return b != 0; }))
      sums =
          model_.node("Add", {sums, model_.constant<int32_t>(out + "/sums/bias", dims, op.bias)}, out + "/sums/biased");
    const std::string real_sums = model_.node("Cast", {sums}, out + "/sums/float", {{"to", int64_t{1}}});
    const bool is_real = tensor(op.output).type == Type::float32;
    const std::string rescaled =
        model_.node("Mul", {real_sums, model_.constant<float>(out + "/rescale", dims, op.rescale)}, out + "/rescaled");
    if (is_real) {
      model_.node("Add", {rescaled, model_.constant<float>(out + "/bias", dims, op.real_bias)}, out);
      return;
    }
    requantized(op, rescaled);
  }
  // From steps of the output's grid to its bytes.
  void requantized(const Op& op, const std::string& steps) {
    const auto [low, high] = limits(op);
    clipped(low, high, op.output, [&](const std::string& to) {
      model_.node("QuantizeLinear", {steps, shared("/one", 1.0f), zero_point(op.output)}, to);
    });
  }

  // The bytes of a table are gathered, but where it only brings bytes to another grid before a concatenation.
  void lookup(const Op& op) {
    const bool is_concat = op.inputs.size() > 1;
    const std::string& out = name(op.output);
    bool is_regridding = is_concat;
    for (size_t i = 0; i < op.inputs.size(); ++i) is_regridding = is_regridding && regrids(op, i);
    if (is_regridding) {
      const auto top = narrow<uint8_t>(tensor(op.output).grid.qmax - tensor(op.output).grid.qmin, "largest byte");
      const std::string all = model_.node("Concat", real_inputs(op), out + "/concat", {{"axis", int64_t{1}}});
      return clipped(0, top, op.output, [&](const std::string& to) {
        model_.node("QuantizeLinear", {all, step(op.output), zero_point(op.output)}, to);
      });
    }
    Names parts;
    for (size_t i = 0; i < op.inputs.size(); ++i) {
      const std::string part = is_concat ? fmt::format("{}/part{}", out, i) : out;
      const int64_t dims[] = {256};
      const std::string index =
          model_.node("Cast", {name(op.inputs[i])}, part + "/index", {{"to", static_cast<int64_t>(OnnxType::int32)}});
      parts.push_back(
          model_.node("Gather", {model_.constant<uint8_t>(part + "/table", dims, op.tables[i]), index}, part));
    }
    if (is_concat) model_.node("Concat", parts, out, {{"axis", int64_t{1}}});
  }
  // Whether table i is what DequantizeLinear and QuantizeLinear give.
  bool regrids(const Op& op, size_t i) const {
    const TensorInfo &from = tensor(op.inputs[i]), &to = tensor(op.output);
    for (int32_t b = 0; b <= from.highest_byte(); ++b) {
      const float x = static_cast<float>(b - from.origin()) * from.grid.step();
      const float q = std::nearbyint(x / to.grid.step()) + static_cast<float>(to.origin());
      const float byte = std::clamp(q, 0.0f, static_cast<float>(to.highest_byte()));
      if (op.tables[i][static_cast<size_t>(b)] != narrow<uint8_t>(byte, "regridded byte")) return false;
    }
    return true;
  }

  const Program& program_;
  const OnnxOptions& options_;
  std::vector<std::string> names_;
  OnnxModel model_;
  std::set<std::string> constants_;  // what shared() and real() have made
};

}  // namespace

std::vector<OnnxTensor> onnx_quantized_tensors(const Program& program) {
  const std::vector<std::string> names = names_of(program);
  std::vector<OnnxTensor> tensors;
  for (const Op& op : program.ops)
    if (program.tensors[static_cast<size_t>(op.output)].type == Type::byte)
      tensors.push_back({op.output, names[static_cast<size_t>(op.output)]});
  return tensors;
}

std::vector<OnnxDifference> onnx_differences(const Program& program) {
  const std::vector<std::string> names = names_of(program);
  std::vector<OnnxDifference> differences;
  for (const Op& op : program.ops)
    if (const auto form = runtime_form(program, op); form && form->differing > 0)
      differences.push_back({names[static_cast<size_t>(op.output)], *form});
  return differences;
}

std::string onnx_model(const Program& program, const OnnxOptions& options) {
  validate(program);
  std::string bytes = Exporter(program, options).run();
  check_onnx(bytes);
  return bytes;
}

}  // namespace qgrad::deploy
