// Checks an op's backward against central differences of its forward.
//
//   CHECK(gradcheck([](Inputs x) { return mul(x[0], x[1]); }, {a, b}) == "");
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/tape.h"
#include "support/values.h"

namespace qgrad::test {

using Inputs = std::span<const Tensor>;
using Function = std::function<Tensor(Inputs)>;

struct GradcheckOptions {
  float step = 1e-2f;       // relative to max(1, |x|)
  float tolerance = 5e-3f;  // relative to max(|analytic|, |numeric|, the root mean square of the gradient)
  uint64_t seed = 1;        // of the projection
};

namespace detail {

// sum_i direction_i * y_i in double, recorded as one op. When `held` is given it keeps a handle to the gradient that
// the op under test receives, so that overwriting it would be seen.
inline Tensor project(const Tensor& y, const std::vector<float>& direction, Tensor* held) {
  double total = 0;
  for (size_t i = 0; i < direction.size(); ++i) total += double{direction[i]} * double{y.data()[i]};
  return record("projection", Tensor::scalar(static_cast<float>(total)), {y},
                [shape = y.shape(), direction, held](Tensor, Grads& dx) {
                  Tensor g = Tensor::from(shape, direction);
                  if (held) *held = g;
                  dx.add(0, g);
                });
}

// The gradients of the projected output for the inputs marked in `wanted`; undefined for the others.
inline std::vector<Tensor> analytic_gradients(const Function& f, Inputs inputs, const std::vector<bool>& wanted,
                                              const std::vector<float>& direction, Tensor* held = nullptr) {
  std::vector<Tensor> leaves;
  for (size_t i = 0; i < inputs.size(); ++i) {
    leaves.push_back(inputs[i].clone());
    leaves.back().set_requires_grad(wanted[i]);
  }
  Tape tape;
  Tensor loss;
  {
    const Tape::Recording recording(tape);
    loss = project(f(leaves), direction, held);
  }
  tape.backward(loss);
  std::vector<Tensor> gradients;
  for (const Tensor& leaf : leaves) gradients.push_back(leaf.grad());
  return gradients;
}

}  // namespace detail

// Differentiates a random projection of f's output with respect to every element of every input. Also checks that each
// input's gradient is the same when it alone is wanted, that f leaves a shared dy alone, and that f leaves its inputs
// alone. Returns "" when all is well, else what is wrong. Inputs must stay a step away from kinks; constants of the op
// belong into the closure.
inline std::string gradcheck(const Function& f, std::vector<Tensor> inputs, GradcheckOptions options = {}) {
  std::vector<std::vector<uint32_t>> before;
  for (const Tensor& x : inputs) before.push_back(bits(x));
  const Tensor y = f(inputs);
  if (y.numel() == 0) return "the output has no elements";
  std::vector<float> direction = uniform_values(static_cast<size_t>(y.numel()), options.seed, 0.5f, 1.5f);
  // Signs vary, so that gradients that must cancel do not add up.
  for (size_t i = 0; i < direction.size(); i += 3) direction[i] = -direction[i];

  const std::vector<bool> all(inputs.size(), true);
  const std::vector<Tensor> together = detail::analytic_gradients(f, inputs, all, direction);
  Tensor held;
  const std::vector<Tensor> shared = detail::analytic_gradients(f, inputs, all, direction, &held);
  if (bits(held) != bits(direction)) return "backward overwrote a shared output gradient";

  const auto projected = [&](Inputs x) {
    const Tensor out = f(x);
    double total = 0;
    for (size_t i = 0; i < direction.size(); ++i) total += double{direction[i]} * double{out.data()[i]};
    return total;
  };

  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!together[i].defined()) return fmt::format("input {} received no gradient", i);
    if (bits(shared[i]) != bits(together[i])) return fmt::format("input {}: another gradient when dy is shared", i);
    std::vector<bool> only(inputs.size(), false);
    only[i] = true;
    if (bits(detail::analytic_gradients(f, inputs, only, direction)[i]) != bits(together[i]))
      return fmt::format("input {}: another gradient when it alone is wanted", i);

    std::vector<double> numeric(static_cast<size_t>(inputs[i].numel()));
    double squares = 0;
    for (size_t k = 0; k < numeric.size(); ++k) {
      std::vector<Tensor> moved(inputs);
      moved[i] = inputs[i].clone();
      float& element = moved[i].mutable_data()[k];
      const float centre = element, step = options.step * std::max(1.0f, std::fabs(centre));
      const float high = centre + step, low = centre - step;
      element = high;
      const double above = projected(moved);
      element = low;
      const double below = projected(moved);
      numeric[k] = (above - below) / (double{high} - double{low});
      squares += numeric[k] * numeric[k];
    }
    const double typical = std::sqrt(squares / static_cast<double>(std::max<size_t>(numeric.size(), 1)));
    for (size_t k = 0; k < numeric.size(); ++k) {
      const double a = together[i].data()[k], n = numeric[k];
      const double scale = std::max({std::fabs(a), std::fabs(n), typical, 1e-2});
      if (!(std::fabs(a - n) <= options.tolerance * scale))
        return fmt::format("input {}, element {}: analytic {}, numeric {}", i, k, a, n);
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i)
    if (bits(inputs[i]) != before[i]) return fmt::format("input {} was overwritten", i);
  return "";
}

}  // namespace qgrad::test
