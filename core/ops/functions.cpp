// More functions of every number, and more of two operands with broadcasting.
#include "core/error.h"
#include "core/ops.h"
#include "core/ops/broadcast.h"
#include "core/ops/map.h"
#include "core/tape.h"

namespace qgrad {
namespace {

// dx = dy f'(x)
Tensor function(const char* name, const Tensor& x, const FunctionKernels& f, float a = 0, float b = 0) {
  Tensor y = map(x, [&](const float* from, float* to, size_t count) { f.forward(from, to, count, a, b); });
  return record(name, y, {x}, [x, &f, a, b](const Tensor& dy, Grads& dx) {
    const float *values = x.data().data(), *base = dy.data().data();
    dx.add(0, map(dy, [&](const float* from, float* to, size_t count) {
             f.backward(values + (from - base), from, to, count, a, b);
           }));
  });
}

// dy times what a kernel gives for a and b, summed over what was broadcast.
Tensor part_of(const char* name, const Tensor& dy, const BinaryKernels& kernel, const Tensor& a, const Tensor& b,
               const Shape& shape, bool over_ranks) {
  const Tensor part = broadcast_binary(name, kernel, a, b);
  return sum_to(broadcast_binary(name, kernels().elementwise.mul, dy, part), shape, over_ranks);
}

}  // namespace

Tensor erf(const Tensor& x) { return function("erf", x, kernels().elementwise.erf); }
Tensor elu(const Tensor& x, float alpha) { return function("elu", x, kernels().elementwise.elu, alpha); }
Tensor hard_sigmoid(const Tensor& x, float alpha, float beta) {
  return function("hard_sigmoid", x, kernels().elementwise.hard_sigmoid, alpha, beta);
}
Tensor hard_swish(const Tensor& x) { return function("hard_swish", x, kernels().elementwise.hard_swish); }
Tensor silu(const Tensor& x) { return function("silu", x, kernels().elementwise.silu); }
Tensor softplus(const Tensor& x) { return function("softplus", x, kernels().elementwise.softplus); }
Tensor gelu(const Tensor& x, GeluApproximation approximation) {
  const auto& k = kernels().elementwise;
  return function("gelu", x, approximation == GeluApproximation::tanh ? k.gelu_tanh : k.gelu);
}

Tensor pow(const Tensor& x, float exponent) {
  if (exponent == 2) return square(x);
  return pow(x, Tensor::scalar(exponent));
}

// y = a^b: da = dy b a^(b - 1), db = dy y log a
Tensor pow(const Tensor& a, const Tensor& b) {
  Tensor y = broadcast_binary("pow", kernels().elementwise.pow, a, b);
  return record("pow", y, {a, b}, [a, b](const Tensor& dy, Grads& dx) {
    const auto& k = kernels().elementwise;
    if (dx.needs(0)) dx.add(0, part_of("pow", dy, k.pow_by_base, a, b, a.shape(), dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, part_of("pow", dy, k.pow_by_exponent, a, b, b.shape(), dx.over_ranks(1)));
  });
}

Tensor leaky_relu(const Tensor& x, float slope) { return prelu(x, Tensor::scalar(slope)); }

// dx = dy (x > 0 ? 1 : slope), dslope = dy min(x, 0)
Tensor prelu(const Tensor& x, const Tensor& slope) {
  Tensor y = broadcast_binary("prelu", kernels().elementwise.leaky, x, slope);
  check(y.shape() == x.shape(), "prelu: slopes {} do not broadcast to {}", slope.shape(), x.shape());
  return record("prelu", y, {x, slope}, [x, slope](const Tensor& dy, Grads& dx) {
    const auto& k = kernels().elementwise;
    if (dx.needs(0)) dx.add(0, part_of("prelu", dy, k.leaky_by_x, x, slope, x.shape(), dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, part_of("prelu", dy, k.min, x, Tensor::scalar(0), slope.shape(), dx.over_ranks(1)));
  });
}

// da = dy where a > b, half of it where they are equal; db likewise.
Tensor maximum(const Tensor& a, const Tensor& b) {
  Tensor y = broadcast_binary("maximum", kernels().elementwise.max, a, b);
  return record("maximum", y, {a, b}, [a, b](const Tensor& dy, Grads& dx) {
    const BinaryKernels& share = kernels().elementwise.share_of_larger;
    if (dx.needs(0)) dx.add(0, part_of("maximum", dy, share, a, b, a.shape(), dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, part_of("maximum", dy, share, b, a, b.shape(), dx.over_ranks(1)));
  });
}

Tensor minimum(const Tensor& a, const Tensor& b) {
  Tensor y = broadcast_binary("minimum", kernels().elementwise.min, a, b);
  return record("minimum", y, {a, b}, [a, b](const Tensor& dy, Grads& dx) {
    const BinaryKernels& share = kernels().elementwise.share_of_larger;
    if (dx.needs(0)) dx.add(0, part_of("minimum", dy, share, b, a, a.shape(), dx.over_ranks(0)));
    if (dx.needs(1)) dx.add(1, part_of("minimum", dy, share, a, b, b.shape(), dx.over_ranks(1)));
  });
}

}  // namespace qgrad
