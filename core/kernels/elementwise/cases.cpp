// Elementwise kernels on given numbers.
#include "core/kernels/cases.h"

namespace qgrad {

void add_cases(const ElementwiseKernels& k, const KernelNumbers& v, KernelCases& to) {
  const size_t n = v.size();
  const auto binary = [&](const std::string& name, const BinaryKernels& op) {
    to.add<float>(name + ".same", n, [&](float* y) { op.same(v.a, v.b, y, n); });
    to.add<float>(name + ".scalar_right", n, [&](float* y) { op.scalar_right(v.a, v.x, y, n); });
    to.add<float>(name + ".scalar_left", n, [&](float* y) { op.scalar_left(v.x, v.b, y, n); });
    to.add<float>(name + ".row_right", n, [&](float* y) { op.row_right(v.a, v.of_channels, y, v.rows(), v.channels); });
  };
  binary("add", k.add), binary("sub", k.sub), binary("mul", k.mul), binary("div", k.div), binary("max", k.max);
  binary("min", k.min), binary("equal", k.equal), binary("share_of_larger", k.share_of_larger), binary("pow", k.pow);
  binary("pow_by_base", k.pow_by_base), binary("pow_by_exponent", k.pow_by_exponent), binary("leaky", k.leaky);
  binary("leaky_by_x", k.leaky_by_x);
  const auto function = [&](const std::string& name, const FunctionKernels& f) {
    to.add<float>(name + ".forward", n, [&](float* y) { f.forward(v.a, y, n, v.high, v.low); });
    to.add<float>(name + ".backward", n, [&](float* dx) { f.backward(v.a, v.b, dx, n, v.high, v.low); });
  };
  function("elu", k.elu), function("hard_sigmoid", k.hard_sigmoid), function("erf", k.erf), function("gelu", k.gelu);
  function("gelu_tanh", k.gelu_tanh), function("hard_swish", k.hard_swish), function("silu", k.silu);
  function("softplus", k.softplus);
  const auto unary = [&](const char* name, ElementwiseKernels::Unary f) {
    to.add<float>(name, n, [&](float* y) { f(v.a, y, n); });
  };
  unary("neg", k.neg), unary("abs", k.abs), unary("square", k.square), unary("sqrt", k.sqrt), unary("exp", k.exp);
  unary("log", k.log), unary("relu", k.relu), unary("relu6", k.relu6), unary("sigmoid", k.sigmoid);
  unary("tanh", k.tanh);
  to.add<float>("clamp", n, [&](float* y) { k.clamp(v.a, y, n, v.low, v.high); });
  to.add<float>("add_scaled", n, [&](float* y) { k.add_scaled(v.a, v.x, y, n); });
  to.add<float>("scaled_difference", n, [&](float* y) { k.scaled_difference(v.a, v.b, v.x, y, n); });
  const auto backward = [&](const char* name, ElementwiseKernels::Backward f) {
    to.add<float>(name, n, [&](float* dx) { f(v.a, v.b, dx, n); });
  };
  backward("abs_backward", k.abs_backward), backward("square_backward", k.square_backward);
  backward("sqrt_backward", k.sqrt_backward), backward("relu_backward", k.relu_backward);
  backward("relu6_backward", k.relu6_backward), backward("sigmoid_backward", k.sigmoid_backward);
  backward("tanh_backward", k.tanh_backward);
}

}  // namespace qgrad
