// The checker must catch wrong gradients, or it proves nothing.
#include "support/gradcheck.h"

#include "support/catch.h"

using namespace qgrad;
using namespace qgrad::test;

namespace {

// y = x^2 with whatever backward is given.
Function square_with(std::function<void(const Tensor& x, Tensor dy, Grads& dx)> backward) {
  return [backward](Inputs in) {
    const Tensor x = in[0];
    Tensor y = x.clone();
    for (float& v : y.mutable_data()) v *= v;
    return record("square", y, {x}, [x, backward](Tensor dy, Grads& dx) { backward(x, std::move(dy), dx); });
  };
}

Tensor right(const Tensor& x, const Tensor& dy) {
  Tensor g = Tensor::empty(x.shape());
  for (size_t i = 0; i < g.data().size(); ++i) g.mutable_data()[i] = 2 * x.data()[i] * dy.data()[i];
  return g;
}

}  // namespace

TEST_CASE("gradcheck accepts a right gradient and says what is wrong with others") {
  const Tensor x = normal_tensor({5}, 1);
  CHECK(gradcheck(square_with([](const Tensor& in, Tensor dy, Grads& dx) { dx.add(0, right(in, dy)); }), {x}) == "");
  CHECK(gradcheck(square_with([](const Tensor& in, Tensor dy, Grads& dx) {
                    Tensor g = right(in, dy);
                    g.mutable_data()[3] *= 1.02f;
                    dx.add(0, g);
                  }),
                  {x})
            .starts_with("input 0, element 3: analytic"));
  CHECK(gradcheck(square_with([](const Tensor&, Tensor, Grads&) {}), {x}) == "input 0 received no gradient");
  CHECK(gradcheck(square_with([](const Tensor& in, Tensor dy, Grads& dx) {
                    for (size_t i = 0; i < 5; ++i) dy.mutable_data()[i] *= 2 * in.data()[i];
                    dx.add(0, dy);
                  }),
                  {x}) == "backward overwrote a shared output gradient");
}
