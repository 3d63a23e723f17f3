// Elementwise ops: two operands with broadcasting, and functions of one.
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/broadcast.h"
#include "core/ops/fused.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// Runs fn(begin, count) over n elements in parallel.
template <class F>
void in_chunks(int64_t n, F&& fn) {
  parallel_for(n, kElementwiseGrain, [&](int64_t begin, int64_t end) { fn(begin, static_cast<size_t>(end - begin)); });
}

// fn(dy, out, count) written over dy where nobody else holds it, else to a new tensor.
template <class F>
Tensor map_over(Tensor dy, F&& fn) {
  const float* from = dy.data().data();
  Tensor result = dy.is_unique() ? std::move(dy) : Tensor::empty(dy.shape());
  float* to = result.mutable_data().data();
  in_chunks(result.numel(), [&](int64_t begin, size_t count) { fn(from + begin, to + begin, count); });
  return result;
}

// dx from dy and a tensor that forward left.
Tensor backward_of(ElementwiseKernels::Backward kernel, const Tensor& saved, Tensor dy) {
  const float* s = saved.data().data();
  const float* base = dy.data().data();
  return map_over(std::move(dy),
                  [&](const float* from, float* to, size_t count) { kernel(s + (from - base), from, to, count); });
}

// An op whose gradient needs its output.
Tensor from_output(const char* name, const Tensor& x, ElementwiseKernels::Unary forward,
                   ElementwiseKernels::Backward backward) {
  Tensor y = map(x, forward);
  return record(name, y, {x},
                [y, backward](Tensor dy, Grads& dx) { dx.add(0, backward_of(backward, y, std::move(dy))); });
}

// An op whose gradient needs its input.
Tensor from_input(const char* name, const Tensor& x, ElementwiseKernels::Unary forward,
                  ElementwiseKernels::Backward backward) {
  return record(name, map(x, forward), {x},
                [x, backward](Tensor dy, Grads& dx) { dx.add(0, backward_of(backward, x, std::move(dy))); });
}

Tensor scaled(Tensor dy, float factor) {
  return map_over(std::move(dy), [&](const float* from, float* to, size_t count) {
    kernels().elementwise.mul.scalar_right(from, factor, to, count);
  });
}

}  // namespace

// da = dy, db = dy, each summed over what was broadcast.
Tensor add(const Tensor& a, const Tensor& b) {
  Tensor y = fused_add(a, b);
  if (!y.defined()) y = broadcast_binary("add", kernels().elementwise.add, a, b);
  return record("add", y, {a, b}, [sa = a.shape(), sb = b.shape()](Tensor dy, Grads& dx) {
    if (dx.needs(0)) dx.add(0, sum_to(dy, sa, dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, sum_to(std::move(dy), sb, dx.over_ranks(1)));
  });
}

// da = dy, db = -dy
Tensor sub(const Tensor& a, const Tensor& b) {
  Tensor y = broadcast_binary("sub", kernels().elementwise.sub, a, b);
  return record("sub", y, {a, b}, [sa = a.shape(), sb = b.shape()](Tensor dy, Grads& dx) {
    if (dx.needs(0)) dx.add(0, sum_to(dy, sa, dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, scaled(sum_to(std::move(dy), sb, dx.over_ranks(1)), -1.0f));
  });
}

// da = dy b, db = dy a
Tensor mul(const Tensor& a, const Tensor& b) {
  Tensor y = broadcast_binary("mul", kernels().elementwise.mul, a, b);
  return record("mul", y, {a, b}, [a, b](Tensor dy, Grads& dx) {
    const BinaryKernels& multiply = kernels().elementwise.mul;
    if (dx.needs(0)) dx.add(0, sum_to(broadcast_binary("mul", multiply, dy, b), a.shape(), dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, sum_to(broadcast_binary("mul", multiply, dy, a), b.shape(), dx.over_ranks(1)));
  });
}

// y = a / b: da = dy / b, db = -(dy / b) y
Tensor div(const Tensor& a, const Tensor& b) {
  Tensor y = broadcast_binary("div", kernels().elementwise.div, a, b);
  return record("div", y, {a, b}, [b, y, sa = a.shape()](Tensor dy, Grads& dx) {
    const ElementwiseKernels& k = kernels().elementwise;
    Tensor quotient = broadcast_binary("div", k.div, dy, b);
    if (dx.needs(1))
      dx.add(1, scaled(sum_to(broadcast_binary("mul", k.mul, quotient, y), b.shape(), dx.over_ranks(1)), -1.0f));
    if (dx.needs(0)) dx.add(0, sum_to(std::move(quotient), sa, dx.over_ranks(0)));
  });
}

Tensor add_scalar(const Tensor& x, float value) {
  Tensor y = map(x, [value](const float* from, float* to, size_t count) {
    kernels().elementwise.add.scalar_right(from, value, to, count);
  });
  return record("add_scalar", y, {x}, [](Tensor dy, Grads& dx) { dx.add(0, std::move(dy)); });
}

Tensor mul_scalar(const Tensor& x, float value) {
  Tensor y = map(x, [value](const float* from, float* to, size_t count) {
    kernels().elementwise.mul.scalar_right(from, value, to, count);
  });
  return record("mul_scalar", y, {x}, [value](Tensor dy, Grads& dx) { dx.add(0, scaled(std::move(dy), value)); });
}

Tensor neg(const Tensor& x) {
  return record("neg", map(x, kernels().elementwise.neg), {x},
                [](Tensor dy, Grads& dx) { dx.add(0, map_over(std::move(dy), kernels().elementwise.neg)); });
}

Tensor abs(const Tensor& x) {
  return from_input("abs", x, kernels().elementwise.abs, kernels().elementwise.abs_backward);
}

Tensor square(const Tensor& x) {
  return from_input("square", x, kernels().elementwise.square, kernels().elementwise.square_backward);
}

Tensor sqrt(const Tensor& x) {
  return from_output("sqrt", x, kernels().elementwise.sqrt, kernels().elementwise.sqrt_backward);
}

// dx = dy y
Tensor exp(const Tensor& x) { return from_output("exp", x, kernels().elementwise.exp, kernels().elementwise.mul.same); }

// dx = dy / x
Tensor log(const Tensor& x) {
  return record("log", map(x, kernels().elementwise.log), {x}, [x](Tensor dy, Grads& dx) {
    const float *divisor = x.data().data(), *base = dy.data().data();
    dx.add(0, map_over(std::move(dy), [&](const float* from, float* to, size_t count) {
             kernels().elementwise.div.same(from, divisor + (from - base), to, count);
           }));
  });
}

namespace {

Tensor cut(std::string_view name, Tensor waiting, const Tensor& x) {
  return record(name, waiting, {x}, [uncut = waiting_as<PendingNormalized>(waiting)->uncut](Tensor dy, Grads& dx) {
    dx.add(0, masked(std::move(dy), uncut));
  });
}

}  // namespace

Tensor relu(const Tensor& x) {
  if (Tensor y = fused_relu(x); y.defined()) return cut("relu", y, x);
  return from_output("relu", x, kernels().elementwise.relu, kernels().elementwise.relu_backward);
}

Tensor relu6(const Tensor& x) {
  if (Tensor y = fused_relu(x, 6.0f); y.defined()) return cut("relu6", y, x);
  return from_output("relu6", x, kernels().elementwise.relu6, kernels().elementwise.relu6_backward);
}

Tensor sigmoid(const Tensor& x) {
  return from_output("sigmoid", x, kernels().elementwise.sigmoid, kernels().elementwise.sigmoid_backward);
}

Tensor tanh(const Tensor& x) {
  return from_output("tanh", x, kernels().elementwise.tanh, kernels().elementwise.tanh_backward);
}

Tensor clamp(const Tensor& x, float low, float high) {
  check(low <= high, "clamp: the lower bound {} is above the upper bound {}", low, high);
  Tensor y = map(
      x, [=](const float* from, float* to, size_t count) { kernels().elementwise.clamp(from, to, count, low, high); });
  return record("clamp", y, {x}, [x, low, high](Tensor dy, Grads& dx) {
    const float *values = x.data().data(), *base = dy.data().data();
    dx.add(0, map_over(std::move(dy), [&](const float* from, float* to, size_t count) {
             kernels().quantize.mask_outside(values + (from - base), from, to, count, low, high);
           }));
  });
}

}  // namespace qgrad
