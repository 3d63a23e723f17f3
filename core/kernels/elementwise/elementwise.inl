// Elementwise loops, written once and compiled per instruction set.
#include "core/kernels/elementwise/elementwise.h"

#include <stdint.h>

#include "core/kernels/functions.h"
#include "core/kernels/lanes.h"

namespace qgrad {
namespace elementwise_loops {
namespace {

// Whether GCC vectorises an operation where both operands are arrays, and not where one is a number.
struct OfNumbers {
  static constexpr bool kOfArrays = false;
};
struct OfArrays {
  static constexpr bool kOfArrays = true;
};

struct Add : OfNumbers {
  static float of(float a, float b) { return a + b; }
};
struct Sub : OfNumbers {
  static float of(float a, float b) { return a - b; }
};
struct Mul : OfNumbers {
  static float of(float a, float b) { return a * b; }
};
struct Div : OfNumbers {
  static float of(float a, float b) { return a / b; }
};

struct Max : OfNumbers {
  static float of(float a, float b) { return ((a > b) | (a != a)) ? a : b; }
};
struct Min : OfNumbers {
  static float of(float a, float b) { return ((a < b) | (a != a)) ? a : b; }
};
struct Equal : OfNumbers {
  static float of(float a, float b) { return a == b ? 1.0f : 0.0f; }
};
struct ShareOfLarger : OfNumbers {
  static float of(float a, float b) { return a > b ? 1.0f : a == b ? 0.5f : 0.0f; }
};
struct Pow : OfArrays {
  static float of(float a, float b) { return pow_of(a, b); }
};
struct PowByBase : OfArrays {
  static float of(float a, float b) { return b == 0.0f ? 0.0f : b * pow_of(a, b - 1.0f); }
};
struct PowByExponent : OfArrays {
  static float of(float a, float b) { return ((a == 0.0f) & (b >= 0.0f)) ? 0.0f : pow_of(a, b) * log_of(a); }
};
struct Leaky : OfNumbers {
  static float of(float a, float b) { return a > 0.0f ? a : a * b; }
};
struct LeakyByX : OfNumbers {
  static float of(float a, float b) { return a > 0.0f ? 1.0f : b; }
};

// Pieces of an array, and copies of one number beside them.
template <class F>
void for_copies(float number, size_t n, F&& piece) {
  constexpr size_t kCopies = 256;
  float copies[kCopies];
  for (float& copy : copies) copy = number;
  for (size_t i = 0; i < n; i += kCopies) piece(i, copies, n - i < kCopies ? n - i : kCopies);
}

template <class Op>
void same(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = Op::of(a[i], b[i]);
}
template <class Op>
void scalar_right(const float* a, float b, float* y, size_t n) {
  if constexpr (Op::kOfArrays)
    for_copies(b, n, [&](size_t i, const float* copies, size_t count) { same<Op>(a + i, copies, y + i, count); });
  else
    for (size_t i = 0; i < n; ++i) y[i] = Op::of(a[i], b);
}
template <class Op>
void scalar_left(float a, const float* b, float* y, size_t n) {
  if constexpr (Op::kOfArrays)
    for_copies(a, n, [&](size_t i, const float* copies, size_t count) { same<Op>(copies, b + i, y + i, count); });
  else
    for (size_t i = 0; i < n; ++i) y[i] = Op::of(a, b[i]);
}
template <class Op>
void row_right(const float* a, const float* b, float* y, size_t rows, size_t columns) {
  for (size_t row = 0; row < rows; ++row, a += columns, y += columns) {
    QGRAD_INDEPENDENT
    for (size_t c = 0; c < columns; ++c) y[c] = Op::of(a[c], b[c]);
  }
}
template <class Op>
constexpr BinaryKernels binary() {
  return {same<Op>, scalar_right<Op>, scalar_left<Op>, row_right<Op>};
}

struct Neg {
  static float of(float x) { return -x; }
};
struct Abs {
  static float of(float x) { return __builtin_fabsf(x); }
};
struct Square {
  static float of(float x) { return x * x; }
};
struct Sqrt {
  static float of(float x) { return __builtin_sqrtf(x); }
};
struct Exp {
  static float of(float x) { return exp_of(x); }
};
struct Log {
  static float of(float x) { return log_of(x); }
};
struct Relu {
  static float of(float x) { return x < 0.0f ? 0.0f : x; }
};
struct Relu6 {
  static float of(float x) { return clamp_of(x, 0.0f, 6.0f); }
};
struct Sigmoid {
  static float of(float x) { return sigmoid_of(x); }
};
struct Tanh {
  static float of(float x) { return tanh_of(x); }
};

constexpr float kInverseSqrtPi = 0.564189584f, kInverseSqrt2 = 0.707106781f;

// Functions with their derivatives; a and b are constants of some.
struct Elu {
  static float of(float x, float a, float) { return x > 0.0f ? x : a * expm1_of(x); }
  static float slope(float x, float a, float) { return x > 0.0f ? 1.0f : a * exp_of(x); }
};
struct HardSigmoid {
  static float of(float x, float a, float b) { return clamp_of(a * x + b, 0.0f, 1.0f); }
  static float slope(float x, float a, float b) {
    const float y = a * x + b;
    return ((y > 0.0f) & (y < 1.0f)) ? a : 0.0f;
  }
};
struct HardSwish {
  static float of(float x, float, float) { return x * clamp_of(x / 6.0f + 0.5f, 0.0f, 1.0f); }
  static float slope(float x, float, float) {
    const float inside = x / 3.0f + 0.5f;
    return x <= -3.0f ? 0.0f : x < 3.0f ? inside : 1.0f;
  }
};
struct Erf {
  static float of(float x, float, float) { return erf_of(x); }
  static float slope(float x, float, float) { return 2.0f * kInverseSqrtPi * exp_of(-(x * x)); }
};
// x Phi(x), the normal distribution's function; its density is e^(-x^2 / 2) / sqrt(2 pi).
struct Gelu {
  static float below(float x) { return 0.5f * (1.0f + erf_of(x * kInverseSqrt2)); }
  static float of(float x, float, float) { return x * below(x); }
  static float slope(float x, float, float) {
    return below(x) + x * (kInverseSqrtPi * kInverseSqrt2 * exp_of(-0.5f * (x * x)));
  }
};
struct GeluTanh {
  static constexpr float kScale = 2.0f * kInverseSqrtPi * kInverseSqrt2;  // sqrt(2 / pi)
  static float inside(float x) { return tanh_of(kScale * (x + 0.044715f * (x * x) * x)); }
  static float of(float x, float, float) { return 0.5f * x * (1.0f + inside(x)); }
  static float slope(float x, float, float) {
    const float t = inside(x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * (kScale * (1.0f + 3.0f * 0.044715f * (x * x)));
  }
};
struct Silu {
  static float of(float x, float, float) { return x * sigmoid_of(x); }
  static float slope(float x, float, float) {
    const float s = sigmoid_of(x);
    return s * (1.0f + x * (1.0f - s));
  }
};
struct Softplus {
  static float of(float x, float, float) { return (x > 0.0f ? x : 0.0f) + log1p_of(exp_of(-__builtin_fabsf(x))); }
  static float slope(float x, float, float) { return sigmoid_of(x); }
};

template <class F>
void function_forward(const float* x, float* y, size_t n, float a, float b) {
  for (size_t i = 0; i < n; ++i) y[i] = F::of(x[i], a, b);
}
template <class F>
void function_backward(const float* x, const float* dy, float* dx, size_t n, float a, float b) {
  for (size_t i = 0; i < n; ++i) dx[i] = dy[i] * F::slope(x[i], a, b);
}
template <class F>
constexpr FunctionKernels function() {
  return {function_forward<F>, function_backward<F>};
}

template <class Op>
void unary(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = Op::of(x[i]);
}

void clamp(const float* x, float* y, size_t n, float low, float high) {
  for (size_t i = 0; i < n; ++i) y[i] = clamp_of(x[i], low, high);
}

void add_scaled(const float* x, float factor, float* y, size_t n) {
  QGRAD_INDEPENDENT
  for (size_t i = 0; i < n; ++i) y[i] += factor * x[i];
}

void scaled_difference(const float* a, const float* b, float factor, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = factor * (a[i] - b[i]);
}

void abs_backward(const float* x, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    const float kept = x[i] != 0.0f ? dy[i] : 0.0f;
    dx[i] = x[i] < 0.0f ? -kept : kept;
  }
}
void square_backward(const float* x, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) dx[i] = 2.0f * x[i] * dy[i];
}
void sqrt_backward(const float* y, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) dx[i] = dy[i] / (2.0f * y[i]);
}
void relu_backward(const float* y, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}
void relu6_backward(const float* y, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) dx[i] = ((y[i] > 0.0f) & (y[i] < 6.0f)) ? dy[i] : 0.0f;
}
void sigmoid_backward(const float* y, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) dx[i] = dy[i] * (y[i] * (1.0f - y[i]));
}
void tanh_backward(const float* y, const float* dy, float* dx, size_t n) {
  for (size_t i = 0; i < n; ++i) dx[i] = dy[i] * (1.0f - y[i] * y[i]);
}

}  // namespace
}  // namespace elementwise_loops

ElementwiseKernels QGRAD_ROW(elementwise)() {
  using namespace elementwise_loops;
  return {.add = binary<Add>(),
          .sub = binary<Sub>(),
          .mul = binary<Mul>(),
          .div = binary<Div>(),
          .max = binary<Max>(),
          .min = binary<Min>(),
          .equal = binary<Equal>(),
          .share_of_larger = binary<ShareOfLarger>(),
          .pow = binary<Pow>(),
          .pow_by_base = binary<PowByBase>(),
          .pow_by_exponent = binary<PowByExponent>(),
          .leaky = binary<Leaky>(),
          .leaky_by_x = binary<LeakyByX>(),
          .elu = function<Elu>(),
          .hard_sigmoid = function<HardSigmoid>(),
          .erf = function<Erf>(),
          .gelu = function<Gelu>(),
          .gelu_tanh = function<GeluTanh>(),
          .hard_swish = function<HardSwish>(),
          .silu = function<Silu>(),
          .softplus = function<Softplus>(),
          .neg = unary<Neg>,
          .abs = unary<Abs>,
          .square = unary<Square>,
          .sqrt = unary<Sqrt>,
          .exp = unary<Exp>,
          .log = unary<Log>,
          .relu = unary<Relu>,
          .relu6 = unary<Relu6>,
          .sigmoid = unary<Sigmoid>,
          .tanh = unary<Tanh>,
          .clamp = clamp,
          .add_scaled = add_scaled,
          .scaled_difference = scaled_difference,
          .abs_backward = abs_backward,
          .square_backward = square_backward,
          .sqrt_backward = sqrt_backward,
          .relu_backward = relu_backward,
          .relu6_backward = relu6_backward,
          .sigmoid_backward = sigmoid_backward,
          .tanh_backward = tanh_backward};
}

}  // namespace qgrad
