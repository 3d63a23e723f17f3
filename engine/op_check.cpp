// By kind of operation.
#include "engine/op_check.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <limits>

#include "core/divide_up.h"
#include "core/error.h"
#include "engine/kernels/byte_kernels.h"

namespace qgrad::deploy {
namespace {

constexpr int64_t kLanes = 16;  // output channels that are computed together, even where there are fewer

// How many positions a window has, by its padding at the end: none of it, or so much that the last one starts where the
// image ends.
struct Positions {
  int64_t least, most;
  Positions(int64_t size, int64_t padding, int64_t kernel, int64_t dilation, int64_t stride)
      : least(std::max<int64_t>(0, size + padding - (kernel - 1) * dilation - 1) / stride + 1),
        most((size + padding - 1) / stride + 1) {}
  bool contain(int64_t count) const { return least <= count && count <= most; }
};

std::string_view name_of(Type type) { return type == Type::byte ? "bytes" : "float32"; }

class OpCheck {
 public:
  OpCheck(const Program& program, const Op& op)
      : program_(program), op_(op), out_(program.tensors[static_cast<size_t>(op.output)]) {}

  void run() const {
    switch (op_.kind) {
      case OpKind::quantize:
        nothing_but({&op_.low, &op_.high});
        arity(1, 1), types(Type::float32, Type::byte), same_shape(), outputs(1);
        return;
      case OpKind::dequantize:
        nothing_but({});
        arity(1, 1), types(Type::byte, Type::float32), same_shape();
        return;
      case OpKind::conv:
        nothing_but(
            {&op_.window, &op_.weight, &op_.bias, &op_.sum_shift, &op_.weight_step, &op_.rescale, &op_.low, &op_.high});
        arity(1, 1), types(Type::byte, Type::byte), conv();
        return;
      case OpKind::add:
        arity(1, 64), types(out_.type, out_.type), same_shape(), on_values();
        return;
      case OpKind::multiply:
        arity(1, 3), types(out_.type, out_.type), same_shape(), on_values();
        return;
      case OpKind::lookup:
        nothing_but({&op_.tables});
        arity(1, 64), types(Type::byte, Type::byte), lookup();
        return;
      case OpKind::real_conv:
        nothing_but(
            {&op_.window, &op_.weight, &op_.bias, &op_.sum_shift, &op_.weight_step, &op_.rescale, &op_.real_bias});
        arity(1, 1), types(Type::byte, Type::float32), real_conv();
        return;
      case OpKind::float_conv:
        nothing_but({&op_.window, &op_.real_weight, &op_.real_bias});
        arity(1, 1), types(Type::float32, Type::float32), float_conv();
        return;
      case OpKind::clamp:
        nothing_but({&op_.real_low, &op_.real_high});
        arity(1, 1), types(Type::float32, Type::float32), same_shape();
        check(op_.real_low <= op_.real_high, "limits {} to {}", op_.real_low, op_.real_high);
        return;
      case OpKind::concat:
        nothing_but({});
        arity(1, 64), types(Type::float32, Type::float32), concat();
        return;
      case OpKind::max_pool:
        nothing_but({&op_.window});
        arity(1, 1), types(out_.type, out_.type), pool();
        check(out_.type == Type::float32 || in(0).grid == out_.grid, "the grids of input and output differ");
        return;
      case OpKind::average_pool:
        nothing_but({&op_.window});
        arity(1, 1), types(Type::float32, Type::float32), pool();
        return;
      case OpKind::channels_first:
        nothing_but({});
        arity(1, 1), types(in(0).type, in(0).type);
        check(in(0).count() == out_.count() && (out_.type == Type::float32 || in(0).grid == out_.grid),
              "input and output differ");
        return;
      case OpKind::select:
        nothing_but({&op_.rows, &op_.columns, &op_.channels});
        arity(1, 1), types(in(0).type, in(0).type);
        check(out_.type == Type::float32 || in(0).grid == out_.grid, "the grids of input and output differ");
        places("rows", op_.rows, in(0).height, out_.height);
        places("columns", op_.columns, in(0).width, out_.width);
        places("channels", op_.channels, in(0).channels, out_.channels);
        return;
      case OpKind::resample:
        arity(1, 1), types(out_.type, out_.type), resample();
        return;
      case OpKind::layer_norm:
        nothing_but({&op_.real_weight, &op_.real_bias, &op_.epsilon, &op_.low, &op_.high});
        arity(1, 1), types(Type::byte, Type::byte), same_shape(), outputs(1), layer_norm();
        return;
      case OpKind::gather:
        nothing_but({&op_.places, &op_.constants});
        arity(1, 64), gather();
        return;
      case OpKind::matmul:
        nothing_but({&op_.rescale, &op_.low, &op_.high});
        arity(2, 2), types(Type::byte, Type::byte), outputs(1), matmul();
        return;
      case OpKind::softmax:
        nothing_but({&op_.exponentials, &op_.low, &op_.high});
        arity(1, 1), types(Type::byte, Type::byte), same_shape(), outputs(1), softmax();
        return;
    }
    fail("unknown kind {}", static_cast<int>(op_.kind));
  }

  int64_t work() const {
    if (op_.kind == OpKind::resample)
      return up_to_lanes(out_.channels) * out_.height *
             (taps(op_.row_weights, op_.rows) * in(0).width + taps(op_.column_weights, op_.columns) * out_.width);
    const bool is_conv = op_.kind == OpKind::conv || op_.kind == OpKind::real_conv || op_.kind == OpKind::float_conv;
    const Window& w = op_.window;
    const bool depthwise = w.groups > 1 && w.groups == in(0).channels && w.groups == out_.channels;
    const int64_t lanes = depthwise ? up_to_lanes(out_.channels) : w.groups * up_to_lanes(out_.channels / w.groups);
    const int64_t depth = is_conv                      ? in(0).channels / w.groups
                          : op_.kind == OpKind::matmul ? in(0).channels
                                                       : std::ssize(op_.inputs);
    return int64_t{out_.height} * out_.width * lanes * w.kernel_h * w.kernel_w * depth;
  }

 private:
  static int64_t taps(const std::vector<float>& weights, const std::vector<int32_t>& first) {
    return std::ssize(weights) / std::ssize(first);
  }
  static int64_t up_to_lanes(int64_t channels) { return round_up(channels, kLanes); }

  // The fields that a kind has no use for are as they were made.
  void nothing_but(std::initializer_list<const void*> used) const {
    const Op untouched;
    const auto left = [&](auto Op::*field, const char* name) {
      const bool is_used = std::ranges::find(used, static_cast<const void*>(&(op_.*field))) != used.end();
      check(is_used || op_.*field == untouched.*field, "it has no use for {}", name);
    };
    left(&Op::window, "a window"), left(&Op::weight, "weights"), left(&Op::bias, "biases");
    left(&Op::sum_shift, "a shift of sums"), left(&Op::weight_step, "steps of weights");
    left(&Op::real_weight, "weights in float"), left(&Op::real_bias, "biases in float");
    left(&Op::real_low, "limits in float"), left(&Op::real_high, "limits in float");
    left(&Op::rescale, "factors"), left(&Op::low, "limits"), left(&Op::high, "limits");
    left(&Op::tables, "tables"), left(&Op::rows, "rows"), left(&Op::columns, "columns");
    left(&Op::channels, "channels"), left(&Op::row_weights, "weights of rows");
    left(&Op::column_weights, "weights of columns"), left(&Op::epsilon, "an epsilon");
    left(&Op::places, "places"), left(&Op::constants, "constants"), left(&Op::exponentials, "exponentials");
  }
  // Of a sum of real values, or a product.
  void on_values() const {
    if (out_.type == Type::float32) return nothing_but({});
    nothing_but({&op_.low, &op_.high});
    outputs(1);
  }
  const TensorInfo& in(size_t i) const { return program_.tensors[static_cast<size_t>(op_.inputs[i])]; }

  void arity(size_t least, size_t most) const {
    check(op_.inputs.size() >= least && op_.inputs.size() <= most, "expected {} to {} inputs, got {}", least, most,
          op_.inputs.size());
  }
  void types(Type input, Type output) const {
    for (size_t i = 0; i < op_.inputs.size(); ++i)
      check(in(i).type == input, "expected {} for input {}, got {}", name_of(input), i, name_of(in(i).type));
    check(out_.type == output, "expected {} for its output, got {}", name_of(output), name_of(out_.type));
  }
  void same_shape() const {
    for (size_t i = 0; i < op_.inputs.size(); ++i)
      check(in(i).height == out_.height && in(i).width == out_.width && in(i).channels == out_.channels,
            "input {} is {}x{}x{}, but the output {}x{}x{}", i, in(i).height, in(i).width, in(i).channels, out_.height,
            out_.width, out_.channels);
  }
  // Limits of the output's bytes.
  void outputs(size_t count) const {
    check(op_.low.size() == count && op_.high.size() == count, "expected {} limits, got {} and {}", count,
          op_.low.size(), op_.high.size());
    for (size_t i = 0; i < count; ++i)
      check(op_.low[i] <= op_.high[i] && op_.high[i] <= out_.highest_byte(), "limits {} to {} are not within 0 to {}",
            op_.low[i], op_.high[i], out_.highest_byte());
  }
  void window(bool is_conv) const {
    const Window& w = op_.window;
    for (const int32_t size : {w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.dilation_h, w.dilation_w, w.groups})
      check(size >= 1 && size <= 65536, "expected kernels, strides, dilations and groups from 1 to 65536, got {}",
            size);
    for (const int32_t padding : {w.padding_h, w.padding_w})
      check(padding >= 0 && padding <= 65536, "expected padding from 0 to 65536, got {}", padding);
    check(is_conv || (w.dilation_h == 1 && w.dilation_w == 1 && w.groups == 1), "a pool has no dilation and no groups");
    const EndPadding end = end_padding(program_, op_);
    const int64_t height = in(0).height + w.padding_h + end.below, width = in(0).width + w.padding_w + end.right;
    check(height <= kLargestTensor && width <= kLargestTensor && height * width <= kLargestTensor / in(0).channels,
          "the input and its padding are more than {} numbers", kLargestTensor);
    const Positions rows(in(0).height, w.padding_h, w.kernel_h, w.dilation_h, w.stride_h);
    const Positions columns(in(0).width, w.padding_w, w.kernel_w, w.dilation_w, w.stride_w);
    check(rows.contain(out_.height) && columns.contain(out_.width),
          "the window gives {} to {} rows and {} to {} columns, the output is {}x{}", rows.least, rows.most,
          columns.least, columns.most, out_.height, out_.width);
  }
  void pool() const {
    window(false);
    const Window& w = op_.window;
    check(w.padding_h < w.kernel_h && w.padding_w < w.kernel_w, "padding as wide as the window");
    check(in(0).channels == out_.channels, "{} channels become {}", in(0).channels, out_.channels);
  }
  void weights(size_t count, size_t biases) const {
    window(true);
    const Window& w = op_.window;
    check(in(0).channels % w.groups == 0 && out_.channels % w.groups == 0, "{} and {} channels are not {} groups",
          in(0).channels, out_.channels, w.groups);
    const auto channels = static_cast<size_t>(out_.channels);
    const int64_t row = int64_t{w.kernel_w} * (in(0).channels / w.groups);
    const int64_t taps = row <= kLargestTensor ? row * w.kernel_h : kLargestTensor + 1;
    check(taps <= kLargestTensor && count == static_cast<size_t>(taps) * channels,
          "expected {} weights for each of {} channels, got {} in all", taps, channels, count);
    check(biases == channels, "expected {} biases, got {}", channels, biases);
    check(op_.sum_shift <= kMostSumShift, "sums shifted by {}, expected 0 to {}", op_.sum_shift, kMostSumShift);
  }
  void integer_weights() const {
    weights(op_.weight.size(), op_.bias.size());
    for (const int16_t weight : op_.weight)
      check(std::abs(weight) <= 255, "its weight {} is beyond -255 to 255", weight);
  }
  static void finite(const char* what, const std::vector<float>& values) {
    for (const float value : values) check(std::isfinite(value), "its {} holds {}", what, value);
  }
  void conv() const {
    integer_weights();
    outputs(op_.bias.size());
    check(op_.rescale.size() == op_.bias.size(), "expected {} factors, got {}", op_.bias.size(), op_.rescale.size());
    for (const float factor : op_.rescale)
      check(std::isfinite(factor) && factor > 0, "expected positive factors, got {}", factor);
    const int64_t largest = largest_sum(program_, op_);
    check(largest <= std::numeric_limits<int32_t>::max(), "sums may reach {}, beyond 32 bits", largest);
  }
  void float_conv() const {
    weights(op_.real_weight.size(), op_.real_bias.size());
    finite("weight", op_.real_weight), finite("bias", op_.real_bias);
  }
  void real_conv() const {
    integer_weights();
    finite("factor", op_.rescale), finite("bias", op_.real_bias);
    check(op_.rescale.size() == op_.bias.size(), "expected {} factors, got {}", op_.bias.size(), op_.rescale.size());
    check(op_.real_bias.size() == op_.bias.size(), "expected {} biases in float, got {}", op_.bias.size(),
          op_.real_bias.size());
    const int64_t largest = largest_sum(program_, op_);
    check(largest <= 1 << 24, "sums may reach {}, beyond 2^24", largest);
  }
  void lookup() const {
    check(op_.tables.size() == op_.inputs.size(), "expected {} tables, got {}", op_.inputs.size(), op_.tables.size());
    for (const auto& table : op_.tables)
      for (const uint8_t byte : table)
        check(byte <= out_.highest_byte(), "a table's {} is not on the output's grid", byte);
    concat();
  }
  static void places(const char* what, const std::vector<int32_t>& list, int32_t in, int32_t out) {
    check(list.size() == static_cast<size_t>(out), "{} {} are chosen for {}", list.size(), what, out);
    for (const int32_t place : list)
      check(place >= Op::kZeros && place < in, "{} {} is not one of {}", what, place, in);
  }
  // One axis: the largest sum of a row's weights, without their signs.
  double axis(const char* what, const std::vector<int32_t>& first, const std::vector<float>& weights, int32_t in,
              int32_t out) const {
    check(first.size() == static_cast<size_t>(out), "{} {} are added up for {}", first.size(), what, out);
    const auto count = static_cast<int32_t>(std::min<int64_t>(taps(weights, first), in + int64_t{1}));
    check(count >= 1 && count <= in && weights.size() == static_cast<size_t>(count) * first.size(),
          "{} weights for {} {} of {}", weights.size(), out, what, in);
    for (const int32_t place : first)
      check(place >= 0 && place <= in - count, "{} {} and the {} behind it are not within {}", what, place, count - 1,
            in);
    double largest = 0;
    for (size_t begin = 0; begin < weights.size(); begin += static_cast<size_t>(count)) {
      double sum = 0;
      for (size_t i = begin; i < begin + static_cast<size_t>(count); ++i) sum += std::fabs(double{weights[i]});
      largest = std::max(largest, sum);
    }
    return largest;
  }
  void resample() const {
    const bool bytes = out_.type == Type::byte;
    nothing_but({&op_.rows, &op_.columns, &op_.row_weights, &op_.column_weights, &op_.rescale,
                 bytes ? &op_.low : nullptr, bytes ? &op_.high : nullptr});
    check(in(0).channels == out_.channels, "{} channels become {}", in(0).channels, out_.channels);
    one_factor();
    finite("weights of rows", op_.row_weights), finite("weights of columns", op_.column_weights);
    const double rows = axis("rows", op_.rows, op_.row_weights, in(0).height, out_.height),
                 columns = axis("columns", op_.columns, op_.column_weights, in(0).width, out_.width);
    if (!bytes) return;
    outputs(1);
    for (const auto* weights : {&op_.row_weights, &op_.column_weights})
      for (const float weight : *weights)
        check(weight == std::nearbyint(weight), "its weight {} is no integer", weight);
    const double largest = rows * columns * double{in(0).grid.largest()};
    check(largest <= 1 << 24, "sums may reach {}, beyond 2^24", largest);
  }
  void layer_norm() const {
    const auto channels = static_cast<size_t>(out_.channels);
    check(op_.real_weight.size() == channels && op_.real_bias.size() == channels,
          "expected {} weights and biases, got {} and {}", channels, op_.real_weight.size(), op_.real_bias.size());
    finite("weight", op_.real_weight), finite("bias", op_.real_bias);
    check(std::isfinite(op_.epsilon) && op_.epsilon > 0 && integer_epsilon(op_.epsilon, in(0)) > 0,
          "expected a positive epsilon, got {}", op_.epsilon);
  }
  // What it takes keeps its type and grid.
  void gather() const {
    int64_t numbers = 0;
    for (size_t i = 0; i < op_.inputs.size(); ++i) numbers += in(i).count();
    check(op_.places.size() == static_cast<size_t>(out_.count()), "{} places for {} numbers", op_.places.size(),
          out_.count());
    bool takes = false;
    for (const int32_t place : op_.places) {
      check(place < numbers && place >= -std::ssize(op_.constants), "place {} is none of {} numbers and {} constants",
            place, numbers, op_.constants.size());
      takes = takes || place >= 0;
    }
    for (size_t i = 0; takes && i < op_.inputs.size(); ++i)
      check(in(i).type == out_.type && in(i).grid == out_.grid, "the types or grids of input {} and output differ", i);
    finite("constants", op_.constants);
    if (out_.type == Type::float32) return;
    for (const float constant : op_.constants)
      check(
          constant == std::nearbyint(constant) && constant >= 0 && constant <= static_cast<float>(out_.highest_byte()),
          "its constant {} is not on the output's grid", constant);
  }
  void matmul() const {
    const TensorInfo &a = in(0), &b = in(1);
    check(a.height == out_.height && b.height == out_.height && a.width == out_.width && b.channels == out_.channels &&
              a.channels == b.width,
          "{}x{}x{} times {}x{}x{} is no {}x{}x{}", a.height, a.width, a.channels, b.height, b.width, b.channels,
          out_.height, out_.width, out_.channels);
    one_factor();
    const int64_t largest = largest_sum(program_, op_);
    check(largest <= std::numeric_limits<int32_t>::max(), "sums may reach {}, beyond 32 bits", largest);
  }
  void softmax() const {
    check(op_.exponentials.size() == static_cast<size_t>(in(0).highest_byte()) + 1, "expected {} exponentials, got {}",
          in(0).highest_byte() + 1, op_.exponentials.size());
    for (const int32_t exponential : op_.exponentials)
      check(exponential >= 0, "its exponential {} is negative", exponential);
    check(op_.exponentials[0] > 0, "the exponential of the largest is zero");
  }
  void one_factor() const {
    check(op_.rescale.size() == 1 && std::isfinite(op_.rescale[0]) && op_.rescale[0] > 0,
          "expected one positive factor, got {}", op_.rescale.size());
  }
  void concat() const {
    int64_t channels = 0;
    for (size_t i = 0; i < op_.inputs.size(); ++i) {
      check(in(i).height == out_.height && in(i).width == out_.width, "input {} has another size than the output", i);
      channels += in(i).channels;
    }
    check(channels == out_.channels, "{} channels become {}", channels, out_.channels);
  }

  const Program& program_;
  const Op& op_;
  const TensorInfo& out_;
};

}  // namespace

void check_op(const Program& program, const Op& op) { OpCheck(program, op).run(); }

int64_t work_of(const Program& program, const Op& op) { return OpCheck(program, op).work(); }

}  // namespace qgrad::deploy
