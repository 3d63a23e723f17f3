// Elementwise loops. All exact: the same bits on every instruction set.
//
// exp, log, sigmoid, tanh, erf and powers are qgrad's own, because a libm differs from machine to machine; within 2
// units in the last place of the true value. Outputs may be any of the inputs, but must not overlap them otherwise.
#pragma once

#include <stddef.h>

namespace qgrad {

// y = a op b for the ways two operands can lie.
struct BinaryKernels {
  void (*same)(const float* a, const float* b, float* y, size_t n);
  void (*scalar_right)(const float* a, float b, float* y, size_t n);
  void (*scalar_left)(float a, const float* b, float* y, size_t n);
  // a and y are [rows, columns], b is [columns].
  void (*row_right)(const float* a, const float* b, float* y, size_t rows, size_t columns);
};

// A function of one number and up to two constants, and its gradient.
struct FunctionKernels {
  void (*forward)(const float* x, float* y, size_t n, float a, float b);
  void (*backward)(const float* x, const float* dy, float* dx, size_t n, float a, float b);  // dy times the derivative
};

struct ElementwiseKernels {
  BinaryKernels add, sub, mul, div;
  BinaryKernels max, min;         // a NaN wins
  BinaryKernels equal;            // 1 where a == b, else 0
  BinaryKernels share_of_larger;  // 1 where a > b, 1/2 where they are equal, else 0
  BinaryKernels pow;              // a^b as C's pow
  BinaryKernels pow_by_base;      // the derivative of a^b by a: b a^(b - 1), 0 where b is 0
  BinaryKernels pow_by_exponent;  // by b: a^b log a, 0 where a is 0 and b is not negative
  BinaryKernels leaky;            // a where a > 0, else a b
  BinaryKernels leaky_by_x;       // its derivative by a: 1 where a > 0, else b

  // Formulas in core/ops.h.
  FunctionKernels elu;           // a: alpha
  FunctionKernels hard_sigmoid;  // max(0, min(1, a x + b))
  FunctionKernels erf, gelu, gelu_tanh, hard_swish, silu, softplus;

  // y = f(x)
  using Unary = void (*)(const float* x, float* y, size_t n);
  Unary neg, abs, square, sqrt, exp, log, relu, relu6, sigmoid, tanh;
  void (*clamp)(const float* x, float* y, size_t n, float low, float high);
  void (*add_scaled)(const float* x, float factor, float* y, size_t n);                         // y += factor x
  void (*scaled_difference)(const float* a, const float* b, float factor, float* y, size_t n);  // factor (a - b)

  // dx from dy and what forward left: its output y where that is enough, else its input x.
  using Backward = void (*)(const float* saved, const float* dy, float* dx, size_t n);
  Backward abs_backward;      // of x: dy * sign(x), 0 at 0
  Backward square_backward;   // of x: 2 x dy
  Backward sqrt_backward;     // of y: dy / (2 y)
  Backward relu_backward;     // of y: dy where y > 0
  Backward relu6_backward;    // of y: dy where 0 < y < 6
  Backward sigmoid_backward;  // of y: dy y (1 - y)
  Backward tanh_backward;     // of y: dy (1 - y^2)
};

}  // namespace qgrad
