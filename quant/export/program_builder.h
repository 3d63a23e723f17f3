// A program under construction: its tensors, and what brings them to a type or a grid.
#pragma once

#include <algorithm>
#include <numeric>

#include "core/ops.h"
#include "core/ops/linear_map.h"
#include "nn/graph.h"
#include "nn/layers/pool.h"
#include "nn/layers/weighted_sum.h"
#include "quant/export/lowering.h"
#include "quant/export/requantizer.h"

namespace qgrad::deploy {

// What a node of the graph computes, and whether the simulation knows it as quantized: behind an operation that is no
// quantized layer (flatten, say) it does not, and the next layer puts it on its own grid.
struct Value {
  int32_t tensor = -1;
  bool carries_quantization = false;
  Shape shape;      // of the node's output for one example
  Tensor constant;  // where it is a parameter of the network, which has no tensor yet
};

class ProgramBuilder {
 public:
  static int32_t size(int64_t value) { return narrow<int32_t>(value, "size"); }

  static Window window_of(const Conv2dOptions& o, const Shape& weight) {
    return {size(weight[0]),   size(weight[1]),    size(o.stride_h),   size(o.stride_w), size(o.padding_h),
            size(o.padding_w), size(o.dilation_h), size(o.dilation_w), size(o.groups)};
  }

  // A transposed convolution is one of the stretched image with its weights turned by half a turn.
  Window window_of(const WeightedSum& sum) {
    const Shape& weight = sum.weight.raw().shape();
    if (weight.rank() != 4) return {};
    Window window = window_of(sum.options(), weight);
    if (sum.is_transposed()) window.stride_h = window.stride_w = 1, window.padding_h = window.padding_w = 0;
    return window;
  }
  static Tensor as_convolution_weight(const WeightedSum& sum, const Tensor& weight) {
    if (!sum.is_transposed()) return weight;
    Tensor turned = Tensor::empty(weight.shape());
    const int64_t taps = weight.dim(0) * weight.dim(1), rest = weight.numel() / taps;
    for (int64_t i = 0; i < weight.numel(); ++i)
      turned.mutable_data()[static_cast<size_t>((taps - 1 - i / rest) * rest + i % rest)] =
          weight.data()[static_cast<size_t>(i)];
    return turned;
  }
  // What a transposed convolution reads, with zeros between rows and columns and around them; else what it is given.
  int32_t stretched(const GraphNode& node, int32_t from, const WeightedSum& sum) {
    if (!sum.is_transposed()) return from;
    const Conv2dOptions& o = sum.options();
    const Shape &weight = sum.weight.raw().shape(), &y = node.output_shape;
    const auto places = [](int64_t in, int64_t out, int64_t reach, int64_t stride, int64_t padding) {
      std::vector<int32_t> list(static_cast<size_t>(out + reach), Op::kZeros);
      for (int64_t i = 0; i < in; ++i)
        if (const int64_t at = i * stride + reach - padding; at >= 0 && at < out + reach)
          list[static_cast<size_t>(at)] = size(i);
      return list;
    };
    TensorInfo info = tensor(from);
    Op op{.kind = OpKind::select, .inputs = {from}};
    op.rows = places(info.height, y[1], o.dilation_h * (weight[0] - 1), o.stride_h, o.padding_h);
    op.columns = places(info.width, y[2], o.dilation_w * (weight[1] - 1), o.stride_w, o.padding_w);
    op.channels.resize(static_cast<size_t>(info.channels));
    std::iota(op.channels.begin(), op.channels.end(), 0);
    info.name = "";
    info.height = size(std::ssize(op.rows));
    info.width = size(std::ssize(op.columns));
    return emit(std::move(op), add_tensor(std::move(info)));
  }

  static Window window_of(const Pool2dOptions& o) {
    check(o.dilation_h == 1 && o.dilation_w == 1, "it is a maximum with dilation {}x{}, and programs know none but 1x1",
          o.dilation_h, o.dilation_w);
    return {.kernel_h = size(o.kernel_h),
            .kernel_w = size(o.kernel_w),
            .stride_h = size(o.stride_h),
            .stride_w = size(o.stride_w),
            .padding_h = size(o.padding_h),
            .padding_w = size(o.padding_w)};
  }

  // Weighted sums along rows and columns, without a factor.
  static Op resampling(const AxisMaps& maps) {
    Op op{.kind = OpKind::resample};
    put_axis(maps.rows, op.rows, op.row_weights);
    put_axis(maps.columns, op.columns, op.column_weights);
    return op;
  }
  // What every row of a map adds up, in ascending order, as neighbours: in all rows as many as in the widest.
  static void put_axis(const LinearMap& map, std::vector<int32_t>& first, std::vector<float>& weights) {
    const auto ends = [&](size_t row) { return std::pair(map.first[row], map.first[row + 1]); };
    const auto place = [&](int64_t t) { return map.index[static_cast<size_t>(t)]; };
    const auto rows = static_cast<size_t>(map.rows());
    int64_t taps = 1;
    for (size_t row = 0; row < rows; ++row)
      if (const auto [begin, end] = ends(row); begin < end) taps = std::max(taps, place(end - 1) - place(begin) + 1);
    weights.assign(rows * static_cast<size_t>(taps), 0.0f);
    for (size_t row = 0; row < rows; ++row) {
      const auto [begin, end] = ends(row);
      const int64_t from = begin < end ? std::min(place(begin), map.columns - taps) : 0;
      first.push_back(size(from));
      for (int64_t t = begin; t < end; ++t)
        weights[row * static_cast<size_t>(taps) + static_cast<size_t>(place(t) - from)] +=
            map.weight[static_cast<size_t>(t)];
    }
  }

  TensorInfo& tensor(int32_t i) { return result_.program.tensors[static_cast<size_t>(i)]; }

  int32_t add_tensor(TensorInfo info) {
    result_.program.tensors.push_back(std::move(info));
    return size(std::ssize(result_.program.tensors)) - 1;
  }
  int32_t add_tensor(const GraphNode& node, const std::string& name, Type type, const Grid& grid) {
    return add_tensor(of_output(node, name, type, grid));
  }
  static TensorInfo of_output(const GraphNode& node, const std::string& name, Type type, const Grid& grid) {
    return of_shape(node.output_shape, name, type, grid);
  }
  // For one example. An image [1,H,W,C] and a vector [1,C] are what they are, tokens [1,W,C] an image of one row. Of
  // more dimensions all but the last two are rows.
  static TensorInfo of_shape(const Shape& shape, const std::string& name, Type type, const Grid& grid) {
    const int64_t channels = shape.rank() > 0 ? shape[-1] : 1, width = shape.rank() > 1 ? shape[-2] : 1;
    check(shape.numel() > 0, "it gives shape {}, which has no numbers", shape);
    return {.name = name,
            .type = type,
            .height = size(shape.numel() / channels / width),
            .width = size(width),
            .channels = size(channels),
            .grid = grid};
  }
  int32_t add_float(const GraphNode& node) { return add_tensor(node, node.path(), Type::float32, {}); }
  // A tensor of the same shape as another one.
  int32_t add_like(int32_t other, Type type, const Grid& grid) {
    TensorInfo info = tensor(other);
    info.name = "";
    info.type = type;
    info.grid = grid;
    return add_tensor(std::move(info));
  }
  int32_t emit(Op op, int32_t output) {
    op.output = output;
    result_.program.ops.push_back(std::move(op));
    return output;
  }

  int32_t max_pooled(const GraphNode& node, int32_t input, const MaxPool2d& pool) {
    return emit({.kind = OpKind::max_pool, .inputs = {input}, .window = window_of(pool.window(image_shape(input)))},
                add_tensor(node, "", tensor(input).type, tensor(input).grid));
  }

  // A parameter of the network as a tensor; `beside` says for which images.
  int32_t constant(const Tensor& value, int32_t beside) {
    Op op{.kind = OpKind::gather, .inputs = {beside}};
    op.constants.assign(value.data().begin(), value.data().end());
    for (int32_t i = 0; i < size(value.numel()); ++i) op.places.push_back(-1 - i);
    return emit(std::move(op), add_tensor(of_shape(value.shape(), "", Type::float32, {})));
  }

  static void check_operands(size_t count) {
    check(count >= 2,
          "it reads a constant, and programs have none; one number for each channel is a Conv2d of 1x1 with as many "
          "groups "
          "as channels");
  }
  bool joins_channels(const GraphNode& node, std::span<const int32_t> inputs) {
    int64_t channels = 0;
    for (const int32_t input : inputs) channels += tensor(input).channels;
    return channels == node.output_shape[-1];
  }

  // The tensor at the size of the node's output: a dimension of 1 is repeated, as for a squeeze-and-excitation product.
  int32_t broadcast_to(const GraphNode& node, int32_t from) {
    const TensorInfo x = tensor(from);
    TensorInfo info = of_output(node, "", x.type, x.grid);
    if (x.height == info.height && x.width == info.width && x.channels == info.channels) return from;
    const auto places = [](int32_t in, int32_t out) {
      check(in == out || in == 1, "one of its inputs has {} rows, columns or channels, and its output {}", in, out);
      std::vector<int32_t> list(static_cast<size_t>(out), 0);
      if (in == out) std::iota(list.begin(), list.end(), 0);
      return list;
    };
    Op op{.kind = OpKind::select, .inputs = {from}};
    op.rows = places(x.height, info.height);
    op.columns = places(x.width, info.width);
    op.channels = places(x.channels, info.channels);
    return emit(std::move(op), add_tensor(std::move(info)));
  }

  Shape image_shape(int32_t i) { return {1, tensor(i).height, tensor(i).width, tensor(i).channels}; }

  int32_t as_float(int32_t from) {
    check(from >= 0, "it stays in float");
    if (tensor(from).type == Type::float32) return from;
    return emit({.kind = OpKind::dequantize, .inputs = {from}}, add_like(from, Type::float32, {}));
  }

  // The tensor as input i of this layer: as its producer left it, else on the layer's own grid. Equal grids of one
  // tensor are made once.
  int32_t on_grid(const RangeLinearQuantWrapper& wrapper, size_t i, const Value& value) {
    const std::vector<InputQuantization>& inputs = wrapper.quantization().inputs;
    if (value.carries_quantization && !(i < inputs.size() && inputs[i].requantized)) return value.tensor;
    check(i < inputs.size() && inputs[i].params, "its input {} has no fixed scale; give calibration statistics", i);
    const Grid grid = byte_grid(wrapper.own_input_grid(i, Tensor()));
    if (tensor(value.tensor).type == Type::byte && tensor(value.tensor).grid == grid) return value.tensor;
    for (const Regridded& known : regridded_)
      if (known.from == value.tensor && known.grid == grid) return known.to;
    const TensorInfo from = tensor(value.tensor);
    Op op{.inputs = {value.tensor}};
    if (from.type == Type::float32) {
      op.kind = OpKind::quantize;
      op.low = {0};
      op.high = {narrow<uint8_t>(grid.qmax - grid.qmin, "largest byte")};
    } else {
      const Tensor steps = to_integers(values_of(from.grid), grid, Arithmetic::onnx);
      op.kind = OpKind::lookup;
      op.tables = {table_of(steps.data(), grid)};
    }
    const int32_t to = emit(std::move(op), add_like(value.tensor, Type::byte, grid));
    regridded_.push_back({value.tensor, grid, to});
    return to;
  }

 protected:
  Lowered result_;

 private:
  struct Regridded {
    int32_t from;
    Grid grid;
    int32_t to;
  };
  std::vector<Regridded> regridded_;
};

}  // namespace qgrad::deploy
