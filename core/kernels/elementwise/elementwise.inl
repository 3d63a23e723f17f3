// Elementwise loops, written once and compiled per instruction set.
#include "core/kernels/elementwise/elementwise.h"

#include <stdint.h>

#include "core/kernels/functions.h"
#include "core/kernels/lanes.h"

namespace qgrad {
namespace elementwise_loops {
namespace {

struct Add {
  static float of(float a, float b) { return a + b; }
};
struct Sub {
  static float of(float a, float b) { return a - b; }
};
struct Mul {
  static float of(float a, float b) { return a * b; }
};
struct Div {
  static float of(float a, float b) { return a / b; }
};

template <class Op>
void same(const float* a, const float* b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = Op::of(a[i], b[i]);
}
template <class Op>
void scalar_right(const float* a, float b, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = Op::of(a[i], b);
}
template <class Op>
void scalar_left(float a, const float* b, float* y, size_t n) {
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

template <class Op>
void unary(const float* x, float* y, size_t n) {
  for (size_t i = 0; i < n; ++i) y[i] = Op::of(x[i]);
}

void clamp(const float* x, float* y, size_t n, float low, float high) {
  for (size_t i = 0; i < n; ++i) y[i] = clamp_of(x[i], low, high);
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
