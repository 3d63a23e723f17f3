// Every pair of bytes, and every sum, through the program's arithmetic and the runtime's.
#include "quant/export/runtime_form.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <vector>

#include "engine/kernels/byte_table.h"

namespace qgrad::deploy {
namespace {

constexpr int64_t kMostPixels = 1 << 16;  // of a mean

struct ByteTensor {
  explicit ByteTensor(const TensorInfo& t) : step(t.grid.step()), origin(t.origin()), highest(t.highest_byte()) {}
  float step;
  int32_t origin, highest;
};

// What the runtime rounds to an integer and brings into a byte.
struct Outcome {
  double x86, arm;
};

// Whether both are this byte, within the operation's limits.
bool becomes(const Outcome& outcome, const Op& op, uint8_t byte) {
  const double low = op.low[0], high = op.high[0];
  const auto to_byte = [&](double x) { return std::clamp(std::nearbyint(x), low, high); };
  return to_byte(outcome.x86) == byte && to_byte(outcome.arm) == byte;
}

// sum / 2^shift, half away from zero.
int64_t shifted(int64_t sum, int shift) { return (sum - (sum < 0 ? 1 : 0) + (int64_t{1} << (shift - 1))) >> shift; }

// a ratio_a + b ratio_b + a fixed part: in float with fused multiply-add on x86, with ratios of 22 bits on ARM.
class AddForm {
 public:
  AddForm(const ByteTensor& a, const ByteTensor& b, const ByteTensor& y)
      : a_(a), b_(b), y_(y), ratio_a_(a.step / y.step), ratio_b_(b.step / y.step) {
    const auto zero = [](const ByteTensor& t) { return static_cast<float>(t.origin); };
    fixed_ = zero(y) - std::fma(ratio_a_, zero(a), ratio_b_ * zero(b));
    if (!is_usual()) return;
    shift_ = 21 - std::ilogb(std::max(ratio_a_, ratio_b_));
    factor_a_ = std::lrint(std::ldexp(ratio_a_, shift_));
    factor_b_ = std::lrint(std::ldexp(ratio_b_, shift_));
  }
  // Else the runtime has yet another form.
  bool is_usual() const {
    const auto [smaller, larger] = std::minmax({ratio_a_, ratio_b_});
    return smaller >= 0x1p-14f && larger >= 0x1p-10f && larger < 256;
  }
  Outcome operator()(int32_t a, int32_t b) const {
    const float x86 = std::fma(static_cast<float>(a), ratio_a_, std::fma(static_cast<float>(b), ratio_b_, fixed_));
    const int64_t arm = (a - a_.origin) * factor_a_ + (b - b_.origin) * factor_b_;
    return {x86, static_cast<double>(shifted(arm, shift_) + y_.origin)};
  }

 private:
  ByteTensor a_, b_, y_;
  float ratio_a_, ratio_b_, fixed_ = 0;
  int shift_ = 0;
  int64_t factor_a_ = 0, factor_b_ = 0;
};

// a b ratio + origin, whose product compilers for ARM may leave unrounded.
class MulForm {
 public:
  MulForm(const ByteTensor& a, const ByteTensor& b, const ByteTensor& y)
      : a_(a), b_(b), ratio_(a.step * b.step / y.step), origin_(static_cast<float>(y.origin)) {}
  bool is_usual() const { return true; }
  Outcome operator()(int32_t a, int32_t b) const {
    const auto product = static_cast<float>((a - a_.origin) * (b - b_.origin));
    return {product * ratio_ + origin_, std::fma(product, ratio_, origin_)};
  }

 private:
  ByteTensor a_, b_;
  float ratio_, origin_;
};

// What the engine makes of all pairs of a byte of the first and a byte of the second input, those of one after another.
std::vector<uint8_t> bytes_of_pairs(const Op& op, const ByteTensor& a, const ByteTensor& b, const ByteTensor& y) {
  std::vector<uint8_t> first, second;
  for (int32_t i = 0; i <= a.highest; ++i)
    for (int32_t j = 0; j <= b.highest; ++j) {
      first.push_back(static_cast<uint8_t>(i));
      second.push_back(static_cast<uint8_t>(j));
    }
  std::vector<uint8_t> bytes(first.size());
  const auto origin = static_cast<float>(y.origin);
  const ByteOperand operands[] = {{first.data(), static_cast<float>(a.origin), a.step},
                                  {second.data(), static_cast<float>(b.origin), b.step}};
  const ByteKernels& kernels = byte_kernels();
  (op.kind == OpKind::add ? kernels.add : kernels.multiply)(
      operands, 2, bytes.data(), bytes.size(),
      {.step = y.step, .low = op.low[0] - origin, .high = op.high[0] - origin, .origin = origin});
  return bytes;
}

template <class Form>
RuntimeForm form_of_pairs(const char* node, const Op& op, const ByteTensor& a, const ByteTensor& b,
                          const ByteTensor& y) {
  const std::vector<uint8_t> bytes = bytes_of_pairs(op, a, b, y);
  const Form form(a, b, y);
  RuntimeForm result{node, 0, std::ssize(bytes)};
  if (!form.is_usual()) return {node, result.of, result.of};
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto [first, second] = std::div(static_cast<int>(i), b.highest + 1);
    result.differing += !becomes(form(first, second), op, bytes[i]);
  }
  return result;
}

// A convolution with ones over the whole image.
bool is_mean(const Program& program, const Op& op) {
  const TensorInfo &x = program.tensors[static_cast<size_t>(op.inputs[0])],
                   &y = program.tensors[static_cast<size_t>(op.output)];
  const Window& w = op.window;
  const auto all = [](const auto& values, auto value) {
    return std::ranges::all_of(values, [&](auto v) { return v == value; });
  };
  return w.groups == x.channels && y.channels == x.channels && w.kernel_h == x.height && w.kernel_w == x.width &&
         y.height == 1 && y.width == 1 && w.padding_h == 0 && w.padding_w == 0 && op.sum_shift == 0 &&
         int64_t{x.height} * x.width <= kMostPixels && all(op.weight, 1) && all(op.bias, 0) &&
         all(op.rescale, op.rescale[0]) && all(op.low, op.low[0]) && all(op.high, op.high[0]);
}

// The sum times a ratio: rounded to float on x86, exact on ARM.
std::optional<RuntimeForm> form_of_mean(const Op& op, const ByteTensor& x, const ByteTensor& y, int64_t pixels) {
  const float ratio = x.step / (y.step * static_cast<float>(pixels));
  if (!(ratio >= 0x1p-32f && ratio < 256)) return std::nullopt;  // it refuses others
  RuntimeForm result{"GlobalAveragePool", 0, pixels * x.highest + 1};
  const int shift = 23 - std::ilogb(ratio);
  const auto factor = static_cast<int64_t>(std::ldexp(ratio, shift));
  const auto byte = [&](float steps) {
    const float low = static_cast<float>(op.low[0] - y.origin), high = static_cast<float>(op.high[0] - y.origin);
    return static_cast<uint8_t>(std::clamp(std::nearbyint(steps), low, high) + static_cast<float>(y.origin));
  };
  for (int64_t sum = -pixels * x.origin; sum <= pixels * (x.highest - x.origin); ++sum) {
    const auto real = static_cast<float>(sum);
    const Outcome outcome{std::nearbyint(real * ratio) + static_cast<float>(y.origin),
                          static_cast<double>(shifted(sum * factor, shift) + y.origin)};
    result.differing += !becomes(outcome, op, byte(real * op.rescale[0]));
  }
  return result;
}

}  // namespace

std::optional<RuntimeForm> runtime_form(const Program& program, const Op& op) {
  const TensorInfo& output = program.tensors[static_cast<size_t>(op.output)];
  if (output.type != Type::byte || output.count() == 1) return std::nullopt;
  const ByteTensor y(output);
  const auto input = [&](size_t i) { return ByteTensor(program.tensors[static_cast<size_t>(op.inputs[i])]); };
  if (op.kind == OpKind::add && op.inputs.size() == 2) return form_of_pairs<AddForm>("Add", op, input(0), input(1), y);
  if (op.kind == OpKind::multiply && op.inputs.size() == 2)
    return form_of_pairs<MulForm>("Mul", op, input(0), input(1), y);
  if (op.kind != OpKind::conv || !is_mean(program, op)) return std::nullopt;
  return form_of_mean(op, input(0), y, int64_t{op.window.kernel_h} * op.window.kernel_w);
}

}  // namespace qgrad::deploy
